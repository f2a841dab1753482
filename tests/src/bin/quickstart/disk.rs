//! What lies on the disk.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a directory takes, in bytes; what cannot be read counts nothing, and a file with two names counts once.
pub fn used_bytes(dir: &Path) -> u64 {
    add_up(dir, &mut BTreeSet::new())
}

fn add_up(dir: &Path, seen: &mut BTreeSet<u64>) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => add_up(&entry.path(), seen),
        // A block is 512 bytes, see stat(2).
        Ok(metadata) if seen.insert(metadata.ino()) => metadata.blocks() * 512,
        Ok(_) | Err(_) => 0,
    });
    sizes.sum()
}

/// 1234567 as "1.2 MB".
pub fn readable(bytes: u64) -> String {
    let (unit, name) = if bytes < 1_000_000_000 { (1_000_000, "MB") } else { (1_000_000_000, "GB") };
    format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit)
}

/// The script's next start removes what is left.
pub fn remove(dir: &Path) {
    let _left = fs::remove_dir_all(dir);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_summed_over_directories() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(dir.path().join("sub")).expect("made");
        for name in ["a", "sub/b"] {
            fs::write(dir.path().join(name), vec![1; 100_000]).expect("written");
        }
        fs::hard_link(dir.path().join("a"), dir.path().join("sub/a")).expect("linked");
        let used = used_bytes(dir.path());
        assert!((200_000..300_000).contains(&used), "{used}");
    }

    #[test]
    fn sizes_are_readable() {
        let cases =
            [(0, "0.0 MB"), (1_250_000, "1.2 MB"), (999_999_999, "999.9 MB"), (1_900_000_000, "1.9 GB")];
        for (bytes, text) in cases {
            assert_eq!(readable(bytes), text);
        }
    }
}
