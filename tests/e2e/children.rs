//! Recipients and resources as objects of their own: who looks after a row, and who takes over.

use cfshare_simulator::{Action, Edit, Rule};
use serde_json::{Value, json};

use crate::Test;
use crate::expect::{creates, has, nothing_doubled};
use crate::scene::{Scene, World, condition, ids, is_observed, is_ready, message};

pub const TESTS: &[Test] = &[
    ("children: a share is Ready for the first time when the rows of its objects are in place", first_ready),
    ("children: a row that failed for good is its object's failure, and the Share names it", failed_row),
    ("children: a share of objects is made with one call, and goes away", made_together),
    ("children: objects that are there before their share wait for it", before_the_share),
    ("children: objects that come later are added one by one, and removed", later),
    ("children: changed meta of an object is one call", meta),
    ("children: an inline entry is handed over to an object without a call", inline_to_object),
    ("children: an object is handed over to an inline entry without a call", object_to_inline),
    ("children: of two objects the older wins, and the other inherits", inherits),
    ("children: a share that goes first takes its rows along, and the objects can go", share_first),
    ("children: objects that go first leave the share alone", objects_first),
    ("children: share and objects go in one command, in any order", together),
    ("children: the row of an object is removed though its share object is gone", share_retained),
    ("children: an object whose share object is gone notices what others do to its row and its share", outlives_share),
    ("children: the row of an object is removed though lists say that its share is being deleted", share_said_to_go),
    ("children: an object whose share somebody else deletes can go", share_deleted_by_others),
    ("children: the row of an object stays if another Share manages the share by now, and declares it", handed_over),
    ("children: the row of an object goes though Shares list it that only name the share", only_named),
    ("children: the row of an object stays if its Share comes back, has no share yet, and declares it", handed_back),
    ("children: a retained row stays, and is shown as unmanaged", retained),
    ("children: a suspended object leaves its row alone", suspended),
    (
        "children: what is handed to a suspended Share is removed once it goes on and declares it no longer",
        to_suspended,
    ),
    (
        "children: what is handed to the suspended Share that has the share by now is removed once it goes on",
        to_suspended_successor,
    ),
    ("children: the last resource goes once there is another, and its object at once", last_resource),
    (
        "children: the object of the last resource goes right after the create, and its Share keeps the row",
        last_after_create,
    ),
    ("children: the object of the last resource names its share, whatever its Share has by now", last_of_left_share),
    ("children: an object for a share with an organization says what to do instead", organization),
    ("children: an object whose share does not exist can be deleted", orphan),
    ("children: an object of a suspended Share that is not made yet is suspended too", waits_with_share),
];

fn first_ready(world: &World) {
    let scene = world.scene();
    let [one, two, three, first] = ids();
    let slow = |ms| world.simulator.delays(Some(&scene.account), |delays| delays.associate_ms = ms);
    slow(Some(2_000));
    let all = [
        scene.share("waf", &[], &[&first], ""),
        scene.recipient("one", "waf", &one, ""),
        scene.recipient("two", "waf", &two, ""),
    ];
    scene.apply(&all.join("---\n"));
    scene.wait_for("share", "waf", "waited for its recipients", |share| {
        condition(share, "Reconciling").is_some_and(|c| c["reason"] == "Associating") && !is_ready(share)
    });
    let share = scene.wait_ready("share", "waf");
    assert!(message(&share).contains("2/2 recipients"), "{}", message(&share));
    let since = condition(&share, "Ready").expect("it")["lastTransitionTime"].clone();
    // From now on what objects add is their own matter.
    slow(None);
    scene.apply(&scene.recipient("three", "waf", &three, ""));
    let share = scene.wait_for("share", "waf", "counted the third", |share| message(share).contains("2/3 recipients"));
    assert!(is_ready(&share) && condition(&share, "Ready").expect("it")["lastTransitionTime"] == since, "{share:#}");
}

