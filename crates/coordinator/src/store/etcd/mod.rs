//! The store on etcd, for several replicas, of which one leads.
//!
//! Start with [`Settings`] and [`open`]. [`Etcd`] is what a leader needs ([`Store`](super::Store)), [`Replica`] what every
//! replica can do. One task owns the connection (`link`), one the mirror of what is stored (`mirror`), fed by a watch
//! (`feed`). What a commit compares, and why, is in `commit`.

mod commit;
mod feed;
mod keyspace;
mod leading;
mod lease;
mod link;
mod mirror;
mod read;
mod replica;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use copyist_model::StoreRevision;
use tokio_util::sync::CancellationToken;

pub use leading::Etcd;
pub use replica::{Renewed, Replica};

use feed::Feed;
use keyspace::{Keyspace, Scope};

/// Where etcd is, and what is this fleet's and this process's own there.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `http://host:port` or `https://host:port` of each member.
    pub endpoints: Vec<String>,
    /// What the keys of the fleet begin with, without a slash at the end.
    pub prefix: String,
    pub user: Option<Credentials>,
    /// For members at `https://`.
    pub tls: Option<Tls>,
    /// How long a leader leads without a word; whole seconds, as etcd counts them.
    pub leader_ttl: Duration,
    /// How long an agent's lease lasts; whole seconds.
    pub agent_ttl: Duration,
    /// Where this process is reached: what the leader's key says.
    pub address: String,
    /// Tells this process from all others.
    pub incarnation: String,
}

/// A user of etcd.
#[derive(Clone)]
pub struct Credentials {
    pub name: String,
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How members are trusted, and how they know us. PEM texts.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Certificates of the authorities that sign the members' certificates.
    pub ca: String,
    /// Our own.
    pub identity: Option<Identity>,
}

/// A certificate with its key. PEM texts.
#[derive(Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leader {
    /// etcd was not reached yet, or not for some seconds.
    Unknown,
    Nobody,
    /// This process.
    Ours,
    /// Another one, at this address.
    Other(String),
}

/// The store, what every replica can do, and the tasks that both need: they end once `stop` is cancelled. It never fails:
/// etcd may come later.
pub fn open(
    settings: Settings,
    stop: CancellationToken,
) -> (Etcd, Replica, impl Future<Output = ()> + Send + 'static) {
    let settings = Arc::new(settings);
    let keyspace = Keyspace::new(&settings.prefix);
    let (link, connecting) = link::link(Arc::clone(&settings), keyspace.clone());
    let (mirrored, mirror) = mirror::mirror(settings.incarnation.clone());
    let (feed, news) = Feed::new(link.clone(), keyspace.clone(), Scope::Placement, None);
    let replica = Replica::new(link.clone(), keyspace.clone(), mirrored.clone());
    let store = Etcd::new(settings, link, keyspace, mirrored.leader);
    let tasks = async move {
        // The feed ends with the mirror, which listens to it.
        tokio::join!(connecting.run(stop.clone()), mirror.run(news, stop), feed.run());
    };
    (store, replica, tasks)
}

/// etcd's revisions are positive.
fn revision_of(revision: i64) -> StoreRevision {
    StoreRevision(revision.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Holder;
    use crate::store::Store as _;

    fn settings() -> Settings {
        Settings {
            endpoints: vec!["http://127.0.0.1:1".into()],
            prefix: "p".into(),
            user: Some(Credentials { name: "u".into(), password: "secret".into() }),
            tls: Some(Tls {
                ca: "ca".into(),
                identity: Some(Identity { certificate: "c".into(), key: "secret".into() }),
            }),
            leader_ttl: Duration::from_secs(3),
            agent_ttl: Duration::from_secs(10),
            address: "a:1".into(),
            incarnation: "i".into(),
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", settings());
        assert!(!shown.contains("secret") && shown.contains("name: \"u\""), "{shown}");
    }

    /// They live on the stacks of who waits for them, within others.
    #[test]
    fn what_is_waited_for_is_small() {
        let (mut store, replica, _tasks) = open(settings(), CancellationToken::new());
        let holder = Holder { agent: "a:1".parse().unwrap(), incarnation: "i".into() };
        let lead = size_of_val(&store.lead());
        let commit = size_of_val(&store.commit(&crate::core::Commit::default(), 1));
        let (renew, view) = (size_of_val(&replica.renew(&holder)), size_of_val(&replica.view()));
        let sizes = [("lead", lead), ("commit", commit), ("renew", renew), ("view", view)];
        for (what, bytes) in sizes {
            assert!(bytes < 8 * 1024, "{what} takes {bytes} bytes");
        }
    }
}
