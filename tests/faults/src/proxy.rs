//! How does a request get from the operator to where it goes, or not?

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

use crate::ledger::{Arrival, Ledger};
use crate::operator::Operator;
use crate::point::{Action, Side};

type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;
type Answer = Response<Body>;

/// How much later a late request is carried out: after the client gave up, before the settle time is over.
pub const LATE: Duration = Duration::from_millis(1200);

/// Who is behind the proxy.
#[derive(Clone)]
pub struct Upstream {
    pub side: Side,
    pub http: Client,
    /// Scheme, host and port.
    pub server: String,
    /// Sent instead of what the client sends.
    pub token: Option<String>,
}

/// One life's way to one upstream; closed with all its connections when dropped.
pub struct Proxy {
    pub url: String,
    serving: AbortHandle,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Where the operator is that a fault kills; set once it runs.
pub type Victim = Arc<std::sync::OnceLock<Arc<Operator>>>;

impl Proxy {
    /// On which faults happen.
    pub async fn start(upstream: Upstream, ledger: Arc<Ledger>, victim: Victim) -> io::Result<Proxy> {
        Proxy::open(upstream, Some((ledger, victim))).await
    }

    /// On which nothing happens.
    pub async fn plain(upstream: Upstream) -> io::Result<Proxy> {
        Proxy::open(upstream, None).await
    }

    async fn open(upstream: Upstream, watched: Option<(Arc<Ledger>, Victim)>) -> io::Result<Proxy> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let way = Arc::new(Way { upstream, watched });
        let serving = tokio::spawn(serve(listener, way)).abort_handle();
        Ok(Proxy { url, serving })
    }
}

struct Way {
    upstream: Upstream,
    watched: Option<(Arc<Ledger>, Victim)>,
}

/// The operator dies, and another one follows it.
async fn kill(ledger: Arc<Ledger>, victim: Victim) {
    replace(ledger, victim, Operator::replace).await;
}

/// The operator ends, as it was asked to, and another one follows it.
async fn succeed(ledger: Arc<Ledger>, victim: Victim) {
    replace(ledger, victim, Operator::succeed).await;
}

async fn replace(ledger: Arc<Ledger>, victim: Victim, how: fn(&Operator) -> Result<(), String>) {
    let replaced = tokio::task::spawn_blocking(move || match victim.get() {
        Some(operator) => how(operator),
        None => Err("there is nobody to replace".to_owned()),
    });
    if let Err(problem) = replaced.await.unwrap_or_else(|e| Err(e.to_string())) {
        ledger.violate(problem);
    }
}

async fn serve(listener: TcpListener, way: Arc<Way>) {
    // Ends its connections when it is dropped.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let way = way.clone();
        connections.spawn(async move {
            let service = service_fn(|request| pass(way.clone(), request));
            // An error here is a connection that a fault or the client closed.
            let _ =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn pass(way: Arc<Way>, request: Request<Incoming>) -> io::Result<Answer> {
    // A task of its own: what is under way goes on when the client dies.
    tokio::spawn(async move { way.answer(request).await }).await.map_err(io::Error::other)?
}

/// A request, whole, ready to be sent on.
struct Parcel {
    head: hyper::http::request::Parts,
    body: Bytes,
}

/// What the upstream made of it.
struct Made {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

fn lost() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

impl Way {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Answer> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let arrival = Arrival {
            side: self.upstream.side,
            verb: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        };
        let parcel = Parcel { head, body };
        let Some((ledger, victim)) = self.watched.clone() else { return self.stream(parcel).await };
        let Some((number, action)) = ledger.arrived(&arrival) else { return self.stream(parcel).await };
        match action {
            None => {
                let made = self.carry_out(&ledger, number, &arrival, parcel).await?;
                ledger.replied(number, made.status);
                Ok(whole(made.status, made.headers, made.body))
            }
            Some(Action::KillBefore) => {
                kill(ledger, victim).await;
                Err(lost())
            }
            Some(Action::KillAfter) => {
                self.carry_out(&ledger, number, &arrival, parcel).await?;
                kill(ledger, victim).await;
                Err(lost())
            }
            Some(Action::Terminate) => {
                if let Some(operator) = victim.get() {
                    operator.terminate();
                }
                tokio::spawn(succeed(ledger.clone(), victim));
                let made = self.carry_out(&ledger, number, &arrival, parcel).await?;
                ledger.replied(number, made.status);
                Ok(whole(made.status, made.headers, made.body))
            }
            Some(Action::Drop) => Err(lost()),
            Some(Action::ApplyDrop) => {
                self.carry_out(&ledger, number, &arrival, parcel).await?;
                Err(lost())
            }
            Some(Action::Late) => {
                tokio::spawn(async move {
                    tokio::time::sleep(LATE).await;
                    let _ = self.carry_out(&ledger, number, &arrival, parcel).await;
                });
                Err(lost())
            }
            Some(Action::RefuseBefore) => Ok(self.failure()),
            Some(Action::RefuseAfter) => {
                self.carry_out(&ledger, number, &arrival, parcel).await?;
                Ok(self.failure())
            }
        }
    }

    async fn send(&self, parcel: Parcel) -> io::Result<reqwest::Response> {
        let Parcel { head, body } = parcel;
        let url = format!("{}{}", self.upstream.server, head.uri);
        let mut headers = head.headers;
        for name in HOP.iter().chain([&header::HOST, &header::CONTENT_LENGTH]) {
            headers.remove(name);
        }
        let mut request = self.upstream.http.request(head.method, url);
        if let Some(token) = &self.upstream.token {
            headers.remove(header::AUTHORIZATION);
            request = request.bearer_auth(token);
        }
        request.headers(headers).body(body).send().await.map_err(io::Error::other)
    }

    /// Sends the request on and notes what came of it.
    async fn carry_out(&self, ledger: &Ledger, number: u64, arrival: &Arrival, parcel: Parcel) -> io::Result<Made> {
        let answer = self.send(parcel).await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.map_err(io::Error::other)?;
        let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        ledger.carried_out(number, arrival, status, &value);
        Ok(Made { status, headers, body })
    }

    /// Sends on what no fault is about: reads and watches of the API server, Events.
    async fn stream(&self, parcel: Parcel) -> io::Result<Answer> {
        let answer: Response<reqwest::Body> = self.send(parcel).await?.into();
        let (mut head, body) = answer.into_parts();
        HOP.iter().for_each(|name| drop(head.headers.remove(name)));
        Ok(Response::from_parts(head, body.map_err(Into::into).boxed_unsync()))
    }

    /// A server that fails.
    fn failure(&self) -> Answer {
        let body = match self.upstream.side {
            Side::Cloudflare => {
                json!({"success": false, "errors": [{"code": 1000, "message": "internal error"}], "result": null})
            }
            Side::Kubernetes => json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "internal error",
                "reason": "InternalError", "code": 500,
            }),
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        whole(500, headers, body.to_string().into())
    }
}

/// Headers that are about one connection.
const HOP: [HeaderName; 3] = [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE];

fn whole(status: u16, headers: HeaderMap, body: Bytes) -> Answer {
    let mut response = Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::BAD_GATEWAY);
    *response.headers_mut() = headers;
    HOP.iter().chain([&header::CONTENT_LENGTH]).for_each(|name| drop(response.headers_mut().remove(name)));
    response
}
