//! What the process counts, for Prometheus.
//!
//! Labels are closed sets, a short hash of a credential, or the names of a Share, its account and its Secret. Never a
//! recipient, never a name that somebody else chose.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::process::Process;
use crate::api::{Kind, Name};
use crate::cloudflare::{Ended, ErrorClass, Fingerprint, WriteOutcome};
use crate::core::health::{Cause, Health};
use crate::core::id::AccountId;
use crate::core::interned::Interned;
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

/// How many objects are Ready, and which Shares are not.
#[derive(Default)]
pub struct ReadyCounts {
    /// Objects by kind, and status and reason of their Ready condition.
    pub objects: Vec<ReadyCount>,
    pub unready_shares: Vec<UnreadyShare>,
    /// Excluded accounts that receive a share, by Share.
    pub not_excluded: Vec<(Name, i64)>,
    /// Deleted Shares whose share stays at Cloudflare until a person acts, and the reason.
    pub blocked_deletions: Vec<(Name, String)>,
    /// Waivers in force that end within a week, by Share.
    pub waivers_ending: Vec<(Name, i64)>,
    /// Declared recipients by Share and state.
    pub recipients: Vec<(Name, &'static str, i64)>,
    /// Which Secret each credential is from, and which account it is used for.
    pub credentials: BTreeSet<UsedCredential>,
    /// Rows that stay until a person confirms their removal, by Share.
    pub blocked_removals: Vec<(Name, i64)>,
    /// For how long the oldest edit waits.
    pub oldest_edit: Duration,
}

/// How many objects of a kind have that status and reason in their Ready condition.
pub struct ReadyCount {
    kind: Kind,
    status: String,
    reason: String,
    count: i64,
}

impl ReadyCounts {
    /// Counts one more object.
    pub fn add(&mut self, kind: Kind, status: &str, reason: &str) {
        let is_same =
            |so_far: &&mut ReadyCount| so_far.kind == kind && so_far.reason == reason && so_far.status == status;
        // They are few, and ten thousand objects are counted.
        match self.objects.iter_mut().find(is_same) {
            Some(so_far) => so_far.count += 1,
            None => {
                let (status, reason) = (status.to_owned(), reason.to_owned());
                self.objects.push(ReadyCount { kind, status, reason, count: 1 });
            }
        }
    }
}

/// How accounts are read.
#[derive(Default)]
pub struct Views {
    /// By credential when the account that was listed longest ago was listed, or the process began.
    pub swept: HashMap<Fingerprint, At>,
    /// How often each account is listed.
    pub intervals: Vec<(Fingerprint, AccountId, Duration)>,
    /// Accounts whose breaker is open.
    pub breakers: usize,
}

/// A credential in use: its short hash, the Secret that it is from, and the account whose shares it is for.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct UsedCredential {
    pub credential: Interned,
    pub secret: Name,
    pub account: Interned,
}

/// A Share that is not Ready.
pub struct UnreadyShare {
    pub share: Name,
    /// The account that owns the share.
    pub account: String,
    /// The Secret with the credentials.
    pub secret: String,
    pub reason: String,
}

fn watch_failure(cause: Cause) -> Labels {
    let word = match cause {
        Cause::KindMissing => "kind_missing",
        Cause::Forbidden => "forbidden",
        Cause::Failed => "failed",
    };
    vec![("cause", word.to_owned())]
}

/// `namespace` would be taken for the one of the scraped Pod.
fn of_share(share: &Name) -> Labels {
    vec![("share_namespace", share.namespace.to_string()), ("share", share.name.to_string())]
}

fn replace(family: &Family<Labels, Gauge>, values: impl Iterator<Item = (Labels, i64)>) {
    family.clear();
    for (labels, value) in values {
        family.get_or_create(&labels).set(value);
    }
}

