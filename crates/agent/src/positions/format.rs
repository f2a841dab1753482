//! The bytes of a position, as Kafka Connect writes them. Pure.
//!
//! Key: `["<connector>",{"cluster":…,"partition":…,"topic":…}]`, without blanks, in this order. Value:
//! `{"offset":N}`, where N is the last offset copied: one less than the next, also before the first record. An exact
//! lane adds fields of ours (`copyist.*`): where it stands, and its lane record, so that a lost store costs nothing.
//! They are flat, as Connect wants every value to be primitive.
//! Readers are tolerant: any order of fields, numbers as text, and fields of others. Fields of ours that do not make a
//! whole are no fields of ours: what remains is an offset to start from.

use copyist_model::{
    ClusterId, ConnectorName, Engine, LaneEnd, LaneGeneration, LaneId, LaneRecord, Position, TopicId,
    TopicName,
};
use serde_json::{Map, Value};

/// A position as it is read from the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub lane: LaneId,
    /// Nothing: the position was deleted.
    pub stored: Option<Stored>,
}

/// What is stored of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Next source offset to copy.
    pub next_offset: i64,
    /// Nothing: an offset to start from, as a user, MirrorMaker 2 or the compatibility engine writes it.
    pub exact: Option<Exact>,
}

/// Where a lane stands within a generation, and what the generation is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exact {
    pub position: Position,
    /// Of the position's generation.
    pub record: LaneRecord,
    /// Losses that the lane went past by the user's policy, in words of one line each.
    pub gaps: Vec<String>,
}

impl Stored {
    /// An offset to start from.
    #[must_use]
    pub fn plain(next_offset: i64) -> Self {
        Self { next_offset, exact: None }
    }

    /// A position of the generation that `record` began.
    #[must_use]
    pub fn exact(position: Position, record: LaneRecord) -> Self {
        Self { next_offset: position.next_offset, exact: Some(Exact { position, record, gaps: Vec::new() }) }
    }

    /// The same with losses that the lane went past. A plain offset has none.
    #[must_use]
    pub fn with_gaps(mut self, gaps: Vec<String>) -> Self {
        if let Some(exact) = &mut self.exact {
            exact.gaps = gaps;
        }
        self
    }

    /// Losses that the lane went past, in words.
    #[must_use]
    pub fn gaps(&self) -> &[String] {
        self.exact.as_ref().map_or(&[], |exact| &exact.gaps)
    }
}

const GENERATION: &str = "copyist.generation";
const N: &str = "copyist.n";
const LEADER_EPOCH: &str = "copyist.leader.epoch";
const DESTINATION_OFFSET: &str = "copyist.destination.offset";
const ENGINE: &str = "copyist.engine";
const PRODUCER_ID: &str = "copyist.producer.id";
const BASE_N: &str = "copyist.base.n";
const BASE_OFFSET: &str = "copyist.base.offset";
const BASE_SOURCE_OFFSET: &str = "copyist.base.source.offset";
const SHARED: &str = "copyist.shared";
const SOURCE_TOPIC_ID: &str = "copyist.source.topic.id";
const DESTINATION_CLUSTER: &str = "copyist.destination.cluster";
const DESTINATION_TOPIC: &str = "copyist.destination.topic";
const DESTINATION_TOPIC_ID: &str = "copyist.destination.topic.id";
const DESTINATION_PARTITION: &str = "copyist.destination.partition";
/// Not there without a gap.
const GAPS: &str = "copyist.gaps";

/// The record's key.
#[must_use]
pub fn key(lane: &LaneId) -> String {
    format!("[{},{}]", Value::from(lane.connector.as_str()), partition(lane))
}

/// Connect's source partition of a lane.
#[must_use]
pub fn partition(lane: &LaneId) -> String {
    let text = |text: &str| Value::from(text).to_string();
    format!(
        r#"{{"cluster":{},"partition":{},"topic":{}}}"#,
        text(lane.source_cluster.as_str()),
        lane.partition,
        text(lane.topic.as_str())
    )
}

