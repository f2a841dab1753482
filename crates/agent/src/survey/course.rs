//! What a survey's outcomes mean for the connector's state, and when to look again. Pure: time and chance are
//! arguments.

use std::time::Duration;

use copyist_model::InstanceState;

/// From the first failure on, doubling; a cluster that comes back is seen soon, one that is gone is not pestered.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// After a refusal that only a human can lift; it may be lifted at the cluster, without a word to us.
const STUCK_WAIT_MAX: Duration = Duration::from_secs(30);
/// Looks at what may be on its way, within half a minute; then it is left to the next poll.
const LOOKS_AT_FIRST: u32 = 8;
/// An outage shows in the trace of what was RUNNING after this long, and in the log this often.
const OUTAGE_SHOWN: Duration = Duration::from_secs(30);

/// When to look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Again {
    AtPoll,
    /// Something may be on its way, or never come.
    SoonAtFirst,
    /// Something is on its way.
    Soon,
}

/// How one survey ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Both clusters answered.
    Surveyed {
        trace: String,
        /// Nothing can go on without a human.
        stuck: bool,
        again: Again,
    },
    /// A cluster did not answer: the text says which and why.
    Unreachable(String),
    /// A cluster refuses what only a human can change: the text says what.
    Refused(String),
}

/// What follows from an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The state and trace to report; nothing: as before.
    pub status: Option<(InstanceState, String)>,
    /// Until the next survey.
    pub wait: Duration,
    pub log: Option<Line>,
}

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    Trouble(String),
    /// The trouble that was logged is over.
    Over,
}

/// A connector's surveys so far, within one connector generation.
#[derive(Debug, Default)]
pub struct Course {
    surveyed: bool,
    /// Surveys in a row that had something on its way.
    unfinished: u32,
    failing: Option<Failing>,
}

#[derive(Debug)]
struct Failing {
    since: Duration,
    attempts: u32,
    logged: Duration,
}

impl Course {
    /// Whether no survey has ended yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        !self.surveyed && self.failing.is_none()
    }

    /// `now` counts from any fixed moment; `chance` is drawn evenly from 0 to 1.
    pub fn turn(&mut self, outcome: Outcome, poll_interval: Duration, now: Duration, chance: f64) -> Turn {
        match outcome {
            Outcome::Surveyed { trace, stuck, again } => {
                self.surveyed = true;
                let log = self.failing.take().map(|_| Line::Over);
                let wait = self.wait(again, poll_interval, chance);
                let state = if stuck { InstanceState::Failed } else { InstanceState::Running };
                Turn { status: Some((state, trace)), wait, log }
            }
            Outcome::Unreachable(text) => {
                let (attempts, lasting, log) = self.failed(&text, now);
                let status = match (self.surveyed, lasting >= OUTAGE_SHOWN) {
                    (false, _) => Some((InstanceState::Unassigned, format!("waits for {text}"))),
                    (true, true) => Some((InstanceState::Running, format!("waits for {text}"))),
                    (true, false) => None,
                };
                Turn { status, wait: backoff(attempts, chance), log }
            }
            Outcome::Refused(text) => {
                let (_, _, log) = self.failed(&text, now);
                let wait = STUCK_WAIT_MAX.min(poll_interval);
                Turn { status: Some((InstanceState::Failed, text)), wait, log }
            }
        }
    }

    fn wait(&mut self, again: Again, poll_interval: Duration, chance: f64) -> Duration {
        self.unfinished = if again == Again::AtPoll { 0 } else { self.unfinished.saturating_add(1) };
        let is_soon = match again {
            Again::AtPoll => false,
            Again::SoonAtFirst => self.unfinished <= LOOKS_AT_FIRST,
            Again::Soon => true,
        };
        if is_soon { backoff(self.unfinished, chance).min(poll_interval) } else { poll_interval }
    }

    /// Counts a failure: how many in a row, since how long, and what to log of it.
    fn failed(&mut self, text: &str, now: Duration) -> (u32, Duration, Option<Line>) {
        self.unfinished = 0;
        let Some(failing) = &mut self.failing else {
            self.failing = Some(Failing { since: now, attempts: 1, logged: now });
            return (1, Duration::ZERO, Some(Line::Trouble(text.to_owned())));
        };
        failing.attempts = failing.attempts.saturating_add(1);
        let log = (now.saturating_sub(failing.logged) >= OUTAGE_SHOWN).then(|| {
            failing.logged = now;
            let seconds = now.saturating_sub(failing.since).as_secs();
            Line::Trouble(format!("{text} ({} times in {seconds} s)", failing.attempts))
        });
        (failing.attempts, now.saturating_sub(failing.since), log)
    }
}

