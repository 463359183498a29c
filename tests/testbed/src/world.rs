//! How the control plane is built where the machine has none: one Go program that is all five.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::error::{Context, Error};
use crate::process::Process;
use crate::wait;

const SOURCES: [(&str, &str); 3] = [
    ("go.mod", include_str!("../world/go.mod")),
    ("go.sum", include_str!("../world/go.sum")),
    ("main.go", include_str!("../world/main.go")),
];
const NAMES: [&str; 5] = ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "helm"];
const LINK: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36";
/// What `go.mod` asks for.
const GO: (u32, u32) = (1, 26);
const REPORT: Duration = Duration::from_secs(5);

/// The folder that has the programs under their own names; built now if it is not there yet.
/// `missing` is what it is needed for.
pub fn folder(missing: &[&str]) -> Result<PathBuf, Error> {
    let cache = cache()?;
    let folder = cache.join(format!("kubernetes-{:016x}", fingerprint()));
    if folder.is_dir() {
        return Ok(folder);
    }
    require_go(missing)?;
    fs::create_dir_all(&cache).context(|| format!("cannot make {}", cache.display()))?;
    let lock = File::create(cache.join("lock")).context(|| format!("cannot lock {}", cache.display()))?;
    let start = Instant::now();
    while wait::until(REPORT, || lock.try_lock().ok()).is_none() {
        if wait::interrupted() {
            return Err(Error::interrupted());
        }
        eprintln!("testbed: waiting for another build in {}, {}", cache.display(), minutes(start));
    }
    if !folder.is_dir() {
        build(&cache, &folder)?;
    }
    Ok(folder)
}

fn cache() -> Result<PathBuf, Error> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("CFSHARE_TESTBED_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("cfshare")))
        .or_else(|| set("HOME").map(|folder| folder.join(".cache/cfshare")))
        .ok_or_else(|| Error::new("no cache folder: set CFSHARE_TESTBED_CACHE or HOME"))
}

/// FNV-1a: the same on every machine and with every compiler.
fn fingerprint() -> u64 {
    SOURCES
        .iter()
        .flat_map(|(name, text)| [name.as_bytes(), text.as_bytes()])
        .chain([LINK.as_bytes()])
        .flatten()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn require_go(missing: &[&str]) -> Result<(), Error> {
    let output = Command::new("go").arg("version").env("GOTOOLCHAIN", "local").output();
    let version = output.ok().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let there = match version.as_deref().map(|text| (text, minor(text))) {
        Some((_, Some(version))) if version >= GO => return Ok(()),
        // This one fetches the toolchain that go.mod asks for, if it may.
        Some((_, Some(version))) if version >= (1, 21) && toolchain_is_fetched() => return Ok(()),
        Some((text, _)) if !text.is_empty() => format!("this Go is too old ({})", text.trim()),
        Some(_) | None => "there is no Go to build it with".to_owned(),
    };
    let (major, minor) = GO;
    Err(Error::new(format!(
        "a control plane is needed ({} not found) and {there}: install Go {major}.{minor} or newer, or set \
         KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver, kube-controller-manager, kubectl and helm 4 \
         (or put them in PATH)",
        missing.join(", "),
    )))
}

/// The 1 and 26 of `go version go1.26.8 linux/amd64`.
fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split_whitespace().nth(2)?.strip_prefix("go")?.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    Some((major, minor))
}

fn toolchain_is_fetched() -> bool {
    let output = Command::new("go").args(["env", "GOTOOLCHAIN"]).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim().starts_with("auto"))
}

fn build(cache: &Path, folder: &Path) -> Result<(), Error> {
    let source = cache.join("source");
    let staging = cache.join("staging");
    for path in [&source, &staging] {
        let _ = fs::remove_dir_all(path);
        fs::create_dir(path).context(|| format!("cannot make {}", path.display()))?;
    }
    for (name, text) in SOURCES {
        fs::write(source.join(name), text).context(|| format!("cannot write {name}"))?;
    }

    let start = Instant::now();
    eprintln!(
        "testbed: building Kubernetes 1.36.3, etcd 3.6.8 and helm 4.3.1 from Go modules, once, in {}",
        cache.display()
    );
    let mut list = go(&source);
    list.args(["list", "-deps", "."]);
    let total = run(list, &source, start, |modules, _| format!("{modules} modules downloaded"))?;
    let mut build = go(&source);
    build.args(["build", "-v", "-trimpath", "-ldflags", LINK, "-o"]).arg(staging.join("world")).arg(".");
    run(build, &source, start, |_, packages| format!("{packages} of {total} packages compiled"))?;

    for name in NAMES {
        symlink("world", staging.join(name)).context(|| format!("cannot link {name}"))?;
    }
    fs::rename(&staging, folder).context(|| format!("cannot make {}", folder.display()))?;
    let _ = fs::remove_dir_all(&source);
    eprintln!("testbed: built in {}", minutes(start));
    Ok(())
}

fn go(source: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(source).env("CGO_ENABLED", "0").env("GOWORK", "off");
    command.env("GOFLAGS", "-mod=readonly -buildvcs=false");
    command
}

/// Runs `command` to its end, with a line of progress now and then. Returns how many packages it
/// named.
fn run(
    command: Command,
    source: &Path,
    start: Instant,
    progress: impl Fn(usize, usize) -> String,
) -> Result<usize, Error> {
    let log = source.join("log");
    let _ = fs::remove_file(&log);
    let go = Process::start(command, log).context(|| "cannot run go".to_owned())?;
    loop {
        let status = go.wait(REPORT);
        let log = go.log();
        let modules = log.lines().filter(|line| line.starts_with("go: downloading ")).count();
        let packages = log.lines().filter(|line| !line.starts_with("go: ")).count();
        match status {
            Some(status) if status.success() => return Ok(packages),
            Some(_) => {
                let lines: Vec<&str> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(20)..].join("\n");
                return Err(Error::new(format!("the build of Kubernetes failed:\n{end}")));
            }
            None if wait::interrupted() => return Err(Error::interrupted()),
            None => eprintln!("testbed: {}, {}", progress(modules, packages), minutes(start)),
        }
    }
}

fn minutes(start: Instant) -> String {
    let seconds = start.elapsed().as_secs();
    format!("{} min {:02} s", seconds / 60, seconds % 60)
}
