//! read_committed.

use copyist_wire::{Aborted, Batch, Error, Fault, Judged};

use crate::sample::{CONTROL, Entry, Sample, TRANSACTIONAL};

fn data(base_offset: i64, producer: i64) -> Vec<u8> {
    let sample = Sample::plain(base_offset, 2, 3);
    Sample { attributes: TRANSACTIONAL, producer: (producer, 0, 0), ..sample }.encode()
}

fn marker(base_offset: i64, producer: i64, kind: u8) -> Sample {
    let mut sample = Sample::plain(base_offset, 1, 3);
    sample.entries[0].key = Some(vec![0, 0, 0, kind]);
    Sample { attributes: TRANSACTIONAL | CONTROL, producer: (producer, 0, -1), ..sample }
}

fn judged(list: &[(i64, i64)], batches: &[Vec<u8>]) -> Vec<Judged> {
    let mut aborted = Aborted::new(list.iter().copied());
    let judge = |bytes: &Vec<u8>| aborted.judge(&Batch::new(bytes).expect("valid")).expect("readable");
    batches.iter().map(judge).collect()
}

const ABORT: u8 = 0;
const COMMIT: u8 = 1;

#[test]
fn interleaved_transactions_are_told_apart() {
    let batches = [
        data(0, 1),
        data(2, 2),
        data(4, 1),
        marker(6, 1, ABORT).encode(),
        data(7, 1),
        marker(9, 2, COMMIT).encode(),
        marker(10, 1, COMMIT).encode(),
        data(11, 1),
        marker(13, 1, ABORT).encode(),
    ];
    use Judged::{Aborted as A, Control as C, Data as D};
    // Out of order, as only a broker of old would send it.
    assert_eq!(judged(&[(1, 11), (1, 0)], &batches), [A, D, A, C, D, C, C, A, C]);
}

#[test]
fn a_transaction_from_before_the_answer_is_known() {
    let batches = [data(50, 1), marker(52, 1, ABORT).encode(), data(53, 1)];
    assert_eq!(judged(&[(1, 3)], &batches), [Judged::Aborted, Judged::Control, Judged::Data]);
}

#[test]
fn it_begins_at_its_offset_and_only_transactional_batches_are_of_it() {
    assert_eq!(judged(&[(1, 2)], &[data(0, 1)]), [Judged::Data]);
    // Its first offset lies within the batch.
    assert_eq!(judged(&[(1, 1)], &[data(0, 1)]), [Judged::Aborted]);
    let plain = Sample { producer: (1, 0, 0), ..Sample::plain(0, 2, 3) }.encode();
    assert_eq!(judged(&[(1, 0)], &[plain]), [Judged::Data]);
}

#[test]
fn a_marker_that_compaction_emptied_ends_nothing() {
    let mut empty = marker(2, 1, ABORT);
    empty.entries.clear();
    assert_eq!(judged(&[(1, 0)], &[empty.encode(), data(3, 1)]), [Judged::Control, Judged::Aborted]);
}

#[test]
fn a_marker_without_its_key_is_an_error() {
    for key in [None, Some(vec![0, 0, 0])] {
        let mut broken = marker(2, 1, ABORT);
        broken.entries = vec![Entry { key, ..broken.entries[0].clone() }];
        let bytes = broken.encode();
        let error = Aborted::new([]).judge(&Batch::new(&bytes).expect("valid")).expect_err("no key");
        assert!(matches!(error, Error::Record { fault: Fault::ControlKey, .. }), "{error}");
    }
}
