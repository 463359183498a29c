//! What an installed release stands on: a cluster and a Cloudflare of its own, and the pods' processes.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cfshare_simulator::{Config, ShareState, Simulator};
use cfshare_testbed::{Cluster, Options, Process, wait};
use serde_json::Value;

use crate::scene::is_ready;

pub const SYSTEM: &str = "cfshare-system";
/// The tests of a whole release run beside many others.
const PATIENCE: Duration = Duration::from_secs(180);

pub struct Site {
    pub simulator: Simulator,
    pub cluster: Cluster,
}

impl Site {
    /// An empty cluster with the namespace that the manifests bring, which enforces "restricted".
    pub fn start() -> Site {
        let cluster = Cluster::start(&Options::default()).expect("a cluster");
        let simulator = Simulator::start(Config::default()).expect("a simulator");
        let site = Site { simulator, cluster };
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

    /// `helm install` or `upgrade` of the chart in the system's namespace, with what differs on this machine: where
    /// Cloudflare is, and on which free port of loopback the process listens.
    pub fn release(&self, verb: &str, more: &[&str]) {
        let url = format!("cloudflare.url={}", self.simulator.base_url());
        let port = format!("metrics.port={}", free_port());
        let chart = deploy("chart");
        let mut args = vec![verb, "cfshare", &chart, "--namespace", SYSTEM];
        args.extend(more);
        args.extend(["--set", &url, "--set", &port, "--set", "metrics.address=127.0.0.1"]);
        self.helm(&args);
    }

    pub fn get(&self, namespace: &str, kind: &str, name: &str) -> Option<Value> {
        let text = self.kubectl(&["-n", namespace, "get", kind, name, "--ignore-not-found", "-o", "json"]);
        if text.trim().is_empty() { None } else { Some(serde_json::from_str(&text).expect("kubectl prints JSON")) }
    }

    pub fn wait(&self, what: &str, is: impl Fn() -> bool) {
        self.wait_for(what, || is().then_some(()));
    }

    pub fn wait_for<T>(&self, what: &str, ask: impl Fn() -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && !wait::interrupted() {
            if let Some(found) = ask() {
                return found;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("never: {what}")
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
        let end = Instant::now() + PATIENCE;
        loop {
            let object = self.get(namespace, kind, name);
            if let Some(object) = object.as_ref().filter(|object| is(object)) {
                return object.clone();
            }
            if Instant::now() > end || wait::interrupted() {
                panic!("{kind} {name} never {what}: {}", serde_json::to_string_pretty(&object).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
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

    /// Starts what the pods of the Deployment would: one process for each, with exactly its arguments, environment
    /// and ServiceAccount. A kubeconfig stands for the mounted token, and a folder for the mounted files.
    pub fn pods(&self, namespace: &str, deployment: &str) -> Vec<Process> {
        let object = self.get(namespace, "deployment", deployment).expect("the Deployment is there");
        let wanted = object["spec"]["replicas"].as_u64().unwrap_or(1) as usize;
        let pods = self.wait_for("the pods of the newest ReplicaSet", || {
            let pods = self.pods_of(namespace, deployment);
            (pods.len() == wanted).then_some(pods)
        });
        pods.iter().map(|pod| self.process(pod)).collect()
    }

    /// The pods of a Deployment's newest ReplicaSet, as they were admitted.
    fn pods_of(&self, namespace: &str, deployment: &str) -> Vec<Value> {
        let object = self.get(namespace, "deployment", deployment).unwrap_or_default();
        if object["status"]["observedGeneration"] != object["metadata"]["generation"] {
            return Vec::new();
        }
        let revision = &object["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
        let sets = self.list(namespace, "replicasets");
        let Some(set) = sets.iter().find(|set| {
            set["metadata"]["ownerReferences"][0]["uid"] == object["metadata"]["uid"]
                && set["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == *revision
        }) else {
            return Vec::new();
        };
        let of_set = |pod: &Value| pod["metadata"]["ownerReferences"][0]["uid"] == set["metadata"]["uid"];
        self.list(namespace, "pods").into_iter().filter(of_set).collect()
    }

    pub fn list(&self, namespace: &str, kind: &str) -> Vec<Value> {
        let text = self.kubectl(&["-n", namespace, "get", kind, "-o", "json"]);
        let list: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
        list["items"].as_array().cloned().unwrap_or_default()
    }

    fn process(&self, pod: &Value) -> Process {
        let name = text(&pod["metadata"]["name"]);
        let namespace = text(&pod["metadata"]["namespace"]);
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["command"], Value::Null, "the image's own program is started");
        let account = text(&pod["spec"]["serviceAccountName"]);
        let kubeconfig = self.cluster.kubeconfig_for(namespace, account).expect("a token of the ServiceAccount");
        let root = self.cluster.folder().join(format!("{namespace}.{name}"));
        self.mount_config_maps(pod, &root);
        let mut command = Command::new(env!("CARGO_BIN_EXE_cfshare"));
        command.env_clear().env("KUBECONFIG", kubeconfig);
        for argument in container["args"].as_array().expect("arguments") {
            command.arg(inside(&root, container, text(argument)));
        }
        for variable in container["env"].as_array().into_iter().flatten() {
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("metadata.name") => name.to_owned(),
                Some(other) => panic!("a variable of {other}"),
                None => inside(&root, container, variable["value"].as_str().unwrap_or_default()),
            };
            command.env(text(&variable["name"]), value);
        }
        Process::start(command, self.cluster.folder().join(format!("{name}.log"))).expect("the operator starts")
    }

    fn mount_config_maps(&self, pod: &Value, root: &Path) {
        let volumes = pod["spec"]["volumes"].as_array().expect("volumes");
        for mount in pod["spec"]["containers"][0]["volumeMounts"].as_array().expect("mounts") {
            let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).expect("its volume");
            let Some(map) = volume["configMap"]["name"].as_str() else { continue };
            let Some(map) = self.get(text(&pod["metadata"]["namespace"]), "configmap", map) else { continue };
            let folder = root.join(text(&mount["mountPath"]).trim_start_matches('/'));
            std::fs::create_dir_all(&folder).expect("a folder");
            for (key, value) in map["data"].as_object().into_iter().flatten() {
                std::fs::write(folder.join(key), text(value)).expect("a file");
            }
        }
    }
}

/// Paths of mounted files lie below the pod's folder here.
fn inside(root: &Path, container: &Value, argument: &str) -> String {
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    let path = mounts.map(|mount| text(&mount["mountPath"])).find(|path| argument.contains(*path));
    match path {
        Some(path) => argument.replace(path, &format!("{}{path}", root.display())),
        None => argument.to_owned(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("text, not {value}"))
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
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
