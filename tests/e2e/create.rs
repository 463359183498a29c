//! Whether a share is made exactly once, whatever becomes of the call that makes it.

use std::net::TcpListener;

use cfshare_simulator::{Action, ErrorBody, Release, Rule, SameName, Seed, SeedShare, random_id};
use cfshare_testbed::Process;

use crate::Test;
use crate::expect::{creates, gone, nothing_doubled, only_share, sweeps};
use crate::interceptor::{Fault, Interceptor};
use crate::own;
use crate::scene::{PATIENCE, Scene, World, condition, ids, message};

pub const TESTS: &[Test] = &[
    ("create: a lost request is sent again after the settle time", lost_request),
    ("create: a lost answer is adopted, not repeated", lost_answer),
    ("create: a lost answer is adopted whatever the clocks say", clocks_differ),
    ("create: a request that arrives late is found, not repeated", late),
    ("create: a request that arrives twice is named, and the older share is left alone", twice),
    ("create: a request that arrives twice where names are unique makes one share, which is ours", twice_and_unique),
    ("create: a response about an older share binds nothing to it", older_share),
    ("create: a share that Cloudflare names a little differently is made once, and the name is given up", |w| {
        other_spelling(w, None)
    }),
    ("create: a share that Cloudflare names a little differently is found though the answer is lost", |w| {
        other_spelling(w, Some(Action::ApplyDrop {}))
    }),
    ("create: a share whose name Cloudflare cuts is made once, and goes with its object", cut_name),
    ("create: two shares that could be meant stop it, and shareID goes on", ambiguous),
    ("create: an error page after it was carried out does not repeat it", html_after),
    ("create: an error before it was carried out repeats it after the settle time", error_before),
    ("create: a redirect is not followed", redirect),
    ("create: no spoilt answer repeats it", spoilt),
    ("create: a limiter's 429 is waited for", throttled),
    ("create: killed before it is carried out, it is found by the next process", killed_before),
    ("create: killed and never carried out, the next process makes it once", killed_and_lost),
    ("create: killed before the answer, it is found by the next process", killed_after),
    ("create: deleted with an open announcement, what it made goes too", deleted_while_open),
    (
        "create: deleted with an open announcement, what it made stays, and its object can still remove its row",
        retained_while_open,
    ),
    ("create: deleted with an open announcement that made nothing, the object goes", deleted_while_lost),
    ("create: a person's share of that name and other resources is not taken for ours", person_beside),
    ("create: a person's share of that name stops a repetition", person_instead),
    ("create: three lost attempts in an hour are enough", three_lost),
    ("create: lost answers of several objects are told apart", several),
    ("create: what was announced without an answer of the API server is sent soon, and once", unanswered),
    ("create: deleted with an announcement that was never sent, the object goes at once", unanswered_deletion),
];

const SHARES: &str = "/accounts/*/shares";

/// A share of one recipient and one resource, whose create suffers the fault.
fn with_fault(world: &World, action: Action) -> (Scene<'_>, String, String, u64) {
    let scene = world.scene();
    let rule = world.simulator.fault(Rule::once("POST", SHARES, action).account(&scene.account));
    let [a, x] = std::array::from_fn(|_| random_id());
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    (scene, a, x, rule)
}

/// Comes to rest as one share after so many create calls, and stays so.
fn one_share(scene: &Scene<'_>, a: &str, x: &str, calls: usize) {
    scene.wait_ready("share", "waf");
    sweeps(scene, 2);
    only_share(&scene.state(), &[a], &[x]);
    assert_eq!(creates(scene), calls, "{:#?}", scene.changes());
    let id = &scene.only().id;
    let share = scene.get("share", "waf").expect("the share");
    assert_eq!(share["status"]["shareID"], id.as_str());
    assert!(share["status"].get("intent").is_none(), "{share:#}");
}

