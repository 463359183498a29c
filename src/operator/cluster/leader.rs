//! Who of several replicas works: the one that holds the Lease.
//!
//! A Lease is taken and renewed only on the version that was read, so two can never both have it. What counts
//! for how long it is held is our own monotonic clock from before the renewal, never anybody's wall clock; others
//! take it when it has not changed for a whole duration by their own clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::sweeps::{SWEEPS, SweepLog};
use crate::api::FIELD_MANAGER;
use crate::core::lease::{self, LeaseState, Turn};
use crate::serve::Health;

/// Longest that giving the Lease back may take.
const RELEASE: Duration = Duration::from_secs(3);

/// What the passes ask before they change anything.
#[derive(Clone)]
pub struct Leadership {
    until: Option<Arc<Mutex<Option<Instant>>>>,
    sweeps: Arc<SweepLog>,
}

impl Leadership {
    /// One replica, without election: it always leads.
    pub fn always() -> Leadership {
        Leadership { until: None, sweeps: Arc::default() }
    }

    /// A sweep was complete: the next renewal of the Lease says so, at no cost.
    pub fn note_sweep(&self, account: &str, credential: &str, began: Timestamp, interval: Duration) {
        self.sweeps.note(account, credential, began, interval);
    }

    /// Whether it is still ours after so long a time.
    pub fn lasts(&self, time: Duration) -> bool {
        let Some(until) = &self.until else { return true };
        let until = until.lock();
        until.is_some_and(|until| Instant::now() + time < until)
    }
}

/// Where and as whom replicas compete.
#[derive(Debug, Clone)]
pub struct Lead {
    pub namespace: String,
    pub name: String,
    /// Unlike that of any other replica, and not empty.
    pub identity: String,
    pub duration: Duration,
}

pub struct Election {
    api: Api<Lease>,
    lead: Lead,
    until: Arc<Mutex<Option<Instant>>>,
    observed: Option<Observed>,
    /// Times that this process wrote into the Lease, since the last that is known to stand there.
    written: Vec<MicroTime>,
    health: Health,
    sweeps: Arc<SweepLog>,
}

/// What a turn came to.
enum Outcome {
    Held,
    /// Not ours; it may be free in so long a time.
    NotHeld(Option<Duration>),
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
    pub fn new(kube: kube::Client, lead: Lead, health: Health) -> (Election, Leadership) {
        let until = Arc::new(Mutex::new(None));
        let sweeps = Arc::<SweepLog>::default();
        let leadership = Leadership { until: Some(until.clone()), sweeps: sweeps.clone() };
        let api = Api::namespaced(kube, &lead.namespace);
        (Election { api, lead, until, observed: None, written: Vec::new(), health, sweeps }, leadership)
    }

    /// Competes for the Lease, and keeps it. Tells through `leads`; ends when a held Lease is lost.
    pub async fn run(mut self, leads: watch::Sender<bool>) {
        let pause = self.lead.duration / 4;
        loop {
            self.health.beat("the election");
            let started = Instant::now();
            let deadline = (self.lead.duration / 3).max(Duration::from_secs(1));
            let outcome = tokio::time::timeout(deadline, self.turn()).await;
            self.health.note(|health, now| health.lease(matches!(outcome, Ok(Ok(_))), now));
            let mut wait = pause;
            match outcome {
                Ok(Ok(Outcome::Held)) => self.hold_until(Some(started + self.lead.duration)),
                Ok(Ok(Outcome::NotHeld(free))) => {
                    self.hold_until(None);
                    // Neither later than needed, nor again and again.
                    wait = free.map_or(pause, |free| pause.min(free.max(Duration::from_millis(250))));
                }
                Ok(Err(error)) => self.complain(&error),
                Err(_) => tracing::warn!("the lease could not be read or renewed in time"),
            }
            let held = self.holds();
            let led = *leads.borrow();
            if led && !held {
                tracing::error!("the lease is lost; another replica may lead now");
                self.health.note(|health, _| health.ended("the election"));
                let _ = leads.send(false);
                return;
            }
            if held && !led {
                tracing::info!(identity = self.lead.identity, "leading");
                let _ = leads.send(true);
            }
            tokio::time::sleep(wait.saturating_sub(started.elapsed())).await;
        }
    }

    fn complain(&self, error: &kube::Error) {
        let Lead { namespace, name, .. } = &self.lead;
        match error {
            kube::Error::Api(status) if status.code == 403 => tracing::warn!(
                %error,
                "cfshare is not allowed to read or renew the Lease {namespace}/{name}, so this replica cannot lead: grant it get, \
                 create and update on leases in namespace {namespace}, or set --lease-namespace"
            ),
            _ => tracing::warn!(%error, "the Lease {namespace}/{name} cannot be read or renewed"),
        }
    }

