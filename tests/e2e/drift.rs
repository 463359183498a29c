//! What others change at Cloudflare: shown first, then put right, and not for ever where it does not stay.

use std::collections::BTreeMap;

use cfshare_simulator::{Action, Edit, ErrorBody, RecipientReturn, Release, Rule};
use serde_json::json;

use crate::Test;
use crate::own;
use crate::scene::{PATIENCE, Scene, World, condition, ids, is_ready, message};

pub const TESTS: &[Test] = &[
    ("drift: a stranger is shown and left alone, the rest is put right", mixed),
    ("drift: a name changed by hand is shown before it is put right", name),
    ("drift: meta changed by hand is shown before it is put right", meta),
    ("drift: a recipient removed by hand is shown before it is added again", recipient),
    ("drift: a resource removed by hand is shown before it is added again", resource),
    ("drift: what an object declares is put right as well", object),
    ("drift: an exclusion removed by hand is put back", exclusion),
    ("drift: a removed account that takes a declared one's place in its old row is seen by the next sweep", swap),
    ("drift: lists of shares with former recipients take turns", turns),
    ("drift: a share deleted by hand is made anew", deleted),
    ("drift: a share deleted by hand is made anew with its objects", deleted_with_objects),
    ("drift: a share deleted by hand before it is renamed is recreated", deleted_before_rename),
    ("drift: meta that does not stay is written twice and no more", meta_fight),
    ("drift: a name that does not stay is written twice and no more", name_fight),
    ("drift: a recipient that does not stay is added twice and no more", recipient_fight),
    ("drift: the row of an object that does not stay is added twice and no more", object_fight),
    ("drift: a PUT that is answered with the old value, or without it, is sent once", late_effect),
    (
        "drift: a name that Cloudflare accepts without an answer and writes otherwise is told, and holds up no row",
        unanswered_name,
    ),
    ("drift: a change that Cloudflare cannot make holds up no other one", one_that_fails),
    ("drift: the row of an object that goes and does not stay removed is removed twice and no more", removal_fight),
];

fn settled(scene: &Scene, recipients: &[&str], resources: &[&str]) -> String {
    scene.apply(&scene.share("waf", recipients, resources, ""));
    scene.wait_ready("share", "waf");
    scene.only().id
}

/// Makes the edit; while the call that would put it right is held, it must be shown. Then lets it go.
fn shown_then_mended(scene: &Scene, edit: Edit, method: &str, path: &str, shown: impl Fn(&serde_json::Value) -> bool) {
    let simulator = &scene.world.simulator;
    let held = simulator.fault(Rule::once(method, path, Action::HoldBefore {}).account(&scene.account));
    simulator.edit(edit).expect("an edit");
    let request = simulator.wait_held(PATIENCE, |held| held.account.as_deref() == Some(scene.account.as_str()));
    let request = request.unwrap_or_else(|| panic!("nothing was put right: {:?}", scene.changes()));
    let share = scene.wait_for("share", "waf", "showed the drift", &shown);
    assert!(condition(&share, "Drifted").is_some() && !is_ready(&share), "{share:#}");
    simulator.release(request.id, Release::Go).expect("a release");
    let share = scene.wait_for("share", "waf", "was clean again", |share| {
        is_ready(share) && share["status"]["drift"].is_null() && condition(share, "Drifted").is_none()
    });
    assert_eq!(simulator.fired(held), 1);
    assert_eq!(share["status"]["shareID"], scene.only().id.as_str());
    scene.wait_event("waf", |reason, text| reason == "Drifted" && text.contains("correcting it"));
}

fn mixed(world: &World) {
    let scene = world.scene();
    let [one, two, foreign, first] = ids();
    let id = settled(&scene, &[&one, &two], &[&first]);
    world.simulator.edit(Edit::AddRecipient { share: id.clone(), account: foreign.clone() }).expect("an edit");
    scene.wait_for("share", "waf", "showed the stranger", |share| {
        is_ready(share) && share["status"]["unmanaged"][0]["accountID"] == foreign.as_str()
    });
    world.simulator.edit(Edit::RemoveRecipient { share: id.clone(), recipient: two }).expect("an edit");
    world.simulator.edit(Edit::Rename { share: id, name: "by hand".into() }).expect("an edit");
    scene.wait_state("all again", |shares| shares[0].name == "waf" && shares[0].live_recipients().len() == 3);
    scene.wait_ready("share", "waf");
}

