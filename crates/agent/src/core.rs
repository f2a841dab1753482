//! What an agent decides, pure: which jobs run, and whether they have a right to.
//!
//! The leader states what should run; a `Renew` that was answered gives the right to run it. A part starts once
//! both are there, and stops when either is gone. Until when it has the right, and from when no former holder has one,
//! the part is told as a level: it may write or not by that. Older epochs are refused.

mod proposals;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use copyist_model::{AssignmentEpoch, AssignmentId, InstanceState, LaneGeneration, LaneId, TaskRevision};

use self::proposals::{Proposals, unanswered};
use crate::job::{Findings, JobEvent, Order, Proposal, Right, Unanswered, Verdict};

pub use self::proposals::{Judgement, ProposalNumber};

/// What happened. Times are CLOCK_BOOTTIME in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A session is open: what is said of the past is said again.
    Welcome,
    /// The leader states that this should run.
    Run(Box<Run>),
    /// The leader states that this should stop.
    Release {
        id: AssignmentId,
        epoch: AssignmentEpoch,
    },
    /// The leader has named all that should run.
    SetComplete,
    /// A `Renew` that was sent at `sent_ms` was answered.
    Renewed {
        sent_ms: u64,
        ttl_ms: u64,
        held: BTreeMap<AssignmentId, AssignmentEpoch>,
    },
    /// The lease is gone, and with it every right.
    LeaseLost,
    Job(JobEvent),
    /// A job wants a lane record fixed. Each is answered once, by [`Effect::Answer`].
    Proposed {
        number: ProposalNumber,
        id: AssignmentId,
        epoch: AssignmentEpoch,
        proposal: Box<Proposal>,
    },
    /// The leader has judged the proposal of a lane.
    Verdict {
        lane: LaneId,
        generation: LaneGeneration,
        judgement: Judgement,
    },
    Tick,
    /// The process stops: everything is to end, and nothing starts any more.
    Drain,
}

/// What the leader states to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub id: AssignmentId,
    pub epoch: AssignmentEpoch,
    pub order: Order,
    /// How long a former holder may still have a right.
    pub previous_right_wait_ms: u64,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Start {
        id: AssignmentId,
        epoch: AssignmentEpoch,
        order: Order,
        right: Right,
    },
    /// A running job gets a newer order.
    Order {
        id: AssignmentId,
        order: Order,
    },
    /// The right of a running job was prolonged or withdrawn.
    Right {
        id: AssignmentId,
        right: Right,
    },
    /// A running job should end; it says when it has. As long as its right lasts it may finish what it has begun.
    Stop {
        id: AssignmentId,
    },
    Tell(Saying),
    /// A proposal is settled.
    Answer {
        number: ProposalNumber,
        answer: Result<Verdict, Unanswered>,
    },
    /// Ask for rights now, not at the next turn.
    Renew,
    /// Open a new session: the lease is gone.
    Rejoin,
    /// Nothing runs any more.
    Drained,
}

/// What the leader is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saying {
    /// The process stops: it releases what it runs, and takes nothing more.
    Draining,
    Report(Report),
    Released {
        id: AssignmentId,
        epoch: AssignmentEpoch,
    },
    Surveyed {
        id: AssignmentId,
        epoch: AssignmentEpoch,
        findings: Findings,
    },
    Propose {
        id: AssignmentId,
        epoch: AssignmentEpoch,
        proposal: Box<Proposal>,
    },
}

/// The state of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub id: AssignmentId,
    pub epoch: AssignmentEpoch,
    pub revision: TaskRevision,
    pub state: InstanceState,
    pub trace: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Job {
    epoch: AssignmentEpoch,
    order: Order,
    /// When the leader stated it: an answer to a question of before says nothing of it.
    stated_ms: u64,
    /// It ends at zero as long as no answered `Renew` has named the job.
    right: Right,
    phase: Phase,
    state: InstanceState,
    trace: String,
    findings: Option<Findings>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// Stated, and without a right so far.
    Waiting,
    Running,
    /// Told to stop; what is to be run instead, under a newer epoch.
    Stopping(Option<Box<Run>>),
    /// Ended without having been told to: waits for a restart.
    Broken,
}

