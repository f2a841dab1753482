//! A cluster as a survey sees it, asked by the client that it needs: our own where that can speak to it, else
//! librdkafka.

use std::collections::BTreeMap;

use copyist_kafka::ClientOptions;
use copyist_model::{ClientProperties, ClusterId, TopicName};
use rdkafka::types::RDKafkaErrorCode;

use super::blueprint::Blueprint;
use super::configs::Configs;
use super::librdkafka::Librdkafka;
use super::own::Own;
use super::place::Place;
use super::view::ClusterView;
use crate::client::{self, Role};
use crate::error::Error;

/// The answer for each topic.
pub type Answers = BTreeMap<TopicName, Result<(), RDKafkaErrorCode>>;

/// Whether a request is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Perform,
    /// Only say whether it would be.
    Validate,
}

/// A cluster that has answered.
pub enum Cluster {
    Own(Own),
    Librdkafka(Box<Librdkafka>),
}

impl Cluster {
    /// # Errors
    /// [`Error::Retry`] when nobody answers in time, [`Error::Stuck`] when the properties are wrong or the cluster
    /// does not take the credentials.
    pub async fn connect(role: &'static str, properties: &ClientProperties) -> Result<Self, Error> {
        let place = Place::new(role, properties);
        // Wrong values are told whichever client asks: librdkafka knows more names.
        let (config, _) =
            client::config(properties, Role::Admin).map_err(|error| place.config_error(error))?;
        if let Ok(options) = ClientOptions::parse(properties)
            && let Some(own) = Own::connect(&place, options).await?
        {
            return Ok(Self::Own(own));
        }
        Ok(Self::Librdkafka(Box::new(Librdkafka::connect(&place, config).await?)))
    }

    #[must_use]
    pub fn id(&self) -> &ClusterId {
        match self {
            Self::Own(own) => own.id(),
            Self::Librdkafka(librdkafka) => librdkafka.id(),
        }
    }

    /// What is there now, as one broker sees it.
    ///
    /// # Errors
    /// [`Error::Retry`] when no broker answers in time.
    pub async fn view(&mut self) -> Result<ClusterView, Error> {
        match self {
            Self::Own(own) => own.view().await,
            Self::Librdkafka(librdkafka) => librdkafka.view().await,
        }
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
        match self {
            Self::Own(own) => own.configs_of(topics).await.map(Some),
            Self::Librdkafka(librdkafka) => librdkafka.configs_of(topics).await,
        }
    }

    /// One config of a topic as it is in effect, wherever it is set; nothing when it may not be described.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn effective_config(&self, topic: &TopicName, name: &str) -> Result<Option<String>, Error> {
        match self {
            Self::Own(own) => own.effective_config(topic, name).await,
            Self::Librdkafka(librdkafka) => librdkafka.effective_config(topic, name).await,
        }
    }

    /// Creates topics, or asks whether it could.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn create(
        &self,
        topics: &BTreeMap<TopicName, Blueprint>,
        mode: Mode,
    ) -> Result<Answers, Error> {
        match self {
            Self::Own(own) => own.create(topics, mode).await,
            Self::Librdkafka(librdkafka) => librdkafka.create(topics, mode).await,
        }
    }

    /// Adds partitions: `topics` gives the number to have.
    ///
    /// # Errors
    /// When the cluster does not answer.
    pub async fn grow(&self, topics: &BTreeMap<TopicName, u32>) -> Result<Answers, Error> {
        match self {
            Self::Own(own) => own.grow(topics).await,
            Self::Librdkafka(librdkafka) => librdkafka.grow(topics).await,
        }
    }
}

/// The cluster of one role, kept from one survey to the next.
pub struct Kept {
    role: &'static str,
    known: Option<(ClientProperties, Cluster)>,
}

impl Kept {
    #[must_use]
    pub fn new(role: &'static str) -> Self {
        Self { role, known: None }
    }

    /// The cluster of these properties, once it has answered: now, not at some time before.
    ///
    /// # Errors
    /// As [`Cluster::connect`]. What was kept is gone then, and the next attempt begins with the bootstrap servers.
    pub async fn reach(&mut self, properties: &ClientProperties) -> Result<&mut Cluster, Error> {
        let cluster = match self.known.take() {
            Some((of, Cluster::Own(own))) if of == *properties => Cluster::Own(own.again().await?),
            Some(_) | None => Cluster::connect(self.role, properties).await?,
        };
        let (_, cluster) = self.known.insert((properties.clone(), cluster));
        Ok(cluster)
    }

    /// The survey is over. Idle, our own client costs a connection; librdkafka would cost threads, and is dropped.
    pub fn rest(&mut self) {
        self.known.take_if(|(_, cluster)| matches!(cluster, Cluster::Librdkafka(_)));
    }
}