fn name(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    let share = settled(&scene, &[&one], &[&first]);
    shown_then_mended(&scene, Edit::Rename { share, name: "by hand".into() }, "PUT", "/accounts/*/shares/*", |share| {
        let drift = &share["status"]["drift"][0];
        drift["path"] == "name" && drift["desired"] == "waf" && drift["observed"] == "by hand"
    });
    assert_eq!(scene.only().name, "waf");
}

fn meta(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    let share = settled(&scene, &[&one], &[&first]);
    let path = format!("resources[custom-ruleset/{first}].meta");
    shown_then_mended(
        &scene,
        Edit::SetMeta { share, resource: first, meta: json!({"mode": "log"}) },
        "PUT",
        "/accounts/*/shares/*/resources/*",
        |share| {
            let drift = &share["status"]["drift"][0];
            drift["path"] == path.as_str() && drift["observed"] == "{\"mode\":\"log\"}"
        },
    );
    assert_eq!(scene.only().resources[0].meta, json!({}));
}

fn recipient(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    let share = settled(&scene, &[&one, &two], &[&first]);
    let path = format!("recipients[{two}]");
    shown_then_mended(
        &scene,
        Edit::RemoveRecipient { share, recipient: two },
        "POST",
        "/accounts/*/shares/*/recipients",
        |share| share["status"]["drift"][0]["path"] == path.as_str(),
    );
    assert_eq!(scene.only().live_recipients().len(), 2);
}

fn resource(world: &World) {
    let scene = world.scene();
    let [one, first, second] = ids();
    let share = settled(&scene, &[&one], &[&first, &second]);
    let path = format!("resources[custom-ruleset/{second}]");
    shown_then_mended(
        &scene,
        Edit::RemoveResource { share, resource: second },
        "POST",
        "/accounts/*/shares/*/resources",
        |share| share["status"]["drift"][0]["path"] == path.as_str(),
    );
    assert_eq!(scene.only().live_resources().len(), 2);
}

fn object(world: &World) {
    let scene = world.scene();
    let [one, two, first, second] = ids();
    let id = settled(&scene, &[&one], &[&first]);
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    scene.apply(&scene.resource("second", "waf", &second, "meta: {mode: block}"));
    scene.wait_ready("sharerecipient", "two");
    scene.wait_ready("shareresource", "second");
    world.simulator.edit(Edit::RemoveRecipient { share: id.clone(), recipient: two }).expect("an edit");
    let edit = Edit::SetMeta { share: id.clone(), resource: second.clone(), meta: json!({}) };
    world.simulator.edit(edit).expect("an edit");
    scene.wait_state("both again", |shares| {
        let meta = shares[0].live_resources().iter().any(|row| row.meta["mode"] == "block");
        meta && shares[0].live_recipients().len() == 2
    });
    for (kind, name) in [("sharerecipient", "two"), ("shareresource", "second")] {
        let child = scene.wait_ready(kind, name);
        assert!(condition(&child, "Drifted").is_none(), "{child:#}");
        scene.wait_event(name, |reason, _| reason == "Drifted");
    }
    world.simulator.edit(Edit::RemoveResource { share: id, resource: second }).expect("an edit");
    scene.wait_state("the resource again", |shares| shares[0].live_resources().len() == 2);
    scene.wait_ready("shareresource", "second");
    scene.wait_ready("share", "waf");
}

fn exclusion(world: &World) {
    let scene = world.scene();
    let [organization, one, two, first] = ids();
    world.simulator.organization(&organization, &[&scene.account, &one, &two]);
    let more = format!("organization: {{id: {organization}, excluded: [{{accountID: {two}}}]}}");
    scene.apply(&scene.share("waf", &[], &[&first], &more));
    scene.wait_ready("share", "waf");
    let id = scene.only().id;
    let base = world.simulator.base_url();
    let url = format!("{base}/accounts/{}/shares/{id}/excluded-recipients", scene.account);
    let posts = || scene.changes().iter().filter(|call| call.starts_with("POST ") && call.contains("excluded")).count();
    let before = posts();
    world.call_cloudflare("PUT", &url, &scene.token, &json!([]));
    scene.wait("the exclusion again", || posts() > before && scene.only().excluded == [two.clone()]);
    scene.wait_ready("share", "waf");
    assert_eq!(scene.only().live_recipients().len(), 1);
}

/// Each row that ended is used again, and each change is done at once.
fn reuse_rows(scene: &Scene) {
    let simulator = &scene.world.simulator;
    simulator.switches(Some(&scene.account), |switches| switches.recipient_return = RecipientReturn::Reused);
    simulator.delays(Some(&scene.account), |delays| {
        (delays.associate_ms, delays.disassociate_ms) = (Some(0), Some(0));
    });
}

