//! Does a cluster that is built anew from the same manifests take its shares over, without a changing call?

use std::time::Duration;

use cfshare_simulator::random_id;

use crate::scene::World;

pub fn taken_over(world: &World) {
    let scene = world.own_scene();
    let [one, two, resource] = [random_id(), random_id(), random_id()];
    let manifests = |more: &str| {
        format!(
            "{}---\n{}---\n{}",
            scene.share("waf", &[&one], &[&resource], more),
            scene.recipient("two", "waf", &two, ""),
            scene.resource("more", "waf", &mirrored(&two), "meta: {mode: block}"),
        )
    };
    let objects = [("share", "waf"), ("sharerecipient", "two"), ("shareresource", "more")];
    scene.apply(&manifests(""));
    let operator = scene.operator(&[]);
    objects.iter().for_each(|(kind, name)| drop(scene.wait_ready(kind, name)));
    let before = (scene.state()[0].id.clone(), scene.changes());
    assert!(operator.stop(Duration::from_secs(30)).is_some());

    // The cluster is lost, and with it every status.
    for (kind, name) in objects {
        scene.kubectl(&["patch", kind, name, "--type=merge", "-p", r#"{"metadata":{"finalizers":[]}}"#]);
        scene.kubectl(&["delete", kind, name, "--timeout=60s"]);
    }
    scene.apply(&manifests("adoptionPolicy: SameName\ndeletionPolicy: Delete"));
    let operator = scene.operator(&[]);
    objects.iter().for_each(|(kind, name)| drop(scene.wait_ready(kind, name)));
    assert_eq!((scene.state()[0].id.clone(), scene.changes()), before);

    // It is the new objects' own.
    scene.kubectl(&["delete", "share,sharerecipient,shareresource", "--all", "--timeout=60s"]);
    scene.wait_state("nothing", |shares| shares.iter().all(|share| !share.live()));
    assert!(operator.stop(Duration::from_secs(30)).is_some());
}

/// Another id that is the same each time.
fn mirrored(id: &str) -> String {
    id.chars().rev().collect()
}
