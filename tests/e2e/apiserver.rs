//! Whether the operator lives through the ends and silences of the API server, in a cluster of its own.

use cfshare_testbed::Component;

use crate::Test;
use crate::expect::{has, only_share};
use crate::scene::{World, ids};

pub const TESTS: &[Test] =
    &[("apiserver: restarts of kube-apiserver and etcd in the middle of work lose and double nothing", restarts)];

/// The shared cluster must not be disturbed: this makes one of its own.
fn restarts(_: &World) {
    let world = World::start().expect("a world of its own");
    let scene = world.scene();
    let [a, b, c, x] = ids();
    scene.apply(&scene.share("waf", &[&a], &[&x], ""));
    scene.wait_ready("share", "waf");

    world.cluster.kill(Component::ApiServer);
    let id = scene.only().id;
    let edit = cfshare_simulator::Edit::RemoveRecipient { share: id.clone(), recipient: a.clone() };
    world.simulator.edit(edit).expect("an edit");
    scene.wait("sweeps without an API server", || {
        let lists = scene.journal().iter().filter(|e| e.method == "GET" && e.path.ends_with("/shares")).count();
        lists > 3
    });
    world.cluster.revive(Component::ApiServer).expect("it comes back");
    scene.apply(&scene.share("waf", &[&a, &b], &[&x], ""));
    scene.wait_state("both recipients", |shares| has(&shares[0], &[&a, &b], &[&x]));
    scene.wait_ready("share", "waf");

    scene.apply(&scene.share("second", &[&a], &[&x], ""));
    world.cluster.restart(Component::Etcd).expect("etcd comes back");
    scene.wait("the API server to answer", || scene.try_kubectl(&["get", "shares"], None).is_ok());
    scene.wait_ready("share", "second");
    scene.apply(&scene.share("waf", &[&a, &b, &c], &[&x], ""));
    scene.wait_state("all recipients", |shares| {
        shares.iter().any(|share| share.name == "waf" && has(share, &[&a, &b, &c], &[&x]))
    });
    scene.wait_ready("share", "waf");

    world.cluster.pause(Component::ApiServer);
    let before = scene.journal().len();
    scene.wait("sweeps beside a silent API server", || scene.journal().len() > before + 2);
    world.cluster.resume(Component::ApiServer);
    let scene = world.scene();
    let [d, y] = ids();
    scene.apply(&scene.share("third", &[&d], &[&y], ""));
    scene.wait_ready("share", "third");
    only_share(&scene.state(), &[&d], &[&y]);
    scene.kubectl(&["delete", "share", "--all", "--timeout=60s"]);
    scene.wait_nothing();
    assert!(world.operator.running(), "{}", world.operator.log());
}
