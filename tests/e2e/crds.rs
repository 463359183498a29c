//! Whether CRDs that are deleted, and come back, cost no share, recipient or resource that a person did not give up; in
//! clusters of their own.

use std::path::Path;

use cfshare_simulator::random_id;
use cfshare_testbed::Process;
use cfshare_testbed::process::Signal;

use crate::Test;
use crate::expect::{creates, has, nothing_doubled, sweeps, tally};
use crate::own;
use crate::scene::{Scene, World, condition, ids, metrics, operator_with};

pub const TESTS: &[Test] = &[
    ("crds: all three deleted and applied again end few shares, and double none", all_deleted),
    ("crds: one that is missing at the start and comes later is waited for", missing_at_start),
    ("crds: one that goes and comes back takes no recipient or resource with it", gone_and_back),
];

const ALL: [&str; 3] = ["shares", "sharerecipients", "shareresources"];

/// Over all objects of the scene's namespace, as most people run it: without a selector.
fn start(scene: &Scene<'_>, log: &str) -> Process {
    let mut command = operator_with(&scene.world.cluster, &scene.world.simulator, &[]);
    command.args(["--namespace", &scene.namespace]);
    Process::start(command, scene.file(log)).expect("the operator starts")
}

fn delete(scene: &Scene<'_>, kinds: &[&str]) {
    let names: Vec<String> = kinds.iter().map(|kind| format!("{kind}.cfshare.dev")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    scene.kubectl(&[&["annotate", "crd"], names.as_slice(), &["cfshare.dev/allow-deletion=true"]].concat());
    scene.kubectl(&[&["delete", "crd", "--wait=false"], names.as_slice()].concat());
}

fn wait_deleted(scene: &Scene<'_>, kinds: &[&str]) {
    scene.wait("the CRDs to go", || {
        let crds = scene.kubectl(&["get", "crd", "-o", "name"]);
        kinds.iter().all(|kind| !crds.contains(&format!("/{kind}.cfshare.dev")))
    });
}

fn apply(scene: &Scene<'_>) {
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    let crds = crds.to_str().expect("a path");
    scene.kubectl(&["apply", "--server-side", "-f", crds]);
    scene.kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "-f", crds]);
}

/// The operator says that the kind is missing, in its log and metrics.
fn wait_told(scene: &Scene<'_>, operator: &Process, kind: &str) {
    let line = format!("the CRD {kind}.cfshare.dev is not installed");
    scene.wait("word of the missing CRD in the log", || operator.log().contains(&line));
    let kind = match kind {
        "shares" => "Share",
        "sharerecipients" => "ShareRecipient",
        _ => "ShareResource",
    };
    let line = format!("cfshare_watch_failing{{kind=\"{kind}\",watched_namespace=\"{}\"}} 1", scene.namespace);
    scene.wait("the metric", || metrics(&operator.log()).lines().any(|shown| shown == line));
}

fn deletes(scene: &Scene<'_>) -> usize {
    tally(&scene.journal()).get("DELETE /accounts/*/shares/*").copied().unwrap_or(0)
}

fn all_deleted(_: &World) {
    let world = World::start().expect("a world of its own");
    let scene = world.own_scene();
    let operator = start(&scene, "operator.log");
    let [bee, x] = ids();
    let share = |n: usize, id: &str| scene.share(&format!("waf-{n}"), &[id], &[&x], "adoptionPolicy: SameName");
    let accounts: Vec<String> = (0..8).map(|_| random_id()).collect();
    let mut manifests: Vec<String> = accounts.iter().enumerate().map(|(n, id)| share(n, id)).collect();
    manifests.push(scene.recipient("bee", "waf-0", &bee, ""));
    let manifests = manifests.join("---\n");
    let all_ready = || {
        (0..8).for_each(|n| drop(scene.wait_ready("share", &format!("waf-{n}"))));
        scene.wait_ready("sharerecipient", "bee");
    };
    scene.apply(&manifests);
    all_ready();

    delete(&scene, &ALL);
    let blocked = |n: &usize| {
        let share = scene.get("share", &format!("waf-{n}"));
        share.is_some_and(|share| condition(&share, "Ready").is_some_and(|c| c["reason"] == "DeletionBlocked"))
    };
    scene.wait("three Shares that wait", || (0..8).filter(blocked).count() == 3 && scene.live().len() == 3);
    sweeps(&scene, 2);
    assert_eq!((deletes(&scene), scene.live().len()), (5, 3));

    // Given up in Kubernetes only.
    for n in (0..8).filter(blocked).collect::<Vec<_>>() {
        let retain = r#"{"spec":{"deletionPolicy":"Retain"}}"#;
        scene.kubectl(&["patch", "share", &format!("waf-{n}"), "--type=merge", "-p", retain]);
    }
    wait_deleted(&scene, &ALL);
    ALL.iter().for_each(|kind| wait_told(&scene, &operator, kind));
    assert_eq!((deletes(&scene), scene.live().len()), (5, 3));

    apply(&scene);
    scene.apply(&manifests);
    all_ready();
    sweeps(&scene, 2);
    nothing_doubled(&scene.state());
    assert_eq!((scene.live().len(), creates(&scene), deletes(&scene)), (8, 13, 5));
}

