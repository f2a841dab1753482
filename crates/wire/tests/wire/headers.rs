//! View, walk, patch.

use copyist_wire::{Batch, Codec, Error, Fault, Records, Stamp, Walk, crc, patch};
use proptest::prelude::*;

use crate::sample::{Sample, naive_crc, sample, samples};

/// What is written over a good header, and what is said about it.
fn faults() -> Vec<(usize, Vec<u8>, Fault)> {
    vec![
        (8, 48_i32.to_be_bytes().to_vec(), Fault::Length(48)),
        (8, (-1_i32).to_be_bytes().to_vec(), Fault::Length(-1)),
        (8, i32::MIN.to_be_bytes().to_vec(), Fault::Length(i32::MIN)),
        (16, vec![3], Fault::Magic(3)),
        (16, vec![255], Fault::Magic(-1)),
        (0, (-1_i64).to_be_bytes().to_vec(), Fault::BaseOffset),
        (0, i64::MAX.to_be_bytes().to_vec(), Fault::LastOffset),
        (22, vec![5], Fault::Codec(5)),
        (23, (-1_i32).to_be_bytes().to_vec(), Fault::LastOffsetDelta(-1)),
        (57, (-2_i32).to_be_bytes().to_vec(), Fault::Count(-2)),
    ]
}

#[test]
fn each_fault_is_named_with_its_place() {
    let good = Sample::plain(70, 3, 10).encode();
    for (at, bytes, expected) in faults() {
        let mut buffer = Sample::plain(5, 2, 10).encode();
        let begin = buffer.len();
        buffer.extend_from_slice(&good);
        buffer[begin + at..begin + at + bytes.len()].copy_from_slice(&bytes);
        let error = Walk::new(&buffer).nth(1).expect("a second").expect_err("a fault");
        let base_offset = i64::from_be_bytes(*buffer[begin..].first_chunk().expect("8 bytes"));
        assert_eq!(error, Error::Batch { at: begin, base_offset, fault: expected });
    }
}

#[test]
fn old_formats_are_told_apart_from_damage() {
    for magic in [0, 1] {
        let mut bytes = Sample::plain(7, 1, 1).encode();
        bytes[16] = magic;
        let expected = Error::OldMagic { at: 0, base_offset: 7, magic: magic.cast_signed() };
        assert_eq!(Batch::new(&bytes), Err(expected));
        // Such a message may be shorter than our header.
        bytes[8..12].copy_from_slice(&20_i32.to_be_bytes());
        assert!(matches!(Batch::new(&bytes[..32]), Err(Error::OldMagic { .. })));
    }
}

#[test]
fn a_batch_is_given_whole_and_alone() {
    let good = Sample::plain(7, 3, 10).encode();
    assert!(Batch::new(&good).is_ok());
    let size = |bytes: &[u8]| match Batch::new(bytes) {
        Err(Error::Batch { fault: Fault::Size { given, needed }, .. }) => (given, needed),
        other => panic!("{other:?}"),
    };
    assert_eq!(size(&good[..good.len() - 1]), (good.len() - 1, good.len()));
    assert_eq!(size(&good[..5]), (5, 61));
    let longer = [&good[..], &[0]].concat();
    assert_eq!(size(&longer), (good.len() + 1, good.len()));
}

#[test]
fn offsets_rise() {
    let buffer = [Sample::plain(5, 3, 4).encode(), Sample::plain(7, 1, 4).encode()].concat();
    let mut walk = Walk::new(&buffer);
    assert!(walk.next().expect("first").is_ok());
    let fault = walk.next().expect("second").expect_err("overlap");
    assert!(matches!(fault, Error::Batch { fault: Fault::NotRising(7), .. }), "{fault:?}");
    assert_eq!(walk.next(), None, "nothing follows an error");
    let buffer = [Sample::plain(5, 3, 4).encode(), Sample::plain(8, 1, 4).encode()].concat();
    assert_eq!(Walk::new(&buffer).filter(Result::is_ok).count(), 2);
}

