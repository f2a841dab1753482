//! A cluster asked through our own client. Its connections stay from one survey to the next.
//!
//! No topic comes into being by asking: each request for metadata says so.

use std::collections::BTreeMap;
use std::time::Duration;

use copyist_kafka::admin::{self, Config, ConfigSource, NewTopic, Refusal};
use copyist_kafka::metadata::{Metadata, TopicMetadata};
use copyist_kafka::{ClientOptions, Cluster, Error as ClientError};
use copyist_model::{ClusterId, TopicName};
use tokio::time::timeout;

use super::blueprint::Blueprint;
use super::cluster::{Answers, Mode};
use super::configs::Configs;
use super::place::{CONNECT_DEADLINE, Place, code_of};
use super::view::{ClusterView, TopicView};
use crate::error::Error;

/// The metadata of a large cluster over a slow line may take its time.
const VIEW_DEADLINE: Duration = Duration::from_secs(14);
/// For one server of several: one that is mute leaves time for the others.
const SERVER_DEADLINE_MIN: Duration = Duration::from_secs(1);
/// For one change with its repetitions.
const OPERATION_DEADLINE: Duration = Duration::from_secs(30);

/// A client of a cluster that has answered.
#[derive(Debug)]
pub struct Own {
    place: Place,
    id: ClusterId,
    cluster: Cluster,
}

impl Own {
    /// Nothing when the cluster speaks no version that this client knows.
    ///
    /// # Errors
    /// [`Error::Retry`] when nobody answers in time.
    pub async fn connect(place: &Place, options: ClientOptions) -> Result<Option<Self>, Error> {
        let connected = timeout(CONNECT_DEADLINE, Cluster::connect(bounded(options))).await;
        let cluster = match connected.map_err(|_| place.silent(CONNECT_DEADLINE))? {
            Ok(cluster) => cluster,
            Err(ClientError::Unsupported { .. }) => return Ok(None),
            Err(error) => return Err(place.client_error(&error)),
        };
        let id = cluster.id().map_err(|error| place.client_error(&error))?;
        Ok(Some(Self { place: place.clone(), id, cluster }))
    }

    /// The same client for another survey, once the cluster has answered again.
    ///
    /// # Errors
    /// As [`Own::connect`].
    pub async fn again(mut self) -> Result<Self, Error> {
        let refreshed = timeout(CONNECT_DEADLINE, self.cluster.refresh()).await;
        let refreshed = refreshed.map_err(|_| self.place.silent(CONNECT_DEADLINE))?;
        // Behind the same address another cluster may listen by now.
        self.id =
            refreshed.and_then(|_| self.cluster.id()).map_err(|error| self.place.client_error(&error))?;
        Ok(self)
    }

    #[must_use]
    pub fn id(&self) -> &ClusterId {
        &self.id
    }

    /// What is there now, as one broker sees it.
    ///
    /// # Errors
    /// [`Error::Retry`] when no broker answers in time.
    pub async fn view(&self) -> Result<ClusterView, Error> {
        let metadata = timeout(VIEW_DEADLINE, self.cluster.all_topics()).await;
        let metadata = metadata.map_err(|_| self.place.silent(VIEW_DEADLINE))?;
        Ok(viewed(&self.id, &metadata.map_err(|error| self.place.client_error(&error))?))
    }

    /// The configs of each topic that may be described.
    async fn described(&self, topics: &[&TopicName]) -> Result<BTreeMap<TopicName, Vec<Config>>, Error> {
        let all =
            self.cluster.topic_configs(topics).await.map_err(|error| self.place.client_error(&error))?;
        Ok(all.into_iter().filter_map(|(topic, configs)| Some((topic, configs.ok()?))).collect())
    }

    /// See [`super::cluster::Cluster::configs_of`].
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn configs_of(&self, topics: &[&TopicName]) -> Result<BTreeMap<TopicName, Configs>, Error> {
        let all = self.described(topics).await?;
        Ok(all.into_iter().map(|(topic, configs)| (topic, set_on_topic(configs))).collect())
    }

