//! What watchers are told: everything first, then each change as it is stored, and of agents what is stored nowhere.

use std::collections::BTreeSet;

use copyist_model::{AgentId, AssignmentId, ConnectorName, Part, StoreRevision};
use copyist_proto::connect as wire;
use copyist_proto::connect::watch_event::Event;

use super::connectors::instance;
use crate::core::{AgentShown, Core, Write};

/// All that there is, and that this is all.
pub(crate) fn everything(core: &Core) -> Vec<wire::WatchEvent> {
    let view = core.view();
    let gone = view.deletions.keys().filter(|name| !view.connectors.contains_key(*name));
    let mut events: Vec<Event> = gone.map(|name| Event::ConnectorGone(name.to_string())).collect();
    for name in view.connectors.keys() {
        events.extend(connector(core, name));
        events.push(part(core, &AssignmentId::survey(name)));
        let tasks = view.tasks_of(name).map(|(number, _)| AssignmentId::task(name, number));
        events.extend(tasks.map(|id| part(core, &id)));
    }
    events.extend(core.agents().into_iter().map(|agent| Event::Agent(fleet_agent(agent))));
    events.push(Event::Synced(wire::WatchSynced {}));
    at(view.revision, events)
}

/// What a commit has changed, as it is now.
pub(crate) fn changed(core: &Core, revision: StoreRevision, writes: &[Write]) -> Vec<wire::WatchEvent> {
    let (mut connectors, mut parts, mut agents) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for write in writes {
        match write {
            Write::Connector(name, _) => {
                connectors.insert(name.clone());
                parts.insert(AssignmentId::survey(name));
            }
            // What is seen of it changes, whoever shows it.
            Write::TopicMarks(name, _) => drop(connectors.insert(name.clone())),
            Write::Task(id, _) => {
                connectors.insert(id.connector.clone());
                parts.insert(AssignmentId::task(&id.connector, id.number));
            }
            Write::Assignment(id, _) | Write::Status(id, _) => drop(parts.insert(id.clone())),
            Write::Agent(id, _) => drop(agents.insert(id.clone())),
            Write::Meta(_)
            | Write::Request(..)
            | Write::Lane(..)
            | Write::Deletion(..)
            | Write::Released(..) => {}
        }
    }
    let connectors = connectors
        .iter()
        .map(|name| connector(core, name).unwrap_or_else(|| Event::ConnectorGone(name.to_string())));
    let parts = parts.iter().map(|id| part(core, id));
    let agents = agents.iter().map(|id| agent(core, id));
    at(revision, connectors.chain(parts).chain(agents))
}

/// The agents that are not as they were.
pub(crate) fn agents(
    revision: StoreRevision,
    before: &[AgentShown],
    now: &[AgentShown],
) -> Vec<wire::WatchEvent> {
    let others = now.iter().filter(|agent| !before.contains(agent));
    at(revision, others.map(|agent| Event::Agent(fleet_agent(agent.clone()))))
}

fn at(revision: StoreRevision, events: impl IntoIterator<Item = Event>) -> Vec<wire::WatchEvent> {
    let event = |event| wire::WatchEvent { revision: revision.0, event: Some(event) };
    events.into_iter().map(event).collect()
}

fn connector(core: &Core, name: &ConnectorName) -> Option<Event> {
    let connector = core.view().connectors.get(name)?;
    Some(Event::Connector(wire::WatchedConnector {
        name: name.to_string(),
        target_state: connector.target.as_str().to_owned(),
        generation: connector.generation.0,
        tasks: core.view().tasks_of(name).map(|(number, _)| number).collect(),
    }))
}

fn part(core: &Core, id: &AssignmentId) -> Event {
    match core.part_status(id) {
        None => Event::PartGone(part_ref(id)),
        Some(status) => Event::Part(wire::WatchedPart {
            part: Some(part_ref(id)),
            agent_id: core
                .view()
                .assignments
                .get(id)
                .map(|it| it.holder.agent.to_string())
                .unwrap_or_default(),
            status: Some(instance(status)),
        }),
    }
}

fn agent(core: &Core, id: &AgentId) -> Event {
    match core.agent(id) {
        Some(agent) => Event::Agent(fleet_agent(agent)),
        None => Event::AgentGone(id.to_string()),
    }
}

pub(super) fn part_ref(id: &AssignmentId) -> wire::PartRef {
    let task = match id.part {
        Part::Survey => None,
        Part::Task(number) => Some(number),
    };
    wire::PartRef { connector: id.connector.to_string(), task }
}

pub(super) fn fleet_agent(agent: AgentShown) -> wire::FleetAgent {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    wire::FleetAgent {
        agent_id: agent.process.agent.to_string(),
        incarnation: agent.process.incarnation,
        rack: agent.rack,
        labels: agent.labels.into_iter().collect(),
        connected: agent.connected,
        suspect: agent.suspect,
        draining: agent.draining,
        parts: count(agent.parts),
        lanes: count(agent.lanes),
    }
}

/// Whether an event is one of a connector's.
pub(crate) fn is_of(event: &wire::WatchEvent, connector: &str) -> bool {
    let of = |part: &Option<wire::PartRef>| part.as_ref().is_some_and(|part| part.connector == connector);
    match &event.event {
        Some(Event::Connector(it)) => it.name == connector,
        Some(Event::ConnectorGone(name)) => name == connector,
        Some(Event::Part(it)) => of(&it.part),
        Some(Event::PartGone(part)) => part.connector == connector,
        Some(Event::Synced(_)) => true,
        Some(Event::Agent(_) | Event::AgentGone(_)) | None => false,
    }
}
