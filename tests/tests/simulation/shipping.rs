//! What lanes ask of brokers and of the store of positions arrives there, whatever the agent does meanwhile.

use copyist_lane::{Answer, Event, Outcome};
use copyist_model::{LaneRecord, Position};

use crate::brokers::Request;
use crate::lanes::{LaneAt, Word, lane_id};
use crate::node::Node;
use crate::options::IN_FLIGHT_MS;
use crate::queue::{Happening, Timer};
use crate::sim::WALL_BEGAN_MS;
use crate::world::World;

/// How long a lane waits for the answer of a broker.
const ANSWER_PATIENCE_MS: u64 = 3_000;
/// How long after its sender gave up a position may arrive.
const LATE_POSITION_MS: u64 = 30_000;
/// Between two looks of the brokers at what their producers wrote last.
const FORGET_EVERY_MS: u64 = 4_000;

impl World {
    fn plan_word(&mut self, delay: u64, at: &LaneAt, word: Word) {
        let timer = Timer::Lane { at: Box::new(at.clone()), word };
        self.sim.after(delay, Happening::Wakes { node: Node::Agent(at.agent), life: at.life, timer });
    }

    fn hears(&mut self, delay: u64, at: &LaneAt, event: Event) {
        self.plan_word(delay, at, Word::Hears(Box::new(event)));
    }

    fn wall_ms(&self) -> i64 {
        WALL_BEGAN_MS + i64::try_from(self.sim.now).expect("a short test")
    }

    fn is_cut(&self, at: &LaneAt) -> bool {
        let agent = Node::Agent(at.agent);
        self.sim.network.is_cut(agent, Node::Brokers) || self.sim.network.is_cut(Node::Brokers, agent)
    }

    /// A question of a lane is answered.
    pub fn lane_asks(&mut self, at: &LaneAt, question: u32, what: copyist_lane::Question) {
        let is_cut = self.is_cut(at);
        let answer = if is_cut || self.sim.chance(3) {
            self.sim.trace.count("questions unanswered");
            Answer::Lost
        } else {
            self.sim.brokers.answer(&at.key, what)
        };
        let is_lost = answer == Answer::Lost;
        let delay = if is_lost { ANSWER_PATIENCE_MS } else { self.sim.between(1, 10) };
        self.hears(delay, at, Event::Answer { question, answer });
    }

    /// A position reaches its store, and others hear of it.
    pub fn lane_stores(&mut self, at: &LaneAt, position: Position, record: LaneRecord) {
        let is_lost = self.is_cut(at) || self.sim.chance(self.sim.options.lost_positions);
        if !is_lost {
            self.position_lands(at, position, record);
        } else if self.sim.dice.percent(50) {
            // What is on its way when who sent it gives up, or dies, may arrive long after.
            let delay = self.sim.between(0, LATE_POSITION_MS);
            let record = Box::new(record);
            self.sim.after(delay, Happening::PositionLands { at: Box::new(at.clone()), position, record });
        }
        let delay = self.sim.between(1, 10);
        let event = if is_lost { Event::PositionFailed } else { Event::PositionStored(position) };
        self.hears(if is_lost { ANSWER_PATIENCE_MS } else { delay }, at, event);
    }

    pub fn position_lands(&mut self, at: &LaneAt, position: Position, record: LaneRecord) {
        let lane = lane_id(&at.id, &at.key);
        if self.sim.brokers.store(&lane, position, record) {
            self.sim.trace.count("positions stored");
            let others = self.agents.iter().flat_map(crate::agent::Agent::all_lanes);
            let same = |other: &LaneAt| lane_id(&other.id, &other.key) == lane && other != at;
            for other in others.filter(same).collect::<Vec<_>>() {
                self.hears(20, &other, Event::PositionSeen(position));
            }
        }
    }

