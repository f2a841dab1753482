//! The store of a leader: it is elected by the leader's key under a lease of its own, loads, and commits.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use copyist_proto::{STORE_FORMAT_VERSION, store};
use etcd_client::{Compare, CompareOp, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse};
use prost::Message as _;
use rand::RngExt;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::commit::{self, Alive, Fence, Meaning};
use super::feed::{Change, Feed, News, Told};
use super::keyspace::{Keyspace, Scope, lease_seconds};
use super::lease::{self, Kept};
use super::link::{ASK_LIMIT, Clients, Link};
use super::read::{self, Loaded};
use super::trouble::{Kind, Trouble};
use super::{Leader, Settings, revision_of};
use crate::core::view::Meta;
use crate::core::{Commit, Holder, View, Write};
use crate::error::Error;
use crate::store::{Outcome, Store, keys};

/// How often a follower looks for a leader's key that it was not told of, in milliseconds.
const LOOK_MS: std::ops::Range<u64> = 1_500..3_000;

/// Between attempts of a replica whose candidacy got no answer.
const AGAIN_MS: std::ops::Range<u64> = 100..300;

/// The store on etcd.
pub struct Etcd {
    settings: Arc<Settings>,
    link: Link,
    keyspace: Keyspace,
    leader: watch::Receiver<Leader>,
    candidacy: Option<Candidacy>,
    term: Option<Term>,
    /// Of whose leases it was said that they last otherwise than asked.
    odd_ttls_told: BTreeSet<&'static str>,
}

/// A lease of this process, and its key under it.
struct Candidacy {
    kept: Kept,
    /// Of the leader's key under the lease; 0: it was not put, or not known to be.
    revision: i64,
}

/// What is known while this replica leads.
struct Term {
    fence: Fence,
    alive: Alive,
    news: mpsc::Receiver<News>,
    ended: VecDeque<Holder>,
    _feed: AbortOnDropHandle<()>,
}

/// What became of an attempt to put the leader's key.
enum Put {
    /// At this revision.
    Ours(i64),
    Anothers,
}

impl Etcd {
    pub(super) fn new(
        settings: Arc<Settings>,
        link: Link,
        keyspace: Keyspace,
        leader: watch::Receiver<Leader>,
    ) -> Self {
        Self { settings, link, keyspace, leader, candidacy: None, term: None, odd_ttls_told: BTreeSet::new() }
    }

    /// Waits until the leader's key is put anew under a lease of this process: after that nothing that was asked before,
    /// and may still be on its way, is taken any more.
    async fn win(&mut self) -> Result<(i64, i64), Error> {
        loop {
            self.candidacy.take_if(|candidacy| !candidacy.kept.is_held());
            if self.candidacy.is_none() {
                self.vacancy().await?;
            }
            match self.stand().await {
                Ok(Some(won)) => return Ok(won),
                Ok(None) => {}
                // Whether it was put is found by asking again.
                Err(trouble) if trouble.kind.is_of_member() => pause(AGAIN_MS).await,
                Err(trouble) => return Err(trouble.into_error("this coordinator cannot stand for leader")),
            }
        }
    }

