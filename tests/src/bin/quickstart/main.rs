//! The part of `deploy/quickstart` that runs once everything is built: two Kafka clusters, Copyist between them, the
//! scenario, and an account of it. The script has made the run's directory, removes old ones, and stops what a kept run
//! left.

mod account;
mod disk;
mod kept;
mod options;
mod report;
mod scenario;
mod signals;

use std::process::ExitCode;

use copyist_tests::interrupted;

use account::Account;
use options::Options;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(message) => return report::usage(&message),
    };
    if let Err(message) = signals::watch() {
        return report::usage(&message);
    }
    let mut account = Account::new();
    let outcome = scenario::run(&options, &mut account);
    match outcome {
        // What an interrupt ended may have failed in any way.
        _ if interrupted() => {
            disk::remove(&options.dir);
            signals::exit_code()
        }
        Ok(comparison) => {
            report::success(&comparison);
            ExitCode::SUCCESS
        }
        Err(error) => {
            report::failure(&options, &account, &error);
            ExitCode::FAILURE
        }
    }
}
