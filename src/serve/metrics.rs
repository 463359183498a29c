//! What the process counts, for Prometheus.
//!
//! Labels are closed sets, a short hash of a credential, or the names of a Share, its account and its Secret. Never a
//! recipient, never a name that somebody else chose.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::process::Process;
use super::sampled::{CallsLeft, ReadyCounts, Sampled, Views};
use crate::api::Kind;
use crate::cloudflare::{Ended, Error, ErrorClass, WriteOutcome};
use crate::core::health::{Cause, Health};
use crate::core::time::At;

type Labels = Vec<(&'static str, String)>;

const CALLS: [Option<ErrorClass>; 7] = [
    None,
    Some(ErrorClass::Retry),
    Some(ErrorClass::Throttled),
    Some(ErrorClass::Denied),
    Some(ErrorClass::Gone),
    Some(ErrorClass::Conflict),
    Some(ErrorClass::Rejected),
];

const CHANGES: [Option<WriteOutcome>; 4] =
    [None, Some(WriteOutcome::NotSent), Some(WriteOutcome::Rejected), Some(WriteOutcome::Ambiguous)];

fn outcome(word: &str) -> Labels {
    vec![("outcome", word.to_owned())]
}

fn call_outcome(failed: Option<ErrorClass>) -> Labels {
    outcome(match failed {
        None => "ok",
        Some(ErrorClass::Retry) => "failed",
        Some(class) => class.word(),
    })
}

fn change_outcome(failed: Option<WriteOutcome>) -> Labels {
    outcome(match failed {
        None => "done",
        Some(WriteOutcome::NotSent) => "not_sent",
        Some(WriteOutcome::Rejected) => "refused",
        Some(WriteOutcome::Ambiguous) => "unsure",
    })
}

fn sweep_outcome(complete: bool) -> Labels {
    outcome(if complete { "complete" } else { "failed" })
}

fn watch_failure(cause: Cause) -> Labels {
    let word = match cause {
        Cause::KindMissing => "kind_missing",
        Cause::Forbidden => "forbidden",
        Cause::Failed => "failed",
    };
    vec![("cause", word.to_owned())]
}

/// Calls to Cloudflare, and what the process does.
struct RequestMetrics {
    passes: Family<Labels, Histogram, fn() -> Histogram>,
    calls: Family<Labels, Counter>,
    call_durations: Family<Labels, Histogram, fn() -> Histogram>,
    changes: Family<Labels, Counter>,
    sweeps: Family<Labels, Counter>,
    drifts: Counter,
    panics: Counter,
    sweep_interval: Gauge<f64, AtomicU64>,
    breakers: Gauge,
}

/// How the objects are.
struct StateMetrics {
    deletions_forbidden: Counter,
    requests_refused: Counter,
    events_dropped: Counter,
    oldest_edit: Gauge<f64, AtomicU64>,
}

/// Whether this replica leads, and sees what it should.
struct LeaderMetrics {
    leads: Gauge,
    shards: Gauge,
    shards_held: Gauge,
    lease_failing: Gauge,
    read_only: Gauge,
    lists_incomplete: Family<Labels, Gauge>,
    watches_failing: Family<Labels, Gauge>,
    watch_failures: Family<Labels, Counter>,
}

pub struct Metrics {
    registry: Registry,
    requests: RequestMetrics,
    state: StateMetrics,
    leader: LeaderMetrics,
    sampled: Arc<Sampled>,
}

impl RequestMetrics {
    fn new(registry: &mut Registry) -> RequestMetrics {
        let call_buckets = || Histogram::new(exponential_buckets(0.025, 2.0, 11));
        let buckets = || Histogram::new(exponential_buckets(0.001, 4.0, 8));
        RequestMetrics {
            passes: in_seconds(
                registry,
                "pass_duration",
                "Duration of the reconciliation of one object",
                Family::new_with_constructor(buckets as fn() -> Histogram),
            ),
            calls: registered(registry, "cloudflare_calls", "Calls to Cloudflare, by outcome"),
            call_durations: in_seconds(
                registry,
                "cloudflare_call_duration",
                "Duration of calls to Cloudflare, by call and HTTP status (none: no response)",
                Family::new_with_constructor(call_buckets as fn() -> Histogram),
            ),
            changes: registered(
                registry,
                "cloudflare_changes",
                "Calls to Cloudflare that change something, by outcome",
            ),
            sweeps: registered(registry, "sweeps", "Complete lists of the shares of an account, by outcome"),
            drifts: registered(registry, "drift_corrections", "Differences at Cloudflare that were corrected"),
            panics: registered(registry, "panics", "Reconciliations, and lists of an account's shares, that panicked"),
            sweep_interval: in_seconds(
                registry,
                "sweep_interval",
                "Configured interval between complete lists of an account's shares",
                Default::default(),
            ),
            breakers: registered(
                registry,
                "breakers_open",
                "Accounts to which nothing is written, because the circuit breaker is open",
            ),
        }
    }
}

impl StateMetrics {
    fn new(registry: &mut Registry) -> StateMetrics {
        StateMetrics {
            deletions_forbidden: registered(
                registry,
                "deletions_forbidden",
                "Requests for objects being deleted that the API server refused",
            ),
            requests_refused: registered(
                registry,
                "requests_refused",
                "Requests for other objects that the API server refused, and for any object that it has not carried out for more \
                 than a minute",
            ),
            events_dropped: registered(
                registry,
                "events_dropped",
                "Events that were not published, because the API server refused them or did not answer, or too many waited for it",
            ),
            oldest_edit: in_seconds(
                registry,
                "oldest_waiting_edit",
                "For how long this replica has known the oldest change of a manifest that its status does not cover yet",
                Default::default(),
            ),
        }
    }
}

impl LeaderMetrics {
    fn new(registry: &mut Registry) -> LeaderMetrics {
        LeaderMetrics {
            leads: registered(registry, "leads", "1 while this replica leads and serves at least one namespace"),
            shards: registered(registry, "shards", "Shards that the accounts are divided into"),
            shards_held: registered(registry, "shards_held", "Shards that this replica works for"),
            lease_failing: registered(registry, "lease_failing", "1 while the Lease cannot be read or renewed"),
            read_only: registered(
                registry,
                "read_only",
                "1 if the operator changes nothing at Cloudflare (--read-only)",
            ),
            lists_incomplete: registered(
                registry,
                "list_incomplete",
                "1 while the objects of a kind in a namespace are not listed, so that the namespace is not served",
            ),
            watches_failing: registered(
                registry,
                "watch_failing",
                "1 while the objects of a kind in a namespace cannot be listed or watched, or a watch stays open and brings nothing",
            ),
            watch_failures: registered(
                registry,
                "watch_failures",
                "Failed lists and watches of the API server, by cause",
            ),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        let own = registry.sub_registry_with_prefix("cfshare");
        let build: Family<Labels, Gauge> = registered(own, "build_info", "The running version");
        build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
        let (requests, state, leader) = (RequestMetrics::new(own), StateMetrics::new(own), LeaderMetrics::new(own));
        let sampled = Arc::<Sampled>::default();
        own.register_collector(Box::new(sampled.clone()));
        let metrics = Metrics { registry, requests, state, leader, sampled };
        metrics.start_counters();
        metrics
    }
}

fn registered<M: prometheus_client::registry::Metric + Clone + Default>(
    registry: &mut Registry,
    name: &str,
    help: &str,
) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn in_seconds<M: prometheus_client::registry::Metric + Clone>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    metric: M,
) -> M {
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

impl Metrics {
    /// Prometheus sees a counter grow only from a value that it has seen.
    fn start_counters(&self) {
        let calls = CALLS.map(|failed| (&self.requests.calls, call_outcome(failed)));
        let changes = CHANGES.map(|failed| (&self.requests.changes, change_outcome(failed)));
        let sweeps = [true, false].map(|complete| (&self.requests.sweeps, sweep_outcome(complete)));
        let causes = [Cause::KindMissing, Cause::Forbidden, Cause::Failed];
        let watches = causes.map(|cause| (&self.leader.watch_failures, watch_failure(cause)));
        for (counters, outcome) in calls.into_iter().chain(changes).chain(sweeps).chain(watches) {
            drop(counters.get_or_create(&outcome));
        }
    }

    pub fn pass(&self, kind: Kind, took: Duration) {
        self.requests.passes.get_or_create(&vec![("kind", kind.to_string())]).observe(took.as_secs_f64());
    }

    /// A changing call was made, or failed in that way.
    pub fn change(&self, failed: Option<WriteOutcome>) {
        self.requests.changes.get_or_create(&change_outcome(failed)).inc();
    }

    pub fn sweep(&self, complete: bool) {
        self.requests.sweeps.get_or_create(&sweep_outcome(complete)).inc();
    }

    pub fn drift(&self) {
        self.requests.drifts.inc();
    }

    pub fn panic(&self) {
        self.requests.panics.inc();
    }

    /// The API server refused a request that the deletion of an object needs.
    pub fn deletion_forbidden(&self) {
        self.state.deletions_forbidden.inc();
    }

    /// The API server refused a request for an object that is not being deleted, or failed again on one for any object.
    pub fn request_refused(&self) {
        self.state.requests_refused.inc();
    }

    pub fn event_dropped(&self) {
        self.state.events_dropped.inc();
    }

    /// A call to Cloudflare ended.
    pub fn call_ended(&self, ended: &Ended<'_>) {
        let code = ended.head().map_or_else(|| "none".to_owned(), |head| head.status.to_string());
        let labels = vec![("call", ended.call().to_owned()), ("code", code)];
        self.requests.call_durations.get_or_create(&labels).observe(ended.took.as_secs_f64());
        self.requests.calls.get_or_create(&call_outcome(ended.answer.err().map(Error::class))).inc();
    }

    /// How often each account is looked at.
    pub fn sweep_interval(&self, interval: Duration) {
        self.requests.sweep_interval.set(interval.as_secs_f64());
    }

    /// Into how many shards the accounts are divided.
    pub fn shards(&self, shards: u16) {
        self.leader.shards.set(i64::from(shards));
    }

    /// Whether nothing is changed at Cloudflare.
    pub fn read_only(&self, read_only: bool) {
        self.leader.read_only.set(i64::from(read_only));
    }

    /// How many shards this replica works for.
    pub fn shards_held(&self, held: usize) {
        self.leader.shards_held.set(i64::try_from(held).unwrap_or(i64::MAX));
    }

    /// A list or a watch failed.
    pub fn watch_failure(&self, cause: Cause) {
        self.leader.watch_failures.get_or_create(&watch_failure(cause)).inc();
    }

    /// Whether this replica does its work, and what keeps it from that.
    pub fn health(&self, health: &Health<Kind>, now: At) {
        self.leader.leads.set(i64::from(health.works(now)));
        self.leader.lease_failing.set(i64::from(health.lease_fails().unwrap_or(false)));
        for scope in health.scopes() {
            for watch in &scope.watches {
                // `namespace` would be taken for the one of the scraped Pod.
                let namespace = scope.namespace.clone().unwrap_or_else(|| "*".to_owned());
                let labels = vec![("kind", watch.kind.to_string()), ("watched_namespace", namespace)];
                self.leader.lists_incomplete.get_or_create(&labels).set(i64::from(!watch.listed));
                self.leader.watches_failing.get_or_create(&labels).set(i64::from(watch.failing().is_some()));
            }
        }
    }

    /// Replaces what is shown of the objects.
    pub fn ready(&self, counts: ReadyCounts) {
        self.state.oldest_edit.set(counts.oldest_edit.as_secs_f64());
        *self.sampled.ready.lock() = counts;
    }

    /// Replaces what is shown of how accounts are read.
    pub fn views(&self, views: Views) {
        self.requests.breakers.set(i64::try_from(views.breakers).unwrap_or(i64::MAX));
        *self.sampled.views.lock() = views;
    }

    /// Calls that are left and objects that wait, by credential.
    pub fn calls_left(&self, levels: Vec<CallsLeft>) {
        *self.sampled.calls_left.lock() = levels;
    }

    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
