//! The client settings of a task. Pure.

use copyist_model::ClientProperties;

use super::refusal::BATCH_BYTES;
use crate::client::{self, Role};
use crate::error::Error;
use rdkafka::ClientConfig;

/// Time from one set of statistics to the next: they feed lag and the sense of an outage.
const STATISTICS_MS: u32 = 5_000;
/// What all lanes of a task may have read ahead, and the bounds of what one of them gets of it.
const READ_AHEAD_KBYTES: usize = 32 << 10;
const READ_AHEAD_LANE_KBYTES: (usize, usize) = (1 << 10, 16 << 10);

/// # Errors
/// [`Error::Stuck`]: the source's properties are wrong.
pub fn consumer(source: &ClientProperties, client_id: &str, lanes: usize) -> Result<ClientConfig, Error> {
    let (mut config, without_effect) = client::config(source, Role::Consumer)?;
    tell_without_effect("source", &without_effect);
    let (least, most) = READ_AHEAD_LANE_KBYTES;
    let read_ahead = (READ_AHEAD_KBYTES / lanes.max(1)).clamp(least, most);
    config
        .set("queued.max.messages.kbytes", read_ahead.to_string())
        .set("statistics.interval.ms", STATISTICS_MS.to_string());
    name(&mut config, client_id);
    Ok(config)
}

/// `batch_bytes`: the smallest bound that a lane needs.
///
/// # Errors
/// [`Error::Stuck`]: the destination's properties are wrong.
pub fn producer(
    destination: &ClientProperties,
    client_id: &str,
    batch_bytes: u32,
) -> Result<ClientConfig, Error> {
    let (mut config, without_effect) = client::config(destination, Role::Producer)?;
    tell_without_effect("destination", &without_effect);
    let asked = config.get("batch.size").and_then(|size| size.parse().ok()).unwrap_or(BATCH_BYTES);
    config
        .set("batch.size", batch_bytes.min(asked).to_string())
        // Lanes bound what is under way; this bounds them all once more.
        .set("queue.buffering.max.messages", "200000")
        .set("queue.buffering.max.kbytes", "1048576")
        .set("statistics.interval.ms", STATISTICS_MS.to_string());
    if batch_bytes <= 1 {
        config.set("batch.num.messages", "1");
    }
    name(&mut config, client_id);
    Ok(config)
}

fn name(config: &mut ClientConfig, client_id: &str) {
    if config.get("client.id").is_none() {
        config.set("client.id", client_id);
    }
}

fn tell_without_effect(role: &str, names: &[String]) {
    if !names.is_empty() {
        tracing::debug!(role, ?names, "client properties without effect");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> ClientProperties {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ClientProperties(pairs.chain([("bootstrap.servers".into(), "h:1".into())]).collect())
    }

    #[test]
    fn clients_are_named_unless_the_user_did() {
        for (written, expected) in [(properties(&[]), "c-0"), (properties(&[("client.id", "mine")]), "mine")]
        {
            let producer = producer(&written, "c-0", BATCH_BYTES).unwrap();
            let consumer = consumer(&written, "c-0", 1).unwrap();
            assert_eq!([producer.get("client.id"), consumer.get("client.id")], [Some(expected); 2]);
        }
    }

    #[test]
    fn batches_keep_the_smaller_bound_and_one_byte_means_one_record() {
        let asked = |size| properties(&[("batch.size", size)]);
        for (size, bound, expected) in [("5000", BATCH_BYTES, "5000"), ("5000", 10, "10"), ("0", 10, "1")] {
            let config = producer(&asked(size), "c", bound).unwrap();
            assert_eq!(config.get("batch.size"), Some(expected), "{size} {bound}");
        }
        let one = producer(&asked("5000"), "c", 1).unwrap();
        assert_eq!(one.get("batch.num.messages"), Some("1"));
    }

    #[test]
    fn lanes_share_what_is_read_ahead() {
        for (lanes, kbytes) in [(0, "16384"), (1, "16384"), (8, "4096"), (1000, "1024")] {
            let config = consumer(&properties(&[]), "c", lanes).unwrap();
            assert_eq!(config.get("queued.max.messages.kbytes"), Some(kbytes), "{lanes} lanes");
        }
    }
}
