//! Which traces does a collector get, and does one that is away harm anything?

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use cfshare_simulator::{Action, Rule};
use cfshare_testbed::Process;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message;

use crate::Test;
use crate::scene::{OWN_LABEL, Scene, World, ids, operator_with};

pub const TESTS: &[Test] = &[
    ("traces: the pass that creates a share has its POST, with route, status and ray, and no secret", created),
    ("traces: a call that Cloudflare refuses says with what, and how long to wait", throttled),
    ("traces: what is left is sent at the end, under the name of OTEL_SERVICE_NAME, and the log is as without", ended),
    ("traces: a collector that refuses them is told of once, and once more when it accepts them", refused),
    ("traces: a collector that is away or hangs delays neither a pass nor the end", away),
    ("traces: without an endpoint nothing of them runs", off),
];

const CANARY: &str = "canary-of-the-collector";
const LOST: &str = "traces cannot be sent to the collector";

/// What a collector got.
#[derive(Default)]
struct Got {
    requests: Mutex<Vec<ExportTraceServiceRequest>>,
    headers: Mutex<Vec<HeaderMap>>,
    refuses: AtomicBool,
    refused: AtomicUsize,
}

/// A collector for OTLP over HTTP on loopback, until it is dropped.
struct Collector {
    address: SocketAddr,
    got: Arc<Got>,
    _runtime: tokio::runtime::Runtime,
}

async fn take(State(got): State<Arc<Got>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if got.refuses.load(Ordering::Relaxed) {
        got.refused.fetch_add(1, Ordering::Relaxed);
        return StatusCode::BAD_REQUEST;
    }
    got.requests.lock().push(ExportTraceServiceRequest::decode(body).expect("OTLP"));
    got.headers.lock().push(headers);
    StatusCode::OK
}

impl Collector {
    fn start() -> Collector {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let got = Arc::new(Got::default());
        let app = Router::new().route("/v1/traces", post(take)).with_state(got.clone());
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        runtime.spawn(async move { axum::serve(listener, app).await });
        Collector { address, got, _runtime: runtime }
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.got.requests.lock();
        let scopes = requests.iter().flat_map(|request| &request.resource_spans).flat_map(|of| &of.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    fn named(&self, name: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.name == name).collect()
    }
}

fn assert_has(attributes: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(attributes.get(*name).map(String::as_str), Some(*value), "{name}: {attributes:#?}");
    }
}

fn values(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let word = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::ArrayValue(list) => {
            let words = list.values.iter().map(|value| match &value.value {
                Some(Value::StringValue(text)) => text.as_str(),
                other => panic!("{other:?}"),
            });
            format!("[{}]", words.collect::<Vec<_>>().join(", "))
        }
        other => panic!("{other:?}"),
    };
    let pairs = attributes.iter().map(|pair| {
        let value = pair.value.as_ref().and_then(|value| value.value.as_ref()).expect("a value");
        (pair.key.clone(), word(value))
    });
    pairs.collect()
}

/// An operator for this scene alone that sends its traces there.
fn traced(scene: &Scene<'_>, to: SocketAddr, set: &[(&str, &str)]) -> Process {
    let endpoint = format!("http://{to}");
    let mut command =
        operator_with(&scene.world.cluster, &scene.world.simulator, &[("--otlp-endpoint", endpoint.as_str())]);
    command.args(["--watch-label-selector", OWN_LABEL, "--namespace", &scene.namespace]);
    command.env("OTEL_EXPORTER_OTLP_HEADERS", format!("x-key={CANARY}")).envs(set.iter().copied());
    Process::start(command, scene.file("operator.log")).expect("the operator starts")
}

const OFTEN: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "100");
const CREATE: &str = "POST /accounts/{account_id}/shares";

