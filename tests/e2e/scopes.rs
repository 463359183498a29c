//! What an operator knows of the objects that it does not see: not listed yet, out of its scope, or gone.

use serde_json::Value;

use crate::Test;
use crate::expect::{self, has};
use crate::own;
use crate::quiet::writes;
use crate::scene::{Scene, World, ids};

pub const TESTS: &[Test] = &[
    ("scopes: restarts with one namespace change and write nothing", restarts_of_one),
    ("scopes: twenty restarts with two namespaces change and write nothing", restarts_of_two),
    ("scopes: twenty restarts with four namespaces change and write nothing", restarts_of_four),
    ("scopes: restarts with eight namespaces change and write nothing", restarts_of_eight),
];

const QUICK: (&str, &str) = ("--sweep-interval", "500ms");

/// Shares whose rows come from the Share and from objects, one of them with pruning.
struct Corner<'w> {
    scene: Scene<'w>,
    recipients: [String; 2],
    resources: [String; 2],
}

const SHARES: [(&str, &str); 2] = [("pruned", "prune: true"), ("plain", "")];

impl<'w> Corner<'w> {
    fn furnish(world: &'w World) -> Corner<'w> {
        let scene = world.own_scene();
        let (recipients, resources): ([String; 2], [String; 2]) = (ids(), ids());
        for (name, more) in SHARES {
            scene.apply(&format!(
                "{}---\n{}---\n{}",
                scene.share(name, &[&recipients[0]], &[&resources[0]], more),
                scene.recipient(&format!("{name}-account"), name, &recipients[1], ""),
                scene.resource(&format!("{name}-rules"), name, &resources[1], ""),
            ));
        }
        Corner { scene, recipients, resources }
    }

    fn wait_ready(&self) {
        for (name, _) in SHARES {
            self.scene.wait_ready("share", name);
            self.scene.wait_ready("sharerecipient", &format!("{name}-account"));
            self.scene.wait_ready("shareresource", &format!("{name}-rules"));
        }
    }

    fn is_whole(&self) -> bool {
        let [one, two] = self.recipients.each_ref().map(String::as_str);
        let [first, second] = self.resources.each_ref().map(String::as_str);
        let live = self.scene.live();
        live.len() == SHARES.len() && live.iter().all(|share| has(share, &[one, two], &[first, second]))
    }
}

/// Kills an operator of so many namespaces and starts it again, and expects that nobody can tell.
fn restart(world: &World, namespaces: usize, times: usize) {
    let corners: Vec<Corner> = (0..namespaces).map(|_| Corner::furnish(world)).collect();
    let names: Vec<&str> = corners.iter().map(|corner| corner.scene.namespace.as_str()).collect();
    let names = names.join(",");
    let first = &corners[0].scene;
    let mut operator = own::across(first, &names, &[QUICK]);
    corners.iter().for_each(Corner::wait_ready);
    corners.iter().for_each(|corner| expect::sweeps(&corner.scene, 2));
    let (_, mark) = writes(first, 0);
    let before: Vec<usize> = corners.iter().map(|corner| corner.scene.changes().len()).collect();
    for _ in 0..times {
        own::crash(operator);
        operator = own::across(first, &names, &[QUICK]);
        corners.iter().for_each(|corner| expect::sweeps(&corner.scene, 2));
        for (corner, before) in corners.iter().zip(&before) {
            assert_eq!(corner.scene.changes_since(*before), [""; 0]);
        }
    }
    for corner in &corners {
        assert_eq!(writes(&corner.scene, mark).0, Vec::<Value>::new());
        assert!(corner.is_whole(), "{:#?}", corner.scene.live());
    }
    // Objects that came with the last start are still looked after: what others take away comes back.
    for Corner { scene, recipients, .. } in &corners {
        let share = scene.live().into_iter().find(|share| share.name == "pruned").expect("it is there");
        let row = share.live_recipients().into_iter().find(|row| row.account_id == recipients[1]).expect("its row");
        let path = format!("accounts/{}/shares/{}/recipients/{}", scene.account, share.id, row.id);
        let url = format!("{}/{path}", world.simulator.base_url());
        world.call_cloudflare("DELETE", &url, &scene.token, &Value::Null);
    }
    for corner in &corners {
        corner.scene.wait("the row that was taken away", || corner.is_whole());
    }
}

fn restarts_of_one(world: &World) {
    restart(world, 1, 5);
}

fn restarts_of_two(world: &World) {
    restart(world, 2, 20);
}

fn restarts_of_four(world: &World) {
    restart(world, 4, 20);
}

fn restarts_of_eight(world: &World) {
    restart(world, 8, 5);
}
