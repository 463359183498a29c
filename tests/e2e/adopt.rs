//! Shares that are there already: which may be taken over, by whom, and what stays untouched.

use std::time::{Duration, Instant};

use cfshare_simulator::{Action, Edit, RowError, Rule, Seed, SeedResource, SeedShare, ShareState};
use serde_json::Value;

use crate::Test;
use crate::cli::cfshare;
use crate::expect::sweeps;
use crate::scene::{Scene, World, condition, ids, is_observed, is_ready, message};

pub const TESTS: &[Test] = &[
    ("adopt: a share taken over by id keeps its name, its rows, and stays when the object goes", by_id),
    ("adopt: a share that is as declared is taken over without a call", as_declared),
    ("adopt: a share taken over is renamed, pruned and deleted where the manifest says so", to_the_end),
    ("adopt: a request that the manifest brings along does not add a failed recipient again", old_request),
    ("adopt: an id may be pinned in the other case", other_case),
    ("adopt: a share is taken over by its id in the other case", by_other_case),
    ("adopt: an id that does not exist makes no share", not_found),
    (
        "adopt: a resource that the share has under another account is not sent, and an edit of the account is",
        by_account,
    ),
    ("adopt: a share of somebody else is not taken over", received),
    ("adopt: a share with another target is not taken over", other_target),
    ("adopt: the one share of that name is taken over where the policy says so", same_name),
    ("adopt: of several shares of that name none is taken over until one is chosen", ambiguous),
    ("adopt: a share of that name with another target is not taken over", same_name_other_target),
    ("adopt: a taken name makes no share, and its id is the way out", name_taken),
    ("adopt: a taken name is not free because a list lacks the share", name_not_listed),
    ("adopt: a taken name that becomes free is used", name_freed),
    ("adopt: a taken name that becomes free by a rename is used", name_given_up),
    ("adopt: two Shares that are to swap their names say how", names_swapped),
    ("adopt: of two objects of one name and second the one that can be created is, and both say so", tie),
    ("adopt: a rename onto the name of another share is refused as a create is", renamed_onto),
    ("adopt: of two objects of one name the older has the share, and the younger inherits the name", claimed),
    ("adopt: of two objects of one share the older has it, and the younger inherits it", one_share),
    ("adopt: an older Share without a credential takes no share by its id", parked_by_id),
    ("adopt: an older Share without a credential keeps no name from another", parked_by_name),
    ("adopt: the status of another object is not believed", copied_status),
    ("adopt: the one share of that name that another object has stays with it", same_name_of_another),
    ("adopt: an adopted share that is gone is not made anew", gone),
];

fn seed(scene: &Scene, name: &str, recipients: &[&str], resources: &[&str], organization: bool) -> String {
    let resource = |id: &&str| SeedResource {
        resource_type: "custom-ruleset".into(),
        id: (*id).to_owned(),
        account: None,
        meta: None,
    };
    let share = SeedShare {
        name: name.to_owned(),
        recipients: recipients.iter().map(|id| (*id).to_owned()).collect(),
        resources: resources.iter().map(resource).collect(),
        organization,
    };
    let seed = Seed {
        account: scene.account.clone(),
        shares: 0,
        recipients: 0,
        resources: 0,
        prefix: String::new(),
        list: vec![share],
    };
    scene.world.simulator.seed(seed).expect("a seed")[0].id.clone()
}

fn accounts(share: &ShareState) -> Vec<&str> {
    let mut accounts: Vec<&str> = share.live_recipients().iter().map(|row| row.account_id.as_str()).collect();
    accounts.sort_unstable();
    accounts
}

fn sorted<const N: usize>(mut ids: [&str; N]) -> [&str; N] {
    ids.sort_unstable();
    ids
}

