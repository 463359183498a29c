//! Whether one answer of Cloudflare that nothing else confirms is neither believed nor acted on.

use std::time::{Duration, Instant};

use cfshare_simulator::{Action, Edit, EmptyCreate, ErrorBody, Held, PostedAgain, Release, Rule, Seed, SeedShare};
use serde_json::{Value, json};

use crate::Test;
use crate::expect::{creates, has, only_share, sweeps, tally};
use crate::own;
use crate::scene::{PATIENCE, Scene, World, condition, ids, is_ready, message};

pub const TESTS: &[Test] = &[
    ("doubts: an object of a share that is shown as deleting once still removes its row", child_of_deleting),
    ("doubts: a share that is shown as deleted once is still deleted with its object", shown_deleted),
    ("doubts: an object of an adopted share that others delete goes", |w| child_of_deleted(w, false, &[])),
    ("doubts: an object of an adopted share that others delete goes, its Share too", |w| {
        child_of_deleted(w, true, &[])
    }),
    ("doubts: an object of an adopted share that others delete goes under --read-only", |w| {
        child_of_deleted(w, false, &[("--read-only", "")]);
    }),
    ("doubts: a create without resources that is refused once gives no excluded account the share", empty_once),
    ("doubts: that creates are refused without resources is not learned where they are refused with them", empty_twice),
    ("doubts: an account whose first list is empty gets no share a second time", empty_account),
    ("doubts: a create that was made though it was refused is not repeated", refused_and_made),
    ("doubts: a list of exclusions that is empty once changes nothing, and hides none that is to go", no_exclusions),
    ("doubts: a recipient that one list lacks is not added again where nothing is counted", uncounted),
    ("doubts: a removal whose answer was lost is seen where the row is wanted again", removed_and_wanted),
    ("doubts: a removal that arrives late is seen where the row is wanted again", removed_late),
    ("doubts: a removal whose answer says nothing is sent once", |w| removed_once(w, || Action::NullResult {})),
    ("doubts: a removal whose answer shows no change is sent once", |w| {
        let live = [("/result/association_status", json!("associated")), ("/result/status", json!("active"))];
        removed_once(w, || rewrite(live.clone().map(|(at, value)| (at.to_owned(), value)).to_vec(), &[]));
    }),
    ("doubts: three rows of one account, or resource, go together", three_rows),
    ("doubts: a released share that Cloudflare is deleting is not said to stay", released_while_deleting),
    ("doubts: a share that its create made with an unknown status is found", made_with_a_new_word),
    (
        "doubts: a failed recipient that is not retried while all recipients may be replaced is retried later",
        retried_later,
    ),
    ("doubts: a retry on request is made though the list of recipients cannot be read at first", |w| {
        let busy = || Action::StatusBefore { status: 503, body: ErrorBody::Html, code: None, retry_after: None };
        retried_after_failure(w, "GET", RECIPIENTS, busy);
    }),
    ("doubts: a retry on request is made though the removal is not allowed at first", |w| {
        retried_after_failure(w, "DELETE", &format!("{RECIPIENTS}/*"), || Action::Forbidden {});
    }),
    ("doubts: a retry on request is made though the removal gets no answer at first", |w| {
        let busy = || Action::StatusBefore { status: 503, body: ErrorBody::Html, code: None, retry_after: None };
        retried_after_failure(w, "DELETE", &format!("{RECIPIENTS}/*"), busy);
    }),
    ("doubts: a removal that a share refuses because it is being deleted is no refusal", removed_while_deleting),
];

const LIST: &str = "/accounts/*/shares";
const SHARE: &str = "/accounts/*/shares/*";
const RECIPIENTS: &str = "/accounts/*/shares/*/recipients";
const RESOURCES: &str = "/accounts/*/shares/*/resources";
const EXCLUDED: &str = "/accounts/*/shares/*/excluded-recipients";

fn rewrite(set: Vec<(String, Value)>, remove: &[&str]) -> Action {
    Action::Rewrite { set: set.into_iter().collect(), remove: remove.iter().map(|at| (*at).to_owned()).collect() }
}

/// A list without rows.
fn nothing() -> Action {
    let zero = |field: &str| (format!("/result_info/{field}"), json!(0));
    let set = vec![("/result".to_owned(), json!([])), zero("count"), zero("total_count"), zero("total_pages")];
    rewrite(set, &[])
}

fn refused() -> Action {
    Action::StatusBefore { status: 400, body: ErrorBody::Json, code: Some(1001), retry_after: None }
}

