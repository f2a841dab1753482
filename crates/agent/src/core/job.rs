//! One part at this agent: under which epoch, with which right, and what comes after it.

use std::time::Duration;

use copyist_model::{AssignmentEpoch, AssignmentId, InstanceState};

use super::{Effect, Report, Run};
use crate::job::{Findings, Order, Right};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub epoch: AssignmentEpoch,
    /// It was stated by a former store: no epoch of the present one is comparable with its own.
    pub is_foreign: bool,
    pub order: Order,
    /// When the leader stated it: an answer to a question of before says nothing of it.
    pub stated_ms: u64,
    /// It ends at zero as long as no answered `Renew` has named the job, and when it was withdrawn.
    pub right: Right,
    /// The end of the right as it was last known, withdrawn or not: autonomy counts from it.
    pub held_until: Duration,
    pub phase: Phase,
    pub state: InstanceState,
    pub trace: String,
    pub findings: Option<Findings>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// Stated, and without a right so far.
    Waiting,
    Running,
    /// Told to stop.
    Stopping(After),
    /// Ended without having been told to: waits for a restart.
    Broken,
}

/// What comes after a job that is stopping.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct After {
    /// What is to be run instead, under an epoch newer than all that was told to end.
    pub next: Option<Box<Run>>,
    /// The newest epoch that was told to end, of those that are not older than the job's.
    pub released: Option<AssignmentEpoch>,
}

impl After {
    /// Everything up to this epoch is over once the job is.
    pub fn release(&mut self, epoch: AssignmentEpoch) {
        self.released = self.released.max(Some(epoch));
        self.next.take_if(|next| next.epoch <= epoch);
    }

    /// Nothing comes next: what would have is over with the job.
    pub fn give_up_next(&mut self) {
        if let Some(next) = self.next.take() {
            self.release(next.epoch);
        }
    }
}

impl Job {
    pub fn waiting(now_ms: u64, run: &Run) -> Self {
        let free_ms = match run.previous_right_wait_ms {
            0 => 0,
            wait_ms => now_ms.saturating_add(wait_ms),
        };
        Self {
            epoch: run.epoch,
            is_foreign: false,
            order: run.order.clone(),
            stated_ms: now_ms,
            right: Right { ends_at: Duration::ZERO, free_at: Duration::from_millis(free_ms) },
            held_until: Duration::ZERO,
            phase: Phase::Waiting,
            state: InstanceState::Unassigned,
            trace: "waits for the right to run".to_owned(),
            findings: None,
        }
    }

    /// Its epoch, where it compares with those that the present leader names. Nothing is older than any.
    pub fn own_epoch(&self) -> Option<AssignmentEpoch> {
        (!self.is_foreign).then_some(self.epoch)
    }

    pub fn is_at_work(&self) -> bool {
        match self.phase {
            Phase::Running | Phase::Stopping(_) => true,
            Phase::Waiting | Phase::Broken => false,
        }
    }

    pub fn prolong(&mut self, id: &AssignmentId, ends_at: Duration) -> Option<Effect> {
        self.held_until = self.held_until.max(ends_at);
        self.set_right(id, self.right.ends_at.max(ends_at))
    }

    pub fn lose_right(&mut self, id: &AssignmentId) -> Option<Effect> {
        self.set_right(id, Duration::ZERO)
    }

    fn set_right(&mut self, id: &AssignmentId, ends_at: Duration) -> Option<Effect> {
        let before = std::mem::replace(&mut self.right.ends_at, ends_at);
        let news = self.is_at_work() && before != ends_at;
        news.then(|| Effect::Right { id: id.clone(), right: self.right })
    }

    pub fn report(&self, id: &AssignmentId) -> Report {
        Report {
            id: id.clone(),
            epoch: self.epoch,
            revision: self.order.revision,
            state: self.state,
            trace: self.trace.clone(),
        }
    }
}
