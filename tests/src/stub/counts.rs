//! What a stub served and took, and what it found wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::broker::locked;

/// Counters of a running stub.
#[derive(Debug, Default)]
pub struct Counts {
    fetched: Flow,
    produced: Flow,
    duplicates: AtomicU64,
    faults: Mutex<BTreeMap<&'static str, u64>>,
    refused: Mutex<BTreeMap<i16, u64>>,
}

#[derive(Debug, Default)]
struct Flow {
    requests: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
}

impl Flow {
    fn add(&self, records: u64, bytes: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Counts {
    pub(crate) fn fetched(&self, records: u64, bytes: usize) {
        self.fetched.add(records, bytes as u64);
    }

    pub(crate) fn produced(&self, records: u64, bytes: u64) {
        self.produced.add(records, bytes);
    }

    pub(crate) fn duplicate(&self) {
        self.duplicates.fetch_add(1, Ordering::Relaxed);
    }

    /// Something that no correct client does.
    pub(crate) fn fault(&self, what: &'static str) {
        *locked(&self.faults).entry(what).or_default() += 1;
    }

    /// A batch was refused by the stub itself, with this code.
    pub(crate) fn refused(&self, code: i16) {
        *locked(&self.refused).entry(code).or_default() += 1;
    }

    pub fn snapshot(&self) -> Snapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Snapshot {
            fetch_requests: read(&self.fetched.requests),
            fetched_records: read(&self.fetched.records),
            fetched_bytes: read(&self.fetched.bytes),
            produce_requests: read(&self.produced.requests),
            produced_records: read(&self.produced.records),
            produced_bytes: read(&self.produced.bytes),
            duplicates: read(&self.duplicates),
            faults: locked(&self.faults).iter().map(|(what, count)| ((*what).to_owned(), *count)).collect(),
            refused: locked(&self.refused).clone(),
        }
    }
}

/// The counters at one moment. Bytes are those of batches, as they are on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Snapshot {
    pub fetch_requests: u64,
    pub fetched_records: u64,
    pub fetched_bytes: u64,
    pub produce_requests: u64,
    pub produced_records: u64,
    pub produced_bytes: u64,
    /// Batches that were known already, and acknowledged with their first offset.
    pub duplicates: u64,
    /// Breaches of the protocol, by what they are.
    pub faults: BTreeMap<String, u64>,
    /// Batches refused by the stub itself, by error code.
    pub refused: BTreeMap<i16, u64>,
}

impl Snapshot {
    pub fn fault_count(&self) -> u64 {
        self.faults.values().sum()
    }

    /// One line about the time since `before`, which was `seconds` ago.
    pub fn line(&self, before: &Snapshot, seconds: f64) -> String {
        let rate = |now: u64, then: u64, per: f64| (now - then) as f64 / seconds / per;
        let mut line = String::new();
        for (what, records, bytes) in [
            (
                "fetched",
                (self.fetched_records, before.fetched_records),
                (self.fetched_bytes, before.fetched_bytes),
            ),
            (
                "produced",
                (self.produced_records, before.produced_records),
                (self.produced_bytes, before.produced_bytes),
            ),
        ] {
            let records_rate = rate(records.0, records.1, 1e6);
            let bytes_rate = rate(bytes.0, bytes.1, 1e9);
            line += &format!("{what} {records_rate:.3} M records/s {bytes_rate:.3} GB/s, ");
        }
        line + &self.to_string()
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "in all fetched {} records {} bytes, produced {} records {} bytes, {} duplicates, {} faults",
            self.fetched_records,
            self.fetched_bytes,
            self.produced_records,
            self.produced_bytes,
            self.duplicates,
            self.fault_count()
        )?;
        self.faults.iter().try_for_each(|(what, count)| write!(f, "; {what}: {count}"))?;
        self.refused.iter().try_for_each(|(code, count)| write!(f, "; refused with {code}: {count}"))
    }
}
