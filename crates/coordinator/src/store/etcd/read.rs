//! Reading a fleet's keys: all of them as of one revision, in pages.

use etcd_client::{GetOptions, GetResponse, KeyValue, ResponseHeader};

use super::keyspace::{Keyspace, Range, Scope};
use super::link::{ASK_LIMIT, Clients, Link};
use super::trouble::{Kind, Trouble};

/// Keys in one answer.
const PAGE: i64 = 1_000;

/// A store that is compacted while it is read is read again, so often.
const LOADS_MAX: u32 = 3;

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    /// As `store::keys` knows it.
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    /// Of its last writing.
    pub(super) revision: i64,
    /// 0: none.
    pub(super) lease: i64,
}

/// Which store, and how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    /// etcd's cluster.
    pub(super) cluster: u64,
    pub(super) revision: i64,
}

/// A scope of the store, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loaded {
    pub(super) at: Position,
    /// The revision of the last commit; 0: there was none.
    pub(super) head: i64,
    /// By key.
    pub(super) pairs: Vec<Pair>,
}

impl Loaded {
    pub(super) fn pair(&self, key: &str) -> Option<&Pair> {
        let at = self.pairs.binary_search_by(|pair| pair.key.as_str().cmp(key)).ok()?;
        self.pairs.get(at)
    }
}

pub(super) fn position(header: Option<&ResponseHeader>) -> Position {
    header.map_or_else(Position::default, |header| Position {
        cluster: header.cluster_id(),
        revision: header.revision(),
    })
}

/// A pair of this fleet; nothing: it is of another one.
pub(super) fn pair(keyspace: &Keyspace, found: &KeyValue) -> Option<Pair> {
    let key = keyspace.own(found.key())?.to_owned();
    let (revision, lease) = (found.mod_revision(), found.lease());
    Some(Pair { key, value: found.value().to_vec(), revision, lease })
}

/// Reads all of a scope as of one revision.
pub(super) async fn load(link: &Link, keyspace: &Keyspace, scope: Scope) -> Result<Loaded, Trouble> {
    let mut tries = 1;
    loop {
        match load_once(link, keyspace, scope).await {
            Err(trouble) if trouble.kind == Kind::Compacted && tries < LOADS_MAX => tries += 1,
            loaded => return loaded,
        }
    }
}

async fn load_once(link: &Link, keyspace: &Keyspace, scope: Scope) -> Result<Loaded, Trouble> {
    let head = get(link, &one(keyspace.head()), GetOptions::new()).await?;
    let at = position(head.header());
    let head = head.kvs().first().map_or(0, KeyValue::mod_revision);
    let mut pairs = Vec::new();
    for range in keyspace.ranges(scope) {
        let mut from = range.from;
        loop {
            let rest = Range { from, to: range.to.clone() };
            let page =
                get(link, &rest, GetOptions::new().with_limit(PAGE).with_revision(at.revision)).await?;
            if position(page.header()).cluster != at.cluster {
                let text = "etcd became another cluster while it was read".to_owned();
                return Err(Trouble::new(Kind::Other, text));
            }
            pairs.extend(page.kvs().iter().filter_map(|found| pair(keyspace, found)));
            let Some(last) = page.kvs().last().filter(|_| page.more()) else { break };
            from = [last.key(), &[0]].concat();
        }
    }
    Ok(Loaded { at, head, pairs })
}

fn one(key: String) -> Range {
    let from = key.into_bytes();
    let to = [from.as_slice(), &[0]].concat();
    Range { from, to }
}

async fn get(link: &Link, range: &Range, options: GetOptions) -> Result<GetResponse, Trouble> {
    let question = |mut clients: Clients| {
        let (from, options) = (range.from.clone(), options.clone().with_range(range.to.clone()));
        async move { clients.kv.get(from, Some(options)).await }
    };
    link.ask_again(ASK_LIMIT, question).await
}
