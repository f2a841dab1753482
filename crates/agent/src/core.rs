//! What an agent decides, pure: which jobs run, and whether they have a right to.
//!
//! The leader states what should run ([`stating`]); a `Renew` that was answered gives the right to run it ([`rights`]).
//! A part starts once both are there. It stops when the leader says so, or an answer does not name it; when nobody
//! answers, it goes on until its autonomy is over. Until when it has the right, and from when no former holder has one,
//! the part is told as a level: what may be written without a right is the part's own judgement. Older epochs are
//! refused; those of different stores are not compared.

mod job;
mod proposals;
mod rights;
mod stating;
mod telling;

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::{AssignmentEpoch, AssignmentId, InstanceState, LaneGeneration, LaneId, TaskRevision};

use self::job::Job;
use self::proposals::Proposals;
use crate::job::{Findings, JobEvent, Order, Proposal, Right, Unanswered, Verdict};

pub use self::proposals::{Judgement, ProposalNumber};

/// What happened. Times are CLOCK_BOOTTIME in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A session is open: what is said of the past is said again.
    Welcome {
        /// The store that the leader works by.
        store_id: String,
        /// How long a job goes on after its right has ended, when nobody says anything of it.
        autonomy_max_ms: u64,
    },
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
    /// The lease is gone, and with it every right. It says nothing of who holds what now.
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
    /// Nothing runs any more, whatever was assigned meanwhile: the leader's statement may not have arrived.
    Drained,
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

/// The agent's state and decisions.
#[derive(Debug, Default)]
pub struct Core {
    jobs: BTreeMap<AssignmentId, Job>,
    /// What the leader has named in this session.
    named: BTreeSet<AssignmentId>,
    proposals: Proposals,
    /// The newest epoch of each part that was said to be over: it never runs again, whatever was stated meanwhile.
    ended: BTreeMap<AssignmentId, AssignmentEpoch>,
    /// Of the last session.
    store: Option<String>,
    /// When it became another one than before.
    store_since_ms: Option<u64>,
    autonomy_max_ms: u64,
    draining: bool,
}

impl Core {
    /// Takes what happened, says what to do about it.
    pub fn step(&mut self, now_ms: u64, event: Event) -> Vec<Effect> {
        let mut effects = match event {
            Event::Welcome { store_id, autonomy_max_ms } => self.welcome(now_ms, store_id, autonomy_max_ms),
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
            Event::Tick => self.end_autonomy(now_ms),
            Event::Drain => self.drain(),
        };
        if self.draining && self.jobs.is_empty() {
            effects.extend([Effect::Tell(Saying::Drained), Effect::Drained]);
        }
        effects
    }

    /// The state of everything that runs, for a new session; but for what a former store assigned.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.own_jobs().map(|(id, job)| job.report(id)).collect()
    }

    /// The store that the last session was under; empty before the first one.
    #[must_use]
    pub fn store_id(&self) -> &str {
        self.store.as_deref().unwrap_or_default()
    }

    fn own_jobs(&self) -> impl Iterator<Item = (&AssignmentId, &Job)> {
        self.jobs.iter().filter(|(_, job)| !job.is_foreign)
    }

    fn ids(&self) -> Vec<AssignmentId> {
        self.jobs.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
