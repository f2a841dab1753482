//! What an endless topic is made of.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::batch::{Codec, NOBODY, Record, build};

/// Different batches that follow each other in turn: their content is not all the same, and they stay in a cache.
const VARIANTS: u64 = 4;
const KEY_BYTES: usize = 8;

/// The batches of an endless topic: `64x1000:lz4` is 64 records of 1,000 bytes (key and value) in each, lz4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub records_per_batch: u32,
    /// Key and value of one record, at least 8.
    pub record_bytes: u32,
    pub codec: Codec,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}:{}", self.records_per_batch, self.record_bytes, self.codec.name())
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Shape, String> {
        let wrong = || format!("{text} is no shape; it is RECORDSxBYTES:CODEC, as in 64x1000:lz4");
        let (sizes, codec) = text.split_once(':').unwrap_or((text, "none"));
        let (records, bytes) = sizes.split_once('x').ok_or_else(wrong)?;
        let records_per_batch: u32 = records.parse().map_err(|_| wrong())?;
        let record_bytes: u32 = bytes.parse().map_err(|_| wrong())?;
        let names = Codec::ALL.map(Codec::name).join(", ");
        let codec = Codec::ALL.into_iter().find(|known| known.name() == codec);
        let codec = codec.ok_or_else(|| format!("{text}: the codec is one of {names}"))?;
        if records_per_batch == 0 || record_bytes < 8 {
            return Err(format!("{text}: at least 1 record of at least 8 bytes"));
        }
        Ok(Shape { records_per_batch, record_bytes, codec })
    }
}

/// A shape's batches, built.
#[derive(Debug)]
pub(crate) struct Batches {
    pub records_per_batch: i64,
    variants: Vec<Bytes>,
}

impl Batches {
    /// `timestamp` is that of every first record, in milliseconds since 1970.
    pub fn build(shape: Shape, timestamp: i64) -> std::io::Result<Batches> {
        let variants = (0..VARIANTS).map(|variant| {
            let records = records(shape, variant);
            build(&records, shape.codec, timestamp, NOBODY).map(Bytes::from)
        });
        let variants = variants.collect::<std::io::Result<Vec<_>>>()?;
        Ok(Batches { records_per_batch: i64::from(shape.records_per_batch), variants })
    }

    /// The batch with this base offset, a multiple of the records in each; unpatched.
    pub fn at(&self, base_offset: i64) -> &Bytes {
        let number = (base_offset / self.records_per_batch).cast_unsigned() % VARIANTS;
        &self.variants[number as usize]
    }
}

fn records(shape: Shape, variant: u64) -> Vec<Record> {
    let mut text = Text(variant * 7919 + 1);
    let value_bytes = shape.record_bytes as usize - KEY_BYTES;
    let record = |number: u32| Record {
        key: Some((variant << 32 | u64::from(number)).to_be_bytes().to_vec()),
        value: Some(text.bytes(value_bytes)),
        timestamp_delta: i64::from(number / 16),
    };
    (0..shape.records_per_batch).map(record).collect()
}

/// Lines like those of a log of requests: they compress about as well as people's data does.
struct Text(u64);

impl Text {
    /// xorshift64*.
    fn draw(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }

    fn pick(&mut self, words: &[&'static str]) -> &'static str {
        let at = self.draw(words.len() as u64);
        words[at as usize]
    }

    fn line(&mut self) -> String {
        let level = self.pick(&["INFO", "INFO", "INFO", "WARN", "DEBUG"]);
        let verb = self.pick(&["GET", "GET", "POST", "PUT", "DELETE"]);
        let place = self.pick(&["orders", "users", "payments", "carts", "shipments", "sessions", "search"]);
        let status = self.pick(&["200", "200", "200", "201", "304", "404", "500"]);
        let (worker, id, size) = (self.draw(32), self.draw(1 << 30), self.draw(100_000));
        let (millis, request) = (self.draw(86_400_000), self.draw(u64::from(u32::MAX)));
        format!(
            "{millis:08} {level} [worker-{worker}] {verb} /api/v2/{place}/{id} request={request:08x} \
             status={status} bytes={size}\n"
        )
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 128);
        while bytes.len() < count {
            bytes.extend(self.line().into_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}
