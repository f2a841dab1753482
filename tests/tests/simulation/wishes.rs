//! What a lane wants is done: questions, proposals, positions, batches, reading.

use std::collections::VecDeque;

use copyist_agent::core;
use copyist_agent::job::{Proposal, Unanswered, Verdict};
use copyist_lane::{Action, Answer, Event, Offer, Outcome, Question, Refusal, Send};
use copyist_model::{LaneGeneration, LaneRecord, Position};

use crate::agent::Agent;
use crate::brokers::Request;
use crate::lanes::{Cursor, LaneAt, Word};
use crate::options::IN_FLIGHT_MS;
use crate::queue::Happening;
use crate::sim::Sim;

const PROPOSAL_PATIENCE_MS: u64 = 30_000;
const EPOCH_PATIENCE_MS: u64 = 15_000;
const RECORDS_PER_BATCH: usize = 5;

impl Agent {
    pub fn perform_lane(&mut self, sim: &mut Sim, at: &LaneAt, action: Action) {
        sim.note(self.process.node, "lane does", || {
            let (topic, partition) = &at.key;
            match &action {
                Action::Propose { replaces, record, .. } => {
                    let (generation, producer) = (record.generation.0, record.producer_id);
                    format!("{topic}-{partition} Propose g{generation} for g{replaces}, producer {producer}")
                }
                _ => format!("{topic}-{partition} {action:?}"),
            }
        });
        match action {
            Action::Ask { question, what } => self.ask(sim, at, question, what),
            Action::Propose { replaces, record, .. } => {
                self.propose(sim, at, LaneGeneration(replaces), *record);
            }
            Action::StorePosition(position) => self.store_position(sim, at, position),
            Action::Read(read) => {
                let Some(cell) = self.cell(at) else { return };
                cell.offered = None;
                let (reading, next, skip) = (read.reading, read.from_offset, read.skip_records);
                cell.cursor = Some(Cursor { reading, next, skip, told_until: next });
                self.plan_word(sim, 1, at, Word::Look);
            }
            Action::Send(send) => self.send_batch(sim, at, &send),
            Action::Abort => {
                sim.trace.count("aborted writes");
                self.lose_requests(sim, at, |request| request.is_weak);
            }
            Action::WakeAt(when) => {
                let when = u64::try_from(when.as_millis()).expect("a short test");
                let delay = self.process.clock.when(when).saturating_sub(sim.now) + 1;
                if let Some(cell) = self.cell(at) {
                    cell.wake_at = Some(when);
                    self.plan_word(sim, delay, at, Word::Look);
                }
            }
            Action::Report(status) => self.report_lane(sim, at, status),
            Action::Idle => {
                if let Some(cell) = self.cell(at) {
                    cell.cursor = None;
                    cell.offered = None;
                }
            }
            Action::Released { .. } => self.lane_released(sim, at),
            Action::LimitBatches { .. }
            | Action::VerifySource
            | Action::RefreshMetadata
            | Action::RecordGap(_) => {}
        }
    }

    fn ask(&mut self, sim: &mut Sim, at: &LaneAt, question: u32, what: Question) {
        let Question::EpochCurrent { epoch } = what else {
            let delay = sim.between(1, 10);
            let asked = Happening::LaneAsks { at: Box::new(at.clone()), question, what };
            return sim.after(delay, asked);
        };
        sim.trace.count("asked whether the epoch is current");
        let Some(job) = self.jobs.get(&at.id) else { return };
        if job.epoch != epoch {
            let answer = Answer::EpochCurrent(false);
            return self.plan_word(sim, 1, at, Word::Hears(Box::new(Event::Answer { question, answer })));
        }
        let before = job.right.ends_at;
        if let Some(cell) = self.cell(at) {
            cell.asks_epoch = Some((question, before));
            self.plan_word(sim, EPOCH_PATIENCE_MS, at, Word::EpochSilent { question });
        }
    }

