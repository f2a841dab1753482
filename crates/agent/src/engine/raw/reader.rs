//! What a lane has read and not sent: answers of the source go in, batches ready to be offered come out. Pure.
//!
//! Batches are planned as late as possible, when the lane can send one: only then is it known what waits with them.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use copyist_lane::{Offer, Read};
use copyist_wire::{
    Aborted, Backlog, Batch, Error, HEADER_BYTES, Plan, Policy, Reason, Rewriter, SkipReason, Walk, crc, plan,
};

use super::budget::Lease;

/// Tiny batches are merged up to here: enough to make framing cheap, little enough to stay in the caches.
const MERGE_BYTES: usize = 256 << 10;

/// One lane's reading of the source.
#[derive(Debug)]
pub struct LaneReader {
    policy: Policy,
    /// Of the [`Read`] in force; nothing is wanted while there is none.
    reading: Option<u32>,
    fetch_offset: i64,
    last_fetched_epoch: i32,
    skip_records: i64,
    /// Everything below is offered or skipped.
    planned_to: i64,
    planned_epoch: i32,
    /// The machine was told of everything below.
    told_to: i64,
    verify: bool,
    chunks: VecDeque<Chunk>,
    queued_bytes: usize,
    ready: VecDeque<Ready>,
    rewriter: Rewriter,
    /// What could not be planned; told once all that comes before it is offered.
    failed: Option<Error>,
    /// Where what was damaged is read once more. Damaged there again, it stays so.
    read_again_at: Option<i64>,
    largest_batch_bytes: usize,
    counts: PlanCounts,
}

/// The records of one answer that are not planned yet.
#[derive(Debug)]
struct Chunk {
    records: Bytes,
    at: usize,
    end: usize,
    aborted: Aborted,
    lease: Arc<Lease>,
}

/// A batch for the destination.
#[derive(Debug)]
pub struct Ready {
    pub offer: Offer,
    /// The whole batch, to be patched.
    pub bytes: Bytes,
    pub lease: Arc<Lease>,
}

/// What comes next.
#[derive(Debug)]
pub enum Next {
    Offer(Ready),
    NothingUntil {
        reading: u32,
        next_offset: i64,
        leader_epoch: i32,
    },
    SkippedTo {
        reading: u32,
        next_offset: i64,
        leader_epoch: i32,
    },
    /// What cannot be copied, in words.
    Unreadable(String),
    /// What is read once more, as it may have been damaged on its way: in words.
    ReadAgain(String),
    /// More must be fetched.
    Empty,
}

/// How batches were planned since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlanCounts {
    pub passed: u64,
    pub rewritten: [u64; Reason::ALL.len()],
    pub skipped: [u64; SkipReason::ALL.len()],
}

impl PlanCounts {
    /// (plan, reason, batches)
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
        let rewritten = Reason::ALL.into_iter().map(Reason::name).zip(self.rewritten);
        let skipped = SkipReason::ALL.into_iter().map(SkipReason::name).zip(self.skipped);
        [("pass", "", self.passed)]
            .into_iter()
            .chain(rewritten.map(|(reason, batches)| ("rewrite", reason, batches)))
            .chain(skipped.map(|(reason, batches)| ("skip", reason, batches)))
    }
}

