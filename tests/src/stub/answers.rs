//! Every request but Produce and Fetch.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
    CreateTopicsResponse, DescribeClusterResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    DescribeProducersRequest, DescribeProducersResponse, FindCoordinatorResponse, InitProducerIdResponse,
    ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse, ProducerId, TopicName,
};
use kafka_protocol::protocol::{Decodable, StrBytes};

use super::api::Api;
use super::body::invalid;
use super::broker::{Broker, locked};
use super::code;
use super::connection::encode;
use super::data::Data;
use super::injection::Action;
use super::reply::Fate;
use super::sessions::TopicKey;
use super::topics::{Kind, Topic, TopicSpec};

const NODE: BrokerId = BrokerId(1);
const HOST: &str = "127.0.0.1";

/// The versions offered, unless the options withhold the API.
pub(crate) fn offered(broker: &Broker, api: Api) -> Option<(i16, i16)> {
    let (min, max) = api.versions();
    let max = broker.options.limits.get(&(api.key() as i16)).map_or(max, |limit| max.min(*limit));
    (min <= max).then_some((min, max))
}

/// A request's circumstances.
pub(crate) struct Asked<'a> {
    pub broker: &'a Broker,
    pub version: i16,
    /// The code that an injection wants in the answer.
    pub error: i16,
    pub fate: &'a mut Fate,
}

/// # Errors
/// `InvalidData` for what cannot be read.
pub(crate) fn answer(asked: &mut Asked<'_>, api: Api, body: Bytes) -> io::Result<Bytes> {
    let version = asked.version;
    match api {
        Api::ApiVersions => api_versions(asked),
        Api::Metadata => encode(&metadata(asked, &read(body, version)?), version),
        Api::ListOffsets => encode(&list_offsets(asked, read(body, version)?), version),
        Api::OffsetForLeaderEpoch => encode(&epoch_ends(asked, read(body, version)?), version),
        Api::DescribeProducers => encode(&describe_producers(asked, read(body, version)?), version),
        Api::InitProducerId => encode(&init_producer_id(asked), version),
        Api::DescribeConfigs => encode(&describe_configs(asked, &read(body, version)?), version),
        Api::CreateTopics => encode(&create_topics(asked, &read(body, version)?)?, version),
        Api::CreatePartitions => encode(&create_partitions(&read(body, version)?), version),
        Api::DescribeCluster => encode(&describe_cluster(asked), version),
        Api::FindCoordinator => encode(&find_coordinator(), version),
        // Served elsewhere.
        Api::Produce | Api::Fetch => Err(invalid()),
    }
}

fn read<T: Decodable>(mut body: Bytes, version: i16) -> io::Result<T> {
    T::decode(&mut body, version).map_err(|_| invalid())
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl Asked<'_> {
    /// The error for a partition: injected for it, injected for the request, or none.
    fn injected(&mut self, api: Api, topic: &str, partition: i32) -> i16 {
        let action = self.broker.injections.take(api, Some((topic, partition)));
        match action.and_then(|action| self.fate.take(action)) {
            Some(Action::Error { code, .. }) => code,
            _ => self.error,
        }
    }

    /// The answer of one partition from what it holds, or the code with which it is refused.
    fn partition<T>(
        &mut self,
        api: Api,
        topic: &str,
        partition: i32,
        look: impl FnOnce(&Data) -> Result<T, i16>,
    ) -> Result<T, i16> {
        let injected = self.injected(api, topic, partition);
        if injected != code::NONE {
            return Err(injected);
        }
        let found = self.broker.topic(&TopicKey::Name(topic.to_owned()));
        let found = found.ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
        let data = found.partition(partition).ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
        look(&locked(data))
    }
}

