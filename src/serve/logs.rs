//! How log lines look, and which are never written.

use clap::ValueEnum;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::{Filter, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

/// Logs the whole text of what the API server answers where it cannot be read, and that may be a Secret.
const QUOTES_ANSWERS: &str = "kube_client::client";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// Starts logging to standard error. The filter is of the form `info` or `cfshare=debug,kube=warn`.
pub fn start(format: Format, filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| anyhow::anyhow!("--log-filter: {error}; write for example info or cfshare=debug,kube=warn"))?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        Format::Text => lines.with_ansi(false).boxed(),
        Format::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(without_answers(filter))).init();
    Ok(())
}

/// Whatever a filter lets through but what quotes the API server, which no filter brings back.
fn without_answers<S: Subscriber + for<'span> LookupSpan<'span>>(filter: EnvFilter) -> impl Filter<S> {
    use tracing_subscriber::filter::FilterExt as _;
    let others = filter_fn(|line: &Metadata<'_>| line.target() != QUOTES_ANSWERS);
    // Without a hint of its own it would have every line of all levels prepared.
    filter.and(others.with_max_level_hint(LevelFilter::TRACE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_text::LogText;

    #[tokio::test]
    async fn no_filter_lets_an_answer_through_that_kube_could_not_read() {
        for filter in ["info", "trace", "kube_client::client=trace", "warn,kube_client::client[{message}]=trace"] {
            let log = LogText::default();
            let writer = log.clone();
            let lines = fmt::layer().with_writer(move || writer.clone());
            let lines = lines.with_filter(without_answers(EnvFilter::try_new(filter).expect("a filter")));
            let _logging = tracing_subscriber::registry().with(lines).set_default();
            let server = tower::service_fn(|_: http::Request<kube::client::Body>| async {
                let body = kube::client::Body::from(b"{\"data\": {\"apiToken\": \"canary".to_vec());
                Ok::<_, std::io::Error>(http::Response::new(body))
            });
            let request = http::Request::get("/").body(Vec::new()).expect("a request");
            let read = kube::Client::new(server, "a").request::<serde_json::Value>(request).await;
            assert!(matches!(read, Err(kube::Error::SerdeError(_))), "{read:?}");
            tracing::warn!(target: "kube_client::client::tls", "another line of that crate");
            let text = log.read();
            assert!(!text.contains("canary") && text.contains("another line"), "{filter}: {text}");
        }
    }
}
