//! Alignment by content: where counting does not tell which source records are at the destination already.
//!
//! A compacted source does not have the same n-th record for everyone, and a source that deleted records does not have
//! the first ones any more. Then the records at the destination's tail are looked for in the source.

/// One record's content: key, value (null apart from empty), timestamp, headers in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(pub u128);

/// On a compacted source: how many of `source`'s first records are at the destination, `None` if that cannot be told.
/// `source` begins at the position, `destination` is all that was written from the position on.
///
/// Both logs keep their order, so when the destination's last record is the source's `i`-th, all before are copied. It
/// is the same record, not a later one of equal content, if all records up to it lie in the destination in that order;
/// two such places are one too many.
#[must_use]
pub fn of_compacted(source: &[Fingerprint], destination: &[Fingerprint]) -> Option<usize> {
    let Some((last, before)) = destination.split_last() else {
        return Some(0);
    };
    let mut found = None;
    // How much of `before` the source's records so far need.
    let mut used = 0;
    for (at, record) in source.iter().enumerate() {
        if record == last {
            if found.is_some() {
                return None;
            }
            found = Some(at + 1);
        }
        match before[used..].iter().position(|candidate| candidate == record) {
            Some(step) => used += step + 1,
            None => break,
        }
    }
    found
}

/// On a source whose retention overtook the position: how many of `source`'s first records (from its log start on) are
/// at the destination, `None` if records may be missing. `destination` is all that was written from the position on;
/// the source had `deleted_offsets` offsets between the position and its log start, each at most one record.
#[must_use]
pub fn after_retention(
    source: &[Fingerprint],
    destination: &[Fingerprint],
    deleted_offsets: usize,
) -> Option<usize> {
    let overlaps = |length: &usize| destination.ends_with(&source[..*length]);
    let mut lengths = (1..=source.len().min(destination.len())).filter(overlaps);
    match (lengths.next(), lengths.next()) {
        (Some(only), None) => Some(only),
        (Some(_), Some(_)) => None,
        // The destination ends before the source begins: nothing is missing between if it has one record for each
        // offset deleted.
        (None, _) => (destination.len() >= deleted_offsets
            && !destination.iter().any(|record| source.contains(record)))
        .then_some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prints(text: &str) -> Vec<Fingerprint> {
        text.bytes().map(|byte| Fingerprint(byte.into())).collect()
    }

    #[test]
    fn compacted_rows() {
        let rows = [
            ("nothing was written", "abc", "", Some(0)),
            ("all there", "abcd", "abc", Some(3)),
            ("compacted before", "bcd", "abc", Some(2)),
            ("the last compacted away", "abd", "abc", None),
            ("nothing left of it", "xyz", "abc", None),
            ("an uncopied record before its like", "abxc", "abc", None),
            ("two places", "aab", "aa", None),
            ("one left of equal ones", "ab", "aa", Some(1)),
            ("source empty", "", "abc", None),
        ];
        for (label, source, destination, expected) in rows {
            assert_eq!(of_compacted(&prints(source), &prints(destination)), expected, "{label}");
        }
    }

    #[test]
    fn retention_rows() {
        let rows = [
            ("overlap", "cdef", "abcd", 2, Some(2)),
            ("overlap of all", "cd", "abcd", 2, Some(2)),
            ("just met", "efg", "abcd", 4, Some(0)),
            ("one missing", "fgh", "abcd", 5, None),
            ("two overlaps", "aab", "aa", 1, None),
            ("its like elsewhere", "axc", "ab", 2, None),
            ("nothing written", "abc", "", 1, None),
        ];
        for (label, source, destination, deleted, expected) in rows {
            assert_eq!(after_retention(&prints(source), &prints(destination), deleted), expected, "{label}");
        }
    }

    /// A record as compaction sees it: its key, and what makes it different from others of that key.
    type Keyed = (u8, u8);

    fn fingerprint(&(key, version): &Keyed) -> Fingerprint {
        Fingerprint(u128::from(key) << 8 | u128::from(version))
    }

    /// What the cleaner leaves: before `clean_to`, only the last record of each key.
    fn compacted(log: &[(usize, Keyed)], clean_to: usize) -> Vec<(usize, Keyed)> {
        let clean_to = clean_to.min(log.len());
        let superseded = |at: usize| log[at + 1..clean_to].iter().any(|(_, later)| later.0 == log[at].1.0);
        (0..log.len()).filter(|&at| at >= clean_to || !superseded(at)).map(|at| log[at]).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// Whatever was compacted away at the source: what is skipped has been copied, in content and order.
        #[test]
        fn never_skips_what_was_not_copied(
            records in proptest::collection::vec((0u8..4, 0u8..3), 1..14),
            copied in 0usize..14,
            clean_to in 0usize..15,
        ) {
            let log: Vec<(usize, Keyed)> = records.iter().copied().enumerate().collect();
            let copied = copied.min(log.len());
            let destination: Vec<Fingerprint> = records[..copied].iter().map(fingerprint).collect();
            let left = compacted(&log, clean_to);
            let source: Vec<Fingerprint> = left.iter().map(|(_, record)| fingerprint(record)).collect();
            if let Some(skip) = of_compacted(&source, &destination) {
                let mut rest = destination.iter();
                for (at, record) in &left[..skip] {
                    prop_assert!(
                        *at < copied || rest.any(|there| *there == fingerprint(record)),
                        "record {at} was skipped, {copied} are copied"
                    );
                }
                let copied_left = left.iter().filter(|(at, _)| *at < copied).count();
                prop_assert!(skip >= copied_left, "{skip} skipped, {copied_left} are there");
            }
        }

        /// With contents all different the answer is exact, whenever the last record copied is still there.
        #[test]
        fn different_contents_are_conclusive(
            keys in proptest::collection::vec(0u8..4, 1..14),
            copied in 1usize..14,
            clean_to in 0usize..15,
        ) {
            let records: Vec<Keyed> = (0..).zip(&keys).map(|(at, &key)| (key, at)).collect();
            let log: Vec<(usize, Keyed)> = records.iter().copied().enumerate().collect();
            let copied = copied.min(log.len());
            let destination: Vec<Fingerprint> = records[..copied].iter().map(fingerprint).collect();
            let left = compacted(&log, clean_to);
            let source: Vec<Fingerprint> = left.iter().map(|(_, record)| fingerprint(record)).collect();
            let exact = left.iter().filter(|(at, _)| *at < copied).count();
            let last_is_left = left.iter().any(|(at, _)| *at == copied - 1);
            prop_assert_eq!(of_compacted(&source, &destination), last_is_left.then_some(exact));
        }

        /// Retention removes a prefix; deleted offsets may have held no record.
        #[test]
        fn retention_never_hides_a_loss(
            records in proptest::collection::vec(0u8..3, 1..14),
            copied in 0usize..14,
            deleted in 0usize..14,
            holes in 0usize..3,
        ) {
            let log: Vec<Fingerprint> = records.iter().map(|&byte| Fingerprint(byte.into())).collect();
            let (copied, deleted) = (copied.min(log.len()), deleted.min(log.len()));
            let answer = after_retention(&log[deleted..], &log[..copied], deleted + holes);
            if let Some(skip) = answer {
                let same = log[..copied].ends_with(&log[deleted..deleted + skip]);
                prop_assert!(same, "skips {skip} after {copied} copied, {deleted} deleted");
                prop_assert!(skip > 0 || copied >= deleted, "{deleted} deleted, {copied} copied");
            }
        }
    }
}
