//! Lanes made ready to be read: their destination's leader known, their start stored.
//!
//! One preparation takes all lanes that wait; each comes out with where it begins, why it waits on, or why it
//! needs help. Calls that block have a deadline and a thread of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use copyist_model::{ClusterId, ConnectorName, LaneHeld, LaneId, OffsetReset, TopicName};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer;
use tokio_util::sync::CancellationToken;

use super::lanes::{LaneNumber, Wanted};
use super::session::{Clients, LaneQueue};
use super::start::{LogRange, Start, fresh, resumed};
use crate::engine::name::LaneName;
use crate::error::chain;
use crate::positions::{Positions, Stored};

/// Time for one question to a cluster.
const CALL_DEADLINE: Duration = Duration::from_secs(5);

/// What became of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is being read from this offset, which is stored.
    Begin(i64),
    Wait(String),
    Stop(String),
}

/// What a preparation came to.
#[derive(Default)]
pub(super) struct Preparation {
    pub cluster: Option<ClusterId>,
    /// Lanes whose destination partition has a leader.
    pub led: BTreeSet<LaneNumber>,
    pub outcomes: BTreeMap<LaneNumber, Outcome>,
    pub queues: Vec<(LaneNumber, LaneQueue)>,
}

impl Preparation {
    fn settle(&mut self, lane: &Wanted, outcome: Outcome) {
        self.outcomes.insert(lane.number, outcome);
    }
}

/// What a preparation works with.
pub(super) struct Preparer {
    pub clients: Clients,
    pub positions: Positions,
    pub connector: ConnectorName,
    pub cluster: Option<ClusterId>,
    pub reset: OffsetReset,
    /// What the coordinator's store holds of the lanes.
    pub records: Arc<BTreeMap<LaneId, LaneHeld>>,
    /// Cancelled when the result is no longer wanted; the calls under way still end in time.
    pub cancelled: CancellationToken,
}

impl Preparer {
    pub async fn prepare(self, mut wanted: Vec<Wanted>) -> Preparation {
        let mut done = Preparation { cluster: self.cluster.clone(), ..Preparation::default() };
        self.check_destination(&mut wanted, &mut done).await;
        if self.identify_source(&mut wanted, &mut done).await {
            self.look_up(&mut wanted, &mut done).await;
            self.check_log(&mut wanted, &mut done).await;
            self.begin(wanted, &mut done).await;
        }
        done
    }

