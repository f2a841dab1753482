//! The header with which a batch goes to the destination; its payload stays.

use crate::batch::{Batch, CRC_FROM, HEADER_BYTES};
use crate::crc;

/// Who sends a batch, and as which of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// Of its first record: [`crate::sequence::sequence`].
    pub base_sequence: i32,
}

/// The header for the destination: base offset 0 (the broker demands it), leader epoch -1, of the attributes only the
/// codec (a source's transaction, timestamp type and delete horizon mean nothing there), our ids. The CRC is changed by
/// what the header changed, never recomputed: a byte damaged since the source's broker is still refused.
#[must_use]
pub fn patch(batch: &Batch<'_>, stamp: Stamp) -> [u8; HEADER_BYTES] {
    let old = batch.header();
    let mut new = *old;
    new[0..8].copy_from_slice(&0_i64.to_be_bytes());
    new[12..16].copy_from_slice(&(-1_i32).to_be_bytes());
    new[21..23].copy_from_slice(&batch.codec().bits().to_be_bytes());
    new[43..51].copy_from_slice(&stamp.producer_id.to_be_bytes());
    new[51..53].copy_from_slice(&stamp.producer_epoch.to_be_bytes());
    new[53..57].copy_from_slice(&stamp.base_sequence.to_be_bytes());
    let mut difference = [0; HEADER_BYTES - CRC_FROM];
    for (byte, (old, new)) in difference.iter_mut().zip(old[CRC_FROM..].iter().zip(&new[CRC_FROM..])) {
        *byte = old ^ new;
    }
    let crc = batch.crc() ^ crc::change(&difference, batch.records().len());
    new[17..21].copy_from_slice(&crc.to_be_bytes());
    new
}
