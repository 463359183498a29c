//! Whether Cloudflare's limit is kept, and shared fairly.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cfshare_simulator::{Action, Entry, LimitHeaders, Limits, Policy, Rule, random_id};
use cfshare_testbed::Process;
use serde_json::Value;

use crate::Test;
use crate::expect::{nothing_doubled, sweeps};
use crate::own;
use crate::scene::{Scene, World, condition, ids, is_ready, metrics};

pub const TESTS: &[Test] = &[
    ("budget: retry-after stops every call of the credential until then", |w| refused(w, Some("5"), 5)),
    ("budget: a refusal without retry-after stops every call of the credential for a while", |w| refused(w, None, 10)),
    ("budget: a retry-after that cannot be read stops every call as well", |w| refused(w, Some("soon"), 10)),
    ("budget: an operator that is killed again and again keeps to the rate", crash_loop),
    ("budget: two Secrets with one token share one budget", same_token),
    ("budget: two tokens of one user both get through though they share its limit", one_user),
    ("budget: what the headers say is left is not overspent", headers),
    ("budget: headers that say the same on every answer stop nothing", steady),
    ("budget: a new Share that has to wait for its turn says so", told_of_the_wait),
    ("budget: bulk creates keep to the rate and do not hold up an edit", bulk),
    ("budget: an edit that takes many calls lets others make theirs between them", adds),
    ("budget: many new child objects do not hold up an edit", children),
    ("budget: new Shares of an account whose list hangs leave other accounts their turns", hung_list),
    ("budget: a total of pages that is far too high holds no calls back", many_pages),
    ("budget: a namespace with few shares is not kept waiting by one with many", namespaces),
];

/// Calls in flight at once, by default.
const CONCURRENCY: i64 = 8;

fn shares(scene: &Scene<'_>, prefix: &str, count: usize, more: &str) -> String {
    let share = |n: usize| scene.share(&format!("{prefix}-{n}"), &[&random_id()], &[&random_id()], more);
    (0..count).map(share).collect::<Vec<_>>().join("---\n")
}

fn all_ready(scene: &Scene<'_>, prefix: &str, count: usize) {
    for n in 0..count {
        scene.wait_ready("share", &format!("{prefix}-{n}"));
    }
}

/// Calls that arrived after the first 429 was answered, and how long after it, in microseconds.
fn after_refusal(journal: &[Entry]) -> Vec<i64> {
    let refused = journal.iter().find(|entry| entry.status == Some(429)).expect("a refusal");
    let answered = refused.at + refused.latency_us.unwrap_or(0);
    journal.iter().map(|entry| entry.at - answered).filter(|late| *late > 0).collect()
}

/// So many seconds of silence, but for as many calls as may have been on their way already.
fn expect_pause(late: &[i64], seconds: i64, on_their_way: usize) {
    let early = late.iter().filter(|late| **late < seconds * 1_000_000 - 100_000).count();
    assert!(early <= on_their_way && early < late.len(), "{late:?}");
}

fn refused(world: &World, retry_after: Option<&str>, seconds: i64) {
    let scene = world.scene();
    scene.apply(&shares(&scene, "waf", 4, ""));
    all_ready(&scene, "waf", 4);
    let slow = Action::Throttle { retry_after: retry_after.map(str::to_owned), code: Some(10100) };
    let rule = world.simulator.fault(Rule::once("*", "*", slow).account(&scene.account));
    for n in 0..4 {
        scene.annotate("share", &format!("waf-{n}"), &format!("cfshare.dev/requestedAt={}", random_id()));
    }
    scene.wait("the refusal", || world.simulator.fired(rule) == 1);
    sweeps(&scene, 2);
    expect_pause(&after_refusal(&scene.journal()), seconds, 4);
    all_ready(&scene, "waf", 4);
}

fn crash_loop(world: &World) {
    let scene = world.own_scene();
    scene.apply(&shares(&scene, "waf", 300, ""));
    let began = Instant::now();
    const STARTS: usize = 12;
    for _ in 0..STARTS {
        let before = scene.journal().len();
        // With the rate and the burst that it has by default.
        let operator = scene.operator(&[("--api-rate", ""), ("--api-burst", "")]);
        let made = || scene.journal().len() - before;
        scene.wait("a first call", || made() > 0);
        let called = Instant::now();
        scene.wait("some calls, or time for some", || made() >= 16 || called.elapsed() >= Duration::from_secs(2));
        let enough = Instant::now();
        scene.wait("time for many more", || enough.elapsed() >= Duration::from_secs(1));
        own::crash(operator);
    }
    let (calls, seconds) = (scene.journal().len(), began.elapsed().as_secs() as usize + 1);
    // Of each start what it begins with and what is in progress when it ends, and three a second.
    assert!(calls <= STARTS * (16 + 8) + 3 * seconds, "{calls} calls in {seconds} s");
    assert!(calls >= STARTS * 10, "only {calls} calls in {seconds} s: they say nothing of the rate");
    nothing_doubled(&scene.state());
}

