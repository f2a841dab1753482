//! The part of `deploy/fleet` that runs once everything is built: two Kafka clusters, etcd, and a fleet that copies
//! between them until Ctrl-C, telling of each change. Commands that make it change are printed.

mod changes;
mod directions;
#[path = "../quickstart/signals.rs"]
mod signals;
mod stage;

use std::process::ExitCode;

use copyist_tests::{Error, Progress, Result, interrupted};

use changes::Changes;
use stage::Stage;

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        Progress::Terminal.say("this program takes no arguments; deploy/fleet runs it");
        return ExitCode::from(2);
    }
    if let Err(message) = signals::watch() {
        Progress::Terminal.say(message);
        return ExitCode::FAILURE;
    }
    match run() {
        // What an interrupt ended may have failed in any way.
        _ if interrupted() => signals::exit_code(),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Progress::Terminal.say(format_args!("\nFailed: {}", error.chain()));
            ExitCode::FAILURE
        }
    }
}

/// Until an interrupt.
fn run() -> Result<()> {
    let stage = Stage::set_up()?;
    Progress::Terminal.say(directions::text(&stage));
    let mut changes = Changes::default();
    while !interrupted() {
        for line in changes.look(&stage) {
            Progress::Terminal.say(line);
        }
        stage::pause();
    }
    Err(Error::Interrupted)
}
