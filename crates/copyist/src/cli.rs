//! The command line.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::settings::Role;

const AFTER_HELP: &str = "\
Environment:
  RUST_LOG  What is logged, e.g. info (the default), debug, or info,copyist_agent=debug
  OTEL_EXPORTER_OTLP_ENDPOINT, and OpenTelemetry's other variables
            Where traces are sent (OTLP over gRPC); without it, nowhere

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
    /// Run a coordinator, an agent and a gateway of a fleet in one process, as a worker of Connect
    ///
    /// Needs etcd.endpoints and group.id. Connectors are created by the REST API.
    Distributed(FleetArgs),
    /// Decide which agent of a fleet copies what; of several coordinators one leads
    ///
    /// Needs etcd.endpoints and group.id, and coordinator.listen with an address that the others reach.
    Coordinator(FleetArgs),
    /// Copy what the coordinators of a fleet say
    ///
    /// Needs coordinator.endpoints, group.id and bootstrap.servers (the destination cluster).
    Agent(FleetArgs),
    /// Serve Kafka Connect's REST API for a fleet
    ///
    /// Needs coordinator.endpoints and group.id.
    Gateway(FleetArgs),
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

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct FleetArgs {
    /// Kafka Connect's worker file (connect-distributed.properties) with the keys of a fleet; all roles may
    /// share one
    #[arg(value_name = "WORKER.properties")]
    pub worker_file: PathBuf,
}

impl Command {
    #[must_use]
    pub fn role(&self) -> Role {
        match self {
            Self::Standalone(_) => Role::Standalone,
            Self::Distributed(_) => Role::Distributed,
            Self::Coordinator(_) => Role::Coordinator,
            Self::Agent(_) => Role::Agent,
            Self::Gateway(_) => Role::Gateway,
        }
    }

    #[must_use]
    pub fn worker_file(&self) -> &Path {
        match self {
            Self::Standalone(args) => &args.worker_file,
            Self::Distributed(args) | Self::Coordinator(args) | Self::Agent(args) | Self::Gateway(args) => {
                &args.worker_file
            }
        }
    }

    #[must_use]
    pub fn connector_files(&self) -> &[PathBuf] {
        match self {
            Self::Standalone(args) => &args.connector_files,
            Self::Distributed(_) | Self::Coordinator(_) | Self::Agent(_) | Self::Gateway(_) => &[],
        }
    }
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
