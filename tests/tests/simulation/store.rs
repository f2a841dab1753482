//! The store as etcd is: keys with revisions and leases, transactions that compare, limits.

use std::collections::{BTreeMap, VecDeque};

use copyist_coordinator::core::view::Meta;
use copyist_coordinator::core::{Holder, View, Write};
use copyist_coordinator::store::keys;
use copyist_model::{AssignmentEpoch, AssignmentId, StoreRevision};

use crate::invariants::Fact;
use crate::network::{Envelope, Message};
use crate::node::Node;
use crate::options::{LEADER_TTL_MS, REPLICAS, STORE_PATIENCE_MS, TTL_MS};
use crate::queue::Happening;
use crate::sim::Sim;

const OPERATIONS_MAX: usize = 128;
const BYTES_MAX: usize = 1_572_864;
const LEADER: &str = "leader";

/// Who holds what, as it was at some moment.
type Held = BTreeMap<AssignmentId, (Holder, AssignmentEpoch)>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeaseId {
    Leader { replica: usize, number: u64 },
    Agent(Holder),
}

#[derive(Debug, Clone)]
pub enum Question {
    /// Lead, if nobody does.
    Campaign(LeaseId),
    /// Put the leader's key again, if it is the one of this revision.
    PutAgain {
        lease: LeaseId,
        revision: u64,
    },
    KeepAlive(LeaseId),
    Grant(LeaseId),
    Revoke(LeaseId),
    Commit(Box<Proposed>),
    Load,
    /// What a process holds; by what was true so many milliseconds ago.
    Held {
        holder: Holder,
        age_ms: u64,
    },
}

/// What a leader wants stored.
#[derive(Debug, Clone)]
pub struct Proposed {
    pub leader: Option<(LeaseId, u64)>,
    pub alive: Vec<Holder>,
    pub writes: Vec<Write>,
    pub incarnation: u64,
}

#[derive(Debug, Clone)]
pub enum Answer {
    Won {
        revision: u64,
    },
    Lost {
        leader: usize,
    },
    Put {
        revision: u64,
    },
    Deposed,
    Alive(bool),
    Done,
    Committed {
        revision: u64,
    },
    /// Processes that were to be alive, and are not.
    Refused {
        gone: Vec<Holder>,
    },
    /// The key of this process was to hang on a lease that is over.
    LeaseGone(Holder),
    Loaded {
        leader: Option<(LeaseId, u64)>,
        revision: u64,
        pairs: Vec<(String, Vec<u8>, u64)>,
    },
    /// Nothing: its key is not there.
    Held(Option<BTreeMap<AssignmentId, AssignmentEpoch>>),
}

#[derive(Debug, Clone)]
struct Key {
    value: Vec<u8>,
    modified: u64,
    lease: Option<LeaseId>,
}

/// A copy of the store, as an operator keeps one.
#[derive(Debug, Clone)]
struct Snapshot {
    keys: BTreeMap<String, Key>,
    revision: u64,
    view: View,
}

pub struct Store {
    keys: BTreeMap<String, Key>,
    revision: u64,
    /// When each lease ends.
    leases: BTreeMap<LeaseId, u64>,
    /// What the keys mean.
    pub view: View,
    /// Replicas that led, by the process that did.
    watchers: BTreeMap<usize, u64>,
    history: VecDeque<(u64, Held)>,
    snapshot: Option<Snapshot>,
}

impl Store {
    pub fn new() -> Self {
        let mut store = Self {
            keys: BTreeMap::new(),
            revision: 1,
            leases: BTreeMap::new(),
            view: View::default(),
            watchers: BTreeMap::new(),
            history: VecDeque::from([(0, Held::new())]),
            snapshot: None,
        };
        store.write(
            vec![Write::Meta(Meta { store_id: "sim".to_owned(), incarnation: 1, destination: None })],
            1,
        );
        store
    }

    /// Who leads by the leader's key.
    pub fn leader(&self) -> Option<usize> {
        match self.keys.get(LEADER)?.lease {
            Some(LeaseId::Leader { replica, .. }) => Some(replica),
            Some(LeaseId::Agent(_)) | None => None,
        }
    }

    pub fn is_alive(&self, holder: &Holder) -> bool {
        self.view.agents.get(&holder.agent).is_some_and(|agent| agent.incarnation == holder.incarnation)
    }

