//! Positions: what each lane has reached, kept in the worker's `offset.storage.topic` in Connect's own JSON.
//!
//! [`format`] has the bytes, [`known`] which record counts, `store` reads the topic and follows it,
//! `writer` writes to it.

pub mod format;
pub mod known;

mod store;
mod writer;

pub use format::{Exact, Stored};
pub use store::Positions;
