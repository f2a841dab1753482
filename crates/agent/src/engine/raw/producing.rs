//! Batches go out: many lanes' in one request over a connection that they share, a weak lane's over its own.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use copyist_kafka::{
    Cluster, ConnectionOptions, Error, Leader, OutgoingBatch, PartitionKey, ProduceAnswer, ProduceFrame,
    ProducedPartition, Producer,
};
use copyist_lane::{Event, Outcome};

use super::lane::{LaneCell, LaneNumber, Own};
use super::route::{Happening, Route};
use super::sides::End;
use crate::driver::boot;

/// Connections to one broker. It reads and serves the requests of one connection one after the other: while it appends
/// one's, it reads the other's.
const CONNECTIONS: u64 = 2;
/// Requests of a connection that wait for answers; what comes meanwhile is gathered into the next. A lane has up to five
/// batches under way, so five carry them all, each with a batch of every lane. More would fall apart into small ones.
const FRAMES_IN_FLIGHT_MAX: usize = 5;
/// A request is not made larger than this by adding a batch to it.
const FRAME_BYTES: usize = 4 << 20;
/// A weak lane's bytes that the broker's machine does not acknowledge for so long are given up: what is written under
/// a right must not arrive long after it.
pub(super) const OWN_TCP_USER_TIMEOUT: Duration = Duration::from_secs(4);

/// A broker, and which of the connections to it. A lane keeps to one: its batches may not overtake each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProducerId {
    broker: i32,
    slot: u64,
}

impl ProducerId {
    fn of(lane: LaneNumber, leader: Leader) -> Self {
        Self { broker: leader.broker, slot: lane.0 % CONNECTIONS }
    }
}

/// Names a request, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameNumber(u64);

/// Requests that wait for their answers.
#[derive(Debug, Default)]
pub struct Frames {
    in_flight: BTreeMap<FrameNumber, Sent>,
    next: u64,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Sent {
    by: ProducerId,
    batches: Vec<Sender>,
}

/// Whose batch goes to a partition, and which of its batches.
#[derive(Debug)]
struct Sender {
    key: PartitionKey,
    lane: LaneNumber,
    token: u64,
}

/// A connection that lanes share, and what waits for it.
#[derive(Debug, Default)]
pub struct ProducerCell {
    state: State,
    pending: VecDeque<Draft>,
    in_flight: usize,
    /// Counts connections.
    opening: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Opening,
    Open(Producer),
}

/// A request that is still open for more.
#[derive(Debug, Default)]
struct Draft {
    frame: ProduceFrame,
    batches: Vec<Sender>,
    bytes: usize,
}

impl Route {
    /// Into the next request to the destination's leader.
    pub(super) fn send_with_others(&mut self, number: LaneNumber, token: u64, batch: OutgoingBatch) {
        let Some(alive) = self.lanes.get(&number).and_then(LaneCell::seen) else { return };
        let key = alive.destination.clone();
        let Some(leader) = alive.destination_leader else {
            return self.answered(number, token, Outcome::Lost);
        };
        let cell = self.producers.entry(ProducerId::of(number, leader)).or_default();
        let fits = |draft: &Draft| draft.bytes < FRAME_BYTES && !draft.frame.contains(&key);
        if !cell.pending.back().is_some_and(fits) {
            cell.pending.push_back(Draft::default());
        }
        if let Some(draft) = cell.pending.back_mut() {
            draft.bytes += batch.payload.len();
            // It fits: the frame has none of this partition.
            let _ = draft.frame.add(key.clone(), batch);
            draft.batches.push(Sender { key, lane: number, token });
        }
    }

    /// Sends what was gathered in this turn.
    pub(super) fn send_frames(&mut self) {
        let ids: Vec<ProducerId> =
            self.producers.iter().filter(|(_, cell)| !cell.pending.is_empty()).map(|(id, _)| *id).collect();
        for id in ids {
            self.send_frames_by(id);
        }
    }

    fn send_frames_by(&mut self, id: ProducerId) {
        loop {
            let Some(cell) = self.producers.get_mut(&id) else { return };
            match &cell.state {
                State::Closed => return self.open_producer(id),
                State::Opening => return,
                State::Open(_) if cell.in_flight >= FRAMES_IN_FLIGHT_MAX => return,
                State::Open(producer) => {
                    let Some(draft) = cell.pending.pop_front() else { return };
                    cell.in_flight += 1;
                    let number = FrameNumber(self.frames.next);
                    self.frames.next += 1;
                    let outcome = producer.send(draft.frame);
                    self.frames.in_flight.insert(number, Sent { by: id, batches: draft.batches });
                    self.do_later(async move { Happening::Produced(number, outcome.await) });
                }
            }
        }
    }

