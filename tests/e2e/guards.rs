//! Whether nobody loses everything by accident: by an empty list, a vanished account, another account's token.

use std::time::Duration;

use cfshare_simulator::{Action, Edit, ErrorBody, Policy, Release, Rule, ShareState, random_id};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::Test;
use crate::expect::{creates, has, only_share, sweeps, tally};
use crate::own;
use crate::scene::{PATIENCE, Scene, World, condition, ids, is_ready, message, metrics};

pub const TESTS: &[Test] = &[
    ("guards: three hundred recipients emptied by mistake all stay, until a person confirms", emptied),
    ("guards: a number and a percentage of removals hold", limits),
    ("guards: removals within ten minutes count together", together),
    ("guards: a confirmation that the manifest brings along confirms nothing", brought_along),
    ("guards: an account whose shares all vanish is left alone, and goes on when they are back", vanished_and_back),
    ("guards: an account whose shares all vanish is made anew when a person says so", vanished_for_good),
    ("guards: shares that all are deleted by hand wait for a person too", deleted_by_hand),
    ("guards: where some of many vanish, those are named, and nobody is told to give up the others", some_of_many),
    ("guards: a restart finds the breaker as it was", restarted_open),
    ("guards: a restart finds what a person said of shares that are being looked for once more", restarted_confirmed),
    ("guards: the breaker can be closed though a clock that was ahead says when it opened", reported_ahead),
    ("guards: shares that are gone for good stop nothing, also after a restart", gone_for_good),
    ("guards: a time to come closes no breaker, and hides no later one", closed_in_advance),
    ("guards: calls that a clock which was ahead announced hold up nothing", announced_ahead),
    ("guards: a few lost of many are made anew", few_of_many),
    ("guards: a token that sees nothing makes nothing anew", |w| exchanged(w, 4, blind())),
    ("guards: another account's token makes the only share not anew", |w| exchanged(w, 1, blind())),
    ("guards: another account's token makes two shares not anew", |w| exchanged(w, 2, blind())),
    ("guards: a token that is refused for the account makes nothing anew", |w| {
        exchanged(w, 2, Policy { accounts: Some(vec![random_id()]), ..Policy::default() });
    }),
    ("guards: another account's token releases nothing that is being deleted", exchanged_while_deleting),
    ("guards: a share lost under a new token is made anew when a person says so", exchanged_and_vouched),
    ("guards: a word on one share that a new token has never shown says nothing of the others", one_of_exchanged),
    ("guards: another account's token neither repeats nor lets go of an open create", exchanged_while_open),
    ("guards: an open create under a new token is repeated when a person says so", exchanged_while_open_and_vouched),
    ("guards: a share that is not there for a moment is neither made anew nor released", flicker),
    ("guards: a read that says not found out of the blue changes nothing", not_found_once),
    ("guards: a list that lies about its length changes nothing", lying_lists),
];

fn blind() -> Policy {
    Policy { blind: true, ..Policy::default() }
}

fn accounts(count: usize) -> Vec<String> {
    (0..count).map(|_| random_id()).collect()
}

fn strs(ids: &[String]) -> Vec<&str> {
    ids.iter().map(String::as_str).collect()
}

/// The share says so in its conditions, with the annotation that confirms.
fn blocked(scene: &Scene<'_>) -> Value {
    let share = scene.wait_reason("share", "waf", "RemovalBlocked");
    assert!(condition(&share, "Stalled").is_some(), "{share:#}");
    let generation = share["metadata"]["generation"].as_i64().expect("a generation");
    assert!(message(&share).contains(&format!("cfshare.dev/confirm-removals={generation}")), "{share:#}");
    share
}

fn confirm(scene: &Scene<'_>, share: &Value) {
    scene.annotate("share", "waf", &format!("cfshare.dev/confirm-removals={}", share["metadata"]["generation"]));
}

fn brought_along(world: &World) {
    let scene = world.scene();
    let many = accounts(12);
    let [x] = ids();
    // As in Git, from an earlier object.
    let manifest = |recipients: &[String]| {
        let yaml = scene.share("waf", &strs(recipients), &[&x], "");
        yaml.replacen("metadata: {", "metadata: {annotations: {cfshare.dev/confirm-removals: \"2\"}, ", 1)
    };
    scene.apply(&manifest(&many));
    scene.wait_ready("share", "waf");
    scene.apply(&manifest(&many[..1]));
    let share = scene.wait_reason("share", "waf", "RemovalBlocked");
    assert!(message(&share).contains("cfshare.dev/confirm-removals=2-2 "), "{share:#}");
    sweeps(&scene, 2);
    assert!(has(&scene.only(), &strs(&many), &[&x]));
    scene.annotate("share", "waf", "cfshare.dev/confirm-removals=2-2");
    scene.wait_state("those go that were confirmed", |shares| has(&shares[0], &[&many[0]], &[&x]));
    scene.wait_ready("share", "waf");
}

