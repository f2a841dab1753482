//! A source, a destination partition, a coordinator, a store of positions, and one to three owners of one lane.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use copyist_lane::{
    Action, Birth, DestinationFacts, Event, Lane, Now, Offer, Outcome, Parking, Refusal, Right, Rules, Send,
    SourceTrouble, Start, Status, Stop, Stored,
};
use copyist_model::{
    AssignmentEpoch, Engine, LaneEnd, LaneGeneration, LaneId, LaneRecord, LossPolicy, Position,
    StoreRevision, TopicId,
};

use crate::broker::{Batch, EXPIRATION_MS, Partition};
use crate::dice::Dice;
use crate::options::Options;
use crate::owner::{Cursor, Owner, Request, millis};

pub const WALL_START_MS: i64 = 1_700_000_000_000;
pub const TTL_MS: u64 = 10_000;
pub const MARGIN_MS: u64 = 7_000;
const RECORD_BYTES: u32 = 100;

pub type Counts = BTreeMap<&'static str, u64>;

pub struct World {
    pub dice: Dice,
    pub options: Options,
    pub rules: Rules,
    pub counts: Counts,
    pub clock: u64,
    /// Timestamps by source offset; `None` holds no record (a control record, an aborted one).
    pub source: Vec<Option<i64>>,
    pub source_start: i64,
    pub partition: Partition,
    pub owners: Vec<Owner>,
    pub holder: usize,
    pub epoch: u64,
    pub record: Option<LaneRecord>,
    pub position: Option<Position>,
    next_producer_id: i64,
    /// On the wire without anybody who waits for the answer.
    pub orphans: Vec<Request>,
    /// Requests that are long overdue: not even the margin covers them.
    pub strays: Vec<Request>,
    /// Where the first generation begins.
    pub first_offset: Option<i64>,
    /// Batches of the destination that were compared, and the source offset expected next.
    pub compared: (usize, i64),
    pub corrupted: bool,
    /// The latest right of a process that was killed: nobody ever confirms its release.
    dead_right_ends: u64,
    /// Who gets the lane once its holder has confirmed its release.
    pub moves_to: Option<usize>,
    pub violation: Option<String>,
    /// Something that no protocol can heal has happened: the lane must say so.
    pub damaged: Option<String>,
    pub trace: Option<Vec<String>>,
    actions: Vec<Action>,
}

impl World {
    pub fn new(seed: u64, options: Options, rules: Rules, traced: bool) -> Self {
        let mut dice = Dice::new(seed);
        let mut partition = Partition::default();
        for _ in 0..dice.below(3) {
            partition.append_foreign(1 + i64::try_from(dice.below(3)).expect("small"));
        }
        let owners = (0..options.owners).map(|_| Owner::new()).collect();
        let mut world = Self {
            dice,
            options,
            rules,
            counts: Counts::new(),
            clock: 1_000,
            source: Vec::new(),
            source_start: 0,
            partition,
            owners,
            holder: 0,
            epoch: 0,
            record: None,
            position: None,
            next_producer_id: 100,
            orphans: Vec::new(),
            strays: Vec::new(),
            first_offset: None,
            compared: (0, 0),
            corrupted: false,
            dead_right_ends: 0,
            moves_to: None,
            violation: None,
            damaged: None,
            trace: traced.then(Vec::new),
            actions: Vec::new(),
        };
        world.grow_source(6);
        world.assign(0);
        world
    }

