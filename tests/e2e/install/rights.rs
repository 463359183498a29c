//! Are the rights that the operator uses exactly those that the chart grants?

use std::collections::BTreeSet;
use std::time::Duration;

use cfshare_simulator::{Action, Release, Rule, random_id};
use cfshare_testbed::Cluster;
use serde_json::Value;

use super::node::Node;
use super::site::{SYSTEM, Site, share, tenant};

const SECRETS: [&str; 2] = ["cloudflare-credentials", "cloudflare-other"];

/// For whoever may create nothing that is cluster-wide.
const NAMESPACED: [&str; 14] = [
    "--set",
    "rbac.namespaceDeletion=false",
    "--set",
    "rbac.scope=namespaces",
    "--set",
    "watchNamespaces={here,there}",
    "--set",
    "rbac.aggregate=false",
    "--set",
    "crds.enabled=false",
    "--set",
    "deletionProtection.enabled=false",
    "--set",
    "selfRestriction.enabled=false",
];

/// One right: a verb on a resource, by name or on all of them, in one namespace or all.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    verb: String,
    resource: String,
    name: Option<String>,
    namespace: Option<String>,
}

impl Right {
    /// In all namespaces, and on our own kinds.
    pub fn is_everywhere(&self) -> bool {
        self.namespace.is_none() && self.resource.starts_with("cfshare.dev/")
    }

    fn covers(&self, used: &Right) -> bool {
        self.verb == used.verb
            && self.resource == used.resource
            && (self.name.is_none() || self.name == used.name)
            && (self.namespace.is_none() || self.namespace == used.namespace)
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = |word: &Option<String>| word.clone().unwrap_or("*".into());
        write!(f, "{} {} {} in {}", self.verb, self.resource, all(&self.name), all(&self.namespace))
    }
}

/// What roles grant to a ServiceAccount, as they stand in the cluster.
pub fn granted(cluster: &Cluster, namespace: &str, account: &str) -> BTreeSet<Right> {
    let list = |kinds: &str| -> Vec<Value> {
        let text = cluster.run(&["get", kinds, "--all-namespaces", "-o", "json"], None).expect("roles");
        let list: Value = serde_json::from_str(&text).expect("JSON");
        list["items"].as_array().cloned().unwrap_or_default()
    };
    let roles = list("clusterroles,roles");
    let mut rights = BTreeSet::new();
    for binding in list("clusterrolebindings,rolebindings") {
        let subjects = binding["subjects"].as_array().cloned().unwrap_or_default();
        let is_ours = |subject: &Value| subject["name"] == account && subject["namespace"] == namespace;
        if !subjects.iter().any(is_ours) {
            continue;
        }
        let place = binding["metadata"]["namespace"].as_str();
        let is_role = |role: &&Value| {
            role["kind"] == binding["roleRef"]["kind"]
                && role["metadata"]["name"] == binding["roleRef"]["name"]
                && (role["kind"] == "ClusterRole" || role["metadata"]["namespace"].as_str() == place)
        };
        let role = roles.iter().find(is_role).expect("the role of a binding");
        for rule in role["rules"].as_array().into_iter().flatten() {
            rights.extend(expanded(rule, place));
        }
    }
    rights
}

