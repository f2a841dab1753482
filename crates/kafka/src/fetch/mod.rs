//! Fetch: what is wanted of one broker, asked for by differences (KIP-227), and answers walked without a copy.
//! Pure. [`FetchSession`] is both; [`crate::Fetcher`] gives it a socket.

mod answer;
mod session;

use std::time::Duration;

use bytes::Bytes;

use crate::code::Code;
use crate::topic::{BrokerId, Endpoint, Leader, PartitionKey};

pub use answer::walk;
pub(crate) use answer::{duration_of, read_endpoints, read_leader};
pub use session::{EncodedFetch, FetchSession};

/// Where to read a partition on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub offset: i64,
    /// As metadata says, so that a deposed leader is told from the current one (KIP-320); -1: do not compare.
    pub current_leader_epoch: i32,
    /// The leader epoch of the last record copied, so that the broker tells of a truncation; -1: none was.
    pub last_fetched_epoch: i32,
    /// The first batch comes whole however large it is.
    pub max_bytes: i32,
}

/// Which records a fetch may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset, with the list of aborted transactions.
    ReadCommitted,
}

impl Isolation {
    pub(crate) fn wire(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// The bounds of one fetch as a whole.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// How long the broker may wait for `min_bytes`.
    pub max_wait: Duration,
    pub min_bytes: i32,
    pub max_bytes: i32,
    pub isolation: Isolation,
}

/// A broker's answer to a fetch. The records are slices of one buffer: as long as one of them lives, all of it does.
#[derive(Debug, Default)]
pub struct FetchAnswer {
    pub throttle: Duration,
    /// Of the request as a whole. With one there are no partitions, and the next request is a full one: after
    /// [`Code::FETCH_SESSION_ID_NOT_FOUND`] and its like fetch again at once, after others wait.
    pub code: Code,
    /// Those that have something to tell, in the broker's order.
    pub partitions: Vec<FetchedPartition>,
    /// Where leaders named in the partitions listen (KIP-951).
    pub endpoints: Vec<(BrokerId, Endpoint)>,
}

/// What a broker tells of one partition.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchedPartition {
    pub key: PartitionKey,
    pub code: Code,
    /// -1: unknown. So are the next two.
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    /// (producer id, first offset) of each aborted transaction that reaches into `records`; unordered. Only with
    /// [`Isolation::ReadCommitted`].
    pub aborted: Vec<(i64, i64)>,
    /// The log was truncated below what was fetched: the largest epoch up to the one given, and where it ends.
    pub diverging: Option<EpochEnd>,
    /// Together with a code that says that this broker leads the partition no longer.
    pub current_leader: Option<Leader>,
    /// Where to read instead (KIP-392).
    pub preferred_read_replica: Option<BrokerId>,
    /// Whole batches, the last one possibly cut short.
    pub records: Bytes,
}

/// A leader epoch and the offset after its last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    pub epoch: i32,
    pub end_offset: i64,
}
