//! A control plane that runs: how it is started, asked, broken and ended.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::components::{Component, Site};
use crate::error::{Context, Error};
use crate::folder::Folder;
use crate::process::{Process, Signal};
use crate::programs::Programs;
use crate::{audit, kubeconfig, wait};

const PATIENCE: Duration = Duration::from_secs(60);
/// Another process may take a port between our look and the component's start.
const ATTEMPTS: usize = 3;

#[derive(Debug, Default)]
pub struct Options {
    /// Where data, logs and kubeconfigs are, and stay; absent: a temporary folder.
    pub folder: Option<PathBuf>,
    /// Further flags of kube-apiserver.
    pub apiserver: Vec<String>,
}

/// A control plane on loopback; ended, with all its files, when dropped.
pub struct Cluster {
    /// Dropped before the folder that they write to; in the order of `Component::ALL`.
    running: [Mutex<Option<Process>>; 3],
    kubeconfig: PathBuf,
    audit: PathBuf,
    site: Site,
}

impl Cluster {
    pub fn start(options: &Options) -> Result<Self, Error> {
        let programs = Programs::find()?;
        let mut attempt = 1;
        loop {
            let folder = match &options.folder {
                Some(path) => Folder::kept(path),
                None => Folder::temporary(),
            };
            let folder = folder.context(|| "cannot make a folder for the cluster".to_owned())?;
            let site = Site::new(programs.clone(), folder, options.apiserver.clone())
                .context(|| "cannot prepare the cluster".to_owned())?;
            let cluster =
                Self { running: Default::default(), kubeconfig: site.kubeconfig(), audit: site.audit(), site };
            match Component::ALL.into_iter().try_for_each(|component| cluster.revive(component)) {
                Ok(()) => return Ok(cluster),
                Err(error) if attempt < ATTEMPTS && error.to_string().contains("address already in use") => {
                    attempt += 1
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// For the administrator, who may do everything.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// For a service account that exists, with a token of a day.
    pub fn kubeconfig_for(&self, namespace: &str, account: &str) -> Result<PathBuf, Error> {
        let token = self.run(&["create", "token", account, "--namespace", namespace, "--duration=24h"], None)?;
        let path = self.folder().join(format!("{namespace}.{account}.kubeconfig"));
        kubeconfig::write(&path, &self.server(), &self.site.authority(), namespace, token.trim())
            .context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// `https://127.0.0.1:<port>`.
    pub fn server(&self) -> String {
        self.site.server()
    }

    /// Data, logs (`<component>.log`) and kubeconfigs; a place for a test's own files, too.
    pub fn folder(&self) -> &Path {
        self.site.folder.path()
    }

    pub fn programs(&self) -> &Programs {
        &self.site.programs
    }

    /// As the administrator; set `KUBECONFIG` on the command to be someone else.
    pub fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = self.site.kubectl();
        command.args(arguments);
        command
    }

    pub fn helm(&self, arguments: &[&str]) -> Command {
        let mut command = self.site.helm();
        command.args(arguments);
        command
    }

    /// Runs kubectl to its end: what it printed, or what it complained about.
    pub fn run(&self, arguments: &[&str], stdin: Option<&str>) -> Result<String, Error> {
        let mut outcome = output(self.kubectl(arguments), stdin);
        if arguments.first() == Some(&"wait") {
            // It stumbles over an object that is so new that it has no conditions yet.
            let premature = |outcome: &Result<String, Error>| {
                outcome.as_ref().is_err_and(|error| error.to_string().contains("accessor error"))
            };
            while premature(&outcome) && !wait::interrupted() {
                outcome = output(self.kubectl(arguments), stdin);
            }
        }
        outcome
    }

    /// Until these objects have conditions, which `kubectl wait` takes for granted.
    pub fn await_conditions(&self, of: &str) {
        let asked = ["get", "-f", of, "-o", "jsonpath={range .items[*]}{.status.conditions[0].type} {end}"];
        wait::until(Duration::from_secs(30), || {
            let seen = self.run(&asked, None).ok()?;
            (seen.split_whitespace().count() >= 3).then_some(())
        });
    }

    pub fn run_helm(&self, arguments: &[&str]) -> Result<String, Error> {
        output(self.helm(arguments), None)
    }

    pub fn audit_path(&self) -> &Path {
        &self.audit
    }

    /// Everything that clients asked so far.
    pub fn audit(&self) -> Result<Vec<Value>, Error> {
        self.audit_since(0).map(|(entries, _)| entries)
    }

    /// What was asked since an earlier call, and the mark for the next one.
    pub fn audit_since(&self, mark: u64) -> Result<(Vec<Value>, u64), Error> {
        audit::read(&self.audit, mark).context(|| format!("cannot read {}", self.audit.display()))
    }

    /// `kill -9`.
    pub fn kill(&self, component: Component) {
        self.running(component).take();
    }

    /// Starts a killed component again, on the same port and data, and waits until it is ready.
    pub fn revive(&self, component: Component) -> Result<(), Error> {
        let name = component.name();
        let mut running = self.running(component);
        let process = Process::start(self.site.command(component), self.site.folder.join(format!("{name}.log")))
            .context(|| format!("cannot start {name}"))?;
        let process = running.insert(process);
        let up = wait::until(PATIENCE, || {
            let ended = !process.running();
            let ready = !ended && self.site.ready(component);
            (ready || ended).then_some(ready)
        });
        match up {
            Some(true) => Ok(()),
            Some(false) => Err(Error::new(format!("{name} ended at its start:\n{}", tail(&process.log())))),
            None if wait::interrupted() => Err(Error::interrupted()),
            None => Err(Error::new(format!("{name} is not ready after {PATIENCE:?}:\n{}", tail(&process.log())))),
        }
    }

    pub fn restart(&self, component: Component) -> Result<(), Error> {
        self.kill(component);
        self.revive(component)
    }

    /// SIGSTOP: it keeps its connections and answers nothing.
    pub fn pause(&self, component: Component) {
        self.signal(component, Signal::Stop);
    }

    pub fn resume(&self, component: Component) {
        self.signal(component, Signal::Continue);
    }

    pub fn pid(&self, component: Component) -> Option<u32> {
        self.running(component).as_ref().map(Process::pid)
    }

    pub fn running_all(&self) -> bool {
        Component::ALL.into_iter().all(|component| self.running(component).as_ref().is_some_and(Process::running))
    }

    /// What dropping does, by name.
    pub fn stop(self) {}

    fn signal(&self, component: Component, signal: Signal) {
        if let Some(process) = &*self.running(component) {
            process.signal(signal);
        }
    }

    fn running(&self, component: Component) -> MutexGuard<'_, Option<Process>> {
        let [etcd, apiserver, controllers] = &self.running;
        let place = match component {
            Component::Etcd => etcd,
            Component::ApiServer => apiserver,
            Component::ControllerManager => controllers,
        };
        place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn output(mut command: Command, stdin: Option<&str>) -> Result<String, Error> {
    let name = command.get_program().to_string_lossy().rsplit('/').next().unwrap_or_default().to_owned();
    let input = if stdin.is_some() { Stdio::piped() } else { Stdio::null() };
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context(|| format!("cannot run {name}"))?;
    let pipe = child.stdin.take();
    let output = thread::scope(|scope| {
        // Beside the reading: a long manifest would fill both pipes.
        scope.spawn(move || {
            if let (Some(mut pipe), Some(text)) = (pipe, stdin) {
                let _ = pipe.write_all(text.as_bytes());
            }
        });
        child.wait_with_output()
    });
    let output = output.context(|| format!("cannot run {name}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(Error::new(format!("{}{}", text(&output.stdout), text(&output.stderr)).trim_end()))
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