fn by_id(world: &World) {
    let scene = world.scene();
    let [one, foreign, first, old] = ids();
    let id = seed(&scene, "by hand", &[&foreign], &[&old], false);
    scene.apply(&scene.share("waf", &[&one], &[&first], &format!("shareID: {id}")));
    let share = scene.wait_ready("share", "waf");
    let status = &share["status"];
    assert_eq!((&status["shareID"], &status["adopted"]), (&id.as_str().into(), &true.into()));
    assert_eq!(status["effective"]["deletionPolicy"], "Retain");
    assert_eq!(status["shareName"], "by hand");
    assert_eq!(status["unmanagedCount"], 2);
    assert_eq!((&status["recipients"]["summary"], &status["resources"]["summary"]), (&"1/1".into(), &"1/1".into()));
    let state = scene.only();
    assert_eq!((state.id.as_str(), state.name.as_str()), (id.as_str(), "by hand"));
    assert_eq!(accounts(&state), sorted([&one, &foreign]));
    assert_eq!(state.live_resources().len(), 2);
    assert_eq!(scene.changes().len(), 2, "{:?}", scene.changes());
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    assert_eq!(format!("{state:?}"), format!("{:?}", scene.only()));
    assert_eq!(scene.changes().len(), 2, "{:?}", scene.changes());
}

fn as_declared(world: &World) {
    let scene = world.scene();
    let [one, two, first, second] = ids();
    let id = seed(&scene, "waf", &[&one, &two], &[&first, &second], false);
    scene.apply(&scene.share("waf", &[&one, &two], &[&first, &second], &format!("shareID: {id}")));
    let share = scene.wait_ready("share", "waf");
    assert!(share["status"]["unmanaged"].is_null());
    assert!(condition(&share, "Drifted").is_none());
    assert_eq!(scene.changes(), [""; 0]);
    // What it took over is its own: a line removed ends that sharing.
    scene.apply(&scene.share("waf", &[&one], &[&first, &second], &format!("shareID: {id}")));
    scene.wait_state("one recipient", |shares| accounts(&shares[0]) == [one.as_str()]);
    scene.wait_ready("share", "waf");
}

fn old_request(world: &World) {
    let scene = world.scene();
    let [one, failing, first] = ids();
    let id = seed(&scene, "waf", &[&one, &failing], &[&first], false);
    let error = RowError {
        resource_id: first.clone(),
        resource_version: 1,
        error: "Recipient is missing necessary entitlement".into(),
        terminal: true,
    };
    let errors = Some(vec![error]);
    let edit = Edit::SetRecipient { share: id.clone(), recipient: failing.clone(), status: None, errors, clear: false };
    world.simulator.edit(edit).expect("an edit");
    let yaml = scene.share("waf", &[&one, &failing], &[&first], &format!("shareID: {id}"));
    let request = |value: &str| {
        yaml.replacen("metadata: {", &format!("metadata: {{annotations: {{cfshare.dev/requestedAt: {value}}}, "), 1)
    };
    scene.apply(&request("long-ago"));
    let share = scene.wait_reason("share", "waf", "RecipientFailed");
    assert_eq!(share["status"]["lastHandledReconcileAt"], "long-ago");
    assert_eq!(scene.changes(), [""; 0]);
    scene.apply(&request("now"));
    scene.wait("it is added again", || scene.changes().len() == 2);
}

fn other_case(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let id = scene.only().id.to_uppercase();
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], &format!("shareID: {id}")));
    scene.wait_state("the edit is carried out", |shares| shares[0].live_recipients().len() == 2);
    scene.wait_ready("share", "waf");
}

fn by_other_case(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    let id = seed(&scene, "waf", &[&one], &[&first], false);
    let by_id = format!("shareID: {}", id.to_uppercase());
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], &by_id));
    let share = scene.wait_ready("share", "waf");
    assert_eq!(share["status"]["shareID"], Value::from(id));
    assert_eq!(accounts(&scene.only()), sorted([&one, &two]));
    let by_id = format!("{by_id}\nmanagementPolicy: Observe");
    scene.apply(&scene.share("seen", &[&one, &two], &[&first], &by_id));
    scene.wait_ready("share", "seen");
}

