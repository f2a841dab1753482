//! Where the coordinator remembers: keys and values as `copyist.store.v1` describes them, in an embedded file.

pub mod embedded;
pub mod keys;

use copyist_model::StoreRevision;

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Committed(StoreRevision),
    /// A compared key was not as expected; nothing was written.
    Refused,
}
