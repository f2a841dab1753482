//! Topics and configs of a cluster: looked at, created, grown, changed.

pub mod answers;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use copyist_model::TopicName;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
};
use kafka_protocol::protocol::{Encodable, StrBytes};
use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::cluster::Cluster;
use crate::code::Code;
use crate::error::Error;
use crate::topic::BrokerId;
use crate::versions::Api;

/// Topics in one request: its answer stays below a few hundred kilobytes.
const TOPICS_PER_REQUEST_MAX: usize = 100;
/// Partitions in one request: a KRaft controller takes at most 10,000 changes at once.
const PARTITIONS_PER_REQUEST_MAX: u32 = 2_000;
/// How long the controller may take to carry out what it was asked for.
const OPERATION_DEADLINE: Duration = Duration::from_secs(15);
/// Kafka's numbers for kinds of resources.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    pub partitions: u32,
    /// `None`: the cluster's default, where it knows that (from 2.4 on).
    pub replication_factor: Option<u16>,
    pub configs: BTreeMap<String, String>,
}

/// Whether a request is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Perform,
    /// Only say whether it would be.
    Validate,
}

/// Why the cluster did not do it for one topic or resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    pub text: Option<String>,
}

/// The answer for each topic.
pub type Answers = BTreeMap<TopicName, Result<(), Refusal>>;

/// One config as it is in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub name: String,
    /// Nothing when it is secret.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub is_read_only: bool,
    pub is_sensitive: bool,
}

/// Where a config is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    Topic,
    Broker,
    BrokerDefault,
    StaticBroker,
    Default,
    /// Of loggers, groups, client metrics, or what newer brokers have.
    Other(i8),
}

/// A change of one config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alteration {
    Set(String),
    /// Back to the default.
    Delete,
}

impl Cluster {
    /// Creates topics, or asks whether it could. Each has its own answer.
    ///
    /// # Errors
    /// When the cluster does not answer; what was asked for may have been done.
    pub async fn create_topics(
        &self,
        topics: &BTreeMap<TopicName, NewTopic>,
        mode: Mode,
    ) -> Result<Answers, Error> {
        let mut answers = Answers::new();
        let topics: Vec<_> = topics.iter().map(|(name, topic)| (name, topic.partitions, topic)).collect();
        for some in requests(&topics) {
            let topics = some.iter().map(|(name, _, topic)| creatable(name, topic)).collect();
            let request = CreateTopicsRequest::default()
                .with_topics(topics)
                .with_timeout_ms(deadline_ms())
                .with_validate_only(mode == Mode::Validate);
            let (body, version) =
                self.ask_controller(Api::CreateTopics, &request, is_created_elsewhere).await?;
            answers.extend(answers::created(&body, version)?);
        }
        Ok(answers)
    }

    /// Adds partitions: `topics` gives the number to have.
    ///
    /// # Errors
    /// As [`Cluster::create_topics`].
    pub async fn grow_topics(&self, topics: &BTreeMap<TopicName, u32>) -> Result<Answers, Error> {
        let mut answers = Answers::new();
        let topics: Vec<_> = topics.iter().map(|(name, partitions)| (name, *partitions, ())).collect();
        for some in requests(&topics) {
            let grown = |(name, count, ()): &(&TopicName, u32, ())| {
                let count = i32::try_from(*count).unwrap_or(i32::MAX);
                let topic = CreatePartitionsTopic::default().with_name(text(name.as_str()).into());
                topic.with_count(count).with_assignments(None)
            };
            let request = CreatePartitionsRequest::default()
                .with_topics(some.iter().map(grown).collect())
                .with_timeout_ms(deadline_ms());
            let (body, version) =
                self.ask_controller(Api::CreatePartitions, &request, is_grown_elsewhere).await?;
            answers.extend(answers::grown(&body, version)?);
        }
        Ok(answers)
    }

