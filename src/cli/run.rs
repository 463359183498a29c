//! `cfshare run`: the operator, and what its installer decides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::sync::watch;

use super::cluster::{self, watched_namespace};
use super::environment::{own_namespace, present, variable};
use super::otlp::Otlp;
use super::remote::Endpoint;
use crate::core::deletions::MaxDeletions;
use crate::core::limiter::Rate;
use crate::core::shard::MAX_SHARDS;
use crate::operator::{self, LabelSelector, Lead, Settings, Vital};
use crate::serve::metrics::Metrics;
use crate::serve::{Health, admin, logs};

const NO_ADMIN: &str = "the admin endpoints are served no more; exiting in order to be restarted";

/// Run the operator, for the cluster of KUBECONFIG or the one it runs in
#[derive(Args, Debug, Clone)]
pub struct Run {
    #[command(flatten)]
    endpoint: Endpoint,
    /// How often to list all shares of an account, to detect changes made by others
    #[arg(long, env = "CFSHARE_SWEEP_INTERVAL", default_value = "10m", value_parser = duration, value_name = "TIME")]
    sweep_interval: Duration,
    /// Shortest interval for polling a change that is in progress
    #[arg(long, env = "CFSHARE_POLL_MIN", default_value = "2s", value_parser = duration, value_name = "TIME")]
    poll_min: Duration,
    /// Longest interval for polling a change that is in progress
    #[arg(long, env = "CFSHARE_POLL_MAX", default_value = "30s", value_parser = duration, value_name = "TIME")]
    poll_max: Duration,
    /// How long to wait before assuming that a request whose response was lost has no effect
    #[arg(long, env = "CFSHARE_SETTLE_TIME", default_value = "240s", value_parser = duration, value_name = "TIME")]
    settle_time: Duration,
    /// Timeout of one request to Cloudflare
    #[arg(long, env = "CFSHARE_CALL_TIMEOUT", default_value = "30s", value_parser = duration, value_name = "TIME")]
    call_timeout: Duration,
    /// Requests to Cloudflare per second, for each credential
    #[arg(long, env = "CFSHARE_API_RATE", default_value_t = 3.0, value_name = "CALLS")]
    api_rate: f64,
    /// Requests to Cloudflare that may be made in one burst, for each credential
    #[arg(long, env = "CFSHARE_API_BURST", default_value_t = 240, value_name = "CALLS")]
    api_burst: u32,
    /// Concurrent requests to Cloudflare, for each credential
    #[arg(long, env = "CFSHARE_API_CONCURRENCY", default_value_t = 8, value_name = "CALLS")]
    api_concurrency: usize,
    /// Change nothing at Cloudflare; only read, compare and report
    #[arg(long, env = "CFSHARE_READ_ONLY")]
    read_only: bool,
    /// Namespaces whose Shares may target a whole organization; `*` for all
    #[arg(long, env = "CFSHARE_ORGANIZATION_SHARES", value_delimiter = ',', value_parser = trusted, value_name = "NAMESPACE")]
    organization_shares: Vec<String>,
    /// How many shares of one account may be deleted within 10 minutes without confirmation, because their Share objects
    /// are deleted. Either an absolute number, or a percentage of the managed shares of the account, at least 5
    #[arg(long, env = "CFSHARE_MAX_DELETIONS", default_value = "10%", value_name = "LIMIT")]
    max_deletions: MaxDeletions,
    /// Namespace to watch; may be repeated; default: all
    #[arg(long, env = "CFSHARE_NAMESPACE", value_delimiter = ',', value_parser = watched_namespace, value_name = "NAMESPACE")]
    namespace: Vec<String>,
    /// Reconcile only objects with these labels
    #[arg(long, env = "CFSHARE_WATCH_LABEL_SELECTOR", value_name = "SELECTOR")]
    watch_label_selector: Option<LabelSelector>,
    /// Be active only while holding a Lease, so that several replicas can run
    #[arg(long, env = "CFSHARE_LEADER_ELECT")]
    leader_elect: bool,
    /// Namespace of the Lease; default: the namespace of the pod, or cfshare-system outside a cluster
    #[arg(long, env = "CFSHARE_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    lease_namespace: Option<String>,
    /// Name of the Lease
    #[arg(long, env = "CFSHARE_LEASE_NAME", default_value = "cfshare", value_name = "NAME")]
    lease_name: String,
    /// How long the Lease is valid without being renewed; must exceed --call-timeout
    #[arg(long, env = "CFSHARE_LEASE_DURATION", default_value = "60s", value_parser = duration, value_name = "TIME")]
    lease_duration: Duration,
    /// Into how many shards the Cloudflare accounts are divided. Each shard has a Lease of its own, so several replicas work
    /// at the same time; must be the same for all replicas
    #[arg(long, env = "CFSHARE_SHARDS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_SHARDS)), value_name = "NUMBER")]
    shards: u16,
    /// Unique name of this replica in the Lease; default: generated
    #[arg(long, env = "CFSHARE_IDENTITY", value_name = "NAME")]
    identity: Option<String>,
    /// Listen address of /livez, /readyz and /metrics
    #[arg(long, env = "CFSHARE_ADMIN_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    admin_listen: SocketAddr,
    /// Format of the log
    #[arg(long, env = "CFSHARE_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: logs::Format,
    /// Filter of the log, such as `info` or `cfshare=debug,kube=warn`
    #[arg(long, env = "CFSHARE_LOG_FILTER", default_value = "info", value_name = "FILTER")]
    log_filter: String,
    #[command(flatten)]
    otlp: Otlp,
}

