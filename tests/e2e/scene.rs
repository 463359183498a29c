//! What an end-to-end test stands on: one world for all, and a namespace, an account and a token for each.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use cfshare_simulator::{Config, Entry, Life, ShareState, Simulator, random_id};
use cfshare_testbed::{Cluster, Options, Process, process, wait};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::install::suite;
use crate::reader::Reader;

/// Objects with this label are left to operators that a test starts itself.
pub const OWN_LABEL: &str = "cfshare-test-own";
/// How long anything may take that should happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster with the CRDs, a simulator, and an operator that works on everything without the label.
pub struct World {
    // Dropped first: the operator must not see the others go.
    pub operator: Process,
    pub simulator: Simulator,
    reader: Reader,
    pub cluster: Cluster,
}

impl World {
    pub fn start() -> Result<World, String> {
        let cluster = Cluster::start(&Options::default()).map_err(|error| error.to_string())?;
        let simulator = Simulator::start(Config::default()).map_err(|error| error.to_string())?;
        let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
        cluster.run(&["apply", "--server-side", "-f", crds], None).map_err(|error| error.to_string())?;
        let established = ["wait", "--for=condition=Established", "--timeout=30s", "-f", crds];
        cluster.run(&established, None).map_err(|error| error.to_string())?;
        suite::install(&cluster)?;
        let mut command = operator(&cluster, &simulator);
        command.args(["--watch-label-selector", &format!("!{OWN_LABEL}")]);
        let log = cluster.folder().join("operator.log");
        let operator = Process::start(command, log).map_err(|error| error.to_string())?;
        let reader = Reader::new(cluster.kubeconfig())?;
        Ok(World { operator, simulator, reader, cluster })
    }

    /// Changes something at Cloudflare as somebody else would.
    pub fn call_cloudflare(&self, method: &str, url: &str, token: &str, body: &Value) {
        self.reader.call(method, url, token, body).unwrap_or_else(|error| panic!("{method} {url}: {error}"));
    }

    pub fn scene(&self) -> Scene<'_> {
        Scene::new(self, false)
    }

    /// A scene whose objects the shared operator does not see.
    pub fn own_scene(&self) -> Scene<'_> {
        Scene::new(self, true)
    }
}

/// The operator as a test runs it: quick, on a free port.
pub fn operator(cluster: &Cluster, simulator: &Simulator) -> Command {
    operator_with(cluster, simulator, &[])
}

/// The same, with other values for some flags; an empty value leaves the flag out, so that its default holds.
pub fn operator_with(cluster: &Cluster, simulator: &Simulator, other: &[(&str, &str)]) -> Command {
    let mut command = process::program(env!("CARGO_BIN_EXE_cfshare"));
    // The chart grants a Lease in the operator's own namespace. A test's own Lease lies in the test's.
    let own_lease = other.iter().any(|(flag, _)| *flag == "--lease-namespace");
    let kubeconfig = if own_lease { cluster.kubeconfig().to_path_buf() } else { suite::kubeconfig(cluster) };
    command.env("KUBECONFIG", kubeconfig).arg("run");
    let quick = [
        ("--cloudflare-url", simulator.base_url()),
        ("--sweep-interval", "3s"),
        ("--poll-min", "200ms"),
        ("--poll-max", "1s"),
        ("--settle-time", "6s"),
        ("--call-timeout", "5s"),
        ("--api-rate", "100"),
        ("--api-burst", "1000"),
        ("--admin-listen", "127.0.0.1:0"),
        ("--organization-shares", "*"),
        ("--log-filter", "cfshare=debug,info"),
    ];
    let kept = quick.iter().filter(|(flag, _)| other.iter().all(|(name, _)| name != flag));
    for (flag, value) in kept.chain(other).filter(|(_, value)| !value.is_empty()) {
        command.args([flag, value]);
    }
    command
}

/// One test's own corner of the world.
pub struct Scene<'a> {
    pub world: &'a World,
    pub namespace: String,
    pub account: String,
    pub token: String,
    own: bool,
}

