//! Shares that the operator does not see, and that have the share which another one names: they keep it.

use cfshare_simulator::{Action, Release, Rule};
use cfshare_testbed::Process;
use serde_json::Value;

use crate::Test;
use crate::expect::{self, has};
use crate::health::{ALL, account, command, grant, start};
use crate::own;
use crate::scene::{PATIENCE, Scene, World, condition, ids, message};

pub const TESTS: &[Test] = &[
    ("claims: a Share whose label is taken off keeps its share from another that names its id", by_id),
    ("claims: a Share whose label is taken off keeps its share from another that adopts by name", by_name),
    ("claims: a Share that goes from out of scope frees its share", freed),
    ("claims: a Share whose rival is being deleted waits for it, and is not stalled", replaced),
    ("claims: nothing is adopted by name while a namespace cannot be listed that may have it", unlisted),
];

const QUICK: (&str, &str) = ("--sweep-interval", "500ms");
const TEAM: (&str, &str) = ("--watch-label-selector", "cfshare-test-own=true,team=waf");

fn in_scope(yaml: &str) -> String {
    yaml.replace("labels: {", "labels: {team: waf, ")
}

/// A settled Share, whose label is then taken off.
fn out_of_scope(world: &World) -> (Scene<'_>, Process, [String; 2]) {
    let scene = world.own_scene();
    let [one, first] = ids();
    let operator = own::start(&scene, &[QUICK, TEAM]);
    scene.apply(&in_scope(&scene.share("waf", &[&one], &[&first], "deletionPolicy: Retain")));
    let old = scene.wait_ready("share", "waf");
    scene.wait_younger(&old);
    (scene, operator, [one, first])
}

fn is_claimed(share: &Value) -> bool {
    condition(share, "Ready").is_some_and(|ready| ready["reason"] == "Claimed")
}

fn take_label(scene: &Scene) {
    scene.kubectl(&["label", "share", "waf", "team-"]);
}

/// Says that the other one has the share, and writes nothing, also after a restart.
fn stays_with_the_other(scene: &Scene, operator: Process, before: usize, [one, first]: &[String; 2]) -> Process {
    let named = format!("{}/waf", scene.namespace);
    let told = |share: &Value| is_claimed(share) && message(share).contains(&named);
    scene.wait_for("share", "new", "named the other one", told);
    expect::sweeps(scene, 4);
    own::crash(operator);
    let operator = own::start(scene, &[QUICK, TEAM]);
    scene.ask("share", "new");
    expect::sweeps(scene, 4);
    let share = scene.wait_for("share", "new", "named the other one", told);
    assert!(message(&share).contains("--watch-label-selector"), "{share:#}");
    assert!(share["status"]["shareID"].is_null(), "{share:#}");
    assert_eq!(scene.changes_since(before), [""; 0]);
    assert!(has(&scene.only(), &[one], &[first]));
    operator
}

fn by_id(world: &World) {
    let (scene, operator, rows) = out_of_scope(world);
    let [other] = ids();
    let id = scene.only().id;
    let before = scene.changes().len();
    let more = format!("shareID: {id}\ndeletionPolicy: Delete");
    scene.apply(&in_scope(&scene.share("new", &[&other], &[&rows[1]], &more)));
    scene.wait_reason("share", "new", "Claimed");
    take_label(&scene);
    let _operator = stays_with_the_other(&scene, operator, before, &rows);
    scene.delete("share", "new");
    scene.wait_gone("share", "new");
    assert_eq!(scene.changes_since(before), [""; 0]);
    assert!(has(&scene.only(), &[&rows[0]], &[&rows[1]]));
}

fn by_name(world: &World) {
    let (scene, operator, rows) = out_of_scope(world);
    let [other] = ids();
    let before = scene.changes().len();
    take_label(&scene);
    let more = "name: waf\nadoptionPolicy: SameName\ndeletionPolicy: Delete";
    scene.apply(&in_scope(&scene.share("new", &[&other], &[&rows[1]], more)));
    let _operator = stays_with_the_other(&scene, operator, before, &rows);
}

