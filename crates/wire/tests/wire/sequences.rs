use copyist_wire::sequence::{add, sequence, unwrap};
use proptest::prelude::*;

const TOP: i32 = i32::MAX;

#[test]
fn it_begins_again_behind_its_top() {
    assert_eq!((sequence(7, 7), sequence(8, 7)), (0, 1));
    assert_eq!(sequence(i64::from(TOP) + 7, 7), TOP);
    assert_eq!(sequence(i64::from(TOP) + 8, 7), 0);
    assert_eq!((add(TOP, 1), add(TOP - 1, 3), add(0, 1 << 31)), (0, 1, 0));
    assert_eq!(unwrap(0, i64::from(TOP), 0), 1 << 31);
    assert_eq!(unwrap(TOP, 1 << 31, 0), i64::from(TOP));
    // Half way both ways: the higher.
    assert_eq!(unwrap(1 << 30, 0, 0), 1 << 30);
    assert_eq!(unwrap((1 << 30) + 1, 0, 0), (1 << 30) + 1 - (1 << 31));
}

proptest! {
    #[test]
    fn what_was_wrapped_is_unwrapped(base_n in 0..1_i64 << 60, ahead in 0..1_i64 << 60, off in -(1_i64 << 30) + 1..1 << 30) {
        let n = base_n + ahead;
        prop_assert_eq!(unwrap(sequence(n, base_n), n + off, base_n), n);
        prop_assert_eq!(sequence(n + off.abs(), base_n), add(sequence(n, base_n), off.abs()));
    }
}