/// The record's value.
#[must_use]
pub fn value(stored: &Stored) -> String {
    let mut fields = Map::new();
    fields.insert("offset".to_owned(), Value::from(stored.next_offset - 1));
    for (name, value) in stored.exact.iter().flat_map(exact_fields) {
        fields.insert(name.to_owned(), value);
    }
    if !stored.gaps().is_empty() {
        fields.insert(GAPS.to_owned(), stored.gaps().join("\n").into());
    }
    Value::Object(fields).to_string()
}

/// The source is named by the key, but for its topic id.
fn exact_fields(exact: &Exact) -> [(&'static str, Value); 15] {
    let Exact { position, record, gaps: _ } = exact;
    let destination = &record.destination;
    [
        (GENERATION, record.generation.0.into()),
        (N, position.n.into()),
        (LEADER_EPOCH, position.leader_epoch.into()),
        (DESTINATION_OFFSET, position.destination_offset.into()),
        (ENGINE, record.engine.to_string().into()),
        (PRODUCER_ID, record.producer_id.into()),
        (BASE_N, record.base_n.into()),
        (BASE_OFFSET, record.base_offset.into()),
        (BASE_SOURCE_OFFSET, record.base_source_offset.into()),
        (SHARED, record.shared.into()),
        (SOURCE_TOPIC_ID, record.source.topic_id.to_string().into()),
        (DESTINATION_CLUSTER, destination.cluster.as_str().into()),
        (DESTINATION_TOPIC, destination.topic.as_str().into()),
        (DESTINATION_TOPIC_ID, destination.topic_id.to_string().into()),
        (DESTINATION_PARTITION, destination.partition.into()),
    ]
}

/// Reads a record. Nothing: it is not the position of a lane, or it is malformed; the text says why.
///
/// # Errors
/// What is not as it should be.
pub fn read(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Entry, String> {
    let lane = read_key(key.ok_or("it has no key")?)?;
    let stored = value.map(|value| read_value(&lane, value)).transpose()?.flatten();
    Ok(Entry { lane, stored })
}

fn read_key(key: &[u8]) -> Result<LaneId, String> {
    let json: Value =
        serde_json::from_slice(key).map_err(|error| format!("its key is not JSON ({error})"))?;
    let [connector, partition] = json.as_array().map(Vec::as_slice).unwrap_or_default() else {
        return Err("its key is not [connector, source partition]".into());
    };
    let connector = connector.as_str().ok_or("its key does not begin with a connector's name")?;
    let fields = partition.as_object().ok_or("its source partition is not an object")?;
    let number = fields.get("partition").and_then(number).ok_or("its source partition has no partition")?;
    Ok(LaneId {
        connector: connector.parse::<ConnectorName>().map_err(|error| error.to_string())?,
        source_cluster: text(fields, "cluster")?.parse::<ClusterId>().map_err(|error| error.to_string())?,
        topic: text(fields, "topic")?.parse::<TopicName>().map_err(|error| error.to_string())?,
        partition: i32::try_from(number).map_err(|_| format!("partition {number} is out of range"))?,
    })
}

/// A value of `null` deletes, as a tombstone does.
fn read_value(lane: &LaneId, value: &[u8]) -> Result<Option<Stored>, String> {
    let json: Value =
        serde_json::from_slice(value).map_err(|error| format!("its value is not JSON ({error})"))?;
    if json.is_null() {
        return Ok(None);
    }
    let offset = json.get("offset").and_then(number).ok_or("its value has no offset")?;
    let next_offset = offset.checked_add(1).ok_or("its offset is out of range")?;
    Ok(Some(Stored { next_offset, exact: read_exact(lane, next_offset, &json) }))
}

/// Nothing: a field of ours is not there, or is not what we would write.
fn read_exact(lane: &LaneId, next_offset: i64, fields: &Value) -> Option<Exact> {
    let long = |name: &str| number(fields.get(name)?);
    let int = |name: &str| i32::try_from(long(name)?).ok();
    let text = |name: &str| fields.get(name)?.as_str();
    let topic_id = |name: &str| Some(TopicId(uuid::Uuid::parse_str(text(name)?).ok()?.as_u128()));
    let generation = LaneGeneration(u64::try_from(long(GENERATION)?).ok()?);
    let position = Position {
        generation,
        next_offset,
        leader_epoch: int(LEADER_EPOCH)?,
        n: long(N)?,
        destination_offset: long(DESTINATION_OFFSET)?,
    };
    let record = LaneRecord {
        lane: lane.clone(),
        generation,
        engine: [Engine::Raw, Engine::Librdkafka]
            .into_iter()
            .find(|engine| text(ENGINE) == Some(engine.to_string().as_str()))?,
        source: LaneEnd {
            cluster: lane.source_cluster.clone(),
            topic: lane.topic.clone(),
            topic_id: topic_id(SOURCE_TOPIC_ID)?,
            partition: lane.partition,
        },
        destination: LaneEnd {
            cluster: text(DESTINATION_CLUSTER)?.parse().ok()?,
            topic: text(DESTINATION_TOPIC)?.parse().ok()?,
            topic_id: topic_id(DESTINATION_TOPIC_ID)?,
            partition: int(DESTINATION_PARTITION)?,
        },
        producer_id: long(PRODUCER_ID)?,
        base_n: long(BASE_N)?,
        base_offset: long(BASE_OFFSET)?,
        base_source_offset: long(BASE_SOURCE_OFFSET)?,
        shared: truth(fields.get(SHARED)?)?,
    };
    let gaps = text(GAPS).map(|gaps| gaps.lines().map(str::to_owned).collect()).unwrap_or_default();
    Some(Exact { position, record, gaps })
}

fn text<'f>(fields: &'f Map<String, Value>, name: &str) -> Result<&'f str, String> {
    fields.get(name).and_then(Value::as_str).ok_or_else(|| format!("its source partition has no {name}"))
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn truth(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| value.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lane(connector: &str, partition: i32) -> LaneId {
        LaneId {
            connector: connector.parse().unwrap(),
            source_cluster: "khxOb9lATbCBolngUaja4g".parse().unwrap(),
            topic: "connect".parse().unwrap(),
            partition,
        }
    }

    fn exact_of(lane: &LaneId) -> Stored {
        let position = Position {
            generation: LaneGeneration(3),
            next_offset: 100,
            leader_epoch: 8,
            n: 120,
            destination_offset: 620,
        };
        let source = LaneEnd {
            cluster: lane.source_cluster.clone(),
            topic: lane.topic.clone(),
            topic_id: TopicId(255),
            partition: lane.partition,
        };
        let destination = LaneEnd {
            cluster: "d".parse().unwrap(),
            topic: "t.copy".parse().unwrap(),
            topic_id: TopicId::NONE,
            partition: lane.partition,
        };
        let record = LaneRecord {
            lane: lane.clone(),
            generation: LaneGeneration(3),
            engine: Engine::Raw,
            source,
            destination,
            producer_id: 4_000,
            base_n: 20,
            base_offset: 500,
            base_source_offset: 1,
            shared: true,
        };
        Stored::exact(position, record)
    }

    fn read_back(lane: &LaneId, value: &str) -> Result<Option<Stored>, String> {
        read(Some(key(lane).as_bytes()), Some(value.as_bytes())).map(|entry| entry.stored)
    }

    #[test]
    fn the_bytes_are_connects() {
        assert_eq!(
            key(&lane("connect-test", 3)),
            r#"["connect-test",{"cluster":"khxOb9lATbCBolngUaja4g","partition":3,"topic":"connect"}]"#
        );
        assert_eq!(key(&lane(r#"a"b\ñ/"#, 0)).split(',').next(), Some(r#"["a\"b\\ñ/""#));
        assert_eq!(value(&Stored::plain(42)), r#"{"offset":41}"#);
        assert_eq!(value(&Stored::plain(0)), r#"{"offset":-1}"#);
    }

    #[test]
    fn an_exact_position_is_flat() {
        let stored = exact_of(&lane("c", 7));
        let expected = concat!(
            r#"{"offset":99,"copyist.generation":3,"copyist.n":120,"copyist.leader.epoch":8,"#,
            r#""copyist.destination.offset":620,"copyist.engine":"raw","copyist.producer.id":4000,"copyist.base.n":20,"#,
            r#""copyist.base.offset":500,"copyist.base.source.offset":1,"copyist.shared":true,"#,
            r#""copyist.source.topic.id":"00000000-0000-0000-0000-0000000000ff","copyist.destination.cluster":"d","#,
            r#""copyist.destination.topic":"t.copy","#,
            r#""copyist.destination.topic.id":"00000000-0000-0000-0000-000000000000","#,
            r#""copyist.destination.partition":7}"#,
        );
        assert_eq!(value(&stored), expected);
        assert_eq!(read_back(&lane("c", 7), expected), Ok(Some(stored)));
    }

    #[test]
    fn losses_that_were_gone_past_travel_along() {
        let gaps = vec!["offsets 3 to 5 are lost".to_owned(), "\"so\" is 9".to_owned()];
        let stored = exact_of(&lane("c", 7)).with_gaps(gaps.clone());
        assert_eq!(stored.gaps(), gaps);
        let text = value(&stored);
        assert!(text.ends_with(r#","copyist.gaps":"offsets 3 to 5 are lost\n\"so\" is 9"}"#), "{text}");
        assert_eq!(read_back(&lane("c", 7), &text), Ok(Some(stored)));
        assert_eq!(
            Stored::plain(9).with_gaps(gaps),
            Stored::plain(9),
            "an offset that a user sets begins anew"
        );
    }

    #[test]
    fn readers_of_exact_positions_are_tolerant_too() {
        let stored = exact_of(&lane("c", 7));
        let fields: Map<String, Value> = serde_json::from_str(&value(&stored)).unwrap();
        let as_text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let texts: Map<String, Value> =
            fields.iter().rev().map(|(name, value)| (name.clone(), as_text(value).into())).collect();
        assert_eq!(read_back(&lane("c", 7), &Value::Object(texts).to_string()), Ok(Some(stored)));
    }

    #[test]
    fn fields_of_ours_that_are_no_whole_are_no_fields_of_ours() {
        let fields: Map<String, Value> = serde_json::from_str(&value(&exact_of(&lane("c", 7)))).unwrap();
        let plain = Ok(Some(Stored::plain(100)));
        for name in fields.keys().filter(|name| *name != "offset") {
            let mut partial = fields.clone();
            partial.remove(name);
            assert_eq!(
                read_back(&lane("c", 7), &Value::Object(partial).to_string()),
                plain,
                "without {name}"
            );
            for wrong in [Value::Null, "".into(), 1.5.into(), Value::Array(Vec::new())] {
                let mut malformed = fields.clone();
                malformed.insert(name.clone(), wrong.clone());
                let read = read_back(&lane("c", 7), &Value::Object(malformed).to_string());
                assert_eq!(read, plain, "{name}: {wrong}");
            }
        }
        let rows = [(GENERATION, -1), (LEADER_EPOCH, i64::MAX), (DESTINATION_PARTITION, i64::MIN)];
        for (name, out_of_range) in rows {
            let mut malformed = fields.clone();
            malformed.insert(name.to_owned(), out_of_range.into());
            assert_eq!(read_back(&lane("c", 7), &Value::Object(malformed).to_string()), plain, "{name}");
        }
    }

    #[test]
    fn readers_are_tolerant() {
        let expected = Entry { lane: lane("c", 7), stored: Some(Stored::plain(100)) };
        let keys = [
            key(&lane("c", 7)),
            r#"["c", {"topic":"connect","partition":"7","cluster":"khxOb9lATbCBolngUaja4g"}]"#.into(),
            r#"["c",{"copyist.x":[1],"partition":7,"topic":"connect","cluster":"khxOb9lATbCBolngUaja4g"}]"#
                .into(),
        ];
        let values = [r#"{"offset":99}"#, r#"{"copyist.n":5,"offset":"99"}"#, r#" {"a":{}, "offset" : 99 }"#];
        for key in &keys {
            for value in values {
                assert_eq!(read(Some(key.as_bytes()), Some(value.as_bytes())), Ok(expected.clone()));
            }
            for deleted in [None, Some("null".as_bytes())] {
                assert_eq!(read(Some(key.as_bytes()), deleted).unwrap().stored, None);
            }
        }
    }

    #[test]
    fn malformed_records_say_why() {
        let good = key(&lane("c", 7));
        let rows: [(Option<&str>, &str, &str); 11] = [
            (None, "{}", "no key"),
            (Some("{"), "{}", "not JSON"),
            (Some(r#""c""#), "{}", "[connector, source partition]"),
            (Some(r#"["c"]"#), "{}", "[connector, source partition]"),
            (Some(r#"[1,{}]"#), "{}", "connector's name"),
            (Some(r#"["c",{"partition":1,"topic":"t"}]"#), "{}", "no cluster"),
            (Some(r#"["c",{"partition":1,"cluster":"k","topic":"a b"}]"#), "{}", "topic name"),
            (Some(r#"["c",{"filename":"/x"}]"#), r#"{"position":4}"#, "no partition"),
            (Some(r#"["c",{"partition":3000000000,"cluster":"k","topic":"t"}]"#), "{}", "out of range"),
            (Some(&good), "x", "not JSON"),
            (Some(&good), "{}", "no offset"),
        ];
        for (key, value, expected) in rows {
            let fault = read(key.map(str::as_bytes), Some(value.as_bytes())).unwrap_err();
            assert!(fault.contains(expected), "{key:?} {value}: {fault}");
        }
    }

    prop_compose! {
        fn exact()(
            next_offset: i64, leader_epoch: i32, n: i64, destination_offset: i64,
            generation in 0..=i64::MAX as u64,
            raw: bool, shared: bool, producer_id: i64, bases: [i64; 3], topic_ids: [u128; 2],
            destination_partition: i32,
        ) -> Stored {
            let mut exact = exact_of(&lane("c", 7)).exact.expect("it is made so");
            let generation = LaneGeneration(generation);
            exact.position = Position { generation, next_offset, leader_epoch, n, destination_offset };
            let record = &mut exact.record;
            record.generation = generation;
            record.engine = if raw { Engine::Raw } else { Engine::Librdkafka };
            record.shared = shared;
            record.producer_id = producer_id;
            [record.base_n, record.base_offset, record.base_source_offset] = bases;
            [record.source.topic_id, record.destination.topic_id] = topic_ids.map(TopicId);
            record.destination.partition = destination_partition;
            Stored::exact(exact.position, exact.record)
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            connector in "[^\\p{Cc}]{0,8}[a-z\"\\\\ñ]",
            partition in 0..i32::MAX,
            next in 0..i64::MAX,
        ) {
            let lane = lane(&connector, partition);
            let stored = Stored::plain(next);
            let entry = read(Some(key(&lane).as_bytes()), Some(value(&stored).as_bytes()));
            prop_assert_eq!(entry, Ok(Entry { lane, stored: Some(stored) }));
        }

        #[test]
        fn what_is_exact_is_read_as_it_was(stored in exact()) {
            prop_assume!(stored.next_offset > i64::MIN);
            prop_assert_eq!(read_back(&lane("c", 7), &value(&stored)), Ok(Some(stored)));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(key: Vec<u8>, value: Vec<u8>) {
            let _ = read(Some(&key), Some(&value));
        }

        #[test]
        fn no_damage_makes_the_reader_panic(stored in exact(), at: prop::sample::Index, byte: u8) {
            prop_assume!(stored.next_offset > i64::MIN);
            let mut value = value(&stored).into_bytes();
            let at = at.index(value.len());
            value[at] = byte;
            let _ = read(Some(key(&lane("c", 7)).as_bytes()), Some(&value));
        }
    }
}
