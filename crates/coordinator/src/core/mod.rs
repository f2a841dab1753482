//! The coordinator's decisions, pure: no async, no clock, no I/O, no randomness, ordered maps.
//!
//! [`Core::step`] takes one event and says what to store and whom to tell. Its [`View`] is what the store holds,
//! and changes only when a commit is reported stored; all else here is soft: what sessions say, who waits.
//!
//! `scripts/*.txt` tell what it does in the lives of connectors and agents; a test plays them. Of the code read
//! [`event`] first, then `requests` and `offsets` (what users ask), `reconcile` (what follows from what is stored), `placing` (which
//! agent has what), `statements` (what agents are told), `releases` and `suspicion` (who may still be at work), `changes`
//! (what a write concerns), `surveys` (what becomes tasks), `lane_records` (what agents propose), `read` (what is shown), `scribe` (who
//! keeps Connect's topics).
//! Invariants:
//! - one commit is in flight; nothing is planned on top of what is not stored (`Core::decide`);
//! - nobody is told what is not stored (`Commit`: sends follow writes);
//! - tasks of another generation than the config's are released before new ones are made
//!   (`reconcile::outdated`);
//! - nobody is assigned what a living holder has not released, unless it is silent for too long (`placing`,
//!   `suspicion`);
//! - a part is gone only when every holder released it, former ones included (`releases`);
//! - growth only adds (`growth::grow`);
//! - a delete or a stop is answered once every holder confirmed (`Core::settle`).

mod changes;
pub mod event;
pub mod growth;
mod lane_records;
mod moves;
mod offsets;
pub mod placement;
mod placing;
pub mod read;
mod reconcile;
mod releases;
mod requests;
pub mod rules;
mod scribe;
mod statements;
mod surveys;
mod suspicion;
pub mod view;
pub mod whereabouts;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use copyist_model::{
    AgentId, AssignmentEpoch, AssignmentId, ConnectorName, InstanceState, LaneId, StoreRevision,
};

use changes::ByProcess;
pub use event::{
    Answer, Command, Commit, Decision, Event, Failure, Findings, FoundTopic, GivenConfig, Hello, Info,
    LaneVerdict, Now, Proposal, Refusal, RequestId, Run, Send, Statement, StatusView, Ticket,
};
pub use offsets::Altered;
use placing::Moving;
pub use read::Unended;
use releases::Releases;
use statements::Session;
use suspicion::Hearing;
pub use view::{Destination, Holder, Status, View, Write};
pub use whereabouts::{AgentShown, Whereabouts};

/// Statuses are stored, and parts begin to move, that often at most.
const SWEEP_INTERVAL_MS: u64 = 1000;

/// How long the core waits for agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// After which silence of an agent its parts go to others (`agent.suspect.ms`).
    pub suspect_ms: u64,
    /// How long after the end of its lease an agent may still be at work by itself: its right, its autonomy, and what
    /// its clock may be slow in them.
    pub released_after_ms: u64,
}

