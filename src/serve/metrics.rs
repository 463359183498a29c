//! What the process counts, for Prometheus.
//!
//! Labels are closed sets, or a short hash of a credential. Never a recipient, never a name that somebody else chose.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::operator::Kind;

type Labels = Vec<(&'static str, String)>;

pub struct Metrics {
    registry: Mutex<Registry>,
    passes: Family<Labels, Histogram, fn() -> Histogram>,
    changes: Family<Labels, Counter>,
    sweeps: Family<Labels, Counter>,
    drifts: Counter,
    panics: Counter,
    objects: Family<Labels, Gauge>,
    tokens: Family<Labels, Gauge<f64, AtomicU64>>,
    waiting: Family<Labels, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let buckets = || Histogram::new(exponential_buckets(0.001, 4.0, 8));
        let metrics = Metrics {
            registry: Mutex::new(Registry::with_prefix("cfshare")),
            passes: Family::new_with_constructor(buckets as fn() -> Histogram),
            changes: Family::default(),
            sweeps: Family::default(),
            drifts: Counter::default(),
            panics: Counter::default(),
            objects: Family::default(),
            tokens: Family::default(),
            waiting: Family::default(),
        };
        let mut registry = metrics.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        registry.register_with_unit(
            "pass_duration",
            "How long a look at one object took",
            Unit::Seconds,
            metrics.passes.clone(),
        );
        registry.register(
            "cloudflare_changes",
            "Changing calls to Cloudflare, by what became of them",
            metrics.changes.clone(),
        );
        registry.register("sweeps", "Lists of all shares of an account, by success", metrics.sweeps.clone());
        registry.register("drift_corrections", "Differences at Cloudflare that were put right", metrics.drifts.clone());
        registry.register("panics", "Looks at an object that ended in a panic", metrics.panics.clone());
        registry.register("objects", "Objects that are watched, by kind", metrics.objects.clone());
        registry.register(
            "budget_tokens",
            "Calls to Cloudflare that may be made now, by credential",
            metrics.tokens.clone(),
        );
        registry.register("budget_waiting", "Objects that wait for a call, by credential", metrics.waiting.clone());
        drop(registry);
        metrics
    }
}

impl Metrics {
    pub fn pass(&self, kind: Kind, took: Duration) {
        self.passes.get_or_create(&vec![("kind", kind.to_string())]).observe(took.as_secs_f64());
    }

    pub fn change(&self, outcome: &'static str) {
        self.changes.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
    }

    pub fn sweep(&self, complete: bool) {
        let outcome = if complete { "complete" } else { "failed" };
        self.sweeps.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
    }

    pub fn drift(&self) {
        self.drifts.inc();
    }

    pub fn panic(&self) {
        self.panics.inc();
    }

    pub fn objects(&self, shares: usize, recipients: usize, resources: usize) {
        for (kind, count) in
            [(Kind::Share, shares), (Kind::ShareRecipient, recipients), (Kind::ShareResource, resources)]
        {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.objects.get_or_create(&vec![("kind", kind.to_string())]).set(count);
        }
    }

    pub fn budget(&self, credential: &str, tokens: f64, waiting: usize) {
        let labels = vec![("credential", credential.to_owned())];
        self.tokens.get_or_create(&labels).set(tokens);
        self.waiting.get_or_create(&labels).set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    pub fn render(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Writing to a string does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}
