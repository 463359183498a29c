//! Looking without touching: `Observe`, and an operator that only reads.

use std::time::Duration;

use cfshare_simulator::{Edit, Policy, random_id};

use crate::Test;
use crate::scene::{PATIENCE, Scene, World, condition, ids, is_ready, message};

pub const TESTS: &[Test] = &[
    ("observe: a share that is as declared is Ready, and nothing is written", as_declared),
    ("observe: every difference is told, and nothing is written", differs),
    ("observe: a share whose recipient failed is not Ready, unless a waiver accepts it", failed),
    ("observe: a share of the same name that another Share observes is no duplicate, and a third one is", namesakes),
    ("observe: a share that does not exist is not made", nothing),
    ("observe: a share that comes later is compared", comes_later),
    ("observe: an operator that only reads goes on watching a share that it found by name", found_by_name),
    ("observe: objects of an observed share are compared, and nothing is written", children),
    ("observe: an object that came before the Share that observes changes nothing once that is gone", children_first),
    ("observe: an object of an observed share that does not exist says so, and what would create it", child_of_nothing),
    ("observe: a managed share that is only observed from now on is left alone, and managed again", switched),
    ("observe: a share that was managed and is gone is not called adopted, and is recreated once managed", gone),
    ("observe: a share that another account's token does not show is not believed to be gone", hidden),
    ("observe: an operator that only reads changes nothing, and says what it would", read_only),
];

/// A share `waf` that no object has any more.
fn leave_share(scene: &Scene<'_>, recipients: &[&str], resource: &str) {
    scene.apply(&scene.share("waf", recipients, &[resource], "deletionPolicy: Retain"));
    scene.wait_ready("share", "waf");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
}

fn namesakes(world: &World) {
    let scene = world.own_scene();
    let _operator = crate::own::start(&scene, &[("--sweep-interval", "500ms")]);
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let resources = || vec![crate::cli::resource(&first, serde_json::Value::Null)];
    let second = crate::cli::seed(&scene, "waf", &[&two], resources(), false);
    let said = |id: &str| format!("(id {id}), which no Share that this cfshare watches declares. Find out who uses it");
    let told =
        scene.wait_for("share", "waf", "told of the other share", |share| message(share).contains(&said(&second)));
    assert!(is_ready(&told));
    let more = format!("name: waf\nmanagementPolicy: Observe\nshareID: {second}");
    scene.apply(&scene.share("looking", &[&two], &[&first], &more));
    scene.wait_ready("share", "looking");
    let share = scene.ask("share", "waf");
    assert!(is_ready(&share) && !message(&share).contains("another live share"), "{}", message(&share));
    // Whichever id comes first, the one that nobody declares is named.
    let others = [0, 1].map(|_| crate::cli::seed(&scene, "waf", &[&two], resources(), false));
    for gone in [&others[0], &others[1]] {
        scene.wait_for("share", "waf", "told of another share", |share| {
            others.iter().any(|id| message(share).contains(&said(id)))
        });
        world.simulator.edit(Edit::DeleteShare { share: gone.clone() }).expect("an edit");
    }
    scene.wait_for("share", "waf", "told of no share", |share| !message(share).contains("another live share"));
}

fn as_declared(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    leave_share(&scene, &[&one], &first);
    let state = scene.only();
    let before = scene.changes().len();
    for (name, more) in [("waf", String::new()), ("by-id", format!("\nshareID: {}", state.id))] {
        let more = format!("managementPolicy: Observe{more}");
        scene.apply(&scene.share(name, &[&one], &[&first], &more));
        let share = scene.wait_ready("share", name);
        assert_eq!(condition(&share, "Ready").expect("Ready")["reason"], "Observed");
        assert_eq!(share["status"]["recipients"]["summary"], "1/1");
        assert_eq!(share["status"]["effective"]["managementPolicy"], "Observe");
        assert!(share["metadata"]["finalizers"].is_null(), "{share:#}");
    }
    scene.kubectl(&["delete", "share", "--all", "--timeout=60s"]);
    assert_eq!(scene.changes_since(before), [""; 0]);
    assert_eq!(format!("{state:?}"), format!("{:?}", scene.only()));
}

