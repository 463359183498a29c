//! Whether of several replicas only the one that holds the Lease changes anything at Cloudflare.

use std::time::{Duration, Instant};

use cfshare_simulator::{Action, Entry, Held, PostedAgain, Release, Rule, random_id};
use cfshare_testbed::Process;
use cfshare_testbed::process::Signal;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::Test;
use crate::expect::{has, nothing_doubled, only_share, sweeps};
use crate::own;
use crate::scene::{PATIENCE, Scene, World, ids};

pub const TESTS: &[Test] = &[
    ("leader: when the leader is killed the other replica goes on", killed),
    ("leader: when the leader is told to end the other replica goes on at once", ended),
    ("leader: a call that is in progress when the leader is told to end is waited for and recorded", ended_in_a_call),
    ("leader: a leader that slept for two leases does nothing when it wakes", slept),
    (
        "leader: a leader that slept before a removal does not remove what is wanted again when it wakes",
        slept_in_an_edit,
    ),
    ("leader: a leader that loses its Lease between two removals makes no more of them", lost_between_removals),
    ("leader: a Lease deleted by hand never makes two leaders", lease_deleted),
];

const LEASE: Duration = Duration::from_secs(8);

fn replica(scene: &Scene<'_>, name: &str, lease: Duration) -> Process {
    let lease = format!("{}s", lease.as_secs());
    let flags = [
        ("--leader-elect", ""),
        ("--lease-namespace", scene.namespace.as_str()),
        ("--lease-duration", &lease),
        ("--call-timeout", "2s"),
        ("--identity", name),
    ];
    own::launch(scene, &format!("{name}.log"), &flags)
}

fn holder(scene: &Scene<'_>) -> String {
    let holder = ["get", "lease", "cfshare", "--ignore-not-found", "-o", "jsonpath={.spec.holderIdentity}"];
    scene.kubectl(&holder)
}

/// Two replicas, the first of which leads.
fn pair(scene: &Scene<'_>) -> [Process; 2] {
    pair_for(scene, LEASE)
}

fn pair_for(scene: &Scene<'_>, lease: Duration) -> [Process; 2] {
    let first = replica(scene, "first", lease);
    scene.wait("the first to lead", || holder(scene) == "first");
    let second = replica(scene, "second", lease);
    assert!(second.logs("standing by", PATIENCE), "{}", second.log());
    [first, second]
}

fn made_by(entry: &Entry, replica: &str) -> bool {
    entry.user_agent.as_deref().is_some_and(|agent| agent.contains(&format!("({replica})")))
}

/// Who made the changing calls: names in the order of the calls, each once for a run of calls.
fn turns(scene: &Scene<'_>) -> Vec<String> {
    let mut turns: Vec<String> = Vec::new();
    for entry in scene.journal().iter().filter(|entry| entry.changing) {
        let name = ["first", "second"].into_iter().find(|name| made_by(entry, name)).unwrap_or("nobody");
        if turns.last().is_none_or(|last| last != name) {
            turns.push(name.to_owned());
        }
    }
    turns
}

