//! Does `helm install --wait` of somebody's own chart wait for its Share, and fail where the Share is stalled?

use std::fs;

use cfshare_simulator::random_id;

use crate::scene::{Scene, World, is_ready, message};

/// A chart of one Share.
fn chart(scene: &Scene<'_>, share: &str) -> String {
    let folder = scene.file("chart");
    fs::create_dir_all(folder.join("templates")).expect("a folder");
    fs::write(folder.join("Chart.yaml"), "apiVersion: v2\nname: baseline\nversion: 1.0.0\n").expect("a file");
    fs::write(folder.join("templates/share.yaml"), share).expect("a file");
    folder.display().to_string()
}

fn install(scene: &Scene<'_>, chart: &str) -> Result<String, String> {
    let args = ["install", "baseline", chart, "--namespace", &scene.namespace, "--wait", "--timeout", "120s"];
    scene.world.cluster.run_helm(&args).map_err(|error| error.to_string())
}

pub fn returns_when_ready(world: &World) {
    let scene = world.scene();
    world.simulator.delays(Some(&scene.account), |delays| delays.associate_ms = Some(3000));
    let chart = chart(&scene, &scene.share("waf", &[&random_id(), &random_id()], &[&random_id()], ""));
    install(&scene, &chart).expect("it is Ready in time");
    let share = scene.get("share", "waf").expect("it was installed");
    assert!(is_ready(&share), "helm returned too early: {share}");
}

pub fn fails_with_the_message_of_a_stalled_share(world: &World) {
    let scene = world.scene();
    let chart = chart(&scene, &scene.share("waf", &[&random_id()], &[&random_id()], "credentialsRef: {name: missing}"));
    let refused = install(&scene, &chart).expect_err("nobody made the Secret");
    let said = message(&scene.get("share", "waf").expect("it was installed"));
    assert!(!said.is_empty() && refused.contains(&said), "helm: {refused}\nthe share: {said}");
}
