//! `/livez`, `/readyz` and `/metrics` over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::Health;
use super::metrics::Metrics;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

fn answer(verdict: Result<(), String>) -> (StatusCode, String) {
    match verdict {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, health: Health) -> std::io::Result<()> {
    let (lives, works) = (health.clone(), health);
    let alive = move || std::future::ready(answer(lives.ask(|health, now| health.alive(now))));
    let ready = move || std::future::ready(answer(works.ask(|health, now| health.ready(now))));
    let show = move |headers: HeaderMap| {
        let metrics = metrics.clone();
        async move {
            let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
            let is_openmetrics = prefers_openmetrics(accepted);
            // The series of ten thousand shares take a while, in which this thread could send an edit.
            let rendered = tokio::task::spawn_blocking(move || metrics.render()).await;
            match rendered {
                Ok(text) if is_openmetrics => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
                Ok(text) => ([(header::CONTENT_TYPE, PROMETHEUS_TEXT)], plain(&text)).into_response(),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
            }
        }
    };
    let app = Router::new().route("/livez", get(alive)).route("/readyz", get(ready)).route("/metrics", get(show));
    axum::serve(listener, app).await
}

/// Whether a client takes OpenMetrics at least as gladly as the older format.
fn prefers_openmetrics(accept: &str) -> bool {
    let weight = |form: &str| {
        let entries = accept.split(',').map(|entry| entry.split(';').map(str::trim).collect::<Vec<_>>());
        let weights = entries.filter(|entry| entry[0].eq_ignore_ascii_case(form)).map(|entry| {
            let weight = entry.iter().find_map(|parameter| parameter.strip_prefix("q="));
            weight.and_then(|weight| weight.parse::<f64>().ok()).unwrap_or(1.0)
        });
        weights.fold(0.0, f64::max)
    };
    let openmetrics = weight("application/openmetrics-text");
    openmetrics > 0.0 && openmetrics >= weight("text/plain")
}

/// OpenMetrics in Prometheus' older text format: there a counter's type names the samples, and nothing ends the text.
fn plain(openmetrics: &str) -> String {
    let mut described = None;
    let mut text = String::new();
    for line in openmetrics.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "HELP", name, help] => described = Some((name, help)),
            ["#", "TYPE", name, kind] => {
                let total = if kind == "counter" { "_total" } else { "" };
                if let Some((_, help)) = described.take().filter(|(of, _)| *of == name) {
                    text.push_str(&format!("# HELP {name}{total} {help}\n"));
                }
                let kind = if kind == "unknown" || kind == "info" { "untyped" } else { kind };
                text.push_str(&format!("# TYPE {name}{total} {kind}\n"));
            }
            _ => text.push_str(&format!("{line}\n")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_the_format_that_it_prefers() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in [prometheus, "application/openmetrics-text", "text/plain;q=0.9, application/openmetrics-text"] {
            assert!(prefers_openmetrics(accept), "{accept}");
        }
        let older = "application/openmetrics-text;q=0.2, text/plain;version=0.0.4;q=0.9";
        for accept in ["", "*/*", "text/plain", older, "application/openmetrics-text;q=0, */*"] {
            assert!(!prefers_openmetrics(accept), "{accept}");
        }
    }

    #[test]
    fn the_older_format_names_counters_as_their_samples() {
        let open = "# HELP calls Calls.\n# TYPE calls counter\ncalls_total{outcome=\"ok\"} 1\n# HELP took_seconds Time.\n\
                    # TYPE took_seconds histogram\n# UNIT took_seconds seconds\ntook_seconds_sum 1.0\n# EOF\n";
        let plain_text = "# HELP calls_total Calls.\n# TYPE calls_total counter\ncalls_total{outcome=\"ok\"} 1\n\
                          # HELP took_seconds Time.\n# TYPE took_seconds histogram\ntook_seconds_sum 1.0\n";
        assert_eq!(plain(open), plain_text);
    }
}
