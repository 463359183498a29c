//! Is nothing lost and nothing doubled while the chart is installed, upgraded, uninstalled and installed again?

use cfshare_simulator::random_id;
use serde_json::Value;

use super::node::Node;
use super::site::{SYSTEM, Site, deploy, share, tenant};
use crate::scene::{condition, is_ready, message};

const TEAM: &str = "security-baseline";

pub fn defaults() {
    let site = Site::start();
    let [account, first, second, third] = [random_id(), random_id(), random_id(), random_id()];
    site.release("install", &[]);
    let mut node = Node::new(&site);
    assert_eq!(node.settle(), 1);
    tenant(&site, TEAM, "cloudflare-credentials");
    site.apply(TEAM, &share("waf", &account, &[&first], "  deletionProtection: true\n"));
    let made = site.wait_ready(TEAM, "share", "waf");
    let id = made["status"]["shareID"].clone();
    tested(&site, &node);

    // An upgrade to two replicas: the new pods stand by until the old one gives the Lease back.
    site.release("upgrade", &["--set", "replicas=2"]);
    assert_eq!(node.settle(), 2);
    site.apply(TEAM, &share("waf", &account, &[&first, &second], "  deletionProtection: true\n"));
    site.wait_ready(TEAM, "share", "waf");
    whole(&site, &account, &id, 2);

    // Without the operator everything stays, and an edit waits.
    site.helm(&["uninstall", "cfshare", "--namespace", SYSTEM]);
    assert_eq!(node.settle(), 0);
    assert!(site.get(SYSTEM, "deployment", "cfshare").is_none());
    let kept = site.get(TEAM, "share", "waf").expect("the Share stays");
    assert_eq!(kept["status"]["shareID"], id);
    assert_eq!(kept["metadata"]["finalizers"], serde_json::json!(["cfshare.dev/finalizer"]));
    site.apply(TEAM, &share("waf", &account, &[&first, &second, &third], "  deletionProtection: true\n"));
    whole(&site, &account, &id, 2);

    // A reinstall goes on where it was.
    site.release("install", &[]);
    assert_eq!(node.settle(), 1);
    site.wait_object(TEAM, "share", "waf", "caught up", |share| {
        is_ready(share) && share["status"]["recipients"]["summary"] == "3/3"
    });
    site.wait_ready(TEAM, "share", "waf");
    whole(&site, &account, &id, 3);

    protected(&site);
    definitions_protected(&site);
    restricted_to_itself(&site);
    collected(&site, &account, &first);

    // All of it goes, as docs/install.md says.
    site.apply(TEAM, &share("waf", &account, &[&first, &second, &third], ""));
    site.kubectl(&["delete", "shares,sharerecipients,shareresources", "--all", "--all-namespaces", "--timeout=180s"]);
    site.helm(&["uninstall", "cfshare", "--namespace", SYSTEM]);
    assert_eq!(node.settle(), 0);
    let definitions = ["shares.cfshare.dev", "sharerecipients.cfshare.dev", "shareresources.cfshare.dev"];
    let delete = [&["delete", "crd", "--ignore-not-found", "--timeout=60s"][..], &definitions].concat();
    // The API server forgets the policy a moment after it is gone.
    site.wait("the CRDs may be deleted", || site.try_kubectl(&delete, None).is_ok());
    site.kubectl(&["-n", SYSTEM, "delete", "lease", "cfshare"]);
    assert!(site.live(&account).is_empty(), "{:#?}", site.simulator.state(&account));
    nothing_left(&site);
}

/// `helm test` has the installation checked, with the operator's own rights and no others.
fn tested(site: &Site, node: &Node<'_>) {
    std::thread::scope(|scope| {
        let helm = scope.spawn(|| site.try_helm(&["test", "cfshare", "--namespace", SYSTEM, "--timeout", "120s"]));
        let log = node.complete("cfshare-test");
        let outcome = helm.join().expect("it ends");
        assert!(outcome.is_ok(), "{outcome:?}\n{log}");
        for line in [
            "ok    rights: the operator has all permissions that it uses",
            "ok    lease cfshare-system/cfshare: held by cfshare-",
        ] {
            assert!(log.lines().any(|found| found.starts_with(line)), "{line}\n{log}");
        }
    });
}

