//! How is an operator of a test's own started, killed and started again?

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use cfshare_testbed::Process;
use cfshare_testbed::process::{self, Signal};

/// Longest that it may take to end: calls in progress have their time.
const END: Duration = Duration::from_secs(15);

/// What tells one operator of a test from another.
#[derive(Clone, Debug)]
pub struct Settings {
    pub binary: PathBuf,
    /// For its kubeconfig and its log.
    pub folder: PathBuf,
    pub namespace: String,
    /// Namespaces that it watches too.
    pub others: Vec<String>,
    /// URLs of the API server and of Cloudflare, as it sees them.
    pub kubernetes: String,
    pub cloudflare: String,
    pub flags: Vec<(&'static str, String)>,
}

/// An operator that can die at any time.
pub struct Operator {
    settings: Settings,
    kubeconfig: PathBuf,
    process: Mutex<Option<Process>>,
}

impl Operator {
    pub fn start(settings: Settings) -> Result<Operator, String> {
        let kubeconfig = settings.folder.join(format!("{}.kubeconfig", settings.namespace));
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: way, cluster: {{server: \"{}\"}}}}]\n\
             contexts: [{{name: way, context: {{cluster: way, user: \"\"}}}}]\ncurrent-context: way\n",
            settings.kubernetes
        );
        fs::write(&kubeconfig, text).map_err(|e| e.to_string())?;
        let operator = Operator { settings, kubeconfig, process: Mutex::default() };
        *operator.lock() = Some(operator.launch()?);
        Ok(operator)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn launch(&self) -> Result<Process, String> {
        let mut command = process::program(&self.settings.binary);
        command.env("KUBECONFIG", &self.kubeconfig).arg("run");
        command.args(["--cloudflare-url", &self.settings.cloudflare]);
        // Its own comes first: what the others list must not speak of it.
        for namespace in std::iter::once(&self.settings.namespace).chain(&self.settings.others) {
            command.args(["--namespace", namespace]);
        }
        command.args(["--admin-listen", "127.0.0.1:0", "--watch-label-selector", crate::LABEL]);
        for (flag, value) in &self.settings.flags {
            command.args([flag, value.as_str()]);
        }
        Process::start(command, self.log_path()).map_err(|e| format!("the operator does not start: {e}"))
    }

    pub fn log_path(&self) -> PathBuf {
        self.settings.folder.join(format!("{}.log", self.settings.namespace))
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&self) {
        if let Some(process) = self.lock().take() {
            process.kill();
        }
    }

    /// Ends it as `kill -9` does, and starts it again.
    pub fn replace(&self) -> Result<(), String> {
        let mut process = self.lock();
        if let Some(old) = process.take() {
            old.kill();
        }
        *process = Some(self.launch()?);
        Ok(())
    }

    /// Asks it to end, as where its node is drained.
    pub fn terminate(&self) {
        if let Some(process) = self.lock().as_ref() {
            process.signal(Signal::Terminate);
        }
    }

    /// Waits until one that was asked to end has done so, and starts it again.
    pub fn succeed(&self) -> Result<(), String> {
        let mut process = self.lock();
        let ended = process.take().and_then(|old| old.stop(END));
        *process = Some(self.launch()?);
        match ended {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("asked to end, the operator ended with {status}")),
            None => Err(format!("asked to end, the operator did not within {END:?}")),
        }
    }

    pub fn log(&self) -> String {
        fs::read(self.log_path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Where it serves its metrics, as it said last.
    pub fn admin(&self) -> Option<String> {
        let log = self.log();
        let line = log.lines().rev().find(|line| line.contains("admin endpoints are served"))?;
        let start = line.find("127.0.0.1:")?;
        let rest = &line[start..];
        let end = rest.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit()).unwrap_or(rest.len());
        Some(rest[..end].to_owned())
    }

    /// Whether it still runs, or has died by itself.
    pub fn running(&self) -> bool {
        self.lock().as_ref().is_some_and(Process::running)
    }
}
