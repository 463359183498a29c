//! A proxy before the API server that keeps back the end of streaming lists, as some do in the field, or some of what a
//! watch brings, or is slow to list or refuses, or loses answers or parts of them, or refuses writes, and can end all watches
//! so that everything is listed again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use cfshare_testbed::Cluster;
use futures::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::scene::Scene;

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
    /// A list of all child objects takes so long.
    SlowLists(Duration),
    /// From the beginning to the end, objects of this plural cannot be watched; `lists`: nor listed.
    Refuse { plural: &'static str, status: u16, lists: bool },
    /// Every watch ends as soon as it has begun, as it should.
    EmptyWatches,
    /// Every watch ends as soon as it has begun, since its version is too old.
    ExpiredWatches,
    /// Only so much of a Secret comes as is before this text.
    CutSecrets(&'static str),
    /// The answers to patches get lost as [`Interceptor::lose`] says.
    LostAnswers,
    /// While it is switched on, each write of a status ends with this code, and asks to wait for 30 seconds if that is 429.
    RefuseStatus(u16),
}

impl Fault {
    /// The last that a watch brings which ends as soon as it has begun.
    fn last_words(self) -> Option<&'static str> {
        match self {
            Fault::EmptyWatches => Some(""),
            Fault::ExpiredWatches => Some(EXPIRED),
            Fault::DropMarks | Fault::DelayMarks(_) | Fault::Delay(..) | Fault::Die(_) | Fault::SlowLists(_) => None,
            Fault::CutSecrets(_) | Fault::LostAnswers | Fault::RefuseStatus(_) | Fault::Refuse { .. } => None,
        }
    }

    /// The status that such a request is refused with.
    fn refusal(self, head: &Parts) -> Option<StatusCode> {
        let Fault::Refuse { plural, status, lists } = self else { return None };
        let asks = |what: &str| head.uri.query().is_some_and(|query| query.contains(what));
        let is_meant = head.method == Method::GET && head.uri.path().ends_with(plural);
        let is_refused = is_meant && (lists || asks("watch=true"));
        StatusCode::from_u16(status).ok().filter(|_| is_refused)
    }
}

#[derive(Clone)]
struct Upstream {
    http: reqwest::Client,
    server: String,
    token: String,
    fault: Fault,
    held: Arc<AtomicUsize>,
    /// Whether it refuses what it is to refuse.
    refuses: Arc<AtomicBool>,
    switched_on: Arc<AtomicBool>,
    expired: watch::Receiver<()>,
    lost: Arc<Mutex<Option<String>>>,
}

/// Serves plain HTTP as the administrator until it is dropped, and lets every line pass but those with the mark.
pub struct Interceptor {
    address: SocketAddr,
    held: Arc<AtomicUsize>,
    refuses: Arc<AtomicBool>,
    switched_on: Arc<AtomicBool>,
    expired: watch::Sender<()>,
    lost: Arc<Mutex<Option<String>>>,
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
        let refuses = Arc::new(AtomicBool::new(false));
        let server = cluster.server();
        let (lost, switched_on) = (Arc::new(Mutex::new(None)), Arc::<AtomicBool>::default());
        let upstream = Upstream {
            http,
            server,
            token,
            fault,
            held: held.clone(),
            switched_on: switched_on.clone(),
            refuses: refuses.clone(),
            expired: expires,
            lost: lost.clone(),
        };
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let app = Router::new().fallback(pass).with_state(upstream);
        runtime.spawn(async { axum::serve(listener, app).await });
        Interceptor { address, held, switched_on, refuses, expired, lost, _runtime: runtime }
    }

    /// The next patch with this text is applied, and its answer gets lost.
    pub fn lose(&self, text: &str) {
        *self.lost.lock().expect("no panic") = Some(text.to_owned());
    }

    /// Begins to refuse writes, or stops that.
    pub fn switch(&self, on: bool) {
        self.switched_on.store(on, Ordering::SeqCst);
    }

    /// How many marks, slow lists, cut Secrets, lost answers or refused writes came by so far.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Ends all watches, so that their clients have to list again.
    pub fn expire(&self) {
        self.expired.send_replace(());
    }

    /// Has the operator that this command starts call the API server through here.
    pub fn lead(&self, scene: &Scene<'_>, command: &mut Command) {
        let kubeconfig = scene.file("proxy.kubeconfig");
        self.kubeconfig(&kubeconfig);
        command.env("KUBECONFIG", kubeconfig);
    }

    /// From now on it refuses what it is to refuse, and all watches end.
    pub fn begin(&self) {
        self.refuses.store(true, Ordering::SeqCst);
        self.expire();
    }

    pub fn end(&self) {
        self.refuses.store(false, Ordering::SeqCst);
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
    if let Some(refusal) = upstream.fault.refusal(&head)
        && upstream.refuses.load(Ordering::SeqCst)
    {
        return refused(refusal);
    }
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let is_secret = head.uri.path().contains("/secrets/");
    let is_lost = matches!(upstream.fault, Fault::LostAnswers)
        && head.method == axum::http::Method::PATCH
        && upstream
            .lost
            .lock()
            .expect("no panic")
            .take_if(|text| String::from_utf8_lossy(&body).contains(text.as_str()))
            .is_some();
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
    if let Fault::RefuseStatus(code) = upstream.fault
        && upstream.switched_on.load(Ordering::SeqCst)
        && head.uri.path().ends_with("/status")
    {
        upstream.held.fetch_add(1, Ordering::SeqCst);
        return refusal(code);
    }
    let Ok(answer) = sent.send().await else { return axum::http::StatusCode::BAD_GATEWAY.into_response() };
    if is_lost {
        upstream.held.fetch_add(1, Ordering::SeqCst);
        return axum::http::StatusCode::BAD_GATEWAY.into_response();
    }
    if let Fault::CutSecrets(at) = upstream.fault
        && is_secret
    {
        upstream.held.fetch_add(1, Ordering::SeqCst);
        let text = answer.text().await.unwrap_or_default();
        return text[..text.find(at).unwrap_or(text.len())].to_owned().into_response();
    }
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

fn refusal(code: u16) -> Response {
    let status = axum::http::StatusCode::from_u16(code).expect("a code");
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "not now", "code": code,
    });
    match code {
        // As where the API server has too much to do.
        429 => (status, [("retry-after", "30")], "Too many requests, please try again later.").into_response(),
        _ => (status, body.to_string()).into_response(),
    }
}

fn refused(status: StatusCode) -> Response {
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "not now", "code": status.as_u16(),
    });
    (status, [("content-type", "application/json")], body.to_string()).into_response()
}

/// Whether it lists all child objects, and not one to learn the version before a watch.
fn is_child_list(uri: &Uri) -> bool {
    let is_of_children = ["/sharerecipients", "/shareresources"].iter().any(|kind| uri.path().ends_with(kind));
    let asks = |what: &str| uri.query().is_some_and(|query| query.split('&').any(|part| part == what));
    is_of_children && !asks("limit=1") && !asks("watch=true")
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
            let counts = is_mark
                && !matches!(upstream.fault, Fault::CutSecrets(_) | Fault::LostAnswers | Fault::RefuseStatus(_));
            upstream.held.fetch_add(usize::from(counts), Ordering::SeqCst);
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
                | Fault::Refuse { .. }
                | Fault::EmptyWatches
                | Fault::ExpiredWatches
                | Fault::CutSecrets(_)
                | Fault::LostAnswers
                | Fault::RefuseStatus(_) => {
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