    /// See [`super::cluster::Cluster::effective_config`].
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn effective_config(&self, topic: &TopicName, name: &str) -> Result<Option<String>, Error> {
        let configs = self.described(&[topic]).await?.remove(topic).unwrap_or_default();
        Ok(configs.into_iter().find(|config| config.name == name).and_then(|config| config.value))
    }

    /// # Errors
    /// When the cluster does not answer.
    pub async fn create(
        &self,
        topics: &BTreeMap<TopicName, Blueprint>,
        mode: Mode,
    ) -> Result<Answers, Error> {
        let topics = topics.iter().map(|(name, blueprint)| (name.clone(), new_topic(blueprint))).collect();
        let mode = match mode {
            Mode::Perform => admin::Mode::Perform,
            Mode::Validate => admin::Mode::Validate,
        };
        let answers = self.cluster.create_topics(&topics, mode).await;
        Ok(answered(answers.map_err(|error| self.place.client_error(&error))?))
    }

    /// # Errors
    /// When the cluster does not answer.
    pub async fn grow(&self, topics: &BTreeMap<TopicName, u32>) -> Result<Answers, Error> {
        let answers = self.cluster.grow_topics(topics).await;
        Ok(answered(answers.map_err(|error| self.place.client_error(&error))?))
    }
}

/// A survey's patience.
fn bounded(mut options: ClientOptions) -> ClientOptions {
    let servers = u32::try_from(options.bootstrap.len()).unwrap_or(u32::MAX).max(1);
    let share = (CONNECT_DEADLINE / servers).max(SERVER_DEADLINE_MIN);
    let connection = &mut options.connection;
    connection.connect_timeout = connection.connect_timeout.min(share);
    options.operation_timeout = options.operation_timeout.min(OPERATION_DEADLINE);
    options
}

fn viewed(id: &ClusterId, metadata: &Metadata) -> ClusterView {
    let topic = |(name, topic): (&TopicName, &TopicMetadata)| (name.clone(), topic_view(topic));
    ClusterView {
        id: id.clone(),
        brokers: u16::try_from(metadata.brokers.len()).unwrap_or(u16::MAX),
        topics: metadata.topics.iter().map(topic).collect(),
    }
}

fn topic_view(topic: &TopicMetadata) -> TopicView {
    let partitions = topic.partitions.iter();
    TopicView::of(partitions.map(|(number, it)| (*number, it.leader.is_some(), it.replicas)))
}

fn set_on_topic(configs: Vec<Config>) -> Configs {
    let set = configs.into_iter().filter(|config| config.source == ConfigSource::Topic);
    set.filter_map(|config| Some((config.name, config.value?))).collect()
}

fn new_topic(blueprint: &Blueprint) -> NewTopic {
    NewTopic {
        partitions: blueprint.partitions,
        replication_factor: Some(blueprint.replication_factor),
        configs: blueprint.configs.clone(),
    }
}

fn answered(answers: admin::Answers) -> Answers {
    let code = |refusal: Refusal| {
        tracing::debug!(code = %refusal.code, "the cluster refuses: {}", refusal.text.unwrap_or_default());
        code_of(refusal.code)
    };
    answers.into_iter().map(|(topic, answer)| (topic, answer.map_err(code))).collect()
}

#[cfg(test)]
mod tests {
    use copyist_kafka::metadata::PartitionMetadata;
    use copyist_kafka::{Code, Endpoint, Leader, Topic};
    use copyist_model::TopicId;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn name(name: &str) -> TopicName {
        name.parse().unwrap()
    }