/// Waits until an account has lost its row, by the counts as well.
fn wait_former(scene: &Scene, account: &str) {
    scene.wait_state("a former recipient", |shares| {
        let live = shares[0].live_recipients();
        live.iter().all(|row| row.account_id != account) && shares[0].recipients.iter().any(|r| r.account_id == account)
    });
}

fn swap(world: &World) {
    let scene = world.scene();
    reuse_rows(&scene);
    let [one, two, three, first] = ids();
    let id = settled(&scene, &[&one, &two, &three], &[&first]);
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    wait_former(&scene, &three);
    scene.wait_for("share", "waf", "counted it", |s| is_ready(s) && s["status"]["recipients"]["summary"] == "2/2");
    scene.wait_sweep();
    world.simulator.edit(Edit::ReappearRecipient { share: id.clone(), recipient: three.clone() }).expect("an edit");
    let swapped = Edit::SetRecipient {
        share: id,
        recipient: two.clone(),
        status: Some("disassociated".into()),
        errors: None,
        clear: false,
    };
    world.simulator.edit(swapped).expect("an edit");
    scene.wait_event("waf", |reason, text| reason == "Drifted" && text.contains(&two));
    scene.wait_state("the declared one again", |shares| {
        shares[0].live_recipients().iter().any(|row| row.account_id == two)
    });
    scene.wait_for("share", "waf", "showed the stranger", |share| {
        is_ready(share) && share["status"]["unmanaged"][0]["accountID"] == three.as_str()
    });
}

fn turns(world: &World) {
    let scene = world.own_scene();
    // Two calls for each interval.
    let _operator = scene.operator(&[("--sweep-interval", "4s"), ("--api-rate", "5")]);
    let names: Vec<String> = (0..5).map(|n| format!("waf-{n}")).collect();
    let [one, two, first] = ids();
    for name in &names {
        scene.apply(&scene.share(name, &[&one, &two], &[&first], ""));
    }
    for name in &names {
        scene.wait_ready("share", name);
        scene.apply(&scene.share(name, &[&one], &[&first], ""));
    }
    for name in &names {
        scene.wait_for("share", name, "counted it", |s| is_ready(s) && s["status"]["recipients"]["summary"] == "1/1");
    }
    scene.wait_sweep();
    let before = scene.journal().len();
    let lists = || {
        let journal = scene.journal().split_off(before);
        journal.into_iter().filter(|entry| entry.template.ends_with("/recipients")).collect::<Vec<_>>()
    };
    let shares = scene.live();
    scene.wait("a list of each", || {
        let lists = lists();
        shares.iter().all(|share| lists.iter().any(|entry| entry.path.contains(&share.id)))
    });
    let sweeps = scene.journal().split_off(before).iter().filter(|e| e.query.contains("direction=asc")).count();
    assert!(lists().len() <= 2 * (sweeps + 1), "{sweeps} sweeps, {:?}", lists().len());
}

fn deleted(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    let id = settled(&scene, &[&one, &two], &[&first]);
    world.simulator.edit(Edit::DeleteShare { share: id.clone() }).expect("an edit");
    let share = scene.wait_for("share", "waf", "became Ready with a new share", |share| {
        is_ready(share) && share["status"]["shareID"] != id.as_str()
    });
    assert_eq!(share["status"]["shareID"], scene.only().id.as_str());
    assert_eq!(share["status"]["recipients"]["summary"], "2/2");
    assert_eq!(scene.changes().len(), 2, "{:?}", scene.changes());
    scene.wait_event("waf", |reason, text| reason == "ShareGone" && text.contains(&id));
}

fn deleted_with_objects(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[], &[], ""));
    scene.apply(&scene.recipient("one", "waf", &one, ""));
    scene.apply(&scene.resource("first", "waf", &first, "meta: {mode: block}"));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "one");
    scene.wait_ready("shareresource", "first");
    let id = scene.only().id;
    // Gone without a trace, as after a support case.
    world.simulator.edit(Edit::VanishShare { share: id.clone() }).expect("an edit");
    scene.wait_for("share", "waf", "became Ready with a new share", |share| {
        is_ready(share) && share["status"]["shareID"] != id.as_str()
    });
    let new = scene.only().id;
    for (kind, name) in [("sharerecipient", "one"), ("shareresource", "first")] {
        scene.wait_for(kind, name, "followed to the new share", |child| {
            is_ready(child) && child["status"]["shareID"] == new.as_str()
        });
    }
    assert_eq!(scene.changes().len(), 2, "{:?}", scene.changes());
    scene.kubectl(&["delete", "share,sharerecipient,shareresource", "--all", "--timeout=60s"]);
    scene.wait_nothing();
}