    /// One attempt; the lease and the revision of the leader's key if it was won.
    async fn stand(&mut self) -> Result<Option<(i64, i64)>, Trouble> {
        let (lease, revision) = match &self.candidacy {
            Some(candidacy) => (candidacy.kept.lease, candidacy.revision),
            None => {
                let asked = lease_seconds(self.settings.leader_ttl);
                let (kept, granted) = Kept::new(&self.link, asked).await?;
                self.tell_ttl("leader", self.settings.leader_ttl, granted);
                let lease = kept.lease;
                self.candidacy = Some(Candidacy { kept, revision: 0 });
                (lease, 0)
            }
        };
        match self.put_leader(lease, revision).await {
            Ok(Put::Ours(revision)) => {
                if let Some(candidacy) = &mut self.candidacy {
                    candidacy.revision = revision;
                }
                Ok(Some((lease, revision)))
            }
            Ok(Put::Anothers) => {
                self.candidacy = None;
                lease::revoke(&self.link, lease).await;
                Ok(None)
            }
            Err(trouble) if trouble.kind == Kind::NoLease => {
                self.candidacy = None;
                Ok(None)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Puts the leader's key if it is as it was left; revision 0: if there is none.
    async fn put_leader(&self, lease: i64, revision: i64) -> Result<Put, Trouble> {
        let key = self.keyspace.leader();
        let value = store::Leader {
            format_version: STORE_FORMAT_VERSION,
            address: self.settings.address.clone(),
            incarnation: self.settings.incarnation.clone(),
        };
        let compares = vec![
            Compare::mod_revision(key.as_str(), CompareOp::Equal, revision),
            Compare::lease(key.as_str(), CompareOp::Equal, if revision == 0 { 0 } else { lease }),
        ];
        let put = TxnOp::put(key.as_str(), value.encode_to_vec(), Some(PutOptions::new().with_lease(lease)));
        let txn = Txn::new().when(compares).and_then(vec![put]).or_else(vec![TxnOp::get(key, None)]);
        let answer = self.transact(txn).await?;
        if answer.succeeded() {
            return Ok(Put::Ours(read::position(answer.header()).revision));
        }
        let found = answer.op_responses().into_iter().find_map(|operation| match operation {
            TxnOpResponse::Get(mut got) => got.take_kvs().into_iter().next(),
            TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
        });
        // An earlier attempt came through, whose answer did not.
        let ours = found.filter(|found| found.lease() == lease);
        Ok(ours.map_or(Put::Anothers, |found| Put::Ours(found.mod_revision())))
    }

    async fn transact(&self, txn: Txn) -> Result<TxnResponse, Trouble> {
        self.link.ask(ASK_LIMIT, |mut clients| async move { clients.kv.txn(txn).await }).await
    }

    /// Waits until nobody leads.
    async fn vacancy(&mut self) -> Result<(), Error> {
        loop {
            self.leader.mark_unchanged();
            let key = self.keyspace.leader();
            let question = |mut clients: Clients| async move { clients.kv.get(key, None).await };
            match self.link.ask(ASK_LIMIT, question).await {
                Ok(found) => match found.kvs().first() {
                    None => return Ok(()),
                    // Left from a term that is over by our own clock: etcd was away, or this process slept.
                    Some(left) if self.is_ours(left) => {
                        if lease::revoke(&self.link, left.lease()).await {
                            continue;
                        }
                    }
                    Some(_) => {}
                },
                Err(trouble) if trouble.kind.is_of_member() => {}
                Err(trouble) => return Err(trouble.into_error("this coordinator cannot read who leads")),
            }
            tokio::select! {
                // It is told no more when the tasks have ended.
                Ok(()) = self.leader.changed() => {}
                () = pause(LOOK_MS) => {}
            }
        }
    }

    /// Whether a leader's key is of this process.
    fn is_ours(&self, key: &KeyValue) -> bool {
        let leader = store::Leader::decode(key.value());
        leader.is_ok_and(|leader| leader.incarnation == self.settings.incarnation)
    }

    async fn load(&mut self, lease: i64, leader: i64) -> Result<View, Error> {
        let loaded = read::load(&self.link, &self.keyspace, Scope::All).await;
        let loaded = loaded.map_err(|trouble| trouble.into_error("the store could not be loaded"))?;
        if loaded.pair("leader").map(|key| (key.revision, key.lease)) != Some((leader, lease)) {
            return Err(Error::TermOver("its leader key was gone before it had loaded the store".to_owned()));
        }
        let (mut view, alive) = viewed(&loaded)?;
        let told = Told { at: loaded.at, head: loaded.head };
        let (feed, news) = Feed::new(self.link.clone(), self.keyspace.clone(), Scope::Agents, Some(told));
        let feed = AbortOnDropHandle::new(tokio::spawn(feed.run()));
        let fence = Fence { lease, leader, head: loaded.head, seen: loaded.at };
        self.term = Some(Term { fence, alive, news, ended: VecDeque::new(), _feed: feed });
        if view.meta.store_id.is_empty() {
            self.make(&mut view).await?;
        }
        Ok(view)
    }

    /// A store that is empty gets its identity.
    async fn make(&mut self, view: &mut View) -> Result<(), Error> {
        let meta = Meta { store_id: uuid::Uuid::new_v4().to_string(), incarnation: 1, destination: None };
        let first = Commit { writes: vec![Write::Meta(meta.clone())], ..Commit::default() };
        match self.commit(&first, 1).await? {
            Outcome::Committed(revision) => {
                view.apply(revision, Write::Meta(meta));
                Ok(())
            }
            Outcome::Refused { .. } => Err(Error::TermOver("the store could not be made".to_owned())),
        }
    }

    /// A put was refused for its lease: whose it was.
    async fn without_lease(&self, commit: &Commit) -> Result<Outcome, Trouble> {
        let put = commit::put_alive(commit);
        let mut gone = Vec::new();
        for holder in &put {
            if put.len() == 1 || !lease::is_there(&self.link, self.keyspace.lease(holder)).await? {
                gone.push(holder.clone());
            }
        }
        Ok(Outcome::Refused { gone: if gone.is_empty() { put } else { gone } })
    }

    fn tell_ttl(&mut self, whose: &'static str, asked: Duration, granted: i64) {
        let granted = Duration::from_secs(granted.unsigned_abs());
        if granted != asked && self.odd_ttls_told.insert(whose) {
            tracing::warn!(
                "etcd makes the {whose}'s lease last {} s, where {} s were asked: it counts whole seconds, and its least is one \
                 and a half of its election timeout",
                granted.as_secs_f64(),
                asked.as_secs_f64()
            );
        }
    }
}

impl Store for Etcd {
    async fn lead(&mut self) -> Result<View, Error> {
        self.term = None;
        let (lease, leader) = self.win().await?;
        self.load(lease, leader).await
    }

    fn leads(&self) -> bool {
        self.term.is_some() && self.candidacy.as_ref().is_some_and(|candidacy| candidacy.kept.is_held())
    }

    async fn commit(&mut self, commit: &Commit, incarnation: u64) -> Result<Outcome, Error> {
        let Some(term) = &self.term else { return Err(does_not_lead()) };
        let asked = match commit::ask(&self.keyspace, &term.fence, &term.alive, commit, incarnation) {
            Ok(asked) => asked,
            Err(gone) => return Ok(Outcome::Refused { gone }),
        };
        let what = "etcd did not answer a commit, or refused it";
        let answer = match self.transact(asked.txn).await {
            Ok(response) => commit::answer(&response),
            Err(trouble) if trouble.kind == Kind::NoLease => {
                return self.without_lease(commit).await.map_err(|trouble| trouble.into_error(what));
            }
            Err(trouble) => return Err(trouble.into_error(what)),
        };
        let Some(term) = &mut self.term else { return Err(does_not_lead()) };
        match commit::meaning(&term.fence, &asked.alive, &answer) {
            Meaning::Committed => {
                term.fence.seen = answer.at;
                term.fence.head = answer.at.revision;
                commit::learn(&mut term.alive, commit, answer.at.revision);
                Ok(Outcome::Committed(revision_of(answer.at.revision)))
            }
            Meaning::Gone(gone) => Ok(Outcome::Refused { gone }),
            Meaning::Over(why) => Err(Error::TermOver(why)),
        }
    }

    async fn grant(&mut self, holder: &Holder, former: Option<&Holder>) -> Result<(), Error> {
        let (id, seconds) = (self.keyspace.lease(holder), lease_seconds(self.settings.agent_ttl));
        let granted = lease::grant(&self.link, id, seconds).await;
        let granted =
            granted.map_err(|trouble| trouble.into_error("the agent's lease could not be granted"))?;
        if let Some(granted) = granted {
            self.tell_ttl("agent", self.settings.agent_ttl, granted);
        }
        if let Some(former) = former {
            lease::revoke(&self.link, self.keyspace.lease(former)).await;
        }
        Ok(())
    }

    async fn keep_alive(&mut self, holder: &Holder) -> Result<bool, Error> {
        let kept = lease::keep_alive(&self.link, self.keyspace.lease(holder)).await;
        kept.map_err(|trouble| trouble.into_error("the agent's lease could not be extended"))
    }

    async fn revoke(&mut self, holder: &Holder) -> bool {
        lease::revoke(&self.link, self.keyspace.lease(holder)).await
    }

    async fn lease_ended(&mut self) -> Result<Holder, Error> {
        let Some(term) = &mut self.term else { return Err(does_not_lead()) };
        loop {
            if let Some(holder) = term.ended.pop_front() {
                return Ok(holder);
            }
            match term.news.recv().await {
                Some(news) => term.hear(&news)?,
                None => return Err(Error::TermOver("nothing is heard of leases any more".to_owned())),
            }
        }
    }

    async fn resign(&mut self) {
        self.term = None;
        if let Some(candidacy) = self.candidacy.take() {
            lease::revoke(&self.link, candidacy.kept.lease).await;
        }
    }
}

impl Term {
    /// Keeps which keys of agents vanished after this term, or the one before, put them.
    fn hear(&mut self, news: &News) -> Result<(), Error> {
        match news {
            News::Changed { changes, .. } => changes.iter().for_each(|change| match change {
                Change::Deleted { key, revision } => self.vanished(key, *revision),
                Change::Put(_) => {}
            }),
            News::Loaded { loaded, .. } => {
                if loaded.at.cluster != self.fence.seen.cluster
                    || loaded.at.revision < self.fence.seen.revision
                {
                    return Err(Error::TermOver(
                        "etcd was restored from a copy, or is another one".to_owned(),
                    ));
                }
                let absent = self.alive.keys().filter(|key| loaded.pair(key).is_none());
                let absent: Vec<String> = absent.cloned().collect();
                absent.iter().for_each(|key| self.vanished(key, loaded.at.revision));
            }
            News::Silent | News::Resumed { .. } => {}
        }
        Ok(())
    }

    fn vanished(&mut self, key: &str, revision: i64) {
        self.ended.extend(commit::vanished(&mut self.alive, key, revision));
    }
}

/// What was loaded, typed, and the processes that have a key.
fn viewed(loaded: &Loaded) -> Result<(View, Alive), Error> {
    let mut view = View { revision: revision_of(loaded.at.revision), ..View::default() };
    for pair in &loaded.pairs {
        keys::decode(&mut view, &pair.key, &pair.value, revision_of(pair.revision))?;
    }
    let mut alive = Alive::new();
    for (agent, value) in &view.agents {
        let holder = Holder { agent: agent.clone(), incarnation: value.incarnation.clone() };
        let key = commit::agent_key(&holder);
        let revision = loaded.pair(&key).map_or(0, |pair| pair.revision);
        alive.insert(key, (holder, revision));
    }
    Ok((view, alive))
}

fn does_not_lead() -> Error {
    Error::TermOver("this coordinator does not lead".to_owned())
}

#[expect(clippy::disallowed_methods, reason = "the driver draws the randomness of waits")]
async fn pause(range: std::ops::Range<u64>) {
    let wait = Duration::from_millis(rand::rng().random_range(range));
    tokio::time::sleep(wait).await;
}
