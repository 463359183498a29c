//! What is told and done when a token stops working, wholly or in part, and when it works again.

use cfshare_simulator::{Action, BadCredential, Edit, Policy, Rule, random_id};
use serde_json::Value;

use crate::Test;
use crate::cli::{at_home, cfshare, finish};
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
    ("tokens: plan and doctor say that a token shows none of the shares, and plan no create", another_accounts),
    ("tokens: who may not read a Secret is told so, and a ServiceAccount is not taken for the operator's", viewer),
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

fn another_accounts(world: &World) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let [a, x, y] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.apply(&scene.share("dns", &[&a], &[&y], ""));
    let id = |name: &str| scene.wait_ready("share", name)["status"]["shareID"].as_str().expect("an id").to_owned();
    let (waf, dns) = (id("waf"), id("dns"));
    own::crash(operator);
    let before = scene.changes().len();
    let other = format!("token-{}", random_id());
    world.simulator.token(&other, Policy { blind: true, ..Policy::default() });
    // In the environment, and then in the Secret, which is what the operator has.
    let mut command = at_home(&scene, env!("CARGO_BIN_EXE_cfshare"));
    command.env("CLOUDFLARE_API_TOKEN", &other).args(["plan", "-n", &scene.namespace]);
    let ran = finish(command, "");
    assert!(ran.code == 1 && !ran.out.contains("create share"), "{} {}", ran.code, ran.out);
    let unseen = |id: &str, whose: &str| format!("  ! cfshare cannot see share {id} with the credential in {whose}");
    for id in [&waf, &dns] {
        let unknown =
            format!("the operator saw share {id} with another one: it is not known whether the share is gone");
        assert!(ran.out.contains(&unknown), "{}", ran.out);
    }
    scene.put_token(&other);
    let ran = cfshare(&scene, &["plan"]);
    assert!(ran.code == 1 && !ran.out.contains("create share"), "{} {}", ran.code, ran.out);
    for id in [&waf, &dns] {
        assert!(ran.out.contains(&unseen(id, "Secret cloudflare-credentials")), "{}", ran.out);
    }
    let ran = cfshare(&scene, &["doctor"]);
    let none =
        format!("fail  account {}: Secret {}/cloudflare-credentials shows none of", scene.account, scene.namespace);
    assert!(ran.code == 1 && ran.out.contains(&format!("{none} the 2 shares that Shares have")), "{}", ran.out);
    assert!(ran.out.contains("most likely it belongs to another account"), "{}", ran.out);
    // The token that showed them is believed.
    scene.put_token(&scene.token);
    world.simulator.edit(Edit::VanishShare { share: dns.clone() }).expect("an edit");
    let ran = cfshare(&scene, &["plan"]);
    let recreated =
        format!("  . share {dns} no longer exists at Cloudflare and is recreated\n  + create share \"dns\"");
    assert!(ran.code == 2 && ran.out.contains(&recreated), "{} {}", ran.code, ran.out);
    let ran = cfshare(&scene, &["doctor"]);
    let some = format!("does not show 1 of the 2 shares that Shares have ({dns} of Share {}/dns)", scene.namespace);
    assert!(ran.code == 0 && ran.out.contains(&some), "{}", ran.out);
    assert_eq!(scene.changes().len(), before);
}

fn viewer(world: &World) {
    let scene = world.scene();
    settled(&scene);
    scene.kubectl(&["create", "serviceaccount", "ci"]);
    scene.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: ci}}\nrules:\n\
         - {{apiGroups: [cfshare.dev], resources: [shares, sharerecipients, shareresources], verbs: [get, list]}}\n---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: ci}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: ci}}\n\
         subjects: [{{kind: ServiceAccount, name: ci, namespace: {}}}]\n",
        scene.namespace
    ));
    let user = format!("system:serviceaccount:{}:ci", scene.namespace);
    let as_user = |args: &[&str]| cfshare(&scene, &[args, &["--as", &user]].concat());
    scene.wait("the rights are granted", || as_user(&["status"]).code != 1);
    let refused = format!("you are not allowed to read Secret {}/cloudflare-credentials: ", scene.namespace);
    let ran = as_user(&["plan"]);
    let advised = format!("  ! {refused}set CLOUDFLARE_API_TOKEN, ");
    assert!(ran.code == 1 && ran.out.contains(&advised), "{} {}", ran.code, ran.out);
    let ran = as_user(&["matrix", "--live"]);
    assert!(ran.code == 3 && ran.out.contains(&refused), "{} {}", ran.code, ran.out);
    let ran = as_user(&["doctor"]);
    assert!(ran.code == 1 && ran.out.contains(&format!("fail  {refused}ask for that permission")), "{}", ran.out);
    // Nor is it the operator.
    assert!(ran.out.contains("warn  rights: not checked, because it is not known which"), "{}", ran.out);
    assert!(!ran.out.contains("the operator may not") && !ran.out.contains("self-restriction"), "{}", ran.out);
    let named = as_user(&["doctor", "--service-account", &format!("{}/ci", scene.namespace)]);
    assert!(named.out.contains("fail  rights: the operator may not "), "it is asked about itself: {}", named.out);
}
