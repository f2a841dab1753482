//! What surveys found, weighed against the other connectors before it becomes tasks.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::{ConnectorName, TopicName};

use super::Core;
use super::event::{Commit, Findings, FoundTopic};
use super::rules::{self, Verdict};
use super::view::Connector;
use crate::store::keys;

/// A task is one value of the store, beside others in its commit.
const TASK_BYTES_MAX: usize = Commit::BYTES_MAX * 3 / 4;

impl Core {
    /// Weighs what a survey found against the other connectors; a conflict fails the connector.
    pub(super) fn surveyed(&mut self, name: ConnectorName, findings: Findings) {
        let current = |connector: &Connector| connector.generation == findings.generation;
        if !self.view.connectors.get(&name).is_some_and(current) {
            return;
        }
        let (found, left_out) = self.without_own_products(findings);
        match self.judged(&name, &found) {
            Verdict::Conflict(text) => {
                self.conflicts.insert(name, text);
            }
            Verdict::Fine { shared } => {
                self.conflicts.remove(&name);
                let notes = rules::shared_note(&shared).into_iter().chain(rules::left_out_note(&left_out));
                self.notes.insert(name.clone(), notes.collect());
                self.findings.insert(name, found);
            }
        }
    }

    fn judged(&self, name: &ConnectorName, found: &Findings) -> Verdict {
        let connector = self.view.connectors.get(name);
        let grown = connector.map(|connector| self.grown(name, connector, found)).unwrap_or_default();
        if let Some(bytes) = grown.iter().map(keys::size).max().filter(|bytes| *bytes > TASK_BYTES_MAX) {
            return Verdict::Conflict(format!(
                "the names of a task's topics would take {bytes} bytes, and at most {TASK_BYTES_MAX} can be stored: \
                 raise tasks.max, so that each task has fewer topics"
            ));
        }
        rules::judge(name, &wanted_edges(found), &self.edges_without(name))
    }

    /// On one cluster, what some connector of this fleet makes is no source, unless the user named it; with the
    /// topics that are left out for it.
    fn without_own_products(&self, mut findings: Findings) -> (Findings, BTreeSet<TopicName>) {
        let mut left_out = BTreeSet::new();
        if findings.source == findings.destination {
            let edges = self.view.connectors.keys().flat_map(|name| self.claimed_by(name));
            let made: BTreeSet<rules::Place> = edges.map(|(_, destination)| destination).collect();
            for topic in findings.topics.iter().filter(|topic| !topic.literal) {
                if made.contains(&(findings.source.clone(), topic.source.clone())) {
                    left_out.insert(topic.source.clone());
                }
            }
            findings.topics.retain(|topic| !left_out.contains(&topic.source));
        }
        (findings, left_out)
    }

    fn edges_without(&self, name: &ConnectorName) -> BTreeMap<ConnectorName, rules::Edges> {
        let others = self.view.connectors.keys().filter(|other| *other != name);
        others.map(|other| (other.clone(), self.claimed_by(other))).collect()
    }

    /// What a connector copies, and what it will as soon as the tasks for it are stored.
    fn claimed_by(&self, name: &ConnectorName) -> rules::Edges {
        let generation = self.view.connectors.get(name).map(|connector| connector.generation);
        let found = self.findings.get(name).filter(|found| Some(found.generation) == generation);
        let mut edges = self.edges_of(name);
        edges.extend(found.into_iter().flat_map(wanted_edges));
        edges
    }

    /// What was found for a connector that is gone is nothing to one that gets its name.
    pub(super) fn forget_surveys(&mut self, name: &ConnectorName) {
        self.findings.remove(name);
        self.conflicts.remove(name);
        self.notes.remove(name);
    }

    pub(super) fn edges_of(&self, name: &ConnectorName) -> rules::Edges {
        let Some((source, destination)) =
            self.view.connectors.get(name).and_then(|connector| connector.clusters.clone())
        else {
            return rules::Edges::new();
        };
        let topics = self.view.tasks_of(name).flat_map(|(_, task)| task.lanes.0.iter());
        topics
            .map(|(topic, lanes)| {
                ((source.clone(), topic.clone()), (destination.clone(), lanes.destination.clone()))
            })
            .collect()
    }
}

fn wanted_edges(findings: &Findings) -> rules::Edges {
    let edge = |topic: &FoundTopic| {
        (
            (findings.source.clone(), topic.source.clone()),
            (findings.destination.clone(), topic.destination.clone()),
        )
    };
    findings.topics.iter().map(edge).collect()
}
