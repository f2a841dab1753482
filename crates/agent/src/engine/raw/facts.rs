//! What the clusters say of themselves and of two topics, as far as exactness depends on it.

use std::time::Duration;

use copyist_kafka::admin::Config;
use copyist_kafka::versions::Api;
use copyist_kafka::{Cluster, Error};
use copyist_lane::DestinationFacts;
use copyist_model::TopicName;
use copyist_wire::{Policy, TimestampPolicy};

/// Kafka's default of `max.message.bytes`.
const MAX_BATCH_BYTES: u32 = 1_048_588;
/// What one batch may become when it is decompressed to be rewritten.
const MAX_PLAIN_BYTES: usize = 512 << 20;

/// What is known of a pair of topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub source_compacted: bool,
    pub destination: DestinationFacts,
}

impl Facts {
    /// How batches are planned under these facts.
    #[must_use]
    pub fn policy(&self) -> Policy {
        // A destination that stamps its own time makes the source's exactness moot.
        let log_append_time = match self.destination.log_append_time {
            true => TimestampPolicy::Original,
            false => TimestampPolicy::Exact,
        };
        Policy {
            start_offset: 0,
            log_append_time,
            drop_null_keys: false,
            max_batch_bytes: self.destination.max_batch_bytes as usize,
            max_plain_bytes: MAX_PLAIN_BYTES,
        }
    }
}

/// Asks both clusters.
///
/// # Errors
/// When one does not answer or may not be asked: without its word nothing is exact.
pub async fn ask(
    source_cluster: &Cluster,
    source: &TopicName,
    destination_cluster: &Cluster,
    destination: &TopicName,
) -> Result<Facts, Error> {
    let source_configs = topic_configs(source_cluster, source).await?;
    let source_compacted =
        text(&source_configs, "cleanup.policy").is_some_and(|policy| policy.contains("compact"));
    let configs = topic_configs(destination_cluster, destination).await?;
    let max_batch_bytes = number(&configs, "max.message.bytes").and_then(|bytes| u32::try_from(bytes).ok());
    Ok(Facts {
        source_compacted,
        destination: DestinationFacts {
            producer_expiration: producer_expiration(destination_cluster).await?,
            log_append_time: text(&configs, "message.timestamp.type") == Some("LogAppendTime"),
            max_batch_bytes: max_batch_bytes.unwrap_or(MAX_BATCH_BYTES),
            describes_producers: describes_producers(destination_cluster).await?,
        },
    })
}

/// The smallest of the brokers'; nothing when a broker may not be asked or has no such config.
async fn producer_expiration(cluster: &Cluster) -> Result<Option<Duration>, Error> {
    let brokers: Vec<_> = cluster.view().brokers.keys().copied().collect();
    let mut smallest: Option<u64> = None;
    for broker in brokers {
        let configs = match cluster.broker_configs(broker).await {
            Ok(configs) => configs,
            // Not allowed: the fence counts as weak.
            Err(Error::Refused { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(millis) = expiration_ms(&configs) else { return Ok(None) };
        smallest = Some(smallest.map_or(millis, |known| known.min(millis)));
    }
    Ok(smallest.map(Duration::from_millis))
}

/// Before 3.4 the second was meant for both.
fn expiration_ms(configs: &[Config]) -> Option<u64> {
    number(configs, "producer.id.expiration.ms").or_else(|| number(configs, "transactional.id.expiration.ms"))
}

async fn describes_producers(cluster: &Cluster) -> Result<bool, Error> {
    let brokers: Vec<_> = cluster.view().brokers.keys().copied().collect();
    for broker in brokers {
        if !cluster.connection(broker).await?.versions().has(Api::DescribeProducers) {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn topic_configs(cluster: &Cluster, topic: &TopicName) -> Result<Vec<Config>, Error> {
    let mut answers = cluster.topic_configs(&[topic]).await?;
    let what = || format!("the configs of topic {topic}");
    let answer = answers.remove(topic).ok_or_else(|| Error::Unknown { what: what() })?;
    answer.map_err(|refusal| Error::Refused { what: what(), code: refusal.code, text: refusal.text })
}

fn text<'c>(configs: &'c [Config], name: &str) -> Option<&'c str> {
    configs.iter().find(|config| config.name == name)?.value.as_deref()
}

fn number(configs: &[Config], name: &str) -> Option<u64> {
    text(configs, name)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use copyist_kafka::admin::ConfigSource;

    use super::*;

    #[test]
    fn a_broker_forgets_producers_after_what_its_version_calls_so() {
        let (own, shared) = ("producer.id.expiration.ms", "transactional.id.expiration.ms");
        let rows = [
            (vec![(shared, "604800000"), (own, "86400000")], Some(86_400_000)),
            (vec![(shared, "604800000")], Some(604_800_000)),
            (vec![(own, "soon")], None),
            (vec![], None),
        ];
        for (configs, expected) in rows {
            let config = |(name, value): &(&str, &str)| Config {
                name: (*name).to_owned(),
                value: Some((*value).to_owned()),
                source: ConfigSource::Default,
                is_read_only: true,
                is_sensitive: false,
            };
            let configs: Vec<Config> = configs.iter().map(config).collect();
            assert_eq!(expiration_ms(&configs), expected, "{configs:?}");
        }
    }
}
