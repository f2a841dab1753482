//! The other road: batches whose records must be renumbered, retimed, trimmed, filtered, merged or split.
//!
//! One pass over the records: the length and the two deltas are written anew, key, value and headers are copied as one
//! slice. Nothing is allocated per record, and the buffers are used again.

use bytes::Bytes;

use crate::batch::{Batch, CRC_FROM, HEADER_BYTES, LOG_OVERHEAD_BYTES, MAGIC};
use crate::codec::{self, Codec};
use crate::error::Error;
use crate::plan::{Policy, TimestampPolicy};
use crate::record::{Record, Records};
use crate::varint;

/// Batches are merged until the next one would make theirs larger (before compression) than this.
pub const MERGED_BYTES_MAX: usize = 1024 * 1024;
/// Length, attributes and the two deltas of a record, at their longest.
const RECORD_HEAD_BYTES: usize = 5 + 1 + 10 + 5;
const NO_TIMESTAMP: i64 = -1;

/// A batch made of a source's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// A whole batch, base offset 0, its CRC computed: ready for [`crate::patch()`].
    pub bytes: Bytes,
    /// Its records, which take as many sequences.
    pub count: i32,
    /// The source offset of its first record.
    pub first_source_offset: i64,
    /// Where to read on at the source: behind the last offset it covers, those of records that do not count included.
    pub next_source_offset: i64,
    /// The source's, of the last batch it has records of.
    pub leader_epoch: i32,
    /// Milliseconds; -1 without any.
    pub max_timestamp: i64,
}

/// What came of the batches pushed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finished {
    /// In order. None if no record counts.
    pub batches: Vec<Rewritten>,
    /// Where to read on at the source; `None` when nothing was pushed.
    pub next_source_offset: Option<i64>,
}

/// Makes batches of records. Push one source batch after the other, then finish: the batches made of them cover the
/// same offsets. After an error, [`Rewriter::finish`] gives what comes before the record that caused it.
#[derive(Debug, Default)]
pub struct Rewriter {
    /// The decompressed records of the batch being pushed.
    plain: Vec<u8>,
    open: Option<Draft>,
    finished: Finished,
    /// How large the last batch became: likely so will the next.
    expected_bytes: usize,
}

/// A batch being made.
#[derive(Debug)]
struct Draft {
    codec: Codec,
    /// Room for the header, then the records so far, not compressed.
    bytes: Vec<u8>,
    /// Of each record, kept where compression may yet show that the batch must be split.
    source_offsets: Vec<i64>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    first_source_offset: i64,
    next_source_offset: i64,
    leader_epoch: i32,
    max_batch_bytes: usize,
}