/// Declared recipients by Share and state. Every Share has some, so they become text only when they are asked for.
#[derive(Debug, Default)]
struct RecipientStates(Mutex<Vec<(Name, &'static str, i64)>>);

impl Collector for RecipientStates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Declared recipients by Share and state; a state that none is in is left out";
        let states = self.0.lock();
        if states.is_empty() {
            return Ok(());
        }
        let mut encoder = encoder.encode_descriptor("recipients", help, None, MetricType::Gauge)?;
        for (share, state, count) in states.iter() {
            let labels =
                [("share_namespace", share.namespace.as_str()), ("share", share.name.as_str()), ("state", *state)];
            ConstGauge::new(*count).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
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
    tokens: Family<Labels, Gauge<f64, AtomicU64>>,
    waiting: Family<Labels, Gauge>,
    swept: Family<Labels, Gauge<f64, AtomicU64>>,
    sweep_interval: Gauge<f64, AtomicU64>,
    account_sweep_interval: Family<Labels, Gauge<f64, AtomicU64>>,
    breakers: Gauge,
}

/// How the objects are.
struct StateMetrics {
    deletions_forbidden: Counter,
    requests_refused: Counter,
    events_dropped: Counter,
    objects: Family<Labels, Gauge>,
    unready: Family<Labels, Gauge>,
    not_excluded: Family<Labels, Gauge>,
    blocked_deletions: Family<Labels, Gauge>,
    blocked_removals: Family<Labels, Gauge>,
    waivers_ending: Family<Labels, Gauge>,
    recipients: Arc<RecipientStates>,
    credentials: Family<Labels, Gauge>,
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
    registry: Mutex<Registry>,
    requests: RequestMetrics,
    state: StateMetrics,
    leader: LeaderMetrics,
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
            tokens: registered(registry, "budget_tokens", "Calls to Cloudflare that can be made now, by credential"),
            waiting: registered(registry, "budget_waiting", "Objects and sweeps waiting for a call, by credential"),
            swept: in_seconds(
                registry,
                "last_sweep_timestamp",
                "Time of the last complete list of the shares of an account, by credential; its oldest account",
                Default::default(),
            ),
            sweep_interval: in_seconds(
                registry,
                "sweep_interval",
                "Configured interval between complete lists of an account's shares",
                Default::default(),
            ),
            account_sweep_interval: in_seconds(
                registry,
                "account_sweep_interval",
                "Interval between complete lists of the account's shares: longer than configured where they would take \
                 more than a tenth of the calls",
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
        let recipients = Arc::<RecipientStates>::default();
        registry.register_collector(Box::new(recipients.clone()));
        StateMetrics {
            deletions_forbidden: registered(
                registry,
                "deletions_forbidden",
                "Requests for objects being deleted that the API server refused",
            ),
            requests_refused: registered(
                registry,
                "requests_refused",
                "Requests for other objects that the API server refused",
            ),
            events_dropped: registered(
                registry,
                "events_dropped",
                "Events that were not published, because too many waited for the API server",
            ),
            objects: registered(
                registry,
                "objects",
                "Watched objects, by kind, and status and reason of their Ready condition",
            ),
            unready: registered(registry, "share_unready", "1 for each Share that is not Ready, with the reason"),
            not_excluded: registered(
                registry,
                "exclusions_not_in_force",
                "Excluded accounts that receive an organization's share all the same, by Share",
            ),
            blocked_deletions: registered(
                registry,
                "blocked_deletions",
                "1 for each deleted Share whose share is kept at Cloudflare until somebody acts, with the reason",
            ),
            blocked_removals: registered(
                registry,
                "blocked_removals",
                "Recipients and resources not removed, and accounts not excluded, until somebody confirms, by Share",
            ),
            waivers_ending: registered(
                registry,
                "waivers_ending",
                "Waivers of failed recipients that end within 7 days, by Share",
            ),
            recipients,
            credentials: registered(
                registry,
                "credential_info",
                "1 for each credential in use, with the Secret that it is from and the account that it is used for",
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
                "1 while the objects of a kind in a namespace cannot be listed or watched",
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
        let metrics = Metrics { requests, state, leader, registry: Mutex::new(registry) };
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

    /// Whoever holds it is not read from meanwhile.
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock()
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

    /// The API server refused a request for an object that is not being deleted.
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
    }

    /// A call was answered, or failed in that way.
    pub fn call(&self, failed: Option<ErrorClass>) {
        self.requests.calls.get_or_create(&call_outcome(failed)).inc();
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

    /// Replaces what is shown of the objects, as a whole for a scrape meanwhile.
    pub fn ready(&self, counts: &ReadyCounts) {
        let _registry = self.registry();
        self.state.objects.clear();
        for ReadyCount { kind, status, reason, count } in &counts.objects {
            let labels = vec![("kind", kind.to_string()), ("ready", status.clone()), ("reason", reason.clone())];
            self.state.objects.get_or_create(&labels).set(*count);
        }
        let unready = |unready: &UnreadyShare| {
            let UnreadyShare { share, account, secret, reason } = unready;
            let more = vec![("reason", reason.clone()), ("account", account.clone()), ("secret", secret.clone())];
            ([of_share(share), more].concat(), 1)
        };
        let because =
            |(share, reason): &(Name, String)| ([of_share(share), vec![("reason", reason.clone())]].concat(), 1);
        let count = |(share, count): &(Name, i64)| (of_share(share), *count);
        self.state.oldest_edit.set(counts.oldest_edit.as_secs_f64());
        replace(&self.state.unready, counts.unready_shares.iter().map(unready));
        replace(&self.state.blocked_deletions, counts.blocked_deletions.iter().map(because));
        replace(&self.state.blocked_removals, counts.blocked_removals.iter().map(count));
        replace(&self.state.waivers_ending, counts.waivers_ending.iter().map(count));
        self.state.recipients.0.lock().clone_from(&counts.recipients);
        let used = |used: &UsedCredential| {
            let (namespace, secret) = (used.secret.namespace.to_string(), used.secret.name.to_string());
            let labels = vec![
                ("credential", used.credential.to_string()),
                ("secret_namespace", namespace),
                ("secret", secret),
                ("account", used.account.to_string()),
            ];
            (labels, 1)
        };
        replace(&self.state.credentials, counts.credentials.iter().map(used));
        replace(&self.state.not_excluded, counts.not_excluded.iter().map(count));
    }

    /// Replaces what is shown of how accounts are read.
    pub fn views(&self, views: &Views) {
        let _registry = self.registry();
        self.requests.swept.clear();
        for (credential, at) in &views.swept {
            self.requests.swept.get_or_create(&vec![("credential", credential.to_string())]).set(at.0 as f64 / 1000.0);
        }
        self.requests.account_sweep_interval.clear();
        for (credential, account, interval) in &views.intervals {
            let labels = vec![("credential", credential.to_string()), ("account", account.to_string())];
            self.requests.account_sweep_interval.get_or_create(&labels).set(interval.as_secs_f64());
        }
        self.requests.breakers.set(i64::try_from(views.breakers).unwrap_or(i64::MAX));
    }

    /// Calls that are left and objects that wait, by credential.
    pub fn calls_left(&self, levels: &[(Fingerprint, f64, usize)]) {
        let _registry = self.registry();
        self.requests.tokens.clear();
        self.requests.waiting.clear();
        for (credential, tokens, waiting) in levels {
            let labels = vec![("credential", credential.to_string())];
            self.requests.tokens.get_or_create(&labels).set(*tokens);
            self.requests.waiting.get_or_create(&labels).set(i64::try_from(*waiting).unwrap_or(i64::MAX));
        }
    }

    pub fn render(&self) -> String {
        let mut text = String::new();
        let registry = self.registry();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}
