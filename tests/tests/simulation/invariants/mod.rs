//! What must hold at every moment, one invariant a file. They see what really is: the store, every process, and what the
//! user was told.

mod acknowledged;
mod autonomy;
mod epochs;
mod growth;
mod limits;
mod records;
mod stops;
mod weak_lanes;
mod weak_writers;

use std::collections::BTreeMap;

use copyist_coordinator::core::{Command, Holder, Write};
use copyist_model::{AssignmentEpoch, AssignmentId};

use crate::brokers::SourceKey;
use crate::store::Store;
use crate::user::User;

/// Something that has just happened.
#[derive(Debug, Clone)]
pub enum Fact {
    Stored {
        revision: u64,
        writes: Vec<Write>,
    },
    /// The store is as it was at a revision before.
    Restored {
        revision: u64,
    },
    LimitBroken(String),
    /// A leader sends a reply.
    Answered {
        command: Box<Command>,
        is_ok: bool,
    },
    /// An agent hears what it should run.
    Stated {
        holder: Holder,
        id: AssignmentId,
        epoch: AssignmentEpoch,
    },
    Started {
        holder: Holder,
        id: AssignmentId,
        epoch: AssignmentEpoch,
    },
    /// A process is awake.
    Ticked(Holder),
    /// A job is told by an order that is older than the one it has.
    OldOrder(String),
    /// When a job may write by its right alone.
    Right {
        holder: Holder,
        id: AssignmentId,
        epoch: AssignmentEpoch,
        from: u64,
        until: u64,
    },
    /// A job is over; unless it was clean, what it wrote last may be on its way.
    Ended {
        holder: Holder,
        id: AssignmentId,
        epoch: AssignmentEpoch,
        is_clean: bool,
    },
    /// A batch is in the destination; with what is wrong there since.
    Appended {
        lane: SourceKey,
        by: Holder,
        epoch: AssignmentEpoch,
        is_weak: bool,
        wrong: Option<String>,
    },
    /// A lane thinks that it needs a human.
    LaneStopped(String),
    /// The user has learned or asked something.
    UserMoved,
}

/// What really is.
pub struct Truth<'a> {
    pub now: u64,
    pub store: &'a Store,
    pub user: &'a User,
    /// All jobs that run, with their epochs.
    pub running: &'a Running,
}

/// A job that runs.
#[derive(Debug, Clone, Copy)]
pub struct Runs {
    pub epoch: AssignmentEpoch,
    /// The end of its autonomy: what runs on does so in a process that stands still, and does nothing once it goes on.
    pub counts_until: u64,
    /// The same, whatever became of the store.
    pub by_itself_until: u64,
}

pub type Running = BTreeMap<(AssignmentId, Holder), Runs>;

pub trait Invariant {
    fn name(&self) -> &'static str;

    /// Says what is wrong, if something is.
    fn observe(&mut self, truth: &Truth, fact: &Fact) -> Option<String>;

    /// Time went by since the last fact.
    fn pass(&mut self, _now: u64) -> Option<String> {
        None
    }
}

/// Something that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub invariant: &'static str,
    pub text: String,
}

/// All of them, and what they look at.
pub struct Invariants {
    all: Vec<Box<dyn Invariant>>,
    running: Running,
    /// How long a process goes on by itself.
    autonomy_ms: u64,
}

impl Invariants {
    /// Those that are named; none: all.
    pub fn new(autonomy_ms: u64, only: &[&str]) -> Self {
        let mut invariants = Self {
            all: vec![
                Box::new(weak_writers::WeakWriters::default()),
                Box::new(epochs::Epochs::default()),
                Box::new(acknowledged::Acknowledged),
                Box::new(growth::Growth::default()),
                Box::new(stops::Stops),
                Box::new(limits::Limits),
                Box::new(autonomy::Autonomy::default()),
                Box::new(records::Records),
                Box::new(weak_lanes::WeakLanes::default()),
            ],
            running: Running::new(),
            autonomy_ms,
        };
        invariants.all.retain(|it| only.is_empty() || only.contains(&it.name()));
        invariants
    }

    pub fn running(&self) -> &Running {
        &self.running
    }

    pub fn pass(&mut self, now: u64) -> Option<Violation> {
        self.all.iter_mut().find_map(|invariant| {
            let text = invariant.pass(now)?;
            Some(Violation { invariant: invariant.name(), text })
        })
    }

    pub fn observe(&mut self, now: u64, store: &Store, user: &User, fact: &Fact) -> Option<Violation> {
        match fact {
            Fact::Started { holder, id, epoch } => {
                let runs = Runs { epoch: *epoch, counts_until: now, by_itself_until: now };
                self.running.insert((id.clone(), holder.clone()), runs);
            }
            Fact::Right { holder, id, until, .. } => {
                if let Some(runs) = self.running.get_mut(&(id.clone(), holder.clone())) {
                    // Clocks may be a hundredth slow.
                    let by_itself = self.autonomy_ms + self.autonomy_ms / 50;
                    runs.counts_until = runs.counts_until.max(until + by_itself);
                    runs.by_itself_until = runs.by_itself_until.max(until + by_itself);
                }
            }
            Fact::Ended { holder, id, .. } => drop(self.running.remove(&(id.clone(), holder.clone()))),
            Fact::Restored { revision } => {
                // The store knows nothing of these.
                let lost = |runs: &&mut Runs| runs.epoch.revision.0 > *revision;
                self.running.values_mut().filter(lost).for_each(|runs| runs.counts_until = now);
            }
            _ => {}
        }
        let truth = Truth { now, store, user, running: &self.running };
        self.all.iter_mut().find_map(|invariant| {
            let text = invariant.observe(&truth, fact)?;
            Some(Violation { invariant: invariant.name(), text })
        })
    }
}
