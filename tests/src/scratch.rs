//! Directories for the data and logs of one run, in the cache rather than in `/tmp`, which may be memory.
//!
//! A static of a test binary is never dropped, and a killed run cleans nothing up. So each directory holds a locked
//! file while its owner lives, and the next run removes those that nobody has locked.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cache::{cache_dir, remove};
use crate::error::{Error, Result};

const LOCK: &str = ".lock";
/// The directories of failed tests stay for reading, the newest so many.
const FAILED_KEPT: usize = 10;
const FAILED: &str = "failed-";

static NEXT: AtomicU32 = AtomicU32::new(0);
static SWEEP: Once = Once::new();

/// A directory that is removed when dropped; kept, and its path printed, when that happens in a panic.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: File,
}

impl Scratch {
    /// `label` says for what, in the directory's name.
    pub fn new(label: &str) -> Result<Scratch> {
        Scratch::new_in(&cache_dir()?.join("run"), label)
    }

    fn new_in(root: &Path, label: &str) -> Result<Scratch> {
        let failed = |what: &str| Error::io(format!("{what} below {}", root.display()));
        fs::create_dir_all(root).map_err(failed("create a directory"))?;
        // Nobody sweeps between our creating and our locking.
        let sweeping = open(&root.join("sweep.lock")).map_err(failed("open a lock"))?;
        sweeping.lock().map_err(failed("lock a file"))?;
        SWEEP.call_once(|| sweep(root));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("{label}-{}-{number}", std::process::id()));
        remove(&path)?;
        fs::create_dir(&path).map_err(failed("create a directory"))?;
        let lock = open(&path.join(LOCK)).map_err(failed("open a lock"))?;
        lock.try_lock().map_err(|error| failed("lock a file")(error.into()))?;
        Ok(Scratch { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kept = self.path.with_file_name(format!("{FAILED}{}", name_of(&self.path)));
            if fs::rename(&self.path, &kept).is_ok() {
                let _closed =
                    writeln!(std::io::stderr().lock(), "logs and data are kept in {}", kept.display());
            }
        } else {
            // The next run's sweep gets what is left.
            let _left = remove(&self.path);
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    File::options().create(true).write(true).truncate(false).open(path)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn sweep(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    let dirs = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    let (mut failed, others): (Vec<_>, Vec<_>) = dirs.partition(|path| name_of(path).starts_with(FAILED));
    let nobodys =
        others.into_iter().filter(|path| open(&path.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok()));
    failed.sort_by_key(|path| path.metadata().and_then(|metadata| metadata.modified()).ok());
    let old = failed.len().saturating_sub(FAILED_KEPT);
    for path in nobodys.chain(failed.into_iter().take(old)) {
        // What cannot be removed now is tried again by the next run.
        let _left = remove(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_removes_what_nobody_holds() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let held = Scratch::new_in(root.path(), "held").expect("made");
        let of_a_killed_run = root.path().join("killed-1-0");
        fs::create_dir(&of_a_killed_run).expect("made");
        sweep(root.path());
        assert!(held.path().is_dir() && !of_a_killed_run.exists());
        let path = held.path().to_owned();
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn a_panic_keeps_the_logs_and_sweeps_keep_the_newest() {
        let root = tempfile::tempdir().expect("a temporary directory");
        for number in 0..=FAILED_KEPT {
            fs::create_dir(root.path().join(format!("{FAILED}{number}"))).expect("made");
        }
        let path = root.path().to_owned();
        let thread = std::thread::spawn(move || {
            let _scratch = Scratch::new_in(&path, "test").expect("made");
            panic!("as a failing test does");
        });
        assert!(thread.join().is_err());
        sweep(root.path());
        let entries = fs::read_dir(root.path()).expect("read").flatten().map(|entry| entry.path());
        let kept: Vec<String> = entries.filter(|path| path.is_dir()).map(|path| name_of(&path)).collect();
        assert_eq!(kept.len(), FAILED_KEPT);
        assert!(kept.iter().any(|name| name.starts_with("failed-test-")), "{kept:?}");
    }
}