fn emptied(world: &World) {
    let scene = world.scene();
    let many = accounts(300);
    let [x, y] = ids();
    scene.apply(&scene.share("waf", &strs(&many), &[&x], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &[], &[&x], ""));
    let share = blocked(&scene);
    assert!(message(&share).contains("300 of 300"), "{share:#}");
    wait_metric(&scene, Some(300));
    // What is no removal of recipients goes on.
    scene.apply(&scene.share("waf", &[], &[&x, &y], ""));
    scene.wait_state("the other resource", |shares| has(&shares[0], &strs(&many), &[&x, &y]));
    let share = blocked(&scene);
    sweeps(&scene, 2);
    assert!(has(&scene.only(), &strs(&many), &[&x, &y]));
    // A word on an older generation does not count.
    scene.annotate("share", "waf", "cfshare.dev/confirm-removals=2");
    scene.ask("share", "waf");
    assert!(has(&scene.only(), &strs(&many), &[&x, &y]));
    confirm(&scene, &share);
    for left in [200, 100, 0] {
        scene.wait_state("fewer", |shares| shares[0].live_recipients().len() <= left);
    }
    assert!(has(&scene.only(), &[], &[&x, &y]));
    scene.wait("it to rest", || {
        let share = scene.get("share", "waf").expect("it");
        condition(&share, "Stalled").is_none_or(|stalled| stalled["reason"] != "RemovalBlocked")
    });
    wait_metric(&scene, None);
}

/// So many rows of the Share are counted as waiting for a person.
fn wait_metric(scene: &Scene<'_>, count: Option<usize>) {
    let line = format!(r#"cfshare_blocked_removals{{share_namespace="{}",share="waf"}} "#, scene.namespace);
    let found = || metrics(&scene.world.operator.log()).lines().find_map(|l| l.strip_prefix(&line).map(str::to_owned));
    scene.wait(&format!("{count:?} in the metric"), || found() == count.map(|count| count.to_string()));
}

fn limits(world: &World) {
    for (limit, count) in [("maxRemovals: 8", 8), ("maxRemovals: 50%", 10)] {
        let scene = world.scene();
        let many = accounts(20);
        let [x] = ids();
        scene.apply(&scene.share("waf", &strs(&many), &[&x], limit));
        scene.wait_ready("share", "waf");
        scene.apply(&scene.share("waf", &strs(&many[count + 1..]), &[&x], limit));
        blocked(&scene);
        assert!(has(&scene.only(), &strs(&many), &[&x]));
        scene.apply(&scene.share("waf", &strs(&many[count..]), &[&x], limit));
        scene.wait_state("as many less as are allowed", |shares| has(&shares[0], &strs(&many[count..]), &[&x]));
        scene.wait_ready("share", "waf");
    }
}

fn together(world: &World) {
    let scene = world.scene();
    let many = accounts(20);
    let [x] = ids();
    scene.apply(&scene.share("waf", &strs(&many), &[&x], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &strs(&many[4..]), &[&x], ""));
    scene.wait_state("four less", |shares| has(&shares[0], &strs(&many[4..]), &[&x]));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &strs(&many[6..]), &[&x], ""));
    let share = blocked(&scene);
    sweeps(&scene, 2);
    assert!(has(&scene.only(), &strs(&many[4..]), &[&x]));
    confirm(&scene, &share);
    scene.wait_state("two less", |shares| has(&shares[0], &strs(&many[6..]), &[&x]));
    scene.wait_ready("share", "waf");
}

/// So many settled shares, `waf-0` and so on.
fn several(scene: &Scene<'_>, count: usize) -> Vec<ShareState> {
    let manifests: Vec<String> =
        (0..count).map(|n| scene.share(&format!("waf-{n}"), &[&random_id()], &[&random_id()], "")).collect();
    scene.apply(&manifests.join("---\n"));
    each(scene, count, "became Ready", is_ready);
    scene.live()
}

