//! Whether replicas divide the accounts among themselves, and no account ever has two writers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use cfshare_simulator::{Entry, random_id};
use cfshare_testbed::Process;
use cfshare_testbed::process::Signal;
use serde_json::Value;

use crate::Test;
use crate::cli::cfshare;
use crate::expect::nothing_doubled;
use crate::own;
use crate::scene::{PATIENCE, Scene, World, is_ready, message};

pub const TESTS: &[Test] = &[
    ("shards: no account has two writers when of three replicas one is killed and one is paused", killed_and_paused),
    ("shards: replicas of another number of shards wait until the last has ended", another_number),
    ("shards: the matrix names the accounts of a shard that no replica holds", without_replica),
    ("shards: whose Lease is deleted makes it again, and goes on", lease_deleted),
    ("shards: child objects are looked after where their Share is", children),
    ("shards: replicas that work with one token keep to its rate together", one_rate),
];

const LEASE: Duration = Duration::from_secs(12);

fn replica(scene: &Scene<'_>, name: &str, shards: u16) -> Process {
    replica_with(scene, name, shards, &[])
}

fn replica_with(scene: &Scene<'_>, name: &str, shards: u16, more: &[(&str, &str)]) -> Process {
    let (lease, shards) = (format!("{}s", LEASE.as_secs()), shards.to_string());
    let flags = [
        ("--leader-elect", ""),
        ("--lease-namespace", scene.namespace.as_str()),
        ("--lease-duration", &lease),
        ("--call-timeout", "2s"),
        ("--shards", &shards),
        ("--identity", name),
    ];
    own::launch(scene, &format!("{name}.log"), &[&flags, more].concat())
}

/// So many accounts of each of two shards, in turn.
fn of_both(each: usize) -> Vec<String> {
    let of =
        |shard: u16| (0..).map(|_| random_id()).filter(move |account| cfshare::core::shard::of(account, 2) == shard);
    of(0).zip(of(1)).take(each).flat_map(|(zero, one)| [zero, one]).collect()
}

/// The shards of each replica, as their Leases say.
fn held(scene: &Scene<'_>) -> BTreeMap<String, BTreeSet<String>> {
    let mut held = BTreeMap::<String, BTreeSet<String>>::new();
    for lease in scene.list("leases") {
        let name = lease["metadata"]["name"].as_str().unwrap_or_default();
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        if name.contains("-shard-") && !holder.is_empty() {
            held.entry(holder.to_owned()).or_default().insert(name.to_owned());
        }
    }
    held
}

