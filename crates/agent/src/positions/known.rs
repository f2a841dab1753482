//! The positions known so far: of each lane the newest record of the log. Pure.

use std::collections::BTreeMap;

use copyist_model::{ConnectorName, LaneId};

use super::format::Entry;

/// Where a record lies in the positions topic. A key stays in one partition, so its offsets order it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub offset: i64,
}

/// Positions by lane.
#[derive(Debug, Default)]
pub struct Known {
    lanes: BTreeMap<LaneId, (Place, Option<i64>)>,
}

impl Known {
    /// Takes in a record; one that lies before what is known already changes nothing.
    pub fn apply(&mut self, place: Place, entry: Entry) {
        let known = self.lanes.get(&entry.lane);
        if known.is_none_or(|(newest, _)| *newest <= place) {
            self.lanes.insert(entry.lane, (place, entry.next_offset));
        }
    }

    /// The next source offset to copy.
    #[must_use]
    pub fn next_offset(&self, lane: &LaneId) -> Option<i64> {
        self.lanes.get(lane).and_then(|(_, next)| *next)
    }

    /// Every lane of a connector that has a position.
    #[must_use]
    pub fn all(&self, connector: &ConnectorName) -> Vec<(LaneId, i64)> {
        let of_it = self.lanes.iter().filter(|(lane, _)| lane.connector == *connector);
        of_it.filter_map(|(lane, (_, next))| Some((lane.clone(), (*next)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(connector: &str, partition: i32) -> LaneId {
        let (source_cluster, topic) = ("k".parse().unwrap(), "t".parse().unwrap());
        LaneId { connector: connector.parse().unwrap(), source_cluster, topic, partition }
    }

    #[test]
    fn the_newest_record_wins_in_whatever_order_they_are_seen() {
        let mut known = Known::default();
        let mut apply = |offset, next_offset| {
            known.apply(Place { offset }, Entry { lane: lane("c", 0), next_offset });
            known.next_offset(&lane("c", 0))
        };
        let rows = [
            (5, Some(50), Some(50)),
            (3, Some(30), Some(50)),
            (5, Some(50), Some(50)),
            (7, None, None),
            (6, Some(60), None),
            (8, Some(10), Some(10)),
        ];
        for (offset, next, expected) in rows {
            assert_eq!(apply(offset, next), expected, "record at {offset}");
        }
    }

    #[test]
    fn a_connectors_positions_are_its_own_and_not_the_deleted_ones() {
        let mut known = Known::default();
        for (connector, partition, next) in [("c", 1, Some(5)), ("c", 0, None), ("d", 0, Some(9))] {
            known.apply(Place { offset: 1 }, Entry { lane: lane(connector, partition), next_offset: next });
        }
        assert_eq!(known.all(&"c".parse().unwrap()), [(lane("c", 1), 5)]);
    }
}