/// The wait after the `attempts`-th failure: between half of it and all of it, so that agents do not ask in step.
fn backoff(attempts: u32, chance: f64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    BACKOFF_FIRST.saturating_mul(1 << doublings).min(BACKOFF_MAX).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(120);

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn surveyed(stuck: bool, again: Again) -> Outcome {
        Outcome::Surveyed { trace: "t".into(), stuck, again }
    }

    fn down() -> Outcome {
        Outcome::Unreachable("the source".into())
    }

    #[test]
    fn until_the_first_survey_an_outage_is_unassigned_and_says_what_it_waits_for() {
        let mut course = Course::default();
        for now in [0, 100] {
            let turn = course.turn(down(), POLL, seconds(now), 0.0);
            assert_eq!(turn.status, Some((InstanceState::Unassigned, "waits for the source".into())));
        }
    }

    #[test]
    fn afterwards_an_outage_stays_running_and_shows_after_thirty_seconds() {
        let mut course = Course::default();
        let turn = course.turn(surveyed(false, Again::AtPoll), POLL, seconds(0), 0.0);
        assert_eq!(turn, Turn { status: Some((InstanceState::Running, "t".into())), wait: POLL, log: None });
        assert_eq!(course.turn(down(), POLL, seconds(120), 0.0).status, None);
        assert_eq!(course.turn(down(), POLL, seconds(149), 0.0).status, None);
        let shown = course.turn(down(), POLL, seconds(150), 0.0).status;
        assert_eq!(shown, Some((InstanceState::Running, "waits for the source".into())));
        let healed = course.turn(surveyed(false, Again::AtPoll), POLL, seconds(151), 0.0);
        assert_eq!(healed.log, Some(Line::Over));
        assert_eq!(course.turn(down(), POLL, seconds(300), 0.0).status, None, "a new outage counts anew");
    }

    #[test]
    fn failures_back_off_from_a_fifth_of_a_second_to_ten() {
        let mut course = Course::default();
        let waits: Vec<u64> = (0..9)
            .map(|now| course.turn(down(), POLL, seconds(now), 1.0).wait.as_millis())
            .map(|millis| u64::try_from(millis).unwrap())
            .collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
        assert_eq!(backoff(1, 0.0), Duration::from_millis(100));
        assert_eq!(backoff(u32::MAX, 0.0), Duration::from_secs(5));
    }

    #[test]
    fn a_repeated_failure_is_logged_every_thirty_seconds_with_a_count() {
        let mut course = Course::default();
        let logs: Vec<_> = [0, 10, 29, 30, 59, 60]
            .map(|now| course.turn(down(), POLL, seconds(now), 0.0).log)
            .into_iter()
            .flatten()
            .collect();
        let expected = ["the source", "the source (4 times in 30 s)", "the source (6 times in 60 s)"];
        assert_eq!(logs, expected.map(|line| Line::Trouble(line.into())));
    }

    #[test]
    fn what_needs_a_human_is_failed_and_looked_at_again() {
        let rows = [
            (surveyed(true, Again::AtPoll), "t", POLL, POLL),
            (Outcome::Refused("r".into()), "r", POLL, seconds(30)),
            (Outcome::Refused("r".into()), "r", seconds(5), seconds(5)),
        ];
        for (outcome, trace, poll, wait) in rows {
            let turn = Course::default().turn(outcome.clone(), poll, seconds(0), 0.0);
            assert_eq!(turn.status, Some((InstanceState::Failed, trace.into())), "{outcome:?}");
            assert_eq!(turn.wait, wait, "{outcome:?}");
        }
    }

    #[test]
    fn what_is_on_its_way_is_looked_at_soon_and_then_less_often() {
        let mut course = Course::default();
        let mut wait = |again, poll| course.turn(surveyed(false, again), poll, seconds(0), 1.0).wait;
        assert_eq!(wait(Again::Soon, POLL), Duration::from_millis(200));
        assert_eq!(wait(Again::Soon, POLL), Duration::from_millis(400));
        assert_eq!(wait(Again::Soon, Duration::from_millis(300)), Duration::from_millis(300));
        assert_eq!(wait(Again::AtPoll, POLL), POLL);
        assert_eq!(wait(Again::Soon, POLL), Duration::from_millis(200));
        (2..20).for_each(|_| assert!(wait(Again::Soon, POLL) <= BACKOFF_MAX, "it does come"));
    }

    #[test]
    fn what_may_never_come_is_looked_at_soon_at_first_and_anew_after_an_outage() {
        let mut course = Course::default();
        let mut waits = |looks: u64| -> Vec<u128> {
            let missing = || surveyed(false, Again::SoonAtFirst);
            let turns = (0..looks).map(|now| course.turn(missing(), POLL, seconds(now), 1.0));
            let waits = turns.map(|turn| turn.wait.as_millis()).collect();
            course.turn(down(), POLL, seconds(looks), 1.0);
            waits
        };
        let at_first = [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000];
        let poll = [POLL.as_millis(); 2];
        for _ in 0..2 {
            assert_eq!(waits(10), [&at_first[..], &poll[..]].concat());
        }
    }
}