fn failed_row(world: &World) {
    let scene = world.scene();
    let [one, failing, first] = ids();
    world.simulator.account(&failing, |account| account.entitled = false);
    let all = [
        scene.share("waf", &[], &[&first], ""),
        scene.recipient("one", "waf", &one, ""),
        scene.recipient("failing", "waf", &failing, ""),
    ];
    scene.apply(&all.join("---\n"));
    scene.wait_reason("sharerecipient", "failing", "RecipientFailed");
    let share = scene.wait_for("share", "waf", "named the object that failed", |share| {
        is_ready(share) && message(share).contains(&format!("{}/failing", scene.namespace))
    });
    assert!(message(&share).contains("1/2 recipients"), "{}", message(&share));
    scene.kubectl(&["delete", "sharerecipients.cfshare.dev", "failing", "--timeout=60s"]);
    scene.wait_for("share", "waf", "named it no more", |share| is_ready(share) && !message(share).contains("failing"));
}

fn made_together(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    scene.apply(&format!(
        "{}---\n{}---\n{}---\n{}",
        scene.share("waf", &[], &[], ""),
        scene.recipient("one", "waf", &one, "name: payments-prod"),
        scene.recipient("two", "waf", &two, ""),
        scene.resource("first", "waf", &first, "meta: {mode: block}"),
    ));
    scene.wait_for("share", "waf", "became Ready, with both", |share| {
        is_ready(share) && share["status"]["recipients"]["summary"] == "2/2"
    });
    let recipient = scene.wait_ready("sharerecipient", "one");
    assert_eq!(message(&recipient), format!("recipient payments-prod ({one}) is associated"));
    assert_eq!(recipient["status"]["associationStatus"], "associated");
    scene.wait_ready("sharerecipient", "two");
    let resource = scene.wait_ready("shareresource", "first");
    let state = scene.only();
    assert_eq!(resource["status"]["shareResourceID"], state.resources[0].id.as_str());
    assert_eq!(state.resources[0].meta["mode"], "block");
    assert!(state.recipients.iter().any(|row| recipient["status"]["recipientID"] == row.id.as_str()));
    // An object that comes late on a busy machine has a call of its own.
    assert_eq!(creates(&scene), 1, "{:?}", scene.changes());
    nothing_doubled(&scene.state());
    scene.kubectl(&["delete", "sharerecipient", "two", "--timeout=60s"]);
    let state = scene.only();
    assert_eq!(state.live_recipients().iter().map(|row| &row.account_id).collect::<Vec<_>>(), [&one]);
    scene.kubectl(&["delete", "share,sharerecipient,shareresource", "--all", "--timeout=60s"]);
    scene.wait_nothing();
}

fn before_the_share(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.recipient("one", "waf", &one, ""));
    scene.apply(&scene.resource("first", "waf", &first, ""));
    for (kind, name) in [("sharerecipient", "one"), ("shareresource", "first")] {
        let child = scene.wait_reason(kind, name, "WaitingForShare");
        assert!(message(&child).contains("Share waf does not exist"), "{}", message(&child));
        assert!(condition(&child, "Reconciling").is_some());
    }
    scene.apply(&scene.share("waf", &[], &[], ""));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "one");
    scene.wait_ready("shareresource", "first");
    assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
}

fn later(world: &World) {
    let scene = world.scene();
    let [one, two, first, second] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    scene.apply(&scene.resource("second", "waf", &second, ""));
    scene.wait_ready("sharerecipient", "two");
    scene.wait_ready("shareresource", "second");
    scene.wait_for("share", "waf", "counted the objects", |share| {
        share["status"]["recipients"]["summary"] == "2/2" && share["status"]["resources"]["summary"] == "2/2"
    });
    assert_eq!(scene.changes().len(), 3, "{:?}", scene.changes());
    scene.kubectl(&["delete", "sharerecipient", "two", "--timeout=60s"]);
    scene.kubectl(&["delete", "shareresource", "second", "--timeout=60s"]);
    let state = scene.only();
    assert_eq!((state.live_recipients().len(), state.live_resources().len()), (1, 1));
    scene.wait_for("share", "waf", "counted them no more", |share| {
        crate::scene::is_ready(share)
            && share["status"]["recipients"]["summary"] == "1/1"
            && share["status"]["resources"]["summary"] == "1/1"
    });
    assert_eq!(scene.changes().len(), 5, "{:?}", scene.changes());
}

