//! Whether sharing goes on that nobody ended, where the watch does not bring what the API server has.

use std::time::{Duration, Instant};

use cfshare_simulator::{Action, ErrorBody, Rule};
use cfshare_testbed::Process;
use serde_json::Value;

use crate::Test;
use crate::expect::{has, sweeps};
use crate::interceptor::{Fault, Interceptor};
use crate::own;
use crate::scene::{Scene, World, condition, ids, is_ready, message};

pub const TESTS: &[Test] = &[
    ("unheard: an entry becomes an object while recipients cannot be watched, and keeps its row", moved_recipient),
    ("unheard: an entry becomes an object while resources cannot be watched, and keeps its row", moved_resource),
    ("unheard: an entry becomes an object while objects cannot even be listed, and keeps its row", moved_unlisted),
    ("unheard: an entry becomes an object whose event comes late, and keeps its row", moved_late),
    ("unheard: nothing is pruned that an object declares which the watch does not show", not_pruned),
    ("unheard: a share that is to stay by now is not deleted, though the watch is silent", retained),
    ("unheard: a share that is protected by now is not deleted, though the watch is silent", protected),
    ("unheard: the row of an object that is to stay by now is not removed, though the watch is silent", retained_row),
    ("unheard: a recipient that is declared again is not removed, though the watch is silent", declared_again),
];

const QUICK: (&str, &str) = ("--sweep-interval", "500ms");
/// A line of the watch with this text is the last that it brings.
const LAST: &str = "unheard-of";

fn behind(scene: &Scene<'_>, fault: Fault, has_selector: bool) -> (Interceptor, Process) {
    let proxy = Interceptor::start(&scene.world.cluster, fault);
    let kubeconfig = scene.file("proxy.kubeconfig");
    proxy.kubeconfig(&kubeconfig);
    let mut command = if has_selector {
        own::command(scene, &scene.namespace, &[QUICK])
    } else {
        let mut command = own::bare_command(scene);
        command.args(["--namespace", &scene.namespace]);
        command
    };
    command.env("KUBECONFIG", &kubeconfig);
    let operator = Process::start(command, scene.file("operator.log")).expect("the operator starts");
    (proxy, operator)
}

/// Ids of the rows of the only share, in order.
fn rows(scene: &Scene<'_>) -> Vec<String> {
    let share = scene.only();
    let recipients = share.live_recipients().into_iter().map(|row| row.id.to_string());
    let resources = share.resources.iter().map(|row| row.id.to_string());
    let mut rows: Vec<String> = recipients.chain(resources).collect();
    rows.sort();
    rows
}

/// A Share with two recipients and two resources, whose second recipient and resource become objects while `plural` cannot be
/// watched. The rows stay, and it is said that these objects are not known.
fn moved(world: &World, plural: &'static str, status: u16, lists: bool) {
    let scene = world.own_scene();
    let (proxy, _operator) = behind(&scene, Fault::Refuse { plural, status, lists }, !lists);
    let [one, two, first, second] = ids();
    scene.apply(&scene.share("waf", &[&one, &two], &[&first, &second], ""));
    scene.wait_ready("share", "waf");
    let before = rows(&scene);
    proxy.begin();
    let (share, recipient, resource) = (
        scene.share("waf", &[&one], &[&first], ""),
        scene.recipient("two", "waf", &two, ""),
        scene.resource("second", "waf", &second, ""),
    );
    scene.apply(&format!("{recipient}---\n{resource}---\n{share}"));
    let share = scene.wait_for("share", "waf", "told that it does not know the object", |share| {
        let text = message(share);
        !is_ready(share) && (text.contains("has not received") || text.contains("cannot list"))
    });
    assert_eq!(message(&share).contains("cannot list"), lists, "{share:#}");
    sweeps(&scene, 6);
    assert_eq!((rows(&scene), scene.changes().len()), (before.clone(), 1), "{:#?}", scene.changes());
    proxy.end();
    for (kind, name) in [("sharerecipient", "two"), ("shareresource", "second"), ("share", "waf")] {
        scene.wait_ready(kind, name);
    }
    sweeps(&scene, 2);
    assert_eq!((rows(&scene), scene.changes().len()), (before, 1), "{:#?}", scene.changes());
    // Once it is known it is looked after as any other one.
    scene.delete("sharerecipient", "two");
    scene.wait_gone("sharerecipient", "two");
    scene.wait_state("one recipient", |shares| has(&shares[0], &[&one], &[&first, &second]));
}

fn moved_recipient(world: &World) {
    moved(world, "sharerecipients", 500, false);
}

fn moved_resource(world: &World) {
    moved(world, "shareresources", 503, false);
}

fn moved_unlisted(world: &World) {
    moved(world, "sharerecipients", 403, true);
}

fn moved_late(world: &World) {
    for has_selector in [true, false] {
        let scene = world.own_scene();
        let late = Fault::Delay("\"kind\":\"ShareRecipient\"", Duration::from_secs(4));
        let (_proxy, _operator) = behind(&scene, late, has_selector);
        let [one, two, first] = ids();
        scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
        scene.wait_ready("share", "waf");
        let before = rows(&scene);
        let (share, child) = (scene.share("waf", &[&one], &[&first], ""), scene.recipient("two", "waf", &two, ""));
        scene.apply(&format!("{share}---\n{child}"));
        scene.wait_ready("sharerecipient", "two");
        scene.wait_ready("share", "waf");
        sweeps(&scene, 2);
        assert_eq!((rows(&scene), scene.changes().len()), (before, 1), "{:#?}", scene.changes());
    }
}

