//! The coordinator: decides which agent runs what, and remembers.
//!
//! Absent on purpose: Kafka (an unreachable cluster can never block a decision; only agents go there), the bytes
//! that are copied, and their positions.
//!
//! Start with [`core`] (the decisions, pure), then `term` (performs them: store first, tell second) and [`driver`] (one
//! term after the other), then [`store`] (who leads, and what is kept), then [`grpc`] (how agents and users reach it).

mod alteration;
mod clock;
pub mod core;
pub mod driver;
pub mod error;
pub mod failovers;
pub mod grpc;
pub mod handle;
pub mod journal;
pub mod metrics;
mod queries;
mod reports;
mod scribe;
pub mod store;
mod term;
mod traces;

pub use driver::{Coordinator, Settings};
pub use error::Error;
pub use handle::Handle;
