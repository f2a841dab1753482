//! The codecs, against what others wrote.

use copyist_wire::codec::{compress, decompress};
use copyist_wire::{Batch, Codec, Error, Records};

use crate::sample::Sample;

const CORPUS: [(Codec, &[u8]); 5] = [
    (Codec::None, include_bytes!("../corpus/java-none.batch")),
    (Codec::Gzip, include_bytes!("../corpus/java-gzip.batch")),
    (Codec::Snappy, include_bytes!("../corpus/java-snappy.batch")),
    (Codec::Lz4, include_bytes!("../corpus/java-lz4.batch")),
    (Codec::Zstd, include_bytes!("../corpus/java-zstd.batch")),
];

#[test]
fn what_java_wrote_is_read() {
    for (codec, bytes) in CORPUS {
        let batch = Batch::new(bytes).expect("valid");
        assert_eq!((batch.codec(), batch.count(), batch.base_offset()), (codec, 300, 42));
        assert!(copyist_wire::crc::verify(&batch), "{codec}");
        let mut plain = Vec::new();
        decompress(&batch, &mut plain, 1 << 20).expect("decompresses");
        for (index, record) in Records::new(&batch, &plain).enumerate() {
            let view = record.and_then(|record| record.view()).expect("valid");
            let key = format!("key-{index}").into_bytes();
            let value = format!("value-{index}-{}", "x".repeat(index)).into_bytes();
            assert_eq!(view.key, (index % 7 != 0).then_some(&key[..]), "{codec}");
            assert_eq!(view.value, (index % 5 != 0).then_some(&value[..]), "{codec}");
            let header = format!("v{index}").into_bytes();
            let headers = [(&b"h"[..], Some(&header[..])), (&b"h"[..], None)];
            let expected = if index % 3 == 0 { &headers[..] } else { &[] };
            assert_eq!(view.headers.collect::<Vec<_>>(), expected, "{codec}");
        }
    }
}

/// A batch whose records are these bytes.
fn batch_of(codec: Codec, records: &[u8]) -> Vec<u8> {
    let mut bytes = Sample::plain(3, 1, 0).encode();
    bytes.truncate(61);
    bytes[22] = u8::try_from(codec.bits()).expect("small");
    bytes.extend_from_slice(records);
    let length = i32::try_from(bytes.len() - 12).expect("small");
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes
}

fn decompressed(codec: Codec, records: &[u8], limit: usize) -> Result<Vec<u8>, Error> {
    let bytes = batch_of(codec, records);
    let mut out = Vec::new();
    decompress(&Batch::new(&bytes).expect("valid"), &mut out, limit).map(|()| out)
}

#[test]
fn each_codec_returns_what_it_took_and_no_more_than_allowed() {
    let texts =
        [vec![], b"a".to_vec(), b"ab".repeat(200_000), (0..70_000_u32).flat_map(u32::to_le_bytes).collect()];
    for codec in Codec::ALL {
        for text in &texts {
            let mut packed = b"before".to_vec();
            compress(codec, text, &mut packed).expect("compresses");
            assert!(packed.starts_with(b"before"));
            let packed = &packed[6..];
            assert_eq!(&decompressed(codec, packed, text.len()).expect("fits"), text, "{codec}");
            if let Some(limit_bytes) = text.len().checked_sub(1) {
                let bomb = Error::Bomb { base_offset: 3, codec, limit_bytes };
                assert_eq!(decompressed(codec, packed, limit_bytes), Err(bomb));
            }
        }
    }
}

#[test]
fn snappy_comes_raw_too_and_framed_twice() {
    let text = b"hello ".repeat(100);
    let raw = snap::raw::Encoder::new().compress_vec(&text).expect("compresses");
    assert_eq!(decompressed(Codec::Snappy, &raw, 1_000).expect("fits"), text);
    let mut framed = Vec::new();
    compress(Codec::Snappy, &text, &mut framed).expect("compresses");
    assert_eq!(decompressed(Codec::Snappy, &framed.repeat(2), 2_000).expect("fits"), text.repeat(2));
}

#[test]
fn damage_is_an_error_that_names_codec_and_offset() {
    let text = b"hello, hello, hello ".repeat(40);
    for codec in Codec::ALL.into_iter().skip(1) {
        let mut packed = Vec::new();
        compress(codec, &text, &mut packed).expect("compresses");
        let cut = decompressed(codec, &packed[..packed.len() / 2], 10_000).expect_err("cut");
        assert!(matches!(cut, Error::Decompress { base_offset: 3, codec: c, .. } if c == codec), "{cut:?}");
        assert!(decompressed(codec, &[0x55; 40], 10_000).is_err(), "{codec}");
    }
}

#[test]
fn a_snappy_block_that_lies_about_its_length_takes_no_memory() {
    // 2^30 bytes claimed by five bytes.
    let lie = [0x80, 0x80, 0x80, 0x80, 0x04];
    assert!(matches!(decompressed(Codec::Snappy, &lie, 1 << 31), Err(Error::Decompress { .. })));
}

#[test]
fn lz4_is_written_as_kafkas_streams_read_it() {
    let mut packed = Vec::new();
    compress(Codec::Lz4, &b"ab".repeat(100_000), &mut packed).expect("compresses");
    // Magic, version 01 with independent blocks and nothing else, blocks of 64 KiB.
    assert_eq!(packed[..6], [0x04, 0x22, 0x4d, 0x18, 0b0110_0000, 0b0100_0000]);
}
