//! Which credential an object uses, and how its Secret is kept up to date.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::secret::{self, Unread};
use crate::api::Name;
use crate::cloudflare::{Credential, Fingerprint};
use crate::core::time::At;
use crate::operator::clock::Clock;

/// How old a read of a Secret may be when a pass uses it.
pub const SECRET_AGE: Duration = Duration::from_secs(30);
/// A Secret that was read so shortly before is not read again on a refusal.
const MIN_REREAD_AGE: Duration = Duration::from_secs(2);
/// So long refusals by the API server may last before they are meant: one that just started answers with them until it knows
/// who has which right.
const FORBIDDEN_GRACE_PERIOD: Duration = Duration::from_secs(60);
/// How long a credential is remembered for deletions after its Secret is gone.
const REMEMBER_FOR: Duration = Duration::from_secs(3600);

/// Why there is no credential.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NoCredential {
    #[error("the Secret {0} does not exist: create it with the key apiToken, or with email and apiKey")]
    Missing(String),
    /// It holds nothing, as where somebody else fills it a moment later.
    #[error("the Secret {0} cannot be used: {1}")]
    Empty(String, String),
    #[error("the Secret {0} cannot be used: {1}")]
    Unusable(String, String),
    #[error("cfshare is not allowed to read the Secret {0}: grant it `get` (chart value secretNames)")]
    Forbidden(String),
    #[error("the Secret {0} cannot be read: {1}")]
    Unreadable(String, String),
}

impl NoCredential {
    /// Whether it usually passes without anybody's doing; `made`: there was a credential once.
    pub fn usually_passes(&self, made: bool) -> bool {
        match self {
            // The Secret, what it holds, and the right to read it come with the same installation.
            NoCredential::Missing(_) | NoCredential::Empty(..) | NoCredential::Forbidden(_) => !made,
            NoCredential::Unreadable(..) => true,
            NoCredential::Unusable(..) => false,
        }
    }
}

/// A credential, and the fingerprint that follows from it.
#[derive(Clone)]
pub struct ResolvedCredential {
    credential: Arc<Credential>,
    fingerprint: Fingerprint,
}

impl ResolvedCredential {
    pub fn new(credential: Credential) -> ResolvedCredential {
        ResolvedCredential { fingerprint: credential.fingerprint(), credential: Arc::new(credential) }
    }

    pub fn credential(&self) -> &Arc<Credential> {
        &self.credential
    }

    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

#[derive(Clone)]
struct Entry {
    outcome: Result<ResolvedCredential, NoCredential>,
    read_at: At,
    used_at: At,
    good: Option<(ResolvedCredential, At)>,
    /// Since when it may not be read.
    forbidden_since: Option<At>,
}

pub struct Credentials {
    kube: kube::Client,
    clock: Clock,
    entries: Mutex<HashMap<Name, Entry>>,
    /// Held while a Secret is read, so that the many objects that want it at a start wait for one read.
    reading: Mutex<HashMap<Name, Arc<tokio::sync::Mutex<()>>>>,
    /// Secrets whose value changed, as the first read found; each is reported once.
    changed: Mutex<HashSet<Name>>,
}

impl Credentials {
    pub fn new(kube: kube::Client, clock: Clock) -> Credentials {
        Credentials { kube, clock, entries: Mutex::default(), reading: Mutex::default(), changed: Mutex::default() }
    }

    /// The credential in that Secret, as of at most half a minute ago.
    pub async fn resolve(&self, secret: &Name) -> Result<ResolvedCredential, NoCredential> {
        if let Some(outcome) = self.fresh(secret) {
            return outcome;
        }
        let reading = self.reading.lock().entry(secret.clone()).or_default().clone();
        let _reading = reading.lock().await;
        match self.fresh(secret) {
            Some(outcome) => outcome,
            None => self.refresh(secret, true).await,
        }
    }

    fn fresh(&self, secret: &Name) -> Option<Result<ResolvedCredential, NoCredential>> {
        let now = self.clock.now();
        let mut entries = self.entries.lock();
        let entry = entries.get_mut(secret)?;
        entry.used_at = now;
        // A Secret that was missing may have come: only what was good is remembered for long.
        let keeps = if entry.outcome.is_ok() { SECRET_AGE } else { Duration::from_secs(2) };
        (now.since(entry.read_at) < keeps).then(|| entry.outcome.clone())
    }

