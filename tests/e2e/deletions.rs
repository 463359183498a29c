//! Whether many shares are not deleted by accident: a lost folder, a deleted CRD, a hand at Cloudflare's dashboard.

use cfshare_simulator::{Edit, ShareState, random_id};
use cfshare_testbed::Process;
use serde_json::Value;

use crate::Test;
use crate::expect::{creates, sweeps, tally};
use crate::health;
use crate::own;
use crate::scene::{Scene, World, condition, is_ready, message, metrics};

pub const TESTS: &[Test] = &[
    ("deletions: of fifty deleted Shares five go, and the others wait until a person confirms", fifty_confirmed),
    ("deletions: Shares that wait to be deleted are kept and adopted again without a changing call", kept),
    ("deletions: after a reverted commit all Shares that wait are kept by the commands of the page", reverted),
    ("deletions: restarts do not let another batch go, until the last Share", restarted),
    ("deletions: a number of deletions counts exactly", number),
    ("deletions: a namespace whose deletion is confirmed beforehand goes", namespace),
    ("deletions: a confirmation for an earlier or a too distant time does not count", untimely),
    ("deletions: a namespace that cannot be written to holds up no deletion of another", no_right_to_record),
    ("deletions: a protected Share is not deleted at Cloudflare, whatever deleted its object", protected),
    ("deletions: six shares of six that others delete, seen deleting, wait for a person", seen_deleting),
    ("deletions: shares that others delete one after the other count together", one_by_one),
    ("deletions: shares lost for good are given up with the commands of the message", given_up),
];

fn several(scene: &Scene<'_>, count: usize, more: &str) -> Vec<ShareState> {
    let manifest = |n: usize| scene.share(&format!("waf-{n}"), &[&random_id()], &[&random_id()], more);
    scene.apply(&(0..count).map(manifest).collect::<Vec<_>>().join("---\n"));
    for n in 0..count {
        scene.wait_ready("share", &format!("waf-{n}"));
    }
    scene.live()
}

fn objects(scene: &Scene<'_>) -> Vec<Value> {
    let list = scene.kubectl(&["get", "shares.cfshare.dev", "-o", "json"]);
    let list: Value = serde_json::from_str(&list).expect("kubectl prints JSON");
    list["items"].as_array().cloned().unwrap_or_default()
}

fn reason(object: &Value) -> &str {
    condition(object, "Ready").and_then(|ready| ready["reason"].as_str()).unwrap_or_default()
}

fn deletes(scene: &Scene<'_>) -> usize {
    tally(&scene.journal()).get("DELETE /accounts/*/shares/*").copied().unwrap_or(0)
}

fn delete(scene: &Scene<'_>, names: &[&str]) {
    scene.kubectl(&[&["delete", "shares.cfshare.dev", "--wait=false"], names].concat());
}

/// So many objects are left, and all of them say so.
fn wait_blocked(scene: &Scene<'_>, count: usize) -> Vec<Value> {
    scene.wait(&format!("{count} Shares that wait"), || {
        let objects = objects(scene);
        objects.len() == count && objects.iter().all(|object| reason(object) == "DeletionBlocked")
    });
    objects(scene)
}

