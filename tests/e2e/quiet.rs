//! How little is done: nothing while nothing changes, and few calls for what does.

use std::time::{Duration, Instant};

use cfshare_simulator::Entry;
use serde_json::Value;

use crate::Test;
use crate::scene::{Scene, World, describe, ids, is_ready};

pub const TESTS: &[Test] = &[
    ("quiet: while nothing changes nothing is written, and only the sweep is made", settled),
    ("quiet: nor for a share with an organization", settled_organization),
    ("quiet: a start with settled shares is a sweep and no write", restarted),
    ("quiet: at most five calls from apply to Ready", few_calls),
    ("quiet: one recipient more is one POST and at most two reads", one_more),
    ("quiet: ten shares of one account cost little more than their own calls", ten_shares),
    ("quiet: ten shares with eight objects each cost little more than without", ten_with_objects),
];

/// How long nothing may happen.
const WATCHED: Duration = Duration::from_secs(60);

fn is_sweep(entry: &Entry) -> bool {
    entry.method == "GET" && entry.template == "/accounts/*/shares" && entry.query.contains("direction=asc")
}

/// Shares with inline rows and with objects, and what rests otherwise: failed, waiting, observed, suspended.
fn furnish(scene: &Scene) {
    let [one, two, three, failing, first, second, third] = ids();
    scene.world.simulator.account(&failing, |account| account.entitled = false);
    scene.apply(&scene.share("inline", &[&one, &two], &[&first, &second], ""));
    scene.apply(&format!(
        "{}---\n{}---\n{}",
        scene.share("objects", &[], &[&third], ""),
        scene.recipient("three", "objects", &three, ""),
        scene.resource("first", "objects", &first, "meta: {mode: block}"),
    ));
    scene.apply(&scene.share("failing", &[&one, &failing], &[&first], ""));
    scene.apply(&scene.share("waiting", &[], &[&first], ""));
    scene.apply(&scene.share("observed", &[&one], &[&first], "name: inline\nmanagementPolicy: Observe"));
    scene.apply(&scene.share("suspended", &[&one], &[&first], "suspend: true"));
    scene.wait_reason("share", "suspended", "Suspended");
    scene.wait_ready("share", "inline");
    scene.wait_ready("share", "objects");
    scene.wait_ready("sharerecipient", "three");
    scene.wait_ready("shareresource", "first");
    scene.wait_reason("share", "failing", "RecipientFailed");
    scene.wait_reason("share", "waiting", "WaitingForRecipients");
    scene.wait_reason("share", "observed", "Observed");
}

/// Writes to our own objects and Events in this namespace, but for kubectl's.
pub fn writes(scene: &Scene, since: u64) -> (Vec<Value>, u64) {
    let (entries, mark) = scene.world.cluster.audit_since(since).expect("an audit log");
    let is_write = |entry: &Value| {
        let verb = entry["verb"].as_str().unwrap_or_default();
        let agent = entry["userAgent"].as_str().unwrap_or_default();
        entry["objectRef"]["namespace"] == scene.namespace.as_str()
            && ["create", "update", "patch", "delete", "deletecollection"].contains(&verb)
            && !agent.starts_with("kubectl")
            && !agent.starts_with("kube-controller-manager")
    };
    (entries.into_iter().filter(is_write).collect(), mark)
}

/// Watches until `WATCHED` has passed, as the simulator's own clock tells by the sweeps.
fn expect_silence(scene: &Scene) {
    scene.wait_sweep();
    let (_, mark) = writes(scene, 0);
    let before = scene.journal().len();
    std::thread::sleep(WATCHED);
    let (written, _) = writes(scene, mark);
    assert_eq!(written, Vec::<Value>::new());
    let calls = scene.journal().split_off(before);
    let other: Vec<String> = calls.iter().filter(|entry| !is_sweep(entry)).map(describe).collect();
    assert_eq!(other, [""; 0], "only the sweep is made");
    assert!((4..=8).contains(&calls.len()), "{} sweeps in {WATCHED:?}", calls.len());
}

fn settled(world: &World) {
    let scene = world.own_scene();
    let _operator = scene.operator(&[("--sweep-interval", "10s")]);
    furnish(&scene);
    expect_silence(&scene);
}

fn settled_organization(world: &World) {
    let scene = world.own_scene();
    let _operator = scene.operator(&[("--sweep-interval", "10s")]);
    let [organization, one, two, excluded, first] = ids();
    scene.world.simulator.organization(&organization, &[&scene.account, &one, &two, &excluded]);
    let target = format!("organization: {{id: {organization}, excluded: [{{accountID: {excluded}}}]}}");
    scene.apply(&scene.share("waf", &[], &[&first], &target));
    scene.wait_ready("share", "waf");
    expect_silence(&scene);
}