    /// The configs in effect for each topic.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn topic_configs(
        &self,
        topics: &[&TopicName],
    ) -> Result<BTreeMap<TopicName, Result<Vec<Config>, Refusal>>, Error> {
        let mut configs = BTreeMap::new();
        for some in topics.chunks(TOPICS_PER_REQUEST_MAX) {
            let names: Vec<&str> = some.iter().map(|topic| topic.as_str()).collect();
            let request = describing(TOPIC, &names);
            let connection = self.controller().await?;
            let version = connection.version(Api::DescribeConfigs)?;
            let body = connection.call(Api::DescribeConfigs, version, &request).await?;
            let named = |(name, found): (String, _)| Some((name.parse().ok()?, found));
            configs.extend(answers::described(&body, version)?.into_iter().filter_map(named));
        }
        Ok(configs)
    }

    /// The configs in effect at a broker.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn broker_configs(&self, broker: BrokerId) -> Result<Vec<Config>, Error> {
        let name = broker.to_string();
        let request = describing(BROKER, &[&name]);
        let connection = self.connection(broker).await?;
        let version = connection.version(Api::DescribeConfigs)?;
        let body = connection.call(Api::DescribeConfigs, version, &request).await?;
        let found = answers::described(&body, version)?.into_iter().find(|(resource, _)| *resource == name);
        let what = || format!("the configs of broker {broker}");
        let (_, configs) = found.ok_or_else(|| Error::Unknown { what: what() })?;
        configs.map_err(|refusal| Error::refused(what(), refusal.code, refusal.text))
    }

    /// Changes configs of topics, each topic's all or none of them.
    ///
    /// # Errors
    /// As [`Cluster::create_topics`].
    pub async fn alter_topic_configs(
        &self,
        topics: &BTreeMap<TopicName, BTreeMap<String, Alteration>>,
        mode: Mode,
    ) -> Result<Answers, Error> {
        let resource = |(name, configs): (&TopicName, &BTreeMap<String, Alteration>)| {
            AlterConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(text(name.as_str()))
                .with_configs(configs.iter().map(altered).collect())
        };
        let request = IncrementalAlterConfigsRequest::default()
            .with_resources(topics.iter().map(resource).collect())
            .with_validate_only(mode == Mode::Validate);
        let api = Api::IncrementalAlterConfigs;
        let (body, version) = self.ask_controller(api, &request, is_altered_elsewhere).await?;
        let named = |(name, answer): (String, _)| Some((name.parse().ok()?, answer));
        Ok(answers::altered(&body, version)?.into_iter().filter_map(named).collect())
    }

    /// Asks the controller. Where it has moved (before KRaft), looks for it and asks again.
    async fn ask_controller(
        &self,
        api: Api,
        request: &impl Encodable,
        is_elsewhere: fn(&Bytes, i16) -> Result<bool, Error>,
    ) -> Result<(Bytes, i16), Error> {
        let mut backoff = Backoff::new(self.options().retry_backoff);
        let work = async {
            loop {
                let connection = self.controller().await?;
                let version = connection.version(api)?;
                let body = connection.call(api, version, request).await?;
                if !is_elsewhere(&body, version)? {
                    return Ok((body, version));
                }
                sleep(self.pause(&mut backoff)).await;
                self.refresh().await?;
            }
        };
        self.within(format!("the search for the controller to ask for {api}"), work).await
    }
}

fn is_created_elsewhere(body: &Bytes, version: i16) -> Result<bool, Error> {
    Ok(is_elsewhere(answers::created(body, version)?.values()))
}

fn is_grown_elsewhere(body: &Bytes, version: i16) -> Result<bool, Error> {
    Ok(is_elsewhere(answers::grown(body, version)?.values()))
}

fn is_altered_elsewhere(body: &Bytes, version: i16) -> Result<bool, Error> {
    Ok(is_elsewhere(answers::altered(body, version)?.values()))
}

/// Then it is so for all of them.
fn is_elsewhere<'a>(mut answers: impl Iterator<Item = &'a Result<(), Refusal>>) -> bool {
    answers.any(|answer| answer.as_ref().is_err_and(|refusal| refusal.code == Code::NOT_CONTROLLER))
}

fn deadline_ms() -> i32 {
    i32::try_from(OPERATION_DEADLINE.as_millis()).unwrap_or(i32::MAX)
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn creatable(name: &TopicName, topic: &NewTopic) -> CreatableTopic {
    let config = |(name, value): (&String, &String)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    };
    let factor = topic.replication_factor.map_or(-1, |factor| i16::try_from(factor).unwrap_or(i16::MAX));
    CreatableTopic::default()
        .with_name(text(name.as_str()).into())
        .with_num_partitions(i32::try_from(topic.partitions).unwrap_or(i32::MAX))
        .with_replication_factor(factor)
        .with_configs(topic.configs.iter().map(config).collect())
}

fn describing(kind: i8, names: &[&str]) -> DescribeConfigsRequest {
    let resource = |name: &&str| {
        DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configuration_keys(None)
    };
    DescribeConfigsRequest::default().with_resources(names.iter().map(resource).collect())
}

fn altered((name, alteration): (&String, &Alteration)) -> AlterableConfig {
    let config = AlterableConfig::default().with_name(text(name));
    match alteration {
        Alteration::Set(value) => config.with_config_operation(0).with_value(Some(text(value))),
        Alteration::Delete => config.with_config_operation(1).with_value(None),
    }
}

/// Cuts `(topic, partitions, …)` into what fits a request.
#[must_use]
pub fn requests<'r, 't, T>(topics: &'r [(&'t TopicName, u32, T)]) -> Vec<&'r [(&'t TopicName, u32, T)]> {
    let mut requests = Vec::new();
    let (mut start, mut partitions) = (0, 0u32);
    for (end, (_, more, _)) in topics.iter().enumerate() {
        let full = end - start >= TOPICS_PER_REQUEST_MAX
            || partitions.saturating_add(*more) > PARTITIONS_PER_REQUEST_MAX;
        if full && end > start {
            requests.push(&topics[start..end]);
            (start, partitions) = (end, 0);
        }
        partitions = partitions.saturating_add(*more);
    }
    if start < topics.len() {
        requests.push(&topics[start..]);
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_stay_within_both_bounds_and_lose_nothing() {
        let name: TopicName = "t".parse().unwrap();
        let rows: [(&[u32], &[usize]); 5] = [
            (&[], &[]),
            (&[9000], &[1]),
            (&[1000, 1000, 1], &[2, 1]),
            (&[1, 5000, 1], &[1, 1, 1]),
            (&[1; 250], &[100, 100, 50]),
        ];
        for (partitions, sizes) in rows {
            let topics: Vec<_> = partitions.iter().map(|count| (&name, *count, ())).collect();
            let cut: Vec<_> = requests(&topics).iter().map(|some| some.len()).collect();
            assert_eq!(cut, sizes, "{partitions:?}");
        }
    }
}
