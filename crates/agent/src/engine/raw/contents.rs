//! The records of both ends as fingerprints, for lanes whose numbers do not tell what is at the destination.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::time::Duration;

use copyist_kafka::{Cluster, Error, FetchLimits, FetchedPartition, Isolation, PartitionKey, questions};
use copyist_lane::{Answer, Fingerprint};
use copyist_wire::{Aborted, Judged, Records, Walk, codec};

use super::answers::Ends;

/// What one answer may bring.
const FETCH_BYTES: i32 = 1 << 20;
/// What a batch may decompress to.
const PLAIN_BYTES_MAX: usize = 256 << 20;
/// Records compared at most: what is between two stored positions, with room.
const RECORDS_MAX: usize = 1_000_000;
const PATIENCE: Duration = Duration::from_millis(500);

/// The destination's records in a range, and the source's from an offset on, twice as many of them.
///
/// # Errors
/// When either does not answer, or holds what cannot be read.
pub async fn compare(ends: &Ends, source_from: i64, destination: Range<i64>) -> Result<Answer, Error> {
    let written = read(&ends.destination_cluster, &ends.destination, destination, RECORDS_MAX).await?;
    let wanted = (2 * written.len()).clamp(16, RECORDS_MAX);
    let source = read(&ends.source_cluster, &ends.source, source_from..i64::MAX, wanted).await?;
    let destination = written.into_iter().map(|(_, print)| print).collect();
    Ok(Answer::Contents { source, destination })
}

/// Committed records within the range, up to `records_max`, or to the end of the log.
async fn read(
    cluster: &Cluster,
    key: &PartitionKey,
    range: Range<i64>,
    records_max: usize,
) -> Result<Vec<(i64, Fingerprint)>, Error> {
    let mut prints = Vec::new();
    let mut next = range.start;
    while next < range.end && prints.len() < records_max {
        let partition = fetch(cluster, key, next).await?;
        let after = take(&partition, &range, &mut prints)?;
        if after <= next {
            break;
        }
        next = after;
    }
    prints.truncate(records_max);
    Ok(prints)
}

async fn fetch(cluster: &Cluster, key: &PartitionKey, offset: i64) -> Result<FetchedPartition, Error> {
    let (leader, at) = cluster.leader(key).await?;
    let limits = FetchLimits {
        max_wait: PATIENCE,
        min_bytes: 1,
        max_bytes: FETCH_BYTES,
        isolation: Isolation::ReadCommitted,
    };
    questions::read_once(&leader, key, at.epoch, offset, &limits).await
}

/// The offset to read on from.
fn take(
    partition: &FetchedPartition,
    range: &Range<i64>,
    prints: &mut Vec<(i64, Fingerprint)>,
) -> Result<i64, Error> {
    let unreadable = |error: copyist_wire::Error| Error::Malformed {
        what: "a record batch",
        at: 0,
        why: format!("{}: {error}", partition.key),
    };
    let mut aborted = Aborted::new(partition.aborted.iter().copied());
    let mut next = range.start;
    let mut plain = Vec::new();
    for found in Walk::new(&partition.records) {
        let batch = found.map_err(unreadable)?.batch;
        next = batch.next_offset();
        if aborted.judge(&batch).map_err(unreadable)? != Judged::Data {
            continue;
        }
        plain.clear();
        codec::decompress(&batch, &mut plain, PLAIN_BYTES_MAX).map_err(unreadable)?;
        for record in Records::new(&batch, &plain) {
            let record = record.map_err(unreadable)?;
            let offset = batch.base_offset().saturating_add(record.offset_delta.into());
            if range.contains(&offset) {
                let timestamp = match batch.is_log_append_time() {
                    true => batch.max_timestamp(),
                    false => batch.base_timestamp().wrapping_add(record.timestamp_delta),
                };
                prints.push((offset, fingerprint(timestamp, record.body)));
            }
        }
    }
    Ok(next)
}

/// Two 64-bit hashes, begun differently: equal content by chance is out of the question, and nobody gains by it.
fn fingerprint(timestamp: i64, body: &[u8]) -> Fingerprint {
    let half = |seed: u64| {
        let mut hasher = DefaultHasher::new();
        (seed, timestamp, body).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    Fingerprint(half(0x5eed) << 64 | half(0xf00d))
}
