//! What a node does for the pods of a Deployment: it runs them, says when they are ready, and ends them.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cfshare_testbed::{Process, wait};
use serde_json::Value;

use super::site::{PATIENCE, SYSTEM, Site};

/// Runs each pod as one process, with exactly its arguments, environment and ServiceAccount. A kubeconfig stands for
/// the mounted token, a folder for the mounted files, and a free port of loopback for the pod's own address.
pub struct Node<'a> {
    site: &'a Site,
    namespace: &'a str,
    running: HashMap<String, Running>,
    /// Pods of a version whose program is not here.
    foreign: HashSet<String>,
}

struct Running {
    name: String,
    process: Process,
    ready: bool,
}

impl<'a> Node<'a> {
    pub fn new(site: &'a Site) -> Node<'a> {
        Node::within(site, SYSTEM)
    }

    /// For the pods of another namespace.
    pub fn within(site: &'a Site, namespace: &'a str) -> Node<'a> {
        Node { site, namespace, running: HashMap::new(), foreign: HashSet::new() }
    }

    /// Says that the pods that are there now run, as another version's: they are ready, and nothing is started for them.
    pub fn pretend(&mut self) {
        for pod in self.site.list(self.namespace, "pods") {
            ready(self.site, self.namespace, text(&pod["metadata"]["name"]));
            self.foreign.insert(text(&pod["metadata"]["uid"]).to_owned());
        }
    }