    fn propose(&mut self, sim: &mut Sim, at: &LaneAt, replaces: LaneGeneration, record: LaneRecord) {
        let Some(job) = self.jobs.get(&at.id) else { return };
        let epoch = job.epoch;
        let number = core::ProposalNumber(self.next_serial());
        if let Some(cell) = self.cell(at) {
            cell.proposed = Some((number, record.clone()));
        }
        self.proposals.insert(number, at.clone());
        sim.trace.count("lane records proposed");
        self.plan_word(sim, PROPOSAL_PATIENCE_MS, at, Word::ProposalSilent(number));
        let proposal = Box::new(Proposal { replaces, record });
        self.step(sim, core::Event::Proposed { number, id: at.id.clone(), epoch, proposal });
    }

    /// A proposal is settled.
    pub fn proposal_answered(
        &mut self,
        sim: &mut Sim,
        number: core::ProposalNumber,
        answer: Result<Verdict, Unanswered>,
    ) {
        let Some(at) = self.proposals.remove(&number) else { return };
        let Some(cell) = self.cell(&at) else { return };
        let waits = cell.proposed.take_if(|(waiting, _)| *waiting == number);
        let Some((_, record)) = waits else { return };
        let event = match answer {
            Ok(Verdict::Committed) => {
                cell.told_record = Some(record.into());
                Event::RecordCommitted
            }
            Ok(Verdict::Refused { holds: None, .. })
                if !cell.store_is_empty && cell.machine.as_ref().is_some_and(|it| it.record().is_some()) =>
            {
                cell.store_is_empty = true;
                return self.propose(sim, &at, LaneGeneration(0), record);
            }
            Ok(Verdict::Refused { holds, .. }) => {
                sim.trace.count("lane records refused");
                cell.told_record = holds.or(cell.told_record.take());
                Event::RecordRefused(Refusal::Outdated)
            }
            Err(Unanswered) => Event::RecordRefused(Refusal::Unanswered),
        };
        self.plan_word(sim, 0, &at, Word::Hears(Box::new(event)));
    }

    fn store_position(&mut self, sim: &mut Sim, at: &LaneAt, position: Position) {
        let record = self.cell(at).and_then(|cell| cell.machine.as_ref()?.record().cloned());
        let Some(record) = record else { return };
        let delay = sim.between(2, 30);
        let stores = Happening::LaneStores { at: Box::new(at.clone()), position, record: Box::new(record) };
        sim.after(delay, stores);
    }

    fn send_batch(&mut self, sim: &mut Sim, at: &LaneAt, send: &Send) {
        let (by, now) = (self.holder.clone(), sim.now);
        let epoch = self.jobs.get(&at.id).map(|job| job.epoch).unwrap_or_default();
        // Shorter than a connection keeps on trying to deliver, counted from the end of the right.
        let delay = if sim.chance(12) { sim.between(100, IN_FLIGHT_MS - 200) } else { sim.between(1, 10) };
        let Some(cell) = self.cell(at) else { return };
        let Some((offer, records)) = cell.offered.take() else {
            return self.hear_lost(sim, at, send.token);
        };
        let latest = cell.wire.back().map_or(0, |request| request.arrives);
        let arrives = (now + delay).max(latest);
        cell.wire.push_back(Request {
            to: at.key.clone(),
            by,
            epoch,
            token: send.token,
            producer_id: send.producer_id,
            sequence: i64::from(send.sequence),
            records,
            max_timestamp: offer.max_timestamp,
            is_weak: send.own_connection,
            sent: now,
            arrives,
        });
        sim.trace.count(if send.own_connection { "batches sent by right" } else { "batches sent by fence" });
        sim.queue.plan(arrives, Happening::Produces(Box::new(at.clone())));
    }

    fn hear_lost(&self, sim: &mut Sim, at: &LaneAt, token: u64) {
        let lost = Event::Answered { token, outcome: Outcome::Lost };
        self.plan_word(sim, 0, at, Word::Hears(Box::new(lost)));
    }