impl Rewriter {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes held for batches not yet given out (before compression). They are the caller's to bound: finish in time.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let ready: usize = self.finished.batches.iter().map(|batch| batch.bytes.len()).sum();
        ready + self.open.as_ref().map_or(0, |draft| draft.bytes.len())
    }

    /// Takes the records of `batch` that count. `skip_records` of those are at the destination already; it goes down by
    /// those passed over.
    ///
    /// # Errors
    /// Records that do not decompress or make no sense; a record that no batch can hold.
    pub fn push(&mut self, batch: &Batch<'_>, policy: &Policy, skip_records: &mut i64) -> Result<(), Error> {
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        let done = if batch.codec() == Codec::None {
            self.push_plain(batch, batch.records(), policy, skip_records)
        } else {
            codec::decompress(batch, &mut plain, policy.max_plain_bytes)
                .and_then(|()| self.push_plain(batch, &plain, policy, skip_records))
        };
        self.plain = plain;
        done
    }

    fn push_plain(
        &mut self,
        batch: &Batch<'_>,
        plain: &[u8],
        policy: &Policy,
        skip_records: &mut i64,
    ) -> Result<(), Error> {
        let merges = |draft: &Draft| {
            draft.codec == batch.codec() && draft.bytes.len() + plain.len() <= MERGED_BYTES_MAX
        };
        if !self.open.as_ref().is_some_and(merges) {
            self.close()?;
        }
        if let Some(draft) = &mut self.open {
            draft.max_batch_bytes = draft.max_batch_bytes.min(policy.max_batch_bytes);
        }
        for record in Records::new(batch, plain) {
            let record = record?;
            let offset = batch.base_offset().saturating_add(record.offset_delta.into());
            if offset < policy.start_offset || (policy.drop_null_keys && record.has_null_key()?) {
                // It does not count.
            } else if *skip_records > 0 {
                *skip_records -= 1;
            } else {
                let timestamp = timestamp(batch, &record, policy.log_append_time);
                self.append(batch, policy.max_batch_bytes, &record, offset, timestamp, plain.len())?;
            }
            self.cover(offset.saturating_add(1));
        }
        self.cover(batch.next_offset());
        Ok(())
    }

    /// Gives out what was made, and is empty.
    ///
    /// # Errors
    /// A record that, compressed, no batch can hold. A second call then gives what comes before it.
    pub fn finish(&mut self) -> Result<Finished, Error> {
        self.close()?;
        let mut finished = std::mem::take(&mut self.finished);
        if let (Some(last), Some(next)) = (finished.batches.last_mut(), finished.next_source_offset) {
            last.next_source_offset = next;
        }
        Ok(finished)
    }

    /// Everything below `offset` is in what was made, or does not count.
    fn cover(&mut self, offset: i64) {
        // A foreign producer's deltas may lead astray: never back.
        let next = self.finished.next_source_offset.map_or(offset, |next| next.max(offset));
        self.finished.next_source_offset = Some(next);
        if let Some(draft) = &mut self.open {
            draft.next_source_offset = next;
        }
    }

    fn append(
        &mut self,
        batch: &Batch<'_>,
        max_batch_bytes: usize,
        record: &Record<'_>,
        offset: i64,
        timestamp: i64,
        more_bytes: usize,
    ) -> Result<(), Error> {
        if self.open.as_ref().is_some_and(|draft| !draft.has_room(record, timestamp)) {
            self.close()?;
        }
        let expected = self.expected_bytes.max(more_bytes).min(MERGED_BYTES_MAX);
        let draft = self
            .open
            .get_or_insert_with(|| Draft::new(batch.codec(), max_batch_bytes, expected, timestamp, offset));
        draft.leader_epoch = batch.leader_epoch();
        draft.append(record, offset, timestamp)
    }

    /// Makes a batch, or several, of the draft.
    fn close(&mut self) -> Result<(), Error> {
        let Some(draft) = self.open.take() else { return Ok(()) };
        if draft.count == 0 {
            return Ok(());
        }
        self.expected_bytes = draft.bytes.len();
        let made = draft.make(&mut self.finished.batches);
        if made.is_err() {
            // What failed is not covered: the next offset is again behind what was made.
            let made = self.finished.batches.iter().map(|batch| batch.next_source_offset).max();
            self.finished.next_source_offset = made;
        }
        made
    }
}

impl Draft {
    fn new(codec: Codec, max_batch_bytes: usize, expected: usize, timestamp: i64, offset: i64) -> Self {
        let mut bytes = Vec::with_capacity(expected + HEADER_BYTES + RECORD_HEAD_BYTES);
        bytes.resize(HEADER_BYTES, 0);
        Self {
            codec,
            bytes,
            source_offsets: Vec::new(),
            count: 0,
            base_timestamp: timestamp,
            max_timestamp: NO_TIMESTAMP,
            first_source_offset: offset,
            next_source_offset: offset,
            leader_epoch: -1,
            max_batch_bytes,
        }
    }

    /// What is appended may make it this large. With a codec the size is known only in the end.
    fn limit_bytes(&self) -> usize {
        let most = i32::MAX as usize;
        if self.codec == Codec::None { self.max_batch_bytes.min(most) } else { most }
    }

    fn has_room(&self, record: &Record<'_>, timestamp: i64) -> bool {
        self.bytes.len() + self.head_of(record, timestamp).1 + record.body.len() <= self.limit_bytes()
    }

    /// A record's length, attributes and deltas in this batch, and how many bytes they take.
    fn head_of(&self, record: &Record<'_>, timestamp: i64) -> ([u8; RECORD_HEAD_BYTES], usize) {
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        let offset_delta = i64::from(self.count);
        let length = 1 + varint::len(timestamp_delta) + varint::len(offset_delta) + record.body.len();
        let mut head = [0; RECORD_HEAD_BYTES];
        let mut at = 0;
        // A record of 2 GiB has no room in any batch, whatever its length says.
        varint::put(&mut head, &mut at, i32::try_from(length).unwrap_or(i32::MAX).into());
        head[at] = record.attributes;
        at += 1;
        varint::put(&mut head, &mut at, timestamp_delta);
        varint::put(&mut head, &mut at, offset_delta);
        (head, at)
    }