fn fault(scene: &Scene<'_>, rule: Rule) -> u64 {
    scene.world.simulator.fault(rule.account(&scene.account))
}

/// The first list of a process shows the only share with that status.
fn first_list_says(scene: &Scene<'_>, status: &str) -> u64 {
    let set = vec![("/result/0/status".to_owned(), json!(status))];
    fault(scene, Rule::once("GET", LIST, rewrite(set, &[])).querying("direction=asc"))
}

fn child_of_deleting(world: &World) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let [a, b, x] = ids();
    scene.apply(&(scene.recipient("bee", "waf", &b, "") + "---\n" + &scene.share("waf", &[&a], &[&x], "")));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "bee");
    own::crash(operator);
    scene.delete("sharerecipient", "bee");
    let rule = first_list_says(&scene, "deleting");
    // Until the object no longer waits for its Share to be deleted by the same command.
    let set = vec![("/result/status".to_owned(), json!("deleting"))];
    fault(&scene, Rule::once("GET", SHARE, rewrite(set, &[])).times(6));
    let _operator = own::start(&scene, &[]);
    scene.wait_gone("sharerecipient", "bee");
    assert_eq!(world.simulator.fired(rule), 1);
    only_share(&scene.state(), &[&a], &[&x]);
    scene.wait_ready("share", "waf");
}

fn shown_deleted(world: &World) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let [a, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    own::crash(operator);
    scene.delete("share", "waf");
    let rule = first_list_says(&scene, "deleted");
    let _operator = own::start(&scene, &[]);
    scene.wait_gone("share", "waf");
    assert_eq!(world.simulator.fired(rule), 1);
    scene.wait_nothing();
}

/// Others delete an adopted share, and its object goes once that is known; `retained`: its Share has left it before.
fn child_of_deleted(world: &World, retained: bool, flags: &[(&str, &str)]) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let [a, b, x] = ids();
    scene.apply(&scene.share("old", &[&a], &[&x], "deletionPolicy: Retain"));
    scene.wait_ready("share", "old");
    let id = scene.only().id;
    scene.kubectl(&["delete", "share", "old", "--timeout=60s"]);
    scene.apply(&scene.share("waf", &[&a], &[&x], &format!("shareID: {id}")));
    scene.apply(&scene.recipient("bee", "waf", &b, ""));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "bee");
    own::crash(operator);
    let _operator = own::start(&scene, &[&[("--sweep-interval", "500ms")][..], flags].concat());
    sweeps(&scene, 1);
    if retained {
        scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    }
    // Long enough for a read that says `deleting`.
    world.simulator.delays(Some(&scene.account), |delays| delays.delete_share_ms = Some(5_000));
    let before = world.simulator.last_request();
    world.simulator.edit(Edit::DeleteShare { share: id }).expect("an edit");
    let was_read = |status: u16| {
        let journal = world.simulator.journal(Some(&scene.account), before);
        journal.iter().any(|call| call.template == SHARE && call.status == Some(status))
    };
    if retained {
        sweeps(&scene, 2);
        scene.delete("sharerecipient", "bee");
    }
    scene.wait("a read that says deleting", || was_read(200));
    // Without its Share, the object may be gone by then.
    if !retained {
        scene.wait("a read that does not find it", || was_read(404));
    }
    scene.delete("sharerecipient", "bee");
    scene.wait_gone("sharerecipient", "bee");
}

/// A Share for an organization of the account and two members, the last of which it excludes.
fn excluding(scene: &Scene<'_>, name: &str, organization: &str, excluded: &[&str], x: &str) -> String {
    let list: Vec<String> = excluded.iter().map(|id| format!("{{accountID: {id}}}")).collect();
    scene.share(name, &[], &[x], &format!("organization: {{id: {organization}, excluded: [{}]}}", list.join(", ")))
}

fn organization(scene: &Scene<'_>) -> [String; 4] {
    let [organization, one, two, x] = ids();
    scene.world.simulator.organization(&organization, &[&scene.account, &one, &two]);
    [organization, one, two, x]
}

/// For each create that was sent, whether it carried resources.
fn carried(scene: &Scene<'_>) -> Vec<bool> {
    let journal = scene.journal();
    let sent = journal.iter().filter(|call| call.method == "POST" && call.template == LIST);
    sent.map(|call| call.body["resources"].as_array().is_some_and(|rows| !rows.is_empty())).collect()
}

