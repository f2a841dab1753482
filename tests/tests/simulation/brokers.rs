//! The data plane: source logs, destination partitions as `fence.md` measured them, the store of positions.

use std::collections::BTreeMap;

use copyist_agent::job::Order;
use copyist_agent::positions::format::{Entry, Stored};
use copyist_agent::positions::known::{Known, Place, Remembered};
use copyist_coordinator::core::Holder;
use copyist_lane::align::Fingerprint;
use copyist_lane::{Answer, Question};
use copyist_model::{
    AssignmentEpoch, LaneEnd, LaneGeneration, LaneId, LaneRecord, Position, TopicId, TopicName,
};

use crate::broker::{Batch, EXPIRATION_MS, Partition};
use crate::dice::Dice;
use crate::invariants::Fact;
use crate::sim::{Sim, WALL_BEGAN_MS};

/// A partition of a source topic.
pub type SourceKey = (TopicName, i32);

/// How old records are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    Fresh,
    /// Two days old: the brokers forget their producer at each look.
    Old,
    /// A backfill that catches up.
    Turning,
}

/// A Produce request on its way.
#[derive(Debug, Clone)]
pub struct Request {
    pub to: SourceKey,
    pub by: Holder,
    pub epoch: AssignmentEpoch,
    pub token: u64,
    pub producer_id: i64,
    pub sequence: i64,
    pub records: Vec<i64>,
    pub max_timestamp: i64,
    /// On a connection of its own: only the right keeps it from harm.
    pub is_weak: bool,
    pub sent: u64,
    pub arrives: u64,
}

/// A user has changed where a lane goes on.
#[derive(Debug, Clone, Copy)]
struct Altered {
    start: i64,
    /// It is acknowledged. Before, or where the store has lost it, the lane may go on as if it had not been.
    is_sure: bool,
}

/// One lane's two ends.
#[derive(Debug, Default)]
pub struct Pair {
    /// Timestamps by offset; nothing: no record there (a control record, an aborted one).
    pub source: Vec<Option<i64>>,
    pub destination: Partition,
    /// Batches that were compared with the source, and the offset expected next.
    compared: (usize, i64),
    altered: Option<Altered>,
}

#[derive(Debug)]
pub struct Brokers {
    pub pairs: BTreeMap<SourceKey, Pair>,
    /// In the order of the topic.
    positions: BTreeMap<LaneId, Vec<Option<Stored>>>,
    times: Times,
    has_holes: bool,
    last_producer_id: i64,
}

impl Brokers {
    pub fn new(times: Times, has_holes: bool) -> Self {
        Self { pairs: BTreeMap::new(), positions: BTreeMap::new(), times, has_holes, last_producer_id: 100 }
    }

    pub fn pair(&mut self, key: &SourceKey) -> &mut Pair {
        self.pairs.entry(key.clone()).or_default()
    }

    pub fn source_end(&self, key: &SourceKey) -> i64 {
        self.pairs.get(key).map_or(0, |pair| i64::try_from(pair.source.len()).expect("a short log"))
    }

    pub fn timestamp(&self, key: &SourceKey, offset: i64) -> Option<i64> {
        let source = &self.pairs.get(key)?.source;
        usize::try_from(offset).ok().and_then(|at| source.get(at).copied().flatten())
    }

    pub fn grow(&mut self, dice: &mut Dice, wall_ms: i64, key: &SourceKey, records: u64) {
        let (times, has_holes) = (self.times, self.has_holes);
        let pair = self.pair(key);
        for _ in 0..records {
            let at = i64::try_from(pair.source.len()).expect("a short log");
            let old = WALL_BEGAN_MS - 2 * EXPIRATION_MS + at;
            let timestamp = match times {
                Times::Fresh => wall_ms,
                Times::Old => old,
                Times::Turning if at < 12 => old,
                Times::Turning => wall_ms,
            };
            pair.source.push((!(has_holes && dice.percent(12))).then_some(timestamp));
        }
    }

    /// The last offset is a record, so that nothing is left that an idle lane does not notice.
    pub fn finish(&mut self, wall_ms: i64) {
        for pair in self.pairs.values_mut().filter(|pair| pair.source.last() == Some(&None)) {
            pair.source.push(Some(wall_ms));
        }
    }

    /// The brokers' look at what their producers wrote last; says how many were forgotten.
    pub fn forget(&mut self, wall_ms: i64) -> usize {
        self.pairs.values_mut().map(|pair| pair.destination.expire(wall_ms)).sum()
    }

    pub fn answer(&mut self, key: &SourceKey, what: Question) -> Answer {
        let latest = self.source_end(key);
        let destination = &self.pair(key).destination;
        match what {
            Question::ProducerState { producer_id } => Answer::ProducerState(destination.state(producer_id)),
            Question::LogEnd => Answer::LogEnd(destination.end()),
            Question::HighWatermark => Answer::HighWatermark(destination.high_watermark),
            Question::Tail { offset } => Answer::Tail(destination.tail(offset)),
            Question::NewProducerId => {
                self.last_producer_id += 1;
                Answer::NewProducerId(self.last_producer_id)
            }
            Question::SourceRange => Answer::SourceRange { earliest: 0, latest },
            Question::Contents { source_from, destination_from, destination_to } => {
                let print = |offset: i64| Fingerprint(offset.unsigned_abs().into());
                let copied = destination.copied_between(destination_from, destination_to);
                let source = (source_from.max(0)..latest).filter(|at| self.timestamp(key, *at).is_some());
                Answer::Contents {
                    source: source.map(|at| (at, print(at))).collect(),
                    destination: copied.into_iter().map(print).collect(),
                }
            }
            // Asked of the coordinator.
            Question::EpochCurrent { .. } => Answer::Lost,
        }
    }

