//! Machines are stepped, and what they want is performed.

use std::time::Duration;

use copyist_kafka::{Error, OutgoingBatch, PartitionKey};
use copyist_lane::{
    Action, Event, Gap, Now, Outcome, Parking, Question, Refusal, Right, Send, SourceTrouble, Status, Waiting,
};
use copyist_model::{LaneGeneration, LaneRecord, Position, TopicName};
use copyist_wire::{Batch, Stamp, patch};
use tokio::time::timeout;

use super::answers::{self, Ends};
use super::check;
use super::firsts::Firsts;
use super::lane::{Alive, Flying, LaneCell, LaneNumber, Life};
use super::reader::{Next, payload};
use super::route::{Happening, Route};
use super::sides::End;
use crate::driver::{boot, wall_ms};
use crate::job::{Unanswered, Verdict};
use crate::positions::Stored;

/// How long the coordinator may take to fix a lane record before the lane asks again.
const PROPOSAL_DEADLINE: Duration = Duration::from_secs(30);
/// Losses that a lane's trace names.
const GAPS_KEPT: usize = 10;

impl Route {
    /// One event for one lane.
    pub(super) fn step(&mut self, number: LaneNumber, event: Event) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        let Life::Alive(alive) = &mut lane.life else { return };
        let mut actions = std::mem::take(&mut self.actions);
        let task = self.tasks.get(&lane.task).map(|task| &task.reporter);
        let right = task.map(|reporter| *reporter.right().borrow()).unwrap_or_default();
        let now = now();
        if let Some(reporter) = task.filter(|_| right != alive.right) {
            alive.right = right;
            let right = Right { epoch: reporter.epoch(), ends_at: right.ends_at, free_at: right.free_at };
            alive.machine.step(now, Event::Right(right), &mut actions);
        }
        alive.machine.step(now, event, &mut actions);
        for action in actions.drain(..) {
            self.perform(number, action);
        }
        self.actions = actions;
        self.busy.insert(number);
    }

    /// Offers a lane's next batches until it takes no more, and says what to fetch for it.
    pub(super) fn pump(&mut self, number: LaneNumber) {
        loop {
            let Some(alive) = self.lanes.get_mut(&number).and_then(LaneCell::alive) else { return };
            if alive.offered.is_some() {
                break;
            }
            let event = match alive.reader.advance() {
                Next::Offer(ready) => {
                    let offer = ready.offer;
                    alive.offered = Some(ready);
                    Event::Offered(offer)
                }
                Next::NothingUntil { reading, next_offset, leader_epoch } => {
                    Event::NothingUntil { reading, next_offset, leader_epoch }
                }
                Next::SkippedTo { reading, next_offset, leader_epoch } => {
                    Event::SkippedTo { reading, next_offset, leader_epoch }
                }
                Next::ReadAgain(text) => {
                    tracing::warn!(lane = %self.name(number), damage = text, "read again");
                    self.pause_fetching(number);
                    break;
                }
                Next::Unreadable(text) => Event::Source(SourceTrouble::Unreadable(text)),
                Next::Empty => break,
            };
            self.step(number, event);
        }
        self.busy.remove(&number);
        self.want(number);
    }

    fn perform(&mut self, number: LaneNumber, action: Action) {
        if let Some(switch) = &mut self.kill_switch {
            switch.pass(&action);
        }
        match action {
            Action::Ask { question, what } => self.ask(number, question, what),
            Action::Propose { replaces, record, .. } => {
                self.propose(number, LaneGeneration(replaces), *record)
            }
            Action::StorePosition(position) => self.store_position(number, position),
            Action::Read(read) => self.with(number, |alive| {
                alive.offered = None;
                alive.asking_range = false;
                alive.reader.begin(&read);
            }),
            Action::Send(send) => self.send(number, send),
            Action::LimitBatches { bytes } => self.with(number, |alive| alive.reader.limit_batches(bytes)),
            Action::VerifySource => self.with(number, |alive| alive.reader.verify_source()),
            Action::Abort => self.abort_own(number),
            Action::RefreshMetadata => {
                self.refresh(End::Source);
                self.refresh(End::Destination);
            }
            Action::WakeAt(at) => self.wake_at(number, at),
            Action::Report(status) => self.report(number, status),
            Action::RecordGap(gap) => self.record_gap(number, gap),
            Action::Idle => self.with(number, Alive::drop_what_was_read),
            Action::Released { unstored, .. } => {
                if unstored {
                    tracing::warn!(lane = %self.name(number), "released before its last position was stored");
                }
                self.released(number);
            }
        }
    }

    pub(super) fn with(&mut self, number: LaneNumber, change: impl FnOnce(&mut Alive)) {
        if let Some(alive) = self.lanes.get_mut(&number).and_then(LaneCell::alive) {
            change(alive);
        }
    }

    pub(super) fn name(&self, number: LaneNumber) -> String {
        let Some(lane) = self.lanes.get(&number) else { return "a lane".to_owned() };
        let task = self.tasks.get(&lane.task).map(|task| task.reporter.id().to_string());
        format!("{} {}", task.unwrap_or_default(), lane.name)
    }

    fn wake_at(&mut self, number: LaneNumber, at: Duration) {
        let Some(alive) = self.lanes.get_mut(&number).and_then(LaneCell::alive) else { return };
        if let Some(before) = alive.wake_at.replace(at) {
            self.timers.remove(&(before, number));
        }
        self.timers.insert((at, number));
    }

    fn ask(&mut self, number: LaneNumber, question: u32, what: Question) {
        tracing::debug!(lane = %self.name(number), ?what, "asks");
        let (Some(source_cluster), Some(destination_cluster)) =
            (self.source.cluster.clone(), self.destination.cluster.clone())
        else {
            return;
        };
        let Some(lane) = self.lanes.get(&number) else { return };
        let (Some(alive), Some(task)) = (lane.seen(), self.tasks.get(&lane.task)) else { return };
        let ends = Ends {
            source_cluster,
            destination_cluster,
            source: alive.source.clone(),
            destination: alive.destination.clone(),
            epoch: task.reporter.epoch(),
            right: task.reporter.right(),
        };
        self.do_later(async move { Happening::Answered(number, question, answers::ask(ends, what).await) });
    }

    fn propose(&mut self, number: LaneNumber, replaces: LaneGeneration, record: LaneRecord) {
        let Some(task) = self.lanes.get(&number).and_then(|lane| self.tasks.get(&lane.task)) else { return };
        let reporter = task.reporter.clone();
        self.do_later(async move {
            let asked = timeout(PROPOSAL_DEADLINE, reporter.propose(replaces, record.clone())).await;
            Happening::Proposed(number, Box::new(record), asked.ok())
        });
    }

    pub(super) fn proposed(
        &mut self,
        number: LaneNumber,
        record: LaneRecord,
        verdict: Option<Result<Verdict, Unanswered>>,
    ) {
        match verdict {
            Some(Ok(Verdict::Committed)) => {
                self.tell_if_shared(number, &record);
                if let Some(lane) = self.lanes.get_mut(&number) {
                    lane.told_record = Some(record.into());
                }
                self.events.push_back((number, Event::RecordCommitted));
            }
            // The store was lost, or the connector was deleted and is here again: the record came with the position.
            Some(Ok(Verdict::Refused { holds: None, .. })) if self.outlived_its_store(number) => {
                self.propose(number, LaneGeneration(0), record);
                if let Some(lane) = self.lanes.get_mut(&number) {
                    lane.store_is_empty = true;
                }
            }
            Some(Ok(Verdict::Refused { because, holds })) => {
                tracing::info!(lane = %self.name(number), because, "a lane record was refused");
                if let (Some(lane), Some(holds)) = (self.lanes.get_mut(&number), holds) {
                    lane.told_record = Some(holds);
                }
                self.events.push_back((number, Event::RecordRefused(Refusal::Outdated)));
            }
            Some(Err(Unanswered)) | None => {
                self.events.push_back((number, Event::RecordRefused(Refusal::Unanswered)));
            }
        }
    }

    /// Found out, not configured: the user should know.
    fn tell_if_shared(&self, number: LaneNumber, record: &LaneRecord) {
        let before = self.lanes.get(&number).and_then(LaneCell::seen).and_then(|it| it.machine.record());
        if record.shared && before.is_some_and(|before| !before.shared) {
            let destination = &record.destination.topic;
            tracing::warn!(
                lane = %self.name(number),
                %destination,
                "somebody else writes into the destination partition; where its records lie is checked no more"
            );
        }
    }

    fn outlived_its_store(&self, number: LaneNumber) -> bool {
        let Some(lane) = self.lanes.get(&number) else { return false };
        !lane.store_is_empty && lane.seen().is_some_and(|alive| alive.machine.record().is_some())
    }

    fn store_position(&mut self, number: LaneNumber, position: Position) {
        let id = self.lane_id(number);
        let record = self.lanes.get(&number).and_then(LaneCell::seen).and_then(|it| it.machine.record());
        let (Some(id), Some(record)) = (id, record.cloned()) else {
            self.events.push_back((number, Event::PositionFailed));
            return;
        };
        let stored = Stored::exact(position, record).with_gaps(self.gaps(number));
        let positions = self.shared.positions.clone();
        self.do_later(async move {
            let stored = positions.put(vec![(id, stored)]).await;
            Happening::PositionPut(number, position, stored.is_ok())
        });
    }

    fn send(&mut self, number: LaneNumber, send: Send) {
        let Some(alive) = self.lanes.get_mut(&number).and_then(LaneCell::alive) else { return };
        let lost = Event::Answered { token: send.token, outcome: Outcome::Lost };
        let Some(ready) = alive.offered.take() else { return self.events.push_back((number, lost)) };
        let stamp = Stamp {
            producer_id: send.producer_id,
            producer_epoch: send.producer_epoch,
            base_sequence: send.sequence,
        };
        // It was walked or made as a whole batch.
        let Ok(batch) = Batch::new(&ready.bytes) else { return self.events.push_back((number, lost)) };
        let batch = OutgoingBatch { header: patch(&batch, stamp), payload: payload(&ready.bytes) };
        let unchecked = !self.checked.contains(alive.destination.topic.name());
        let flying = Flying {
            records: u64::from(send.count),
            bytes: ready.bytes.len() as u64,
            max_timestamp: ready.offer.max_timestamp,
            to_check: unchecked.then(|| batch.clone()),
            lease: ready.lease,
        };
        alive.flying.insert(send.token, flying);
        if send.own_connection {
            self.send_on_own(number, send.token, batch);
        } else {
            self.send_with_others(number, send.token, batch);
        }
    }

    /// What became of a batch that was sent.
    pub(super) fn answered(&mut self, number: LaneNumber, token: u64, outcome: Outcome) {
        if !matches!(outcome, Outcome::Stored { .. }) {
            tracing::debug!(lane = %self.name(number), ?outcome, "a batch was not acknowledged");
        }
        if let Some(lane) = self.lanes.get_mut(&number)
            && let Life::Alive(alive) = &mut lane.life
            && let Some(flying) = alive.flying.remove(&token)
            && let Outcome::Stored { base_offset } = outcome
        {
            lane.metrics.records.inc_by(flying.records);
            lane.metrics.bytes.inc_by(flying.bytes);
            alive.newest_timestamp = flying.max_timestamp;
            let key = alive.destination.clone();
            if let Some(sent) = flying.to_check {
                self.check(key, base_offset, sent);
            }
            self.firsts(number, Firsts::acknowledged);
        }
        self.events.push_back((number, Event::Answered { token, outcome }));
    }

    /// Reads back what a topic stored, once for each topic.
    fn check(&mut self, key: PartitionKey, base_offset: i64, sent: OutgoingBatch) {
        let topic = key.topic.name().clone();
        let Some(cluster) = self.destination.cluster.clone() else { return };
        if base_offset < 0 || !self.checked.insert(topic.clone()) {
            return;
        }
        self.do_later(async move {
            let found = check::read_back(&cluster, &key, base_offset, &sent).await;
            Happening::ReadBack(topic, found)
        });
    }

    pub(super) fn read_back(&mut self, topic: TopicName, result: Result<Option<String>, Error>) {
        let what = match result {
            Ok(None) => return,
            // Not replicated yet, gone by retention, or nobody answers: with the next batch.
            Err(error) => {
                tracing::debug!(%topic, %error, "the first batch could not be read back");
                self.checked.remove(&topic);
                return;
            }
            Ok(Some(what)) => what,
        };
        tracing::error!(%topic, what, "the destination stores batches otherwise than they are sent");
        // Whatever copies there again, after a restart, is looked at again.
        self.checked.remove(&topic);
        for number in self.lanes_where(|lane| lane.name.destination == topic) {
            let text = format!(
                "topic {topic} stores batches otherwise than they are sent ({what}); engine=librdkafka can copy to it"
            );
            self.events.push_back((number, Event::Source(SourceTrouble::Unreadable(text))));
        }
    }

    fn report(&mut self, number: LaneNumber, status: Status) {
        let now = boot();
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        let copies = match &status {
            Status::Copying(_) | Status::Waiting(Waiting::Right | Waiting::FormerHolder) => true,
            Status::Waiting(Waiting::Leaders | Waiting::Store | Waiting::Answers | Waiting::Backoff(_))
            | Status::Parked(_)
            | Status::Stopped(_)
            | Status::Released => false,
        };
        lane.reached |= copies;
        if matches!(status, Status::Copying(_)) {
            lane.idle_since = None;
        } else {
            lane.idle_since.get_or_insert(now);
        }
        let superseded = status == Status::Parked(Parking::Superseded);
        if let Life::Alive(alive) = &mut lane.life {
            if !copies {
                // What is kept for later would be kept from others.
                alive.drop_what_was_read();
            }
            alive.status = Some(status.clone());
        }
        if let Some(task) = self.tasks.get_mut(&lane.task) {
            task.changed = true;
        }
        if superseded {
            self.superseded(number);
        } else {
            tracing::debug!(lane = %self.name(number), ?status, "lane");
        }
    }

    fn gaps(&self, number: LaneNumber) -> Vec<String> {
        let Some(lane) = self.lanes.get(&number) else { return Vec::new() };
        self.tasks.get(&lane.task).map(|task| task.gaps_of(&lane.name)).unwrap_or_default()
    }

    /// What a former process told of the lane's losses is told on.
    pub(super) fn remember_gaps(&mut self, number: LaneNumber, gaps: Vec<String>) {
        let Some(lane) = self.lanes.get(&number) else { return };
        if let Some(task) = self.tasks.get_mut(&lane.task).filter(|_| !gaps.is_empty()) {
            task.gaps.entry(lane.name.clone()).or_insert(gaps);
            task.changed = true;
        }
    }

    fn record_gap(&mut self, number: LaneNumber, gap: Gap) {
        let text = gap.to_string();
        tracing::warn!(lane = %self.name(number), gap = text, "records are lost by loss.policy");
        let Some(lane) = self.lanes.get(&number) else { return };
        lane.metrics.gaps.inc();
        if let Some(task) = self.tasks.get_mut(&lane.task) {
            task.changed = true;
            let gaps = task.gaps.entry(lane.name.clone()).or_default();
            if gaps.len() < GAPS_KEPT {
                gaps.push(text);
            }
        }
    }
}

/// Read immediately before each step.
fn now() -> Now {
    Now { boot: boot(), wall_ms: wall_ms(), dice: rand::random() }
}
