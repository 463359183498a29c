//! Which of several replicas works: the one that holds the Lease. Where the accounts are divided into shards, each has a
//! Lease of its own, and all replicas together hold one more.
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
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;

use super::leadership::{Moment, Tenure, Term};
use super::partition::{Partition, REPLICAS};
use super::requests::jittered;
use super::sweeps::{SWEEPS, SweepLog};
use super::trouble::with_cause;
use super::watches::{WATCHES, Watches};
use crate::api::{FIELD_MANAGER, int32};
use crate::core::lease::{self, LeaseAction, LeaseState};
use crate::core::shard;
use crate::serve::Health;

/// Longest that giving the Lease back may take.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(3);
/// A Lease that was deleted is waited for at most so many times our own duration: whoever held it and still runs makes it again
/// within a quarter of its own, and anybody may have written a day into it.
const MAX_WAIT_FOR_DELETED: u32 = 10;
/// How soon a Lease that may be taken soon, or was just written by another replica, is looked at again.
const SOON: Duration = Duration::from_millis(250);

/// Where and as whom replicas compete.
#[derive(Debug, Clone)]
pub struct Lead {
    pub namespace: String,
    pub name: String,
    /// Unlike that of any other replica, and not empty.
    pub identity: String,
    pub duration: Duration,
}

#[derive(Clone)]
pub enum Role {
    /// All accounts.
    Sole,
    /// One shard of them.
    Shard(u16, Arc<Partition>),
    /// That no replica divides the accounts otherwise: all replicas of the same number of shards hold it together.
    Common(Arc<Partition>),
}

impl Role {
    fn name(&self) -> String {
        match self {
            Role::Sole => "the election".to_owned(),
            Role::Shard(shard, _) => format!("the election of shard {shard}"),
            Role::Common(_) => "the common election".to_owned(),
        }
    }
}

pub struct Election {
    api: Api<Lease>,
    lead: Lead,
    role: Role,
    until: Term,
    /// The Lease has been free since.
    free: Option<Instant>,
    observed: Option<Observed>,
    /// Times that this process wrote into the Lease, since the last that is known to stand there.
    written: Vec<MicroTime>,
    health: Health,
    sweeps: Arc<SweepLog>,
    watches: Watches,
}

/// What an attempt came to.
enum Outcome {
    Held,
    /// Somebody wrote it meanwhile: what we hold we hold until it ends, and look again.
    Again,
    /// Not ours; it may be free in so long a time.
    NotHeld(Option<Duration>),
}

/// The Lease as it was last seen to change, by our own clock.
struct Observed {
    /// `None`: it was deleted.
    version: Option<String>,
    at: Instant,
    /// For how long the holder of then may believe to have it.
    lasts: Duration,
}

impl Election {
    /// Competes for the Lease that `lead` names.
    pub fn new(
        kube: kube::Client,
        lead: Lead,
        role: Role,
        tenure: &Tenure,
        health: Health,
        watches: Watches,
    ) -> Election {
        let api = Api::namespaced(kube, &lead.namespace);
        let (until, sweeps) = (tenure.term.clone(), tenure.sweeps.clone());
        Election { api, lead, role, until, free: None, observed: None, written: Vec::new(), health, sweeps, watches }
    }

    /// Competes for the Lease, and keeps it. Tells through `leads`; ends when a held Lease is lost, and says so.
    pub async fn run(mut self, leads: watch::Sender<bool>, lease_lost: CancellationToken) {
        let name = self.role.name();
        loop {
            self.health.beat(&name);
            let started = Moment::now();
            let deadline = (self.lead.duration / 3).max(Duration::from_secs(1));
            let outcome = tokio::time::timeout(deadline, self.attempt()).await;
            self.health.note(|health, now| health.lease(&name, matches!(outcome, Ok(Ok(_))), now));
            let wait = self.after_attempt(outcome, started);
            let held = self.until.holds();
            let led = *leads.borrow();
            if led && !held {
                tracing::error!(lease = self.lead.name, "the lease is lost; another replica may lead now");
                self.health.note(|health, _| health.ended(&name));
                lease_lost.cancel();
                return;
            }
            if held && !led {
                self.log_leading();
                let _ = leads.send(true);
            }
            let rest = tokio::time::sleep(wait.saturating_sub(started.elapsed()));
            if let Role::Shard(shard, partition) = self.role.clone()
                && held
            {
                let returning = partition.returning(shard);
                tokio::select! {
                    () = rest => {}
                    () = returning.cancelled() => {
                        // Nothing is written for it any more before others may know.
                        self.until.hold_until(None);
                        release(&self.api, &self.lead).await;
                        tracing::info!(identity = self.lead.identity, shard, "gave a shard back, which another replica takes");
                        let _ = leads.send(false);
                        (self.free, self.observed) = (None, None);
                        partition.released(shard);
                    }
                }
            } else {
                rest.await;
            }
        }
    }

