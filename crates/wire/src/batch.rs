//! A view of one whole batch.
//!
//! The header (Kafka's `DefaultRecordBatch`): baseOffset `[0..8)` length `[8..12)` partitionLeaderEpoch `[12..16)`
//! magic `[16]` crc `[17..21)` attributes `[21..23)` lastOffsetDelta `[23..27)` baseTimestamp `[27..35)` maxTimestamp
//! `[35..43)` producerId `[43..51)` producerEpoch `[51..53)` baseSequence `[53..57)` count `[57..61)`, all big-endian.
//! The CRC-32C covers byte 21 to the end.

use crate::codec::Codec;
use crate::error::{Error, Fault};

/// A batch's header.
pub const HEADER_BYTES: usize = 61;
/// Base offset and length: what the length field does not count.
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// Where what the CRC covers begins.
pub(crate) const CRC_FROM: usize = 21;
/// The only magic byte this crate reads.
pub(crate) const MAGIC: i8 = 2;

const CODEC_BITS: i16 = 0b111;
const LOG_APPEND_TIME_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;
const DELETE_HORIZON_BIT: i16 = 1 << 6;

/// One whole batch whose header was checked: its numbers are in range and its bytes are all there. The CRC was not
/// ([`crate::crc::verify`]), nor were the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch<'a> {
    header: &'a [u8; HEADER_BYTES],
    records: &'a [u8],
    codec: Codec,
}

