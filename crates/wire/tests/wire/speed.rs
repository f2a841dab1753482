//! Figures: `cargo test --release -p copyist-wire -- --ignored --nocapture speed`.

#![expect(clippy::print_stdout, reason = "figures are for a reader")]

use std::hint::black_box;
use std::time::Instant;

use copyist_wire::{
    Backlog, Batch, Codec, Judged, Policy, Rewriter, Stamp, TimestampPolicy, Walk, patch, plan,
};

use crate::sample::Sample;

const POLICY: Policy = Policy {
    start_offset: 0,
    log_append_time: TimestampPolicy::Exact,
    drop_null_keys: false,
    max_batch_bytes: 1 << 21,
    max_plain_bytes: 1 << 24,
};

/// The best of five.
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn nanos(rounds: u32, mut work: impl FnMut()) -> f64 {
    let mut time = || {
        let start = Instant::now();
        (0..rounds).for_each(|_| work());
        start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds)
    };
    (0..5).map(|_| time()).fold(f64::INFINITY, f64::min)
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    for value_bytes in [200, 4_000, 65_000, 1_040_000, 8_380_000] {
        let bytes = Sample::plain(7, 1, value_bytes).encode();
        let batch = Batch::new(&bytes).expect("valid");
        let stamp = |base_sequence| Stamp { producer_id: 5, producer_epoch: 0, base_sequence };
        let mut sequence = 0;
        let patched = nanos(100_000, || {
            sequence += 1;
            black_box(patch(black_box(&batch), stamp(sequence)));
        });
        let walked = nanos(100_000, || {
            let found = Walk::new(black_box(&bytes)).next().expect("one").expect("valid");
            black_box(plan(&found.batch, Judged::Data, &POLICY, &Backlog::default()));
        });
        let verified = nanos(20, || {
            black_box(copyist_wire::crc::verify(black_box(&batch)));
        });
        println!(
            "{} bytes: patch {patched:.0} ns, walk and plan {walked:.0} ns, verify {verified:.0} ns",
            bytes.len()
        );
    }
    for codec in Codec::ALL {
        for (count, value_bytes) in [(1, 80), (160, 80), (1, 1_000), (1_000, 1_000)] {
            rewriter_speed(codec, count, value_bytes);
        }
    }
}

fn rewriter_speed(codec: Codec, count: i64, value_bytes: usize) {
    let batches = 1_000 / count.min(1_000);
    let encoded: Vec<_> = (0..batches)
        .map(|at| Sample { codec, ..Sample::plain(at * count, count, value_bytes) }.encode())
        .collect();
    let mut rewriter = Rewriter::new();
    let nanos = nanos(20, || {
        for bytes in &encoded {
            rewriter.push(&Batch::new(bytes).expect("valid"), &POLICY, &mut 0).expect("good");
        }
        black_box(rewriter.finish().expect("good"));
    });
    let per_record = nanos / (batches * count) as f64;
    println!("{codec}: batches of {count} x {value_bytes} bytes: {per_record:.0} ns a record");
}
