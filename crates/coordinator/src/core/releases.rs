//! What "released" means: every holder of a part has confirmed that it runs it no more, former ones included; or the
//! holder's process is gone for as long as it may go on by itself; or an operator declared it dead.
//!
//! A word is stored beside the part's assignment, whose own key only an assigning commit may write. So it outlives the
//! leader that heard it and the process that gave it.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::{AgentId, AssignmentEpoch, AssignmentId};

use super::changes::ByProcess;
use super::event::{Answer, Failure, Now};
use super::requests::Outcome;
use super::statements::should_run;
use super::view::{Assignment, Holder, Holding, View, Write};
use super::{Core, Patience};

/// Words that are not stored yet, and since when which processes are gone.
#[derive(Debug, Default)]
pub(super) struct Releases {
    heard: BTreeMap<AssignmentId, BTreeSet<Holding>>,
    /// Processes that run nothing any more, while they have a lease: something may be on its way to them.
    drained: BTreeSet<Holder>,
    gone_since_ms: BTreeMap<Holder, u64>,
}

impl Releases {
    pub(super) fn hear(&mut self, id: AssignmentId, holding: Holding) {
        self.heard.entry(id).or_default().insert(holding);
    }

    /// A process runs nothing any more.
    pub(super) fn hear_drained(&mut self, holder: Holder) {
        self.drained.insert(holder);
    }

    /// What those have that run nothing any more is released.
    pub(super) fn release_of_the_drained(&mut self, view: &View, by_process: &ByProcess) {
        for holder in std::mem::take(&mut self.drained) {
            self.hear_all(&holder, view, by_process);
            if view.is_alive(&holder) {
                self.drained.insert(holder);
            }
        }
    }

    fn hear_all(&mut self, holder: &Holder, view: &View, by_process: &ByProcess) {
        for id in by_process.of(holder) {
            let over = view.unreleased(id).filter(|(unreleased, _)| unreleased == holder);
            self.heard.entry(id.clone()).or_default().extend(over);
        }
    }

    /// Whether a holder needs not be told to release what it held.
    pub(super) fn is_heard(&self, id: &AssignmentId, holding: &Holding) -> bool {
        self.heard.get(id).is_some_and(|heard| heard.contains(holding))
    }

    /// A word counts while the view has the holding that it is about.
    fn forget_what_is_over(&mut self, view: &View) {
        self.heard.retain(|id, heard| {
            heard.retain(|holding| view.unreleased(id).any(|unreleased| unreleased == *holding));
            !heard.is_empty()
        });
    }

    /// Processes without a lease go on by themselves for a while; then nothing of them is left.
    pub(super) fn wait_for_the_gone(
        &mut self,
        view: &View,
        by_process: &ByProcess,
        now: Now,
        patience: Patience,
    ) {
        let gone: Vec<&Holder> = by_process.processes().filter(|holder| !view.is_alive(holder)).collect();
        let since = |holder: &Holder| self.gone_since_ms.get(holder).copied().unwrap_or(now.boot_ms);
        self.gone_since_ms = gone.iter().map(|holder| ((*holder).clone(), since(holder))).collect();
        for holder in gone {
            if now.boot_ms.saturating_sub(self.gone_since_ms[holder]) >= patience.released_after_ms {
                self.hear_all(holder, view, by_process);
            }
        }
    }
}

impl Core {
    /// The end of what everybody released and nobody should run.
    pub(super) fn ended_parts(&mut self) -> Vec<Write> {
        self.releases.forget_what_is_over(&self.view);
        let ids: BTreeSet<&AssignmentId> =
            self.releases.heard.keys().chain(self.view.releases.keys()).collect();
        let is_over = |id: &&AssignmentId| {
            let connector = self.view.connectors.get(&id.connector);
            connector.is_none_or(|connector| !should_run(connector, id.part))
                && self.unreleased(id).is_empty()
        };
        ids.into_iter().filter(is_over).flat_map(|id| self.reassigned(id, None)).collect()
    }

    /// The words that nothing else has stored: a part that went to another holder has none of them any more.
    pub(super) fn stored_words(&self) -> Vec<Write> {
        let heard = self.releases.heard.iter();
        heard.map(|(id, heard)| self.with_words(id, heard.iter().cloned())).collect()
    }

    /// Words on a part, added to those that are stored.
    fn with_words(&self, id: &AssignmentId, words: impl IntoIterator<Item = Holding>) -> Write {
        let before = self.view.releases.get(id).into_iter().flatten().cloned();
        Write::Released(id.clone(), before.chain(words).collect())
    }

    /// A part's assignment written anew, or its end; the words were on the one before.
    pub(super) fn reassigned(&self, id: &AssignmentId, assignment: Option<Assignment>) -> Vec<Write> {
        let words = self.view.releases.contains_key(id);
        let words = words.then(|| Write::Released(id.clone(), BTreeSet::new()));
        std::iter::once(Write::Assignment(id.clone(), assignment)).chain(words).collect()
    }

    /// The holdings of a part that may still be at work, by all that was heard.
    pub(super) fn unreleased(&self, id: &AssignmentId) -> Vec<Holding> {
        self.view.unreleased(id).filter(|holding| !self.releases.is_heard(id, holding)).collect()
    }

    /// Whether a process said in its session that it leaves.
    pub(crate) fn is_leaving_the_fleet(&self, holder: &Holder) -> bool {
        let session = self.sessions.get(&holder.agent).filter(|session| session.holder == *holder);
        session.is_some_and(|session| session.draining)
    }

    /// Whether a process that has its lease released all that it held. By what is stored: the lease of a process that
    /// gives it up is what the next leader would have waited for.
    pub(crate) fn is_without_parts(&self, holder: &Holder) -> bool {
        let holds = |id| self.view.unreleased(id).any(|(by, _)| by == *holder);
        self.view.is_alive(holder) && !self.by_process.of(holder).any(holds)
    }

    /// An operator knows that an agent's processes run no more, but for the one that holds a lease: that does run.
    pub(super) fn forget_agent(&self, agent: &AgentId) -> Outcome {
        let is_dead = |holder: &Holder| holder.agent == *agent && !self.view.is_alive(holder);
        let mut writes = Vec::new();
        for id in self.view.assignments.keys() {
            let of_it: Vec<Holding> =
                self.view.unreleased(id).filter(|(holder, _)| is_dead(holder)).collect();
            if !of_it.is_empty() {
                writes.push(self.with_words(id, of_it));
            }
        }
        if writes.is_empty() && self.view.agents.contains_key(agent) {
            return Err(Failure::Conflict(format!(
                "agent {agent} holds a lease, and no earlier process of it is waited for: it runs, or has run until a \
                 moment ago; stop its process and try again once its lease has ended"
            )));
        }
        Ok((writes, Answer::Done))
    }

    /// Whether a part's holder confirmed that it runs it no more.
    pub(super) fn is_released(&self, id: &AssignmentId, holder: &Holder, epoch: AssignmentEpoch) -> bool {
        let words = [self.releases.heard.get(id), self.view.releases.get(id)];
        words.into_iter().flatten().flatten().any(|(by, at)| by == holder && *at == epoch)
    }
}
