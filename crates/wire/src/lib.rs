//! The bytes of a record batch (message format v2): look at one, patch its header, walk many, decide what to do with
//! each, rewrite those that cannot stay as they are.
//!
//! Pure: no I/O, no clock, no async. What the copy path does to every batch (walk, [`plan`](plan::plan()),
//! [`patch`](patch::patch())) allocates nothing and never looks behind the 61-byte header; only the
//! [`Rewriter`] does. Nothing here panics on hostile bytes.
//!
//! Absent on purpose: message formats v0 and v1 ([`Error::OldMagic`]: the compatibility engine copies those), requests
//! and answers (`copyist-kafka`), which batch is copied when (`copyist-lane`).
//!
//! Start with [`batch`], then [`walk`], [`plan`](mod@plan) and [`patch`](mod@patch); [`rewrite`] is the other road. [`mod@build`] makes
//! batches of our own.

pub mod batch;
pub mod build;
pub mod codec;
pub mod committed;
pub mod crc;
mod error;
pub mod patch;
pub mod plan;
pub mod record;
pub mod rewrite;
pub mod sequence;
mod varint;
pub mod walk;

pub use batch::{Batch, HEADER_BYTES};
pub use build::{NewHeader, NewRecord, build};
pub use codec::Codec;
pub use committed::{Aborted, Judged};
pub use error::{Error, Fault};
pub use patch::{Stamp, patch};
pub use plan::{Backlog, Plan, Policy, Reason, Reasons, SkipReason, TimestampPolicy, plan};
pub use record::{RecordView, Records};
pub use rewrite::{Finished, Rewriter, Rewritten};
pub use walk::{Found, Walk};