fn same_token(world: &World) {
    let [scene, other] = [world.scene(), world.scene()];
    other.put_token(&scene.token);
    for scene in [&scene, &other] {
        scene.apply(&shares(scene, "waf", 1, ""));
        all_ready(scene, "waf", 1);
    }
    let slow = Action::Throttle { retry_after: Some("5".into()), code: Some(10100) };
    let rule = world.simulator.fault(Rule::once("*", "*", slow).account(&scene.account));
    scene.annotate("share", "waf-0", &format!("cfshare.dev/requestedAt={}", random_id()));
    scene.wait("the refusal", || world.simulator.fired(rule) == 1);
    sweeps(&other, 2);
    sweeps(&scene, 1);
    let mut both = scene.journal();
    both.extend(other.journal());
    both.sort_by_key(|entry| entry.at);
    expect_pause(&after_refusal(&both), 5, 2);
}

/// Each token knows what it spends, and Cloudflare counts both together.
fn one_user(world: &World) {
    let [scene, other] = [world.own_scene(), world.own_scene()];
    let user = random_id();
    for scene in [&scene, &other] {
        let limits = Limits { requests: 20, window_ms: 5_000, block_ms: 5_000, ..Limits::default() };
        let policy = Policy { limits: Some(limits), user: Some(user.clone()), ..Policy::default() };
        world.simulator.token(&scene.token, policy);
    }
    let both = format!("{},{}", scene.namespace, other.namespace);
    let _operator = own::across(&scene, &both, &[]);
    for scene in [&scene, &other] {
        scene.apply(&shares(scene, "waf", 12, ""));
    }
    for scene in [&scene, &other] {
        all_ready(scene, "waf", 12);
        assert_eq!(scene.live().len(), 12);
        nothing_doubled(&scene.state());
    }
    let first_refusal = |scene: &Scene<'_>| scene.journal().iter().find(|e| e.status == Some(429)).map(|e| e.at);
    // The first refusal of either token begins a pause for both, and each learns of it by its own.
    let begun = [&scene, &other].into_iter().filter_map(first_refusal).min().expect("the limit was passed");
    let end = begun + 4_900_000;
    for scene in [&scene, &other] {
        let journal = scene.journal();
        let Some(refused) = journal.iter().find(|entry| entry.status == Some(429) && entry.at < end) else { continue };
        let answered = refused.at + refused.latency_us.unwrap_or(0);
        let early = journal.iter().filter(|entry| entry.at > answered && entry.at < end).count();
        assert!(early <= CONCURRENCY as usize, "{early} calls before the pause was over");
    }
}

fn limit(world: &World, scene: &Scene<'_>, limits: Limits) {
    world.simulator.token(&scene.token, Policy { limits: Some(limits), ..Policy::default() });
}

fn headers(world: &World) {
    let scene = world.own_scene();
    let limits = Limits { requests: 40, window_ms: 5_000, block_ms: 5_000, ..Limits::default() };
    limit(world, &scene, limits);
    let _operator = own::start(&scene, &[]);
    scene.apply(&shares(&scene, "waf", 40, ""));
    all_ready(&scene, "waf", 40);
    nothing_doubled(&scene.state());
    let refused = scene.journal().iter().filter(|entry| entry.status == Some(429)).count();
    assert_eq!(refused, 0, "of {} calls", scene.journal().len());
}

/// As where the window slides: so many are left, whatever was spent. What is left is believed anew with each answer.
fn steady(world: &World) {
    let scene = world.own_scene();
    let headers = LimitHeaders::Steady { left: 40, reset: 300 };
    let limits = Limits { requests: 0, headers, ..Limits::default() };
    limit(world, &scene, limits);
    let _operator = own::start(&scene, &[("--api-rate", "2000"), ("--api-burst", "2000")]);
    scene.apply(&shares(&scene, "waf", 60, ""));
    all_ready(&scene, "waf", 60);
    nothing_doubled(&scene.state());
    assert!(scene.journal().len() > 60, "{} calls", scene.journal().len());
}

