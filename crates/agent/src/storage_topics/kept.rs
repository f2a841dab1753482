//! What one of the topics holds: of each key the last record. Pure.

use std::collections::BTreeMap;

use crate::compacted::reading::Found;

/// By key. Keys that are no text are nobody's that is known here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Kept {
    records: BTreeMap<String, Record>,
}

/// The last record of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub offset: i64,
    /// Nothing: a tombstone.
    pub value: Option<String>,
    /// For which store it was written; nothing: not by a scribe.
    pub mark: Option<String>,
}

impl Kept {
    /// Takes in a record. One that is read again changes nothing.
    pub fn apply(&mut self, found: Found) {
        let Found { partition: _, offset, key, value, mark } = found;
        let Some(key) = key.and_then(|key| String::from_utf8(key).ok()) else { return };
        if self.records.get(&key).is_some_and(|known| known.offset > offset) {
            return;
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let record = Record { offset, value: value.map(text), mark: mark.map(text) };
        self.records.insert(key, record);
    }

    /// The last record of a key, also if it is a tombstone.
    pub fn record(&self, key: &str) -> Option<&Record> {
        self.records.get(key)
    }

    /// The last record of a key, unless it is a tombstone.
    pub fn present(&self, key: &str) -> Option<&Record> {
        self.record(key).filter(|record| record.value.is_some())
    }

    /// All that are no tombstones and whose keys begin so, by what follows.
    pub fn all<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Record)> {
        let from = self.records.range(prefix.to_owned()..);
        let of_prefix = from.map_while(move |(key, record)| Some((key.strip_prefix(prefix)?, record)));
        of_prefix.filter(|(_, record)| record.value.is_some())
    }

    /// Whether what was written at this offset was read.
    pub fn has(&self, key: &str, offset: i64) -> bool {
        self.record(key).is_some_and(|record| record.offset >= offset)
    }
}

impl Record {
    /// Whether it is this value, of this store.
    pub fn is(&self, value: &str, mark: &str) -> bool {
        self.value.as_deref() == Some(value) && self.mark.as_deref() == Some(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(offset: i64, key: &str, value: Option<&str>) -> Found {
        let bytes = |text: &str| text.as_bytes().to_vec();
        Found { partition: 0, offset, key: Some(bytes(key)), value: value.map(bytes), mark: Some(bytes("m")) }
    }

    #[test]
    fn the_last_record_of_a_key_counts_however_often_it_is_read() {
        let mut kept = Kept::default();
        for (offset, value) in [(3, Some("a")), (5, Some("b")), (3, Some("a"))] {
            kept.apply(found(offset, "k", value));
        }
        assert!(kept.record("k").unwrap().is("b", "m") && !kept.record("k").unwrap().is("a", "m"));
        assert!(!kept.record("k").unwrap().is("b", "n"));
        assert!(kept.has("k", 5) && !kept.has("k", 6) && !kept.has("l", 0));
        kept.apply(found(7, "k", None));
        assert!(kept.present("k").is_none() && kept.record("k").is_some());
    }

    #[test]
    fn records_are_found_by_how_their_keys_begin_but_for_tombstones() {
        let mut kept = Kept::default();
        for (offset, key) in (0..).zip(["task-a-0", "task-b-0", "tasks-fencing-a", "commit-a", "task-c-0"]) {
            kept.apply(found(offset, key, Some("x")));
        }
        kept.apply(found(9, "task-b-0", None));
        kept.apply(Found { key: Some(vec![0xff]), ..found(10, "", Some("x")) });
        kept.apply(Found { key: None, ..found(11, "", Some("x")) });
        let keys: Vec<&str> = kept.all("task-").map(|(rest, _)| rest).collect();
        assert_eq!(keys, ["a-0", "c-0"]);
    }
}