fn deleted_before_rename(world: &World) {
    let scene = world.own_scene();
    // No sweep shows that it is gone.
    let _operator = own::start(&scene, &[("--sweep-interval", "10m")]);
    let [one, first] = ids();
    let id = settled(&scene, &[&one], &[&first]);
    world.simulator.edit(Edit::VanishShare { share: id.clone() }).expect("an edit");
    scene.apply(&scene.share("waf", &[&one], &[&first], "name: firewall"));
    scene.wait_for("share", "waf", "became Ready with a new share", |share| {
        is_ready(share) && share["status"]["shareID"] != id.as_str()
    });
    assert_eq!(scene.only().name, "firewall");
    let events = scene.events("waf");
    assert!(events.iter().all(|(reason, _)| reason != "Rejected"), "{events:?}");
}

/// Changes back what the operator puts right for that object, until it gives up.
fn fight(
    scene: &Scene,
    (kind, name): (&str, &str),
    edit: impl Fn() -> Edit,
    is_mended: impl Fn(&cfshare_simulator::ShareState) -> bool,
) {
    let start = scene.changes().len();
    for round in 1..=2 {
        scene.world.simulator.edit(edit()).expect("an edit");
        scene.wait_state("it put right", |shares| is_mended(&shares[0]));
        scene.wait_ready(kind, name);
        assert_eq!(scene.changes_since(start).len(), round, "{:?}", scene.changes());
    }
    scene.world.simulator.edit(edit()).expect("an edit");
    let object = scene.wait_reason(kind, name, "NotConverging");
    assert!(condition(&object, "Stalled").is_some() && condition(&object, "Drifted").is_some(), "{object:#}");
    assert!(message(&object).contains("twice"), "{}", message(&object));
    scene.wait_sweep();
    assert_eq!(scene.changes_since(start).len(), 2, "{:?}", scene.changes());
    // A person asks for one more try.
    scene.annotate(kind, name, "cfshare.dev/requestedAt=again");
    scene.wait_state("it put right", |shares| is_mended(&shares[0]));
    scene.wait_ready(kind, name);
}

fn meta_fight(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    let share = settled(&scene, &[&one], &[&first]);
    let edit =
        || Edit::SetMeta { share: share.clone(), resource: first.clone(), meta: json!({"mode": "somebody else's"}) };
    fight(&scene, ("share", "waf"), edit, |share| share.live_resources()[0].meta == json!({}));
}

/// Cloudflare accepts a change, and shows it later than in its answer.
fn late_effect(world: &World) {
    let old = [("/result/meta".to_owned(), json!({"mode": "block"})), ("/result/name".to_owned(), json!("waf"))];
    let absent = vec!["/result/meta".to_owned()];
    for (set, remove) in [(BTreeMap::from(old), vec![]), (BTreeMap::new(), absent)] {
        let scene = world.own_scene();
        // No sweep shows what it is now.
        let _operator = own::start(&scene, &[("--sweep-interval", "10m"), ("--settle-time", "40s")]);
        let [one, x, y] = ids();
        let manifests = |mode: &str, name: &str| {
            let share = scene.share("waf", &[&one], &[&x], &format!("name: {name}"));
            let share = share.replace(&x, &format!("{x}, meta: {{mode: {mode}}}"));
            share + "---\n" + &scene.resource("why", "waf", &y, &format!("meta: {{mode: {mode}}}"))
        };
        scene.apply(&manifests("block", "waf"));
        scene.wait_ready("share", "waf");
        scene.wait_ready("shareresource", "why");
        for path in ["/accounts/*/shares/*", "/accounts/*/shares/*/resources/*"] {
            let action = Action::Rewrite { set: set.clone(), remove: remove.clone() };
            world.simulator.fault(Rule::always("PUT", path, action).account(&scene.account));
        }
        scene.apply(&manifests("log", "gateway"));
        for (kind, name) in [("share", "waf"), ("shareresource", "why")] {
            scene.wait_ready(kind, name);
            let events = scene.events(name);
            assert!(events.iter().all(|(reason, _)| reason != "NotConverging"), "{events:?}");
        }
        let share = scene.only();
        assert!(share.name == "gateway" && share.resources.iter().all(|row| row.meta["mode"] == "log"), "{share:#?}");
        let puts = scene.changes().iter().filter(|call| call.starts_with("PUT ")).count();
        assert_eq!(puts, 3, "{:#?}", scene.changes());
    }
}

