//! What many shares at once cost in calls, against what the budget and the design allow.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use cfshare_simulator::{Action, Edit, Rule, ShareState, random_id};
use serde_json::Value;

use crate::Test;
use crate::own;
use crate::scene::{self, Scene, World, is_ready, metrics};

const LIST: &str = "/accounts/*/shares";

pub const TESTS: &[Test] = &[
    ("scale: many shares at once cost two calls each, and a tenth of the budget for looking", many_at_once),
    ("scale: a restart with settled shares costs one sweep and no write", restart),
    ("scale: an edit does not wait for the list of many shares after a restart, unless its share is missing", early),
    (
        "scale: an account is listed less often where that would take more than a tenth of the calls, and says so",
        stretched,
    ),
];

fn apply_many(scene: &Scene<'_>, count: usize) {
    let ids = |n: usize| (0..n).map(|_| random_id()).collect::<Vec<_>>();
    let all: Vec<String> = (0..count)
        .map(|i| {
            let (recipients, resources) = (ids(4), ids(4));
            let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
            let resources: Vec<&str> = resources.iter().map(String::as_str).collect();
            scene.share(&format!("share-{i}"), &recipients, &resources, "")
        })
        .collect();
    scene.apply(&all.join("---\n"));
}

fn wait_all_ready(scene: &Scene<'_>, count: usize, within: Duration) {
    let end = Instant::now() + within;
    loop {
        let list: Value = serde_json::from_str(&scene.kubectl(&["get", "shares", "-o", "json"])).expect("JSON");
        let items = list["items"].as_array().expect("a list");
        let ready = items.iter().filter(|item| is_ready(item)).count();
        if ready == count {
            return;
        }
        assert!(Instant::now() < end, "{ready} of {count} are ready; calls: {}", scene.journal().len());
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn many_at_once(world: &World) {
    const SHARES: usize = 120;
    const RATE: f64 = 10.0;
    const BURST: f64 = 30.0;
    let scene = world.own_scene();
    world.simulator.delays(Some(&scene.account), |delays| delays.associate_ms = Some(1000));
    let (rate, burst) = (RATE.to_string(), BURST.to_string());
    let operator = own::start(
        &scene,
        &[("--api-rate", &rate), ("--api-burst", &burst), ("--poll-min", "2s"), ("--poll-max", "30s")],
    );
    let start = Instant::now();
    apply_many(&scene, SHARES);
    let arriving = start.elapsed().as_secs_f64();
    wait_all_ready(&scene, SHARES, Duration::from_secs(180));
    let seconds = start.elapsed().as_secs_f64();
    let journal = scene.journal();
    let mut calls: HashMap<String, usize> = HashMap::new();
    for entry in &journal {
        *calls.entry(format!("{} {}", entry.method, entry.template)).or_default() += 1;
    }
    println!("{} calls for {SHARES} shares in {seconds:.0} s: {calls:?}", journal.len());
    let of = |call: &str| calls.get(call).copied().unwrap_or_default();
    assert_eq!(of("POST /accounts/*/shares"), SHARES);
    let listed = of("GET /accounts/*/shares/*/recipients");
    assert!((SHARES..=SHARES + SHARES / 20).contains(&listed), "{calls:?}");
    // Sweeps spend a tenth of the budget, and each object wants one look for its name that is younger than itself, of
    // which there is one in the time of three calls. A busy machine takes longer, and so looks more often.
    let looks = journal.len() - SHARES - listed;
    let most = (BURST + RATE * seconds) / 10.0 + RATE * arriving / 3.0 + 3.0;
    assert!(looks as f64 <= most, "{looks} of {most:.0} in {seconds:.0} s: {calls:?}");
    operator.kill();
}

fn restart(world: &World) {
    const SHARES: usize = 30;
    let scene = world.own_scene();
    let operator = own::launch(&scene, "before.log", &[]);
    apply_many(&scene, SHARES);
    wait_all_ready(&scene, SHARES, Duration::from_secs(120));
    operator.kill();
    let before = scene.journal().len();
    let (_, mark) = world.cluster.audit_since(0).expect("an audit log");
    let operator = own::launch(&scene, "after.log", &[("--sweep-interval", "10m")]);
    scene.wait("the sweep", || scene.journal().len() > before);
    // Another share, made and Ready after the sweep, shows that all others had their pass too.
    let (recipient, resource) = (random_id(), random_id());
    scene.apply(&scene.share("last", &[&recipient], &[&resource], ""));
    scene.wait_ready("share", "last");
    let last = scene.state().into_iter().find(|share| share.name == "last").expect("it was made").id;
    let calls: Vec<String> = scene.journal()[before..]
        .iter()
        .filter(|entry| !entry.path.contains(&last) && entry.method != "POST")
        .map(scene::describe)
        .collect();
    assert!(calls.len() <= 3, "{calls:#?}");
    let (audit, _) = world.cluster.audit_since(mark).expect("an audit log");
    let writes: Vec<&Value> = audit
        .iter()
        .filter(|event| event["objectRef"]["namespace"] == scene.namespace.as_str())
        .filter(|event| event["verb"] == "patch" && event["objectRef"]["apiGroup"] == "cfshare.dev")
        .filter(|event| event["objectRef"]["name"].as_str().is_some_and(|name| name.starts_with("share-")))
        .collect();
    assert!(writes.is_empty(), "{writes:#?}");
    operator.kill();
}

fn early(world: &World) {
    // Their list has two pages.
    const SHARES: usize = 101;
    let scene = world.own_scene();
    let simulator = &world.simulator;
    let operator = own::launch(&scene, "before.log", &[("--api-rate", "100"), ("--api-burst", "1000")]);
    apply_many(&scene, SHARES);
    wait_all_ready(&scene, SHARES, Duration::from_secs(120));
    operator.kill();
    let missing = scene.live().into_iter().find(|share| share.name == "share-2").expect("it").id;
    simulator.edit(Edit::VanishShare { share: missing.clone() }).expect("an edit");
    let added = random_id();
    let patch = format!(r#"[{{"op":"add","path":"/spec/recipients/-","value":{{"accountID":"{added}"}}}}]"#);
    for name in ["share-1", "share-2"] {
        scene.kubectl(&["patch", "share", name, "--type=json", "-p", &patch]);
    }
    let before = scene.journal().len();
    let failing = simulator.fault(Rule::always("GET", LIST, Action::Drop {}).account(&scene.account));
    let operator = own::launch(&scene, "after.log", &[]);
    let receives = |share: &ShareState| share.live_recipients().iter().any(|row| row.account_id == added);
    scene.wait("the recipient that was added", || {
        scene.live().iter().any(|share| share.name == "share-1" && receives(share))
    });
    scene.wait("a look for the share that is missing", || {
        scene.journal()[before..].iter().any(|entry| entry.path.ends_with(&missing) && entry.done)
    });
    scene.wait_for("share", "share-1", "told of its edit", scene::is_observed);
    let creates =
        || scene.journal()[before..].iter().filter(|entry| entry.template == LIST && entry.method == "POST").count();
    assert_eq!(creates(), 0, "one share says nothing of how many are missing");
    assert!(simulator.fired(failing) > 0 && simulator.remove_fault(failing));
    scene.wait_ready("share", "share-1");
    scene.wait("the share that was missing", || {
        scene.live().iter().any(|share| share.name == "share-2" && share.id != missing && receives(share))
    });
    assert_eq!((creates(), scene.live().len()), (1, SHARES));
    operator.kill();
}

fn stretched(world: &World) {
    // A tenth of 1.5 calls a second is one list, of one page, in 6.7 seconds.
    const INTERVAL: f64 = 1.0 / 0.15;
    let scene = world.own_scene();
    let operator = own::start(&scene, &[("--sweep-interval", "1s"), ("--api-rate", "1.5"), ("--api-burst", "20")]);
    let (recipient, resource) = (random_id(), random_id());
    scene.apply(&scene.share("waf", &[&recipient], &[&resource], ""));
    scene.wait_ready("share", "waf");
    let (own, shown) = (format!("account=\"{}\"", scene.account), "cfshare_account_sweep_interval_seconds");
    scene.wait("the interval in the metrics", || {
        let text = metrics(&operator.log());
        let line = text.lines().find(|line| line.starts_with(shown) && line.contains(&own));
        let interval = line.and_then(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        interval.is_some_and(|interval| (interval - INTERVAL).abs() < 0.1)
    });
    let since = scene.journal().len();
    let lists = || -> Vec<i64> {
        let journal = scene.journal();
        journal[since..].iter().filter(|entry| entry.template == "/accounts/*/shares").map(|entry| entry.at).collect()
    };
    scene.wait("three lists", || lists().len() >= 3);
    let apart = lists().windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e6).fold(f64::MAX, f64::min);
    assert!(apart > 0.7 * INTERVAL, "{apart} s between two lists");
    operator.kill();
}
