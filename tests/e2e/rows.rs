//! Whether each recipient and resource is added once and removed surely, whatever becomes of the calls.

use std::time::{Duration, Instant};

use cfshare_simulator::{Action, Association, Edit, ErrorBody, PostedAgain, Release, Rule, random_id};
use cfshare_testbed::Process;
use serde_json::{Value, json};

use crate::Test;
use crate::expect::{has, nothing_doubled, only_share, sweeps, tally};
use crate::interceptor::{Fault, Interceptor};
use crate::own;
use crate::scene::{PATIENCE, Scene, World, ids, message};

pub const TESTS: &[Test] = &[
    ("rows: the lost answer of a recipient's POST makes no second row", |w| lost(w, Action::ApplyDrop {}, false, 1)),
    ("rows: the lost answer of a resource's POST makes no second row", |w| lost(w, Action::ApplyDrop {}, true, 1)),
    ("rows: a recipient's POST that arrives late makes no second row", |w| {
        lost(w, Action::Late { ms: 3000 }, false, 1);
    }),
    ("rows: an error after a recipient was added makes no second row", |w| {
        let body = ErrorBody::Html;
        lost(w, Action::StatusAfter { status: 502, body, code: None, retry_after: None }, false, 1);
    }),
    ("rows: a lost POST of a recipient is sent again after the settle time", |w| lost(w, Action::Drop {}, false, 2)),
    ("rows: a lost POST of a resource is sent again after the settle time", |w| lost(w, Action::Drop {}, true, 2)),
    ("rows: the lost answer of a child's POST makes no second row", lost_for_child),
    ("rows: a POST that is answered with less than the row holds up no other change", thin_answers),
    ("rows: an object deleted while its POST has no response says what it waits for", deleted_unanswered),
    ("rows: a recipient that somebody added a moment before is no conflict for long", added_meanwhile),
    ("rows: a resource that somebody added under another account a moment before is sent once", added_elsewhere),
    ("rows: what somebody added a moment before an object is no conflict for long", added_before_child),
    ("rows: a line removed while the operator is down ends the sharing", removed_while_down),
    ("rows: a line removed after its POST was sent and not recorded ends the sharing", removed_unrecorded),
    ("rows: a line removed while its POST is still on its way ends the sharing", removed_before_arrival),
    ("rows: an empty list of recipients that Cloudflare counts is not believed", empty_list),
    ("rows: a recipient that a short list leaves out is not added a second time", short_list),
    (
        "rows: a share whose resources an answer lacks keeps them, and a deleted object still removes its own",
        no_resources,
    ),
    ("rows: a list that leaves out what nobody declared holds additions back, and nothing else", short_of_others),
    ("rows: of two rows of a wanted recipient neither is deleted, and both go when it is not wanted", two_rows),
    ("rows: a recipient that is wanted again while it goes comes back once", wanted_again),
    ("rows: a removal whose answer was lost is not repeated for nothing", lost_removal),
    ("rows: adds come before removals when the only resource is swapped", swapped),
    ("rows: meta reaches the new row of a resource that was added again before the edit", |w| renewed(w, false)),
    ("rows: meta reaches the new row of a resource that was added again after its PUT was sent", |w| renewed(w, true)),
    ("rows: a PUT that is not found for a while is sent again, and not without a pause", put_not_found),
    ("rows: a status that comes a moment after the answer is seen without a sweep", late_status),
    ("rows: a list of recipients that is not found once does not make its share vanish", list_not_found),
    ("rows: what was announced without an answer of the API server is sent soon, and once", unanswered),
];

const RECIPIENTS: &str = "/accounts/*/shares/*/recipients";
const RESOURCES: &str = "/accounts/*/shares/*/resources";

/// A share whose next recipient, or resource, is added by a POST that suffers the fault.
fn lost(world: &World, action: Action, resource: bool, posts: usize) {
    let scene = world.scene();
    world.simulator.switches(Some(&scene.account), |s| {
        (s.live_recipient_again, s.resource_again) = (PostedAgain::SecondRow, PostedAgain::SecondRow);
    });
    let [a, b, x, y] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    let path = if resource { RESOURCES } else { RECIPIENTS };
    let rule = world.simulator.fault(Rule::once("POST", path, action).account(&scene.account));
    let (recipients, resources): (&[&str], &[&str]) = if resource { (&[&a], &[&x, &y]) } else { (&[&a, &b], &[&x]) };
    scene.apply(&scene.share("waf", recipients, resources, ""));
    scene.wait_state("the new row", |shares| has(&shares[0], recipients, resources));
    scene.wait_ready("share", "waf");
    sweeps(&scene, 2);
    only_share(&scene.state(), recipients, resources);
    assert_eq!(world.simulator.fired(rule), 1);
    assert_eq!(tally(&scene.journal())[&format!("POST {path}")], posts, "{:#?}", scene.changes());
}