    async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Clients) -> T + Send + 'static,
    ) -> Option<T> {
        if self.cancelled.is_cancelled() {
            return None;
        }
        let clients = self.clients.clone();
        tokio::task::spawn_blocking(move || call(&clients)).await.ok()
    }

    /// Leaves in `wanted` the lanes whose destination partition has a leader.
    async fn check_destination(&self, wanted: &mut Vec<Wanted>, done: &mut Preparation) {
        let topics: BTreeSet<TopicName> = wanted.iter().map(|lane| lane.name.destination.clone()).collect();
        let mut leaders = BTreeMap::new();
        for topic in topics {
            let asked = topic.clone();
            let answer = self.blocking(move |clients| leaders_of(clients, &asked)).await;
            let answer = answer.unwrap_or(Err(KafkaError::Canceled));
            let unreachable = answer.as_ref().is_err_and(is_unreachable);
            leaders.insert(topic, answer);
            if unreachable {
                break;
            }
        }
        wanted.retain(|lane| {
            let LaneName { destination, partition, .. } = &lane.name;
            let waits = match leaders.get(destination) {
                Some(Ok(led)) if led.contains(partition) => {
                    done.led.insert(lane.number);
                    return true;
                }
                Some(Ok(led)) if led.is_empty() => format!("the destination has no topic {destination} yet"),
                Some(Ok(_)) => format!("the destination's {destination}-{partition} has no leader"),
                Some(Err(error)) => format!("the destination does not tell of topic {destination}: {error}"),
                None => "the destination cluster does not answer".into(),
            };
            done.settle(lane, Outcome::Wait(waits));
            false
        });
    }

    /// The source's cluster id is part of each position's key. False: it is not known.
    async fn identify_source(&self, wanted: &mut Vec<Wanted>, done: &mut Preparation) -> bool {
        if done.cluster.is_none() && !wanted.is_empty() {
            let ask = |clients: &Clients| clients.consumer.client().fetch_cluster_id(CALL_DEADLINE);
            let answer = self.blocking(ask).await.flatten();
            done.cluster = answer.and_then(|id| id.parse().ok());
        }
        if done.cluster.is_none() {
            for lane in wanted.drain(..) {
                done.settle(&lane, Outcome::Wait("the source cluster does not answer".into()));
            }
        }
        done.cluster.is_some()
    }

    /// Fills in stored positions.
    async fn look_up(&self, wanted: &mut Vec<Wanted>, done: &mut Preparation) {
        let mut kept = Vec::with_capacity(wanted.len());
        if wanted.iter().any(|lane| lane.next.is_none()) {
            // Always to the present end: the destination does not complete what is old.
            let read = self.cancelled.run_until_cancelled(self.positions.read_to_end());
            if let Some(Err(error)) = read.await {
                let why = chain(&error);
                wanted.drain(..).for_each(|lane| done.settle(&lane, Outcome::Wait(why.clone())));
            }
        }
        for mut lane in wanted.drain(..) {
            if lane.next.is_none()
                && let Some(id) = self.lane_id(&lane, done)
            {
                let found = self.positions.known(&id, self.records.get(&id));
                match self.cancelled.run_until_cancelled(found).await {
                    Some(Ok(found)) => lane.next = found.stored.map(|stored| stored.next_offset),
                    Some(Err(error)) => {
                        done.settle(&lane, Outcome::Wait(chain(&error)));
                        continue;
                    }
                    None => continue,
                }
            }
            kept.push(lane);
        }
        *wanted = kept;
    }

    /// Starts the lanes without a position, and looks whether the suspect ones can go on.
    async fn check_log(&self, wanted: &mut Vec<Wanted>, done: &mut Preparation) {
        let mut fresh_lanes = Vec::new();
        let mut kept = Vec::with_capacity(wanted.len());
        let mut silent = None;
        for mut lane in wanted.drain(..) {
            if lane.next.is_some() && !lane.suspect {
                kept.push(lane);
                continue;
            }
            let answer = match &silent {
                None => self.ask_range(&lane.name).await,
                Some(error) => Err(KafkaError::clone(error)),
            };
            silent = answer.as_ref().err().filter(|error| is_unreachable(error)).cloned();
            match (answer, lane.next) {
                (Ok(log), None) => {
                    lane.next = Some(fresh(lane.start, self.reset, log));
                    fresh_lanes.push(lane);
                }
                (Ok(log), Some(next)) => match resumed(next, log) {
                    Start::At(_) => kept.push(lane),
                    Start::Stopped(why) => done.settle(&lane, Outcome::Stop(why)),
                },
                (Err(error), _) => {
                    let waits = format!("the source does not tell what the partition holds: {error}");
                    done.settle(&lane, Outcome::Wait(waits));
                }
            }
        }
        kept.extend(self.store_starts(fresh_lanes, done).await);
        *wanted = kept;
    }

    async fn ask_range(&self, name: &LaneName) -> Result<LogRange, KafkaError> {
        let name = name.clone();
        let asked = self.blocking(move |clients| range_of(clients, &name)).await;
        asked.unwrap_or(Err(KafkaError::Canceled))
    }

    /// Stores where lanes start before anything is read: a restart with `latest` skips nothing.
    async fn store_starts(&self, lanes: Vec<Wanted>, done: &mut Preparation) -> Vec<Wanted> {
        let start = |lane: &Wanted| Some((self.lane_id(lane, done)?, Stored::plain(lane.next?)));
        let starts: Vec<_> = lanes.iter().filter_map(start).collect();
        if starts.is_empty() {
            return lanes;
        }
        match self.cancelled.run_until_cancelled(self.positions.put(starts)).await {
            Some(Ok(())) => lanes,
            Some(Err(error)) => {
                let why = chain(&error);
                lanes.iter().for_each(|lane| done.settle(lane, Outcome::Wait(why.clone())));
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    async fn begin(&self, wanted: Vec<Wanted>, done: &mut Preparation) {
        let lanes: Vec<_> =
            wanted.iter().filter_map(|lane| Some((lane.number, lane.name.clone(), lane.next?))).collect();
        if lanes.is_empty() {
            return;
        }
        let begun = lanes.clone();
        let assigned = self.blocking(move |clients| clients.assign(&lanes)).await;
        match assigned.unwrap_or(Err(KafkaError::Canceled)) {
            Ok(queues) => {
                done.queues = queues;
                let begun = begun.into_iter().map(|(number, _, next)| (number, Outcome::Begin(next)));
                done.outcomes.extend(begun);
            }
            Err(error) => {
                let waits = format!("reading could not begin: {error}");
                wanted.iter().for_each(|lane| done.settle(lane, Outcome::Wait(waits.clone())));
            }
        }
    }

    fn lane_id(&self, lane: &Wanted, done: &Preparation) -> Option<LaneId> {
        let (connector, topic) = (self.connector.clone(), lane.name.source.clone());
        let source_cluster = done.cluster.clone()?;
        Some(LaneId { connector, source_cluster, topic, partition: lane.name.partition })
    }
}

fn is_unreachable(error: &KafkaError) -> bool {
    const SILENT: [RDKafkaErrorCode; 3] = [
        RDKafkaErrorCode::AllBrokersDown,
        RDKafkaErrorCode::BrokerTransportFailure,
        RDKafkaErrorCode::OperationTimedOut,
    ];
    error.rdkafka_error_code().is_none_or(|code| SILENT.contains(&code))
}

/// The partitions of a destination topic that have a leader; none when there is no such topic.
fn leaders_of(clients: &Clients, topic: &TopicName) -> Result<BTreeSet<i32>, KafkaError> {
    let metadata = clients.producer.client().fetch_metadata(Some(topic.as_str()), CALL_DEADLINE)?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic.as_str()) else {
        return Ok(BTreeSet::new());
    };
    match found.error().map(RDKafkaErrorCode::from) {
        None | Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Ok(found.partitions().iter().filter(|part| part.leader() >= 0).map(|part| part.id()).collect())
        }
        Some(code) => Err(KafkaError::MetadataFetch(code)),
    }
}

fn range_of(clients: &Clients, name: &LaneName) -> Result<LogRange, KafkaError> {
    let (low, high) =
        clients.consumer.fetch_watermarks(name.source.as_str(), name.partition, CALL_DEADLINE)?;
    Ok(LogRange { low, high })
}
