//! What a request to change offsets means, and what its user is told. Pure.
//!
//! The objects are those of Kafka Connect's API, in the words of MirrorMaker 2's source connector: a partition
//! `{"cluster":…,"partition":…,"topic":…}`, an offset `{"offset":N}`, where N is the last offset copied.

use std::collections::BTreeMap;

use copyist_model::{ClusterId, ConnectorName, ConnectorSpec, LaneId, TopicName};
use copyist_proto::connect::ConnectorOffset;
use serde_json::{Map, Value};

/// Lanes that are named in what a user is told.
const LANES_TOLD: usize = 10;

/// Where lanes are to go on; nothing: their position is removed.
pub(crate) type Changes = BTreeMap<LaneId, Option<i64>>;

/// Whose offsets are to change.
#[derive(Debug)]
pub(crate) struct Of<'c> {
    pub(crate) connector: &'c ConnectorName,
    /// The cluster that it copies from; nothing while no survey has told.
    pub(crate) source: Option<&'c ClusterId>,
    /// Nothing: its config cannot be read.
    pub(crate) spec: Option<&'c ConnectorSpec>,
}

/// What is asked for. Of several offsets of a partition the last one counts.
///
/// # Errors
/// Everything that is wrong, a line each.
pub(crate) fn read(of: &Of<'_>, offsets: &[ConnectorOffset]) -> Result<Changes, String> {
    let (mut changes, mut problems) = (Changes::new(), Vec::new());
    for offset in offsets {
        match read_one(of, offset) {
            Ok((lane, next_offset)) => drop(changes.insert(lane, next_offset)),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(changes) } else { Err(problems.join("\n")) }
}

fn read_one(of: &Of<'_>, asked: &ConnectorOffset) -> Result<(LaneId, Option<i64>), String> {
    let partition = object(&asked.partition_json, "Partition")?.ok_or("Partition objects cannot be null")?;
    let lane = lane(of, &partition)?;
    let offset = asked.offset_json.as_deref().map(|json| object(json, "Offset")).transpose()?.flatten();
    let next_offset = offset.map(|offset| next_offset(&partition, &offset)).transpose()?;
    let selected = of.spec.is_none_or(|spec| spec.selection.selects(&lane.topic));
    if next_offset.is_some() && !selected {
        return Err(format!(
            "Source partition {}: the connector's config does not select topic {}, so that an offset would have no effect",
            shown(&partition),
            lane.topic
        ));
    }
    Ok((lane, next_offset))
}

/// An object of primitive values; nothing for null.
fn object(json: &str, what: &str) -> Result<Option<Map<String, Value>>, String> {
    let value: Value =
        serde_json::from_str(json).map_err(|error| format!("{what} {json} is not JSON: {error}"))?;
    let object = match value {
        Value::Null => return Ok(None),
        Value::Object(object) => object,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(format!("{what} {json} is not a JSON object"));
        }
    };
    for (field, value) in &object {
        let kind = match value {
            Value::Array(_) => "ARRAY",
            Value::Object(_) => "MAP",
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => continue,
        };
        return Err(format!(
            "Offsets may only contain primitive types as values, but field {field} contains {kind}"
        ));
    }
    Ok(Some(object))
}

fn lane(of: &Of<'_>, partition: &Map<String, Value>) -> Result<LaneId, String> {
    let cluster: ClusterId = text(partition, "cluster")?;
    let topic: TopicName = text(partition, "topic")?;
    let number = field(partition, "partition")?;
    let wrong = |rule| wrong(partition, "partition", number, rule);
    let number = integer(number).ok_or_else(|| wrong("must be an integer"))?;
    let number = i32::try_from(number).map_err(|_| wrong("must be a 32-bit integer"))?;
    if number < 0 {
        return Err(wrong("cannot be negative"));
    }
    if let Some(source) = of.source.filter(|source| **source != cluster) {
        return Err(format!(
            "Source partition {} is of cluster {cluster}, and connector {} copies from cluster {source}",
            shown(partition),
            of.connector
        ));
    }
    Ok(LaneId { connector: of.connector.clone(), source_cluster: cluster, topic, partition: number })
}

fn text<T: std::str::FromStr<Err: std::fmt::Display>>(
    partition: &Map<String, Value>,
    key: &str,
) -> Result<T, String> {
    let value = field(partition, key)?;
    let text = value.as_str().ok_or_else(|| wrong(partition, key, value, "must be a string"))?;
    text.parse().map_err(|error| format!("Source partition {}: {error}", shown(partition)))
}

fn field<'p>(partition: &'p Map<String, Value>, key: &str) -> Result<&'p Value, String> {
    partition.get(key).ok_or_else(|| {
        format!("Source partition {} is missing the '{key}' key, which is required", shown(partition))
    })
}

fn wrong(partition: &Map<String, Value>, key: &str, value: &Value, rule: &str) -> String {
    let partition = shown(partition);
    format!("Source partition {partition} has an invalid value {value} for the '{key}' key, which {rule}")
}

/// The offset after the last one copied. Before the first record that is -1, as our own positions say it. Fields of ours
/// (`copyist.*`) belong to the position that was read, and not to the one that is asked for.
fn next_offset(partition: &Map<String, Value>, offset: &Map<String, Value>) -> Result<i64, String> {
    let (of, given) = (shown(partition), shown(offset));
    let Some(value) = offset.get("offset") else {
        return Err(format!(
            "Offset map {given} for partition {of} is missing the 'offset' key, which is required"
        ));
    };
    let wrong = |rule: &str| {
        format!(
            "Offset map {given} for partition {of} has an invalid value {value} for the 'offset' key, which {rule}"
        )
    };
    let last = integer(value).ok_or_else(|| wrong("must be an integer"))?;
    if last < -1 {
        return Err(wrong("cannot be below -1, which is before the first record"));
    }
    last.checked_add(1).ok_or_else(|| wrong("is too large"))
}

/// Also as text, as some clients send it.
fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn shown(object: &Map<String, Value>) -> String {
    Value::Object(object.clone()).to_string()
}

/// What lanes write again, leave out, or begin anew by a change, where they stood as `before` says; nothing: it changes
/// nothing that was copied.
pub(crate) fn told(changes: &Changes, before: &BTreeMap<LaneId, i64>) -> Option<String> {
    let mut told: Vec<String> = Vec::new();
    let mut again: i64 = 0;
    for (lane, to) in changes {
        let line = match (before.get(lane), to) {
            (Some(from), Some(to)) if to < from => {
                again = again.saturating_add(from - to);
                format!("{lane} writes offsets {to} to {} again", from - 1)
            }
            (Some(from), Some(to)) if to > from => format!("{lane} leaves out offsets {from} to {}", to - 1),
            (Some(_), Some(_)) | (None, None) => continue,
            (Some(0), None) => format!("{lane} begins anew (nothing of it was copied)"),
            (Some(from), None) => format!("{lane} begins anew (it was copied up to offset {})", from - 1),
            (None, Some(to)) => format!("{lane} begins at offset {to}"),
        };
        told.push(line);
    }
    let more = told.len().saturating_sub(LANES_TOLD);
    told.truncate(LANES_TOLD);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let sum = if again > 0 { format!("; in all {again} offsets are written again") } else { String::new() };
    (!told.is_empty()).then(|| format!("offsets were changed: {}{more}{sum}", told.join("; ")))
}

#[cfg(test)]
mod tests;
