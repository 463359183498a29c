//! How to run a program that cannot outlive this one, whatever kills it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::wait;

/// A program that inherits only `PATH` and `HOME`: other variables of the person who runs the tests could change its options.
pub fn program(path: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(path);
    command.env_clear();
    command.envs(["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}

type Order = (Command, Sender<io::Result<Child>>);

/// Starts `command` from the one thread that lives as long as this process: Linux sends the death
/// signal when the *thread* that started the child ends, and test threads end early. Elsewhere
/// only `Drop` ends the child.
pub fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in inbox {
                // A group of its own: Ctrl-C reaches this process only, which ends its children.
                command.process_group(0);
                die_with_parent(&mut command);
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, outcome) = mpsc::channel();
    let lost = || io::Error::other("the spawner thread is gone");
    spawner.send((command, answer)).map_err(|_| lost())?;
    outcome.recv().map_err(|_| lost())?
}

#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: between fork and exec only prctl and getppid are called, both async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died before the request was made.
            if libc::getppid().cast_unsigned() != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_: &mut Command) {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Interrupt,
    Terminate,
    Kill,
    Stop,
    Continue,
}

impl Signal {
    fn number(self) -> libc::c_int {
        match self {
            Self::Interrupt => libc::SIGINT,
            Self::Terminate => libc::SIGTERM,
            Self::Kill => libc::SIGKILL,
            Self::Stop => libc::SIGSTOP,
            Self::Continue => libc::SIGCONT,
        }
    }
}

/// A running program whose output goes to a file; killed when dropped.
pub struct Process {
    child: Mutex<Child>,
    pid: u32,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints is appended to `log`.
    pub fn start(mut command: Command, log: impl Into<PathBuf>) -> io::Result<Self> {
        let log = log.into();
        let out = File::options().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let child = spawn(command)?;
        Ok(Self { pid: child.id(), child: Mutex::new(child), log })
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Everything that was printed so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until the log contains `text`; false after `patience` or when the program ended.
    pub fn logs(&self, text: &str, patience: Duration) -> bool {
        wait::until(patience, || {
            let ended = !self.running();
            let found = self.log().contains(text);
            (found || ended).then_some(found)
        })
        .unwrap_or(false)
    }

    pub fn running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// How it ended, if it did.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.child().try_wait().ok().flatten()
    }

    /// Waits for the end of the program, at most `patience`.
    pub fn wait(&self, patience: Duration) -> Option<ExitStatus> {
        wait::until(patience, || self.exit_status())
    }

    pub fn signal(&self, signal: Signal) {
        // Under the lock and not yet reaped, so that the pid cannot be another program's.
        let mut child = self.child();
        if matches!(child.try_wait(), Ok(None)) {
            // SAFETY: kill takes plain numbers.
            unsafe { libc::kill(self.pid.cast_signed(), signal.number()) };
        }
    }

    /// Ends it, and what it started itself, as `kill -9` does.
    pub fn kill(&self) {
        let mut child = self.child();
        if matches!(child.try_wait(), Ok(None)) {
            // SAFETY: kill takes plain numbers; a negative one is the group that `spawn` made.
            unsafe { libc::kill(-self.pid.cast_signed(), libc::SIGKILL) };
        }
        let _ = child.wait();
    }

    /// Asks it to end; kills it when it does not within `patience`. `None`: it had to be killed.
    pub fn stop(&self, patience: Duration) -> Option<ExitStatus> {
        self.signal(Signal::Terminate);
        let status = self.wait(patience);
        self.kill();
        status
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