fn created(world: &World) {
    let (scene, collector) = (world.own_scene(), Collector::start());
    let operator = traced(&scene, collector.address, &[OFTEN]);
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    let share = scene.wait_ready("share", "waf");
    scene.wait("the spans", || !collector.named(CREATE).is_empty() && !collector.named("sweep").is_empty());
    let posts = collector.named(CREATE);
    let [post] = &posts[..] else { panic!("{posts:#?}") };
    let of_its_trace = || collector.spans().into_iter().filter(|span| span.trace_id == post.trace_id);
    let root = || of_its_trace().find(|span| span.parent_span_id.is_empty());
    scene.wait("the span of the pass", || root().is_some());
    let root = root().expect("it was there");
    assert_eq!((root.name.as_str(), &post.parent_span_id), ("reconcile Share", &root.span_id));
    assert!(root.start_time_unix_nano <= post.start_time_unix_nano);
    assert!(post.start_time_unix_nano < post.end_time_unix_nano);
    let pass = values(&root.attributes);
    let expected = [
        ("k8s.namespace.name", scene.namespace.as_str()),
        ("cfshare.object.kind", "Share"),
        ("cfshare.object.name", "waf"),
        ("cfshare.object.generation", "1"),
        ("cfshare.outcome", "done"),
    ];
    assert_has(&pass, &expected);
    let calls = share["status"]["recentCalls"].as_array().expect("calls");
    let ray = calls.iter().find(|call| call["call"] == "create share waf").expect("the call")["ray"].as_str();
    let call = values(&post.attributes);
    let ray = format!("[{}]", ray.expect("a ray"));
    let url = format!("{}/accounts/{}/shares", world.simulator.base_url(), scene.account);
    let expected = [
        ("http.request.method", "POST"),
        ("url.template", "/accounts/{account_id}/shares"),
        ("url.full", &url),
        ("http.response.status_code", "201"),
        ("http.response.header.cf-ray", &ray),
        ("server.address", "127.0.0.1"),
        ("cfshare.call", "create_share"),
        ("cfshare.account.id", &scene.account),
    ];
    assert_has(&call, &expected);
    let kind = opentelemetry_proto::tonic::trace::v1::span::SpanKind::Client;
    assert_eq!((post.kind, call.get("error.type")), (kind as i32, None));
    of_an_account(&scene, &collector);
    no_secret(&scene, &collector, &operator);
}

/// Each list of the account is a call in a sweep.
fn of_an_account(scene: &Scene<'_>, collector: &Collector) {
    let sweep = collector.named("sweep").into_iter().next().expect("a sweep");
    assert!(sweep.parent_span_id.is_empty());
    let said = values(&sweep.attributes);
    assert_eq!((&said["cfshare.account.id"], said["cfshare.outcome"].as_str()), (&scene.account, "complete"));
    let lists = collector.named("GET /accounts/{account_id}/shares");
    assert!(lists.iter().any(|list| list.parent_span_id == sweep.span_id), "{lists:#?}");
}

fn no_secret(scene: &Scene<'_>, collector: &Collector, operator: &Process) {
    let requests = collector.got.requests.lock();
    let resource = requests[0].resource_spans[0].resource.as_ref().expect("a resource");
    let said = values(&resource.attributes);
    assert_eq!(
        (said["service.name"].as_str(), said["service.version"].as_str()),
        ("cfshare", env!("CARGO_PKG_VERSION"))
    );
    let all = format!("{requests:?}");
    assert!(all.contains(&scene.account) && !all.contains(&scene.token) && !all.contains(CANARY));
    assert!(collector.got.headers.lock().iter().all(|headers| headers["x-key"] == CANARY));
    let log = operator.log();
    assert!(!log.contains(CANARY) && !log.contains(LOST), "{log}");
}