    /// For how long the Lease is ours after a turn; returns when the next turn is due.
    fn after_attempt(&mut self, outcome: Result<Result<Outcome, kube::Error>, Elapsed>, started: Moment) -> Duration {
        let pause = self.lead.duration / 4;
        match outcome {
            Ok(Ok(Outcome::Held)) => {
                self.until.hold_until(Some(started.plus(self.lead.duration)));
                match &self.role {
                    Role::Common(partition) if !partition.is_announced() => pause.min(2 * SOON),
                    Role::Sole | Role::Shard(..) | Role::Common(_) => pause,
                }
            }
            Ok(Ok(Outcome::Again)) => jittered(SOON),
            Ok(Ok(Outcome::NotHeld(free))) => {
                self.until.hold_until(None);
                // Neither later than needed, nor again and again.
                free.map_or(pause, |free| pause.min(free.max(SOON)))
            }
            Ok(Err(error)) => {
                self.log_failure(&error);
                pause
            }
            Err(_) => {
                tracing::warn!("the lease could not be read or renewed in time");
                pause
            }
        }
    }

    fn log_leading(&self) {
        let identity = &self.lead.identity;
        match &self.role {
            Role::Sole => tracing::info!(identity, "leading"),
            Role::Shard(shard, _) => tracing::info!(identity, shard, "leading a shard"),
            Role::Common(partition) => tracing::info!(identity, shards = partition.shards, "competing for shards"),
        }
    }

    fn log_standing_by(&self, holder: &str) {
        let identity = &self.lead.identity;
        match &self.role {
            Role::Sole => tracing::info!(identity, holder, "standing by"),
            Role::Shard(shard, _) => tracing::debug!(identity, holder, shard, "standing by"),
            Role::Common(partition) if shard::common_holder(partition.shards) == holder => {}
            Role::Common(partition) => {
                let shards = partition.shards;
                tracing::info!(
                    identity,
                    holder,
                    shards,
                    "standing by until no replica works with another number of shards"
                );
            }
        }
    }

    /// How long until the Lease may be taken, which nobody has had for so long a time; `None`: it may be.
    fn takeover_wait(&self, free: Duration, was_ours: bool) -> Option<Duration> {
        let Role::Shard(_, partition) = &self.role else { return None };
        if !partition.common.holds() {
            // Replicas that divide the accounts otherwise may work.
            return Some(self.lead.duration / 4);
        }
        let delay = if was_ours { Duration::ZERO } else { partition.division().takeover_delay(self.lead.duration) };
        delay.checked_sub(free).filter(|rest| !rest.is_zero())
    }

    fn log_failure(&self, error: &kube::Error) {
        let Lead { namespace, name, .. } = &self.lead;
        match error {
            kube::Error::Api(status) if status.code == 403 => tracing::warn!(
                error = with_cause(error),
                "cfshare is not allowed to read or renew the Lease {namespace}/{name}, so this replica cannot lead: grant it get, \
                 create and update on leases in namespace {namespace}, or set --lease-namespace"
            ),
            _ => tracing::warn!(error = with_cause(error), "the Lease {namespace}/{name} cannot be read or renewed"),
        }
    }

    async fn attempt(&mut self) -> Result<Outcome, kube::Error> {
        let partition = match &self.role {
            Role::Shard(_, partition) if !self.until.holds() => Some(partition.clone()),
            Role::Sole | Role::Shard(..) | Role::Common(_) => None,
        };
        let _taking = match &partition {
            Some(partition) => Some(partition.taking.lock().await),
            None => None,
        };
        match self.api.get_opt(&self.lead.name).await? {
            Some(lease) => self.found(lease).await,
            None => self.missing().await,
        }
    }

