//! What follows from what is stored: agents come and go, releases are carried out, tasks are made and placed.
//! Each call plans one bounded commit, or a row of them that place parts; the next one goes on from there until nothing
//! is left to do.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::{
    AgentId, AssignmentId, ConnectorName, LaneStart, Part, TargetState, TaskId, TaskLanes, TaskRevision,
    TopicName,
};

use super::Core;
use super::event::{Answer, Batch, Commit, Findings, Now};
use super::growth::{NewLane, grow};
use super::requests::{REQUEST_KEPT_MS, remember};
use super::view::{Agent, Connector, Holder, Task, Write};

/// How long it is known that a connector was deleted: longer than the scribe may be away.
const DELETION_KEPT_MS: u64 = 7 * 24 * 3_600_000;

impl Core {
    pub(super) fn reconcile(&mut self, now: Now, tick: bool) -> Vec<Commit> {
        self.forget_ended_moves();
        if let Some(meta) = self.new_meta() {
            return vec![Commit { writes: vec![Write::Meta(meta)], ..Commit::default() }];
        }
        let mut commits = Vec::new();
        let mut batch = Batch::default();
        batch.extend(self.agents_that_changed());
        self.releases.release_of_the_drained(&self.view, &self.by_process);
        if tick {
            self.releases.wait_for_the_gone(&self.view, &self.by_process, now, self.patience);
        }
        batch.extend(self.ended_parts());
        let names: Vec<ConnectorName> = self.view.connectors.keys().cloned().collect();
        for name in &names {
            if batch.has_room() {
                self.carry_on(now, name, &mut batch);
            }
        }
        // Placed once the rest is stored: a part may be going in the same commit.
        if batch.is_empty() {
            self.forget_applied_findings();
            commits = self.place_parts(tick);
            if commits.is_empty() {
                batch.extend(self.stored_words());
            }
        }
        if tick && batch.is_empty() {
            batch.extend(self.statuses_that_changed());
            batch.extend(self.expired_requests(now));
            batch.extend(self.expired_deletions(now));
        } else if tick {
            // A key comes once in a commit; the next tick will do.
            self.swept_ms = None;
        }
        commits.push(batch.into());
        commits
    }

    fn agents_that_changed(&mut self) -> Vec<Write> {
        let view = &self.view;
        self.leases_ended.retain(|_, holder| view.is_alive(holder));
        // The key of an agent whose next process is here already is written anew. The same process gets one again only
        // after the end of the former: the store has none any more.
        let replaced = |agent: &AgentId, ended: &Holder| {
            self.sessions.get(agent).is_some_and(|session| session.holder != *ended)
        };
        let ended = self.leases_ended.iter().filter(|(agent, holder)| !replaced(agent, holder));
        let ended = ended.map(|(agent, _)| Write::Agent(agent.clone(), None));
        let new =
            self.sessions.values().filter(|session| !self.view.is_alive(&session.holder)).map(|session| {
                let agent = Agent {
                    incarnation: session.holder.incarnation.clone(),
                    rack: session.rack.clone(),
                    labels: session.labels.clone(),
                    drained: false,
                };
                Write::Agent(session.holder.agent.clone(), Some(agent))
            });
        ended.chain(new).collect()
    }

    /// The next step in the life of one connector.
    fn carry_on(&self, now: Now, name: &ConnectorName, batch: &mut Batch) {
        let Some(connector) = self.view.connectors.get(name) else { return };
        let mut held = self.view.assignments_of(name).map(|(id, _)| id.part);
        if connector.deleting {
            if held.next().is_none()
                && batch.extend(self.without_tasks(name))
                && batch.extend(self.without_lanes(name))
            {
                batch.extend(self.deletion(now, name));
            }
        } else if connector.target == TargetState::Stopped {
            if held.next().is_none() {
                batch.extend(self.without_tasks(name));
            }
        } else if !connector.tasks_are_current() {
            if held.all(|part| part == Part::Survey) && batch.extend(self.without_tasks(name)) {
                batch.extend([outdated(name, connector)]);
            }
        } else if connector.target == TargetState::Running
            && let Some(findings) = self.findings.get(name)
        {
            self.growth(name, connector, findings, batch);
        }
    }

    fn without_tasks(&self, name: &ConnectorName) -> Vec<Write> {
        let statuses = self
            .view
            .statuses
            .range(AssignmentId::task(name, 0)..=AssignmentId::task(name, u32::MAX))
            .map(|(id, _)| Write::Status(id.clone(), None));
        let tasks = self.view.tasks_of(name).map(|(number, _)| {
            let id = TaskId { connector: name.clone(), number };
            Write::Task(id, None)
        });
        statuses.chain(tasks).collect()
    }

    fn without_lanes(&self, name: &ConnectorName) -> impl Iterator<Item = Write> {
        self.view.lanes_of(name).map(|lane| Write::Lane(lane.clone(), None))
    }