/// Cloudflare accepts a name, answers with nothing, and writes it in its own way.
fn unanswered_name(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    settled(&scene, &[&one, &two], &[&first]);
    let fault = |method, path, at: &str, value| {
        let action = Action::Rewrite { set: [(at.to_owned(), value)].into(), remove: vec![] };
        world.simulator.fault(Rule::always(method, path, action).account(&scene.account));
    };
    fault("PUT", "/accounts/*/shares/*", "/result", json!(null));
    fault("GET", "/accounts/*/shares/*", "/result/name", json!("two blanks"));
    fault("GET", "/accounts/*/shares", "/result/0/name", json!("two blanks"));
    scene.apply(&scene.share("waf", &[&one], &[&first], "name: two  blanks"));
    scene.wait_state("the removal", |shares| shares[0].live_recipients().len() == 1);
    let object = scene.wait_reason("share", "waf", "NotConverging");
    assert!(message(&object).contains("two blanks"), "{}", message(&object));
    // One in place of the old name, and two that changed nothing.
    let puts = scene.changes().iter().filter(|call| call.starts_with("PUT ")).count();
    assert_eq!(puts, 3, "{:#?}", scene.changes());
}

/// Of two resources Cloudflare cannot remove one, and of a third it cannot change the meta.
fn one_that_fails(world: &World) {
    let scene = world.scene();
    let [one, two] = ids();
    let mut rows: [String; 4] = ids();
    rows.sort_unstable();
    let [stuck, kept, gone, _] = &rows;
    settled(&scene, &[&one, &two], &[stuck, kept, gone]);
    let row = |id: &str| {
        let found = scene.only().resources.into_iter().find(|row| row.resource_id == id);
        found.expect("it is shared").id
    };
    for (method, id) in [("DELETE", stuck), ("PUT", kept)] {
        let path = format!("/accounts/*/shares/*/resources/{}", row(id));
        let action = Action::StatusBefore { status: 502, body: ErrorBody::Html, code: None, retry_after: None };
        world.simulator.fault(Rule::always(method, &path, action).account(&scene.account));
    }
    let manifest = scene.share("waf", &[&one], &[kept], "");
    scene.apply(&manifest.replace(kept, &format!("{kept}, meta: {{mode: log}}")));
    scene.wait_state("the others gone", |shares| {
        let live = |id: &String| shares[0].live_resources().iter().any(|row| row.resource_id == *id);
        shares[0].live_recipients().len() == 1 && !live(gone) && live(stuck)
    });
    let object = scene.wait_reason("share", "waf", "Unavailable");
    assert!(message(&object).contains("502"), "{}", message(&object));
}

fn name_fight(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    let share = settled(&scene, &[&one], &[&first]);
    let edit = || Edit::Rename { share: share.clone(), name: "somebody else's".into() };
    fight(&scene, ("share", "waf"), edit, |share| share.name == "waf");
}

fn recipient_fight(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    let share = settled(&scene, &[&one, &two], &[&first]);
    let edit = || Edit::RemoveRecipient { share: share.clone(), recipient: two.clone() };
    fight(&scene, ("share", "waf"), edit, |share| share.live_recipients().len() == 2);
}

fn object_fight(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    let share = settled(&scene, &[&one], &[&first]);
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    scene.wait_ready("sharerecipient", "two");
    let edit = || Edit::RemoveRecipient { share: share.clone(), recipient: two.clone() };
    fight(&scene, ("sharerecipient", "two"), edit, |share| share.live_recipients().len() == 2);
}

fn removal_fight(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    let share = settled(&scene, &[&one], &[&first]);
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    scene.wait_ready("sharerecipient", "two");
    let removals = || scene.journal().iter().filter(|e| e.method == "DELETE" && e.applied == 1).count();
    // It is back before it was gone.
    world.simulator.delays(Some(&scene.account), |delays| delays.disassociate_ms = Some(3_600_000));
    scene.delete("sharerecipient", "two");
    for round in 1..=2 {
        scene.wait("the call that removes it", || removals() == round);
        let back = Edit::ReappearRecipient { share: share.clone(), recipient: two.clone() };
        world.simulator.edit(back).expect("an edit");
    }
    let object = scene.wait_reason("sharerecipient", "two", "NotConverging");
    assert!(condition(&object, "Stalled").is_some() && message(&object).contains("twice"), "{object:#}");
    scene.wait_sweep();
    assert_eq!(removals(), 2, "{:?}", scene.changes());
    world.simulator.edit(Edit::EraseRecipient { share, recipient: two }).expect("an edit");
    scene.annotate("sharerecipient", "two", "cfshare.dev/requestedAt=again");
    scene.wait_gone("sharerecipient", "two");
}
