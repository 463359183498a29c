//! Whether the operator lives through the ends and silences of the API server, in a cluster of its own.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cfshare_simulator::{Action, Edit, Release, Rule, ShareState};
use cfshare_testbed::process::Signal;
use cfshare_testbed::{Component, Process};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::Test;
use crate::expect::{has, only_share, sweeps};
use crate::interceptor::{Fault, Interceptor};
use crate::own;
use crate::scene::{PATIENCE, Scene, World, condition, ids, message, metrics};

pub const TESTS: &[Test] = &[
    ("apiserver: restarts of kube-apiserver and etcd in the middle of work lose and double nothing", restarts),
    ("apiserver: what is changed after etcd was restored from a backup is seen", restored),
    ("apiserver: an object whose changes a dead watch does not bring is reconciled all the same", dead_watch),
    ("apiserver: changes are listed where every watch ends at once", ended_watches),
    ("apiserver: watches that expire at once are listed now and then, not without end", expired_watches),
    ("apiserver: a status that cannot be written is tried less and less often, and that is seen", refused_writes),
    ("apiserver: a pause that the API server asks for is kept", asked_pause),
    ("apiserver: what was announced and held up is announced anew, not sent late", late),
    ("apiserver: every write names its field manager and its program", named_writes),
    ("apiserver: an object that cannot be read stops nobody, and is left alone until it can", unreadable),
    ("apiserver: an object that is nested too deep for a parser stops nobody", nested),
    ("apiserver: objects of a namespace that was finalized by force end once it is created again", finalized),
    ("apiserver: an object that is too large with its status says so, until it is smaller", too_large),
];

fn finalized(world: &World) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let [a, b, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.apply(&scene.recipient("bee", "waf", &b, ""));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "bee");
    operator.signal(Signal::Stop);
    let namespace = scene.namespace.as_str();
    scene.kubectl(&["delete", "namespace", namespace, "--wait=false"]);
    let ends =
        |kind: &str, name: &str| scene.get(kind, name).is_some_and(|o| !o["metadata"]["deletionTimestamp"].is_null());
    scene.wait("the objects to end", || ends("share", "waf") && ends("sharerecipient", "bee"));
    let head = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace }, "spec": { "finalizers": [] },
    });
    let finalize = format!("/api/v1/namespaces/{namespace}/finalize");
    let gone = || {
        let _ = scene.try_kubectl(&["replace", "--raw", &finalize, "-f", "-"], Some(&head.to_string()));
        scene.kubectl(&["get", "namespace", namespace, "--ignore-not-found"]).is_empty()
    };
    scene.wait("the namespace to go", gone);
    operator.signal(Signal::Continue);
    let warning = format!(
        "namespace {namespace} does not exist any more, but objects of it do: create it again, with its Secret"
    );
    let warned = || operator.log().matches(&warning).count();
    scene.wait("the warning", || warned() > 0);
    // Both objects are tried again every five seconds.
    let start = Instant::now();
    scene.wait("time to pass", || start.elapsed() > Duration::from_secs(12));
    assert_eq!(warned(), 1, "{}", operator.log());
    scene.kubectl(&["create", "namespace", namespace]);
    scene.put_token(&scene.token);
    scene.wait_gone("sharerecipient", "bee");
    scene.wait_gone("share", "waf");
    assert!(scene.live().is_empty(), "{:#?}", scene.state());
}