    /// Runs a pod to its end, as one that is not restarted.
    pub fn complete(&self, name: &str) -> String {
        self.site.wait("the pod is created", || self.site.get(self.namespace, "pod", name).is_some());
        let pod = self.site.get(self.namespace, "pod", name).expect("it is there");
        let process = self.start(&pod);
        let ended = process.wait(PATIENCE).expect("it ends");
        let phase = if ended.success() { "Succeeded" } else { "Failed" };
        let patch = format!(r#"{{"status":{{"phase":"{phase}"}}}}"#);
        self.site.kubectl(&["-n", self.namespace, "patch", "pod", name, "--subresource=status", "-p", &patch]);
        process.log()
    }

    /// Until the Deployment is rolled out, or, where there is none, until no pod is left. How many pods run then.
    pub fn settle(&mut self) -> usize {
        let end = Instant::now() + PATIENCE;
        while !self.turn() {
            if Instant::now() > end || wait::interrupted() {
                let logs = self.running.values().map(|pod| format!("{}:\n{}", pod.name, pod.process.log()));
                let events = self.site.kubectl(&["-n", self.namespace, "get", "events,pods,deployments"]);
                panic!("the Deployment never settled\n{events}\n{}", logs.collect::<String>());
            }
            std::thread::sleep(Duration::from_millis(250));
        }
        self.running.len()
    }

    fn turn(&mut self) -> bool {
        let deployments = self.site.list(self.namespace, "deployments");
        let pods = self.site.list(self.namespace, "pods");
        let there = |uid: &String| pods.iter().any(|pod| text(&pod["metadata"]["uid"]) == uid);
        let gone: Vec<String> = self.running.keys().filter(|uid| !there(uid)).cloned().collect();
        for uid in gone {
            let Some(pod) = self.running.remove(&uid) else { continue };
            // The grace period of the pod.
            let ended = pod.process.stop(Duration::from_secs(45));
            assert!(ended.is_some_and(|status| status.success()), "{ended:?}\n{}", pod.process.log());
        }
        for pod in &pods {
            let (name, uid) = (text(&pod["metadata"]["name"]), text(&pod["metadata"]["uid"]));
            let run = || Running { name: name.to_owned(), process: self.start(pod), ready: false };
            if !self.running.contains_key(uid) && !self.foreign.contains(uid) {
                let pod = run();
                self.running.insert(uid.to_owned(), pod);
            }
        }
        for pod in self.running.values_mut() {
            assert!(pod.process.running(), "{} ended:\n{}", pod.name, pod.process.log());
            if !pod.ready && is_ready(&pod.process) {
                ready(self.site, self.namespace, &pod.name);
                pod.ready = true;
            }
        }
        match deployments.as_slice() {
            [] => pods.is_empty(),
            [deployment] => {
                let (wanted, status) = (&deployment["spec"]["replicas"], &deployment["status"]);
                status["observedGeneration"] == deployment["metadata"]["generation"]
                    && status["updatedReplicas"].as_u64().unwrap_or(0) == wanted.as_u64().unwrap_or(0)
                    && status["availableReplicas"].as_u64().unwrap_or(0) == wanted.as_u64().unwrap_or(0)
                    && wanted.as_u64() == Some(self.running.len() as u64)
            }
            more => panic!("{} Deployments", more.len()),
        }
    }

    fn start(&self, pod: &Value) -> Process {
        let folder = self.site.cluster.folder();
        let name = text(&pod["metadata"]["name"]);
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["command"], Value::Null, "the image's own program is started");
        let account = text(&pod["spec"]["serviceAccountName"]);
        let kubeconfig =
            self.site.cluster.kubeconfig_for(self.namespace, account).expect("a token of the ServiceAccount");
        let root = folder.join(name);
        self.mount(pod, &root);
        let mut command = Command::new(env!("CARGO_BIN_EXE_cfshare"));
        command.env_clear().env("KUBECONFIG", kubeconfig);
        for argument in container["args"].as_array().expect("arguments") {
            match text(argument) {
                own if own.starts_with("--admin-listen=") => command.arg("--admin-listen=127.0.0.1:0"),
                other => command.arg(inside(&root, container, other)),
            };
        }
        for variable in container["env"].as_array().into_iter().flatten() {
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("metadata.name") => name.to_owned(),
                Some("metadata.namespace") => self.namespace.to_owned(),
                Some(other) => panic!("a variable of {other}"),
                None => inside(&root, container, variable["value"].as_str().unwrap_or_default()),
            };
            command.env(text(&variable["name"]), value);
        }
        Process::start(command, folder.join(format!("{name}.log"))).expect("the operator starts")
    }

    /// Writes the ConfigMaps that the pod mounts.
    fn mount(&self, pod: &Value, root: &Path) {
        let volumes = pod["spec"]["volumes"].as_array().expect("volumes");
        for mount in pod["spec"]["containers"][0]["volumeMounts"].as_array().expect("mounts") {
            let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).expect("its volume");
            let Some(map) = volume["configMap"]["name"].as_str() else { continue };
            let Some(map) = self.site.get(self.namespace, "configmap", map) else { continue };
            let folder = root.join(text(&mount["mountPath"]).trim_start_matches('/'));
            std::fs::create_dir_all(&folder).expect("a folder");
            for (key, value) in map["data"].as_object().into_iter().flatten() {
                std::fs::write(folder.join(key), text(value)).expect("a file");
            }
        }
    }
}

fn ready(site: &Site, namespace: &str, pod: &str) {
    let patch = r#"{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}"#;
    site.kubectl(&["-n", namespace, "patch", "pod", pod, "--subresource=status", "-p", patch]);
}

/// Paths of mounted files lie below the pod's folder here.
fn inside(root: &Path, container: &Value, argument: &str) -> String {
    let mut mounts = container["volumeMounts"].as_array().into_iter().flatten().map(|mount| text(&mount["mountPath"]));
    match mounts.find(|path| argument.contains(*path)) {
        Some(path) => argument.replace(path, &format!("{}{path}", root.display())),
        None => argument.to_owned(),
    }
}

/// Asks the readiness probe, at the address that the process says it listens on.
fn is_ready(process: &Process) -> bool {
    let log = process.log();
    let Some(line) = log.lines().find(|line| line.contains("admin endpoints are served")) else { return false };
    let Some((_, port)) = line.rsplit_once("127.0.0.1:") else { return false };
    let port: String = port.chars().take_while(char::is_ascii_digit).collect();
    let Ok(mut connection) = TcpStream::connect(format!("127.0.0.1:{port}")) else { return false };
    let mut answer = String::new();
    let asked =
        connection.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").and_then(|()| connection.read_to_string(&mut answer));
    asked.is_ok() && answer.starts_with("HTTP/1.0 200")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("text, not {value}"))
}
