//! Whether what Cloudflare says is shown safely, and the credential is shown nowhere.

use cfshare_simulator::{Action, Edit, RowError, Rule, random_id};
use cfshare_testbed::Process;
use serde_json::{Value, json};

use crate::Test;
use crate::cli::{at_home, finish};
use crate::expect::{only_share, sweeps};
use crate::interceptor::{Fault, Interceptor};
use crate::own;
use crate::scene::{PATIENCE, Scene, World, condition, ids, message, metrics};

pub const TESTS: &[Test] = &[
    ("hostile: a refusal's text is stripped and capped", refusal),
    ("hostile: names, words and errors of Cloudflare are stripped and capped", told),
    ("hostile: half an emoji, and an answer without end, stop nothing", undecodable),
    ("hostile: a resource whose id is no part of a URL as it stands stops nothing, and is pruned", odd_ids),
    ("hostile: the token is found in no log, Event, status or metric", canary),
    ("hostile: a Secret that the API server does not send to its end is found in none either", cut_secret),
];

fn nasty() -> String {
    let tricks =
        "\u{1b}[31mred\u{1b}]0;title\u{7}\u{202e}desrever\u{2066}\0\r\nHTTP/1.1 200\u{200b}\u{feff}\u{e0041}\u{85}";
    format!("{tricks}{}", "🎉é".repeat(20_000))
}