/// So many deleted Shares are counted as held for this reason.
fn wait_metrics(scene: &Scene<'_>, reason: &str, count: usize) {
    // The last of several operators of a test writes to the same log as those before.
    let own = |log: String| log.lines().rfind(|line| line.contains("admin endpoints")).map(str::to_owned);
    let own = std::fs::read_to_string(scene.file("operator.log")).ok().and_then(own);
    let log = || own.clone().unwrap_or_else(|| scene.world.operator.log());
    let start = format!(r#"cfshare_blocked_deletions{{share_namespace="{}","#, scene.namespace);
    let end = format!(r#"reason="{reason}"}} 1"#);
    let is = |line: &str| line.starts_with(&start) && line.ends_with(&end);
    scene.wait(&format!("{count} in the metric"), || metrics(&log()).lines().filter(|line| is(line)).count() == count);
}

/// Runs the command of a message that contains these words, as a shell would.
fn paste(scene: &Scene<'_>, text: &str, words: &str) {
    let commands = text.split('`').filter(|part| part.starts_with("kubectl ")).collect::<Vec<_>>();
    let command = commands.iter().find(|part| part.contains(words));
    let command = command.unwrap_or_else(|| panic!("no command with {words} in: {text}"));
    run(scene, command);
}

/// Runs a command as a person would who pastes it into a shell.
fn run(scene: &Scene<'_>, command: &str) {
    let kubectl = scene.world.cluster.kubectl(&[]);
    let words = std::iter::once(kubectl.get_program()).chain(kubectl.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let script = format!("kubectl() {{ {} \"$@\"; }}\n{command}", words.join(" "));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]);
    for (name, value) in kubectl.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let output = shell.output().expect("a shell");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Asks for a look now, without waiting for its end.
fn ask(scene: &Scene<'_>, name: &str) {
    scene.annotate("share", name, &format!("cfshare.dev/requestedAt={}", random_id()));
}

fn fifty_confirmed(world: &World) {
    let scene = world.scene();
    several(&scene, 50, "");
    delete(&scene, &["--all"]);
    let waiting = wait_blocked(&scene, 45);
    assert!(condition(&waiting[0], "Stalled").is_some(), "{:#}", waiting[0]);
    sweeps(&scene, 2);
    assert_eq!((deletes(&scene), scene.live().len()), (5, 45));
    wait_metrics(&scene, "DeletionBlocked", 45);
    // One alone, then all that wait in the namespace.
    let text = message(&waiting[0]);
    let name = waiting[0]["metadata"]["name"].as_str().expect("a name");
    paste(&scene, &text, &format!("shares.cfshare.dev {name} "));
    scene.wait_gone("share", name);
    sweeps(&scene, 1);
    assert_eq!(deletes(&scene), 6);
    paste(&scene, &text, "--all");
    scene.wait("all to go", || objects(&scene).is_empty());
    scene.wait_nothing();
    assert_eq!(deletes(&scene), 50);
    wait_metrics(&scene, "DeletionBlocked", 0);
}

fn kept(world: &World) {
    let scene = world.scene();
    let shares = several(&scene, 8, "");
    let manifests: Vec<Value> = objects(&scene);
    delete(&scene, &["--all"]);
    let waiting = wait_blocked(&scene, 3);
    let before = scene.changes().len();
    for object in &waiting {
        paste(&scene, &message(object), "Retain");
    }
    scene.wait("all to go", || objects(&scene).is_empty());
    for manifest in &manifests {
        let name = manifest["metadata"]["name"].as_str().expect("a name");
        if waiting.iter().all(|object| object["metadata"]["name"] != name) {
            continue;
        }
        let mut spec = manifest["spec"].clone();
        spec["adoptionPolicy"] = "SameName".into();
        let again = serde_json::json!({
            "apiVersion": "cfshare.dev/v1alpha1", "kind": "Share", "metadata": {"name": name}, "spec": spec,
        });
        scene.apply(&again.to_string());
        scene.wait_ready("share", name);
    }
    sweeps(&scene, 2);
    assert_eq!(scene.changes().len(), before, "{:#?}", scene.changes());
    let live = scene.live();
    assert_eq!(live.len(), 3);
    assert!(live.iter().all(|share| shares.iter().any(|old| old.id == share.id)));
}

fn reverted(world: &World) {
    let scene = world.own_scene();
    let _operator = own::start(&scene, &[("--max-deletions", "0")]);
    let rows: Vec<[String; 3]> = (0..7).map(|_| crate::scene::ids()).collect();
    let apply = |more: &str| {
        let of_share = |(n, [one, two, first]): (usize, &[String; 3])| {
            let share = format!("waf-{n}");
            [scene.share(&share, &[one], &[first], more), scene.recipient(&share, &share, two, "")].join("---\n")
        };
        scene.apply(&rows.iter().enumerate().map(of_share).collect::<Vec<_>>().join("---\n"));
    };
    let all_ready = || {
        for n in 0..7 {
            scene.wait_ready("share", &format!("waf-{n}"));
            scene.wait_ready("sharerecipient", &format!("waf-{n}"));
        }
    };
    apply("");
    all_ready();
    let (before, shares) = (scene.changes().len(), ids_of(&scene));
    scene.kubectl(&["delete", "shares.cfshare.dev,sharerecipients.cfshare.dev", "--all", "--wait=false"]);
    wait_blocked(&scene, 7);
    apply("adoptionPolicy: SameName");
    let page = include_str!("../../docs/disaster-recovery.md");
    let block = page.split("## A commit").nth(1).and_then(|rest| rest.split("```sh\n").nth(1)).expect("a block");
    let block = block.split("```").next().unwrap_or_default();
    let (fine, said) = crate::runbook::paste(&scene, "", &scene.token, block);
    assert!(fine, "{said}");
    scene.wait("all to go", || objects(&scene).is_empty());
    apply("adoptionPolicy: SameName");
    all_ready();
    sweeps(&scene, 2);
    assert_eq!(scene.changes_since(before), [""; 0]);
    assert_eq!(ids_of(&scene), shares);
}

fn ids_of(scene: &Scene<'_>) -> Vec<String> {
    let mut ids: Vec<String> = scene.live().into_iter().map(|share| share.id).collect();
    ids.sort();
    ids
}

fn restarted(world: &World) {
    let scene = world.own_scene();
    let mut operator = own::start(&scene, &[]);
    several(&scene, 8, "");
    delete(&scene, &["waf-0", "waf-1", "waf-2"]);
    scene.wait("three to go", || objects(&scene).len() == 5);
    own::crash(operator);
    // Those that hold the record, whichever they are, are deleted as well, a few each time.
    delete(&scene, &["waf-3", "waf-4", "waf-5"]);
    operator = own::start(&scene, &[]);
    scene.wait("one that waits", || objects(&scene).iter().any(|object| reason(object) == "DeletionBlocked"));
    scene.wait("two more to go", || objects(&scene).len() == 3);
    own::crash(operator);
    delete(&scene, &["waf-6", "waf-7"]);
    let _operator = own::start(&scene, &[]);
    wait_blocked(&scene, 3);
    sweeps(&scene, 2);
    assert_eq!((deletes(&scene), scene.live().len()), (5, 3));
}

fn number(world: &World) {
    for (limit, count) in [("0", 0), ("2", 2), ("100%", 7)] {
        let scene = world.own_scene();
        let _operator = own::start(&scene, &[("--max-deletions", limit)]);
        several(&scene, 7, "");
        delete(&scene, &["--all"]);
        wait_blocked(&scene, 7 - count);
        if count < 7 {
            sweeps(&scene, 2);
        }
        assert_eq!((deletes(&scene), scene.live().len()), (count, 7 - count));
    }
}

fn namespace(world: &World) {
    let scene = world.scene();
    several(&scene, 20, "");
    let command = "kubectl annotate --overwrite shares.cfshare.dev --all -n NAMESPACE \
                   cfshare.dev/confirm-deletion=$(date -u -d '+1 hour' +%FT%TZ)";
    run(&scene, &command.replace("NAMESPACE", &scene.namespace));
    assert_eq!(deletes(&scene), 0);
    world.cluster.run(&["delete", "namespace", &scene.namespace, "--timeout=60s"], None).expect("it goes");
    scene.wait_nothing();
    assert_eq!(deletes(&scene), 20);
}

fn untimely(world: &World) {
    let scene = world.scene();
    several(&scene, 7, "");
    scene.kubectl(&["annotate", "shares.cfshare.dev", "--all", "cfshare.dev/confirm-deletion=2020-01-01T00:00:00Z"]);
    delete(&scene, &["--all"]);
    let waiting = wait_blocked(&scene, 2);
    let name = waiting[0]["metadata"]["name"].as_str().expect("a name");
    for wrong in ["2099-01-01T00:00:00Z", "yes", ""] {
        scene.annotate("share", name, &format!("cfshare.dev/confirm-deletion={wrong}"));
        scene.ask("share", name);
        assert_eq!((deletes(&scene), scene.live().len()), (5, 2));
    }
}

fn no_right_to_record(world: &World) {
    let [scene, other] = [world.own_scene(), world.own_scene()];
    let kubeconfig = health::account(&scene, "partly");
    for of in [&scene, &other] {
        health::grant(&scene, &of.namespace, "partly", health::ALL, false);
    }
    other.put_token(&scene.token);
    let names = format!("{},{}", scene.namespace, other.namespace);
    let operator = health::start(&scene, "operator.log", health::command(&scene, &kubeconfig, &names, &[]));
    several(&scene, 3, "");
    // These stay, so that the record belongs there.
    let manifest = |n: usize| other.share(&format!("kept-{n}"), &[&random_id()], &[&random_id()], "");
    let kept = (0..4).map(manifest).collect::<Vec<_>>().join("---\n");
    other.apply(&kept.replace(&other.account, &scene.account));
    (0..4).for_each(|n| drop(other.wait_ready("share", &format!("kept-{n}"))));
    let rules = other.kubectl(&["get", "role", "partly", "-o", "json"]);
    let mut role: Value = serde_json::from_str(&rules).expect("JSON");
    let rules = role["rules"].as_array_mut().expect("rules");
    let before = rules.len();
    rules.retain(|rule| !rule["resources"].to_string().contains("shares/status"));
    assert_eq!(rules.len(), before - 1);
    let patch = serde_json::json!({"rules": rules}).to_string();
    other.kubectl(&["patch", "role", "partly", "--type=merge", "-p", &patch]);
    let subject = format!("--as=system:serviceaccount:{}:partly", scene.namespace);
    let may = ["auth", "can-i", "patch", "shares.cfshare.dev", "--subresource=status", &subject];
    other.wait("the right to go", || other.try_kubectl(&may, None).is_err());
    delete(&scene, &["--all"]);
    scene.wait("all to go", || objects(&scene).is_empty());
    assert_eq!((deletes(&scene), scene.live().len()), (3, 4), "{}", operator.log());
}

/// A Share that is being deleted though it is protected: the policy that refuses that may be missing, or not asked where
/// its CRD goes.
pub fn deleted_and_protected(scene: &Scene<'_>) -> (Process, Value) {
    let operator = own::start(scene, &[]);
    several(scene, 1, "");
    own::crash(operator);
    delete(scene, &["--all"]);
    scene.kubectl(&["patch", "share", "waf-0", "--type=merge", "-p", r#"{"spec":{"deletionProtection":true}}"#]);
    scene.annotate("share", "waf-0", "cfshare.dev/confirm-deletion=2099-01-01T00:00:00Z");
    let operator = own::start(scene, &[]);
    let share = scene.wait_reason("share", "waf-0", "DeletionProtected");
    assert!(condition(&share, "Stalled").is_some(), "{share:#}");
    sweeps(scene, 2);
    assert_eq!((deletes(scene), scene.live().len()), (0, 1));
    (operator, share)
}

fn protected(world: &World) {
    let scene = world.own_scene();
    let (_operator, share) = deleted_and_protected(&scene);
    paste(&scene, &message(&share), "deletionProtection");
    scene.wait_gone("share", "waf-0");
    scene.wait_nothing();
    let scene = world.own_scene();
    let (_operator, share) = deleted_and_protected(&scene);
    wait_metrics(&scene, "DeletionProtected", 1);
    paste(&scene, &message(&share), "Retain");
    scene.wait_gone("share", "waf-0");
    assert_eq!((deletes(&scene), scene.live().len()), (0, 1));
}

fn open(object: &Value) -> bool {
    reason(object) == "BreakerOpen"
}

fn wait_open(scene: &Scene<'_>, count: usize) -> Vec<Value> {
    scene.wait(&format!("{count} Shares that say that the breaker is open"), || objects(scene).iter().all(open));
    let objects = objects(scene);
    assert_eq!(objects.len(), count);
    for object in &objects {
        let (name, namespace) = (&object["metadata"]["name"], &object["metadata"]["namespace"]);
        let own = format!("shares.cfshare.dev {} -n {}", name.as_str().unwrap(), namespace.as_str().unwrap());
        assert!(message(object).contains(&own) && !message(object).contains('<'), "{object:#}");
    }
    objects
}

fn seen_deleting(world: &World) {
    let scene = world.scene();
    let shares = several(&scene, 6, "");
    // It takes so long that every read in between says `deleting`.
    world.simulator.delays(Some(&scene.account), |delays| delays.delete_share_ms = Some(8_000));
    world.simulator.edit(Edit::DeleteAll { account: scene.account.clone() }).expect("an edit");
    for share in &shares {
        ask(&scene, &share.name);
    }
    let objects = wait_open(&scene, 6);
    sweeps(&scene, 2);
    assert_eq!(creates(&scene), 6, "{:#?}", scene.changes());
    paste(&scene, &message(&objects[0]), "close-breaker");
    scene.wait("all again", || scene.live().len() == 6);
    for n in 0..6 {
        scene.wait_for("share", &format!("waf-{n}"), "became Ready again", is_ready);
    }
    assert_eq!((scene.live().len(), creates(&scene)), (6, 12));
}

fn one_by_one(world: &World) {
    let scene = world.scene();
    let shares = several(&scene, 6, "");
    // One is found by its own pass, between two sweeps; the others a moment later.
    world.simulator.edit(Edit::DeleteShare { share: shares[0].id.clone() }).expect("an edit");
    ask(&scene, &shares[0].name);
    for share in &shares[1..] {
        world.simulator.edit(Edit::DeleteShare { share: share.id.clone() }).expect("an edit");
        ask(&scene, &share.name);
    }
    wait_open(&scene, 6);
    sweeps(&scene, 3);
    assert!(creates(&scene) <= 8, "{:#?}", scene.changes());
}

fn given_up(world: &World) {
    let scene = world.scene();
    several(&scene, 4, "");
    world.simulator.edit(Edit::VanishAll { account: scene.account.clone() }).expect("an edit");
    wait_open(&scene, 4);
    // What is known of each of them comes a moment later than that the breaker is open.
    scene.wait("how to give each of them up", || {
        objects(&scene).iter().all(|object| message(object).contains("kubectl delete"))
    });
    for object in &objects(&scene) {
        paste(&scene, &message(object), "kubectl delete");
    }
    for n in 0..4 {
        scene.wait_gone("share", &format!("waf-{n}"));
    }
    assert_eq!((creates(&scene), deletes(&scene)), (4, 0));
}
