//! A route meets its clusters: connecting, asking who leads, noticing that a topic was created anew.

use std::sync::Arc;
use std::time::Duration;

use copyist_kafka::{Cluster, Error, Leader, Metadata, PartitionKey, Topic};
use copyist_lane::{Event, SourceTrouble};
use copyist_model::TopicName;
use tokio::time::sleep;

use super::fetching::jittered;
use super::lane::{LaneCell, LaneNumber};
use super::route::{Happening, Route};
use super::sides::End;
use crate::driver::boot;

/// Not doubling: `Cluster::connect` takes its time with each server already.
const RECONNECT: Duration = Duration::from_millis(250);

impl Route {
    /// Reaches a cluster for the first time.
    pub(super) fn connect(&mut self, end: End, after: Duration) {
        let options = self.side(end).options.clone();
        self.do_later(async move {
            sleep(after).await;
            Happening::Connected(end, Cluster::connect(options).await)
        });
    }

    pub(super) fn connected(&mut self, end: End, result: Result<Cluster, Error>) {
        let now = boot();
        let side = self.side(end);
        side.hear(result.as_ref().err(), now);
        match result {
            Ok(cluster) => {
                side.cluster = Some(cluster);
                self.refresh(end);
            }
            Err(_) => self.connect(end, jittered(RECONNECT)),
        }
        self.tasks.values_mut().for_each(|task| task.changed = true);
    }

    /// Asks how a cluster is now; when that is being asked already, once more afterwards.
    pub(super) fn refresh(&mut self, end: End) {
        let side = self.side(end);
        let Some(cluster) = side.cluster.clone() else { return };
        if std::mem::replace(&mut side.refreshing, true) {
            side.refresh_again = true;
            return;
        }
        let topics = self.topics(end);
        self.do_later(async move {
            cluster.set_topics(topics);
            Happening::Refreshed(end, cluster.refresh().await)
        });
    }

    fn topics(&self, end: End) -> std::collections::BTreeSet<TopicName> {
        let of_lane = |lane: &LaneCell| match end {
            End::Source => lane.name.source.clone(),
            End::Destination => lane.name.destination.clone(),
        };
        self.lanes.values().map(of_lane).collect()
    }

    pub(super) fn refreshed(&mut self, end: End, result: Result<Arc<Metadata>, Error>) {
        let now = boot();
        let side = self.side(end);
        side.refreshing = false;
        side.hear(result.as_ref().err(), now);
        if std::mem::take(&mut side.refresh_again) || result.is_err() {
            self.refresh(end);
        }
        self.tasks.values_mut().for_each(|task| task.changed = true);
        self.look_at_leaders();
        self.give_birth(now);
    }

    /// Asks again as long as a lane lacks a leader.
    pub(super) fn refresh_while_leaderless(&mut self) {
        let lacks = |end: End| {
            self.lanes.values().any(|lane| match (lane.seen(), end) {
                (Some(alive), End::Source) => alive.source_leader.is_none(),
                (Some(alive), End::Destination) => alive.destination_leader.is_none(),
                (None, End::Source) => self.source.view().topic(&lane.name.source).is_none(),
                (None, End::Destination) => self.destination.view().topic(&lane.name.destination).is_none(),
            })
        };
        let (source, destination) = (lacks(End::Source), lacks(End::Destination));
        for (end, lacking) in [(End::Source, source), (End::Destination, destination)] {
            if lacking && !self.side(end).refreshing {
                self.refresh(end);
            }
        }
    }

    /// Tells lanes of leaders that changed, and of topics that are others now.
    pub(super) fn look_at_leaders(&mut self) {
        let (source, destination) = (self.source.view(), self.destination.view());
        let numbers: Vec<LaneNumber> = self.lanes.keys().copied().collect();
        for number in numbers {
            self.look_at_leaders_of(number, &source, &destination);
        }
    }

    fn look_at_leaders_of(&mut self, number: LaneNumber, source: &Metadata, destination: &Metadata) {
        let Some(alive) = self.lanes.get_mut(&number).and_then(LaneCell::alive) else { return };
        if let Some(topic) = other_topic(source, &alive.source) {
            let id = topic.id();
            alive.source.topic = topic;
            self.events.push_back((number, Event::Source(SourceTrouble::Recreated(id))));
        }
        if let Some(topic) = other_topic(destination, &alive.destination) {
            let id = topic.id();
            alive.destination.topic = topic;
            self.events.push_back((number, Event::DestinationRecreated(id)));
        }
        let leaders: [Option<Leader>; 2] =
            [source.leader(&alive.source), destination.leader(&alive.destination)];
        if leaders != [alive.source_leader, alive.destination_leader] {
            [alive.source_leader, alive.destination_leader] = leaders;
            let [source, destination] = leaders.map(|leader| leader.is_some());
            self.events.push_back((number, Event::Leaders { source, destination }));
        }
        self.busy.insert(number);
    }
}

/// The topic that has the name now, when it is not the one that was copied, or has an id only now, as its brokers were
/// upgraded: the lane begins again with that, and finds no loss where the record has no id. A broker that knows of no
/// ids says nothing.
fn other_topic(view: &Metadata, key: &PartitionKey) -> Option<Topic> {
    let now = view.topic(key.topic.name())?;
    let changed = now.topic.id() != key.topic.id() && !now.topic.id().is_none();
    changed.then(|| now.topic.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use copyist_kafka::metadata::TopicMetadata;
    use copyist_model::TopicId;

    use super::*;

    fn topic(id: u128) -> Topic {
        Topic::new("t".parse().expect("a name"), TopicId(id))
    }

    #[test]
    fn a_topic_is_another_by_its_id_and_by_its_first_one() {
        // Known, told, and what the lane begins again with.
        let rows = [(0, 0, None), (7, 7, None), (7, 8, Some(8)), (0, 8, Some(8)), (7, 0, None)];
        for (known, told, expected) in rows {
            let found = TopicMetadata {
                topic: topic(told),
                code: copyist_kafka::Code::NONE,
                is_internal: false,
                partitions: BTreeMap::new(),
            };
            let topics = [(found.topic.name().clone(), found)].into();
            let view = Metadata { topics, ..Metadata::default() };
            let other = other_topic(&view, &PartitionKey { topic: topic(known), partition: 0 });
            assert_eq!(other.map(|topic| topic.id()), expected.map(TopicId), "{known} {told}");
        }
    }
}
