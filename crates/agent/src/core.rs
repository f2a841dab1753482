//! What an agent decides, pure: which jobs run, and whether they have a right to.
//!
//! The leader states what should run; a `Renew` that was answered gives the right to run it. A part starts once
//! both are there (and a former holder's right is over), and stops when either is gone. Older epochs are refused.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::{AssignmentEpoch, AssignmentId, InstanceState, TaskRevision};

use crate::job::{Findings, JobEvent, Order};

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
    },
    /// A running job gets a newer order.
    Order {
        id: AssignmentId,
        order: Order,
    },
    /// A running job should end; it says when it has.
    Stop {
        id: AssignmentId,
    },
    Tell(Saying),
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
    Report(Report),
    Released { id: AssignmentId, epoch: AssignmentEpoch },
    Surveyed { id: AssignmentId, epoch: AssignmentEpoch, findings: Findings },
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
    /// When the leader stated it: a right that was asked for earlier says nothing of it.
    stated_ms: u64,
    /// No write before: a former holder may still have a right.
    not_before_ms: u64,
    phase: Phase,
    /// Whether an answered `Renew` has named it.
    has_right: bool,
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
    /// Until when there is a right to run what the last answer named.
    right_until_ms: u64,
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
            Event::LeaseLost => {
                self.right_until_ms = 0;
                let mut effects = self.stop_all();
                effects.push(Effect::Rejoin);
                effects
            }
            Event::Job(event) => self.job(now_ms, event),
            Event::Tick if now_ms >= self.right_until_ms => self.stop_all(),
            Event::Tick => self.start_what_may(now_ms),
            Event::Drain => {
                self.draining = true;
                self.stop_all()
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
        surveyed.chain([Effect::Renew]).collect()
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
        self.right_until_ms = self.right_until_ms.max(sent_ms + ttl_ms);
        let without: Vec<AssignmentId> = self
            .jobs
            .iter()
            .filter(|(id, job)| job.stated_ms <= sent_ms && held.get(*id) != Some(&job.epoch))
            .map(|(id, _)| id.clone())
            .collect();
        let mut effects: Vec<Effect> = without.iter().flat_map(|id| self.stop(id)).collect();
        for (id, job) in &mut self.jobs {
            job.has_right |= held.get(id) == Some(&job.epoch);
        }
        effects.extend(self.start_what_may(now_ms));
        effects
    }

    /// Starts what has its right, and no former holder to wait for.
    fn start_what_may(&mut self, now_ms: u64) -> Vec<Effect> {
        if now_ms >= self.right_until_ms || self.draining {
            return Vec::new();
        }
        let may = |job: &Job| job.phase == Phase::Waiting && job.has_right && now_ms >= job.not_before_ms;
        let mut effects = Vec::new();
        for (id, job) in self.jobs.iter_mut().filter(|(_, job)| may(job)) {
            job.phase = Phase::Running;
            effects.push(Effect::Start { id: id.clone(), epoch: job.epoch, order: job.order.clone() });
        }
        effects
    }

    fn stop_all(&mut self) -> Vec<Effect> {
        let all: Vec<AssignmentId> = self.jobs.keys().cloned().collect();
        all.iter().flat_map(|id| self.stop(id)).collect()
    }

    /// Ends a job; what does not run is released at once.
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

    fn ended(&mut self, now_ms: u64, id: &AssignmentId) -> Vec<Effect> {
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
        Self {
            epoch: run.epoch,
            order: run.order.clone(),
            stated_ms: now_ms,
            not_before_ms: now_ms.saturating_add(run.previous_right_wait_ms),
            phase: Phase::Waiting,
            has_right: false,
            state: InstanceState::Unassigned,
            trace: "waits for the right to run".to_owned(),
            findings: None,
        }
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