/// One share, the same one, with so many recipients, created once.
fn whole(site: &Site, account: &str, id: &Value, recipients: usize) {
    let live = site.live(account);
    assert_eq!(live.len(), 1, "{live:#?}");
    assert_eq!(live[0].id, id.as_str().unwrap_or_default());
    assert_eq!(live[0].live_recipients().len(), recipients, "{live:#?}");
    assert_eq!(site.creations(account), 1);
}

/// The API server refuses to delete a protected Share, in words of ours, and lets others go.
fn protected(site: &Site) {
    let delete = |args: &[&str]| {
        let mut all = vec!["-n", TEAM, "delete", "share", "waf", "--wait=false"];
        all.extend(args);
        site.try_kubectl(&all, None)
    };
    // The API server takes up a policy a moment after it was written.
    site.wait("the policy is in force", || delete(&["--dry-run=server"]).is_err());
    let refused = delete(&[]).expect_err("protected");
    assert!(refused.contains("set spec.deletionProtection to false first"), "{refused}");
    let patch = r#"{"spec":{"deletionProtection":false}}"#;
    site.kubectl(&["-n", TEAM, "patch", "share", "waf", "--type=merge", "-p", patch]);
    delete(&["--dry-run=server"]).expect("free");
}

/// The API server refuses to delete a definition, with which all objects and shares would go, until a person allows it.
fn definitions_protected(site: &Site) {
    for kind in ["shares", "sharerecipients", "shareresources"] {
        let name = format!("{kind}.cfshare.dev");
        let delete = || site.try_kubectl(&["delete", "crd", &name, "--dry-run=server"], None);
        site.wait("the policy is in force", || delete().is_err());
        let refused = delete().expect_err("protected");
        assert!(refused.contains(&format!("kubectl annotate crd {name} cfshare.dev/allow-deletion=true")), "{refused}");
        let definition = site.kubectl(&["get", "crd", &name, "-o", "jsonpath={.metadata.annotations}"]);
        assert!(definition.contains("Prune=false,Delete=false") && definition.contains("disabled"), "{definition}");
        site.kubectl(&["annotate", "crd", &name, "cfshare.dev/allow-deletion=true"]);
        delete().expect("allowed");
        site.kubectl(&["annotate", "crd", &name, "cfshare.dev/allow-deletion-"]);
    }
    // Others' definitions are none of its business.
    let other = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: shares.example.com}\n\
                 spec:\n  group: example.com\n  scope: Namespaced\n  names: {plural: shares, kind: Share}\n  versions:\n  \
                 - name: v1\n    served: true\n    storage: true\n    schema: {openAPIV3Schema: {type: object}}\n";
    site.apply("default", other);
    site.kubectl(&["delete", "crd", "shares.example.com"]);
}

