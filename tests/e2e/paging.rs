//! Whether nothing is decided on a list that is not complete, however the server pages.

use cfshare_simulator::{Action, ListInfo, Paging, Release, Rule, Seed, random_id};
use serde_json::Value;

use crate::Test;
use crate::expect::{creates, only_share};
use crate::own;
use crate::scene::{PATIENCE, Scene, World, condition, ids, message};

pub const TESTS: &[Test] = &[
    ("paging: where every page is page 1, the list is read in one piece", |w| whole(w, ListInfo::Shown)),
    ("paging: where every page is page 1 and nothing tells the total, too", |w| whole(w, ListInfo::Absent)),
    ("paging: where every answer is page 1, no share is made a second time", |w| ignored(w, ListInfo::Shown)),
    ("paging: where every answer is page 1 and nothing tells the total, neither", |w| ignored(w, ListInfo::Absent)),
    ("paging: where every answer is page 1, no recipient is added a second time", |w| recipients(w, ListInfo::Shown)),
    ("paging: where every answer is page 1 and nothing tells the total, no recipient either", |w| {
        recipients(w, ListInfo::Absent);
    }),
    ("paging: an account whose lists of shares are null gets its share once", null_lists),
    ("paging: a total of pages that is far too high is not walked through", many_pages),
    ("paging: lists without result_info end with a short page", no_info),
    ("paging: lists whose order changes from page to page are read in one piece", shuffled),
    ("paging: a lost create is found in a list without an order", lost_create),
    ("paging: an import of a list that is not complete is an error", import),
];

/// 250 shares in the account; lists end as the server says.
fn many<'a>(world: &'a World, info: ListInfo, paging: Paging) -> (Scene<'a>, Vec<String>) {
    let scene = world.own_scene();
    let list = Vec::new();
    let prefix = "share".to_owned();
    let seed = Seed { account: scene.account.clone(), shares: 250, recipients: 1, resources: 1, prefix, list };
    let ids = world.simulator.seed(seed).expect("shares").into_iter().map(|seeded| seeded.id).collect();
    world.simulator.switches(Some(&scene.account), |s| (s.list_info, s.paging) = (info, paging));
    (scene, ids)
}

/// Also a list that is asked for in one piece is cut after its first page.
fn cut_whole(scene: &Scene<'_>, path: &str) -> u64 {
    let remove = vec!["/result/100".to_owned(); 200];
    let cut = Action::Rewrite { set: Default::default(), remove };
    scene.world.simulator.fault(Rule::always("GET", path, cut).account(&scene.account))
}

/// The pages that the sweeps asked for.
fn swept(scene: &Scene<'_>) -> Vec<String> {
    let journal = scene.journal();
    let sweeps = journal.iter().filter(|entry| entry.query.contains("direction=asc") && entry.done);
    sweeps
        .map(|entry| entry.query.split('&').find(|part| part.starts_with("page=")).unwrap_or("all").to_owned())
        .collect()
}

fn unknown(share: &Value) -> bool {
    condition(share, "Ready").is_some_and(|ready| ready["status"] == "Unknown" && ready["reason"] == "Unavailable")
}

fn whole(world: &World, info: ListInfo) {
    let (scene, ids) = many(world, info, Paging::FirstPage);
    let _operator = own::start(&scene, &[]);
    let [one, first] = crate::scene::ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], "name: share-249"));
    let share = scene.wait_reason("share", "waf", "NameTaken");
    assert!(message(&share).contains(ids[249].as_str()), "{share:#}");
    assert_eq!(swept(&scene)[..3], ["page=1", "page=2", "all"]);
    assert_eq!(scene.changes(), [""; 0]);
}

fn ignored(world: &World, info: ListInfo) {
    let (scene, ids) = many(world, info, Paging::FirstPage);
    let rule = cut_whole(&scene, "/accounts/*/shares");
    let _operator = own::start(&scene, &[]);
    let [one, first] = crate::scene::ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], "name: share-249"));
    let share = scene.wait_for("share", "waf", "said that the list cannot be read", unknown);
    assert!(message(&share).contains("page 2"), "{}", message(&share));
    scene.wait("three sweeps", || swept(&scene).len() >= 9);
    for sweep in swept(&scene).chunks(3).filter(|sweep| sweep.len() == 3) {
        assert_eq!(sweep, ["page=1", "page=2", "all"]);
    }
    assert_eq!(scene.changes(), [""; 0]);
    // Once the list can be read, the share that has the name is found.
    world.simulator.remove_fault(rule);
    world.simulator.switches(Some(&scene.account), |s| s.paging = Paging::Served);
    let share = scene.wait_reason("share", "waf", "NameTaken");
    assert!(message(&share).contains(ids[249].as_str()), "{share:#}");
    assert_eq!(scene.changes(), [""; 0]);
}

