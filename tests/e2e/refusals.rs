//! Manifests that cannot be right at Cloudflare: told in seconds, in words that name the culprit and the way out.

use std::time::{Duration, Instant};

use cfshare_simulator::{Action, Edit, ErrorBody, Policy, Rule, SameName};
use serde_json::Value;

use crate::Test;
use crate::quiet::writes;
use crate::scene::{Scene, World, condition, ids, is_ready, message};

pub const TESTS: &[Test] = &[
    ("refusals: an unknown account is named, and the others receive the share", unknown_account),
    ("refusals: an unknown account is found though Cloudflare does not point at it", unknown_account_no_pointer),
    ("refusals: an unknown account that Cloudflare does not even name is found", unknown_account_unnamed),
    ("refusals: a resource that Cloudflare does not name in its refusal is blamed on no recipient", unnamed_resource),
    ("refusals: an unknown resource is named, and the others are shared", unknown_resource),
    ("refusals: a share with nothing but unknown accounts is not made", only_unknown),
    ("refusals: an unknown account added later is named, and the rest goes on", added_later),
    ("refusals: an object that Cloudflare refuses says so, and the rest goes on", object),
    ("refusals: an owner that the credential does not know says what to do", owner),
    ("refusals: a token that may not write says which permission is missing", no_permission),
    ("refusals: a recipient that the token may not add is named, and the others receive the share", denied_row),
    (
        "refusals: a recipient that the token may not add holds up no removal, though nothing else is to be added",
        denied_beside_a_removal,
    ),
    (
        "refusals: a recipient that the token may not create a share with is named, and the others receive it",
        denied_in_create,
    ),
    ("refusals: a refused name is told, and the rows go on", refused_name),
    ("refusals: what is mended at Cloudflare goes on by itself on request", mended),
    ("refusals: an object publishes ten Events in an hour at most", few_events),
    ("refusals: a retry writes the status twice, and leaves all that it shows as it was", retries),
    ("refusals: a failed recipient that Cloudflare does not remove holds up nothing else", stays_failed),
];

/// What a person may be kept waiting for an answer: 10 s, but for a machine that stalls. Retries come after 60 s.
const SOON: Duration = Duration::from_secs(25);

/// Waits for the reason; it must come soon after `start`, as far as this machine does anything soon.
fn told(scene: &Scene, kind: &str, name: &str, reason: &str, start: Instant) -> Value {
    let object = scene.wait_reason(kind, name, reason);
    let took = start.elapsed();
    let look = Instant::now();
    scene.kubectl(&["get", kind, name]);
    let limit = SOON + 10 * look.elapsed();
    assert!(took < limit, "{kind} {name} said {reason} after {took:?} and not after {limit:?}");
    object
}

fn exceptions(share: &Value) -> Vec<(&str, &str)> {
    let list = share["status"]["exceptions"].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .map(|entry| {
            let key = entry["accountID"].as_str().or(entry["id"].as_str()).unwrap_or_default();
            (key, entry["state"].as_str().unwrap_or_default())
        })
        .collect()
}

/// A Share with a label for its second recipient.
fn labelled(scene: &Scene, recipients: [&str; 3], resource: &str) -> String {
    let [one, two, three] = recipients;
    format!(
        "{}spec:\n  accountID: {}\n  recipients: [{{accountID: {one}}}, {{accountID: {two}, name: payments-prod}}, \
         {{accountID: {three}}}]\n  resources: [{{type: custom-ruleset, id: {resource}}}]\n",
        scene.head("Share", "waf"),
        scene.account,
    )
}

fn expect_two_of_three(scene: &Scene, two: &str, start: Instant) {
    let share = told(scene, "share", "waf", "Rejected", start);
    let text = message(&share);
    assert!(text.contains("payments-prod") && text.contains(two), "{text}");
    assert!(condition(&share, "Stalled").is_some(), "{share:#}");
    assert_eq!(exceptions(&share), [(two, "refused")]);
    assert_eq!(share["status"]["recipients"]["summary"], "2/3");
    assert_eq!(scene.only().live_recipients().len(), 2);
}

fn unknown_account(world: &World) {
    let scene = world.scene();
    let [one, two, three, first] = ids();
    world.simulator.account(&two, |account| account.known = false);
    let start = Instant::now();
    scene.apply(&labelled(&scene, [&one, &two, &three], &first));
    expect_two_of_three(&scene, &two, start);
    assert!(message(&scene.get("share", "waf").expect("it is there")).contains("unknown account"));
    assert!(scene.changes().len() <= 4, "{:?}", scene.changes());
}