fn is_told_of_exclusions(scene: &Scene<'_>, name: &str) -> bool {
    scene.events(name).iter().any(|(reason, _)| reason == "ExclusionsFollow")
}

fn empty_once(world: &World) {
    let scene = world.scene();
    world.simulator.switches(Some(&scene.account), |switches| switches.empty_create = EmptyCreate::Accepted);
    let [organization, _, two, x] = organization(&scene);
    let rule = fault(&scene, Rule::once("POST", LIST, refused()));
    for name in ["waf", "gateway"] {
        scene.apply(&excluding(&scene, name, &organization, &[&two], &x));
        scene.wait_ready("share", name);
        assert!(!is_told_of_exclusions(&scene, name));
    }
    assert_eq!(world.simulator.fired(rule), 1);
    assert_eq!(carried(&scene), [false, false, false]);
}

fn empty_twice(world: &World) {
    let scene = world.scene();
    world.simulator.switches(Some(&scene.account), |switches| switches.empty_create = EmptyCreate::Accepted);
    let [organization, _, two, x] = organization(&scene);
    let rule = fault(&scene, Rule::once("POST", LIST, refused()).times(3));
    scene.apply(&excluding(&scene, "waf", &organization, &[&two], &x));
    scene.wait_reason("share", "waf", "Rejected");
    assert_eq!(world.simulator.fired(rule), 3);
    scene.ask("share", "waf");
    scene.wait_ready("share", "waf");
    assert_eq!(carried(&scene), [false, false, true, false]);
    assert!(!is_told_of_exclusions(&scene, "waf"));
}

fn empty_account(world: &World) {
    let scene = world.own_scene();
    let [a, x] = ids();
    let list = vec![SeedShare { name: "waf".into(), recipients: vec![], resources: vec![], organization: false }];
    let (account, prefix) = (scene.account.clone(), String::new());
    let seeded = world.simulator.seed(Seed { account, shares: 0, recipients: 0, resources: 0, prefix, list });
    seeded.expect("a seed");
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    // A younger object has somebody look once more.
    let applied = Instant::now();
    scene.wait("the object to be old", || applied.elapsed() > Duration::from_secs(7));
    let rule = fault(&scene, Rule::once("GET", LIST, nothing()));
    let _operator = own::start(&scene, &[]);
    scene.wait_reason("share", "waf", "NameTaken");
    assert_eq!((world.simulator.fired(rule), creates(&scene), scene.live().len()), (1, 0, 1));
}

fn refused_and_made(world: &World) {
    for (status, code) in [(400, 1001), (403, 10000), (429, 10100)] {
        let scene = world.scene();
        let action = Action::StatusAfter { status, body: ErrorBody::Json, code: Some(code), retry_after: None };
        let rule = fault(&scene, Rule::once("POST", LIST, action));
        let [a, b, x] = ids();
        scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
        let share = scene.wait_reason("share", "waf", "NameTaken");
        assert!(message(&share).contains(&scene.only().id), "{status}: {}", message(&share));
        assert_eq!((world.simulator.fired(rule), creates(&scene)), (1, 1), "{status}: {:#?}", scene.changes());
    }
}

fn no_exclusions(world: &World) {
    let scene = world.own_scene();
    let flags = [("--sweep-interval", "10m")];
    let operator = own::start(&scene, &flags);
    let [organization, _, two, x] = organization(&scene);
    scene.apply(&excluding(&scene, "waf", &organization, &[&two], &x));
    scene.wait_ready("share", "waf");
    let settled = Instant::now();
    scene.wait("reads need not lag any more", || settled.elapsed() > Duration::from_secs(5));
    let before = scene.changes().len();
    let rule = fault(&scene, Rule::once("GET", EXCLUDED, nothing()));
    let share = scene.ask("share", "waf");
    assert!(is_ready(&share), "{share:#}");
    assert_eq!((world.simulator.fired(rule), scene.changes_since(before)), (1, vec![]));
    own::crash(operator);
    let rule = fault(&scene, Rule::once("GET", EXCLUDED, nothing()));
    scene.apply(&excluding(&scene, "waf", &organization, &[], &x));
    let _operator = own::start(&scene, &flags);
    scene.wait_state("no exclusion", |shares| shares[0].excluded.is_empty());
    scene.wait_ready("share", "waf");
    assert_eq!(world.simulator.fired(rule), 1);
}

