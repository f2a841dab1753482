//! Which partition a key belongs to, as Java's producers have it. Pure.

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;

/// The partition of a key, of so many: Java's `toPositive(murmur2(key)) % partitions`. Nothing without partitions.
#[must_use]
pub fn partition_of(key: &[u8], partitions: u32) -> Option<i32> {
    let positive = murmur2(key) & 0x7fff_ffff;
    positive.checked_rem(partitions).and_then(|partition| i32::try_from(partition).ok())
}

/// Java's `Utils.murmur2`, which knows only signed numbers; the bits are the same.
#[must_use]
pub fn murmur2(bytes: &[u8]) -> u32 {
    // Longer than 4 GiB no key is.
    let mut hash = SEED ^ u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> SHIFT;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_javas() {
        // Of Kafka's own `UtilsTest`.
        let rows = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, expected) in rows {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
        }
    }

    #[test]
    fn a_keys_partition_is_the_positive_hash_modulo_their_number() {
        let hash = |key: &str| murmur2(key.as_bytes()).cast_signed() & i32::MAX;
        for key in ["21", "foobar", "abc", ""] {
            for partitions in [1, 2, 25, 50] {
                let expected = hash(key) % i32::try_from(partitions).unwrap();
                assert_eq!(partition_of(key.as_bytes(), partitions), Some(expected), "{key} of {partitions}");
            }
        }
        assert_eq!(partition_of(b"foobar", 10), Some(6));
        assert_eq!(partition_of(b"a", 0), None);
    }
}
