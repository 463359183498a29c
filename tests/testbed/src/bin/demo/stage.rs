//! What the demonstration plays on: a cluster, a simulated Cloudflare and the operator, and how they are asked.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::{env, fs};

use cfshare_simulator::{Config, Entry, ShareState, Simulator};
use cfshare_testbed::{Cluster, Error, Options, Process, build_operator, process, wait};
use serde_json::Value;

use crate::terminal::Terminal;

/// How long anything may take that should happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// So much of a call's body is shown.
const BODY: usize = 90;

const NAMESPACE: &str = "security-baseline";
/// Its Lease tells the other commands that it runs, and lasts only so long that a kill costs no patience.
const OPERATOR: &str = "cfshare run --sweep-interval 2s --poll-min 250ms --poll-max 1s --settle-time 5s \
                        --api-rate 20 --organization-shares security-baseline --admin-listen 127.0.0.1:0 \
                        --leader-elect --lease-namespace default --lease-duration 8s --call-timeout 5s";

pub struct Stage<'t> {
    // Dropped first: the operator must not see the others go.
    pub operator: Process,
    pub simulator: Simulator,
    pub terminal: &'t Terminal,
    cluster: Cluster,
    /// The folder with the programs that this workspace makes.
    programs: PathBuf,
    folder: PathBuf,
}

impl<'t> Stage<'t> {
    /// The CRDs are so new that `kubectl wait` would stumble over them.
    pub fn await_crds(&self) {
        self.cluster.await_conditions(concat!(env!("CARGO_MANIFEST_DIR"), "/../../crds"));
    }

    pub fn set(terminal: &'t Terminal) -> Result<Stage<'t>, Error> {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let root = root.canonicalize().map_err(|error| failed("find the sources", error))?;
        terminal.say("Building the operator …");
        let operator = build_operator()?;
        let programs = operator.parent().unwrap_or(Path::new(".")).to_owned();
        terminal.say("Starting Kubernetes: etcd, kube-apiserver and kube-controller-manager, on loopback …");
        let cluster = Cluster::start(&Options::default())?;
        let simulator =
            Simulator::start(Config::default()).map_err(|error| failed("start the simulated Cloudflare", error))?;
        terminal.say("Starting a simulated Cloudflare, and the operator:");
        // Where the commands run: the manifests of the sources are there, under the names that they have.
        let folder = cluster.folder().join("demo");
        fs::create_dir(&folder).map_err(|error| failed("make a folder", error))?;
        for name in ["crds", "deploy"] {
            symlink(root.join(name), folder.join(name)).map_err(|error| failed("link the manifests", error))?;
        }
        terminal.command(OPERATOR);
        let operator = start_operator(&cluster, &simulator, &programs)?;
        Ok(Stage { operator, simulator, terminal, cluster, programs, folder })
    }

    /// After the operator was killed.
    pub fn restart_operator(&mut self) -> Result<(), Error> {
        self.terminal.command(OPERATOR);
        self.operator = start_operator(&self.cluster, &self.simulator, &self.programs)?;
        Ok(())
    }

    /// Shows a command, runs it as a shell does, and shows what it prints.
    pub fn shell(&self, command: &str) -> Result<String, Error> {
        self.shell_ending(command, 0)
    }

    /// The same for a command that says something with its exit code.
    pub fn shell_ending(&self, command: &str, code: i32) -> Result<String, Error> {
        self.terminal.command(command);
        let log = self.cluster.folder().join("command.log");
        let _ = fs::remove_file(&log);
        let process = Process::start(self.command(command), log).map_err(|error| failed(command, error))?;
        let status = process.wait(2 * PATIENCE);
        let printed = process.log();
        self.terminal.output(&printed);
        match status {
            Some(status) if status.code() == Some(code) => Ok(printed),
            Some(status) => Err(Error::new(format!("`{command}` ended with {status}"))),
            None => Err(Error::new(format!("`{command}` did not end"))),
        }
    }

    /// Shows a command that goes on by itself, and what it prints, while `meanwhile` runs and until it printed `last`.
    pub fn watch(&self, command: &str, last: &str, meanwhile: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        self.terminal.command(command);
        let mut shell = self.command(&format!("exec {command}"));
        shell.stdout(Stdio::piped());
        let mut child = process::spawn(shell).map_err(|error| failed(command, error))?;
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let (printed, prints) = mpsc::channel();
        let printer = thread::spawn(move || {
            let terminal = Terminal::new();
            let mut before = String::new();
            // Not every change of an object is one of its row.
            for line in lines.map_while(Result::ok) {
                if row(&line) != row(&before) {
                    terminal.output(&line);
                    let _ = printed.send(line.clone());
                }
                before = line;
            }
        });
        let outcome = meanwhile().and_then(|()| {
            self.wait(&format!("`{command}` prints {last}"), || {
                prints.try_iter().any(|line: String| line.contains(last)).then_some(())
            })
        });
        let _ = child.kill();
        let _ = child.wait();
        let _ = printer.join();
        outcome
    }

    fn command(&self, command: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(&self.folder).stdin(Stdio::null());
        for (name, value) in self.cluster.kubectl(&[]).get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        shell.env("PATH", self.search_path(&env::var_os("PATH").unwrap_or_default()));
        shell.env("CFSHARE_CLOUDFLARE_URL", self.simulator.base_url());
        shell
    }

    /// Where cfshare, kubectl and the others are, in front of the rest.
    fn search_path(&self, rest: &OsStr) -> OsString {
        let mut path = self.programs.clone().into_os_string();
        for more in [self.cluster.programs().search_path().as_os_str(), rest] {
            path.push(":");
            path.push(more);
        }
        path
    }

    pub fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        fs::write(self.folder.join(name), text).map_err(|error| failed(name, error))
    }