fn api_versions(asked: &Asked<'_>) -> io::Result<Bytes> {
    let versions = Api::ALL.into_iter().filter_map(|api| {
        let (min, max) = offered(asked.broker, api)?;
        let version = ApiVersion::default().with_api_key(api.key() as i16);
        Some(version.with_min_version(min).with_max_version(max))
    });
    let response = ApiVersionsResponse::default().with_api_keys(versions.collect());
    let (_, max) = offered(asked.broker, Api::ApiVersions).unwrap_or((0, 0));
    if asked.version > max {
        const UNSUPPORTED_VERSION: i16 = 35;
        return encode(&response.with_error_code(UNSUPPORTED_VERSION), 0);
    }
    encode(&response.with_error_code(asked.error), asked.version)
}

fn metadata(asked: &mut Asked<'_>, request: &MetadataRequest) -> MetadataResponse {
    let broker = asked.broker;
    let everything = || broker.topics().by_name.values().map(|topic| known(asked.error, topic)).collect();
    let topics: Vec<MetadataResponseTopic> = match &request.topics {
        None => everything(),
        // Version 0 has no null.
        Some(topics) if topics.is_empty() && asked.version == 0 => everything(),
        Some(topics) => topics
            .iter()
            .map(|topic| match &topic.name {
                Some(name) => described(asked.error, broker, &TopicKey::Name(name.to_string())),
                None => described(asked.error, broker, &TopicKey::Id(topic.topic_id)),
            })
            .collect(),
    };
    let node = MetadataResponseBroker::default().with_node_id(NODE).with_host(text(HOST));
    MetadataResponse::default()
        .with_throttle_time_ms(asked.fate.throttle_ms)
        .with_brokers(vec![node.with_port(i32::from(broker.port))])
        .with_cluster_id(Some(text(&broker.options.cluster_id)))
        .with_controller_id(NODE)
        .with_topics(topics)
}

fn described(error: i16, broker: &Broker, key: &TopicKey) -> MetadataResponseTopic {
    if let Some(topic) = broker.topic(key) {
        return known(error, &topic);
    }
    let unknown = MetadataResponseTopic::default();
    match key {
        TopicKey::Name(name) => {
            unknown.with_error_code(code::UNKNOWN_TOPIC_OR_PARTITION).with_name(Some(TopicName(text(name))))
        }
        TopicKey::Id(id) => {
            unknown.with_error_code(code::UNKNOWN_TOPIC_ID).with_name(None).with_topic_id(*id)
        }
    }
}

fn known(error: i16, topic: &Arc<Topic>) -> MetadataResponseTopic {
    let partitions = topic.partitions.iter().zip(0..).map(|(data, index)| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(NODE)
            .with_leader_epoch(locked(data).leader_epoch())
            .with_replica_nodes(vec![NODE])
            .with_isr_nodes(vec![NODE])
    });
    MetadataResponseTopic::default()
        .with_error_code(error)
        .with_name(Some(TopicName(text(&topic.name))))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect())
}

fn list_offsets(asked: &mut Asked<'_>, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let found = asked.partition(Api::ListOffsets, &topic.name, partition.partition_index, |data| {
                offset_of(data, partition)
            });
            let said =
                ListOffsetsPartitionResponse::default().with_partition_index(partition.partition_index);
            match found {
                Ok((offset, timestamp, epoch)) => {
                    said.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(epoch)
                }
                Err(code) => said.with_error_code(code).with_offset(-1).with_timestamp(-1),
            }
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    let topics = topics.collect();
    ListOffsetsResponse::default().with_topics(topics).with_throttle_time_ms(asked.fate.throttle_ms)
}

/// Offset, timestamp, leader epoch.
fn offset_of(data: &Data, asked: &ListOffsetsPartition) -> Result<(i64, i64, i32), i16> {
    const LATEST: i64 = -1;
    const EARLIEST: i64 = -2;
    const EARLIEST_LOCAL: i64 = -4;
    let error = data.check_epoch(asked.current_leader_epoch);
    if error != code::NONE {
        return Err(error);
    }
    let epoch = data.leader_epoch();
    Ok(match asked.timestamp {
        LATEST => (data.end, -1, epoch),
        EARLIEST | EARLIEST_LOCAL => (data.log_start, -1, epoch),
        timestamp if timestamp >= 0 => {
            data.offset_at(timestamp).map_or((-1, -1, -1), |(offset, timestamp)| (offset, timestamp, epoch))
        }
        _ => (-1, -1, -1),
    })
}

