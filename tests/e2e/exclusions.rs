//! Whether a Share says so for as long as an account receives it that the manifest excludes.

use std::time::{Duration, Instant};

use cfshare_simulator::{Action, Edit, EmptyCreate, ErrorBody, IncludedResources, Release, Rule};
use serde_json::Value;

use crate::Test;
use crate::own;
use crate::scene::{Scene, World, condition, ids, is_ready, message, metrics};

pub const TESTS: &[Test] = &[
    ("exclusions: a forbidden exclusion is told, and tried again until Cloudflare accepts it", forbidden),
    ("exclusions: a rejected exclusion is told, and made on request once Cloudflare accepts it", rejected),
    ("exclusions: one that ends in an error of the server is told", unavailable),
    ("exclusions: between create and exclusion the Share says who receives it", window),
    ("exclusions: an exclusion that does not stay is told, whatever Cloudflare answered", does_not_stay),
    ("exclusions: a refusal does not keep the rest of the Share from being done", rest_goes_on),
    ("exclusions: those that wait for a person are RemovalBlocked, and counted as not in force", held),
    ("exclusions: an exclusion that Cloudflare does not take back gives nobody the share", withdrawn),
    ("exclusions: a share deleted by hand before another account is excluded is recreated", deleted),
    ("exclusions: a name that is taken does not mean that a share needs resources to be created", conflict),
    ("exclusions: a list of exclusions that is not found for a while is no refusal", not_found),
    ("exclusions: lists that are null while they are empty keep nobody from being excluded", |w| {
        null_lists(w, EmptyCreate::Refused);
    }),
    ("exclusions: lists that are null while they are empty keep nobody from being excluded first", |w| {
        null_lists(w, EmptyCreate::Accepted);
    }),
    ("exclusions: resources wait for an exclusion of unknown outcome", |w| come_first(w, 503, false)),
    ("exclusions: resources wait for an exclusion that was refused", |w| come_first(w, 400, false)),
    ("exclusions: the resource of an object waits for an exclusion of unknown outcome", |w| come_first(w, 503, true)),
    ("exclusions: one that was withdrawn a moment ago, and is shown all the same, is made again", made_again),
];

const EXCLUDED: &str = "/accounts/*/shares/*/excluded-recipients";
const RESOURCES: &str = "/accounts/*/shares/*/resources";
const REASON: &str = "ExclusionsNotInForce";

fn share(scene: &Scene, organization: &str, excluded: &[&str], resources: &[&str]) -> String {
    let list: Vec<String> = excluded.iter().map(|id| format!("{{accountID: {id}, name: lab-{}}}", &id[..4])).collect();
    let more = format!("organization: {{id: {organization}, excluded: [{}]}}", list.join(", "));
    scene.share("waf", &[], resources, &more)
}

/// An organization whose members receive a share at once: three accounts and a resource of it.
fn organization(scene: &Scene) -> (String, [String; 3], String) {
    let [organization, one, two, three, first] = ids();
    let simulator = &scene.world.simulator;
    simulator.organization(&organization, &[&scene.account, &one, &two, &three]);
    simulator.delays(Some(&scene.account), |delays| delays.associate_ms = Some(0));
    (organization, [one, two, three], first)
}

fn refuse(scene: &Scene, action: Action) -> u64 {
    scene.world.simulator.fault(Rule::always("POST", EXCLUDED, action).account(&scene.account))
}

fn bad_request() -> Action {
    Action::StatusBefore { status: 400, body: ErrorBody::Json, code: Some(1001), retry_after: None }
}

/// Account, state and message of each exception.
fn exceptions(object: &Value) -> Vec<(&str, &str, &str)> {
    let text = |entry: &'_ Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned().leak() as &str;
    let entries = object["status"]["exceptions"].as_array().into_iter().flatten();
    entries.map(|entry| (text(entry, "accountID"), text(entry, "state"), text(entry, "message"))).collect()
}

