//! Where to open the next session, and when. Pure.
//!
//! Listed addresses are tried one after the other without a wait; a replica that does not lead names the leader, who is
//! tried at once, whether it is listed or not. Waits come after a round without success, after a row of redirects, and
//! after a refusal, which only time or a human can mend.

use std::time::Duration;

use copyist_proto::coordinators::Course;

/// A leader that is new waits for its agents no longer than it takes to suspect one.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The wait after the first refusal in a row, and the longest.
const REFUSED_WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Redirects followed in a row without a wait: while the lead changes, replicas may name one another.
const REDIRECTS_AT_ONCE: u32 = 3;

/// A session that lasted this long was a good one.
const GOOD: Duration = Duration::from_secs(5);

/// How long a coordinator may take to open a session; twice as long after each round in which nobody could.
const OPENING: Duration = Duration::from_secs(2);

/// A coordinator to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The address of the list with this number.
    Listed(usize),
    /// The leader's address, as another coordinator named it.
    Named(String),
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody opened a session there.
    Unreachable,
    /// It does not lead, or does no more after a session that lasted so long, and names who does; empty: nobody.
    Redirected { leader: String, lasted: Duration },
    /// It does not want this agent.
    Refused,
    /// There was a session, and one of the two ended it.
    Ended { lasted: Duration },
    /// There was a session, and its connection was lost.
    Lost { lasted: Duration },
}

/// The way through the coordinators.
#[derive(Debug, Clone)]
pub struct Seek {
    course: Course,
    places: u32,
    named: Option<String>,
    redirects: u32,
    refusals: u32,
    unreachable: u32,
}

impl Seek {
    /// Through `places` listed addresses, from the one numbered `first`.
    pub fn new(places: usize, first: usize) -> Self {
        let course = Course::new(places, first, WAIT_MAX);
        let places = u32::try_from(places.max(1)).unwrap_or(u32::MAX);
        Self { course, places, named: None, redirects: 0, refusals: 0, unreachable: 0 }
    }

    /// Where to open a session.
    pub fn place(&self) -> Place {
        self.named.clone().map_or_else(|| Place::Listed(self.course.place()), Place::Named)
    }

    /// How long that may take.
    pub fn deadline(&self) -> Duration {
        OPENING * (1 << (self.unreachable / self.places).min(2))
    }

