//! What a broker remembers of our fetches, so that a request tells it only what has changed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use copyist_model::TopicId;

use super::answer::walk;
use super::{FetchAnswer, FetchLimits, Wanted};
use crate::code::Code;
use crate::error::Error;
use crate::primitive::Writer;
use crate::topic::{PartitionKey, Topic, Topics};
use crate::versions::Api;

/// The first version with sessions (KIP-227).
const SESSIONS_FROM: i16 = 7;
/// The first version that names topics by their id (KIP-516).
const TOPIC_IDS_FROM: i16 = 13;
/// Asks for all partitions, and for a new session.
const FULL: i32 = 0;
/// Asks for all partitions, and no session.
const NO_SESSION: i32 = -1;

/// One session with one broker, over one connection: at most one request of it is under way.
#[derive(Debug)]
pub struct FetchSession {
    version: i16,
    rack: String,
    /// 0: none.
    id: i32,
    /// Of the next request.
    epoch: i32,
    /// What the broker reads for us, as of the last request.
    held: BTreeMap<PartitionKey, Wanted>,
    topics: Topics,
    topic_ids: bool,
    unanswered: bool,
    sessionless: bool,
    /// Without a session nobody but us lets each partition come first at times.
    turn: usize,
}

/// A request's body, and the version that it is written in.
#[derive(Debug, Clone)]
pub struct EncodedFetch {
    pub version: i16,
    pub body: Bytes,
    /// Partitions it names as changed, and as forgotten.
    pub changed: usize,
    pub forgotten: usize,
}

type Change<'w> = (&'w PartitionKey, &'w Wanted);

impl FetchSession {
    /// `version` is the highest that the broker and we speak; `rack` is the client's (KIP-392), or empty.
    #[must_use]
    pub fn new(version: i16, rack: &str) -> Self {
        Self {
            version,
            rack: rack.to_owned(),
            id: 0,
            epoch: FULL,
            held: BTreeMap::new(),
            topics: Topics::default(),
            topic_ids: false,
            unanswered: false,
            sessionless: false,
            turn: 0,
        }
    }

    /// For one request after the other that have nothing to do with each other.
    #[must_use]
    pub fn single(version: i16) -> Self {
        Self { sessionless: true, ..Self::new(version, "") }
    }

    /// The body of the next request, after which the broker reads exactly `wanted`. A request whose answer never came
    /// makes the next one a full one.
    pub fn request(&mut self, wanted: &BTreeMap<PartitionKey, Wanted>, limits: &FetchLimits) -> EncodedFetch {
        let topic_ids =
            self.version >= TOPIC_IDS_FROM && wanted.keys().all(|key| key.topic.id() != TopicId::NONE);
        if self.unanswered || topic_ids != self.topic_ids {
            self.epoch = FULL;
        }
        self.topic_ids = topic_ids;
        let (changed, forgotten) = if self.epoch == FULL {
            (rotated(wanted, self.turn), Vec::new())
        } else {
            (changed(&self.held, wanted), forgotten(&self.held, wanted, topic_ids))
        };
        let request = self.encode(&changed, &forgotten, limits);
        self.hold(wanted, &changed);
        self.unanswered = true;
        request
    }

    /// # Errors
    /// [`Error::Malformed`]; the next request is a full one.
    pub fn answer(&mut self, body: &Bytes) -> Result<FetchAnswer, Error> {
        let walked = walk(body, self.used_version(), &self.topics, self.held.len());
        let (id, answer) = walked.inspect_err(|_| self.epoch = FULL)?;
        self.unanswered = false;
        if answer.code == Code::FETCH_SESSION_ID_NOT_FOUND {
            (self.id, self.epoch) = (0, FULL);
        } else if !answer.code.is_none() {
            // The id stays in the next request: the broker closes that session.
            self.epoch = FULL;
        } else if id == 0 {
            // The broker has no room for a session, or knows none.
            (self.id, self.epoch) = (0, FULL);
            self.turn = self.turn.wrapping_add(1);
        } else {
            self.id = id;
            self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
        }
        Ok(answer)
    }

    /// Partitions that the broker reads for us.
    #[must_use]
    pub fn held(&self) -> &BTreeMap<PartitionKey, Wanted> {
        &self.held
    }

    /// Whether the next request tells differences only.
    #[must_use]
    pub fn is_incremental(&self) -> bool {
        self.epoch != FULL && !self.unanswered
    }

    fn used_version(&self) -> i16 {
        if self.topic_ids { self.version } else { self.version.min(TOPIC_IDS_FROM - 1) }
    }

