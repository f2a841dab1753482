//! What an agent has for one lane: the machine, its place in the source, its connections.

use std::collections::VecDeque;
use std::time::Duration;

use copyist_lane::{Birth, Event, Lane, Offer, Question, Rules, Status};

/// A Produce request on its way.
#[derive(Debug, Clone)]
pub struct Request {
    pub token: u64,
    pub producer_id: i64,
    pub sequence: i64,
    pub records: Vec<i64>,
    pub max_timestamp: i64,
    pub bytes: u32,
    pub topic_id: u128,
    pub weak: bool,
    /// What is written under a right arrives within the margin after it, or not at all.
    pub arrives_before: u64,
}

/// Where the source is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cursor {
    pub reading: u32,
    pub next: i64,
    pub skip: u64,
    pub told_until: i64,
}

pub struct Owner {
    pub lane: Option<Lane>,
    pub status: Option<Status>,
    pub paused: bool,
    pub inbox: VecDeque<Event>,
    pub asked: Option<(u32, Question)>,
    pub wire: VecDeque<Request>,
    pub cursor: Option<Cursor>,
    pub offered: Option<(Offer, Vec<i64>)>,
    pub batch_bytes: u32,
    pub wake: Option<u64>,
    /// What it was last told; 0 once released.
    pub right_ends: u64,
    /// What it was told of former holders.
    pub free_at: u64,
    pub released: bool,
}

impl Owner {
    pub fn new() -> Self {
        Self {
            lane: None,
            status: None,
            paused: false,
            inbox: VecDeque::new(),
            asked: None,
            wire: VecDeque::new(),
            cursor: None,
            offered: None,
            batch_bytes: u32::MAX,
            wake: None,
            right_ends: 0,
            free_at: 0,
            released: false,
        }
    }

    pub fn start(&mut self, birth: Birth, rules: Rules) {
        let right_ends = self.right_ends;
        *self = Self::new();
        self.right_ends = right_ends;
        self.lane = Some(Lane::with_rules(birth, rules));
        self.inbox.push_back(Event::Leaders { source: true, destination: true });
    }

    /// Killed: what is on the wire may still arrive.
    pub fn crash(&mut self) -> VecDeque<Request> {
        let wire = std::mem::take(&mut self.wire);
        let right_ends = self.right_ends;
        *self = Self::new();
        self.right_ends = right_ends;
        wire
    }

    pub fn is_copying(&self) -> bool {
        matches!(self.status, Some(Status::Copying(_)))
    }
}

pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).expect("a short test")
}