/// Ten recipients and a resource come, and a recipient goes, while no answer shows what was added.
fn thin_answers(world: &World) {
    let rewritten = |set: &[(&str, Value)], remove: &[&str]| Action::Rewrite {
        set: set.iter().map(|(pointer, value)| ((*pointer).to_owned(), value.clone())).collect(),
        remove: remove.iter().map(|pointer| (*pointer).to_owned()).collect(),
    };
    let id_alone = ["/result/account_id", "/result/resource_id", "/result/resource_account_id"];
    let actions = [Action::NullResult {}, rewritten(&[("/result", json!([]))], &[]), rewritten(&[], &id_alone)];
    let scenes = actions.map(|action| {
        let scene = world.scene();
        world.simulator.switches(Some(&scene.account), |s| {
            (s.live_recipient_again, s.resource_again) = (PostedAgain::SecondRow, PostedAgain::SecondRow);
        });
        for path in [RECIPIENTS, RESOURCES] {
            world.simulator.fault(Rule::always("POST", path, action.clone()).account(&scene.account));
        }
        let [a, b, x, y] = ids();
        let added: [String; 10] = ids();
        scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
        scene.wait_ready("share", "waf");
        let recipients: Vec<String> = added.into_iter().chain([b]).collect();
        (scene, action.word(), recipients, [x, y])
    });
    for (scene, action, recipients, [x, y]) in &scenes {
        let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
        let began = Instant::now();
        scene.apply(&scene.share("waf", &recipients, &[x, y], ""));
        scene.wait_state("the new rows", |shares| has(&shares[0], &recipients, &[x, y]));
        assert!(began.elapsed() < Duration::from_secs(20), "{action}: {:?}", began.elapsed());
        scene.wait_ready("share", "waf");
        sweeps(scene, 2);
        only_share(&scene.state(), &recipients, &[x, y]);
        let calls = tally(&scene.journal());
        assert_eq!(calls[&format!("POST {RECIPIENTS}")], 10, "{action}: {:#?}", scene.changes());
        assert_eq!(calls[&format!("POST {RESOURCES}")], 1, "{action}: {:#?}", scene.changes());
    }
}

fn empty_list(world: &World) {
    let scene = world.scene();
    world.simulator.switches(Some(&scene.account), |s| s.live_recipient_again = PostedAgain::SecondRow);
    let [a, b, x] = ids();
    scene.apply(&(scene.recipient("bee", "waf", &b, "") + "---\n" + &scene.share("waf", &[&a], &[&x], "")));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "bee");
    scene.wait_sweep();
    let zero = |field: &str| (format!("/result_info/{field}"), 0.into());
    let set = [("/result".into(), json!([])), zero("count"), zero("total_count"), zero("total_pages")].into();
    let rule = Rule::always("GET", RECIPIENTS, Action::Rewrite { set, remove: vec![] }).account(&scene.account);
    let rule = world.simulator.fault(rule);
    for (kind, name) in [("share", "waf"), ("sharerecipient", "bee")] {
        scene.annotate(kind, name, "cfshare.dev/requestedAt=now");
        let object = scene.wait_reason(kind, name, "Unavailable");
        assert!(message(&object).contains("counts 2"), "{object:#}");
    }
    only_share(&scene.state(), &[&a, &b], &[&x]);
    world.simulator.remove_fault(rule);
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "bee");
    only_share(&scene.state(), &[&a, &b], &[&x]);
    assert!(!tally(&scene.journal()).contains_key(&format!("POST {RECIPIENTS}")), "{:#?}", scene.changes());
}