fn epoch_ends(asked: &mut Asked<'_>, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition: &OffsetForLeaderPartition| {
            let api = Api::OffsetForLeaderEpoch;
            let found = asked.partition(api, &topic.topic, partition.partition, |data| {
                let error = data.check_epoch(partition.current_leader_epoch);
                if error == code::NONE { Ok(data.end_of_epoch(partition.leader_epoch)) } else { Err(error) }
            });
            let said = EpochEndOffset::default().with_partition(partition.partition);
            match found {
                Ok((epoch, end)) => said.with_leader_epoch(epoch).with_end_offset(end),
                Err(code) => said.with_error_code(code).with_leader_epoch(-1).with_end_offset(-1),
            }
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult::default().with_topic(topic.topic).with_partitions(partitions)
    });
    let topics = topics.collect();
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}

fn describe_producers(asked: &mut Asked<'_>, request: DescribeProducersRequest) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| {
            let found = asked.partition(Api::DescribeProducers, &topic.name, *index, |data| {
                let states = data.producers.iter().map(|(id, producer)| {
                    ProducerState::default()
                        .with_producer_id(ProducerId(id))
                        .with_producer_epoch(i32::from(producer.epoch))
                        .with_last_sequence(producer.last_sequence)
                        .with_last_timestamp(producer.last_timestamp)
                        .with_coordinator_epoch(-1)
                        .with_current_txn_start_offset(-1)
                });
                Ok(states.collect())
            });
            let said = PartitionResponse::default().with_partition_index(*index);
            match found {
                Ok(states) => said.with_active_producers(states),
                Err(code) => said.with_error_code(code),
            }
        });
        let partitions = partitions.collect();
        TopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    let topics = topics.collect();
    DescribeProducersResponse::default().with_topics(topics)
}

fn init_producer_id(asked: &Asked<'_>) -> InitProducerIdResponse {
    let said = InitProducerIdResponse::default().with_throttle_time_ms(asked.fate.throttle_ms);
    if asked.error != code::NONE {
        return said.with_error_code(asked.error).with_producer_id(ProducerId(-1)).with_producer_epoch(-1);
    }
    said.with_producer_id(ProducerId(asked.broker.new_producer_id())).with_producer_epoch(0)
}

fn describe_configs(asked: &Asked<'_>, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| configs_of(asked, resource));
    DescribeConfigsResponse::default().with_results(results.collect())
}

const OF_TOPICS: [(&str, &str); 7] = [
    ("cleanup.policy", "delete"),
    ("compression.type", "producer"),
    ("message.timestamp.type", "CreateTime"),
    ("message.timestamp.before.max.ms", "9223372036854775807"),
    ("message.timestamp.after.max.ms", "9223372036854775807"),
    ("min.insync.replicas", "1"),
    ("retention.ms", "604800000"),
];
const OF_BROKERS: [(&str, &str); 3] = [
    ("producer.id.expiration.ms", "86400000"),
    ("transactional.id.expiration.ms", "604800000"),
    ("default.replication.factor", "1"),
];

