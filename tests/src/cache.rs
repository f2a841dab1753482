//! Directories that are made once and then only read: whole or not there, whatever is killed when, whoever else makes
//! the same at the same time.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::wait::wait_until;

/// The other process fetches or compiles meanwhile.
const LOCK_LIMIT: Duration = Duration::from_secs(900);
/// Lists every file with its size; written last.
const CONTENTS: &str = "CONTENTS";

/// `${XDG_CACHE_HOME:-~/.cache}/copyist`.
pub fn cache_dir() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let base = base.ok_or_else(|| Error::Invalid("neither XDG_CACHE_HOME nor HOME is set".to_owned()))?;
    Ok(base.join("copyist"))
}

/// Makes `dir` what `fill` puts into the empty directory that it is given, unless it is there, complete.
pub(crate) fn make_once(
    dir: &Path,
    progress: Progress,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    if is_complete(dir) {
        return Ok(());
    }
    let parent = dir.parent().unwrap_or(dir);
    fs::create_dir_all(parent).map_err(Error::io(format_args!("create {}", parent.display())))?;
    let _lock = lock(&beside(dir, "lock"), progress)?;
    if is_complete(dir) {
        return Ok(());
    }
    let partial = beside(dir, "partial");
    // We hold the lock: whatever lies here is of a run that was killed, or was damaged later.
    remove(&partial)?;
    remove(dir)?;
    fs::create_dir(&partial).map_err(Error::io(format_args!("create {}", partial.display())))?;
    fill(&partial)?;
    let written = contents(&partial).and_then(|text| fs::write(partial.join(CONTENTS), text));
    written.map_err(Error::io(format_args!("list {}", partial.display())))?;
    fs::rename(&partial, dir).map_err(Error::io(format_args!("rename to {}", dir.display())))
}

/// The lock goes when the file is closed, also by `kill -9`.
fn lock(path: &Path, progress: Progress) -> Result<File> {
    let file = File::options().create(true).write(true).truncate(false).open(path);
    let file = file.map_err(Error::io(format_args!("open {}", path.display())))?;
    let what = format!("another process that prepares the same ({})", path.display());
    wait_until(&what, LOCK_LIMIT, progress, || match file.try_lock() {
        Ok(()) => Ok(Some(())),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(Error::io(format_args!("lock {}", path.display()))(source)),
    })?;
    Ok(file)
}

fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

pub(crate) fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format_args!("remove {}", dir.display()))(source))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn is_complete(dir: &Path) -> bool {
    let listed = fs::read_to_string(dir.join(CONTENTS));
    match (listed, contents(dir)) {
        (Ok(listed), Ok(found)) => listed == found,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
    }
}

/// One line per file, sorted: size and name.
fn contents(dir: &Path) -> io::Result<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != CONTENTS {
            lines.push(format!("{} {}\n", entry.metadata()?.len(), name.display()));
        }
    }
    lines.sort();
    Ok(lines.concat())
}

/// FNV-1a: names a directory by what it is made from.
pub(crate) fn fingerprint(parts: &[&str]) -> String {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(dir: &Path) -> Result<()> {
        fs::write(dir.join("a"), "whole").map_err(Error::io("write"))
    }

    #[test]
    fn what_a_killed_run_left_is_made_again() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = temp.path().join("made");
        fs::create_dir(beside(&dir, "partial")).expect("as if killed");
        fs::write(beside(&dir, "partial").join("half"), "").expect("as if killed");
        make_once(&dir, Progress::Silent, fill).expect("made");
        assert_eq!(contents(&dir).expect("read"), "5 a\n");
        make_once(&dir, Progress::Silent, |_| Err(Error::Interrupted)).expect("not made twice");
    }

    #[test]
    fn a_failed_or_damaged_one_is_made_again() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = temp.path().join("made");
        let failed = make_once(&dir, Progress::Silent, |partial| fill(partial).and(Err(Error::Interrupted)));
        assert!(failed.is_err() && !dir.exists(), "nothing half-made under the final name");
        make_once(&dir, Progress::Silent, fill).expect("made");
        fs::write(dir.join("a"), "cut").expect("damage it");
        make_once(&dir, Progress::Silent, fill).expect("made again");
        assert_eq!(fs::read_to_string(dir.join("a")).expect("read"), "whole");
    }

    #[test]
    fn two_at_once_make_it_once() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = temp.path().join("made");
        let made = std::sync::atomic::AtomicU32::new(0);
        let make = || {
            make_once(&dir, Progress::Silent, |partial| {
                made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                pause_and_fill(partial)
            })
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
            for thread in threads {
                thread.join().expect("no panic").expect("made");
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    fn pause_and_fill(partial: &Path) -> Result<()> {
        crate::wait::pause();
        fill(partial)
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(fingerprint(&["ab", "c"]), fingerprint(&["a", "bc"]));
        assert_eq!(fingerprint(&[]), "cbf29ce484222325", "FNV-1a's offset basis");
    }
}
