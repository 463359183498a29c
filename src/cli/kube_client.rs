//! The connections to the API server.

use axum::body::{Body as AnyBody, Bytes, HttpBody, to_bytes};
use http::header::RETRY_AFTER;
use http::{Response, StatusCode};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config};
use serde_json::{Map, Value, json};
use tower::util::AndThenLayer;
use tower::{BoxError, ServiceBuilder};

/// So many connections are kept that nobody uses. Each has its buffers, and a burst of requests opens dozens.
const IDLE: usize = 8;
/// Longest refusal that is read.
const MAX_REFUSAL: usize = 1 << 20;

/// A client for this cluster that does not retry.
///
/// Kube's own client leaves Nagle's algorithm on, so that about one request in ten waits 40 ms until the server has
/// acknowledged the data before it. Behind a proxy, kube's client is used nevertheless.
pub fn client(config: Config) -> kube::Result<Client> {
    if config.proxy_url.is_some() {
        return Ok(ClientBuilder::try_from(config)?.with_layer(&AndThenLayer::new(keep_pause)).build());
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let service = ServiceBuilder::new()
        .layer(AndThenLayer::new(keep_pause))
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(
            legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(IDLE).build::<_, Body>(connector),
        );
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

/// Writes into a refusal for how long its header asks us to wait: kube passes on only what the body says, and where the API
/// server is overloaded that is one line of text.
async fn keep_pause<B>(response: Response<B>) -> Result<Response<AnyBody>, BoxError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (head, body) = response.into_parts();
    let body = AnyBody::new(body);
    let refuses = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&head.status);
    let pause = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok());
    let Some(pause) = pause.filter(|_| refuses) else { return Ok(Response::from_parts(head, body)) };
    let said = to_bytes(body, MAX_REFUSAL).await?;
    Ok(Response::from_parts(head.clone(), with_pause(&said, head.status, pause).to_string().into()))
}

/// The refusal as a Status that names the pause, unless it does so itself.
fn with_pause(said: &[u8], code: StatusCode, pause: u32) -> Value {
    let status = serde_json::from_slice(said).ok().filter(|status: &Value| status["kind"] == "Status");
    let mut status = status.unwrap_or_else(|| {
        json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(),
            "message": String::from_utf8_lossy(said).trim(),
        })
    });
    let details = &mut status["details"];
    if !details.is_object() {
        *details = Value::Object(Map::new());
    }
    if details["retryAfterSeconds"].as_u64().unwrap_or(0) == 0 {
        details["retryAfterSeconds"] = pause.into();
    }
    status
}

#[cfg(test)]
mod tests {
    use http::Request;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;

    use super::*;

    /// What kube makes of a refusal: its text, and for how many seconds the API server asks us to wait.
    async fn refused(code: u16, header: &'static str, body: &'static str) -> (String, u32) {
        let server = tower::service_fn(move |_: Request<Body>| {
            let answer = Response::builder().status(code).header(RETRY_AFTER, header).body(AnyBody::from(body));
            async move { Ok::<_, BoxError>(answer.expect("an answer")) }
        });
        let client = ClientBuilder::new(server, "a").with_layer(&AndThenLayer::new(keep_pause)).build();
        match Api::<ConfigMap>::namespaced(client, "a").get("x").await {
            Err(kube::Error::Api(status)) => {
                assert_eq!(status.code, code);
                (status.message.clone(), status.details.map_or(0, |details| details.retry_after_seconds))
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn for_how_long_a_refusal_asks_to_wait_is_kept_whether_its_header_says_it_or_its_body() {
        let own = r#"{"kind": "Status", "code": 429, "message": "b", "details": {"retryAfterSeconds": 7}}"#;
        let bare = r#"{"kind": "Status", "code": 503, "message": "c", "details": {"kind": "shares"}}"#;
        assert_eq!(refused(429, "30", "too many\n").await, ("too many".to_owned(), 30));
        assert_eq!(refused(429, "30", own).await, ("b".to_owned(), 7));
        assert_eq!(refused(503, "30", bare).await, ("c".to_owned(), 30));
        assert_eq!(refused(503, "Fri, 31 Dec 1999 23:59:59 GMT", bare).await, ("c".to_owned(), 0));
        assert_eq!(refused(500, "30", "no").await, ("no".to_owned(), 0));
    }
}
