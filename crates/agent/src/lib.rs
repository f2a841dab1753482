//! An agent: copies what the coordinator assigns to it.
//!
//! Absent on purpose: etcd, Connect's keys (it gets typed specs), any say in what should run. The one thing it
//! decides is when it may write.
//!
//! Start with [`core`] (what should run, and with what right), then [`job`] (what a running part is told and
//! tells), then [`engine`] (how a task copies) and [`survey`] (how a connector learns what there is).

pub mod client;
mod compacted;
pub mod core;
pub mod driver;
pub mod engine;
pub mod error;
pub mod job;
pub mod link;
pub mod metrics;
pub mod positions;
mod queries;
pub mod storage_topics;
pub mod survey;
pub mod worker;

pub use driver::Agent;
pub use error::Error;
