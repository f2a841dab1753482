//! What every replica can do, whether it leads or not: say who leads, read, and extend rights.

use std::time::Duration;

use copyist_proto::store;
use etcd_client::{KeyValue, Txn, TxnOp, TxnOpResponse, TxnResponse};
use prost::Message as _;
use tokio::sync::{oneshot, watch};

use super::keyspace::Keyspace;
use super::link::{ASK_LIMIT, Connection, Link};
use super::mirror::{Held, Mirrored, Need, Question};
use super::read::{Position, position};
use super::trouble::{Kind, Trouble};
use super::{Leader, lease};
use crate::core::{Holder, View};
use crate::error::Error;

/// How long a question may take altogether.
const LIMIT: Duration = Duration::from_secs(8);

/// A connection whose watch is behind for so long does not do.
const BEHIND_LIMIT: Duration = Duration::from_millis(2_500);

const NOT_READ: &str = "the store could not be read";
const NOT_RENEWED: &str = "the lease could not be renewed";

/// What became of a renewal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewed {
    /// The lease was extended; this is what the process held after that.
    Held(Held),
    /// The lease was extended, and the process has no key: it gives no right to anything.
    NotYet,
    /// There is no lease any more.
    Lost,
}

/// What every replica can do. Cheap to clone.
#[derive(Clone)]
pub struct Replica {
    link: Link,
    keyspace: Keyspace,
    mirrored: Mirrored,
}

/// What was read of etcd just now.
struct Fresh {
    at: Position,
    /// The revision of the last commit.
    head: i64,
    /// The value of the agent's key.
    agent: Option<Vec<u8>>,
}

impl Replica {
    pub(super) fn new(link: Link, keyspace: Keyspace, mirrored: Mirrored) -> Self {
        Self { link, keyspace, mirrored }
    }

    /// Who leads, as far as this replica knows.
    #[must_use]
    pub fn leader(&self) -> watch::Receiver<Leader> {
        self.mirrored.leader.clone()
    }

    /// What the store holds after all commits that were answered before, without lane records and answers to requests.
    ///
    /// # Errors
    /// [`Error::Store`] when etcd cannot be reached; [`Error::StoreUnreadable`] when a newer version wrote it.
    pub async fn view(&self) -> Result<View, Error> {
        self.within(NOT_READ, self.view_now()).await
    }

    /// Extends the lease of a process and then reads what it holds, in this order: what was taken from it before is not
    /// in the answer.
    ///
    /// # Errors
    /// As [`Replica::view`]; nothing is known of the lease then.
    pub async fn renew(&self, holder: &Holder) -> Result<Renewed, Error> {
        self.within(NOT_RENEWED, self.renew_now(holder)).await
    }

    async fn within<T>(&self, what: &str, asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        match tokio::time::timeout(LIMIT, asked).await {
            Ok(answer) => answer,
            Err(_) => {
                let text = format!("etcd gave no answer within {} s", LIMIT.as_secs());
                Err(Trouble::new(Kind::Member, text).into_error(what))
            }
        }
    }

    async fn view_now(&self) -> Result<View, Error> {
        let (need, _) = self.fresh(None).await.map_err(|trouble| trouble.into_error(NOT_READ))?;
        let (reply, answer) = oneshot::channel();
        self.ask(need, Question::View(need, reply), answer).await
    }

    async fn renew_now(&self, holder: &Holder) -> Result<Renewed, Error> {
        let failed = |trouble: Trouble| trouble.into_error(NOT_RENEWED);
        if !lease::keep_alive(&self.link, self.keyspace.lease(holder)).await.map_err(failed)? {
            return Ok(Renewed::Lost);
        }
        let (need, agent) = self.fresh(Some(holder)).await.map_err(failed)?;
        if !is_key_of(holder, agent.as_deref()) {
            return Ok(Renewed::NotYet);
        }
        let (reply, answer) = oneshot::channel();
        self.ask(need, Question::Held(need, holder.clone(), reply), answer).await.map(Renewed::Held)
    }

