//! One schedule: random turns of everybody, then healing, then the check.

use std::time::Duration;

use copyist_lane::align::Fingerprint;
use copyist_lane::{Answer, Event, Outcome, Parking, Question, Rules, Status};
use copyist_model::TopicId;

use crate::dice::Dice;
use crate::options::{Options, Times};
use crate::owner::Request;
use crate::world::{Counts, TTL_MS, World};

const HEALING_TURNS: u32 = 4_000;

pub struct Outline {
    pub counts: Counts,
    pub violation: Option<String>,
    pub trace: Vec<String>,
}

pub fn options_of(seed: u64) -> Options {
    Options::draw(&mut Dice::new(!seed))
}

pub fn run(seed: u64, options: Options, rules: Rules, traced: bool) -> Outline {
    let mut world = World::new(seed, options, rules, traced);
    // Most lanes copy before anything happens to them.
    if !world.dice.percent(25) {
        world.begin_well();
    }
    for _ in 0..options.steps {
        world.turn();
        if world.violation.is_some() {
            break;
        }
    }
    world.heal();
    Outline { counts: world.counts, violation: world.violation, trace: world.trace.unwrap_or_default() }
}

impl World {
    fn begin_well(&mut self) {
        for _ in 0..40 {
            self.clock += 5;
            self.owner_turn(self.holder);
        }
    }

    fn turn(&mut self) {
        self.pass_time();
        self.renew();
        let owner = self.dice.index(self.owners.len());
        match self.dice.below(100) {
            0..45 => self.owner_turn(owner),
            45..72 => self.deliver(owner),
            72..80 => {
                let records = self.dice.below(4);
                self.grow_source(records);
            }
            80..84 => self.ownership_turn(owner),
            84..88 => self.forget(),
            88 => self.change_leader(),
            89 => self.cut(owner),
            92..94 => self.deliver_late(),
            94..96 => self.special_turn(),
            _ => self.owner_turn(self.holder),
        }
    }

    fn pass_time(&mut self) {
        self.clock += match self.dice.below(1000) {
            0..880 => self.dice.below(25),
            880..985 => self.dice.below(1_500),
            985..998 => self.dice.below(20_000),
            _ => {
                // Nothing stays on a wire for a day.
                self.orphans.clear();
                (0..self.owners.len()).for_each(|owner| self.drop_requests(owner, |_| true));
                self.count("days gone by");
                25 * 3_600_000
            }
        };
        let clock = self.clock;
        for owner in 0..self.owners.len() {
            let overdue = |request: &Request| request.weak && request.arrives_before <= clock;
            if self.owners[owner].wire.iter().any(overdue) {
                if self.options.strays {
                    let late = self.owners[owner].wire.iter().filter(|request| overdue(request)).cloned();
                    self.strays.extend(late.collect::<Vec<_>>());
                }
                self.drop_requests(owner, overdue);
            }
        }
        self.orphans.retain(|request| !request.weak || request.arrives_before > clock);
    }

    fn renew(&mut self) {
        let holder = self.holder;
        let due = self.owners[holder].right_ends < self.clock + TTL_MS / 2;
        if due && self.owners[holder].lane.is_some() && !self.owners[holder].paused && self.dice.percent(80) {
            // A renewal says nothing new of former holders.
            let mut right = self.right_of(holder, false);
            right.free_at = Duration::from_millis(self.owners[holder].free_at);
            self.owners[holder].right_ends = self.clock + TTL_MS;
            self.owners[holder].inbox.push_back(Event::Right(right));
        }
    }

