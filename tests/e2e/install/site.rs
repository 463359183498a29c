//! What an installed release stands on: a cluster and a Cloudflare of its own.

use std::path::PathBuf;
use std::time::Duration;

use cfshare_simulator::{Config, ShareState, Simulator};
use cfshare_testbed::{Cluster, Options, wait};
use serde_json::Value;

use crate::reader::Reader;
use crate::scene::is_ready;

pub const SYSTEM: &str = "cfshare-system";
/// The tests of a whole release run beside many others.
pub const PATIENCE: Duration = Duration::from_secs(180);

pub struct Site {
    pub simulator: Simulator,
    pub cluster: Cluster,
    reader: Reader,
}

impl Site {
    /// An empty cluster with the namespace that the manifests bring, which enforces "restricted".
    pub fn start() -> Site {
        let cluster = Cluster::start(&Options::default()).expect("a cluster");
        let simulator = Simulator::start(Config::default()).expect("a simulator");
        let reader = Reader::new(cluster.kubeconfig()).expect("a reader");
        let site = Site { simulator, cluster, reader };
        site.kubectl(&["apply", "-f", &deploy("manifests/namespace.yaml")]);
        site
    }

    pub fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl(args, None).unwrap_or_else(|error| panic!("kubectl {args:?}: {error}"))
    }

    pub fn try_kubectl(&self, args: &[&str], input: Option<&str>) -> Result<String, String> {
        self.cluster.run(args, input).map_err(|error| error.to_string())
    }

    pub fn apply(&self, namespace: &str, yaml: &str) {
        self.try_kubectl(&["-n", namespace, "apply", "--server-side", "-f", "-"], Some(yaml))
            .unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    }

    pub fn helm(&self, args: &[&str]) -> String {
        self.try_helm(args).unwrap_or_else(|error| panic!("helm {args:?}: {error}"))
    }

    pub fn try_helm(&self, args: &[&str]) -> Result<String, String> {
        self.cluster.run_helm(args).map_err(|error| error.to_string())
    }

    /// `helm install` or `upgrade` of the chart in the system's namespace, with the one value that differs on this
    /// machine: where Cloudflare is.
    pub fn release(&self, verb: &str, more: &[&str]) {
        let url = format!("cloudflare.url={}", self.simulator.base_url());
        let chart = deploy("chart");
        let mut args = vec![verb, "cfshare", &chart, "--namespace", SYSTEM];
        args.extend(more);
        args.extend(["--set", &url]);
        self.helm(&args);
    }

    pub fn get(&self, namespace: &str, kind: &str, name: &str) -> Option<Value> {
        if let Ok(object) = self.reader.get(namespace, kind, name) {
            return object;
        }
        let text = self.kubectl(&["-n", namespace, "get", kind, name, "--ignore-not-found", "-o", "json"]);
        if text.trim().is_empty() { None } else { Some(serde_json::from_str(&text).expect("kubectl prints JSON")) }
    }

    pub fn wait(&self, what: &str, is: impl Fn() -> bool) {
        assert!(wait::until(PATIENCE, || is().then_some(())).is_some(), "never: {what}");
    }

    pub fn wait_ready(&self, namespace: &str, kind: &str, name: &str) -> Value {
        self.wait_object(namespace, kind, name, "Ready", is_ready)
    }

    pub fn wait_object(
        &self,
        namespace: &str,
        kind: &str,
        name: &str,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut last = None;
        let found = wait::until(PATIENCE, || {
            last = self.get(namespace, kind, name);
            last.clone().filter(|object| is(object))
        });
        found.unwrap_or_else(|| {
            panic!("{kind} {name} never {what}: {}", serde_json::to_string_pretty(&last).unwrap_or_default())
        })
    }

    /// Shares of an account that are alive at Cloudflare.
    pub fn live(&self, account: &str) -> Vec<ShareState> {
        self.simulator.state(account).into_iter().filter(ShareState::live).collect()
    }

    /// How many shares were ever created, or tried to be.
    pub fn creations(&self, account: &str) -> usize {
        let journal = self.simulator.journal(Some(account), 0);
        journal.iter().filter(|call| call.method == "POST" && call.template.ends_with("/shares")).count()
    }

    pub fn list(&self, namespace: &str, kind: &str) -> Vec<Value> {
        if let Some(objects) = self.reader.list(namespace, kind) {
            return objects;
        }
        let text = self.kubectl(&["-n", namespace, "get", kind, "-o", "json"]);
        let list: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
        list["items"].as_array().cloned().unwrap_or_default()
    }
}

/// A path below `deploy/`.
pub fn deploy(path: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path).display().to_string()
}

/// A Share with one resource.
pub fn share(name: &str, account: &str, recipients: &[&str], more: &str) -> String {
    let recipients: Vec<String> = recipients.iter().map(|id| format!("{{accountID: {id}}}")).collect();
    format!(
        "apiVersion: cfshare.dev/v1alpha1\nkind: Share\nmetadata: {{name: {name}, labels: {{team: waf}}}}\nspec:\n  \
         accountID: {account}\n  recipients: [{}]\n  \
         resources: [{{type: custom-ruleset, id: 2f2feab2026849078ba485f918791bdc}}]\n{more}",
        recipients.join(", ")
    )
}

/// A namespace for shares, with the Secret.
pub fn tenant(site: &Site, namespace: &str, secret: &str) {
    if site.get("", "namespace", namespace).is_none() {
        site.kubectl(&["create", "namespace", namespace]);
    }
    let token = format!("--from-literal=apiToken=token-{}", cfshare_simulator::random_id());
    site.kubectl(&["-n", namespace, "create", "secret", "generic", secret, &token]);
}