    /// The first request of a lane reaches the leader of its partition, if it gets through.
    pub fn produces(&mut self, at: &LaneAt) {
        let is_cut = self.is_cut(at);
        let agent = &mut self.agents[at.agent];
        if agent.process.life != at.life {
            return;
        }
        let cell = agent.jobs.get_mut(&at.id).and_then(|job| job.lanes.get_mut(&at.key));
        let Some(cell) = cell.filter(|cell| cell.is_life(at.serial)) else { return };
        let now = self.sim.now;
        let Some(request) = cell.wire.front().filter(|request| request.arrives <= now).cloned() else {
            return;
        };
        if is_cut {
            if now + 250 < request.sent + IN_FLIGHT_MS {
                if let Some(request) = cell.wire.front_mut() {
                    request.arrives = now + 200;
                }
                self.sim.after(200, Happening::Produces(Box::new(at.clone())));
            } else {
                // The connection gives up on it: it will not arrive.
                cell.wire.pop_front();
                let lost = Event::Answered { token: request.token, outcome: Outcome::Lost };
                self.hears(1, at, lost);
                agent_disconnected(self, at);
            }
            return;
        }
        cell.wire.pop_front();
        if let Some(next) = cell.wire.front() {
            let arrives = next.arrives.max(now);
            self.sim.queue.plan(arrives, Happening::Produces(Box::new(at.clone())));
        }
        self.produce(at, &request);
    }

    fn produce(&mut self, at: &LaneAt, request: &Request) {
        let refused = |code| Outcome::Refused { code, record_index: None, text: String::new() };
        let token = request.token;
        let answered = |outcome| Event::Answered { token, outcome };
        let delay = self.sim.between(1, 10);
        if !self.sim.chance(4) {
            let outcome = match self.sim.append(request) {
                Ok(base_offset) => Outcome::Stored { base_offset },
                Err(code) => refused(code),
            };
            return self.hears(delay, at, answered(outcome));
        }
        let (is_stored, outcome) = match self.sim.dice.below(4) {
            0 => (true, Outcome::Lost),
            1 => (false, Outcome::Lost),
            2 => (true, refused(7)),
            _ => (false, refused([3, 5, 6, 19, 56][self.sim.dice.index(5)])),
        };
        self.sim.trace.count("answers of brokers lost or bad");
        if is_stored {
            self.sim.append(request).unwrap_or_default();
        }
        let delay = if outcome == Outcome::Lost { ANSWER_PATIENCE_MS } else { delay };
        self.hears(delay, at, answered(outcome));
    }

    /// A request that nobody waits for arrives.
    pub fn arrives_late(&mut self, request: &Request) {
        self.sim.append(request).unwrap_or_default();
    }

    /// The brokers forget producers, and records come to the source.
    pub fn brokers_turn(&mut self) {
        self.sim.after(FORGET_EVERY_MS, Happening::BrokersTurn);
        let wall_ms = self.wall_ms();
        if self.sim.brokers.forget(wall_ms) > 0 {
            self.sim.trace.count("producers forgotten");
        }
    }

    pub fn records_come(&mut self) {
        if self.sim.is_healed {
            return;
        }
        let delay = self.sim.between(100, 700);
        self.sim.after(delay, Happening::RecordsCome);
        let topics: Vec<_> = self.sim.source.iter().map(|(topic, count)| (topic.clone(), *count)).collect();
        let (topic, count) = &topics[self.sim.dice.index(topics.len())];
        let partition = i32::try_from(self.sim.dice.below(u64::from(*count))).expect("small");
        let key = (topic.clone(), partition);
        let (records, wall_ms) = (1 + self.sim.dice.below(18), self.wall_ms());
        self.sim.brokers.grow(&mut self.sim.dice, wall_ms, &key, records);
        self.show_records(&key);
    }

    /// Who copies a partition finds that there is more.
    fn show_records(&mut self, key: &(copyist_model::TopicName, i32)) {
        let lanes = self.agents.iter().flat_map(crate::agent::Agent::all_lanes);
        for at in lanes.filter(|at| at.key == *key).collect::<Vec<_>>() {
            let delay = self.sim.between(1, 20);
            self.plan_word(delay, &at, Word::Look);
        }
    }

    /// No more records come.
    pub fn finish_source(&mut self) {
        let wall_ms = self.wall_ms();
        self.sim.brokers.finish(wall_ms);
        let keys: Vec<_> = self.sim.brokers.pairs.keys().cloned().collect();
        keys.iter().for_each(|key| self.show_records(key));
    }
}

fn agent_disconnected(world: &mut World, at: &LaneAt) {
    let lane = at.clone();
    world.agents[at.agent].lose_requests(&mut world.sim, &lane, |_| true);
    world.hears(2, &lane, Event::Disconnected);
}
