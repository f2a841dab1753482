//! Records that wait to be written, and puts that wait for them. Pure: time is an argument.
//!
//! A partition has one batch on its way at most, so that what is written again does not come behind what is newer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use copyist_kafka::partition_of;

use super::{Outgoing, PUT_DEADLINE, PUTS_MAX, Put, Written};
use crate::compacted::MARK;
use crate::error::Error;

/// Of one batch: well below what any topic takes (`max.message.bytes`).
const BATCH_BYTES_MAX: usize = 128 << 10;
/// Of a record beside its key and value, with some to spare.
const RECORD_OVERHEAD_BYTES: usize = 32;

/// Which put, in the order they came.
type PutNumber = u64;

/// A record on its way.
#[derive(Debug)]
pub(super) struct Item {
    put: PutNumber,
    /// Within its put.
    index: usize,
    pub record: Outgoing,
    /// It goes in a batch of its own: one that it was part of was refused.
    alone: bool,
}

impl Item {
    fn bytes(&self) -> usize {
        let Outgoing { key, value, mark } = &self.record;
        let value = value.as_ref().map_or(0, String::len);
        let mark = mark.as_ref().map_or(0, |mark| mark.len() + MARK.len());
        key.len() + value + mark + RECORD_OVERHEAD_BYTES
    }
}

/// What goes to a partition in one batch.
#[derive(Debug)]
pub(super) struct Draft {
    pub partition: i32,
    pub items: Vec<Item>,
    bytes: usize,
}

#[derive(Debug)]
struct Open {
    done: tokio::sync::oneshot::Sender<Written>,
    written: Written,
    /// Records whose fate is not known.
    left: usize,
    deadline: Duration,
    stops_at_refusal: bool,
}

#[derive(Debug)]
pub(super) struct Outbox {
    topic: String,
    puts: BTreeMap<PutNumber, Open>,
    next_put: PutNumber,
    pending: VecDeque<Item>,
    in_flight: BTreeSet<i32>,
}