fn killed(world: &World) {
    let scene = world.own_scene();
    let [first, _second] = pair(&scene);
    let [a, b, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    own::crash(first);
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    scene.wait_state("the other recipient", |shares| has(&shares[0], &[&a, &b], &[&x]));
    scene.wait_ready("share", "waf");
    assert_eq!(turns(&scene), ["first", "second"]);
    only_share(&scene.state(), &[&a, &b], &[&x]);
}

fn ended(world: &World) {
    let scene = world.own_scene();
    // So long that it cannot have run out.
    let lease = Duration::from_secs(28);
    let [first, _second] = pair_for(&scene, lease);
    let [a, b, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    let before = Instant::now();
    assert!(first.stop(PATIENCE).is_some_and(|status| status.success()), "{}", first.log());
    scene.wait("the second to lead", || holder(&scene) == "second");
    // It looks each quarter of that.
    assert!(before.elapsed() < lease * 3 / 4, "it took {:?}", before.elapsed());
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    scene.wait_ready("share", "waf");
    only_share(&scene.state(), &[&a, &b], &[&x]);
    assert_eq!(turns(&scene), ["first", "second"]);
}

fn ended_in_a_call(world: &World) {
    let scene = world.own_scene();
    let flags = [
        ("--leader-elect", ""),
        ("--lease-namespace", scene.namespace.as_str()),
        ("--lease-duration", "60s"),
        ("--call-timeout", "20s"),
    ];
    let operator = own::start(&scene, &flags);
    let [a, b, x] = ids();
    let more: [String; 6] = ids();
    let edited: Vec<&str> = std::iter::once(&a).chain(&more).map(String::as_str).collect();
    scene.apply(&(scene.share("edited", &[&a], &[&x], "") + "---\n" + &scene.share("other", &[&a], &[&x], "")));
    scene.wait_ready("share", "edited");
    scene.wait_ready("share", "other");
    let hold =
        |path: &str| world.simulator.fault(Rule::once("POST", path, Action::HoldAfter {}).account(&scene.account));
    let held = |end: &str| {
        let is = |held: &Held| held.account.as_deref() == Some(&scene.account) && held.path.ends_with(end);
        world.simulator.wait_held(PATIENCE, is).expect("a call in progress").id
    };
    hold("/accounts/*/shares");
    scene.apply(&(0..20).map(|n| scene.share(&format!("waf-{n}"), &[&a], &[&x], "")).collect::<Vec<_>>().join("---\n"));
    let create = held("/shares");
    let open = || scene.journal().into_iter().filter(|e| e.changing && !e.done).collect::<Vec<Entry>>();
    scene.wait("the other calls to end", || scene.live().len() == 22 && open().len() == 1);
    let created = open()[0].body["name"].clone();
    // One of several that are announced together.
    hold("/accounts/*/shares/*/recipients");
    scene.apply(&scene.share("edited", &edited, &[&x], ""));
    let add = held("/recipients");
    operator.signal(Signal::Terminate);
    assert!(operator.logs("stopping: waiting for calls", PATIENCE), "{}", operator.log());
    let (told, mark) = (Instant::now(), world.simulator.last_request());
    scene.apply(&scene.share("other", &[&a, &b], &[&x], ""));
    scene.wait("time for calls that nobody may make any more", || told.elapsed() >= Duration::from_secs(2));
    assert!(operator.running(), "{}", operator.log());
    for call in [create, add] {
        world.simulator.release(call, Release::Go).expect("it is answered");
    }
    assert!(operator.wait(PATIENCE).is_some_and(|status| status.success()), "{}", operator.log());
    let late: Vec<Entry> = world.simulator.journal(Some(&scene.account), mark);
    assert!(late.iter().all(|entry| !entry.changing), "{late:#?}");
    assert_eq!(holder(&scene), "");
    let name = created.as_str().expect("a name");
    let [made] = &world.simulator.live_shares(&scene.account, name)[..] else { panic!("not one share {name}") };
    let status = scene.get("share", name).expect("it")["status"].clone();
    assert!(status["shareID"] == made.id.as_str() && status["intent"].is_null(), "{status:#}");
    // The next one goes on from what is recorded.
    let _next = own::start(&scene, &[]);
    for name in ["edited", "other"].map(str::to_owned).into_iter().chain((0..20).map(|n| format!("waf-{n}"))) {
        scene.wait_ready("share", &name);
    }
    assert_eq!(scene.live().len(), 22);
    nothing_doubled(&scene.state());
    assert!(has(&world.simulator.live_shares(&scene.account, "edited")[0], &edited, &[&x]));
}

fn slept(world: &World) {
    let scene = world.own_scene();
    world.simulator.switches(Some(&scene.account), |s| s.live_recipient_again = PostedAgain::SecondRow);
    let [first, _second] = pair(&scene);
    let [a, b, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");
    // It falls asleep between its last look and the POST that follows from it.
    let list = Rule::once("GET", "/accounts/*/shares/*/recipients", Action::HoldAfter {}).account(&scene.account);
    world.simulator.fault(list);
    scene.wait("time to pass, so that it looks again before it adds", || {
        let lists = scene.journal().into_iter().filter(|e| e.template.ends_with("/recipients")).max_by_key(|e| e.at);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
        lists.is_some_and(|list| now.as_micros() as i64 - list.at > 6_000_000)
    });
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    let held = world.simulator.wait_held(PATIENCE, |held| held.account.as_deref() == Some(&scene.account));
    first.signal(Signal::Stop);
    world.simulator.release(held.expect("its look").id, Release::Go).expect("it is answered");
    let slept = Instant::now();
    scene.wait("the second to lead", || holder(&scene) == "second");
    scene.wait_state("the other recipient", |shares| has(&shares[0], &[&a, &b], &[&x]));
    scene.wait("two leases to pass", || slept.elapsed() >= 2 * LEASE);
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], "name: renamed-meanwhile"));
    first.signal(Signal::Continue);
    let status = first.wait(PATIENCE);
    assert!(status.is_some_and(|status| !status.success()), "it did not notice: {}", first.log());
    scene.wait_state("the other name", |shares| shares[0].name == "renamed-meanwhile");
    scene.wait_ready("share", "waf");
    assert_eq!(turns(&scene), ["first", "second"]);
    nothing_doubled(&scene.state());
}