fn too_large(world: &World) {
    let scene = world.scene();
    let share = |rows: usize, meta: usize| {
        let recipients: Vec<String> = (0..rows)
            .map(|n| {
                format!(
                    "{{accountID: \"{n:032x}\", name: {}, waiver: {{reason: accepted, until: \"2099-01-01T00:00:00Z\"}}}}",
                    "r".repeat(40)
                )
            })
            .collect();
        let meta = "m".repeat(meta);
        let resources: Vec<String> =
            (0..rows).map(|n| format!("{{type: custom-ruleset, id: \"{n:032x}\", meta: {{m: {meta}}}}}")).collect();
        let (head, account) = (scene.head("Share", "waf"), &scene.account);
        format!(
            "{head}spec:\n  accountID: {account}\n  recipients: [{}]\n  resources: [{}]\n",
            recipients.join(", "),
            resources.join(", ")
        )
    };
    let apply = |yaml: &str| scene.try_kubectl(&["apply", "--server-side", "-f", "-"], Some(yaml));
    // The largest that the API server takes, so that there is no room for a status.
    let fits = (0..30).rev().map(|n| 100 + 50 * n).find(|meta| apply(&share(1000, *meta)).is_ok());
    assert!(fits.is_some_and(|meta| meta > 100), "{fits:?}");
    let told = scene.wait_reason("share", "waf", "Invalid");
    assert!(message(&told).contains("too large for Kubernetes"), "{}", message(&told));
    assert!(condition(&told, "Stalled").is_some_and(|stalled| stalled["status"] == "True"), "{told:#}");
    assert_eq!(scene.changes(), [""; 0]);
    assert_eq!(scene.wait_event("waf", |reason, _| reason == "Invalid").len(), 1);
    apply(&share(10, 10)).expect("a smaller one");
    scene.wait_ready("share", "waf");
    scene.confirm_deletions();
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
}