fn no_resources(world: &World) {
    let scene = world.scene();
    world.simulator.switches(Some(&scene.account), |s| s.resource_again = PostedAgain::SecondRow);
    let [a, x, y] = ids();
    scene.apply(&(scene.resource("why", "waf", &y, "") + "---\n" + &scene.share("waf", &[&a], &[&x], "")));
    scene.wait_ready("share", "waf");
    scene.wait_ready("shareresource", "why");
    let lag = Duration::from_secs(5);
    let settled = Instant::now();
    scene.wait("reads need not lag any more", || settled.elapsed() > lag);
    let none = |path: &str, at: &str| {
        let set = [(at.to_owned(), json!([]))].into();
        world
            .simulator
            .fault(Rule::always("GET", path, Action::Rewrite { set, remove: vec![] }).account(&scene.account))
    };
    let rules = [none("/accounts/*/shares", "/result/0/resources"), none("/accounts/*/shares/*", "/result/resources")];
    for (kind, name) in [("share", "waf"), ("shareresource", "why")] {
        scene.ask(kind, name);
    }
    sweeps(&scene, 2);
    only_share(&scene.state(), &[&a], &[&x, &y]);
    assert!(!tally(&scene.journal()).contains_key(&format!("POST {RESOURCES}")), "{:#?}", scene.changes());
    scene.kubectl(&["delete", "shareresource", "why", "--timeout=60s"]);
    only_share(&scene.state(), &[&a], &[&x]);
    assert!(rules.iter().all(|rule| world.simulator.fired(*rule) > 0));
}

/// The list of recipients without its rows from that one on.
fn shortened(scene: &Scene<'_>, from: usize, rows: usize) -> Rule {
    let mut remove = vec![format!("/result/{from}"); rows];
    remove.extend(["total_count", "total_pages", "count"].map(|field| format!("/result_info/{field}")));
    Rule::always("GET", RECIPIENTS, Action::Rewrite { set: Default::default(), remove }).account(&scene.account)
}

