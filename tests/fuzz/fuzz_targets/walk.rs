//! Any bytes as a Fetch answer's records: walk, judge, plan, patch, decompress, look at each record. Nothing panics,
//! and what was said to hold holds.

#![no_main]

use copyist_wire::{
    Aborted, Backlog, Batch, Policy, Records, Stamp, TimestampPolicy, Walk, codec, crc, patch, plan,
};
use libfuzzer_sys::fuzz_target;

const POLICY: Policy = Policy {
    start_offset: 3,
    log_append_time: TimestampPolicy::Exact,
    drop_null_keys: false,
    max_batch_bytes: 4_096,
    max_plain_bytes: 1 << 20,
};

fuzz_target!(|data: &[u8]| {
    let mut walk = Walk::new(data);
    let mut aborted = Aborted::new([(1, 0), (2, 5)]);
    let mut next = 0;
    while let Some(Ok(found)) = walk.next() {
        let batch = found.batch;
        assert!(batch.base_offset() >= next && batch.next_offset() > batch.base_offset());
        assert_eq!(found.range.len(), batch.total_bytes());
        next = batch.next_offset();
        if let Ok(judged) = aborted.judge(&batch) {
            let _ = plan(&batch, judged, &POLICY, &Backlog { waiting_bytes: 1, skip_records: 1 });
        }
        patched(&batch);
        records(&batch);
    }
    assert!(walk.cut_bytes() <= data.len());
});

/// The CRC after the patch is as right, or as wrong, as before.
fn patched(batch: &Batch<'_>) {
    let stamp = Stamp { producer_id: 7, producer_epoch: 1, base_sequence: 9 };
    let bytes = [&patch(batch, stamp)[..], batch.records()].concat();
    let patched = Batch::new(&bytes).expect("a patched header is a valid header");
    assert_eq!(crc::verify(batch), crc::verify(&patched));
}

fn records(batch: &Batch<'_>) {
    let mut plain = Vec::new();
    let done = codec::decompress(batch, &mut plain, POLICY.max_plain_bytes);
    assert!(plain.len() <= POLICY.max_plain_bytes + 1);
    if done.is_err() {
        return;
    }
    for record in Records::new(batch, &plain).map_while(Result::ok) {
        if let Ok(view) = record.view() {
            assert_eq!(view.key.is_none(), record.has_null_key().expect("it was read"));
            assert_eq!(view.headers.len(), view.headers.clone().count());
        }
    }
}
