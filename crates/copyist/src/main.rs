//! `copyist`; everything is in the library.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    copyist::process::run(copyist::cli::Cli::parse())
}
