//! A share's whole life: made, changed, kept, left alone, removed.

use std::thread::sleep;
use std::time::Duration;

use cfshare_simulator::{Action, Association, ErrorBody, LastResource, Life, Rule};
use serde_json::{Value, json};

use crate::Test;
use crate::expect::has;
use crate::own;
use crate::scene::{World, condition, ids, message};

pub const TESTS: &[Test] = &[
    ("lifecycle: an inline share becomes ready, changes, and goes away", inline),
    ("lifecycle: a share waits until it has a recipient and a resource", waits),
    ("lifecycle: a rename is one call", renamed),
    ("lifecycle: a status that was emptied is written again, and says how to go on", emptied),
    ("lifecycle: what was deleted after its status was lost says what may stay", forgotten),
    ("lifecycle: a status that is another object's by now is written again at once", overwritten),
    ("lifecycle: changed meta is one call, and the same meta in another order is none", meta),
    ("lifecycle: recipients and resources come and go one by one", rows),
    ("lifecycle: the only resource is swapped without a moment without one", swapped),
    ("lifecycle: the last resource stays until there is another", last_resource),
    ("lifecycle: the only resource stays while the one that replaces it is refused", |w| replaced(w, false)),
    ("lifecycle: the only resource of an object stays while the one that replaces it is refused", |w| {
        replaced(w, true)
    }),
    ("lifecycle: a retained share stays as it is", retained),
    ("lifecycle: a suspended share is left alone, and goes on later", suspended),
    ("lifecycle: a share that is deleted while suspended stays", deleted_while_suspended),
    ("lifecycle: a share that is deleted right after it was applied leaves nothing", deleted_at_once),
    ("lifecycle: a share applied anew under the same name is another one", applied_anew),
    ("lifecycle: a namespace goes with everything in it", namespace),
    ("lifecycle: a deletion waits until the share is gone", slow_deletion),
];

fn inline(world: &World) {
    let scene = world.scene();
    let [one, two, three, first, second] = ids();
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    let share = scene.wait_ready("share", "waf");
    let status = &share["status"];
    assert_eq!(status["recipients"]["summary"], "2/2");
    assert_eq!(status["resources"]["summary"], "1/1");
    assert_eq!((&status["targetType"], &status["remoteStatus"]), (&"account".into(), &"active".into()));
    assert_eq!(status["shareID"], scene.only().id.as_str());
    assert_eq!(status["effective"]["deletionPolicy"], "Delete");
    assert!(status["accountName"].as_str().is_some_and(|name| name.starts_with("Account ")), "{status}");
    assert_eq!(message(&share), "2/2 recipients associated, 1/1 resources active");
    scene.apply(&scene.share("waf", &[&one, &three], &[&second], "name: renamed"));
    scene.wait_ready("share", "waf");
    let state = scene.only();
    assert_eq!(state.name, "renamed");
    assert_eq!((state.live_recipients().len(), state.live_resources().len()), (2, 1));
    assert!(state.live_recipients().iter().any(|row| row.account_id == three));
    assert_eq!(state.live_resources()[0].resource_id, second);
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_nothing();
}

fn waits(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[], &[&first], ""));
    let share = scene.wait_reason("share", "waf", "WaitingForRecipients");
    assert!(message(&share).contains("spec.recipients"), "{}", message(&share));
    assert!(condition(&share, "Reconciling").is_some());
    scene.apply(&scene.share("waf", &[&one], &[], ""));
    let share = scene.wait_reason("share", "waf", "WaitingForResources");
    assert!(message(&share).contains("spec.resources"), "{}", message(&share));
    assert_eq!(scene.changes(), [""; 0]);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
}

fn emptied(world: &World) {
    let scene = world.scene();
    let [one, source] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&source], ""));
    scene.wait_ready("share", "waf");
    let id = scene.only().id;
    let changes = scene.changes();
    let empty =
        ["patch", "shares.cfshare.dev", "waf", "--subresource=status", "--type=merge", "-p", r#"{"status":null}"#];
    scene.kubectl(&empty);
    let share = scene.wait_reason("share", "waf", "NameTaken");
    assert!(message(&share).contains(&id), "{share:#}");
    scene.apply(&scene.share("waf", &[&one], &[&source], &format!("shareID: {id}\ndeletionPolicy: Delete")));
    scene.wait_ready("share", "waf");
    assert_eq!(scene.changes(), changes);
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_nothing();
}

