//! A proxy before the API server that keeps back the end of streaming lists, as some do in the field.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use cfshare_testbed::Cluster;

/// What marks the end of the objects that were there when a watch began.
const MARK: &str = "k8s.io/initial-events-end";

#[derive(Clone)]
struct Upstream {
    http: reqwest::Client,
    server: String,
    token: String,
}

/// Serves plain HTTP as the administrator until it is dropped, and lets every line pass but those with the mark.
pub struct Interceptor {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Interceptor {
    pub fn start(cluster: &Cluster) -> Interceptor {
        let text = std::fs::read_to_string(cluster.kubeconfig()).expect("a kubeconfig");
        let token = text.lines().find_map(|line| line.trim().strip_prefix("token: ")).expect("a token").to_owned();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().expect("a client");
        let upstream = Upstream { http, server: cluster.server(), token };
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let app = Router::new().fallback(pass).with_state(upstream);
        runtime.spawn(async { axum::serve(listener, app).await });
        Interceptor { address, _runtime: runtime }
    }

    /// Writes a kubeconfig that leads here.
    pub fn kubeconfig(&self, path: &Path) {
        let server = format!("http://{}", self.address);
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: x, cluster: {{server: {server}}}}}]\n\
             users: [{{name: x, user: {{}}}}]\ncontexts: [{{name: x, context: {{cluster: x, user: x}}}}]\n\
             current-context: x\n"
        );
        std::fs::write(path, text).expect("a file");
    }
}

async fn pass(State(upstream): State<Upstream>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let url = format!("{}{}", upstream.server, head.uri);
    let mut sent = upstream.http.request(head.method, url).bearer_auth(&upstream.token).body(body);
    for name in ["content-type", "accept"] {
        if let Some(value) = head.headers.get(name) {
            sent = sent.header(name, value);
        }
    }
    let Ok(answer) = sent.send().await else { return axum::http::StatusCode::BAD_GATEWAY.into_response() };
    let status = answer.status();
    let kind = answer.headers().get("content-type").cloned();
    let lines = futures::stream::unfold((answer, Vec::new()), |(mut answer, mut rest)| async move {
        loop {
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if !String::from_utf8_lossy(&line).contains(MARK) {
                    return Some((Ok::<_, Infallible>(Bytes::from(line)), (answer, rest)));
                }
                continue;
            }
            match answer.chunk().await {
                Ok(Some(chunk)) => rest.extend_from_slice(&chunk),
                Ok(None) | Err(_) if rest.is_empty() => return None,
                Ok(None) | Err(_) => return Some((Ok(Bytes::from(std::mem::take(&mut rest))), (answer, rest))),
            }
        }
    });
    let mut response = Response::new(Body::from_stream(lines));
    *response.status_mut() = status;
    if let Some(kind) = kind {
        response.headers_mut().insert("content-type", kind);
    }
    response
}
