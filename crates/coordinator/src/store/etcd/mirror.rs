//! What the store holds, as any replica knows it: fed by a watch, without what only a leader needs. One task owns it.

use std::collections::BTreeMap;
use std::time::Duration;

use copyist_model::{AssignmentEpoch, AssignmentId};
use copyist_proto::store;
use prost::Message as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::feed::{Change, News};
use super::read::{Loaded, Pair, Position};
use super::{Leader, revision_of};
use crate::core::{Holder, View};
use crate::error::Error;
use crate::store::keys;

/// Questions that wait until the mirror is far enough, and as many again to be looked at; beyond that, who asks waits.
const QUESTIONS: usize = 1024;

/// How often it is looked for who asked and waits no more.
const FORGET_INTERVAL: Duration = Duration::from_secs(1);

/// How long the last known leader counts while nothing is heard.
const LEADER_COUNTS: Duration = Duration::from_secs(3);

/// What a process holds.
pub(super) type Held = BTreeMap<AssignmentId, AssignmentEpoch>;

/// How far the mirror must have come to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) at: Position,
    /// It must have been heard by this connection, or a later one: what was known by an earlier one may be of a store
    /// that is no more.
    pub(super) connection: u64,
}

/// A question to the mirror. It is answered once the mirror is far enough; who asks has a deadline.
#[derive(Debug)]
pub(super) enum Question {
    View(Need, oneshot::Sender<Result<View, Error>>),
    Held(Need, Holder, oneshot::Sender<Result<Held, Error>>),
}

/// By which the mirror is asked.
#[derive(Debug, Clone)]
pub(super) struct Mirrored {
    pub(super) questions: mpsc::Sender<Question>,
    pub(super) leader: watch::Receiver<Leader>,
    /// How far it is.
    pub(super) at: watch::Receiver<Position>,
}

/// The task that owns the mirror.
pub(super) struct Mirror {
    known: Known,
    /// The connection that it is heard by; 0: it is not.
    connection: u64,
    /// The incarnation of this process.
    incarnation: String,
    waiting: Vec<Question>,
    questions: mpsc::Receiver<Question>,
    leader: watch::Sender<Leader>,
    at: watch::Sender<Position>,
}

/// What is known, by all that was told. Pure.
#[derive(Debug, Default)]
struct Known {
    view: View,
    at: Position,
    /// Who leads, by the leader's key.
    leader: Option<store::Leader>,
    /// Keys that cannot be read, and why.
    unreadable: BTreeMap<String, String>,
}

pub(super) fn mirror(incarnation: String) -> (Mirrored, Mirror) {
    let (sender, questions) = mpsc::channel(QUESTIONS);
    let (leader, leading) = watch::channel(Leader::Unknown);
    let (at, far) = watch::channel(Position::default());
    let known = Known::default();
    let mirror = Mirror { known, connection: 0, incarnation, waiting: Vec::new(), questions, leader, at };
    (Mirrored { questions: sender, leader: leading, at: far }, mirror)
}

impl Mirror {
    /// Runs until told to stop.
    pub(super) async fn run(mut self, mut news: mpsc::Receiver<News>, stop: CancellationToken) {
        let mut silent_since: Option<Instant> = None;
        loop {
            let stale = silent_since.map(|since| since + LEADER_COUNTS);
            tokio::select! {
                // What is new comes before what is asked.
                biased;
                () = stop.cancelled() => return,
                Some(told) = news.recv() => {
                    let was_silent = self.connection == 0;
                    self.take(told);
                    if self.connection != 0 {
                        silent_since = None;
                        self.publish();
                    } else if !was_silent {
                        silent_since = Some(Instant::now());
                    }
                }
                () = at_instant(stale) => {
                    silent_since = None;
                    self.tell_leader(Leader::Unknown);
                }
                Some(question) = self.questions.recv(), if self.waiting.len() < QUESTIONS => {
                    self.waiting.push(question);
                }
                // Who waits no more makes room.
                () = tokio::time::sleep(FORGET_INTERVAL), if !self.waiting.is_empty() => {}
            }
            self.answer();
        }
    }