    /// There is no Lease. Where it was deleted by hand, who held it does not know yet.
    async fn missing(&mut self) -> Result<Outcome, kube::Error> {
        let holds = self.until.holds();
        if let Some(seen) = self.observed.as_mut().filter(|_| !holds) {
            let lasts = seen.lasts.min(self.lead.duration.saturating_mul(MAX_WAIT_FOR_DELETED));
            if seen.version.take().is_some() {
                seen.at = Instant::now();
                tracing::info!(
                    identity = self.lead.identity,
                    seconds = lasts.as_secs(),
                    "the Lease {} was deleted; waiting for so long, since its last holder may not know yet",
                    self.lead.name
                );
            }
            if let Some(rest) = lasts.checked_sub(seen.at.elapsed()) {
                return Ok(Outcome::NotHeld(Some(rest)));
            }
        }
        if !holds {
            let free = self.free.get_or_insert_with(Instant::now).elapsed();
            if let Some(wait) = self.takeover_wait(free, false) {
                return Ok(Outcome::NotHeld(Some(wait)));
            }
        }
        let mut lease = Lease {
            metadata: ObjectMeta { name: Some(self.lead.name.clone()), ..ObjectMeta::default() },
            spec: Some(self.spec(None)),
        };
        self.annotate(&mut lease);
        let made = self.api.create(&params(), &lease).await;
        self.won(made)
    }

    async fn found(&mut self, lease: Lease) -> Result<Outcome, kube::Error> {
        let version = lease.resource_version();
        let spec = lease.spec.clone().unwrap_or_default();
        let lasts = spec.lease_duration_seconds.map_or(self.lead.duration, |s| Duration::from_secs(s.max(1) as u64));
        let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty());
        if let (None, Some(holder)) = (&self.observed, holder.filter(|holder| *holder != self.lead.identity)) {
            self.log_standing_by(holder);
        }
        if self.observed.as_ref().is_none_or(|seen| seen.version != version) {
            self.observed = Some(Observed { version, at: Instant::now(), lasts });
        }
        let seen = LeaseState {
            holder,
            own_write: matches!(self.role, Role::Common(_))
                || spec.renew_time.as_ref().is_some_and(|time| self.written.contains(time)),
            unchanged: self.observed.as_ref().map_or(Duration::ZERO, |seen| seen.at.elapsed()),
            lasts,
        };
        let holder = self.holder();
        match lease::decide(seen, &holder, self.until.holds()) {
            LeaseAction::Wait(rest) => {
                self.free = None;
                Ok(Outcome::NotHeld(Some(rest)))
            }
            LeaseAction::SharedName => {
                tracing::error!(
                    identity = self.lead.identity,
                    "another process renews the Lease with the same identity, or etcd was restored from a backup: unless it \
                     was restored, give each replica a unique --identity, or none"
                );
                Ok(Outcome::NotHeld(None))
            }
            LeaseAction::Write => {
                if !self.until.holds() {
                    let expired = seen.holder.map(|_| seen.unchanged.saturating_sub(seen.lasts));
                    let free = self.free.get_or_insert_with(Instant::now).elapsed();
                    let was_ours = seen.holder == Some(holder.as_str());
                    if let Some(wait) = self.takeover_wait(expired.unwrap_or(free), was_ours) {
                        return Ok(Outcome::NotHeld(Some(wait)));
                    }
                }
                let mut renewed = lease;
                renewed.spec = Some(self.spec(Some(&spec)));
                renewed.metadata.managed_fields = None;
                self.annotate(&mut renewed);
                let written = self.api.replace(&self.lead.name, &params(), &renewed).await;
                self.won(written)
            }
        }
    }

    /// Whom the Lease names while it is ours.
    fn holder(&self) -> String {
        match &self.role {
            Role::Sole | Role::Shard(..) => self.lead.identity.clone(),
            Role::Common(partition) => shard::common_holder(partition.shards),
        }
    }

    fn annotate(&self, lease: &mut Lease) {
        let now = Timestamp::now();
        let before = |name: &str| lease.annotations().get(name).map(String::as_str);
        let announced = match &self.role {
            Role::Sole | Role::Shard(..) => (SWEEPS, self.sweeps.merged(before(SWEEPS), now)),
            Role::Common(partition) => (REPLICAS, partition.announcement(before(REPLICAS), now.as_second())),
        };
        for (name, text) in [announced, (WATCHES, self.watches.annotation())] {
            lease.annotations_mut().extend(text.map(|text| (name.to_owned(), text)));
        }
    }

    fn spec(&mut self, before: Option<&LeaseSpec>) -> LeaseSpec {
        // As precise as the API server keeps it.
        let now = Timestamp::now();
        let now = MicroTime(Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now));
        self.written.push(now.clone());
        let ours = before.is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.holder()));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.holder()),
            lease_duration_seconds: Some(int32(self.lead.duration.as_secs().max(1))),
            acquire_time: if ours { before.and_then(|spec| spec.acquire_time.clone()) } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(if ours || before.is_none() { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        }
    }

    /// Somebody else's write in between is a lost attempt, not an error.
    fn won(&mut self, outcome: Result<Lease, kube::Error>) -> Result<Outcome, kube::Error> {
        match outcome {
            Ok(lease) => {
                let stands = lease.spec.and_then(|spec| spec.renew_time);
                self.written = stands.into_iter().collect();
                self.free = None;
                if let Role::Shard(shard, partition) = &self.role {
                    partition.took(*shard);
                }
                Ok(Outcome::Held)
            }
            // Whoever wrote it may not have taken it, as who adds a label.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(match &self.role {
                Role::Sole | Role::Shard(..) if !self.until.holds() => Outcome::NotHeld(None),
                Role::Sole | Role::Shard(..) | Role::Common(_) => Outcome::Again,
            }),
            Err(error) => Err(error),
        }
    }
}