    fn open_producer(&mut self, id: ProducerId) {
        let Some(cluster) = self.destination.cluster.clone() else { return };
        if let Some(cell) = self.producers.get_mut(&id) {
            cell.state = State::Opening;
        }
        let options = self.destination.options.connection.clone();
        self.do_later(
            async move { Happening::ProducerOpened(id, open(&cluster, id.broker, &options).await) },
        );
    }

    pub(super) fn producer_opened(&mut self, id: ProducerId, result: Result<Producer, Error>) {
        let Some(cell) = self.producers.get_mut(&id) else { return };
        match result {
            Ok(producer) => {
                cell.opening += 1;
                let (opening, watched) = (cell.opening, producer.clone());
                cell.state = State::Open(producer);
                self.do_later(async move {
                    watched.connection().ended().await;
                    Happening::ProducerEnded(id, opening)
                });
            }
            Err(error) => {
                cell.state = State::Closed;
                self.destination.hear(Some(&error), boot());
                self.lose_pending(id);
                self.refresh(End::Destination);
            }
        }
    }

    /// Nothing of it was sent; the lanes ask, and wait longer each time.
    fn lose_pending(&mut self, id: ProducerId) {
        let Some(cell) = self.producers.get_mut(&id) else { return };
        let lost: Vec<Sender> = cell.pending.drain(..).flat_map(|draft| draft.batches).collect();
        for Sender { lane, token, .. } in lost {
            self.answered(lane, token, Outcome::Lost);
        }
    }

    pub(super) fn producer_ended(&mut self, id: ProducerId, opening: u64) {
        let Some(cell) = self.producers.get_mut(&id).filter(|cell| cell.opening == opening) else {
            return;
        };
        cell.state = State::Closed;
        // They may not overtake what was lost with the connection.
        self.lose_pending(id);
        for number in self.lanes_sent_by(id) {
            self.events.push_back((number, Event::Disconnected));
        }
    }

    fn lanes_sent_by(&self, id: ProducerId) -> Vec<LaneNumber> {
        let leader = |lane: &LaneCell| lane.seen().and_then(|alive| alive.destination_leader);
        let sent = self.lanes.iter().filter_map(|(number, lane)| Some((*number, leader(lane)?)));
        sent.filter(|(number, leader)| ProducerId::of(*number, *leader) == id).map(|(it, _)| it).collect()
    }

