//! How lanes become tasks.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::{LaneStart, TaskLanes, TopicName};

/// A lane that no task has yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLane {
    pub source: TopicName,
    pub destination: TopicName,
    pub partition: i32,
    pub start: LaneStart,
}

/// Gives new lanes to tasks: a task of its own each while there are fewer than `bound`, else the one with the
/// fewest lanes (the lowest number of several). Growth only adds. Returns the tasks that changed, whole.
#[must_use]
pub fn grow(tasks: &BTreeMap<u32, TaskLanes>, new: &[NewLane], bound: u32) -> BTreeMap<u32, TaskLanes> {
    let mut grown = tasks.clone();
    let mut by_size: BTreeSet<(usize, u32)> =
        tasks.iter().map(|(number, lanes)| (lanes.len(), *number)).collect();
    let mut changed = BTreeSet::new();
    for lane in new {
        let count = u32::try_from(grown.len()).unwrap_or(u32::MAX);
        let number = match by_size.first() {
            Some(&(size, number)) if count >= bound => {
                by_size.remove(&(size, number));
                number
            }
            Some(_) | None => count,
        };
        let lanes = grown.entry(number).or_default();
        lanes.insert(&lane.source, &lane.destination, lane.partition, lane.start);
        by_size.insert((lanes.len(), number));
        changed.insert(number);
    }
    grown.retain(|number, _| changed.contains(number));
    grown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lanes(count: i32) -> Vec<NewLane> {
        let topic: TopicName = "t".parse().unwrap();
        let lane = |partition| NewLane {
            source: topic.clone(),
            destination: topic.clone(),
            partition,
            start: LaneStart::Reset,
        };
        (0..count).map(lane).collect()
    }

    fn sizes(tasks: &BTreeMap<u32, TaskLanes>) -> Vec<(u32, usize)> {
        tasks.iter().map(|(number, lanes)| (*number, lanes.len())).collect()
    }

    #[test]
    fn one_task_each_until_the_bound_then_the_smallest() {
        assert_eq!(sizes(&grow(&BTreeMap::new(), &lanes(3), 256)), [(0, 1), (1, 1), (2, 1)]);
        assert_eq!(sizes(&grow(&BTreeMap::new(), &lanes(7), 3)), [(0, 3), (1, 2), (2, 2)]);
        let before = grow(&BTreeMap::new(), &lanes(4), 3);
        let more: Vec<_> = lanes(6).split_off(4);
        assert_eq!(sizes(&grow(&before, &more, 3)), [(1, 2), (2, 2)], "only the smallest grew");
        assert!(grow(&before, &[], 3).is_empty());
    }

    proptest! {
        #[test]
        fn growth_adds_every_lane_once_and_stays_balanced(first in 0..40i32, second in 0..40i32, bound in 1..9u32) {
            let all = lanes(first + second);
            let (one, two) = all.split_at(usize::try_from(first).unwrap());
            let mut tasks = grow(&BTreeMap::new(), one, bound);
            tasks.extend(grow(&tasks, two, bound));
            let total: usize = tasks.values().map(TaskLanes::len).sum();
            prop_assert_eq!(total, all.len());
            prop_assert!(tasks.len() <= bound as usize);
            let sizes: Vec<usize> = tasks.values().map(TaskLanes::len).collect();
            let spread = sizes.iter().max().unwrap_or(&0) - sizes.iter().min().unwrap_or(&0);
            prop_assert!(spread <= 1, "{:?}", sizes);
            prop_assert!(tasks.keys().copied().eq(0..u32::try_from(tasks.len()).unwrap()));
        }
    }
}