    /// Takes a request, and sends the answer back.
    pub fn serve(&mut self, sim: &mut Sim, envelope: &Envelope) {
        let Message::Ask { life, number, question } = &envelope.message else { return };
        let replica = envelope.from;
        let answer = match question.as_ref() {
            Question::Campaign(lease) => self.campaign(sim, lease),
            Question::PutAgain { lease, revision } => self.put_again(sim, lease, *revision),
            Question::KeepAlive(lease) => Answer::Alive(self.keep_alive(sim, lease)),
            Question::Grant(lease) => {
                self.grant(sim, lease);
                Answer::Done
            }
            Question::Revoke(lease) => {
                self.end_lease(sim, lease);
                Answer::Done
            }
            Question::Commit(proposed) => {
                let answer = self.commit(sim, proposed);
                if matches!(answer, Answer::Committed { .. }) && sim.now > envelope.sent + STORE_PATIENCE_MS {
                    sim.trace.count("commits applied after their sender gave up");
                }
                if matches!(answer, Answer::Deposed) {
                    sim.trace.count("commits of deposed leaders refused");
                }
                answer
            }
            Question::Load => self.load(replica, *life),
            Question::Held { holder, age_ms } => {
                let has_key = self.is_alive(holder) || sim.breaks.renew_without_key;
                Answer::Held(has_key.then(|| self.held(sim.now, holder, *age_ms)))
            }
        };
        sim.note(Node::Store, "answers", || {
            format!("{replica} #{number} {}: {}", question.name(), answer.name())
        });
        let told = Message::Told { number: *number, answer: Box::new(answer) };
        sim.send(Node::Store, replica, Some(*life), told);
    }

    fn campaign(&mut self, sim: &mut Sim, lease: &LeaseId) -> Answer {
        if let Some(leader) = self.leader() {
            return Answer::Lost { leader };
        }
        self.grant(sim, lease);
        self.revision += 1;
        self.put(LEADER, Vec::new(), Some(lease.clone()));
        sim.trace.count("terms won");
        Answer::Won { revision: self.revision }
    }

    fn put_again(&mut self, sim: &mut Sim, lease: &LeaseId, revision: u64) -> Answer {
        let key = self.keys.get(LEADER);
        let is_own = key.is_some_and(|key| key.lease.as_ref() == Some(lease) && key.modified == revision);
        if !is_own {
            return Answer::Deposed;
        }
        self.keep_alive(sim, lease);
        self.revision += 1;
        self.put(LEADER, Vec::new(), Some(lease.clone()));
        Answer::Put { revision: self.revision }
    }

    fn put(&mut self, key: &str, value: Vec<u8>, lease: Option<LeaseId>) {
        self.keys.insert(key.to_owned(), Key { value, modified: self.revision, lease });
    }

    fn grant(&mut self, sim: &mut Sim, lease: &LeaseId) {
        if !self.keep_alive(sim, lease) {
            let ends = sim.now + lease.lasts(sim);
            self.leases.insert(lease.clone(), ends);
            sim.queue.plan(ends, Happening::LeaseDue(lease.clone()));
        }
    }

    fn keep_alive(&mut self, sim: &mut Sim, lease: &LeaseId) -> bool {
        let lasts = lease.lasts(sim);
        let Some(ends) = self.leases.get_mut(lease) else { return false };
        *ends = sim.now + lasts;
        true
    }

    /// A lease that may be over.
    pub fn lease_due(&mut self, sim: &mut Sim, lease: &LeaseId) {
        match self.leases.get(lease) {
            Some(ends) if *ends > sim.now => sim.queue.plan(*ends, Happening::LeaseDue(lease.clone())),
            Some(_) => {
                sim.trace.count(match lease {
                    LeaseId::Leader { .. } => "leader leases ended",
                    LeaseId::Agent(_) => "agent leases ended",
                });
                self.end_lease(sim, lease);
            }
            None => {}
        }
    }

    fn end_lease(&mut self, sim: &mut Sim, lease: &LeaseId) {
        if self.leases.remove(lease).is_none() {
            return;
        }
        sim.note(Node::Store, "lease ends", || lease.to_string());
        let hanging = self.keys.iter().filter(|(_, key)| key.lease.as_ref() == Some(lease));
        let hanging: Vec<String> = hanging.map(|(name, _)| name.clone()).collect();
        if hanging.is_empty() {
            return;
        }
        self.revision += 1;
        hanging.iter().for_each(|name| drop(self.keys.remove(name)));
        self.view.revision = StoreRevision(self.revision);
        if let LeaseId::Leader { .. } = lease {
            for replica in (0..REPLICAS).map(Node::Replica) {
                sim.send_until_heard(Node::Store, replica, None, Message::NobodyLeads);
            }
        }
        if let LeaseId::Agent(holder) = lease {
            self.view.agents.remove(&holder.agent);
            for (replica, life) in &self.watchers {
                let vanished = Message::Vanished { holder: holder.clone(), revision: self.revision };
                sim.send_until_heard(Node::Store, Node::Replica(*replica), Some(*life), vanished);
            }
        }
    }