fn to_the_end(world: &World) {
    let scene = world.scene();
    let [one, foreign, first, old] = ids();
    let id = seed(&scene, "by hand", &[&foreign], &[&old], false);
    let more = format!("shareID: {id}\nname: ours\nprune: true\ndeletionPolicy: Delete");
    scene.apply(&scene.share("waf", &[&one], &[&first], &more));
    let share = scene.wait_ready("share", "waf");
    assert!(share["status"]["unmanaged"].is_null(), "{share:#}");
    assert_eq!(share["status"]["effective"]["deletionPolicy"], "Delete");
    let state = scene.only();
    assert_eq!((state.id.as_str(), state.name.as_str()), (id.as_str(), "ours"));
    assert_eq!(accounts(&state), [one.as_str()]);
    assert_eq!(state.live_resources().iter().map(|row| &row.resource_id).collect::<Vec<_>>(), [&first]);
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_nothing();
}

fn not_found(world: &World) {
    let scene = world.scene();
    let [one, first, id] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], &format!("shareID: {id}")));
    let share = scene.wait_reason("share", "waf", "ShareNotFound");
    let text = message(&share);
    assert!(
        text.contains(&id)
            && text.contains(&scene.account)
            && text.contains("Neither shareID nor accountID can be changed"),
        "{text}"
    );
    assert!(condition(&share, "Stalled").is_some());
    assert_eq!(scene.changes(), [""; 0]);
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
}

fn by_account(world: &World) {
    let scene = world.scene();
    let [one, elsewhere, x, y] = ids();
    let id = seed(&scene, "waf", &[&one], &[&y], false);
    let (resource_type, account) = ("custom-ruleset".to_owned(), Some(elsewhere.clone()));
    let edit = Edit::AddResource { share: id.clone(), resource_type, id: x.clone(), account, meta: None };
    world.simulator.edit(edit).expect("an edit");
    let yaml = scene.share("waf", &[&one], &[&y, &x], &format!("shareID: {id}"));
    let of_other = yaml.replacen(&format!("id: {x}"), &format!("id: {x}, accountID: {elsewhere}"), 1);
    let known = format!("share {id} already has resource custom-ruleset/{x}, as one of account {elsewhere}");
    scene.apply(&yaml);
    let share = scene.wait_reason("share", "waf", "Rejected");
    assert!(message(&share).starts_with(&known), "{}", message(&share));
    assert_eq!(share["status"]["exceptions"][0]["state"], "refused");
    let ran = cfshare(&scene, &["plan"]);
    assert!(ran.code == 1 && ran.out.contains(&format!("! {known}")), "{} {}", ran.code, ran.out);
    sweeps(&scene, 2);
    scene.ask("share", "waf");
    assert_eq!(scene.changes(), [""; 0]);
    scene.apply(&of_other);
    scene.wait_ready("share", "waf");
    assert_eq!(scene.changes(), [""; 0]);
    // What it has on record makes way.
    let accounts_of_x = |share: &ShareState| -> Vec<String> {
        let rows = share.live_resources();
        rows.iter().filter(|row| row.resource_id == x).map(|row| row.resource_account_id.clone()).collect()
    };
    scene.apply(&yaml);
    scene.wait_state("the resource of the owner", |shares| accounts_of_x(&shares[0]) == [scene.account.as_str()]);
    scene.wait_ready("share", "waf");
    let verbs = || scene.changes().iter().map(|call| call.split(' ').next().unwrap_or("").to_owned()).collect();
    let made: Vec<String> = verbs();
    assert_eq!(made, ["DELETE", "POST"]);
    // The same for an object, which waits until the row of its Share goes.
    scene.apply(&scene.resource("x", "waf", &x, &format!("accountID: {elsewhere}")));
    let object = scene.wait_reason("shareresource", "x", "Rejected");
    assert!(message(&object).contains(&format!("as one of account {}", scene.account)), "{}", message(&object));
    scene.apply(&scene.share("waf", &[&one], &[&y], &format!("shareID: {id}")));
    scene.wait_ready("shareresource", "x");
    assert_eq!(accounts_of_x(&scene.only()), [elsewhere.as_str()]);
    let made: Vec<String> = verbs();
    assert_eq!(made, ["DELETE", "POST", "DELETE", "POST"]);
}