/// Every text in it is one short printable line.
fn is_safe(value: &Value) {
    match value {
        Value::String(text) => {
            let hides = |c: char| {
                c.is_control()
                    || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
            };
            let hidden: Vec<char> = text.chars().filter(|c| hides(*c)).collect();
            assert!(hidden.is_empty(), "{hidden:?} in {text:?}");
            assert!(text.chars().count() <= 1500, "{} characters: {text:.200}", text.chars().count());
        }
        Value::Array(list) => list.iter().for_each(is_safe),
        Value::Object(map) => map.values().for_each(is_safe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Status and Events of the share.
fn is_shown_safely(scene: &Scene<'_>, name: &str) -> Value {
    let share = scene.get("share", name).expect("the share");
    is_safe(&share["status"]);
    for (reason, text) in scene.events(name) {
        is_safe(&json!([reason, text]));
    }
    share
}

fn refusal(world: &World) {
    let scene = world.scene();
    let [a, x] = ids();
    world.simulator.account(&a, |account| account.known = false);
    let text = Action::Rewrite { set: [("/errors/0/message".into(), nasty().into())].into(), remove: vec![] };
    let rule = Rule::always("POST", "/accounts/*/shares", text).account(&scene.account);
    let rule = world.simulator.fault(rule);
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_reason("share", "waf", "Rejected");
    let share = is_shown_safely(&scene, "waf");
    assert!(message(&share).contains("red"), "{share:#}");
    assert!(world.simulator.fired(rule) >= 1);
}

fn told(world: &World) {
    let scene = world.scene();
    let [a, b, x] = ids();
    world.simulator.account(&scene.account, |account| account.name = Some(nasty()));
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.apply(&scene.recipient("bee", "waf", &b, ""));
    scene.wait_ready("share", "waf");
    scene.wait_ready("sharerecipient", "bee");
    is_shown_safely(&scene, "waf");
    let id = scene.only().id;
    let error = RowError { resource_id: nasty(), resource_version: 1, error: nasty(), terminal: true };
    for account in [&a, &b] {
        let edit = Edit::SetRecipient {
            share: id.clone(),
            recipient: account.to_string(),
            status: Some(nasty()),
            errors: Some(vec![error.clone()]),
            clear: false,
        };
        world.simulator.edit(edit).expect("an edit");
    }
    let edit = Edit::SetMeta { share: id.clone(), resource: x.clone(), meta: json!({ "note": nasty() }) };
    world.simulator.edit(edit).expect("an edit");
    world.simulator.edit(Edit::Rename { share: id.clone(), name: nasty() }).expect("an edit");
    world
        .simulator
        .edit(Edit::AddResource { share: id, resource_type: nasty(), id: "foreign".into(), account: None, meta: None })
        .expect("an edit");
    for (kind, name) in [("share", "waf"), ("sharerecipient", "bee")] {
        scene.wait_for(kind, name, "said that a recipient failed", |object| {
            condition(object, "Stalled").is_some_and(|stalled| stalled["reason"] == "RecipientFailed")
        });
    }
    scene.wait_state("the name put right", |shares| shares[0].name == "waf");
    is_shown_safely(&scene, "waf");
    let bee = scene.get("sharerecipient", "bee").expect("it");
    is_safe(&bee["status"]);
    for (reason, text) in scene.events("bee") {
        is_safe(&json!([reason, text]));
    }
    sweeps(&scene, 1);
}

fn undecodable(world: &World) {
    let scene = world.scene();
    let [a, b, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    let half = r#"{"success":true,"errors":[],"messages":[],"result":[{"id":"\ud83d","account_id":"\ud83d"}]}"#;
    for action in [
        Action::Garbage { body: Some(half.into()), content_type: None },
        Action::Garbage { body: Some("[".repeat(200_000)), content_type: None },
        Action::Huge { bytes: 80 << 20 },
    ] {
        let rule = Rule::always("GET", "/accounts/*/shares/*/recipients", action).account(&scene.account);
        let rule = world.simulator.fault(rule);
        scene.annotate("share", "waf", &format!("cfshare.dev/requestedAt={}", random_id()));
        // It is asked for again once the pass that met the first answer has ended.
        scene.wait("a second answer", || world.simulator.fired(rule) >= 2);
        is_shown_safely(&scene, "waf");
        world.simulator.remove_fault(rule);
        scene.ask("share", "waf");
        scene.wait_ready("share", "waf");
    }
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    scene.wait_ready("share", "waf");
    only_share(&scene.state(), &[&a, &b], &[&x]);
}

/// One is in a share that nobody declares, and one in a share that prunes.
fn odd_ids(world: &World) {
    let scene = world.scene();
    let [a, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.apply(&scene.share("theirs", &[&a], &[&x], "deletionPolicy: Retain"));
    scene.wait_ready("share", "waf");
    scene.wait_ready("share", "theirs");
    scene.delete("share", "theirs");
    scene.wait_gone("share", "theirs");
    for (share, id) in scene.live().into_iter().zip(["idp/okta", "a b?c=d#e%2f{}|"]) {
        let resource_type = "custom-ruleset".to_owned();
        let edit = Edit::AddResource { share: share.id, resource_type, id: id.to_owned(), account: None, meta: None };
        world.simulator.edit(edit).expect("an edit");
    }
    sweeps(&scene, 3);
    scene.apply(&scene.share("waf", &[&a], &[&x], "prune: true"));
    scene.apply(&scene.share("new", &[&a], &[&x], ""));
    scene.wait_ready("share", "new");
    scene.wait_state("only what is declared", |shares| {
        let waf = shares.iter().find(|share| share.name == "waf").expect("it is there");
        waf.live_resources().len() == 1
    });
    scene.wait_ready("share", "waf");
    assert_eq!(scene.live().len(), 3);
}

fn canary(world: &World) {
    let scene = world.own_scene();
    let canary = format!("canary+{}/=", random_id());
    scene.apply(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: cloudflare-credentials}}\nstringData: {{apiToken: \"{canary}\"}}\n"
    ));
    let operator = own::start(&scene, &[("--log-filter", "trace")]);
    let [a, b, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    // An answer that says the token back.
    let echo = Action::Rewrite { set: [("/errors/0/message".into(), canary.clone().into())].into(), remove: vec![] };
    world.simulator.account(&b, |account| account.known = false);
    let rule = Rule::always("POST", "/accounts/*/shares/*/recipients", echo).account(&scene.account);
    let rule = world.simulator.fault(rule);
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    scene.wait_reason("share", "waf", "Rejected");
    world.simulator.remove_fault(rule);
    let lost = Rule::once("GET", "/accounts/*/shares", Action::Reset {}).account(&scene.account);
    let lost = world.simulator.fault(lost);
    scene.wait("a call that is lost", || world.simulator.fired(lost) == 1);
    sweeps(&scene, 1);
    let metrics = metrics(&operator.log());
    assert!(metrics.contains("cfshare"), "{metrics}");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    let log = operator.log();
    assert!(log.contains("TRACE"), "the log is not at trace");
    let objects = scene.kubectl(&["get", "shares,events.events.k8s.io", "-o", "json"]);
    for (place, text) in [("the log", &log), ("the objects", &objects), ("the metrics", &metrics)] {
        for form in forms(&canary) {
            assert!(!text.contains(&form), "the token is in {place} as {form}");
        }
    }
    let used = scene.journal().iter().all(|e| e.credential.as_deref() == Some(&cfshare_simulator::short_hash(&canary)));
    assert!(used, "another token was used");
    assert!(operator.stop(PATIENCE).is_some());
}

fn cut_secret(world: &World) {
    let scene = world.own_scene();
    let canary = format!("canary+{}/=", random_id());
    scene.put_token(&canary);
    let proxy = Interceptor::start(&world.cluster, Fault::CutSecrets("\"type\""));
    let mut command = own::command(&scene, &scene.namespace, &[("--log-filter", "trace,kube_client::client=trace")]);
    proxy.lead(&scene, &mut command);
    let operator = Process::start(command, scene.file("operator.log")).expect("the operator starts");
    let [a, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    let share = scene.wait_reason("share", "waf", "CredentialsNotFound");
    let mut command = at_home(&scene, env!("CARGO_BIN_EXE_cfshare"));
    proxy.lead(&scene, &mut command);
    command.env("RUST_LOG", "trace").args(["doctor", "-n", &scene.namespace]);
    let ran = finish(command, "");
    scene.wait("a second read", || proxy.held() >= 3);
    let log = operator.log();
    assert!(log.contains("TRACE"), "the log is not at trace");
    let objects = scene.kubectl(&["get", "shares,events.events.k8s.io", "-o", "json"]);
    let told = format!("{}{}", ran.out, ran.err);
    for (place, text) in [("the log", &log), ("the objects", &objects), ("what doctor prints", &told)] {
        for form in forms(&canary) {
            assert!(!text.contains(&form), "the token is in {place} as {form}");
        }
    }
    assert!(
        message(&share).contains("ended too early") && ran.out.contains("ended too early"),
        "{share:#}\n{}",
        ran.out
    );
}

/// The text as it is, URL-encoded, and in base64 at each of its three offsets.
fn forms(secret: &str) -> Vec<String> {
    let encoded: String = secret
        .bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect();
    let mut forms = vec![secret.to_owned(), encoded];
    for offset in 0..3 {
        let text = base64(&[&b"xyz"[..offset], secret.as_bytes()].concat());
        // What is round it moves the first and the last characters.
        forms.push(text[4..text.len() - 4].to_owned());
    }
    forms
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let letter = ALPHABET[(word >> (18 - 6 * at) & 63) as usize];
            text.push(if at > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    text
}
