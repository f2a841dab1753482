//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const AFTER_HELP: &str = "\
Environment:
  RUST_LOG  What is logged, e.g. info (the default), debug, or info,copyist_agent=debug

Exit status:
  0 stopped cleanly, 1 failed while running, 2 a setting or an argument is wrong,
  130 or 143 aborted by a second SIGINT or SIGTERM";

/// Exact copies of Kafka topics between clusters, behind Kafka Connect's REST API.
#[derive(Debug, Parser)]
#[command(name = "copyist", version, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run all roles in one process, with a store of its own
    Standalone(StandaloneArgs),
}

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct StandaloneArgs {
    /// Kafka Connect's worker file (connect-distributed.properties or connect-standalone.properties)
    #[arg(value_name = "WORKER.properties")]
    pub worker_file: PathBuf,

    /// Connectors to create, or to update, at the start: properties with a name, or JSON, either flat with a
    /// name or {"name", "config", "initial_state"}
    #[arg(value_name = "CONNECTOR.json|CONNECTOR.properties")]
    pub connector_files: Vec<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