    /// The end of a connector, with the answers for whoever repeats a request that this ends. Its positions stay, as in
    /// Connect: a connector of the same name goes on from them.
    fn deletion(&self, now: Now, name: &ConnectorName) -> Vec<Write> {
        let waiting = self.waiting.values().filter(|waiting| waiting.name == *name);
        let requests: BTreeSet<&str> = waiting.map(|waiting| waiting.request.as_str()).collect();
        let done = Ok(Answer::Done);
        let kept_until_ms = |request: &str| self.view.requests.get(request).map(|kept| kept.expires_at_ms);
        let answers = requests
            .into_iter()
            // Of more than one commit takes those that are renewed by now are not renewed again.
            .filter(|request| kept_until_ms(request) < Some(now.wall_ms + REQUEST_KEPT_MS / 2))
            .filter_map(|request| remember(now, request, &done));
        let marks = self.view.topic_marks.get(name).map(|_| Write::TopicMarks(name.clone(), None));
        let survey = AssignmentId::survey(name);
        let last = [
            Write::Status(survey, None),
            Write::Deletion(name.clone(), Some(now.wall_ms)),
            Write::Connector(name.clone(), None),
        ];
        answers.chain(marks).chain(last).collect()
    }

    /// Turns what a survey found into tasks. Whether the survey was the first is stored last, so that a row of
    /// commits gives all its lanes the same start.
    fn growth(&self, name: &ConnectorName, connector: &Connector, findings: &Findings, batch: &mut Batch) {
        if findings.generation != connector.generation {
            return;
        }
        let grown = self.grown(name, connector, findings);
        let clusters = Some((findings.source.clone(), findings.destination.clone()));
        if batch.extend(grown) && (!connector.surveyed || connector.clusters != clusters) {
            let after = Connector { surveyed: true, clusters, ..connector.clone() };
            batch.extend([Write::Connector(name.clone(), Some(Box::new(after)))]);
        }
    }

    /// The tasks that change by what a survey found, whole.
    pub(super) fn grown(
        &self,
        name: &ConnectorName,
        connector: &Connector,
        findings: &Findings,
    ) -> Vec<Write> {
        let Ok(spec) = &connector.spec else { return Vec::new() };
        let tasks = self.view.tasks_of(name).filter(|(_, task)| task.generation == connector.generation);
        let tasks: BTreeMap<u32, &Task> = tasks.collect();
        let start = if connector.surveyed { LaneStart::Earliest } else { LaneStart::Reset };
        let new = new_lanes(&tasks, findings, start);
        let lanes: BTreeMap<u32, TaskLanes> =
            tasks.iter().map(|(number, task)| (*number, task.lanes.clone())).collect();
        let grown = grow(&lanes, &new, spec.tasks_bound()).into_iter().map(|(number, lanes)| {
            let revision = tasks.get(&number).map_or(TaskRevision(1), |task| task.revision.next());
            let task = Task { revision, generation: connector.generation, lanes };
            Write::Task(TaskId { connector: name.clone(), number }, Some(task))
        });
        grown.collect()
    }

    /// Findings that a running connector had no more use for are applied in full; a stopped one begins with another
    /// survey.
    fn forget_applied_findings(&mut self) {
        let connectors = &self.view.connectors;
        self.findings.retain(|name, _| {
            connectors.get(name).is_some_and(|connector| match connector.target {
                TargetState::Running => !connector.tasks_are_current(),
                TargetState::Paused => true,
                TargetState::Stopped => false,
            })
        });
    }

    /// As many as one commit takes. What is written is looked at once more, in case that the commit is refused.
    fn statuses_that_changed(&mut self) -> Vec<Write> {
        let mut writes = Vec::new();
        let mut again = BTreeSet::new();
        while writes.len() < Commit::WRITES_MAX
            && let Some(id) = self.reshow.pop_first()
        {
            if let Some(status) = self.part_status(&id)
                && self.view.statuses.get(&id) != Some(&status)
            {
                again.insert(id.clone());
                writes.push(Write::Status(id, Some(status)));
            }
        }
        if !self.reshow.is_empty() {
            // The rest follows with the next tick.
            self.swept_ms = None;
        }
        self.reshow.extend(again);
        writes
    }

    fn expired_requests(&self, now: Now) -> Vec<Write> {
        let expired = self.view.requests.iter().filter(|(_, kept)| kept.expires_at_ms <= now.wall_ms);
        expired.map(|(id, _)| Write::Request(id.clone(), None)).collect()
    }

    fn expired_deletions(&self, now: Now) -> impl Iterator<Item = Write> {
        let is_expired = move |deleted_at_ms: u64| deleted_at_ms + DELETION_KEPT_MS <= now.wall_ms;
        let expired = self.view.deletions.iter().filter(move |(_, at_ms)| is_expired(**at_ms));
        expired.map(|(name, _)| Write::Deletion(name.clone(), None))
    }
}

/// The connector once its tasks of an older generation are gone: its next survey is a first one again.
fn outdated(name: &ConnectorName, connector: &Connector) -> Write {
    let after = Connector { tasks_generation: connector.generation, surveyed: false, ..connector.clone() };
    Write::Connector(name.clone(), Some(Box::new(after)))
}

fn new_lanes(tasks: &BTreeMap<u32, &Task>, findings: &Findings, start: LaneStart) -> Vec<NewLane> {
    let mut known: BTreeSet<(&TopicName, i32)> = tasks
        .values()
        .flat_map(|task| task.lanes.iter())
        .map(|(topic, partition, _, _)| (topic, partition))
        .collect();
    let mut new = Vec::new();
    for topic in &findings.topics {
        for partition in 0..i32::try_from(topic.partitions).unwrap_or(i32::MAX) {
            if known.insert((&topic.source, partition)) {
                let (source, destination) = (topic.source.clone(), topic.destination.clone());
                new.push(NewLane { source, destination, partition, start });
            }
        }
    }
    new
}
