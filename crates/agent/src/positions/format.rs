//! The bytes of a position, as Kafka Connect writes them. Pure.
//!
//! Key: `["<connector>",{"cluster":…,"partition":…,"topic":…}]`, without blanks, in this order. Value:
//! `{"offset":N}`, where N is the last offset copied: one less than the next, also before the first record.
//! Readers are tolerant: any order of fields, numbers as text, and fields of ours (`copyist.*`) or of others.

use copyist_model::{ClusterId, ConnectorName, LaneId, TopicName};
use serde_json::{Map, Value};

/// A position as it is read from the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub lane: LaneId,
    /// Next source offset to copy; nothing: the position was deleted.
    pub next_offset: Option<i64>,
}

/// The record's key.
#[must_use]
pub fn key(lane: &LaneId) -> String {
    let text = |text: &str| Value::from(text).to_string();
    format!(
        r#"[{},{{"cluster":{},"partition":{},"topic":{}}}]"#,
        text(lane.connector.as_str()),
        text(lane.source_cluster.as_str()),
        lane.partition,
        text(lane.topic.as_str())
    )
}

/// The record's value for the next source offset to copy.
#[must_use]
pub fn value(next_offset: i64) -> String {
    format!(r#"{{"offset":{}}}"#, next_offset - 1)
}

/// Reads a record. Nothing: it is not the position of a lane, or it is malformed; the text says why.
///
/// # Errors
/// What is not as it should be.
pub fn read(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Entry, String> {
    let lane = read_key(key.ok_or("it has no key")?)?;
    let next_offset = value.map(read_value).transpose()?.flatten();
    Ok(Entry { lane, next_offset })
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
fn read_value(value: &[u8]) -> Result<Option<i64>, String> {
    let json: Value =
        serde_json::from_slice(value).map_err(|error| format!("its value is not JSON ({error})"))?;
    if json.is_null() {
        return Ok(None);
    }
    let offset = json.get("offset").and_then(number).ok_or("its value has no offset")?;
    Ok(Some(offset.checked_add(1).ok_or("its offset is out of range")?))
}

fn text<'f>(fields: &'f Map<String, Value>, name: &str) -> Result<&'f str, String> {
    fields.get(name).and_then(Value::as_str).ok_or_else(|| format!("its source partition has no {name}"))
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
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

    #[test]
    fn the_bytes_are_connects() {
        assert_eq!(
            key(&lane("connect-test", 3)),
            r#"["connect-test",{"cluster":"khxOb9lATbCBolngUaja4g","partition":3,"topic":"connect"}]"#
        );
        assert_eq!(key(&lane(r#"a"b\ñ/"#, 0)).split(',').next(), Some(r#"["a\"b\\ñ/""#));
        assert_eq!(value(42), r#"{"offset":41}"#);
        assert_eq!(value(0), r#"{"offset":-1}"#);
    }

    #[test]
    fn readers_are_tolerant() {
        let expected = Entry { lane: lane("c", 7), next_offset: Some(100) };
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
                assert_eq!(read(Some(key.as_bytes()), deleted).unwrap().next_offset, None);
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

    proptest! {
        #[test]
        fn what_is_written_is_read(
            connector in "[^\\p{Cc}]{0,8}[a-z\"\\\\ñ]",
            partition in 0..i32::MAX,
            next in 0..i64::MAX,
        ) {
            let lane = lane(&connector, partition);
            let entry = read(Some(key(&lane).as_bytes()), Some(value(next).as_bytes()));
            prop_assert_eq!(entry, Ok(Entry { lane, next_offset: Some(next) }));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(key: Vec<u8>, value: Vec<u8>) {
            let _ = read(Some(&key), Some(&value));
        }
    }
}