    fn commit(&mut self, sim: &mut Sim, proposed: &Proposed) -> Answer {
        if let Some((lease, revision)) = &proposed.leader {
            let key = self.keys.get(LEADER);
            if !key.is_some_and(|key| key.lease.as_ref() == Some(lease) && key.modified == *revision) {
                return Answer::Deposed;
            }
        }
        let gone: Vec<Holder> =
            proposed.alive.iter().filter(|holder| !self.is_alive(holder)).cloned().collect();
        if !gone.is_empty() {
            sim.trace.count("commits refused for a lease that ended");
            return Answer::Refused { gone };
        }
        for write in &proposed.writes {
            if let Write::Agent(id, Some(agent)) = write {
                let holder = Holder { agent: id.clone(), incarnation: agent.incarnation.clone() };
                if !self.leases.contains_key(&LeaseId::Agent(holder.clone())) {
                    return Answer::LeaseGone(holder);
                }
            }
        }
        self.check_limits(sim, proposed);
        self.revision += 1;
        self.write(proposed.writes.clone(), proposed.incarnation);
        self.remember(sim.now);
        sim.trace.count("commits");
        sim.facts.push(Fact::Stored { revision: self.revision, writes: proposed.writes.clone() });
        Answer::Committed { revision: self.revision }
    }

    fn check_limits(&self, sim: &mut Sim, proposed: &Proposed) {
        let pairs: Vec<(String, Option<Vec<u8>>)> =
            proposed.writes.iter().map(|write| keys::encode(write, proposed.incarnation)).collect();
        let operations = pairs.len() + proposed.alive.len() + 1;
        let bytes: usize =
            pairs.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
        let mut names: Vec<&String> = pairs.iter().map(|(key, _)| key).collect();
        names.sort();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
        let broken = if operations > OPERATIONS_MAX {
            Some(format!("a commit of {operations} operations"))
        } else if bytes > BYTES_MAX {
            Some(format!("a commit of {bytes} bytes"))
        } else {
            twice.map(|pair| format!("a commit that writes key {} twice", pair[0]))
        };
        if let Some(what) = broken {
            sim.facts.push(Fact::LimitBroken(what));
        }
    }

    fn write(&mut self, writes: Vec<Write>, incarnation: u64) {
        for write in writes {
            let (key, value) = keys::encode(&write, incarnation);
            let lease = match &write {
                Write::Agent(id, Some(agent)) => {
                    Some(LeaseId::Agent(Holder { agent: id.clone(), incarnation: agent.incarnation.clone() }))
                }
                _ => None,
            };
            match value {
                Some(value) => self.put(&key, value, lease),
                None => drop(self.keys.remove(&key)),
            }
            self.view.apply(StoreRevision(self.revision), write);
        }
    }

    fn remember(&mut self, now: u64) {
        let held = self.view.assignments.iter();
        let held = held.map(|(id, it)| (id.clone(), (it.holder.clone(), it.epoch))).collect();
        self.history.push_back((now, held));
        if self.history.len() > 60 {
            self.history.pop_front();
        }
    }

    fn held(&self, now: u64, holder: &Holder, age_ms: u64) -> BTreeMap<AssignmentId, AssignmentEpoch> {
        let then = now.saturating_sub(age_ms);
        let state = self.history.iter().rev().find(|(at, _)| *at <= then).or(self.history.front());
        let held = state.into_iter().flat_map(|(_, held)| held);
        let own = held.filter(|(_, (by, _))| by == holder);
        let mut held: BTreeMap<_, _> = own.map(|(id, (_, epoch))| (id.clone(), *epoch)).collect();
        held.extend(self.view.held_by(holder));
        held
    }

    fn load(&mut self, replica: Node, life: u64) -> Answer {
        if let Node::Replica(index) = replica {
            self.watchers.insert(index, life);
        }
        let leader = self.keys.get(LEADER).and_then(|key| Some((key.lease.clone()?, key.modified)));
        let pairs = self.keys.iter().filter(|(name, _)| *name != LEADER);
        let pairs = pairs.map(|(name, key)| (name.clone(), key.value.clone(), key.modified)).collect();
        Answer::Loaded { leader, revision: self.revision, pairs }
    }

    pub fn keep_snapshot(&mut self) {
        let (keys, revision, view) = (self.keys.clone(), self.revision, self.view.clone());
        self.snapshot = Some(Snapshot { keys, revision, view });
    }