fn not_pruned(world: &World) {
    let scene = world.own_scene();
    let refused = Fault::Refuse { plural: "sharerecipients", status: 500, lists: false };
    let (proxy, _operator) = behind(&scene, refused, true);
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], "prune: false"));
    scene.wait_ready("share", "waf");
    let before = rows(&scene);
    proxy.begin();
    let share = scene.share("waf", &[&one], &[&first], "prune: true");
    scene.apply(&format!("{}---\n{share}", scene.recipient("two", "waf", &two, "")));
    scene.wait_for("share", "waf", "told that it does not know the object", |share| {
        message(share).contains("has not received ShareRecipient two")
    });
    sweeps(&scene, 6);
    assert_eq!((rows(&scene), scene.changes().len()), (before, 1), "{:#?}", scene.changes());
}

/// Has Cloudflare refuse such calls until it is told to take them.
struct Refusing<'w> {
    world: &'w World,
    rule: u64,
}

impl<'w> Refusing<'w> {
    fn start(scene: &Scene<'w>, path: &str) -> Refusing<'w> {
        let busy = Action::StatusBefore { status: 503, body: ErrorBody::default(), code: None, retry_after: None };
        let rule = scene.world.simulator.fault(Rule::always("DELETE", path, busy).account(&scene.account));
        Refusing { world: scene.world, rule }
    }

    fn wait_asked(&self, scene: &Scene<'_>) {
        scene.wait("a DELETE that is refused", || self.world.simulator.fired(self.rule) > 0);
    }

    fn end(self) {
        self.world.simulator.remove_fault(self.rule);
    }
}

/// Patches an object in a way that the watch does not bring.
fn patch_unheard(scene: &Scene<'_>, kind: &str, name: &str, spec: &str) {
    let patch = format!(r#"{{"metadata": {{"annotations": {{"example.com/x": "{LAST}"}}}}, "spec": {spec}}}"#);
    scene.kubectl(&["patch", kind, name, "--type=merge", "-p", &patch]);
}

const SHARE: &str = "/accounts/*/shares/*";
const RECIPIENT: &str = "/accounts/*/shares/*/recipients/*";

/// A Share whose deletion Cloudflare refuses, until the manifest says something else.
fn while_deletion_fails(world: &World, spec: &str, expect: impl Fn(&Scene<'_>)) {
    let scene = world.own_scene();
    let (_proxy, _operator) = behind(&scene, Fault::Die(LAST), true);
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let before = rows(&scene);
    let refusing = Refusing::start(&scene, SHARE);
    scene.delete("share", "waf");
    refusing.wait_asked(&scene);
    patch_unheard(&scene, "share", "waf", spec);
    refusing.end();
    expect(&scene);
    assert_eq!(rows(&scene), before);
    let deleted = scene.journal().into_iter().filter(|call| call.method == "DELETE" && call.applied > 0);
    assert_eq!(deleted.count(), 0, "{:#?}", scene.changes());
}

fn retained(world: &World) {
    while_deletion_fails(world, r#"{"deletionPolicy": "Retain"}"#, |scene| scene.wait_gone("share", "waf"));
}

fn protected(world: &World) {
    while_deletion_fails(world, r#"{"deletionProtection": true}"#, |scene| {
        let share = scene.wait_reason("share", "waf", "DeletionProtected");
        assert!(condition(&share, "Stalled").is_some(), "{share:#}");
        sweeps(scene, 6);
    });
}

fn retained_row(world: &World) {
    let scene = world.own_scene();
    let (_proxy, _operator) = behind(&scene, Fault::Die(LAST), true);
    let [one, two, first] = ids();
    scene.apply(&format!(
        "{}---\n{}",
        scene.share("waf", &[&one], &[&first], ""),
        scene.recipient("two", "waf", &two, "")
    ));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "two");
    let before = rows(&scene);
    let refusing = Refusing::start(&scene, RECIPIENT);
    scene.delete("sharerecipient", "two");
    refusing.wait_asked(&scene);
    patch_unheard(&scene, "sharerecipient", "two", r#"{"deletionPolicy": "Retain"}"#);
    refusing.end();
    scene.wait_gone("sharerecipient", "two");
    assert_eq!(rows(&scene), before);
}

fn declared_again(world: &World) {
    let scene = world.own_scene();
    let (_proxy, _operator) = behind(&scene, Fault::Die(LAST), true);
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    scene.wait_ready("share", "waf");
    let before = rows(&scene);
    let refusing = Refusing::start(&scene, RECIPIENT);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    refusing.wait_asked(&scene);
    let start = Instant::now();
    let both = format!(r#"{{"recipients": [{{"accountID": "{one}"}}, {{"accountID": "{two}"}}]}}"#);
    patch_unheard(&scene, "share", "waf", &both);
    refusing.end();
    scene.wait_for("share", "waf", "Ready again with both", |share: &Value| {
        is_ready(share) && share["status"]["observedGeneration"] == share["metadata"]["generation"]
    });
    scene.wait("removals to be tried again", || start.elapsed() > Duration::from_secs(8));
    assert_eq!(rows(&scene), before);
}
