//! Kafka's varints: base 128, little end first, zigzag (Kafka's `ByteUtils`).

use crate::error::Fault;

const INT_BYTES: usize = 5;
const LONG_BYTES: usize = 10;

/// Reads a varint at `*at` and moves behind it. Bits beyond 32 fall away, as in Kafka's clients.
pub(crate) fn int(bytes: &[u8], at: &mut usize) -> Result<i32, Fault> {
    if let Some(&byte @ 0..0x80) = bytes.get(*at) {
        *at += 1;
        return Ok(i32::from(byte >> 1) ^ -i32::from(byte & 1));
    }
    let raw = unsigned(bytes, at, INT_BYTES)? & u64::from(u32::MAX);
    let raw = u32::try_from(raw).unwrap_or(u32::MAX);
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Reads a varlong at `*at` and moves behind it.
pub(crate) fn long(bytes: &[u8], at: &mut usize) -> Result<i64, Fault> {
    let raw = unsigned(bytes, at, LONG_BYTES)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

fn unsigned(bytes: &[u8], at: &mut usize, most: usize) -> Result<u64, Fault> {
    let mut raw = 0;
    for index in 0..most {
        let byte = *bytes.get(*at + index).ok_or(Fault::CutVarint)?;
        raw |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            *at += index + 1;
            return Ok(raw);
        }
    }
    Err(Fault::Varint(most))
}

/// How many bytes `put` writes.
pub(crate) fn len(number: i64) -> usize {
    let raw = zigzag(number);
    // The highest bit's place over 7, plus one; 0 takes one byte too.
    (64 - (raw | 1).leading_zeros() as usize).div_ceil(7)
}

/// Writes `number` at `*at` of a buffer that has room, and moves behind it. An i32 looks the same as a varint and as a
/// varlong.
pub(crate) fn put(out: &mut [u8], at: &mut usize, number: i64) {
    let mut raw = zigzag(number);
    while raw >= 0x80 {
        out[*at] = (raw & 0x7f) as u8 | 0x80;
        *at += 1;
        raw >>= 7;
    }
    out[*at] = raw as u8;
    *at += 1;
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}