    fn owner_turn(&mut self, owner: usize) {
        if self.owners[owner].paused || self.owners[owner].lane.is_none() {
            return;
        }
        if self.owners[owner].released {
            self.owners[owner].crash();
            self.owners[owner].right_ends = 0;
            if owner == self.holder {
                let next = self.moves_to.take().unwrap_or(owner);
                self.count("moves");
                self.take_over(next);
            }
        } else if let Some(event) = self.owners[owner].inbox.pop_front() {
            self.feed(owner, event);
        } else if self.owners[owner].wake.is_some_and(|wake| wake <= self.clock) {
            self.owners[owner].wake = None;
            self.feed(owner, Event::Tick);
        } else if let Some((question, what)) = self.owners[owner].asked.take() {
            let answer = self.answer(owner, what);
            self.owners[owner].inbox.push_back(Event::Answer { question, answer });
        } else {
            self.read(owner);
        }
    }

    fn answer(&mut self, owner: usize, what: Question) -> Answer {
        if self.dice.percent(self.options.faults / 2) {
            let refused = self.dice.percent(50);
            self.count("questions unanswered");
            return if refused { Answer::Refused { code: 6, text: String::new() } } else { Answer::Lost };
        }
        match what {
            Question::ProducerState { producer_id } => {
                Answer::ProducerState(self.partition.state(producer_id))
            }
            Question::LogEnd => Answer::LogEnd(self.partition.end()),
            Question::HighWatermark => Answer::HighWatermark(self.partition.high_watermark),
            Question::Tail { offset } => Answer::Tail(self.partition.tail(offset)),
            Question::NewProducerId => Answer::NewProducerId(self.new_producer_id()),
            Question::SourceRange => {
                Answer::SourceRange { earliest: self.source_start, latest: self.source_end() }
            }
            Question::Contents { source_from, destination_from, destination_to } => {
                let print = |offset: i64| Fingerprint(offset.unsigned_abs().into());
                let source = source_from.max(self.source_start)..self.source_end();
                let source =
                    source.filter(|at| self.timestamp(*at).is_some()).map(|at| (at, print(at))).collect();
                let destination = self.partition.copied_between(destination_from, destination_to);
                Answer::Contents { source, destination: destination.into_iter().map(print).collect() }
            }
            Question::EpochCurrent { epoch } => {
                self.count("asked whether the epoch is current");
                Answer::EpochCurrent(epoch.revision.0 == self.epoch && owner == self.holder)
            }
        }
    }

    /// The next request of an owner reaches the leader.
    fn deliver(&mut self, owner: usize) {
        let Some(request) = self.owners[owner].wire.pop_front() else { return };
        let token = request.token;
        let refused = |code| Outcome::Refused { code, record_index: None, text: String::new() };
        if !self.dice.percent(self.options.faults) {
            let outcome = match self.append(&request) {
                Ok(base_offset) => Outcome::Stored { base_offset },
                Err(code) => refused(code),
            };
            self.partition.replicate();
            self.check_order();
            return self.owners[owner].inbox.push_back(Event::Answered { token, outcome });
        }
        let outcome = match self.dice.below(7) {
            0 => {
                self.count("answers lost");
                self.arrive(&request);
                self.partition.replicate();
                Outcome::Lost
            }
            1 => Outcome::Lost,
            2 => refused([3, 5, 6, 19, 56, 74][self.dice.index(6)]),
            3 if !std::mem::replace(&mut self.corrupted, true) => refused(2),
            3 => refused([7, 45, -1][self.dice.index(3)]),
            4 => {
                self.count("stored without replicas");
                match self.append(&request) {
                    Ok(_) => refused([7, 20][self.dice.index(2)]),
                    Err(code) => refused(code),
                }
            }
            5 if !request.weak => {
                self.orphans.push(request.clone());
                Outcome::Lost
            }
            _ => {
                self.arrive(&request);
                self.partition.replicate();
                refused(7)
            }
        };
        if request.weak && (self.options.strays || self.options.late_strays) && outcome == Outcome::Lost {
            self.strays.push(request);
        }
        self.check_order();
        self.owners[owner].inbox.push_back(Event::Answered { token, outcome });
    }