    /// The store is as it was when the copy was made, and counts on from there.
    pub fn restore(&mut self, sim: &mut Sim) {
        let Some(Snapshot { keys, revision, view }) = self.snapshot.take() else { return };
        let lost = self.revision - revision;
        sim.note(Node::Store, "is restored", || format!("at {revision}, {lost} revisions are lost"));
        sim.trace.count("stores restored");
        (self.keys, self.revision, self.view) = (keys, revision, view);
        self.leases.clear();
        self.watchers.clear();
        let leases: Vec<LeaseId> = self.keys.values().filter_map(|key| key.lease.clone()).collect();
        leases.iter().for_each(|lease| self.grant(sim, lease));
        self.remember(sim.now);
        sim.facts.push(Fact::Restored { revision });
    }
}

impl LeaseId {
    /// How long it lasts from now on, early or late.
    fn lasts(&self, sim: &mut Sim) -> u64 {
        let ttl = match self {
            Self::Leader { .. } => LEADER_TTL_MS,
            Self::Agent(_) => TTL_MS,
        };
        let odd = sim.options.odd_leases;
        if odd && sim.chance(4) {
            sim.trace.count("leases that end early");
            ttl / 4 + sim.dice.below(ttl / 2)
        } else if odd && sim.chance(6) {
            sim.trace.count("leases that end late");
            ttl + 500 + sim.dice.below(ttl)
        } else {
            ttl + 50 + sim.dice.below(430)
        }
    }
}

impl std::fmt::Display for LeaseId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Leader { replica, number } => write!(f, "of replica-{replica}, {number}"),
            Self::Agent(holder) => write!(f, "of {}", holder.incarnation),
        }
    }
}

impl Question {
    pub fn name(&self) -> String {
        match self {
            Self::Campaign(_) => "campaign".to_owned(),
            Self::PutAgain { revision, .. } => format!("put the leader's key {revision} again"),
            Self::KeepAlive(lease) => format!("keep alive the lease {lease}"),
            Self::Grant(lease) => format!("grant a lease {lease}"),
            Self::Revoke(lease) => format!("revoke the lease {lease}"),
            Self::Commit(proposed) => {
                let names: Vec<String> =
                    proposed.writes.iter().map(|it| shown(it, proposed.incarnation)).collect();
                format!("commit {}", names.join(", "))
            }
            Self::Load => "load".to_owned(),
            Self::Held { holder, .. } => format!("what {} holds", holder.incarnation),
        }
    }
}

/// A write in a few words.
fn shown(write: &Write, incarnation: u64) -> String {
    let (key, _) = keys::encode(write, incarnation);
    match write {
        Write::Assignment(_, Some(it)) => {
            let former: Vec<&str> = it.former.iter().map(|(by, _)| by.incarnation.as_str()).collect();
            format!("{key} = {} after [{}]", it.holder.incarnation, former.join(" "))
        }
        Write::Connector(_, Some(it)) => format!(
            "{key} = {} g{}/{} r{}{}",
            it.target.as_str(),
            it.generation.0,
            it.tasks_generation.0,
            it.revision.0,
            if it.deleting { " deleting" } else { "" }
        ),
        Write::Task(_, Some(it)) => format!("{key} = r{} {} lanes", it.revision.0, it.lanes.len()),
        Write::Status(_, Some(it)) => format!("{key} = {}", it.state.as_str()),
        Write::Agent(_, Some(it)) => format!("{key} = {}", it.incarnation),
        Write::Connector(_, None)
        | Write::Task(_, None)
        | Write::Status(_, None)
        | Write::Agent(_, None)
        | Write::Assignment(_, None) => format!("{key} goes"),
        _ => key,
    }
}

impl Answer {
    pub fn name(&self) -> String {
        match self {
            Self::Won { revision } => format!("won at {revision}"),
            Self::Lost { leader } => format!("replica-{leader} leads"),
            Self::Put { revision } => format!("put at {revision}"),
            Self::Deposed => "deposed".to_owned(),
            Self::Alive(true) => "alive".to_owned(),
            Self::Alive(false) => "gone".to_owned(),
            Self::Done => "done".to_owned(),
            Self::Committed { revision } => format!("committed at {revision}"),
            Self::Refused { gone } => {
                let gone: Vec<&str> = gone.iter().map(|it| it.incarnation.as_str()).collect();
                format!("refused, gone: {}", gone.join(" "))
            }
            Self::LeaseGone(holder) => format!("refused, no lease of {}", holder.incarnation),
            Self::Loaded { revision, .. } => format!("loaded at {revision}"),
            Self::Held(held) => {
                let Some(held) = held else { return "has no key".to_owned() };
                let held: Vec<String> = held.iter().map(|(id, epoch)| format!("{id}@{epoch}")).collect();
                format!("holds {}", held.join(" "))
            }
        }
    }
}
