//! A compacted topic of the worker's cluster: read from its start and followed, and written to, by the client that its
//! cluster needs: our own, or librdkafka where that does not speak to it.
//!
//! What its records mean is its users' business: positions, and what Connect keeps in its other topics.

pub(crate) mod reading;
pub(crate) mod writing;

use copyist_kafka::ClientOptions;
use copyist_model::{ClientProperties, TopicName};
use rdkafka::ClientConfig;
use tokio::sync::watch;

use crate::client::{self, Role};
use crate::error::Error;
use reading::Reader;
use writing::{PUT_DEADLINE, Writer};

/// The name of the header by which a record says which store it was written for.
pub(crate) const MARK: &str = "copyist.store";

/// A reader and a writer of a topic. `asks` numbers questions for the topic's end ([`reading::Read::ToEnd`]).
///
/// # Errors
/// [`Error::Stuck`]: the client properties are wrong.
pub(crate) fn open(
    cluster: &ClientProperties,
    topic: &TopicName,
    asks: watch::Receiver<u64>,
) -> Result<(Reader, Writer), Error> {
    let options = ClientOptions::parse(cluster).ok();
    let config = consumer_config(cluster)?;
    let reader = Reader { topic: topic.clone(), options: options.clone(), config, asks };
    let writer = Writer { topic: topic.clone(), options, config: producer_config(cluster)? };
    Ok((reader, writer))
}

fn consumer_config(cluster: &ClientProperties) -> Result<ClientConfig, Error> {
    let (mut config, _) = client::config(cluster, Role::Consumer)?;
    // Compaction may outrun the reader; what is left is what counts.
    config.set("auto.offset.reset", "earliest").set("queued.max.messages.kbytes", "4096");
    // A follower does not have what was acknowledged just now.
    config.remove("client.rack");
    Ok(config)
}

fn producer_config(cluster: &ClientProperties) -> Result<ClientConfig, Error> {
    let (mut config, _) = client::config(cluster, Role::Producer)?;
    config
        // Java's default for keys, so that Connect's own tools write to the same partitions.
        .set("partitioner", "murmur2_random")
        .set("message.timeout.ms", PUT_DEADLINE.as_millis().to_string())
        // Records do not build on each other: one that fails is written again by whoever wants it there.
        .set("enable.gapless.guarantee", "false")
        .set("linger.ms", "1");
    Ok(config)
}