    #[test]
    fn metadata_shows_brokers_partitions_leaders_and_replicas() {
        let endpoint = Endpoint { host: "h".into(), port: 1 };
        let partition = |broker: Option<i32>, replicas| PartitionMetadata {
            code: Code::NONE,
            leader: broker.map(|broker| Leader { broker, epoch: 1 }),
            replicas,
        };
        let topic = TopicMetadata {
            topic: Topic::new(name("t"), TopicId(1)),
            code: Code::NONE,
            is_internal: false,
            partitions: [(0, partition(Some(1), 3)), (1, partition(None, 2))].into(),
        };
        let metadata = Metadata {
            brokers: [(1, endpoint.clone()), (2, endpoint)].into(),
            topics: [(name("t"), topic)].into(),
            ..Metadata::default()
        };
        let view = viewed(&"id".parse().unwrap(), &metadata);
        assert_eq!((view.id.as_str(), view.brokers), ("id", 2));
        let expected = TopicView { partitions: 2, led: 1, replication_factor: 2 };
        assert_eq!(view.topics, [(name("t"), expected)].into());
    }

    #[test]
    fn only_what_is_set_on_the_topic_and_shown_is_its_own() {
        let config = |name: &str, value: Option<&str>, source| Config {
            name: name.into(),
            value: value.map(str::to_owned),
            source,
            is_read_only: false,
            is_sensitive: false,
        };
        let configs = vec![
            config("a", Some("1"), ConfigSource::Topic),
            config("b", None, ConfigSource::Topic),
            config("c", Some("1"), ConfigSource::Default),
            config("d", Some("1"), ConfigSource::Broker),
            config("e", Some("1"), ConfigSource::Other(9)),
        ];
        assert_eq!(set_on_topic(configs), [("a".to_owned(), "1".to_owned())].into());
    }

    #[test]
    fn a_mute_server_leaves_time_for_the_others() {
        let endpoint = Endpoint { host: "h".into(), port: 1 };
        for (servers, share) in [(1, 5_000), (2, 2_500), (5, 1_000), (50, 1_000)] {
            let options = bounded(ClientOptions::new(vec![endpoint.clone(); servers]));
            assert_eq!(options.connection.connect_timeout.as_millis(), share, "{servers}");
            assert_eq!(options.operation_timeout, OPERATION_DEADLINE);
        }
        let mut quick = ClientOptions::new(vec![endpoint]);
        quick.connection.connect_timeout = Duration::from_millis(10);
        assert_eq!(bounded(quick).connection.connect_timeout.as_millis(), 10);
    }

    #[test]
    fn refusals_keep_their_code() {
        let refusal = Refusal { code: Code(36), text: Some("there".into()) };
        let answers = answered([(name("t"), Err(refusal)), (name("u"), Ok(()))].into());
        let expected = [(name("t"), Err(code_of(Code(36)))), (name("u"), Ok(()))];
        assert_eq!(answers, expected.into());
    }

    /// Answers ApiVersions as a broker of 0.10 does: it knows version 0 alone, and Metadata up to version 1.
    async fn serve_as_old_broker(listener: TcpListener) {
        let (mut stream, _) = listener.accept().await.unwrap();
        for body in [&[0, 35, 0, 0, 0, 0][..], &[0, 0, 0, 0, 0, 1, 0, 3, 0, 0, 0, 1]] {
            let length = usize::try_from(stream.read_i32().await.unwrap()).unwrap();
            let mut request = vec![0; length];
            stream.read_exact(&mut request).await.unwrap();
            let correlation_id = &request[4..8];
            stream.write_i32(i32::try_from(4 + body.len()).unwrap()).await.unwrap();
            stream.write_all(&[correlation_id, body].concat()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_cluster_of_old_brokers_is_left_to_librdkafka() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
        let place = Place::at("source", &endpoint.to_string());
        let serving = tokio::spawn(serve_as_old_broker(listener));
        let connected = Own::connect(&place, ClientOptions::new(vec![endpoint])).await;
        assert!(matches!(connected, Ok(None)), "{connected:?}");
        serving.await.unwrap();
    }
}
