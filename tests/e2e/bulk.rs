//! Are many recipients changed by one call where `prune` is set, and is nobody lost by it, whatever becomes of the call?

use cfshare_simulator::{Action, ErrorBody, Rule};

use crate::Test;
use crate::expect::{has, only_share, sweeps, tally};
use crate::own;
use crate::scene::{Scene, World, ids, message};

pub const TESTS: &[Test] = &[
    ("bulk: many recipients more are one call under prune, and as many less", one_call),
    ("bulk: without prune each recipient is added by a call of its own", one_by_one),
    ("bulk: what others declare, and what is held back, stays when the list is replaced", others_stay),
    ("bulk: the lost answer of a replaced list is not sent again", |w| lost(w, Action::ApplyDrop {}, 1)),
    ("bulk: a replaced list that was lost is sent again after the settle time", |w| lost(w, Action::Drop {}, 2)),
    ("bulk: a replaced list that arrives late undoes nothing", late),
    ("bulk: an object that is deleted while a replaced list may still arrive waits for that", late_for_an_object),
    ("bulk: a share is not Ready while its removals wait for a replaced list", not_ready),
    ("bulk: where the list is refused each recipient is tried for itself", refused),
    ("bulk: where the list fails without an outcome twice, each recipient is changed by itself", unanswered),
    ("bulk: where the call fails for another reason the list is sent again", tried_again),
    ("bulk: recipients are replaced though it takes long to list them", slow_list),
    ("bulk: an answer with status 200 that is empty is a success", empty_answer),
];

const RECIPIENTS: &str = "/accounts/*/shares/*/recipients";

fn many<const N: usize>() -> [String; N] {
    ids()
}

fn refs(accounts: &[String]) -> Vec<&str> {
    accounts.iter().map(String::as_str).collect()
}

fn count(scene: &Scene, call: &str) -> usize {
    tally(&scene.journal()).get(call).copied().unwrap_or(0)
}

/// A share of one recipient and one resource.
fn furnished(scene: &Scene, a: &str, x: &str, more: &str) {
    scene.apply(&scene.share("waf", &[a], &[x], more));
    scene.wait_ready("share", "waf");
}

fn one_call(world: &World) {
    let scene = world.scene();
    let [x] = ids();
    let accounts = many::<60>();
    furnished(&scene, &accounts[0], &x, "prune: true\nmaxRemovals: 100");
    let before = scene.changes().len();
    scene.apply(&scene.share("waf", &refs(&accounts), &[&x], "prune: true\nmaxRemovals: 100"));
    scene.wait_state("all of them", |shares| has(&shares[0], &refs(&accounts), &[&x]));
    scene.wait_ready("share", "waf");
    let changes: Vec<String> = scene.changes_since(before);
    assert_eq!(changes.len(), 1, "{changes:#?}");
    assert_eq!(count(&scene, &format!("PUT {RECIPIENTS}")), 1);
    scene.apply(&scene.share("waf", &refs(&accounts[..30]), &[&x], "prune: true\nmaxRemovals: 100"));
    scene.wait_state("half of them", |shares| has(&shares[0], &refs(&accounts[..30]), &[&x]));
    scene.wait_ready("share", "waf");
    sweeps(&scene, 2);
    only_share(&scene.state(), &refs(&accounts[..30]), &[&x]);
    let changes: Vec<String> = scene.changes_since(before);
    assert_eq!(changes.len(), 2, "{changes:#?}");
}

fn one_by_one(world: &World) {
    let scene = world.scene();
    let [x] = ids();
    let accounts = many::<30>();
    furnished(&scene, &accounts[0], &x, "");
    scene.apply(&scene.share("waf", &refs(&accounts), &[&x], ""));
    scene.wait_state("all of them", |shares| has(&shares[0], &refs(&accounts), &[&x]));
    assert_eq!(count(&scene, &format!("PUT {RECIPIENTS}")), 0);
    assert_eq!(count(&scene, &format!("POST {RECIPIENTS}")), 29);
}

fn others_stay(world: &World) {
    let scene = world.scene();
    let [x, by_object] = ids();
    let accounts = many::<60>();
    let more = "prune: true";
    scene.apply(&scene.share("waf", &refs(&accounts[..30]), &[&x], more));
    scene.apply(&scene.recipient("theirs", "waf", &by_object, ""));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "theirs");
    // All thirty are replaced by others: they are too many to go without a yes.
    scene.apply(&scene.share("waf", &refs(&accounts[30..]), &[&x], more));
    scene.wait_reason("share", "waf", "RemovalBlocked");
    let mut expected = refs(&accounts);
    expected.push(&by_object);
    scene.wait_state("the new ones beside the old ones", |shares| has(&shares[0], &expected, &[&x]));
    sweeps(&scene, 2);
    only_share(&scene.state(), &expected, &[&x]);
    assert_eq!(count(&scene, &format!("PUT {RECIPIENTS}")), 1, "{:#?}", scene.changes());
    assert_eq!(count(&scene, &format!("DELETE {RECIPIENTS}/*")), 0);
}