impl Run {
    pub async fn run(self) -> anyhow::Result<()> {
        self.check()?;
        logs::start(self.log_format, &self.log_filter)?;
        let kube = cluster::client(cluster::config().await?)?;
        let identity = self.identity()?;
        let metrics = Arc::new(Metrics::default());
        let exporter = self.otlp.exporter(&identity, self.endpoint.ca_bundle.as_deref());
        let (counted, traces) = (metrics.clone(), exporter.traces());
        let vital = Vital::default();
        let cloudflare = self.endpoint.lasting_client(&identity, self.call_timeout, &vital)?;
        let cloudflare = cloudflare.observed(move |ended| {
            counted.call_ended(ended);
            traces.call(ended);
        });
        let health = Health::default();
        let listener = tokio::net::TcpListener::bind(self.admin_listen)
            .await
            .with_context(|| format!("--admin-listen: cannot listen on {}", self.admin_listen))?;
        tracing::info!(address = %listener.local_addr()?, "admin endpoints are served");
        let (admin, ends) = (admin::serve(listener, metrics.clone(), health.clone()), vital.clone());
        tokio::spawn(vital.watch(async move {
            if let Err(error) = admin.await {
                tracing::error!(%error, "the admin endpoints are served no more");
            }
            ends.end(NO_ADMIN);
        }));
        let (down, shutdown) = watch::channel(false);
        tokio::spawn(vital.watch(until_told(down)?));
        let options = operator::Options {
            kube,
            cloudflare,
            settings: Settings {
                sweep_interval: self.sweep_interval,
                poll_min: self.poll_min,
                poll_max: self.poll_max,
                settle_time: self.settle_time,
                read_only: self.read_only,
                organization_shares: self.organization_shares.clone(),
                max_deletions: self.max_deletions,
                call_timeout: self.call_timeout,
                calls_per_second: self.api_rate,
            },
            rate: Rate { per_second: self.api_rate, burst: self.api_burst, concurrency: self.api_concurrency },
            namespaces: self.namespace.iter().filter(|name| !name.is_empty()).cloned().collect(),
            selector: self.watch_label_selector.clone().unwrap_or_default(),
            lead: self.leader_elect.then(|| Lead {
                namespace: self.lease_namespace.as_deref().and_then(present).unwrap_or_else(own_namespace),
                name: self.lease_name.clone(),
                identity: identity.clone(),
                duration: self.lease_duration,
            }),
            shards: self.shards,
            metrics,
            traces: exporter.traces(),
            health,
        };
        tracing::info!(version = env!("CARGO_PKG_VERSION"), read_only = self.read_only, "cfshare starts");
        let ended = operator::run(options, vital, shutdown).await;
        exporter.end().await;
        ended
    }

    /// Name of this replica: the given one, or one that no other process has. Containers share host names, and have
    /// the same process id.
    fn identity(&self) -> anyhow::Result<String> {
        if let Some(given) = self.identity.as_deref().and_then(present) {
            return Ok(given);
        }
        let mut unique = [0; 8];
        let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        random.fill(&mut unique).map_err(|_| anyhow::anyhow!("cannot generate a unique --identity: set one"))?;
        let host = variable("HOSTNAME").unwrap_or_else(|| "cfshare".to_owned());
        Ok(format!("{host}_{:016x}", u64::from_be_bytes(unique)))
    }

    fn check(&self) -> anyhow::Result<()> {
        if !(self.api_rate > 0.0 && self.api_rate.is_finite()) || self.api_burst == 0 || self.api_concurrency == 0 {
            anyhow::bail!("--api-rate, --api-burst and --api-concurrency must be greater than 0");
        }
        if self.poll_min > self.poll_max {
            anyhow::bail!("--poll-min must not exceed --poll-max");
        }
        if self.settle_time.is_zero() || self.sweep_interval.is_zero() || self.call_timeout.is_zero() {
            anyhow::bail!("--settle-time, --sweep-interval and --call-timeout must be greater than 0");
        }
        if self.shards > 1 && !self.leader_elect {
            anyhow::bail!("--shards needs --leader-elect: one replica that takes no Lease does all the work");
        }
        if self.leader_elect && self.lease_duration <= self.call_timeout {
            anyhow::bail!(
                "--lease-duration must exceed --call-timeout: a call must end before another replica may lead"
            );
        }
        Ok(())
    }
}

/// Turns true on SIGTERM or SIGINT.
fn until_told(down: watch::Sender<bool>) -> anyhow::Result<impl Future<Output = ()>> {
    let asked = asked_to_end()?;
    Ok(async move {
        asked.await;
        let _ = down.send(true);
    })
}

#[cfg(unix)]
fn asked_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn asked_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

/// A namespace whose Shares may target an organization, or `*`.
fn trusted(text: &str) -> Result<String, String> {
    if text == "*" { Ok(text.to_owned()) } else { watched_namespace(text) }
}

/// A time such as `90s`, `10m`, `1h` or `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<kube::core::Duration>()
        .map(Duration::from)
        .map_err(|_| format!("{text} is not a time: write for example 500ms, 90s, 10m or 1h"))
}
