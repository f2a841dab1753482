//! Follows a fleet's keys: what they are, then each change, over compactions and reconnections.

use etcd_client::{Event, EventType, GetOptions, KeyValue, WatchOptions, WatchResponse, WatchStream};
use std::time::Duration;
use tokio::sync::mpsc;

use super::keyspace::{Keyspace, Scope};
use super::link::{ASK_LIMIT, Connection, Link};
use super::read::{self, Loaded, Pair, Position, pair, position};
use super::trouble::{Kind, Trouble};
use crate::clock::Backoff;
use crate::reports::Reports;

/// News that wait; beyond that, etcd waits.
const NEWS: usize = 64;

/// What a follower is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// All that there is, heard by this connection; what was told before is void.
    Loaded { loaded: Loaded, connection: u64 },
    /// Changes of whole commits, in their order.
    Changed { changes: Vec<Change>, revision: i64 },
    /// Nothing is heard for now.
    Silent,
    /// Changes are heard again, by this connection, and none was missed.
    Resumed { connection: u64 },
}

/// A key's new value, or its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Put(Pair),
    Deleted { key: String, revision: i64 },
}

/// How far a follower has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) at: Position,
    /// The revision of the last commit then.
    pub(super) head: i64,
}

/// The task that follows.
pub(super) struct Feed {
    link: Link,
    keyspace: Keyspace,
    scope: Scope,
    told: Option<Told>,
    news: mpsc::Sender<News>,
}

/// What the store is found to be after a reconnection, as of the revision told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    at: Position,
    head: i64,
}

impl Feed {
    /// Follows from what its follower knows already, if anything.
    pub(super) fn new(
        link: Link,
        keyspace: Keyspace,
        scope: Scope,
        told: Option<Told>,
    ) -> (Self, mpsc::Receiver<News>) {
        let (news, follower) = mpsc::channel(NEWS);
        (Self { link, keyspace, scope, told, news }, follower)
    }

