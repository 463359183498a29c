//! What `cfshare import` takes over from Terraform, OpenTofu and a cluster that was lost, and what `received` shows.

use std::fs;

use cfshare_simulator::{Action, Association, Edit, ListFilters, Rule, Seed, SeedShare};
use serde_json::{Value, json};

use crate::Test;
use crate::cli::{alone, cfshare, seed};
use crate::scene::{World, ids};

pub const TESTS: &[Test] = &[
    ("cli: after an import of a state of Terraform or OpenTofu, the plan is empty", states),
    ("cli: an import labels accounts with their names at Cloudflare, where they can be read", names),
    ("cli: an import fills ids into manifests that have none", into),
    ("cli: an import leaves out what is deleted or received, even if lists ignore their filters", only_live),
    ("cli: an import over a Share that created the share is warned of, and costs no share", over),
    ("cli: received shows what an account receives, and from whom", received),
];

fn resource(id: &str) -> cfshare_simulator::SeedResource {
    crate::cli::resource(id, Value::Null)
}

fn states(world: &World) {
    let scene = world.scene();
    let [one, two, first, second] = ids();
    let counted = [0, 1].map(|n| seed(&scene, &format!("Counted {n}"), &[&one], vec![resource(&first)], false));
    let each =
        ["eu", "us"].map(|key| seed(&scene, &format!("Each {key}"), &[&one, &two], vec![resource(&second)], false));
    seed(&scene, "of somebody else", &[&two], vec![resource(&first)], false);
    let names = scene.file("accounts.csv");
    fs::write(&names, format!("id,name\n{one},Payments\n")).expect("a file");
    for (version, registry) in [("1.9.8", "registry.terraform.io"), ("1.10.0", "registry.opentofu.org")] {
        let instance = |key: Value, id: &str| json!({"index_key": key, "attributes": {"id": id, "account_id": scene.account, "name": "x"}});
        let share = |name: &str, instances: [Value; 2]| {
            json!({"mode": "managed", "type": "cloudflare_share", "name": name, "instances": instances,
                   "provider": format!("provider[\"{registry}/cloudflare/cloudflare\"]")})
        };
        let state = json!({"version": 4, "terraform_version": version, "resources": [
            share("counted", [instance(json!(0), &counted[0]), instance(json!(1), &counted[1])]),
            share("each", [instance(json!("eu"), &each[0]), instance(json!("us"), &each[1])]),
        ]});
        let file = scene.file("terraform.tfstate");
        fs::write(&file, state.to_string()).expect("a file");
        let (file, names) = (file.display().to_string(), names.display().to_string());
        let ran = alone(&scene, &["import", "--from-tfstate", &file, "--accounts", &names, "-n", &scene.namespace], "");
        assert_eq!(ran.code, 0, "{}", ran.err);
        for name in ["counted-0", "counted-1", "each-eu", "each-us"] {
            assert!(ran.out.contains(&format!("\n  name: \"{name}\"\n")), "{}", ran.out);
        }
        assert!(!ran.out.contains("of somebody else") && ran.out.contains("name: \"Payments\""), "{}", ran.out);
        let forgets = if version == "1.9.8" {
            "  from = cloudflare_share.each\n"
        } else {
            "tofu state rm 'cloudflare_share.each[\"us\"]'"
        };
        assert!(ran.err.contains(forgets), "{}", ran.err);
        let plan = alone(&scene, &["plan", "-f", "-"], &ran.out);
        assert!(plan.code == 0 && plan.out.ends_with("\nno calls for 4 Shares\n"), "{} {}", plan.out, plan.err);
    }
    assert_eq!(scene.changes(), [""; 0]);
}

fn names(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    world.simulator.account(&one, |account| account.name = Some("Payments GmbH".into()));
    seed(&scene, "waf", &[&one, &two], vec![resource(&first)], false);
    let ran = alone(&scene, &["import", "--account", &scene.account], "");
    let labelled = format!("{{accountID: \"{one}\", name: \"Payments GmbH\"}}");
    assert!(ran.code == 0 && ran.out.contains(&labelled), "{} {}", ran.out, ran.err);
    assert!(ran.out.contains(&format!("{{accountID: \"{two}\"}}")), "{}", ran.out);
    // Who may not read them imports all the same.
    let forbidden = world.simulator.fault(Rule::always("GET", "/accounts", Action::Forbidden {}).named("no names"));
    let ran = alone(&scene, &["import", "--account", &scene.account], "");
    world.simulator.remove_fault(forbidden);
    assert!(ran.code == 0 && ran.out.contains(&format!("{{accountID: \"{one}\"}}")), "{} {}", ran.out, ran.err);
    assert!(ran.err.contains("names of accounts cannot be read with this credential"), "{}", ran.err);
}

