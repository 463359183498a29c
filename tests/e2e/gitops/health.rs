//! What does the health check for Argo CD say of objects as the operator leaves them?

use std::io::Write;
use std::process::{Command, Stdio};

use cfshare_simulator::random_id;
use serde_json::Value;

use crate::scene::{World, condition, message};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Runs the check as Argo CD does: pairs of health and message.
fn judged(objects: &[Value]) -> Vec<(String, String)> {
    let mut command = Command::new("go");
    command.args(["run", ".", &format!("{ROOT}/deploy/argocd/health.lua")]);
    command.current_dir(format!("{ROOT}/tests/chart/argocd")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("go");
    let input = serde_json::to_vec(objects).expect("JSON");
    child.stdin.take().expect("its input").write_all(&input).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    answers.iter().map(|answer| (word(&answer["status"]), word(&answer["message"]))).collect()
}

pub fn shown(world: &World) {
    let scene = world.scene();
    let [one, resource] = [random_id(), random_id()];
    let share = |name: &str, more: &str| scene.share(name, &[&one], &[&resource], more);
    scene.apply(&share("healthy", ""));
    scene.apply(&scene.recipient("more", "healthy", &random_id(), ""));
    scene.apply(&scene.resource("another", "healthy", &random_id(), ""));
    // A missing Secret would be awaited first.
    scene.apply("apiVersion: v1\nkind: Secret\nmetadata: {name: quoted}\nstringData: {apiToken: '\"token\"'}\n");
    scene.apply(&share("degraded", "credentialsRef: {name: quoted}"));
    scene.apply(&share("suspended", "suspend: true"));
    scene.apply(&share("differs", "managementPolicy: Observe\nname: nowhere"));
    let ready = scene.wait_ready("share", "healthy");
    let recipient = scene.wait_ready("sharerecipient", "more");
    let resource_object = scene.wait_ready("shareresource", "another");
    let stalled = scene.wait_for("share", "degraded", "stalled", |share| condition(share, "Stalled").is_some());
    let suspended = scene.wait_reason("share", "suspended", "Suspended");
    let differs = scene.wait_for("share", "differs", "observed", |share| {
        share["status"]["observedGeneration"] == 1 && condition(share, "Reconciling").is_none()
    });

    // What takes for ever at Cloudflare is under way here.
    world.simulator.delays(Some(&scene.account), |delays| delays.associate_ms = None);
    scene.apply(&share("progressing", ""));
    let under_way = scene.wait_reason("share", "progressing", "Associating");
    let mut edited = ready.clone();
    edited["metadata"]["generation"] = 2.into();
    let unseen = world.own_scene();
    unseen.apply(&unseen.share("unseen", &[&one], &[&resource], ""));
    let unseen = unseen.get("share", "unseen").expect("it was applied");

    let objects =
        [ready, recipient, resource_object, stalled, suspended, differs, under_way, edited.clone(), unseen.clone()];
    let answers = judged(&objects);
    let health: Vec<&str> = answers.iter().map(|(health, _)| health.as_str()).collect();
    let expected = [
        "Healthy",
        "Healthy",
        "Healthy",
        "Degraded",
        "Suspended",
        "Degraded",
        "Progressing",
        "Progressing",
        "Progressing",
    ];
    assert_eq!(health, expected, "{answers:#?}");
    for (object, (_, said)) in objects.iter().zip(&answers) {
        if *object != edited && *object != unseen {
            assert_eq!(*said, message(object), "the sentence of the status is shown");
        }
    }
    world.simulator.delays(Some(&scene.account), |delays| delays.associate_ms = Some(10));
}

/// The ConfigMap, and the values for Argo CD's chart, are made of the script, once for each kind.
pub fn installed(_: &World) {
    let read = |path: &str| std::fs::read_to_string(format!("{ROOT}/{path}")).expect("a file");
    let script = read("deploy/argocd/health.lua");
    let settings: Value = serde_yaml::from_str(&read("deploy/argocd/argocd-cm.yaml")).expect("YAML");
    let values: Value = serde_yaml::from_str(&read("deploy/argocd/argocd-values.yaml")).expect("YAML");
    for data in [&settings["data"], &values["configs"]["cm"]] {
        let data = data.as_object().expect("data");
        assert_eq!(data.len(), 3);
        for kind in ["Share", "ShareRecipient", "ShareResource"] {
            let key = format!("resource.customizations.health.cfshare.dev_{kind}");
            assert_eq!(data[&key], script, "{key} is stale: it holds deploy/argocd/health.lua");
        }
    }
}
