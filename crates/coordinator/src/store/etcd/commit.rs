//! A commit as one transaction of etcd: what it compares, and what its answer means.
//!
//! It compares the leader's key (revision and lease), so that a deposed leader writes nothing; the head, so that nothing
//! is written into a store that is not as this term left it (restored from a copy); and the key of each process that must
//! be alive. That one is compared by its revision: this term alone writes such keys, so it knows them, and their values
//! hold more than the incarnation.

use std::collections::{BTreeMap, BTreeSet};

use etcd_client::{Compare, CompareOp, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse};

use super::keyspace::Keyspace;
use super::read::{Position, position};
use crate::core::view::Agent;
use crate::core::{Commit, Holder, Write};
use crate::store::keys;

/// What every commit of a term compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fence {
    /// The leader's lease.
    pub(super) lease: i64,
    /// The revision of the leader's key.
    pub(super) leader: i64,
    /// The revision of the last commit; 0: there was none.
    pub(super) head: i64,
    /// Which store, and the highest revision seen.
    pub(super) seen: Position,
}

/// The processes that have a key, with the key's revision, by the key as `store::keys` knows it.
pub(super) type Alive = BTreeMap<String, (Holder, i64)>;

/// A commit, ready to be asked.
pub(super) struct Asked {
    pub(super) txn: Txn,
    /// Whose keys it compares, with the revision expected, in the order of the answer.
    pub(super) alive: Vec<(Holder, i64)>,
}

/// What etcd answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) succeeded: bool,
    pub(super) at: Position,
    /// When it was refused: the revisions of the keys found (0: none), the leader's lease.
    leader: (i64, i64),
    head: i64,
    alive: Vec<i64>,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    Committed,
    /// Who has no key any more.
    Gone(Vec<Holder>),
    /// Why the term is over.
    Over(String),
}

/// The transaction of a commit; or who of the processes that must be alive has no key, as far as is known already.
pub(super) fn ask(
    keyspace: &Keyspace,
    fence: &Fence,
    alive: &Alive,
    commit: &Commit,
    incarnation: u64,
) -> Result<Asked, Vec<Holder>> {
    let expected: BTreeSet<&Holder> = commit.alive.iter().collect();
    let (mut known, mut gone) = (Vec::new(), Vec::new());
    for holder in expected {
        match alive.get(&agent_key(holder)) {
            Some((living, revision)) if living == holder => known.push((holder.clone(), *revision)),
            Some(_) | None => gone.push(holder.clone()),
        }
    }
    if !gone.is_empty() {
        return Err(gone);
    }
    let mut compares = vec![
        Compare::mod_revision(keyspace.leader(), CompareOp::Equal, fence.leader),
        Compare::lease(keyspace.leader(), CompareOp::Equal, fence.lease),
        Compare::mod_revision(keyspace.head(), CompareOp::Equal, fence.head),
    ];
    let mut found = vec![TxnOp::get(keyspace.leader(), None), TxnOp::get(keyspace.head(), None)];
    for (holder, revision) in &known {
        let key = keyspace.agent(&holder.agent);
        compares.push(Compare::mod_revision(key.as_str(), CompareOp::Equal, *revision));
        found.push(TxnOp::get(key, None));
    }
    let mut writes: Vec<TxnOp> =
        commit.writes.iter().map(|write| operation(keyspace, write, incarnation)).collect();
    writes.push(TxnOp::put(keyspace.head(), "", None));
    Ok(Asked { txn: Txn::new().when(compares).and_then(writes).or_else(found), alive: known })
}

fn operation(keyspace: &Keyspace, write: &Write, incarnation: u64) -> TxnOp {
    let (key, value) = keys::encode(write, incarnation);
    let Some(value) = value else { return TxnOp::delete(keyspace.full(&key), None) };
    let lease = living(write).map(|holder| PutOptions::new().with_lease(keyspace.lease(&holder)));
    TxnOp::put(keyspace.full(&key), value, lease)
}