fn missing_at_start(_: &World) {
    let world = World::start().expect("a world of its own");
    let scene = world.own_scene();
    delete(&scene, &["shareresources"]);
    wait_deleted(&scene, &["shareresources"]);
    let [a, b, x, y] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], "prune: true"));
    scene.apply(&scene.recipient("bee", "waf", &b, ""));
    let operator = start(&scene, "operator.log");
    wait_told(&scene, &operator, "shareresources");
    apply(&scene);
    scene.apply(&scene.resource("why", "waf", &y, ""));
    scene.wait_ready("shareresource", "why");
    scene.wait_ready("share", "waf");
    assert!(has(&scene.only(), &[&a, &b], &[&x, &y]));
}

fn gone_and_back(_: &World) {
    let world = World::start().expect("a world of its own");
    let scene = world.own_scene();
    let operator = start(&scene, "operator.log");
    let [a, b, x, y] = ids();
    let children = [scene.recipient("bee", "waf", &b, ""), scene.resource("why", "waf", &y, "")];
    scene.apply(&scene.share("waf", &[&a], &[&x], "prune: true"));
    scene.apply(&children.join("---\n"));
    scene.wait_ready("sharerecipient", "bee");
    scene.wait_ready("shareresource", "why");
    scene.wait_ready("share", "waf");
    let whole = || has(&scene.only(), &[&a, &b], &[&x, &y]);
    assert!(whole());
    let before = scene.changes().len();

    // The objects go unseen, as where somebody takes off their finalizers.
    own::crash(operator);
    for (kind, name) in [("sharerecipient", "bee"), ("shareresource", "why")] {
        scene.delete(kind, name);
        scene.kubectl(&["patch", kind, name, "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    }
    let kinds = ["sharerecipients", "shareresources"];
    delete(&scene, &kinds);
    wait_deleted(&scene, &kinds);
    let operator = start(&scene, "again.log");
    kinds.iter().for_each(|kind| wait_told(&scene, &operator, kind));
    assert_eq!(scene.changes_since(before), [""; 0]);
    assert!(whole());
    // In one go: what no object declares once its kind is listed again is pruned.
    operator.signal(Signal::Stop);
    apply(&scene);
    scene.apply(&children.join("---\n"));
    operator.signal(Signal::Continue);
    scene.wait_ready("sharerecipient", "bee");
    scene.wait_ready("shareresource", "why");
    scene.wait_ready("share", "waf");
    assert_eq!(scene.changes_since(before), [""; 0]);

    // The same while the operator runs.
    operator.signal(Signal::Stop);
    delete(&scene, &["sharerecipients"]);
    scene.kubectl(&["patch", "sharerecipient", "bee", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    wait_deleted(&scene, &["sharerecipients"]);
    operator.signal(Signal::Continue);
    wait_told(&scene, &operator, "sharerecipients");
    scene.ask("share", "waf");
    sweeps(&scene, 3);
    assert_eq!(scene.changes_since(before), [""; 0]);
    assert!(whole());
    operator.signal(Signal::Stop);
    apply(&scene);
    scene.apply(&children[0]);
    operator.signal(Signal::Continue);
    scene.wait_ready("sharerecipient", "bee");
    scene.wait_ready("share", "waf");
    assert_eq!(scene.changes_since(before), [""; 0]);
    // What nobody declares is pruned again.
    scene.delete("sharerecipient", "bee");
    scene.wait_gone("sharerecipient", "bee");
    assert!(has(&scene.only(), &[&a], &[&x, &y]));
}