    /// Requests that nobody will answer; they may arrive all the same.
    pub fn lose_requests(&mut self, sim: &mut Sim, at: &LaneAt, which: impl Fn(&Request) -> bool) {
        let Some(cell) = self.cell(at) else { return };
        let wire = std::mem::take(&mut cell.wire);
        let (mut lost, kept): (VecDeque<Request>, VecDeque<Request>) = wire.into_iter().partition(which);
        cell.wire = kept;
        let tokens: Vec<u64> = lost.iter().map(|request| request.token).collect();
        orphan(sim, &mut lost, false);
        tokens.into_iter().for_each(|token| self.hear_lost(sim, at, token));
    }

    /// All connections of the agent to the brokers break.
    pub fn cut_connections(&mut self, sim: &mut Sim) {
        for at in self.all_lanes() {
            self.lose_requests(sim, &at, |_| true);
            self.plan_word(sim, 1, &at, Word::Hears(Box::new(Event::Disconnected)));
        }
    }

    /// Reads on: offers the next batch as long as it is taken, or says what went by.
    pub fn read(&mut self, sim: &mut Sim, at: &LaneAt) {
        loop {
            let latest = sim.brokers.source_end(&at.key);
            let Some(cell) = self.cell(at) else { return };
            let Some(mut cursor) = cell.cursor.filter(|_| cell.offered.is_none()) else { return };
            if cursor.skip > 0 {
                while cursor.skip > 0 && cursor.next < latest {
                    cursor.skip -= u64::from(sim.brokers.timestamp(&at.key, cursor.next).is_some());
                    cursor.next += 1;
                }
                cell.cursor = Some(cursor);
                if cursor.skip > 0 {
                    return;
                }
                let (reading, next_offset) = (cursor.reading, cursor.next);
                self.feed(sim, at, Event::SkippedTo { reading, next_offset, leader_epoch: 0 });
            } else if !self.offer(sim, at, cursor) {
                return;
            }
        }
    }

    /// Returns whether something was offered or said.
    fn offer(&mut self, sim: &mut Sim, at: &LaneAt, mut cursor: Cursor) -> bool {
        let latest = sim.brokers.source_end(&at.key);
        let wanted = 1 + sim.dice.index(RECORDS_PER_BATCH);
        let mut records = Vec::with_capacity(wanted);
        while records.len() < wanted && cursor.next < latest {
            if sim.brokers.timestamp(&at.key, cursor.next).is_some() {
                records.push(cursor.next);
            }
            cursor.next += 1;
        }
        let reading = cursor.reading;
        let event = if let Some(&first_offset) = records.first() {
            let stamps = records.iter().filter_map(|offset| sim.brokers.timestamp(&at.key, *offset));
            let offer = Offer {
                reading,
                first_offset,
                next_offset: cursor.next,
                count: u32::try_from(records.len()).expect("small"),
                leader_epoch: 0,
                max_timestamp: stamps.max().expect("some"),
                bytes: 100 * u32::try_from(records.len()).expect("small"),
            };
            if let Some(cell) = self.cell(at) {
                cell.offered = Some((offer, records));
            }
            Event::Offered(offer)
        } else if cursor.next > cursor.told_until {
            cursor.told_until = cursor.next;
            Event::NothingUntil { reading, next_offset: cursor.next, leader_epoch: 0 }
        } else {
            return false;
        };
        if let Some(cell) = self.cell(at) {
            cell.cursor = Some(cursor);
        }
        self.feed(sim, at, event);
        true
    }
}

/// Nobody waits for these any more; some arrive all the same, the first ones first. What is on a connection of a lane's
/// own has arrived once that was closed, or never does; but a crashed process closes nothing.
pub fn orphan(sim: &mut Sim, wire: &mut VecDeque<Request>, is_crash: bool) {
    let wire = std::mem::take(wire);
    let kept = sim.dice.index(wire.len() + 1);
    for request in wire.into_iter().take(kept) {
        sim.trace.count("requests without anybody who waits");
        let at = if request.is_weak && !is_crash { sim.now } else { request.arrives };
        sim.queue.plan(at, Happening::ArrivesLate(Box::new(request)));
    }
}