fn into(world: &World) {
    let scene = world.scene();
    let [one, first, second] = ids();
    let id = seed(&scene, "waf", &[&one], vec![resource(&first)], false);
    let folder = scene.file("manifests");
    fs::create_dir_all(&folder).expect("a folder");
    let waf = scene.share("waf", &[&one], &[&first], "");
    let other = scene.share("other", &[&one], &[&second], "");
    fs::write(folder.join("all.yaml"), format!("# kept\n{waf}---\n{other}")).expect("a file");
    let path = folder.display().to_string();
    let ran = alone(&scene, &["import", "--account", &scene.account, "--into", &path], "");
    assert!(
        ran.code == 2 && ran.out.is_empty() && ran.err.contains("1 Share filled, 1 left"),
        "{} {}",
        ran.out,
        ran.err
    );
    let filled = fs::read_to_string(folder.join("all.yaml")).expect("a file");
    let with_id = waf.replacen("spec:\n", &format!("spec:\n  shareID: \"{id}\"\n"), 1);
    assert_eq!(filled, format!("# kept\n{with_id}---\n{other}"));
    let plan = alone(&scene, &["plan", "-f", "-"], &with_id);
    assert!(plan.code == 0 && plan.out.ends_with("\nno calls for 1 Share\n"), "{} {}", plan.out, plan.err);
}

fn only_live(world: &World) {
    let scene = world.scene();
    let [one, first, other, gone] = ids();
    seed(&scene, "waf", &[&one], vec![resource(&first)], false);
    let deleted = seed(&scene, "deleted", &[&one], vec![resource(&gone)], false);
    world.simulator.edit(Edit::DeleteShare { share: deleted }).expect("an edit");
    scene.wait("the share is deleted", || world.simulator.quiet(&scene.account));
    let list = vec![SeedShare {
        name: "foreign".into(),
        recipients: vec![scene.account.clone()],
        resources: vec![resource(&first)],
        organization: false,
    }];
    let seed = Seed { account: other, shares: 0, recipients: 0, resources: 0, prefix: String::new(), list };
    world.simulator.seed(seed).expect("a seed");
    world.simulator.switches(Some(&scene.account), |s| s.list_filters = ListFilters::Ignored);
    let ran = alone(&scene, &["import", "--account", &scene.account], "");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("name: \"waf\"") && ran.out.matches("kind: Share\n").count() == 1, "{}", ran.out);
    let ran = alone(&scene, &["received", "--account", &scene.account, "-o", "json"], "");
    let names: Vec<_> = ran.json().as_array().expect("a list").iter().map(|share| share["name"].clone()).collect();
    assert_eq!(names, [json!("foreign")], "{}", ran.out);
}

fn received(world: &World) {
    let scene = world.scene();
    let [one, two, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    scene.wait_ready("share", "waf");
    scene.wait_state("an associated recipient", |shares| {
        shares[0].live_recipients().iter().all(|row| row.status == Association::Associated)
    });
    let ran = alone(&scene, &["received", "--account", &one, "-o", "json"], "");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let list = ran.json();
    assert_eq!((list.as_array().map(Vec::len), &list[0]["name"]), (Some(1), &json!("waf")), "{list:#}");
    assert_eq!((&list[0]["fromAccountID"], &list[0]["status"]), (&json!(scene.account), &json!("active")), "{list:#}");
    let ran = alone(&scene, &["received", "--account", &one], "");
    assert!(ran.out.contains(&scene.account) && ran.out.contains(&first), "{}", ran.out);
    let ran = alone(&scene, &["received", "--account", &two], "");
    assert_eq!((ran.code, ran.out), (0, format!("account {two} receives no share\n")), "{}", ran.err);
}

fn over(world: &World) {
    let scene = world.scene();
    let [one, first] = ids();
    scene.apply(&scene.share("waf", &[&one], &[&first], ""));
    let id = scene.wait_ready("share", "waf")["status"]["shareID"].as_str().expect("an id").to_owned();
    let ran = cfshare(&scene, &["import", "--account", &scene.account]);
    let warned = format!("share {id} is already managed by Share {}/waf: leave its manifest out", scene.namespace);
    assert!(ran.code == 0 && ran.err.contains(&warned), "{}", ran.err);
    scene.apply(&ran.out);
    scene.wait_for("share", "waf", "has the policy", |share| {
        share["status"]["effective"]["deletionPolicy"] == "Retain" && crate::scene::is_observed(share)
    });
    // Its manifest names the share now.
    let ran = cfshare(&scene, &["import", "--account", &scene.account]);
    assert!(ran.code == 0 && !ran.err.contains("already managed"), "{}", ran.err);
    let before = scene.changes().len();
    scene.delete("share", "waf");
    scene.wait_gone("share", "waf");
    assert_eq!((scene.only().id, scene.changes().len()), (id, before));
}
