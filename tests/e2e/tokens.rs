//! What is told and done when a token stops working, wholly or in part, and when it works again.

use cfshare_simulator::{Action, BadCredential, Policy, Rule, random_id};
use serde_json::Value;

use crate::Test;
use crate::expect::{has, only_share, sweeps};
use crate::own;
use crate::scene::{Scene, World, condition, ids, is_ready, message};

pub const TESTS: &[Test] = &[
    ("tokens: a revoked token is told of settled shares too, and nothing is lost", |w| {
        revoked(w, BadCredential::Forbidden);
    }),
    ("tokens: a revoked token that is answered with 401 is told as well", |w| {
        revoked(w, BadCredential::Unauthorized);
    }),
    ("tokens: a malformed token (400 with 6003 and an error chain) is denied, and the Secret named", |w| {
        malformed(w, BadCredential::Malformed, &["6003", "Invalid format for Authorization header"]);
    }),
    ("tokens: a malformed token (400 with 10000) is denied, and the Secret named", |w| {
        malformed(w, BadCredential::BadRequest, &["10000", "Authentication error"]);
    }),
    ("tokens: one Event tells of a token that many objects use", one_event),
    ("tokens: a token that may only read says what it lacks, and goes on when it has it", read_only),
    ("tokens: a refusal now and then makes nothing flap", flaky),
    ("tokens: one refusal of a write is not told as denied", single_refusal),
    ("tokens: a deleting object ends though its Secret went first", secret_gone),
];

fn denied(share: &Value) -> bool {
    let is = |kind: &str, status: &str| {
        condition(share, kind).is_some_and(|c| c["status"] == status && c["reason"] == "Denied")
    };
    is("Ready", "Unknown") && is("Stalled", "True")
}