    fn hold(&mut self, wanted: &BTreeMap<PartitionKey, Wanted>, changed: &[Change<'_>]) {
        let before = self.held.len();
        let added = changed.iter().filter(|(key, _)| !self.held.contains_key(*key)).count();
        if before + added != wanted.len() {
            self.held.retain(|key, _| wanted.contains_key(key));
        }
        for (key, wanted) in changed {
            self.held.insert((*key).clone(), **wanted);
        }
        if added > 0 || before != wanted.len() || self.topics.is_by_id() != self.topic_ids {
            self.topics = Topics::of(self.held.keys(), self.topic_ids);
        }
    }

    fn encode(
        &self,
        changed: &[Change<'_>],
        forgotten: &[&PartitionKey],
        limits: &FetchLimits,
    ) -> EncodedFetch {
        let version = self.used_version();
        let mut bytes = BytesMut::with_capacity(64 + 40 * changed.len() + 8 * forgotten.len());
        let mut writer = Writer { into: &mut bytes, flexible: Api::Fetch.is_flexible(version) };
        if version <= 14 {
            writer.i32(-1);
        }
        writer.i32(i32::try_from(limits.max_wait.as_millis()).unwrap_or(i32::MAX));
        writer.i32(limits.min_bytes);
        writer.i32(limits.max_bytes);
        writer.i8(limits.isolation.wire());
        if version >= SESSIONS_FROM {
            writer.i32(self.id);
            writer.i32(if self.sessionless { NO_SESSION } else { self.epoch });
        }
        let same_topic = |a: &Change<'_>, b: &Change<'_>| a.0.topic == b.0.topic;
        writer.count(changed.chunk_by(same_topic).count());
        for partitions in changed.chunk_by(same_topic) {
            write_topic(&mut writer, version, partitions);
        }
        if version >= SESSIONS_FROM {
            write_forgotten(&mut writer, version, forgotten);
        }
        if version >= 11 {
            writer.string(&self.rack);
        }
        writer.no_tagged();
        EncodedFetch { version, body: bytes.freeze(), changed: changed.len(), forgotten: forgotten.len() }
    }
}

/// All of them, in another order each turn.
fn rotated(wanted: &BTreeMap<PartitionKey, Wanted>, turn: usize) -> Vec<Change<'_>> {
    let mut all: Vec<Change<'_>> = wanted.iter().collect();
    if !all.is_empty() {
        let first = turn % all.len();
        all.rotate_left(first);
    }
    all
}

/// What is new, or to be read from elsewhere. Both maps are in the same order, so one pass tells.
fn changed<'w>(
    held: &BTreeMap<PartitionKey, Wanted>,
    wanted: &'w BTreeMap<PartitionKey, Wanted>,
) -> Vec<Change<'w>> {
    let mut held = held.iter().peekable();
    let is_held = |(key, wanted): &Change<'w>| {
        while held.next_if(|(other, _)| *other < *key).is_some() {}
        held.peek().is_some_and(|(other, as_wanted)| *other == *key && *as_wanted == *wanted)
    };
    let mut is_held = is_held;
    wanted.iter().filter(|change| !is_held(change)).collect()
}

/// What is held and not wanted. Where topics go by name, a topic under a new id is the same entry to the broker: it is
/// changed, not forgotten.
fn forgotten<'h>(
    held: &'h BTreeMap<PartitionKey, Wanted>,
    wanted: &BTreeMap<PartitionKey, Wanted>,
    topic_ids: bool,
) -> Vec<&'h PartitionKey> {
    let mut gone: Vec<&PartitionKey> = held.keys().filter(|key| !wanted.contains_key(*key)).collect();
    if !topic_ids && !gone.is_empty() {
        let names: BTreeSet<_> = wanted.keys().map(|key| (key.topic.name(), key.partition)).collect();
        gone.retain(|key| !names.contains(&(key.topic.name(), key.partition)));
    }
    gone
}

fn write_name(writer: &mut Writer<'_>, version: i16, topic: &Topic) {
    if version >= TOPIC_IDS_FROM {
        writer.topic_id(topic.id());
    } else {
        writer.string(topic.name().as_str());
    }
}

fn write_topic(writer: &mut Writer<'_>, version: i16, partitions: &[Change<'_>]) {
    let Some((first, _)) = partitions.first() else { return };
    write_name(writer, version, &first.topic);
    writer.count(partitions.len());
    for (key, wanted) in partitions {
        writer.i32(key.partition);
        if version >= 9 {
            writer.i32(wanted.current_leader_epoch);
        }
        writer.i64(wanted.offset);
        if version >= 12 {
            writer.i32(wanted.last_fetched_epoch);
        }
        if version >= 5 {
            // Only followers have a log start.
            writer.i64(-1);
        }
        writer.i32(wanted.max_bytes);
        writer.no_tagged();
    }
    writer.no_tagged();
}

fn write_forgotten(writer: &mut Writer<'_>, version: i16, forgotten: &[&PartitionKey]) {
    let same_topic = |a: &&PartitionKey, b: &&PartitionKey| a.topic == b.topic;
    writer.count(forgotten.chunk_by(same_topic).count());
    for partitions in forgotten.chunk_by(same_topic) {
        let Some(first) = partitions.first() else { continue };
        write_name(writer, version, &first.topic);
        writer.count(partitions.len());
        for key in partitions {
            writer.i32(key.partition);
        }
        writer.no_tagged();
    }
}

#[cfg(test)]
mod tests;
