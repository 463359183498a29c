//! One cluster and one simulator for all parts, and operators of the real program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cfshare_faults::Kube;
use cfshare_simulator::{Config, Simulator};
use cfshare_testbed::{Cluster, Options, Process, build_released_operator};

const PATIENCE: Duration = Duration::from_secs(60);

pub struct World {
    // Dropped before the cluster that its operators work on.
    pub simulator: Simulator,
    pub kube: Kube,
    binary: PathBuf,
    pub cluster: Cluster,
}

/// A running operator, and what the kernel says of it.
pub struct Operator {
    process: Process,
}

impl World {
    pub fn start(operator: Option<&Path>) -> Result<World, String> {
        let binary = match operator {
            Some(path) => path.to_owned(),
            None => {
                eprintln!("building the operator as it is released; this takes some minutes the first time");
                build_released_operator().map_err(|e| e.to_string())?
            }
        };
        eprintln!("starting a cluster and the simulator");
        let cluster = Cluster::start(&Options::default()).map_err(|e| e.to_string())?;
        let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crds");
        cluster.run(&["apply", "--server-side", "-f", crds], None).map_err(|e| e.to_string())?;
        let established = ["wait", "--for=condition=Established", "--timeout=60s", "-f", crds];
        cluster.run(&established, None).map_err(|e| e.to_string())?;
        let simulator = Simulator::start(Config::default()).map_err(|e| e.to_string())?;
        // What Cloudflare takes for bringing a share to its recipients is not the operator's time.
        simulator.delays(None, |delays| delays.associate_ms = Some(1000));
        // The same program to the end, whatever is built meanwhile.
        let copy = cluster.folder().join("cfshare");
        fs::copy(&binary, &copy).map_err(|e| format!("{}: {e}", binary.display()))?;
        Ok(World { simulator, kube: Kube::new(&cluster)?, binary: copy, cluster })
    }

    /// Waits until the API server serves the three kinds; just after the CRDs came it asks for a moment.
    pub async fn established(&self) -> Result<(), String> {
        let start = Instant::now();
        for plural in ["shares", "sharerecipients", "shareresources"] {
            while let Err(problem) = self.kube.list("default", plural).await {
                if start.elapsed() > PATIENCE {
                    return Err(problem);
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        Ok(())
    }

    /// An operator of one namespace, with these flags beside the defaults.
    pub fn operator(&self, namespace: &str, flags: &[(&str, &str)]) -> Result<Operator, String> {
        let mut command = Command::new(&self.binary);
        command.env("KUBECONFIG", self.cluster.kubeconfig()).arg("run");
        command.args(["--cloudflare-url", self.simulator.base_url(), "--namespace", namespace]);
        command.args(["--admin-listen", "127.0.0.1:0"]);
        for (flag, value) in flags {
            command.args([flag, value]);
        }
        let log = self.cluster.folder().join(format!("{namespace}.log"));
        let process = Process::start(command, log).map_err(|e| format!("the operator does not start: {e}"))?;
        Ok(Operator { process })
    }
}

/// As many calls as are wanted at once.
pub const UNLIMITED: [(&str, &str); 3] = [("--api-rate", "5000"), ("--api-burst", "5000"), ("--api-concurrency", "32")];

impl Operator {
    /// Resident memory now, in MB.
    pub fn memory(&self) -> f64 {
        self.status("VmRSS:")
    }

    /// The most that was resident since the last `forget_peak`, in MB.
    pub fn peak(&self) -> f64 {
        self.status("VmHWM:")
    }

    pub fn forget_peak(&self) {
        let _ = fs::write(format!("/proc/{}/clear_refs", self.process.pid()), "5");
    }

    fn status(&self, field: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(f64::NAN);
        kilobytes * 1024.0 / 1e6
    }

    /// Time on a core so far, in seconds.
    pub fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.pid())).unwrap_or_default();
        // The name in parentheses may contain blanks; utime and stime are the fields 14 and 15.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks: f64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<f64>().ok()).sum();
        // SAFETY: it reads a constant of the system.
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
        ticks / per_second
    }

    /// Ends it as a rollout does.
    pub fn stop(self) -> Result<(), String> {
        match self.process.stop(PATIENCE) {
            Some(status) if status.success() => Ok(()),
            other => Err(format!("the operator ended badly ({other:?}): {}", self.process.log_path().display())),
        }
    }
}