fn received(world: &World) {
    let scene = world.scene();
    let other = world.scene();
    let [one, first] = ids();
    let id = seed(&other, "theirs", &[&scene.account], &[&first], false);
    let before = other.only();
    scene.apply(&scene.share("waf", &[&one], &[&first], &format!("shareID: {id}")));
    let share = scene.wait_reason("share", "waf", "ShareNotFound");
    assert!(message(&share).contains(&id), "{}", message(&share));
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    assert_eq!(format!("{before:?}"), format!("{:?}", other.only()));
    assert!(scene.state().is_empty());
}

fn other_target(world: &World) {
    let scene = world.scene();
    let [one, two, first, organization] = ids();
    world.simulator.organization(&organization, &[&scene.account, &one, &two]);
    let id = seed(&scene, "everyone", &[], &[&first], true);
    let before = scene.only();
    scene.apply(&scene.share("waf", &[&one], &[&first], &format!("shareID: {id}")));
    let share = scene.wait_reason("share", "waf", "TargetMismatch");
    assert!(message(&share).contains("target"), "{}", message(&share));
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    assert_eq!(format!("{before:?}"), format!("{:?}", scene.only()));
}

fn same_name(world: &World) {
    let scene = world.scene();
    let [one, two, foreign, first] = ids();
    let id = seed(&scene, "waf", &[&one, &foreign], &[&first], false);
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], "adoptionPolicy: SameName"));
    let share = scene.wait_ready("share", "waf");
    assert_eq!((&share["status"]["shareID"], &share["status"]["adopted"]), (&id.as_str().into(), &true.into()));
    assert_eq!(share["status"]["unmanaged"][0]["accountID"], foreign.as_str());
    assert_eq!(accounts(&scene.only()), sorted([&one, &two, &foreign]));
    assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
    // Where there is none of that name, one is made.
    scene.apply(&scene.share("new", &[&one], &[&first], "adoptionPolicy: SameName"));
    let share = scene.wait_ready("share", "new");
    assert!(share["status"]["adopted"].is_null());
}

fn ambiguous(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    let twins = [seed(&scene, "waf", &[&one], &[&first], false), seed(&scene, "waf", &[&one], &[&first], false)];
    scene.apply(&scene.share("waf", &[&one], &[&first], "adoptionPolicy: SameName"));
    let share = scene.wait_reason("share", "waf", "Ambiguous");
    let text = message(&share);
    assert!(twins.iter().all(|id| text.contains(id)) && text.contains("shareID"), "{text}");
    scene.apply(&scene.share("waf", &[&one], &[&first], &format!("adoptionPolicy: SameName\nshareID: {}", twins[1])));
    let share = scene.wait_ready("share", "waf");
    assert_eq!(share["status"]["shareID"], twins[1].as_str());
    assert_eq!(scene.changes(), [""; 0]);
    assert_eq!(scene.live().len(), 2);
}

fn same_name_other_target(world: &World) {
    let scene = world.scene();
    let [one, two, first, organization] = ids();
    world.simulator.organization(&organization, &[&scene.account, &one, &two]);
    seed(&scene, "waf", &[], &[&first], true);
    scene.apply(&scene.share("waf", &[&one], &[&first], "adoptionPolicy: SameName"));
    scene.wait_reason("share", "waf", "TargetMismatch");
    assert_eq!(scene.changes(), [""; 0]);
    assert_eq!(scene.live().len(), 1);
}

