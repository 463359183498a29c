//! Why a list or a watch failed, what that means, and what to do about it.

use kube::core::Status;

use crate::cloudflare::innermost;
use crate::core::health::Cause;

#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The API server's own word.
    #[error("{} ({})", .0.message, .0.code)]
    Status(Box<Status>),
    #[error("{}", with_cause(.0))]
    Lost(kube::Error),
    #[error("the API server did not answer in time")]
    Late,
    #[error("the response ended too early, or did not end")]
    Unfinished,
    #[error("the resource version to watch from has expired")]
    Expired,
    /// A watch that stayed open did not bring what a list then showed.
    #[error("the watch stays open and does not bring all changes")]
    Missed,
}

impl From<kube::Error> for Trouble {
    fn from(error: kube::Error) -> Trouble {
        match error {
            kube::Error::Api(status) => Trouble::Status(status),
            error => Trouble::Lost(error),
        }
    }
}

/// An error with what is behind it, which many a message leaves out: an expired certificate, a refused connection.
pub fn with_cause(error: &kube::Error) -> String {
    match error {
        // kube's own text has the whole Status in the notation of Rust.
        kube::Error::Api(status) => return Trouble::Status(status.clone()).to_string(),
        kube::Error::Service(ours) => return ours.to_string(),
        _ => {}
    }
    let (text, cause) = (error.to_string(), innermost(error));
    if text.contains(&cause) { text } else { format!("{text}: {cause}") }
}

impl Trouble {
    pub fn cause(&self) -> Cause {
        match self {
            Trouble::Status(status) if status.code == 404 => Cause::KindMissing,
            Trouble::Status(status) if [401, 403].contains(&status.code) => Cause::Forbidden,
            Trouble::Status(_)
            | Trouble::Lost(_)
            | Trouble::Late
            | Trouble::Unfinished
            | Trouble::Expired
            | Trouble::Missed => Cause::Failed,
        }
    }

    /// Whether a list in pages may come where the streaming one did not.
    pub fn speaks_against_streaming(&self) -> bool {
        match self {
            Trouble::Status(status) => {
                (400..500).contains(&status.code) && ![401, 403, 404, 429].contains(&status.code)
            }
            Trouble::Late | Trouble::Unfinished => true,
            Trouble::Lost(_) | Trouble::Expired | Trouble::Missed => false,
        }
    }

    /// Whether the watch cannot go on from where it was.
    pub fn needs_list(&self) -> bool {
        match self {
            Trouble::Status(status) => [404, 410].contains(&status.code),
            Trouble::Expired | Trouble::Missed => true,
            Trouble::Lost(_) | Trouble::Late | Trouble::Unfinished => false,
        }
    }

    /// Whether the API server does not know who asks, so that no right helps.
    fn is_of_a_stranger(&self) -> bool {
        match self {
            Trouble::Status(status) => status.code == 401,
            Trouble::Lost(_) | Trouble::Late | Trouble::Unfinished | Trouble::Expired | Trouble::Missed => false,
        }
    }

    fn is_silent(&self) -> bool {
        match self {
            Trouble::Missed => true,
            Trouble::Status(_) | Trouble::Lost(_) | Trouble::Late | Trouble::Unfinished | Trouble::Expired => false,
        }
    }

    /// What it means for the objects of that kind, and what to do.
    pub fn message(&self, plural: &str, place: &str) -> String {
        match self.cause() {
            Cause::Forbidden if self.is_of_a_stranger() => format!(
                "the API server does not accept cfshare's own token, so changes of {plural}.cfshare.dev in {place} are not \
                 seen: check that its ServiceAccount exists, and restart its pod ({self})"
            ),
            Cause::KindMissing => format!(
                "the CRD {plural}.cfshare.dev is not installed, so no object of this kind is seen in {place}: install the CRDs \
                 with `cfshare crds | kubectl apply --server-side -f -`"
            ),
            Cause::Forbidden => format!(
                "cfshare is not allowed to list and watch {plural}.cfshare.dev in {place}, so changes there are not \
                 seen: install the chart's RBAC there, or remove it from --namespace ({self})"
            ),
            Cause::Failed if self.is_silent() => format!(
                "the watch of {plural}.cfshare.dev in {place} stays open and does not bring all changes; listing everything about \
                 once a minute until it does: check what is between cfshare and the API server"
            ),
            Cause::Failed => {
                format!("{plural}.cfshare.dev in {place} cannot be listed and watched; retrying ({self})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_code(code: u16) -> Trouble {
        Trouble::Status(Status { code, ..Status::default() }.boxed())
    }

    #[test]
    fn each_answer_has_a_cause_and_a_way_on() {
        // Code, cause, whether pages may help, whether the watch needs a new list.
        let table = [
            (400, Cause::Failed, true, false),
            (401, Cause::Forbidden, false, false),
            (403, Cause::Forbidden, false, false),
            (404, Cause::KindMissing, false, true),
            (410, Cause::Failed, true, true),
            (422, Cause::Failed, true, false),
            (429, Cause::Failed, false, false),
            (500, Cause::Failed, false, false),
        ];
        for (code, cause, pages, list) in table {
            let trouble = with_code(code);
            assert_eq!(
                (trouble.cause(), trouble.speaks_against_streaming(), trouble.needs_list()),
                (cause, pages, list),
                "{code}"
            );
        }
        assert!(with_code(404).message("shares", "namespace a").contains("install the CRDs"));
        assert!(with_code(403).message("shares", "namespace a").contains("in namespace a"));
        let stranger = with_code(401).message("shares", "namespace a");
        assert!(stranger.contains("does not accept cfshare's own token") && !stranger.contains("RBAC"), "{stranger}");
    }
}