/// The coordinator's state and decisions.
#[derive(Debug)]
pub struct Core {
    patience: Patience,
    view: View,
    /// Assignments up to this epoch were made before this term.
    term_began: AssignmentEpoch,
    /// The commits in flight, in the order in which they are performed.
    in_flight: VecDeque<InFlight>,
    /// Who was to be given something by a commit that was refused: one of them has no lease any more. They are given
    /// nothing, and keep what they have.
    doubted: BTreeSet<Holder>,
    /// The command that the commits in flight are for; it is planned again if one is refused.
    current: Option<(Ticket, Command)>,
    inbox: VecDeque<(Ticket, Command)>,
    /// Commands that are stored and wait for releases.
    waiting: BTreeMap<Ticket, Waiting>,
    sessions: BTreeMap<AgentId, Session>,
    /// Leases that ended and are still in the view.
    leases_ended: BTreeMap<AgentId, Holder>,
    hearing: Hearing,
    releases: Releases,
    /// What the store is to say of the agents' destination.
    destination: Option<view::Destination>,
    /// The highest incarnation of the store under which an agent holds something that this store never gave.
    ahead: Option<u64>,
    /// Parts that go to another agent, until they are with it.
    moving: BTreeMap<AssignmentId, Moving>,
    /// Lane records that wait for a commit: the latest of each process for each lane.
    proposals: BTreeMap<(LaneId, Holder), Proposal>,
    /// Those in the commit in flight; they wait again if it is refused.
    fixing: Vec<Proposal>,
    /// Surveys not yet turned into tasks.
    findings: BTreeMap<ConnectorName, Findings>,
    /// Why a connector may not copy what its survey found.
    conflicts: BTreeMap<ConnectorName, String>,
    /// What a user should know about what a survey found.
    notes: BTreeMap<ConnectorName, Vec<String>>,
    /// The last word of an agent on each part.
    reported: BTreeMap<AssignmentId, (AssignmentEpoch, Status)>,
    /// When statuses were stored and parts moved last.
    swept_ms: Option<u64>,
    /// Whether there may be something to state or to place since the last time.
    stale: Stale,
    by_process: ByProcess,
    /// Which parts may have to be stated otherwise than they were.
    restate: BTreeSet<AssignmentId>,
    /// Whose status may be another one than what is stored.
    reshow: BTreeSet<AssignmentId>,
}

/// What may have to be done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stale {
    statements: bool,
    placement: bool,
    balance: bool,
}

impl Stale {
    const ALL: Self = Self { statements: true, placement: true, balance: true };
}

/// A commit whose outcome is not known.
#[derive(Debug)]
struct InFlight {
    alive: Vec<Holder>,
    writes: Vec<Write>,
}

/// A command that is stored and waits.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Waiting {
    name: ConnectorName,
    request: RequestId,
    until: Until,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Until {
    Deleted,
    Stopped,
    Moved(AssignmentId, AgentId),
}

impl Core {
    /// A new term, over what the store holds.
    #[must_use]
    pub fn new(view: View, patience: Patience) -> Self {
        let reshow = view.connectors.keys().flat_map(|name| changes::parts_of(&view, name)).collect();
        Self {
            patience,
            term_began: AssignmentEpoch { incarnation: view.meta.incarnation, revision: view.revision },
            by_process: ByProcess::of_view(&view),
            view,
            in_flight: VecDeque::new(),
            doubted: BTreeSet::new(),
            current: None,
            inbox: VecDeque::new(),
            waiting: BTreeMap::new(),
            sessions: BTreeMap::new(),
            leases_ended: BTreeMap::new(),
            hearing: Hearing::new(patience.suspect_ms),
            releases: Releases::default(),
            destination: None,
            ahead: None,
            moving: BTreeMap::new(),
            proposals: BTreeMap::new(),
            fixing: Vec::new(),
            findings: BTreeMap::new(),
            conflicts: BTreeMap::new(),
            notes: BTreeMap::new(),
            reported: BTreeMap::new(),
            swept_ms: None,
            stale: Stale::ALL,
            restate: BTreeSet::new(),
            reshow,
        }
    }

    #[must_use]
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Takes what happened, says what to do about it.
    pub fn step(&mut self, now: Now, event: Event) -> Decision {
        self.hearing.listen(now.boot_ms);
        let mut changed = false;
        for holder in event.speakers() {
            changed |= self.hearing.hear(holder);
        }
        let (tick, is_heartbeat) = (event == Event::Tick, matches!(event, Event::Heartbeat(_)));
        changed |= self.take(event);
        if tick {
            changed |= !std::mem::take(&mut self.doubted).is_empty();
            let living = self.view.agents.iter().map(|(id, agent)| agent.process_of(id.clone()));
            changed |= self.hearing.judge(living.collect());
        }
        if changed {
            self.stale = Stale::ALL;
        } else if is_heartbeat {
            return Decision::default();
        }
        self.decide(now, tick)
    }

