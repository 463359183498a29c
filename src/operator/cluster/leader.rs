//! Who of several replicas works: the one that holds the Lease.
//!
//! A Lease is taken and renewed only on the version that was read, so two can never both have it. What counts
//! for how long it is held is our own monotonic clock from before the renewal, never anybody's wall clock; others
//! take it when it has not changed for a whole duration by their own clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use tokio::sync::watch;

use crate::api::FIELD_MANAGER;

/// What the passes ask before they change anything.
#[derive(Clone)]
pub struct Leadership {
    until: Option<Arc<Mutex<Option<Instant>>>>,
}

impl Leadership {
    /// One replica, without election: it always leads.
    pub fn always() -> Leadership {
        Leadership { until: None }
    }

    /// Whether it is still ours after so long a time.
    pub fn lasts(&self, time: Duration) -> bool {
        let Some(until) = &self.until else { return true };
        let until = until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() + time < until)
    }
}

pub struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
    duration: Duration,
    until: Arc<Mutex<Option<Instant>>>,
}

/// The Lease as it was last seen to change, by our own clock.
struct Observed {
    /// `None`: it was deleted.
    version: Option<String>,
    at: Instant,
    /// For how long whoever had it then may believe to have it.
    lasts: Duration,
}

impl Election {
    pub fn new(api: Api<Lease>, name: &str, identity: String, duration: Duration) -> (Election, Leadership) {
        let until = Arc::new(Mutex::new(None));
        let leadership = Leadership { until: Some(until.clone()) };
        (Election { api, name: name.to_owned(), identity, duration, until }, leadership)
    }

    /// Competes for the Lease, and keeps it. Tells through `leads`; ends when a held Lease is lost.
    pub async fn run(self, leads: watch::Sender<bool>) {
        let mut observed: Option<Observed> = None;
        let pause = self.duration / 4;
        loop {
            let started = Instant::now();
            let deadline = (self.duration / 3).max(Duration::from_secs(1));
            let outcome = tokio::time::timeout(deadline, self.turn(&mut observed)).await;
            let held = {
                let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
                match &outcome {
                    Ok(Ok(true)) => *until = Some(started + self.duration),
                    Ok(Ok(false)) => *until = None,
                    Ok(Err(error)) => tracing::warn!(%error, "the lease could not be renewed or read"),
                    Err(_) => tracing::warn!("the lease could not be renewed or read in time"),
                }
                until.is_some_and(|until| Instant::now() < until)
            };
            let led = *leads.borrow();
            if led && !held {
                tracing::error!("the lease is lost; another replica may lead now");
                let _ = leads.send(false);
                return;
            }
            if held && !led {
                tracing::info!(identity = self.identity, "leading");
                let _ = leads.send(true);
            }
            tokio::time::sleep(pause.saturating_sub(started.elapsed())).await;
        }
    }

    fn holds(&self) -> bool {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether the Lease is ours after this turn.
    async fn turn(&self, observed: &mut Option<Observed>) -> Result<bool, kube::Error> {
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            // Deleted by hand: who held it does not know yet.
            if let Some(seen) = observed.as_mut().filter(|_| !self.holds()) {
                if seen.version.take().is_some() {
                    seen.at = Instant::now();
                }
                if seen.at.elapsed() <= seen.lasts {
                    return Ok(false);
                }
            }
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.spec(None)),
            };
            return won(self.api.create(&params(), &lease).await);
        };
        let version = lease.resource_version();
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let lasts = spec.lease_duration_seconds.map_or(self.duration, |s| Duration::from_secs(s.max(1) as u64));
        if observed.is_none() && holder != self.identity && !holder.is_empty() {
            tracing::info!(identity = self.identity, holder, "standing by");
        }
        if observed.as_ref().is_none_or(|seen| seen.version != version) {
            *observed = Some(Observed { version, at: Instant::now(), lasts });
        }
        let expired = observed.as_ref().is_some_and(|seen| seen.at.elapsed() > lasts);
        if holder != self.identity && !holder.is_empty() && !expired {
            return Ok(false);
        }
        let mut renewed = lease;
        renewed.spec = Some(self.spec(Some(&spec)));
        renewed.metadata.managed_fields = None;
        won(self.api.replace(&self.name, &params(), &renewed).await)
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours = before.is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.identity));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.duration.as_secs().max(1)).unwrap_or(i32::MAX)),
            acquire_time: if ours { before.and_then(|spec| spec.acquire_time.clone()) } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(if ours || before.is_none() { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        }
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() }
}

/// Somebody else's write in between is a lost turn, not an error.
fn won(outcome: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match outcome {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives the Lease back, so that the next replica need not wait for it to expire.
pub async fn release(api: &Api<Lease>, name: &str, identity: &str) {
    let Ok(Some(mut lease)) = api.get_opt(name).await else { return };
    let spec = lease.spec.get_or_insert_default();
    if spec.holder_identity.as_deref() != Some(identity) {
        return;
    }
    spec.holder_identity = None;
    spec.lease_duration_seconds = Some(1);
    lease.metadata.managed_fields = None;
    if let Err(error) = api.replace(name, &params(), &lease).await {
        tracing::debug!(%error, "the lease was not given back");
    }
}