fn same_name_of_another(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    let id = seed(&scene, "by hand", &[&one], &[&first], false);
    scene.apply(&scene.share("waf", &[&one], &[&first], &format!("shareID: {id}")));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("other", &[&two], &[&first], "name: by hand\nadoptionPolicy: SameName"));
    let share = scene.wait_reason("share", "other", "Claimed");
    assert!(message(&share).contains(&format!("{}/waf", scene.namespace)), "{}", message(&share));
    scene.kubectl(&["delete", "share", "other", "--timeout=60s"]);
    assert_eq!(scene.changes(), [""; 0]);
    // Who only observes neither takes it nor minds that another has it.
    scene.apply(&scene.share("watch", &[&one], &[&first], "name: by hand\nmanagementPolicy: Observe"));
    scene.wait_ready("share", "watch");
}

fn name_taken(world: &World) {
    let scene = world.scene();
    let [one, foreign, first] = ids();
    let id = seed(&scene, "waf", &[&foreign], &[&first], false);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    let share = scene.wait_reason("share", "waf", "NameTaken");
    let text = message(&share);
    assert!(text.contains(&format!("`shareID: {id}`")) && text.contains("spec.name"), "{text}");
    assert!(condition(&share, "Stalled").is_some());
    assert_eq!(scene.changes(), [""; 0]);
    scene.apply(&scene.share("waf", &[&one], &[&first], &format!("shareID: {id}")));
    scene.wait_ready("share", "waf");
    assert_eq!(accounts(&scene.only()), sorted([&one, &foreign]));
}

fn name_not_listed(world: &World) {
    let scene = world.scene();
    let [one, foreign, first] = ids();
    let id = seed(&scene, "waf", &[&foreign], &[&first], false);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_reason("share", "waf", "NameTaken");
    let zero = |field: &str| (format!("/result_info/{field}"), 0.into());
    let set =
        [("/result".into(), serde_json::json!([])), zero("count"), zero("total_count"), zero("total_pages")].into();
    let rule = Rule::always("GET", "/accounts/*/shares", Action::Rewrite { set, remove: vec![] });
    let rule = world.simulator.fault(rule.account(&scene.account));
    sweeps(&scene, 3);
    scene.ask("share", "waf");
    assert!(world.simulator.fired(rule) >= 3);
    world.simulator.remove_fault(rule);
    sweeps(&scene, 1);
    scene.wait_reason("share", "waf", "NameTaken");
    assert_eq!(scene.changes(), [""; 0]);
    assert_eq!(scene.only().id, id);
}

fn name_freed(world: &World) {
    let scene = world.scene();
    let [one, foreign, first] = ids();
    let id = seed(&scene, "waf", &[&foreign], &[&first], false);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_reason("share", "waf", "NameTaken");
    world.simulator.edit(Edit::DeleteShare { share: id.clone() }).expect("an edit");
    scene.wait_ready("share", "waf");
    let state = scene.only();
    assert_ne!(state.id, id);
    assert_eq!(accounts(&state), [one.as_str()]);
}

