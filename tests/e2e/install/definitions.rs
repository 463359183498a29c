//! What becomes of the shares when somebody deletes the CRD?

use cfshare_simulator::random_id;

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