/// Each answer says that nothing is left for half an hour, and is a success.
fn told_of_the_wait(world: &World) {
    let scene = world.own_scene();
    let headers = LimitHeaders::Steady { left: 0, reset: 1800 };
    let limits = Limits { requests: 0, headers, ..Limits::default() };
    limit(world, &scene, limits);
    // With times that are as short as in other tests, it is told earlier that the account cannot be read.
    let _operator = own::start(&scene, &[("--settle-time", "240s"), ("--sweep-interval", "10m")]);
    scene.apply(&shares(&scene, "waf", 1, ""));
    let share = scene.wait_reason("share", "waf-0", "Throttled");
    let ready = condition(&share, "Ready").expect("Ready");
    assert_eq!(ready["status"], "Unknown");
    assert!(ready["message"].as_str().is_some_and(|said| said.contains("has to wait")), "{ready}");
}

fn bulk(world: &World) {
    let scene = world.own_scene();
    let _operator =
        own::start(&scene, &[("--api-rate", "5"), ("--api-burst", "10"), ("--poll-min", "2s"), ("--poll-max", "30s")]);
    let [a, b, x] = ids();
    scene.apply(&scene.share("edited", &[&a], &[&x], ""));
    scene.wait_ready("share", "edited");
    scene.apply(&shares(&scene, "waf", 60, ""));
    scene.wait_state("some of many", |shares| shares.len() >= 15);
    scene.apply(&scene.share("edited", &[&a, &b], &[&x], ""));
    let applied = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_micros() as i64;
    scene.wait("the edit", || scene.journal().iter().any(|e| e.method == "POST" && e.path.ends_with("/recipients")));
    let journal = scene.journal();
    let edit = journal.iter().find(|e| e.method == "POST" && e.path.ends_with("/recipients")).expect("the edit");
    // In three seconds the budget has fifteen calls.
    let before = |e: &&Entry| e.method == "POST" && e.path.ends_with("/shares") && (applied..edit.at).contains(&e.at);
    let first = journal.iter().filter(before).count();
    assert!(first <= 15, "{first} of the bulk went first, in {} us", edit.at - applied);
    assert!(scene.state().len() < 61, "the bulk was over by then");
    scene.wait_state("all of them", |shares| shares.len() == 61);
    nothing_doubled(&scene.state());
    let calls: Vec<i64> = scene.journal().iter().map(|entry| entry.at).collect();
    for (n, first) in calls.iter().enumerate() {
        for seconds in [1, 5, 10] {
            let within = calls[n..].iter().take_while(|at| **at - first < seconds * 1_000_000).count() as i64;
            // Calls that a stalled machine held up arrive with those of the next moment.
            assert!(within <= 10 + 5 * seconds + 1 + CONCURRENCY, "{within} calls in {seconds} s");
        }
    }
}

/// The time of each recipient added to the share of that object, in microseconds.
fn adds_to(scene: &Scene<'_>, share: &Value) -> Vec<i64> {
    let end = format!("/{}/recipients", share["status"]["shareID"].as_str().expect("an id"));
    let journal = scene.journal();
    journal.iter().filter(|e| e.method == "POST" && e.path.ends_with(&end)).map(|e| e.at).collect()
}

fn adds(world: &World) {
    let scene = world.own_scene();
    let _operator =
        own::start(&scene, &[("--api-rate", "10"), ("--api-burst", "80"), ("--poll-min", "5s"), ("--poll-max", "30s")]);
    let [a, b, x] = ids();
    scene.apply(&(scene.share("edited", &[&a], &[&x], "") + "---\n" + &scene.share("bulk", &[&a], &[&x], "")));
    let edited = scene.wait_ready("share", "edited");
    let bulk = scene.wait_ready("share", "bulk");
    let many: Vec<String> = std::iter::once(a.clone()).chain((0..250).map(|_| random_id())).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    scene.apply(&scene.share("bulk", &many, &[&x], ""));
    scene.wait("most of them", || adds_to(&scene, &bulk).len() >= 180);
    let working = scene.get("share", "bulk").expect("it");
    let said = |kind: &str| condition(&working, kind).map(|said| (said["status"].clone(), said["reason"].clone()));
    assert_eq!(said("Ready"), Some(("False".into(), "Progressing".into())));
    assert_eq!(said("Reconciling"), Some(("True".into(), "Progressing".into())));
    scene.apply(&scene.share("edited", &[&a, &b], &[&x], ""));
    scene.wait("the edit", || !adds_to(&scene, &edited).is_empty());
    let made = adds_to(&scene, &bulk);
    assert!(made.len() < 250, "the bulk was over by then");
    // Eight calls are made at a time. If those before them counted as well, five seconds would pass by now.
    let longest = made.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(longest < Some(3_000_000), "nothing was added for {longest:?} us");
}

