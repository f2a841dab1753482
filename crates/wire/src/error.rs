//! What can be wrong with bytes, by what the caller can do about it.

use crate::codec::Codec;

/// An error of this crate. Offsets named `base_offset` are the source's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A batch of message format v0 or v1: intact, but not for this engine.
    #[error(
        "the batch at byte {at} (base offset {base_offset}) has message format v{magic}, needed is v2; \
         engine=librdkafka can copy it"
    )]
    OldMagic { at: usize, base_offset: i64, magic: i8 },
    /// A header that cannot be true. Fetch again; if it stays, the source's log is damaged.
    #[error("the batch at byte {at} (base offset {base_offset}) is malformed: {fault}")]
    Batch { at: usize, base_offset: i64, fault: Fault },
    /// A record that cannot be true; `at` counts from the start of the (decompressed) records.
    #[error(
        "record {index} of the batch at offset {base_offset} is malformed at byte {at} of its records: {fault}"
    )]
    Record { base_offset: i64, index: i32, at: usize, fault: Fault },
    /// The records do not decompress.
    #[error("the batch at offset {base_offset} does not decompress as {codec}: {why}")]
    Decompress { base_offset: i64, codec: Codec, why: String },
    /// The records become larger than they may. Raise the limit, or look who wrote that.
    #[error("the batch at offset {base_offset} ({codec}) decompresses to more than {limit_bytes} bytes")]
    Bomb { base_offset: i64, codec: Codec, limit_bytes: usize },
    /// A codec refused to compress, which it never does on a sane machine.
    #[error("records cannot be compressed as {codec}: {why}")]
    Compress { codec: Codec, why: String },
    /// One record that no batch the destination accepts can hold. Raise the destination's `max.message.bytes`.
    #[error(
        "the record at offset {offset} makes a batch of {size_bytes} bytes, and the destination takes at most \
         {limit_bytes} (max.message.bytes)"
    )]
    RecordTooLarge { offset: i64, size_bytes: usize, limit_bytes: usize },
}

/// What is wrong, and what would be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("its length field says {0}, at least 49 would be right")]
    Length(i32),
    #[error("its magic byte is {0}, 2 would be right")]
    Magic(i8),
    #[error("{given} bytes were given, {needed} would be the whole batch")]
    Size { given: usize, needed: usize },
    #[error("its base offset is negative")]
    BaseOffset,
    #[error("its last offset delta is {0}, 0 or more would be right")]
    LastOffsetDelta(i32),
    #[error("its last offset lies beyond 2^63 - 1")]
    LastOffset,
    #[error("its record count is {0}, 0 or more would be right")]
    Count(i32),
    #[error("its codec is {0}, 0 to 4 would be right")]
    Codec(i16),
    #[error("the batch before it ended at offset {0}, a higher base offset would be right")]
    NotRising(i64),
    #[error("a number does not end within its {0} bytes")]
    Varint(usize),
    #[error("the bytes end within a number")]
    CutVarint,
    #[error("a length says {given}, but {left} bytes are left")]
    RecordLength { given: i64, left: usize },
    #[error("{0} bytes follow the last field")]
    Leftover(usize),
    #[error("the header count is {given}, but {left} bytes are left")]
    HeaderCount { given: i64, left: usize },
    #[error("the records end before the count in the batch's header")]
    Missing,
    #[error("its key is no control record's: 4 bytes or more, version and type, would be right")]
    ControlKey,
    #[error("its CRC is not that of its bytes")]
    Crc,
}