fn lost_request(world: &World) {
    let (scene, a, x, rule) = with_fault(world, Action::Drop {});
    one_share(&scene, &a, &x, 2);
    assert_eq!(world.simulator.fired(rule), 1);
    assert_eq!(scene.state().len(), 1);
    let calls: Vec<i64> = scene.journal().iter().filter(|e| e.method == "POST").map(|e| e.at).collect();
    assert!(calls[1] - calls[0] >= 6_000_000, "the settle time was not waited for: {calls:?}");
}

fn lost_answer(world: &World) {
    for action in [Action::ApplyDrop {}, Action::ApplyReset {}] {
        let (scene, a, x, rule) = with_fault(world, action);
        one_share(&scene, &a, &x, 1);
        assert_eq!(world.simulator.fired(rule), 1);
        assert_eq!(scene.state().len(), 1);
    }
}

/// The `Date` header and `created` differ, either way.
fn clocks_differ(world: &World) {
    for ahead in [5_000, 10_000, 3_600_000, -5_000, -3_600_000] {
        let scene = world.scene();
        world.simulator.switches(Some(&scene.account), |switches| switches.date_ahead_ms = ahead);
        // Somebody's share, so that the operator knows the clock before it creates.
        let [a, x, b, y] = ids();
        seed(world, &scene, "other", &b, &y);
        world.simulator.fault(Rule::once("POST", SHARES, Action::ApplyDrop {}).account(&scene.account));
        scene.apply(&scene.share("waf", &[&a], &[&x], ""));
        let share = scene.wait_ready("share", "waf");
        sweeps(&scene, 2);
        assert_eq!(creates(&scene), 1, "{ahead}: {:#?}", scene.changes());
        let id = share["status"]["shareID"].as_str().expect("an id").to_owned();
        let ours = world.simulator.share(&id).expect("the share");
        assert_eq!((ours.name.as_str(), scene.live().len()), ("waf", 2), "{ahead}");
        scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
        assert_eq!(scene.only().name, "other", "{ahead}");
    }
}

fn late(world: &World) {
    let (scene, a, x, rule) = with_fault(world, Action::Late { ms: 3000 });
    one_share(&scene, &a, &x, 1);
    assert_eq!(world.simulator.fired(rule), 1);
    assert_eq!(scene.state().len(), 1);
}

fn twice(world: &World) {
    let (scene, _, _, rule) = with_fault(world, Action::Twice {});
    let share = scene.wait_for("share", "waf", "told of the other share", |share| {
        let state = scene.live();
        let bound = share["status"]["shareID"].as_str().unwrap_or_default();
        let other = state.iter().find(|state| state.id != bound).map(|state| state.id.clone()).unwrap_or_default();
        state.len() == 2 && !bound.is_empty() && message(share).contains(&other)
    });
    assert_eq!(world.simulator.fired(rule), 1);
    assert_eq!(creates(&scene), 1);
    let bound = share["status"]["shareID"].as_str().expect("an id").to_owned();
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    assert_ne!(scene.only().id, bound);
}

/// The answer is that to the second copy: a conflict with what the first one made, whatever the clocks say.
fn twice_and_unique(world: &World) {
    for ahead in [0, 5_000, -5_000, 3_600_000, -3_600_000] {
        let scene = world.scene();
        world.simulator.switches(Some(&scene.account), |switches| {
            switches.same_name = SameName::Conflict;
            switches.date_ahead_ms = ahead;
        });
        let rule = world.simulator.fault(Rule::once("POST", SHARES, Action::Twice {}).account(&scene.account));
        let [a, x, b, y] = ids();
        // Somebody's share, so that the operator knows the clock before it creates.
        let other = seed(world, &scene, "other", &b, &y);
        scene.apply(&scene.share("waf", &[&a], &[&x], ""));
        scene.wait_ready("share", "waf");
        assert_eq!((creates(&scene), scene.live().len(), world.simulator.fired(rule)), (1, 2, 1), "{ahead}");
        scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
        assert_eq!(scene.only().id, other, "{ahead}: what it made went with it");
    }
}