impl LaneReader {
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            reading: None,
            fetch_offset: 0,
            last_fetched_epoch: -1,
            skip_records: 0,
            planned_to: 0,
            planned_epoch: -1,
            told_to: 0,
            verify: false,
            chunks: VecDeque::new(),
            queued_bytes: 0,
            ready: VecDeque::new(),
            rewriter: Rewriter::new(),
            failed: None,
            read_again_at: None,
            largest_batch_bytes: 0,
            counts: PlanCounts::default(),
        }
    }

    /// Forgets what was read, and begins there.
    pub fn begin(&mut self, read: &Read) {
        self.stop();
        self.reading = Some(read.reading);
        self.policy.start_offset = read.from_offset;
        self.fetch_offset = read.from_offset;
        self.last_fetched_epoch = read.leader_epoch;
        self.skip_records = i64::try_from(read.skip_records).unwrap_or(i64::MAX);
        (self.planned_to, self.told_to) = (read.from_offset, read.from_offset);
        self.planned_epoch = read.leader_epoch;
    }

    /// Forgets what was read, and wants nothing.
    pub fn stop(&mut self) {
        self.reading = None;
        self.chunks.clear();
        self.ready.clear();
        self.rewriter = Rewriter::new();
        self.failed = None;
        self.queued_bytes = 0;
    }

    pub fn limit_batches(&mut self, max_batch_bytes: u32) {
        self.policy.max_batch_bytes = max_batch_bytes as usize;
    }

    /// From now on each batch's CRC is checked before it goes on.
    pub fn verify_source(&mut self) {
        self.verify = true;
    }

    #[must_use]
    pub fn reading(&self) -> Option<u32> {
        self.reading
    }

    /// Where to fetch, and the leader epoch of what was fetched last (-1: unknown).
    #[must_use]
    pub fn fetch_from(&self) -> (i64, i32) {
        (self.fetch_offset, self.last_fetched_epoch)
    }

    /// Bytes read and not yet offered.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes + self.ready.iter().map(|ready| ready.bytes.len()).sum::<usize>()
    }

    /// The largest batch seen so far.
    #[must_use]
    pub fn largest_batch_bytes(&self) -> usize {
        self.largest_batch_bytes
    }

    pub fn take_counts(&mut self) -> PlanCounts {
        std::mem::take(&mut self.counts)
    }

    /// Takes the records of an answer to a fetch from [`LaneReader::fetch_from`]. The last batch may be cut short: it is
    /// fetched again. `aborted` are (producer id, first offset).
    ///
    /// # Errors
    /// A header that makes no sense. What comes before it is kept.
    pub fn push(
        &mut self,
        records: Bytes,
        aborted: Vec<(i64, i64)>,
        lease: &Arc<Lease>,
    ) -> Result<(), Error> {
        let mut failed = None;
        let (mut end, mut found_any) = (0, false);
        for found in Walk::new(&records) {
            match found {
                Ok(found) => {
                    (end, found_any) = (found.range.end, true);
                    self.fetch_offset = self.fetch_offset.max(found.batch.next_offset());
                    self.last_fetched_epoch = found.batch.leader_epoch();
                    self.largest_batch_bytes = self.largest_batch_bytes.max(found.range.len());
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if found_any {
            self.queued_bytes += end;
            let aborted = Aborted::new(aborted);
            self.chunks.push_back(Chunk { records, at: 0, end, aborted, lease: Arc::clone(lease) });
        }
        failed.map_or(Ok(()), Err)
    }

    /// The next batch to send, or what else the lane must know.
    pub fn advance(&mut self) -> Next {
        let Some(reading) = self.reading else { return Next::Empty };
        let mut skipped_to = None;
        while self.ready.is_empty() && self.failed.is_none() && skipped_to.is_none() && self.has_chunk() {
            match self.plan_front(reading) {
                Ok(skipped) => skipped_to = skipped,
                Err(error) => self.fail(error),
            }
        }
        let leader_epoch = self.planned_epoch;
        if let Some(next_offset) = skipped_to {
            return Next::SkippedTo { reading, next_offset, leader_epoch };
        }
        if let Some(ready) = self.ready.pop_front() {
            self.told_to = ready.offer.next_offset;
            return Next::Offer(ready);
        }
        if let Some(error) = self.failed.take() {
            return self.give_up(&error);
        }
        if self.planned_to > self.told_to {
            self.told_to = self.planned_to;
            return Next::NothingUntil { reading, next_offset: self.planned_to, leader_epoch };
        }
        Next::Empty
    }

    /// What comes before it is good, and goes first.
    fn fail(&mut self, error: Error) {
        let lease = self.chunks.front().map(|chunk| Arc::clone(&chunk.lease));
        self.failed = Some(error);
        if let Some(lease) = lease {
            // Another error would be of what lies before: it is what counts.
            if let Err(before) = self.finish(&lease) {
                self.failed = Some(before);
            }
        }
        self.chunks.clear();
        self.queued_bytes = 0;
    }

    /// Nothing behind it may go on. What may be the network's fault is read once more.
    fn give_up(&mut self, error: &Error) -> Next {
        let from_offset = self.planned_to.max(self.told_to);
        let repeated = self.read_again_at == Some(from_offset) || self.skip_records > 0;
        let reading = self.reading;
        let leader_epoch = self.planned_epoch;
        self.stop();
        if repeated || !is_damage(error) {
            return Next::Unreadable(error.to_string());
        }
        self.reading = reading;
        self.read_again_at = Some(from_offset);
        self.policy.start_offset = self.policy.start_offset.max(from_offset);
        (self.fetch_offset, self.last_fetched_epoch) = (from_offset, leader_epoch);
        Next::ReadAgain(error.to_string())
    }

    fn has_chunk(&self) -> bool {
        !self.chunks.is_empty()
    }

    /// Plans the next batch, or ends the front chunk. Where the last record that is at the destination already went by,
    /// that is where to go on.
    fn plan_front(&mut self, reading: u32) -> Result<Option<i64>, Error> {
        let Some(chunk) = self.chunks.front_mut() else { return Ok(None) };
        let lease = Arc::clone(&chunk.lease);
        if chunk.at >= chunk.end {
            self.chunks.pop_front();
            // What waits to be merged waits no longer than for what is here.
            if self.chunks.is_empty() {
                self.finish(&lease)?;
            }
            return Ok(None);
        }
        let records = chunk.records.clone();
        let Some(batch) = Batch::at(&records, chunk.at)? else {
            // Not reached: a whole batch lies before `end`.
            chunk.at = chunk.end;
            return Ok(None);
        };
        let range = chunk.at..chunk.at + batch.total_bytes();
        let judged = chunk.aborted.judge(&batch)?;
        let waiting_bytes = self.rewriter.held_bytes() + self.queued_bytes - range.len();
        let backlog = Backlog { waiting_bytes, skip_records: self.skip_records };
        let skipped = match plan(&batch, judged, &self.policy, &backlog) {
            Plan::Pass if self.rewriter.held_bytes() > 0 => {
                self.finish(&lease)?;
                return Ok(None);
            }
            Plan::Pass => {
                self.check(&batch, self.verify)?;
                self.counts.passed += 1;
                self.ready.push_back(passed(reading, &batch, records.slice(range.clone()), lease));
                None
            }
            Plan::Skip(reason) => {
                // Nobody else will look at it again: damage must not make records disappear.
                self.check(&batch, true)?;
                self.skip(reason, &batch)
            }
            Plan::Rewrite(reasons) => {
                // A new CRC would hide that the old one was wrong.
                self.check(&batch, true)?;
                reasons.iter().for_each(|reason| self.counts.rewritten[reason as usize] += 1);
                self.rewrite(&batch, &lease)?
            }
        };
        self.took(&batch, range.len());
        Ok(skipped)
    }

    fn took(&mut self, batch: &Batch<'_>, bytes: usize) {
        if let Some(chunk) = self.chunks.front_mut() {
            chunk.at += bytes;
        }
        self.queued_bytes -= bytes;
        self.planned_to = self.planned_to.max(batch.next_offset());
        self.planned_epoch = batch.leader_epoch();
    }

    /// Passes over a batch. Where the last record that is at the destination goes by, that is where to go on.
    fn skip(&mut self, reason: SkipReason, batch: &Batch<'_>) -> Option<i64> {
        self.counts.skipped[reason as usize] += 1;
        if reason != SkipReason::AlreadyCopied {
            return None;
        }
        self.skip_records -= i64::from(batch.count());
        (self.skip_records == 0).then(|| batch.next_offset())
    }

    fn rewrite(&mut self, batch: &Batch<'_>, lease: &Arc<Lease>) -> Result<Option<i64>, Error> {
        let skipping = self.skip_records > 0;
        let pushed = self.rewriter.push(batch, &self.policy, &mut self.skip_records);
        let done = skipping && self.skip_records == 0;
        if done || pushed.is_err() || self.rewriter.held_bytes() >= MERGE_BYTES {
            // What comes before a record at fault is good, and goes first.
            self.finish(lease)?;
        }
        pushed?;
        let first = self.ready.front().map_or(batch.next_offset(), |ready| ready.offer.first_offset);
        Ok(done.then_some(first))
    }

    fn finish(&mut self, lease: &Arc<Lease>) -> Result<(), Error> {
        let Some(reading) = self.reading else { return Ok(()) };
        let mut failed = None;
        let finished = match self.rewriter.finish() {
            Ok(finished) => finished,
            Err(error) => {
                failed = Some(error);
                // Only a draft can fail, and it is gone: this gives what was made before it.
                self.rewriter.finish()?
            }
        };
        for made in finished.batches {
            let offer = Offer {
                reading,
                first_offset: made.first_source_offset,
                next_offset: made.next_source_offset,
                count: made.count.unsigned_abs(),
                leader_epoch: made.leader_epoch,
                max_timestamp: made.max_timestamp,
                bytes: size(made.bytes.len()),
            };
            self.ready.push_back(Ready { offer, bytes: made.bytes, lease: Arc::clone(lease) });
        }
        failed.map_or(Ok(()), Err)
    }

    fn check(&self, batch: &Batch<'_>, wanted: bool) -> Result<(), Error> {
        if wanted && !crc::verify(batch) {
            let (at, base_offset) = (0, batch.base_offset());
            return Err(Error::Batch { at, base_offset, fault: copyist_wire::Fault::Crc });
        }
        Ok(())
    }
}

fn passed(reading: u32, batch: &Batch<'_>, bytes: Bytes, lease: Arc<Lease>) -> Ready {
    let offer = Offer {
        reading,
        first_offset: batch.base_offset(),
        next_offset: batch.next_offset(),
        count: batch.count().unsigned_abs(),
        leader_epoch: batch.leader_epoch(),
        max_timestamp: batch.max_timestamp(),
        bytes: size(bytes.len()),
    };
    Ready { offer, bytes, lease }
}

/// Whether the bytes may be otherwise when they come again.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::Batch { .. } | Error::OldMagic { .. } | Error::Record { .. } | Error::Decompress { .. } => {
            true
        }
        Error::Bomb { .. } | Error::Compress { .. } | Error::RecordTooLarge { .. } => false,
    }
}

/// Batches are below 2^31 bytes.
fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// A batch's header, and what follows it.
#[must_use]
pub fn payload(batch: &Bytes) -> Bytes {
    batch.slice(HEADER_BYTES.min(batch.len())..)
}

#[cfg(test)]
pub(crate) mod tests;
