//! A producer that writes on while everything around it is killed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Dice;
use crate::progress::Progress;
use crate::record::{Rec, Step};
use crate::suite;
use crate::tool::Kafka;
use crate::wait::{Deadline, wait_until};

/// From one call of the producer to the next, at least.
const PAUSE: Duration = Duration::from_millis(60);
pub const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const TWO_DAYS_MS: i64 = 2 * 24 * 3_600_000;

/// How old the records say they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    Fresh,
    /// Brokers forget the producer of such a batch at their next look: their memory is measured by timestamps.
    TwoDays,
    /// Now these, now those.
    Both,
}

/// After so many calls the age changes, where it does.
const CALLS_OF_AN_AGE: u64 = 15;

impl Age {
    fn of_call(self, call: u64) -> Age {
        match self {
            Age::Both if (call / CALLS_OF_AN_AGE).is_multiple_of(2) => Age::Fresh,
            Age::Both => Age::TwoDays,
            Age::Fresh | Age::TwoDays => self,
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "records are stamped with the real time, or with two days before"
    )]
    fn timestamp(self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        match self {
            Age::Fresh | Age::Both => now,
            Age::TwoDays => now - TWO_DAYS_MS,
        }
    }
}

/// What is written, and where.
#[derive(Clone, Debug)]
pub struct Feed<'a> {
    pub at: Kafka<'a>,
    pub topic: &'a str,
    pub partitions: i32,
    pub age: Age,
    /// Some calls are transactions, and some of those are aborted: then offsets say nothing of how many records came before.
    pub transactions: bool,
    /// Records of one call, at most.
    pub most: u64,
}

/// Of small values, in bytes; batches of them are merged where more is waiting.
const SMALL: (u64, u64) = (0, 300);
/// Too large for that, also when compressed, as they do not shrink: each is a batch of its own.
const LARGE: (u64, u64) = (2_500, 3_000);
/// Records of a burst: so many batches that whoever copies them one by one is in the middle for a while.
const BURST: u64 = 1_500;

/// Writes calls of random size in random codecs and batch sizes until done; returns how many records are to be copied.
pub fn write_until(feed: &Feed<'_>, mut dice: Dice, done: &AtomicBool) -> u64 {
    let (mut kept, mut call) = (0, 0);
    while !done.load(Ordering::SeqCst) {
        let pause = Deadline::after(PAUSE);
        kept += feed.call(&mut dice, call);
        call += 1;
        let over = || Ok(pause.passed().then_some(()));
        suite::must("a pause", wait_until("the next call", 2 * PAUSE, Progress::Silent, over));
    }
    kept
}

impl Feed<'_> {
    /// Returns how many records of it are to be copied.
    fn call(&self, dice: &mut Dice, call: u64) -> u64 {
        let age = self.age.of_call(call);
        let codec = CODECS[dice.index(CODECS.len())];
        let (batch_size, bytes, most) = match dice.below(6) {
            0 => ("1", LARGE, self.most / 4),
            1 | 2 => ("2000", SMALL, self.most),
            _ => ("16384", SMALL, self.most),
        };
        let count = dice.between(1, most.max(1));
        let records = self.records(dice, &format!("call {call}"), (count, bytes), age);
        let properties = [("compression.type", codec), ("batch.size", batch_size), ("linger.ms", "5")];
        match dice.below(8) {
            0 if self.transactions => self.transact(&properties, records, Step::Abort),
            1 if self.transactions => self.transact(&properties, records, Step::Commit),
            _ => {
                suite::must("produced", self.at.produce_with(&properties, &records));
                count
            }
        }
    }

    /// Many batches that are not merged; `tag` tells bursts apart. Returns how many records.
    pub fn burst(&self, dice: &mut Dice, tag: &str, age: Age) -> u64 {
        let records = self.records(dice, tag, (BURST, LARGE), age);
        let properties = [("compression.type", "lz4"), ("batch.size", "1")];
        suite::must("a burst", self.at.produce_with(&properties, &records));
        BURST
    }

    /// `count` records of `bytes` (least, most) that differ from all others, and cannot be compressed.
    fn records(&self, dice: &mut Dice, tag: &str, (count, bytes): (u64, (u64, u64)), age: Age) -> Vec<Rec> {
        let timestamp = age.timestamp();
        let partitions = u64::from(self.partitions.unsigned_abs());
        let record = |number| {
            let partition = i32::try_from(dice.below(partitions)).unwrap_or_default();
            let mut value = format!("{tag} {number} ").into_bytes();
            let length = dice.between(bytes.0, bytes.1);
            value.extend((0..length).map(|_| dice.below(256) as u8));
            Rec::new(self.topic, partition)
                .key(format!("key {}", number % 97))
                .value(value)
                .timestamp(timestamp)
        };
        (0..count).map(record).collect()
    }

    /// How many of them count.
    fn transact(&self, properties: &[(&str, &str)], records: Vec<Rec>, end: Step) -> u64 {
        let count = if matches!(end, Step::Commit) { records.len() as u64 } else { 0 };
        let steps: Vec<Step> = records.into_iter().map(Step::Record).chain([end]).collect();
        suite::must("a transaction", self.at.transact(self.topic, properties, &steps));
        count
    }
}
