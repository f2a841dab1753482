//! How far a topic was read, and whether that is as far as it went when the reading began. Pure.

use std::collections::BTreeMap;

use copyist_kafka::Topic;

/// Of one topic's partitions. It outlives connections: reading goes on where it stopped.
#[derive(Debug, Default)]
pub(super) struct Progress {
    topic: Option<Topic>,
    partitions: BTreeMap<i32, Reached>,
}

#[derive(Debug, Default)]
struct Reached {
    next_offset: i64,
    /// Where committed records ended when it was first seen.
    end: Option<i64>,
}

impl Reached {
    fn is_at_end(&self) -> bool {
        self.end.is_some_and(|end| self.next_offset >= end)
    }
}

impl Progress {
    /// Takes in what the topic is now: another topic of its name is read from its start.
    pub fn meet(&mut self, topic: &Topic, partitions: impl Iterator<Item = i32>) {
        if self.topic.as_ref() != Some(topic) {
            *self = Self { topic: Some(topic.clone()), partitions: BTreeMap::new() };
        }
        for partition in partitions {
            self.partitions.entry(partition).or_default();
        }
    }

    /// The offset to read a partition on from.
    #[must_use]
    pub fn next_offset(&self, partition: i32) -> i64 {
        self.partitions.get(&partition).map_or(0, |reached| reached.next_offset)
    }

    /// Everything below `next_offset` was told. `last_stable_offset` is where committed records end now.
    pub fn advance(&mut self, partition: i32, next_offset: i64, last_stable_offset: i64) {
        if let Some(reached) = self.partitions.get_mut(&partition) {
            reached.next_offset = next_offset;
            // Smaller, it was cut: what is not there any more will not come.
            let end = reached.end.map_or(last_stable_offset, |end| end.min(last_stable_offset));
            reached.end = Some(end);
        }
    }

    /// The log begins at `earliest`, or ends before what was read: what is left is what counts.
    pub fn restart(&mut self, partition: i32, earliest: i64) {
        if let Some(reached) = self.partitions.get_mut(&partition) {
            *reached = Reached { next_offset: earliest, end: None };
        }
    }

    /// How many there are.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Whether each partition was read to where it ended when it was first seen.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        !self.partitions.is_empty() && self.partitions.values().all(Reached::is_at_end)
    }

    /// Whether each of these partitions was read up to here. Of another topic by now, it was not.
    #[must_use]
    pub fn reaches(&self, ends: &BTreeMap<i32, i64>) -> bool {
        ends.iter().all(|(partition, end)| self.next_offset(*partition) >= *end)
    }

    /// The same of some partitions.
    #[must_use]
    pub fn are_loaded(&self, mut partitions: impl Iterator<Item = i32>) -> bool {
        partitions.all(|partition| self.partitions.get(&partition).is_some_and(Reached::is_at_end))
    }
}

#[cfg(test)]
mod tests {
    use copyist_model::TopicId;

    use super::*;

    fn topic(id: u128) -> Topic {
        Topic::new("t".parse().unwrap(), TopicId(id))
    }

    #[test]
    fn it_is_loaded_once_each_partition_is_where_it_ended_at_first() {
        let mut progress = Progress::default();
        assert!(!progress.is_loaded(), "nothing is known");
        progress.meet(&topic(1), 0..2);
        progress.advance(0, 10, 10);
        assert!(!progress.is_loaded(), "partition 1 was not seen");
        progress.advance(1, 5, 20);
        assert!(!progress.is_loaded(), "it ended at 20");
        progress.advance(1, 19, 30);
        assert!(!progress.is_loaded());
        assert!(progress.are_loaded(0..1) && !progress.are_loaded(0..2) && !progress.are_loaded(9..10));
        progress.advance(1, 20, 40);
        assert!(progress.is_loaded(), "what came meanwhile does not count");
        assert_eq!(progress.partitions(), 2);
        assert_eq!((progress.next_offset(0), progress.next_offset(1), progress.next_offset(9)), (10, 20, 0));
    }

    #[test]
    fn it_reaches_what_was_the_end_of_each_partition() {
        let mut progress = Progress::default();
        progress.meet(&topic(1), 0..2);
        progress.advance(0, 10, 10);
        progress.advance(1, 4, 9);
        let reaches = |ends: [i64; 2]| progress.reaches(&(0..).zip(ends).collect());
        assert!(reaches([10, 4]) && !reaches([11, 4]) && !reaches([10, 5]));
        assert!(!progress.reaches(&[(7, 1)].into()) && progress.reaches(&[(7, 0)].into()), "an empty one");
    }

    #[test]
    fn an_empty_partition_is_read_at_once() {
        let mut progress = Progress::default();
        progress.meet(&topic(1), 0..1);
        progress.advance(0, 0, 0);
        assert!(progress.is_loaded());
    }

    #[test]
    fn a_log_cut_at_either_end_is_read_from_its_start_to_its_end() {
        let mut progress = Progress::default();
        progress.meet(&topic(1), 0..1);
        progress.advance(0, 50, 90);
        progress.restart(0, 60);
        assert_eq!(progress.next_offset(0), 60);
        progress.advance(0, 70, 80);
        assert!(!progress.is_loaded());
        progress.advance(0, 70, 70);
        assert!(progress.is_loaded(), "the rest is gone");
    }

    #[test]
    fn the_same_topic_goes_on_and_another_of_its_name_starts_anew() {
        let mut progress = Progress::default();
        progress.meet(&topic(1), 0..1);
        progress.advance(0, 50, 50);
        progress.meet(&topic(1), 0..2);
        assert_eq!(progress.next_offset(0), 50);
        assert!(!progress.is_loaded(), "it has grown");
        progress.meet(&topic(2), 0..1);
        assert_eq!(progress.next_offset(0), 0);
        assert!(!progress.is_loaded());
    }
}