fn meta(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[], ""));
    scene.apply(&scene.resource("first", "waf", &first, "meta: {mode: log}"));
    scene.wait_ready("shareresource", "first");
    let before = scene.changes().len();
    scene.apply(&scene.resource("first", "waf", &first, "meta: {mode: block}"));
    scene.wait_state("the new meta", |shares| shares[0].resources[0].meta["mode"] == "block");
    let child = scene.wait_ready("shareresource", "first");
    assert!(condition(&child, "Drifted").is_none(), "an edit is no drift: {child:#}");
    scene.wait_sweep();
    assert!(scene.events("first").iter().all(|(reason, _)| reason != "Drifted"), "{:?}", scene.events("first"));
    assert_eq!(scene.changes_since(before).len(), 1);
}

fn inline_to_object(world: &World) {
    let scene = world.scene();
    let [one, two, first, second] = ids();
    scene.apply(&scene.share("waf", &[&one, &two], &[&first, &second], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    scene.apply(&scene.resource("second", "waf", &second, ""));
    for (kind, name) in [("sharerecipient", "two"), ("shareresource", "second")] {
        let child = scene.wait_reason(kind, name, "DuplicateDeclaration");
        assert!(message(&child).contains("wins"), "{}", message(&child));
    }
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("sharerecipient", "two");
    scene.wait_ready("shareresource", "second");
    scene.wait_ready("share", "waf");
    scene.wait_for("share", "waf", "let go of the rows", |share| {
        share["status"]["inventory"]["recipients"].as_array().is_some_and(|rows| rows.len() == 1)
    });
    scene.ask("share", "waf");
    assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
    // The row is the object's now.
    scene.kubectl(&["delete", "sharerecipient", "two", "--timeout=60s"]);
    assert_eq!(scene.only().live_recipients().len(), 1);
}

fn object_to_inline(world: &World) {
    let scene = world.scene();
    let [one, two, first, second] = with_objects(&scene, "");
    scene.wait_ready("share", "waf");
    let before = scene.changes().len();
    scene.apply(&scene.share("waf", &[&one, &two], &[&first, &second], ""));
    scene.wait_reason("sharerecipient", "two", "DuplicateDeclaration");
    scene.wait_reason("shareresource", "second", "DuplicateDeclaration");
    scene.wait_ready("share", "waf");
    scene.kubectl(&["delete", "sharerecipient,shareresource", "--all", "--timeout=60s"]);
    scene.ask("share", "waf");
    scene.wait_ready("share", "waf");
    assert_eq!(scene.changes_since(before), [""; 0]);
    let state = scene.only();
    assert_eq!((state.live_recipients().len(), state.live_resources().len()), (2, 2));
    // The rows are the share's now.
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_state("one of each", |shares| {
        (shares[0].live_recipients().len(), shares[0].live_resources().len()) == (1, 1)
    });
}

fn inherits(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.apply(&scene.recipient("older", "waf", &two, ""));
    let older = scene.wait_ready("sharerecipient", "older");
    scene.wait_younger(&older);
    scene.apply(&scene.recipient("aaa-younger", "waf", &two, ""));
    scene.wait_reason("sharerecipient", "aaa-younger", "DuplicateDeclaration");
    let before = scene.changes().len();
    scene.kubectl(&["delete", "sharerecipient", "older", "--timeout=60s"]);
    scene.wait_ready("sharerecipient", "aaa-younger");
    assert_eq!(scene.changes_since(before), [""; 0]);
    // The loser's end touches nothing, the winner's does.
    scene.apply(&scene.recipient("third", "waf", &two, ""));
    scene.wait_reason("sharerecipient", "third", "DuplicateDeclaration");
    scene.kubectl(&["delete", "sharerecipient", "third", "--timeout=60s"]);
    assert_eq!(scene.changes_since(before), [""; 0]);
    scene.kubectl(&["delete", "sharerecipient", "aaa-younger", "--timeout=60s"]);
    assert_eq!(scene.only().live_recipients().len(), 1);
}

/// The Share waf with two objects, all in place: the account that it lists, that of ShareRecipient two, the resource that it
/// lists, and that of ShareResource second.
fn with_objects(scene: &Scene<'_>, more: &str) -> [String; 4] {
    let [one, two, first, second] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], more));
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    scene.apply(&scene.resource("second", "waf", &second, ""));
    scene.wait_ready("sharerecipient", "two");
    scene.wait_ready("shareresource", "second");
    [one, two, first, second]
}