fn differs(world: &World) {
    let scene = world.scene();
    let [one, two, foreign, first, second] = ids();
    leave_share(&scene, &[&one, &foreign], &first);
    let state = scene.only();
    let before = scene.changes().len();
    let head = scene.head("Share", "observed");
    scene.apply(&format!(
        "{head}spec:\n  accountID: {}\n  shareID: {}\n  name: another name\n  managementPolicy: Observe\n  \
         recipients: [{{accountID: {one}}}, {{accountID: {two}, name: payments-prod}}]\n  resources:\n  \
         - {{type: custom-ruleset, id: {first}, meta: {{mode: block}}}}\n  - {{type: custom-ruleset, id: {second}}}\n",
        scene.account, state.id,
    ));
    let share = scene.wait_reason("share", "observed", "Differs");
    let text = message(&share);
    assert!(text.contains("4 places") && text.contains("payments-prod") && text.contains("(its name, "), "{text}");
    let drift = share["status"]["drift"].as_array().cloned().unwrap_or_default();
    let paths: Vec<&str> = drift.iter().filter_map(|entry| entry["path"].as_str()).collect();
    assert_eq!(paths.len(), 4, "{paths:?}");
    let told = |start: String| paths.iter().any(|path| path.starts_with(&start));
    assert!(told("name".into()) && told(format!("recipients[{two}")), "{paths:?}");
    assert!(told(format!("resources[custom-ruleset/{first}].meta")), "{paths:?}");
    assert!(told(format!("resources[custom-ruleset/{second}]")), "{paths:?}");
    assert_eq!(share["status"]["unmanaged"][0]["accountID"], foreign.as_str());
    assert!(share["metadata"]["finalizers"].is_null(), "{share:#}");
    scene.kubectl(&["delete", "share", "observed", "--timeout=60s"]);
    assert_eq!(scene.changes_since(before), [""; 0]);
    assert_eq!(format!("{state:?}"), format!("{:?}", scene.only()));
}

fn failed(world: &World) {
    let scene = world.scene();
    let [one, poor, first] = ids();
    world.simulator.account(&poor, |account| account.entitled = false);
    scene.apply(&scene.share("waf", &[&one, &poor], &[&first], "deletionPolicy: Retain"));
    scene.wait_reason("share", "waf", "RecipientFailed");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    let before = scene.changes().len();
    let observed = scene.share("waf", &[&one, &poor], &[&first], "managementPolicy: Observe");
    scene.apply(&observed);
    let share = scene.wait_reason("share", "waf", "RecipientFailed");
    assert!(condition(&share, "Stalled").is_some(), "{share:#}");
    let text = message(&share);
    assert!(text.starts_with("observed: recipient ") && text.contains(&poor), "{text}");
    let waiver = "waiver: {reason: no entitlement yet, until: 2099-01-01T00:00:00Z}";
    scene.apply(&observed.replace(&format!("{{accountID: {poor}}}"), &format!("{{accountID: {poor}, {waiver}}}")));
    let share = scene.wait_ready("share", "waf");
    assert_eq!(condition(&share, "Ready").expect("Ready")["reason"], "Waived");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    assert_eq!(scene.changes_since(before), [""; 0]);
}

fn nothing(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], "managementPolicy: Observe"));
    let share = scene.wait_reason("share", "waf", "Differs");
    assert!(message(&share).contains("no live share named waf"), "{}", message(&share));
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    assert_eq!(scene.changes(), [""; 0]);
}

fn comes_later(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], "managementPolicy: Observe"));
    scene.wait_reason("share", "waf", "Differs");
    crate::expect::sweeps(&scene, 1);
    crate::cli::seed(&scene, "waf", &[&one], vec![crate::cli::resource(&first, serde_json::Value::Null)], false);
    scene.wait_reason("share", "waf", "Observed");
}

fn found_by_name(world: &World) {
    let scene = world.own_scene();
    let [one, two, first, second] = ids();
    let resources = [&first, &second].map(|id| crate::cli::resource(id, serde_json::Value::Null)).to_vec();
    let id = crate::cli::seed(&scene, "waf", &[&one, &two], resources, false);
    let _operator = crate::own::start(&scene, &[("--read-only", "")]);
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    scene.apply(&scene.share("waf", &[&one], &[&first, &second], ""));
    scene.wait_reason("share", "waf", "Observed");
    scene.wait_ready("sharerecipient", "two");
    world.simulator.edit(Edit::RemoveResource { share: id, resource: second.clone() }).expect("an edit");
    let share = scene.wait_reason("share", "waf", "Differs");
    assert!(share["status"]["drift"].to_string().contains(&second) || message(&share).contains(&second), "{share:#}");
    for (kind, name) in [("share", "waf"), ("sharerecipient", "two")] {
        assert!(scene.get(kind, name).expect("it is there")["metadata"]["finalizers"].is_null());
    }
    assert_eq!(scene.changes(), [""; 0]);
}