fn older_share(world: &World) {
    let scene = world.scene();
    let [a, x, b, y] = ids();
    let older = seed(world, &scene, "by hand", &b, &y);
    let set = [("/result/id".into(), older.as_str().into()), ("/result/created".into(), "2020-01-01T00:00:00Z".into())];
    let rewrite = Action::Rewrite { set: set.into(), remove: vec![] };
    let rule = world.simulator.fault(Rule::once("POST", SHARES, rewrite).account(&scene.account));
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    let share = scene.wait_ready("share", "waf");
    assert_eq!(world.simulator.fired(rule), 1);
    assert_ne!(share["status"]["shareID"], older.as_str());
    assert_eq!(creates(&scene), 1, "{:#?}", scene.changes());
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    assert_eq!(scene.only().id, older);
}

fn ambiguous(world: &World) {
    let (scene, a, x, rule) = with_fault(world, Action::HoldBefore {});
    let held = world.simulator.wait_held(PATIENCE, |held| held.account.as_deref() == Some(&scene.account));
    let held = held.expect("a create on its way");
    let twin = seed(world, &scene, "waf", &a, &x);
    world.simulator.release(held.id, Release::ApplyDrop).expect("it goes on");
    let share = scene.wait_reason("share", "waf", "Ambiguous");
    let ours = scene.live().into_iter().map(|share| share.id).find(|id| *id != twin).expect("the share we made");
    for id in [&ours, &twin] {
        assert!(message(&share).contains(id.as_str()), "{share:#}");
    }
    scene.apply(&scene.share("waf", &[&a], &[&x], &format!("shareID: {ours}")));
    let share = scene.wait_for("share", "waf", "took the chosen one", |share| {
        crate::scene::is_ready(share) && share["status"]["shareID"] == ours.as_str()
    });
    assert!(share["status"].get("intent").is_none(), "{share:#}");
    assert_eq!(world.simulator.fired(rule), 1);
    assert_eq!(creates(&scene), 1);
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    assert_eq!(scene.only().id, twin);
}

fn html_after(world: &World) {
    let answer = Action::StatusAfter { status: 502, body: ErrorBody::Html, code: None, retry_after: None };
    let (scene, a, x, _) = with_fault(world, answer);
    one_share(&scene, &a, &x, 1);
    let answer = Action::StatusAfter { status: 500, body: ErrorBody::Json, code: Some(10013), retry_after: None };
    let (scene, a, x, _) = with_fault(world, answer);
    one_share(&scene, &a, &x, 1);
}

fn error_before(world: &World) {
    let answer = Action::StatusBefore { status: 503, body: ErrorBody::Html, code: None, retry_after: None };
    let (scene, a, x, _) = with_fault(world, answer);
    one_share(&scene, &a, &x, 2);
    assert_eq!(scene.state().len(), 1);
}

fn redirect(world: &World) {
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
    elsewhere.set_nonblocking(true).expect("not to block");
    let to = format!("http://{}/", elsewhere.local_addr().expect("an address"));
    let (scene, a, x, rule) = with_fault(world, Action::Redirect { to });
    one_share(&scene, &a, &x, 2);
    assert_eq!(world.simulator.fired(rule), 1);
    assert!(elsewhere.accept().is_err(), "the redirect was followed");
}

fn spoilt(world: &World) {
    let scene = world.scene();
    let actions = [
        ("cut", Action::Cut {}),
        ("garbage", Action::Garbage { body: Some("<html>".into()), content_type: None }),
        ("unsuccessful", Action::Unsuccessful {}),
        ("null-result", Action::NullResult {}),
        ("stall-body", Action::StallBody {}),
        ("no-answer", Action::ApplyStall {}),
        ("fewer-fields", Action::FewerFields {}),
        ("extra-fields", Action::ExtraFields {}),
        ("unknown-words", Action::UnknownWords { word: Some("\u{1b}[31mred".into()) }),
        ("other-name", Action::Rewrite { set: [("/result/name".into(), "another".into())].into(), remove: vec![] }),
        ("no-id", Action::Rewrite { set: Default::default(), remove: vec!["/result/id".into()] }),
    ];
    let names: Vec<&str> = actions.iter().map(|(name, _)| *name).collect();
    let mut manifests = Vec::new();
    let mut rules = Vec::new();
    for (name, action) in actions {
        let rule = Rule::once("POST", SHARES, action).account(&scene.account).saying(&format!("\"{name}\""));
        rules.push(world.simulator.fault(rule));
        manifests.push(scene.share(name, &[&random_id()], &[&random_id()], ""));
    }
    scene.apply(&manifests.join("---\n"));
    for name in &names {
        scene.wait_ready("share", name);
    }
    sweeps(&scene, 2);
    nothing_doubled(&scene.state());
    assert_eq!((scene.state().len(), creates(&scene)), (names.len(), names.len()), "{:#?}", scene.changes());
    assert!(rules.iter().all(|rule| world.simulator.fired(*rule) == 1));
}