/// The agent's state and decisions.
#[derive(Debug, Default)]
pub struct Core {
    jobs: BTreeMap<AssignmentId, Job>,
    /// What the leader has named in this session.
    named: BTreeSet<AssignmentId>,
    proposals: Proposals,
    draining: bool,
}

impl Core {
    /// Takes what happened, says what to do about it.
    pub fn step(&mut self, now_ms: u64, event: Event) -> Vec<Effect> {
        let mut effects = match event {
            Event::Welcome => self.welcome(),
            Event::Run(run) => self.stated(now_ms, *run),
            Event::Release { id, epoch } => self.release(id, epoch),
            Event::SetComplete => self.set_complete(),
            Event::Renewed { sent_ms, ttl_ms, held } => self.renewed(now_ms, sent_ms, ttl_ms, &held),
            Event::LeaseLost => self.lease_lost(),
            Event::Job(event) => self.job(now_ms, event),
            Event::Proposed { number, id, epoch, proposal } => self.proposed(number, id, epoch, proposal),
            Event::Verdict { lane, generation, judgement } => {
                self.proposals.judge(&lane, generation, judgement)
            }
            Event::Tick => self.stop_what_has_no_right_any_more(now_ms),
            Event::Drain => {
                self.draining = true;
                // First, or what is released comes back.
                let mut effects = vec![Effect::Tell(Saying::Draining)];
                effects.extend(self.stop_all());
                effects
            }
        };
        if self.draining && self.jobs.is_empty() {
            effects.push(Effect::Drained);
        }
        effects
    }