    /// The last good credential of a Secret, for deletions only.
    fn remembered(&self, secret: &Name) -> Option<ResolvedCredential> {
        let now = self.clock.now();
        let entries = self.entries.lock();
        let (credential, at) = entries.get(secret)?.good.as_ref()?;
        (now.since(*at) < REMEMBER_FOR).then(|| credential.clone())
    }

    /// The credential in that Secret; for an object that is being deleted also the one that it held last.
    pub async fn resolve_for(&self, secret: &Name, is_deleting: bool) -> Result<ResolvedCredential, NoCredential> {
        match self.resolve(secret).await {
            Err(problem) if is_deleting => self.remembered(secret).ok_or(problem),
            outcome => outcome,
        }
    }

    /// Whether such an object would use that credential.
    pub async fn holds(&self, secret: &Name, credential: Fingerprint, is_deleting: bool) -> bool {
        self.resolve_for(secret, is_deleting).await.is_ok_and(|held| held.fingerprint == credential)
    }

    /// What the Secret held when it was last read, if it can be used.
    pub fn held(&self, secret: &Name) -> Option<Fingerprint> {
        self.entries.lock().get(secret)?.outcome.as_ref().ok().map(ResolvedCredential::fingerprint)
    }

    /// The next use reads the Secret again: Cloudflare refused what was in it.
    pub fn suspect(&self, secret: &Name) {
        let now = self.clock.now();
        // Many objects meet the same refusal: once in a while is enough.
        if let Some(entry) =
            self.entries.lock().get_mut(secret).filter(|entry| now.since(entry.read_at) >= MIN_REREAD_AGE)
        {
            entry.read_at = At::default();
        }
    }

    /// Reads the Secret, and takes note if what it holds is another value than before.
    async fn refresh(&self, secret: &Name, used: bool) -> Result<ResolvedCredential, NoCredential> {
        let read = self.read(secret).await;
        let now = self.clock.now();
        let mut entries = self.entries.lock();
        let before = entries.get(secret);
        let known_since = before.and_then(|entry| entry.forbidden_since);
        // Not being able to ask says nothing about the Secret.
        let (forbidden_since, says_nothing) = match &read {
            Err(NoCredential::Forbidden(_)) => {
                let since = known_since.unwrap_or(now);
                (Some(since), now.since(since) < FORBIDDEN_GRACE_PERIOD)
            }
            Err(NoCredential::Unreadable(..)) => (known_since, true),
            Err(NoCredential::Missing(_) | NoCredential::Empty(..) | NoCredential::Unusable(..)) | Ok(_) => {
                (None, false)
            }
        };
        let outcome = match before {
            Some(entry) if says_nothing && entry.outcome.is_ok() => entry.outcome.clone(),
            _ => read,
        };
        let print = |outcome: &Result<ResolvedCredential, NoCredential>| outcome.as_ref().map(|k| k.fingerprint).ok();
        if before.is_some_and(|entry| print(&entry.outcome) != print(&outcome)) {
            self.changed.lock().insert(secret.clone());
        }
        let good = match &outcome {
            Ok(credential) => Some((credential.clone(), now)),
            Err(_) => before.and_then(|entry| entry.good.clone()),
        };
        let used_at = if used { now } else { before.map_or(now, |entry| entry.used_at) };
        let entry = Entry { outcome: outcome.clone(), read_at: now, used_at, good, forbidden_since };
        entries.insert(secret.clone(), entry);
        outcome
    }

    async fn read(&self, name: &Name) -> Result<ResolvedCredential, NoCredential> {
        let label = name.name.to_string();
        let data = match secret::read(&self.kube, name).await {
            Ok(data) => data,
            Err(Unread::Missing) => return Err(NoCredential::Missing(label)),
            Err(Unread::Forbidden) => return Err(NoCredential::Forbidden(label)),
            Err(Unread::Failed(why)) => return Err(NoCredential::Unreadable(label, why)),
        };
        let credential = Credential::from_secret(&data).map_err(|error| {
            let is_empty = data.values().all(|value| value.trim_ascii().is_empty());
            let problem = if is_empty { NoCredential::Empty } else { NoCredential::Unusable };
            problem(label, error.to_string())
        })?;
        Ok(ResolvedCredential::new(credential))
    }

