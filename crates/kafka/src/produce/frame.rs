//! A Produce request as segments: our framing, and between it payloads as they are.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use copyist_model::TopicId;

use super::{BATCH_HEADER_BYTES, OutgoingBatch};
use crate::primitive::Writer;
use crate::topic::{PartitionKey, Topic, Topics};
use crate::versions::Api;

/// The first version that names topics by their id.
const TOPIC_IDS_FROM: i16 = 13;
/// All replicas in sync have it before the broker answers.
const ACKS_ALL: i16 = -1;

/// At most one batch for each partition: the broker takes the last of two and drops the first without a word.
#[derive(Debug, Clone, Default)]
pub struct ProduceFrame {
    batches: BTreeMap<PartitionKey, OutgoingBatch>,
}

/// A request's body as segments, to be written one after the other.
#[derive(Debug)]
pub struct EncodedProduce {
    pub version: i16,
    pub segments: Vec<Bytes>,
    pub body_bytes: usize,
    /// What the answer must tell of.
    pub sent: Sent,
}

/// The partitions of one request.
#[derive(Debug, Clone)]
pub struct Sent {
    pub(super) topics: Topics,
    /// In order.
    pub(super) keys: Vec<PartitionKey>,
}

impl ProduceFrame {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// # Errors
    /// The batch comes back when the partition has one already: it belongs into the next frame.
    pub fn add(&mut self, key: PartitionKey, batch: OutgoingBatch) -> Result<(), OutgoingBatch> {
        match self.batches.entry(key) {
            std::collections::btree_map::Entry::Occupied(_) => Err(batch),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(batch);
                Ok(())
            }
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    #[must_use]
    pub fn contains(&self, key: &PartitionKey) -> bool {
        self.batches.contains_key(key)
    }

    /// Of the batches, headers included.
    #[must_use]
    pub fn batch_bytes(&self) -> usize {
        self.batches.values().map(|batch| BATCH_HEADER_BYTES + batch.payload.len()).sum()
    }

    /// For a broker with which `version` is spoken; topics without an id go by name, in a version that has names.
    /// `timeout` is how long the broker may wait for its replicas.
    #[must_use]
    pub fn encode(self, version: i16, timeout: Duration) -> EncodedProduce {
        let topic_ids =
            version >= TOPIC_IDS_FROM && self.batches.keys().all(|key| key.topic.id() != TopicId::NONE);
        let version = if topic_ids { version } else { version.min(TOPIC_IDS_FROM - 1) };
        let mut framing = Framing::new(version, &self.batches);
        framing.writer().null_string();
        framing.writer().i16(ACKS_ALL);
        framing.writer().i32(i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX));
        let keys: Vec<PartitionKey> = self.batches.keys().cloned().collect();
        let topics = Topics::of(keys.iter(), topic_ids);
        framing.writer().count(topics.len());
        let mut batches = self.batches.into_iter().peekable();
        while let Some((first, _)) = batches.peek() {
            let topic = first.topic.clone();
            let mut of_topic = Vec::new();
            while let Some(batch) = batches.next_if(|(key, _)| key.topic == topic) {
                of_topic.push(batch);
            }
            framing.topic(&topic, of_topic);
        }
        framing.writer().no_tagged();
        let (segments, body_bytes) = framing.finish();
        EncodedProduce { version, segments, body_bytes, sent: Sent { topics, keys } }
    }
}

/// Collects segments. The framing is one allocation, cut where a payload comes between.
struct Framing {
    version: i16,
    buffer: BytesMut,
    segments: Vec<Bytes>,
    bytes: usize,
}

impl Framing {
    fn new(version: i16, batches: &BTreeMap<PartitionKey, OutgoingBatch>) -> Self {
        let names: usize = batches.keys().map(|key| key.topic.name().as_str().len()).sum();
        let room = 64 + names + batches.len() * (BATCH_HEADER_BYTES + 40);
        Self {
            version,
            buffer: BytesMut::with_capacity(room),
            segments: Vec::with_capacity(2 * batches.len() + 1),
            bytes: 0,
        }
    }

    fn writer(&mut self) -> Writer<'_> {
        Writer { into: &mut self.buffer, flexible: Api::Produce.is_flexible(self.version) }
    }

    fn topic(&mut self, topic: &Topic, batches: Vec<(PartitionKey, OutgoingBatch)>) {
        let by_id = self.version >= TOPIC_IDS_FROM;
        let mut writer = self.writer();
        if by_id {
            writer.topic_id(topic.id());
        } else {
            writer.string(topic.name().as_str());
        }
        writer.count(batches.len());
        for (key, batch) in batches {
            let mut writer = self.writer();
            writer.i32(key.partition);
            writer.count(BATCH_HEADER_BYTES + batch.payload.len());
            self.buffer.put_slice(&batch.header);
            self.payload(batch.payload);
            self.writer().no_tagged();
        }
        self.writer().no_tagged();
    }

    fn payload(&mut self, payload: Bytes) {
        self.cut();
        if !payload.is_empty() {
            self.bytes += payload.len();
            self.segments.push(payload);
        }
    }

    fn cut(&mut self) {
        if !self.buffer.is_empty() {
            let framing = self.buffer.split().freeze();
            self.bytes += framing.len();
            self.segments.push(framing);
        }
    }

    fn finish(mut self) -> (Vec<Bytes>, usize) {
        self.cut();
        (self.segments, self.bytes)
    }
}

#[cfg(test)]
mod tests;