fn children(world: &World) {
    let scene = world.own_scene();
    let _operator =
        own::start(&scene, &[("--api-rate", "5"), ("--api-burst", "10"), ("--poll-min", "5s"), ("--poll-max", "30s")]);
    let [a, b, x] = ids();
    scene.apply(&(scene.share("edited", &[&a], &[&x], "") + "---\n" + &scene.share("waf", &[&a], &[&x], "")));
    let edited = scene.wait_ready("share", "edited");
    let waf = scene.wait_ready("share", "waf");
    let child = |n: usize| scene.recipient(&format!("recipient-{n}"), "waf", &random_id(), "");
    scene.apply(&(0..60).map(child).collect::<Vec<_>>().join("---\n"));
    scene.wait("some of many", || adds_to(&scene, &waf).len() >= 15);
    scene.apply(&scene.share("edited", &[&a, &b], &[&x], ""));
    let before = adds_to(&scene, &waf).len();
    scene.wait("the edit", || !adds_to(&scene, &edited).is_empty());
    let edit = adds_to(&scene, &edited)[0];
    let all = adds_to(&scene, &waf);
    let first = all[before..].iter().filter(|at| **at < edit).count();
    assert!(first <= 15, "{first} of the bulk went first");
    assert!(all.len() < 60, "the bulk was over by then");
}

/// How many passes over Shares have ended.
fn ended_passes(operator: &Process) -> f64 {
    let served = metrics(&operator.log());
    let line =
        served.lines().find_map(|line| line.strip_prefix("cfshare_pass_duration_seconds_count{kind=\"Share\"} "));
    line.and_then(|count| count.parse().ok()).unwrap_or(0.0)
}

fn hung_list(world: &World) {
    let [hung, other] = [world.own_scene(), world.own_scene()];
    let both = format!("{},{}", hung.namespace, other.namespace);
    let operator = own::across(&hung, &both, &[("--call-timeout", "30s"), ("--sweep-interval", "1h")]);
    let [a, b, x] = ids();
    hung.apply(&hung.share("first", &[&a], &[&x], ""));
    hung.wait_ready("share", "first");
    other.apply(&other.share("first", &[&a], &[&x], ""));
    let edited = other.wait_ready("share", "first");
    let hang = Rule::always("GET", "/accounts/*/shares", Action::DelayBefore { ms: 120_000 }).account(&hung.account);
    let rule = world.simulator.fault(hang);
    hung.apply(&shares(&hung, "waf", 40, ""));
    hung.wait("a look that hangs", || world.simulator.fired(rule) > 0);
    // So many passes run at a time: each of the others has waited for it by then.
    let before = ended_passes(&operator);
    hung.wait("the others to have waited for it", || ended_passes(&operator) >= before + 32.0);
    let applied = Instant::now();
    other.apply(&other.share("first", &[&a, &b], &[&x], ""));
    other.wait("the edit", || !adds_to(&other, &edited).is_empty());
    assert!(applied.elapsed() < Duration::from_secs(15), "{:?}", applied.elapsed());
    world.simulator.remove_fault(rule);
}

fn many_pages(world: &World) {
    let scene = world.own_scene();
    let _operator = own::start(&scene, &[("--api-rate", "3"), ("--api-burst", "240"), ("--sweep-interval", "1h")]);
    let set = [("/result_info/total_pages".to_owned(), 5000.into())].into();
    let wrong = Action::Rewrite { set, remove: vec![] };
    let lists = Rule::always("GET", "/accounts/*/shares/*/recipients", wrong).account(&scene.account);
    let rule = world.simulator.fault(lists);
    scene.apply(&shares(&scene, "waf", 1, ""));
    all_ready(&scene, "waf", 1);
    for _ in 0..2 {
        let (asked, before) = (Instant::now(), world.simulator.fired(rule));
        scene.ask("share", "waf-0");
        assert!(world.simulator.fired(rule) > before, "it was listed");
        assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    }
}

fn namespaces(world: &World) {
    let [many, few] = [world.own_scene(), world.own_scene()];
    few.put_token(&many.token);
    let both = format!("{},{}", many.namespace, few.namespace);
    let _operator = own::across(
        &many,
        &both,
        &[("--api-rate", "5"), ("--api-burst", "10"), ("--poll-min", "5s"), ("--poll-max", "30s")],
    );
    many.apply(&shares(&many, "waf", 80, ""));
    many.wait_state("some of many", |shares| shares.len() >= 3);
    few.apply(&shares(&few, "waf", 3, ""));
    few.wait_state("all of few", |shares| shares.len() == 3);
    let left = 80 - many.state().len();
    assert!(left >= 10, "only {left} of the many were still to be made");
    all_ready(&few, "waf", 3);
    let share = many.get("share", "waf-79").expect("it");
    assert!(is_ready(&share) || condition(&share, "Stalled").is_none(), "{share:#}");
}
