//! After healing everything that should run runs, on the agent that holds it, balanced; and nothing else does.

use std::collections::{BTreeMap, BTreeSet};

use copyist_coordinator::core::Command;
use copyist_coordinator::core::placement::{Candidate, Fleet, Hold, Labels, Placed, Standing, place};
use copyist_model::{AssignmentId, ConnectorName, InstanceState, Part, TargetState, TaskId, TopicName};

use crate::brokers::Pair;
use crate::queue::Happening;
use crate::world::World;

/// By then after healing all must be well: a right and its margin, what a session waits for its other end, and moves one
/// after the other.
const PATIENCE_MS: u64 = 150_000;

impl World {
    pub fn look(&mut self) {
        match self.is_well() {
            Ok(()) => {
                let took = self.sim.now - self.healed_at;
                self.sim.note(crate::node::Node::User, "is well", || format!("after {took} ms"));
                self.is_done = true;
            }
            Err(why) if self.sim.now - self.healed_at > PATIENCE_MS => {
                self.violate("liveness", format!("{PATIENCE_MS} ms after healing {why}"));
            }
            Err(_) => {
                self.restart_what_failed();
                self.sim.after(1_000, Happening::Looks);
            }
        }
    }

    /// A job that panicked needs a human.
    fn restart_what_failed(&mut self) {
        let statuses = self.store.view.statuses.iter();
        let failed = statuses.filter(|(_, status)| status.state == InstanceState::Failed);
        let names: BTreeSet<ConnectorName> = failed.map(|(id, _)| id.connector.clone()).collect();
        for name in names {
            let restart = Command::Restart { name, include_tasks: true, only_failed: true };
            self.user.tell(&mut self.sim, restart);
        }
    }

    fn is_well(&self) -> Result<(), String> {
        let waits = self.user.connectors.iter().find(|(_, known)| known.pending.is_some());
        if let Some((name, _)) = waits {
            return Err(format!("the user waits for an answer about {name}"));
        }
        let leader = self.replicas.iter().filter_map(|replica| replica.term()).next();
        if !leader.is_some_and(|term| term.is_idle()) {
            return Err("nobody leads, or the leader is busy".to_owned());
        }
        let view = &self.store.view;
        let mut expected = BTreeSet::new();
        for (name, connector) in &view.connectors {
            if connector.target == TargetState::Stopped {
                if view.tasks_of(name).next().is_some() {
                    return Err(format!("{name} is stopped, and has tasks"));
                }
                continue;
            }
            self.has_all_lanes(name)?;
            expected.insert(AssignmentId::survey(name));
            expected.extend(view.tasks_of(name).map(|(number, _)| AssignmentId::task(name, number)));
        }
        self.runs_exactly(&expected)?;
        self.is_shown(&expected)?;
        self.is_copied(&expected)?;
        self.is_balanced(&expected)
    }

    fn has_all_lanes(&self, name: &ConnectorName) -> Result<(), String> {
        let view = &self.store.view;
        let connector = &view.connectors[name];
        if connector.target == TargetState::Paused && !connector.surveyed {
            return Ok(());
        }
        let lanes: BTreeMap<TopicName, usize> = view
            .tasks_of(name)
            .flat_map(|(_, task)| task.lanes.0.iter())
            .fold(BTreeMap::new(), |mut all, (topic, lanes)| {
                *all.entry(topic.clone()).or_default() += lanes.iter().count();
                all
            });
        let spec = connector.spec.as_ref().map_err(Clone::clone)?;
        for (topic, partitions) in self.sim.source.iter().filter(|(topic, _)| spec.selection.selects(topic)) {
            let has = lanes.get(topic).copied().unwrap_or(0);
            if has != *partitions as usize && connector.target == TargetState::Running {
                return Err(format!("{name} has {has} lanes of the {partitions} of {topic}"));
            }
        }
        Ok(())
    }

    fn runs_exactly(&self, expected: &BTreeSet<AssignmentId>) -> Result<(), String> {
        let view = &self.store.view;
        let running = self.invariants.running();
        for id in expected {
            let Some(assignment) = view.assignments.get(id) else {
                return Err(format!("{id} is with nobody"));
            };
            if running.get(&(id.clone(), assignment.holder.clone())).map(|it| it.epoch)
                != Some(assignment.epoch)
            {
                return Err(format!("{id}@{} does not run", assignment.epoch));
            }
        }
        if let Some(id) = view.assignments.keys().find(|id| !expected.contains(id)) {
            return Err(format!("{id} is assigned, and should not be"));
        }
        let stray = running.iter().find(|((id, by), runs)| {
            view.assignments.get(id).is_none_or(|it| it.holder != *by || it.epoch != runs.epoch)
        });
        stray
            .map_or(Ok(()), |((id, by), runs)| Err(format!("{id}@{} runs on {}", runs.epoch, by.incarnation)))
    }

    fn is_shown(&self, expected: &BTreeSet<AssignmentId>) -> Result<(), String> {
        for id in expected {
            let wanted = match self.store.view.connectors[&id.connector].target {
                TargetState::Running => InstanceState::Running,
                TargetState::Paused => InstanceState::Paused,
                TargetState::Stopped => InstanceState::Stopped,
            };
            let shown = self.store.view.statuses.get(id).map(|status| status.state);
            if shown != Some(wanted) {
                return Err(format!("{id} is shown as {shown:?}"));
            }
        }
        Ok(())
    }

    fn is_copied(&self, expected: &BTreeSet<AssignmentId>) -> Result<(), String> {
        let view = &self.store.view;
        let running = view.tasks.iter().filter(|(id, _)| {
            let is_running = view.connectors[&id.connector].target == TargetState::Running;
            is_running && expected.contains(&AssignmentId::task(&id.connector, id.number))
        });
        for (topic, partition, ..) in running.flat_map(|(_, task)| task.lanes.iter()) {
            let pair = self.sim.brokers.pairs.get(&(topic.clone(), partition));
            if let Some(missing) = pair.map(Pair::missing).filter(|missing| *missing > 0) {
                return Err(format!("{missing} records of {topic}-{partition} are missing"));
            }
        }
        Ok(())
    }

    fn is_balanced(&self, expected: &BTreeSet<AssignmentId>) -> Result<(), String> {
        let view = &self.store.view;
        let agents = view.agents.iter().map(|(id, agent)| {
            let standing = if agent.drained { Standing::Drains } else { Standing::Takes };
            (id.clone(), Candidate { standing, rack: String::new(), labels: Labels::new() })
        });
        let weight = |id: &AssignmentId| match id.part {
            Part::Survey => 1,
            Part::Task(number) => view
                .tasks
                .get(&TaskId { connector: id.connector.clone(), number })
                .map_or(0, |task| task.lanes.len()),
        };
        let parts = expected.iter().map(|id| {
            let held = &view.assignments[id];
            let (hold, pinned) = (Hold::Agent(held.holder.agent.clone()), held.pinned);
            let placed =
                Placed { weight: weight(id), hold, wants: Labels::new(), prefers: Vec::new(), pinned };
            (id.clone(), placed)
        });
        let plan = place(&Fleet { agents: agents.collect(), parts: parts.collect() });
        if view.agents.len() < self.agents.len() {
            return Err("an agent is missing".to_owned());
        }
        match plan.moves.first() {
            Some(step) => Err(format!("{} should move from {} to {}", step.id, step.from, step.to)),
            None => Ok(()),
        }
    }
}
