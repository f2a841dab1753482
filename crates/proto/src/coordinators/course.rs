//! Where to ask next, and when. Pure.

use std::time::Duration;

/// The wait after the first round in which nobody answered; it doubles with each round.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// A way through the addresses of a list: one after the other without a wait, and a wait after each round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    places: usize,
    at: usize,
    /// How many were asked in this round and did not answer.
    failed: usize,
    wait: Duration,
    longest: Duration,
}

impl Course {
    /// Through `places` addresses (at least one) from the one numbered `first`, waiting `longest` at most.
    #[must_use]
    pub fn new(places: usize, first: usize, longest: Duration) -> Self {
        let places = places.max(1);
        Self { places, at: first % places, failed: 0, wait: FIRST_WAIT.min(longest), longest }
    }

    /// The number of the address to ask.
    #[must_use]
    pub fn place(&self) -> usize {
        self.at
    }

    /// It did not answer: goes on to the next one. Returns how long to wait before that one is asked: nothing within a
    /// round, else `jitter` (0.0 to 1.0) of the second half of the wait that is due.
    pub fn failed(&mut self, jitter: f64) -> Duration {
        self.at = (self.at + 1) % self.places;
        self.failed += 1;
        if self.failed < self.places {
            return Duration::ZERO;
        }
        self.pause(jitter)
    }

    /// Begins a new round at the same place: returns how long to wait before.
    pub fn pause(&mut self, jitter: f64) -> Duration {
        self.failed = 0;
        let due = self.wait;
        self.wait = (due * 2).min(self.longest);
        due.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// Somebody answered at this place: from here on as if nothing had failed.
    pub fn answered(&mut self) {
        self.answered_at(self.at);
    }

    /// The same for another place, which goes first from now on.
    pub fn answered_at(&mut self, place: usize) {
        *self = Self::new(self.places, place, self.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_millis(300);

    #[test]
    fn a_round_has_no_wait_and_the_waits_between_rounds_double_up_to_the_longest() {
        let mut course = Course::new(3, 4, LONGEST);
        assert_eq!(course.place(), 1);
        let rows = [(2, 0), (0, 0), (1, 100), (2, 0), (0, 0), (1, 200), (2, 0), (0, 0), (1, 300), (2, 0)];
        for (place, wait) in rows {
            assert_eq!(course.failed(1.0), Duration::from_millis(wait), "before {place}");
            assert_eq!(course.place(), place);
        }
        course.answered();
        assert_eq!(
            (course.place(), course.failed(1.0), course.failed(1.0)),
            (2, Duration::ZERO, Duration::ZERO)
        );
        assert_eq!(course.failed(1.0), Duration::from_millis(100));
    }

    #[test]
    fn a_single_address_waits_each_time() {
        let mut course = Course::new(1, 0, LONGEST);
        let waits: Vec<u128> = (0..4).map(|_| course.failed(1.0).as_millis()).collect();
        assert_eq!((waits, course.place()), (vec![100, 200, 300, 300], 0));
    }

    #[test]
    fn jitter_takes_up_to_half_of_a_wait_and_no_more() {
        for (jitter, expected) in [(0.0, 50), (0.5, 75), (1.0, 100), (-3.0, 50), (7.0, 100)] {
            let wait = Course::new(1, 0, LONGEST).failed(jitter);
            assert_eq!(wait, Duration::from_millis(expected), "{jitter}");
        }
    }

    #[test]
    fn a_pause_stays_where_it_is_and_begins_a_round() {
        let mut course = Course::new(2, 0, LONGEST);
        assert_eq!(course.failed(1.0), Duration::ZERO);
        assert_eq!((course.pause(1.0), course.place()), (Duration::from_millis(100), 1));
        assert_eq!((course.failed(1.0), course.failed(1.0)), (Duration::ZERO, Duration::from_millis(200)));
    }

    #[test]
    fn no_address_at_all_does_not_break_it() {
        assert_eq!(Course::new(0, 5, LONGEST).place(), 0);
    }
}