fn each(scene: &Scene<'_>, count: usize, what: &str, is: impl Fn(&Value) -> bool) {
    for n in 0..count {
        scene.wait_for("share", &format!("waf-{n}"), what, &is);
    }
}

fn says(reason: &str) -> impl Fn(&Value) -> bool {
    move |share| condition(share, "Stalled").is_some_and(|stalled| stalled["reason"] == reason)
}

fn vouch(scene: &Scene<'_>, kind: &str, name: &str) {
    let time = scene.kubectl(&[
        "get",
        kind,
        name,
        "-o",
        "jsonpath={.status.conditions[?(@.type==\"Stalled\")].lastTransitionTime}",
    ]);
    scene.annotate(kind, name, &format!("cfshare.dev/close-breaker={time}"));
}

fn untouched(scene: &Scene<'_>, count: usize) {
    sweeps(scene, 3);
    assert_eq!(creates(scene), count, "{:#?}", scene.changes());
    for n in 0..count {
        let share = scene.get("share", &format!("waf-{n}")).expect("the object");
        assert!(share["status"]["shareID"].is_string(), "{share:#}");
    }
}

fn vanished_and_back(world: &World) {
    let scene = world.scene();
    let shares = several(&scene, 4);
    world.simulator.edit(Edit::VanishAll { account: scene.account.clone() }).expect("an edit");
    each(&scene, 4, "said that the breaker is open", says("BreakerOpen"));
    let share = scene.get("share", "waf-0").expect("it");
    assert!(message(&share).contains("cfshare.dev/close-breaker"), "{share:#}");
    untouched(&scene, 4);
    for share in &shares {
        world.simulator.edit(Edit::ReappearShare { share: share.id.clone() }).expect("an edit");
    }
    each(&scene, 4, "became Ready again", is_ready);
    assert_eq!(creates(&scene), 4);
    assert_eq!(scene.live().len(), 4);
}

fn vanished_for_good(world: &World) {
    let scene = world.scene();
    several(&scene, 4);
    world.simulator.edit(Edit::VanishAll { account: scene.account.clone() }).expect("an edit");
    each(&scene, 4, "said that the breaker is open", says("BreakerOpen"));
    scene.annotate("share", "waf-1", "cfshare.dev/close-breaker=2020-01-01T00:00:00Z");
    untouched(&scene, 4);
    vouch(&scene, "share", "waf-2");
    scene.wait_state("all again", |shares| shares.iter().filter(|share| share.live()).count() == 4);
    each(&scene, 4, "became Ready again", is_ready);
    sweeps(&scene, 2);
    assert_eq!((scene.live().len(), creates(&scene)), (4, 8));
}

fn deleted_by_hand(world: &World) {
    let scene = world.scene();
    several(&scene, 3);
    world.simulator.edit(Edit::DeleteAll { account: scene.account.clone() }).expect("an edit");
    each(&scene, 3, "said that the breaker is open", says("BreakerOpen"));
    untouched(&scene, 3);
    vouch(&scene, "share", "waf-0");
    each(&scene, 3, "became Ready again", is_ready);
    assert_eq!((scene.live().len(), creates(&scene)), (3, 6));
}

fn some_of_many(world: &World) {
    let scene = world.scene();
    let mut shares = several(&scene, 4);
    shares.retain(|share| share.name != "waf-3");
    for share in &shares {
        world.simulator.edit(Edit::VanishShare { share: share.id.clone() }).expect("an edit");
    }
    let [first, second, third] = [0, 1, 2].map(|n| format!("{}/waf-{n}", scene.namespace));
    let missing = format!("(missing: {first}, {second}, {third})");
    each(&scene, 4, "said which shares are missing", |share| message(share).contains(&missing));
    let give_up = |n: usize| {
        let share = scene.get("share", &format!("waf-{n}")).expect("the object");
        assert!(says("BreakerOpen")(&share), "{share:#}");
        message(&share).contains(&format!("kubectl delete --wait=false shares.cfshare.dev waf-{n} -n"))
    };
    assert_eq!([0, 1, 2, 3].map(give_up), [true, true, true, false]);
    let there = scene.get("share", "waf-3").expect("the object");
    assert!(message(&there).contains("This share was there when cfshare last read it"), "{there:#}");
    let told = |n: usize| scene.events(&format!("waf-{n}")).iter().any(|(reason, _)| reason == "BreakerOpen");
    scene.wait("an Event on a Share that misses its share", || (0..3).any(told));
    assert!(!told(3));
    // A word counts for the account, whichever Share it is on.
    vouch(&scene, "share", "waf-3");
    each(&scene, 4, "became Ready again", is_ready);
    assert_eq!((scene.live().len(), creates(&scene)), (4, 7));
}

