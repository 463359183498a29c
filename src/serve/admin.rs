//! `/livez`, `/readyz` and `/metrics` over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::Readiness;
use super::metrics::Metrics;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, readiness: Readiness) -> std::io::Result<()> {
    let ready = move || {
        let readiness = readiness.clone();
        async move {
            if readiness.is_fine() {
                (StatusCode::OK, "ok\n")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "the first lists are not complete\n")
            }
        }
    };
    let show = move || {
        let metrics = metrics.clone();
        async move { ([(header::CONTENT_TYPE, OPENMETRICS)], metrics.render()).into_response() }
    };
    let app =
        Router::new().route("/livez", get(async || "ok\n")).route("/readyz", get(ready)).route("/metrics", get(show));
    axum::serve(listener, app).await
}