    /// The state of everything that runs, for a new session.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.jobs.iter().map(|(id, job)| job.report(id)).collect()
    }

    fn welcome(&mut self) -> Vec<Effect> {
        self.named.clear();
        let surveyed = self.jobs.iter().filter_map(|(id, job)| {
            let findings = job.findings.clone()?;
            Some(Effect::Tell(Saying::Surveyed { id: id.clone(), epoch: job.epoch, findings }))
        });
        let draining = self.draining.then_some(Effect::Tell(Saying::Draining));
        let mut effects: Vec<Effect> = draining.into_iter().chain(surveyed).collect();
        effects.extend(self.proposals.tell_again());
        effects.push(Effect::Renew);
        effects
    }

    fn stated(&mut self, now_ms: u64, run: Run) -> Vec<Effect> {
        if self.draining {
            return Vec::new();
        }
        self.named.insert(run.id.clone());
        let Some(job) = self.jobs.get_mut(&run.id) else {
            self.jobs.insert(run.id.clone(), Job::waiting(now_ms, &run));
            return vec![Effect::Renew];
        };
        if run.epoch < job.epoch {
            return Vec::new();
        }
        let newer = run.epoch > job.epoch;
        match &mut job.phase {
            Phase::Stopping(next) => {
                // Under the same epoch it is being released: the leader will assign it anew.
                if newer {
                    *next = Some(Box::new(run));
                }
                Vec::new()
            }
            Phase::Running if newer => {
                let id = run.id.clone();
                job.phase = Phase::Stopping(Some(Box::new(run)));
                vec![Effect::Stop { id }]
            }
            Phase::Running => {
                job.order = run.order.clone();
                vec![Effect::Order { id: run.id, order: run.order }]
            }
            Phase::Broken if !newer && run.order.revision <= job.order.revision => Vec::new(),
            Phase::Waiting | Phase::Broken => {
                *job = Job::waiting(now_ms, &run);
                vec![Effect::Renew]
            }
        }
    }

    fn release(&mut self, id: AssignmentId, epoch: AssignmentEpoch) -> Vec<Effect> {
        match self.jobs.get(&id) {
            Some(job) if job.epoch > epoch => Vec::new(),
            Some(_) => self.stop(&id),
            None => vec![Effect::Tell(Saying::Released { id, epoch })],
        }
    }

    fn set_complete(&mut self) -> Vec<Effect> {
        let unnamed: Vec<AssignmentId> =
            self.jobs.keys().filter(|id| !self.named.contains(id)).cloned().collect();
        unnamed.iter().flat_map(|id| self.stop(id)).collect()
    }

    fn renewed(
        &mut self,
        now_ms: u64,
        sent_ms: u64,
        ttl_ms: u64,
        held: &BTreeMap<AssignmentId, AssignmentEpoch>,
    ) -> Vec<Effect> {
        let ends_at = Duration::from_millis(sent_ms.saturating_add(ttl_ms));
        let mut effects = Vec::new();
        for id in self.ids() {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            if held.get(&id) == Some(&job.epoch) {
                effects.extend(job.prolong(&id, ends_at));
            } else if job.stated_ms < sent_ms {
                effects.extend(self.withdraw(&id));
            }
        }
        effects.extend(self.start_what_may(now_ms));
        effects
    }

    /// Starts what waited for its right.
    fn start_what_may(&mut self, now_ms: u64) -> Vec<Effect> {
        let now = Duration::from_millis(now_ms);
        let may = |job: &Job| job.phase == Phase::Waiting && now < job.right.ends_at;
        let mut effects = Vec::new();
        for (id, job) in self.jobs.iter_mut().filter(|(_, job)| may(job)) {
            job.phase = Phase::Running;
            let (id, order) = (id.clone(), job.order.clone());
            effects.push(Effect::Start { id, epoch: job.epoch, order, right: job.right });
        }
        effects
    }

    fn lease_lost(&mut self) -> Vec<Effect> {
        let jobs = self.jobs.iter_mut();
        let mut effects: Vec<Effect> = jobs.filter_map(|(id, job)| job.lose_right(id)).collect();
        effects.extend(self.stop_all());
        effects.push(Effect::Rejoin);
        effects
    }

    fn stop_what_has_no_right_any_more(&mut self, now_ms: u64) -> Vec<Effect> {
        let now = Duration::from_millis(now_ms);
        let over = |job: &Job| !job.right.ends_at.is_zero() && now >= job.right.ends_at;
        let over: Vec<AssignmentId> =
            self.jobs.iter().filter(|(_, job)| over(job)).map(|(id, _)| id.clone()).collect();
        over.iter().flat_map(|id| self.withdraw(id)).collect()
    }

    /// A job without a right ends; one that ends already is followed by what was stated since.
    fn withdraw(&mut self, id: &AssignmentId) -> Vec<Effect> {
        let Some(job) = self.jobs.get_mut(id) else { return Vec::new() };
        let mut effects: Vec<Effect> = job.lose_right(id).into_iter().collect();
        if !matches!(job.phase, Phase::Stopping(_)) {
            effects.extend(self.stop(id));
        }
        effects
    }

    fn ids(&self) -> Vec<AssignmentId> {
        self.jobs.keys().cloned().collect()
    }

    fn stop_all(&mut self) -> Vec<Effect> {
        self.ids().iter().flat_map(|id| self.stop(id)).collect()
    }

    /// Ends a job; what does not run is released at once. The right is not touched: as long as it lasts the job reads
    /// the answers to what it has sent and stores its positions, so that who comes next need not wait.
    fn stop(&mut self, id: &AssignmentId) -> Vec<Effect> {
        let Some(job) = self.jobs.get_mut(id) else { return Vec::new() };
        match job.phase {
            Phase::Running => {
                job.phase = Phase::Stopping(None);
                vec![Effect::Stop { id: id.clone() }]
            }
            Phase::Stopping(ref mut next) => {
                *next = None;
                Vec::new()
            }
            Phase::Waiting | Phase::Broken => {
                let epoch = job.epoch;
                self.jobs.remove(id);
                vec![Effect::Tell(Saying::Released { id: id.clone(), epoch })]
            }
        }
    }

    fn job(&mut self, now_ms: u64, event: JobEvent) -> Vec<Effect> {
        let (JobEvent::Status { id, epoch, .. }
        | JobEvent::Surveyed { id, epoch, .. }
        | JobEvent::Ended { id, epoch }) = &event;
        let (id, epoch) = (id.clone(), *epoch);
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.epoch == epoch) else { return Vec::new() };
        match event {
            JobEvent::Status { state, trace, .. } => {
                job.state = state;
                job.trace = trace;
                vec![Effect::Tell(Saying::Report(job.report(&id)))]
            }
            JobEvent::Surveyed { findings, .. } => {
                job.findings = Some(findings.clone());
                vec![Effect::Tell(Saying::Surveyed { id, epoch, findings })]
            }
            JobEvent::Ended { .. } => self.ended(now_ms, &id),
        }
    }

    fn proposed(
        &mut self,
        number: ProposalNumber,
        id: AssignmentId,
        epoch: AssignmentEpoch,
        proposal: Box<Proposal>,
    ) -> Vec<Effect> {
        if self.jobs.get(&id).is_some_and(|job| job.epoch == epoch && job.is_at_work()) {
            self.proposals.propose(number, id, epoch, proposal)
        } else {
            vec![unanswered(number)]
        }
    }

    fn ended(&mut self, now_ms: u64, id: &AssignmentId) -> Vec<Effect> {
        let mut effects = self.proposals.drop_all_of(id);
        effects.extend(self.followed(now_ms, id));
        effects
    }

    /// What comes after a job that has ended.
    fn followed(&mut self, now_ms: u64, id: &AssignmentId) -> Vec<Effect> {
        let Some(job) = self.jobs.get_mut(id) else { return Vec::new() };
        match &mut job.phase {
            Phase::Stopping(Some(next)) => {
                *job = Job::waiting(now_ms, next);
                vec![Effect::Renew]
            }
            Phase::Stopping(None) => {
                let epoch = job.epoch;
                self.jobs.remove(id);
                vec![Effect::Tell(Saying::Released { id: id.clone(), epoch })]
            }
            Phase::Running | Phase::Waiting | Phase::Broken => {
                job.phase = Phase::Broken;
                job.state = InstanceState::Failed;
                job.trace = "it ended by a defect of copyist (the log has the panic); restart it".to_owned();
                vec![Effect::Tell(Saying::Report(job.report(id)))]
            }
        }
    }
}

