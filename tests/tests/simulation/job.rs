//! What runs on an agent: surveys look at the source, tasks say that they run. Both stop after a while.

use copyist_agent::core::Event;
use copyist_agent::job::{Findings, FoundTopic, JobEvent, Order, Right};
use copyist_model::{AssignmentEpoch, AssignmentId, InstanceState, Part};

use crate::agent::Agent;
use crate::invariants::Fact;
use crate::lanes::Lanes;
use crate::queue::{Timer, Turn};
use crate::sim::Sim;

/// Between two surveys of one connector.
const SURVEY_EVERY_MS: u64 = 4_000;
/// How long the lanes of a task may take to drain.
const STOP_PATIENCE_MS: u64 = 5_000;

pub struct Job {
    pub epoch: AssignmentEpoch,
    pub order: Order,
    pub right: Right,
    pub is_stopping: bool,
    /// Of the looks of a survey that were planned only the last counts.
    look: u64,
    /// Of a task.
    pub lanes: Lanes,
    pub told_state: Option<InstanceState>,
}

impl Agent {
    pub fn start(
        &mut self,
        sim: &mut Sim,
        id: AssignmentId,
        epoch: AssignmentEpoch,
        order: Order,
        right: Right,
    ) {
        sim.note(self.process.node, "runs", || format!("{id}@{epoch}"));
        sim.trace.count("jobs started");
        let job =
            Job { epoch, order, right, is_stopping: false, look: 0, lanes: Lanes::new(), told_state: None };
        self.jobs.insert(id.clone(), job);
        sim.facts.push(Fact::Started { holder: self.holder.clone(), id: id.clone(), epoch });
        self.show_right(sim, &id);
        let delay = sim.between(20, 400);
        self.plan(sim, delay, &id, epoch, Turn::Begin);
    }

    fn plan(&self, sim: &mut Sim, delay: u64, id: &AssignmentId, epoch: AssignmentEpoch, turn: Turn) {
        sim.wake(&self.process, delay, Timer::Job { id: id.clone(), epoch, turn });
    }