    fn take(&mut self, news: News) {
        match news {
            News::Loaded { loaded, connection } => {
                self.known = Known::load(&loaded);
                self.connection = connection;
            }
            News::Changed { changes, revision } => self.known.change(&changes, revision),
            News::Silent => self.connection = 0,
            News::Resumed { connection } => self.connection = connection,
        }
    }

    fn publish(&self) {
        self.at.send_replace(self.known.at);
        self.tell_leader(match &self.known.leader {
            None => Leader::Nobody,
            Some(leader) if leader.incarnation == self.incarnation => Leader::Ours,
            Some(leader) => Leader::Other(leader.address.clone()),
        });
    }

    fn tell_leader(&self, leader: Leader) {
        self.leader.send_if_modified(|told| {
            let is_new = *told != leader;
            *told = leader;
            is_new
        });
    }

    /// Answers who has waited long enough, and forgets who waits no more.
    fn answer(&mut self) {
        for question in std::mem::take(&mut self.waiting) {
            match question {
                Question::View(_, reply) if reply.is_closed() => {}
                Question::Held(_, _, reply) if reply.is_closed() => {}
                // Whoever asked may have gone away meanwhile.
                Question::View(need, reply) if self.meets(&need) => drop(reply.send(self.known.view())),
                Question::Held(need, holder, reply) if self.meets(&need) => {
                    drop(reply.send(self.known.held(&holder)));
                }
                waiting @ (Question::View(..) | Question::Held(..)) => self.waiting.push(waiting),
            }
        }
    }

    fn meets(&self, need: &Need) -> bool {
        self.connection >= need.connection
            && self.known.at.cluster == need.at.cluster
            && self.known.at.revision >= need.at.revision
    }
}