impl Outbox {
    pub fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            puts: BTreeMap::new(),
            next_put: 0,
            pending: VecDeque::new(),
            in_flight: BTreeSet::new(),
        }
    }

    pub fn push(&mut self, now: Duration, put: Put) {
        let Put { records, stops_at_refusal, done } = put;
        let number = self.next_put;
        self.next_put += 1;
        let left = records.len();
        let deadline = now + PUT_DEADLINE;
        let open = Open { done, written: Written::default(), left, deadline, stops_at_refusal };
        self.puts.insert(number, open);
        let items = records.into_iter().enumerate();
        self.pending.extend(items.map(|(index, record)| Item { put: number, index, record, alone: false }));
        self.answer_if_done(number);
    }

    /// Whether another put may come.
    pub fn has_room(&self) -> bool {
        self.puts.len() < PUTS_MAX
    }

    /// Whether something waits to be sent.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// When the next put is given up.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.puts.values().map(|open| open.deadline).min()
    }

    /// What goes now, of a topic with so many partitions, to those that `may_go`.
    pub fn take(&mut self, partitions: u32, mut may_go: impl FnMut(i32) -> bool) -> Vec<Draft> {
        // Who waits no more may have gone on without it.
        self.puts.retain(|_, open| !open.done.is_closed());
        let puts = &self.puts;
        self.pending.retain(|item| puts.contains_key(&item.put));
        let mut drafts: BTreeMap<i32, Draft> = BTreeMap::new();
        let mut full = self.in_flight.clone();
        for item in std::mem::take(&mut self.pending) {
            let target = partition_of(item.record.key.as_bytes(), partitions);
            let Some(partition) = target.filter(|target| !full.contains(target) && may_go(*target)) else {
                self.pending.push_back(item);
                continue;
            };
            let bytes = item.bytes();
            let new = || Draft { partition, items: Vec::new(), bytes: 0 };
            let draft = drafts.entry(partition).or_insert_with(new);
            if draft.bytes > 0 && (item.alone || draft.bytes + bytes > BATCH_BYTES_MAX) {
                // Nor may a smaller one overtake it.
                full.insert(partition);
                self.pending.push_back(item);
            } else {
                if item.alone {
                    full.insert(partition);
                }
                draft.bytes += bytes;
                draft.items.push(item);
            }
        }
        self.in_flight.extend(drafts.keys());
        drafts.into_values().collect()
    }

    /// The batch lies from this offset on.
    pub fn written(&mut self, draft: Draft, base_offset: i64) {
        self.in_flight.remove(&draft.partition);
        for (offset, Item { put, index, .. }) in (base_offset..).zip(draft.items) {
            // The put may have been given up meanwhile; then the reader finds the record.
            if let Some(open) = self.puts.get_mut(&put) {
                open.written.offsets.push((index, offset));
            }
            self.settle(put);
        }
    }

    /// The batch was refused, or nobody knows; it may be taken later.
    pub fn failed(&mut self, draft: Draft, why: &str) {
        self.give_up(draft, |what| Error::Retry { what: format!("{what}: {why}"), source: None });
    }

    /// The batch was refused, and would be again. Of several records each is tried alone: it may be because of one.
    pub fn refused(&mut self, mut draft: Draft, why: &str) {
        if draft.items.len() > 1 {
            draft.items.iter_mut().for_each(|item| item.alone = true);
            return self.again(draft);
        }
        if let Some(item) = draft.items.first() {
            self.drop_what_follows(item.put);
        }
        self.give_up(draft, |what| Error::Stuck(format!("{what}: {why}")));
    }

    fn drop_what_follows(&mut self, put: PutNumber) {
        let Some(open) = self.puts.get_mut(&put).filter(|open| open.stops_at_refusal) else { return };
        let before = self.pending.len();
        self.pending.retain(|item| item.put != put);
        open.left = open.left.saturating_sub(before - self.pending.len());
    }

    fn give_up(&mut self, draft: Draft, error: impl Fn(String) -> Error) {
        self.in_flight.remove(&draft.partition);
        for item in draft.items {
            let what = format!("the record {} was not stored in topic {}", item.record.key, self.topic);
            if let Some(open) = self.puts.get_mut(&item.put) {
                open.written.fail(error(what));
            }
            self.settle(item.put);
        }
    }

    /// The batch was not written; it goes before all others of its partition.
    pub fn again(&mut self, draft: Draft) {
        self.in_flight.remove(&draft.partition);
        for item in draft.items.into_iter().rev() {
            if self.puts.contains_key(&item.put) {
                self.pending.push_front(item);
            }
        }
    }

    /// Gives up what has waited too long.
    pub fn expire(&mut self, now: Duration, why: &str) {
        let late: Vec<PutNumber> =
            self.puts.iter().filter(|(_, open)| open.deadline <= now).map(|(put, _)| *put).collect();
        if late.is_empty() {
            return;
        }
        for number in late {
            let (seconds, topic) = (PUT_DEADLINE.as_secs(), &self.topic);
            let what = format!("records were not, within {seconds} s, stored in topic {topic}: {why}");
            if let Some(mut open) = self.puts.remove(&number) {
                open.written.fail(Error::Retry { what, source: None });
                let _ = open.done.send(open.written);
            }
        }
        self.pending.retain(|item| self.puts.contains_key(&item.put));
    }

    /// One more of its records has its fate.
    fn settle(&mut self, put: PutNumber) {
        if let Some(open) = self.puts.get_mut(&put) {
            open.left = open.left.saturating_sub(1);
        }
        self.answer_if_done(put);
    }

    fn answer_if_done(&mut self, put: PutNumber) {
        if self.puts.get(&put).is_some_and(|open| open.left == 0)
            && let Some(open) = self.puts.remove(&put)
        {
            // Who asked may have gone.
            let _ = open.done.send(open.written);
        }
    }
}

#[cfg(test)]
mod tests;