fn forgotten(world: &World) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let [one, two, source] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&source], ""));
    scene.apply(&scene.recipient("bee", "waf", &two, ""));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "bee");
    let (id, changes) = (scene.only().id, scene.changes());
    own::crash(operator);
    for (kind, name) in [("share", "waf"), ("sharerecipient", "bee")] {
        scene.kubectl(&["patch", kind, name, "--subresource=status", "--type=merge", "-p", r#"{"status":null}"#]);
    }
    scene.delete("sharerecipient", "bee");
    let operator = own::launch(&scene, "again.log", &[]);
    scene.wait_gone("sharerecipient", "bee");
    let told = format!("if recipient {two} is in the share of Share waf, it stays");
    scene.wait_event("bee", |reason, text| reason == "Retained" && text.contains(&told));
    assert!(operator.log().contains(&told), "{}", operator.log());
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    let told = format!("if share waf of account {} exists, it stays", scene.account);
    let events = scene.wait_event("waf", |reason, text| reason == "Retained" && text.contains(&told));
    assert_eq!(events.iter().filter(|(reason, _)| reason == "Retained").count(), 1, "{events:?}");
    assert!(operator.log().contains(&told), "{}", operator.log());
    assert_eq!((scene.only().id, scene.changes()), (id, changes));

    // Nobody misses a record of a share that was never made.
    scene.apply(&scene.share("new", &[], &[&source], ""));
    scene.wait_reason("share", "new", "WaitingForRecipients");
    scene.kubectl(&["delete", "share", "new", "--timeout=60s"]);
    assert!(scene.events("new").iter().all(|(reason, _)| reason != "Retained"), "{:?}", scene.events("new"));
}

fn overwritten(world: &World) {
    let scene = world.own_scene();
    let _operator = own::start(&scene, &[("--sweep-interval", "10m")]);
    let [one, two, source] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&source], ""));
    scene.apply(&scene.recipient("bee", "waf", &two, ""));
    scene.wait_ready("share", "waf");
    let bee = scene.wait_ready("sharerecipient", "bee");
    let patch = |kind: &str, name: &str, status: Value| {
        let status = json!({ "status": status }).to_string();
        scene.kubectl(&["patch", kind, name, "--subresource=status", "--type=merge", "-p", &status]);
    };
    patch("sharerecipient", "bee", json!({ "boundUID": "another", "recipientID": "another" }));
    let again = scene.wait_for("sharerecipient", "bee", "reported its own row again", |bee| {
        crate::scene::is_ready(bee) && bee["status"]["boundUID"] == bee["metadata"]["uid"]
    });
    assert_eq!(again["status"]["recipientID"], bee["status"]["recipientID"]);
    patch("share", "waf", json!({ "boundUID": "another" }));
    let share = scene.wait_reason("share", "waf", "NameTaken");
    assert!(share["status"]["boundUID"].is_null(), "{share:#}");
    let writes = share["metadata"]["resourceVersion"].clone();
    sleep(Duration::from_secs(2));
    let version = scene.get("share", "waf").expect("the object")["metadata"]["resourceVersion"].clone();
    assert_eq!(version, writes, "written once");
}

fn renamed(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], "name: WAF baseline"));
    scene.wait_ready("share", "waf");
    assert_eq!(scene.only().name, "WAF baseline");
    let before = scene.changes().len();
    scene.apply(&scene.share("waf", &[&one], &[&first], "name: WAF für alle"));
    let share = scene.wait_for("share", "waf", "told the new name", |share| {
        crate::scene::is_ready(share) && share["status"]["shareName"] == "WAF für alle"
    });
    assert!(condition(&share, "Drifted").is_none(), "an edit is no drift: {share:#}");
    assert_eq!(scene.only().name, "WAF für alle");
    assert_eq!(scene.changes_since(before).len(), 1);
    // Without a name it is the object's own.
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_state("the object's name", |shares| shares[0].name == "waf");
}

fn meta(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    let manifest = |meta: &str| {
        let head = scene.head("Share", "waf");
        let account = &scene.account;
        format!(
            "{head}spec:\n  accountID: {account}\n  recipients: [{{accountID: {one}}}]\n  resources:\n  \
             - {{type: custom-ruleset, id: {first}, name: extra-rules, meta: {meta}}}\n"
        )
    };
    scene.apply(&manifest("{mode: log, limits: {a: 1, b: [1, 2]}}"));
    scene.wait_ready("share", "waf");
    assert_eq!(scene.only().resources[0].meta["limits"]["b"][1], 2);
    let before = scene.changes().len();
    scene.apply(&manifest("{mode: block, limits: {a: 1, b: [1, 2]}}"));
    scene.wait_state("the new meta", |shares| shares[0].resources[0].meta["mode"] == "block");
    let share = scene.wait_ready("share", "waf");
    assert!(condition(&share, "Drifted").is_none(), "an edit is no drift: {share:#}");
    scene.wait_sweep();
    assert!(scene.events("waf").iter().all(|(reason, _)| reason != "Drifted"), "{:?}", scene.events("waf"));
    scene.apply(&manifest("{limits: {b: [1, 2], a: 1}, mode: block}"));
    scene.ask("share", "waf");
    let changes = scene.changes_since(before);
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert!(changes[0].starts_with("PUT "), "{changes:?}");
    assert_eq!(scene.only().resources.len(), 1);
}

