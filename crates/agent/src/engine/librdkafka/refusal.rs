//! What an error means for a lane: of a delivery, and of the source. Pure.
//!
//! Librdkafka retries by itself whatever may pass; what it hands out is final for the record. A refusal is that of
//! a whole batch, so it is narrowed down until the record that caused it travels alone.

use rdkafka::error::RDKafkaErrorCode as Code;

/// A batch of this many bytes or more: librdkafka's own default.
pub const BATCH_BYTES: u32 = 1_000_000;

/// What to do about a record that was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send it again through a new producer.
    Again,
    /// Send it again in batches of at most so many bytes: 1 sends each record alone.
    Narrow(u32),
    /// The destination will never take it: a human is needed.
    Stop,
}

/// Refusals by what is in a record.
const OF_A_RECORD: [Code; 5] = [
    Code::InvalidDifferentRecord,
    Code::InvalidMessage,
    Code::InvalidRecord,
    Code::InvalidTimestamp,
    Code::UnsupportedForMessageFormat,
];

/// Refusals by size: of a record, or of a batch of small ones.
const OF_A_SIZE: [Code; 3] =
    [Code::InvalidMessageSize, Code::MessageBatchTooLarge, Code::MessageSizeTooLarge];

/// Refusals whatever the record.
const OF_A_TOPIC: [Code; 7] = [
    Code::ClusterAuthorizationFailed,
    Code::InvalidRequiredAcks,
    Code::InvalidTopic,
    Code::PolicyViolation,
    Code::TopicAuthorizationFailed,
    Code::UnsupportedCompressionType,
    Code::UnsupportedVersion,
];

/// Whether a refusal is of the producer or the topic as such.
#[must_use]
pub fn is_of_a_topic(code: Code) -> bool {
    OF_A_TOPIC.contains(&code)
}

/// Judges a delivery that failed. `record_bytes`: of key and value; `batch_bytes`: the bound that held.
#[must_use]
pub fn judge(code: Code, record_bytes: usize, batch_bytes: u32) -> Verdict {
    // librdkafka closes a batch before a record that would take it over the bound.
    let alone = batch_bytes <= 1 || record_bytes >= batch_bytes as usize;
    if OF_A_TOPIC.contains(&code) {
        Verdict::Stop
    } else if OF_A_RECORD.contains(&code) {
        if batch_bytes <= 1 { Verdict::Stop } else { Verdict::Narrow(1) }
    } else if OF_A_SIZE.contains(&code) {
        if alone { Verdict::Stop } else { Verdict::Narrow((batch_bytes / 8).max(1)) }
    } else {
        Verdict::Again
    }
}

/// What an error that came instead of a lane's next record means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceError {
    /// librdkafka goes on by itself.
    Passing,
    /// The partition is not there (yet); librdkafka goes on looking for it.
    Missing,
    /// The offset to read is not in the log.
    OutOfRange,
    /// A human is needed.
    Stop,
}

/// Judges an error of a lane's source partition.
#[must_use]
pub fn judge_source(code: Code) -> SourceError {
    const MISSING: [Code; 4] =
        [Code::UnknownPartition, Code::UnknownTopic, Code::UnknownTopicId, Code::UnknownTopicOrPartition];
    const OUT_OF_RANGE: [Code; 4] =
        [Code::AutoOffsetReset, Code::LogTruncation, Code::NoOffset, Code::OffsetOutOfRange];
    // Librdkafka skips what it cannot read and goes on: the lane must not.
    const STOP: [Code; 11] = [
        Code::BadCompression,
        Code::BadMessage,
        Code::ClusterAuthorizationFailed,
        Code::InvalidMessage,
        Code::InvalidRecord,
        Code::InvalidTopic,
        Code::MessageSizeTooLarge,
        Code::NotImplemented,
        Code::TopicAuthorizationFailed,
        Code::Underflow,
        Code::UnsupportedCompressionType,
    ];
    if MISSING.contains(&code) {
        SourceError::Missing
    } else if OUT_OF_RANGE.contains(&code) {
        SourceError::OutOfRange
    } else if STOP.contains(&code) {
        SourceError::Stop
    } else {
        SourceError::Passing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_delivery_error_has_its_verdict() {
        let rows = [
            (Code::PurgeQueue, 10, BATCH_BYTES, Verdict::Again),
            (Code::Fatal, 10, BATCH_BYTES, Verdict::Again),
            (Code::OutOfOrderSequenceNumber, 10, BATCH_BYTES, Verdict::Again),
            (Code::UnknownTopicOrPartition, 10, BATCH_BYTES, Verdict::Again),
            (Code::MessageTimedOut, 10, BATCH_BYTES, Verdict::Again),
            (Code::MessageSizeTooLarge, 10, BATCH_BYTES, Verdict::Narrow(125_000)),
            (Code::MessageSizeTooLarge, 2_000_000, BATCH_BYTES, Verdict::Stop),
            (Code::MessageSizeTooLarge, 10, 4, Verdict::Stop),
            (Code::MessageSizeTooLarge, 2, 4, Verdict::Narrow(1)),
            (Code::MessageSizeTooLarge, 0, 1, Verdict::Stop),
            (Code::MessageBatchTooLarge, 10, 125_000, Verdict::Narrow(15_625)),
            (Code::InvalidRecord, 10, BATCH_BYTES, Verdict::Narrow(1)),
            (Code::InvalidRecord, 2_000_000, BATCH_BYTES, Verdict::Narrow(1)),
            (Code::InvalidDifferentRecord, 10, BATCH_BYTES, Verdict::Narrow(1)),
            (Code::InvalidTimestamp, 10, 1, Verdict::Stop),
            (Code::InvalidRecord, 10, 1, Verdict::Stop),
            (Code::TopicAuthorizationFailed, 10, BATCH_BYTES, Verdict::Stop),
            (Code::ClusterAuthorizationFailed, 10, BATCH_BYTES, Verdict::Stop),
            (Code::PolicyViolation, 10, BATCH_BYTES, Verdict::Stop),
        ];
        for (code, record, batch, expected) in rows {
            assert_eq!(judge(code, record, batch), expected, "{code:?} {record} {batch}");
        }
    }

    #[test]
    fn narrowing_ends_with_a_record_alone() {
        let mut batch = BATCH_BYTES;
        for _ in 0..8 {
            match judge(Code::MessageSizeTooLarge, 100, batch) {
                Verdict::Narrow(narrower) => {
                    assert!(narrower < batch);
                    batch = narrower;
                }
                Verdict::Stop => return,
                Verdict::Again => panic!("a size is not tried again as it was"),
            }
        }
        panic!("still narrowing at {batch}");
    }

    #[test]
    fn each_source_error_has_its_meaning() {
        let rows = [
            (Code::BrokerTransportFailure, SourceError::Passing),
            (Code::NotLeaderForPartition, SourceError::Passing),
            (Code::Unknown, SourceError::Passing),
            (Code::UnknownTopicOrPartition, SourceError::Missing),
            (Code::UnknownPartition, SourceError::Missing),
            (Code::AutoOffsetReset, SourceError::OutOfRange),
            (Code::BadMessage, SourceError::Stop),
            (Code::TopicAuthorizationFailed, SourceError::Stop),
            (Code::MessageSizeTooLarge, SourceError::Stop),
        ];
        for (code, expected) in rows {
            assert_eq!(judge_source(code), expected, "{code:?}");
        }
    }
}