fn restarted(world: &World) {
    let scene = world.own_scene();
    let operator = scene.operator(&[]);
    furnish(&scene);
    scene.wait_sweep();
    assert!(operator.stop(Duration::from_secs(20)).is_some_and(|status| status.success()));
    let (_, mark) = writes(&scene, 0);
    let before = scene.journal().len();
    let _operator = scene.operator(&[("--sweep-interval", "60s")]);
    scene.wait("the first sweep", || scene.journal().split_off(before).iter().any(|entry| entry.done));
    // An edit is carried out after everything that a start brings.
    let [one, first] = ids();
    scene.apply(&scene.share("last", &[&one], &[&first], ""));
    scene.wait_ready("share", "last");
    let last = |entry: &Value| entry["objectRef"]["name"].as_str().is_some_and(|name| name.starts_with("last"));
    let (written, _) = writes(&scene, mark);
    let written: Vec<&Value> = written.iter().filter(|entry| !last(entry)).collect();
    assert_eq!(written, Vec::<&Value>::new());
    let id = scene.live().into_iter().find(|share| share.name == "last").expect("it is there").id;
    let calls = scene.journal().split_off(before);
    let changes: Vec<String> = calls.iter().filter(|entry| entry.changing).map(describe).collect();
    assert_eq!(changes.len(), 1, "{changes:?}");
    // What failed is looked at once, since no list of shares shows it; all else is known from the sweep.
    let failing = scene.live().into_iter().find(|share| share.name == "failing").expect("it is there").id;
    let observed = scene.live().into_iter().find(|share| share.name == "inline").expect("it is there").id;
    let other: Vec<String> = calls
        .iter()
        .filter(|entry| !is_sweep(entry) && !entry.changing)
        .filter(|entry| [&id, &failing, &observed].iter().all(|id| !entry.path.contains(id.as_str())))
        .map(describe)
        .collect();
    assert!(other.len() <= 1, "{other:?}");
}

/// The polls as they are by default.
const DEFAULTS: [(&str, &str); 6] = [
    ("--sweep-interval", ""),
    ("--poll-min", ""),
    ("--poll-max", ""),
    ("--settle-time", ""),
    ("--api-rate", ""),
    ("--api-burst", ""),
];

fn few_calls(world: &World) {
    let scene = world.own_scene();
    world.simulator.delays(Some(&scene.account), |delays| delays.associate_ms = Some(1000));
    let _operator = scene.operator(&DEFAULTS);
    let [a, b, c, d, e, f, g, h] = ids();
    scene.apply(&scene.share("waf", &[&a, &b, &c, &d], &[&e, &f, &g, &h], ""));
    scene.wait_ready("share", "waf");
    let calls: Vec<String> = scene.journal().iter().map(describe).collect();
    println!("from apply to Ready:\n  {}", calls.join("\n  "));
    assert!(calls.len() <= 5, "{calls:#?}");
}

fn one_more(world: &World) {
    let scene = world.own_scene();
    world.simulator.delays(Some(&scene.account), |delays| delays.associate_ms = Some(1000));
    let _operator = scene.operator(&DEFAULTS);
    let [a, b, c, first, second] = ids();
    scene.apply(&scene.share("waf", &[&a, &b], &[&first, &second], ""));
    scene.wait_ready("share", "waf");
    let before = scene.journal().len();
    scene.apply(&scene.share("waf", &[&a, &b, &c], &[&first, &second], ""));
    scene.wait_for("share", "waf", "counted it", |share| {
        is_ready(share) && share["status"]["recipients"]["summary"] == "3/3"
    });
    let calls: Vec<String> = scene.journal().split_off(before).iter().map(describe).collect();
    println!("one recipient more:\n  {}", calls.join("\n  "));
    assert_eq!(calls.iter().filter(|call| call.starts_with("POST ")).count(), 1, "{calls:#?}");
    assert!(calls.len() <= 3, "{calls:#?}");
}

fn ten_shares(world: &World) {
    let scene = world.own_scene();
    world.simulator.delays(Some(&scene.account), |delays| delays.associate_ms = Some(1000));
    let _operator = scene.operator(&DEFAULTS);
    let [one, first] = ids();
    let all: Vec<String> = (0..10).map(|n| scene.share(&format!("waf-{n}"), &[&one], &[&first], "")).collect();
    let start = Instant::now();
    scene.apply(&all.join("---\n"));
    // While they arrive, each second may bring a look for their names.
    let arriving = start.elapsed().as_secs() as usize;
    for n in 0..10 {
        scene.wait_ready("share", &format!("waf-{n}"));
    }
    let calls: Vec<String> = scene.journal().iter().map(describe).collect();
    assert_eq!(scene.changes().len(), 10, "{calls:#?}");
    println!("ten shares: {} calls", calls.len());
    assert!(calls.len() <= 32 + arriving, "{calls:#?}");
}

fn ten_with_objects(world: &World) {
    let scene = world.own_scene();
    world.simulator.delays(Some(&scene.account), |delays| delays.associate_ms = Some(1000));
    let _operator = scene.operator(&DEFAULTS);
    let mut all = Vec::new();
    for n in 0..10 {
        let share = format!("waf-{n}");
        all.push(scene.share(&share, &[], &[], ""));
        for (row, id) in ids::<4>().iter().enumerate() {
            all.push(scene.recipient(&format!("{share}-{row}"), &share, id, ""));
        }
        for (row, id) in ids::<4>().iter().enumerate() {
            all.push(scene.resource(&format!("{share}-{row}"), &share, id, ""));
        }
    }
    scene.apply(&all.join("---\n"));
    for n in 0..10 {
        let share = format!("waf-{n}");
        scene.wait_ready("share", &share);
        for row in 0..4 {
            scene.wait_ready("sharerecipient", &format!("{share}-{row}"));
            scene.wait_ready("shareresource", &format!("{share}-{row}"));
        }
    }
    let calls: Vec<String> = scene.journal().iter().map(describe).collect();
    println!("ten shares with objects: {} calls\n  {}", calls.len(), calls.join("\n  "));
    assert_eq!(scene.changes().len(), 10, "{calls:#?}");
    assert!(calls.len() <= 34, "{calls:#?}");
}