    fn append(&mut self, record: &Record<'_>, offset: i64, timestamp: i64) -> Result<(), Error> {
        let (head, head_bytes) = self.head_of(record, timestamp);
        let size_bytes = self.bytes.len() + head_bytes + record.body.len();
        let limit_bytes = self.limit_bytes();
        if size_bytes > limit_bytes {
            return Err(Error::RecordTooLarge { offset, size_bytes, limit_bytes });
        }
        self.bytes.extend_from_slice(&head[..head_bytes]);
        self.bytes.extend_from_slice(record.body);
        self.count += 1;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        if self.codec != Codec::None {
            self.source_offsets.push(offset);
        }
        Ok(())
    }

    fn make(mut self, out: &mut Vec<Rewritten>) -> Result<(), Error> {
        let mut bytes = std::mem::take(&mut self.bytes);
        if self.codec != Codec::None {
            let mut packed = Vec::with_capacity(HEADER_BYTES + bytes.len() / 2);
            packed.resize(HEADER_BYTES, 0);
            codec::compress(self.codec, &bytes[HEADER_BYTES..], &mut packed)?;
            if packed.len() > self.max_batch_bytes {
                return self.split(&bytes[HEADER_BYTES..], packed.len(), out);
            }
            bytes = packed;
        }
        self.write_header(&mut bytes);
        out.push(Rewritten {
            bytes: bytes.into(),
            count: self.count,
            first_source_offset: self.first_source_offset,
            next_source_offset: self.next_source_offset,
            leader_epoch: self.leader_epoch,
            max_timestamp: self.max_timestamp,
        });
        Ok(())
    }

    /// Several batches of one that is too large when compressed to `packed_bytes`: cut before compression where its
    /// share should fit, and at most in halves, so that this ends.
    fn split(&self, plain: &[u8], packed_bytes: usize, out: &mut Vec<Rewritten>) -> Result<(), Error> {
        if self.count == 1 {
            let (offset, limit_bytes) = (self.first_source_offset, self.max_batch_bytes);
            return Err(Error::RecordTooLarge { offset, size_bytes: packed_bytes, limit_bytes });
        }
        let share = plain.len() / packed_bytes.div_ceil(self.max_batch_bytes.max(1)).max(2);
        let mut piece: Option<Self> = None;
        // A foreign producer's deltas may lead astray: never back.
        let mut covered = self.first_source_offset;
        for (record, offset) in Records::of(plain, 0, self.count).zip(&self.source_offsets) {
            let record = record?;
            let timestamp = self.base_timestamp.wrapping_add(record.timestamp_delta);
            if let Some(full) = piece.take_if(|piece| piece.bytes.len() + record.body.len() > share) {
                full.make(out)?;
            }
            let piece = piece.get_or_insert_with(|| {
                Self::new(self.codec, self.max_batch_bytes, share, timestamp, *offset)
            });
            piece.append(&record, *offset, timestamp)?;
            piece.leader_epoch = self.leader_epoch;
            covered = covered.max(offset.saturating_add(1));
            piece.next_source_offset = covered;
        }
        if let Some(mut last) = piece {
            last.next_source_offset = self.next_source_offset;
            last.make(out)?;
        }
        Ok(())
    }

    fn write_header(&self, bytes: &mut [u8]) {
        // Below 2^31: `limit_bytes` and the codecs' bounds.
        let length = i32::try_from(bytes.len() - LOG_OVERHEAD_BYTES).unwrap_or(i32::MAX);
        bytes[0..8].copy_from_slice(&0_i64.to_be_bytes());
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[12..16].copy_from_slice(&(-1_i32).to_be_bytes());
        bytes[16] = MAGIC.cast_unsigned();
        bytes[21..23].copy_from_slice(&self.codec.bits().to_be_bytes());
        bytes[23..27].copy_from_slice(&(self.count - 1).to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        bytes[43..51].copy_from_slice(&(-1_i64).to_be_bytes());
        bytes[51..53].copy_from_slice(&(-1_i16).to_be_bytes());
        bytes[53..57].copy_from_slice(&(-1_i32).to_be_bytes());
        bytes[57..61].copy_from_slice(&self.count.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
}

/// The timestamp that a record's copy gets.
fn timestamp(batch: &Batch<'_>, record: &Record<'_>, policy: TimestampPolicy) -> i64 {
    match policy {
        TimestampPolicy::Exact if batch.is_log_append_time() => batch.max_timestamp(),
        TimestampPolicy::Exact | TimestampPolicy::Original => {
            batch.base_timestamp().wrapping_add(record.timestamp_delta)
        }
    }
}