fn recipients(world: &World, info: ListInfo) {
    let scene = world.own_scene();
    let operator = own::start(&scene, &[]);
    let accounts: Vec<String> = (0..150).map(|_| random_id()).collect();
    let accounts: Vec<&str> = accounts.iter().map(String::as_str).collect();
    let [first] = ids();
    scene.apply(&scene.share("waf", &accounts, &[&first], ""));
    scene.wait_ready("share", "waf");
    own::crash(operator);
    let before = scene.changes().len();
    world.simulator.switches(Some(&scene.account), |s| (s.list_info, s.paging) = (info, Paging::FirstPage));
    let rule = cut_whole(&scene, "/accounts/*/shares/*/recipients");
    let _operator = own::start(&scene, &[]);
    scene.annotate("share", "waf", "cfshare.dev/requestedAt=now");
    let lists = || scene.journal().iter().filter(|e| e.template.ends_with("/recipients") && e.method == "GET").count();
    let listed = lists();
    scene.wait("the list asked for again", || lists() >= listed + 6);
    scene.wait_for("share", "waf", "said that the list cannot be read", unknown);
    assert_eq!(scene.changes_since(before), [""; 0]);
    world.simulator.remove_fault(rule);
    world.simulator.switches(Some(&scene.account), |s| s.paging = Paging::Served);
    scene.wait_ready("share", "waf");
    only_share(&scene.state(), &accounts, &[&first]);
    assert_eq!(scene.changes_since(before), [""; 0]);
}

fn no_info(world: &World) {
    let (scene, ids) = many(world, ListInfo::Absent, Paging::Served);
    let _operator = own::start(&scene, &[]);
    let [one, first] = crate::scene::ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], "name: share-249"));
    let share = scene.wait_reason("share", "waf", "NameTaken");
    assert!(message(&share).contains(ids[249].as_str()), "{share:#}");
    assert_eq!(swept(&scene)[..3], ["page=1", "page=2", "page=3"]);
}

fn shuffled(world: &World) {
    let (scene, ids) = many(world, ListInfo::Shown, Paging::Shuffled);
    let _operator = own::start(&scene, &[]);
    let accounts: Vec<String> = (0..151).map(|_| random_id()).collect();
    let accounts: Vec<&str> = accounts.iter().map(String::as_str).collect();
    let [first] = crate::scene::ids();
    scene.apply(&scene.share("taken", &accounts[..1], &[&first], "name: share-249"));
    let share = scene.wait_reason("share", "taken", "NameTaken");
    assert!(message(&share).contains(ids[249].as_str()), "{share:#}");
    scene.apply(&scene.share("waf", &accounts[..150], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &accounts, &[&first], ""));
    scene.wait_ready("share", "waf");
    let own: Vec<_> = scene.live().into_iter().filter(|share| share.name == "waf").collect();
    only_share(&own, &accounts, &[&first]);
    assert_eq!(scene.changes().len(), 2, "{:#?}", scene.changes());
}

fn lost_create(world: &World) {
    let (scene, _) = many(world, ListInfo::Shown, Paging::Shuffled);
    let _operator = own::start(&scene, &[("--sweep-interval", "1h")]);
    let rule = Rule::once("POST", "/accounts/*/shares", Action::ApplyDrop {}).account(&scene.account);
    let rule = world.simulator.fault(rule);
    let [one, first] = crate::scene::ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    assert_eq!(world.simulator.fired(rule), 1);
    let own: Vec<_> = scene.live().into_iter().filter(|share| share.name == "waf").collect();
    only_share(&own, &[&one], &[&first]);
    assert_eq!(creates(&scene), 1, "{:#?}", scene.changes());
}

fn null_lists(world: &World) {
    let scene = world.own_scene();
    let null = Action::Rewrite { set: [("/result".into(), Value::Null)].into(), remove: vec!["/result_info".into()] };
    let rule = world.simulator.fault(Rule::always("GET", "/accounts/*/shares", null).account(&scene.account));
    world.simulator.fault(Rule::once("POST", "/accounts/*/shares", Action::HoldBefore {}).account(&scene.account));
    let _operator = own::start(&scene, &[]);
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    let held = world.simulator.wait_held(PATIENCE, |held| held.account.as_deref() == Some(&scene.account));
    let held = held.expect("a create on its way");
    world.simulator.remove_fault(rule);
    world.simulator.release(held.id, Release::Go).expect("it goes on");
    scene.wait_ready("share", "waf");
    only_share(&scene.state(), &[&one], &[&first]);
    assert_eq!(creates(&scene), 1);
}

fn many_pages(world: &World) {
    let scene = world.own_scene();
    let _operator = own::start(&scene, &[("--sweep-interval", "1h")]);
    let set = [("/result_info/total_pages".to_owned(), 5000.into())].into();
    let wrong = Action::Rewrite { set, remove: vec![] };
    world.simulator.fault(Rule::always("GET", "/accounts/*/shares", wrong).account(&scene.account));
    world.simulator.fault(Rule::once("POST", "/accounts/*/shares", Action::ApplyDrop {}).account(&scene.account));
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    let looks = scene.journal().iter().filter(|entry| entry.query.contains("direction=desc")).count();
    assert!((1..=10).contains(&looks), "{looks} looks");
    assert_eq!(creates(&scene), 1, "{:#?}", scene.changes());
}

fn import(world: &World) {
    for info in [ListInfo::Shown, ListInfo::Absent] {
        let (scene, _) = many(world, info, Paging::FirstPage);
        cut_whole(&scene, "/accounts/*/shares");
        let ran = crate::cli::alone(&scene, &["import", "--account", &scene.account], "");
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
        assert!(ran.err.contains("page 2"), "{}", ran.err);
        assert_eq!(scene.journal().len(), 3, "{:#?}", scene.journal());
    }
}
