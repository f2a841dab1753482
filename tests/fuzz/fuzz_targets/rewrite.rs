//! Any bytes through the rewriter, under rules that the first bytes choose: no panic, and each batch made is one that
//! a broker would take.

#![no_main]

use copyist_wire::{Batch, Finished, Policy, Records, Rewriter, TimestampPolicy, Walk, codec, crc};
use libfuzzer_sys::fuzz_target;

const PLAIN_BYTES: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some(([rules, limit, skip], data)) = data.split_first_chunk().map(|(rules, data)| (*rules, data)) else {
        return;
    };
    let exact = rules & 1 == 0;
    let policy = Policy {
        start_offset: i64::from(rules >> 4),
        log_append_time: if exact { TimestampPolicy::Exact } else { TimestampPolicy::Original },
        drop_null_keys: rules & 2 != 0,
        max_batch_bytes: if rules & 4 == 0 { 1 << 20 } else { 62 + usize::from(limit) },
        max_plain_bytes: PLAIN_BYTES,
    };
    let mut skip_records = i64::from(skip % 4);
    let mut rewriter = Rewriter::new();
    for found in Walk::new(data).map_while(Result::ok) {
        if rewriter.push(&found.batch, &policy, &mut skip_records).is_err() {
            break;
        }
    }
    let first = rewriter.finish();
    let second = rewriter.finish().expect("what precedes a failure is good");
    check(&first.unwrap_or(second), &policy);
});

fn check(finished: &Finished, policy: &Policy) {
    for made in &finished.batches {
        let batch = Batch::new(&made.bytes).expect("a valid header");
        assert!(made.bytes.len() <= policy.max_batch_bytes);
        assert!(crc::verify(&batch) && batch.is_contiguous() && batch.count() == made.count && made.count > 0);
        assert!(Some(made.next_source_offset) <= finished.next_source_offset);
        let mut plain = Vec::new();
        codec::decompress(&batch, &mut plain, 8 * PLAIN_BYTES).expect("what we compressed");
        for (index, record) in Records::new(&batch, &plain).enumerate() {
            let record = record.expect("what we wrote");
            assert_eq!(usize::try_from(record.offset_delta), Ok(index));
            assert!(!policy.drop_null_keys || !record.has_null_key().expect("it was read"));
            assert!(batch.base_timestamp().wrapping_add(record.timestamp_delta) <= made.max_timestamp);
        }
    }
}