fn restarted_confirmed(world: &World) {
    let scene = world.own_scene();
    // A share must be missing for a quarter of the settle time.
    let flags = [("--settle-time", "120s")];
    let operator = own::start(&scene, &flags);
    several(&scene, 3);
    world.simulator.edit(Edit::VanishAll { account: scene.account.clone() }).expect("an edit");
    each(&scene, 3, "said that the breaker is open", says("BreakerOpen"));
    vouch(&scene, "share", "waf-0");
    each(&scene, 3, "is looked for once more", |share| {
        share["status"]["lastCloseBreaker"].is_string() && condition(share, "Stalled").is_none()
    });
    own::crash(operator);
    assert_eq!(creates(&scene), 3);
    // Times in statuses have whole seconds: the word must be older than what the next process sees.
    std::thread::sleep(Duration::from_secs(3));
    let _operator = own::start(&scene, &flags);
    each(&scene, 3, "became Ready again", is_ready);
    assert_eq!((scene.live().len(), creates(&scene)), (3, 6));
}

/// Three Shares that report the open breaker, and nobody who runs.
fn left_open(world: &World) -> Scene<'_> {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    several(&scene, 3);
    world.simulator.edit(Edit::VanishAll { account: scene.account.clone() }).expect("an edit");
    each(&scene, 3, "said that the breaker is open", says("BreakerOpen"));
    own::crash(operator);
    scene
}

fn restarted_open(world: &World) {
    let scene = left_open(world);
    let operator = own::start(&scene, &[]);
    untouched(&scene, 3);
    own::crash(operator);
    // A word that was given while no operator ran counts as well.
    vouch(&scene, "share", "waf-0");
    let _operator = own::start(&scene, &[]);
    each(&scene, 3, "became Ready again", is_ready);
    assert_eq!((scene.live().len(), creates(&scene)), (3, 6));
}

fn reported_ahead(world: &World) {
    let scene = left_open(world);
    let tomorrow = (Timestamp::now() + Duration::from_secs(86_400)).strftime("%FT%TZ").to_string();
    for name in (0..3).map(|n| format!("waf-{n}")) {
        let share = scene.get("share", &name).expect("the object");
        let conditions = share["status"]["conditions"].as_array().expect("conditions");
        let at = conditions.iter().position(|condition| condition["type"] == "Stalled").expect("it");
        let path = format!("/status/conditions/{at}/lastTransitionTime");
        let patch = json!([{"op": "replace", "path": path, "value": tomorrow}]).to_string();
        scene.kubectl(&["patch", "share", &name, "--subresource=status", "--type=json", "-p", &patch]);
    }
    let _operator = own::start(&scene, &[]);
    untouched(&scene, 3);
    let now = Timestamp::now().strftime("%FT%TZ");
    scene.annotate("share", "waf-0", &format!("cfshare.dev/close-breaker={now}"));
    each(&scene, 3, "became Ready again", is_ready);
    assert_eq!((scene.live().len(), creates(&scene)), (3, 6));
}

fn gone_for_good(world: &World) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let [a, b, x] = ids();
    let resources = || vec![crate::cli::resource(&x, Value::Null)];
    let shares = [0, 1, 2].map(|n| crate::cli::seed(&scene, &format!("seeded-{n}"), &[&a], resources(), false));
    for (n, id) in shares.iter().enumerate() {
        scene.apply(&scene.share(&format!("waf-{n}"), &[&a], &[&x], &format!("shareID: {id}")));
    }
    scene.apply(&scene.share("other", &[&a], &[&x], ""));
    scene.wait_ready("share", "other");
    each(&scene, 3, "became Ready", is_ready);
    for id in &shares {
        world.simulator.edit(Edit::DeleteShare { share: id.clone() }).expect("an edit");
    }
    each(&scene, 3, "said that the breaker is open", says("BreakerOpen"));
    vouch(&scene, "share", "waf-0");
    each(&scene, 3, "was told of as gone", says("ShareNotFound"));
    own::crash(operator);
    let _operator = own::start(&scene, &[]);
    sweeps(&scene, 2);
    scene.apply(&scene.share("other", &[&a, &b], &[&x], ""));
    scene.wait_state("the other recipient", |shares| shares.iter().any(|share| has(share, &[&a, &b], &[&x])));
    scene.wait_ready("share", "other");
    each(&scene, 3, "is still told of as gone", says("ShareNotFound"));
}