fn freed(world: &World) {
    let (scene, _operator, [one, first]) = out_of_scope(world);
    let id = scene.only().id;
    take_label(&scene);
    let more = "name: waf\nadoptionPolicy: SameName";
    scene.apply(&in_scope(&scene.share("new", &[&one], &[&first], more)));
    scene.wait_reason("share", "new", "Claimed");
    scene.delete("share", "waf");
    scene.kubectl(&["patch", "share", "waf", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    scene.wait_gone("share", "waf");
    let share = scene.wait_ready("share", "new");
    assert_eq!(share["status"]["shareID"], id.as_str());
    assert_eq!(scene.only().id, id);
}

/// A Share moved to another name in Git: the new object comes before the old one is gone.
fn replaced(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    for more in ["name: waf", "name: waf\nadoptionPolicy: SameName"] {
        scene.apply(&scene.share("old", &[&one], &[&first], "name: waf"));
        let old = scene.wait_ready("share", "old");
        scene.wait_younger(&old);
        let simulator = &scene.world.simulator;
        let rule = Rule::once("DELETE", "/accounts/*/shares/*", Action::HoldBefore {}).account(&scene.account);
        simulator.fault(rule);
        scene.delete("share", "old");
        let held = simulator.wait_held(PATIENCE, |held| held.account.as_deref() == Some(scene.account.as_str()));
        scene.apply(&scene.share("new", &[&one], &[&first], more));
        let share = scene.wait_for("share", "new", "waited for the old one", |share| {
            ["Claimed", "NameTaken"]
                .iter()
                .any(|reason| condition(share, "Reconciling").is_some_and(|c| c["reason"] == *reason))
        });
        assert!(condition(&share, "Stalled").is_none(), "{share:#}");
        simulator.release(held.expect("a held call").id, Release::Go).expect("a release");
        scene.wait_gone("share", "old");
        scene.wait_ready("share", "new");
        assert_eq!(scene.only().name, "waf");
        scene.kubectl(&["delete", "share", "new", "--timeout=60s"]);
        scene.wait_nothing();
    }
}

fn unlisted(world: &World) {
    let (a, b) = (world.own_scene(), world.own_scene());
    let kubeconfig = account(&a, "partly");
    for scene in [&a, &b] {
        grant(&a, &scene.namespace, "partly", ALL, false);
    }
    let names = format!("{},{}", a.namespace, b.namespace);
    let operate = || start(&b, "operator.log", command(&b, &kubeconfig, &names, &[QUICK]));
    let operator = operate();
    let [one, two, first] = ids();
    // In the first namespace, with the account of the second one.
    a.put_token(&b.token);
    a.apply(&a.share("owner", &[&one], &[&first], "name: waf").replace(&a.account, &b.account));
    let old = a.wait_ready("share", "owner");
    let before = b.changes().len();
    a.wait_younger(&old);
    own::crash(operator);
    a.kubectl(&["delete", "rolebinding", "--all"]);
    let _operator = operate();
    b.apply(&b.share("new", &[&two], &[&first], "name: waf\nadoptionPolicy: SameName"));
    b.wait_for("share", "new", "waited for the namespace", |share| {
        message(share).contains(&a.namespace) && message(share).contains("cannot list")
    });
    expect::sweeps(&b, 4);
    assert_eq!(b.changes_since(before), [""; 0]);
    grant(&a, &a.namespace, "partly", ALL, false);
    let named = format!("{}/owner", a.namespace);
    b.wait_for("share", "new", "named the other one", |share| is_claimed(share) && message(share).contains(&named));
    a.wait_ready("share", "owner");
    assert_eq!(b.changes_since(before), [""; 0]);
    assert!(has(&b.only(), &[&one], &[&first]));
}
