//! Whether the operator says how it is, and does what it can, where it cannot list, watch or lead.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use cfshare_simulator::Edit;
use cfshare_testbed::{Cluster, Options, Process};

use crate::Test;
use crate::interceptor::{Fault, Interceptor};
use crate::scene::{self, OWN_LABEL, PATIENCE, Scene, World, ids};

pub const TESTS: &[Test] = &[
    ("health: a namespace that cannot be listed holds up no other, and is served once it can be", one_namespace),
    ("health: an operator that lists nothing ends at once and gives the Lease back", ends_at_once),
    ("health: without CRDs the operator is not ready, and its log says what to install", no_crds),
    ("health: an operator that may not watch is not ready", no_watch),
    ("health: an operator that does not reach the API server is not ready", no_server),
    ("health: an operator that may not read its Lease is not ready", no_lease),
    ("health: a replica that waits is ready", waiting),
    ("health: two replicas with an empty identity have one leader", empty_identity),
    ("health: the Lease is in the pod's own namespace", own_namespace),
    ("health: an API server without streaming lists is listed in pages", no_streaming),
    ("health: behind a proxy that keeps the end of streaming lists back, pages are listed", no_mark),
    ("health: what changes at Cloudflare before the watch brings our own write is seen", late_watch),
    ("health: a Share that is created while everything is listed again is looked at", created_during_list),
    ("health: booleans of the environment are what people write", booleans),
];

/// What `rule` grants to a ServiceAccount in a namespace; the Lease and Events too.
pub fn grant(scene: &Scene<'_>, namespace: &str, account: &str, verbs: &str, lease: bool) {
    let leases = if lease {
        "- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, create, update]}\n"
    } else {
        ""
    };
    let yaml = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: {account}, namespace: {namespace}}}\n\
         rules:\n\
         - {{apiGroups: [cfshare.dev], resources: [shares, sharerecipients, shareresources], verbs: [{verbs}]}}\n\
         - {{apiGroups: [cfshare.dev], resources: [shares/status, sharerecipients/status, shareresources/status], verbs: [patch]}}\n\
         - {{apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch]}}\n\
         - {{apiGroups: [''], resources: [secrets], resourceNames: [cloudflare-credentials], verbs: [get]}}\n\
         {leases}---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: {account}, namespace: {namespace}}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {account}}}\n\
         subjects: [{{kind: ServiceAccount, name: {account}, namespace: {}}}]\n",
        scene.namespace
    );
    let apply = ["apply", "--server-side", "-f", "-"];
    scene.world.cluster.run(&apply, Some(&yaml)).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
}

pub const ALL: &str = "get, list, watch, patch";

/// A ServiceAccount of the scene's namespace, and its kubeconfig.
pub fn account(scene: &Scene<'_>, name: &str) -> PathBuf {
    scene.kubectl(&["create", "serviceaccount", name]);
    scene.world.cluster.kubeconfig_for(&scene.namespace, name).expect("a kubeconfig")
}

pub fn command(scene: &Scene<'_>, kubeconfig: &PathBuf, namespaces: &str, flags: &[(&str, &str)]) -> Command {
    let mut command = scene::operator_with(&scene.world.cluster, &scene.world.simulator, flags);
    command.env("KUBECONFIG", kubeconfig);
    command.args(["--namespace", namespaces, "--watch-label-selector", OWN_LABEL]);
    command
}

pub fn start(scene: &Scene<'_>, log: &str, command: Command) -> Process {
    let operator = Process::start(command, scene.file(log)).expect("the operator starts");
    assert!(operator.logs("admin endpoints", PATIENCE), "{}", operator.log());
    operator
}

/// Status and body of an answer.
fn ask(operator: &Process, path: &str) -> (u16, String) {
    let log = operator.log();
    let line = log.lines().find(|line| line.contains("admin endpoints")).expect("its address in the log");
    let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an address");
    let mut stream = TcpStream::connect(address.trim_matches('"')).expect("a connection");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").expect("a body").1.to_owned())
}