fn closed_in_advance(world: &World) {
    let scene = world.scene();
    several(&scene, 3);
    for n in 0..3 {
        scene.annotate("share", &format!("waf-{n}"), "cfshare.dev/close-breaker=2099-01-01T00:00:00Z");
        scene.ask("share", &format!("waf-{n}"));
    }
    world.simulator.edit(Edit::VanishAll { account: scene.account.clone() }).expect("an edit");
    each(&scene, 3, "said that the breaker is open", says("BreakerOpen"));
    untouched(&scene, 3);
    each(&scene, 3, "said that the breaker is still open", says("BreakerOpen"));
    let now = Timestamp::now().strftime("%FT%TZ");
    scene.annotate("share", "waf-0", &format!("cfshare.dev/close-breaker={now}"));
    each(&scene, 3, "became Ready again", is_ready);
    assert_eq!((scene.live().len(), creates(&scene)), (3, 6));
}

fn announced_ahead(world: &World) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let [a, b, c, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], "prune: true"));
    let share = scene.wait_for("share", "waf", "rested", |share| {
        is_ready(share) && share["status"]["inventory"]["recipients"][0]["intendedAt"].is_null()
    });
    own::crash(operator);
    let tomorrow = (Timestamp::now() + Duration::from_secs(86_400)).strftime("%FT%TZ").to_string();
    let mut recipients = share["status"]["inventory"]["recipients"].clone();
    recipients.as_array_mut().expect("recipients").push(json!({"accountID": c, "intendedAt": tomorrow}));
    let patch = json!({"status": {"replacingSince": tomorrow, "inventory": {"recipients": recipients}}}).to_string();
    scene.kubectl(&["patch", "share", "waf", "--subresource=status", "--type=merge", "-p", &patch]);
    let _operator = own::start(&scene, &[]);
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], "prune: true"));
    scene.wait_state("the other recipient", |shares| has(&shares[0], &[&a, &b], &[&x]));
    let share = scene.wait_ready("share", "waf");
    assert!(share["status"]["replacingSince"].is_null(), "{share:#}");
    assert!(!share["status"]["inventory"].to_string().contains(&c), "{share:#}");
}

fn few_of_many(world: &World) {
    let scene = world.scene();
    let shares = several(&scene, 4);
    for share in &shares[..2] {
        world.simulator.edit(Edit::VanishShare { share: share.id.clone() }).expect("an edit");
    }
    scene.wait_state("all again", |shares| shares.iter().filter(|share| share.live()).count() == 4);
    each(&scene, 4, "became Ready again", is_ready);
    assert_eq!((scene.live().len(), creates(&scene)), (4, 6));
}

/// Puts another token into the Secret, and takes it out again.
fn exchanged(world: &World, count: usize, policy: Policy) {
    let scene = world.scene();
    several(&scene, count);
    let ids: Vec<String> = scene.live().into_iter().map(|share| share.id).collect();
    let other = format!("token-{}", random_id());
    world.simulator.token(&other, policy);
    scene.put_token(&other);
    each(&scene, count, "said what is wrong", |share| {
        condition(share, "Ready").is_some_and(|ready| ready["status"] == "Unknown")
            && (says("BreakerOpen")(share) || says("Denied")(share))
    });
    untouched(&scene, count);
    let told = scene.get("share", "waf-0").expect("it");
    assert!(message(&told).contains("close-breaker") || message(&told).contains("permission"), "{told:#}");
    scene.put_token(&scene.token);
    each(&scene, count, "became Ready again", is_ready);
    assert_eq!(creates(&scene), count);
    assert_eq!(scene.live().into_iter().map(|share| share.id).collect::<Vec<_>>(), ids);
}