    /// Returns whether something may have to be stated or placed anew.
    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Committed(revision) => return self.committed(revision),
            Event::Refused => self.refused(),
            Event::Command(ticket, command) => self.inbox.push_back((ticket, command)),
            Event::Hello(hello) => self.hello(*hello),
            Event::Heartbeat(_) | Event::Tick => return false,
            Event::Destination(destination) => self.destination = Some(destination),
            Event::Draining(holder) => self.of_session(&holder, |session| session.draining = true),
            Event::Drained(holder) => self.releases.hear_drained(holder),
            Event::Settled(holder) => self.of_session(&holder, |session| session.is_settled = true),
            Event::SessionEnded(holder) => self.end_session(&holder),
            Event::LeaseEnded(holder) => {
                self.end_session(&holder);
                self.leases_ended.insert(holder.agent.clone(), holder);
            }
            Event::Reported { holder, id, epoch, state, trace } => {
                if self.holds(&holder, &id, epoch) {
                    let status = Status::new(state, Some(holder.agent), trace);
                    self.reshow.insert(id.clone());
                    self.reported.insert(id, (epoch, status));
                }
                return false;
            }
            Event::Released { holder, id, epoch } => self.releases.hear(id, (holder, epoch)),
            Event::Surveyed { holder, connector, epoch, findings } => {
                let survey = AssignmentId::survey(&connector);
                if self.holds(&holder, &survey, epoch) {
                    self.reshow.insert(survey);
                    self.surveyed(connector, findings);
                }
            }
            Event::Proposed(proposals) => {
                proposals.into_iter().for_each(|proposal| self.proposed(proposal));
                return false;
            }
        }
        true
    }

    fn committed(&mut self, revision: StoreRevision) -> bool {
        let mut changed = false;
        for write in self.in_flight.pop_front().map(|commit| commit.writes).unwrap_or_default() {
            changed |= write.is_of_placement();
            if let Write::Connector(name, None) = &write {
                self.forget_surveys(name);
            }
            self.apply(revision, write);
        }
        if self.in_flight.is_empty() {
            self.current = None;
            self.fixing.clear();
        }
        changed
    }

    fn apply(&mut self, revision: StoreRevision, write: Write) {
        let concerned = changes::concerned(&self.view, &self.by_process, &write);
        self.restate.extend(concerned.iter().cloned());
        self.reshow.extend(concerned);
        let assigned = if let Write::Assignment(id, _) = &write { Some(id.clone()) } else { None };
        assigned.iter().for_each(|id| self.by_process.remove(&self.view, id));
        self.view.apply(revision, write);
        assigned.iter().for_each(|id| self.by_process.add(&self.view, id));
    }

    fn refused(&mut self) {
        // Who is missed is not known; the next tick, or the end of a lease, tells.
        self.doubted.extend(self.in_flight.pop_front().into_iter().flat_map(|commit| commit.alive));
        self.in_flight.clear();
        self.current.take().into_iter().for_each(|command| self.inbox.push_front(command));
        self.propose_again();
    }

    fn of_session(&mut self, holder: &Holder, change: impl FnOnce(&mut Session)) {
        let session = self.sessions.get_mut(&holder.agent).filter(|session| session.holder == *holder);
        if let Some(session) = session {
            change(session);
        }
    }

    fn hello(&mut self, hello: Hello) {
        self.notice_a_restore(&hello);
        let Hello { holder, rack, labels, running: _, store_id: _, is_settled } = hello;
        let mut session = Session::new(holder.clone(), rack, labels);
        session.is_settled = is_settled;
        self.sessions.insert(holder.agent, session);
    }

    /// An agent that holds what this store never gave shows that the store was restored from an older copy.
    fn notice_a_restore(&mut self, hello: &Hello) {
        if !hello.store_id.is_empty() && hello.store_id != self.view.meta.store_id {
            return;
        }
        let newest =
            AssignmentEpoch { incarnation: self.view.meta.incarnation, revision: self.view.revision };
        let given = |id: &AssignmentId| self.view.assignments.get(id).map_or(newest, |held| held.epoch);
        let never_given = hello.running.iter().filter(|(id, epoch)| *epoch > given(id));
        self.ahead = never_given.map(|(_, epoch)| epoch.incarnation).chain(self.ahead).max();
    }

    /// What is to be known of the store: its next incarnation, whose epochs are above all that agents may hold, and where
    /// the agents copy to.
    fn new_meta(&self) -> Option<view::Meta> {
        let mut meta = self.view.meta.clone();
        if let Some(ahead) = self.ahead.filter(|ahead| *ahead >= meta.incarnation) {
            meta.incarnation = ahead + 1;
        }
        meta.destination = self.destination.clone().or(meta.destination);
        (meta != self.view.meta).then_some(meta)
    }

    fn decide(&mut self, now: Now, tick: bool) -> Decision {
        let mut decision = Decision::default();
        while self.in_flight.is_empty()
            && let Some((ticket, command)) = self.inbox.pop_front()
        {
            let (writes, sends) = self.plan(now, ticket, &command);
            if !writes.is_empty() {
                self.current = Some((ticket, command));
            }
            self.begin(Commit::row(writes, sends), &mut decision);
        }
        if self.in_flight.is_empty() {
            let sweep = tick && self.swept_ms.is_none_or(|at| now.boot_ms >= at + SWEEP_INTERVAL_MS);
            if sweep {
                self.swept_ms = Some(now.boot_ms);
            }
            let commits = self.reconcile(now, sweep);
            self.begin(commits, &mut decision);
        }
        // Last, so that none is judged before releases that are confirmed and leases that ended are stored.
        if self.in_flight.is_empty() {
            let commits = self.fix_lane_records();
            self.begin(commits, &mut decision);
        }
        let mut sends = self.settle();
        if std::mem::take(&mut self.stale.statements) {
            sends.extend(self.statements());
        }
        if !sends.is_empty() {
            // Told on the grounds of what is stored already: these need not wait for the commit in flight.
            decision.commits.insert(0, Commit { sends, ..Commit::default() });
        }
        decision
    }

    fn begin(&mut self, commits: Vec<Commit>, decision: &mut Decision) {
        for commit in commits {
            if !commit.writes.is_empty() {
                let (alive, writes) = (commit.alive.clone(), commit.writes.clone());
                self.in_flight.push_back(InFlight { alive, writes });
            }
            if !commit.writes.is_empty() || !commit.sends.is_empty() {
                decision.commits.push(commit);
            }
        }
    }

    /// Answers what waited for releases, once the view shows that they are done.
    fn settle(&mut self) -> Vec<Send> {
        let view = &self.view;
        let done = |waiting: &Waiting| match &waiting.until {
            Until::Moved(id, _) => !self.moving.contains_key(id),
            // Another one of its name may be there by now.
            Until::Deleted => view.connectors.get(&waiting.name).is_none_or(|connector| !connector.deleting),
            Until::Stopped => view.connectors.get(&waiting.name).is_none_or(|connector| {
                // A stop that was overtaken by a resume is answered as well: it was carried out, or is void.
                connector.target != copyist_model::TargetState::Stopped
                    || (view.assignments_of(&waiting.name).next().is_none()
                        && view.tasks_of(&waiting.name).next().is_none())
            }),
        };
        // A command that is not stored yet cannot be done.
        let unstored = self.current.as_ref().map(|(ticket, _)| *ticket);
        let settled: Vec<Ticket> = self
            .waiting
            .iter()
            .filter(|(ticket, waiting)| Some(**ticket) != unstored && done(waiting))
            .map(|(ticket, _)| *ticket)
            .collect();
        let settled = settled.into_iter().filter_map(|ticket| Some((ticket, self.waiting.remove(&ticket)?)));
        let settled: Vec<(Ticket, Waiting)> = settled.collect();
        settled.into_iter().map(|(ticket, waiting)| Send::Reply(ticket, self.moved(&waiting))).collect()
    }

    fn holds(&self, holder: &Holder, id: &AssignmentId, epoch: AssignmentEpoch) -> bool {
        let current = self.view.assignments.get(id);
        current.is_some_and(|assignment| assignment.epoch == epoch && assignment.holder == *holder)
    }

    fn end_session(&mut self, holder: &Holder) {
        if self.sessions.get(&holder.agent).is_some_and(|session| session.holder == *holder) {
            self.sessions.remove(&holder.agent);
        }
    }
}

/// Whether an instance needs a restart to go on.
fn is_failed(status: &Status) -> bool {
    status.state == InstanceState::Failed
}

#[cfg(test)]
mod tests;
