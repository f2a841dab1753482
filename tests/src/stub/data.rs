//! One partition: what it holds, where it begins and ends, its leader epochs, what it remembers of producers.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::batch::{Header, place};
use super::code;
use super::producers::{Appended, Producers, Verdict};
use super::shape::Batches;

/// What a dropped partition keeps for each new producer: a copier may read its first batches back.
const SAMPLE_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Data {
    pub log_start: i64,
    /// High watermark, last stable offset and log end in one.
    pub end: i64,
    /// Leader epochs with their first offsets, both rising; never empty.
    pub epochs: Vec<(i32, i64)>,
    pub producers: Producers,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Endless(Arc<Batches>),
    Log(Log),
}

#[derive(Debug)]
struct Log {
    batches: VecDeque<Stored>,
    bytes: usize,
    keep: Keep,
}

#[derive(Clone, Copy, Debug)]
enum Keep {
    /// The newest so many bytes.
    Newest(usize),
    /// The first [`SAMPLE_BYTES`] of each producer, of which this is the last and what it has used.
    Sample { producer_id: i64, used: usize },
}

#[derive(Debug)]
struct Stored {
    base_offset: i64,
    next_offset: i64,
    max_timestamp: i64,
    bytes: Bytes,
}

/// What came in for a partition, parsed and found to be one valid batch.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub header: Header,
    /// Nothing where [`Data::wants_bytes`] said no.
    pub bytes: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Appended { base_offset: i64 },
    Duplicate { base_offset: i64 },
    Refused(i16),
}

/// How far a read may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub bytes: usize,
    /// The first batch comes whole even when it is larger (KIP-74).
    pub at_least_one: bool,
    /// The last batch is cut where the budget ends, as brokers do.
    pub cut_tail: bool,
}

#[derive(Debug, Default)]
pub(crate) struct ReadOut {
    pub batches: Vec<Taken>,
    pub bytes: usize,
    pub records: u64,
}

/// A batch, or its beginning, to be sent from where it is held.
#[derive(Debug)]
pub(crate) struct Taken {
    pub batch: Bytes,
    pub base_offset: i64,
    pub leader_epoch: i32,
}

impl Data {
    /// `end` must be a multiple of the records in a batch.
    pub fn endless(batches: Arc<Batches>, end: i64) -> Data {
        Data::with(Content::Endless(batches), end)
    }

    pub fn kept(bytes_max: usize) -> Data {
        let keep = Keep::Newest(bytes_max);
        Data::with(Content::Log(Log { batches: VecDeque::new(), bytes: 0, keep }), 0)
    }

    pub fn dropped() -> Data {
        let keep = Keep::Sample { producer_id: -1, used: 0 };
        Data::with(Content::Log(Log { batches: VecDeque::new(), bytes: 0, keep }), 0)
    }

    fn with(content: Content, end: i64) -> Data {
        Data { log_start: 0, end, epochs: vec![(0, 0)], producers: Producers::default(), content }
    }

    pub fn leader_epoch(&self) -> i32 {
        self.epochs.last().map_or(0, |(epoch, _)| *epoch)
    }

    /// [`code::NONE`] unless the client knows another leader epoch (−1: it knows none).
    pub fn check_epoch(&self, current: i32) -> i16 {
        match current {
            epoch if epoch < 0 || epoch == self.leader_epoch() => code::NONE,
            epoch if epoch < self.leader_epoch() => code::FENCED_LEADER_EPOCH,
            _ => code::UNKNOWN_LEADER_EPOCH,
        }
    }

    /// The greatest epoch up to the one asked for, and where it ends; (−1, −1) when there is none.
    pub fn end_of_epoch(&self, asked: i32) -> (i32, i64) {
        let Some(at) = self.epochs.iter().rposition(|(epoch, _)| *epoch <= asked) else { return (-1, -1) };
        let end = self.epochs.get(at + 1).map_or(self.end, |(_, start)| *start);
        (self.epochs[at].0, end)
    }

    /// Where the client's history and ours part, when its last record is none of ours (KIP-320).
    pub fn divergence(&self, last_fetched_epoch: i32, fetch_offset: i64) -> Option<(i32, i64)> {
        let (epoch, end) = (last_fetched_epoch >= 0).then(|| self.end_of_epoch(last_fetched_epoch))?;
        (epoch < last_fetched_epoch || end < fetch_offset).then_some((epoch, end))
    }

    fn epoch_at(&self, offset: i64) -> i32 {
        self.epochs.iter().rev().find(|(_, start)| *start <= offset).map_or(0, |(epoch, _)| *epoch)
    }

    pub fn read(&self, offset: i64, budget: Budget) -> Result<ReadOut, i16> {
        if offset < self.log_start || offset > self.end {
            return Err(code::OFFSET_OUT_OF_RANGE);
        }
        let mut out = ReadOut::default();
        match &self.content {
            Content::Endless(batches) => {
                let each = batches.records_per_batch;
                let mut base = offset / each * each;
                while base < self.end && out.push(batches.at(base), base, self.epoch_at(base), budget) {
                    out.records += each.cast_unsigned();
                    base += each;
                }
            }
            Content::Log(log) => {
                let first = log.batches.partition_point(|stored| stored.next_offset <= offset);
                for stored in log.batches.iter().skip(first) {
                    if !out.push(&stored.bytes, stored.base_offset, self.epoch_at(stored.base_offset), budget)
                    {
                        break;
                    }
                    out.records += (stored.next_offset - stored.base_offset).cast_unsigned();
                }
            }
        }
        Ok(out)
    }