/// Waits until these replicas have so many shards each.
fn wait_parts(scene: &Scene<'_>, parts: &[(&str, usize)]) {
    let expected: BTreeMap<String, usize> = parts.iter().map(|(name, part)| ((*name).to_owned(), *part)).collect();
    let end = Instant::now() + PATIENCE;
    loop {
        let held = held(scene);
        let parts: BTreeMap<String, usize> = held.iter().map(|(name, shards)| (name.clone(), shards.len())).collect();
        if parts == expected {
            return;
        }
        if Instant::now() > end {
            let logs: Vec<String> = parts_of(expected.keys(), scene);
            panic!("the parts are {held:?}, not {expected:?}\n{}", logs.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What the replicas say of their Leases.
fn parts_of<'n>(names: impl Iterator<Item = &'n String>, scene: &Scene<'_>) -> Vec<String> {
    let log = |name: &String| {
        let log = std::fs::read_to_string(scene.file(&format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> =
            log.lines().filter(|line| !line.contains(" DEBUG ") && !line.contains("pass{")).collect();
        format!("{name}:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"))
    };
    names.map(log).collect()
}

/// Shares of several accounts, each with these recipients.
fn shares(scene: &Scene<'_>, accounts: &[String], each: usize, recipients: &[&str], resource: &str) {
    let share = |account: &String, at: usize| {
        let name = format!("s{at}-{}", &account[..8]);
        scene.share(&name, recipients, &[resource], "").replace(&scene.account, account)
    };
    for account in accounts {
        let all: Vec<String> = (0..each).map(|at| share(account, at)).collect();
        scene.apply(&all.join("---\n"));
    }
}

fn all_ready(scene: &Scene<'_>) {
    let end = Instant::now() + PATIENCE;
    loop {
        let all = scene.list("shares");
        let waiting: Vec<&Value> = all.iter().filter(|share| !is_ready(share)).collect();
        if !all.is_empty() && waiting.is_empty() {
            return;
        }
        if Instant::now() > end {
            let first = waiting.first().map(|share| (share["metadata"]["name"].clone(), message(share)));
            let held = held(scene);
            let logs = parts_of(held.keys(), scene).join("\n");
            panic!("{} of {} Shares are not Ready, as {first:?}; {held:?}\n{logs}", waiting.len(), all.len());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Who made the changing calls of an account, in their order; each once for a run of calls, with the end of its last.
fn turns(journal: &[Entry]) -> Vec<(String, i64, i64)> {
    let mut turns: Vec<(String, i64, i64)> = Vec::new();
    for entry in journal.iter().filter(|entry| entry.changing) {
        let agent = entry.user_agent.as_deref().unwrap_or_default();
        let name = agent.split_once('(').and_then(|(_, rest)| rest.split_once(')')).expect("a replica's name").0;
        let end = entry.at + entry.latency_us.unwrap_or(0);
        match turns.last_mut() {
            Some((last, _, ended)) if last == name => *ended = end.max(*ended),
            Some(_) | None => turns.push((name.to_owned(), entry.at, end)),
        }
    }
    turns
}

/// No two replicas worked on the account at the same time, and none came back to it.
fn one_writer_at_a_time(scene: &Scene<'_>, account: &str) -> Vec<String> {
    let turns = turns(&scene.world.simulator.journal(Some(account), 0));
    for pair in turns.windows(2) {
        assert!(pair[0].2 <= pair[1].1, "{} began before {} had ended: {turns:?}", pair[1].0, pair[0].0);
    }
    let names: Vec<String> = turns.into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "account {account}: {names:?}");
    names
}

fn killed_and_paused(world: &World) {
    let scene = world.own_scene();
    let accounts: Vec<String> = (0..30).map(|_| random_id()).collect();
    let (r, s, t, x) = (random_id(), random_id(), random_id(), random_id());
    let [a, b, c] = ["a", "b", "c"].map(|name| replica(&scene, name, 6));
    wait_parts(&scene, &[("a", 2), ("b", 2), ("c", 2)]);
    shares(&scene, &accounts, 5, &[&r], &x);
    all_ready(&scene);
    let place = ["--lease-namespace", scene.namespace.as_str()];
    // A Lease says only with its next renewal that an account was read.
    scene.wait("the matrix to know all accounts", || cfshare(&scene, &[&["matrix"][..], &place].concat()).code == 0);
    let doctor = cfshare(&scene, &[&["doctor", "--cluster-only"][..], &place].concat()).out;
    for shard in 0..6 {
        let found = ["a", "b", "c"].iter().any(|name| doctor.contains(&format!("-shard-{shard}: held by {name}\n")));
        assert!(found, "{doctor}");
    }
    let worked: BTreeSet<String> = accounts.iter().flat_map(|account| one_writer_at_a_time(&scene, account)).collect();
    assert_eq!(worked.len(), 3, "{worked:?}");

    // One dies and one falls asleep in the middle of the work.
    shares(&scene, &accounts, 5, &[&r, &s], &x);
    own::crash(a);
    b.signal(Signal::Stop);
    let slept = Instant::now();
    wait_parts(&scene, &[("c", 6)]);
    all_ready(&scene);
    scene.wait("two leases to pass", || slept.elapsed() >= 2 * LEASE);
    shares(&scene, &accounts, 5, &[&r, &s, &t], &x);
    b.signal(Signal::Continue);
    let status = b.wait(PATIENCE);
    assert!(status.is_some_and(|status| !status.success()), "it did not notice: {}", b.log());
    all_ready(&scene);

    // Another one comes, and gets its part of the work.
    let _d = replica(&scene, "d", 6);
    wait_parts(&scene, &[("c", 3), ("d", 3)]);
    shares(&scene, &accounts, 5, &[&s, &t], &x);
    all_ready(&scene);
    let mut worked = BTreeSet::new();
    for account in &accounts {
        worked.insert(one_writer_at_a_time(&scene, account));
        let state = world.simulator.state(account);
        nothing_doubled(&state);
        assert_eq!(state.iter().filter(|share| share.live()).count(), 5);
    }
    assert!(worked.iter().any(|names| names.last().is_some_and(|last| last == "d")), "{worked:?}");
    assert!(worked.iter().all(|names| names.contains(&"c".to_owned())), "{worked:?}");
    drop(c);
}

fn another_number(world: &World) {
    let scene = world.own_scene();
    let accounts: Vec<String> = (0..8).map(|_| random_id()).collect();
    let (r, s, t, x) = (random_id(), random_id(), random_id(), random_id());
    let one = replica(&scene, "one", 1);
    shares(&scene, &accounts, 1, &[&r], &x);
    all_ready(&scene);
    let three = replica(&scene, "three", 3);
    assert!(three.logs("standing by until no replica works with another number", PATIENCE), "{}", three.log());
    shares(&scene, &accounts, 1, &[&r, &s], &x);
    all_ready(&scene);
    assert_eq!(held(&scene), BTreeMap::new());
    assert!(one.stop(PATIENCE).is_some_and(|status| status.success()), "{}", one.log());
    wait_parts(&scene, &[("three", 3)]);
    shares(&scene, &accounts, 1, &[&s], &x);
    all_ready(&scene);
    let two = replica(&scene, "two", 2);
    assert!(two.logs("standing by until no replica works with another number", PATIENCE), "{}", two.log());
    own::crash(three);
    shares(&scene, &accounts, 1, &[&s, &t], &x);
    scene.wait("the other to have both its shards", || held(&scene).get("two").is_some_and(|held| held.len() == 2));
    all_ready(&scene);
    for account in &accounts {
        assert_eq!(one_writer_at_a_time(&scene, account), ["one", "three", "two"]);
        nothing_doubled(&world.simulator.state(account));
    }
    drop(two);
}

fn without_replica(world: &World) {
    let scene = world.own_scene();
    let shard = |account: &String| cfshare::core::shard::of(account, 2);
    let some = |of: u16| (0..).map(|_| random_id()).filter(move |account| shard(account) == of).take(3);
    let accounts: Vec<String> = some(0).chain(some(1)).collect();
    let one = replica(&scene, "one", 2);
    shares(&scene, &accounts, 1, &[&random_id()], &random_id());
    all_ready(&scene);
    let place = ["--lease-namespace", scene.namespace.as_str()];
    let matrix = |more: &[&str]| cfshare(&scene, &[&["matrix"][..], &place, more].concat());
    scene.wait("the matrix to know all accounts", || matrix(&[]).code == 0);
    own::crash(one);
    // Another replica has all but one of its Leases.
    let now = k8s_openapi::jiff::Timestamp::now();
    let renew = |name: &str, holder: &str| {
        let spec = serde_json::json!({"leaseDurationSeconds": 3600, "renewTime": format!("{now:.6}"), "holderIdentity": holder});
        scene.kubectl(&[
            "patch",
            "lease",
            name,
            "--type",
            "merge",
            "-p",
            &serde_json::json!({"spec": spec}).to_string(),
        ]);
    };
    renew("cfshare", "shards-of-2");
    renew("cfshare-shard-0", "another");
    renew("cfshare-shard-1", "");
    let ran = matrix(&[]);
    let first = ran.out.lines().next().expect("a line");
    assert!(ran.code == 3 && first.starts_with("WARNING: no cfshare replica reconciles accounts "), "{first}");
    for account in &accounts {
        assert_eq!(first.contains(account.as_str()), shard(account) == 1, "{account}: {first}");
    }
    assert!(first.contains("shard 1 of 2: no cfshare replica is active: nobody has held Lease"), "{first}");
    // Who asks only for the others is not alarmed.
    let served = format!("s0-{}", &accounts[0][..8]);
    scene.kubectl(&["label", "shares.cfshare.dev", &served, "asked=yes"]);
    assert_eq!(matrix(&["-l", "asked=yes"]).code, 0);
    let status = |account: &String| {
        let name = format!("share/s0-{}", &account[..8]);
        cfshare(&scene, &[&["status", &name][..], &place].concat())
    };
    assert_eq!((status(&accounts[0]).code, status(&accounts[5]).code), (0, 3));
}

fn lease_deleted(world: &World) {
    let scene = world.own_scene();
    let one = replica(&scene, "one", 2);
    wait_parts(&scene, &[("one", 2)]);
    scene.kubectl(&["delete", "lease", "cfshare-shard-1"]);
    wait_parts(&scene, &[("one", 2)]);
    let renewed = |name: &str| scene.kubectl(&["get", "lease", name, "-o", "jsonpath={.spec.renewTime}"]);
    let before = renewed("cfshare-shard-1");
    scene.wait("the Lease to be renewed", || renewed("cfshare-shard-1") != before);
    shares(&scene, &[random_id(), random_id()], 1, &[&random_id()], &random_id());
    all_ready(&scene);
    assert!(!one.log().contains("the lease is lost"), "{}", one.log());
}

fn children(world: &World) {
    let scene = world.own_scene();
    let _replicas = ["a", "b", "c"].map(|name| replica(&scene, name, 3));
    wait_parts(&scene, &[("a", 1), ("b", 1), ("c", 1)]);
    let accounts: Vec<String> = (0..8).map(|_| random_id()).collect();
    let (r, x) = (random_id(), random_id());
    let name = |account: &String| format!("s-{}", &account[..8]);
    for account in &accounts {
        scene.apply(&scene.recipient(&name(account), &name(account), &r, ""));
        scene.wait_reason("sharerecipient", &name(account), "WaitingForShare");
    }
    for account in &accounts {
        scene.apply(&scene.share(&name(account), &[], &[&x], "").replace(&scene.account, account));
    }
    for account in &accounts {
        scene.wait_ready("share", &name(account));
        scene.wait_ready("sharerecipient", &name(account));
        nothing_doubled(&world.simulator.state(account));
    }
    scene.confirm_deletions();
    for account in &accounts {
        scene.delete("share", &name(account));
    }
    for account in &accounts {
        scene.wait_gone("share", &name(account));
        scene.wait_reason("sharerecipient", &name(account), "WaitingForShare");
        scene.delete("sharerecipient", &name(account));
    }
    for account in &accounts {
        scene.wait_gone("sharerecipient", &name(account));
        assert!(world.simulator.state(account).iter().all(|share| !share.live()));
        one_writer_at_a_time(&scene, account);
    }
    let all = ["a", "b", "c"].map(|name| std::fs::read_to_string(scene.file(&format!("{name}.log"))).expect("a log"));
    assert!(all.iter().all(|log| !log.contains("panic")));
}

fn one_rate(world: &World) {
    const SECOND: i64 = 1_000_000;
    let scene = world.own_scene();
    let accounts = of_both(15);
    for account in &accounts {
        // Two new shares in each account, of which each is looked at again and again: more calls than the rate allows.
        world.simulator.delays(Some(account), |delays| delays.associate_ms = Some(600_000));
    }
    let rate = [("--api-rate", "4"), ("--api-burst", "8")];
    let _replicas = ["a", "b"].map(|name| replica_with(&scene, name, 2, &rate));
    wait_parts(&scene, &[("a", 1), ("b", 1)]);
    let since = world.simulator.last_request();
    shares(&scene, &accounts, 2, &[&random_id()], &random_id());
    let calls = || -> Vec<Entry> {
        let all = accounts.iter().flat_map(|account| world.simulator.journal(Some(account), since));
        let mut all: Vec<Entry> = all.collect();
        all.sort_by_key(|entry| entry.at);
        all
    };
    // Until both know for whom the token is used, which is looked up every five seconds.
    let after = |calls: &[Entry]| calls.first().map_or(i64::MAX, |first| first.at.saturating_add(10 * SECOND));
    scene.wait("half a minute of calls", || {
        let calls = calls();
        calls.last().is_some_and(|last| last.at >= after(&calls).saturating_add(25 * SECOND))
    });
    let calls = calls();
    let counted: Vec<&Entry> = calls.iter().filter(|entry| entry.at >= after(&calls)).collect();
    for name in ["a", "b"] {
        let agent = format!("({name})");
        let made = counted.iter().filter(|e| e.user_agent.as_deref().is_some_and(|made| made.contains(&agent))).count();
        assert!(made >= 20, "{name} made {made} of {} calls", counted.len());
    }
    for (n, first) in counted.iter().enumerate() {
        let within = counted[n..].iter().take_while(|entry| entry.at < first.at + 10 * SECOND).count();
        // The rate, what may be saved up, and the calls in progress of each.
        assert!(within <= 4 * 10 + 8 + 2 * 8, "{within} calls in 10 s, from {}", first.time);
    }
}
