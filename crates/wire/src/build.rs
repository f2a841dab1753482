//! A batch of records of our own, uncompressed and without a producer id: for what is little and written seldom.

use bytes::Bytes;

use crate::batch::{CRC_FROM, HEADER_BYTES, LOG_OVERHEAD_BYTES, MAGIC};
use crate::varint;

/// A varint of an i64.
const VARINT_BYTES_MAX: usize = 10;

/// A record to write. Null is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRecord<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    pub headers: &'a [NewHeader<'a>],
}

/// A header to write: its name and its value, which may be null.
pub type NewHeader<'a> = (&'a str, Option<&'a [u8]>);

/// One whole batch of these records, in order, with base offset 0. Nothing without records, or when they take 2 GiB.
#[must_use]
pub fn build(records: &[NewRecord<'_>]) -> Option<Bytes> {
    let base_timestamp = records.first()?.timestamp;
    let max_timestamp = records.iter().map(|record| record.timestamp).max()?;
    let mut bytes = vec![0; HEADER_BYTES];
    for (offset_delta, record) in (0..).zip(records) {
        append(&mut bytes, record, base_timestamp, offset_delta)?;
    }
    let count = i32::try_from(records.len()).ok()?;
    let length = i32::try_from(bytes.len() - LOG_OVERHEAD_BYTES).ok()?;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[12..16].copy_from_slice(&(-1_i32).to_be_bytes());
    bytes[16] = MAGIC.cast_unsigned();
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    bytes[27..35].copy_from_slice(&base_timestamp.to_be_bytes());
    bytes[35..43].copy_from_slice(&max_timestamp.to_be_bytes());
    bytes[43..51].copy_from_slice(&(-1_i64).to_be_bytes());
    bytes[51..53].copy_from_slice(&(-1_i16).to_be_bytes());
    bytes[53..57].copy_from_slice(&(-1_i32).to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Some(bytes.into())
}

/// Nothing: its length is none.
fn append(out: &mut Vec<u8>, record: &NewRecord<'_>, base_timestamp: i64, offset_delta: i64) -> Option<()> {
    let timestamp_delta = record.timestamp.wrapping_sub(base_timestamp);
    let (key_bytes, value_bytes) = (field_bytes(record.key), field_bytes(record.value));
    let headers = i64::try_from(record.headers.len()).ok()?;
    let header_bytes =
        |&(name, value): &NewHeader<'_>| field_bytes(Some(name.as_bytes())) + field_bytes(value);
    let headers_bytes: usize = record.headers.iter().map(header_bytes).sum();
    // Attributes before the deltas, and the headers with their count in the end.
    let deltas_bytes = varint::len(timestamp_delta) + varint::len(offset_delta);
    let length = 1 + deltas_bytes + key_bytes + value_bytes + varint::len(headers) + headers_bytes;
    number(out, i32::try_from(length).ok()?.into());
    out.push(0);
    number(out, timestamp_delta);
    number(out, offset_delta);
    put(out, record.key);
    put(out, record.value);
    number(out, headers);
    for &(name, value) in record.headers {
        put(out, Some(name.as_bytes()));
        put(out, value);
    }
    Some(())
}

fn put(out: &mut Vec<u8>, field: Option<&[u8]>) {
    number(out, length_of(field));
    out.extend_from_slice(field.unwrap_or_default());
}

fn field_bytes(field: Option<&[u8]>) -> usize {
    varint::len(length_of(field)) + field.map_or(0, <[u8]>::len)
}

/// -1 is null.
fn length_of(field: Option<&[u8]>) -> i64 {
    field.map_or(-1, |field| i64::try_from(field.len()).unwrap_or(i64::MAX))
}

fn number(out: &mut Vec<u8>, number: i64) {
    let (mut bytes, mut at) = ([0; VARINT_BYTES_MAX], 0);
    varint::put(&mut bytes, &mut at, number);
    out.extend_from_slice(&bytes[..at]);
}
