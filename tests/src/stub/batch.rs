//! A record batch of format v2, written by hand: nothing here is shared with Copyist, so a mistake cannot hide.

use std::io::Write;

/// The 61 bytes before the records.
pub const HEADER_BYTES: usize = 61;
/// What the CRC covers begins here.
pub const CRC_FROM: usize = 21;
/// `length` counts from here.
pub const LENGTH_FROM: usize = 12;

const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    None,
    Gzip,
    Lz4,
    Zstd,
}

impl Codec {
    pub const ALL: [Codec; 4] = [Codec::None, Codec::Gzip, Codec::Lz4, Codec::Zstd];

    /// As in Kafka's `compression.type`.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    fn bits(self) -> i16 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }

    fn compress(self, plain: Vec<u8>) -> std::io::Result<Vec<u8>> {
        match self {
            Codec::None => Ok(plain),
            Codec::Gzip => {
                let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                to.write_all(&plain)?;
                to.finish()
            }
            Codec::Lz4 => {
                let mut to = lz4_flex::frame::FrameEncoder::new(Vec::new());
                to.write_all(&plain)?;
                to.finish().map_err(std::io::Error::other)
            }
            Codec::Zstd => zstd::encode_all(plain.as_slice(), 3),
        }
    }
}

/// A batch's header, as it lies on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub base_offset: i64,
    /// Bytes after the length field.
    pub length: i32,
    pub leader_epoch: i32,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub count: i32,
}

impl Header {
    pub fn read(bytes: &[u8; HEADER_BYTES]) -> Header {
        Header {
            base_offset: i64::from_be_bytes(field(bytes, 0)),
            length: i32::from_be_bytes(field(bytes, 8)),
            leader_epoch: i32::from_be_bytes(field(bytes, 12)),
            magic: i8::from_be_bytes(field(bytes, 16)),
            crc: u32::from_be_bytes(field(bytes, 17)),
            attributes: i16::from_be_bytes(field(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(field(bytes, 23)),
            base_timestamp: i64::from_be_bytes(field(bytes, 27)),
            max_timestamp: i64::from_be_bytes(field(bytes, 35)),
            producer_id: i64::from_be_bytes(field(bytes, 43)),
            producer_epoch: i16::from_be_bytes(field(bytes, 51)),
            base_sequence: i32::from_be_bytes(field(bytes, 53)),
            count: i32::from_be_bytes(field(bytes, 57)),
        }
    }

    /// All bytes of the batch, as its header says.
    pub fn total_bytes(&self) -> i64 {
        i64::from(self.length) + 12
    }

    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }
}

fn field<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

/// One record to be written.
#[derive(Clone, Debug)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// Milliseconds after the batch's first timestamp.
    pub timestamp_delta: i64,
}

/// Who wrote a batch; `NOBODY` for a producer without idempotence.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    pub producer_id: i64,
    pub epoch: i16,
    pub base_sequence: i32,
}

pub const NOBODY: Writer = Writer { producer_id: -1, epoch: -1, base_sequence: -1 };

/// A whole batch with base offset 0; `base_timestamp` in milliseconds since 1970.
///
/// # Errors
/// Those of the codec.
pub fn build(
    records: &[Record],
    codec: Codec,
    base_timestamp: i64,
    writer: Writer,
) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    for (delta, record) in records.iter().enumerate() {
        put_record(&mut plain, record, delta);
    }
    let payload = codec.compress(plain)?;
    let count = i32::try_from(records.len()).map_err(std::io::Error::other)?;
    let length = i32::try_from(HEADER_BYTES - LENGTH_FROM + payload.len()).map_err(std::io::Error::other)?;
    let last = records.iter().map(|record| record.timestamp_delta).max().unwrap_or(0);
    let mut batch = Vec::with_capacity(HEADER_BYTES + payload.len());
    batch.extend(0i64.to_be_bytes());
    batch.extend(length.to_be_bytes());
    batch.extend((-1i32).to_be_bytes());
    batch.push(2);
    batch.extend([0; 4]);
    batch.extend(codec.bits().to_be_bytes());
    batch.extend((count - 1).to_be_bytes());
    batch.extend(base_timestamp.to_be_bytes());
    batch.extend((base_timestamp + last).to_be_bytes());
    batch.extend(writer.producer_id.to_be_bytes());
    batch.extend(writer.epoch.to_be_bytes());
    batch.extend(writer.base_sequence.to_be_bytes());
    batch.extend(count.to_be_bytes());
    batch.extend(payload);
    let crc = crc32c::crc32c(&batch[CRC_FROM..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    Ok(batch)
}

/// Writes where a batch lies in its log; both fields are outside the CRC.
pub fn place(batch: &mut [u8], base_offset: i64, leader_epoch: i32) {
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
}

fn put_record(to: &mut Vec<u8>, record: &Record, delta: usize) {
    let mut body = vec![0];
    put_varint(&mut body, record.timestamp_delta);
    put_varint(&mut body, i64::try_from(delta).unwrap_or(i64::MAX));
    put_bytes(&mut body, record.key.as_deref());
    put_bytes(&mut body, record.value.as_deref());
    put_varint(&mut body, 0);
    put_varint(to, length_of(&body));
    to.extend(body);
}

fn put_bytes(to: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(to, -1),
        Some(bytes) => {
            put_varint(to, length_of(bytes));
            to.extend_from_slice(bytes);
        }
    }
}

fn length_of(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

/// Zigzag, as in protocol buffers.
fn put_varint(to: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        to.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    to.push(rest as u8);
}
