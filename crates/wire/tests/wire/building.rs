//! Batches of our own, read by `kafka-protocol` and by this crate.

use bytes::Bytes;
use copyist_wire::{Batch, Codec, NewRecord, Records, build, crc};
use kafka_protocol::records::RecordBatchDecoder;
use proptest::prelude::*;

type Plain = (Option<Vec<u8>>, Option<Vec<u8>>, i64);

fn built(records: &[Plain]) -> Bytes {
    let new: Vec<NewRecord<'_>> = records
        .iter()
        .map(|(key, value, timestamp)| NewRecord {
            key: key.as_deref(),
            value: value.as_deref(),
            timestamp: *timestamp,
            headers: &[],
        })
        .collect();
    build(&new).expect("small")
}

fn read_by_another(bytes: &Bytes) -> Vec<(i64, Plain)> {
    let read = RecordBatchDecoder::decode(&mut bytes.clone()).expect("readable");
    let plain = |field: &Option<Bytes>| field.as_ref().map(|bytes| bytes.to_vec());
    let records = read.records.iter();
    records.map(|it| (it.offset, (plain(&it.key), plain(&it.value), it.timestamp))).collect()
}

#[test]
fn a_batch_is_what_a_broker_takes_from_a_producer_without_an_id() {
    let bytes = built(&[(Some(b"k".to_vec()), Some(b"v".to_vec()), 500), (None, None, 400)]);
    let batch = Batch::new(&bytes).expect("a batch");
    assert!(crc::verify(&batch));
    assert_eq!((batch.base_offset(), batch.last_offset_delta(), batch.count()), (0, 1, 2));
    assert_eq!((batch.base_timestamp(), batch.max_timestamp()), (500, 500));
    assert_eq!((batch.codec(), batch.attributes(), batch.leader_epoch()), (Codec::None, 0, -1));
    assert_eq!((batch.producer_id(), batch.producer_epoch(), batch.base_sequence()), (-1, -1, -1));
    let fields: Vec<_> = Records::new(&batch, batch.records())
        .map(|record| record.and_then(|record| record.view()).expect("a record"))
        .map(|view| (view.key, view.value, view.timestamp_delta, view.headers.len()))
        .collect();
    assert_eq!(fields, [(Some(&b"k"[..]), Some(&b"v"[..]), 0, 0), (None, None, -100, 0)]);
}

#[test]
fn headers_are_read_by_another_decoder_as_they_were_given() {
    let long = "n".repeat(200);
    let headers = [("copyist.store", Some(&b"id"[..])), ("", None), (long.as_str(), Some(&[][..]))];
    let record = NewRecord { key: Some(b"k"), value: None, timestamp: 5, headers: &headers };
    let bytes = build(&[record, NewRecord { headers: &[], ..record }]).expect("small");
    assert!(crc::verify(&Batch::new(&bytes).expect("a batch")));
    let read = RecordBatchDecoder::decode(&mut bytes.clone()).expect("readable");
    let told = |record: usize| -> Vec<(String, Option<Vec<u8>>)> {
        let headers = read.records[record].headers.iter();
        headers.map(|(name, value)| (name.to_string(), value.as_ref().map(|it| it.to_vec()))).collect()
    };
    let given = headers.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)));
    assert_eq!((told(0), told(1)), (given.to_vec(), vec![]));
}

#[test]
fn no_records_make_no_batch() {
    assert_eq!(build(&[]), None);
}

fn field() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300))
}

proptest! {
    #[test]
    fn another_decoder_reads_what_was_written(
        records in proptest::collection::vec((field(), field(), 0..2_000_000_000_000_i64), 1..80),
    ) {
        let bytes = built(&records);
        prop_assert!(crc::verify(&Batch::new(&bytes).expect("a batch")));
        let numbered: Vec<(i64, Plain)> = (0..).zip(records).collect();
        prop_assert_eq!(read_by_another(&bytes), numbered);
    }
}