fn shows(operator: &Process, line: &str) -> bool {
    ask(operator, "/metrics").1.lines().any(|shown| shown == line)
}

/// Waits until the metrics have these lines, and expects that it was never ready and never led until then.
fn never_ready(scene: &Scene<'_>, operator: &Process, lines: &[&str]) {
    scene.wait(&format!("{lines:?} in {}", ask(operator, "/metrics").1), || {
        let (status, body) = ask(operator, "/readyz");
        assert_eq!(status, 503, "{body}\n{}", operator.log());
        assert!(shows(operator, "cfshare_leads 0"), "{}", operator.log());
        lines.iter().all(|line| shows(operator, line))
    });
    assert_eq!(ask(operator, "/livez").0, 200);
}

/// The alert asks for that metric.
fn alerts(alert: &str, metric: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/chart/files/alerts.yaml");
    let alerts: serde_json::Value = serde_yaml::from_str(&fs::read_to_string(path).expect("alerts")).expect("YAML");
    let rules = alerts["groups"][0]["rules"].as_array();
    let named = rules.into_iter().flatten().find(|rule| rule["alert"] == alert);
    let expression = named.and_then(|rule| rule["expr"].as_str()).unwrap_or_else(|| panic!("no alert {alert}"));
    assert!(expression.contains(metric), "{alert} asks for {expression}");
}

fn one_namespace(world: &World) {
    let (a, b) = (world.own_scene(), world.own_scene());
    let kubeconfig = account(&a, "partly");
    grant(&a, &b.namespace, "partly", ALL, false);
    let names = format!("{},{}", a.namespace, b.namespace);
    let operator = start(&a, "operator.log", command(&a, &kubeconfig, &names, &[]));
    let [account, rules] = ids();
    let began = Instant::now();
    b.apply(&b.share("waf", &[&account], &[&rules], ""));
    b.wait_ready("share", "waf");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(ask(&operator, "/readyz").0, 200);
    assert!(shows(&operator, "cfshare_leads 1"));
    for kind in ["Share", "ShareRecipient", "ShareResource"] {
        for (metric, alert) in
            [("list_incomplete", "CfshareNamespaceNotServed"), ("watch_failing", "CfshareWatchFails")]
        {
            let of = |scene: &Scene<'_>| {
                format!("cfshare_{metric}{{kind=\"{kind}\",watched_namespace=\"{}\"}}", scene.namespace)
            };
            a.wait(&format!("{} 1", of(&a)), || shows(&operator, &format!("{} 1", of(&a))));
            assert!(shows(&operator, &format!("{} 0", of(&b))), "{}", ask(&operator, "/metrics").1);
            alerts(alert, metric);
        }
    }
    assert!(operator.log().contains(&format!("in namespace {}", a.namespace)), "{}", operator.log());

    // The other one claims the same name in the same account, and is the younger.
    a.apply(&a.share("waf", &[&account], &[&rules], "").replace(&a.account, &b.account));
    a.kubectl(&["get", "share", "waf"]);
    grant(&a, &a.namespace, "partly", ALL, false);
    a.put_token(&b.token);
    a.wait_for("share", "waf", "was told of its rival", |share| {
        scene::condition(share, "Ready").is_some_and(|ready| ready["reason"] == "Claimed")
    });
    assert_eq!(b.live().len(), 1, "{:#?}", b.live());
    let line = format!("cfshare_list_incomplete{{kind=\"Share\",watched_namespace=\"{}\"}} 0", a.namespace);
    a.wait("word that it is listed", || shows(&operator, &line));
}