fn expanded(rule: &Value, namespace: Option<&str>) -> Vec<Right> {
    let words = |key: &str| -> Vec<String> {
        rule[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let names: Vec<Option<String>> = match words("resourceNames") {
        names if names.is_empty() => vec![None],
        names => names.into_iter().map(Some).collect(),
    };
    let mut rights = Vec::new();
    for group in words("apiGroups") {
        for resource in words("resources") {
            for verb in words("verbs") {
                rights.extend(names.iter().map(|name| Right {
                    verb: verb.clone(),
                    resource: qualified(&group, &resource),
                    name: name.clone(),
                    namespace: namespace.map(str::to_owned),
                }));
            }
        }
    }
    rights
}

fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{group}/{resource}") }
}

/// What a ServiceAccount asked for, whether it was allowed or not.
pub fn asked(audit: &[Value], namespace: &str, account: &str) -> BTreeSet<Right> {
    let user = format!("system:serviceaccount:{namespace}:{account}");
    let word = |value: &Value| value.as_str().map(str::to_owned);
    let right = |entry: &Value| {
        let object = &entry["objectRef"];
        let resource = match (object["resource"].as_str(), object["subresource"].as_str()) {
            (Some(resource), Some(subresource)) => format!("{resource}/{subresource}"),
            (Some(resource), None) => resource.to_owned(),
            (None, _) => entry["requestURI"].as_str().unwrap_or_default().to_owned(),
        };
        Right {
            verb: word(&entry["verb"]).unwrap_or_default(),
            resource: qualified(object["apiGroup"].as_str().unwrap_or_default(), &resource),
            name: word(&object["name"]),
            namespace: word(&object["namespace"]),
        }
    };
    audit.iter().filter(|entry| entry["user"]["username"] == user.as_str()).map(right).collect()
}

/// The granted rights that were used, and beside them what was asked for and is not granted.
pub fn used(granted: &BTreeSet<Right>, asked: &BTreeSet<Right>) -> BTreeSet<Right> {
    let of = |asked: &Right| granted.iter().find(|right| right.covers(asked)).unwrap_or(asked).clone();
    asked.iter().map(of).collect()
}

pub fn listed(rights: &BTreeSet<Right>) -> String {
    rights.iter().map(|right| format!("  {right}\n")).collect()
}

/// Has the operator do, in one namespace, everything that it does.
fn exercise(site: &Site, namespace: &str) {
    let [account, one, two] = [random_id(), random_id(), random_id()];
    tenant(site, namespace, SECRETS[0]);
    let token = format!("--from-literal=apiToken=token-{}", random_id());
    site.kubectl(&["-n", namespace, "create", "secret", "generic", SECRETS[1], &token]);

    // Two edits: the second time the same Event is counted up, not made anew.
    let named = format!("  credentialsRef: {{name: {}}}\n", SECRETS[1]);
    for recipients in [&[one.as_str()][..], &[&one, &two], &[&two]] {
        site.apply(namespace, &share("inline", &account, recipients, &named));
        site.wait_ready(namespace, "share", "inline");
    }
    site.apply(namespace, &share("objects", &account, &[&one], ""));
    site.apply(
        namespace,
        &format!(
            "apiVersion: cfshare.dev/v1alpha1\nkind: ShareRecipient\nmetadata: {{name: two}}\nspec:\n  \
             shareRef: {{name: objects}}\n  accountID: {two}\n---\n\
             apiVersion: cfshare.dev/v1alpha1\nkind: ShareResource\nmetadata: {{name: more}}\nspec:\n  \
             shareRef: {{name: objects}}\n  type: gateway-policy\n  id: {one}\n"
        ),
    );
    for (kind, name) in [("share", "objects"), ("sharerecipient", "two"), ("shareresource", "more")] {
        site.wait_ready(namespace, kind, name);
    }

    // Somebody writes to the object while its share is being made: the id is written after a fresh read.
    let busy = random_id();
    site.simulator.fault(Rule::once("POST", "/accounts/*/shares", Action::HoldAfter {}).account(&busy));
    site.apply(namespace, &share("busy", &busy, &[&one], ""));
    let held = site.simulator.wait_held(Duration::from_secs(60), |held| held.account.as_deref() == Some(&busy));
    let held = held.expect("the call that makes the share");
    site.kubectl(&["-n", namespace, "annotate", "share", "busy", "example.com/note=x"]);
    site.simulator.release(held.id, Release::Go).expect("it goes on");
    site.wait_ready(namespace, "share", "busy");
    assert_eq!(site.live(&busy).len(), 1);

    // Objects that go before their Share are read before their rows are removed.
    site.kubectl(&["-n", namespace, "delete", "sharerecipients,shareresources", "--all", "--timeout=180s"]);
    site.kubectl(&["-n", namespace, "delete", "shares", "--all", "--timeout=180s"]);
}

pub fn used_are_granted() {
    let site = Site::start();
    let secrets = format!("secretNames={{{}}}", SECRETS.join(","));
    let scopes: [(&[&str], &[&str]); 2] = [(&["everywhere"], &[]), (&["here", "there"], &NAMESPACED)];
    let mut mark = 0;
    for (namespaces, values) in scopes {
        if values.is_empty() {
            site.release("install", &["--set", &secrets]);
        } else {
            // Roles are put into namespaces that exist.
            namespaces.iter().for_each(|namespace| drop(site.kubectl(&["create", "namespace", namespace])));
            site.release("install", &[&["--set", secrets.as_str()], values].concat());
            let wide = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
            let ours = site.kubectl(&["get", wide, "-l", "app.kubernetes.io/instance=cfshare", "-o", "name"]);
            assert_eq!(ours, "");
        }
        let granted = granted(&site.cluster, SYSTEM, "cfshare");
        let mut node = Node::new(&site);
        node.settle();
        namespaces.iter().for_each(|namespace| exercise(&site, namespace));
        // Its last write gives the Lease back.
        site.kubectl(&["-n", SYSTEM, "scale", "deployment", "cfshare", "--replicas=0"]);
        assert_eq!(node.settle(), 0);
        let (audit, next) = site.cluster.audit_since(mark).expect("the audit log");
        mark = next;
        let used = used(&granted, &asked(&audit, SYSTEM, "cfshare"));
        println!("granted:\n{}used:\n{}", listed(&granted), listed(&used));
        // Pages are listed only where the API server or a proxy does not serve streaming lists.
        let all = granted.iter().all(|right| used.contains(right) || right.verb == "list");
        assert!(all, "granted:\n{}used:\n{}", listed(&granted), listed(&used));
        assert!(
            granted.iter().all(|right| right.resource != "secrets" || (right.verb == "get" && right.name.is_some()))
        );
        site.helm(&["uninstall", "cfshare", "--namespace", SYSTEM]);
        site.kubectl(&["-n", SYSTEM, "delete", "lease", "cfshare"]);
    }
}