    /// Reads the value of the agent's key, and says how far the mirror must be.
    async fn fresh(&self, holder: Option<&Holder>) -> Result<(Need, Option<Vec<u8>>), Trouble> {
        let connection = self.link.connection_soon().await?;
        let before = *self.mirrored.at.borrow();
        let fresh = self.read(&connection, holder).await?;
        let mut need = Need {
            at: Position { cluster: fresh.at.cluster, revision: fresh.head },
            connection: connection.number,
        };
        if is_another_store(before, fresh.at) {
            // The mirror shall look again at which store it is.
            let text = "etcd was restored from a copy, or is another one".to_owned();
            self.link.complain(connection.number, &Trouble::new(Kind::Member, text));
            need.connection += 1;
        }
        Ok((need, fresh.agent))
    }

    async fn read(&self, connection: &Connection, holder: Option<&Holder>) -> Result<Fresh, Trouble> {
        let mut gets = vec![TxnOp::get(self.keyspace.head(), None)];
        gets.extend(holder.map(|holder| TxnOp::get(self.keyspace.agent(&holder.agent), None)));
        let mut client = connection.kv();
        let asked = async move { client.txn(Txn::new().and_then(gets)).await };
        let answer = self.link.ask_by(connection, ASK_LIMIT, asked).await?;
        let head = found(&answer, 0).map_or(0, |head| head.mod_revision());
        let agent = found(&answer, 1).map(|agent| agent.value().to_vec());
        Ok(Fresh { at: position(answer.header()), head, agent })
    }

    async fn ask<T>(
        &self,
        need: Need,
        question: Question,
        answer: oneshot::Receiver<Result<T, Error>>,
    ) -> Result<T, Error> {
        let stopping = || Trouble::stopping().into_error(NOT_READ);
        self.mirrored.questions.send(question).await.map_err(|_| stopping())?;
        let waiting = std::pin::pin!(answer);
        match tokio::time::timeout(BEHIND_LIMIT, waiting).await {
            Ok(answered) => answered.map_err(|_| stopping())?,
            Err(_) => {
                // Its watch does not tell what a question tells: another one may.
                let text = "what was last stored is not heard of yet".to_owned();
                let trouble = Trouble::new(Kind::Member, text);
                self.link.complain(need.connection, &trouble);
                Err(trouble.into_error(NOT_READ))
            }
        }
    }
}

fn found(answer: &TxnResponse, at: usize) -> Option<KeyValue> {
    match answer.op_responses().into_iter().nth(at)? {
        TxnOpResponse::Get(mut got) => got.take_kvs().into_iter().next(),
        TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
    }
}

/// Whether etcd, asked after it had told of `before`, is not the one that told so.
fn is_another_store(before: Position, now: Position) -> bool {
    before != Position::default() && (now.cluster != before.cluster || now.revision < before.revision)
}

/// Whether the value of an agent's key is that of this process.
fn is_key_of(holder: &Holder, value: Option<&[u8]>) -> bool {
    let agent = value.and_then(|value| store::Agent::decode(value).ok());
    agent.is_some_and(|agent| agent.incarnation == holder.incarnation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_store_is_known_by_its_cluster_or_by_revisions_that_restart_low() {
        let at = |cluster, revision| Position { cluster, revision };
        let table = [
            (Position::default(), at(1, 5), false),
            (at(1, 5), at(1, 5), false),
            (at(1, 5), at(1, 9), false),
            (at(1, 5), at(1, 4), true),
            (at(1, 5), at(2, 9), true),
        ];
        for (before, now, expected) in table {
            assert_eq!(is_another_store(before, now), expected, "{before:?} {now:?}");
        }
    }

    #[test]
    fn a_key_is_of_the_process_that_its_value_names() {
        let holder = Holder { agent: "a:1".parse().unwrap(), incarnation: "i".into() };
        let value = |incarnation: &str| {
            store::Agent { format_version: 1, incarnation: incarnation.into(), ..Default::default() }
                .encode_to_vec()
        };
        assert!(is_key_of(&holder, Some(&value("i"))));
        assert!(!is_key_of(&holder, Some(&value("j"))) && !is_key_of(&holder, None));
        assert!(!is_key_of(&holder, Some(&[0xff])));
    }
}