fn configs_of(asked: &Asked<'_>, resource: &DescribeConfigsResource) -> DescribeConfigsResult {
    const TOPIC: i8 = 2;
    const SET_ON_TOPIC: i8 = 1;
    const DEFAULT: i8 = 5;
    let said = DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone());
    if asked.error != code::NONE {
        return said.with_error_code(asked.error);
    }
    let max = asked.broker.options.max_batch_bytes.to_string();
    let mut configs: BTreeMap<&str, (String, i8)> = BTreeMap::new();
    let topic = asked.broker.topic(&TopicKey::Name(resource.resource_name.to_string()));
    if resource.resource_type == TOPIC {
        let Some(topic) = &topic else {
            return said.with_error_code(code::UNKNOWN_TOPIC_OR_PARTITION);
        };
        configs.extend(OF_TOPICS.map(|(name, value)| (name, (value.to_owned(), DEFAULT))));
        configs.insert("max.message.bytes", (max, DEFAULT));
        let own = topic.configs.iter();
        configs.extend(own.map(|(name, value)| (name.as_str(), (value.clone(), SET_ON_TOPIC))));
    } else {
        configs.extend(OF_BROKERS.map(|(name, value)| (name, (value.to_owned(), DEFAULT))));
    }
    let wanted = |name: &str| {
        let keys = resource.configuration_keys.as_ref();
        keys.is_none_or(|keys| keys.iter().any(|key| key.as_str() == name))
    };
    let entries = configs.into_iter().filter(|(name, _)| wanted(name)).map(|(name, (value, source))| {
        let entry = DescribeConfigsResourceResult::default().with_name(text(name));
        entry.with_value(Some(text(&value))).with_config_source(source)
    });
    said.with_configs(entries.collect())
}

fn create_topics(asked: &Asked<'_>, request: &CreateTopicsRequest) -> io::Result<CreateTopicsResponse> {
    let results = request.topics.iter().map(|topic| {
        let error = if asked.error == code::NONE { create(asked, topic, request)? } else { asked.error };
        let said = CreatableTopicResult::default().with_name(topic.name.clone()).with_error_code(error);
        Ok(said.with_num_partitions(-1).with_replication_factor(-1))
    });
    Ok(CreateTopicsResponse::default().with_topics(results.collect::<io::Result<_>>()?))
}

fn create(asked: &Asked<'_>, topic: &CreatableTopic, request: &CreateTopicsRequest) -> io::Result<i16> {
    if asked.broker.topic(&TopicKey::Name(topic.name.to_string())).is_some() {
        return Ok(code::TOPIC_ALREADY_EXISTS);
    }
    // −1: as the broker sees fit.
    let partitions = if topic.num_partitions == -1 { 1 } else { topic.num_partitions };
    let Some(partitions) = u32::try_from(partitions).ok().filter(|count| (1..=100_000).contains(count))
    else {
        return Ok(code::INVALID_PARTITIONS);
    };
    if !request.validate_only {
        let configs = topic.configs.iter();
        let value = |value: &Option<StrBytes>| value.as_ref().map(ToString::to_string).unwrap_or_default();
        let configs = configs.map(|config| (config.name.to_string(), value(&config.value)));
        let spec = TopicSpec::new(&topic.name, partitions, Kind::KEPT);
        asked.broker.create(&spec, configs.collect())?;
    }
    Ok(code::NONE)
}

/// Topics do not grow here.
fn create_partitions(request: &CreatePartitionsRequest) -> CreatePartitionsResponse {
    let refused = |name| {
        CreatePartitionsTopicResult::default().with_name(name).with_error_code(code::INVALID_PARTITIONS)
    };
    let results = request.topics.iter().map(|topic| refused(topic.name.clone()));
    CreatePartitionsResponse::default().with_results(results.collect())
}

fn describe_cluster(asked: &Asked<'_>) -> DescribeClusterResponse {
    let node = DescribeClusterBroker::default().with_broker_id(NODE).with_host(text(HOST));
    DescribeClusterResponse::default()
        .with_error_code(asked.error)
        .with_cluster_id(text(&asked.broker.options.cluster_id))
        .with_controller_id(NODE)
        .with_brokers(vec![node.with_port(i32::from(asked.broker.port))])
}

/// There are no groups and no transactions here.
fn find_coordinator() -> FindCoordinatorResponse {
    FindCoordinatorResponse::default()
        .with_error_code(code::COORDINATOR_NOT_AVAILABLE)
        .with_node_id(BrokerId(-1))
        .with_port(-1)
}
