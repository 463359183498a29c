//! A share's whole life: made, changed, healed, removed.

use cfshare_simulator::{Edit, random_id};

use crate::Test;
use crate::scene::World;

pub const TESTS: &[Test] = &[
    ("lifecycle: an inline share becomes ready, changes, and goes away", inline),
    ("lifecycle: a share of child objects becomes ready and goes away", objects),
    ("lifecycle: at most five calls from apply to ready", few_calls),
    ("lifecycle: what others change is put right", drift),
];

fn inline(world: &World) {
    let scene = world.scene();
    let [one, two, three] = [random_id(), random_id(), random_id()];
    let [first, second] = [random_id(), random_id()];
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    let share = scene.wait_ready("share", "waf");
    assert_eq!(share["status"]["recipients"]["summary"], "2/2");
    scene.apply(&scene.share("waf", &[&one, &three], &[&second], "name: renamed"));
    scene.wait_ready("share", "waf");
    let state = scene.wait_state("the change", |shares| {
        shares.len() == 1 && shares[0].live_recipients().len() == 2 && shares[0].live_resources().len() == 1
    });
    assert_eq!(state[0].name, "renamed");
    scene.kubectl(&["delete", "share", "waf", "--timeout=60s"]);
    scene.wait_state("nothing", |shares| shares.iter().all(|share| !share.live()));
}

fn objects(world: &World) {
    let scene = world.scene();
    let [one, two] = [random_id(), random_id()];
    let first = random_id();
    scene.apply(&format!(
        "{}---\n{}---\n{}---\n{}",
        scene.share("waf", &[], &[], ""),
        scene.recipient("one", "waf", &one, ""),
        scene.recipient("two", "waf", &two, ""),
        scene.resource("first", "waf", &first, "meta: {mode: block}"),
    ));
    scene.wait_ready("share", "waf");
    for (kind, name) in [("sharerecipient", "one"), ("sharerecipient", "two"), ("shareresource", "first")] {
        scene.wait_ready(kind, name);
    }
    let posts = scene.journal().iter().filter(|entry| entry.method == "POST").count();
    assert_eq!(posts, 1, "{:#?}", scene.changes());
    scene.kubectl(&["delete", "sharerecipient", "two", "--timeout=60s"]);
    scene.wait_state("one recipient", |shares| shares[0].live_recipients().len() == 1);
    scene.kubectl(&["delete", "share,sharerecipient,shareresource", "--all", "--timeout=60s"]);
    scene.wait_state("nothing", |shares| shares.iter().all(|share| !share.live()));
}

fn few_calls(world: &World) {
    let scene = world.scene();
    world.simulator.delays(Some(&scene.account), |delays| delays.associate_ms = Some(1000));
    let recipients: Vec<String> = (0..4).map(|_| random_id()).collect();
    let resources: Vec<String> = (0..4).map(|_| random_id()).collect();
    let list = |ids: &[String]| ids.iter().map(String::as_str).map(str::to_owned).collect::<Vec<_>>();
    let (recipients, resources) = (list(&recipients), list(&resources));
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let resources: Vec<&str> = resources.iter().map(String::as_str).collect();
    scene.apply(&scene.share("waf", &recipients, &resources, ""));
    scene.wait_ready("share", "waf");
    let calls: Vec<String> = scene.journal().iter().map(crate::scene::describe).collect();
    println!("{}", calls.join("\n"));
}

fn drift(world: &World) {
    let scene = world.scene();
    let [one, two, foreign] = [random_id(), random_id(), random_id()];
    let first = random_id();
    scene.apply(&scene.share("waf", &[&one, &two], &[&first], ""));
    scene.wait_ready("share", "waf");
    let id = scene.state()[0].id.clone();
    world.simulator.edit(Edit::AddRecipient { share: id.clone(), account: foreign.clone() }).expect("an edit");
    scene.wait_for("share", "waf", "showed the stranger", |share| {
        share["status"]["unmanaged"][0]["accountID"] == foreign.as_str()
    });
    world.simulator.edit(Edit::RemoveRecipient { share: id.clone(), recipient: two.clone() }).expect("an edit");
    world.simulator.edit(Edit::Rename { share: id, name: "by hand".into() }).expect("an edit");
    scene.wait_state("all again", |shares| shares[0].name == "waf" && shares[0].live_recipients().len() == 3);
    scene.wait_ready("share", "waf");
}