fn params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() }
}

/// Gives the Lease back, so that the next replica need not wait for it to expire.
pub async fn release(api: &Api<Lease>, lead: &Lead) {
    let given_back = change_at_end(api, lead, |lease| {
        let spec = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(&lead.identity))?;
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(1);
        Some(())
    });
    match given_back.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(
            error = with_cause(&error),
            "the Lease was not released, so other replicas wait until it expires"
        ),
        Err(_) => tracing::warn!("the Lease was not released in time, so other replicas wait until it expires"),
    }
}

/// Says in the common Lease that this replica has ended. That Lease stays as it is: the last of all lets it expire.
pub async fn leave(api: &Api<Lease>, lead: &Lead, partition: &Partition) {
    let left = change_at_end(api, lead, |lease| {
        let text = partition.withdrawal(lease.annotations().get(REPLICAS).map(String::as_str))?;
        lease.annotations_mut().insert(REPLICAS.to_owned(), text);
        Some(())
    });
    // Others notice it themselves after a while.
    if let Ok(Err(error)) = left.await {
        tracing::debug!(%error, "the other replicas did not hear that this one ends");
    }
}

/// Changes the Lease if it exists; `change` returns `None` where there is nothing to change.
async fn change_at_end(
    api: &Api<Lease>,
    lead: &Lead,
    change: impl FnOnce(&mut Lease) -> Option<()>,
) -> Result<Result<(), kube::Error>, Elapsed> {
    let changed = async {
        let Some(mut lease) = api.get_opt(&lead.name).await? else { return Ok(()) };
        if change(&mut lease).is_none() {
            return Ok(());
        }
        lease.metadata.managed_fields = None;
        api.replace(&lead.name, &params(), &lease).await.map(drop)
    };
    tokio::time::timeout(RELEASE_TIMEOUT, changed).await
}

