//! Does a namespace go when it is deleted, though the rights in it go before its objects?

use cfshare_simulator::{ShareState, random_id};
use cfshare_testbed::Component;

use super::node::Node;
use super::rights::{asked, granted, listed, used};
use super::site::{SYSTEM, Site, share, tenant};

const SCOPED: [&str; 4] = ["--set", "rbac.scope=namespaces", "--set", "watchNamespaces={here,there}"];

/// A Share with an object for a recipient and one for a resource, all Ready. Returns its account.
fn furnish(site: &Site, namespace: &str) -> String {
    let [account, one, two] = [random_id(), random_id(), random_id()];
    tenant(site, namespace, "cloudflare-credentials");
    site.apply(namespace, &share("waf", &account, &[&one], ""));
    site.apply(
        namespace,
        &format!(
            "apiVersion: cfshare.dev/v1alpha1\nkind: ShareRecipient\nmetadata: {{name: two}}\nspec:\n  \
             shareRef: {{name: waf}}\n  accountID: {two}\n---\n\
             apiVersion: cfshare.dev/v1alpha1\nkind: ShareResource\nmetadata: {{name: more}}\nspec:\n  \
             shareRef: {{name: waf}}\n  type: gateway-policy\n  id: {one}\n"
        ),
    );
    for (kind, name) in [("share", "waf"), ("sharerecipient", "two"), ("shareresource", "more")] {
        site.wait_ready(namespace, kind, name);
    }
    account
}

/// One call has taken the share away, and nothing of it is left. Objects that Kubernetes deletes earlier than their Share may
/// have taken their rows along.
fn expect_gone(site: &Site, account: &str) {
    site.wait("the share's end", || !site.simulator.state(account).iter().any(ShareState::live));
    let journal = site.simulator.journal(Some(account), 0);
    let deletes: Vec<&str> = journal.iter().filter(|call| call.method == "DELETE").map(|c| c.path.as_str()).collect();
    let shares: Vec<usize> = (0..deletes.len()).filter(|at| deletes[*at].split('/').count() == 5).collect();
    assert_eq!(shares, [deletes.len() - 1], "{deletes:?}");
}

pub fn deleted() {
    let site = Site::start();
    ["here", "there", "elsewhere"].iter().for_each(|name| drop(site.kubectl(&["create", "namespace", name])));
    site.release("install", &SCOPED);
    let granted = granted(&site.cluster, SYSTEM, "cfshare");
    let mut node = Node::new(&site);
    node.settle();
    let here = furnish(&site, "here");
    let there = furnish(&site, "there");

    site.kubectl(&["delete", "namespace", "here", "--timeout=180s"]);
    expect_gone(&site, &here);

    // The watch ends before the namespace goes, and nothing may start it again.
    site.kubectl(&["-n", "there", "delete", "rolebindings", "--all"]);
    site.cluster.restart(Component::ApiServer).expect("the API server");
    site.kubectl(&["delete", "namespace", "there", "--timeout=180s"]);
    expect_gone(&site, &there);

    // All that is granted beyond the namespaces is used, and holds in them only.
    let (audit, _) = site.cluster.audit_since(0).expect("the audit log");
    let used = used(&granted, &asked(&audit, SYSTEM, "cfshare"));
    let wide = granted.iter().filter(|right| right.is_everywhere()).cloned().collect();
    assert!(used.is_superset(&wide), "granted everywhere:\n{}used:\n{}", listed(&wide), listed(&used));
    site.apply("elsewhere", &share("waf", &random_id(), &[&random_id()], ""));
    let operator = format!("--as=system:serviceaccount:{SYSTEM}:cfshare");
    let refused = |args: &[&str], input: Option<&str>| {
        let args = [&["-n", "elsewhere", operator.as_str()], args].concat();
        let refused = site.try_kubectl(&args, input).expect_err("it is refused");
        assert!(refused.contains("nothing outside watchNamespaces"), "{refused}");
    };
    let finalizer = r#"{"metadata":{"finalizers":["cfshare.dev/finalizer"]}}"#;
    refused(&["patch", "share", "waf", "--type=merge", "-p", finalizer], None);
    let status =
        "apiVersion: cfshare.dev/v1alpha1\nkind: Share\nmetadata: {name: waf}\nstatus: {observedGeneration: 1}\n";
    refused(&["apply", "--server-side", "--force-conflicts", "--subresource=status", "-f", "-"], Some(status));
}
