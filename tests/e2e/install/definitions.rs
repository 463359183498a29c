//! What becomes of the shares when somebody deletes the CRD, or a tool would?

use cfshare_simulator::random_id;
use cfshare_testbed::process;
use serde::Deserialize;

use super::node::Node;
use super::site::{SYSTEM, Site, share, tenant};
use crate::scene::condition;

const TEAM: &str = "security-baseline";
const SHARES: usize = 20;
const PROTECTED: usize = 5;

pub fn deleted() {
    let site = Site::start();
    let account = random_id();
    site.release("install", &[]);
    let mut node = Node::new(&site);
    assert_eq!(node.settle(), 1);
    tenant(&site, TEAM, "cloudflare-credentials");
    let manifest = |n: usize| {
        let more = if n < PROTECTED { "  deletionProtection: true\n" } else { "" };
        share(&format!("waf-{n}"), &account, &[&random_id()], more)
    };
    site.apply(TEAM, &(0..SHARES).map(manifest).collect::<Vec<_>>().join("---\n"));
    for n in 0..SHARES {
        site.wait_ready(TEAM, "share", &format!("waf-{n}"));
    }
    let delete = |more: &[&str]| site.try_kubectl(&[&["delete", "crd", "shares.cfshare.dev"], more].concat(), None);
    site.wait("the policy is in force", || delete(&["--dry-run=server"]).is_err());
    let refused = delete(&["--wait=false"]).expect_err("refused");
    assert!(refused.contains("cfshare.dev/allow-deletion=true"), "{refused}");
    assert_eq!(site.live(&account).len(), SHARES);

    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        for name in ["crd-protection", "deletion-protection"] {
            site.kubectl(&["delete", kind, &format!("{name}.cfshare.{SYSTEM}")]);
        }
    }
    site.wait("the policies are no longer in force", || delete(&["--wait=false"]).is_ok());
    for n in 0..PROTECTED {
        site.wait_object(TEAM, "share", &format!("waf-{n}"), "said DeletionProtected", |share| {
            condition(share, "Ready").is_some_and(|ready| ready["reason"] == "DeletionProtected")
        });
    }
    // Of the others as many go as are allowed, and the rest wait.
    let waits = |share: &&serde_json::Value| {
        condition(share, "Ready").is_some_and(|ready| ready["reason"] == "DeletionBlocked")
    };
    site.wait("the others that wait", || {
        site.list(TEAM, "shares.cfshare.dev").iter().filter(waits).count() == SHARES - PROTECTED - 5
    });
    assert_eq!(site.live(&account).len(), SHARES - 5);
}

/// Helm deletes what a newer release does not have, unless the object in the cluster says that it stays.
pub fn applied_again() {
    let site = Site::start();
    let names = ["shares.cfshare.dev", "sharerecipients.cfshare.dev", "shareresources.cfshare.dev"];
    let delete = |names: &[&str]| {
        site.kubectl(&[&["delete", "crd", "--timeout=180s"], names].concat());
    };
    let uids = || names.map(|name| site.get("", "crd", name).map(|crd| crd["metadata"]["uid"].clone()));
    let established = || {
        let wait = ["wait", "--for=condition=Established", "--timeout=60s", "crd"];
        site.kubectl(&[&wait[..], &names].concat());
    };
    // The policy would refuse it, too.
    let release = |verb: &str, more: &[&str]| {
        site.release(verb, &[more, &["--set", "deletionProtection.enabled=false"]].concat());
    };
    release("install", &[]);
    established();

    delete(&names);
    let crds = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": printed() });
    site.apply("default", &crds.to_string());
    established();
    let before = uids();
    release("upgrade", &["--set", "crds.enabled=false"]);
    assert_eq!(before, uids());

    // Helm brings back by itself what is lost, and keeps it.
    let take = ["--take-ownership", "--force-conflicts", "--set", "crds.enabled=true"];
    release("upgrade", &take);
    delete(&names[1..2]);
    release("upgrade", &["--set", "crds.enabled=true"]);
    established();
    let before = uids();
    assert!(before.iter().all(Option::is_some), "{before:?}");
    site.helm(&["uninstall", "cfshare", "--namespace", SYSTEM]);
    assert_eq!(before, uids());
}

/// What `cfshare crds` prints.
fn printed() -> Vec<serde_json::Value> {
    let output = process::program(env!("CARGO_BIN_EXE_cfshare")).arg("crds").output().expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let documents = serde_yaml::Deserializer::from_str(&text);
    documents.map(|document| serde_json::Value::deserialize(document).expect("YAML")).collect()
}