fn named_writes(world: &World) {
    let scene = world.own_scene();
    let _operator = own::start(
        &scene,
        &[
            ("--leader-elect", ""),
            ("--lease-namespace", &scene.namespace),
            ("--lease-name", "named"),
            ("--identity", "one"),
        ],
    );
    let [a, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    scene.wait_event("waf", |reason, _| reason == "Created");
    let (entries, _) = world.cluster.audit_since(0).expect("an audit log");
    let ours = entries.iter().filter(|entry| {
        let agent = entry["userAgent"].as_str().unwrap_or_default();
        entry["objectRef"]["namespace"] == scene.namespace.as_str()
            && ["create", "update", "patch"].contains(&entry["verb"].as_str().unwrap_or_default())
            && !agent.starts_with("kubectl")
            && !agent.starts_with("kube-controller-manager")
    });
    let ours: Vec<_> = ours.collect();
    for resource in ["shares", "leases", "events"] {
        assert!(ours.iter().any(|entry| entry["objectRef"]["resource"] == resource), "no write of {resource}");
    }
    for entry in ours {
        let agent = entry["userAgent"].as_str().unwrap_or_default();
        assert_eq!(agent, concat!("cfshare/", env!("CARGO_PKG_VERSION")), "{entry:#}");
        // An Event's manager is taken from the program's name.
        let named = entry["requestURI"].as_str().is_some_and(|uri| uri.contains("fieldManager=cfshare"));
        assert!(named || entry["objectRef"]["resource"] == "events", "{entry:#}");
    }
    for kind in ["share/waf", "lease/named", "events.events.k8s.io"] {
        let text = scene.kubectl(&["get", kind, "-o", "json", "--show-managed-fields"]);
        let found: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let objects = found["items"].as_array().cloned().unwrap_or_else(|| vec![found.clone()]);
        let managers: Vec<&str> = objects
            .iter()
            .flat_map(|object| object["metadata"]["managedFields"].as_array().into_iter().flatten())
            .filter_map(|entry| entry["manager"].as_str())
            .collect();
        assert!(managers.contains(&"cfshare") && !managers.contains(&"unknown"), "{kind}: {managers:?}");
    }
}

/// The shared cluster must not be disturbed: this makes one of its own.
fn restarts(_: &World) {
    let world = World::start().expect("a world of its own");
    let scene = world.scene();
    let [a, b, c, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");

    world.cluster.kill(Component::ApiServer);
    let id = scene.only().id;
    let edit = Edit::RemoveRecipient { share: id.clone(), recipient: a.clone() };
    world.simulator.edit(edit).expect("an edit");
    let lists = || scene.journal().iter().filter(|e| e.method == "GET" && e.path.ends_with("/shares")).count();
    let before = lists();
    scene.wait("sweeps without an API server", || lists() > before + 2);
    world.cluster.revive(Component::ApiServer).expect("it comes back");
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    scene.wait_state("both recipients", |shares| has(&shares[0], &[&a, &b], &[&x]));
    scene.wait_ready("share", "waf");

    scene.apply(&scene.share("second", &[&a], &[&x], ""));
    world.cluster.restart(Component::Etcd).expect("etcd comes back");
    scene.wait("the API server to answer", || scene.try_kubectl(&["get", "shares"], None).is_ok());
    scene.wait_ready("share", "second");
    scene.apply(&scene.share("waf", &[&a, &b, &c], &[&x], ""));
    scene.wait_state("all recipients", |shares| {
        shares.iter().any(|share| share.name == "waf" && has(share, &[&a, &b, &c], &[&x]))
    });
    scene.wait_ready("share", "waf");

    world.cluster.pause(Component::ApiServer);
    let before = scene.journal().len();
    scene.wait("sweeps beside a silent API server", || scene.journal().len() > before + 2);
    world.cluster.resume(Component::ApiServer);
    let scene = world.scene();
    let [d, y] = ids();
    scene.apply(&scene.share("third", &[&d], &[&y], ""));
    scene.wait_ready("share", "third");
    only_share(&scene.state(), &[&d], &[&y]);
    scene.kubectl(&["delete", "share", "--all", "--timeout=60s"]);
    scene.wait_nothing();
    assert!(world.operator.running(), "{}", world.operator.log());
}

/// A watch from a version that the restored etcd has not reached would bring nothing until it has.
fn restored(_: &World) {
    let world = World::start().expect("a world of its own");
    let scene = world.scene();
    let [a, b, c, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    let (data, backup) = (world.cluster.folder().join("etcd"), world.cluster.folder().join("backup"));
    let copy = |from: &Path, to: &Path| {
        assert!(Command::new("cp").arg("-a").args([from, to]).status().is_ok_and(|status| status.success()));
    };
    world.cluster.kill(Component::Etcd);
    copy(&data, &backup);
    world.cluster.revive(Component::Etcd).expect("etcd comes back");
    scene.wait("the API server to answer", || scene.try_kubectl(&["get", "shares"], None).is_ok());

    let entry = |i: u32| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: later-{i}}}\n");
    scene.apply(&(0..400).map(entry).collect::<Vec<_>>().join("---\n"));
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    scene.wait_state("both recipients", |shares| has(&shares[0], &[&a, &b], &[&x]));
    scene.wait_ready("share", "waf");

    world.cluster.kill(Component::ApiServer);
    world.cluster.kill(Component::Etcd);
    std::fs::remove_dir_all(&data).expect("the data goes");
    copy(&backup, &data);
    world.cluster.revive(Component::Etcd).expect("etcd comes back");
    world.cluster.revive(Component::ApiServer).expect("it comes back");
    scene.apply(&scene.share("waf", &[&a, &b, &c], &[&x], ""));
    scene.wait_state("all recipients", |shares| has(&shares[0], &[&a, &b, &c], &[&x]));
    scene.wait_ready("share", "waf");
}

fn dead_watch(world: &World) {
    let scene = world.own_scene();
    let proxy = Interceptor::start(&world.cluster, Fault::Die("unheard-of"));
    let kubeconfig = scene.file("proxy.kubeconfig");
    proxy.kubeconfig(&kubeconfig);
    let mut command = own::command(&scene, &scene.namespace, &[("--sweep-interval", "500ms")]);
    command.env("KUBECONFIG", &kubeconfig);
    let operator = Process::start(command, scene.file("operator.log")).expect("the operator starts");
    let [a, b, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.apply(&scene.recipient("bee", "waf", &b, ""));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "bee");
    for (kind, name) in [("share", "waf"), ("sharerecipient", "bee")] {
        scene.annotate(kind, name, "example.com/x=unheard-of");
    }
    let share = scene.only().id;
    for account in [&a, &b] {
        let edit = Edit::RemoveRecipient { share: share.clone(), recipient: account.clone() };
        world.simulator.edit(edit).expect("an edit");
    }
    scene.wait_state("both recipients again", |shares| has(&shares[0], &[&a, &b], &[&x]));
    assert!(operator.log().contains("the watch does not bring what the API server has"), "{}", operator.log());
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "bee");
}

