//! The rewriter: record for record what went in, by two decoders.

use copyist_wire::codec::decompress;
use copyist_wire::{
    Batch, Codec, Error, Finished, Policy, Records, Rewriter, Rewritten, TimestampPolicy, crc,
};
use kafka_protocol::records::RecordBatchDecoder;
use proptest::prelude::*;

use crate::sample::{Entry, LOG_APPEND_TIME, Sample, sample, samples};

const POLICY: Policy = Policy {
    start_offset: 0,
    log_append_time: TimestampPolicy::Exact,
    drop_null_keys: false,
    max_batch_bytes: 1 << 20,
    max_plain_bytes: 1 << 24,
};

fn rewrite(samples: &[Sample], policy: &Policy, skip: &mut i64) -> Result<Finished, Error> {
    let mut rewriter = Rewriter::new();
    for sample in samples {
        rewriter.push(&Batch::new(&sample.encode()).expect("valid"), policy, skip)?;
    }
    rewriter.finish()
}

fn read(made: &Rewritten) -> Vec<Entry> {
    let batch = Batch::new(&made.bytes).expect("valid");
    let mut plain = Vec::new();
    decompress(&batch, &mut plain, 1 << 26).expect("ours");
    let entry = |record: Result<copyist_wire::record::Record<'_>, Error>| {
        let view = record.and_then(|record| record.view()).expect("ours");
        Entry {
            offset: view.offset_delta.into(),
            timestamp: batch.base_timestamp().wrapping_add(view.timestamp_delta),
            key: view.key.map(Vec::from),
            value: view.value.map(Vec::from),
            headers: view.headers.map(|(key, value)| (key.to_vec(), value.map(Vec::from))).collect(),
        }
    };
    Records::new(&batch, &plain).map(entry).collect()
}

/// What another decoder makes of it; it knows no repeated header keys, nor any that are not UTF-8.
fn compare_with_oracle(made: &Rewritten, entries: &[Entry]) {
    let odd = |entry: &Entry| {
        let mut keys: Vec<_> = entry.headers.iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.len() < entry.headers.len() || keys.iter().any(|key| std::str::from_utf8(key).is_err())
    };
    let extreme = |entry: &Entry| !(-1_000_000..1 << 50).contains(&entry.timestamp);
    if entries.iter().any(|entry| odd(entry) || extreme(entry)) {
        return;
    }
    let set = RecordBatchDecoder::decode(&mut made.bytes.clone()).expect("the oracle reads it");
    assert_eq!(set.records.len(), entries.len());
    for (record, entry) in set.records.iter().zip(entries) {
        assert_eq!((record.offset, record.timestamp), (entry.offset, entry.timestamp));
        assert_eq!(record.key.as_deref(), entry.key.as_deref());
        assert_eq!(record.value.as_deref(), entry.value.as_deref());
        let headers = record.headers.iter();
        let headers: Vec<_> = headers
            .map(|(key, value)| (key.as_bytes().to_vec(), value.as_deref().map(<[u8]>::to_vec)))
            .collect();
        assert_eq!(headers, entry.headers);
    }
}

/// The entries that count, with the timestamps that they should have; offsets are the source's.
fn expected(samples: &[Sample], policy: &Policy, skip: usize) -> Vec<Entry> {
    let counts = |entry: &Entry| {
        entry.offset >= policy.start_offset && !(policy.drop_null_keys && entry.key.is_none())
    };
    let of = |sample: &Sample| {
        let exact =
            sample.attributes & LOG_APPEND_TIME != 0 && policy.log_append_time == TimestampPolicy::Exact;
        let append_time = exact.then_some(sample.max_timestamp);
        let retime = move |entry: Entry| Entry { timestamp: append_time.unwrap_or(entry.timestamp), ..entry };
        sample.entries.clone().into_iter().filter(counts).map(retime).collect::<Vec<_>>()
    };
    samples.iter().flat_map(of).skip(skip).collect()
}

