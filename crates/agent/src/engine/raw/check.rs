//! The first batch that a destination topic stores is read back and compared: whoever changes batches on their way must
//! not go unnoticed.

use bytes::Bytes;
use copyist_kafka::{Cluster, Error, OutgoingBatch, PartitionKey, questions};
use copyist_wire::{Batch, Records, Walk, codec};

/// What a batch may decompress to.
const PLAIN_BYTES_MAX: usize = 512 << 20;

/// `None`: it is there as it was sent; else what is different. An error: it could not be read.
///
/// # Errors
/// As [`questions::read_at`].
pub async fn read_back(
    cluster: &Cluster,
    key: &PartitionKey,
    base_offset: i64,
    sent: &OutgoingBatch,
) -> Result<Option<String>, Error> {
    let (leader, at) = cluster.leader(key).await?;
    let found = questions::read_at(&leader, key, at.epoch, base_offset, 1).await?;
    if found.records.is_empty() {
        return Err(Error::Unknown { what: format!("what {key} stored at {base_offset}") });
    }
    Ok(difference(sent, &found.records, base_offset))
}

/// What is different between what was sent and what is at `base_offset` of the log now. Brokers set the base offset, the
/// leader epoch and, with LogAppendTime, the time; they may compress anew as the topic says.
#[must_use]
pub fn difference(sent: &OutgoingBatch, found: &Bytes, base_offset: i64) -> Option<String> {
    let whole = [&sent.header[..], &sent.payload].concat();
    let Ok(ours) = Batch::new(&whole) else { return Some("what was sent is no batch".to_owned()) };
    let at = Walk::new(found).map_while(Result::ok).find(|found| found.batch.base_offset() == base_offset);
    let Some(theirs) = at.map(|found| found.batch) else {
        return Some(format!("no batch begins at offset {base_offset}"));
    };
    let numbers = |batch: &Batch<'_>| {
        [
            batch.producer_id(),
            batch.producer_epoch().into(),
            batch.base_sequence().into(),
            batch.count().into(),
        ]
    };
    if numbers(&ours) != numbers(&theirs) {
        return Some(format!(
            "producer id, epoch, sequence and count are {:?}, not {:?}",
            numbers(&theirs),
            numbers(&ours)
        ));
    }
    let stamped = theirs.is_log_append_time();
    let times = |batch: &Batch<'_>| [batch.base_timestamp(), batch.max_timestamp()];
    if !stamped && times(&ours) != times(&theirs) {
        return Some(format!("timestamps are {:?}, not {:?}", times(&theirs), times(&ours)));
    }
    if ours.codec() == theirs.codec() && ours.records() == theirs.records() {
        return None;
    }
    different_records(&ours, &theirs)
}

/// Compressed otherwise, the records must still be the same.
fn different_records(ours: &Batch<'_>, theirs: &Batch<'_>) -> Option<String> {
    let plain = |batch: &Batch<'_>| {
        let mut plain = Vec::new();
        codec::decompress(batch, &mut plain, PLAIN_BYTES_MAX)
            .map(|()| plain)
            .map_err(|error| error.to_string())
    };
    let (our_records, their_records) = match (plain(ours), plain(theirs)) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(why), _) | (_, Err(why)) => return Some(why),
    };
    let pairs = Records::new(ours, &our_records).zip(Records::new(theirs, &their_records));
    for (index, pair) in pairs.enumerate() {
        match pair {
            (Ok(one), Ok(other))
                if one.body == other.body
                    && one.timestamp_delta == other.timestamp_delta
                    && one.offset_delta == other.offset_delta => {}
            (Ok(_), Ok(_)) => return Some(format!("record {index} of it is another")),
            (Err(error), _) | (_, Err(error)) => return Some(error.to_string()),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::reader::tests::{batch, like};
    use super::*;
    use copyist_wire::{Codec, HEADER_BYTES, Stamp, patch};

    /// A batch as it was sent, and as a broker stores it at offset 7.
    fn sent_and_stored() -> (OutgoingBatch, Vec<u8>) {
        let bytes = batch(like(0, 3, 50));
        let stamp = Stamp { producer_id: 5, producer_epoch: 0, base_sequence: 9 };
        let header = patch(&Batch::new(&bytes).unwrap(), stamp);
        let sent = OutgoingBatch { header, payload: bytes[HEADER_BYTES..].to_vec().into() };
        let mut stored = [&header[..], &bytes[HEADER_BYTES..]].concat();
        stored[0..8].copy_from_slice(&7_i64.to_be_bytes());
        stored[12..16].copy_from_slice(&4_i32.to_be_bytes());
        (sent, stored)
    }

    #[test]
    fn what_a_broker_may_set_is_no_difference() {
        let (sent, mut stored) = sent_and_stored();
        assert_eq!(difference(&sent, &stored.clone().into(), 7), None);
        // LogAppendTime.
        stored[22] |= 8;
        stored[35..43].copy_from_slice(&99_i64.to_be_bytes());
        assert_eq!(difference(&sent, &stored.into(), 7), None);
    }

    #[test]
    fn compressed_anew_the_records_are_compared() {
        let (sent, stored) = sent_and_stored();
        let mut zipped = stored[..HEADER_BYTES].to_vec();
        codec::compress(Codec::Lz4, &stored[HEADER_BYTES..], &mut zipped).unwrap();
        let length = i32::try_from(zipped.len() - 12).unwrap();
        zipped[8..12].copy_from_slice(&length.to_be_bytes());
        zipped[22] |= Codec::Lz4.bits() as u8;
        assert_eq!(difference(&sent, &zipped.clone().into(), 7), None);
        let mut other = sent;
        let mut payload = other.payload.to_vec();
        payload[20] ^= 1;
        other.payload = payload.into();
        assert_eq!(difference(&other, &zipped.into(), 7).unwrap(), "record 0 of it is another");
    }

    #[test]
    fn each_difference_is_named() {
        let (sent, stored) = sent_and_stored();
        assert_eq!(difference(&sent, &stored.clone().into(), 8).unwrap(), "no batch begins at offset 8");
        assert_eq!(difference(&sent, &Bytes::new(), 7).unwrap(), "no batch begins at offset 7");
        for (at, word) in [(30, "timestamps"), (42, "timestamps"), (50, "producer id"), (56, "producer id")] {
            let mut stored = stored.clone();
            stored[at] ^= 1;
            let found = difference(&sent, &stored.into(), 7).unwrap();
            assert!(found.contains(word), "byte {at}: {found}");
        }
        let mut stored = stored;
        *stored.last_mut().unwrap() ^= 1;
        assert!(difference(&sent, &stored.into(), 7).is_some());
    }
}
