//! Produce: one batch per partition by construction, framed around payloads that are never copied. Pure;
//! [`crate::Producer`] gives it a socket.

mod answer;
mod frame;

use std::time::Duration;

use bytes::Bytes;

use crate::code::Code;
use crate::topic::{BrokerId, Endpoint, Leader, PartitionKey};

pub use answer::walk;
pub use frame::{EncodedProduce, ProduceFrame, Sent};

/// The bytes of a batch before its records.
pub const BATCH_HEADER_BYTES: usize = 61;

/// A batch as it goes out.
#[derive(Debug, Clone)]
pub struct OutgoingBatch {
    /// Patched: base offset 0, our producer id and sequence, the CRC right.
    pub header: [u8; BATCH_HEADER_BYTES],
    /// All that follows the header.
    pub payload: Bytes,
}

/// A broker's answer to a Produce request, complete: each partition of the request is in it.
#[derive(Debug, Default)]
pub struct ProduceAnswer {
    pub throttle: Duration,
    pub partitions: Vec<ProducedPartition>,
    /// Where leaders named in the partitions listen (KIP-951).
    pub endpoints: Vec<(BrokerId, Endpoint)>,
}

/// What became of one batch.
#[derive(Debug, Clone, PartialEq)]
pub struct ProducedPartition {
    pub key: PartitionKey,
    pub code: Code,
    /// Of the batch's first record; -1 with an error.
    pub base_offset: i64,
    /// -1 unless the topic is LogAppendTime.
    pub log_append_time: i64,
    /// -1: unknown.
    pub log_start_offset: i64,
    /// Records that made the broker refuse the batch: index within the batch, and why.
    pub record_errors: Vec<(i32, Option<String>)>,
    pub error_message: Option<String>,
    /// Together with a code that says that this broker leads the partition no longer.
    pub current_leader: Option<Leader>,
}