    pub(super) fn produced(&mut self, number: FrameNumber, result: Result<ProduceAnswer, Error>) {
        let Some(sent) = self.frames.in_flight.remove(&number) else { return };
        if let Some(cell) = self.producers.get_mut(&sent.by) {
            cell.in_flight = cell.in_flight.saturating_sub(1);
        }
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                self.destination.hear(Some(&error), boot());
                for Sender { lane, token, .. } in sent.batches {
                    self.answered(lane, token, Outcome::Lost);
                }
                return;
            }
        };
        self.destination.hear(None, boot());
        self.learn_leaders(&answer);
        let outcomes: BTreeMap<PartitionKey, Outcome> = answer
            .partitions
            .into_iter()
            .map(|partition| (partition.key.clone(), outcome(partition)))
            .collect();
        for Sender { key, lane, token } in sent.batches {
            // The answer is complete: it was checked when it was read.
            let outcome = outcomes.get(&key).cloned().unwrap_or(Outcome::Lost);
            self.answered(lane, token, outcome);
        }
    }

    fn learn_leaders(&mut self, answer: &ProduceAnswer) {
        let Some(cluster) = &self.destination.cluster else { return };
        let mut learned = false;
        for partition in &answer.partitions {
            if let Some(leader) = partition.current_leader {
                cluster.learn(&partition.key, leader, &answer.endpoints);
                learned = true;
            }
        }
        if learned {
            self.look_at_leaders();
        }
    }

    pub(super) fn send_on_own(&mut self, number: LaneNumber, token: u64, batch: OutgoingBatch) {
        let options = ConnectionOptions {
            tcp_user_timeout: Some(OWN_TCP_USER_TIMEOUT),
            ..self.destination.options.connection.clone()
        };
        let Some(cluster) = self.destination.cluster.clone() else {
            return self.answered(number, token, Outcome::Lost);
        };
        let Some(alive) = self.lanes.get_mut(&number).and_then(LaneCell::alive) else { return };
        let key = alive.destination.clone();
        alive.own_used_lately = true;
        let usable = matches!(&alive.own, Own::Open(producer) if producer.connection().is_open());
        if let (Own::Open(producer), true) = (&alive.own, usable) {
            let producer = producer.clone();
            return self.write_on_own(number, token, &producer, key, batch);
        }
        let Some(leader) = alive.destination_leader else {
            return self.answered(number, token, Outcome::Lost);
        };
        alive.own = Own::Opening(token, batch);
        self.do_later(
            async move { Happening::OwnOpened(number, open(&cluster, leader.broker, &options).await) },
        );
    }

    fn write_on_own(
        &mut self,
        number: LaneNumber,
        token: u64,
        producer: &Producer,
        key: PartitionKey,
        batch: OutgoingBatch,
    ) {
        let mut frame = ProduceFrame::new();
        // The first of an empty frame.
        let _ = frame.add(key, batch);
        let outcome = producer.send(frame);
        self.do_later(async move { Happening::OwnProduced(number, token, outcome.await) });
    }

    pub(super) fn own_opened(&mut self, number: LaneNumber, result: Result<Producer, Error>) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        let right = self.tasks.get(&lane.task).map(|task| *task.reporter.right().borrow());
        let Some(alive) = lane.alive() else { return };
        let (token, batch) = match std::mem::replace(&mut alive.own, Own::Closed) {
            Own::Opening(token, batch) => (token, batch),
            own @ (Own::Closed | Own::Open(_)) => return alive.own = own,
        };
        let key = alive.destination.clone();
        let producer = match result {
            Ok(producer) => producer,
            Err(error) => {
                self.destination.hear(Some(&error), boot());
                self.refresh(End::Destination);
                return self.answered(number, token, Outcome::Lost);
            }
        };
        alive.own = Own::Open(producer.clone());
        // The right was read before the connection was made: once more, immediately before the write.
        if right.is_some_and(|right| boot() < right.ends_at) {
            self.write_on_own(number, token, &producer, key, batch);
        } else {
            self.answered(number, token, Outcome::Lost);
        }
    }

    pub(super) fn own_produced(
        &mut self,
        number: LaneNumber,
        token: u64,
        result: Result<ProduceAnswer, Error>,
    ) {
        let outcome = match result {
            Ok(answer) => {
                self.destination.hear(None, boot());
                self.learn_leaders(&answer);
                answer.partitions.into_iter().next().map_or(Outcome::Lost, outcome)
            }
            Err(error) => {
                self.destination.hear(Some(&error), boot());
                self.with(number, |alive| alive.own = Own::Closed);
                self.events.push_back((number, Event::Disconnected));
                Outcome::Lost
            }
        };
        self.answered(number, token, outcome);
    }

    pub(super) fn abort_own(&mut self, number: LaneNumber) {
        let Some(alive) = self.lanes.get_mut(&number).and_then(LaneCell::alive) else { return };
        match std::mem::replace(&mut alive.own, Own::Closed) {
            Own::Open(producer) => self.do_later(async move {
                producer.connection().abort().await;
                Happening::Closed
            }),
            Own::Opening(token, _) => self.answered(number, token, Outcome::Lost),
            Own::Closed => {}
        }
    }

    pub(super) fn close_own(&mut self, own: Own) {
        if let Own::Open(producer) = own {
            self.do_later(async move {
                producer.connection().close().await;
                Happening::Closed
            });
        }
    }

    /// A lane whose fence is intact needs no connection of its own.
    pub(super) fn close_idle_connections(&mut self) {
        let mut closing = Vec::new();
        for alive in self.lanes.values_mut().filter_map(LaneCell::alive) {
            let used = std::mem::take(&mut alive.own_used_lately) || !alive.flying.is_empty();
            if !used && matches!(alive.own, Own::Open(_)) {
                closing.push(std::mem::replace(&mut alive.own, Own::Closed));
            }
        }
        for own in closing {
            self.close_own(own);
        }
    }
}

/// A connection to a broker of the destination.
async fn open(cluster: &Cluster, broker: i32, options: &ConnectionOptions) -> Result<Producer, Error> {
    Producer::open(&cluster.endpoint(broker)?, options).await
}

/// A broker's word in the lane's.
fn outcome(partition: ProducedPartition) -> Outcome {
    if partition.code.is_none() {
        return Outcome::Stored { base_offset: partition.base_offset };
    }
    let first = partition.record_errors.first();
    let text = first.and_then(|(_, text)| text.clone()).or(partition.error_message);
    Outcome::Refused {
        code: partition.code.0,
        record_index: first.map(|(index, _)| *index),
        text: text.unwrap_or_else(|| partition.code.to_string()),
    }
}
