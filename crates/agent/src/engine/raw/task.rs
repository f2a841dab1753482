//! A task as its route has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use copyist_model::InstanceState;
use tokio::sync::watch;

use super::firsts::Firsts;
use crate::engine::name::LaneName;
use crate::job::{Order, Reporter};

/// Names a task within a plane, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskNumber(pub u64);

/// What a route tells of a task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// Nothing before the first look.
    pub status: Option<(InstanceState, String)>,
    /// All lanes are released, after a stop.
    pub ended: bool,
}

/// What a route knows of a task.
#[derive(Debug)]
pub struct TaskCell {
    pub reporter: Reporter,
    pub order: Arc<Order>,
    pub told: watch::Sender<Told>,
    /// Losses that lanes went past by the user's policy, in words. They outlive a pause here, and
    /// a restart in the lane's position.
    pub gaps: BTreeMap<LaneName, Vec<String>>,
    pub was_running: bool,
    pub stopping: bool,
    /// The state or its trace may have changed.
    pub changed: bool,
    pub firsts: Firsts,
}

impl TaskCell {
    pub fn gaps_of(&self, lane: &LaneName) -> Vec<String> {
        self.gaps.get(lane).cloned().unwrap_or_default()
    }
}