fn share_first(world: &World) {
    let scene = world.scene();
    let [_, two, first, _] = with_objects(&scene, "");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_nothing();
    let child = scene.wait_reason("sharerecipient", "two", "WaitingForShare");
    assert!(child["status"]["recipientID"].is_null(), "{child:#}");
    let before = scene.changes().len();
    scene.kubectl(&["delete", "sharerecipient,shareresource", "--all", "--timeout=60s"]);
    assert_eq!(scene.changes_since(before), [""; 0]);
    // Another share of that name finds new objects waiting.
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    scene.apply(&scene.share("waf", &[], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "two");
}

fn objects_first(world: &World) {
    let scene = world.scene();
    with_objects(&scene, "");
    scene.kubectl(&["delete", "sharerecipient,shareresource", "--all", "--timeout=60s"]);
    scene.wait_ready("share", "waf");
    let state = scene.only();
    assert_eq!((state.live_recipients().len(), state.live_resources().len()), (1, 1));
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_nothing();
}

fn together(world: &World) {
    let scene = world.scene();
    let [one, two, first, second] = ids();
    for order in [
        "share,sharerecipient,shareresource",
        "shareresource,share,sharerecipient",
        "sharerecipient,shareresource,share",
    ] {
        scene.apply(&format!(
            "{}---\n{}---\n{}---\n{}",
            scene.share("waf", &[&one], &[], ""),
            scene.recipient("two", "waf", &two, ""),
            scene.resource("first", "waf", &first, ""),
            scene.resource("second", "waf", &second, ""),
        ));
        scene.wait_ready("share", "waf");
        scene.wait_ready("shareresource", "second");
        scene.kubectl(&["delete", order, "--all", "--timeout=60s"]);
        assert!(scene.live().is_empty(), "{order}: {:#?}", scene.live());
    }
    scene.wait_nothing();
}

fn share_retained(world: &World) {
    let scene = world.scene();
    let [one, _, first, _] = with_objects(&scene, "deletionPolicy: Retain");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    assert_eq!(scene.only().live_recipients().len(), 2);
    scene.kubectl(&["delete", "sharerecipient,shareresource", "--all", "--timeout=60s"]);
    let state = scene.only();
    assert_eq!(state.live_recipients().iter().map(|row| &row.account_id).collect::<Vec<_>>(), [&one]);
    assert_eq!(state.live_resources().iter().map(|row| &row.resource_id).collect::<Vec<_>>(), [&first]);
}

fn outlives_share(world: &World) {
    let scene = world.scene();
    let [_, two, _, second] = with_objects(&scene, "deletionPolicy: Retain");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_sweep();
    let (share, before) = (scene.only().id, scene.changes().len());
    let edit = |edit: Edit| world.simulator.edit(edit).expect("an edit");
    edit(Edit::RemoveRecipient { share: share.clone(), recipient: two.clone() });
    edit(Edit::RemoveResource { share: share.clone(), resource: second.clone() });
    scene.wait_state("both rows again", |_| {
        let state = scene.only();
        state.live_recipients().len() == 2 && state.live_resources().len() == 2
    });
    assert_eq!(scene.changes_since(before).len(), 2, "{:?}", scene.changes_since(before));
    scene.wait_ready("sharerecipient", "two");
    scene.wait_ready("shareresource", "second");
    edit(Edit::VanishShare { share });
    scene.wait_sweep();
    scene.wait_reason("sharerecipient", "two", "WaitingForShare");
    scene.wait_reason("shareresource", "second", "WaitingForShare");
    scene.kubectl(&["delete", "sharerecipient,shareresource", "--all", "--timeout=60s"]);
}

/// ShareRecipient two without its Share, whose share stays with one more account: which.
fn left_behind(scene: &Scene<'_>) -> String {
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], "deletionPolicy: Retain"));
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    scene.wait_ready("sharerecipient", "two");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    one
}

fn share_said_to_go(world: &World) {
    let scene = world.scene();
    let one = left_behind(&scene);
    let set = [("/result/0/status".to_owned(), json!("deleting"))].into();
    let lies = Rule::always("GET", "/accounts/*/shares", Action::Rewrite { set, remove: Vec::new() });
    let lies = world.simulator.fault(lies.account(&scene.account));
    scene.wait_sweep();
    scene.delete("sharerecipient", "two");
    let doubts = |child: &Value| message(child).contains("checking once more");
    scene.wait("the object to look again, or to go", || {
        scene.get("sharerecipient", "two").is_none_or(|child| doubts(&child))
    });
    assert!(world.simulator.remove_fault(lies));
    scene.wait_gone("sharerecipient", "two");
    assert_eq!(scene.only().live_recipients().iter().map(|row| &row.account_id).collect::<Vec<_>>(), [&one]);
}