fn other_spelling(world: &World, fault: Option<Action>) {
    let scene = world.scene();
    if let Some(fault) = fault {
        world.simulator.fault(Rule::once("POST", SHARES, fault).account(&scene.account));
    }
    world.simulator.switches(Some(&scene.account), |switches| switches.squeeze_names = true);
    made_once(&scene, "waf  baseline", "waf baseline");
}

fn cut_name(world: &World) {
    let scene = world.scene();
    world.simulator.switches(Some(&scene.account), |switches| switches.cut_names = Some(8));
    made_once(&scene, "waf-baseline", "waf-base");
}

/// A share whose name is kept otherwise is made once, its name is given up, and it goes with its object.
fn made_once(scene: &Scene<'_>, name: &str, kept: &str) {
    let [a, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], &format!("name: {name}")));
    let share = scene.wait_for("share", "waf", "gave the name up", |share| {
        condition(share, "Stalled").is_some_and(|stalled| stalled["reason"] == "NotConverging")
    });
    assert!(message(&share).contains(kept), "{}", message(&share));
    sweeps(scene, 2);
    only_share(&scene.state(), &[&a], &[&x]);
    assert_eq!((creates(scene), scene.changes().len()), (1, 3), "{:#?}", scene.changes());
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_nothing();
}

fn throttled(world: &World) {
    let (scene, a, x, rule) = with_fault(world, Action::Throttle { retry_after: Some("3".into()), code: Some(10100) });
    one_share(&scene, &a, &x, 2);
    assert_eq!(world.simulator.fired(rule), 1);
    let journal = scene.journal();
    let refused = journal.iter().position(|entry| entry.status == Some(429)).expect("the refusal");
    let next = journal[refused + 1..].iter().find(|entry| entry.method == "POST").expect("another");
    assert!(next.at - journal[refused].at >= 2_950_000, "{} came too early", crate::scene::describe(next));
    let share = scene.get("share", "waf").expect("it");
    assert!(share["status"].get("lostAttempts").is_none(), "{share:#}");
}

/// Kills the operator while its create is held, lets the request go as told, and starts it anew.
fn killed(world: &World, point: Action, release: Release) -> (Scene<'_>, String, String) {
    killed_with(world, point, release, |scene, a, x| scene.share("waf", &[a], &[x], ""))
}

