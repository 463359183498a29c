//! Whether an object tells which calls were made for it, with what Cloudflare's support asks for.

use cfshare_simulator::{Action, Entry, Rule};
use serde_json::Value;

use crate::Test;
use crate::cli::cfshare;
use crate::scene::{Scene, World, ids};

pub const TESTS: &[Test] = &[
    ("calls: the screen of a Share and its JSON list the calls that were made for it, with their rays", listed),
    ("calls: what is refused again and again is told once, also after a restart", told_once),
];

fn recent_calls(object: &Value) -> Vec<Value> {
    object["status"]["recentCalls"].as_array().cloned().unwrap_or_default()
}

/// What the screen lists: the call, its result, and its ray.
fn on_screen(scene: &Scene) -> Vec<[String; 3]> {
    let ran = cfshare(scene, &["status", "share/waf"]);
    let lines = ran.out.lines().skip_while(|line| !line.starts_with("Last calls")).skip(1);
    let cells = |line: &str| {
        let mut cells = line.trim().split("  ").filter(|cell| !cell.is_empty()).skip(1);
        std::array::from_fn(|_| cells.next().unwrap_or_default().trim().to_owned())
    };
    lines.take_while(|line| !line.is_empty()).map(cells).collect()
}

/// The same, as programs read it.
fn for_programs(scene: &Scene, format: &str) -> Vec<[String; 3]> {
    let ran = cfshare(scene, &["status", "share/waf", "-o", format]);
    let list: Value = serde_yaml::from_str(&ran.out).expect("JSON is YAML");
    let share = &list[0];
    assert!(share["kind"] == "Share" && share.get("callsLeft").is_some(), "{share:#}");
    let calls = share["recentCalls"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let cells = |call: &Value| {
        let ray = text(&call["ray"]).map_or("no response, so no ray".to_owned(), |ray| format!("ray {ray}"));
        [text(&call["call"]).unwrap_or_default(), text(&call["result"]).unwrap_or_default(), ray]
    };
    calls.map(cells).collect()
}

fn posts(scene: &Scene) -> usize {
    scene.journal().iter().filter(|entry| entry.method == "POST" && entry.path.ends_with("/recipients")).count()
}

fn listed(world: &World) {
    let scene = world.scene();
    let [one, unknown, lost, child, first] = ids();
    world.simulator.account(&unknown, |account| account.known = false);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &[&one, &unknown], &[&first], ""));
    scene.wait_reason("share", "waf", "Rejected");
    let rule = Rule::once("POST", "/accounts/*/shares/*/recipients", Action::ApplyDrop {}).account(&scene.account);
    let rule = world.simulator.fault(rule);
    scene.apply(&scene.share("waf", &[&one, &lost], &[&first], ""));
    scene.wait_ready("share", "waf");
    assert_eq!(world.simulator.fired(rule), 1);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_state("the removal", |shares| shares[0].live_recipients().len() == 1);
    scene.wait_ready("share", "waf");
    scene.apply(&scene.recipient("child", "waf", &child, ""));
    let object = scene.wait_ready("sharerecipient", "child");
    assert_eq!(recent_calls(&object).len(), 1, "{object:#}");

    let made: Vec<Entry> = scene.journal().into_iter().filter(|entry| entry.changing).collect();
    let told = [
        ("create share waf".to_owned(), "done"),
        (format!("add recipient {unknown}"), "refused 400"),
        (format!("add recipient {lost}"), "unknown"),
        (format!("remove recipient {lost}"), "done"),
        (format!("add recipient {child}"), "done"),
    ];
    assert_eq!(made.len(), told.len(), "{made:#?}");
    let expected: Vec<[String; 3]> = told
        .into_iter()
        .zip(&made)
        .map(|((call, result), entry)| {
            let ray = entry.ray.as_ref().map_or("no response, so no ray".to_owned(), |ray| format!("ray {ray}"));
            [call, result.to_owned(), ray]
        })
        .collect();
    assert_eq!(on_screen(&scene), expected);
    for format in ["json", "yaml"] {
        assert_eq!(for_programs(&scene, format), expected, "{format}");
    }
}

fn told_once(world: &World) {
    let scene = world.own_scene();
    let operator = scene.operator(&[]);
    let [one, unknown, first] = ids();
    world.simulator.account(&unknown, |account| account.known = false);
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.apply(&scene.share("waf", &[&one, &unknown], &[&first], ""));
    let told = recent_calls(&scene.wait_reason("share", "waf", "Rejected"));
    assert_eq!(told.len(), 2, "{told:#?}");
    // A person asks for another try.
    let before = posts(&scene);
    let share = scene.ask("share", "waf");
    assert!(posts(&scene) > before);
    assert_eq!(recent_calls(&share), told);
    // A new process retries on its own, and knows only the status.
    drop(operator);
    let before = posts(&scene);
    let _operator = scene.operator(&[]);
    scene.wait("another try", || posts(&scene) > before);
    let share = scene.ask("share", "waf");
    assert_eq!(recent_calls(&share), told);
    // What changes something is added to what was told before.
    world.simulator.account(&unknown, |account| account.known = true);
    scene.ask("share", "waf");
    let mut now = recent_calls(&scene.wait_ready("share", "waf"));
    let last = now.pop().expect("calls");
    assert_eq!(now, told);
    assert_eq!((last["call"].as_str(), last["result"].as_str()), (told[1]["call"].as_str(), Some("done")));
}