    /// What nobody waits for any more arrives, or what is overdue altogether.
    fn deliver_late(&mut self) {
        if !self.orphans.is_empty() {
            let at = self.dice.index(self.orphans.len());
            let request = self.orphans.swap_remove(at);
            self.count("late arrivals");
            self.arrive(&request);
        } else if !self.strays.is_empty() && self.dice.percent(50) {
            let at = self.dice.index(self.strays.len());
            self.deliver_stray(at);
        }
        self.partition.replicate();
        self.check_order();
    }

    fn deliver_stray(&mut self, at: usize) {
        if self.options.late_strays {
            let stored = self.position.map_or(0, |position| position.next_offset);
            let last = self.strays[at].records.iter().max().copied().unwrap_or(stored);
            let all_told = self.owners.iter().all(|owner| owner.inbox.is_empty());
            if !all_told || !(last + 1..stored).any(|offset| self.timestamp(offset).is_some()) {
                return;
            }
            self.partition.expire(self.wall_ms());
        }
        let request = self.strays.swap_remove(at);
        self.count("strays");
        self.arrive(&request);
    }

    fn cut(&mut self, owner: usize) {
        if self.owners[owner].lane.is_none() {
            return;
        }
        self.count("connections cut");
        let reached = self.dice.index(self.owners[owner].wire.len() + 1);
        for at in 0..reached {
            let request = self.owners[owner].wire[at].clone();
            self.arrive(&request);
        }
        self.partition.replicate();
        self.check_order();
        self.drop_requests(owner, |_| true);
        self.owners[owner].inbox.push_back(Event::Disconnected);
    }

    fn forget(&mut self) {
        if self.options.late_strays {
            return;
        }
        if self.partition.expire(self.wall_ms()) > 0 {
            self.count("expired states");
        }
    }

    fn change_leader(&mut self) {
        if self.options.late_strays {
            return;
        }
        self.count("leader changes");
        if self.partition.end() > self.partition.high_watermark {
            self.count("unreplicated records gone");
        }
        let wall_ms = self.wall_ms();
        self.partition.change_leader(wall_ms, 0);
        self.compare_anew();
        for owner in 0..self.owners.len() {
            self.drop_requests(owner, |_| true);
            if self.owners[owner].lane.is_some() {
                self.owners[owner].inbox.push_back(Event::Leaders { source: true, destination: true });
            }
        }
    }

    fn ownership_turn(&mut self, owner: usize) {
        match self.dice.below(6) {
            0 | 1 => {
                self.owners[owner].paused = !self.owners[owner].paused;
                let what = if self.owners[owner].paused { "pauses" } else { "wakes up" };
                self.note(|_| format!("owner {owner} {what}"));
            }
            2 => {
                self.count("crashes");
                self.note(|_| format!("owner {owner} crashes"));
                self.kill(owner);
                if owner == self.holder {
                    self.take_over(owner);
                }
            }
            3 if owner != self.holder && self.owners[self.holder].lane.is_some() => {
                let holder = self.holder;
                self.owners[holder].inbox.push_back(Event::Stop);
                self.moves_to = Some(owner);
            }
            _ if owner != self.holder => self.take_over(owner),
            _ => {}
        }
    }

    fn take_over(&mut self, owner: usize) {
        self.count("takeovers");
        self.assign(owner);
    }

    fn special_turn(&mut self) {
        let wall_ms = self.wall_ms();
        if self.options.deletes_records && self.dice.percent(40) {
            self.count("destination records deleted");
            self.partition.delete_records();
        } else if (self.options.foreign || self.options.shared) && self.dice.percent(30) {
            self.count("foreign records");
            self.partition.append_foreign(1);
        } else if self.options.compacted {
            self.count("source compactions");
            let up_to = self.dice.index(self.source.len() + 1);
            self.clean_source(up_to);
        } else if self.options.retention && self.dice.percent(40) {
            self.count("source records deleted");
            let next = self.position.map_or(0, |position| position.next_offset);
            let up_to = (next + 8).min(self.source_end());
            let step = self.dice.below(4);
            self.source_start = (self.source_start + i64::try_from(step).expect("small")).min(up_to);
        } else if self.options.unclean && self.dice.percent(30) {
            self.count("unclean elections");
            self.partition.change_leader(wall_ms, 3);
            self.compare_anew();
        } else if self.options.recreates && self.dice.percent(30) {
            self.count("destinations created anew");
            self.partition.recreate();
            self.compare_anew();
            let id = TopicId(self.partition.topic_id);
            for owner in self.owners.iter_mut().filter(|owner| owner.lane.is_some()) {
                owner.inbox.push_back(Event::DestinationRecreated(id));
            }
        }
    }