fn uncounted(world: &World) {
    let scene = world.own_scene();
    let _operator = own::start(&scene, &[]);
    world.simulator.switches(Some(&scene.account), |s| s.live_recipient_again = PostedAgain::SecondRow);
    let words = ["associating", "associated", "disassociating", "disassociated"];
    for (path, at) in [(LIST, "/result/0"), (SHARE, "/result")] {
        let remove = words.map(|word| format!("{at}/{word}_recipient_count"));
        let action = Action::Rewrite { set: Default::default(), remove: remove.to_vec() };
        fault(&scene, Rule::always("GET", path, action));
    }
    let [a, b, x] = ids();
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    scene.wait_ready("share", "waf");
    let settled = Instant::now();
    scene.wait("reads need not lag any more", || settled.elapsed() > Duration::from_secs(5));
    let remove = ["/result/1", "/result_info/total_count", "/result_info/total_pages", "/result_info/count"];
    for action in [rewrite(vec![], &remove), nothing()] {
        let rule = fault(&scene, Rule::once("GET", RECIPIENTS, action));
        let share = scene.ask("share", "waf");
        assert!(is_ready(&share), "{share:#}");
        assert_eq!(world.simulator.fired(rule), 1);
        sweeps(&scene, 1);
        only_share(&scene.state(), &[&a, &b], &[&x]);
    }
    // One that is gone from two lists is gone.
    let (share, recipient) = (scene.only().id, b.clone());
    world.simulator.edit(Edit::EraseRecipient { share, recipient }).expect("an edit");
    scene.ask("share", "waf");
    scene.wait_state("it again", |shares| has(&shares[0], &[&a, &b], &[&x]));
}

fn held(scene: &Scene<'_>) -> Held {
    let ours = |held: &Held| held.account.as_deref() == Some(&scene.account);
    scene.world.simulator.wait_held(PATIENCE, ours).expect("a request on its way")
}

/// A recipient, and a resource, whose removal is held; then they are wanted again.
fn removal_held<'a>(scene: &Scene<'a>, path: &str, action: Action) -> (Held, [String; 4]) {
    let [a, b, x, y] = ids();
    scene.apply(&scene.share("waf", &[&a, &b], &[&x, &y], ""));
    scene.wait_ready("share", "waf");
    fault(scene, Rule::once("DELETE", path, action));
    let (recipients, resources): (&[&str], &[&str]) =
        if path.contains("recipients") { (&[&a], &[&x, &y]) } else { (&[&a, &b], &[&x]) };
    scene.apply(&scene.share("waf", recipients, resources, ""));
    let held = held(scene);
    scene.apply(&scene.share("waf", &[&a, &b], &[&x, &y], ""));
    (held, [a, b, x, y])
}

fn removed_and_wanted(world: &World) {
    for path in [format!("{RECIPIENTS}/*"), format!("{RESOURCES}/*")] {
        let scene = world.own_scene();
        // No sweep tells of it.
        let _operator = own::start(&scene, &[("--sweep-interval", "10m")]);
        let (held, [a, b, x, y]) = removal_held(&scene, &path, Action::HoldBefore {});
        world.simulator.release(held.id, Release::ApplyDrop).expect("it goes on");
        scene.wait_state("it gone", |shares| !has(&shares[0], &[&a, &b], &[&x, &y]));
        scene.wait_state("it again", |shares| has(&shares[0], &[&a, &b], &[&x, &y]));
        scene.wait_ready("share", "waf");
        only_share(&scene.state(), &[&a, &b], &[&x, &y]);
    }
}

fn removed_late(world: &World) {
    for path in [format!("{RECIPIENTS}/*"), format!("{RESOURCES}/*")] {
        let scene = world.own_scene();
        let _operator = own::start(&scene, &[("--sweep-interval", "10m"), ("--call-timeout", "1s")]);
        let (held, [a, b, x, y]) = removal_held(&scene, &path, Action::HoldBefore {});
        // The call has timed out, and the row is there.
        scene.wait_ready("share", "waf");
        world.simulator.release(held.id, Release::Go).expect("it goes on");
        scene.wait_state("it gone", |shares| !has(&shares[0], &[&a, &b], &[&x, &y]));
        scene.wait_state("it again", |shares| has(&shares[0], &[&a, &b], &[&x, &y]));
        scene.wait_ready("share", "waf");
        only_share(&scene.state(), &[&a, &b], &[&x, &y]);
    }
}

