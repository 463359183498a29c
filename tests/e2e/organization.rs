//! Shares with a whole organization: who may make them, who is left out, and what is told of them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cfshare_simulator::{Action, Edit, EmptyCreate, ErrorBody, Rule};
use serde_json::Value;

use crate::Test;
use crate::own;
use crate::scene::{Scene, World, condition, ids, is_ready, message};

pub const TESTS: &[Test] = &[
    ("organization: a share with an organization follows its members", members),
    ("organization: members that the share does not reach are named, and not asked for again and again", stuck),
    ("organization: members that stay on their way are counted where nobody says which", unexplained),
    ("organization: a namespace that is not allowed makes no such share", not_allowed),
    ("organization: a share whose recipients are not counted is not Ready, and says so", uncounted),
    ("organization: a resource that nobody declares is listed until it is gone", unmanaged),
    ("organization: counts that leave out zeros are counts", zeros_left_out),
    ("organization: a share that nobody counts is not polled for ever", unpolled),
    ("organization: excluded accounts never receive a share where Cloudflare allows that", excluded_first),
    ("organization: excluded accounts are excluded at once where the share must have a resource first", excluded_after),
    ("organization: exclusions come and go, and are put back", exclusions),
    ("organization: an organization that is not the owner's says so", foreign),
];

fn share(scene: &Scene, organization: &str, excluded: &[&str], resource: &str) -> String {
    let list: Vec<String> = excluded.iter().map(|id| format!("{{accountID: {id}}}")).collect();
    let more = format!("organization: {{id: {organization}, excluded: [{}]}}", list.join(", "));
    scene.share("waf", &[], &[resource], &more)
}

fn members(world: &World) {
    let scene = world.scene();
    let [organization, one, two, three, first] = ids();
    world.simulator.organization(&organization, &[&scene.account, &one, &two]);
    scene.apply(&share(&scene, &organization, &[], &first));
    let object = scene.wait_ready("share", "waf");
    assert_eq!(object["status"]["targetType"], "organization");
    assert_eq!(object["status"]["recipients"]["summary"], "2/2");
    assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
    world.simulator.organization(&organization, &[&scene.account, &one, &two, &three]);
    scene.wait_for("share", "waf", "followed", |share| share["status"]["recipients"]["summary"] == "3/3");
    scene.wait_ready("share", "waf");
    assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
    let lists = scene.journal().iter().filter(|entry| entry.template.ends_with("/recipients")).count();
    assert_eq!(lists, 0, "an organization may have 20,000 accounts: {:#?}", scene.journal());
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_nothing();
}

/// Reads of the share alone, and of its recipients.
fn reads(scene: &Scene) -> (usize, usize) {
    let count = |end: &str| scene.journal().iter().filter(|e| e.method == "GET" && e.template.ends_with(end)).count();
    (count("/shares/*"), count("/recipients"))
}

fn expect_no_reads(scene: &Scene) {
    let (begun, before) = (Instant::now(), reads(scene));
    scene.wait("five seconds", || begun.elapsed() > Duration::from_secs(5));
    assert_eq!(reads(scene), before, "{:#?}", scene.journal());
}

fn stuck(world: &World) {
    let scene = world.scene();
    let [organization, one, two, three, first] = ids();
    for failing in [&two, &three] {
        world.simulator.account(failing, |account| account.entitled = false);
    }
    world.simulator.organization(&organization, &[&scene.account, &one, &two, &three]);
    scene.apply(&share(&scene, &organization, &[], &first));
    let failed = |share: &Value| -> BTreeSet<String> {
        let listed = share["status"]["exceptions"].as_array().into_iter().flatten();
        let failed = listed.filter(|entry| entry["terminal"] == true && entry["state"] == "associating");
        failed.filter_map(|entry| entry["accountID"].as_str().map(str::to_owned)).collect()
    };
    let counts = |share: &Value| {
        ["associated", "declared", "pending", "failed"].map(|count| share["status"]["recipients"][count].as_i64())
    };
    let object = scene.wait_reason("share", "waf", "RecipientFailed");
    assert_eq!(failed(&object), BTreeSet::from([two.clone(), three.clone()]), "{object:#}");
    assert_eq!(counts(&object), [1, 3, 0, 2].map(Some), "{object:#}");
    assert!(condition(&object, "Stalled").is_some() && message(&object).contains("missing necessary entitlement"));
    assert!(message(&object).contains("spec.organization.excluded"), "{}", message(&object));
    assert_eq!(reads(&scene).1, 1);
    expect_no_reads(&scene);
    for live in [&[][..], &["--live"]] {
        let table = crate::cli::cfshare(&scene, &[&["matrix", "-o", "json"], live].concat()).json();
        let failed = table["rows"].as_array().into_iter().flatten().filter(|row| row["state"] == "failed");
        let failed: BTreeSet<&str> = failed.filter_map(|row| row["accountID"].as_str()).collect();
        assert_eq!(failed, BTreeSet::from([two.as_str(), three.as_str()]), "{live:?}: {table:#}");
    }
    scene.apply(&share(&scene, &organization, &[&three], &first));
    let object = scene.wait_for("share", "waf", "one that failed", |share| {
        counts(share) == [1, 2, 0, 1].map(Some) && condition(share, "Stalled").is_some()
    });
    assert_eq!(failed(&object), BTreeSet::from([two.clone()]), "{object:#}");
    assert_eq!(reads(&scene).1, 1);
    world.simulator.account(&two, |account| account.entitled = true);
    let object = scene.wait_ready("share", "waf");
    assert!(object["status"]["exceptions"].is_null() && object["status"]["recipients"]["summary"] == "2/2");
}