fn lost(world: &World, action: Action, puts: usize) {
    let scene = world.scene();
    let [x] = ids();
    let accounts = many::<30>();
    furnished(&scene, &accounts[0], &x, "prune: true");
    let rule = world.simulator.fault(Rule::once("PUT", RECIPIENTS, action).account(&scene.account));
    scene.apply(&scene.share("waf", &refs(&accounts), &[&x], "prune: true"));
    scene.wait_state("all of them", |shares| has(&shares[0], &refs(&accounts), &[&x]));
    scene.wait_ready("share", "waf");
    scene.wait_for("share", "waf", "no call is under way", |share| share["status"]["replacingSince"].is_null());
    sweeps(&scene, 2);
    only_share(&scene.state(), &refs(&accounts), &[&x]);
    assert_eq!(world.simulator.fired(rule), 1);
    assert_eq!(count(&scene, &format!("PUT {RECIPIENTS}")), puts, "{:#?}", scene.changes());
    assert_eq!(count(&scene, &format!("POST {RECIPIENTS}")), 0);
}

/// Two accounts are taken out and one more comes, by a line and by an object, while the call is still on its way.
fn late(world: &World) {
    let scene = world.scene();
    let [x, new, by_object] = ids();
    let accounts = many::<30>();
    let more = "prune: true\nmaxRemovals: 10";
    furnished(&scene, &accounts[0], &x, more);
    let rule = Rule::once("PUT", RECIPIENTS, Action::Late { ms: 3000 }).account(&scene.account);
    let rule = world.simulator.fault(rule);
    scene.apply(&scene.share("waf", &refs(&accounts), &[&x], more));
    scene.wait("the call was lost", || world.simulator.fired(rule) == 1);
    let mut wanted = refs(&accounts[..28]);
    wanted.push(&new);
    scene.apply(&scene.share("waf", &wanted, &[&x], more));
    scene.apply(&scene.recipient("theirs", "waf", &by_object, ""));
    wanted.push(&by_object);
    scene.wait_state("who is declared now", |shares| has(&shares[0], &wanted, &[&x]));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "theirs");
    sweeps(&scene, 2);
    let state = scene.state();
    let share = only_share(&state, &wanted, &[&x]);
    // Who came stayed: none of them has a second row.
    for account in &wanted {
        let rows = share.recipients.iter().filter(|row| row.account_id == *account).count();
        assert_eq!(rows, 1, "{account}: {:#?}\n{:#?}", share.recipients, scene.changes());
    }
}

/// Its row would come back by the call that is still on its way, and nobody would look after it.
fn late_for_an_object(world: &World) {
    let scene = world.scene();
    let [x, by_object] = ids();
    let accounts = many::<30>();
    furnished(&scene, &accounts[0], &x, "prune: true");
    scene.apply(&scene.recipient("theirs", "waf", &by_object, ""));
    scene.wait_ready("sharerecipient", "theirs");
    let rule = Rule::once("PUT", RECIPIENTS, Action::Late { ms: 3000 }).account(&scene.account);
    let rule = world.simulator.fault(rule);
    scene.apply(&scene.share("waf", &refs(&accounts), &[&x], "prune: true"));
    scene.wait("the call was lost", || world.simulator.fired(rule) == 1);
    scene.delete("sharerecipient", "theirs");
    scene.wait_gone("sharerecipient", "theirs");
    scene.wait_ready("share", "waf");
    scene.wait_for("share", "waf", "no call is under way", |share| share["status"]["replacingSince"].is_null());
    sweeps(&scene, 2);
    let state = scene.state();
    let share = only_share(&state, &refs(&accounts), &[&x]);
    let rows = share.recipients.iter().filter(|row| row.account_id == by_object).count();
    assert_eq!(rows, 1, "{:#?}\n{:#?}", share.recipients, scene.changes());
    let journal = scene.journal();
    let sent = |method: &str| journal.iter().filter(|entry| entry.method == method).map(|entry| entry.at).max();
    // It is over after the settle time, a quarter of that, and two seconds.
    let between = sent("DELETE").zip(sent("PUT")).map(|(removed, replaced)| removed - replaced);
    assert!(between >= Some(9_000_000), "removed {between:?} us after the call: {:#?}", scene.changes());
}

/// Two accounts are taken out while nobody knows whether the list was replaced: until they are gone the share is not Ready.
fn not_ready(world: &World) {
    let scene = world.scene();
    let [x] = ids();
    let accounts = many::<30>();
    furnished(&scene, &accounts[0], &x, "prune: true");
    let rule = Rule::once("PUT", RECIPIENTS, Action::ApplyDrop {}).account(&scene.account);
    let rule = world.simulator.fault(rule);
    scene.apply(&scene.share("waf", &refs(&accounts), &[&x], "prune: true"));
    scene.wait("the call was lost", || world.simulator.fired(rule) == 1);
    scene.apply(&scene.share("waf", &refs(&accounts[..28]), &[&x], "prune: true"));
    scene.wait_ready("share", "waf");
    only_share(&scene.state(), &refs(&accounts[..28]), &[&x]);
}

