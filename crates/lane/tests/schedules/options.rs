//! What kind of schedule: who takes part, how old the records are, what may go wrong.

use crate::dice::Dice;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    Fresh,
    /// Two days old: the broker forgets the producer at each tick.
    Old,
    /// A backfill that catches up.
    Turning,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    pub owners: usize,
    pub steps: u64,
    pub times: Times,
    pub holes: bool,
    pub append_time: bool,
    pub describes_producers: bool,
    /// Kafka 2.4: without state it takes sequence 0 only.
    pub old_broker: bool,
    pub max_batch_bytes: u32,
    /// Chance of a fault in percent, for each thing that can fail.
    pub faults: u64,
    /// The destination's log start moves up.
    pub deletes_records: bool,
    /// Somebody else writes into the destination.
    pub foreign: bool,
    /// The source's log start moves up.
    pub retention: bool,
    /// A leader without all acknowledged records takes over.
    pub unclean: bool,
    pub recreates: bool,
    /// Others are known to write into the destination.
    pub shared: bool,
    /// A request arrives after every margin: the window that is documented as open.
    pub strays: bool,
    /// The same, but so late that a position is stored beyond it, and at the moment at which the broker forgets; for
    /// a shared partition, where nothing else tells.
    pub late_strays: bool,
    /// The source's cleaner runs.
    pub compacted: bool,
}

impl Options {
    pub fn draw(dice: &mut Dice) -> Self {
        let times = [Times::Fresh, Times::Old, Times::Turning][dice.index(3)];
        let old_broker = dice.percent(10);
        let special = dice.below(100);
        Self {
            owners: 1 + dice.index(3),
            steps: 40 + dice.below(160),
            times,
            holes: dice.percent(50),
            append_time: dice.percent(8) && !(22..32).contains(&special),
            describes_producers: !old_broker && dice.percent(75),
            old_broker,
            max_batch_bytes: if dice.percent(15) { 300 } else { 100_000 },
            faults: [2, 4, 10, 20][dice.index(4)],
            // Where the tail is gone, only a sole writer can be told from the log's length.
            deletes_records: dice.percent(10)
                && !(special < 6 || (14..19).contains(&special) || (22..32).contains(&special)),
            foreign: special < 6,
            retention: (6..14).contains(&special),
            unclean: (14..19).contains(&special),
            recreates: (19..22).contains(&special),
            shared: (28..36).contains(&special),
            compacted: (36..44).contains(&special),
            strays: (22..28).contains(&special),
            late_strays: (28..32).contains(&special),
        }
    }

    /// Whether a lane may end with a loss that it reports.
    pub fn may_lose(&self) -> bool {
        self.foreign
            || self.retention
            || self.unclean
            || self.recreates
            || self.strays
            || self.late_strays
            || self.shared && self.deletes_records
    }
}
