//! CRC-32C, of a whole batch or only of what changed.
//!
//! A CRC is affine over GF(2): for messages of equal length, `crc(A) ^ crc(B) = L(A ^ B)`, where L is the CRC begun at
//! zero and not inverted. Appending a zero byte to a message multiplies its L by x^8 modulo the polynomial. So what a
//! change of a few bytes does to the CRC takes no look at the megabytes behind them.

use crate::batch::{Batch, CRC_FROM};

/// CRC-32C's polynomial, the lowest power in the highest bit.
const POLYNOMIAL: u32 = 0x82f6_3b78;
const ONE: u32 = 1 << 31;
const DIGITS: usize = 4;
const DIGIT_BITS: usize = 8;
const RADIX: usize = 1 << DIGIT_BITS;

/// `POWERS[k][d]` is x^(8 · d · 256^k): so many zero bytes.
static POWERS: [[u32; RADIX]; DIGITS] = powers();

/// Whether a batch's CRC is that of its bytes. A pass over all of them: for use on suspicion.
#[must_use]
pub fn verify(batch: &Batch<'_>) -> bool {
    let header = crc32c::crc32c(&batch.header()[CRC_FROM..]);
    crc32c::crc32c_append(header, batch.records()) == batch.crc()
}

/// What must be xored to the CRC of a message when `difference` (old ^ new) is xored into it, `following_bytes` before
/// its end.
pub(crate) fn change(difference: &[u8], following_bytes: usize) -> u32 {
    // The crate inverts at both ends; so do we, and both fall away.
    let linear = !crc32c::crc32c_append(!0, difference);
    let mut shifted = linear;
    let mut left = following_bytes;
    for powers in &POWERS {
        let digit = left & (RADIX - 1);
        if digit != 0 {
            shifted = multiply(shifted, powers[digit]);
        }
        left >>= DIGIT_BITS;
    }
    shifted
}

/// The product modulo the polynomial.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 0;
    while bit < 32 {
        // All ones or none instead of a branch: the bits are as good as random.
        product ^= b & ((a >> (31 - bit)) & 1).wrapping_neg();
        b = (b >> 1) ^ (POLYNOMIAL & (b & 1).wrapping_neg());
        bit += 1;
    }
    product
}

const fn powers() -> [[u32; RADIX]; DIGITS] {
    let mut table = [[ONE; RADIX]; DIGITS];
    let mut one_digit = ONE >> 8;
    let mut k = 0;
    while k < DIGITS {
        let mut d = 1;
        while d < RADIX {
            table[k][d] = multiply(table[k][d - 1], one_digit);
            d += 1;
        }
        one_digit = multiply(table[k][RADIX - 1], one_digit);
        k += 1;
    }
    table
}
