//! What the tests of equality and of losses share: the exact comparison of a destination with what it must hold, the
//! batches of both logs as they lie on disk, records that no client of Kafka's would write, and how batches were planned.
//!
//! Start with [`content`].

pub mod content;
pub mod odd;
pub mod plans;
pub mod segments;

pub use content::{Times, wait_exactly};
pub use plans::Plans;
pub use segments::StoredBatch;
