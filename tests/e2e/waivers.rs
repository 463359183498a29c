//! Failures that a manifest accepts until a date: Ready until then, listed all the time, and red on time.

use std::process::Command;

use serde_json::{Value, json};

use crate::Test;
use crate::cli::cfshare;
use crate::scene::{Scene, World, condition, ids, is_ready, message, metrics};

pub const TESTS: &[Test] = &[
    ("waivers: a waived failure of an inline recipient does not hold Ready, and is shown everywhere", inline),
    ("waivers: a ShareRecipient is Ready while its failure is waived", of_object),
    ("waivers: an account that Cloudflare refuses to add is waived too, inline and as an object", refused_accounts),
    ("waivers: the end of a waiver is warned of once, and turns the objects red without another event", ends),
    ("waivers: a waiver without a reason, or with an end that is no moment, is refused with what to write", refused),
];

/// So many seconds from now, as a manifest says it.
pub fn until(seconds: u32) -> String {
    let run =
        Command::new("date").args(["-u", "-d", &format!("+{seconds} seconds"), "+%FT%TZ"]).output().expect("date");
    String::from_utf8(run.stdout).expect("a date").trim().to_owned()
}

pub fn waiver(until: &str) -> String {
    format!("{{reason: gets its plan in March, until: \"{until}\"}}")
}

fn manifest(scene: &Scene<'_>, fine: &str, poor: &str, first: &str, waiver: &str) -> String {
    format!(
        "{}spec:\n  accountID: {}\n  recipients: [{{accountID: {fine}}}, {{accountID: {poor}, name: payments, \
         waiver: {waiver}}}]\n  resources: [{{type: custom-ruleset, id: {first}}}]\n",
        scene.head("Share", "waf"),
        scene.account,
    )
}

/// What the API server says of a manifest that it refuses.
fn refusal(scene: &Scene<'_>, yaml: &str) -> String {
    scene.try_kubectl(&["apply", "-f", "-"], Some(yaml)).expect_err("a refusal")
}

fn ready_reason(object: &Value) -> &str {
    condition(object, "Ready").and_then(|ready| ready["reason"].as_str()).unwrap_or_default()
}