fn share_deleted_by_others(world: &World) {
    for vanishes in [false, true] {
        let scene = world.scene();
        left_behind(&scene);
        world.simulator.delays(Some(&scene.account), |delays| delays.delete_share_ms = Some(600_000));
        let share = scene.only().id;
        world.simulator.edit(Edit::DeleteShare { share: share.clone() }).expect("an edit");
        scene.wait_sweep();
        scene.ask("sharerecipient", "two");
        scene.wait_reason("sharerecipient", "two", "WaitingForShare");
        if vanishes {
            world.simulator.edit(Edit::VanishShare { share }).expect("an edit");
        }
        scene.delete("sharerecipient", "two");
        scene.wait_gone("sharerecipient", "two");
    }
}

fn handed_over(world: &World) {
    for inline in [false, true] {
        let scene = world.scene();
        let [one, first] = ids();
        let old =
            [scene.share("old", &[], &[&first], "deletionPolicy: Retain"), scene.recipient("one", "old", &one, "")];
        scene.apply(&old.join("---\n"));
        scene.wait_ready("share", "old");
        scene.wait_ready("sharerecipient", "one");
        let id = scene.only().id;
        scene.delete("share", "old");
        scene.wait_gone("share", "old");
        let more = format!("shareID: {id}");
        if inline {
            scene.apply(&scene.share("new", &[&one], &[&first], &more));
        } else {
            scene.apply(
                &[scene.share("new", &[], &[&first], &more), scene.recipient("other", "new", &one, "")].join("---\n"),
            );
            scene.wait_ready("sharerecipient", "other");
        }
        scene.wait_ready("share", "new");
        let before = scene.changes().len();
        scene.kubectl(&["delete", "sharerecipients.cfshare.dev", "one", "--timeout=60s"]);
        assert_eq!(scene.changes_since(before), [""; 0], "inline: {inline}");
    }
}

fn only_named(world: &World) {
    let scene = world.scene();
    let [one, two, first, other] = ids();
    scene.apply(&scene.share("waf", &[&two], &[&first], ""));
    scene.apply(&scene.recipient("one", "waf", &one, ""));
    scene.wait_ready("sharerecipient", "one");
    let by_id = format!("shareID: {}", scene.only().id);
    let naming = |name: &str, more: &str| scene.share(name, &[&one], &[&first], &format!("{by_id}{more}"));
    scene.apply(&naming("watching", "\nmanagementPolicy: Observe"));
    scene.apply(&naming("wanting", ""));
    scene.apply(&naming("stranger", "").replace(&scene.account, &other));
    for name in ["watching", "wanting", "stranger"] {
        scene.wait_for("share", name, "has been seen", is_observed);
    }
    scene.kubectl(&["delete", "sharerecipient", "one", "--timeout=60s"]);
    let recipients: Vec<String> =
        scene.only().live_recipients().into_iter().map(|row| row.account_id.clone()).collect();
    assert_eq!(recipients, [two], "{:#?}", scene.changes());
}

fn handed_back(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    let all = [
        scene.share("waf", &[], &[&first], "deletionPolicy: Retain"),
        scene.recipient("one", "waf", &one, ""),
        scene.recipient("two", "waf", &two, ""),
    ];
    scene.apply(&all.join("---\n"));
    scene.wait_ready("share", "waf");
    for name in ["one", "two"] {
        scene.wait_ready("sharerecipient", name);
    }
    let id = scene.only().id;
    scene.delete("share", "waf");
    scene.wait_gone("share", "waf");
    // It does not say yet that it adopts the share.
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_reason("share", "waf", "NameTaken");
    let before = scene.changes().len();
    scene.kubectl(&["delete", "sharerecipients.cfshare.dev", "one", "--timeout=60s"]);
    assert_eq!(scene.changes_since(before), [""; 0]);
    // What it does not declare goes.
    scene.kubectl(&["delete", "sharerecipients.cfshare.dev", "two", "--timeout=60s"]);
    scene.wait_state("the other one is gone", |shares| shares[0].live_recipients().len() == 1);
    scene.apply(&scene.share("waf", &[&one], &[&first], &format!("shareID: {id}")));
    scene.wait_ready("share", "waf");
    assert_eq!(scene.changes_since(before).len(), 1, "{:?}", scene.changes());
}