fn check(samples: &[Sample], policy: &Policy, skip: i64) -> Finished {
    let mut left = skip;
    let finished = rewrite(samples, policy, &mut left).expect("no record is too large");
    let mut wanted = expected(samples, policy, usize::try_from(skip).expect("positive")).into_iter();
    let last = samples.last().expect("some");
    let end = last.base_offset + i64::from(last.last_offset_delta) + 1;
    assert_eq!(finished.next_source_offset, Some(end));
    let mut covered = 0;
    for made in &finished.batches {
        assert!(made.bytes.len() <= policy.max_batch_bytes);
        let batch = Batch::new(&made.bytes).expect("valid");
        assert!(crc::verify(&batch) && batch.is_contiguous());
        assert_eq!((batch.base_offset(), batch.attributes()), (0, batch.codec().bits()));
        let entries = read(made);
        compare_with_oracle(made, &entries);
        assert_eq!(i32::try_from(entries.len()), Ok(made.count));
        let highest = entries.iter().map(|entry| entry.timestamp).max().expect("not empty").max(-1);
        assert_eq!((made.max_timestamp, batch.max_timestamp()), (highest, highest));
        for (index, entry) in entries.into_iter().enumerate() {
            let wanted = wanted.next().expect("no more than there are");
            if index == 0 {
                assert_eq!(made.first_source_offset, wanted.offset);
                assert!(covered <= wanted.offset);
            }
            assert!(wanted.offset < made.next_source_offset);
            assert_eq!(entry, Entry { offset: i64::try_from(index).expect("small"), ..wanted });
        }
        covered = made.next_source_offset;
    }
    assert_eq!(wanted.next(), None, "no record is lost");
    assert!(finished.batches.is_empty() || covered == end);
    assert!(left == 0 || finished.batches.is_empty());
    finished
}