fn rows(world: &World) {
    let scene = world.scene();
    let [one, two, three, first, second] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let before = scene.changes().len();
    scene.apply(&scene.share("waf", &[&one, &two, &three], &[&first, &second], ""));
    let share = scene.wait_ready("share", "waf");
    assert_eq!(share["status"]["recipients"]["summary"], "3/3");
    assert_eq!(share["status"]["resources"]["summary"], "2/2");
    let changes = scene.changes_since(before);
    assert_eq!(changes.iter().filter(|call| call.starts_with("POST ")).count(), 3, "{changes:?}");
    assert_eq!(changes.len(), 3, "{changes:?}");
    scene.apply(&scene.share("waf", &[&three], &[&second], ""));
    let share = scene.wait_ready("share", "waf");
    assert_eq!(share["status"]["recipients"]["summary"], "1/1");
    let state = scene.only();
    assert_eq!(state.live_recipients().iter().map(|row| &row.account_id).collect::<Vec<_>>(), [&three]);
    assert_eq!(state.live_resources().iter().map(|row| &row.resource_id).collect::<Vec<_>>(), [&second]);
    let changes = scene.changes_since(before + 3);
    assert_eq!(changes.iter().filter(|call| call.starts_with("DELETE ")).count(), 3, "{changes:?}");
    assert_eq!(changes.len(), 3, "{changes:?}");
    // Back again: a row that left is not the row that is wanted.
    scene.apply(&scene.share("waf", &[&one, &three], &[&first, &second], ""));
    scene.wait_ready("share", "waf");
    let state = scene.only();
    assert_eq!((state.live_recipients().len(), state.live_resources().len()), (2, 2));
    assert!(state.live_recipients().iter().all(|row| row.status == Association::Associated));
}

fn swapped(world: &World) {
    let scene = world.scene();
    let [one, first, second] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let id = scene.only().id;
    let before = scene.changes().len();
    scene.apply(&scene.share("waf", &[&one], &[&second], ""));
    scene.wait_ready("share", "waf");
    let changes = scene.changes_since(before);
    let verbs: Vec<&str> = changes.iter().filter_map(|call| call.split(' ').next()).collect();
    assert_eq!(verbs, ["POST", "DELETE"], "{changes:?}");
    let state = scene.only();
    assert_eq!(state.id, id);
    assert_eq!(state.live_resources()[0].resource_id, second);
}

fn last_resource(world: &World) {
    let scene = world.scene();
    let [one, first, second] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &[&one], &[], ""));
    let share = scene.wait_reason("share", "waf", "LastResource");
    let text = message(&share);
    assert!(text.contains(&first) && text.contains("declare another resource"), "{text}");
    assert_eq!(scene.only().live_resources().len(), 1);
    scene.apply(&scene.share("waf", &[&one], &[&second], ""));
    scene.wait_ready("share", "waf");
    let state = scene.only();
    assert_eq!(state.live_resources().iter().map(|row| &row.resource_id).collect::<Vec<_>>(), [&second]);
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    // With the share it goes as well. Of another share, since the removals of the last minutes count.
    scene.apply(&scene.share("zt", &[&one], &[&first], ""));
    scene.wait_ready("share", "zt");
    scene.apply(&scene.share("zt", &[&one], &[], ""));
    scene.wait_reason("share", "zt", "LastResource");
    scene.kubectl(&["delete", "share", "zt", "--timeout=60s"]);
    scene.wait_nothing();
}

