//! What is held of lanes, between the model and `copyist.store.v1`. The key of a record in the store is its lane's id; the value
//! names the lane as well, so that a record says by itself what it is of.

use copyist_model::{Engine, LaneEnd, LaneGeneration, LaneHeld, LaneId, LaneRecord, TopicId};
use prost::Message;

use crate::convert::Malformed;
use crate::{STORE_FORMAT_VERSION, control, store};

const MESSAGE: &str = "LaneRecord";

impl From<&LaneId> for control::LaneId {
    fn from(lane: &LaneId) -> Self {
        Self {
            connector: lane.connector.to_string(),
            source_cluster_id: lane.source_cluster.to_string(),
            topic: lane.topic.to_string(),
            partition: lane.partition,
        }
    }
}

impl TryFrom<control::LaneId> for LaneId {
    type Error = Malformed;

    fn try_from(lane: control::LaneId) -> Result<Self, Malformed> {
        Ok(Self {
            connector: lane.connector.parse().map_err(Malformed::name("LaneId"))?,
            source_cluster: lane.source_cluster_id.parse().map_err(Malformed::name("LaneId"))?,
            topic: lane.topic.parse().map_err(Malformed::name("LaneId"))?,
            partition: lane.partition,
        })
    }
}

/// A record's bytes, as the store and the agents' protocol have them.
#[must_use]
pub fn encode(record: &LaneRecord) -> Vec<u8> {
    let value = store::LaneRecord {
        format_version: STORE_FORMAT_VERSION,
        connector: record.lane.connector.to_string(),
        generation: record.generation.0,
        engine: record.engine.to_string(),
        source: Some(end(&record.source)),
        destination: Some(end(&record.destination)),
        producer_id: record.producer_id,
        base_n: record.base_n,
        base_offset: record.base_offset,
        base_source_offset: record.base_source_offset,
        shared: record.shared,
        altered: false,
    };
    value.encode_to_vec()
}

/// The bytes of what is held of a lane: its record's, or as much of one as names the lane and the generation.
#[must_use]
pub fn encode_held(lane: &LaneId, held: &LaneHeld) -> Vec<u8> {
    let generation = match held {
        LaneHeld::Record(record) => return encode(record),
        LaneHeld::Altered(generation) => generation.0,
    };
    let source = store::LaneEnd {
        cluster_id: lane.source_cluster.to_string(),
        topic: lane.topic.to_string(),
        topic_id: Vec::new(),
        partition: lane.partition,
    };
    let value = store::LaneRecord {
        format_version: STORE_FORMAT_VERSION,
        connector: lane.connector.to_string(),
        generation,
        source: Some(source),
        altered: true,
        ..store::LaneRecord::default()
    };
    value.encode_to_vec()
}

/// # Errors
/// When the bytes are no record, or one of a newer format.
pub fn decode(bytes: &[u8]) -> Result<LaneRecord, Malformed> {
    match decode_held(bytes)? {
        (_, LaneHeld::Record(record)) => Ok(*record),
        (_, LaneHeld::Altered(_)) => {
            let reason = "a record is wanted, and not what was left of one".to_owned();
            Err(invalid("altered", true.to_string(), reason))
        }
    }
}

/// # Errors
/// As [`decode`].
pub fn decode_held(bytes: &[u8]) -> Result<(LaneId, LaneHeld), Malformed> {
    let value = store::LaneRecord::decode(bytes)
        .map_err(|error| invalid("bytes", format!("{} of them", bytes.len()), error.to_string()))?;
    if value.format_version > STORE_FORMAT_VERSION {
        let reason = format!("this program reads up to {STORE_FORMAT_VERSION}");
        return Err(invalid("format_version", value.format_version.to_string(), reason));
    }
    let source = lane_end(value.source.clone(), "source")?;
    let lane = LaneId {
        connector: value.connector.parse().map_err(Malformed::name(MESSAGE))?,
        source_cluster: source.cluster.clone(),
        topic: source.topic.clone(),
        partition: source.partition,
    };
    if value.altered {
        return Ok((lane, LaneHeld::Altered(LaneGeneration(value.generation))));
    }
    let record = decoded(lane.clone(), source, value)?;
    Ok((lane, record.into()))
}

fn invalid(field: &'static str, value: String, reason: String) -> Malformed {
    Malformed::Value { message: MESSAGE, field, value, reason }
}