/// As the operator: everything but its own finalizer is refused.
fn restricted_to_itself(site: &Site) {
    let user = format!("--as=system:serviceaccount:{SYSTEM}:cfshare");
    let patch = |patch: &str| {
        let args = ["-n", TEAM, "patch", "share", "waf", "--type=json", "--dry-run=server", user.as_str(), "-p", patch];
        site.try_kubectl(&args, None)
    };
    let add = |path: &str, value: &str| format!(r#"[{{"op":"add","path":"{path}","value":{value}}}]"#);
    site.wait("the policy is in force", || patch(&add("/spec/suspend", "true")).is_err());
    for (path, value, says) in [
        ("/spec/suspend", "true", "may not change the spec"),
        ("/metadata/labels/x", r#""y""#, "may not change labels"),
        ("/metadata/annotations", r#"{"x":"y"}"#, "may not change labels, annotations"),
        ("/metadata/finalizers/-", r#""example.com/theirs""#, "no finalizer but its own"),
        ("/metadata/ownerReferences", r#"[{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"x"}]"#, "and owners"),
    ] {
        let refused = patch(&add(path, value)).expect_err(path);
        assert!(refused.contains(says), "{path}: {refused}");
    }
    patch(r#"[{"op":"remove","path":"/metadata/finalizers"}]"#).expect("its own finalizer");
}

/// What deletes with foreground or orphan propagation, as Argo CD does, waits for Kubernetes' garbage collector, which
/// takes its finalizer off: it is not taken for the operator.
fn collected(site: &Site, account: &str, recipient: &str) {
    for cascade in ["foreground", "orphan"] {
        site.apply(TEAM, &share(cascade, account, &[recipient], ""));
        site.wait_ready(TEAM, "share", cascade);
        let cascade_flag = format!("--cascade={cascade}");
        site.kubectl(&["-n", TEAM, "delete", "share", cascade, &cascade_flag, "--timeout=180s"]);
    }
}

/// Nothing in the cluster bears a name of ours but the namespaces.
fn nothing_left(site: &Site) {
    let kinds = "crd,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,\
                 roles,rolebindings,serviceaccounts,deployments,replicasets,pods,services,configmaps,secrets,leases";
    site.wait("all of it is gone", || {
        let names = site.kubectl(&["get", kinds, "--all-namespaces", "-o", "name"]);
        !names.lines().any(|name| name.contains("cfshare"))
    });
}

pub fn every_value() {
    let site = Site::start();
    let [account, first, second] = [random_id(), random_id(), random_id()];
    for definition in super::rendered::prometheus_definitions() {
        site.kubectl(&["create", "-f", &definition]);
    }
    site.kubectl(&["create", "namespace", "monitoring"]);
    let class = "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: sandboxed}\nhandler: runsc\n";
    site.apply("default", class);
    for namespace in [TEAM, "payments"] {
        tenant(&site, namespace, "cloudflare-readonly");
    }
    tenant(&site, "elsewhere", "cloudflare-readonly");
    let values = deploy("chart/ci/all-values.yaml");
    let authority = format!("caBundle.pem={}/tests/e2e/client/tls/authority.pem", env!("CARGO_MANIFEST_DIR"));
    let values = ["--values", &values, "--set-file", &authority];
    site.release("install", &values);
    let mut node = Node::new(&site);
    assert_eq!(node.settle(), 2);

    // Read only: it looks, and says what is missing.
    let named = "  credentialsRef: {name: cloudflare-readonly}\n";
    site.apply(TEAM, &share("waf", &account, &[&first, &second], named));
    let observed = site.wait_object(TEAM, "share", "waf", "observed", |share| {
        condition(share, "Ready").is_some_and(|ready| ready["status"] == "False" && ready["reason"] == "Differs")
    });
    assert!(!message(&observed).is_empty());
    assert_eq!(site.creations(&account), 0);

    // The switch is one value.
    site.release("upgrade", &[&values[..], &["--set", "readOnly=false"]].concat());
    assert_eq!(node.settle(), 2);
    site.wait_ready(TEAM, "share", "waf");
    assert_eq!(site.live(&account).len(), 1);

    // Only the named namespaces, only the labelled objects.
    site.apply("elsewhere", &share("other", &account, &[&first], named));
    site.apply(TEAM, &share("unlabelled", &account, &[&first], named).replace("labels: {team: waf}", "labels: {}"));
    site.apply("payments", &share("payments", &account, &[&first], named));
    site.wait_ready("payments", "share", "payments");
    for (namespace, name) in [("elsewhere", "other"), (TEAM, "unlabelled")] {
        let share = site.get(namespace, "share", name).expect("it was applied");
        assert_eq!(share["status"]["observedGeneration"], -1, "{share}");
    }
    assert_eq!(site.live(&account).len(), 2);
}