    /// Learns what came of it; returns how long to wait before [`Seek::place`] is tried. `jitter` is from 0.0 to 1.0.
    pub fn learn(&mut self, outcome: Outcome, jitter: f64) -> Duration {
        let redirects = std::mem::take(&mut self.redirects);
        match outcome {
            Outcome::Redirected { leader, lasted } if lasted >= GOOD => {
                self.succeeded();
                self.learn(Outcome::Redirected { leader, lasted: Duration::ZERO }, jitter)
            }
            Outcome::Unreachable => {
                self.unreachable = self.unreachable.saturating_add(1);
                self.onward(jitter)
            }
            Outcome::Redirected { leader, .. } if leader.is_empty() || redirects >= REDIRECTS_AT_ONCE => {
                // Its redirects, so far without a wait, count as one round.
                let onward = self.onward(jitter);
                if leader.is_empty() { onward } else { onward.max(self.course.pause(jitter)) }
            }
            Outcome::Redirected { leader, .. } => {
                self.redirects = redirects + 1;
                self.named = Some(leader);
                Duration::ZERO
            }
            Outcome::Refused => {
                let (first, longest) = REFUSED_WAITS;
                let wait = (first * (1 << self.refusals.min(8))).min(longest);
                self.refusals = self.refusals.saturating_add(1);
                self.onward(jitter).max(wait.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0))
            }
            Outcome::Ended { lasted } => {
                if lasted >= GOOD {
                    self.succeeded();
                }
                self.course.pause(jitter)
            }
            // Who was lost may be silent for long: another one knows better who leads.
            Outcome::Lost { lasted } => {
                if lasted >= GOOD {
                    self.succeeded();
                }
                self.onward(jitter)
            }
        }
    }

    /// Forgets what failed before.
    fn succeeded(&mut self) {
        self.course.answered();
        (self.refusals, self.unreachable) = (0, 0);
    }

    /// To the next listed address.
    fn onward(&mut self, jitter: f64) -> Duration {
        self.named = None;
        self.course.failed(jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REDIRECT: fn(&str) -> Outcome =
        |to| Outcome::Redirected { leader: to.to_owned(), lasted: Duration::ZERO };

    /// Plays outcomes; each row says where the next attempt goes, and after how many ms.
    fn check(mut seek: Seek, rows: &[(Outcome, Place, u64)]) -> Seek {
        for (step, (outcome, place, wait_ms)) in rows.iter().enumerate() {
            let wait = seek.learn(outcome.clone(), 1.0);
            assert_eq!((seek.place(), wait), (place.clone(), Duration::from_millis(*wait_ms)), "step {step}");
        }
        seek
    }

    fn named(address: &str) -> Place {
        Place::Named(address.to_owned())
    }

    #[test]
    fn a_round_through_the_list_has_no_wait() {
        let seek = Seek::new(3, 1);
        assert_eq!(seek.place(), Place::Listed(1));
        check(
            seek,
            &[
                (Outcome::Unreachable, Place::Listed(2), 0),
                (Outcome::Unreachable, Place::Listed(0), 0),
                (Outcome::Unreachable, Place::Listed(1), 100),
                (REDIRECT(""), Place::Listed(2), 0),
                (REDIRECT(""), Place::Listed(0), 0),
                (REDIRECT(""), Place::Listed(1), 200),
            ],
        );
    }

    #[test]
    fn waits_grow_to_a_second_and_no_further() {
        let mut seek = Seek::new(1, 0);
        let waits: Vec<u128> = (0..6).map(|_| seek.learn(REDIRECT(""), 1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
    }

    #[test]
    fn the_leader_named_is_tried_at_once_and_its_death_counts_against_the_round() {
        check(
            Seek::new(2, 0),
            &[
                (REDIRECT("l:1"), named("l:1"), 0),
                (Outcome::Unreachable, Place::Listed(1), 0),
                (REDIRECT("l:1"), named("l:1"), 0),
                (Outcome::Unreachable, Place::Listed(0), 100),
            ],
        );
    }

    #[test]
    fn redirects_in_a_circle_end_in_a_wait() {
        check(
            Seek::new(2, 0),
            &[
                (REDIRECT("b:1"), named("b:1"), 0),
                (REDIRECT("a:1"), named("a:1"), 0),
                (REDIRECT("b:1"), named("b:1"), 0),
                (REDIRECT("a:1"), Place::Listed(1), 100),
                (REDIRECT("a:1"), named("a:1"), 0),
            ],
        );
    }

    #[test]
    fn a_refusal_is_repeated_slowly() {
        let mut seek = check(
            Seek::new(2, 0),
            &[
                (Outcome::Refused, Place::Listed(1), 1000),
                (REDIRECT("l:1"), named("l:1"), 0),
                (Outcome::Refused, Place::Listed(0), 2000),
                (Outcome::Refused, Place::Listed(1), 4000),
                (Outcome::Refused, Place::Listed(0), 8000),
                (Outcome::Refused, Place::Listed(1), 10_000),
                (Outcome::Refused, Place::Listed(0), 10_000),
            ],
        );
        assert_eq!(seek.learn(Outcome::Refused, 0.0), Duration::from_secs(5));
        check(
            seek,
            &[
                (Outcome::Ended { lasted: GOOD }, Place::Listed(1), 100),
                (Outcome::Refused, Place::Listed(0), 1000),
            ],
        );
    }

    #[test]
    fn after_a_good_session_the_same_coordinator_is_tried_first() {
        let seek = check(
            Seek::new(2, 0),
            &[
                (Outcome::Unreachable, Place::Listed(1), 0),
                (REDIRECT("l:1"), named("l:1"), 0),
                (Outcome::Ended { lasted: GOOD }, named("l:1"), 100),
                (Outcome::Unreachable, Place::Listed(0), 0),
            ],
        );
        // One that ends as soon as it is open is not repeated faster and faster.
        let short = Outcome::Ended { lasted: Duration::from_secs(1) };
        let rows = [(short.clone(), Place::Listed(0), 200), (short, Place::Listed(0), 400)];
        check(seek, &rows);
    }

    #[test]
    fn after_a_lost_connection_others_are_asked_first_and_not_without_end() {
        let lost = |lasted| Outcome::Lost { lasted };
        check(
            Seek::new(2, 0),
            &[
                (REDIRECT("l:1"), named("l:1"), 0),
                (lost(GOOD), Place::Listed(1), 0),
                (lost(GOOD / 2), Place::Listed(0), 100),
                (REDIRECT("l:1"), named("l:1"), 0),
                (lost(GOOD / 2), Place::Listed(1), 0),
                (REDIRECT("l:1"), named("l:1"), 0),
                (lost(GOOD / 2), Place::Listed(0), 200),
            ],
        );
    }

    #[test]
    fn a_leader_that_is_deposed_after_a_good_session_leaves_no_waits() {
        let deposed = |leader: &str, lasted| Outcome::Redirected { leader: leader.to_owned(), lasted };
        let seek = check(
            Seek::new(1, 0),
            &[
                (REDIRECT(""), Place::Listed(0), 100),
                (REDIRECT(""), Place::Listed(0), 200),
                (REDIRECT("l:1"), named("l:1"), 0),
                (deposed("m:1", GOOD), named("m:1"), 0),
                (Outcome::Unreachable, Place::Listed(0), 100),
                (deposed("", GOOD), Place::Listed(0), 100),
            ],
        );
        check(seek, &[(deposed("", GOOD / 2), Place::Listed(0), 200)]);
    }

    #[test]
    fn who_is_slow_gets_more_time_each_round_up_to_a_bound() {
        let mut seek = Seek::new(2, 0);
        let mut deadlines = Vec::new();
        for _ in 0..8 {
            deadlines.push(seek.deadline().as_secs());
            seek.learn(Outcome::Unreachable, 1.0);
        }
        assert_eq!(deadlines, [2, 2, 4, 4, 8, 8, 8, 8]);
        seek.learn(Outcome::Ended { lasted: GOOD }, 1.0);
        assert_eq!(seek.deadline(), OPENING);
    }
}