/// Lists show the row for a while as it was before.
fn removed_once(world: &World, answer: impl Fn() -> Action) {
    let scene = world.scene();
    let [a, b, c, x, y, z] = ids();
    scene.apply(&(scene.recipient("cee", "waf", &c, "") + "---\n" + &scene.resource("zed", "waf", &z, "")));
    scene.apply(&scene.share("waf", &[&a, &b], &[&x, &y], ""));
    for (kind, name) in [("share", "waf"), ("sharerecipient", "cee"), ("shareresource", "zed")] {
        scene.wait_ready(kind, name);
    }
    world.simulator.switches(Some(&scene.account), |s| (s.list_lag_ms, s.get_lag_ms) = (1000, 1000));
    let rules =
        [RECIPIENTS, RESOURCES].map(|path| fault(&scene, Rule::always("DELETE", &format!("{path}/*"), answer())));
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.kubectl(&["delete", "sharerecipient,shareresource", "--all", "--timeout=60s"]);
    scene.wait_state("less", |shares| has(&shares[0], &[&a], &[&x]));
    scene.wait_ready("share", "waf");
    assert_eq!(rules.map(|rule| world.simulator.fired(rule)), [2, 2], "{:#?}", scene.changes());
}

fn three_rows(world: &World) {
    let scene = world.scene();
    let [a, b, x, y] = ids();
    scene.apply(&scene.share("waf", &[&a, &b], &[&x, &y], ""));
    scene.wait_ready("share", "waf");
    let share = scene.only().id;
    for _ in 0..2 {
        let recipient = Edit::AddRecipient { share: share.clone(), account: b.clone() };
        let (kind, id) = ("custom-ruleset".to_owned(), y.clone());
        let resource = Edit::AddResource { share: share.clone(), resource_type: kind, id, account: None, meta: None };
        for edit in [recipient, resource] {
            world.simulator.edit(edit).expect("an edit");
        }
    }
    scene.ask("share", "waf");
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_state("all gone", |shares| has(&shares[0], &[&a], &[&x]));
    scene.wait_ready("share", "waf");
    let calls = tally(&scene.journal());
    assert_eq!((calls[&format!("DELETE {RECIPIENTS}/*")], calls[&format!("DELETE {RESOURCES}/*")]), (3, 3));
}

