//! Changes of a stopped connector's offsets. Positions are no business of the store: an agent writes them, between the
//! begin and the end of the change. Meanwhile nobody may run the connector; after a change of leader, or when the end
//! does not come, it may be run again, by the positions of before or after.
//!
//! What makes a lane exact goes first: the lane record of each position that is removed. Without either the lane begins
//! as if it had never been copied; with the position alone it goes on by that.

use std::collections::BTreeSet;

use copyist_model::{ConnectorName, LaneId, TargetState};

use super::Core;
use super::event::{Answer, Failure, Now};
use super::requests::Outcome;
use super::view::{Connector, Write};

/// Longer than an agent may be at it, from when it was asked to the last request that it sends.
const ALTERING_MS: u64 = 120_000;

/// Which positions are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// All: the connector begins anew, also by its reset key.
    All,
    Lanes(BTreeSet<LaneId>),
}

/// A change of a connector's offsets that has begun.
#[derive(Debug)]
pub(super) struct Altering {
    by: String,
    until_ms: u64,
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

    /// Whether no change of the connector's offsets is under way, but for this one.
    pub(super) fn is_unaltered(&self, name: &ConnectorName, own: Option<&str>) -> Result<(), Failure> {
        match self.altering.get(name) {
            Some(altering) if Some(altering.by.as_str()) != own => Err(Failure::Conflict(format!(
                "The offsets of connector {name} are being changed by another request, try again"
            ))),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn begin_alteration(
        &mut self,
        now: Now,
        name: &ConnectorName,
        by: &str,
        removed: &Removed,
    ) -> Outcome {
        self.is_unaltered(name, Some(by))?;
        let connector = self.stopped(name)?;
        let mut writes = Vec::new();
        if *removed == Removed::All && connector.surveyed {
            let after = Connector { surveyed: false, ..connector.clone() };
            writes.push(Write::Connector(name.clone(), Some(Box::new(after))));
        }
        let lanes = self.view.lanes_of(name).filter(|lane| match removed {
            Removed::All => true,
            Removed::Lanes(lanes) => lanes.contains(lane),
        });
        writes.extend(lanes.map(|lane| Write::Lane(lane.clone(), None)));
        // How far topics were copied is counted anew.
        writes.extend(self.view.topic_marks.get(name).map(|_| Write::TopicMarks(name.clone(), None)));
        let altering = Altering { by: by.to_owned(), until_ms: now.boot_ms + ALTERING_MS };
        self.altering.insert(name.clone(), altering);
        Ok((writes, Answer::Done))
    }

    /// `altered`: what the user is to know of it from now on. A repetition that changes nothing takes nothing back.
    pub(super) fn end_alteration(&mut self, name: &ConnectorName, by: &str, altered: &str) -> Outcome {
        self.is_unaltered(name, Some(by))?;
        self.altering.remove(name);
        let Some(before) = self.view.connectors.get(name) else {
            return Err(Failure::NotFound(format!("Connector {name} not found")));
        };
        let altered = Some(altered).filter(|altered| !altered.is_empty() && *altered != before.altered);
        let after = altered.map(|altered| Connector { altered: altered.to_owned(), ..before.clone() });
        let write = after.map(|after| Write::Connector(name.clone(), Some(Box::new(after))));
        Ok((write.into_iter().collect(), Answer::Done))
    }

    pub(super) fn forget_late_alterations(&mut self, now: Now) {
        self.altering.retain(|_, altering| altering.until_ms > now.boot_ms);
    }
}