/// By an object here or by a person, and before it would be looked for again without that.
fn name_given_up(world: &World) {
    let soon = Duration::from_secs(30);
    let scene = world.scene();
    let [one, two, foreign, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let ours = scene.only().id;
    scene.apply(&scene.share("other", &[&two], &[&first], "name: waf"));
    scene.wait_for("share", "other", "was stalled", |share| condition(share, "Stalled").is_some());
    let began = Instant::now();
    scene.apply(&scene.share("waf", &[&one], &[&first], "name: new"));
    scene.wait_ready("share", "other");
    assert!(began.elapsed() < soon, "only after {:?}", began.elapsed());
    let id = seed(&scene, "by hand", &[&foreign], &[&first], false);
    scene.apply(&scene.share("waf", &[&one], &[&first], "name: by hand"));
    scene.wait_reason("share", "waf", "NameTaken");
    let began = Instant::now();
    world.simulator.edit(Edit::Rename { share: id, name: "nobody wants this".into() }).expect("an edit");
    scene.wait_state("the name", |shares| shares.iter().any(|share| share.name == "by hand" && share.id == ours));
    assert!(began.elapsed() < soon, "only after {:?}", began.elapsed());
}

fn names_swapped(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    let share = |name: &str, called: &str| scene.share(name, &[&one], &[&first], &format!("name: {called}"));
    scene.apply(&format!("{}---\n{}", share("a", "alpha"), share("b", "beta")));
    for name in ["a", "b"] {
        scene.wait_ready("share", name);
    }
    let before = scene.changes().len();
    scene.apply(&format!("{}---\n{}", share("a", "beta"), share("b", "alpha")));
    for (name, other) in [("a", "b"), ("b", "a")] {
        let told = |share: &Value| message(share).contains("swap") && message(share).contains("a third name");
        let share = scene.wait_for("share", name, "said how", told);
        assert!(message(&share).contains(&format!("Share {}/{other} ", scene.namespace)), "{}", message(&share));
    }
    assert_eq!(scene.changes_since(before), [""; 0]);
    scene.apply(&share("a", "third"));
    for name in ["a", "b"] {
        scene.wait_ready("share", name);
    }
    scene.apply(&share("a", "beta"));
    scene.wait_ready("share", "a");
    let mut names: Vec<String> = scene.live().into_iter().map(|share| share.name).collect();
    names.sort();
    assert_eq!(names, ["alpha", "beta"]);
}

fn claimed(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], "name: the baseline"));
    scene.wait_ready("share", "waf");
    let id = scene.only().id;
    scene.apply(&scene.share("aaa", &[&two], &[&first], "name: the baseline\nadoptionPolicy: SameName"));
    let share = scene.wait_reason("share", "aaa", "Claimed");
    let text = message(&share);
    assert!(text.contains(&format!("{}/waf", scene.namespace)) && text.contains("spec.name"), "{text}");
    assert!(share["status"]["shareID"].is_null(), "{share:#}");
    scene.kubectl(&["delete", "share", "aaa", "--timeout=60s"]);
    assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
    scene.apply(&scene.share("aaa", &[&two], &[&first], "name: the baseline"));
    scene.wait_reason("share", "aaa", "Claimed");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_ready("share", "aaa");
    let state = scene.only();
    assert_ne!(state.id, id);
    assert_eq!(accounts(&state), [two.as_str()]);
}

/// Applied in one second, and the one that cannot be created would win by its name.
fn tie(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    let both = [
        scene.share("aaa", &[], &[], "name: zero-trust"),
        scene.share("zzz", &[], &[], "name: zero-trust"),
        scene.recipient("one", "zzz", &one, ""),
        scene.resource("first", "zzz", &first, ""),
    ];
    scene.apply(&both.join("---\n"));
    scene.wait_ready("share", "zzz");
    let share = scene.wait_reason("share", "aaa", "NameTaken");
    assert!(message(&share).contains(&format!("{}/zzz", scene.namespace)), "{}", message(&share));
    scene.wait_for("share", "zzz", "named the other one", |share| {
        is_ready(share) && message(share).contains(&format!("{}/aaa", scene.namespace))
    });
    // What comes later does not turn it round.
    scene.apply(&scene.share("aaa", &[&two], &[&first], "name: zero-trust"));
    scene.wait_for("share", "aaa", "was refused still", |share| {
        is_observed(share) && condition(share, "Stalled").is_some()
    });
    assert_eq!(accounts(&scene.only()), [one.as_str()]);
    assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
    scene.kubectl(&["delete", "shares.cfshare.dev", "aaa", "--timeout=60s"]);
    scene.wait_for("share", "zzz", "named no other any more", |share| {
        is_ready(share) && !message(share).contains("/aaa")
    });
}

