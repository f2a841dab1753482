//! The words of this crate: topics by name and id, partitions, brokers.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use copyist_model::{TopicId, TopicName};

use crate::error::Error;
use crate::primitive::Reader;

/// A broker's number within its cluster.
pub type BrokerId = i32;

/// A topic under its name and its id ([`TopicId::NONE`] where the cluster has none): another id is another topic.
/// Cheap to clone.
#[derive(Clone)]
pub struct Topic(Arc<Identity>);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    name: TopicName,
    id: TopicId,
}

impl Topic {
    #[must_use]
    pub fn new(name: TopicName, id: TopicId) -> Self {
        Self(Arc::new(Identity { name, id }))
    }

    #[must_use]
    pub fn name(&self) -> &TopicName {
        &self.0.name
    }

    #[must_use]
    pub fn id(&self) -> TopicId {
        self.0.id
    }
}

/// By name, then id. Clones of one value are told equal without a look at the name.
impl Ord for Topic {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for Topic {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Topic {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Topic {}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.name(), self.id())
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().fmt(f)
    }
}

/// One partition of one topic. Orders by topic, so that a map of them is grouped by topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionKey {
    pub topic: Topic,
    pub partition: i32,
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// The topics of one request, to find those of its answer by name or by id.
#[derive(Debug, Clone, Default)]
pub struct Topics {
    sorted: Vec<Topic>,
    by_id: bool,
}

impl Topics {
    /// Of partitions in order.
    pub fn of<'k>(keys: impl Iterator<Item = &'k PartitionKey>, by_id: bool) -> Self {
        let mut sorted: Vec<Topic> = Vec::new();
        for key in keys {
            if sorted.last() != Some(&key.topic) {
                sorted.push(key.topic.clone());
            }
        }
        if by_id {
            sorted.sort_by_key(Topic::id);
        }
        Self { sorted, by_id }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    #[must_use]
    pub fn is_by_id(&self) -> bool {
        self.by_id
    }

    /// Reads which topic is meant, by id or by name as they were sent.
    pub(crate) fn read(&self, reader: &mut Reader<'_>) -> Result<Topic, Error> {
        if self.by_id {
            let id = reader.topic_id()?;
            let found = self.sorted.binary_search_by_key(&id, Topic::id).ok();
            self.found(found).ok_or_else(|| reader.error(format!("topic id {id} was not asked for")))
        } else {
            let name = reader.string()?;
            let found = self.sorted.binary_search_by(|topic| topic.name().as_str().cmp(name)).ok();
            self.found(found).ok_or_else(|| reader.error(format!("topic {name:?} was not asked for")))
        }
    }

    fn found(&self, at: Option<usize>) -> Option<Topic> {
        at.and_then(|at| self.sorted.get(at)).cloned()
    }
}

/// Who leads a partition, in which leader epoch (-1: the broker does not say).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leader {
    pub broker: BrokerId,
    pub epoch: i32,
}

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

impl Endpoint {
    /// A client's `bootstrap.servers`: `host:port` or `[IPv6]:port` separated by commas, with an optional
    /// `PROTOCOL://` before each as Kafka takes it.
    ///
    /// # Errors
    /// Each entry that is none, in one text.
    pub fn parse_list(servers: &str) -> Result<Vec<Self>, String> {
        let entries = servers.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let mut endpoints = Vec::new();
        let mut wrong = Vec::new();
        for entry in entries {
            match Self::parse(entry) {
                Some(endpoint) => endpoints.push(endpoint),
                None => wrong.push(format!("{entry:?} is not host:port")),
            }
        }
        if endpoints.is_empty() && wrong.is_empty() {
            wrong.push("no host:port is given".to_owned());
        }
        if wrong.is_empty() { Ok(endpoints) } else { Err(wrong.join(", ")) }
    }

    fn parse(entry: &str) -> Option<Self> {
        let address = entry.split_once("://").map_or(entry, |(_, address)| address);
        let (host, port) = address.rsplit_once(':')?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let valid = !host.is_empty() && (bare.is_some() || !host.contains([':', '[', ']', '/']));
        let port = port.parse().ok().filter(|port| *port != 0)?;
        valid.then(|| Self { host: bare.unwrap_or(host).to_owned(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, id: u128) -> Topic {
        Topic::new(name.parse().unwrap(), TopicId(id))
    }

    #[test]
    fn topics_order_by_name_then_id_and_are_equal_by_both() {
        assert!(topic("a", 9) < topic("b", 1) && topic("a", 1) < topic("a", 2));
        assert_eq!(topic("a", 1), topic("a", 1));
        assert_ne!(topic("a", 1), topic("a", 2));
        let one = topic("a", 1);
        assert_eq!(one.clone(), one);
        assert_eq!(PartitionKey { topic: one, partition: 3 }.to_string(), "a-3");
    }

    #[test]
    fn servers_are_parsed_and_all_wrong_ones_named() {
        let shown = |servers: &str| {
            Endpoint::parse_list(servers).map(|list| list.iter().map(Endpoint::to_string).collect::<Vec<_>>())
        };
        let rows = [
            ("a:1", vec!["a:1"]),
            (" a:1 , b.c:9092,", vec!["a:1", "b.c:9092"]),
            ("[::1]:5,PLAINTEXT://h:2", vec!["[::1]:5", "h:2"]),
        ];
        for (servers, expected) in rows {
            assert_eq!(shown(servers), Ok(expected.into_iter().map(str::to_owned).collect()), "{servers}");
        }
        for (servers, named) in [
            ("a", vec!["\"a\""]),
            ("a:0", vec!["\"a:0\""]),
            (":1,x:y", vec!["\":1\"", "\"x:y\""]),
            ("::1:5", vec!["\"::1:5\""]),
            ("", vec!["no host:port"]),
            ("a:70000", vec!["a:70000"]),
        ] {
            let error = shown(servers).unwrap_err();
            assert!(named.iter().all(|part| error.contains(part)), "{servers}: {error}");
        }
    }
}
