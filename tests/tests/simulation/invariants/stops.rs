//! A stop that was answered is true: nothing of the connector runs, and nothing begins until it is resumed. A delete the
//! same.

use copyist_coordinator::core::Command;
use copyist_model::{ConnectorName, TargetState};

use super::{Fact, Invariant, Truth};

pub struct Stops;

impl Invariant for Stops {
    fn name(&self) -> &'static str {
        "answered stops"
    }

    fn observe(&mut self, truth: &Truth, fact: &Fact) -> Option<String> {
        match fact {
            Fact::Answered { command, is_ok: true } => {
                let name = stopped(command)?;
                // The answer of an earlier attempt, after the user went on.
                let is_news =
                    truth.user.connectors.get(name)?.pending.as_ref()?.command() == command.as_ref();
                let mut running = truth.running.iter().filter(|(_, runs)| truth.now < runs.counts_until);
                let ((id, holder), _) = running.find(|((id, _), _)| is_news && id.connector == *name)?;
                Some(format!("{name} is answered to be stopped, and {id} runs on {}", holder.incarnation))
            }
            Fact::Started { holder, id, epoch } => {
                let known = truth.user.connectors.get(&id.connector)?;
                known
                    .is_acknowledged_idle()
                    .then(|| format!("{id}@{epoch} starts on {} after the stop", holder.incarnation))
            }
            _ => None,
        }
    }
}

fn stopped(command: &Command) -> Option<&ConnectorName> {
    match command {
        Command::Delete { name, .. } => Some(name),
        Command::SetTarget { name, target: TargetState::Stopped, .. } => Some(name),
        _ => None,
    }
}