    /// A position reaches the store. Says whether it is news.
    pub fn store(&mut self, lane: &LaneId, position: Position, record: LaneRecord) -> bool {
        let progress = |position: &Position| (position.generation, position.n);
        let log = self.positions.entry(lane.clone()).or_default();
        let known = log.iter().flatten().filter_map(|stored| stored.exact.as_ref());
        let is_news = known.map(|exact| progress(&exact.position)).max() <= Some(progress(&position));
        log.push(Some(Stored::exact(position, record)));
        is_news
    }

    /// How many positions of a lane there are, and what an agent makes of the first `read` of them.
    pub fn stored(&self, lane: &LaneId) -> usize {
        self.positions.get(lane).map_or(0, Vec::len)
    }

    pub fn remembered(&self, lane: &LaneId, read: usize, altered: LaneGeneration) -> Remembered {
        let mut known = Known::default();
        for (offset, stored) in (0..).zip(self.positions.get(lane).into_iter().flatten().take(read)) {
            known.apply(Place { offset }, Entry { lane: lane.clone(), stored: stored.clone() });
        }
        known.remembered(lane, altered)
    }

    /// A user wants a lane to go on from here; nothing: from the start. Returns the newest generation that there was.
    pub fn alter(&mut self, lane: &LaneId, next_offset: Option<i64>) -> LaneGeneration {
        let newest = self.remembered(lane, usize::MAX, LaneGeneration::default()).newest;
        self.positions.entry(lane.clone()).or_default().push(next_offset.map(Stored::plain));
        let altered = Altered { start: next_offset.unwrap_or(0), is_sure: false };
        self.pair(&(lane.topic.clone(), lane.partition)).altered = Some(altered);
        newest
    }

    /// Whether what a user has changed and no lane has begun by yet must come about.
    pub fn make_sure(&mut self, is_sure: bool, of: impl Fn(&SourceKey) -> bool) {
        let pairs = self.pairs.iter_mut().filter(|(key, _)| of(key));
        pairs.filter_map(|(_, pair)| pair.altered.as_mut()).for_each(|altered| altered.is_sure = is_sure);
    }
}

impl Pair {
    /// What is wrong with the destination, of what was not looked at before.
    fn compare(&mut self) -> Option<String> {
        let (batches, mut expected) = self.compared;
        let mut wrong = None;
        for batch in &self.destination.batches[batches..] {
            for &found in &batch.records {
                let is_hole = |at: i64| self.source.get(usize::try_from(at).unwrap_or(0)) == Some(&None);
                let record_from = |mut at: i64| {
                    while is_hole(at) {
                        at += 1;
                    }
                    at
                };
                expected = record_from(expected);
                if let Some(altered) = self.altered
                    && (altered.is_sure || found != expected)
                {
                    self.altered = None;
                    expected = record_from(altered.start);
                }
                if found != expected {
                    let text = format!("source offset {found} arrived where {expected} belongs");
                    wrong.get_or_insert(text);
                }
                expected = found + 1;
            }
        }
        self.compared = (self.destination.batches.len(), expected);
        wrong
    }

    /// How many records are still to come.
    pub fn missing(&self) -> usize {
        let from =
            |at: i64| self.source.iter().skip(usize::try_from(at).expect("a short log")).flatten().count();
        let (_, expected) = self.compared;
        match self.altered {
            None => from(expected),
            Some(Altered { start, is_sure: true }) => from(start),
            Some(Altered { start, is_sure: false }) => from(start).min(from(expected)),
        }
    }
}

impl Sim {
    /// A request reaches the leader of its partition.
    pub fn append(&mut self, request: &Request) -> Result<i64, i16> {
        let pair = self.brokers.pair(&request.to);
        let before = pair.destination.end();
        let answer = pair.destination.append(Batch {
            base_offset: 0,
            count: i64::try_from(request.records.len()).expect("small"),
            producer_id: request.producer_id,
            base_sequence: request.sequence,
            max_timestamp: request.max_timestamp,
            records: request.records.clone(),
        });
        pair.destination.replicate();
        let is_new = pair.destination.end() > before;
        let wrong = pair.compare();
        let (topic, partition) = &request.to;
        let (by, epoch) = (request.by.clone(), request.epoch);
        self.note(crate::node::Node::Brokers, "appends", || {
            let weak = if request.is_weak { "weak" } else { "fenced" };
            let records = &request.records;
            format!("{topic}-{partition} {records:?} of {}@{epoch}, {weak}: {answer:?}", by.incarnation)
        });
        match answer {
            Err(_) => self.trace.count("batches refused"),
            Ok(_) if is_new => self.trace.count("batches appended"),
            Ok(_) => self.trace.count("resends recognised"),
        }
        if is_new {
            let (lane, is_weak) = (request.to.clone(), request.is_weak);
            self.facts.push(Fact::Appended { lane, by, epoch, is_weak, wrong });
        }
        answer
    }
}

/// One end of a lane.
pub fn end(cluster: &str, topic: &TopicName, partition: i32) -> LaneEnd {
    LaneEnd {
        cluster: cluster.parse().expect("a name"),
        topic: topic.clone(),
        topic_id: TopicId(1),
        partition,
    }
}

/// The lanes of an order, with their destinations.
pub fn lanes_of(order: &Order) -> BTreeMap<SourceKey, TopicName> {
    if order.paused {
        return BTreeMap::new();
    }
    let lanes = order.lanes.iter();
    lanes.map(|(topic, at, destination, _)| ((topic.clone(), at), destination.clone())).collect()
}