fn unknown_account_no_pointer(world: &World) {
    let scene = world.scene();
    let [one, two, three, first] = ids();
    world.simulator.account(&two, |account| account.known = false);
    world.simulator.switches(Some(&scene.account), |switches| switches.error_pointer = false);
    let start = Instant::now();
    scene.apply(&labelled(&scene, [&one, &two, &three], &first));
    expect_two_of_three(&scene, &two, start);
}

fn refusing(path: &str, status: u16, code: i64) -> Rule {
    let action = Action::StatusBefore { status, body: ErrorBody::Json, code: Some(code), retry_after: None };
    Rule::always("POST", path, action)
}

fn unknown_account_unnamed(world: &World) {
    let scene = world.scene();
    let [one, two, three, first] = ids();
    // A refusal that names nothing.
    world.simulator.fault(refusing("*", 400, 1001).account(&scene.account).saying(&two));
    let start = Instant::now();
    scene.apply(&labelled(&scene, [&one, &two, &three], &first));
    expect_two_of_three(&scene, &two, start);
}

/// The create is refused as a whole, soon and after few requests; what goes on meanwhile is told from the start.
fn unnamed_resource(world: &World) {
    let scene = world.scene();
    let [resource] = ids();
    let accounts = ids::<12>();
    let recipients: Vec<&str> = accounts.iter().map(String::as_str).collect();
    let rule = world.simulator.fault(refusing("*", 400, 1001).account(&scene.account).saying(&resource));
    let start = Instant::now();
    scene.apply(&scene.share("waf", &recipients, &[&resource], ""));
    let share = told(&scene, "share", "waf", "Rejected", start);
    let text = message(&share);
    assert!(
        text.contains("refuses to create this share") && text.contains(&resource) && text.contains("1001"),
        "{text}"
    );
    assert!(accounts.iter().all(|account| !text.contains(account)), "{text}");
    assert!(condition(&share, "Stalled").is_some() && exceptions(&share).is_empty(), "{share:#}");
    assert!(scene.changes().len() <= 6, "{:?}", scene.changes());
    let (entries, _) = world.cluster.audit_since(0).expect("an audit log");
    let told = entries.iter().map(|entry| &entry["responseObject"]);
    let mut told = told.filter(|object| object["metadata"]["uid"] == share["metadata"]["uid"]);
    assert!(told.any(|object| object["status"]["conditions"].to_string().contains("one recipient at a time")));
    world.simulator.remove_fault(rule);
    scene.ask("share", "waf");
    scene.wait_ready("share", "waf");
    assert_eq!(scene.only().live_recipients().len(), 12);
}

fn unknown_resource(world: &World) {
    let scene = world.scene();
    let [one, first, second] = ids();
    world.simulator.account(&scene.account, |account| {
        account.unknown_resources.insert(second.clone());
    });
    let start = Instant::now();
    scene.apply(&scene.share("waf", &[&one], &[&first, &second], ""));
    let share = told(&scene, "share", "waf", "Rejected", start);
    let text = message(&share);
    assert!(text.contains(&format!("resource custom-ruleset/{second}")) && text.contains("unknown resource"), "{text}");
    assert_eq!(exceptions(&share), [(second.as_str(), "refused")]);
    assert_eq!(share["status"]["resources"]["summary"], "1/2");
    assert_eq!(scene.only().live_resources().len(), 1);
}

fn only_unknown(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    world.simulator.account(&one, |account| account.known = false);
    let start = Instant::now();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    let share = told(&scene, "share", "waf", "Rejected", start);
    assert!(message(&share).contains(&one), "{}", message(&share));
    assert!(condition(&share, "Stalled").is_some());
    assert!(scene.state().is_empty());
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
}