fn inline(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    world.simulator.account(&two, |account| account.entitled = false);
    scene.apply(&manifest(&scene, &one, &two, &first, &waiver("2099-03-31T00:00:00Z")));
    let share = scene.wait_ready("share", "waf");
    assert_eq!(ready_reason(&share), "Waived");
    let text = message(&share);
    for part in ["payments", "entitlement", "waived until 2099-03-31T00:00:00Z: gets its plan in March"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let listed = &share["status"]["exceptions"];
    assert_eq!((&listed[0]["accountID"], &listed[0]["terminal"]), (&json!(two), &json!(true)), "{listed:#}");
    let expected = json!({"reason": "gets its plan in March", "until": "2099-03-31T00:00:00Z"});
    assert_eq!(listed[0]["waiver"], expected);
    let counts = &share["status"]["recipients"];
    assert_eq!((&counts["summary"], &counts["failed"], &counts["waived"]), (&json!("1/2"), &json!(1), &json!(1)));
    shown(&scene, &two);
    // It changes no call: nothing but the create was sent.
    let changes = scene.changes();
    assert!(changes.len() == 1 && changes[0].starts_with("POST "), "{changes:?}");
    scene.ask("share", "waf");
    assert_eq!(scene.changes(), changes, "what is waived is not tried again on request");
    // With one that has ended, the failure counts at once.
    scene.apply(&manifest(&scene, &one, &two, &first, &waiver("2020-03-31T00:00:00Z")));
    let share = scene.wait_reason("share", "waf", "RecipientFailed");
    assert!(message(&share).contains("the waiver ended at 2020-03-31T00:00:00Z: "), "{share:#}");
    assert!(share["status"]["exceptions"][0]["waiver"].is_null(), "{share:#}");
}

/// The matrix in every format, and the status.
fn shown(scene: &Scene<'_>, account: &str) {
    let word = "failed, waived until 2099-03-31T00:00:00Z";
    for format in ["table", "wide", "csv", "json", "yaml", "html"] {
        for live in [false, true] {
            let mut args = vec!["matrix", "-o", format];
            args.extend(live.then_some("--live"));
            let ran = cfshare(scene, &args);
            let told = ran.out.contains(word) && ran.out.contains("waived: gets its plan in March");
            assert!(told, "{args:?}: {} {}", ran.out, ran.err);
        }
    }
    let list = cfshare(scene, &["matrix", "-o", "json"]).json();
    let row = list["rows"].as_array().into_iter().flatten().find(|row| row["accountID"] == account);
    assert_eq!(row.map(|row| &row["state"]), Some(&json!("waived")), "{list:#}");
    for args in [["status"].as_slice(), ["status", "waf"].as_slice(), ["status", "-o", "json"].as_slice()] {
        let ran = cfshare(scene, args);
        assert_eq!(ran.code, 0, "{args:?}: {} {}", ran.out, ran.err);
        assert!(ran.out.contains("2099-03-31T00:00:00Z") && ran.out.contains("gets its plan in March"), "{}", ran.out);
    }
}

fn of_object(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    world.simulator.account(&two, |account| account.entitled = false);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    let waiver = format!("waiver: {}", waiver("2099-03-31T00:00:00Z"));
    scene.apply(&scene.recipient("two", "waf", &two, &waiver));
    let child = scene.wait_ready("sharerecipient", "two");
    assert_eq!(ready_reason(&child), "Waived");
    assert!(message(&child).contains("2099-03-31T00:00:00Z") && message(&child).contains("entitlement"), "{child:#}");
    assert_eq!(child["status"]["errors"][0]["terminal"], true);
    let share = scene.wait_for("share", "waf", "listed the waiver", |share| {
        is_ready(share) && share["status"]["exceptions"][0]["waiver"]["until"] == "2099-03-31T00:00:00Z"
    });
    assert_eq!(ready_reason(&share), "Waived");
    let changes = scene.changes();
    scene.ask("sharerecipient", "two");
    assert_eq!(scene.changes(), changes, "what is waived is not tried again on request");
    scene.apply(&scene.recipient("two", "waf", &two, ""));
    scene.wait_reason("sharerecipient", "two", "RecipientFailed");
}

fn refused_accounts(world: &World) {
    let scene = world.scene();
    let [one, two, three, first] = ids();
    world.simulator.account(&two, |account| account.known = false);
    world.simulator.account(&three, |account| account.known = false);
    let waiver = waiver("2099-03-31T00:00:00Z");
    scene.apply(&manifest(&scene, &one, &two, &first, &waiver));
    scene.apply(&scene.recipient("three", "waf", &three, &format!("waiver: {waiver}")));
    let child = scene.wait_ready("sharerecipient", "three");
    assert!(ready_reason(&child) == "Waived" && message(&child).contains("unknown account"), "{child:#}");
    let share = scene.wait_for("share", "waf", "listed both as waived", |share| {
        let waived = |entry: &Value| entry["state"] == "refused" && !entry["waiver"].is_null();
        let listed = share["status"]["exceptions"].as_array();
        is_ready(share) && listed.is_some_and(|listed| listed.len() == 2 && listed.iter().all(waived))
    });
    assert_eq!((ready_reason(&share), &share["status"]["recipients"]["waived"]), ("Waived", &json!(2)));
    let list = cfshare(&scene, &["matrix", "-o", "json"]).json();
    let waived = list["rows"].as_array().into_iter().flatten().filter(|row| row["state"] == "waived");
    assert_eq!(waived.count(), 2, "{list:#}");
}

fn ends(world: &World) {
    let scene = world.scene();
    let [one, two, three, first] = ids();
    world.simulator.account(&two, |account| account.entitled = false);
    world.simulator.account(&three, |account| account.entitled = false);
    let accept = |end: &str| {
        scene.apply(&manifest(&scene, &one, &two, &first, &waiver(end)));
        scene.apply(&scene.recipient("three", "waf", &three, &format!("waiver: {}", waiver(end))));
    };
    // Whatever takes long is over before the time counts.
    accept("2099-03-31T00:00:00Z");
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "three");
    let end = until(20);
    accept(&end);
    for name in ["waf", "three"] {
        scene.wait_event(name, |reason, text| reason == "WaiverEnds" && text.contains(&end));
    }
    let line = format!(r#"cfshare_waivers_ending{{share_namespace="{}",share="waf"}} 2"#, scene.namespace);
    scene.wait("two waivers in the metric", || metrics(&world.operator.log()).contains(&line));
    for (kind, name) in [("share", "waf"), ("sharerecipient", "three")] {
        let object = scene.wait_reason(kind, name, "RecipientFailed");
        assert!(message(&object).contains(&format!("the waiver ended at {end}: ")), "{object:#}");
        assert!(until(0) >= end, "{object:#}");
        let told = scene.wait_event(name, |reason, _| reason == "RecipientFailed");
        assert_eq!(told.iter().filter(|(reason, _)| reason == "WaiverEnds").count(), 1, "{told:?}");
    }
    let share = scene.wait_for("share", "waf", "ended all waivers", |share| {
        let listed = share["status"]["exceptions"].as_array();
        listed.is_some_and(|listed| listed.len() == 2 && listed.iter().all(|entry| entry["waiver"].is_null()))
    });
    assert!(condition(&share, "Stalled").is_some(), "{share:#}");
}

fn refused(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    let bad = [
        ("{reason: why}", "until"),
        ("{until: \"2099-03-31T00:00:00Z\"}", "reason"),
        ("{reason: \"\", until: \"2099-03-31T00:00:00Z\"}", "say why the failure is accepted"),
        ("{reason: why, until: \"2099-03-31\"}", "write a date and time with its offset"),
        ("{reason: why, until: \"2099-02-30T00:00:00Z\"}", "until"),
        ("{reason: why, until: \"2099-03-31T00:00:00\"}", "write a date and time with its offset"),
    ];
    for (waiver, said) in bad {
        let inline = refusal(&scene, &manifest(&scene, &one, &two, &first, waiver));
        let object = refusal(&scene, &scene.recipient("two", "waf", &two, &format!("waiver: {waiver}")));
        assert!(inline.contains(said) && object.contains(said), "{waiver}: {inline} {object}");
    }
    let long = "x".repeat(201);
    let text = refusal(
        &scene,
        &manifest(&scene, &one, &two, &first, &format!("{{reason: {long}, until: \"2099-03-31T00:00:00Z\"}}")),
    );
    assert!(text.contains("200"), "{text}");
}