fn throttled(world: &World) {
    let (scene, collector) = (world.own_scene(), Collector::start());
    let throttle = Action::Throttle { retry_after: Some("3".into()), code: Some(10100) };
    world.simulator.fault(Rule::once("POST", "/accounts/*/shares", throttle).account(&scene.account));
    let _operator = traced(&scene, collector.address, &[OFTEN]);
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.wait("both calls", || collector.named(CREATE).len() == 2);
    let failed = |span: &Span| span.status.as_ref().is_some_and(|status| !status.message.is_empty());
    let (refused, made): (Vec<Span>, Vec<Span>) = collector.named(CREATE).into_iter().partition(failed);
    assert_eq!((refused.len(), made.len()), (1, 1));
    let said = values(&refused[0].attributes);
    let expected = [
        ("http.response.status_code", "429"),
        ("http.response.header.retry-after", "[3]"),
        ("error.type", "429"),
        ("cfshare.error.class", "throttled"),
    ];
    assert_has(&said, &expected);
    assert!(refused[0].status.as_ref().is_some_and(|status| status.message.contains("10100")));
}

fn ended(world: &World) {
    let (scene, collector) = (world.own_scene(), Collector::start());
    let never = ("OTEL_BSP_SCHEDULE_DELAY", "3600000");
    let quiet = ("OTEL_SERVICE_NAME", "sharing");
    let operator = traced(&scene, collector.address, &[never, quiet]);
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    assert_eq!(collector.named(CREATE).len(), 0);
    let status = operator.stop(Duration::from_secs(30));
    assert!(status.is_some_and(|status| status.success()), "{}", operator.log());
    assert_eq!(collector.named(CREATE).len(), 1);
    let requests = collector.got.requests.lock();
    let resource = requests[0].resource_spans[0].resource.as_ref().expect("a resource");
    assert_eq!(values(&resource.attributes)["service.name"], "sharing");
    // The log knows nothing of the spans of calls.
    assert!(!operator.log().contains("url.template"));
}

fn refused(world: &World) {
    let (scene, collector) = (world.own_scene(), Collector::start());
    collector.got.refuses.store(true, Ordering::Relaxed);
    let operator = traced(&scene, collector.address, &[OFTEN]);
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.wait("refusals", || collector.got.refused.load(Ordering::Relaxed) > 2);
    let told = |log: &str| log.lines().filter(|line| line.contains(LOST)).count();
    assert_eq!(told(&operator.log()), 1, "{}", operator.log());
    collector.got.refuses.store(false, Ordering::Relaxed);
    assert!(operator.logs("the collector accepts traces again", Duration::from_secs(30)), "{}", operator.log());
    assert_eq!(told(&operator.log()), 1);
}

fn away(world: &World) {
    // Connections to it are made, and nobody answers.
    let hangs = TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    for (address, is_told) in [(hangs.local_addr().expect("an address"), false), (closed, true)] {
        let scene = world.own_scene();
        let operator = traced(&scene, address, &[OFTEN, ("OTEL_EXPORTER_OTLP_TIMEOUT", "120000")]);
        let [one, first] = ids();
        scene.apply(&scene.share("waf", &[&one], &[&first], ""));
        scene.wait_ready("share", "waf");
        assert!(!is_told || operator.logs(LOST, Duration::from_secs(30)), "{}", operator.log());
        let status = operator.stop(Duration::from_secs(30));
        assert!(status.is_some_and(|status| status.success()), "{}", operator.log());
    }
}

/// Names of the threads of a process.
#[cfg(target_os = "linux")]
fn threads(process: &Process) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", process.pid())).expect("threads");
    let names = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).collect()
}

#[cfg(target_os = "linux")]
fn off(world: &World) {
    let (scene, collector) = (world.own_scene(), Collector::start());
    let traces = |process: &Process| threads(process).iter().any(|name| name.starts_with("OpenTelemetry"));
    let operator = traced(&scene, collector.address, &[]);
    scene.wait("its thread", || traces(&operator));
    assert!(!traces(&world.operator), "{:?}", threads(&world.operator));
    assert!(!world.operator.log().contains("traces are sent"));
}

#[cfg(not(target_os = "linux"))]
fn off(_: &World) {}
