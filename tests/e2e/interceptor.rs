//! A proxy before the API server that keeps back the end of streaming lists, as some do in the field, or some of what a
//! watch brings, or is slow to list, and can end all watches so that everything is listed again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use cfshare_testbed::Cluster;
use futures::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// What marks the end of the objects that were there when a watch began.
const MARK: &str = "k8s.io/initial-events-end";

/// How the API server ends a watch whose version is too old.
const EXPIRED: &str = concat!(
    r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","code":410,"#,
    r#""reason":"Expired","message":"too old resource version"}}"#,
    "\n"
);

/// What the proxy does to the lines of a watch, or to a list.
#[derive(Clone, Copy)]
pub enum Fault {
    /// The marks never come.
    DropMarks,
    /// The marks come so much later, and what comes after them passes them meanwhile.
    DelayMarks(Duration),
    /// Lines that contain this text come so much later.
    Delay(&'static str, Duration),
    /// From a line with this text on, nothing comes, and the connection stays open.
    Die(&'static str),
    /// A list of child objects of any labels takes so long.
    SlowLists(Duration),
    /// Every watch ends as soon as it has begun, as it should.
    EmptyWatches,
    /// Every watch ends as soon as it has begun, since its version is too old.
    ExpiredWatches,
}

impl Fault {
    /// The last that a watch brings which ends as soon as it has begun.
    fn last_words(self) -> Option<&'static str> {
        match self {
            Fault::EmptyWatches => Some(""),
            Fault::ExpiredWatches => Some(EXPIRED),
            Fault::DropMarks | Fault::DelayMarks(_) | Fault::Delay(..) | Fault::Die(_) | Fault::SlowLists(_) => None,
        }
    }
}

#[derive(Clone)]
struct Upstream {
    http: reqwest::Client,
    server: String,
    token: String,
    fault: Fault,
    held: Arc<AtomicUsize>,
    expired: watch::Receiver<()>,
}

/// Serves plain HTTP as the administrator until it is dropped, and lets every line pass but those with the mark.
pub struct Interceptor {
    address: SocketAddr,
    held: Arc<AtomicUsize>,
    expired: watch::Sender<()>,
    _runtime: tokio::runtime::Runtime,
}

impl Interceptor {
    pub fn start(cluster: &Cluster, fault: Fault) -> Interceptor {
        let text = std::fs::read_to_string(cluster.kubeconfig()).expect("a kubeconfig");
        let token = text.lines().find_map(|line| line.trim().strip_prefix("token: ")).expect("a token").to_owned();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let http =
            reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).build().expect("a client");
        let ((expired, expires), held) = (watch::channel(()), Arc::new(AtomicUsize::new(0)));
        let server = cluster.server();
        let upstream = Upstream { http, server, token, fault, held: held.clone(), expired: expires };
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let app = Router::new().fallback(pass).with_state(upstream);
        runtime.spawn(async { axum::serve(listener, app).await });
        Interceptor { address, held, expired, _runtime: runtime }
    }

    /// How many marks, or slow lists, came by so far.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Ends all watches, so that their clients have to list again.
    pub fn expire(&self) {
        self.expired.send_replace(());
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
    if let Fault::SlowLists(by) = upstream.fault
        && is_child_list(&head.uri)
    {
        upstream.held.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(by).await;
    }
    let Ok(answer) = sent.send().await else { return axum::http::StatusCode::BAD_GATEWAY.into_response() };
    let status = answer.status();
    let kind = answer.headers().get("content-type").cloned();
    let (lines, passed) = mpsc::channel(16);
    let asks = |what: &str| head.uri.query().is_some_and(|query| query.contains(what));
    let is_watch = asks("watch=true");
    let begun = upstream.fault.last_words().filter(|_| is_watch && !asks("sendInitialEvents=true"));
    match begun {
        Some(last) => drop(lines.try_send(last.into())),
        None => drop(tokio::spawn(relay(answer, lines, upstream, is_watch))),
    }
    let lines = stream(passed);
    let mut response = Response::new(Body::from_stream(lines));
    *response.status_mut() = status;
    if let Some(kind) = kind {
        response.headers_mut().insert("content-type", kind);
    }
    response
}

/// Whether it lists child objects, whatever their labels.
fn is_child_list(uri: &Uri) -> bool {
    let is_of_children = ["/sharerecipients", "/shareresources"].iter().any(|kind| uri.path().ends_with(kind));
    is_of_children && !uri.query().is_some_and(|query| query.contains("labelSelector") || query.contains("watch=true"))
}

fn stream(lines: mpsc::Receiver<Bytes>) -> impl futures::Stream<Item = Result<Bytes, Infallible>> {
    futures::stream::unfold(lines, |mut lines| async move { lines.recv().await.map(|line| (line, lines)) }).map(Ok)
}

/// Passes the lines of an answer on until it ends, or nobody takes them.
async fn relay(mut answer: reqwest::Response, lines: mpsc::Sender<Bytes>, mut upstream: Upstream, is_watch: bool) {
    let (mut rest, mut late) = (Vec::new(), VecDeque::new());
    upstream.expired.mark_unchanged();
    loop {
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line);
            let is_mark = text.contains(MARK);
            let is_delayed = matches!(upstream.fault, Fault::Delay(with, _) if is_watch && text.contains(with));
            upstream.held.fetch_add(usize::from(is_mark), Ordering::SeqCst);
            match upstream.fault {
                Fault::DropMarks if is_mark => {}
                Fault::DelayMarks(by) if is_mark => late.push_back((Instant::now() + by, Bytes::from(line))),
                Fault::Delay(_, by) if is_delayed => late.push_back((Instant::now() + by, Bytes::from(line))),
                Fault::Die(with) if is_watch && text.contains(with) => return lines.closed().await,
                Fault::DropMarks
                | Fault::DelayMarks(_)
                | Fault::Delay(..)
                | Fault::Die(_)
                | Fault::SlowLists(_)
                | Fault::EmptyWatches
                | Fault::ExpiredWatches => {
                    if lines.send(line.into()).await.is_err() {
                        return;
                    }
                }
            }
            if let Some(last) = upstream.fault.last_words().filter(|_| is_mark) {
                let _ = lines.send(last.into()).await;
                return;
            }
        }
        let due = late.front().map(|(at, _)| *at);
        let next = tokio::select! {
            chunk = answer.chunk() => match chunk {
                Ok(Some(chunk)) => {
                    rest.extend_from_slice(&chunk);
                    continue;
                }
                Ok(None) | Err(_) => {
                    let _ = lines.send(rest.into()).await;
                    return;
                }
            },
            () = async { tokio::time::sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {
                late.pop_front().map(|(_, line)| line)
            }
            Ok(()) = upstream.expired.changed(), if is_watch => {
                let _ = lines.send(EXPIRED.into()).await;
                return;
            }
        };
        if let Some(line) = next
            && lines.send(line).await.is_err()
        {
            return;
        }
    }
}
