//! Positions: what each lane has reached, kept in the worker's `offset.storage.topic` in Connect's own JSON.
//!
//! [`format`] has the bytes, [`known`] which record counts; `reading` reads the topic and follows it, `writing`
//! writes to it, `store` answers from what is known.

pub mod format;
pub mod known;

mod reading;
mod store;
mod writing;

pub use format::{Exact, Stored};
pub use store::Positions;