    /// Whether [`Data::append`] will keep the bytes of a batch of this producer.
    pub fn wants_bytes(&self, producer: i64, bytes: usize) -> bool {
        let Content::Log(Log { keep: Keep::Sample { producer_id, used }, .. }) = &self.content else {
            return true;
        };
        *producer_id != producer || used + bytes <= SAMPLE_BYTES
    }

    /// Judges and appends. `strict`: see [`Producers::judge`].
    pub fn append(&mut self, batch: Incoming, strict: bool) -> Outcome {
        if matches!(self.content, Content::Endless(_)) {
            return Outcome::Refused(code::POLICY_VIOLATION);
        }
        let header = batch.header;
        let appended = (header.producer_id >= 0).then_some(Appended {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            first_sequence: header.base_sequence,
            last_offset_delta: header.last_offset_delta,
            max_timestamp: header.max_timestamp,
        });
        match appended.map_or(Verdict::Append, |appended| self.producers.judge(&appended, strict)) {
            Verdict::Append => {}
            Verdict::Duplicate { base_offset } => return Outcome::Duplicate { base_offset },
            Verdict::Refuse(code) => return Outcome::Refused(code),
        }
        let base_offset = self.end;
        if let Some(appended) = appended {
            self.producers.remember(&appended, base_offset);
        }
        self.end += i64::from(header.last_offset_delta) + 1;
        self.store(batch, base_offset);
        Outcome::Appended { base_offset }
    }

    fn store(&mut self, batch: Incoming, base_offset: i64) {
        let leader_epoch = self.leader_epoch();
        let (Content::Log(log), Some(mut bytes)) = (&mut self.content, batch.bytes) else { return };
        place(&mut bytes, base_offset, leader_epoch);
        log.bytes += bytes.len();
        let size = bytes.len();
        log.batches.push_back(Stored {
            base_offset,
            next_offset: self.end,
            max_timestamp: batch.header.max_timestamp,
            bytes: bytes.into(),
        });
        match &mut log.keep {
            Keep::Newest(max) => {
                while log.bytes > *max && log.batches.len() > 1 {
                    let Some(oldest) = log.batches.pop_front() else { break };
                    log.bytes -= oldest.bytes.len();
                    self.log_start = oldest.next_offset;
                }
            }
            Keep::Sample { producer_id, used } => {
                let before = if *producer_id == batch.header.producer_id { *used } else { 0 };
                (*producer_id, *used) = (batch.header.producer_id, before + size);
            }
        }
    }

    /// The first record that is not older, by the timestamps of whole batches: its offset and the batch's timestamp.
    pub fn offset_at(&self, timestamp: i64) -> Option<(i64, i64)> {
        let Content::Log(log) = &self.content else { return None };
        let found = log.batches.iter().find(|stored| stored.max_timestamp >= timestamp)?;
        Some((found.base_offset, found.max_timestamp))
    }

    /// Retention: the records before `offset` are gone.
    pub fn delete_before(&mut self, offset: i64) {
        self.log_start = offset.clamp(self.log_start, self.end);
        let start = self.log_start;
        if let Content::Log(log) = &mut self.content {
            let gone = log.batches.partition_point(|stored| stored.next_offset <= start);
            log.bytes -= log.batches.drain(..gone).map(|stored| stored.bytes.len()).sum::<usize>();
        }
    }

    /// An empty log begins, and ends, at `offset`.
    ///
    /// # Errors
    /// It is not empty, or nothing can be appended to it.
    pub fn advance(&mut self, offset: i64) -> Result<(), String> {
        match &self.content {
            Content::Log(log) if log.batches.is_empty() && offset >= self.end => {
                (self.log_start, self.end) = (offset, offset);
                self.epochs = vec![(self.leader_epoch(), offset)];
                Ok(())
            }
            Content::Log(_) => Err("it is not empty, or ends behind that".to_owned()),
            Content::Endless(_) => Err("an endless topic begins where it begins".to_owned()),
        }
    }

    /// An unclean election: the records from `offset` on are gone, and what follows is of the next leader epoch.
    pub fn truncate(&mut self, offset: i64) {
        self.end = offset.clamp(self.log_start, self.end);
        let end = self.end;
        if let Content::Log(log) = &mut self.content {
            let kept = log.batches.partition_point(|stored| stored.next_offset <= end);
            // A batch is lost as a whole.
            self.end = log.batches.get(kept).map_or(end, |stored| stored.base_offset.min(end));
            log.bytes -= log.batches.drain(kept..).map(|stored| stored.bytes.len()).sum::<usize>();
        }
        let next = self.leader_epoch() + 1;
        self.start_epoch(next);
    }

    pub fn start_epoch(&mut self, epoch: i32) {
        let end = self.end;
        self.epochs.retain(|(_, start)| *start < end);
        self.epochs.push((epoch, end));
    }

    /// An endless partition gets longer or shorter without a new leader epoch.
    pub fn set_end(&mut self, end: i64) {
        if let Content::Endless(batches) = &self.content {
            self.end = end / batches.records_per_batch * batches.records_per_batch;
        }
    }
}

impl ReadOut {
    /// Whether the whole batch was taken.
    fn push(&mut self, batch: &Bytes, base_offset: i64, leader_epoch: i32, budget: Budget) -> bool {
        let left = budget.bytes.saturating_sub(self.bytes);
        let whole = batch.len() <= left || (budget.at_least_one && self.bytes == 0);
        // Where a partition's first batch does not fit, brokers send nothing of it.
        let cut = budget.cut_tail && self.bytes > 0;
        let taken = if whole {
            batch.len()
        } else if cut {
            left.min(batch.len())
        } else {
            0
        };
        if taken == 0 {
            return false;
        }
        self.bytes += taken;
        self.batches.push(Taken { batch: batch.slice(..taken), base_offset, leader_epoch });
        whole
    }
}