fn released_while_deleting(world: &World) {
    let scene = world.scene();
    let [a, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    world.simulator.delays(Some(&scene.account), |delays| delays.delete_share_ms = None);
    scene.delete("share", "waf");
    scene.wait_for("share", "waf", "waited for Cloudflare", |share| {
        message(share).contains("is being deleted by Cloudflare")
    });
    scene.kubectl(&["patch", "share", "waf", "--type", "merge", "-p", r#"{"spec":{"deletionPolicy":"Retain"}}"#]);
    scene.wait_gone("share", "waf");
    let events = scene.wait_event("waf", |reason, _| reason == "Retained");
    let told = |text: &str| text.contains("was asked to delete share") && !text.contains("stays at Cloudflare");
    assert!(events.iter().any(|(reason, text)| reason == "Retained" && told(text)), "{events:?}");
}

fn made_with_a_new_word(world: &World) {
    let scene = world.scene();
    fault(&scene, Rule::once("POST", LIST, Action::HoldAfter {}));
    let [a, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    let held = held(&scene);
    let share = scene.only().id;
    let set = |status: Option<&str>| {
        let status = status.map(str::to_owned);
        let edit = Edit::SetShareStatus { share: share.clone(), unlisted: status.is_some(), status };
        world.simulator.edit(edit).expect("an edit");
    };
    set(Some("provisioning"));
    world.simulator.release(held.id, Release::ApplyDrop).expect("it goes on");
    scene.wait_for("share", "waf", "found its share", |object| object["status"]["shareID"] == share.as_str());
    set(None);
    scene.wait_ready("share", "waf");
    assert_eq!((creates(&scene), scene.live().len()), (1, 1));
}

fn retried_later(world: &World) {
    let scene = world.own_scene();
    let _operator = own::start(&scene, &[("--settle-time", "16s"), ("--sweep-interval", "10m")]);
    let accounts: [String; 30] = ids();
    let all: Vec<&str> = accounts.iter().map(String::as_str).collect();
    let [failing, x] = ids();
    world.simulator.account(&failing, |account| account.entitled = false);
    let more = "prune: true\nmaxRemovals: 100";
    scene.apply(
        &(scene.recipient("failing", "waf", &failing, "") + "---\n" + &scene.share("waf", &all[..1], &[&x], more)),
    );
    let failed = |object: &Value| condition(object, "Stalled").is_some_and(|c| c["reason"] == "RecipientFailed");
    scene.wait_for("sharerecipient", "failing", "told of its failure", failed);
    let rule = fault(&scene, Rule::once("PUT", RECIPIENTS, Action::Drop {}));
    scene.apply(&scene.share("waf", &all, &[&x], more));
    scene.wait("the call was lost", || world.simulator.fired(rule) == 1);
    let lost = Instant::now();
    scene.ask("sharerecipient", "failing");
    assert!(!tally(&scene.journal()).contains_key(&format!("DELETE {RECIPIENTS}/*")), "{:#?}", scene.changes());
    // The list that is sent again adds it.
    scene.wait("the retry", || removed_and_added(&scene).0 == 1);
    // A quarter more than the settle time.
    assert!(lost.elapsed() >= Duration::from_secs(20), "{:?}", lost.elapsed());
}

/// How many recipients were removed, and how many added one by one.
fn removed_and_added(scene: &Scene<'_>) -> (usize, usize) {
    let journal = scene.journal();
    let made = |method: &str, path: &str| {
        journal.iter().filter(|e| e.method == method && e.template == path && e.applied == 1).count()
    };
    (made("DELETE", &format!("{RECIPIENTS}/*")), made("POST", RECIPIENTS))
}

fn retried_after_failure(world: &World, method: &str, path: &str, action: impl Fn() -> Action) {
    for kind in ["share", "sharerecipient"] {
        let scene = world.scene();
        let [a, failing, x] = ids();
        world.simulator.account(&failing, |account| account.entitled = false);
        let name = if kind == "share" { "waf" } else { "failing" };
        if kind == "share" {
            scene.apply(&scene.share("waf", &[&a, &failing], &[&x], ""));
        } else {
            scene.apply(&scene.recipient("failing", "waf", &failing, ""));
            scene.apply(&scene.share("waf", &[&a], &[&x], ""));
        }
        let failed = |object: &Value| condition(object, "Stalled").is_some_and(|c| c["reason"] == "RecipientFailed");
        scene.wait_for(kind, name, "told of its failure", failed);
        let before = removed_and_added(&scene);
        let rule = fault(&scene, Rule::once(method, path, action()));
        scene.ask(kind, name);
        let once = (before.0 + 1, before.1 + 1);
        scene.wait("the retry", || removed_and_added(&scene) == once);
        scene.wait_for(kind, name, "told of its failure", failed);
        sweeps(&scene, 2);
        assert_eq!((world.simulator.fired(rule), removed_and_added(&scene)), (1, once), "{:#?}", scene.changes());
    }
}

fn removed_while_deleting(world: &World) {
    let scene = world.own_scene();
    // No sweep tells that others delete it.
    let _operator = own::start(&scene, &[("--sweep-interval", "10m")]);
    let [a, b, x] = ids();
    scene.apply(&scene.share("old", &[&a], &[&x], "deletionPolicy: Retain"));
    scene.wait_ready("share", "old");
    let share = scene.only().id;
    scene.kubectl(&["delete", "share", "old", "--timeout=60s"]);
    // An adopted share is not recreated.
    scene.apply(&scene.share("waf", &[&a], &[&x], &format!("shareID: {share}")));
    scene.apply(&scene.recipient("bee", "waf", &b, ""));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "bee");
    world.simulator.delays(Some(&scene.account), |delays| delays.delete_share_ms = Some(3_000));
    world.simulator.edit(Edit::DeleteShare { share }).expect("an edit");
    // The list is as before.
    let set = (0..2).map(|n| (format!("/result/{n}/association_status"), json!("associated"))).collect();
    fault(&scene, Rule::always("GET", RECIPIENTS, rewrite(set, &[])));
    let deleted = Instant::now();
    scene.delete("sharerecipient", "bee");
    scene.wait_gone("sharerecipient", "bee");
    let refused = scene.journal().iter().filter(|e| e.method == "DELETE" && e.status == Some(409)).count();
    assert_eq!(refused, 1, "{:#?}", scene.changes());
    // Sooner than what is refused is tried again.
    assert!(deleted.elapsed() < Duration::from_secs(45), "{:?}", deleted.elapsed());
    let events = scene.events("bee");
    assert!(events.iter().all(|(reason, _)| reason != "Rejected"), "{events:?}");
}