fn retained(world: &World) {
    let scene = world.scene();
    let [one, two, three, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    // One comes with the share's own call, the other later.
    scene.apply(&scene.recipient("two", "waf", &two, "deletionPolicy: Retain"));
    scene.wait_ready("sharerecipient", "two");
    scene.apply(&scene.recipient("three", "waf", &three, "deletionPolicy: Retain"));
    scene.wait_ready("sharerecipient", "three");
    scene.wait_ready("share", "waf");
    let before = scene.changes().len();
    scene.kubectl(&["delete", "sharerecipient", "--all", "--timeout=60s"]);
    let share = scene.wait_for("share", "waf", "showed both as unmanaged", |share| {
        share["status"]["unmanagedCount"] == 2 && crate::scene::is_ready(share)
    });
    assert_eq!(share["status"]["recipients"]["summary"], "1/1");
    scene.ask("share", "waf");
    assert_eq!(scene.changes_since(before), [""; 0]);
    assert_eq!(scene.only().live_recipients().len(), 3);
}

fn suspended(world: &World) {
    let scene = world.scene();
    let [one, two, first, second] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    scene.apply(&scene.resource("second", "waf", &second, "meta: {mode: log}"));
    scene.wait_ready("sharerecipient", "two");
    scene.wait_ready("shareresource", "second");
    scene.wait_ready("share", "waf");
    scene.apply(&scene.recipient("two", "waf", &two, "suspend: true"));
    scene.apply(&scene.resource("second", "waf", &second, "meta: {mode: block}\nsuspend: true"));
    scene.wait_reason("sharerecipient", "two", "Suspended");
    scene.wait_reason("shareresource", "second", "Suspended");
    let before = scene.changes().len();
    scene.ask("share", "waf");
    scene.kubectl(&["delete", "sharerecipient", "two", "--timeout=60s"]);
    scene.ask("share", "waf");
    assert_eq!(scene.changes_since(before), [""; 0]);
    assert_eq!(scene.only().live_recipients().len(), 2);
    scene.apply(&scene.resource("second", "waf", &second, "meta: {mode: block}"));
    scene.wait_ready("shareresource", "second");
    assert!(scene.only().resources.iter().any(|row| row.meta["mode"] == "block"));
}

fn to_suspended(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    scene.wait_ready("sharerecipient", "two");
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &[&one], &[&first], "suspend: true"));
    scene.wait_reason("share", "waf", "Suspended");
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], "suspend: true"));
    let before = scene.changes().len();
    scene.kubectl(&["delete", "sharerecipient", "two", "--timeout=60s"]);
    assert_eq!(scene.changes_since(before), [""; 0]);
    scene.apply(&scene.share("waf", &[&one], &[&first], "suspend: true"));
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_state("the account that no manifest declares is gone", |shares| {
        shares.iter().all(|share| share.live_recipients().len() == 1)
    });
    scene.wait_ready("share", "waf");
}

fn to_suspended_successor(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    scene.apply(&scene.share("old", &[&two], &[&first], "deletionPolicy: Retain"));
    scene.apply(&scene.recipient("one", "old", &one, ""));
    scene.wait_ready("sharerecipient", "one");
    scene.wait_ready("share", "old");
    let by_id = format!("shareID: {}", scene.only().id);
    scene.kubectl(&["delete", "share", "old", "--timeout=60s"]);
    scene.apply(&scene.share("new", &[&two], &[&first], &by_id));
    scene.wait_ready("share", "new");
    let suspended = format!("{by_id}\nsuspend: true");
    scene.apply(&scene.share("new", &[&one, &two], &[&first], &suspended));
    scene.wait_reason("share", "new", "Suspended");
    let before = scene.changes().len();
    scene.kubectl(&["delete", "sharerecipient", "one", "--timeout=60s"]);
    assert_eq!(scene.changes_since(before), [""; 0]);
    scene.apply(&scene.share("new", &[&two], &[&first], &by_id));
    scene.wait_state("the account that no manifest declares is gone", |shares| {
        shares.iter().all(|share| share.live_recipients().len() == 1)
    });
    scene.wait_ready("share", "new");
}