/// A name is looked for before a rename as before a create, at Cloudflare and among the objects.
fn renamed_onto(world: &World) {
    let scene = world.scene();
    let [one, two, foreign, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.apply(&scene.share("other", &[&two], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.wait_ready("share", "other");
    let before = scene.changes().len();
    scene.apply(&scene.share("waf", &[&one], &[&first], "name: other"));
    let share = scene.wait_reason("share", "waf", "NameTaken");
    let (text, other) = (message(&share), format!("Share {}/other", scene.namespace));
    assert!(
        text.contains(&format!("Change spec.name of this Share or of {other}. Deleting {other} instead")),
        "{text}"
    );
    assert!(condition(&share, "Stalled").is_some(), "{share:#}");
    // One that a person made a moment ago, which no sweep has shown.
    let id = seed(&scene, "by hand", &[&foreign], &[&first], false);
    scene.apply(&scene.share("waf", &[&one], &[&first], "name: by hand"));
    let share = scene.wait_for("share", "waf", "was told of the other share", |share| {
        is_observed(share) && message(share).contains(&id)
    });
    assert_eq!(condition(&share, "Ready").expect("it")["reason"], "NameTaken");
    let text = message(&share);
    assert!(text.contains("deleting it would end the access of its recipients"), "{text}");
    let plan = cfshare(&scene, &["plan"]).out;
    assert!(plan.contains(&text) && !plan.contains("~ rename"), "{plan}\n{text}");
    // Everything else of the share goes on.
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], "name: by hand"));
    scene.wait_state("the other recipient", |shares| {
        shares.iter().any(|share| share.name == "waf" && share.live_recipients().len() == 2)
    });
    assert_eq!(scene.changes_since(before).len(), 1, "{:?}", scene.changes_since(before));
    world.simulator.edit(Edit::DeleteShare { share: id }).expect("an edit");
    scene.wait_ready("share", "waf");
    scene.wait_state("the new name", |shares| shares.iter().any(|share| share.live() && share.name == "by hand"));
}

fn one_share(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    let id = seed(&scene, "by hand", &[], &[&first], false);
    scene.apply(&scene.share("waf", &[&one], &[&first], &format!("shareID: {id}")));
    scene.wait_ready("share", "waf");
    let more = format!("shareID: {id}\nname: mine\ndeletionPolicy: Delete\nprune: true");
    scene.apply(&scene.share("aaa", &[&two], &[&first], &more));
    let share = scene.wait_reason("share", "aaa", "Claimed");
    assert!(message(&share).contains(&format!("{}/waf", scene.namespace)), "{}", message(&share));
    scene.kubectl(&["delete", "share", "aaa", "--timeout=60s"]);
    assert_eq!(scene.only().name, "by hand");
    assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
    scene.apply(&scene.share("aaa", &[&two], &[&first], &more));
    scene.wait_reason("share", "aaa", "Claimed");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_ready("share", "aaa");
    let state = scene.only();
    assert_eq!((state.id.as_str(), state.name.as_str()), (id.as_str(), "mine"));
    assert_eq!(accounts(&state), [two.as_str()]);
}

/// A Share of another tenant, older, and without a credential for the account that it names.
fn parked<'a>(tenant: &Scene<'a>, scene: &Scene<'a>, rows: [&str; 2]) {
    tenant.kubectl(&["delete", "secret", "cloudflare-credentials"]);
    let yaml = tenant.share("parked", &[rows[0]], &[rows[1]], "name: waf");
    tenant.apply(&yaml.replace(&tenant.account, &scene.account));
    let old = tenant.wait_reason("share", "parked", "CredentialsNotFound");
    tenant.wait_younger(&old);
}