    /// Reads every Secret that a live object uses once more; returns those whose value changed since this was last asked, and
    /// why they give no credential now.
    pub async fn refresh_all(&self, in_use: impl Fn(&Name) -> bool) -> Vec<(Name, Option<NoCredential>)> {
        let now = self.clock.now();
        let names: Vec<Name> = {
            let mut entries = self.entries.lock();
            entries.retain(|name, entry| in_use(name) || now.since(entry.used_at) < REMEMBER_FOR);
            self.reading.lock().retain(|name, _| entries.contains_key(name));
            let stale = |entry: &Entry| now.since(entry.read_at) >= SECRET_AGE;
            entries.iter().filter(|(name, entry)| in_use(name) && stale(entry)).map(|(name, _)| name.clone()).collect()
        };
        for name in names {
            let _ = self.refresh(&name, false).await;
        }
        let changed = std::mem::take(&mut *self.changed.lock());
        let entries = self.entries.lock();
        let problem = |secret: &Name| entries.get(secret).and_then(|entry| entry.outcome.as_ref().err().cloned());
        let with_problem = |secret: Name| {
            let problem = problem(&secret);
            (secret, problem)
        };
        changed.into_iter().filter(in_use).map(with_problem).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU16, Ordering};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    thread_local! {
        static NOW: Cell<At> = const { Cell::new(At(1_000_000_000)) };
    }

    fn pass(seconds: u64) {
        NOW.set(NOW.get().plus(Duration::from_secs(seconds)));
    }

    /// An API server with one Secret, which answers with that status; with 0, not at all.
    fn credentials(status: u16) -> (Credentials, Arc<AtomicU16>) {
        let answers = Arc::new(AtomicU16::new(status));
        let status = answers.clone();
        let server = tower::service_fn(move |_: Request<Body>| {
            let code = status.load(Ordering::SeqCst);
            async move {
                let metadata = json!({"name": "token", "namespace": "a"});
                let body = match code {
                    0 => return Err(std::io::Error::other("no connection")),
                    // `canary`
                    200 => {
                        json!({"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "data": {"apiToken": "Y2FuYXJ5"}})
                    }
                    404 => json!({"kind": "Status", "apiVersion": "v1", "reason": "NotFound", "code": 404}),
                    code => json!({"kind": "Status", "apiVersion": "v1", "message": "no", "code": code}),
                };
                let answer = Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
                Ok::<_, std::io::Error>(answer.expect("an answer"))
            }
        });
        (Credentials::new(kube::Client::new(server, "default"), Clock(|| NOW.get())), answers)
    }

    fn secret() -> Name {
        Name::new("a", "token")
    }

    #[tokio::test]
    async fn refusals_count_once_they_have_lasted_and_a_lost_connection_never() {
        let (credentials, answers) = credentials(200);
        let after = async |status: u16, seconds: u64| {
            answers.store(status, Ordering::SeqCst);
            pass(seconds);
            let found = credentials.resolve(&secret()).await.map(drop);
            (found, credentials.refresh_all(|_| true).await)
        };
        let there = (Ok(()), Vec::new());
        for (status, seconds) in [(200, 0), (403, 31), (403, 31), (200, 31), (403, 31), (0, 31), (200, 31), (0, 3000)] {
            assert_eq!(after(status, seconds).await, there, "{status}");
        }
        assert_eq!(after(403, 31).await, there);
        assert_eq!(after(0, 31).await, there, "which is no other answer");
        let forbidden = Err(NoCredential::Forbidden("token".to_owned()));
        let problem = forbidden.clone().err();
        assert_eq!(after(403, 31).await, (forbidden.clone(), vec![(secret(), problem)]));
        assert_eq!(after(403, 31).await, (forbidden, Vec::new()));
        assert_eq!(after(200, 31).await, (Ok(()), vec![(secret(), None)]));
    }

    #[tokio::test]
    async fn a_credential_whose_secret_is_gone_is_held_for_deletions_and_for_an_hour() {
        let (credentials, answers) = credentials(200);
        let own = credentials.resolve(&secret()).await.expect("a credential").fingerprint;
        let other = Credential::Token("another".into()).fingerprint();
        let name = secret();
        let holds = async |is_deleting| {
            let of = [own, other].map(|credential| credentials.holds(&name, credential, is_deleting));
            futures::future::join_all(of).await
        };
        assert_eq!(holds(false).await, [true, false]);
        answers.store(404, Ordering::SeqCst);
        pass(31);
        assert_eq!((holds(true).await, holds(false).await), (vec![true, false], vec![false, false]));
        pass(3600);
        assert_eq!(holds(true).await, [false, false]);
    }
}
