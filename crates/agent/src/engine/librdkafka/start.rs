//! Where a lane starts reading. Pure.

use copyist_model::{LaneStart, OffsetReset};

/// The offsets that a source partition holds: `low` is the first, `high` the one after the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRange {
    pub low: i64,
    pub high: i64,
}

/// Whether a lane can be read, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    At(i64),
    /// The text says why a human is needed.
    Stopped(String),
}

/// Where a lane without a position starts.
#[must_use]
pub fn fresh(start: LaneStart, reset: OffsetReset, log: LogRange) -> i64 {
    match (start, reset) {
        (LaneStart::Earliest, OffsetReset::Earliest | OffsetReset::Latest)
        | (LaneStart::Reset, OffsetReset::Earliest) => log.low,
        (LaneStart::Reset, OffsetReset::Latest) => log.high,
    }
}

/// Whether a lane with a position can go on from it, given what the log holds now.
#[must_use]
pub fn resumed(next: i64, log: LogRange) -> Start {
    let LogRange { low, high } = log;
    let remedy = "set the connector's offset to where it should go on, then restart the task";
    if next < low {
        Start::Stopped(format!(
            "the source deleted records before they were copied: offset {next} comes next, but the log starts at \
             {low} and ends at {high}, so {} offsets are gone; {remedy}",
            low - next
        ))
    } else if next > high {
        Start::Stopped(format!(
            "the source's log ends at {high} (it starts at {low}), before offset {next}, which comes next: the \
             topic was created anew, or lost its end; {remedy}"
        ))
    } else {
        Start::At(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_lane_starts_as_its_kind_and_the_reset_key_say() {
        let log = LogRange { low: 5, high: 50 };
        let rows = [
            (LaneStart::Reset, OffsetReset::Earliest, 5),
            (LaneStart::Reset, OffsetReset::Latest, 50),
            (LaneStart::Earliest, OffsetReset::Earliest, 5),
            (LaneStart::Earliest, OffsetReset::Latest, 5),
        ];
        for (start, reset, expected) in rows {
            assert_eq!(fresh(start, reset, log), expected, "{start:?} {reset:?}");
        }
    }

    #[test]
    fn a_position_outside_the_log_stops_the_lane_with_exact_offsets() {
        let log = LogRange { low: 5, high: 50 };
        for next in [5, 6, 50] {
            assert_eq!(resumed(next, log), Start::At(next));
        }
        for (next, expected) in [(4, ["4", "5", "50", "1 offsets"]), (51, ["51", "5", "50", "created anew"])]
        {
            let Start::Stopped(text) = resumed(next, log) else { panic!("{next} goes on") };
            assert!(expected.iter().all(|part| text.contains(part)), "{text}");
        }
    }
}
