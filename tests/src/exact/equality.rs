//! Is every record of the source at the destination, once, in order, and nothing else? By offset: the k-th committed
//! record of a source partition must lie at offset k, for readers of both isolation levels.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Offsets;
use crate::record::{Content, Rec};
use crate::suite;
use crate::tool::Kafka;

/// How many misfits are shown of a partition.
const SHOWN: usize = 5;

/// A destination topic; what was deleted from its beginning on the way was read before that.
#[derive(Clone, Debug)]
pub struct Copies<'a> {
    pub at: Kafka<'a>,
    pub topic: &'a str,
    /// By partition, in the order of offsets.
    pub deleted: BTreeMap<i32, Vec<Rec>>,
}

impl Copies<'_> {
    /// Deletes all there is, after having read it; returns how many records that were.
    pub fn delete_all(&mut self) -> usize {
        let read = by_partition(suite::must("the copies", self.at.dump_with(&[UNCOMMITTED], &[self.topic])));
        let mut count = 0;
        for (partition, records) in read {
            // What arrives only now stays.
            let end = records.last().map_or(0, |record| record.offset + 1);
            suite::must("deleted", self.at.delete_records(self.topic, partition, end));
            count += records.len();
            self.deleted.entry(partition).or_default().extend(records);
        }
        count
    }
}

const UNCOMMITTED: (&str, &str) = ("isolation.level", "read_uncommitted");
const COMMITTED: (&str, &str) = ("isolation.level", "read_committed");

/// How many records are equal, or what is wrong.
pub fn check(source: &Kafka<'_>, topic: &str, copies: &Copies<'_>) -> Result<u64, String> {
    let sent = by_partition(suite::must("the source", source.dump_with(&[COMMITTED], &[topic])));
    let ends: Offsets = suite::must("offsets", copies.at.end_offsets(copies.topic));
    let mut wrong = String::new();
    for level in [UNCOMMITTED, COMMITTED] {
        let left = suite::must("the copies", copies.at.dump_with(&[level], &[copies.topic]));
        let mut copied = copies.deleted.clone();
        for record in left {
            copied.entry(record.partition.unwrap_or_default()).or_default().push(record);
        }
        for (partition, end) in &ends {
            let (sent, copied) = (of(&sent, *partition), of(&copied, *partition));
            if let Some(misfits) = compare(sent, copied, *end) {
                let _never = write!(wrong, "\n{}, partition {partition}: {misfits}", level.1);
            }
        }
    }
    if wrong.is_empty() { Ok(sent.values().map(|lane| lane.len() as u64).sum()) } else { Err(wrong) }
}

fn by_partition(records: Vec<Rec>) -> BTreeMap<i32, Vec<Rec>> {
    let mut lanes: BTreeMap<i32, Vec<Rec>> = BTreeMap::new();
    for record in records {
        lanes.entry(record.partition.unwrap_or_default()).or_default().push(record);
    }
    lanes
}

fn of(lanes: &BTreeMap<i32, Vec<Rec>>, partition: i32) -> &[Rec] {
    lanes.get(&partition).map(Vec::as_slice).unwrap_or_default()
}

/// Nothing: each copy lies where it should, and they are as many as the partition has offsets.
fn compare(sent: &[Rec], copied: &[Rec], end: i64) -> Option<String> {
    let misplaced = |(place, (sent, copied)): (usize, (&Rec, &Rec))| {
        let same = sent.content() == copied.content() && usize::try_from(copied.offset) == Ok(place);
        (!same).then(|| {
            let [sent_value, value] = [sent, copied].map(start_of_value);
            format!(
                "offset {} holds {value:?}, not {sent_value:?} of source offset {} (record {place})",
                copied.offset, sent.offset
            )
        })
    };
    let shown: Vec<String> = sent.iter().zip(copied).enumerate().filter_map(misplaced).take(SHOWN).collect();
    let counts_agree = sent.len() == copied.len() && usize::try_from(end) == Ok(sent.len());
    if shown.is_empty() && counts_agree {
        return None;
    }
    let mut times: BTreeMap<Content<'_>, usize> = BTreeMap::new();
    for record in copied {
        *times.entry(record.content()).or_default() += 1;
    }
    let missing = sent.iter().filter(|record| !times.contains_key(&record.content())).count();
    let twice = times.values().filter(|times| **times > 1).count();
    let (sent, copied) = (sent.len(), copied.len());
    Some(format!(
        "{sent} sent, {copied} copied, end offset {end}; {missing} missing, {twice} more than once; {}",
        shown.join("; ")
    ))
}

fn start_of_value(record: &Rec) -> String {
    let value = record.value.as_deref().unwrap_or_default();
    String::from_utf8_lossy(value).chars().take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(values: &[u8]) -> Vec<Rec> {
        let record = |(offset, value): (usize, &u8)| {
            let mut record = Rec::new("t", 0).value([*value]).timestamp(7);
            record.offset = i64::try_from(offset).expect("few");
            record
        };
        values.iter().enumerate().map(record).collect()
    }

    #[test]
    fn whatever_is_wrong_is_seen() {
        let sent = lane(b"abcd");
        assert_eq!(compare(&sent, &sent, 4), None);
        let rows: [(&[u8], i64, &str); 6] = [
            (b"abbcd", 5, "1 more than once"),
            (b"abd", 3, "1 missing"),
            (b"abdc", 4, "offset 2 holds \"d\", not \"c\""),
            (b"abc", 3, "4 sent, 3 copied"),
            (b"abcde", 5, "4 sent, 5 copied"),
            (b"abcd", 5, "end offset 5"),
        ];
        for (copied, end, text) in rows {
            let found = compare(&sent, &lane(copied), end).unwrap_or_default();
            assert!(found.contains(text), "{found}");
        }
        let mut moved = sent.clone();
        moved[3].offset = 9;
        assert!(compare(&sent, &moved, 4).is_some_and(|found| found.contains("offset 9")));
        let mut stamped = sent.clone();
        stamped[0].timestamp = Some(8);
        assert!(compare(&sent, &stamped, 4).is_some());
    }
}