#[cfg(test)]
mod tests {
    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn who_holds_a_shard_makes_its_lease_again_at_once_if_that_was_deleted() {
        let server = tower::service_fn(|request: Request<Body>| async move {
            let (status, body) = match *request.method() {
                Method::POST => (201, json!({"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": {}})),
                _ => (
                    404,
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}),
                ),
            };
            let answer = Response::builder().status(status).body(Body::from(body.to_string().into_bytes()));
            Ok::<_, std::io::Error>(answer.expect("an answer"))
        });
        let duration = Duration::from_secs(60);
        let (tenure, health) = (Tenure::default(), Health::default());
        let partition = Arc::new(Partition::new(2, "one", duration, health.clone()));
        let until = Some(Moment::now().plus(duration));
        partition.common.hold_until(until);
        partition.took(0);
        tenure.term.hold_until(until);
        let lead = Lead { namespace: "a".into(), name: "cfshare-shard-0".into(), identity: "one".into(), duration };
        let (kube, role) = (kube::Client::new(server, "a"), Role::Shard(0, partition));
        let mut election = Election::new(kube, lead, role, &tenure, health, Watches::new(&[], None));
        assert!(matches!(election.attempt().await, Ok(Outcome::Held)));
        tenure.term.hold_until(None);
        assert!(matches!(election.attempt().await, Ok(Outcome::NotHeld(Some(_)))), "others may be first");
    }

    const HELD: Duration = Duration::from_secs(60);

    fn lead(duration: Duration) -> Lead {
        Lead { namespace: "a".into(), name: "cfshare".into(), identity: "me".into(), duration }
    }

    fn election_of(
        answer: impl Fn(&Method) -> (u16, serde_json::Value) + Clone + Send + 'static,
        tenure: &Tenure,
        duration: Duration,
    ) -> Election {
        let server = tower::service_fn(move |request: Request<Body>| {
            let (status, body) = answer(request.method());
            let answer = Response::builder().status(status).body(Body::from(body.to_string().into_bytes()));
            async move { Ok::<_, std::io::Error>(answer.expect("an answer")) }
        });
        let kube = kube::Client::new(server, "a");
        let watches = Watches::new(&[], None);
        Election::new(kube, lead(duration), Role::Sole, tenure, Health::default(), watches)
    }

    fn as_lease(version: &str, spec: &serde_json::Value) -> serde_json::Value {
        let metadata = json!({"name": "cfshare", "namespace": "a", "resourceVersion": version});
        json!({"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": metadata, "spec": spec})
    }

    fn failure(code: u16) -> (u16, serde_json::Value) {
        let reason = if code == 404 { "NotFound" } else { "Conflict" };
        (code, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}))
    }

    #[tokio::test]
    async fn who_holds_a_lease_that_somebody_labels_holds_it_to_its_end() {
        let tenure = Tenure::default();
        let written = MicroTime(Timestamp::from_second(1_800_000_000).expect("a time"));
        let spec = json!({"holderIdentity": "me", "leaseDurationSeconds": 60, "renewTime": written});
        let answer = move |method: &Method| match *method {
            Method::GET => (200, as_lease("1", &spec)),
            _ => failure(409),
        };
        let mut election = election_of(answer, &tenure, HELD);
        election.written = vec![written];
        tenure.term.hold_until(Some(Moment::now().plus(HELD)));
        assert!(matches!(election.attempt().await, Ok(Outcome::Again)));
        assert!(election.after_attempt(Ok(Ok(Outcome::Again)), Moment::now()) < HELD / 4, "it looks again soon");
        assert!(tenure.term.holds());
        tenure.term.hold_until(None);
        assert!(
            matches!(election.attempt().await, Ok(Outcome::NotHeld(None))),
            "it is not ours, and somebody writes it"
        );
    }

    #[tokio::test]
    async fn a_deleted_lease_is_waited_for_no_longer_than_some_durations_of_our_own() {
        let (tenure, own) = (Tenure::default(), Duration::from_secs(6));
        for (written, waits) in [(15, 15), (86_400, 60)] {
            let spec = json!({"holderIdentity": "another", "leaseDurationSeconds": written});
            let deleted = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let is_deleted = deleted.clone();
            let answer = move |_: &Method| {
                let gone = is_deleted.load(std::sync::atomic::Ordering::SeqCst);
                if gone { failure(404) } else { (200, as_lease("1", &spec)) }
            };
            let mut election = election_of(answer, &tenure, own);
            assert!(matches!(election.attempt().await, Ok(Outcome::NotHeld(Some(_)))));
            deleted.store(true, std::sync::atomic::Ordering::SeqCst);
            let Outcome::NotHeld(Some(rest)) = election.attempt().await.expect("an answer") else {
                panic!("it is not waited for");
            };
            let waits = Duration::from_secs(waits);
            assert!(rest <= waits && rest > waits - own, "{written}: {rest:?}");
        }
    }

    /// The API server may take as long as it likes to answer: from then on others count the time.
    #[tokio::test]
    async fn a_lease_is_ours_for_its_duration_from_before_it_was_asked_for() {
        let silent = tower::service_fn(|_: http::Request<Body>| {
            std::future::pending::<Result<http::Response<Body>, std::io::Error>>()
        });
        let kube = kube::Client::new(silent, "a");
        let election = |duration| {
            let (tenure, watches) = (Tenure::default(), Watches::new(&[], None));
            Election::new(kube.clone(), lead(duration), Role::Sole, &tenure, Health::default(), watches)
        };
        let mut long = election(Duration::from_secs(3600));
        long.after_attempt(Ok(Ok(Outcome::Held)), Moment::now());
        assert!(long.until.holds());
        let (mut short, asked) = (election(Duration::from_millis(20)), Moment::now());
        std::thread::sleep(Duration::from_millis(20));
        short.after_attempt(Ok(Ok(Outcome::Held)), asked);
        assert!(!short.until.holds());
    }
}
