//! What happens to a connection, and where: a function of the seed. Pure.

use std::time::Duration;

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The connection ends in the middle of a request.
    CutRequest,
    /// It ends in the middle of an answer.
    CutAnswer,
    /// A part of an answer comes, then an orderly end; the broker's side goes on for a while.
    Truncated,
    /// All that follows comes later, for a while.
    Delayed,
    /// Nothing passes, for a while; then the connection goes on or ends.
    Stalled,
}

impl Fault {
    pub const ALL: [Fault; 5] =
        [Fault::CutRequest, Fault::CutAnswer, Fault::Truncated, Fault::Delayed, Fault::Stalled];
}

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Requests,
    Answers,
}

/// What comes next over a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doom {
    pub fault: Fault,
    /// After so many bytes,
    pub at: u64,
    /// or after so long, whichever is earlier; then so far into what comes next, in thousandths.
    pub patience: Duration,
    pub into: u64,
    /// How long, where it lasts.
    pub time: Duration,
    /// After a stall: the end.
    pub ends: bool,
}

/// A row of dooms for one direction of one connection.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    state: u64,
    way: Way,
}

impl Dice {
    pub fn new(seed: u64, connection: u64, way: Way) -> Dice {
        let way_bit = match way {
            Way::Requests => 0,
            Way::Answers => 1,
        };
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ (connection * 2 + way_bit).wrapping_mul(0xd1b5_4a32_d192_ed03);
        let mut dice = Dice { state: state | 1, way };
        // Neighbours begin alike.
        for _ in 0..8 {
            dice.below(2);
        }
        dice
    }

    /// xorshift64*.
    fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    /// Within the first bytes of a connection as well as far behind them, so that long answers get through; and not too
    /// late where little passes.
    pub fn next(&mut self) -> Doom {
        let fault = match (self.way, self.below(8)) {
            (_, 0 | 1) => Fault::Stalled,
            (_, 2) => Fault::Delayed,
            (Way::Requests, _) => Fault::CutRequest,
            (Way::Answers, 3..=5) => Fault::CutAnswer,
            (Way::Answers, _) => Fault::Truncated,
        };
        let (least, most) = if self.below(4) == 0 { (4, 12) } else { (12, 21) };
        let magnitude = least + self.below(most - least);
        let at = self.below(1 << magnitude);
        let longest_ms = if fault == Fault::Stalled { 1_000 } else { 120 };
        let time = Duration::from_millis(1 + self.below(longest_ms));
        let patience = Duration::from_millis(100 + self.below(1_400));
        Doom { fault, at, patience, into: self.below(1_000), time, ends: self.below(2) == 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_fault_is_drawn_in_its_direction_alone() {
        let drawn = |way| {
            let dooms = (0..200).map(|connection| Dice::new(7, connection, way).next());
            dooms.map(|doom| doom.fault).collect::<BTreeSet<_>>()
        };
        let (requests, answers) = (drawn(Way::Requests), drawn(Way::Answers));
        assert_eq!(requests, BTreeSet::from([Fault::CutRequest, Fault::Delayed, Fault::Stalled]));
        let expected = [Fault::CutAnswer, Fault::Truncated, Fault::Delayed, Fault::Stalled];
        assert_eq!(answers, BTreeSet::from(expected));
        assert_eq!(requests.union(&answers).copied().collect::<Vec<_>>(), Fault::ALL);
    }

    #[test]
    fn the_same_seed_gives_the_same_and_another_others() {
        let row = |seed, connection| {
            let mut dice = Dice::new(seed, connection, Way::Answers);
            (0..20).map(|_| dice.next()).collect::<Vec<_>>()
        };
        assert_eq!(row(1, 0), row(1, 0));
        assert_ne!(row(1, 0), row(2, 0));
        assert_ne!(row(1, 0), row(1, 1));
        assert!(
            row(1, 0).iter().any(|doom| doom.at < 1_000) && row(1, 0).iter().any(|doom| doom.at > 100_000)
        );
    }
}
