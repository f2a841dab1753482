//! Changes of a stopped connector's offsets. Positions are no business of the store: an agent writes them, between the
//! begin and the end of the change. Meanwhile nobody may run the connector, whoever leads. When the end does not come it
//! may be run again after two minutes, by the positions of before or after.
//!
//! What makes a lane exact goes with the end: instead of its record the store holds which generation is over, so that no
//! position of before counts, however late it arrives or is read. (The compatibility engine's positions have no generation:
//! one that arrives late counts.)

use std::collections::BTreeMap;

use copyist_model::{ConnectorName, LaneGeneration, LaneHeld, LaneId, TargetState};

use super::Core;
use super::event::{Answer, Failure, Now};
use super::requests::Outcome;
use super::view::{Altering, Connector, Write};

/// Longer than an agent may be at it, from when it was asked to the last request that it sends.
const ALTERING_MS: u64 = 120_000;

/// What an agent did to a connector's positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Altered {
    /// The lanes whose positions it changed, with the newest generation of which it knew one (0: none).
    pub lanes: BTreeMap<LaneId, LaneGeneration>,
    /// No position is left: the connector begins anew, also by its reset key.
    pub is_reset: bool,
    /// What the user is to know of it; empty: nothing.
    pub told: String,
}

impl Core {
    /// The connector, if its offsets may be changed.
    ///
    /// # Errors
    /// Connect's: it is unknown, or not stopped.
    pub fn stopped(&self, name: &ConnectorName) -> Result<&Connector, Failure> {
        let connector = self.view.connectors.get(name).filter(|connector| !connector.deleting);
        let connector = connector.ok_or_else(|| Failure::NotFound(format!("Connector {name} not found")))?;
        let runs =
            self.view.assignments_of(name).next().is_some() || self.view.tasks_of(name).next().is_some();
        if connector.target == TargetState::Stopped && !runs {
            return Ok(connector);
        }
        Err(Failure::Invalid(format!(
            "Connectors must be in the STOPPED state before their offsets can be modified. This can be done for the \
             specified connector by issuing a 'PUT' request to the '/connectors/{name}/stop' endpoint"
        )))
    }

    pub(super) fn begin_alteration(&self, now: Now, name: &ConnectorName, by: &str) -> Outcome {
        let connector = self.stopped(name)?;
        is_unaltered(now, name, connector, Some(by))?;
        let altering = Altering { by: by.to_owned(), until_ms: now.wall_ms + ALTERING_MS };
        let after = Connector { altering: Some(altering), ..connector.clone() };
        Ok((vec![Write::Connector(name.clone(), Some(Box::new(after)))], Answer::Done))
    }

    /// The connector is written last: while the end is not stored as a whole, the change is under way.
    pub(super) fn end_alteration(
        &self,
        now: Now,
        name: &ConnectorName,
        by: &str,
        altered: &Altered,
    ) -> Outcome {
        let before = self.stopped(name)?;
        is_unaltered(now, name, before, Some(by))?;
        // Without it somebody else may have changed them since, or run the connector.
        if before.altering.as_ref().is_none_or(|altering| altering.by != by) {
            return Err(Failure::Conflict(format!(
                "The change of the offsets of connector {name} took too long and was given up; what it has written stands"
            )));
        }
        let mut writes: Vec<Write> =
            altered.lanes.iter().filter_map(|(lane, known)| self.overruled(lane, *known)).collect();
        // How far topics were copied is counted anew.
        writes.extend(self.view.topic_marks.get(name).map(|_| Write::TopicMarks(name.clone(), None)));
        let mut after = Connector { altering: None, ..before.clone() };
        after.surveyed &= !altered.is_reset;
        // One that changes nothing takes nothing back.
        if !altered.told.is_empty() {
            after.altered.clone_from(&altered.told);
        }
        writes.push(Write::Connector(name.clone(), Some(Box::new(after))));
        Ok((writes, Answer::Altered(altered.told.clone())))
    }

    /// What ends every generation of a lane that has one.
    fn overruled(&self, lane: &LaneId, known: LaneGeneration) -> Option<Write> {
        let held = self.view.lanes.get(lane);
        let newest = known.max(held.map(LaneHeld::generation).unwrap_or_default());
        let altered = LaneHeld::Altered(newest);
        let is_new = newest > LaneGeneration::default() && held != Some(&altered);
        is_new.then(|| Write::Lane(lane.clone(), Some(altered)))
    }
}

impl Altering {
    /// A clock that was set back makes nobody wait for longer than there is to wait.
    fn is_under_way(&self, now: Now) -> bool {
        (now.wall_ms + 1..=now.wall_ms + ALTERING_MS).contains(&self.until_ms)
    }
}

/// Whether no change of the connector's offsets is under way, but for this one.
pub(super) fn is_unaltered(
    now: Now,
    name: &ConnectorName,
    connector: &Connector,
    own: Option<&str>,
) -> Result<(), Failure> {
    match &connector.altering {
        Some(altering) if Some(altering.by.as_str()) != own && altering.is_under_way(now) => {
            let seconds = altering.until_ms.saturating_sub(now.wall_ms).div_ceil(1_000);
            Err(Failure::Conflict(format!(
                "The offsets of connector {name} are being changed by another request, which has {seconds} s left; try \
                 again"
            )))
        }
        Some(_) | None => Ok(()),
    }
}