    /// Runs until nobody listens.
    pub(super) async fn run(mut self) {
        let mut reports = Reports::new();
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let news = self.news.clone();
        loop {
            let before = self.told;
            let trouble = tokio::select! {
                () = news.closed() => return,
                trouble = self.follow() => trouble,
            };
            if trouble.kind.is_of_member() {
                tracing::debug!("the watch of etcd ended: {trouble}");
            } else {
                // From where it was told, it cannot go on.
                self.told = None;
                if trouble.kind != Kind::Compacted {
                    reports.failed(&trouble.to_string());
                }
            }
            if self.told.is_some() && self.told != before {
                backoff.reset();
            }
            if self.news.send(News::Silent).await.is_err() {
                return;
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// Follows by one connection; says why no longer.
    async fn follow(&mut self) -> Trouble {
        let connection = match self.link.connection().await {
            Ok(connection) => connection,
            Err(trouble) => return trouble,
        };
        let replaced = self.link.clone();
        tokio::select! {
            biased;
            () = replaced.replaced(connection.number) => Trouble::new(Kind::Member, "connected anew".to_owned()),
            followed = self.follow_by(&connection) => match followed {
                Ok(never) => match never {},
                Err(trouble) => trouble,
            },
        }
    }

    async fn follow_by(&mut self, connection: &Connection) -> Result<std::convert::Infallible, Trouble> {
        let number = connection.number;
        let from = match self.told {
            Some(told) if self.may_go_on(connection, told).await? => {
                self.tell(News::Resumed { connection: number }).await;
                told
            }
            Some(_) | None => {
                let loaded = read::load(&self.link, &self.keyspace, self.scope).await?;
                let told = Told { at: loaded.at, head: loaded.head };
                self.tell(News::Loaded { loaded, connection: number }).await;
                self.told = Some(told);
                told
            }
        };
        let mut stream = self.watch(connection, from.at.revision + 1).await?;
        loop {
            let response = match stream.message().await {
                Ok(Some(response)) => response,
                Ok(None) => return Err(self.broken(connection, "the watch ended")),
                Err(error) => {
                    let trouble = Trouble::of(&connection.endpoint, &error);
                    if trouble.kind.is_of_member() {
                        self.link.complain(number, &trouble);
                    }
                    return Err(trouble);
                }
            };
            self.take(connection, &response).await?;
        }
    }

    async fn may_go_on(&self, connection: &Connection, told: Told) -> Result<bool, Trouble> {
        let (key, options) = (self.keyspace.head(), GetOptions::new().with_revision(told.at.revision));
        let mut client = connection.kv();
        let asked = async move { client.get(key, Some(options)).await };
        let found = match self.link.ask_by(connection, ASK_LIMIT, asked).await {
            Ok(answer) => Ok(Found {
                at: position(answer.header()),
                head: answer.kvs().first().map_or(0, KeyValue::mod_revision),
            }),
            Err(trouble) if matches!(trouble.kind, Kind::Compacted | Kind::Future) => Err(trouble.kind),
            Err(trouble) => return Err(trouble),
        };
        Ok(is_the_same(self.scope, told, found))
    }

    async fn watch(&self, connection: &Connection, from: i64) -> Result<WatchStream, Trouble> {
        let range = self.keyspace.watched(self.scope);
        let options = WatchOptions::new().with_range(range.to).with_start_revision(from);
        let mut client = connection.watch();
        let asked = async move { client.watch(range.from, Some(options)).await };
        self.link.ask_by(connection, ASK_LIMIT, asked).await
    }

    fn broken(&self, connection: &Connection, why: &str) -> Trouble {
        let trouble = Trouble::new(Kind::Member, format!("etcd at {}: {why}", connection.endpoint));
        self.link.complain(connection.number, &trouble);
        trouble
    }

    async fn take(&mut self, connection: &Connection, response: &WatchResponse) -> Result<(), Trouble> {
        if response.canceled() {
            if response.compact_revision() > 0 {
                return Err(Trouble::new(Kind::Compacted, "the watch is behind a compaction".to_owned()));
            }
            return Err(
                self.broken(connection, &format!("the watch was ended: {}", response.cancel_reason()))
            );
        }
        let all = response.events().iter().filter_map(|event| change(&self.keyspace, event));
        let all: Vec<Change> = all.collect();
        let (Some(mut told), Some(revision)) = (self.told, all.iter().map(Change::revision).max()) else {
            return Ok(());
        };
        told.at.revision = revision;
        let heads = all.iter().filter(|change| change.key() == "head").map(Change::revision);
        told.head = heads.max().unwrap_or(told.head);
        let changes = all.into_iter().filter(|change| self.scope.has(change.key())).collect();
        // In this order: what is told twice does no harm, and this may be dropped while it waits.
        self.tell(News::Changed { changes, revision }).await;
        self.told = Some(told);
        Ok(())
    }

    async fn tell(&self, news: News) {
        // Without a listener the task ends by itself.
        drop(self.news.send(news).await);
    }
}

impl Change {
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Put(pair) => &pair.key,
            Self::Deleted { key, .. } => key,
        }
    }

    pub(super) fn revision(&self) -> i64 {
        match self {
            Self::Put(pair) => pair.revision,
            Self::Deleted { revision, .. } => *revision,
        }
    }
}

fn change(keyspace: &Keyspace, event: &Event) -> Option<Change> {
    let pair = pair(keyspace, event.kv()?)?;
    Some(match event.event_type() {
        EventType::Put => Change::Put(pair),
        EventType::Delete => Change::Deleted { key: pair.key, revision: pair.revision },
    })
}

/// Whether the store found after a reconnection is the one of before, with nothing forgotten since: not wiped, not
/// restored from a copy, not compacted beyond what was told.
fn is_the_same(scope: Scope, told: Told, found: Result<Found, Kind>) -> bool {
    let Ok(found) = found else { return false };
    // Who hears of agents alone does not hear of each commit.
    let hears_commits = match scope {
        Scope::All | Scope::Placement => true,
        Scope::Agents => false,
    };
    found.at.cluster == told.at.cluster
        && found.at.revision >= told.at.revision
        && (!hears_commits || found.head == told.head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_goes_on_only_in_the_store_that_it_was_told_of() {
        let at = |cluster, revision| Position { cluster, revision };
        let told = Told { at: at(1, 100), head: 90 };
        let found = |cluster, revision, head| Ok(Found { at: at(cluster, revision), head });
        let table = [
            ("nothing happened", found(1, 100, 90), true, true),
            ("it went on", found(1, 200, 90), true, true),
            ("another cluster", found(2, 200, 90), false, false),
            ("it restarts low", found(1, 99, 90), false, false),
            ("restored, and beyond by now", found(1, 200, 95), false, true),
            ("compacted", Err(Kind::Compacted), false, false),
            ("wiped: that revision is still to come", Err(Kind::Future), false, false),
        ];
        for (what, found, placement, agents) in table {
            assert_eq!(is_the_same(Scope::Placement, told, found), placement, "{what}");
            assert_eq!(is_the_same(Scope::Agents, told, found), agents, "{what}");
        }
    }
}
