//! Can a share and its children be deleted in any order, with nothing left and nothing stuck?

use cfshare_simulator::random_id;

use crate::scene::World;

const OBJECTS: [&str; 3] = ["share", "sharerecipient", "shareresource"];
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

pub fn any_order(world: &World) {
    let scene = world.scene();
    let name = |order: &[usize; 3]| format!("order-{}{}{}", order[0], order[1], order[2]);
    for order in &ORDERS {
        let name = name(order);
        scene.apply(&format!(
            "{}---\n{}---\n{}",
            scene.share(&name, &[], &[], ""),
            scene.recipient(&name, &name, &random_id(), ""),
            scene.resource(&name, &name, &random_id(), ""),
        ));
    }
    for order in &ORDERS {
        scene.wait_ready("share", &name(order));
        scene.wait_ready("sharerecipient", &name(order));
        scene.wait_ready("shareresource", &name(order));
    }
    scene.confirm_deletions();
    for order in &ORDERS {
        for object in order {
            scene.kubectl(&["delete", OBJECTS[*object], &name(order), "--wait=false"]);
        }
    }
    for order in &ORDERS {
        for kind in OBJECTS {
            scene.wait_gone(kind, &name(order));
        }
    }
    scene.wait_state("nothing", |shares| shares.iter().all(|share| !share.live()));

    // One after the other, each waited for: the children of a share that is gone, and the share of no children.
    for order in [[0, 1, 2], [1, 2, 0], [2, 1, 0]] {
        let name = format!("slow-{}", name(&order));
        scene.apply(&format!(
            "{}---\n{}---\n{}",
            scene.share(&name, &[], &[], ""),
            scene.recipient(&name, &name, &random_id(), ""),
            scene.resource(&name, &name, &random_id(), ""),
        ));
        scene.wait_ready("share", &name);
        for object in order {
            scene.kubectl(&["delete", OBJECTS[object], &name, "--timeout=60s"]);
        }
    }
    scene.wait_state("nothing", |shares| shares.iter().all(|share| !share.live()));
}

pub fn namespace(world: &World) {
    let scene = world.scene();
    scene.apply(&format!(
        "{}---\n{}---\n{}",
        scene.share("waf", &[&random_id()], &[], ""),
        scene.recipient("one", "waf", &random_id(), ""),
        scene.resource("first", "waf", &random_id(), ""),
    ));
    scene.wait_ready("share", "waf");
    scene.kubectl(&["delete", "namespace", &scene.namespace, "--timeout=120s"]);
    scene.wait_state("nothing", |shares| shares.iter().all(|share| !share.live()));
}