fn settled(scene: &Scene<'_>) -> [String; 3] {
    let [a, b, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    [a, b, x]
}

fn policy(world: &World, scene: &Scene<'_>, change: impl FnOnce(&mut Policy)) {
    let mut policy = Policy::default();
    change(&mut policy);
    world.simulator.token(&scene.token, policy);
}

fn revoked(world: &World, answer: BadCredential) {
    let scene = world.scene();
    world.simulator.switches(Some(&scene.account), |s| s.bad_credential = answer);
    let [a, b, x] = settled(&scene);
    policy(world, &scene, |p| p.revoked = true);
    scene.wait_for("share", "waf", "was told of as denied", denied);
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    scene.wait_for("share", "waf", "was told of as denied still", |share| {
        crate::scene::is_observed(share) && denied(share)
    });
    only_share(&scene.state(), &[&a], &[&x]);
    policy(world, &scene, |_| {});
    scene.wait_ready("share", "waf");
    only_share(&scene.state(), &[&a, &b], &[&x]);
}

/// From the first call on, and until the Secret holds another one.
fn malformed(world: &World, answer: BadCredential, says: &[&str]) {
    let scene = world.scene();
    world.simulator.switches(Some(&scene.account), |s| s.bad_credential = answer);
    policy(world, &scene, |p| p.revoked = true);
    let [a, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    let share = scene.wait_for("share", "waf", "was told of as denied", denied);
    let text = message(&share);
    for part in says.iter().chain(&["cloudflare-credentials"]) {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("spec.accountID") && !text.contains(&scene.token), "{text}");
    scene.put_token(&format!("token-{}", random_id()));
    scene.wait_ready("share", "waf");
    only_share(&scene.state(), &[&a], &[&x]);
}

fn one_event(world: &World) {
    let scene = world.scene();
    let names: Vec<String> = (0..6).map(|i| format!("share-{i}")).collect();
    for name in &names {
        let [a, b, x] = ids();
        scene.apply(&scene.share(name, &[&a], &[&x], ""));
        scene.apply(&scene.recipient(&format!("child-of-{name}"), name, &b, ""));
    }
    let all = || names.iter().map(|name| ("share", name.clone())).chain(names.iter().map(child));
    all().for_each(|(kind, name)| drop(scene.wait_ready(kind, &name)));
    policy(world, &scene, |p| p.revoked = true);
    all().for_each(|(kind, name)| drop(scene.wait_for(kind, &name, "was told of as denied", denied)));
    let told = || {
        let events = scene.kubectl(&["get", "events.events.k8s.io", "-o", "jsonpath={.items[*].reason}"]);
        events.split_whitespace().filter(|reason| *reason == "Denied").count()
    };
    scene.wait("the Event", || told() > 0);
    // Refused sweeps are further and further apart.
    sweeps(&scene, 1);
    assert_eq!(told(), 1);
    policy(world, &scene, |_| {});
    all().for_each(|(kind, name)| drop(scene.wait_ready(kind, &name)));
}

fn child(share: &String) -> (&'static str, String) {
    ("sharerecipient", format!("child-of-{share}"))
}

fn read_only(world: &World) {
    let scene = world.scene();
    let [a, b, x] = settled(&scene);
    policy(world, &scene, |p| p.read_only = true);
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    let share = scene.wait_for("share", "waf", "was told of as denied", denied);
    assert!(message(&share).contains("Resource Sharing"), "{share:#}");
    only_share(&scene.state(), &[&a], &[&x]);
    policy(world, &scene, |_| {});
    scene.ask("share", "waf");
    scene.wait_ready("share", "waf");
    only_share(&scene.state(), &[&a, &b], &[&x]);
}

/// A share never says that it is not ready, however many calls are refused now and then.
fn flaky(world: &World) {
    let scene = world.scene();
    let [a, _, x] = settled(&scene);
    let since = condition(&scene.wait_ready("share", "waf"), "Ready").expect("it")["lastTransitionTime"].clone();
    policy(world, &scene, |p| p.flaky = Some(4));
    for _ in 0..8 {
        scene.ask("share", "waf");
    }
    sweeps(&scene, 3);
    let share = scene.wait_ready("share", "waf");
    assert_eq!(condition(&share, "Ready").expect("it")["lastTransitionTime"], since, "{share:#}");
    let refused = scene.journal().iter().filter(|entry| entry.status == Some(403)).count();
    assert!(
        refused >= 4,
        "only {refused} refusals: {:#?}",
        scene.journal().iter().map(crate::scene::describe).collect::<Vec<_>>()
    );
    only_share(&scene.state(), &[&a], &[&x]);
}

fn single_refusal(world: &World) {
    let scene = world.scene();
    let [a, b, x] = settled(&scene);
    let rule = Rule::once("POST", "/accounts/*/shares/*/recipients", Action::Forbidden {}).account(&scene.account);
    let rule = world.simulator.fault(rule);
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    scene.wait_state("the other recipient", |shares| has(&shares[0], &[&a, &b], &[&x]));
    scene.wait_ready("share", "waf");
    assert_eq!(world.simulator.fired(rule), 1);
    sweeps(&scene, 1);
    let stalled = scene.events("waf").into_iter().filter(|(reason, _)| reason == "Denied").count();
    assert_eq!(stalled, 0);
}

fn secret_gone(world: &World) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let [a, b, x] = settled(&scene);
    scene.apply(&scene.recipient("bee", "waf", &b, ""));
    scene.wait_ready("sharerecipient", "bee");
    only_share(&scene.state(), &[&a, &b], &[&x]);
    scene.kubectl(&["delete", "secret", "cloudflare-credentials"]);
    // What lives has lost it.
    scene.wait_reason("share", "waf", "CredentialsNotFound");
    scene.delete("sharerecipient", "bee");
    scene.wait_gone("sharerecipient", "bee");
    scene.delete("share", "waf");
    scene.wait_gone("share", "waf");
    scene.wait_nothing();
    // Without memory there is nothing to call with: the object stays, and says how to end it.
    scene.put_token(&format!("token-{}", random_id()));
    let [a, x] = ids();
    scene.apply(&scene.share("later", &[&a], &[&x], ""));
    scene.wait_ready("share", "later");
    own::crash(operator);
    scene.kubectl(&["delete", "secret", "cloudflare-credentials"]);
    scene.delete("share", "later");
    let _operator = own::start(&scene, &[]);
    let share = scene.wait_for("share", "later", "said what it lacks", |share| {
        condition(share, "Ready").is_some_and(|ready| ready["reason"] == "CredentialsNotFound")
    });
    assert!(message(&share).contains("Retain") && message(&share).contains(&scene.only().id), "{share:#}");
    assert!(!is_ready(&share));
    scene.put_token(&scene.token);
    scene.wait_gone("share", "later");
    scene.wait_nothing();
}
