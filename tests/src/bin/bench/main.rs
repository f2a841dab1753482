//! Copyist's engines beside a bare Java loop and MirrorMaker 2, in one run: throughput, CPU and memory of the copier
//! alone, latency. `tests/bench` builds and starts it.

mod copier;
mod kafka;
mod options;
mod stubs;
mod table;
mod usage;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use copyist_tests::{Error, Result, Scratch};

use options::{OfCopyist, Options, What};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _closed = writeln!(std::io::stderr().lock(), "bench: {}", error.chain());
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    match &options.what {
        What::Stubs(what) => {
            let (logs, _scratch) = logs(&what.copyist)?;
            stubs::run(what, &logs)
        }
        What::Kafka(what) => {
            let (logs, _scratch) = logs(&what.copyist)?;
            kafka::run(what, &logs)
        }
    }
}

fn logs(of: &OfCopyist) -> Result<(PathBuf, Option<Scratch>)> {
    if let Some(dir) = &of.logs {
        std::fs::create_dir_all(dir).map_err(Error::io(format_args!("create {}", dir.display())))?;
        return Ok((dir.clone(), None));
    }
    let scratch = Scratch::new("bench")?;
    Ok((scratch.path().to_owned(), Some(scratch)))
}