fn children(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    leave_share(&scene, &[&one], &first);
    let before = scene.changes().len();
    scene.apply(&scene.share("waf", &[], &[&first], "managementPolicy: Observe"));
    scene.wait_for("share", "waf", "was observed", crate::scene::is_observed);
    scene.apply(&scene.recipient("one", "waf", &one, ""));
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    let there = scene.wait_ready("sharerecipient", "one");
    let missing = scene.wait_reason("sharerecipient", "two", "Differs");
    assert!(message(&missing).contains(&two), "{}", message(&missing));
    for child in [there, missing] {
        assert!(child["metadata"]["finalizers"].is_null(), "{child:#}");
    }
    scene.kubectl(&["delete", "share,sharerecipient", "--all", "--timeout=60s"]);
    assert_eq!(scene.changes_since(before), [""; 0]);
    assert_eq!(scene.only().live_recipients().len(), 1);
}

fn children_first(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    leave_share(&scene, &[&one], &first);
    let before = scene.changes().len();
    // They are claimed, as nobody knows yet that their Share only observes.
    for (name, account) in [("one", &one), ("two", &two)] {
        scene.apply(&scene.recipient(name, "waf", account, ""));
        scene.wait_reason("sharerecipient", name, "WaitingForShare");
    }
    scene.apply(&scene.share("waf", &[], &[&first], "managementPolicy: Observe"));
    scene.wait_ready("sharerecipient", "one");
    scene.wait_reason("sharerecipient", "two", "Differs");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    for name in ["one", "two"] {
        scene.wait_reason("sharerecipient", name, "WaitingForShare");
    }
    scene.kubectl(&["delete", "sharerecipient", "--all", "--timeout=60s"]);
    assert_eq!(scene.changes_since(before), [""; 0]);
    assert_eq!(scene.only().live_recipients().len(), 1);
}

fn child_of_nothing(world: &World) {
    let scene = world.scene();
    let [one, first, second] = ids();
    // The Share comes before one of its objects and after the other.
    scene.apply(&scene.recipient("one", "waf", &one, ""));
    scene.wait_reason("sharerecipient", "one", "WaitingForShare");
    scene.apply(&scene.share("waf", &[], &[&first], "managementPolicy: Observe"));
    scene.apply(&scene.resource("second", "waf", &second, ""));
    for (kind, name) in [("sharerecipient", "one"), ("shareresource", "second")] {
        let child = scene.wait_reason(kind, name, "Differs");
        let text = message(&child);
        assert!(text.starts_with("Share waf only observes, and there is no share at Cloudflare"), "{text}");
        assert!(condition(&child, "Stalled").is_some() && condition(&child, "Reconciling").is_none(), "{child:#}");
    }
    let text = message(&scene.get("sharerecipient", "one").expect("it is there"));
    let command = text.split("To have it created: ").nth(1).expect("a command");
    let patch = command.split("-p ").nth(1).expect("a patch").trim_matches('\'');
    assert!(command.starts_with(&format!("kubectl patch shares.cfshare.dev waf -n {} ", scene.namespace)), "{command}");
    assert_eq!(scene.changes(), [""; 0]);
    scene.kubectl(&["patch", "shares.cfshare.dev", "waf", "--type", "merge", "-p", patch]);
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "one");
    scene.wait_ready("shareresource", "second");
}

fn switched(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let before = scene.changes().len();
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], "managementPolicy: Observe"));
    scene.wait_reason("share", "waf", "Differs");
    scene.wait_for("share", "waf", "lost its finalizer", |share| share["metadata"]["finalizers"].is_null());
    assert_eq!(scene.changes_since(before), [""; 0]);
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    let share = scene.wait_ready("share", "waf");
    assert!(!share["metadata"]["finalizers"].is_null());
    assert_eq!(scene.only().live_recipients().len(), 2);
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_nothing();
}

fn gone(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &[&one], &[&first], "managementPolicy: Observe"));
    scene.wait_reason("share", "waf", "Observed");
    world.simulator.edit(Edit::DeleteShare { share: scene.only().id }).expect("an edit");
    let share = scene.wait_for("share", "waf", "was told of as gone", |share| {
        condition(share, "Stalled").is_some_and(|stalled| stalled["reason"] == "ShareNotFound")
    });
    let text = message(&share);
    assert!(text.contains("set managementPolicy: Manage") && !text.contains("adopted"), "{text}");
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.only();
}

fn hidden(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &[&one], &[&first], "managementPolicy: Observe"));
    scene.wait_reason("share", "waf", "Observed");
    let blind = format!("token-{}", random_id());
    world.simulator.token(&blind, Policy { blind: true, ..Policy::default() });
    scene.put_token(&blind);
    let share = scene.wait_reason("share", "waf", "BreakerOpen");
    assert!(condition(&share, "Ready").is_some_and(|ready| ready["status"] == "Unknown"), "{share:#}");
    scene.put_token(&scene.token);
    scene.wait_reason("share", "waf", "Observed");
}