fn ends_at_once(world: &World) {
    let scene = world.own_scene();
    let kubeconfig = account(&scene, "lease-only");
    grant(&scene, &scene.namespace, "lease-only", "get", true);
    let flags = [("--lease-namespace", scene.namespace.as_str()), ("--call-timeout", "30s")];
    let mut command = command(&scene, &kubeconfig, &scene.namespace, &flags);
    command.args(["--leader-elect", "--identity", "first"]);
    let operator = start(&scene, "operator.log", command);
    scene.wait("it to lead", || holder(&scene) == "first");
    assert!(operator.logs("is not allowed to list and watch", PATIENCE), "{}", operator.log());
    let began = Instant::now();
    assert!(operator.stop(PATIENCE).is_some_and(|status| status.success()), "{}", operator.log());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(holder(&scene), "");
}

fn holder(scene: &Scene<'_>) -> String {
    scene.kubectl(&["get", "lease", "cfshare", "--ignore-not-found", "-o", "jsonpath={.spec.holderIdentity}"])
}

fn competing(scene: &Scene<'_>, kubeconfig: &PathBuf, namespaces: &str) -> Process {
    let flags = [("--lease-namespace", scene.namespace.as_str())];
    let mut command = command(scene, kubeconfig, namespaces, &flags);
    command.arg("--leader-elect");
    start(scene, "operator.log", command)
}

fn no_crds(world: &World) {
    let scene = world.own_scene();
    let bare = Cluster::start(&Options::default()).expect("a cluster");
    bare.run(&["create", "namespace", &scene.namespace], None).expect("a namespace");
    let operator = competing(&scene, &bare.kubeconfig().to_path_buf(), &scene.namespace);
    let label = format!("{{kind=\"Share\",watched_namespace=\"{}\"}}", scene.namespace);
    let lines = [
        format!("cfshare_list_incomplete{label} 1"),
        format!("cfshare_watch_failing{label} 1"),
        "cfshare_lease_failing 0".to_owned(),
    ];
    never_ready(&scene, &operator, &lines.each_ref().map(String::as_str));
    assert!(operator.log().contains("install the CRDs"), "{}", operator.log());
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
    bare.run(&["apply", "--server-side", "-f", crds], None).expect("the CRDs");
    scene.wait("it to be ready", || ask(&operator, "/readyz").0 == 200);
    assert!(shows(&operator, "cfshare_leads 1"));
}

fn no_watch(world: &World) {
    let scene = world.own_scene();
    let kubeconfig = account(&scene, "unwatching");
    grant(&scene, &scene.namespace, "unwatching", "get, list, patch", true);
    let operator = competing(&scene, &kubeconfig, &scene.namespace);
    let label = format!("{{kind=\"Share\",watched_namespace=\"{}\"}}", scene.namespace);
    let lines = [format!("cfshare_list_incomplete{label} 1"), format!("cfshare_watch_failing{label} 1")];
    never_ready(&scene, &operator, &lines.each_ref().map(String::as_str));
    alerts("CfshareNoLeader", "cfshare_leads");
}

fn no_server(world: &World) {
    let scene = world.own_scene();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let kubeconfig = scene.file("closed.kubeconfig");
    let text = fs::read_to_string(world.cluster.kubeconfig()).expect("a kubeconfig");
    fs::write(&kubeconfig, text.replace(&world.cluster.server(), &format!("https://{closed}"))).expect("a file");
    let operator = competing(&scene, &kubeconfig, &scene.namespace);
    never_ready(&scene, &operator, &["cfshare_lease_failing 1"]);
    alerts("CfshareLeaseFails", "cfshare_lease_failing");
    drop(operator);
    // The same for one that needs no Lease.
    let operator = start(&scene, "alone.log", command(&scene, &kubeconfig, &scene.namespace, &[]));
    let label = format!("{{kind=\"Share\",watched_namespace=\"{}\"}}", scene.namespace);
    let lines = [format!("cfshare_list_incomplete{label} 1"), format!("cfshare_watch_failing{label} 1")];
    never_ready(&scene, &operator, &lines.each_ref().map(String::as_str));
}

