//! Each rule of the plan, at its edge.

use copyist_wire::plan::{TINY_COMPRESSED_BYTES, TINY_PLAIN_BYTES};
use copyist_wire::{Backlog, Batch, Codec, Judged, Plan, Policy, Reason, SkipReason, TimestampPolicy, plan};

use crate::sample::{LOG_APPEND_TIME, Sample};

const POLICY: Policy = Policy {
    start_offset: 0,
    log_append_time: TimestampPolicy::Exact,
    drop_null_keys: false,
    max_batch_bytes: 1 << 20,
    max_plain_bytes: 1 << 24,
};
const NONE: Backlog = Backlog { waiting_bytes: 0, skip_records: 0 };

fn planned(sample: &Sample, judged: Judged, policy: Policy, backlog: Backlog) -> Plan {
    plan(&Batch::new(&sample.encode()).expect("valid"), judged, &policy, &backlog)
}

fn data(sample: &Sample, policy: Policy, backlog: Backlog) -> Plan {
    planned(sample, Judged::Data, policy, backlog)
}

fn rewrite(reasons: &[Reason]) -> Plan {
    Plan::Rewrite(reasons.iter().copied().collect())
}

/// Offsets 10, 11, 12.
fn three() -> Sample {
    Sample::plain(10, 3, 8)
}

#[test]
fn what_needs_nothing_passes() {
    assert_eq!(data(&three(), POLICY, NONE), Plan::Pass);
}

#[test]
fn what_is_not_data_is_skipped_first() {
    let late = Policy { start_offset: 99, ..POLICY };
    let mut empty = three();
    empty.entries.clear();
    assert_eq!(planned(&empty, Judged::Control, late, NONE), Plan::Skip(SkipReason::Control));
    assert_eq!(planned(&empty, Judged::Aborted, late, NONE), Plan::Skip(SkipReason::Aborted));
    assert_eq!(data(&empty, late, NONE), Plan::Skip(SkipReason::Empty));
    assert_eq!(data(&empty, POLICY, NONE), Plan::Skip(SkipReason::Empty));
}

#[test]
fn the_start_offset_skips_or_trims() {
    let from = |start_offset| data(&three(), Policy { start_offset, ..POLICY }, NONE);
    assert_eq!(from(10), Plan::Pass);
    assert_eq!(from(11), rewrite(&[Reason::Start]));
    assert_eq!(from(12), rewrite(&[Reason::Start]));
    assert_eq!(from(13), Plan::Skip(SkipReason::BeforeStart));
}

#[test]
fn what_the_destination_has_is_skipped_or_trimmed() {
    let after = |skip_records| Backlog { skip_records, ..NONE };
    assert_eq!(data(&three(), POLICY, after(2)), rewrite(&[Reason::Resume]));
    assert_eq!(data(&three(), POLICY, after(3)), Plan::Skip(SkipReason::AlreadyCopied));
    // How many of them count is in the records alone.
    let stage = Policy { drop_null_keys: true, ..POLICY };
    assert_eq!(data(&three(), stage, after(3)), rewrite(&[Reason::Resume, Reason::Stage]));
    let trimmed = Policy { start_offset: 11, ..POLICY };
    assert_eq!(data(&three(), trimmed, after(3)), rewrite(&[Reason::Start, Reason::Resume]));
}

#[test]
fn gaps_are_renumbered() {
    let gap = Sample { last_offset_delta: 3, ..three() };
    assert_eq!(data(&gap, POLICY, NONE), rewrite(&[Reason::Gaps]));
    let short = Sample { last_offset_delta: 1, ..three() };
    assert_eq!(data(&short, POLICY, NONE), rewrite(&[Reason::Gaps]));
}

#[test]
fn append_time_is_kept_where_wanted() {
    let appended = Sample { attributes: LOG_APPEND_TIME, ..three() };
    assert_eq!(data(&appended, POLICY, NONE), rewrite(&[Reason::LogAppendTime]));
    let original = Policy { log_append_time: TimestampPolicy::Original, ..POLICY };
    assert_eq!(data(&appended, original, NONE), Plan::Pass);
}

#[test]
fn what_is_too_large_is_split() {
    let size = three().encode().len();
    let at_most = |max_batch_bytes| data(&three(), Policy { max_batch_bytes, ..POLICY }, NONE);
    assert_eq!(at_most(size), Plan::Pass);
    assert_eq!(at_most(size - 1), rewrite(&[Reason::Oversize]));
}

#[test]
fn a_stage_sees_all_records() {
    let stage = Policy { drop_null_keys: true, ..POLICY };
    assert_eq!(data(&three(), stage, NONE), rewrite(&[Reason::Stage]));
}

/// An uncompressible value that makes the batch exactly `size` bytes.
fn sized(codec: Codec, size: usize) -> Sample {
    let mut sample = Sample { codec, ..Sample::plain(10, 1, 0) };
    let mut state = 7_u64;
    let noise: Vec<u8> = (0..size)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    let fits = (0..size).rev().find(|length| {
        sample.entries[0].value = Some(noise[..*length].to_vec());
        sample.encode().len() <= size
    });
    assert!(fits.is_some() && sample.encode().len() == size, "no such batch");
    sample
}

#[test]
fn tiny_batches_merge_when_others_wait() {
    let busy = Backlog { waiting_bytes: 1, ..NONE };
    let plain = |size| sized(Codec::None, size);
    assert_eq!(data(&plain(TINY_PLAIN_BYTES - 1), POLICY, NONE), Plan::Pass);
    assert_eq!(data(&plain(TINY_PLAIN_BYTES - 1), POLICY, busy), rewrite(&[Reason::Tiny]));
    assert_eq!(data(&plain(TINY_PLAIN_BYTES), POLICY, busy), Plan::Pass);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let packed = |size| sized(codec, size);
        assert_eq!(
            data(&packed(TINY_COMPRESSED_BYTES - 1), POLICY, busy),
            rewrite(&[Reason::Tiny]),
            "{codec}"
        );
        assert_eq!(data(&packed(TINY_COMPRESSED_BYTES), POLICY, busy), Plan::Pass, "{codec}");
    }
}

#[test]
fn each_reason_has_a_name_of_its_own() {
    let mut names: Vec<_> =
        Reason::ALL.iter().map(|r| r.name()).chain(SkipReason::ALL.iter().map(|r| r.name())).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Reason::ALL.len() + SkipReason::ALL.len());
    for reason in Reason::ALL {
        let Plan::Rewrite(reasons) = rewrite(&[reason]) else { unreachable!() };
        assert_eq!(reasons.iter().collect::<Vec<_>>(), [reason]);
    }
}