impl<'a> Scene<'a> {
    fn new(world: &'a World, own: bool) -> Scene<'a> {
        let id = random_id();
        let scene = Scene {
            world,
            namespace: format!("t-{}", &id[..12]),
            account: random_id(),
            token: format!("token-{}", random_id()),
            own,
        };
        world.reader.create_namespace(&scene.namespace).unwrap_or_else(|error| panic!("{error}"));
        world.simulator.limits(|limits| limits.requests = 0);
        scene.put_token(&scene.token);
        scene
    }

    /// Writes the Secret.
    pub fn put_token(&self, token: &str) {
        self.apply(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: cloudflare-credentials}}\nstringData: {{apiToken: {token}}}\n"
        ));
    }

    /// An operator for this scene alone, with other values for some flags.
    pub fn operator(&self, other: &[(&str, &str)]) -> Process {
        let mut command = operator_with(&self.world.cluster, &self.world.simulator, other);
        command.args(["--watch-label-selector", OWN_LABEL, "--namespace", &self.namespace]);
        Process::start(command, self.file("operator.log")).expect("the operator starts")
    }

    /// Confirms beforehand that all Shares may be deleted, which are more than go without a person's word.
    pub fn confirm_deletions(&self) {
        let annotation = format!("cfshare.dev/confirm-deletion={}", Timestamp::now() + Duration::from_secs(3600));
        self.kubectl(&["annotate", "--overwrite", "shares.cfshare.dev", "--all", &annotation]);
    }

    pub fn delete(&self, kind: &str, name: &str) {
        match self.world.reader.delete(&self.namespace, kind, name) {
            Some(deleted) => deleted.unwrap_or_else(|error| panic!("delete {kind} {name}: {error}")),
            None => drop(self.kubectl(&["delete", kind, name, "--wait=false"])),
        }
    }

    pub fn annotate(&self, kind: &str, name: &str, annotation: &str) {
        let pair = annotation.split_once('=').map(|(key, value)| (key, value.to_owned()));
        let annotated =
            pair.and_then(|(key, value)| self.world.reader.annotate(&self.namespace, kind, name, key, &value));
        match annotated {
            Some(annotated) => annotated.unwrap_or_else(|error| panic!("annotate {kind} {name}: {error}")),
            None => drop(self.kubectl(&["annotate", "--overwrite", kind, name, annotation])),
        }
    }

    /// Reasons and texts of the Events about an object.
    pub fn events(&self, name: &str) -> Vec<(String, String)> {
        let events = self.world.reader.events(&self.namespace).unwrap_or_else(|error| panic!("{error}"));
        let about = |event: &&Value| event["regarding"]["name"] == name;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        events.iter().filter(about).map(|event| (text(&event["reason"]), text(&event["note"]))).collect()
    }

    /// Events come a moment after what they tell of. Returns all of the object.
    pub fn wait_event(&self, name: &str, is: impl Fn(&str, &str) -> bool) -> Vec<(String, String)> {
        let found = wait::until(PATIENCE, || {
            let events = self.events(name);
            events.iter().any(|(reason, text)| is(reason, text)).then_some(events)
        });
        found.unwrap_or_else(|| self.fail(&format!("no such Event of {name}: {:?}", self.events(name))))
    }

    pub fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl(args, None).unwrap_or_else(|error| panic!("kubectl {args:?}: {error}"))
    }

    pub fn try_kubectl(&self, args: &[&str], input: Option<&str>) -> Result<String, String> {
        let mut all = vec!["--namespace", self.namespace.as_str()];
        all.extend(args);
        self.world.cluster.run(&all, input).map_err(|error| error.to_string())
    }

    /// Applies manifests, server-side, in this scene's namespace.
    pub fn apply(&self, yaml: &str) {
        let with_kubectl =
            || self.try_kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "-"], Some(yaml)).map(drop);
        let applied = self.world.reader.apply(&self.namespace, yaml).unwrap_or_else(with_kubectl);
        applied.unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    }

    /// A manifest's head: kind, name, and the label where the scene has an operator of its own.
    pub fn head(&self, kind: &str, name: &str) -> String {
        let labels = if self.own { format!(", labels: {{{OWN_LABEL}: \"true\"}}") } else { String::new() };
        format!("apiVersion: cfshare.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}{labels}}}\n")
    }

    /// A Share of this scene's account.
    pub fn share(&self, name: &str, recipients: &[&str], resources: &[&str], more: &str) -> String {
        let mut yaml = self.head("Share", name);
        yaml.push_str(&format!("spec:\n  accountID: {}\n", self.account));
        if !more.contains("organization:") {
            let list: Vec<String> = recipients.iter().map(|id| format!("{{accountID: {id}}}")).collect();
            yaml.push_str(&format!("  recipients: [{}]\n", list.join(", ")));
        }
        let list: Vec<String> = resources.iter().map(|id| format!("{{type: custom-ruleset, id: {id}}}")).collect();
        yaml.push_str(&format!("  resources: [{}]\n", list.join(", ")));
        for line in more.lines() {
            yaml.push_str(&format!("  {line}\n"));
        }
        yaml
    }

    pub fn recipient(&self, name: &str, share: &str, account: &str, more: &str) -> String {
        let head = self.head("ShareRecipient", name);
        let more: String = more.lines().map(|line| format!("  {line}\n")).collect();
        format!("{head}spec:\n  shareRef: {{name: {share}}}\n  accountID: {account}\n{more}")
    }

    pub fn resource(&self, name: &str, share: &str, id: &str, more: &str) -> String {
        let head = self.head("ShareResource", name);
        let more: String = more.lines().map(|line| format!("  {line}\n")).collect();
        format!("{head}spec:\n  shareRef: {{name: {share}}}\n  type: custom-ruleset\n  id: {id}\n{more}")
    }

    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        if let Ok(object) = self.world.reader.get(&self.namespace, kind, name) {
            return object;
        }
        let text = self.kubectl(&["get", kind, name, "--ignore-not-found", "-o", "json"]);
        if text.trim().is_empty() { None } else { Some(serde_json::from_str(&text).expect("kubectl prints JSON")) }
    }

    /// All objects of one of the kinds that the reader lists.
    pub fn list(&self, kind: &str) -> Vec<Value> {
        self.world.reader.list(&self.namespace, kind).expect("the API server lists them")
    }

    /// Waits until the object is as the test says; fails with the object and the operator's log if it never is.
    pub fn wait_for(&self, kind: &str, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut last = None;
        let found = wait::until(PATIENCE, || {
            last = self.get(kind, name);
            last.clone().filter(|object| is(object))
        });
        found.unwrap_or_else(|| {
            let object = last.map(|mut object| {
                object["metadata"]["managedFields"] = Value::Null;
                serde_json::to_string_pretty(&object).unwrap_or_default()
            });
            self.fail(&format!("{kind} {name} never {what}: {}", object.unwrap_or("it does not exist".into())))
        })
    }

    pub fn wait_gone(&self, kind: &str, name: &str) {
        if wait::until(PATIENCE, || self.get(kind, name).is_none().then_some(())).is_none() {
            let object = serde_json::to_string_pretty(&self.get(kind, name)).unwrap_or_default();
            self.fail(&format!("{kind} {name} never went: {object}"));
        }
    }

    pub fn wait_ready(&self, kind: &str, name: &str) -> Value {
        self.wait_for(kind, name, "became Ready", is_ready)
    }

    /// Waits until a condition's reason is given on the object's present generation.
    pub fn wait_reason(&self, kind: &str, name: &str, reason: &str) -> Value {
        self.wait_for(kind, name, &format!("said {reason}"), |object| {
            is_observed(object) && condition(object, "Ready").is_some_and(|ready| ready["reason"] == reason)
        })
    }

    /// Waits until an object that is applied now is younger than this one: ages are told in whole seconds, and within
    /// one the name decides.
    pub fn wait_younger(&self, than: &Value) {
        let created = than["metadata"]["creationTimestamp"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
        let created = created.expect("a time of creation").as_second();
        self.wait("a later second", || Timestamp::now().as_second() > created);
    }

    /// Waits until what the simulator holds of this account is as the test says.
    pub fn wait_state(&self, what: &str, is: impl Fn(&[ShareState]) -> bool) -> Vec<ShareState> {
        let found = wait::until(PATIENCE, || Some(self.state()).filter(|state| is(state)));
        found.unwrap_or_else(|| self.fail(&format!("Cloudflare never had {what}: {:#?}", self.state())))
    }

    pub fn wait(&self, what: &str, is: impl Fn() -> bool) {
        if wait::until(PATIENCE, || is().then_some(())).is_none() {
            self.fail(&format!("never: {what}"));
        }
    }

    fn fail(&self, what: &str) -> ! {
        let calls: Vec<String> = self.journal().iter().map(describe).collect();
        let own = std::fs::read_to_string(self.file("operator.log")).unwrap_or_default();
        let log = if self.own { own } else { self.world.operator.log() };
        let log: Vec<&str> = log.lines().filter(|line| self.own || line.contains(&self.namespace)).collect();
        let log = log[log.len().saturating_sub(60)..].join("\n");
        panic!("{what}\n\ncalls:\n{}\n\nlog:\n{log}", calls.join("\n"));
    }

    pub fn state(&self) -> Vec<ShareState> {
        self.world.simulator.state(&self.account)
    }

    /// The shares of this scene's account that are live.
    pub fn live(&self) -> Vec<ShareState> {
        self.state().into_iter().filter(ShareState::live).collect()
    }

    /// The one share that is live.
    pub fn only(&self) -> ShareState {
        let mut live = self.live();
        assert_eq!(live.len(), 1, "{live:#?}");
        live.remove(0)
    }

    /// Waits until nothing of this scene is live any more.
    pub fn wait_nothing(&self) {
        self.wait_state("nothing left", |shares| shares.iter().all(|share| share.status == Life::Deleted));
    }

    /// Asks the operator to look at the object now, and waits until it has.
    pub fn ask(&self, kind: &str, name: &str) -> Value {
        let request = random_id();
        self.annotate(kind, name, &format!("cfshare.dev/requestedAt={request}"));
        self.wait_for(kind, name, "was looked at on request", |object| {
            object["status"]["lastHandledReconcileAt"] == request.as_str()
        })
    }

    /// Waits until the operator has listed the shares of this account once more, from now on.
    pub fn wait_sweep(&self) {
        let sweeps = || self.journal().iter().filter(|e| e.query.contains("direction=asc") && e.done).count();
        let before = sweeps();
        // The first may have begun before.
        self.wait("a sweep", || sweeps() >= before + 2);
    }

    /// Changing calls since so many were made, as `METHOD path`.
    pub fn changes_since(&self, before: usize) -> Vec<String> {
        self.changes().split_off(before)
    }

    pub fn journal(&self) -> Vec<Entry> {
        self.world.simulator.journal(Some(&self.account), 0)
    }

    /// Changing calls so far, as `METHOD path`.
    pub fn changes(&self) -> Vec<String> {
        self.journal().iter().filter(|entry| entry.changing).map(describe).collect()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.world.cluster.folder().join(format!("{}-{name}", self.namespace))
    }
}

