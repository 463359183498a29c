//! `/livez`, `/readyz` and `/metrics` over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::Health;
use super::metrics::Metrics;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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
    let show = move || {
        let metrics = metrics.clone();
        async move { ([(header::CONTENT_TYPE, OPENMETRICS)], metrics.render()).into_response() }
    };
    let app = Router::new().route("/livez", get(alive)).route("/readyz", get(ready)).route("/metrics", get(show));
    axum::serve(listener, app).await
}
