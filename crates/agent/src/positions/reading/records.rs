//! The positions in what a broker answered to a fetch. Pure.

use copyist_kafka::FetchedPartition;
use copyist_wire::{Aborted, Batch, Error, Fault, Judged, Records, Walk, codec, crc};

use super::Found;
use crate::positions::format;

/// A batch of positions that becomes larger than this when it is decompressed is not one.
const PLAIN_BYTES_MAX: usize = 256 << 20;

/// What was found from `from` on, and the offset to read on from.
///
/// # Errors
/// Bytes that are damaged, or of an old message format.
pub(super) fn read(partition: &FetchedPartition, from: i64) -> Result<(Vec<Found>, i64), Error> {
    let mut aborted = Aborted::new(partition.aborted.iter().copied());
    let (mut all, mut next) = (Vec::new(), from);
    for found in Walk::new(&partition.records) {
        let batch = found?.batch;
        next = next.max(batch.next_offset());
        if aborted.judge(&batch)? == Judged::Data {
            read_batch(&batch, partition.key.partition, from, &mut all)?;
        }
    }
    Ok((all, next))
}

fn read_batch(batch: &Batch<'_>, partition: i32, from: i64, all: &mut Vec<Found>) -> Result<(), Error> {
    let base_offset = batch.base_offset();
    if !crc::verify(batch) {
        return Err(Error::Batch { at: 0, base_offset, fault: Fault::Crc });
    }
    let mut plain = Vec::new();
    codec::decompress(batch, &mut plain, PLAIN_BYTES_MAX)?;
    for record in Records::new(batch, &plain) {
        let record = record?.view()?;
        let offset = base_offset.saturating_add(record.offset_delta.into());
        // A batch comes whole, also when only its end is asked for.
        if offset >= from {
            all.push(Found { partition, offset, entry: format::read(record.key, record.value) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use copyist_kafka::{Code, PartitionKey, Topic};
    use copyist_model::{LaneId, TopicId};
    use copyist_wire::{NewRecord, build};

    use super::*;
    use crate::positions::Stored;

    fn lane(partition: i32) -> LaneId {
        let (source_cluster, topic) = ("k".parse().unwrap(), "t".parse().unwrap());
        LaneId { connector: "c".parse().unwrap(), source_cluster, topic, partition }
    }

    /// Two positions of lanes `first` and `first + 1`.
    fn batch(base_offset: i64, first: i32) -> BytesMut {
        let keys = [format::key(&lane(first)), format::key(&lane(first + 1))];
        let value = format::value(&Stored::plain(9));
        let record = |key: &'_ String| NewRecord {
            key: Some(key.clone().leak().as_bytes()),
            value: Some(value.clone().leak().as_bytes()),
            timestamp: 1,
        };
        let mut bytes = BytesMut::from(&build(&keys.each_ref().map(record)).unwrap()[..]);
        // The broker does so, and the CRC does not cover it.
        bytes[0..8].copy_from_slice(&base_offset.to_be_bytes());
        bytes
    }

    fn fetched(batches: &[BytesMut], aborted: Vec<(i64, i64)>) -> FetchedPartition {
        let topic = Topic::new("p".parse().unwrap(), TopicId::NONE);
        FetchedPartition {
            key: PartitionKey { topic, partition: 3 },
            code: Code::NONE,
            high_watermark: 100,
            last_stable_offset: 100,
            log_start_offset: 0,
            aborted,
            diverging: None,
            current_leader: None,
            preferred_read_replica: None,
            records: Bytes::from(batches.concat()),
        }
    }

    fn offsets(found: &[Found]) -> Vec<(i64, i32)> {
        let lane = |found: &Found| found.entry.as_ref().map_or(-1, |entry| entry.lane.partition);
        found.iter().map(|found| (found.offset, lane(found))).collect()
    }

    /// With another attribute, of producer 5, the CRC right.
    fn with_attributes(mut batch: BytesMut, attributes: i16) -> BytesMut {
        batch[21..23].copy_from_slice(&attributes.to_be_bytes());
        batch[43..51].copy_from_slice(&5_i64.to_be_bytes());
        let crc = crc32c(&batch[21..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        batch
    }

    /// Bit by bit.
    fn crc32c(bytes: &[u8]) -> u32 {
        let step = |crc: u32| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
    }

    #[test]
    fn records_are_read_from_the_offset_asked_for() {
        let partition = fetched(&[batch(10, 0), batch(20, 2)], vec![]);
        let (found, next) = read(&partition, 11).unwrap();
        assert_eq!((offsets(&found), next), (vec![(11, 1), (20, 2), (21, 3)], 22));
        assert!(found.iter().all(|found| found.partition == 3));
        let (found, next) = read(&fetched(&[], vec![]), 11).unwrap();
        assert_eq!((found, next), (vec![], 11));
    }

    #[test]
    fn what_was_aborted_or_controls_is_passed_over() {
        let transactional = with_attributes(batch(10, 0), 0b1_0000);
        let partition = fetched(&[transactional.clone(), batch(20, 2)], vec![(5, 10)]);
        let (found, next) = read(&partition, 0).unwrap();
        assert_eq!((offsets(&found), next), (vec![(20, 2), (21, 3)], 22));
        let (found, _) = read(&fetched(&[transactional], vec![]), 0).unwrap();
        assert_eq!(offsets(&found), [(10, 0), (11, 1)], "committed");
        let control = with_attributes(batch(30, 0), 0b11_0000);
        let (found, next) = read(&fetched(&[control], vec![]), 0).unwrap();
        assert_eq!((found, next), (vec![], 32));
    }

    #[test]
    fn damage_and_old_formats_are_errors_and_other_records_are_not() {
        let mut damaged = batch(10, 0);
        damaged[80] ^= 1;
        let told = read(&fetched(&[damaged], vec![]), 0).unwrap_err();
        assert!(matches!(told, Error::Batch { fault: Fault::Crc, .. }), "{told}");
        let mut old = batch(10, 0);
        old[16] = 1;
        let told = read(&fetched(&[old], vec![]), 0).unwrap_err();
        assert!(matches!(told, Error::OldMagic { .. }), "{told}");
        let other = build(&[NewRecord { key: Some(b"x"), value: None, timestamp: 1 }]).unwrap();
        let (found, next) = read(&fetched(&[BytesMut::from(&other[..])], vec![]), 0).unwrap();
        assert!(found[0].entry.is_err());
        assert_eq!(next, 1);
    }
}