fn last_after_create(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    // It is deleted before it knows of the share, so that its Share has the row on record all along.
    let slow = Rule::once("POST", "/accounts/*/shares", Action::DelayAfter { ms: 3_000 });
    world.simulator.fault(slow.account(&scene.account));
    scene.apply(&format!(
        "{}---\n{}",
        scene.share("waf", &[&one], &[], ""),
        scene.resource("first", "waf", &first, "")
    ));
    scene.wait_state("the share", |shares| !shares.is_empty());
    scene.delete("shareresource", "first");
    scene.wait_gone("shareresource", "first");
    assert!(has(&scene.only(), &[&one], &[&first]), "{:#?}", scene.changes());
    scene.wait_reason("share", "waf", "LastResource");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_nothing();
}

fn last_of_left_share(world: &World) {
    let scene = world.scene();
    let [one, first, second, third] = ids();
    scene.apply(&scene.share("waf", &[&one], &[], "name: left\ndeletionPolicy: Retain"));
    scene.apply(&scene.resource("first", "waf", &first, ""));
    scene.wait_ready("shareresource", "first");
    let left = scene.only().id;
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.delete("shareresource", "first");
    scene.wait_reason("shareresource", "first", "LastResource");
    scene.apply(&scene.share("waf", &[&one], &[&third], "name: another"));
    scene.wait_ready("share", "waf");
    let object = scene.ask("shareresource", "first");
    let wanted = format!("apply a Share with spec.shareID: {left} and another resource");
    assert!(message(&object).contains(&wanted), "{}", message(&object));
    scene.apply(&scene.share("rescue", &[&one], &[&second], &format!("shareID: {left}")));
    scene.wait_ready("share", "rescue");
    // Nothing may move at Cloudflare any more: then it is tried again within a minute, or on request. It may be gone already.
    let _ = scene
        .try_kubectl(&["annotate", "--overwrite", "shareresource", "first", "cfshare.dev/requestedAt=again"], None);
    scene.wait_gone("shareresource", "first");
    let shares = scene.live();
    let share = shares.iter().find(|share| share.id == left).expect("it stays");
    assert!(has(share, &[&one], &[&second]), "{:#?}", scene.changes());
}

fn last_resource(world: &World) {
    let scene = world.scene();
    let [one, first, second] = ids();
    scene.apply(&scene.share("waf", &[&one], &[], ""));
    scene.apply(&scene.resource("first", "waf", &first, ""));
    scene.wait_ready("shareresource", "first");
    scene.kubectl(&["delete", "shareresource", "first", "--timeout=60s"]);
    let share = scene.wait_reason("share", "waf", "LastResource");
    assert!(message(&share).contains(&first), "{}", message(&share));
    assert_eq!(scene.only().live_resources().len(), 1);
    scene.apply(&scene.resource("second", "waf", &second, ""));
    scene.wait_ready("shareresource", "second");
    scene.wait_state("only the other", |shares| {
        shares[0].live_resources().iter().map(|row| &row.resource_id).collect::<Vec<_>>() == [&second]
    });
    scene.wait_ready("share", "waf");
}

fn organization(world: &World) {
    let scene = world.scene();
    let [one, two, first, organization] = ids();
    world.simulator.organization(&organization, &[&scene.account, &one, &two]);
    scene.apply(&scene.share("waf", &[], &[&first], &format!("organization: {{id: {organization}}}")));
    scene.apply(&scene.recipient("one", "waf", &one, ""));
    let child = scene.wait_reason("sharerecipient", "one", "Invalid");
    assert!(message(&child).contains("spec.organization.excluded"), "{}", message(&child));
    assert!(condition(&child, "Stalled").is_some());
    scene.wait_ready("share", "waf");
    scene.kubectl(&["delete", "sharerecipient", "one", "--timeout=60s"]);
    assert_eq!(scene.only().live_recipients().len(), 2);
}

fn orphan(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.recipient("one", "never", &one, ""));
    scene.apply(&scene.resource("first", "never", &first, ""));
    scene.wait_reason("sharerecipient", "one", "WaitingForShare");
    scene.wait_reason("shareresource", "first", "WaitingForShare");
    scene.kubectl(&["delete", "sharerecipient,shareresource", "--all", "--timeout=60s"]);
}

fn waits_with_share(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], "suspend: true"));
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    scene.wait_reason("sharerecipient", "two", "Suspended");
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("sharerecipient", "two");
}