fn slept_in_an_edit(world: &World) {
    let scene = world.own_scene();
    let [first, second] = pair(&scene);
    let [a, b, x] = ids();
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    scene.wait_ready("share", "waf");
    // It falls asleep between the change of the name and the removal that follows it in the same pass.
    let rename = Rule::once("PUT", "/accounts/*/shares/*", Action::HoldAfter {}).account(&scene.account);
    world.simulator.fault(rename);
    scene.apply(&scene.share("waf", &[&a], &[&x], "name: renamed"));
    let held = world.simulator.wait_held(PATIENCE, |held| held.account.as_deref() == Some(&scene.account));
    first.signal(Signal::Stop);
    world.simulator.release(held.expect("the change").id, Release::Go).expect("it is answered");
    let slept = Instant::now();
    scene.wait("the second to lead", || holder(&scene) == "second");
    scene.wait_state("the edit made", |shares| shares[0].name == "renamed" && has(&shares[0], &[&a], &[&x]));
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], "name: renamed"));
    scene.wait_state("the recipient again", |shares| has(&shares[0], &[&a, &b], &[&x]));
    scene.wait_ready("share", "waf");
    scene.wait("two leases to pass", || slept.elapsed() >= 2 * LEASE);
    first.signal(Signal::Continue);
    let status = first.wait(PATIENCE);
    assert!(status.is_some_and(|status| !status.success()), "it did not notice: {}", first.log());
    sweeps(&scene, 2);
    assert_eq!(turns(&scene), ["first", "second"], "{}\n\n{}", first.log(), second.log());
    only_share(&scene.state(), &[&a, &b], &[&x]);
}

fn lost_between_removals(world: &World) {
    let scene = world.own_scene();
    let replica = |name: &str| {
        let flags = [
            ("--leader-elect", ""),
            ("--lease-namespace", scene.namespace.as_str()),
            ("--lease-duration", "32s"),
            ("--call-timeout", "30s"),
            ("--identity", name),
        ];
        own::launch(&scene, &format!("{name}.log"), &flags)
    };
    let first = replica("first");
    scene.wait("the first to lead", || holder(&scene) == "first");
    let [a, b, c, d, x] = ids();
    scene.apply(&scene.share("waf", &[&a, &b, &c, &d], &[&x], "maxRemovals: 3"));
    scene.wait_ready("share", "waf");
    // The first of three that are recorded together.
    let path = "/accounts/*/shares/*/recipients/*";
    world.simulator.fault(Rule::once("DELETE", path, Action::HoldAfter {}).account(&scene.account));
    scene.apply(&scene.share("waf", &[&a], &[&x], "maxRemovals: 3"));
    let held = world.simulator.wait_held(PATIENCE, |held| held.account.as_deref() == Some(&scene.account));
    let give = |holder: &str, seconds: u32| {
        let now = format!("{:.6}", Timestamp::now());
        let spec = json!({"holderIdentity": holder, "renewTime": now, "leaseDurationSeconds": seconds});
        let patch = json!({"spec": spec}).to_string();
        scene.kubectl(&["patch", "lease", "cfshare", "--type=merge", "-p", &patch]);
    };
    give("another", 3600);
    assert!(first.logs("the lease is lost", PATIENCE), "{}", first.log());
    world.simulator.release(held.expect("a removal").id, Release::Go).expect("it is answered");
    let status = first.wait(PATIENCE);
    assert!(status.is_some_and(|status| !status.success()), "it goes on: {}", first.log());
    let removals = scene.changes().iter().filter(|call| call.starts_with("DELETE")).count();
    assert_eq!((removals, scene.only().live_recipients().len()), (1, 3), "{:#?}", scene.changes());
    give("", 1);
    let _second = replica("second");
    scene.wait_state("the others gone", |shares| has(&shares[0], &[&a], &[&x]));
    scene.wait_ready("share", "waf");
    assert_eq!(turns(&scene), ["first", "second"]);
}

fn lease_deleted(world: &World) {
    let scene = world.own_scene();
    let [_first, _second] = pair(&scene);
    let x = random_id();
    let mut all: Vec<String> = Vec::new();
    for _ in 0..4 {
        all.push(random_id());
        scene.kubectl(&["delete", "lease", "cfshare", "--ignore-not-found"]);
        let recipients: Vec<&str> = all.iter().map(String::as_str).collect();
        scene.apply(&scene.share("waf", &recipients, &[&x], ""));
        scene.wait_ready("share", "waf");
        scene.wait("a Lease again", || !holder(&scene).is_empty());
    }
    let recipients: Vec<&str> = all.iter().map(String::as_str).collect();
    only_share(&scene.state(), &recipients, &[&x]);
    let turns = turns(&scene);
    assert_eq!(turns, ["first"], "who led took it back");
}