fn exchanged_while_deleting(world: &World) {
    let scene = world.scene();
    let [a, b, x] = ids();
    scene.apply(&scene.share("waf-0", &[&a], &[&x], ""));
    scene.apply(&scene.recipient("bee", "waf-0", &b, ""));
    scene.wait_ready("share", "waf-0");
    scene.wait_ready("sharerecipient", "bee");
    let other = format!("token-{}", random_id());
    world.simulator.token(&other, blind());
    scene.put_token(&other);
    scene.wait_for("share", "waf-0", "said what is wrong", says("BreakerOpen"));
    scene.delete("sharerecipient", "bee");
    scene.wait_for("sharerecipient", "bee", "said what is wrong", says("BreakerOpen"));
    scene.delete("share", "waf-0");
    sweeps(&scene, 3);
    assert!(scene.get("share", "waf-0").is_some());
    only_share(&scene.state(), &[&a, &b], &[&x]);
    scene.put_token(&scene.token);
    scene.wait_gone("share", "waf-0");
    scene.wait_gone("sharerecipient", "bee");
    scene.wait_nothing();
}

fn exchanged_and_vouched(world: &World) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let shares = several(&scene, 1);
    // Secrets are not watched: this way the new token is the first that looks for the share.
    own::crash(operator);
    world.simulator.edit(Edit::VanishShare { share: shares[0].id.clone() }).expect("an edit");
    scene.put_token(&format!("token-{}", random_id()));
    let _operator = own::start(&scene, &[]);
    each(&scene, 1, "said that the breaker is open", says("BreakerOpen"));
    untouched(&scene, 1);
    vouch(&scene, "share", "waf-0");
    scene.wait_for("share", "waf-0", "was made anew", |share| {
        is_ready(share) && share["status"]["shareID"] != shares[0].id.as_str()
    });
    assert_eq!((scene.live().len(), creates(&scene)), (1, 2));
}

fn one_of_exchanged(world: &World) {
    let scene = world.scene();
    let before = several(&scene, 3);
    let other = format!("token-{}", random_id());
    world.simulator.token(&other, blind());
    scene.put_token(&other);
    each(&scene, 3, "said that the credential has never shown it", |share| {
        says("BreakerOpen")(share) && message(share).contains("which has never shown it")
    });
    vouch(&scene, "share", "waf-0");
    scene.wait_for("share", "waf-0", "gave its share up", |share| share["status"]["shareID"].is_null());
    sweeps(&scene, 3);
    for name in ["waf-1", "waf-2"] {
        let share = scene.get("share", name).expect("the object");
        assert!(share["status"]["shareID"].is_string() && says("BreakerOpen")(&share), "{share:#}");
    }
    scene.put_token(&scene.token);
    ["waf-1", "waf-2"].iter().for_each(|name| drop(scene.wait_ready("share", name)));
    let ids = |shares: &[ShareState]| shares.iter().map(|share| share.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&scene.live()), ids(&before));
}

/// A share whose create call is held, before or after it is carried out, while its Secret gets another token and the
/// old one is revoked. It is never answered.
fn exchange_while_open<'a>(world: &'a World, token: &str, hold: Action) -> Scene<'a> {
    let scene = world.scene();
    world.simulator.fault(Rule::once("POST", "/accounts/*/shares", hold).account(&scene.account));
    scene.apply(&scene.share("waf-0", &[&random_id()], &[&random_id()], ""));
    let held = world.simulator.wait_held(PATIENCE, |held| held.account.as_deref() == Some(&scene.account));
    world.simulator.token(&scene.token, Policy { revoked: true, ..Policy::default() });
    scene.put_token(token);
    world.simulator.release(held.expect("a create on its way").id, Release::Drop).expect("it goes on");
    let share = scene.wait_for("share", "waf-0", "said what is wrong", says("BreakerOpen"));
    assert!(message(&share).contains("cfshare.dev/close-breaker"), "{share:#}");
    scene
}

fn exchanged_while_open(world: &World) {
    let other = format!("token-{}", random_id());
    world.simulator.token(&other, blind());
    let scene = exchange_while_open(world, &other, Action::HoldAfter {});
    scene.delete("share", "waf-0");
    sweeps(&scene, 3);
    assert!(scene.get("share", "waf-0").is_some());
    assert_eq!((scene.live().len(), creates(&scene)), (1, 1));
    assert!(scene.get("share", "waf-0").expect("it")["status"].get("shareID").is_none(), "it was bound before");
    world.simulator.token(&scene.token, Policy::default());
    scene.put_token(&scene.token);
    scene.wait_gone("share", "waf-0");
    scene.wait_nothing();
    assert_eq!(creates(&scene), 1);
}

