//! Why a pass cannot go on now.

use crate::cloudflare::Error;

#[derive(Debug)]
pub enum Stop {
    /// No permit yet, or a sweep is awaited: the pass is woken.
    Queued,
    /// Another pass works on the same share, and so many objects wait for their turn: this one is woken then.
    Occupied {
        waiting: u32,
    },
    /// Another pass looked for new shares a moment ago.
    Crowded,
    /// Another writer was there first, or the cache is behind.
    Conflict,
    /// The process ends, or does not lead any more.
    Stopping,
    /// A call that was announced did not leave in time: it is announced again.
    Late,
    Cloudflare(Error),
    Kubernetes(kube::Error),
}

impl Stop {
    /// Whether the object is too large with what was to be written. For etcd, that is an error of the API server's own.
    pub fn is_too_large(&self) -> bool {
        let Stop::Kubernetes(kube::Error::Api(status)) = self else { return false };
        status.code == 413 || status.message.contains("request is too large")
    }

    /// What the API server says where it refuses a request for a reason that a retry does not change: missing permissions, or
    /// the answer of an admission policy or webhook. A webhook that cannot be called is a failure, with code 500.
    pub fn refusal(&self) -> Option<&str> {
        let Stop::Kubernetes(kube::Error::Api(status)) = self else { return None };
        match status.code {
            404 | 408..=410 | 429 => None,
            400..=499 => Some(&status.message),
            _ => None,
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Cloudflare(error)
    }
}

impl From<kube::Error> for Stop {
    fn from(error: kube::Error) -> Stop {
        match &error {
            kube::Error::Api(status) if status.code == 409 => Stop::Conflict,
            _ => Stop::Kubernetes(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn what_is_too_large_is_told_by_the_code_or_by_the_words_of_etcd() {
        let too_large = |code: u16, message: &str| {
            let status = Status { code, message: message.to_owned(), ..Status::default() };
            Stop::from(kube::Error::Api(status.boxed())).is_too_large()
        };
        assert!(too_large(500, "etcdserver: request is too large"));
        assert!(too_large(413, "Request entity too large: limit is 3145728"));
        assert!(!too_large(500, "etcdserver: request timed out"));
    }

    #[test]
    fn a_refusal_is_what_a_retry_does_not_change() {
        let refusal = |code: u16| {
            let status = Status { code, message: "no".to_owned(), ..Status::default() };
            Stop::from(kube::Error::Api(status.boxed())).refusal().map(str::to_owned)
        };
        for code in [400, 401, 403, 413, 422] {
            assert_eq!(refusal(code).as_deref(), Some("no"), "{code}");
        }
        for code in [404, 408, 409, 410, 429, 500, 503, 504] {
            assert_eq!(refusal(code), None, "{code}");
        }
    }
}
