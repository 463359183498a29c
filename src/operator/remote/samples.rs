//! The only way to Cloudflare, for tests without Cloudflare.

use std::sync::Arc;
use std::time::Duration;

use super::Remote;
use super::accounts::Accounts;
use super::credentials::Credentials;
use super::limiters::Limiters;
use crate::cloudflare::{Client, Options};
use crate::core::limiter::Rate;
use crate::operator::clock::Clock;
use crate::operator::cluster::leadership::Leadership;
use crate::operator::cluster::work_queue::Requeuer;
use crate::operator::settings::Settings;
use crate::operator::vital::Vital;
use crate::serve::metrics::Metrics;
use crate::serve::traces::Traces;

/// A client that reaches nobody.
pub fn client() -> Client {
    // Another test may have done so already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::new(Options { base_url: "http://127.0.0.1:1".into(), ..Options::default() }).expect("a client")
}

/// One replica that always leads, with that client; Secrets are read with `kube`.
pub fn remote(kube: kube::Client, client: Client, metrics: Arc<Metrics>, clock: Clock) -> Remote {
    let settings = Settings {
        sweep_interval: Duration::from_secs(600),
        settle_time: Duration::from_secs(240),
        calls_per_second: 3.0,
        call_timeout: Duration::from_secs(60),
        ..Settings::default()
    };
    let rate = Rate { per_second: settings.calls_per_second, burst: 240, concurrency: 8 };
    let limiters = Limiters::new(rate, 1.0, clock, Arc::new(Requeuer::new(Vec::new())), Vital::default());
    Remote {
        clock,
        client,
        accounts: Accounts::new(settings.sweep_interval).0,
        limiters,
        credentials: Credentials::new(kube, clock),
        leadership: Leadership::always(),
        shutdown: Default::default(),
        metrics,
        traces: Traces::default(),
        settings,
    }
}