fn decoded(lane: LaneId, source: LaneEnd, value: store::LaneRecord) -> Result<LaneRecord, Malformed> {
    let engine = match value.engine.as_str() {
        "raw" => Engine::Raw,
        "librdkafka" => Engine::Librdkafka,
        other => return Err(invalid("engine", other.to_owned(), "it is raw or librdkafka".to_owned())),
    };
    Ok(LaneRecord {
        lane,
        generation: LaneGeneration(value.generation),
        engine,
        source,
        destination: lane_end(value.destination, "destination")?,
        producer_id: value.producer_id,
        base_n: value.base_n,
        base_offset: value.base_offset,
        base_source_offset: value.base_source_offset,
        shared: value.shared,
    })
}

fn end(end: &LaneEnd) -> store::LaneEnd {
    store::LaneEnd {
        cluster_id: end.cluster.to_string(),
        topic: end.topic.to_string(),
        topic_id: if end.topic_id.is_none() { Vec::new() } else { end.topic_id.0.to_be_bytes().to_vec() },
        partition: end.partition,
    }
}

fn lane_end(end: Option<store::LaneEnd>, field: &'static str) -> Result<LaneEnd, Malformed> {
    let end = end.ok_or(Malformed::Missing { message: MESSAGE, field })?;
    let topic_id = match <[u8; 16]>::try_from(end.topic_id.as_slice()) {
        Ok(bytes) => TopicId(u128::from_be_bytes(bytes)),
        Err(_) if end.topic_id.is_empty() => TopicId::NONE,
        Err(_) => {
            let reason = "a topic id has 16 bytes".to_owned();
            let value = format!("{} bytes", end.topic_id.len());
            return Err(Malformed::Value { message: "LaneEnd", field: "topic_id", value, reason });
        }
    };
    Ok(LaneEnd {
        cluster: end.cluster_id.parse().map_err(Malformed::name("LaneEnd"))?,
        topic: end.topic.parse().map_err(Malformed::name("LaneEnd"))?,
        topic_id,
        partition: end.partition,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(topic_id: TopicId, engine: Engine) -> LaneRecord {
        let end = |topic: &str| LaneEnd {
            cluster: "k".parse().unwrap(),
            topic: topic.parse().unwrap(),
            topic_id,
            partition: 3,
        };
        LaneRecord {
            lane: LaneId {
                connector: "a/b".parse().unwrap(),
                source_cluster: "k".parse().unwrap(),
                topic: "t".parse().unwrap(),
                partition: 3,
            },
            generation: LaneGeneration(7),
            engine,
            source: end("t"),
            destination: end("t.replica"),
            producer_id: 4_000,
            base_n: 5,
            base_offset: 6,
            base_source_offset: 8,
            shared: engine == Engine::Raw,
        }
    }

    #[test]
    fn records_and_lanes_survive_the_wire() {
        for record in [record(TopicId(1 << 100), Engine::Raw), record(TopicId::NONE, Engine::Librdkafka)] {
            assert_eq!(decode(&encode(&record)).unwrap(), record);
            assert_eq!(LaneId::try_from(control::LaneId::from(&record.lane)).unwrap(), record.lane);
            let lane = record.lane.clone();
            let altered = LaneHeld::Altered(LaneGeneration(9));
            for held in [altered, LaneHeld::from(record)] {
                assert_eq!(decode_held(&encode_held(&lane, &held)).unwrap(), (lane.clone(), held));
            }
        }
    }

    #[test]
    fn what_is_no_record_is_refused_with_a_reason() {
        let value = store::LaneRecord::decode(&*encode(&record(TopicId(1), Engine::Raw))).unwrap();
        let newer = store::LaneRecord { format_version: 99, ..value.clone() };
        let engine = store::LaneRecord { engine: "steam".into(), ..value.clone() };
        let without = store::LaneRecord { source: None, ..value.clone() };
        let altered = store::LaneRecord { altered: true, ..value.clone() };
        let mut short = value;
        short.destination.as_mut().unwrap().topic_id.pop();
        let rows = [
            (newer, "99"),
            (engine, "steam"),
            (without, "source"),
            (altered, "altered"),
            (short, "16 bytes"),
        ];
        for (value, expected) in rows {
            let error = decode(&value.encode_to_vec()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(decode(&[0xff; 9]).is_err());
    }
}