fn read_only(world: &World) {
    let scene = world.own_scene();
    let [one, two, first, second] = ids();
    let operator = scene.operator(&[]);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.apply(&scene.share("doomed", &[&one], &[&first], ""));
    scene.apply(&scene.share("lost", &[&one], &[&first], ""));
    scene.apply(&scene.share("bare", &[&one], &[&first, &second], ""));
    let bare = scene.wait_ready("share", "bare")["status"]["shareID"].as_str().expect("an id").to_owned();
    let lost = scene.wait_ready("share", "lost")["status"]["shareID"].as_str().expect("an id").to_owned();
    scene.wait_ready("share", "waf");
    scene.wait_ready("share", "doomed");
    assert!(operator.stop(Duration::from_secs(20)).is_some_and(|status| status.success()));
    let before = scene.changes().len();
    let mut command = crate::scene::operator_with(&world.cluster, &world.simulator, &[]);
    command.args(["--watch-label-selector", crate::scene::OWN_LABEL, "--namespace", &scene.namespace, "--read-only"]);
    let reader = cfshare_testbed::Process::start(command, scene.file("reader.log")).expect("the operator starts");
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    scene.apply(&scene.share("new", &[&one], &[&first], ""));
    scene.delete("share", "doomed");
    let share = scene.wait_reason("share", "waf", "Differs");
    assert!(message(&share).contains(&two) && message(&share).contains("nothing is changed"), "{}", message(&share));
    let new = scene.wait_reason("share", "new", "Differs");
    for share in [&share, &new] {
        assert!(message(share).starts_with("the operator runs with --read-only: "), "{}", message(share));
    }
    let doomed = scene.wait_for("share", "doomed", "said why it stays", |share| message(share).contains("--read-only"));
    assert_eq!(doomed["status"]["effective"]["managementPolicy"], "Observe");
    assert!(message(&doomed).contains("is not deleted"), "{}", message(&doomed));
    assert_eq!(condition(&doomed, "Ready").expect("Ready")["reason"], "Differs");
    assert!(scene.get("share", "new").expect("it is there")["metadata"]["finalizers"].is_null());
    is_told_as_lost(&scene, &lost);
    world.simulator.edit(Edit::RemoveResource { share: bare, resource: second.clone() }).expect("an edit");
    let bare = scene.wait_reason("share", "bare", "Differs");
    assert!(bare["status"]["drift"].to_string().contains(&second), "{bare:#}");
    assert_eq!(scene.changes_since(before), [""; 0]);
    let served = crate::scene::metrics(&reader.log());
    assert!(served.lines().any(|line| line == "cfshare_read_only 1"), "{served}");
    assert_eq!(crate::alerts::firing("CfshareReadOnly", &served).len(), 1);
    let shared = crate::scene::metrics(&world.operator.log());
    assert!(crate::alerts::firing("CfshareReadOnly", &shared).is_empty(), "{shared}");
    drop(reader);
    let _operator = scene.operator(&[]);
    scene.wait_gone("share", "doomed");
    scene.wait_for("share", "waf", "became Ready", is_ready);
    scene.wait_ready("share", "new");
    scene.wait_ready("share", "lost");
    scene.wait_ready("share", "bare");
    assert_eq!(scene.live().len(), 4);
    scene.kubectl(&["delete", "share", "--all", &format!("--timeout={}s", PATIENCE.as_secs())]);
    scene.wait_nothing();
}

/// Somebody deletes the share: the Share says so, and the matrix no longer says that anybody receives it.
fn is_told_as_lost(scene: &Scene<'_>, id: &str) {
    scene.world.simulator.edit(Edit::DeleteShare { share: id.into() }).expect("an edit");
    let lost = scene.wait_for("share", "lost", "was told of as lost", |share| message(share).contains("not recreated"));
    let ready = condition(&lost, "Ready").expect("Ready");
    assert_eq!((&ready["status"], &ready["reason"]), (&"False".into(), &"ShareNotFound".into()), "{lost:#}");
    let table = crate::matrix::matrix(scene, &[]).json();
    let rows = table["rows"].as_array().into_iter().flatten().filter(|row| row["shareID"] == id);
    let states: Vec<&str> = rows.filter_map(|row| row["state"].as_str()).collect();
    assert_eq!(states, ["unknown"], "{table:#}");
}