fn short_list(world: &World) {
    let scene = world.scene();
    world.simulator.switches(Some(&scene.account), |s| s.live_recipient_again = PostedAgain::SecondRow);
    let [a, b, c, d, x] = ids();
    scene.apply(&scene.share("waf", &[&a, &b, &c], &[&x], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.recipient("dee", "waf", &d, ""));
    scene.wait_ready("sharerecipient", "dee");
    scene.wait_sweep();
    let before = scene.changes().len();
    let rule = world.simulator.fault(shortened(&scene, 2, 2));
    for (kind, name) in [("share", "waf"), ("sharerecipient", "dee")] {
        scene.annotate(kind, name, "cfshare.dev/requestedAt=now");
        let object = scene.wait_reason(kind, name, "Unavailable");
        assert!(message(&object).contains("shows 2 that receive it, but Cloudflare counts 4"), "{object:#}");
    }
    // One that may be there is not known to be gone either.
    scene.delete("sharerecipient", "dee");
    sweeps(&scene, 2);
    assert!(scene.get("sharerecipient", "dee").is_some());
    assert_eq!(scene.changes_since(before), [""; 0]);
    world.simulator.remove_fault(rule);
    scene.wait_gone("sharerecipient", "dee");
    scene.wait_ready("share", "waf");
    only_share(&scene.state(), &[&a, &b, &c], &[&x]);
    assert_eq!(tally(&scene.journal())[&format!("POST {RECIPIENTS}")], 1, "{:#?}", scene.changes());
}

fn short_of_others(world: &World) {
    let scene = world.scene();
    let [a, b, c, d, x] = ids();
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    scene.wait_ready("share", "waf");
    world.simulator.edit(Edit::AddRecipient { share: scene.only().id, account: c.clone() }).expect("an edit");
    let rule = world.simulator.fault(shortened(&scene, 2, 1));
    sweeps(&scene, 2);
    let share = scene.ask("share", "waf");
    assert!(crate::scene::is_ready(&share), "{share:#}");
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_state("b removed", |shares| has(&shares[0], &[&a, &c], &[&x]));
    scene.apply(&scene.share("waf", &[&a, &d], &[&x], ""));
    scene.wait_reason("share", "waf", "Unavailable");
    assert!(has(&scene.only(), &[&a, &c], &[&x]));
    world.simulator.remove_fault(rule);
    scene.wait_ready("share", "waf");
    only_share(&scene.state(), &[&a, &c, &d], &[&x]);
}

fn lost_for_child(world: &World) {
    let scene = world.scene();
    world.simulator.switches(Some(&scene.account), |s| s.live_recipient_again = PostedAgain::SecondRow);
    let [a, b, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    let rule = Rule::once("POST", RECIPIENTS, Action::ApplyReset {}).account(&scene.account);
    let rule = world.simulator.fault(rule);
    scene.apply(&scene.recipient("bee", "waf", &b, ""));
    scene.wait_ready("sharerecipient", "bee");
    sweeps(&scene, 2);
    only_share(&scene.state(), &[&a, &b], &[&x]);
    assert_eq!(world.simulator.fired(rule), 1);
    assert_eq!(tally(&scene.journal())[&format!("POST {RECIPIENTS}")], 1);
    scene.kubectl(&["delete", "sharerecipient", "bee", "--timeout=60s"]);
    only_share(&scene.state(), &[&a], &[&x]);
}

fn deleted_unanswered(world: &World) {
    let scene = world.scene();
    let [a, b, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    let rule = world.simulator.fault(Rule::once("POST", RECIPIENTS, Action::Drop {}).account(&scene.account));
    scene.apply(&scene.recipient("bee", "waf", &b, ""));
    scene.wait("the request to be lost", || world.simulator.fired(rule) == 1);
    scene.delete("sharerecipient", "bee");
    scene.wait_for("sharerecipient", "bee", "says what it waits for", |bee| {
        message(bee).contains("got no response and may still take effect: cfshare waits until ")
    });
    scene.wait_gone("sharerecipient", "bee");
    only_share(&scene.state(), &[&a], &[&x]);
}

fn added_meanwhile(world: &World) {
    let scene = world.scene();
    world.simulator.switches(Some(&scene.account), |s| {
        (s.live_recipient_again, s.resource_again) = (PostedAgain::Conflict, PostedAgain::Conflict);
    });
    let [a, b, x, y] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    let id = scene.only().id;
    let held: Vec<u64> = [RECIPIENTS, RESOURCES]
        .into_iter()
        .map(|path| {
            let rule = Rule::once("POST", path, Action::HoldBefore {}).account(&scene.account);
            world.simulator.fault(rule)
        })
        .collect();
    scene.apply(&scene.share("waf", &[&a, &b], &[&x, &y], ""));
    for (path, edit) in [
        ("recipients", Edit::AddRecipient { share: id.clone(), account: b.clone() }),
        (
            "resources",
            Edit::AddResource {
                share: id.clone(),
                resource_type: "custom-ruleset".into(),
                id: y.clone(),
                account: None,
                meta: None,
            },
        ),
    ] {
        let ours = |held: &cfshare_simulator::Held| {
            held.account.as_deref() == Some(&scene.account) && held.path.ends_with(path)
        };
        let held = world.simulator.wait_held(PATIENCE, ours).expect("a POST on its way");
        world.simulator.edit(edit).expect("an edit");
        world.simulator.release(held.id, Release::Go).expect("it goes on");
    }
    scene.wait_ready("share", "waf");
    only_share(&scene.state(), &[&a, &b], &[&x, &y]);
    assert!(held.iter().all(|rule| world.simulator.fired(*rule) == 1));
    assert_eq!(scene.journal().iter().filter(|entry| entry.status == Some(409)).count(), 2);
}

fn added_elsewhere(world: &World) {
    let scene = world.scene();
    let [a, x, y, z, elsewhere] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    let share = scene.only().id;
    let steps: [(&[&str], PostedAgain); 2] =
        [(&[&x, &y], PostedAgain::Returned), (&[&x, &y, &z], PostedAgain::Conflict)];
    for (all, again) in steps {
        let resource = all[all.len() - 1];
        world.simulator.switches(Some(&scene.account), |s| s.resource_again = again);
        let rule = Rule::once("POST", RESOURCES, Action::HoldBefore {}).account(&scene.account);
        world.simulator.fault(rule);
        let before = scene.changes().len();
        scene.apply(&scene.share("waf", &[&a], all, ""));
        let ours = |held: &cfshare_simulator::Held| held.account.as_deref() == Some(&scene.account);
        let held = world.simulator.wait_held(PATIENCE, ours).expect("a POST on its way");
        let (resource_type, account) = ("custom-ruleset".to_owned(), Some(elsewhere.clone()));
        let edit =
            Edit::AddResource { share: share.clone(), resource_type, id: resource.to_owned(), account, meta: None };
        world.simulator.edit(edit).expect("an edit");
        world.simulator.release(held.id, Release::Go).expect("it goes on");
        let object = scene.wait_reason("share", "waf", "Rejected");
        assert!(message(&object).contains(&format!("as one of account {elsewhere}")), "{}", message(&object));
        sweeps(&scene, 2);
        assert_eq!(scene.changes_since(before).len(), 1, "{:#?}", scene.changes());
        // Once somebody removes that row, the one of the manifest is added.
        let row = scene.only().live_resources().iter().find(|row| row.resource_id == resource).expect("it").id.clone();
        world.simulator.edit(Edit::RemoveResource { share: share.clone(), resource: row }).expect("an edit");
        scene.wait_ready("share", "waf");
        only_share(&scene.state(), &[&a], all);
    }
}

fn added_before_child(world: &World) {
    let scene = world.own_scene();
    // No sweep tells of it.
    let _operator = own::start(&scene, &[("--sweep-interval", "10m")]);
    world.simulator.switches(Some(&scene.account), |s| s.live_recipient_again = PostedAgain::Conflict);
    let [a, b, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    let share = scene.only().id;
    world.simulator.fault(Rule::once("POST", RECIPIENTS, Action::HoldBefore {}).account(&scene.account));
    scene.apply(&scene.recipient("bee", "waf", &b, ""));
    let ours = |held: &cfshare_simulator::Held| held.account.as_deref() == Some(&scene.account);
    let held = world.simulator.wait_held(PATIENCE, ours).expect("a POST on its way");
    world.simulator.edit(Edit::AddRecipient { share, account: b.clone() }).expect("an edit");
    world.simulator.release(held.id, Release::Go).expect("it goes on");
    let released = Instant::now();
    scene.wait_ready("sharerecipient", "bee");
    // Sooner than what is refused is tried again.
    assert!(released.elapsed() < Duration::from_secs(45), "{:?}", released.elapsed());
    only_share(&scene.state(), &[&a, &b], &[&x]);
    let events = scene.wait_event("bee", |reason, _| reason == "Associated");
    assert!(events.iter().all(|(reason, _)| reason != "Rejected"), "{events:?}");
    assert_eq!(scene.journal().iter().filter(|entry| entry.status == Some(409)).count(), 1);
}

fn removed_while_down(world: &World) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let [a, b, c, x, y] = ids();
    scene.apply(&scene.share("waf", &[&a, &b], &[&x, &y], ""));
    scene.apply(&scene.recipient("cee", "waf", &c, ""));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "cee");
    own::crash(operator);
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.kubectl(&["delete", "sharerecipient", "cee", "--wait=false"]);
    let _operator = own::start(&scene, &[]);
    scene.wait_state("less", |shares| has(&shares[0], &[&a], &[&x]));
    scene.wait_gone("sharerecipient", "cee");
    scene.wait_ready("share", "waf");
    nothing_doubled(&scene.state());
}

/// A settled share, and an operator that was killed while the POST of one more recipient was held at that point.
fn killed(world: &World, point: Action) -> (Scene<'_>, [String; 3], u64) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let [a, b, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    world.simulator.fault(Rule::once("POST", RECIPIENTS, point).account(&scene.account));
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    let held = world.simulator.wait_held(PATIENCE, |held| held.account.as_deref() == Some(&scene.account));
    own::crash(operator);
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    (scene, [a, b, x], held.expect("a POST on its way").id)
}

fn removed_unrecorded(world: &World) {
    let (scene, [a, b, x], held) = killed(world, Action::HoldAfter {});
    world.simulator.release(held, Release::Go).expect("it goes on");
    assert!(has(&scene.only(), &[&a, &b], &[&x]));
    let _operator = own::start(&scene, &[]);
    scene.wait_state("it gone", |shares| has(&shares[0], &[&a], &[&x]));
    scene.wait_ready("share", "waf");
}

fn removed_before_arrival(world: &World) {
    let (scene, [a, b, x], held) = killed(world, Action::HoldBefore {});
    // What arrives must do so within the settle time.
    let _operator = own::start(&scene, &[("--settle-time", "20s")]);
    sweeps(&scene, 1);
    world.simulator.release(held, Release::ApplyDrop).expect("it goes on");
    world.simulator.wait_request(PATIENCE, |entry| entry.seq == held && entry.applied == 1).expect("its arrival");
    scene.wait_state("it gone", |shares| {
        let arrived = shares[0].recipients.iter().any(|row| row.account_id == b);
        arrived && has(&shares[0], &[&a], &[&x])
    });
    scene.wait("the record to be dropped", || {
        let share = scene.get("share", "waf").expect("it");
        !share["status"]["inventory"].to_string().contains(&b)
    });
    scene.wait_ready("share", "waf");
    only_share(&scene.state(), &[&a], &[&x]);
}

fn two_rows(world: &World) {
    let scene = world.scene();
    let [a, b, x] = ids();
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    scene.wait_ready("share", "waf");
    let id = scene.only().id;
    world.simulator.edit(Edit::AddRecipient { share: id, account: b.clone() }).expect("an edit");
    scene.ask("share", "waf");
    sweeps(&scene, 2);
    let share = scene.wait_ready("share", "waf");
    assert_eq!(share["status"]["recipients"]["summary"], "2/2");
    let rows = |b: &str| scene.only().live_recipients().iter().filter(|row| row.account_id == b).count();
    assert_eq!(rows(&b), 2);
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_state("both gone", |shares| has(&shares[0], &[&a], &[&x]));
    scene.wait_ready("share", "waf");
}

fn wanted_again(world: &World) {
    let scene = world.scene();
    world.simulator.delays(Some(&scene.account), |delays| delays.disassociate_ms = Some(4000));
    let [a, b, x] = ids();
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_state("it on its way out", |shares| {
        let left = [Association::Disassociating, Association::Disassociated];
        shares[0].recipients.iter().any(|row| left.contains(&row.status))
    });
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    scene.wait_state("it again", |shares| has(&shares[0], &[&a, &b], &[&x]));
    scene.wait_ready("share", "waf");
    only_share(&scene.state(), &[&a, &b], &[&x]);
    let journal = scene.journal();
    let posts: Vec<&cfshare_simulator::Entry> =
        journal.iter().filter(|e| e.method == "POST" && e.template == RECIPIENTS).collect();
    let removal = journal.iter().find(|e| e.method == "DELETE").expect("a removal");
    assert_eq!(posts.len(), 1, "{:#?}", scene.changes());
    assert!(posts[0].at - removal.at >= 4_000_000, "it was added before it was gone");
}

fn lost_removal(world: &World) {
    let scene = world.scene();
    let [a, b, x, y] = ids();
    scene.apply(&scene.share("waf", &[&a, &b], &[&x, &y], ""));
    scene.wait_ready("share", "waf");
    let lost = |path: &str| {
        let rule = Rule::once("DELETE", path, Action::ApplyDrop {}).account(&scene.account);
        world.simulator.fault(rule)
    };
    let rules = [lost(&format!("{RECIPIENTS}/*")), lost(&format!("{RESOURCES}/*"))];
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_state("less", |shares| has(&shares[0], &[&a], &[&x]));
    scene.wait_ready("share", "waf");
    assert!(rules.iter().all(|rule| world.simulator.fired(*rule) == 1));
    let removals = scene.journal().iter().filter(|entry| entry.method == "DELETE").count();
    assert!(removals <= 4, "{:#?}", scene.changes());
    let lost = Rule::once("DELETE", "/accounts/*/shares/*", Action::ApplyDrop {}).account(&scene.account);
    let rule = world.simulator.fault(lost);
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_nothing();
    assert_eq!(world.simulator.fired(rule), 1);
}

fn swapped(world: &World) {
    let scene = world.scene();
    let [a, x, y] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &[&a], &[&y], ""));
    scene.wait_state("the other resource", |shares| has(&shares[0], &[&a], &[&y]));
    scene.wait_ready("share", "waf");
    let refused = scene.journal().iter().filter(|e| e.changing && e.status.is_some_and(|s| s >= 400)).count();
    assert_eq!(refused, 0, "{:#?}", scene.changes());
}

