//! How a run ends, in words.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use copyist_tests::{Comparison, Error, LogTail, Progress};

use crate::account::Account;
use crate::disk;
use crate::options::Options;

/// Called wrongly, or on a system that gives it not even a thread.
pub fn usage(message: &str) -> ExitCode {
    let _closed = writeln!(std::io::stderr().lock(), "{message}");
    ExitCode::from(2)
}

pub fn success(comparison: &Comparison) {
    Progress::Terminal.say(format_args!(
        "{} of {} records equal in {} partitions",
        comparison.equal, comparison.left_records, comparison.left_partitions
    ));
}

/// Which step, why, the last lines of the log, where the logs are. The logs stay, the data goes.
pub fn failure(options: &Options, account: &Account, error: &Error) {
    let mut text = format!("\nFailed at {}: {}\n", account.current(), error.chain());
    if !has_tail(error)
        && let Some(log) = account.log()
    {
        let tail = LogTail::read(log);
        text += &format!("The last lines of {}:\n", log.display());
        text += &tail.lines.iter().map(|line| format!("    {line}\n")).collect::<String>();
    }
    text += &format!("All logs are in {}\n", options.dir.display());
    let _closed = std::io::stderr().lock().write_all(text.as_bytes());
    // The script keeps the newest of the directories with this mark.
    let _unmarked = fs::write(options.dir.join("failed"), "");
    for cluster in ["source", "destination"] {
        remove_data(&options.dir.join(cluster));
    }
}

fn remove_data(cluster: &Path) {
    let Ok(nodes) = fs::read_dir(cluster) else { return };
    nodes.flatten().for_each(|node| disk::remove(&node.path().join("data")));
}

/// Whether the error shows the end of a log itself.
fn has_tail(error: &Error) -> bool {
    match error {
        Error::Exited { tail, .. } | Error::Timeout { tail, .. } => tail.path.is_some(),
        Error::ToolMissing { .. }
        | Error::Io { .. }
        | Error::Kafka { .. }
        | Error::Rest { .. }
        | Error::Invalid(_)
        | Error::Interrupted => false,
    }
}