async fn at_instant(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Known {
    fn load(loaded: &Loaded) -> Self {
        let mut known = Self { at: loaded.at, ..Self::default() };
        known.view.revision = revision_of(loaded.at.revision);
        loaded.pairs.iter().for_each(|pair| known.put(pair));
        known
    }

    fn change(&mut self, changes: &[Change], revision: i64) {
        for change in changes {
            match change {
                Change::Put(pair) => self.put(pair),
                Change::Deleted { key, .. } => self.remove(key),
            }
        }
        self.at.revision = self.at.revision.max(revision);
        self.view.revision = revision_of(self.at.revision);
    }

    fn put(&mut self, pair: &Pair) {
        let Pair { key, value, revision, .. } = pair;
        self.unreadable.remove(key);
        if key == "leader" {
            // Whoever it is, somebody leads.
            self.leader = Some(store::Leader::decode(value.as_slice()).unwrap_or_default());
            return;
        }
        if let Err(error) = keys::decode(&mut self.view, key, value, revision_of(*revision)) {
            // What was there before is not there any more.
            self.remove(key);
            self.unreadable.insert(key.clone(), error.to_string());
        }
    }

    fn remove(&mut self, key: &str) {
        self.unreadable.remove(key);
        if key == "leader" {
            self.leader = None;
        } else if let Err(error) = keys::remove(&mut self.view, key) {
            self.unreadable.insert(key.to_owned(), error.to_string());
        }
    }

    fn view(&self) -> Result<View, Error> {
        match self.unreadable.values().next() {
            None => Ok(self.view.clone()),
            Some(why) => Err(Error::StoreUnreadable(why.clone())),
        }
    }

    /// A right is confirmed only by one who can read all assignments.
    fn held(&self, holder: &Holder) -> Result<Held, Error> {
        match self.unreadable.iter().find(|(key, _)| key.starts_with("assignments/")) {
            None => Ok(self.view.held_by(holder)),
            Some((_, why)) => Err(Error::StoreUnreadable(why.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use copyist_model::StoreRevision;

    use crate::core::Write;
    use crate::core::view::{Assignment, Meta};

    const AT: Position = Position { cluster: 7, revision: 10 };

    fn holder() -> Holder {
        Holder { agent: "a:1".parse().unwrap(), incarnation: "i".into() }
    }

    fn survey(name: &str) -> AssignmentId {
        AssignmentId::survey(&name.parse().unwrap())
    }

    fn pair(write: &Write, revision: i64) -> Pair {
        let (key, value) = keys::encode(write, 1);
        Pair { key, value: value.unwrap(), revision, lease: 0 }
    }

    fn assigned(name: &str, revision: i64) -> Pair {
        let assignment = Assignment {
            holder: holder(),
            epoch: AssignmentEpoch::default(),
            former: Vec::new(),
            pinned: false,
        };
        pair(&Write::Assignment(survey(name), Some(assignment)), revision)
    }

    fn loaded() -> Loaded {
        let meta = pair(&Write::Meta(Meta { store_id: "s".into(), incarnation: 1, destination: None }), 2);
        Loaded { at: AT, head: 9, pairs: vec![meta, assigned("c", 9)] }
    }

    fn question(revision: i64, connection: u64) -> (Question, oneshot::Receiver<Result<Held, Error>>) {
        let (reply, answer) = oneshot::channel();
        (Question::Held(Need { at: Position { revision, ..AT }, connection }, holder(), reply), answer)
    }

    #[test]
    fn a_question_is_answered_once_the_mirror_is_as_far_by_a_connection_as_new() {
        let (_mirrored, mut mirror) = mirror("me".into());
        let (early, mut answer) = question(12, 2);
        mirror.waiting.push(early);
        mirror.take(News::Loaded { loaded: loaded(), connection: 1 });
        mirror.answer();
        assert!(answer.try_recv().is_err(), "not as far");
        mirror.take(News::Changed { changes: vec![Change::Put(assigned("d", 12))], revision: 12 });
        mirror.answer();
        assert!(answer.try_recv().is_err(), "as far, by an older connection");
        mirror.take(News::Silent);
        mirror.take(News::Resumed { connection: 2 });
        mirror.answer();
        let held = answer.try_recv().unwrap().unwrap();
        assert_eq!(held.keys().collect::<Vec<_>>(), [&survey("c"), &survey("d")]);
        assert_eq!(held[&survey("d")].revision, StoreRevision(12));
        let (other, mut answer) = question(12, 2);
        mirror.take(News::Loaded {
            loaded: Loaded { at: Position { cluster: 8, revision: 50 }, ..loaded() },
            connection: 3,
        });
        mirror.waiting.push(other);
        mirror.answer();
        assert!(answer.try_recv().is_err(), "another cluster's revisions say nothing");
        drop(answer);
        mirror.answer();
        assert!(mirror.waiting.is_empty(), "who waits no more is forgotten");
    }

    #[test]
    fn who_leads_is_told_by_the_leaders_key() {
        let (mirrored, mut mirror) = mirror("me".into());
        let mut told = Vec::new();
        let leader = |address: &str, incarnation: &str| {
            let leader =
                store::Leader { format_version: 1, address: address.into(), incarnation: incarnation.into() };
            Change::Put(Pair { key: "leader".into(), value: leader.encode_to_vec(), revision: 11, lease: 5 })
        };
        mirror.take(News::Loaded { loaded: loaded(), connection: 1 });
        for change in [
            None,
            Some(leader("x:1", "other")),
            Some(leader("y:1", "me")),
            Some(Change::Deleted { key: "leader".into(), revision: 12 }),
        ] {
            let changes = change.into_iter().collect();
            mirror.take(News::Changed { changes, revision: 11 });
            mirror.publish();
            told.push(mirrored.leader.borrow().clone());
        }
        assert_eq!(told, [Leader::Nobody, Leader::Other("x:1".into()), Leader::Ours, Leader::Nobody]);
    }

    #[test]
    fn what_cannot_be_read_is_said_to_whom_it_concerns_until_it_is_written_anew() {
        let mut known = Known::load(&loaded());
        let newer = Pair { value: vec![8, 2], ..assigned("c", 12) };
        known.change(&[Change::Put(newer)], 12);
        assert!(known.view().unwrap_err().to_string().contains("assignments/c/survey"));
        assert!(known.held(&holder()).is_err());
        known.change(&[Change::Put(assigned("c", 13))], 13);
        assert_eq!(known.held(&holder()).unwrap()[&survey("c")].revision, StoreRevision(13));
        let status = Pair { key: "status/c/connector".into(), value: vec![8, 2], revision: 14, lease: 0 };
        known.change(&[Change::Put(status)], 14);
        assert!(known.view().is_err() && known.held(&holder()).is_ok());
        known.change(&[Change::Deleted { key: "status/c/connector".into(), revision: 15 }], 15);
        assert_eq!(known.view().unwrap().revision, StoreRevision(15));
    }
}
