//! Batches as a source may send them, written the plain way: nothing here is the crate's.

use bytes::{BufMut, Bytes, BytesMut};
use copyist_wire::Codec;
use kafka_protocol::compression::{Compressor, Gzip, Lz4, Snappy, Zstd};
use proptest::prelude::*;

pub const LOG_APPEND_TIME: i16 = 1 << 3;
pub const TRANSACTIONAL: i16 = 1 << 4;
pub const CONTROL: i16 = 1 << 5;
pub const DELETE_HORIZON: i16 = 1 << 6;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

#[derive(Debug, Clone)]
pub struct Sample {
    pub codec: Codec,
    /// Besides the codec.
    pub attributes: i16,
    pub base_offset: i64,
    pub last_offset_delta: i32,
    pub leader_epoch: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer: (i64, i16, i32),
    pub entries: Vec<Entry>,
}

impl Sample {
    /// `count` records of `value_bytes` each, without gaps.
    pub fn plain(base_offset: i64, count: i64, value_bytes: usize) -> Self {
        let entry = |index: i64| Entry {
            offset: base_offset + index,
            timestamp: 1_000 + index,
            key: Some(index.to_be_bytes().to_vec()),
            value: Some((0..value_bytes).map(|at| (at as i64 * 31 + index) as u8).collect()),
            headers: vec![],
        };
        Self {
            codec: Codec::None,
            attributes: 0,
            base_offset,
            last_offset_delta: i32::try_from(count - 1).expect("few"),
            leader_epoch: 3,
            base_timestamp: 1_000,
            max_timestamp: 1_000 + count - 1,
            producer: (-1, -1, -1),
            entries: (0..count).map(entry).collect(),
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut plain = BytesMut::new();
        for entry in &self.entries {
            self.encode_entry(entry, &mut plain);
        }
        let records = packed(self.codec, &plain);
        let mut checked = BytesMut::new();
        checked.put_i16(self.attributes | self.codec.bits());
        checked.put_i32(self.last_offset_delta);
        checked.put_i64(self.base_timestamp);
        checked.put_i64(self.max_timestamp);
        checked.put_i64(self.producer.0);
        checked.put_i16(self.producer.1);
        checked.put_i32(self.producer.2);
        checked.put_i32(i32::try_from(self.entries.len()).expect("few"));
        checked.put_slice(&records);
        let mut out = Vec::new();
        out.put_i64(self.base_offset);
        out.put_i32(i32::try_from(checked.len() + 9).expect("small"));
        out.put_i32(self.leader_epoch);
        out.put_i8(2);
        out.put_u32(naive_crc(&checked));
        out.put_slice(&checked);
        out
    }

    fn encode_entry(&self, entry: &Entry, out: &mut BytesMut) {
        let mut body = BytesMut::new();
        body.put_u8(0);
        varint(&mut body, entry.timestamp.wrapping_sub(self.base_timestamp));
        varint(&mut body, entry.offset - self.base_offset);
        nullable(&mut body, entry.key.as_deref());
        nullable(&mut body, entry.value.as_deref());
        varint(&mut body, entry.headers.len() as i64);
        for (key, value) in &entry.headers {
            nullable(&mut body, Some(key));
            nullable(&mut body, value.as_deref());
        }
        varint(out, body.len() as i64);
        out.put_slice(&body);
    }
}

fn nullable(out: &mut BytesMut, bytes: Option<&[u8]>) {
    varint(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
    out.put_slice(bytes.unwrap_or_default());
}

fn varint(out: &mut BytesMut, number: i64) {
    let mut raw = ((number << 1) ^ (number >> 63)) as u64;
    while raw > 127 {
        out.put_u8((raw % 128 + 128) as u8);
        raw /= 128;
    }
    out.put_u8(raw as u8);
}

fn packed(codec: Codec, plain: &[u8]) -> Bytes {
    match codec {
        Codec::None => Bytes::copy_from_slice(plain),
        Codec::Gzip => packed_by::<Gzip>(plain),
        Codec::Snappy => packed_by::<Snappy>(plain),
        Codec::Lz4 => packed_by::<Lz4>(plain),
        Codec::Zstd => packed_by::<Zstd>(plain),
    }
}

fn packed_by<C: Compressor<BytesMut>>(plain: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    let put = |to: &mut C::BufMut| {
        to.put_slice(plain);
        Ok(())
    };
    C::compress(&mut out, put).expect("the oracle compresses");
    out.freeze()
}

/// Bit by bit.
pub fn naive_crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1)))
    })
}

fn some_bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    proptest::option::weighted(
        0.8,
        prop_oneof![
            8 => proptest::collection::vec(any::<u8>(), 0..40),
            // A length that takes three bytes.
            1 => (any::<u8>(), 8_200..9_000_usize).prop_map(|(byte, length)| vec![byte; length]),
        ],
    )
}

prop_compose! {
    fn entry()(
        gap in prop_oneof![6 => Just(0_i64), 1 => 1..200_i64],
        timestamp in prop_oneof![8 => 1_700_000_000_000..1_700_000_900_000_i64, 1 => -1..5_i64, 1 => any::<i64>()],
        key in some_bytes(),
        value in some_bytes(),
        headers in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..6), some_bytes()), 0..3),
    ) -> (i64, Entry) {
        (gap, Entry { offset: 0, timestamp, key, value, headers })
    }
}

prop_compose! {
    /// Any batch of data from `base_offset` on.
    pub fn sample(codecs: &'static [Codec])(
        codec in proptest::sample::select(codecs),
        base_offset in 0..1_000_000_000_i64,
        attributes in proptest::sample::select(&[0, LOG_APPEND_TIME, TRANSACTIONAL, DELETE_HORIZON][..]),
        tail_gap in prop_oneof![4 => Just(0_i64), 1 => 1..50_i64],
        leader_epoch in -1..100_i32,
        base_timestamp in prop_oneof![4 => Just(1_700_000_000_000_i64), 1 => any::<i64>()],
        max_timestamp in 1_700_000_000_000..1_700_000_900_000_i64,
        producer in (any::<i64>(), any::<i16>(), any::<i32>()),
        entries in proptest::collection::vec(entry(), 0..20),
    ) -> Sample {
        let mut next = base_offset;
        let entries: Vec<Entry> = entries.into_iter().map(|(gap, entry)| {
            let offset = next + gap;
            next = offset + 1;
            Entry { offset, ..entry }
        }).collect();
        let last_offset_delta = i32::try_from((next - 1 + tail_gap - base_offset).max(0)).expect("small");
        Sample {
            codec, attributes, base_offset, last_offset_delta, leader_epoch, base_timestamp, max_timestamp, producer,
            entries,
        }
    }
}

/// Several, one behind the other.
pub fn samples(codecs: &'static [Codec]) -> impl Strategy<Value = Vec<Sample>> {
    proptest::collection::vec((sample(codecs), 0..30_i64), 1..6).prop_map(|list| {
        let mut next = list[0].0.base_offset;
        let place = |(mut sample, gap): (Sample, i64)| {
            let shift = next + gap - sample.base_offset;
            sample.base_offset += shift;
            sample.entries.iter_mut().for_each(|entry| entry.offset += shift);
            next = sample.base_offset + i64::from(sample.last_offset_delta) + 1;
            sample
        };
        list.into_iter().map(place).collect()
    })
}