    pub fn read(&self, name: &str) -> Result<String, Error> {
        fs::read_to_string(self.folder.join(name)).map_err(|error| failed(name, error))
    }

    pub fn share(&self, name: &str) -> Option<Value> {
        let text = self
            .cluster
            .run(&["get", "share", name, "-n", NAMESPACE, "--ignore-not-found", "-o", "json"], None)
            .ok()?;
        serde_json::from_str(&text).ok()
    }

    pub fn has_event(&self, reason: &str) -> bool {
        let selector = format!("reason={reason}");
        let found = self.cluster.run(&["get", "events", "-A", "-o", "name", "--field-selector", &selector], None);
        found.is_ok_and(|names| !names.trim().is_empty())
    }

    /// Waits until a Share is as it should be.
    pub fn until(&self, name: &str, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value, Error> {
        self.wait(&format!("{name} {what}"), || self.share(name).filter(|share| is(share)))
    }

    pub fn until_ready(&self, name: &str, recipients: &str) -> Result<Value, Error> {
        self.until(name, &format!("is Ready with {recipients} recipients"), |share| {
            is_ready(share) && share["status"]["recipients"]["summary"] == recipients
        })
    }

    pub fn wait<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> Result<T, Error> {
        wait::until(PATIENCE, || {
            let answer = ask();
            if answer.is_none() {
                thread::sleep(Duration::from_millis(50));
            }
            answer
        })
        .ok_or_else(|| Error::new(format!("this did not come true within {} s: {what}", PATIENCE.as_secs())))
    }

    /// The live share of that name at Cloudflare; there must be exactly one.
    pub fn remote(&self, name: &str) -> Result<ShareState, Error> {
        let live: Vec<ShareState> =
            self.shares().into_iter().filter(|share| share.live() && share.name == name).collect();
        let count = live.len();
        let mut live = live.into_iter();
        match (live.next(), count) {
            (Some(share), 1) => Ok(share),
            _ => Err(Error::new(format!("Cloudflare has {count} live shares named {name} instead of 1"))),
        }
    }

    pub fn shares(&self) -> Vec<ShareState> {
        self.simulator.state(crate::story::SECURITY)
    }

    /// What Cloudflare was asked since a mark.
    pub fn journal(&self, since: u64) -> Vec<Entry> {
        self.simulator.journal(None, since)
    }

    /// The part of it that changes something.
    pub fn changes(&self, since: u64) -> Vec<Entry> {
        self.journal(since).into_iter().filter(|entry| entry.changing).collect()
    }

    /// Shows the changing calls since a mark, and how many reads there were.
    pub fn show_calls(&self, since: u64) {
        self.terminal.say("What Cloudflare was asked to change meanwhile:");
        let changes = self.changes(since);
        for entry in &changes {
            self.terminal.aside(&describe(entry));
        }
        if changes.is_empty() {
            self.terminal.aside("nothing");
        }
    }

    /// What there is to see after a failure.
    pub fn show_evidence(&self) {
        self.terminal.heading("What was there");
        let shares = ["get", "shares", "--all-namespaces", "-o", "yaml"];
        self.terminal.output(&self.cluster.run(&shares, None).unwrap_or_else(|error| error.to_string()));
        self.show_calls(0);
        self.terminal.say("The end of the operator's log:");
        let log = self.operator.log();
        let lines: Vec<&str> = log.lines().collect();
        self.terminal.output(&lines[lines.len().saturating_sub(40)..].join("\n"));
    }

    /// Leaves everything running until Ctrl-C.
    pub fn stay(&self) {
        self.terminal.heading("Everything runs on until Ctrl-C. In another terminal:");
        self.terminal.say(&format!("cd {}", self.folder.display()));
        self.terminal.say(&format!("export KUBECONFIG={}", self.cluster.kubeconfig().display()));
        self.terminal.say(&format!("export CFSHARE_CLOUDFLARE_URL={}", self.simulator.base_url()));
        self.terminal.say(&format!("export PATH=\"{}\"", self.search_path(OsStr::new("$PATH")).display()));
        self.terminal.say("kubectl get shares.cfshare.dev,sharerecipients.cfshare.dev,shareresources.cfshare.dev");
        self.terminal.say("cfshare plan -f deploy/examples/share.yaml; kubectl apply -f deploy/examples/share.yaml");
        self.terminal.say(&format!("curl -s {}/journal", self.simulator.control_url()));
        self.terminal.say(&format!("tail -f {}", self.operator.log_path().display()));
        let _ = wait::until(Duration::MAX, || None::<()>);
    }
}

fn start_operator(cluster: &Cluster, simulator: &Simulator, programs: &Path) -> Result<Process, Error> {
    let mut words = OPERATOR.split_whitespace();
    let name = words.next().unwrap_or_default();
    let mut command = process::program(programs.join(name));
    command.args(words).env("KUBECONFIG", cluster.kubeconfig());
    command.env("CFSHARE_CLOUDFLARE_URL", simulator.base_url());
    Process::start(command, cluster.folder().join("operator.log")).map_err(|error| failed("start the operator", error))
}

/// A row of a table without its age.
fn row(line: &str) -> &str {
    line.trim_end().rsplit_once(' ').map_or(line, |(row, _)| row)
}

fn failed(what: &str, error: std::io::Error) -> Error {
    Error::new(format!("{what}: {error}"))
}

/// One line for a call: the owner's part of the path says nothing, and a long body is cut.
fn describe(entry: &Entry) -> String {
    let status = entry.status.map_or("no answer".to_owned(), |status| status.to_string());
    let path = entry.path.find("/shares").map_or(entry.path.as_str(), |start| &entry.path[start..]);
    let body = if entry.body.is_null() { String::new() } else { format!(" {}", entry.body) };
    let cut: String = body.chars().take(BODY).collect();
    let rest = if cut.len() < body.len() { "…" } else { "" };
    format!("{} {path}{cut}{rest} → {status}", entry.method)
}

pub fn is_ready(share: &Value) -> bool {
    let observed = share["status"]["observedGeneration"] == share["metadata"]["generation"];
    observed && ready(share)["status"] == "True"
}

pub fn ready(share: &Value) -> &Value {
    let conditions = share["status"]["conditions"].as_array();
    let found = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == "Ready"));
    found.unwrap_or(&Value::Null)
}

/// Fails with a sentence where something is not as it should be.
pub fn ensure(is: bool, what: impl FnOnce() -> String) -> Result<(), Error> {
    if is { Ok(()) } else { Err(Error::new(what())) }
}
