//! Whether a word that nobody documents is neither taken for success nor for the end.

use cfshare_simulator::{Action, Edit, ErrorBody, Rule};
use serde_json::Value;

use crate::Test;
use crate::expect::{creates, sweeps};
use crate::own;
use crate::scene::{Scene, World, condition, ids, message};

pub const TESTS: &[Test] = &[
    ("words: a share whose status is unknown is not Ready, and not gone", |w| share(w, false)),
    ("words: a share that leaves the list with an unknown status is not Ready, and not gone", |w| share(w, true)),
    ("words: a resource whose status is unknown is not Ready", resource),
    ("words: a recipient whose status is unknown is not Ready", recipient),
    ("words: a share that is being deleted under another word is deleted once", other_word_for_deleting),
    (
        "words: a share that Cloudflare shows but does not find to delete is not deleted again and again",
        shown_though_deleted,
    ),
    ("words: a share that the call to delete it does not find is not asked for again and again", not_found_to_delete),
    (
        "words: a share that is shown long after it was deleted needs a person, and its object can be released",
        shown_for_ever,
    ),
];

fn says(object: &Value, word: &str) -> bool {
    condition(object, "Ready").is_some_and(|ready| ready["status"] == "False") && message(object).contains(word)
}

/// Three shares, the first with a child; returns their ids.
fn three(scene: &Scene<'_>) -> Vec<String> {
    for name in ["waf-0", "waf-1", "waf-2"] {
        let [a, x] = ids();
        scene.apply(&scene.share(name, &[&a], &[&x], ""));
    }
    let [b] = ids();
    scene.apply(&scene.recipient("bee", "waf-0", &b, ""));
    for name in ["waf-0", "waf-1", "waf-2"] {
        scene.wait_ready("share", name);
    }
    scene.wait_ready("sharerecipient", "bee");
    scene.live().into_iter().map(|share| share.id).collect()
}

fn share(world: &World, unlisted: bool) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let all = three(&scene);
    let before = scene.changes().len();
    let set = |status: Option<&str>, unlisted: bool| {
        for share in &all {
            let status = status.map(str::to_owned);
            world.simulator.edit(Edit::SetShareStatus { share: share.clone(), status, unlisted }).expect("an edit");
        }
    };
    let not_ready = || {
        for name in ["waf-0", "waf-1", "waf-2"] {
            let share = scene.wait_for("share", name, "told the word", |share| says(share, "under_review"));
            assert_eq!(share["status"]["remoteStatus"], "under_review");
        }
        scene.wait_for("sharerecipient", "bee", "told the word", |child| says(child, "under_review"));
    };
    set(Some("under_review"), unlisted);
    not_ready();
    sweeps(&scene, 3);
    not_ready();
    // What a process finds at its start is no different.
    own::crash(operator);
    set(None, false);
    let operator = own::start(&scene, &[]);
    for name in ["waf-0", "waf-1", "waf-2"] {
        scene.wait_ready("share", name);
    }
    scene.wait_ready("sharerecipient", "bee");
    own::crash(operator);
    set(Some("under_review"), unlisted);
    let _operator = own::start(&scene, &[]);
    not_ready();
    sweeps(&scene, 3);
    not_ready();
    assert_eq!(scene.changes_since(before), [""; 0]);
    assert_eq!(creates(&scene), 3);
    set(None, false);
    for name in ["waf-0", "waf-1", "waf-2"] {
        scene.wait_ready("share", name);
    }
    scene.wait_ready("sharerecipient", "bee");
    assert_eq!(scene.changes_since(before), [""; 0]);
}

fn resource(world: &World) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let all = three(&scene);
    let before = scene.changes().len();
    own::crash(operator);
    for id in &all {
        let resource = world.simulator.share(id).expect("a share").resources[0].id.clone();
        let status = Some("under_review".to_owned());
        let edit = Edit::SetResourceStatus { share: id.clone(), resource, status };
        world.simulator.edit(edit).expect("an edit");
    }
    let _operator = own::start(&scene, &[]);
    for name in ["waf-0", "waf-1", "waf-2"] {
        scene.wait_for("share", name, "told the word", |share| says(share, "under_review"));
    }
    sweeps(&scene, 2);
    assert_eq!(scene.changes_since(before), [""; 0]);
}

fn recipient(world: &World) {
    let scene = world.scene();
    let all = three(&scene);
    let before = scene.changes().len();
    for id in &all {
        let share = world.simulator.share(id).expect("a share");
        for row in &share.recipients {
            let (share, recipient) = (id.clone(), row.id.clone());
            let status = Some("under_review".to_owned());
            let edit = Edit::SetRecipient { share, recipient, status, errors: None, clear: false };
            world.simulator.edit(edit).expect("an edit");
        }
    }
    for (kind, name) in [("share", "waf-0"), ("share", "waf-1"), ("sharerecipient", "bee")] {
        scene.annotate(kind, name, "cfshare.dev/requestedAt=now");
        scene.wait_for(kind, name, "told the word", |object| says(object, "under_review"));
    }
    assert_eq!(scene.changes_since(before), [""; 0]);
}