fn tried_again(world: &World) {
    let scene = world.scene();
    let [x] = ids();
    let accounts = many::<30>();
    furnished(&scene, &accounts[0], &x, "prune: true");
    // Says nothing about the list.
    let body = ErrorBody::default();
    let passing = Action::StatusBefore { status: 404, body, code: Some(10000), retry_after: None };
    world.simulator.fault(Rule::once("PUT", RECIPIENTS, passing).account(&scene.account));
    scene.apply(&scene.share("waf", &refs(&accounts), &[&x], "prune: true"));
    scene.wait_state("all of them", |shares| has(&shares[0], &refs(&accounts), &[&x]));
    scene.wait_ready("share", "waf");
    assert_eq!(count(&scene, &format!("PUT {RECIPIENTS}")), 2);
    assert_eq!(count(&scene, &format!("POST {RECIPIENTS}")), 0);
}

fn refused(world: &World) {
    let scene = world.scene();
    let [x] = ids();
    let accounts = many::<30>();
    furnished(&scene, &accounts[0], &x, "prune: true");
    let body = ErrorBody::default();
    let refusal = Action::StatusBefore { status: 400, body, code: Some(1002), retry_after: None };
    world.simulator.fault(Rule::always("PUT", RECIPIENTS, refusal).account(&scene.account));
    scene.apply(&scene.share("waf", &refs(&accounts), &[&x], "prune: true"));
    scene.wait_state("all of them", |shares| has(&shares[0], &refs(&accounts), &[&x]));
    scene.wait_ready("share", "waf");
    assert_eq!(count(&scene, &format!("PUT {RECIPIENTS}")), 1);
    assert_eq!(count(&scene, &format!("POST {RECIPIENTS}")), 29);
}

/// A gateway answers nothing but its own page.
fn unanswered(world: &World) {
    let scene = world.scene();
    let [x] = ids();
    let accounts = many::<30>();
    furnished(&scene, &accounts[0], &x, "prune: true");
    let page = Action::StatusBefore { status: 502, body: ErrorBody::Html, code: None, retry_after: None };
    world.simulator.fault(Rule::always("PUT", RECIPIENTS, page).account(&scene.account));
    scene.apply(&scene.share("waf", &refs(&accounts), &[&x], "prune: true"));
    scene.wait_for("share", "waf", "why nothing changes", |share| {
        let text = message(share);
        text.contains("to replace the recipients") && text.contains("502")
    });
    scene.wait_state("all of them", |shares| has(&shares[0], &refs(&accounts), &[&x]));
    scene.wait_ready("share", "waf");
    assert_eq!(count(&scene, &format!("PUT {RECIPIENTS}")), 2);
    assert_eq!(count(&scene, &format!("POST {RECIPIENTS}")), 29);
}

fn slow_list(world: &World) {
    let scene = world.own_scene();
    let _operator = own::start(&scene, &[("--sweep-interval", "1s"), ("--call-timeout", "20s")]);
    let [x] = ids();
    let accounts = many::<30>();
    furnished(&scene, &accounts[0], &x, "prune: true");
    // So that the list is too old by then; to read it again takes longer than it may be old when it is replaced.
    sweeps(&scene, 8);
    let rule = Rule::always("GET", RECIPIENTS, Action::DelayBefore { ms: 6000 }).account(&scene.account);
    let rule = world.simulator.fault(rule);
    scene.apply(&scene.share("waf", &refs(&accounts), &[&x], "prune: true"));
    scene.wait_state("all of them", |shares| has(&shares[0], &refs(&accounts), &[&x]));
    assert!(world.simulator.fired(rule) <= 3, "{} lists", world.simulator.fired(rule));
    world.simulator.remove_fault(rule);
    scene.wait_ready("share", "waf");
    assert_eq!(count(&scene, &format!("PUT {RECIPIENTS}")), 1);
}

fn empty_answer(world: &World) {
    let scene = world.scene();
    let [x] = ids();
    let accounts = many::<30>();
    furnished(&scene, &accounts[0], &x, "prune: true");
    let empty = Action::StatusAfter { status: 200, body: ErrorBody::Empty, code: None, retry_after: None };
    let rule = world.simulator.fault(Rule::always("PUT", RECIPIENTS, empty).account(&scene.account));
    scene.apply(&scene.share("waf", &refs(&accounts), &[&x], "prune: true"));
    scene.wait_state("all of them", |shares| has(&shares[0], &refs(&accounts), &[&x]));
    let share = scene.wait_ready("share", "waf");
    let (entries, _) = world.cluster.audit_since(0).expect("an audit log");
    let told = entries.iter().map(|entry| &entry["responseObject"]);
    let told = told.filter(|object| object["metadata"]["uid"] == share["metadata"]["uid"]);
    assert_eq!(told.filter(|object| object["status"]["conditions"].to_string().contains("Unavailable")).count(), 0);
    assert_eq!((world.simulator.fired(rule), count(&scene, &format!("POST {RECIPIENTS}"))), (1, 0));
}