fn no_lease(world: &World) {
    let scene = world.own_scene();
    let kubeconfig = account(&scene, "leaseless");
    grant(&scene, &scene.namespace, "leaseless", ALL, false);
    let operator = competing(&scene, &kubeconfig, &scene.namespace);
    never_ready(&scene, &operator, &["cfshare_lease_failing 1"]);
    let log = operator.log();
    assert!(log.contains(&format!("not allowed to read or renew the Lease {}/cfshare", scene.namespace)), "{log}");
}

fn waiting(world: &World) {
    let scene = world.own_scene();
    let kubeconfig = account(&scene, "able");
    grant(&scene, &scene.namespace, "able", ALL, true);
    let _first = competing(&scene, &kubeconfig, &scene.namespace);
    scene.wait("somebody to lead", || !holder(&scene).is_empty());
    let flags = [("--lease-namespace", scene.namespace.as_str())];
    let mut command = command(&scene, &kubeconfig, &scene.namespace, &flags);
    command.arg("--leader-elect");
    let second = start(&scene, "second.log", command);
    scene.wait("it to be ready", || ask(&second, "/readyz").0 == 200);
    assert!(shows(&second, "cfshare_leads 0"));
}

fn empty_identity(world: &World) {
    let scene = world.own_scene();
    let kubeconfig = account(&scene, "able");
    grant(&scene, &scene.namespace, "able", ALL, true);
    let replica = |log: &str| {
        let flags =
            [("--lease-namespace", scene.namespace.as_str()), ("--lease-duration", "8s"), ("--call-timeout", "2s")];
        let mut command = command(&scene, &kubeconfig, &scene.namespace, &flags);
        command.arg("--leader-elect").env("CFSHARE_IDENTITY", "").env("HOSTNAME", "same");
        start(&scene, log, command)
    };
    let (first, second) = (replica("first.log"), replica("second.log"));
    scene.wait("somebody to lead", || [&first, &second].iter().any(|replica| shows(replica, "cfshare_leads 1")));
    let both_seen = Instant::now();
    scene.wait("two leases to pass", || {
        let leaders = [&first, &second].iter().filter(|replica| shows(replica, "cfshare_leads 1")).count();
        assert_eq!(leaders, 1, "{}\n\n{}", first.log(), second.log());
        both_seen.elapsed() > Duration::from_secs(16)
    });
    assert!(holder(&scene).starts_with("same_"), "{}", holder(&scene));
}

fn own_namespace(world: &World) {
    let scene = world.own_scene();
    let kubeconfig = account(&scene, "able");
    grant(&scene, &scene.namespace, "able", ALL, true);
    let mut command = command(&scene, &kubeconfig, &scene.namespace, &[("--lease-namespace", "")]);
    command.args(["--leader-elect", "--identity", "here"]).env("POD_NAMESPACE", &scene.namespace);
    command.env("CFSHARE_LEASE_NAMESPACE", "");
    let _operator = start(&scene, "operator.log", command);
    scene.wait("it to lead in its own namespace", || holder(&scene) == "here");
}

fn no_streaming(world: &World) {
    let scene = world.own_scene();
    let options = Options { apiserver: vec!["--feature-gates=WatchList=false".into()], ..Options::default() };
    let old = Cluster::start(&options).expect("a cluster");
    old.run(&["create", "namespace", &scene.namespace], None).expect("a namespace");
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
    old.run(&["apply", "--server-side", "-f", crds], None).expect("the CRDs");
    old.run(&["wait", "--for=condition=Established", "--timeout=30s", "-f", crds], None).expect("they are served");
    let began = Instant::now();
    let kubeconfig = old.kubeconfig().to_path_buf();
    let operator = start(&scene, "operator.log", command(&scene, &kubeconfig, &scene.namespace, &[]));
    scene.wait("it to be ready", || ask(&operator, "/readyz").0 == 200);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(operator.log().contains("listing in pages"), "{}", operator.log());
    let share = scene.share("waf", &[], &[], "suspend: true");
    let apply = ["--namespace", scene.namespace.as_str(), "apply", "--server-side", "-f", "-"];
    old.run(&apply, Some(&share)).expect("a share");
    let about = ["--namespace", scene.namespace.as_str(), "get", "share", "waf", "-o", "jsonpath={.status.conditions}"];
    scene.wait("a status", || old.run(&about, None).is_ok_and(|conditions| conditions.contains("Suspended")));
}

