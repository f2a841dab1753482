//! The binary: command line, settings, telemetry, listeners, and the roles wired together.
//!
//! Absent on purpose: any rule about what is copied, where, or by whom. This crate alone reads the environment,
//! files that people write, and signals.
//!
//! Start with [`process`] (a run from first to last), then [`settings`] (the worker file: `settings::table` has its
//! keys), then [`roles`] (what a process of each role runs).

pub mod cli;
pub mod connector_file;
pub mod error;
mod grpc_server;
pub mod listen;
pub mod metrics;
mod port_holder;
pub mod process;
pub mod roles;
pub mod settings;
pub mod shutdown;
pub mod telemetry;

pub use error::Error;
