//! Where the files of one run are, and when they go.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, io, process};

const PREFIX: &str = "cfshare-testbed-";
/// A folder this young may not be locked yet by who makes it.
const GRACE: Duration = Duration::from_secs(60);

/// A temporary folder, removed when dropped. One whose owner was killed is removed by the next run:
/// its lock is free.
pub struct Folder {
    path: PathBuf,
    lock: Option<File>,
}

impl Folder {
    pub fn temporary() -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let base = env::temp_dir();
        sweep(&base);
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = base.join(format!("{PREFIX}{}-{count}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => {
                    let lock = File::create(path.join("lock"))?;
                    lock.lock()?;
                    return Ok(Self { path, lock: Some(lock) });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A folder that stays.
    pub fn kept(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self { path: path.canonicalize()?, lock: None })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.lock.is_some() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && abandoned(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn abandoned(folder: &Path) -> bool {
    let lock = folder.join("lock");
    let old = fs::metadata(&lock)
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|made| made.elapsed().is_ok_and(|age| age > GRACE));
    old && File::open(&lock).is_ok_and(|file| file.try_lock().is_ok())
}