    pub fn note(&mut self, text: impl FnOnce(&Self) -> String) {
        if self.trace.is_some() {
            let line = format!("{:>9} {}", self.clock, text(self));
            self.trace.iter_mut().for_each(|trace| trace.push(line.clone()));
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn wall_ms(&self) -> i64 {
        WALL_START_MS + i64::try_from(self.clock).expect("a short test")
    }

    pub fn new_producer_id(&mut self) -> i64 {
        self.next_producer_id += 1;
        self.next_producer_id
    }

    pub fn source_end(&self) -> i64 {
        i64::try_from(self.source.len()).expect("a short log")
    }

    fn end(&self, topic_id: u128) -> LaneEnd {
        LaneEnd {
            cluster: "c".parse().expect("a name"),
            topic: "t".parse().expect("a name"),
            topic_id: TopicId(topic_id),
            partition: 0,
        }
    }

    fn lane_id(&self) -> LaneId {
        let LaneEnd { cluster, topic, .. } = self.end(1);
        LaneId { connector: "x".parse().expect("a name"), source_cluster: cluster, topic, partition: 0 }
    }

    pub fn right_of(&self, owner: usize, own_past: bool) -> Right {
        let others = self.owners.iter().enumerate().filter(|(at, _)| own_past || *at != owner);
        let last = others.map(|(_, former)| former.right_ends).max().unwrap_or(0).max(self.dead_right_ends);
        Right {
            epoch: AssignmentEpoch { incarnation: 1, revision: StoreRevision(self.epoch) },
            ends_at: Duration::from_millis(self.clock + TTL_MS),
            free_at: Duration::from_millis(if last == 0 { 0 } else { last + MARGIN_MS }),
        }
    }

    /// Gives the lane to an owner under a new epoch; one that has it still (paused, or unaware) goes on with it.
    pub fn assign(&mut self, owner: usize) {
        self.epoch += 1;
        self.holder = owner;
        let known =
            self.owners[owner].lane.as_ref().map(|lane| lane.record().map(|record| record.generation));
        let alive = known == Some(self.record.as_ref().map(|record| record.generation));
        if known.is_some() && !alive {
            self.kill(owner);
        }
        let right = self.right_of(owner, !alive);
        self.note(|_| format!("owner {owner} is assigned: {right:?}"));
        if alive {
            self.owners[owner].inbox.push_back(Event::Right(right));
        } else {
            self.give_birth(owner, right);
        }
        self.owners[owner].right_ends = millis(right.ends_at);
        self.owners[owner].free_at = millis(right.free_at);
    }

    /// Ends a process; what it has written may still arrive.
    pub fn kill(&mut self, owner: usize) {
        self.dead_right_ends = self.dead_right_ends.max(self.owners[owner].right_ends);
        let wire = self.owners[owner].crash();
        self.owners[owner].right_ends = 0;
        self.orphans.extend(wire);
    }

    pub fn give_birth(&mut self, owner: usize, right: Right) {
        let birth = Birth {
            lane: self.lane_id(),
            source: self.end(1),
            destination: self.end(self.partition.topic_id),
            record: self.record.clone(),
            altered: LaneGeneration::default(),
            stored: self.position.map_or(Stored::Nothing, Stored::Position),
            newest_generation: self.position.map(|position| position.generation).unwrap_or_default(),
            start: Start::Earliest,
            loss_policy: LossPolicy::Fail,
            shared: self.options.shared,
            source_compacted: self.options.compacted,
            facts: DestinationFacts {
                producer_expiration: Some(Duration::from_millis(EXPIRATION_MS.unsigned_abs())),
                log_append_time: self.options.append_time,
                max_batch_bytes: self.options.max_batch_bytes,
                describes_producers: self.options.describes_producers,
            },
            right,
            flush_interval: Duration::from_millis(300),
        };
        self.owners[owner].start(birth, self.rules);
    }

    pub fn feed(&mut self, owner: usize, event: Event) {
        self.note(|_| format!("owner {owner} <- {event:?}"));
        let now = Now {
            boot: Duration::from_millis(self.clock),
            wall_ms: self.wall_ms(),
            dice: u32::try_from(self.dice.below(1 << 32)).expect("32 bits"),
        };
        let mut actions = std::mem::take(&mut self.actions);
        if let Some(lane) = &mut self.owners[owner].lane {
            lane.step(now, event, &mut actions);
        }
        for action in actions.drain(..) {
            self.note(|_| format!("owner {owner} -> {action:?}"));
            self.perform(owner, action);
        }
        self.actions = actions;
    }

    fn perform(&mut self, owner: usize, action: Action) {
        match action {
            Action::Ask { question, what } => self.owners[owner].asked = Some((question, what)),
            Action::Propose { epoch, replaces, record } => {
                self.proposed(owner, epoch.revision.0, replaces, *record);
            }
            Action::StorePosition(position) => self.store(owner, position),
            Action::Read(read) => {
                let (reading, next, skip) = (read.reading, read.from_offset, read.skip_records);
                self.owners[owner].cursor = Some(Cursor { reading, next, skip, told_until: next });
                self.owners[owner].offered = None;
            }
            Action::Send(send) => self.send(owner, send),
            Action::LimitBatches { bytes } => {
                self.count("splits");
                self.owners[owner].batch_bytes = bytes;
            }
            Action::VerifySource => self.count("damaged batches"),
            Action::Abort => {
                self.count("aborted writes");
                self.drop_requests(owner, |request| request.weak);
            }
            Action::WakeAt(at) => self.owners[owner].wake = Some(millis(at)),
            Action::Report(status) => self.reported(owner, status),
            Action::Idle => self.owners[owner].cursor = None,
            Action::Released { .. } => {
                self.count("clean stops");
                self.owners[owner].released = true;
            }
            Action::RefreshMetadata | Action::RecordGap(_) => {}
        }
    }

    fn reported(&mut self, owner: usize, status: Status) {
        match &status {
            Status::Copying(evidence) => self.count(match evidence {
                copyist_lane::Evidence::Fresh => "generations begun",
                copyist_lane::Evidence::DescribeProducers => "resumes by DescribeProducers",
                copyist_lane::Evidence::Tail => "resumes by tail",
                copyist_lane::Evidence::Arithmetic => "resumes by arithmetic",
                copyist_lane::Evidence::Contents => "resumes by contents",
            }),
            Status::Parked(Parking::Overtaken) => self.count("parked, overtaken"),
            Status::Parked(Parking::Superseded) => self.count("parked, superseded"),
            Status::Stopped(Stop::Loss(_)) => self.count("losses reported"),
            Status::Waiting(copyist_lane::Waiting::FormerHolder) => self.count("waits for a former holder"),
            Status::Waiting(copyist_lane::Waiting::Right) => self.count("waits for the right"),
            Status::Stopped(_) | Status::Waiting(_) | Status::Released => {}
        }
        self.owners[owner].status = Some(status);
    }

    fn proposed(&mut self, owner: usize, epoch: u64, replaces: u64, record: LaneRecord) {
        let holds = self.record.as_ref().map_or(0, |record| record.generation.0);
        let lost = self.dice.percent(self.options.faults / 2);
        let current = epoch == self.epoch && owner == self.holder;
        let accepted = self.record.as_ref() == Some(&record) || (current && replaces == holds);
        let stored = accepted && (!lost || self.dice.percent(50));
        assert_eq!(record.engine, Engine::Raw, "a lane of this crate");
        if stored {
            self.first_offset.get_or_insert(record.base_source_offset);
            self.record = Some(record);
        }
        let event = match (lost, accepted) {
            (true, _) => Event::RecordRefused(Refusal::Unanswered),
            (false, true) => Event::RecordCommitted,
            (false, false) => Event::RecordRefused(Refusal::Outdated),
        };
        self.owners[owner].inbox.push_back(event);
    }

    fn store(&mut self, owner: usize, position: Position) {
        // A lane that does not know its stored position cannot notice a stray below it.
        let lost = !self.options.late_strays && self.dice.percent(self.options.faults / 2);
        if !lost || self.dice.percent(50) {
            let greater = |old: &Position| (old.generation, old.n) <= (position.generation, position.n);
            if self.position.as_ref().is_none_or(greater) {
                self.position = Some(position);
                let others = self.owners.iter_mut().enumerate().filter(|(at, _)| *at != owner);
                for (_, other) in others.filter(|(_, other)| other.lane.is_some()) {
                    other.inbox.push_back(Event::PositionSeen(position));
                }
            }
        }
        let event = if lost { Event::PositionFailed } else { Event::PositionStored(position) };
        self.owners[owner].inbox.push_back(event);
    }

    fn send(&mut self, owner: usize, send: Send) {
        let arrives_before = self.owners[owner].right_ends + MARGIN_MS;
        let topic_id = self.owners[owner].lane.as_ref().and_then(Lane::record);
        let topic_id = topic_id.map_or(0, |record| record.destination.topic_id.0);
        let Some((offer, records)) = self.owners[owner].offered.take() else {
            panic!("owner {owner} sends what was not offered: {send:?}");
        };
        assert_eq!(records.len(), send.count as usize, "a batch is sent whole");
        let request = Request {
            token: send.token,
            producer_id: send.producer_id,
            sequence: i64::from(send.sequence),
            records,
            max_timestamp: offer.max_timestamp,
            bytes: offer.bytes,
            topic_id,
            weak: send.own_connection,
            arrives_before,
        };
        if self.owners[owner].wire.iter().any(|other| other.weak != request.weak) {
            self.violation = Some("two connections at once".to_owned());
        }
        self.owners[owner].wire.push_back(request);
    }

    pub fn drop_requests(&mut self, owner: usize, which: impl Fn(&Request) -> bool) {
        let wire = std::mem::take(&mut self.owners[owner].wire);
        let (dropped, kept): (VecDeque<Request>, VecDeque<Request>) = wire.into_iter().partition(which);
        self.owners[owner].wire = kept;
        for request in dropped {
            let event = Event::Answered { token: request.token, outcome: Outcome::Lost };
            self.owners[owner].inbox.push_back(event);
        }
    }

    /// Reads on: offers the next batch, or says what went by.
    pub fn read(&mut self, owner: usize) {
        let Some(mut cursor) = self.owners[owner].cursor else { return };
        let (earliest, latest) = (self.source_start, self.source_end());
        if cursor.next < earliest || cursor.next > latest {
            self.owners[owner].cursor = None;
            self.count("offsets out of range");
            return self.feed(owner, Event::Source(SourceTrouble::OutOfRange { earliest, latest }));
        }
        let skipped = cursor.skip > 0;
        while cursor.skip > 0 && cursor.next < latest {
            cursor.skip -= u64::from(self.timestamp(cursor.next).is_some());
            cursor.next += 1;
        }
        self.owners[owner].cursor = Some(cursor);
        if skipped {
            if cursor.skip == 0 {
                let (reading, next_offset) = (cursor.reading, cursor.next);
                self.feed(owner, Event::SkippedTo { reading, next_offset, leader_epoch: 0 });
            }
            return;
        }
        if self.owners[owner].offered.is_none() {
            self.offer(owner, cursor);
        }
    }

    fn offer(&mut self, owner: usize, mut cursor: Cursor) {
        let room = usize::try_from(self.owners[owner].batch_bytes / RECORD_BYTES).expect("small").max(1);
        let wanted = (1 + self.dice.index(5)).min(room);
        let mut records = Vec::with_capacity(wanted);
        while records.len() < wanted && cursor.next < self.source_end() {
            if self.timestamp(cursor.next).is_some() {
                records.push(cursor.next);
            }
            cursor.next += 1;
        }
        let reading = cursor.reading;
        if let Some(&first_offset) = records.first() {
            let offer = Offer {
                reading,
                first_offset,
                next_offset: cursor.next,
                count: u32::try_from(records.len()).expect("small"),
                leader_epoch: 0,
                max_timestamp: records.iter().filter_map(|at| self.timestamp(*at)).max().expect("some"),
                bytes: RECORD_BYTES * u32::try_from(records.len()).expect("small"),
            };
            self.owners[owner].cursor = Some(cursor);
            self.owners[owner].offered = Some((offer, records));
            self.feed(owner, Event::Offered(offer));
        } else if cursor.next > cursor.told_until {
            cursor.told_until = cursor.next;
            self.owners[owner].cursor = Some(cursor);
            let next_offset = cursor.next;
            self.feed(owner, Event::NothingUntil { reading, next_offset, leader_epoch: 0 });
        }
    }

    /// A request reaches the leader: appended or not, and in order or not.
    pub fn append(&mut self, request: &Request) -> Result<i64, i16> {
        if request.topic_id != self.partition.topic_id {
            return Err(100);
        }
        if request.bytes > self.options.max_batch_bytes {
            return Err(10);
        }
        let forgotten = self.partition.state(request.producer_id).is_none();
        if self.options.old_broker && forgotten && request.sequence != 0 {
            self.count("producers unknown");
            return Err(59);
        }
        let before = self.partition.end();
        let answer = self.partition.append(Batch {
            base_offset: 0,
            count: i64::try_from(request.records.len()).expect("small"),
            producer_id: request.producer_id,
            base_sequence: request.sequence,
            max_timestamp: if self.options.append_time { self.wall_ms() } else { request.max_timestamp },
            records: request.records.clone(),
        });
        match answer {
            Err(45) => self.count("sequences refused"),
            Ok(_) if self.partition.end() == before => self.count("resends recognised"),
            Ok(_) | Err(_) => {}
        }
        self.note(|_| format!("appending {:?} at {before}: {answer:?}", request.records));
        answer
    }

    /// The same, and nobody hears of the answer.
    pub fn arrive(&mut self, request: &Request) {
        self.append(request).unwrap_or_default();
    }
}