/// An operator behind a proxy with that fault, and a Share that is Ready.
fn behind(scene: &Scene<'_>, fault: Fault) -> (Interceptor, Process) {
    let proxy = Interceptor::start(&scene.world.cluster, fault);
    let kubeconfig = scene.file("proxy.kubeconfig");
    proxy.kubeconfig(&kubeconfig);
    let [a, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    let mut command = own::command(scene, &scene.namespace, &[]);
    command.env("KUBECONFIG", &kubeconfig);
    let operator = Process::start(command, scene.file("operator.log")).expect("the operator starts");
    scene.wait_ready("share", "waf");
    (proxy, operator)
}

fn ended_watches(world: &World) {
    let scene = world.own_scene();
    let (_proxy, operator) = behind(&scene, Fault::EmptyWatches);
    let [a, x] = ids();
    scene.apply(&scene.share("later", &[&a], &[&x], ""));
    scene.wait_ready("share", "later");
    assert!(operator.log().contains("cannot be listed and watched"), "{}", operator.log());
}

fn expired_watches(world: &World) {
    let scene = world.own_scene();
    let (proxy, operator) = behind(&scene, Fault::ExpiredWatches);
    let [a, x] = ids();
    scene.apply(&scene.share("later", &[&a], &[&x], ""));
    scene.wait_ready("share", "later");
    // Of each kind.
    assert!(proxy.held() <= 3 * 10, "{} lists", proxy.held());
    let failures = metrics(&operator.log());
    let failures = failures.lines().find(|line| line.starts_with("cfshare_watch_failures_total{cause=\"failed\"}"));
    assert!(failures.is_some_and(|line| !line.ends_with(" 0")), "{failures:?}");
}

/// A number that the operator with that log serves.
fn counted(operator: &Process, counter: &str) -> f64 {
    let served = metrics(&operator.log());
    let count = served.lines().find_map(|line| line.strip_prefix(counter)?.strip_prefix(' ')).expect("a metric");
    count.trim().parse().expect("a number")
}

fn refused_writes(world: &World) {
    let scene = world.own_scene();
    let (proxy, operator) = behind(&scene, Fault::RefuseStatus(409));
    let share = scene.only();
    let recipient = share.live_recipients().first().expect("one").account_id.clone();
    proxy.switch(true);
    world.simulator.edit(Edit::RemoveRecipient { share: share.id.clone(), recipient }).expect("an edit");
    let refused = || counted(&operator, "cfshare_requests_refused_total") > 0.0;
    let began = Instant::now();
    while !refused() {
        assert!(began.elapsed() < 3 * PATIENCE, "nobody is told: {}", operator.log());
        std::thread::sleep(Duration::from_secs(1));
    }
    let tries = proxy.held();
    assert!((8..=16).contains(&tries), "{tries} writes in {:?}", began.elapsed());
    let path = format!("/shares/{}", share.id);
    let reads = scene.journal().iter().filter(|e| e.method == "GET" && e.path.contains(&path)).count();
    println!("{tries} writes and {reads} reads of the share in {:?}", began.elapsed());
    assert!(reads <= 12, "{reads} reads of the share in {:?}", began.elapsed());
    scene.wait_event("waf", |reason, text| reason == "RequestRefused" && text.contains("nobody else has changed"));
    assert!(!operator.log().contains("the watch does not bring"), "{}", operator.log());
    proxy.switch(false);
    let mended = Instant::now();
    scene.wait_state("the recipient again", |shares| shares[0].live_recipients().len() == 1);
    assert!(mended.elapsed() < Duration::from_secs(60), "{:?}", mended.elapsed());
    scene.wait_ready("share", "waf");
}

fn asked_pause(world: &World) {
    let scene = world.own_scene();
    let (proxy, _operator) = behind(&scene, Fault::RefuseStatus(429));
    let [a, b, x] = ids();
    proxy.switch(true);
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    scene.wait("a refused write", || proxy.held() > 0);
    std::thread::sleep(Duration::from_secs(25));
    assert_eq!(proxy.held(), 1, "writes while the API server asks for a pause");
    proxy.switch(false);
    scene.wait_state("the edit", |shares| has(&shares[0], &[&a, &b], &[&x]));
    scene.wait_ready("share", "waf");
}

/// A call counts as settled some time after it was announced, so it must leave soon after.
fn late(_: &World) {
    let world = World::start().expect("a world of its own");
    let scene = world.own_scene();
    let limit = Duration::from_secs(2);
    let _operator = own::start(&scene, &[("--call-timeout", "2s")]);
    let [a, x] = ids();
    let list = Rule::once("GET", "/accounts/*/shares", Action::HoldAfter {}).account(&scene.account);
    world.simulator.fault(list);
    // With the finalizer the announcement is the first write.
    let share = scene.share("waf", &[&a], &[&x], "");
    scene.apply(&share.replacen("metadata: {", "metadata: {finalizers: [cfshare.dev/finalizer], ", 1));
    let held = world.simulator.wait_held(PATIENCE, |held| held.account.as_deref() == Some(&scene.account));
    // The announcement is on its way for longer than it may stand.
    world.cluster.pause(Component::ApiServer);
    world.simulator.release(held.expect("a look").id, Release::Go).expect("it goes on");
    let start = Instant::now();
    scene.wait("time to pass", || start.elapsed() > 4 * limit);
    world.cluster.resume(Component::ApiServer);
    scene.wait_ready("share", "waf");

    let (audit, _) = world.cluster.audit_since(0).expect("an audit log");
    let announced: Vec<Timestamp> = audit
        .iter()
        .filter(|entry| entry["objectRef"]["subresource"] == "status")
        .flat_map(|entry| entry["requestObject"]["status"]["inventory"]["recipients"].as_array().into_iter().flatten())
        .filter_map(|row| row["intendedAt"].as_str()?.parse().ok())
        .collect();
    let sent = scene.journal().into_iter().find(|entry| entry.changing);
    let sent = Timestamp::from_microsecond(sent.expect("the call").at).expect("a time");
    let waited = announced.iter().map(|at| sent.duration_since(*at).as_secs_f64()).filter(|age| *age >= -1.0);
    let waited = waited.fold(f64::INFINITY, f64::min);
    // Announcements have whole seconds, and the machine may be slow.
    assert!(waited < 2.0 * limit.as_secs_f64(), "sent {waited} s after it was announced: {announced:?}");
    only_share(&scene.state(), &[&a], &[&x]);
}

/// The shared schema must stay strict: this loosens that of a cluster of its own.
fn nested(world: &World) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let [one, two, three, first, deep] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let meta = format!("{}1{}", "{a: ".repeat(200), "}".repeat(200));
    scene.apply(&scene.resource("deep", "waf", &deep, &format!("meta: {meta}")));
    let told = |operator: &Process| {
        let log = operator.log();
        log.lines().any(|l| l.contains("nested more than 64 levels deep") && l.contains("/deep"))
    };
    scene.wait("word of it", || told(&operator));
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    scene.wait_state("the edit", |shares| shares[0].live_recipients().len() == 2);
    own::crash(operator);
    let operator = own::start(&scene, &[]);
    scene.apply(&scene.share("waf", &[&one, &two, &three], &[&first], ""));
    scene.wait_state("the edit", |shares| shares[0].live_recipients().len() == 3);
    assert!(told(&operator));
    scene.kubectl(&["delete", "shareresource", "deep", "--timeout=60s"]);
}