fn added_later(world: &World) {
    let scene = world.scene();
    let [one, two, three, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    world.simulator.account(&two, |account| account.organization = None);
    let start = Instant::now();
    scene.apply(&labelled(&scene, [&one, &two, &three], &first));
    let share = told(&scene, "share", "waf", "Rejected", start);
    let text = message(&share);
    assert!(text.contains("payments-prod") && text.contains("organization"), "{text}");
    assert_eq!(exceptions(&share), [(two.as_str(), "refused")]);
    scene.wait_state("the other one", |shares| shares[0].live_recipients().len() == 2);
    // Taken out again, all is well.
    scene.apply(&scene.share("waf", &[&one, &three], &[&first], ""));
    scene.wait_ready("share", "waf");
}

fn object(world: &World) {
    let scene = world.scene();
    let [one, two, first, second] = ids();
    world.simulator.account(&two, |account| account.known = false);
    world.simulator.account(&scene.account, |account| {
        account.unknown_resources.insert(second.clone());
    });
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let start = Instant::now();
    scene.apply(&scene.recipient("two", "waf", &two, "name: payments-prod"));
    scene.apply(&scene.resource("second", "waf", &second, ""));
    let child = told(&scene, "sharerecipient", "two", "Rejected", start);
    let text = message(&child);
    assert!(text.contains("payments-prod") && text.contains("unknown account"), "{text}");
    let child = told(&scene, "shareresource", "second", "Rejected", start);
    assert!(message(&child).contains(&second), "{}", message(&child));
    assert!(condition(&child, "Stalled").is_some());
    // Together with the share it is the same.
    scene.apply(&scene.share("both", &[], &[&first], ""));
    scene.apply(&scene.recipient("one-of-both", "both", &one, ""));
    scene.apply(&scene.recipient("two-of-both", "both", &two, ""));
    scene.wait_ready("sharerecipient", "one-of-both");
    let child = scene.wait_reason("sharerecipient", "two-of-both", "Rejected");
    assert!(message(&child).contains("unknown account"), "{}", message(&child));
    scene.kubectl(&["delete", "share,sharerecipient,shareresource", "--all", "--timeout=60s"]);
    scene.wait_nothing();
}

fn owner(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    world.simulator.account(&scene.account, |account| account.known = false);
    let start = Instant::now();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    let share = told(&scene, "share", "waf", "Denied", start);
    let text = message(&share);
    for part in [scene.account.as_str(), "cloudflare-credentials", "edit Resource Sharing", "10000"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(condition(&share, "Ready").expect("Ready")["status"], "Unknown");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
}

fn no_permission(world: &World) {
    let scene = world.scene();
    let neighbour = world.scene();
    let [one, first] = ids();
    world.simulator.token(&scene.token, Policy { read_only: true, ..Policy::default() });
    let start = Instant::now();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    neighbour.apply(&neighbour.share("waf", &[&one], &[&first], ""));
    let share = told(&scene, "share", "waf", "Denied", start);
    let text = message(&share);
    for part in [scene.account.as_str(), "cloudflare-credentials", "edit Resource Sharing"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    neighbour.wait_ready("share", "waf");
    assert!(scene.state().is_empty());
    world.simulator.token(&scene.token, Policy::default());
    scene.wait_ready("share", "waf");
    assert_eq!(scene.live().len(), 1);
}

/// The one that comes first of all.
fn denied_row(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    let mut later: [String; 3] = ids();
    later.sort_unstable();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let path = "/accounts/*/shares/*/recipients";
    let rule = world.simulator.fault(refusing(path, 403, 10000).account(&scene.account).saying(&later[0]));
    scene.apply(&scene.share("waf", &[&one, &later[0], &later[1], &later[2]], &[&first], ""));
    scene.wait_state("the other two", |shares| shares[0].live_recipients().len() == 3);
    let share = scene.wait_reason("share", "waf", "Rejected");
    assert!(message(&share).contains(&later[0]), "{}", message(&share));
    assert_eq!(exceptions(&share), [(later[0].as_str(), "refused")]);
    assert_eq!(share["status"]["recipients"]["summary"], "3/4");
    world.simulator.remove_fault(rule);
    scene.ask("share", "waf");
    scene.wait_ready("share", "waf");
    assert_eq!(scene.only().live_recipients().len(), 4);
}

fn denied_beside_a_removal(world: &World) {
    let scene = world.scene();
    let [one, two, later, first] = ids();
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    scene.wait_ready("share", "waf");
    let path = "/accounts/*/shares/*/recipients";
    world.simulator.fault(refusing(path, 403, 10000).account(&scene.account).saying(&later));
    scene.apply(&scene.share("waf", &[&one, &later], &[&first], ""));
    scene.wait_state("the removal", |shares| shares[0].live_recipients().len() == 1);
    let share = scene.wait_reason("share", "waf", "Rejected");
    assert_eq!(exceptions(&share), [(later.as_str(), "refused")]);
    assert_eq!(share["status"]["recipients"]["summary"], "1/2");
}

fn denied_in_create(world: &World) {
    let scene = world.scene();
    let [one, two, three, first] = ids();
    let pointer = "/recipients/1".to_owned();
    let mut sorted = [&one, &two, &three];
    sorted.sort_unstable();
    let rule = Rule::always("POST", "*", Action::ForbiddenAt { pointer }).account(&scene.account).saying(sorted[1]);
    world.simulator.fault(rule);
    scene.apply(&scene.share("waf", &[&one, &two, &three], &[&first], ""));
    let share = scene.wait_reason("share", "waf", "Rejected");
    assert_eq!(exceptions(&share), [(sorted[1].as_str(), "refused")]);
    assert_eq!(share["status"]["recipients"]["summary"], "2/3");
    assert_eq!(scene.only().live_recipients().len(), 2);
}

fn refused_name(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    world.simulator.switches(Some(&scene.account), |switches| switches.same_name = SameName::Conflict);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.apply(&scene.share("other", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.wait_ready("share", "other");
    // Somebody at Cloudflare has the name that the share is to get.
    let other = scene.live().into_iter().find(|share| share.name == "other").expect("it is there");
    scene.apply(&scene.share("other", &[&one], &[&first], "suspend: true"));
    scene.wait_reason("share", "other", "Suspended");
    let rename = cfshare_simulator::Edit::Rename { share: other.id, name: "taken".into() };
    world.simulator.edit(rename).expect("an edit");
    let start = Instant::now();
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], "name: taken"));
    let share = told(&scene, "share", "waf", "NameTaken", start);
    assert!(message(&share).contains("the name taken"), "{}", message(&share));
    scene.wait_state("the other recipient", |shares| {
        shares.iter().any(|share| share.name == "waf" && share.live_recipients().len() == 2)
    });
    assert!(!is_ready(&scene.wait_reason("share", "waf", "NameTaken")));
}

fn mended(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    world.simulator.account(&two, |account| account.known = false);
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    scene.wait_reason("share", "waf", "Rejected");
    world.simulator.account(&two, |account| account.known = true);
    scene.ask("share", "waf");
    scene.wait_ready("share", "waf");
    assert_eq!(scene.only().live_recipients().len(), 2);
}

fn few_events(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    let mut all = vec![one];
    let apply = |all: &[String]| {
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        scene.apply(&scene.share("waf", &all, &[&first], ""));
    };
    apply(&all);
    scene.wait_ready("share", "waf");
    for _ in 0..8 {
        let [unknown] = ids();
        world.simulator.account(&unknown, |account| account.known = false);
        all.push(unknown.clone());
        apply(&all);
        scene.wait_reason("share", "waf", "Rejected");
        world.simulator.account(&unknown, |account| account.known = true);
        scene.ask("share", "waf");
        scene.wait_ready("share", "waf");
    }
    scene.wait("ten Events", || scene.events("waf").len() >= 10);
    scene.wait_sweep();
    let told = scene.events("waf");
    assert_eq!(told.len(), 10, "{told:#?}");
}

fn stays_failed(world: &World) {
    let scene = world.scene();
    let [one, failing, first] = ids();
    world.simulator.account(&failing, |account| account.entitled = false);
    scene.apply(&scene.share("waf", &[&one, &failing], &[&first], ""));
    scene.wait_reason("share", "waf", "RecipientFailed");
    let refused = Action::StatusBefore { status: 400, body: ErrorBody::Json, code: Some(1001), retry_after: None };
    let rule = Rule::always("DELETE", "/accounts/*/shares/*/recipients/*", refused).account(&scene.account);
    let rule = world.simulator.fault(rule);
    scene.ask("share", "waf");
    let told =
        format!("Cloudflare refuses to remove recipient {failing}, which must go before it can be added again: ");
    let object = scene.wait_for("share", "waf", "told of the refusal", |share| message(share).contains(&told));
    assert!(!message(&object).contains("delete this object"), "{object:#}");
    let id = scene.only().id;
    world.simulator.edit(Edit::RemoveRecipient { share: id, recipient: one.clone() }).expect("an edit");
    scene.wait_state("the other recipient is back", |shares| {
        shares[0].live_recipients().iter().any(|row| row.account_id == one)
    });
    assert_eq!(world.simulator.fired(rule), 1, "{:#?}", scene.changes());
    world.simulator.remove_fault(rule);
    world.simulator.account(&failing, |account| account.entitled = true);
    scene.ask("share", "waf");
    scene.wait_ready("share", "waf");
}

fn retries(world: &World) {
    let scene = world.own_scene();
    // So long that the retries do not become rare while they are counted.
    let _operator = scene.operator(&[("--settle-time", "600s")]);
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let path = "/accounts/*/shares/*/recipients";
    world.simulator.fault(refusing(path, 403, 10000).account(&scene.account));
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    let before = scene.wait_reason("share", "waf", "Denied");
    let posts = || scene.journal().iter().filter(|entry| entry.method == "POST" && entry.template == path).count();
    // No try is under way whose writes count and whose call does not.
    let first = posts();
    let (_, mark) = writes(&scene, 0);
    scene.wait("some tries", || posts() >= first + 4);
    let (written, _) = writes(&scene, mark);
    // Those too that were made since.
    let tries = posts() - first;
    // One of the tries may have been under way when the count began.
    assert!(written.len() <= 2 * (tries + 1), "{} writes: {written:#?}", written.len());
    let after = scene.get("share", "waf").expect("it is there");
    for shown in ["conditions", "exceptions", "recipients", "recentCalls"] {
        assert_eq!(before["status"][shown], after["status"][shown]);
    }
}