/// New ids, of accounts or resources.
pub fn ids<const N: usize>() -> [String; N] {
    std::array::from_fn(|_| random_id())
}

pub fn describe(entry: &Entry) -> String {
    format!("{} {}{} -> {:?}", entry.method, entry.path, query(entry), entry.status)
}

fn query(entry: &Entry) -> String {
    if entry.query.is_empty() { String::new() } else { format!("?{}", entry.query) }
}

pub fn condition<'v>(object: &'v Value, kind: &str) -> Option<&'v Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// The status speaks of the present generation.
pub fn is_observed(object: &Value) -> bool {
    object["status"]["observedGeneration"] == object["metadata"]["generation"]
}

pub fn is_ready(object: &Value) -> bool {
    is_observed(object) && condition(object, "Ready").is_some_and(|ready| ready["status"] == "True")
}

pub fn message(object: &Value) -> String {
    condition(object, "Ready").and_then(|ready| ready["message"].as_str()).unwrap_or_default().to_owned()
}

/// What the operator with that log serves at /metrics.
pub fn metrics(log: &str) -> String {
    let line = log.lines().find(|line| line.contains("admin endpoints")).expect("its address in the log");
    let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an address");
    let mut stream = TcpStream::connect(address.trim_matches('"')).expect("a connection");
    let request =
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text\r\nConnection: close\r\n\r\n";
    stream.write_all(request).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}
