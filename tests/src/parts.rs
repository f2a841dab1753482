//! Parts of a topic's partitions: what is copied of them where offsets were changed.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Value, json};

use crate::record::Rec;
use crate::suite;
use crate::tool::Side;

/// Of each partition, in the order in which its copy holds them: parts of the source's records, by their numbers.
pub type Parts<'p> = [&'p [Range<usize>]];

/// How many records these are.
pub fn records(parts: &Parts<'_>) -> u64 {
    parts.iter().flat_map(|parts| parts.iter()).map(|part| part.len() as u64).sum()
}

/// Each partition of `copy` holds these parts of `source`'s, and nothing else.
pub fn assert_holds(copy: Side<'_>, source: Side<'_>, parts: &Parts<'_>) {
    let (sent, copied) = (values(source), values(copy));
    for (number, parts) in (0..).zip(parts) {
        let expected: Vec<&String> = parts.iter().flat_map(|part| &sent[&number][part.clone()]).collect();
        assert_eq!(copied[&number].iter().collect::<Vec<_>>(), expected, "partition {number}");
    }
}

/// A source partition, as offsets name it.
pub fn partition_of(cluster: &str, topic: &str, partition: i64) -> Value {
    json!({"cluster": cluster, "partition": partition, "topic": topic})
}

/// The body of a change of offsets: of partitions of a topic the last copied offset, or nothing.
pub fn offsets(cluster: &str, topic: &str, last: &[(i64, Option<i64>)]) -> Value {
    let entry = |(partition, last): &(i64, Option<i64>)| {
        let partition = partition_of(cluster, topic, *partition);
        json!({"partition": partition, "offset": last.map(|last| json!({"offset": last}))})
    };
    json!({"offsets": last.iter().map(entry).collect::<Vec<_>>()})
}

/// Aborted ones as well.
fn values(Side { at, topic }: Side<'_>) -> BTreeMap<i32, Vec<String>> {
    let records = at.dump_with(&[("isolation.level", "read_uncommitted")], &[topic]);
    let mut values: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for Rec { partition, value, .. } in suite::must("read", records) {
        let text = String::from_utf8_lossy(&value.unwrap_or_default()).into_owned();
        values.entry(partition.unwrap_or_default()).or_default().push(text);
    }
    values
}