fn exchanged_while_open_and_vouched(world: &World) {
    let scene = exchange_while_open(world, &format!("token-{}", random_id()), Action::HoldBefore {});
    sweeps(&scene, 3);
    assert_eq!((scene.live().len(), creates(&scene)), (0, 1));
    vouch(&scene, "share", "waf-0");
    scene.wait_ready("share", "waf-0");
    assert_eq!((scene.live().len(), creates(&scene)), (1, 2));
}

fn flicker(world: &World) {
    let scene = world.own_scene();
    // A share must be missing for a quarter of the settle time.
    let _operator = own::start(&scene, &[("--settle-time", "120s")]);
    let [a, x] = ids();
    scene.apply(&scene.share("waf-0", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf-0");
    let id = scene.only().id;
    world.simulator.edit(Edit::VanishShare { share: id.clone() }).expect("an edit");
    scene.wait_for("share", "waf-0", "missed its share", |share| {
        condition(share, "Ready")
            .is_some_and(|ready| ready["reason"] == "ShareNotFound" && ready["status"] == "Unknown")
    });
    world.simulator.edit(Edit::ReappearShare { share: id.clone() }).expect("an edit");
    scene.wait_ready("share", "waf-0");
    world.simulator.edit(Edit::VanishShare { share: id.clone() }).expect("an edit");
    sweeps(&scene, 1);
    scene.delete("share", "waf-0");
    scene.wait_for("share", "waf-0", "is being deleted", |share| {
        condition(share, "Ready").is_some_and(|ready| ready["reason"] == "Deleting")
    });
    world.simulator.edit(Edit::ReappearShare { share: id.clone() }).expect("an edit");
    scene.wait_gone("share", "waf-0");
    assert_eq!(creates(&scene), 1);
    scene.wait_nothing();
}

fn not_found_once(world: &World) {
    let scene = world.scene();
    let [a, b, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    let id = scene.wait_ready("share", "waf")["status"]["shareID"].clone();
    for path in ["/accounts/*/shares/*", "/accounts/*/shares/*/recipients"] {
        let gone = Action::StatusBefore { status: 404, body: ErrorBody::Json, code: Some(1004), retry_after: None };
        let rule = world.simulator.fault(Rule::once("GET", path, gone).account(&scene.account));
        // The look that was asked for has met it; what it says of that is another matter.
        scene.ask("share", "waf");
        assert_eq!(world.simulator.fired(rule), 1);
        assert_eq!(scene.wait_ready("share", "waf")["status"]["shareID"], id);
    }
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    scene.wait_state("the other recipient", |shares| has(&shares[0], &[&a, &b], &[&x]));
    scene.wait_ready("share", "waf");
    let calls = tally(&scene.journal());
    assert_eq!(calls.values().sum::<usize>(), 2, "{calls:?}");
}

fn lying_lists(world: &World) {
    let scene = world.scene();
    several(&scene, 5);
    let before = scene.changes();
    let lies = [
        Action::Rewrite { set: [("/result_info/total_count".into(), 7.into())].into(), remove: vec![] },
        Action::Rewrite { set: [("/result_info/total_count".into(), 1.into())].into(), remove: vec![] },
        Action::Rewrite { set: [("/result_info/total_pages".into(), 2.into())].into(), remove: vec![] },
        Action::Rewrite { set: [("/result_info/total_pages".into(), 5000.into())].into(), remove: vec![] },
        Action::Rewrite { set: Default::default(), remove: vec!["/result/0".into()] },
        Action::Rewrite { set: Default::default(), remove: vec!["/result_info".into()] },
        Action::Rewrite { set: [("/result".into(), Value::Array(vec![]))].into(), remove: vec![] },
        Action::NullResult {},
        Action::Cut {},
        Action::Garbage { body: Some("{\"success\":true,\"result\":[]".into()), content_type: None },
        Action::StatusBefore { status: 200, body: ErrorBody::Html, code: None, retry_after: None },
    ];
    for lie in lies {
        let word = format!("{lie:?}");
        let rule = Rule::once("GET", "/accounts/*/shares", lie).account(&scene.account).times(3);
        let rule = world.simulator.fault(rule);
        scene.wait(&format!("{word} to be told"), || world.simulator.fired(rule) >= 1);
        world.simulator.remove_fault(rule);
    }
    sweeps(&scene, 2);
    each(&scene, 5, "is Ready", is_ready);
    assert_eq!(scene.changes(), before);
}
