//! The coordinator: decides which agent runs what, and remembers.
//!
//! Absent on purpose: Kafka (an unreachable cluster can never block a decision; only agents go there), the bytes
//! that are copied, and their positions.
//!
//! Start with [`core`] (the decisions, pure), then [`driver`] (performs them: store first, tell second), then
//! [`grpc`] (how agents and users reach it).

pub mod core;
pub mod driver;
pub mod error;
pub mod grpc;
pub mod handle;
pub mod journal;
pub mod leases;
pub mod metrics;
pub mod store;

pub use driver::{Coordinator, Settings};
pub use error::Error;
pub use handle::Handle;