    fn heal(&mut self) {
        self.options.faults = 0;
        self.owners.iter_mut().for_each(|owner| owner.paused = false);
        // An idle lane notices nothing: the last offset is a record.
        self.grow_source(3);
        while self.source.last() == Some(&None) {
            self.grow_source(1);
        }
        self.note(|_| "healing".to_owned());
        for _ in 0..HEALING_TURNS {
            if self.violation.is_some() {
                return;
            }
            self.clock += 60;
            self.pass_overdue();
            self.renew();
            self.partition.replicate();
            self.revive_holder();
            for owner in 0..self.owners.len() {
                self.owner_turn(owner);
                self.deliver(owner);
            }
            if self.is_settled() {
                break;
            }
        }
        self.judge();
    }

    fn pass_overdue(&mut self) {
        let clock = self.clock;
        for owner in 0..self.owners.len() {
            self.drop_requests(owner, |request| request.weak && request.arrives_before <= clock);
        }
        if self.owners[self.holder].lane.is_none() && self.owners[self.holder].inbox.is_empty() {
            self.assign(self.holder);
        }
    }

    /// What an agent does with a lane whose record is not the one in force.
    fn revive_holder(&mut self) {
        let holder = self.holder;
        let superseded = self.owners[holder].status == Some(Status::Parked(Parking::Superseded));
        if superseded && self.owners[holder].inbox.is_empty() {
            self.kill(holder);
            self.assign(holder);
        }
    }

    fn is_settled(&self) -> bool {
        let holder = &self.owners[self.holder];
        if matches!(holder.status, Some(Status::Stopped(_))) {
            return true;
        }
        let Some(lane) = &holder.lane else { return false };
        let quiet = self.owners.iter().all(|owner| owner.inbox.is_empty() && owner.wire.is_empty());
        quiet
            && holder.is_copying()
            && lane.batches_in_flight() == 0
            && lane.position().next_offset == self.source_end()
            && self.position.is_some_and(|stored| stored.next_offset == lane.position().next_offset)
    }

    fn judge(&mut self) {
        let status = self.owners[self.holder].status.clone();
        // A later holder may find nothing wrong any more; a human was told all the same.
        let reported = self.counts.contains_key("losses reported");
        let stopped = matches!(status, Some(Status::Stopped(_)));
        self.check_order();
        let copied = self.partition.copied().count();
        let expected = self.expected();
        let violation = match (&self.damaged, stopped) {
            (Some(damage), false) if !reported => Some(format!("not noticed: {damage}")),
            (Some(_), false) if !self.is_settled() => Some(format!("not done after healing: {status:?}")),
            (Some(damage), _) if !self.options.may_lose() => Some(damage.clone()),
            (None, true) if !self.options.may_lose() => Some(format!("stopped for nothing: {status:?}")),
            (Some(_), _) | (_, true) => None,
            (None, false) if !self.is_settled() => Some(format!("not done after healing: {status:?}")),
            (None, false) if self.options.compacted => {
                (!self.folds_alike()).then(|| "compaction hides a loss".to_owned())
            }
            (None, false) if copied != expected => Some(format!("{copied} of {expected} records arrived")),
            (None, false) => None,
        };
        self.violation = self.violation.take().or(violation);
    }
}

/// The same schedule on a broker that forgets the producer at each tick.
pub fn without_memory(options: Options) -> Options {
    Options {
        times: Times::Old,
        append_time: false,
        old_broker: false,
        faults: options.faults.max(10),
        ..options
    }
}