fn conflict(world: &World) {
    let scene = world.scene();
    let (organization, [one, ..], first) = organization(&scene);
    world.simulator.switches(Some(&scene.account), |switches| switches.empty_create = EmptyCreate::Accepted);
    let taken = Action::StatusBefore { status: 409, body: ErrorBody::Json, code: Some(1009), retry_after: None };
    let rule = world.simulator.fault(Rule::once("POST", "/accounts/*/shares", taken).account(&scene.account));
    scene.apply(&share(&scene, &organization, &[&one], &[&first]));
    let refused = scene.wait_reason("share", "waf", "Rejected");
    assert!(message(&refused).contains("refuses to create this share: "), "{}", message(&refused));
    assert_eq!(world.simulator.fired(rule), 1);
    scene.ask("share", "waf");
    scene.wait_ready("share", "waf");
    let creates = scene.journal().into_iter().filter(|call| call.method == "POST" && call.path.ends_with("/shares"));
    let sent: Vec<Value> = creates.map(|call| call.body["resources"].clone()).collect();
    assert!(sent.len() == 2 && sent.iter().all(|resources| resources.as_array().is_none_or(Vec::is_empty)), "{sent:?}");
    assert!(!scene.events("waf").iter().any(|(reason, _)| reason == "ExclusionsFollow"));
}

/// The Share says that these accounts receive it though they are excluded.
fn told(scene: &Scene, accounts: &[&str]) -> Value {
    let object = scene.wait_for("share", "waf", "named the accounts", |share| {
        let listed = exceptions(share);
        let ready = condition(share, "Ready").is_some_and(|r| r["reason"] == REASON && r["status"] == "False");
        ready
            && accounts
                .iter()
                .all(|id| listed.iter().any(|(account, state, _)| account == id && *state == "not excluded"))
    });
    for account in accounts {
        assert!(message(&object).contains(account), "{}", message(&object));
    }
    assert!(object["status"]["firstReadyAt"].is_null(), "it never was as declared: {object:#}");
    object
}