fn parked_by_id(world: &World) {
    let (tenant, scene) = (world.scene(), world.scene());
    let [one, two, first] = ids();
    parked(&tenant, &scene, [&two, &first]);
    tenant.kubectl(&["patch", "share", "parked", "--type=merge", "-p", r#"{"spec":{"name":"parked"}}"#]);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let id = scene.only().id;
    let by_id = format!(r#"{{"spec":{{"shareID":"{id}"}}}}"#);
    tenant.kubectl(&["patch", "share", "parked", "--type=merge", "-p", &by_id]);
    tenant.wait_for("share", "parked", "was looked at", is_observed);
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    scene.wait_ready("share", "waf");
    assert_eq!(accounts(&scene.only()), sorted([&one, &two]));
    tenant.put_token(&scene.token);
    let share = tenant.wait_reason("share", "parked", "Claimed");
    let text = message(&share);
    assert!(text.contains(&format!("Share {}/waf already manages share {id}", scene.namespace)), "{text}");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_nothing();
}

fn parked_by_name(world: &World) {
    let (tenant, scene) = (world.scene(), world.scene());
    let [one, two, first] = ids();
    parked(&tenant, &scene, [&two, &first]);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    // Its Secret may only be late.
    scene.wait_reason("share", "waf", "Claimed");
    let mut conditions = tenant.get("share", "parked").expect("the object")["status"]["conditions"].take();
    for condition in conditions.as_array_mut().expect("conditions") {
        condition["lastTransitionTime"] = "2026-01-01T00:00:00Z".into();
    }
    let patch = serde_json::json!({"status": {"conditions": conditions}}).to_string();
    tenant.kubectl(&["patch", "share", "parked", "--subresource=status", "--type=merge", "-p", &patch]);
    tenant.ask("share", "parked");
    tenant.wait_for("share", "parked", "was stalled", |share| condition(share, "Stalled").is_some());
    scene.wait_ready("share", "waf");
    // Who can act again finds the name taken.
    tenant.put_token(&scene.token);
    let share = tenant.wait_reason("share", "parked", "Claimed");
    assert!(message(&share).contains(&format!("Share {}/waf", scene.namespace)), "{}", message(&share));
    assert_eq!(accounts(&scene.only()), [one.as_str()]);
    assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
    // And has it once the other one is gone.
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    tenant.wait_ready("share", "parked");
    assert_eq!(accounts(&scene.only()), [two.as_str()]);
}

fn copied_status(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    let mut original = scene.wait_ready("share", "waf");
    let id = scene.only().id;
    scene.apply(&scene.share("copy", &[&two], &[&first], "suspend: true"));
    scene.wait_reason("share", "copy", "Suspended");
    let status = serde_json::json!({ "status": original["status"].take() }).to_string();
    scene.kubectl(&["patch", "share", "copy", "--subresource=status", "--type=merge", "-p", &status]);
    scene.apply(&scene.share("copy", &[&two], &[&first], ""));
    let copy = scene.wait_for("share", "copy", "became Ready with a share of its own", |share| {
        is_ready(share) && share["status"]["shareID"] != id.as_str()
    });
    assert_eq!(copy["status"]["boundUID"], copy["metadata"]["uid"]);
    scene.kubectl(&["delete", "share", "copy", "--timeout=60s"]);
    let state = scene.only();
    assert_eq!((state.id.as_str(), accounts(&state)), (id.as_str(), vec![one.as_str()]));
}

fn gone(world: &World) {
    adopted_and_gone(world, |id| format!("shareID: {id}"));
    adopted_and_gone(world, |_| "name: by hand\nadoptionPolicy: SameName".to_owned());
}

fn adopted_and_gone(world: &World, adopting: impl Fn(&str) -> String) {
    let scene = world.scene();
    let [one, first] = ids();
    let id = seed(&scene, "by hand", &[], &[&first], false);
    scene.apply(&scene.share("waf", &[&one], &[&first], &adopting(&id)));
    scene.wait_ready("share", "waf");
    world.simulator.edit(Edit::DeleteShare { share: id.clone() }).expect("an edit");
    let share = scene.wait_for("share", "waf", "said that its share is gone", |share| {
        condition(share, "Stalled").is_some_and(|stalled| stalled["reason"] == "ShareNotFound")
    });
    let text = message(&share);
    assert!(text.contains(&id) && text.contains("not recreated"), "{text}");
    assert_eq!(scene.changes().len(), 1, "{:?}", scene.changes());
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    assert!(scene.live().is_empty());
}
