//! Fetch sessions (KIP-227): which partitions a client wants, without saying so each time.

use std::collections::BTreeMap;

use kafka_protocol::messages::FetchRequest;
use uuid::Uuid;

use super::code;

/// How a request names a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TopicKey {
    Name(String),
    Id(Uuid),
}

/// A partition that is wanted.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub topic: TopicKey,
    pub partition: i32,
    pub offset: i64,
    pub max_bytes: i32,
    pub current_leader_epoch: i32,
    pub last_fetched_epoch: i32,
    /// High watermark and log start of the last answer in this session.
    pub told: Option<(i64, i64)>,
}

/// What one request is about.
#[derive(Debug)]
pub(crate) struct Turn {
    /// 0: no session.
    pub id: i32,
    /// Partitions without news are left out of the answer.
    pub incremental: bool,
    /// In the order in which they are served.
    pub wanted: Vec<Wanted>,
}

#[derive(Debug)]
pub(crate) struct Sessions {
    by_id: BTreeMap<i32, Session>,
    next_id: i32,
    max: usize,
}

#[derive(Debug)]
struct Session {
    /// Of the next request.
    epoch: i32,
    wanted: Vec<Wanted>,
}

const NO_SESSION: i32 = 0;
const FIRST_EPOCH: i32 = 0;
const LAST_EPOCH: i32 = -1;

impl Sessions {
    pub fn new(max: usize) -> Sessions {
        Sessions { by_id: BTreeMap::new(), next_id: 1, max }
    }

    /// As after an eviction of every session.
    pub fn clear(&mut self) {
        self.by_id.clear();
    }

    /// Opens, continues or closes a session as the request says. The session's partitions are the caller's until
    /// [`Sessions::end`].
    pub fn begin(&mut self, request: &FetchRequest, version: i16) -> Result<Turn, i16> {
        let asked = wanted_of(request, version);
        match (request.session_id, request.session_epoch) {
            (NO_SESSION, FIRST_EPOCH) if version >= 7 && self.by_id.len() < self.max => {
                let id = self.next_id;
                self.next_id += 1;
                self.by_id.insert(id, Session { epoch: 1, wanted: Vec::new() });
                Ok(Turn { id, incremental: false, wanted: asked })
            }
            (NO_SESSION, _) => Ok(Turn { id: NO_SESSION, incremental: false, wanted: asked }),
            (id, LAST_EPOCH) => {
                self.by_id.remove(&id);
                Ok(Turn { id: NO_SESSION, incremental: false, wanted: asked })
            }
            (id, FIRST_EPOCH) => {
                let session = self.by_id.get_mut(&id).ok_or(code::FETCH_SESSION_ID_NOT_FOUND)?;
                session.epoch = 1;
                Ok(Turn { id, incremental: false, wanted: asked })
            }
            (id, epoch) => {
                let session = self.by_id.get_mut(&id).ok_or(code::FETCH_SESSION_ID_NOT_FOUND)?;
                if epoch != session.epoch {
                    return Err(code::INVALID_FETCH_SESSION_EPOCH);
                }
                session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
                let mut wanted = std::mem::take(&mut session.wanted);
                update(&mut wanted, asked, &forgotten_of(request, version));
                Ok(Turn { id, incremental: true, wanted })
            }
        }
    }

    /// `served`: the partitions that brought records go behind the others.
    pub fn end(&mut self, id: i32, wanted: Vec<Wanted>, served: &[bool]) {
        let Some(session) = self.by_id.get_mut(&id) else { return };
        let with = wanted.into_iter().zip(served.iter().copied().chain(std::iter::repeat(false)));
        let (brought, rest): (Vec<_>, Vec<_>) = with.partition(|(_, served)| *served);
        session.wanted = rest.into_iter().chain(brought).map(|(wanted, _)| wanted).collect();
    }
}

fn update(wanted: &mut Vec<Wanted>, asked: Vec<Wanted>, forgotten: &[(TopicKey, i32)]) {
    wanted.retain(|old| !forgotten.iter().any(|(topic, at)| *topic == old.topic && *at == old.partition));
    for new in asked {
        let same = |old: &&mut Wanted| old.topic == new.topic && old.partition == new.partition;
        match wanted.iter_mut().find(same) {
            Some(old) => *old = Wanted { told: old.told, ..new },
            None => wanted.push(new),
        }
    }
}

fn key(version: i16, name: &str, id: Uuid) -> TopicKey {
    if version >= 13 { TopicKey::Id(id) } else { TopicKey::Name(name.to_owned()) }
}

fn wanted_of(request: &FetchRequest, version: i16) -> Vec<Wanted> {
    let topics = request.topics.iter();
    let partitions = topics.flat_map(|topic| {
        let key = key(version, &topic.topic, topic.topic_id);
        topic.partitions.iter().map(move |partition| Wanted {
            topic: key.clone(),
            partition: partition.partition,
            offset: partition.fetch_offset,
            max_bytes: partition.partition_max_bytes,
            current_leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: if version >= 12 { partition.last_fetched_epoch } else { -1 },
            told: None,
        })
    });
    partitions.collect()
}

fn forgotten_of(request: &FetchRequest, version: i16) -> Vec<(TopicKey, i32)> {
    let topics = request.forgotten_topics_data.iter();
    let partitions = topics.flat_map(|topic| {
        let key = key(version, &topic.topic, topic.topic_id);
        topic.partitions.iter().map(move |partition| (key.clone(), *partition))
    });
    partitions.collect()
}