fn metric(scene: &Scene) -> String {
    format!(r#"cfshare_exclusions_not_in_force{{share_namespace="{}",share="waf"}} "#, scene.namespace)
}

fn counted(scene: &Scene, count: usize) {
    let line = format!("{}{count}", metric(scene));
    scene.wait("the metric", || metrics(&scene.world.operator.log()).lines().any(|l| l == line));
}

fn not_counted(scene: &Scene) {
    let line = metric(scene);
    scene.wait("no metric", || !metrics(&scene.world.operator.log()).contains(&line));
}

fn receives(scene: &Scene, account: &str) -> bool {
    scene.only().live_recipients().iter().any(|row| row.account_id == account)
}

fn forbidden(world: &World) {
    let scene = world.scene();
    let (organization, [one, two, three], first) = organization(&scene);
    let rule = refuse(&scene, Action::Forbidden {});
    scene.apply(&share(&scene, &organization, &[&two, &three], &[&first]));
    told(&scene, &[&two, &three]);
    let object = scene.wait_for("share", "waf", "told of the refusal", |share| {
        exceptions(share).iter().all(|(_, _, message)| message.contains("10000"))
    });
    assert!(message(&object).contains("10000"), "{}", message(&object));
    // A single refusal passes; one that lasts needs a person.
    let object = scene.wait_for("share", "waf", "stalled", |share| condition(share, "Stalled").is_some());
    assert_eq!(condition(&object, "Stalled").expect("it")["reason"], REASON);
    assert!(message(&object).contains("kubectl annotate"), "{}", message(&object));
    counted(&scene, 2);
    assert!(receives(&scene, &two) && receives(&scene, &three));
    // One call is enough to learn that.
    let tries =
        |id: &str| scene.journal().iter().filter(|e| e.method == "POST" && e.body.to_string().contains(id)).count();
    assert!((tries(&two) > 0) != (tries(&three) > 0), "{:#?}", scene.changes());
    // A further try that comes to the same says nothing new.
    let (before, since) =
        (tries(&two) + tries(&three), condition(&object, "Stalled").expect("it")["lastTransitionTime"].clone());
    scene.wait("two more tries", || tries(&two) + tries(&three) >= before + 2);
    let object = scene.get("share", "waf").expect("it");
    assert_eq!(condition(&object, "Stalled").map(|stalled| &stalled["lastTransitionTime"]), Some(&since), "{object:#}");
    assert_eq!(scene.events("waf").iter().filter(|(reason, _)| reason == REASON).count(), 1);
    world.simulator.remove_fault(rule);
    scene.ask("share", "waf");
    let object = scene.wait_ready("share", "waf");
    assert_eq!(exceptions(&object), []);
    assert!(object["status"]["firstReadyAt"].is_string());
    assert_eq!(scene.only().live_recipients().iter().map(|row| &row.account_id).collect::<Vec<_>>(), [&one]);
    not_counted(&scene);
}

fn rejected(world: &World) {
    let scene = world.scene();
    let (organization, [one, two, _], first) = organization(&scene);
    let rule = refuse(&scene, bad_request());
    scene.apply(&share(&scene, &organization, &[&two], &[&first]));
    let object = told(&scene, &[&two]);
    let object = if condition(&object, "Stalled").is_some() {
        object
    } else {
        scene.wait_for("share", "waf", "stalled", |share| condition(share, "Stalled").is_some())
    };
    assert_eq!(condition(&object, "Stalled").expect("it")["reason"], REASON);
    assert!(exceptions(&object)[0].2.contains("1001"), "{object:#}");
    scene.wait_event("waf", |reason, text| reason == REASON && text.contains(&two));
    counted(&scene, 1);
    // It stays told, and costs no call, while nothing changes.
    let before = scene.changes().len();
    scene.wait_sweep();
    assert_eq!(scene.changes_since(before), [""; 0]);
    told(&scene, &[&two]);
    world.simulator.remove_fault(rule);
    scene.ask("share", "waf");
    scene.wait_ready("share", "waf");
    assert!(receives(&scene, &one) && !receives(&scene, &two));
    not_counted(&scene);
    scene.wait_event("waf", |reason, _| reason == "Associated");
}

fn unavailable(world: &World) {
    let scene = world.scene();
    let (organization, [_, two, _], first) = organization(&scene);
    let down = Action::StatusBefore { status: 503, body: ErrorBody::Html, code: None, retry_after: None };
    let rule = refuse(&scene, down);
    scene.apply(&share(&scene, &organization, &[&two], &[&first]));
    told(&scene, &[&two]);
    let refused = world.simulator.wait_request(Duration::from_secs(30), |entry| {
        entry.account.as_deref() == Some(&scene.account) && entry.status == Some(503)
    });
    refused.expect("an exclusion that is refused");
    told(&scene, &[&two]);
    world.simulator.remove_fault(rule);
    scene.wait_ready("share", "waf");
    assert!(!receives(&scene, &two));
}

fn window(world: &World) {
    let scene = world.scene();
    let (organization, [_, two, _], first) = organization(&scene);
    world.simulator.fault(Rule::once("POST", EXCLUDED, Action::HoldBefore {}).account(&scene.account));
    scene.apply(&share(&scene, &organization, &[&two], &[&first]));
    let ours = |held: &cfshare_simulator::Held| held.account.as_deref() == Some(&scene.account);
    let held = world.simulator.wait_held(Duration::from_secs(30), ours).expect("an exclusion on its way");
    assert!(receives(&scene, &two));
    let object = told(&scene, &[&two]);
    assert!(condition(&object, "Stalled").is_none() && condition(&object, "Reconciling").is_some(), "{object:#}");
    counted(&scene, 1);
    world.simulator.release(held.id, Release::Go).expect("it goes on");
    scene.wait_ready("share", "waf");
    assert!(!receives(&scene, &two));
    not_counted(&scene);
}

fn does_not_stay(world: &World) {
    let scene = world.scene();
    let (organization, [_, two, _], first) = organization(&scene);
    scene.apply(&share(&scene, &organization, &[&two], &[&first]));
    scene.wait_ready("share", "waf");
    let id = scene.only().id;
    for _ in 0..3 {
        scene.wait_state("the exclusion", |shares| shares[0].excluded == [two.clone()]);
        world.simulator.edit(Edit::Include { share: id.clone(), account: two.clone() }).expect("an edit");
    }
    let object = scene.wait_for("share", "waf", "named the account", |share| {
        condition(share, "Stalled").is_some_and(|stalled| stalled["reason"] == REASON)
    });
    assert!(message(&object).contains("written twice") && exceptions(&object)[0].0 == two, "{object:#}");
    counted(&scene, 1);
}

fn rest_goes_on(world: &World) {
    let scene = world.scene();
    let (organization, [_, two, _], first) = organization(&scene);
    let [second] = ids();
    for action in [Action::Forbidden {}, bad_request()] {
        let rule = refuse(&scene, action);
        scene.apply(&share(&scene, &organization, &[&two], &[&first]));
        told(&scene, &[&two]);
        // A resource comes, and the one before goes: nobody waits for the exclusion.
        scene.apply(&share(&scene, &organization, &[&two], &[&second]));
        scene.wait_state("the other resource", |shares| {
            shares.iter().any(|share| share.live() && crate::expect::has(share, &live(share), &[&second]))
        });
        told(&scene, &[&two]);
        scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
        world.simulator.remove_fault(rule);
    }
}

fn live(share: &cfshare_simulator::ShareState) -> Vec<&str> {
    share.live_recipients().into_iter().map(|row| row.account_id.as_str()).collect()
}

fn held(world: &World) {
    let scene = world.scene();
    let (organization, [one, two, three], first) = organization(&scene);
    scene.apply(&share(&scene, &organization, &[], &[&first]));
    scene.wait_ready("share", "waf");
    scene.apply(&share(&scene, &organization, &[&one, &two, &three], &[&first]));
    let object = scene.wait_reason("share", "waf", "RemovalBlocked");
    let listed = exceptions(&object);
    assert_eq!(listed.len(), 3, "{object:#}");
    let until = "the account receives the share until someone confirms the exclusion";
    assert!(listed.iter().all(|(_, state, text)| (*state, *text) == ("exclusion blocked", until)), "{listed:?}");
    counted(&scene, 3);
    assert_eq!(scene.only().excluded, [""; 0]);
}

fn withdrawn(world: &World) {
    let scene = world.scene();
    let (organization, [_, two, _], first) = organization(&scene);
    scene.apply(&share(&scene, &organization, &[&two], &[&first]));
    scene.wait_ready("share", "waf");
    let rule = Rule::always("DELETE", "/accounts/*/shares/*/excluded-recipients/*", bad_request());
    world.simulator.fault(rule.account(&scene.account));
    scene.apply(&share(&scene, &organization, &[], &[&first]));
    let object = scene.wait_reason("share", "waf", "Rejected");
    assert!(message(&object).contains(&two), "{}", message(&object));
    not_counted(&scene);
    assert!(!is_ready(&object) && !receives(&scene, &two));
}

/// A share with an organization that leaves out the first of these accounts.
fn excluding(scene: &Scene<'_>) -> (String, [String; 2], String) {
    let (organization, [_, two, three], first) = organization(scene);
    scene.apply(&share(scene, &organization, &[&two], &[&first]));
    scene.wait_ready("share", "waf");
    (organization, [two, three], first)
}

fn deleted(world: &World) {
    let scene = world.own_scene();
    // No sweep shows that it is gone.
    let _operator = own::start(&scene, &[("--sweep-interval", "10m")]);
    let (organization, [two, three], first) = excluding(&scene);
    let id = scene.only().id;
    world.simulator.edit(Edit::VanishShare { share: id.clone() }).expect("an edit");
    scene.apply(&share(&scene, &organization, &[&two, &three], &[&first]));
    scene.wait_for("share", "waf", "became Ready with a new share", |share| {
        is_ready(share) && share["status"]["shareID"] != id.as_str()
    });
    assert!(!receives(&scene, &two) && !receives(&scene, &three));
    let events = scene.events("waf");
    assert!(events.iter().all(|(reason, _)| reason != "Rejected"), "{events:?}");
}

fn not_found(world: &World) {
    let scene = world.own_scene();
    let _operator = own::start(&scene, &[("--sweep-interval", "10m")]);
    let (organization, [two, three], first) = excluding(&scene);
    let id = scene.only().id;
    let action = Action::StatusBefore { status: 404, body: ErrorBody::Json, code: Some(1004), retry_after: None };
    let rule = world.simulator.fault(Rule::always("GET", EXCLUDED, action).account(&scene.account));
    scene.apply(&share(&scene, &organization, &[&two, &three], &[&first]));
    let object = scene.wait_reason("share", "waf", "Unavailable");
    assert!(message(&object).contains("not found"), "{}", message(&object));
    world.simulator.remove_fault(rule);
    // The share is the same, and nobody has to ask for it.
    let object = scene.wait_ready("share", "waf");
    assert_eq!(object["status"]["shareID"], id.as_str());
    assert!(!receives(&scene, &two) && !receives(&scene, &three));
}

fn null_lists(world: &World, empty_create: EmptyCreate) {
    let scene = world.scene();
    let (organization, [one, two, _], first) = organization(&scene);
    world.simulator.switches(Some(&scene.account), |switches| {
        (switches.empty_create, switches.included_resources) = (empty_create, IncludedResources::EmptyLeftOut);
    });
    let null =
        || Action::Rewrite { set: [("/result".into(), Value::Null)].into(), remove: vec!["/result_info".into()] };
    let rules = [EXCLUDED, RESOURCES]
        .map(|path| world.simulator.fault(Rule::always("GET", path, null()).account(&scene.account)));
    world.simulator.fault(Rule::once("POST", EXCLUDED, Action::HoldBefore {}).account(&scene.account));
    scene.apply(&share(&scene, &organization, &[&two], &[&first]));
    let ours = |held: &cfshare_simulator::Held| held.account.as_deref() == Some(&scene.account);
    let held = world.simulator.wait_held(Duration::from_secs(30), ours).expect("an exclusion on its way");
    assert!(world.simulator.fired(rules[0]) >= 2);
    for rule in rules {
        world.simulator.remove_fault(rule);
    }
    world.simulator.release(held.id, Release::Go).expect("it goes on");
    scene.wait_ready("share", "waf");
    assert!(receives(&scene, &one) && !receives(&scene, &two));
}

fn made_again(world: &World) {
    let scene = world.own_scene();
    let _operator = own::start(&scene, &[("--sweep-interval", "10m"), ("--settle-time", "100s")]);
    let (organization, [_, two, _], first) = organization(&scene);
    scene.apply(&share(&scene, &organization, &[&two], &[&first]));
    scene.wait_ready("share", "waf");
    let calls =
        |method: &str| scene.changes().iter().filter(|c| c.starts_with(method) && c.contains("excluded")).count();
    world.simulator.switches(Some(&scene.account), |switches| switches.list_lag_ms = 12_000);
    let lags = Instant::now();
    scene.wait("lists that show the share", || lags.elapsed() > Duration::from_secs(13));
    scene.apply(&share(&scene, &organization, &[], &[&first]));
    scene.wait("the exclusion withdrawn", || calls("DELETE") == 1);
    scene.ask("share", "waf");
    let edited = Instant::now();
    scene.apply(&share(&scene, &organization, &[&two], &[&first]));
    scene.wait("the exclusion made again", || calls("POST") == 2);
    // Lists do not show yet that it was withdrawn.
    assert!(edited.elapsed() < Duration::from_secs(8), "{:?}", edited.elapsed());
    scene.wait_state("it", |shares| shares[0].excluded == [two.clone()]);
}

fn come_first(world: &World, status: u16, by_object: bool) {
    let scene = world.scene();
    let (organization, [one, two, _], first) = organization(&scene);
    world.simulator.switches(Some(&scene.account), |switches| switches.empty_create = EmptyCreate::Accepted);
    let action = Action::StatusBefore { status, body: ErrorBody::Json, code: Some(1001), retry_after: None };
    let rule = Rule::once("POST", EXCLUDED, action).account(&scene.account);
    let rule = world.simulator.fault(rule);
    let inline: &[&str] = if by_object { &[] } else { &[&first] };
    let mut manifest = share(&scene, &organization, &[&two], inline);
    if by_object {
        manifest = format!("{manifest}---\n{}", scene.resource("first", "waf", &first, ""));
    }
    scene.apply(&manifest);
    scene.wait("the refusal", || world.simulator.fired(rule) == 1);
    if status == 400 {
        let object = scene.wait_reason("share", "waf", "Rejected");
        assert!(message(&object).contains("1001"), "{object:#}");
        scene.wait_sweep();
        scene.ask("share", "waf");
    }
    scene.wait_ready("share", "waf");
    assert!(receives(&scene, &one) && !receives(&scene, &two));
    let calls = scene.journal();
    let accepted = |path: &str| {
        let is_made = |call: &cfshare_simulator::Entry| {
            call.method == "POST" && call.path.contains(path) && call.status == Some(201)
        };
        calls.iter().position(is_made).expect("it is made")
    };
    assert!(accepted("/excluded-recipients") < accepted("/resources"), "{:#?}", scene.changes());
}