    fn hold_until(&self, until: Option<Instant>) {
        *self.until.lock() = until;
    }

    fn holds(&self) -> bool {
        let until = self.until.lock();
        until.is_some_and(|until| Instant::now() < until)
    }

    async fn turn(&mut self) -> Result<Outcome, kube::Error> {
        match self.api.get_opt(&self.lead.name).await? {
            Some(lease) => self.found(lease).await,
            None => self.missing().await,
        }
    }

    /// There is no Lease. Where it was deleted by hand, who held it does not know yet.
    async fn missing(&mut self) -> Result<Outcome, kube::Error> {
        let holds = self.holds();
        if let Some(seen) = self.observed.as_mut().filter(|_| !holds) {
            if seen.version.take().is_some() {
                seen.at = Instant::now();
            }
            if let Some(rest) = seen.lasts.checked_sub(seen.at.elapsed()) {
                return Ok(Outcome::NotHeld(Some(rest)));
            }
        }
        let lease = Lease {
            metadata: ObjectMeta { name: Some(self.lead.name.clone()), ..ObjectMeta::default() },
            spec: Some(self.spec(None)),
        };
        let made = self.api.create(&params(), &lease).await;
        self.won(made)
    }

    async fn found(&mut self, lease: Lease) -> Result<Outcome, kube::Error> {
        let version = lease.resource_version();
        let spec = lease.spec.clone().unwrap_or_default();
        let lasts = spec.lease_duration_seconds.map_or(self.lead.duration, |s| Duration::from_secs(s.max(1) as u64));
        let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty());
        if let (None, Some(holder)) = (&self.observed, holder.filter(|holder| *holder != self.lead.identity)) {
            tracing::info!(identity = self.lead.identity, holder, "standing by");
        }
        if self.observed.as_ref().is_none_or(|seen| seen.version != version) {
            self.observed = Some(Observed { version, at: Instant::now(), lasts });
        }
        let seen = LeaseState {
            holder,
            own_write: spec.renew_time.as_ref().is_some_and(|time| self.written.contains(time)),
            unchanged: self.observed.as_ref().map_or(Duration::ZERO, |seen| seen.at.elapsed()),
            lasts,
        };
        match lease::turn(seen, &self.lead.identity, self.holds()) {
            Turn::Wait(rest) => Ok(Outcome::NotHeld(Some(rest))),
            Turn::SharedName => {
                tracing::error!(
                    identity = self.lead.identity,
                    "another process renews the Lease with the same identity: give each replica a unique --identity, \
                     or none"
                );
                Ok(Outcome::NotHeld(None))
            }
            Turn::Write => {
                let mut renewed = lease;
                renewed.spec = Some(self.spec(Some(&spec)));
                renewed.metadata.managed_fields = None;
                let annotations = renewed.annotations_mut();
                let sweeps = self.sweeps.merged(annotations.get(SWEEPS).map(String::as_str), Timestamp::now());
                annotations.extend(sweeps.map(|sweeps| (SWEEPS.to_owned(), sweeps)));
                let written = self.api.replace(&self.lead.name, &params(), &renewed).await;
                self.won(written)
            }
        }
    }

    fn spec(&mut self, before: Option<&LeaseSpec>) -> LeaseSpec {
        // As precise as the API server keeps it.
        let now = Timestamp::now();
        let now = MicroTime(Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now));
        self.written.push(now.clone());
        let ours = before.is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.lead.identity));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.lead.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.lead.duration.as_secs().max(1)).unwrap_or(i32::MAX)),
            acquire_time: if ours { before.and_then(|spec| spec.acquire_time.clone()) } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(if ours || before.is_none() { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        }
    }

    /// Somebody else's write in between is a lost turn, not an error.
    fn won(&mut self, outcome: Result<Lease, kube::Error>) -> Result<Outcome, kube::Error> {
        match outcome {
            Ok(lease) => {
                let stands = lease.spec.and_then(|spec| spec.renew_time);
                self.written = stands.into_iter().collect();
                Ok(Outcome::Held)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Outcome::NotHeld(None)),
            Err(error) => Err(error),
        }
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() }
}

/// Gives the Lease back, so that the next replica need not wait for it to expire.
pub async fn release(kube: kube::Client, lead: &Lead) {
    let api: Api<Lease> = Api::namespaced(kube, &lead.namespace);
    let given_back = tokio::time::timeout(RELEASE, async {
        let Some(mut lease) = api.get_opt(&lead.name).await? else { return Ok(()) };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&lead.identity) {
            return Ok(());
        }
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        lease.metadata.managed_fields = None;
        api.replace(&lead.name, &params(), &lease).await.map(drop)
    });
    match given_back.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the Lease was not released, so other replicas wait until it expires"),
        Err(_) => tracing::warn!("the Lease was not released in time, so other replicas wait until it expires"),
    }
}