/// A Share with one resource of its own and one of an object, with that meta.
fn with_meta(scene: &Scene<'_>, [a, x, y]: &[String; 3], mode: &str) -> String {
    let share = scene.share("waf", &[a], &[x], "").replace(x, &format!("{x}, meta: {{mode: {mode}}}"));
    share + "---\n" + &scene.resource("why", "waf", y, &format!("meta: {{mode: {mode}}}"))
}

fn has_meta(scene: &Scene<'_>, mode: &str) -> bool {
    let share = scene.only();
    let live = share.live_resources();
    live.len() == 2 && live.iter().all(|row| row.meta["mode"] == mode)
}

fn wait_both(scene: &Scene<'_>) {
    scene.wait_ready("share", "waf");
    scene.wait_ready("shareresource", "why");
}

/// Somebody removes both resources and adds them again, so that they have rows of other ids; `sent`: when the calls that
/// change the meta of the old ones are under way.
fn renewed(world: &World, sent: bool) {
    let scene = world.own_scene();
    // No sweep shows the new rows.
    let _operator = own::start(&scene, &[("--sweep-interval", "10m")]);
    let all: [String; 3] = ids();
    scene.apply(&with_meta(&scene, &all, "block"));
    wait_both(&scene);
    let share = scene.only().id;
    let renew = || {
        for id in &all[1..] {
            let old = Edit::EraseResource { share: share.clone(), resource: id.clone() };
            let new = Edit::AddResource {
                share: share.clone(),
                resource_type: "custom-ruleset".into(),
                id: id.clone(),
                account: None,
                meta: Some(json!({"mode": "block"})),
            };
            for edit in [old, new] {
                world.simulator.edit(edit).expect("an edit");
            }
        }
    };
    if sent {
        let rule = Rule::once("PUT", &format!("{RESOURCES}/*"), Action::HoldBefore {}).times(2);
        world.simulator.fault(rule.account(&scene.account));
    } else {
        renew();
    }
    let edited = Instant::now();
    scene.apply(&with_meta(&scene, &all, "log"));
    for round in 0..if sent { 2 } else { 0 } {
        let ours = |held: &cfshare_simulator::Held| held.account.as_deref() == Some(&scene.account);
        let held = world.simulator.wait_held(PATIENCE, ours).expect("a PUT on its way");
        if round == 0 {
            renew();
        }
        world.simulator.release(held.id, Release::Go).expect("it goes on");
    }
    scene.wait("the new meta", || has_meta(&scene, "log"));
    wait_both(&scene);
    // Sooner than what is refused is tried again.
    assert!(edited.elapsed() < Duration::from_secs(45), "{:?}", edited.elapsed());
    for name in ["waf", "why"] {
        let events = scene.events(name);
        assert!(events.iter().all(|(reason, _)| reason != "Rejected"), "{events:?}");
    }
    only_share(&scene.state(), &[&all[0]], &[&all[1], &all[2]]);
}