fn policies() -> impl Strategy<Value = (Policy, i64)> {
    let exact = prop_oneof![Just(TimestampPolicy::Exact), Just(TimestampPolicy::Original)];
    // Larger than any record of the samples, compressed or not.
    let limit = prop_oneof![Just(1_usize << 20), 40_000..60_000_usize];
    (exact, any::<bool>(), limit, prop_oneof![Just(0_i64), 0..30_i64]).prop_map(
        |(log_append_time, drop_null_keys, max_batch_bytes, skip)| {
            (Policy { log_append_time, drop_null_keys, max_batch_bytes, ..POLICY }, skip)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn records_come_out_as_they_went_in(samples in samples(&Codec::ALL), (policy, skip) in policies(), trim in 0..40_i64) {
        let start_offset = samples[0].base_offset + trim;
        check(&samples, &Policy { start_offset, ..policy }, skip);
    }

    #[test]
    fn one_batch_of_each_codec(sample in sample(&Codec::ALL), (policy, skip) in policies()) {
        check(&[sample], &policy, skip);
    }

    #[test]
    fn hostile_records_are_errors(sample in sample(&Codec::ALL), places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = sample.encode();
        for (place, byte) in places {
            let at = 21 + place.index(bytes.len() - 21);
            bytes[at] = byte;
        }
        // A damaged delta can point before any offset, which must not make a record look copied already.
        let policy = Policy { start_offset: i64::MIN, ..POLICY };
        let mut rewriter = Rewriter::new();
        if let Ok(batch) = Batch::new(&bytes) {
            let done = rewriter.push(&batch, &policy, &mut 0);
            let finished = rewriter.finish().expect("what was taken is good");
            let count: i32 = finished.batches.iter().map(|made| made.count).sum();
            prop_assert!(done.is_err() || count == batch.count());
        }
    }
}

fn chain(codec: Codec, batches: i64, count: i64, value_bytes: usize) -> Vec<Sample> {
    (0..batches).map(|at| Sample { codec, ..Sample::plain(at * count, count, value_bytes) }).collect()
}

#[test]
fn tiny_batches_become_few_of_the_target_size() {
    for codec in Codec::ALL {
        let finished = check(&chain(codec, 2_000, 2, 500), &POLICY, 0);
        // 2 MB of records.
        assert!((2..=3).contains(&finished.batches.len()), "{codec}: {}", finished.batches.len());
    }
}

#[test]
fn a_large_batch_is_split_below_the_limit() {
    for codec in Codec::ALL {
        let sample = Sample { codec, ..Sample::plain(7, 3_000, 300) };
        let limit = sample.encode().len() / 5;
        let finished = check(&[sample], &Policy { max_batch_bytes: limit, ..POLICY }, 0);
        assert!((5..=24).contains(&finished.batches.len()), "{codec}: {}", finished.batches.len());
    }
}

#[test]
fn a_record_larger_than_the_limit_is_an_error_behind_what_precedes_it() {
    for codec in Codec::ALL {
        let mut sample = Sample { codec, ..Sample::plain(7, 3, 50) };
        sample.entries[2].value = (0..40_000_u32)
            .flat_map(|at| at.wrapping_mul(0x9e37_79b9).to_le_bytes())
            .collect::<Vec<_>>()
            .into();
        let policy = Policy { max_batch_bytes: 10_000, ..POLICY };
        let bytes = sample.encode();
        let mut rewriter = Rewriter::new();
        let pushed = rewriter.push(&Batch::new(&bytes).expect("valid"), &policy, &mut 0);
        let error = pushed.and_then(|()| rewriter.finish().map(drop)).expect_err("too large");
        let Error::RecordTooLarge { offset: 9, size_bytes, limit_bytes: 10_000 } = error else {
            panic!("{codec}: {error}")
        };
        assert!(size_bytes > 10_000);
        let finished = rewriter.finish().expect("what precedes it");
        assert_eq!(finished.next_source_offset, Some(9), "{codec}");
        assert_eq!(finished.batches.iter().map(|made| made.count).sum::<i32>(), 2, "{codec}");
    }
}

#[test]
fn codecs_do_not_mix_and_the_epoch_is_the_last_ones() {
    let epoch = |at: i64, codec, leader_epoch| Sample { codec, leader_epoch, ..Sample::plain(at, 2, 9) };
    let samples = [epoch(0, Codec::None, 1), epoch(2, Codec::None, 2), epoch(4, Codec::Lz4, 3)];
    let finished = check(&samples, &POLICY, 0);
    let made: Vec<_> = finished.batches.iter().map(|made| (made.count, made.leader_epoch)).collect();
    assert_eq!(made, [(4, 2), (2, 3)]);
}

#[test]
fn a_batch_without_records_that_count_moves_the_offset_alone() {
    let mut sample = Sample::plain(5, 3, 9);
    sample.entries.iter_mut().for_each(|entry| entry.key = None);
    let finished = check(&[sample], &Policy { drop_null_keys: true, ..POLICY }, 0);
    assert_eq!(finished, Finished { batches: vec![], next_source_offset: Some(8) });
}

#[test]
fn a_rewriter_is_empty_after_its_finish() {
    let bytes = Sample::plain(5, 3, 9).encode();
    let batch = Batch::new(&bytes).expect("valid");
    let mut rewriter = Rewriter::new();
    let mut once = || {
        rewriter.push(&batch, &POLICY, &mut 0).expect("good");
        assert!(rewriter.held_bytes() > 61);
        let finished = rewriter.finish().expect("good");
        assert_eq!((rewriter.held_bytes(), rewriter.finish()), (0, Ok(Finished::default())));
        finished
    };
    assert_eq!(once(), once());
}

/// What Kafka's own reader says of these is in the closing words of whoever runs it: `COPYIST_WIRE_OUT` names a folder.
#[test]
#[ignore = "writes files for another reader"]
#[expect(clippy::disallowed_methods, reason = "asked for by hand")]
fn write_for_another_reader() {
    let folder = std::env::var("COPYIST_WIRE_OUT").expect("a folder");
    for codec in Codec::ALL {
        let mut samples = chain(codec, 3, 700, 200);
        samples[1].entries.remove(5);
        let finished = check(&samples, &POLICY, 0);
        for (index, made) in finished.batches.iter().enumerate() {
            std::fs::write(format!("{folder}/{codec}-{index}.batch"), &made.bytes).expect("written");
        }
    }
}
