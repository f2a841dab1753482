//! The records in what a broker answered to a fetch. Pure.

use copyist_kafka::FetchedPartition;
use copyist_wire::{Aborted, Batch, Error, Fault, Judged, Records, Walk, codec, crc};

use super::super::MARK;
use super::Found;

/// A batch of small records that becomes larger than this when it is decompressed is not one.
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
            let owned = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
            let mut headers = record.headers.clone();
            let mark = headers.find(|(name, _)| *name == MARK.as_bytes()).and_then(|(_, value)| owned(value));
            all.push(Found { partition, offset, key: owned(record.key), value: owned(record.value), mark });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use copyist_kafka::{Code, PartitionKey, Topic};
    use copyist_model::TopicId;
    use copyist_wire::{NewRecord, build};

    use super::*;
    /// Two records whose keys end with `first` and `first + 1`, the second marked. They could be of a control batch.
    fn batch(base_offset: i64, first: u8) -> BytesMut {
        let (keys, marks) =
            ([[0, 0, 0, first], [0, 0, 0, first + 1]], [("other", Some(&b"x"[..])), (MARK, Some(b"m"))]);
        let record = |key, headers| NewRecord { key: Some(key), value: Some(b"v"), timestamp: 1, headers };
        let records = [record(&keys[0], &marks[..1]), record(&keys[1], &marks)];
        let mut bytes = BytesMut::from(&build(&records).unwrap()[..]);
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

    fn offsets(found: &[Found]) -> Vec<(i64, u8)> {
        found.iter().map(|found| (found.offset, found.key.as_ref().unwrap()[3])).collect()
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
        assert!(found.iter().all(|found| found.partition == 3 && found.value == Some(b"v".to_vec())));
        let marks: Vec<_> = found.into_iter().map(|found| found.mark).collect();
        assert_eq!(marks, [Some(b"m".to_vec()), None, Some(b"m".to_vec())]);
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
    fn damage_and_old_formats_are_errors_and_nulls_are_not() {
        let mut damaged = batch(10, 0);
        damaged[80] ^= 1;
        let told = read(&fetched(&[damaged], vec![]), 0).unwrap_err();
        assert!(matches!(told, Error::Batch { fault: Fault::Crc, .. }), "{told}");
        let mut old = batch(10, 0);
        old[16] = 1;
        let told = read(&fetched(&[old], vec![]), 0).unwrap_err();
        assert!(matches!(told, Error::OldMagic { .. }), "{told}");
        let other = build(&[NewRecord { key: None, value: None, timestamp: 1, headers: &[] }]).unwrap();
        let (found, next) = read(&fetched(&[BytesMut::from(&other[..])], vec![]), 0).unwrap();
        let nothing = Found { partition: 3, offset: 0, key: None, value: None, mark: None };
        assert_eq!((found, next), (vec![nothing], 1));
    }
}