fn put_not_found(world: &World) {
    let scene = world.own_scene();
    let _operator = own::start(&scene, &[("--sweep-interval", "10m")]);
    let all: [String; 3] = ids();
    scene.apply(&with_meta(&scene, &all, "block"));
    wait_both(&scene);
    let action = Action::StatusBefore { status: 404, body: ErrorBody::Json, code: Some(1004), retry_after: None };
    let rule = Rule::always("PUT", &format!("{RESOURCES}/*"), action).account(&scene.account);
    let rule = world.simulator.fault(rule);
    let edited = Instant::now();
    scene.apply(&with_meta(&scene, &all, "log"));
    scene.wait("four tries", || world.simulator.fired(rule) >= 4);
    for (kind, name) in [("share", "waf"), ("shareresource", "why")] {
        let text = message(&scene.wait_reason(kind, name, "Unavailable"));
        assert!(text.contains("meta") && text.contains("not found"), "{text}");
    }
    let (tries, seconds) = (world.simulator.fired(rule), edited.elapsed().as_secs_f64());
    assert!(tries as f64 <= 2.0 * (seconds + 2.0), "{tries} tries in {seconds} s");
    world.simulator.remove_fault(rule);
    scene.wait("the new meta", || has_meta(&scene, "log"));
    wait_both(&scene);
}