fn unexplained(world: &World) {
    let scene = world.scene();
    let [organization, one, two, first] = ids();
    world.simulator.account(&two, |account| account.entitled = false);
    world.simulator.organization(&organization, &[&scene.account, &one, &two]);
    let refused = Action::StatusBefore { status: 400, body: ErrorBody::Json, code: None, retry_after: None };
    let rule = Rule::always("GET", "/accounts/*/shares/*/recipients", refused).account(&scene.account);
    world.simulator.fault(rule);
    scene.apply(&share(&scene, &organization, &[], &first));
    let object = scene.wait_for("share", "waf", "told that nobody says which", |share| {
        message(share).contains("1 of 2 accounts of the organization have been associating since")
    });
    assert!(condition(&object, "Reconciling").is_some() && message(&object).contains("cfshare received --account"));
    expect_no_reads(&scene);
    world.simulator.account(&two, |account| account.entitled = true);
    scene.wait_ready("share", "waf");
}

fn uncounted(world: &World) {
    let scene = world.scene();
    let [organization, one, first] = ids();
    world.simulator.organization(&organization, &[&scene.account, &one]);
    let count = "associated_recipient_count";
    let rules =
        [("/accounts/*/shares", format!("/result/0/{count}")), ("/accounts/*/shares/*", format!("/result/{count}"))];
    let rules = rules.map(|(path, pointer)| {
        let action = Action::Rewrite { set: Default::default(), remove: vec![pointer] };
        world.simulator.fault(Rule::always("GET", path, action).account(&scene.account))
    });
    scene.apply(&share(&scene, &organization, &[], &first));
    let object = scene.wait_for("share", "waf", "told that nobody knows who receives it", |share| {
        !is_ready(share) && message(share).contains("does not say how many accounts")
    });
    assert!(object["status"]["recipients"].is_null() && !message(&object).contains("0/0"), "{object:#}");
    let table = crate::cli::cfshare(&scene, &["matrix", "-o", "json"]).json();
    let row = &table["rows"][0];
    assert_eq!(
        (&row["organizationID"], &row["state"]),
        (&organization.as_str().into(), &"unknown".into()),
        "{table:#}"
    );
    assert_eq!(row["reason"], "Cloudflare sent no counts of this share", "{table:#}");
    for rule in rules {
        world.simulator.remove_fault(rule);
    }
    scene.wait_ready("share", "waf");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_nothing();
}

/// Leaves out counts of recipients wherever shares are read.
fn leave_out(scene: &Scene, counts: &[&str]) {
    for (path, at) in [("/accounts/*/shares", "/result/0"), ("/accounts/*/shares/*", "/result")] {
        let remove = counts.iter().map(|count| format!("{at}/{count}_recipient_count")).collect();
        let action = Action::Rewrite { set: Default::default(), remove };
        scene.world.simulator.fault(Rule::always("GET", path, action).account(&scene.account));
    }
}

fn unmanaged(world: &World) {
    let scene = world.scene();
    let [organization, one, first, other] = ids();
    world.simulator.organization(&organization, &[&scene.account, &one]);
    scene.apply(&share(&scene, &organization, &[], &first));
    scene.wait_ready("share", "waf");
    let share = scene.only().id;
    let add = Edit::AddResource {
        share: share.clone(),
        resource_type: "gateway-policy".into(),
        id: other.clone(),
        account: None,
        meta: None,
    };
    world.simulator.edit(add).expect("an edit");
    scene.wait_for("share", "waf", "listed it", |share| share["status"]["unmanaged"][0]["id"] == other.as_str());
    world.simulator.edit(Edit::RemoveResource { share, resource: other.clone() }).expect("an edit");
    scene.wait_for("share", "waf", "listed nothing any more", |share| {
        share["status"]["unmanagedCount"].as_u64() != Some(1)
    });
}

fn zeros_left_out(world: &World) {
    let scene = world.scene();
    let [organization, one, two, first] = ids();
    world.simulator.organization(&organization, &[&scene.account, &one, &two]);
    world.simulator.delays(Some(&scene.account), |delays| delays.associate_ms = Some(0));
    leave_out(&scene, &["associating", "disassociating", "disassociated"]);
    scene.apply(&share(&scene, &organization, &[], &first));
    let object = scene.wait_ready("share", "waf");
    assert_eq!(object["status"]["recipients"]["summary"], "2/2");
}