fn unreadable(_: &World) {
    let world = World::start().expect("a world of its own");
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let [a, b, c, d, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    let id = scene.only().id;

    scene.apply(&scene.share("another", &[&a], &[&x], "prune: true"));
    scene.apply(&scene.recipient("bee", "another", &b, ""));
    scene.wait_ready("sharerecipient", "bee");
    scene.apply(&scene.share("pruning", &[&a], &[&x], "prune: true"));
    let pruning = scene.wait_ready("share", "pruning")["status"]["shareID"].as_str().expect("an id").to_owned();

    let suspend = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/suspend";
    let loose = json!([{"op": "replace", "path": suspend, "value": {"x-kubernetes-preserve-unknown-fields": true}}]);
    let loosened = [("share", "waf"), ("sharerecipient", "bee")];
    for (kind, name) in loosened {
        scene.kubectl(&["patch", "crd", &format!("{kind}s.cfshare.dev"), "--type=json", "-p", &loose.to_string()]);
        let unreadable = r#"{"spec": {"suspend": {"of": "course"}}}"#;
        scene.wait("a schema that takes it", || {
            let taken = scene.try_kubectl(&["patch", kind, name, "--type=merge", "-p", unreadable], None);
            taken.is_ok() && scene.get(kind, name).is_some_and(|object| object["spec"]["suspend"]["of"] == "course")
        });
    }
    let told = |name: &str| {
        let line = format!("{}/{name}", scene.namespace);
        operator
            .log()
            .lines()
            .any(|l| l.contains("an object does not match the current CRD and is skipped") && l.contains(&line))
    };
    scene.wait("word of all that cannot be read", || loosened.iter().all(|(_, name)| told(name)));
    let before = scene.changes().len();
    world.simulator.edit(Edit::Rename { share: id.clone(), name: "renamed by hand".into() }).expect("an edit");
    let add_foreign = |account: &str| {
        let foreign = Edit::AddRecipient { share: pruning.clone(), account: account.to_owned() };
        world.simulator.edit(foreign).expect("an edit");
    };
    let is_pruned = |shares: &[ShareState]| shares.iter().any(|share| share.id == pruning && has(share, &[&a], &[&x]));
    add_foreign(&c);
    scene.apply(&scene.share("third", &[&a], &[&x], ""));
    scene.wait_ready("share", "third");
    sweeps(&scene, 2);
    scene.ask("share", "another");
    // What an object declares that was read before is known.
    scene.wait_state("nobody that is not declared", is_pruned);
    assert_eq!(scene.changes_since(before).len(), 2, "{:?}", scene.changes_since(before));

    // Nor does it stop a start, whose list has it.
    own::crash(operator);
    let _operator = own::start(&scene, &[]);
    scene.apply(&scene.share("fourth", &[&b], &[&x], ""));
    scene.wait_ready("share", "fourth");
    // What it declares is not pruned, though nobody knows what that is.
    add_foreign(&d);
    scene.ask("share", "another");
    for name in ["another", "pruning"] {
        scene.wait_for("share", name, "told why nothing is removed", |share| {
            message(share).contains("ShareRecipient") && message(share).contains("cannot be read")
        });
    }
    sweeps(&scene, 2);
    assert_eq!(scene.changes_since(before).len(), 3, "{:?}", scene.changes_since(before));

    for (kind, name) in [("share", "waf"), ("sharerecipient", "bee")] {
        scene.kubectl(&["patch", kind, name, "--type=merge", "-p", r#"{"spec": {"suspend": null}}"#]);
        scene.wait_ready(kind, name);
    }
    scene.wait_state("its own name again", |shares| shares.iter().any(|share| share.id == id && share.name == "waf"));
    // Nothing unknown may declare any more what nobody else does.
    scene.wait_state("nobody that is not declared", is_pruned);
    scene.wait_ready("share", "waf");
    scene.kubectl(&["delete", "share,sharerecipient", "--all", "--timeout=60s"]);
    scene.wait_nothing();
}