fn late_status(world: &World) {
    let scene = world.own_scene();
    let _operator = own::start(&scene, &[("--sweep-interval", "10m")]);
    let [a, x, y] = ids();
    world.simulator.fault(Rule::once("POST", "/accounts/*/shares", Action::HoldAfter {}).account(&scene.account));
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    let held = world.simulator.wait_held(PATIENCE, |held| held.account.as_deref() == Some(&scene.account));
    let share = scene.only().id;
    let set = |status: Option<&str>| {
        let status = status.map(str::to_owned);
        let edit = Edit::SetShareStatus { share: share.clone(), status, unlisted: false };
        world.simulator.edit(edit).expect("an edit");
    };
    set(Some("provisioning"));
    world.simulator.release(held.expect("a create on its way").id, Release::Go).expect("it goes on");
    scene.wait_for("share", "waf", "told the status", |share| message(share).contains("provisioning"));
    let began = Instant::now();
    scene.wait("five seconds", || began.elapsed() > Duration::from_secs(5));
    set(None);
    scene.wait_ready("share", "waf");
    for status in [None, Some("provisioning")] {
        let action = match status {
            None => Action::Rewrite { set: Default::default(), remove: vec!["/result/status".into()] },
            Some(status) => Action::Rewrite { set: [("/result/status".into(), status.into())].into(), remove: vec![] },
        };
        let rule = world.simulator.fault(Rule::once("POST", RESOURCES, action).account(&scene.account));
        scene.apply(&scene.share("waf", &[&a], &[&x, &y], ""));
        scene.wait_state("both", |shares| has(&shares[0], &[&a], &[&x, &y]));
        scene.wait_ready("share", "waf");
        assert_eq!(world.simulator.fired(rule), 1);
        scene.apply(&scene.share("waf", &[&a], &[&x], ""));
        scene.wait_state("one", |shares| has(&shares[0], &[&a], &[&x]));
        scene.wait_ready("share", "waf");
    }
}