impl Job {
    fn waiting(now_ms: u64, run: &Run) -> Self {
        let free_ms = match run.previous_right_wait_ms {
            0 => 0,
            wait_ms => now_ms.saturating_add(wait_ms),
        };
        Self {
            epoch: run.epoch,
            order: run.order.clone(),
            stated_ms: now_ms,
            right: Right { ends_at: Duration::ZERO, free_at: Duration::from_millis(free_ms) },
            phase: Phase::Waiting,
            state: InstanceState::Unassigned,
            trace: "waits for the right to run".to_owned(),
            findings: None,
        }
    }

    fn is_at_work(&self) -> bool {
        match self.phase {
            Phase::Running | Phase::Stopping(_) => true,
            Phase::Waiting | Phase::Broken => false,
        }
    }

    fn prolong(&mut self, id: &AssignmentId, ends_at: Duration) -> Option<Effect> {
        self.set_right(id, self.right.ends_at.max(ends_at))
    }

    fn lose_right(&mut self, id: &AssignmentId) -> Option<Effect> {
        self.set_right(id, Duration::ZERO)
    }

    fn set_right(&mut self, id: &AssignmentId, ends_at: Duration) -> Option<Effect> {
        let before = std::mem::replace(&mut self.right.ends_at, ends_at);
        let news = self.is_at_work() && before != ends_at;
        news.then(|| Effect::Right { id: id.clone(), right: self.right })
    }

    fn report(&self, id: &AssignmentId) -> Report {
        Report {
            id: id.clone(),
            epoch: self.epoch,
            revision: self.order.revision,
            state: self.state,
            trace: self.trace.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
