//! What a cluster says about itself, and which of two sayings is newer. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;
use copyist_model::{ClusterId, TopicId, TopicName};
use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::protocol::StrBytes;

use crate::code::Code;
use crate::error::Error;
use crate::primitive::Reader;
use crate::topic::{BrokerId, Endpoint, Leader, PartitionKey, Topic};
use crate::versions::Api;

/// A cluster as one of its brokers knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    pub cluster: Option<ClusterId>,
    /// Where to send what changes topics; any broker of a KRaft cluster passes it on.
    pub controller: Option<BrokerId>,
    /// Those that are up.
    pub brokers: BTreeMap<BrokerId, Endpoint>,
    /// Of the topics asked for; one that is not there is missing, or has a code.
    pub topics: BTreeMap<TopicName, TopicMetadata>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMetadata {
    pub topic: Topic,
    pub code: Code,
    /// Kafka's own (`__consumer_offsets`, …).
    pub is_internal: bool,
    pub partitions: BTreeMap<i32, PartitionMetadata>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionMetadata {
    pub code: Code,
    /// Nobody leads it while there is none.
    pub leader: Option<Leader>,
    pub replicas: usize,
}

impl Metadata {
    /// A request for these topics, or all. No topic comes into being by it.
    #[must_use]
    pub fn request<'t>(topics: Option<impl Iterator<Item = &'t TopicName>>) -> MetadataRequest {
        let named = |topic: &TopicName| {
            let name = StrBytes::from_string(topic.as_str().to_owned());
            MetadataRequestTopic::default().with_name(Some(name.into()))
        };
        MetadataRequest::default()
            .with_topics(topics.map(|topics| topics.map(named).collect()))
            .with_allow_auto_topic_creation(false)
    }

    /// # Errors
    /// [`Error::Malformed`], or [`Error::Refused`] for the request as a whole.
    pub fn read(body: &Bytes, version: i16) -> Result<Self, Error> {
        let mut reader = Reader::new(body, "a Metadata answer", Api::Metadata.is_flexible(version));
        reader.i32()?;
        let mut brokers = BTreeMap::new();
        for _ in 0..reader.count(11)? {
            let (id, endpoint) = read_broker(&mut reader)?;
            brokers.insert(id, endpoint);
        }
        let cluster = reader.nullable_string()?.and_then(|id| id.parse().ok());
        let controller = Some(reader.i32()?).filter(|id| *id >= 0);
        let mut topics = BTreeMap::new();
        for _ in 0..reader.count(8)? {
            let read = read_topic(&mut reader, version)?;
            topics.extend(read.map(|topic| (topic.topic.name().clone(), topic)));
        }
        if (8..=10).contains(&version) {
            // What we may do to the cluster: not asked for.
            reader.i32()?;
        }
        if version >= 13 {
            let code = Code(reader.i16()?);
            code.check().map_err(|code| Error::refused("the cluster's metadata", code, None))?;
        }
        reader.skip_tagged()?;
        Ok(Self { cluster, controller, brokers, topics })
    }

    /// Who leads a partition of exactly this topic; of one without an id, of whatever has its name.
    #[must_use]
    pub fn leader(&self, key: &PartitionKey) -> Option<Leader> {
        let is_it = |found: &&TopicMetadata| key.topic.id().is_none() || found.topic.id() == key.topic.id();
        let topic = self.topics.get(key.topic.name()).filter(is_it)?;
        topic.partitions.get(&key.partition)?.leader
    }

    /// The topic of this name as it is now.
    #[must_use]
    pub fn topic(&self, name: &TopicName) -> Option<&TopicMetadata> {
        self.topics.get(name).filter(|topic| topic.code.is_none())
    }

    /// A newer answer in place of this one. A broker may lag behind: of the same topic the leader with the higher epoch
    /// stays (KIP-320), and so do the clones of its name. One that knows of no ids takes none away.
    #[must_use]
    pub fn updated(&self, mut newer: Self) -> Self {
        for (name, topic) in &mut newer.topics {
            let Some(before) = self.topics.get(name).filter(|before| is_same(&before.topic, &topic.topic))
            else {
                continue;
            };
            topic.topic = before.topic.clone();
            for (number, partition) in &mut topic.partitions {
                let known = before.partitions.get(number).and_then(|partition| partition.leader);
                let told = partition.leader.map_or(-1, |leader| leader.epoch);
                if let Some(known) = known.filter(|known| known.epoch > told && told >= 0) {
                    partition.leader = Some(known);
                }
            }
        }
        newer
    }

    /// Takes in what an answer to a fetch or produce says about a leader (KIP-951). False: it is not news.
    pub fn learn(&mut self, key: &PartitionKey, leader: Leader, endpoints: &[(BrokerId, Endpoint)]) -> bool {
        let topic = self.topics.get_mut(key.topic.name()).filter(|found| found.topic == key.topic);
        let Some(partition) = topic.and_then(|topic| topic.partitions.get_mut(&key.partition)) else {
            return false;
        };
        let reachable =
            self.brokers.contains_key(&leader.broker) || endpoints.iter().any(|(id, _)| *id == leader.broker);
        if !reachable || partition.leader.is_some_and(|known| known.epoch >= leader.epoch) {
            return false;
        }
        partition.leader = Some(leader);
        self.brokers.extend(endpoints.iter().cloned());
        true
    }
}

fn is_same(before: &Topic, told: &Topic) -> bool {
    before == told || told.id().is_none()
}

fn read_broker(reader: &mut Reader<'_>) -> Result<(BrokerId, Endpoint), Error> {
    let id = reader.i32()?;
    let host = reader.string()?.to_owned();
    let port = reader.i32()?;
    let port = u16::try_from(port).map_err(|_| reader.error(format!("port {port}")))?;
    reader.nullable_string()?;
    reader.skip_tagged()?;
    Ok((id, Endpoint { host, port }))
}

/// Nothing for a topic whose name cannot be one, or that was asked for by an id unknown to the broker.
fn read_topic(reader: &mut Reader<'_>, version: i16) -> Result<Option<TopicMetadata>, Error> {
    let code = Code(reader.i16()?);
    let name: Option<TopicName> = reader.nullable_string()?.and_then(|name| name.parse().ok());
    let id = if version >= 10 { reader.topic_id()? } else { TopicId::NONE };
    let is_internal = reader.bool()?;
    let mut partitions = BTreeMap::new();
    for _ in 0..reader.count(20)? {
        let (number, partition) = read_partition(reader)?;
        partitions.insert(number, partition);
    }
    if version >= 8 {
        // What we may do to the topic: not asked for.
        reader.i32()?;
    }
    reader.skip_tagged()?;
    Ok(name.map(|name| TopicMetadata { topic: Topic::new(name, id), code, is_internal, partitions }))
}

fn read_partition(reader: &mut Reader<'_>) -> Result<(i32, PartitionMetadata), Error> {
    let code = Code(reader.i16()?);
    let number = reader.i32()?;
    let leader = Leader { broker: reader.i32()?, epoch: reader.i32()? };
    let replicas = skip_ids(reader)?;
    // In sync, and offline.
    skip_ids(reader)?;
    skip_ids(reader)?;
    reader.skip_tagged()?;
    let leader = (leader.broker >= 0).then_some(leader);
    Ok((number, PartitionMetadata { code, leader, replicas }))
}

fn skip_ids(reader: &mut Reader<'_>) -> Result<usize, Error> {
    let count = reader.count(4)?;
    for _ in 0..count {
        reader.i32()?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