/// The process whose key a write puts.
fn living(write: &Write) -> Option<Holder> {
    match write {
        Write::Agent(agent, Some(Agent { incarnation, .. })) => {
            Some(Holder { agent: agent.clone(), incarnation: incarnation.clone() })
        }
        Write::Meta(_)
        | Write::Connector(..)
        | Write::Request(..)
        | Write::Task(..)
        | Write::Lane(..)
        | Write::TopicMarks(..)
        | Write::Deletion(..)
        | Write::Agent(_, None)
        | Write::Assignment(..)
        | Write::Released(..)
        | Write::Status(..) => None,
    }
}

/// The processes whose keys a commit puts.
pub(super) fn put_alive(commit: &Commit) -> Vec<Holder> {
    commit.writes.iter().filter_map(living).collect()
}

pub(super) fn agent_key(holder: &Holder) -> String {
    keys::encode(&Write::Agent(holder.agent.clone(), None), 0).0
}

/// A commit was stored: which processes have a key since.
pub(super) fn learn(alive: &mut Alive, commit: &Commit, revision: i64) {
    for write in &commit.writes {
        let Write::Agent(agent, value) = write else { continue };
        let (key, _) = keys::encode(&Write::Agent(agent.clone(), None), 0);
        match value {
            Some(Agent { incarnation, .. }) => {
                let holder = Holder { agent: agent.clone(), incarnation: incarnation.clone() };
                alive.insert(key, (holder, revision));
            }
            None => drop(alive.remove(&key)),
        }
    }
}

/// The key of an agent is gone since `revision`: whose it was, unless another was put after that.
pub(super) fn vanished(alive: &mut Alive, key: &str, revision: i64) -> Option<Holder> {
    let (_, put) = alive.get(key)?;
    if revision <= *put {
        return None;
    }
    alive.remove(key).map(|(holder, _)| holder)
}

pub(super) fn answer(response: &TxnResponse) -> Answer {
    let mut found = response.op_responses().into_iter().map(|operation| match operation {
        TxnOpResponse::Get(got) => got.kvs().first().map_or((0, 0), revision_and_lease),
        TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => (0, 0),
    });
    let leader = found.next().unwrap_or_default();
    let (head, _) = found.next().unwrap_or_default();
    let alive = found.map(|(revision, _)| revision).collect();
    Answer { succeeded: response.succeeded(), at: position(response.header()), leader, head, alive }
}

fn revision_and_lease(found: &KeyValue) -> (i64, i64) {
    (found.mod_revision(), found.lease())
}

