//! Does anything write a field that Git does not have, so that Argo CD would call the object OutOfSync?

use std::fs;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::scene::{Scene, World, ids, is_observed, is_ready};

/// The examples, moved into the test's own namespace and account.
fn examples(scene: &Scene<'_>) -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples");
    let moved = |text: String| {
        text.replace("security-baseline", &scene.namespace).replace("023e105f4ecef8ad9ca31a8372d0c353", &scene.account)
    };
    let mut examples: Vec<(String, String)> = fs::read_dir(folder)
        .expect("examples")
        .map(|file| file.expect("a file").path())
        .map(|path| (path.display().to_string(), moved(fs::read_to_string(&path).expect("text"))))
        .collect();
    examples.sort();
    examples
}

fn documents(yaml: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(yaml).map(|document| Value::deserialize(document).expect("YAML")).collect()
}

pub fn unchanged(world: &World) {
    let scene = world.scene();
    let manifests: Vec<(String, String)> =
        examples(&scene).into_iter().filter(|(name, _)| !name.ends_with("secret.yaml")).collect();
    for (name, yaml) in &manifests {
        scene.try_kubectl(&["apply", "-f", "-"], Some(yaml)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let desired: Vec<Value> = manifests.iter().flat_map(|(_, yaml)| documents(yaml)).collect();
    assert!(desired.len() >= 8);
    for manifest in &desired {
        let kind = manifest["kind"].as_str().expect("a kind").to_lowercase();
        let name = manifest["metadata"]["name"].as_str().expect("a name");
        let live = scene.wait_for(&kind, name, "seen by the operator", |object| {
            is_observed(object) && object["status"]["conditions"].as_array().is_some_and(|list| !list.is_empty())
        });
        assert_eq!(live["spec"], manifest["spec"], "{kind} {name} would be OutOfSync");
        assert_eq!(live["metadata"]["labels"], manifest["metadata"]["labels"], "{kind} {name}");
        let annotations = live["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        let foreign = annotations.keys().filter(|key| *key != "kubectl.kubernetes.io/last-applied-configuration");
        assert_eq!(foreign.count(), 0, "{kind} {name}: {annotations:?}");
    }
    for (name, yaml) in &manifests {
        let diff = ["diff", "-f", "-"];
        scene.try_kubectl(&diff, Some(yaml)).unwrap_or_else(|error| panic!("{name} differs: {error}"));
    }
    // The check can fail.
    let edited = manifests.iter().map(|(_, yaml)| yaml).find(|yaml| yaml.contains("prune: false")).expect("one");
    let diff = ["diff", "-f", "-"];
    assert!(scene.try_kubectl(&diff, Some(&edited.replace("prune: false", "prune: true"))).is_err());
}

/// What an apply of the manifest leaves: the generation, and the list.
fn applied(scene: &Scene<'_>, yaml: &str) -> (i64, Value) {
    scene.apply(yaml);
    let share = scene.get("share", "waf").expect("it is there");
    (share["metadata"]["generation"].as_i64().expect("a generation"), share["spec"]["recipients"].clone())
}

/// With the last item that an apply takes out of a list, the API server takes away the list, whatever the manifest says;
/// nobody owns an empty list. docs/gitops.md says so: a change here is one there.
pub fn emptied(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    let full = scene.share("waf", &[&one], &[&first], "");
    let empty = scene.share("waf", &[], &[&first], "");
    let absent: String = full.lines().filter(|line| !line.contains("recipients:")).map(|l| format!("{l}\n")).collect();
    let list = json!([{"accountID": one}]);
    assert_eq!(applied(&scene, &full), (1, list.clone()));
    assert_eq!(applied(&scene, &full), (1, list.clone()));
    scene.wait_ready("share", "waf");
    assert_eq!(applied(&scene, &empty), (2, Value::Null));
    scene.wait_state("no recipient", |shares| shares[0].live_recipients().is_empty());
    scene.wait_for("share", "waf", "said so", |s| is_ready(s) && s["status"]["recipients"]["declared"] == 0);
    let before = scene.changes().len();
    assert_eq!(applied(&scene, &empty), (3, json!([])));
    assert_eq!(applied(&scene, &empty), (3, json!([])));
    scene.wait_ready("share", "waf");
    // Both mean the same.
    assert_eq!(scene.changes_since(before), [""; 0]);
    assert_eq!(applied(&scene, &full), (4, list));
    scene.wait_ready("share", "waf");
    assert_eq!(applied(&scene, &absent), (5, Value::Null));
    assert_eq!(applied(&scene, &absent), (5, Value::Null));
    scene.wait_state("no recipient again", |shares| shares[0].live_recipients().is_empty());
}