fn replaced(world: &World, by_object: bool) {
    let scene = world.scene();
    let [one, first, second] = ids();
    world.simulator.switches(Some(&scene.account), |switches| switches.last_resource = LastResource::Deletable);
    let manifest = |resource: &str| match by_object {
        false => scene.share("waf", &[&one], &[resource], ""),
        true => {
            let share = scene.share("waf", &[&one], &[], "");
            format!("{share}---\n{}", scene.resource(&format!("r-{}", &resource[..8]), "waf", resource, ""))
        }
    };
    scene.apply(&manifest(&first));
    scene.wait_ready("share", "waf");
    let refused = Action::StatusBefore { status: 400, body: ErrorBody::Json, code: Some(1001), retry_after: None };
    let rule = Rule::always("POST", "/accounts/*/shares/*/resources", refused).account(&scene.account);
    let rule = world.simulator.fault(rule);
    scene.apply(&manifest(&second));
    if by_object {
        scene.kubectl(&["delete", "shareresource", &format!("r-{}", &first[..8]), "--timeout=60s"]);
    }
    scene.wait("the refusal", || world.simulator.fired(rule) > 0);
    let kept = format!("resource custom-ruleset/{first} stays until another resource is in place");
    scene.wait_for("share", "waf", "said what stays", |share| message(share).contains(&kept));
    scene.wait_sweep();
    assert!(has(&scene.only(), &[&one], &[&first]), "{:#?}", scene.changes());
    world.simulator.remove_fault(rule);
    match by_object {
        false => scene.ask("share", "waf"),
        true => scene.ask("shareresource", &format!("r-{}", &second[..8])),
    };
    scene.wait_state("the swap", |shares| has(&shares[0], &[&one], &[&second]));
    scene.wait_ready("share", "waf");
}

fn retained(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], "deletionPolicy: Retain"));
    let share = scene.wait_ready("share", "waf");
    assert_eq!(share["status"]["effective"]["deletionPolicy"], "Retain");
    let before = scene.state();
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    let after = scene.state();
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
}

fn suspended(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let before = scene.changes().len();
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], "name: later\nsuspend: true"));
    let share = scene.wait_reason("share", "waf", "Suspended");
    assert!(message(&share).contains("spec.suspend"), "{}", message(&share));
    assert!(condition(&share, "Stalled").is_none() && condition(&share, "Reconciling").is_none(), "{share:#}");
    scene.ask("share", "waf");
    assert_eq!(scene.changes_since(before), [""; 0]);
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], "name: later\nsuspend: false"));
    scene.wait_ready("share", "waf");
    let state = scene.only();
    assert_eq!((state.name.as_str(), state.live_recipients().len()), ("later", 2));
}

fn deleted_while_suspended(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &[&one], &[&first], "suspend: true"));
    scene.wait_reason("share", "waf", "Suspended");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    assert_eq!(scene.only().live_recipients().len(), 1);
    assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
}

fn deleted_at_once(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    for round in 0..4 {
        scene.apply(&scene.share("waf", &[&one], &[&first], &format!("name: round {round}")));
        if round % 2 == 1 {
            scene.wait_state("the share", |shares| shares.iter().any(|share| share.name == format!("round {round}")));
        }
        scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
        assert!(scene.live().is_empty(), "{:#?}", scene.live());
    }
    scene.wait_nothing();
}

fn applied_anew(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let id = scene.only().id;
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    assert_ne!(scene.only().id, id);
    assert_eq!(scene.state().len(), 2);
}

fn namespace(world: &World) {
    let scene = world.scene();
    let [one, two, three, first, second] = ids();
    scene.apply(&format!(
        "{}---\n{}---\n{}---\n{}---\n{}",
        scene.share("waf", &[&one], &[&first], ""),
        scene.recipient("two", "waf", &two, ""),
        scene.resource("second", "waf", &second, ""),
        scene.share("objects", &[], &[&first], ""),
        scene.recipient("three", "objects", &three, ""),
    ));
    for (kind, name) in [
        ("share", "waf"),
        ("share", "objects"),
        ("sharerecipient", "two"),
        ("sharerecipient", "three"),
        ("shareresource", "second"),
    ] {
        scene.wait_ready(kind, name);
    }
    scene.kubectl(&["delete", "namespace", &scene.namespace, "--timeout=120s"]);
    assert!(scene.live().is_empty(), "{:#?}", scene.live());
}

fn slow_deletion(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    world.simulator.delays(Some(&scene.account), |delays| delays.delete_share_ms = Some(10_000));
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.delete("share", "waf");
    let share = scene.wait_reason("share", "waf", "Deleting");
    assert!(message(&share).contains("is being deleted by Cloudflare"), "{}", message(&share));
    assert_eq!(scene.state()[0].status, Life::Deleting);
    scene.wait_gone("share", "waf");
    assert_eq!(scene.state()[0].status, Life::Deleted);
    assert_eq!(scene.changes().len(), 2, "{:?}", scene.changes());
}
