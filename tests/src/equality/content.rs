//! Is exactly this at the destination? By offset, without a gap, for readers of both isolation levels.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::progress::Progress;
use crate::record::{Content, Rec, TimestampType};
use crate::scenario::{LIMIT, Scenario};
use crate::suite;
use crate::tool::Kafka;
use crate::wait::wait_until;

/// How many misfits are shown of a partition.
const SHOWN: usize = 5;
const LEVELS: [&str; 2] = ["read_committed", "read_uncommitted"];

/// What timestamps the copies bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Those of what was sent, as CreateTime.
    Kept,
    /// The destination's own.
    Appended,
}

/// Waits until a topic holds as many records as expected, and insists that it holds exactly those: in each partition in
/// this order, from its first offset on without a gap, the same for readers of both isolation levels.
#[expect(clippy::panic, reason = "a test whose copies differ has failed, and says where")]
pub fn wait_exactly(scenario: &Scenario, expected: &[Rec], at: &Kafka<'_>, topic: &str, times: Times) {
    let wanted = i64::try_from(expected.len()).unwrap_or(i64::MAX);
    let mut there = 0;
    let what = format!("{wanted} records in {topic}");
    let found = wait_until(&what, LIMIT, Progress::Silent, || {
        there = match (at.beginning_offsets(topic), at.end_offsets(topic)) {
            (Ok(begins), Ok(ends)) => ends.values().sum::<i64>() - begins.values().sum::<i64>(),
            (Err(error), _) | (_, Err(error)) if is_absent(&error) => 0,
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        Ok((there >= wanted).then_some(()))
    });
    scenario.must(&format!("{what}, of which {there} are there"), found);
    if let Err(misfits) = exactly(expected, at, topic, times) {
        panic!("{topic}: {misfits}\n{}", crate::error::LogTail::read(&scenario.copyist.log_path()));
    }
}

fn is_absent(error: &crate::error::Error) -> bool {
    error.kafka_class() == Some("UnknownTopicOrPartitionException")
}

/// As [`wait_exactly`], at once; what is wrong, in words.
///
/// # Errors
/// What is not as it must be.
pub fn exactly(expected: &[Rec], at: &Kafka<'_>, topic: &str, times: Times) -> Result<(), String> {
    let (begins, ends) =
        (suite::must("offsets", at.beginning_offsets(topic)), suite::must("offsets", at.end_offsets(topic)));
    let sent = by_partition(expected);
    let mut wrong = String::new();
    for level in LEVELS {
        let read = suite::must("the copies", at.dump_with(&[("isolation.level", level)], &[topic]));
        let copied = by_partition(&read);
        for (partition, begin) in &begins {
            let end = ends.get(partition).copied().unwrap_or_default();
            let (sent, copied) = (of(&sent, *partition), of(&copied, *partition));
            if let Some(misfits) = misfits(sent, copied, (*begin, end), times) {
                let _never = write!(wrong, "\n{level}, partition {partition}: {misfits}");
            }
        }
    }
    match sent.keys().find(|partition| !begins.contains_key(partition)) {
        Some(partition) => Err(format!("{wrong}\nthere is no partition {partition}")),
        None if wrong.is_empty() => Ok(()),
        None => Err(wrong),
    }
}

fn by_partition(records: &[Rec]) -> BTreeMap<i32, Vec<&Rec>> {
    let mut lanes: BTreeMap<i32, Vec<&Rec>> = BTreeMap::new();
    for record in records {
        lanes.entry(record.partition.unwrap_or_default()).or_default().push(record);
    }
    lanes
}

fn of<'l, 'r>(lanes: &'l BTreeMap<i32, Vec<&'r Rec>>, partition: i32) -> &'l [&'r Rec] {
    lanes.get(&partition).map(Vec::as_slice).unwrap_or_default()
}

/// Nothing: the k-th copy is the k-th that was sent, and lies k after the first offset.
fn misfits(sent: &[&Rec], copied: &[&Rec], (begin, end): (i64, i64), times: Times) -> Option<String> {
    let misplaced = |(place, (sent, copied)): (i64, (&&Rec, &&Rec))| {
        let same = content(sent, times) == content(copied, times) && type_fits(copied, times);
        let here = copied.offset == begin + place;
        (!same || !here).then(|| {
            format!(
                "record {place} is at offset {}: {} instead of {}",
                copied.offset,
                shown(copied),
                shown(sent)
            )
        })
    };
    let found: Vec<String> = (0..).zip(sent.iter().zip(copied)).filter_map(misplaced).take(SHOWN).collect();
    let count = usize::try_from(end - begin).unwrap_or(usize::MAX);
    if found.is_empty() && sent.len() == copied.len() && count == sent.len() {
        return None;
    }
    Some(format!(
        "{} expected, {} there, offsets {begin} to {}; {}",
        sent.len(),
        copied.len(),
        end - 1,
        found.join("; ")
    ))
}

fn content(record: &Rec, times: Times) -> Content<'_> {
    match times {
        Times::Kept => record.content(),
        Times::Appended => Content { timestamp: None, ..record.content() },
    }
}

fn type_fits(record: &Rec, times: Times) -> bool {
    match times {
        Times::Kept => record.timestamp_type == TimestampType::CreateTime,
        Times::Appended => record.timestamp_type == TimestampType::LogAppendTime,
    }
}

fn shown(record: &Rec) -> String {
    let text = |bytes: &Option<Vec<u8>>| match bytes {
        None => "null".to_owned(),
        Some(bytes) => String::from_utf8_lossy(bytes).chars().take(24).collect(),
    };
    format!("({}, {}, at {:?})", text(&record.key), text(&record.value), record.timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(values: &[u8]) -> Vec<Rec> {
        let record = |(offset, value): (i64, &u8)| {
            let mut record = Rec::new("t", 0).value([*value]).timestamp(7);
            record.offset = offset;
            record
        };
        (0..).zip(values).map(record).collect()
    }

    fn judged(sent: &[Rec], copied: &[Rec], offsets: (i64, i64), times: Times) -> Option<String> {
        let (sent, copied): (Vec<&Rec>, Vec<&Rec>) = (sent.iter().collect(), copied.iter().collect());
        misfits(&sent, &copied, offsets, times)
    }

    #[test]
    fn whatever_is_wrong_is_seen() {
        let sent = lane(b"abcd");
        assert_eq!(judged(&sent, &sent, (0, 4), Times::Kept), None);
        let rows: [(&[u8], i64); 6] =
            [(b"abbcd", 5), (b"abd", 3), (b"abdc", 4), (b"abc", 3), (b"abcde", 5), (b"abcd", 5)];
        for (copied, end) in rows {
            assert!(judged(&sent, &lane(copied), (0, end), Times::Kept).is_some(), "{copied:?}");
        }
        assert!(judged(&sent, &sent, (1, 5), Times::Kept).is_some(), "not from the first offset on");
        let mut stamped = lane(b"abcd");
        stamped[0].timestamp = Some(8);
        assert!(judged(&sent, &stamped, (0, 4), Times::Kept).is_some());
        assert!(judged(&sent, &stamped, (0, 4), Times::Appended).is_some(), "they are CreateTime");
        for record in &mut stamped {
            record.timestamp_type = TimestampType::LogAppendTime;
        }
        assert_eq!(judged(&sent, &stamped, (0, 4), Times::Appended), None);
    }
}