fn unpolled(world: &World) {
    let scene = world.own_scene();
    let _operator = own::start(&scene, &[("--sweep-interval", "10m")]);
    let [organization, one, first] = ids();
    world.simulator.organization(&organization, &[&scene.account, &one]);
    leave_out(&scene, &["associating", "associated", "disassociating", "disassociated"]);
    scene.apply(&share(&scene, &organization, &[], &first));
    scene.wait_for("share", "waf", "told that nobody knows who receives it", |share| {
        !is_ready(share) && message(share).contains("does not say how many accounts")
    });
    // Ten polls, at most a second apart.
    let told = Instant::now();
    scene.wait("the first polls", || told.elapsed() > Duration::from_secs(15));
    let before = scene.journal().len();
    scene.wait("ten seconds", || told.elapsed() > Duration::from_secs(25));
    let calls = scene.journal().split_off(before);
    assert!(calls.is_empty(), "{calls:#?}");
    let object = scene.get("share", "waf").expect("it is there");
    assert_eq!(condition(&object, "Ready").expect("Ready")["status"], "Unknown", "{object:#}");
    assert!(condition(&object, "Stalled").is_some(), "{object:#}");
}

fn not_allowed(world: &World) {
    let scene = world.own_scene();
    let [organization, one, first] = ids();
    world.simulator.organization(&organization, &[&scene.account, &one]);
    let _operator = scene.operator(&[("--organization-shares", "another-namespace")]);
    scene.apply(&share(&scene, &organization, &[], &first));
    let object = scene.wait_reason("share", "waf", "OrganizationNotAllowed");
    assert!(condition(&object, "Stalled").is_some());
    assert!(message(&object).contains("--organization-shares"), "{}", message(&object));
    assert_eq!(scene.changes(), [""; 0]);
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
}

fn excluded_first(world: &World) {
    let scene = world.scene();
    let [organization, one, two, first] = ids();
    world.simulator.organization(&organization, &[&scene.account, &one, &two]);
    world.simulator.switches(Some(&scene.account), |switches| switches.empty_create = EmptyCreate::Accepted);
    scene.apply(&share(&scene, &organization, &[&two], &first));
    scene.wait_ready("share", "waf");
    let state = scene.only();
    assert_eq!(state.excluded, std::slice::from_ref(&two));
    assert_eq!(state.live_recipients().iter().map(|row| &row.account_id).collect::<Vec<_>>(), [&one]);
    let posts: Vec<String> = scene
        .journal()
        .iter()
        .filter(|entry| entry.method == "POST")
        .map(|entry| entry.template.rsplit('/').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(posts, ["shares", "excluded-recipients", "resources"]);
}

fn excluded_after(world: &World) {
    let scene = world.scene();
    let [organization, one, two, first] = ids();
    world.simulator.organization(&organization, &[&scene.account, &one, &two]);
    // All members receive it before the first look at it.
    world.simulator.delays(Some(&scene.account), |delays| delays.associate_ms = Some(0));
    scene.apply(&share(&scene, &organization, &[&two], &first));
    let object = scene.wait_ready("share", "waf");
    assert_eq!(object["status"]["recipients"]["summary"], "1/1", "what Ready tells is newer than the exclusion");
    let state = scene.only();
    assert_eq!(state.excluded, std::slice::from_ref(&two));
    assert_eq!(state.live_recipients().iter().map(|row| &row.account_id).collect::<Vec<_>>(), [&one]);
    scene.wait_event("waf", |reason, text| reason == "ExclusionsFollow" && text.contains("excluded"));
}

fn exclusions(world: &World) {
    let scene = world.scene();
    let [organization, one, two, three, first] = ids();
    world.simulator.organization(&organization, &[&scene.account, &one, &two, &three]);
    scene.apply(&share(&scene, &organization, &[], &first));
    scene.wait_ready("share", "waf");
    scene.apply(&share(&scene, &organization, &[&two, &three], &first));
    let object = scene.wait_ready("share", "waf");
    assert_eq!(object["status"]["recipients"]["summary"], "1/1", "what Ready tells is newer than the exclusions");
    assert_eq!(scene.only().excluded.len(), 2);
    scene.apply(&share(&scene, &organization, &[&three], &first));
    let object = scene.wait_ready("share", "waf");
    assert_eq!(object["status"]["recipients"]["summary"], "2/2");
    assert_eq!(scene.only().excluded, [three]);
}

fn foreign(world: &World) {
    let scene = world.scene();
    let [organization, other, one, first] = ids();
    world.simulator.organization(&organization, &[&scene.account]);
    world.simulator.organization(&other, &[&one]);
    scene.apply(&share(&scene, &other, &[], &first));
    let object = scene.wait_reason("share", "waf", "Rejected");
    assert!(message(&object).contains(&other), "{}", message(&object));
    assert!(scene.state().is_empty());
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
}