    pub fn order(&mut self, sim: &mut Sim, id: &AssignmentId, order: Order) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let before = std::mem::replace(&mut job.order, order);
        let (is, was) = (job.order.revision, before.revision);
        // A store that is restored may order what it had ordered before.
        if is < was && !sim.options.restores {
            let text = format!("{id}@{} is ordered revision {}, after {}", job.epoch, is.0, was.0);
            sim.facts.push(Fact::OldOrder(text));
        }
        let epoch = job.epoch;
        if sim.options.copies && id.part != Part::Survey {
            return self.order_lanes(sim, id, Some(&before));
        }
        let delay = sim.between(5, 100);
        self.plan(sim, delay, id, epoch, Turn::Begin);
    }

    pub fn right(&mut self, sim: &mut Sim, id: &AssignmentId, right: Right) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.right = right;
        self.show_right(sim, id);
        self.lanes_hear_right(sim, id);
    }

    /// From when to when a job may write by its right alone, in true time.
    fn show_right(&self, sim: &mut Sim, id: &AssignmentId) {
        let Some(job) = self.jobs.get(id) else { return };
        let when = |shown: std::time::Duration| {
            self.process.clock.when(u64::try_from(shown.as_millis()).expect("a short test"))
        };
        let until = if job.right.ends_at.is_zero() { sim.now } else { when(job.right.ends_at) };
        let from = when(job.right.free_at);
        let (holder, epoch) = (self.holder.clone(), job.epoch);
        sim.facts.push(Fact::Right { holder, id: id.clone(), epoch, from, until });
    }

    pub fn stop(&mut self, sim: &mut Sim, id: &AssignmentId) {
        let now = u128::from(self.now(sim));
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.is_stopping = true;
        let epoch = job.epoch;
        if sim.options.copies && id.part != Part::Survey {
            self.plan(sim, STOP_PATIENCE_MS, id, epoch, Turn::Abandon);
            return self.leave_lanes(sim, id);
        }
        let has_right = now < job.right.ends_at.as_millis();
        let is_slow = has_right && sim.chance(10);
        let delay = if is_slow { sim.between(1_000, 6_000) } else { sim.between(5, 300) };
        self.plan(sim, delay, id, epoch, Turn::End);
    }

    pub fn job_turn(&mut self, sim: &mut Sim, id: &AssignmentId, epoch: AssignmentEpoch, turn: Turn) {
        let Some(job) = self.jobs.get(id).filter(|job| job.epoch == epoch) else { return };
        if turn == Turn::Begin && sim.chance(1) {
            return self.panic(sim, id, epoch);
        }
        match turn {
            Turn::Begin if sim.options.copies && id.part != Part::Survey => self.order_lanes(sim, id, None),
            Turn::Begin => {
                let state = if job.order.paused { InstanceState::Paused } else { InstanceState::Running };
                let (id, trace) = (id.clone(), String::new());
                let survey = id.part == Part::Survey;
                self.step(sim, Event::Job(JobEvent::Status { id: id.clone(), epoch, state, trace }));
                if survey {
                    self.plan_survey(sim, 50, &id, epoch);
                }
            }
            Turn::Survey { look } if look == job.look => self.survey(sim, id, epoch),
            Turn::Survey { .. } => {}
            Turn::Abandon => {
                let keys: Vec<_> = job.lanes.keys().cloned().collect();
                sim.trace.count("tasks that did not end in time");
                keys.iter().for_each(|key| drop(self.forget_lane(sim, id, key)));
                self.job_turn(sim, id, epoch, Turn::End);
            }
            Turn::End => {
                sim.note(self.process.node, "ended", || format!("{id}@{epoch}"));
                if let Some(job) = self.jobs.remove(id) {
                    let (holder, id) = (self.holder.clone(), id.clone());
                    sim.facts.push(Fact::Ended { holder, id, epoch: job.epoch, is_clean: true });
                }
                self.step(sim, Event::Job(JobEvent::Ended { id: id.clone(), epoch }));
            }
        }
    }

    /// A job ends by a defect, without having been told to.
    fn panic(&mut self, sim: &mut Sim, id: &AssignmentId, epoch: AssignmentEpoch) {
        sim.trace.count("jobs that panicked");
        sim.note(self.process.node, "panics", || format!("{id}@{epoch}"));
        let keys = self.jobs.get(id).into_iter().flat_map(|job| job.lanes.keys().cloned());
        for key in keys.collect::<Vec<_>>() {
            self.forget_lane(sim, id, &key);
        }
        self.jobs.remove(id);
        let holder = self.holder.clone();
        sim.facts.push(Fact::Ended { holder, id: id.clone(), epoch, is_clean: true });
        self.step(sim, Event::Job(JobEvent::Ended { id: id.clone(), epoch }));
    }

    fn survey(&mut self, sim: &mut Sim, id: &AssignmentId, epoch: AssignmentEpoch) {
        let Some(job) = self.jobs.get(id).filter(|job| !job.is_stopping) else { return };
        let free_at = u64::try_from(job.right.free_at.as_millis()).expect("a short test");
        if self.now(sim) < free_at {
            let delay = self.process.clock.when(free_at).saturating_sub(sim.now) + 1;
            return self.plan_survey(sim, delay, id, epoch);
        }
        let spec = &job.order.spec;
        let selected = sim.source.iter().filter(|(topic, _)| spec.selection.selects(topic));
        let topics = selected.filter_map(|(topic, partitions)| {
            Some(FoundTopic {
                source: topic.clone(),
                destination: spec.rename.apply(topic).ok()?,
                partitions: *partitions,
                literal: true,
            })
        });
        let findings = Findings {
            generation: job.order.generation,
            source_cluster: "source".parse().expect("a name"),
            destination_cluster: "destination".parse().expect("a name"),
            topics: topics.collect(),
        };
        sim.trace.count("surveys");
        self.step(sim, Event::Job(JobEvent::Surveyed { id: id.clone(), epoch, findings }));
        self.plan_survey(sim, SURVEY_EVERY_MS, id, epoch);
    }

    /// The next look at the source; one that was planned before is no more.
    fn plan_survey(&mut self, sim: &mut Sim, delay: u64, id: &AssignmentId, epoch: AssignmentEpoch) {
        if let Some(job) = self.jobs.get_mut(id) {
            job.look += 1;
            let turn = Turn::Survey { look: job.look };
            self.plan(sim, delay, id, epoch, turn);
        }
    }
}