fn list_not_found(world: &World) {
    let scene = world.scene();
    let [a, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    let ready = scene.wait_ready("share", "waf");
    let settled = Instant::now();
    scene.wait("reads need not lag any more", || settled.elapsed() > Duration::from_secs(3));
    let action = Action::StatusBefore { status: 404, body: ErrorBody::Json, code: Some(1004), retry_after: None };
    let rule = world.simulator.fault(Rule::once("GET", RECIPIENTS, action).account(&scene.account));
    let share = scene.ask("share", "waf");
    assert_eq!(world.simulator.fired(rule), 1);
    assert!(crate::scene::is_ready(&share), "{share:#}");
    let (entries, _) = world.cluster.audit_since(0).expect("an audit log");
    let told = entries.iter().map(|entry| &entry["responseObject"]);
    let told = told.filter(|object| object["metadata"]["uid"] == ready["metadata"]["uid"]);
    let gone = told.filter(|object| object["status"]["conditions"].to_string().contains("ShareNotFound")).count();
    assert_eq!(gone, 0);
}

/// Of a Share, of an object, and of all recipients of a Share at once.
fn unanswered(world: &World) {
    let scene = world.own_scene();
    let proxy = Interceptor::start(&world.cluster, Fault::LostAnswers);
    let mut command = own::command(&scene, &scene.namespace, &[("--settle-time", "240s")]);
    proxy.lead(&scene, &mut command);
    let operator = Process::start(command, scene.file("operator.log")).expect("the operator starts");
    let [a, b, c, x] = ids();
    let edit =
        |recipients: &[&str]| scene.apply(&scene.share("waf", recipients, &[&x], "prune: true\nmaxRemovals: 100"));
    edit(&[&a]);
    scene.wait_ready("share", "waf");
    let posts = || tally(&scene.journal()).get("POST /accounts/*/shares/*/recipients").copied().unwrap_or(0);
    proxy.lose("intendedAt");
    edit(&[&a, &b]);
    scene.wait_ready("share", "waf");
    assert_eq!((proxy.held(), posts()), (1, 1), "{}", operator.log());
    proxy.lose("intendedAt");
    scene.apply(&scene.recipient("cee", "waf", &c, ""));
    scene.wait_ready("sharerecipient", "cee");
    assert_eq!((proxy.held(), posts()), (2, 2), "{}", operator.log());
    let many: Vec<String> = (0..25).map(|_| random_id()).collect();
    let inline: Vec<&str> = [&a, &b].into_iter().chain(&many).map(String::as_str).collect();
    proxy.lose("replacingSince");
    edit(&inline);
    scene.wait_ready("share", "waf");
    let puts = tally(&scene.journal()).get("PUT /accounts/*/shares/*/recipients").copied().unwrap_or(0);
    assert_eq!((proxy.held(), posts(), puts), (3, 2, 1), "{}", operator.log());
    let all: Vec<&str> = inline.into_iter().chain([c.as_str()]).collect();
    only_share(&scene.state(), &all, &[&x]);
}
