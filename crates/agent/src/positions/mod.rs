//! Positions: what each lane has reached, kept in the worker's `offset.storage.topic` in Connect's own JSON.
//!
//! [`format`] has the bytes, [`known`] which record counts; `store` reads and writes the topic, and answers from what is
//! known.

pub mod format;
pub mod known;

mod store;

pub use format::{Exact, Stored};
pub use known::Remembered;
pub use store::Positions;
