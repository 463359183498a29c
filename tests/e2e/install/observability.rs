//! Do the alerts and the dashboard ask for metrics that the operator serves, in words that Prometheus understands?

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use cfshare_simulator::{Action, Rule, random_id};
use serde_json::Value;

use super::rendered;
use super::site::deploy;
use crate::scene::{World, ids, metrics};
use crate::waivers::{until, waiver};

pub fn served(world: &World) {
    let scene = world.scene();
    scene.apply(&scene.share("waf", &[&random_id()], &[], ""));
    scene.wait_reason("share", "waf", "WaitingForResources");
    let unready = format!(r#"share_namespace="{}",share="waf",reason="WaitingForResources""#, scene.namespace);
    scene.wait("a metric that names the share", || metrics(&world.operator.log()).contains(&unready));
    what_waits_for_a_person(world);
    let served = metrics(&world.operator.log());
    let expressions = expressions(world);
    assert!(expressions.len() > 20, "{expressions:#?}");
    assert_eq!(misunderstood(&expressions), "");
    assert_ne!(misunderstood(&["sum(up".to_owned()]), "", "the check can fail");
    for name in expressions.iter().flat_map(|expression| names(expression)) {
        let family = ["_total", "_bucket"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(&name);
        assert!(served.contains(&format!("# TYPE {family} ")), "{name} is not among {served}");
    }
}

pub fn explained(_: &World) {
    let text = fs::read_to_string(deploy("chart/files/dashboard.json")).expect("a dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(panel["type"] == "row" || panel["description"].is_string(), "{} has no description", panel["title"]);
    }
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        assert!(variable["label"].is_string(), "{} has no label", variable["name"]);
    }
}

/// Makes one Share whose exclusion is refused, one whose removal is held back, one whose deletion is, and one with a waiver.
fn what_waits_for_a_person(world: &World) {
    let scene = world.scene();
    let [organization, member, one, two, poor, first] = ids();
    world.simulator.organization(&organization, &[&scene.account, &member, &one, &two]);
    let refused = Rule::always("POST", "/accounts/*/shares/*/excluded-recipients", Action::Forbidden {});
    world.simulator.fault(refused.account(&scene.account));
    let whole = format!("organization: {{id: {organization}, excluded: [{{accountID: {member}}}]}}");
    scene.apply(&scene.share("whole", &[], &[&random_id()], &whole));
    scene.wait_reason("share", "whole", "ExclusionsNotInForce");
    scene.apply(&scene.share("emptied", &[&one, &two], &[&first], "maxRemovals: 0"));
    scene.wait_ready("share", "emptied");
    scene.apply(&scene.share("emptied", &[&one], &[&first], "maxRemovals: 0"));
    let many: Vec<String> = (0..6).map(|n| scene.share(&format!("lost-{n}"), &[&one], &[&random_id()], "")).collect();
    scene.apply(&many.join("---\n"));
    (0..6).for_each(|n| drop(scene.wait_ready("share", &format!("lost-{n}"))));
    (0..6).for_each(|n| scene.delete("share", &format!("lost-{n}")));
    world.simulator.account(&poor, |account| account.entitled = false);
    scene.apply(&scene.share("excused", &[&one], &[&random_id()], ""));
    scene.apply(&scene.recipient("poor", "excused", &poor, &format!("waiver: {}", waiver(&until(3600)))));
    let of = format!(r#"{{share_namespace="{}","#, scene.namespace);
    for what in ["exclusions_not_in_force", "blocked_removals", "blocked_deletions", "waivers_ending"] {
        let metric = format!("cfshare_{what}{of}");
        scene.wait(&metric, || metrics(&world.operator.log()).contains(&metric));
    }
}

/// What the chart, with everything turned on, asks Prometheus.
fn expressions(world: &World) -> Vec<String> {
    let rendered = rendered::everything(&world.cluster);
    let mut found = Vec::new();
    for document in rendered.split("\n---\n") {
        let object: Value = serde_yaml::from_str(document).expect("YAML");
        if object["kind"] == "PrometheusRule" {
            collect(&object, &mut found);
        }
        if let Some(dashboard) = object["data"]["cfshare.json"].as_str() {
            collect(&serde_json::from_str(dashboard).expect("JSON"), &mut found);
        }
    }
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str().filter(|_| name == "expr") {
                    // Grafana puts a time there.
                    Some(expression) => found.push(expression.replace("$__rate_interval", "5m")),
                    None => collect(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn names(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words
        .filter(|word| ["cfshare_", "process_"].iter().any(|prefix| word.starts_with(prefix)))
        .map(str::to_owned)
        .collect()
}

/// What Prometheus's own parser says against them.
fn misunderstood(expressions: &[String]) -> String {
    let mut command = Command::new("go");
    command.args(["run", "."]).current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chart/promql"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("go");
    let input = serde_json::to_vec(expressions).expect("JSON");
    child.stdin.take().expect("its input").write_all(&input).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("text")
}