fn no_mark(world: &World) {
    let scene = world.own_scene();
    let proxy = Interceptor::start(&world.cluster, Fault::DropMarks);
    let kubeconfig = scene.file("proxy.kubeconfig");
    proxy.kubeconfig(&kubeconfig);
    let [account, rules] = ids();
    scene.apply(&scene.share("waf", &[&account], &[&rules], ""));
    let began = Instant::now();
    let operator = start(&scene, "operator.log", command(&scene, &kubeconfig, &scene.namespace, &[]));
    scene.wait_ready("share", "waf");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(operator.log().contains("listing in pages"), "{}", operator.log());
    // What comes later comes by the watch.
    scene.apply(&scene.share("later", &[&account], &[&rules], ""));
    scene.wait_ready("share", "later");
}

fn created_during_list(world: &World) {
    let scene = world.own_scene();
    let proxy = Interceptor::start(&world.cluster, Fault::DelayMarks(Duration::from_secs(2)));
    let kubeconfig = scene.file("proxy.kubeconfig");
    proxy.kubeconfig(&kubeconfig);
    let [account, rules] = ids();
    let _operator = start(&scene, "operator.log", command(&scene, &kubeconfig, &scene.namespace, &[]));
    scene.apply(&scene.share("waf", &[&account], &[&rules], ""));
    scene.wait_ready("share", "waf");
    let before = proxy.held();
    proxy.expire();
    scene.wait("the new lists of all three kinds", || proxy.held() >= before + 3);
    // The lists bring it before they are complete.
    scene.apply(&scene.share("later", &[&account], &[&rules], ""));
    scene.wait_ready("share", "later");
}

fn late_watch(world: &World) {
    let scene = world.own_scene();
    let proxy = Interceptor::start(&world.cluster, Fault::Delay("\"shareID\"", Duration::from_secs(4)));
    let kubeconfig = scene.file("proxy.kubeconfig");
    proxy.kubeconfig(&kubeconfig);
    let [account, stranger, rules] = ids();
    let flags = [("--sweep-interval", "500ms")];
    let _operator = start(&scene, "operator.log", command(&scene, &kubeconfig, &scene.namespace, &flags));
    scene.apply(&scene.share("waf", &[&account], &[&rules], ""));
    scene.wait_ready("share", "waf");
    let share = scene.only().id;
    world.simulator.edit(Edit::AddRecipient { share, account: stranger.clone() }).expect("an edit");
    scene.wait_for("share", "waf", "lists whom nobody declares", |share| {
        share["status"]["unmanaged"].to_string().contains(&stranger)
    });
}

fn booleans(world: &World) {
    let scene = world.own_scene();
    let kubeconfig = account(&scene, "able");
    let run = |value: &str| {
        let mut command = command(&scene, &kubeconfig, &scene.namespace, &[]);
        command.env("CFSHARE_READ_ONLY", value);
        let log = format!("read-only-{}.log", value.len());
        Process::start(command, scene.file(&log)).expect("a process")
    };
    for (value, means) in [("1", true), ("yes", true), ("TRUE", true), ("false", false), ("0", false), ("", false)] {
        let operator = run(value);
        assert!(operator.logs(&format!("read_only={means}"), PATIENCE), "{value}: {}", operator.log());
        drop(operator);
        for file in (0..6).map(|length| scene.file(&format!("read-only-{length}.log"))) {
            let _ = fs::remove_file(file);
        }
    }
    let operator = run("maybe?");
    assert!(operator.wait(PATIENCE).is_some_and(|status| !status.success()), "{}", operator.log());
    assert!(operator.log().contains("write true or false"), "{}", operator.log());
}
