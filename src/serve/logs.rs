//! How log lines look.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// Starts logging to standard error. The filter is of the form `info` or `cfshare=debug,kube=warn`.
pub fn start(format: Format, filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| anyhow::anyhow!("--log-filter: {error}; write for example info or cfshare=debug,kube=warn"))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        Format::Text => logs.with_ansi(false).init(),
        Format::Json => logs.json().flatten_event(true).with_current_span(true).with_span_list(false).init(),
    }
    Ok(())
}
