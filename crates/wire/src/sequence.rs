//! Sequences: how a lane's record numbers look to the broker. They run from 0 to 2^31 - 1 and begin again
//! (Kafka's `DefaultRecordBatch.incrementSequence`).

const MODULUS: i64 = 1 << 31;

/// The sequence with which the `n`-th record travels: `(n - base_n) mod 2^31`.
#[must_use]
pub fn sequence(n: i64, base_n: i64) -> i32 {
    reduce(n.wrapping_sub(base_n))
}

/// The sequence `count` records later.
#[must_use]
pub fn add(sequence: i32, count: i64) -> i32 {
    reduce(i64::from(sequence).wrapping_add(count))
}

/// The `n` nearest to `near_n` that travels with `sequence`; of two equally near, the higher.
#[must_use]
pub fn unwrap(sequence: i32, near_n: i64, base_n: i64) -> i64 {
    let ahead = i64::from(reduce(i64::from(sequence).wrapping_sub(near_n.wrapping_sub(base_n))));
    near_n.wrapping_add(if ahead > MODULUS / 2 { ahead - MODULUS } else { ahead })
}

fn reduce(number: i64) -> i32 {
    // Below 2^31, so it fits.
    i32::try_from(number.rem_euclid(MODULUS)).unwrap_or(0)
}
