//! What really happened, from the logs of many lives: a test of faults in which none came about has shown nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Offsets;

/// Counts over all lives of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub random_kills: u64,
    /// By the name of the place.
    pub place_kills: BTreeMap<&'static str, u64>,
    pub lost_stores: u64,
    /// Of the source and of the destination.
    pub broker_kills: [u64; 2],
    /// Of those of the destination: after it had stored batches whose answers never came.
    pub unanswered: u64,
    /// Lanes that a new life went on with.
    pub takeovers: u64,
    /// How a lane knew what is at the destination, each time it (re)started: by the name of the evidence.
    pub resumes: BTreeMap<String, u64>,
    /// Batches whose fate was unknown.
    pub lost_answers: u64,
    /// By the broker's code.
    pub refusals: BTreeMap<String, u64>,
    /// Starts of lanes whose broker had forgotten the producer of the batches that it holds.
    pub expired: u64,
}

/// One line of a lane.
struct Line<'a> {
    partition: i32,
    message: &'a str,
}

impl<'a> Line<'a> {
    /// As in `… lane lane=c/0 topic-1 status=Copying(Tail)`, where the message begins at `status`.
    fn parse(line: &'a str) -> Option<Line<'a>> {
        let (_, rest) = line.split_once(" lane=")?;
        let (name, fields) = rest.split_once('=')?;
        // The next field's name follows the lane's.
        let (lane, field) = name.rsplit_once(' ')?;
        let partition = lane.rsplit_once('-')?.1.parse().ok()?;
        let message = &rest[rest.len() - fields.len() - field.len() - 1..];
        Some(Line { partition, message })
    }
}

impl Tally {
    /// Reads the log of one life; `before` says where the destination's partitions ended when it began.
    pub fn read(&mut self, log: &str, before: &Offsets) {
        let (mut asked, mut started, mut forgotten) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for Line { partition, message } in log.lines().filter_map(Line::parse) {
            if message.starts_with("what=ProducerState") || message.starts_with("what=LogEnd") {
                asked.insert(partition);
            } else if message.starts_with("answer=ProducerState(None)") {
                forgotten.insert(partition);
            } else if message.starts_with("answer=ProducerState(") {
                forgotten.remove(&partition);
            } else if let Some(evidence) = word(message, "status=Copying(", ')') {
                // Said again after a pause in between, it is no start.
                if asked.remove(&partition) {
                    let is_first = started.insert(partition);
                    let holds = evidence == "Tail" || before.get(&partition).is_some_and(|end| *end > 0);
                    self.takeovers += u64::from(is_first && evidence != "Fresh");
                    self.expired += u64::from(forgotten.remove(&partition) && holds);
                    *self.resumes.entry(evidence.to_owned()).or_default() += 1;
                }
            } else if message.starts_with("outcome=Lost") {
                self.lost_answers += 1;
            } else if let Some(code) = word(message, "outcome=Refused { code: ", ',') {
                *self.refusals.entry(code.to_owned()).or_default() += 1;
            }
        }
    }

    pub fn place(&mut self, name: &'static str) {
        *self.place_kills.entry(name).or_default() += 1;
    }

    pub fn kills(&self) -> u64 {
        self.random_kills + self.place_kills.values().sum::<u64>()
    }

    pub fn resumed_by(&self, evidence: &str) -> u64 {
        self.resumes.get(evidence).copied().unwrap_or_default()
    }
}

/// What stands between `start`, with which it begins, and `end`.
fn word<'a>(message: &'a str, start: &str, end: char) -> Option<&'a str> {
    message.strip_prefix(start)?.split(end).next()
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<String> =
            self.place_kills.iter().map(|(name, times)| format!("{name} {times}")).collect();
        let resumes: Vec<String> =
            self.resumes.iter().map(|(name, times)| format!("{name} {times}")).collect();
        let refusals: Vec<String> =
            self.refusals.iter().map(|(code, times)| format!("{times} x {code}")).collect();
        let by_place = self.kills() - self.random_kills;
        writeln!(
            f,
            "  kills of copyist: {} at random, {by_place} by place ({})",
            self.random_kills,
            places.join(", ")
        )?;
        let [source, destination] = self.broker_kills;
        writeln!(
            f,
            "  kills of brokers: {source} of the source, {destination} of the destination ({} after stored batches without an answer); stores lost: {}",
            self.unanswered, self.lost_stores
        )?;
        writeln!(f, "  takeovers: {}; lanes started by: {}", self.takeovers, resumes.join(", "))?;
        writeln!(
            f,
            "  lost answers: {}; refusals: {}; expired states: {}",
            self.lost_answers,
            refusals.join(", "),
            self.expired
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str], before: &Offsets) -> Tally {
        let begin = "2026-11-25T16:00:00.000000Z DEBUG copyist_agent::engine::raw::stepping:";
        let log: Vec<String> = lines.iter().map(|line| format!("{begin} {line}\n")).collect();
        let mut tally = Tally::default();
        tally.read(&log.concat(), before);
        tally
    }

    const ASKS: &str = "asks lane=c/1 old-1 what=ProducerState { producer_id: 7 }";
    const FORGOTTEN: &str = "was answered lane=c/1 old-1 answer=ProducerState(None)";
    const TAIL: &str = "lane lane=c/1 old-1 status=Copying(Tail)";

    #[test]
    fn starts_of_lanes_are_counted_once() {
        let again = "asks lane=c/1 old-1 what=LogEnd";
        let remembered = "lane lane=c/1 old-1 status=Copying(DescribeProducers)";
        let waits = "lane lane=c/1 old-1 status=Waiting(Right)";
        let of_another = "was answered lane=c/0 old-0 answer=ProducerState(None)";
        let tally =
            read(&[ASKS, FORGOTTEN, of_another, TAIL, waits, TAIL, again, remembered], &Offsets::new());
        assert_eq!((tally.takeovers, tally.expired), (1, 1));
        assert_eq!(
            tally.resumes,
            BTreeMap::from([("DescribeProducers".to_owned(), 1), ("Tail".to_owned(), 1)])
        );
    }

    #[test]
    fn a_new_lane_is_no_takeover_and_nothing_is_forgotten_where_nothing_was() {
        let fresh = "lane lane=c/1 old-1 status=Copying(Fresh)";
        let tally = read(&[ASKS, fresh, ASKS, TAIL], &Offsets::new());
        assert_eq!((tally.takeovers, tally.expired), (0, 0));
        let by_length = "lane lane=c/1 old-1 status=Copying(Arithmetic)";
        for (end, expired) in [(0, 0), (5, 1)] {
            let tally = read(&[ASKS, FORGOTTEN, by_length], &Offsets::from([(1, end)]));
            assert_eq!((tally.takeovers, tally.expired), (1, expired));
        }
        let known = "was answered lane=c/1 old-1 answer=ProducerState(Some(ProducerState { epoch: 0 }))";
        assert_eq!(read(&[ASKS, FORGOTTEN, ASKS, known, TAIL], &Offsets::new()).expired, 0);
    }

    #[test]
    fn what_became_of_batches_is_counted() {
        let lost = "a batch was not acknowledged lane=c/1 old-1 outcome=Lost";
        let refused =
            "a batch was not acknowledged lane=c/1 old-1 outcome=Refused { code: 45, record_index: None }";
        let tally = read(&[lost, refused, refused, lost, lost], &Offsets::new());
        assert_eq!(tally.lost_answers, 3);
        assert_eq!(tally.refusals, BTreeMap::from([("45".to_owned(), 2)]));
    }
}