impl<'a> Batch<'a> {
    /// Views `bytes`, which must be exactly one batch.
    ///
    /// # Errors
    /// [`Error::OldMagic`] or [`Error::Batch`], with `at` 0.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let given = bytes.len();
        match Self::at(bytes, 0)? {
            Some(batch) if batch.total_bytes() == given => Ok(batch),
            found => Err(Error::Batch {
                at: 0,
                base_offset: bytes.first_chunk().map_or(-1, |first| i64::from_be_bytes(*first)),
                fault: Fault::Size {
                    given,
                    needed: found.map_or_else(|| needed_bytes(bytes), |b| b.total_bytes()),
                },
            }),
        }
    }

    /// Views the batch that begins at byte `at` of `buffer`; `None` if it is cut there.
    ///
    /// # Errors
    /// [`Error::OldMagic`] or [`Error::Batch`]. What can be seen of a cut batch is checked too.
    pub fn at(buffer: &'a [u8], at: usize) -> Result<Option<Self>, Error> {
        let bytes = buffer.get(at..).unwrap_or_default();
        let Some(overhead) = bytes.first_chunk::<LOG_OVERHEAD_BYTES>() else { return Ok(None) };
        let base_offset = i64::from_be_bytes(sub(overhead, 0));
        let fail = |fault| Error::Batch { at, base_offset, fault };
        let length = i32::from_be_bytes(sub(overhead, 8));
        if let Some(magic) = bytes.get(16) {
            match i8::from_be_bytes([*magic]) {
                MAGIC => {}
                magic @ (0 | 1) => return Err(Error::OldMagic { at, base_offset, magic }),
                magic => return Err(fail(Fault::Magic(magic))),
            }
        }
        let total = usize::try_from(length)
            .ok()
            .map(|length| length.saturating_add(LOG_OVERHEAD_BYTES))
            .filter(|total| *total >= HEADER_BYTES)
            .ok_or_else(|| fail(Fault::Length(length)))?;
        let whole = bytes.get(..total).and_then(|whole| whole.split_first_chunk());
        let Some((header, records)) = whole else { return Ok(None) };
        let mut batch = Self { header, records, codec: Codec::None };
        batch.codec =
            Codec::from_bits(batch.attributes() & CODEC_BITS).map_err(|bits| fail(Fault::Codec(bits)))?;
        batch.checked().map(Some).map_err(fail)
    }

    fn checked(self) -> Result<Self, Fault> {
        if self.base_offset() < 0 {
            return Err(Fault::BaseOffset);
        }
        if self.last_offset_delta() < 0 {
            return Err(Fault::LastOffsetDelta(self.last_offset_delta()));
        }
        if self.base_offset().checked_add(i64::from(self.last_offset_delta()) + 1).is_none() {
            return Err(Fault::LastOffset);
        }
        if self.count() < 0 {
            return Err(Fault::Count(self.count()));
        }
        Ok(self)
    }

    /// The 61 bytes.
    #[must_use]
    pub fn header(&self) -> &'a [u8; HEADER_BYTES] {
        self.header
    }

    /// The records as they are: bytes 61 to the end, compressed as [`Self::codec`] says.
    #[must_use]
    pub fn records(&self) -> &'a [u8] {
        self.records
    }

    /// Header and records.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    #[must_use]
    pub fn base_offset(&self) -> i64 {
        i64::from_be_bytes(sub(self.header, 0))
    }

    /// The source's; -1 in a batch that no broker has stored.
    #[must_use]
    pub fn leader_epoch(&self) -> i32 {
        i32::from_be_bytes(sub(self.header, 12))
    }

    /// As stored; [`crate::crc::verify`] says whether it is true.
    #[must_use]
    pub fn crc(&self) -> u32 {
        u32::from_be_bytes(sub(self.header, 17))
    }

    #[must_use]
    pub fn attributes(&self) -> i16 {
        i16::from_be_bytes(sub(self.header, 21))
    }

    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Its records count as appended at [`Self::max_timestamp`], whatever they say themselves.
    #[must_use]
    pub fn is_log_append_time(&self) -> bool {
        self.attributes() & LOG_APPEND_TIME_BIT != 0
    }

    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes() & TRANSACTIONAL_BIT != 0
    }

    /// A marker of a transaction's end (or of the broker's own making), never data.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes() & CONTROL_BIT != 0
    }

    /// Its base timestamp is when the cleaner may remove its tombstones.
    #[must_use]
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes() & DELETE_HORIZON_BIT != 0
    }

    #[must_use]
    pub fn last_offset_delta(&self) -> i32 {
        i32::from_be_bytes(sub(self.header, 23))
    }

    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset() + i64::from(self.last_offset_delta())
    }

    /// The offset to read on from.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.last_offset() + 1
    }

    /// What the records' timestamp deltas count from, milliseconds.
    #[must_use]
    pub fn base_timestamp(&self) -> i64 {
        i64::from_be_bytes(sub(self.header, 27))
    }

    /// Milliseconds since 1970; -1 without any.
    #[must_use]
    pub fn max_timestamp(&self) -> i64 {
        i64::from_be_bytes(sub(self.header, 35))
    }

    /// -1 without one.
    #[must_use]
    pub fn producer_id(&self) -> i64 {
        i64::from_be_bytes(sub(self.header, 43))
    }

    #[must_use]
    pub fn producer_epoch(&self) -> i16 {
        i16::from_be_bytes(sub(self.header, 51))
    }

    #[must_use]
    pub fn base_sequence(&self) -> i32 {
        i32::from_be_bytes(sub(self.header, 53))
    }

    /// How many records there are; fewer than the offsets it spans where the log was compacted.
    #[must_use]
    pub fn count(&self) -> i32 {
        i32::from_be_bytes(sub(self.header, 57))
    }

    /// Whether each offset it spans has its record. Then the records' own deltas are 0, 1, 2, …: they rise strictly
    /// within 0 ..= `last_offset_delta`.
    #[must_use]
    pub fn is_contiguous(&self) -> bool {
        i64::from(self.count()) == i64::from(self.last_offset_delta()) + 1
    }
}

/// How long the batch beginning here says it is, or the least it could be.
fn needed_bytes(bytes: &[u8]) -> usize {
    let length =
        bytes.get(8..12).and_then(|length| length.first_chunk()).map(|length| i32::from_be_bytes(*length));
    length
        .and_then(|length| usize::try_from(length).ok())
        .map_or(HEADER_BYTES, |l| l.saturating_add(LOG_OVERHEAD_BYTES))
}

/// `N` bytes of an array from a place that is a constant at every call.
fn sub<const N: usize>(bytes: &[u8], from: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[from..from + N]);
    out
}