fn expected_patch(sample: &Sample, bytes: &[u8], stamp: Stamp) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out[0..8].fill(0);
    out[12..16].fill(0xff);
    out[21..23].copy_from_slice(&sample.codec.bits().to_be_bytes());
    out[43..51].copy_from_slice(&stamp.producer_id.to_be_bytes());
    out[51..53].copy_from_slice(&stamp.producer_epoch.to_be_bytes());
    out[53..57].copy_from_slice(&stamp.base_sequence.to_be_bytes());
    let crc = naive_crc(&out[21..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8_000))]
    #[test]
    fn a_patch_is_what_a_full_crc_gives(
        sample in sample(&Codec::ALL), producer_id in any::<i64>(), producer_epoch in any::<i16>(),
        base_sequence in any::<i32>(),
    ) {
        let stamp = Stamp { producer_id, producer_epoch, base_sequence };
        let bytes = sample.encode();
        let batch = Batch::new(&bytes).expect("valid");
        prop_assert!(crc::verify(&batch));
        let patched = [&patch(&batch, stamp)[..], batch.records()].concat();
        prop_assert_eq!(patched, expected_patch(&sample, &bytes, stamp));
    }
}

#[test]
fn a_patch_holds_for_large_batches_too() {
    // Every digit of the length's decomposition.
    for value_bytes in [0xff, 0xff00, 0x1_0000, 0x0012_3456, 0x0101_0101] {
        let mut sample = Sample::plain(1, 1, value_bytes);
        sample.attributes = crate::sample::TRANSACTIONAL;
        let bytes = sample.encode();
        let batch = Batch::new(&bytes).expect("valid");
        let stamp = Stamp { producer_id: 9, producer_epoch: 1, base_sequence: 77 };
        let patched = [&patch(&batch, stamp)[..], batch.records()].concat();
        assert!(crc::verify(&Batch::new(&patched).expect("valid")), "{value_bytes}");
    }
}

#[test]
fn damage_stays_visible_through_a_patch() {
    let mut bytes = Sample::plain(1, 9, 50).encode();
    bytes[200] ^= 4;
    let batch = Batch::new(&bytes).expect("the header is good");
    assert!(!crc::verify(&batch));
    let stamp = Stamp { producer_id: 9, producer_epoch: 1, base_sequence: 77 };
    let patched = [&patch(&batch, stamp)[..], batch.records()].concat();
    assert!(!crc::verify(&Batch::new(&patched).expect("valid")));
}

proptest! {
    #[test]
    fn a_walk_finds_the_whole_batches_before_the_cut(samples in samples(&Codec::ALL), cut in any::<prop::sample::Index>()) {
        let encoded: Vec<_> = samples.iter().map(Sample::encode).collect();
        let buffer = encoded.concat();
        let kept = cut.index(buffer.len() + 1);
        let mut ends = encoded.iter().scan(0, |end, bytes| { *end += bytes.len(); Some(*end) });
        let whole: Vec<_> = ends.by_ref().take_while(|end| *end <= kept).collect();
        let mut walk = Walk::new(&buffer[..kept]);
        let found: Vec<_> = walk.by_ref().map(|found| found.expect("valid")).collect();
        prop_assert_eq!(found.iter().map(|found| found.range.end).collect::<Vec<_>>(), whole.clone());
        prop_assert_eq!(walk.cut_bytes(), kept - whole.last().copied().unwrap_or(0));
        for (found, (sample, bytes)) in found.iter().zip(samples.iter().zip(&encoded)) {
            prop_assert_eq!(&buffer[found.range.clone()], &bytes[..]);
            let b = &found.batch;
            prop_assert_eq!((b.base_offset(), b.leader_epoch(), b.codec()), (sample.base_offset, sample.leader_epoch, sample.codec));
            prop_assert_eq!(b.next_offset(), sample.base_offset + i64::from(sample.last_offset_delta) + 1);
            prop_assert_eq!((b.base_timestamp(), b.max_timestamp()), (sample.base_timestamp, sample.max_timestamp));
            prop_assert_eq!((b.producer_id(), b.producer_epoch(), b.base_sequence()), sample.producer);
            prop_assert_eq!(usize::try_from(b.count()).expect("positive"), sample.entries.len());
        }
    }

    #[test]
    fn hostile_bytes_are_errors(samples in samples(&Codec::ALL), places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut buffer: Vec<u8> = samples.iter().flat_map(Sample::encode).collect();
        for (place, byte) in places {
            let at = place.index(buffer.len());
            buffer[at] = byte;
        }
        for found in Walk::new(&buffer).map_while(Result::ok) {
            let records = Records::new(&found.batch, found.batch.records());
            records.map_while(Result::ok).for_each(|record| drop(record.view().map(|view| view.headers.count())));
        }
    }
}