pub(super) fn meaning(fence: &Fence, alive: &[(Holder, i64)], answer: &Answer) -> Meaning {
    let Answer { succeeded, at, leader, head, alive: found } = answer;
    if at.cluster != fence.seen.cluster {
        return Meaning::Over("etcd is another cluster now".to_owned());
    }
    if *succeeded {
        if at.revision <= fence.seen.revision {
            return Meaning::Over(format!(
                "etcd was restored from a copy: its revision is {}, and was {}",
                at.revision, fence.seen.revision
            ));
        }
        return Meaning::Committed;
    }
    if *leader != (fence.leader, fence.lease) {
        return Meaning::Over("its leader key is gone, or another one's".to_owned());
    }
    if *head != fence.head {
        return Meaning::Over("etcd does not hold the last commit: it was restored from a copy".to_owned());
    }
    let missing = alive.iter().zip(found).filter(|((_, expected), found)| expected != *found);
    let gone: Vec<Holder> = missing.map(|((holder, _), _)| holder.clone()).collect();
    if gone.is_empty() {
        return Meaning::Over("etcd refuses a commit though all is as expected".to_owned());
    }
    Meaning::Gone(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(agent: &str) -> Holder {
        Holder { agent: agent.parse().unwrap(), incarnation: "i".into() }
    }

    fn put(holder: &Holder) -> Write {
        let agent = Agent {
            incarnation: holder.incarnation.clone(),
            rack: String::new(),
            labels: BTreeMap::new(),
            drained: false,
        };
        Write::Agent(holder.agent.clone(), Some(agent))
    }

    const FENCE: Fence =
        Fence { lease: 77, leader: 5, head: 20, seen: Position { cluster: 1, revision: 30 } };

    fn refused() -> Answer {
        let at = Position { cluster: 1, revision: 40 };
        Answer { succeeded: false, at, leader: (5, 77), head: 20, alive: vec![12, 14] }
    }

    #[test]
    fn an_answer_means_what_the_keys_found_say() {
        let alive = [(holder("a:1"), 12), (holder("b:1"), 14)];
        let meaning = |answer: Answer| meaning(&FENCE, &alive, &answer);
        let at = |cluster, revision| Position { cluster, revision };
        let stored = |at| Answer { succeeded: true, at, leader: (0, 0), head: 0, alive: Vec::new() };
        assert_eq!(meaning(stored(at(1, 31))), Meaning::Committed);
        assert_eq!(meaning(Answer { alive: vec![0, 14], ..refused() }), Meaning::Gone(vec![holder("a:1")]));
        assert_eq!(
            meaning(Answer { alive: vec![0, 39], ..refused() }),
            Meaning::Gone(vec![holder("a:1"), holder("b:1")])
        );
        let over = [
            (stored(at(1, 30)), "restored"),
            (stored(at(2, 99)), "another cluster"),
            (Answer { leader: (0, 0), ..refused() }, "leader key"),
            (Answer { leader: (6, 77), ..refused() }, "leader key"),
            (Answer { leader: (5, 78), ..refused() }, "leader key"),
            (Answer { head: 19, ..refused() }, "restored"),
            (refused(), "as expected"),
        ];
        for (answer, word) in over {
            let shown = format!("{answer:?}");
            let Meaning::Over(why) = meaning(answer) else { panic!("{shown}") };
            assert!(why.contains(word), "{shown}: {why}");
        }
    }

    #[test]
    fn a_key_that_was_put_after_it_had_vanished_is_there() {
        let put_at = |revision| {
            let mut alive = Alive::new();
            learn(&mut alive, &Commit { writes: vec![put(&holder("a:1"))], ..Commit::default() }, revision);
            alive
        };
        let key = agent_key(&holder("a:1"));
        for (put, gone, told) in [(8, 9, true), (8, 8, false), (8, 7, false)] {
            let mut alive = put_at(put);
            let whose = vanished(&mut alive, &key, gone);
            assert_eq!(whose, told.then(|| holder("a:1")), "put at {put}, gone at {gone}");
            assert_eq!(alive.is_empty(), told);
            assert_eq!(vanished(&mut alive, "agents/other", gone), None);
        }
        let mut twice = put_at(8);
        assert!(vanished(&mut twice, &key, 9).is_some() && vanished(&mut twice, &key, 10).is_none());
    }

    #[test]
    fn who_has_no_key_is_known_before_etcd_is_asked() {
        let keyspace = Keyspace::new("p");
        let mut alive = Alive::new();
        learn(&mut alive, &Commit { writes: vec![put(&holder("a:1"))], ..Commit::default() }, 8);
        let ask = |alive: &Alive, expected: &[Holder]| {
            let commit = Commit { alive: expected.to_vec(), ..Commit::default() };
            super::ask(&keyspace, &FENCE, alive, &commit, 1).map(|asked| asked.alive)
        };
        let twice = [holder("a:1"), holder("a:1")];
        assert_eq!(ask(&alive, &twice), Ok(vec![(holder("a:1"), 8)]));
        assert_eq!(ask(&alive, &[holder("a:1"), holder("b:1")]), Err(vec![holder("b:1")]));
        let other = Holder { incarnation: "j".into(), ..holder("a:1") };
        assert_eq!(ask(&alive, std::slice::from_ref(&other)), Err(vec![other]));
        let gone = Write::Agent(holder("a:1").agent, None);
        learn(&mut alive, &Commit { writes: vec![gone], ..Commit::default() }, 9);
        assert_eq!(ask(&alive, &[holder("a:1")]), Err(vec![holder("a:1")]));
    }
}