/// The same, with manifests of an account and a resource.
fn killed_with(
    world: &World,
    point: Action,
    release: Release,
    manifests: impl Fn(&Scene<'_>, &str, &str) -> String,
) -> (Scene<'_>, String, String) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    world.simulator.fault(Rule::once("POST", SHARES, point).account(&scene.account));
    let [a, x] = std::array::from_fn(|_| random_id());
    scene.apply(&manifests(&scene, &a, &x));
    let held = world.simulator.wait_held(PATIENCE, |held| held.account.as_deref() == Some(&scene.account));
    own::crash(operator);
    let share = scene.get("share", "waf").expect("it");
    assert!(share["status"]["intent"]["startedAt"].is_string(), "the create was not announced: {share:#}");
    assert!(share["metadata"]["finalizers"].is_array(), "{share:#}");
    world.simulator.release(held.expect("a create on its way").id, release).expect("it goes on");
    (scene, a, x)
}

fn killed_before(world: &World) {
    let (scene, a, x) = killed(world, Action::HoldBefore {}, Release::ApplyDrop);
    let _operator = own::start(&scene, &[]);
    one_share(&scene, &a, &x, 1);
    assert_eq!(scene.state().len(), 1);
}

fn killed_and_lost(world: &World) {
    let (scene, a, x) = killed(world, Action::HoldBefore {}, Release::Drop);
    let _operator = own::start(&scene, &[]);
    one_share(&scene, &a, &x, 2);
    assert_eq!(scene.state().len(), 1);
}

fn killed_after(world: &World) {
    let (scene, a, x) = killed(world, Action::HoldAfter {}, Release::Go);
    let _operator = own::start(&scene, &[]);
    one_share(&scene, &a, &x, 1);
    assert_eq!(scene.state().len(), 1);
}

fn deleted_while_open(world: &World) {
    let (scene, _, _) = killed(world, Action::HoldBefore {}, Release::ApplyDrop);
    scene.delete("share", "waf");
    let _operator = own::start(&scene, &[]);
    scene.wait_gone("share", "waf");
    scene.wait_nothing();
    assert_eq!((scene.state().len(), creates(&scene)), (1, 1));
}

fn retained_while_open(world: &World) {
    let [two] = ids();
    let (scene, one, _) = killed_with(world, Action::HoldBefore {}, Release::ApplyDrop, |scene, a, x| {
        let share = scene.share("waf", &[a], &[x], "deletionPolicy: Retain");
        format!("{share}---\n{}", scene.recipient("two", "waf", &two, ""))
    });
    scene.delete("share", "waf");
    let _operator = own::start(&scene, &[]);
    scene.wait_gone("share", "waf");
    let state = scene.only();
    assert_eq!((state.live_recipients().len(), creates(&scene)), (2, 1));
    let told = format!("share {} stays at Cloudflare: deletionPolicy is Retain", state.id);
    scene.wait_event("waf", |reason, text| reason == "Retained" && text == told);
    scene.kubectl(&["delete", "sharerecipient", "two", "--timeout=60s"]);
    let state = scene.only();
    assert_eq!(state.live_recipients().iter().map(|row| &row.account_id).collect::<Vec<_>>(), [&one]);
}

fn deleted_while_lost(world: &World) {
    let (scene, _, _) = killed(world, Action::HoldBefore {}, Release::Drop);
    scene.delete("share", "waf");
    let _operator = own::start(&scene, &[]);
    scene.wait_gone("share", "waf");
    assert_eq!((scene.state().len(), creates(&scene)), (0, 1));
    let calls: Vec<i64> = scene.journal().iter().map(|entry| entry.at).collect();
    assert!(calls[calls.len() - 1] - calls[0] >= 6_000_000, "it went before the settle time had passed");
}

fn seed(world: &World, scene: &Scene<'_>, name: &str, recipient: &str, resource: &str) -> String {
    let share = serde_json::json!({
        "name": name, "recipients": [recipient], "resources": [{"type": "custom-ruleset", "id": resource, "meta": {}}],
    });
    let share: SeedShare = serde_json::from_value(share).expect("a share to seed");
    let seed = Seed {
        account: scene.account.clone(),
        shares: 0,
        recipients: 0,
        resources: 0,
        prefix: "x".into(),
        list: vec![share],
    };
    world.simulator.seed(seed).expect("a seed").remove(0).id
}

fn person_beside(world: &World) {
    let (scene, _, _, _) = with_fault(world, Action::HoldBefore {});
    let held = world.simulator.wait_held(PATIENCE, |held| held.account.as_deref() == Some(&scene.account));
    let theirs = seed(world, &scene, "waf", &random_id(), &random_id());
    let before = world.simulator.share(&theirs);
    world.simulator.release(held.expect("a create on its way").id, Release::ApplyDrop).expect("it goes on");
    let share = scene.wait_for("share", "waf", "found its own", |share| share["status"]["shareID"].is_string());
    assert_ne!(share["status"]["shareID"], theirs.as_str());
    scene.wait_ready("share", "waf");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    assert_eq!(scene.only().id, theirs);
    assert_eq!(format!("{:?}", world.simulator.share(&theirs)), format!("{before:?}"));
}

fn person_instead(world: &World) {
    let (scene, _, _, _) = with_fault(world, Action::HoldBefore {});
    let held = world.simulator.wait_held(PATIENCE, |held| held.account.as_deref() == Some(&scene.account));
    let theirs = seed(world, &scene, "waf", &random_id(), &random_id());
    world.simulator.release(held.expect("a create on its way").id, Release::Drop).expect("it is dropped");
    let share = scene.wait_reason("share", "waf", "NameTaken");
    assert!(message(&share).contains(&theirs), "{share:#}");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    assert_eq!(scene.only().id, theirs);
    assert_eq!(creates(&scene), 1);
}

fn three_lost(world: &World) {
    let scene = world.scene();
    world.simulator.fault(Rule::always("POST", SHARES, Action::Drop {}).account(&scene.account));
    scene.apply(&scene.share("waf", &[&random_id()], &[&random_id()], ""));
    let share = scene.wait_reason("share", "waf", "Ambiguous");
    assert!(message(&share).contains("three create requests"), "{share:#}");
    assert_eq!(share["status"]["lostAttempts"].as_array().map(Vec::len), Some(3), "{share:#}");
    sweeps(&scene, 3);
    assert_eq!(creates(&scene), 3);
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    assert!(scene.state().is_empty());
}

fn several(world: &World) {
    let scene = world.scene();
    let lost = Rule::once("POST", SHARES, Action::ApplyDrop {}).account(&scene.account).times(6);
    let rule = world.simulator.fault(lost);
    let shares: Vec<(String, String, String)> =
        (0..6).map(|n| (format!("waf-{n}"), random_id(), random_id())).collect();
    let manifests: Vec<String> = shares.iter().map(|(name, a, x)| scene.share(name, &[a], &[x], "")).collect();
    scene.apply(&manifests.join("---\n"));
    for (name, _, _) in &shares {
        scene.wait_ready("share", name);
    }
    assert_eq!(world.simulator.fired(rule), 6);
    nothing_doubled(&scene.state());
    assert_eq!(scene.state().len(), 6);
    for (name, a, x) in &shares {
        let bound = scene.get("share", name).expect("it")["status"]["shareID"].as_str().unwrap_or_default().to_owned();
        let share = world.simulator.share(&bound).expect("its share");
        assert!(share.name == *name && crate::expect::has(&share, &[a], &[x]), "{share:#?}");
    }
    scene.confirm_deletions();
    scene.kubectl(&["delete", "share", "--all", "--timeout=60s"]);
    assert!(gone(&scene.state()));
}

/// An operator behind a proxy that loses the answer to the announcement of the next create; it settles after that time.
fn behind_proxy(scene: &Scene<'_>, settle_time: &str) -> (Interceptor, Process) {
    let proxy = Interceptor::start(&scene.world.cluster, Fault::LostAnswers);
    proxy.lose("\"attempt\"");
    let mut command = own::command(scene, &scene.namespace, &[("--settle-time", settle_time)]);
    proxy.lead(scene, &mut command);
    let operator = Process::start(command, scene.file("operator.log")).expect("the operator starts");
    (proxy, operator)
}

fn unanswered(world: &World) {
    let scene = world.own_scene();
    let (proxy, operator) = behind_proxy(&scene, "240s");
    let [a, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    one_share(&scene, &a, &x, 1);
    assert_eq!(proxy.held(), 1, "{}", operator.log());
    let share = scene.get("share", "waf").expect("it");
    assert!(share["status"]["lostAttempts"].is_null(), "{share:#}");
}

fn unanswered_deletion(world: &World) {
    let scene = world.own_scene();
    let (proxy, operator) = behind_proxy(&scene, "240s");
    let [a, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait("the announcement", || proxy.held() == 1);
    scene.delete("share", "waf");
    scene.wait_gone("share", "waf");
    scene.wait_nothing();
    assert!(creates(&scene) <= 1, "{:#?}\n{}", scene.changes(), operator.log());
}