/// How many requests to delete a share there were.
fn deletions(scene: &Scene<'_>) -> usize {
    scene.changes().iter().filter(|call| call.starts_with("DELETE")).count()
}

fn other_word_for_deleting(world: &World) {
    let scene = world.own_scene();
    // Long enough for our own call to count more than the word all the time.
    let _operator = own::start(&scene, &[("--settle-time", "120s")]);
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    world.simulator.delays(Some(&scene.account), |delays| delays.delete_share_ms = Some(15_000));
    let word = || Action::UnknownWords { word: Some("removing".into()) };
    let rules = [("DELETE", "/accounts/*/shares/*"), ("GET", "/accounts/*/shares/*"), ("GET", "/accounts/*/shares")];
    let faults =
        rules.map(|(verb, path)| world.simulator.fault(Rule::always(verb, path, word()).account(&scene.account)));
    scene.delete("share", "waf");
    let share = scene.wait_reason("share", "waf", "Deleting");
    assert!(message(&share).contains("is being deleted by Cloudflare"), "{}", message(&share));
    sweeps(&scene, 2);
    assert_eq!(deletions(&scene), 1, "{:?}", scene.changes());
    for fault in faults {
        world.simulator.remove_fault(fault);
    }
    scene.wait_gone("share", "waf");
}

fn shown_though_deleted(world: &World) {
    let scene = world.own_scene();
    let _operator = own::start(&scene, &[("--poll-max", "3s")]);
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let gone = Action::StatusBefore { status: 404, body: ErrorBody::Json, code: Some(1004), retry_after: None };
    let word = || Action::UnknownWords { word: Some("removing".into()) };
    let rules = [
        ("DELETE", "/accounts/*/shares/*", gone),
        ("GET", "/accounts/*/shares/*", word()),
        ("GET", "/accounts/*/shares", word()),
    ];
    let faults =
        rules.map(|(verb, path, end)| world.simulator.fault(Rule::always(verb, path, end).account(&scene.account)));
    scene.delete("share", "waf");
    scene.wait_reason("share", "waf", "Deleting");
    sweeps(&scene, 3);
    assert!((1..6).contains(&deletions(&scene)), "{:?}", scene.changes());
    for fault in faults {
        world.simulator.remove_fault(fault);
    }
    scene.wait_gone("share", "waf");
}

fn not_found_to_delete(world: &World) {
    let scene = world.own_scene();
    let gone = Action::StatusBefore { status: 404, body: ErrorBody::Json, code: Some(1004), retry_after: None };
    let rule = Rule::always("DELETE", "/accounts/*/shares/*", gone).account(&scene.account);
    let fault = world.simulator.fault(rule);
    // Long enough for the answer to the create to count more than that one all the time.
    let _operator = own::start(&scene, &[("--settle-time", "120s")]);
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.delete("share", "waf");
    let share = scene.wait_reason("share", "waf", "Deleting");
    assert!(message(&share).contains("still shows it"), "{}", message(&share));
    let before = deletions(&scene);
    scene.wait("another try", || deletions(&scene) > before);
    // As often as a change that is under way is looked at, and not as fast as Cloudflare answers.
    assert!(deletions(&scene) < 10, "{:?}", scene.changes());
    world.simulator.remove_fault(fault);
    scene.wait_gone("share", "waf");
}

fn shown_for_ever(world: &World) {
    let scene = world.own_scene();
    let gone = Action::StatusBefore { status: 404, body: ErrorBody::Json, code: Some(1004), retry_after: None };
    let fault = world.simulator.fault(Rule::always("DELETE", "/accounts/*/shares/*", gone).account(&scene.account));
    let _operator = own::start(&scene, &[("--poll-max", "2s"), ("--settle-time", "6s")]);
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.delete("share", "waf");
    let share = scene.wait_for("share", "waf", "Stalled", |share| {
        condition(share, "Stalled")
            .is_some_and(|stalled| stalled["reason"] == "Deleting" && stalled["status"] == "True")
    });
    assert!(message(&share).contains("still shows it, so accounts may still receive it"), "{}", message(&share));
    // It goes on asking.
    let before = deletions(&scene);
    scene.wait("another try", || deletions(&scene) > before);
    scene.kubectl(&["patch", "share", "waf", "--type", "merge", "-p", r#"{"spec":{"deletionPolicy":"Retain"}}"#]);
    scene.wait_gone("share", "waf");
    assert_eq!(scene.live().len(), 1);
    world.simulator.remove_fault(fault);
}
