//! What a survey asks a cluster to tell about topics' configs, and to change, through librdkafka.

use std::collections::BTreeMap;
use std::time::Duration;

use copyist_kafka::admin::requests;
use copyist_model::TopicName;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigEntry, ConfigSource, NewPartitions, NewTopic, OwnedResourceSpecifier,
    ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::{Librdkafka, OffThread};
use crate::error::Error;
use crate::survey::blueprint::Blueprint;
use crate::survey::cluster::{Answers, Mode};
use crate::survey::configs::Configs;

const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// How long the controller may take to carry out what it was asked for.
const OPERATION_DEADLINE: Duration = Duration::from_secs(15);
/// Topics in one request: its answer stays below a few hundred kilobytes.
const TOPICS_PER_REQUEST_MAX: usize = 100;

impl Librdkafka {
    async fn admin(&self) -> Result<&AdminClient<DefaultClientContext>, Error> {
        let made = self.admin.get_or_try_init(|| async { self.config.create().map(OffThread::new) }).await;
        made.map(OffThread::get).map_err(|error| self.place.librdkafka_error(&error))
    }

    /// The configs set on each topic itself (`DYNAMIC_TOPIC_CONFIG`), without secrets. A topic that may not be
    /// described, or that is gone, is missing from the answer. Nothing: no broker before Kafka 0.11 tells configs.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn configs_of(
        &self,
        topics: &[&TopicName],
    ) -> Result<Option<BTreeMap<TopicName, Configs>>, Error> {
        let Some(all) = self.described(topics).await? else { return Ok(None) };
        let set_on_topic = |entries: Vec<ConfigEntry>| entries.into_iter().filter(is_set_on_topic);
        let pair = |entry: ConfigEntry| Some((entry.name, entry.value?));
        let configs = all
            .into_iter()
            .map(|(topic, entries)| (topic, set_on_topic(entries).filter_map(pair).collect()))
            .collect();
        Ok(Some(configs))
    }

    /// One config of a topic as it is in effect, wherever it is set; nothing when it may not be described.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn effective_config(&self, topic: &TopicName, name: &str) -> Result<Option<String>, Error> {
        let described = self.described(&[topic]).await?;
        let entries = described.and_then(|mut all| all.remove(topic)).unwrap_or_default();
        Ok(entries.into_iter().find(|entry| entry.name == name).and_then(|entry| entry.value))
    }

    async fn described(
        &self,
        topics: &[&TopicName],
    ) -> Result<Option<BTreeMap<TopicName, Vec<ConfigEntry>>>, Error> {
        const NOT_KNOWN: RDKafkaErrorCode = RDKafkaErrorCode::UnsupportedFeature;
        let mut all = BTreeMap::new();
        for some in topics.chunks(TOPICS_PER_REQUEST_MAX) {
            let resources: Vec<_> =
                some.iter().map(|topic| ResourceSpecifier::Topic(topic.as_str())).collect();
            let answer = self.admin().await?.describe_configs(&resources, &options()).await;
            if matches!(answer, Err(KafkaError::AdminOp(NOT_KNOWN))) {
                return Ok(None);
            }
            // The client does not pass errors of single topics on; such a topic has no entries.
            for resource in answer.map_err(|error| self.place.librdkafka_error(&error))?.into_iter().flatten()
            {
                if let OwnedResourceSpecifier::Topic(name) = resource.specifier
                    && let Ok(topic) = name.parse::<TopicName>()
                    && !resource.entries.is_empty()
                {
                    all.insert(topic, resource.entries);
                }
            }
        }
        Ok(Some(all))
    }

    /// # Errors
    /// When the cluster does not answer.
    pub async fn create(
        &self,
        topics: &BTreeMap<TopicName, Blueprint>,
        mode: Mode,
    ) -> Result<Answers, Error> {
        let mut answers = Answers::new();
        let topics: Vec<_> =
            topics.iter().map(|(name, blueprint)| (name, blueprint.partitions, blueprint)).collect();
        for some in requests(&topics) {
            let new: Vec<_> = some.iter().map(|(name, _, blueprint)| new_topic(name, blueprint)).collect();
            let options = options().validate_only(mode == Mode::Validate);
            let answer = self.admin().await?.create_topics(&new, &options).await;
            answers.extend(answered(answer.map_err(|error| self.place.librdkafka_error(&error))?));
        }
        Ok(answers)
    }

    /// # Errors
    /// When the cluster does not answer.
    pub async fn grow<'t>(&self, topics: &'t BTreeMap<TopicName, u32>) -> Result<Answers, Error> {
        let mut answers = Answers::new();
        let topics: Vec<_> = topics.iter().map(|(name, partitions)| (name, *partitions, ())).collect();
        for some in requests(&topics) {
            let count = |partitions: u32| usize::try_from(partitions).unwrap_or(usize::MAX);
            let new = |(name, partitions, ()): &(&'t TopicName, u32, ())| {
                NewPartitions::new(name.as_str(), count(*partitions))
            };
            let new: Vec<_> = some.iter().map(new).collect();
            let answer = self.admin().await?.create_partitions(&new, &options()).await;
            answers.extend(answered(answer.map_err(|error| self.place.librdkafka_error(&error))?));
        }
        Ok(answers)
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST_DEADLINE)).operation_timeout(Some(OPERATION_DEADLINE))
}

fn new_topic<'a>(name: &'a TopicName, blueprint: &'a Blueprint) -> NewTopic<'a> {
    let partitions = i32::try_from(blueprint.partitions).unwrap_or(i32::MAX);
    let replication = TopicReplication::Fixed(i32::from(blueprint.replication_factor));
    let topic = NewTopic::new(name.as_str(), partitions, replication);
    blueprint.configs.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
}

fn answered(results: Vec<TopicResult>) -> Answers {
    let answer = |result: TopicResult| match result {
        Ok(name) => Some((name.parse().ok()?, Ok(()))),
        Err((name, code)) => Some((name.parse().ok()?, Err(code))),
    };
    results.into_iter().filter_map(answer).collect()
}

/// Brokers before 1.1 do not tell where a config is set, only that it is no default.
fn is_set_on_topic(entry: &ConfigEntry) -> bool {
    let unknown_and_set = entry.source == ConfigSource::Unknown && !entry.is_default;
    entry.source == ConfigSource::DynamicTopic || unknown_and_set
}
