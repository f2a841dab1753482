//! What each event leads to, one by one. That it adds up to exactness is for `tests/schedules` to show.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one action among all")]

use copyist_model::{
    AssignmentEpoch, Engine, LaneEnd, LaneGeneration, LaneId, LossPolicy, StoreRevision, TopicId,
};

use super::*;
use crate::birth::{DestinationFacts, Start};
use crate::event::{Outcome, ProducerState, Refusal, Send, SourceTrouble, TailBatch};
use crate::loss::{Loss, Remedy};

const WALL_MS: i64 = 1_700_000_000_000;
const DAY_MS: i64 = 24 * 3_600_000;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn right(epoch: u64, ends_at: Duration, free_at: Duration) -> Right {
    Right { epoch: AssignmentEpoch { incarnation: 1, revision: StoreRevision(epoch) }, ends_at, free_at }
}

fn end(topic_id: u128) -> LaneEnd {
    LaneEnd {
        cluster: "c".parse().unwrap(),
        topic: "t".parse().unwrap(),
        topic_id: TopicId(topic_id),
        partition: 0,
    }
}

fn birth() -> Birth {
    Birth {
        lane: LaneId {
            connector: "x".parse().unwrap(),
            source_cluster: "c".parse().unwrap(),
            topic: "t".parse().unwrap(),
            partition: 0,
        },
        source: end(1),
        destination: end(2),
        record: None,
        stored: Stored::Nothing,
        newest_generation: LaneGeneration(0),
        altered: LaneGeneration(0),
        start: Start::Earliest,
        loss_policy: LossPolicy::Fail,
        shared: false,
        source_compacted: false,
        facts: DestinationFacts {
            producer_expiration: Some(seconds(24 * 3600)),
            log_append_time: false,
            max_batch_bytes: 1_000_000,
            describes_producers: true,
        },
        right: right(1, seconds(100), Duration::ZERO),
        flush_interval: seconds(10),
    }
}

/// A lane, and what it last wanted.
struct Rig {
    lane: Lane,
    boot: Duration,
    out: Vec<Action>,
    offset: i64,
    timestamp: i64,
}

impl Rig {
    fn new(birth: Birth) -> Self {
        let lane = Lane::new(birth);
        Self { lane, boot: seconds(1), out: Vec::new(), offset: 0, timestamp: WALL_MS }
    }

    fn feed(&mut self, event: Event) -> &[Action] {
        self.out.clear();
        self.lane.step(Now { boot: self.boot, wall_ms: WALL_MS, dice: 0 }, event, &mut self.out);
        &self.out
    }

    fn answer(&mut self, answer: Answer) -> &[Action] {
        let question = self.lane.question;
        self.feed(Event::Answer { question, answer })
    }

    /// A lane that has begun its first generation: n 0, source offset 100, destination offset 50, producer 7.
    fn copying(birth: Birth) -> Self {
        let mut rig = Self::new(birth);
        rig.offset = 100;
        rig.feed(Event::Leaders { source: true, destination: true });
        rig.answer(Answer::SourceRange { earliest: 100, latest: 200 });
        rig.answer(Answer::NewProducerId(7));
        rig.answer(Answer::LogEnd(50));
        rig.answer(Answer::HighWatermark(50));
        rig.feed(Event::RecordCommitted);
        let first = rig.lane.acked;
        rig.feed(Event::PositionStored(first));
        assert_eq!(rig.lane.phase, Phase::Copying);
        rig
    }

    fn offer(&mut self, count: u32) -> Option<Send> {
        let reading = self.lane.reading;
        let offer = Offer {
            reading,
            first_offset: self.offset,
            next_offset: self.offset + i64::from(count),
            count,
            leader_epoch: 3,
            max_timestamp: self.timestamp,
            bytes: 100 * count,
        };
        self.offset += i64::from(count);
        self.feed(Event::Offered(offer)).iter().find_map(|action| match action {
            Action::Send(send) => Some(*send),
            _ => None,
        })
    }

    fn stored(&mut self, token: u64, base_offset: i64) -> &[Action] {
        self.feed(Event::Answered { token, outcome: Outcome::Stored { base_offset } })
    }

    fn refused(&mut self, token: u64, code: i16) -> &[Action] {
        let outcome = Outcome::Refused { code, record_index: Some(1), text: "words".to_owned() };
        self.feed(Event::Answered { token, outcome })
    }

    /// Two acknowledged records, so the fence is intact.
    fn intact(birth: Birth) -> Self {
        let mut rig = Self::copying(birth);
        let send = rig.offer(2).unwrap();
        rig.stored(send.token, 50);
        rig
    }

    fn asks(&self, what: Question) -> bool {
        self.out.iter().any(|action| matches!(action, Action::Ask { what: asked, .. } if *asked == what))
    }

    fn status(&self) -> Status {
        self.lane.status.clone().unwrap()
    }
}

#[test]
fn record_then_first_position_then_first_batch() {
    let mut rig = Rig::new(birth());
    rig.feed(Event::Leaders { source: true, destination: false });
    assert_eq!(rig.status(), Status::Waiting(Waiting::Leaders));
    rig.feed(Event::Leaders { source: true, destination: true });
    assert!(rig.asks(Question::SourceRange));
    rig.answer(Answer::SourceRange { earliest: 100, latest: 200 });
    assert!(rig.asks(Question::NewProducerId));
    rig.answer(Answer::NewProducerId(7));
    assert!(rig.asks(Question::LogEnd));
    rig.answer(Answer::LogEnd(50));
    rig.answer(Answer::HighWatermark(49));
    assert!(matches!(rig.lane.phase, Phase::BackingOff { .. }), "waits for replicas");
    rig.boot += seconds(1);
    rig.feed(Event::Tick);
    rig.answer(Answer::SourceRange { earliest: 100, latest: 200 });
    rig.answer(Answer::NewProducerId(7));
    rig.answer(Answer::LogEnd(50));
    let proposed = match &rig.answer(Answer::HighWatermark(50))[0] {
        Action::Propose { record, replaces: 0, .. } => record.clone(),
        other => panic!("{other:?}"),
    };
    let bases = (proposed.base_n, proposed.base_offset, proposed.base_source_offset);
    assert_eq!((bases, proposed.producer_id, proposed.engine), ((0, 50, 100), 7, Engine::Raw));
    let first = match rig.feed(Event::RecordCommitted) {
        [Action::StorePosition(first)] => *first,
        other => panic!("{other:?}"),
    };
    assert_eq!(first, opening::first_position(&proposed));
    assert!(!rig.feed(Event::Tick).iter().any(|action| matches!(action, Action::Read(_))));
    let read = rig.feed(Event::PositionStored(first))[0].clone();
    assert!(matches!(read, Action::Read(read) if (read.from_offset, read.skip_records) == (100, 0)));
}

#[test]
fn an_unanswered_proposal_is_repeated_as_it_was() {
    let mut rig = Rig::new(birth());
    rig.feed(Event::Leaders { source: true, destination: true });
    rig.answer(Answer::SourceRange { earliest: 100, latest: 200 });
    rig.answer(Answer::NewProducerId(7));
    rig.answer(Answer::LogEnd(50));
    let first = rig.answer(Answer::HighWatermark(50))[0].clone();
    rig.feed(Event::RecordRefused(Refusal::Unanswered));
    rig.boot += seconds(1);
    assert_eq!(rig.feed(Event::Tick)[0], first);
    rig.feed(Event::RecordRefused(Refusal::Outdated));
    assert_eq!(rig.status(), Status::Parked(Parking::Superseded));
}

#[test]
fn the_start_policy_and_a_stored_start_decide_where_it_begins() {
    let rows = [
        (Start::Latest, Stored::Nothing, Some(200)),
        (Start::Earliest, Stored::Nothing, Some(100)),
        (Start::Nowhere, Stored::Start { next_offset: 150 }, Some(150)),
        (Start::Nowhere, Stored::Nothing, None),
    ];
    for (start, stored, expected) in rows {
        // Positions of generations up to the third are there: those of an older one would not count.
        let newest_generation = LaneGeneration(3);
        let mut rig = Rig::new(Birth { start, stored, newest_generation, ..birth() });
        rig.feed(Event::Leaders { source: true, destination: true });
        if rig.asks(Question::SourceRange) {
            rig.answer(Answer::SourceRange { earliest: 100, latest: 200 });
        }
        if expected.is_none() {
            assert_eq!(rig.status(), Status::Stopped(Stop::NoPosition));
            continue;
        }
        rig.answer(Answer::NewProducerId(7));
        rig.answer(Answer::LogEnd(50));
        rig.answer(Answer::HighWatermark(50));
        let begins = match &rig.out[0] {
            Action::Propose { record, .. } => Some((record.base_source_offset, record.generation.0)),
            _ => None,
        };
        assert_eq!(begins, expected.map(|offset| (offset, 4)), "{start:?} {stored:?}");
    }
}

#[test]
fn a_changed_offset_begins_above_the_generation_that_it_ended() {
    let rows = [(Stored::Nothing, 100), (Stored::Start { next_offset: 150 }, 150)];
    for (stored, expected) in rows {
        let altered = LaneGeneration(5);
        let mut rig = Rig::new(Birth { stored, altered, start: Start::Earliest, ..birth() });
        rig.feed(Event::Leaders { source: true, destination: true });
        if rig.asks(Question::SourceRange) {
            rig.answer(Answer::SourceRange { earliest: 100, latest: 200 });
        }
        rig.answer(Answer::NewProducerId(7));
        rig.answer(Answer::LogEnd(50));
        rig.answer(Answer::HighWatermark(50));
        let Action::Propose { replaces, record, .. } = &rig.out[0] else { panic!("{:?}", rig.out) };
        let record = (record.generation.0, record.base_source_offset);
        assert_eq!((*replaces, record), (5, (6, expected)), "{stored:?}");
    }
}

#[test]
fn a_generation_is_above_those_that_a_deleted_lane_may_have_had() {
    for (assigned_at, newest, expected) in [(84, 0, 84), (84, 83, 84), (84, 84, 85), (84, 90, 91)] {
        let newest_generation = LaneGeneration(newest);
        let right = right(assigned_at, seconds(100), Duration::ZERO);
        let mut rig = Rig::new(Birth { newest_generation, right, ..birth() });
        rig.feed(Event::Leaders { source: true, destination: true });
        rig.answer(Answer::SourceRange { earliest: 100, latest: 200 });
        rig.answer(Answer::NewProducerId(7));
        rig.answer(Answer::LogEnd(50));
        rig.answer(Answer::HighWatermark(50));
        let Action::Propose { record, .. } = &rig.out[0] else { panic!("{:?}", rig.out) };
        assert_eq!(record.generation.0, expected, "assigned at {assigned_at}, {newest} seen");
    }
}

#[test]
fn the_first_batch_goes_alone_then_five() {
    let mut rig = Rig::copying(birth());
    let first = rig.offer(2).unwrap();
    assert_eq!((first.n, first.sequence, first.producer_id, first.own_connection), (0, 0, 7, true));
    assert_eq!(rig.offer(1), None, "the first is alone");
    let second = match rig.stored(first.token, 50)[0] {
        Action::Send(send) => send,
        ref other => panic!("{other:?}"),
    };
    assert_eq!((second.n, second.sequence, second.own_connection), (2, 2, false), "the fence is intact");
    let more: Vec<bool> = (0..5).map(|_| rig.offer(1).is_some()).collect();
    assert_eq!(more, [true, true, true, true, false]);
    assert_eq!(rig.lane.batches_in_flight(), 5);
}

#[test]
fn weak_batches_go_one_at_a_time_on_a_connection_of_their_own() {
    let mut rig = Rig::copying(birth());
    rig.timestamp = WALL_MS - 2 * DAY_MS;
    let first = rig.offer(2).unwrap();
    rig.stored(first.token, 50);
    assert!(rig.offer(1).unwrap().own_connection);
    assert_eq!(rig.offer(1), None);
}

#[test]
fn a_weak_lane_aborts_when_its_right_ends_and_goes_on_when_it_is_back() {
    let mut rig = Rig::copying(birth());
    rig.timestamp = WALL_MS - 2 * DAY_MS;
    let send = rig.offer(1).unwrap();
    rig.boot = seconds(100);
    assert_eq!(rig.feed(Event::Tick), [Action::Abort]);
    assert!(!rig.feed(Event::Tick).contains(&Action::Abort), "once");
    rig.feed(Event::Answered { token: send.token, outcome: Outcome::Lost });
    rig.answer(Answer::ProducerState(None));
    rig.answer(Answer::LogEnd(50));
    rig.answer(Answer::HighWatermark(50));
    assert_eq!(rig.status(), Status::Copying(Evidence::Arithmetic));
    rig.offset = 100;
    assert_eq!(rig.offer(1), None);
    assert_eq!(rig.status(), Status::Waiting(Waiting::Right));
    let back = rig.feed(Event::Right(right(1, seconds(200), Duration::ZERO)));
    assert!(matches!(back[0], Action::Send(_)), "{back:?}");
}

#[test]
fn an_intact_lane_writes_on_without_a_right() {
    let mut rig = Rig::intact(birth());
    rig.boot = seconds(500);
    assert!(rig.offer(1).is_some());
}

#[test]
fn each_verdict_is_acted_upon_once_all_answers_are_read() {
    type Check = fn(&Rig) -> bool;
    let asked: Check = |rig| rig.asks(Question::ProducerState { producer_id: 7 });
    let backed_off: Check = |rig| {
        let waits = matches!(rig.lane.phase, Phase::BackingOff { .. });
        waits && rig.out.contains(&Action::RefreshMetadata)
    };
    let stopped: Check = |rig| matches!(rig.status(), Status::Stopped(_));
    let superseded: Check = |rig| rig.status() == Status::Parked(Parking::Superseded);
    let rows: [(i16, Check); 14] = [
        (45, asked),
        (46, asked),
        (7, asked),
        (20, asked),
        (-1, asked),
        (9999, asked),
        (6, backed_off),
        (19, backed_off),
        (100, backed_off),
        (47, superseded),
        (90, superseded),
        (87, stopped),
        (32, stopped),
        (29, stopped),
    ];
    for (code, check) in rows {
        let mut rig = Rig::intact(birth());
        let first = rig.offer(2).unwrap();
        let second = rig.offer(2).unwrap();
        rig.refused(first.token, code);
        assert_eq!(rig.lane.phase, Phase::Draining, "code {code}: one answer is missing");
        assert_eq!(rig.offer(1), None, "code {code}: nothing is sent while draining");
        rig.stored(second.token, 54);
        assert!(check(&rig), "code {code}: {:?}", rig.out);
        assert_eq!(
            rig.lane.position().n,
            2,
            "code {code}: what was acknowledged behind a gap does not count"
        );
    }
}

#[test]
fn a_right_that_is_missing_and_a_record_that_is_refused_are_named() {
    for (code, words) in
        [(29, "WRITE on the destination topic"), (87, "source offset 102 (error 87, record 1")]
    {
        let mut rig = Rig::intact(birth());
        let send = rig.offer(2).unwrap();
        rig.refused(send.token, code);
        match rig.status() {
            Status::Stopped(stop) => assert!(stop.to_string().contains(words), "{stop}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn too_large_is_split_and_one_record_too_large_stops() {
    let mut rig = Rig::intact(birth());
    let send = rig.offer(6).unwrap();
    assert!(rig.refused(send.token, 10).contains(&Action::LimitBatches { bytes: 300 }));
    let mut rig = Rig::intact(birth());
    let send = rig.offer(1).unwrap();
    rig.refused(send.token, 18);
    assert_eq!(rig.status(), Status::Stopped(Stop::TooLarge { offset: 102, bytes: 100 }));
}

#[test]
fn damage_is_fetched_again_once() {
    let mut rig = Rig::intact(birth());
    for attempt in 0..2 {
        rig.offset = 102;
        let send = rig.offer(1).unwrap();
        let verifies = rig.refused(send.token, 2).contains(&Action::VerifySource);
        assert_eq!(verifies, attempt == 0);
        if attempt == 0 {
            resume_by_state(&mut rig, 1, 52);
        }
    }
    assert_eq!(rig.status(), Status::Stopped(Stop::Damaged { offset: 102 }));
}

fn resume_by_state(rig: &mut Rig, last_sequence: i32, log_end: i64) {
    let last_timestamp = rig.timestamp;
    rig.answer(Answer::ProducerState(Some(ProducerState { epoch: 0, last_sequence, last_timestamp })));
    rig.answer(Answer::LogEnd(log_end));
    rig.answer(Answer::HighWatermark(log_end));
}

#[test]
fn records_of_others_at_the_end_are_never_counted_as_ours() {
    let gone = || Answer::Refused { code: 1, text: String::new() };
    let others = TailBatch {
        base_offset: 54,
        last_offset: 56,
        producer_id: 77,
        producer_epoch: 0,
        base_sequence: 0,
        control: false,
    };
    for (seen, unknowable) in [(None, false), (Some(others), true)] {
        let mut rig = Rig::intact(birth());
        let send = rig.offer(3).unwrap();
        rig.feed(Event::Answered { token: send.token, outcome: Outcome::Lost });
        rig.answer(Answer::ProducerState(None));
        rig.answer(Answer::LogEnd(57));
        rig.answer(Answer::HighWatermark(57));
        if let Some(batch) = seen {
            rig.answer(Answer::Tail(Some(batch)));
        }
        rig.answer(gone());
        let stopped = matches!(rig.status(), Status::Stopped(Stop::Unknowable { destination_to: 57, .. }));
        assert_eq!(stopped, unknowable, "{:?}", rig.status());
    }
}

#[test]
fn a_resume_skips_what_is_there_and_confirms_it_by_the_high_watermark() {
    let mut rig = Rig::intact(birth());
    let send = rig.offer(3).unwrap();
    rig.feed(Event::Answered { token: send.token, outcome: Outcome::Lost });
    resume_by_state(&mut rig, 4, 55);
    let read = rig.out.iter().find_map(|action| match action {
        Action::Read(read) => Some(*read),
        _ => None,
    });
    let read = read.unwrap();
    assert_eq!((read.from_offset, read.skip_records, read.leader_epoch), (102, 3, 3));
    rig.feed(Event::SkippedTo { reading: read.reading, next_offset: 105, leader_epoch: 4 });
    assert_eq!(rig.lane.position().n, 2, "nobody has acknowledged it");
    let acked = rig.lane.position();
    rig.boot += seconds(10);
    rig.feed(Event::Tick);
    rig.feed(Event::PositionStored(acked));
    rig.boot += seconds(10);
    rig.feed(Event::Tick);
    assert!(rig.asks(Question::HighWatermark));
    rig.answer(Answer::HighWatermark(54));
    assert_eq!(rig.lane.position().n, 2);
    rig.boot += seconds(10);
    rig.feed(Event::Tick);
    rig.answer(Answer::HighWatermark(55));
    let position = rig.lane.position();
    assert_eq!((position.n, position.next_offset, position.destination_offset), (5, 105, 55));
    assert!(rig.out.contains(&Action::StorePosition(position)));
}

#[test]
fn less_than_a_stored_position_says_is_never_gone_on_from() {
    let mut rig = Rig::intact(birth());
    rig.boot += seconds(10);
    rig.feed(Event::Tick);
    let acked = rig.lane.position();
    rig.feed(Event::PositionStored(acked));
    let send = rig.offer(1).unwrap();
    rig.refused(send.token, 45);
    resume_by_state(&mut rig, 0, 51);
    let loss = Loss::AcknowledgedLost { found_n: 1, stored_n: 2, source_to: 102, destination_to: 52 };
    assert_eq!(rig.status(), Status::Stopped(Stop::Loss(loss)));
}

#[test]
fn foreign_records_share_an_intact_lane_and_stop_a_weak_one() {
    let mut rig = Rig::intact(birth());
    let send = rig.offer(1).unwrap();
    rig.stored(send.token, 60);
    let proposed = rig.out.iter().find_map(|action| match action {
        Action::Propose { record, replaces, .. } => Some((record.shared, record.generation, *replaces)),
        _ => None,
    });
    assert_eq!(proposed, Some((true, LaneGeneration(2), 1)));
    assert_eq!(rig.lane.position().n, 3);

    let mut rig = Rig::copying(birth());
    let send = rig.offer(1).unwrap();
    rig.stored(send.token, 60);
    let loss = Loss::Foreign { n: 0, expected_offset: 50, found_offset: 60 };
    assert_eq!(rig.status(), Status::Stopped(Stop::Loss(loss)));
    assert_eq!(rig.lane.position().n, 0, "a position tells of nothing doubtful");
}

#[test]
fn losses_follow_the_policy_and_are_never_silent() {
    let overtaken = Event::Source(SourceTrouble::OutOfRange { earliest: 150, latest: 200 });
    let truncated = Event::Source(SourceTrouble::Truncated { end_offset: 101 });
    let recreated = Event::Source(SourceTrouble::Recreated(TopicId(9)));
    let destination = Event::DestinationRecreated(TopicId(9));
    let rows: [(Event, Loss, Remedy); 4] = [
        (overtaken, Loss::RetentionOvertook { from: 102, to: 150, copied: 0 }, Remedy::BeginAt(150)),
        (truncated, Loss::SourceTruncated { end_offset: 101, copied_to: 102 }, Remedy::BeginAt(101)),
        (recreated, Loss::SourceRecreated { copied_to: 102, topic_id: TopicId(9) }, Remedy::BeginAtEarliest),
        (
            destination,
            Loss::DestinationRecreated { copied_to: 102, topic_id: TopicId(9) },
            Remedy::BeginAt(102),
        ),
    ];
    for (trouble, loss, continued) in rows {
        let mut rig = Rig::intact(birth());
        rig.feed(trouble.clone());
        assert_eq!(rig.status(), Status::Stopped(Stop::Loss(loss)));
        let told = rig.feed(Event::Restarted).iter().any(|action| matches!(action, Action::Report(_)));
        assert!(told, "{loss}: it tries again, or says again why not");

        let policies = [(LossPolicy::Continue, continued), (LossPolicy::Restart, Remedy::BeginAtEarliest)];
        for (loss_policy, remedy) in policies {
            let mut rig = Rig::intact(Birth { loss_policy, ..birth() });
            rig.feed(trouble.clone());
            let gap = crate::loss::Gap { loss, remedy };
            assert!(rig.out.contains(&Action::RecordGap(gap)), "{loss_policy:?}: {:?}", rig.out);
            let is_earliest = remedy == Remedy::BeginAtEarliest;
            let begins = if is_earliest { Question::SourceRange } else { Question::NewProducerId };
            assert!(rig.asks(begins), "{loss_policy:?} {loss}: {:?}", rig.out);
        }
    }
}

#[test]
fn what_retention_took_is_told_with_what_the_destination_holds_of_it() {
    let mut rig = Rig::intact(Birth { shared: true, ..birth() });
    // By the destination's word; no position says so yet.
    rig.lane.next_n += 3;
    rig.feed(Event::Source(SourceTrouble::OutOfRange { earliest: 150, latest: 200 }));
    let loss = Loss::RetentionOvertook { from: 102, to: 150, copied: 3 };
    assert_eq!(rig.status(), Status::Stopped(Stop::Loss(loss)));
}

#[test]
fn a_new_generation_counts_on() {
    let mut rig = Rig::intact(Birth { loss_policy: LossPolicy::Continue, ..birth() });
    rig.feed(Event::Source(SourceTrouble::OutOfRange { earliest: 150, latest: 200 }));
    rig.answer(Answer::NewProducerId(8));
    rig.answer(Answer::LogEnd(52));
    let record = match &rig.answer(Answer::HighWatermark(52))[0] {
        Action::Propose { record, replaces: 1, .. } => record.clone(),
        other => panic!("{other:?}"),
    };
    let bases = (record.base_n, record.base_offset, record.base_source_offset);
    assert_eq!((record.generation, record.producer_id, bases), (LaneGeneration(2), 8, (2, 52, 150)));
}

#[test]
fn positions_are_due_by_bytes_by_time_and_at_a_stop() {
    let mut rig = Rig::copying(birth());
    let send = rig.offer(2).unwrap();
    assert!(!rig.stored(send.token, 50).iter().any(|action| matches!(action, Action::StorePosition(_))));
    rig.lane.unstored_bytes = 64 * 1024 * 1024 - 100;
    let send = rig.offer(1).unwrap();
    rig.stored(send.token, 52);
    assert!(rig.out.contains(&Action::StorePosition(rig.lane.acked)), "64 MiB");

    let mut rig = Rig::intact(birth());
    rig.boot += seconds(9);
    assert!(rig.feed(Event::Tick).iter().all(|action| !matches!(action, Action::StorePosition(_))));
    rig.boot += seconds(1);
    let acked = rig.lane.acked;
    assert!(rig.feed(Event::Tick).contains(&Action::StorePosition(acked)), "the interval");

    let mut rig = Rig::intact(birth());
    let send = rig.offer(1).unwrap();
    rig.feed(Event::Stop);
    assert_eq!(rig.offer(1), None);
    rig.stored(send.token, 52);
    let last = rig.lane.acked;
    assert_eq!((last.n, rig.out.contains(&Action::StorePosition(last))), (3, true));
    let released = Action::Released { last: Some(last), unstored: false };
    assert!(rig.feed(Event::PositionStored(last)).contains(&released));
}

#[test]
fn a_stop_stores_the_last_position_behind_one_that_is_being_stored() {
    let mut rig = Rig::intact(birth());
    let due = rig.lane.acked;
    rig.boot += seconds(10);
    assert!(rig.feed(Event::Tick).contains(&Action::StorePosition(due)));
    let send = rig.offer(1).unwrap();
    rig.stored(send.token, 52);
    let last = rig.lane.acked;
    assert_eq!(rig.feed(Event::Stop), [], "the store is busy");
    assert!(rig.feed(Event::PositionStored(due)).contains(&Action::StorePosition(last)));
    let released = Action::Released { last: Some(last), unstored: false };
    assert!(rig.feed(Event::PositionStored(last)).contains(&released));
}

#[test]
fn a_stop_gives_up_on_a_store_that_does_not_answer() {
    let mut rig = Rig::intact(birth());
    rig.feed(Event::Stop);
    rig.feed(Event::PositionFailed);
    rig.feed(Event::PositionFailed);
    assert!(rig.feed(Event::PositionFailed).iter().any(|action| matches!(
        action,
        Action::Released { last: Some(last), unstored: true } if last.n == 0
    )));
}

#[test]
fn overtaken_it_asks_whether_its_epoch_is_current() {
    let overtaken = || {
        let mut rig = Rig::intact(birth());
        let send = rig.offer(1).unwrap();
        rig.refused(send.token, 45);
        resume_by_state(&mut rig, 9, 60);
        assert!(rig.asks(Question::EpochCurrent { epoch: rig.lane.right.epoch }), "{:?}", rig.out);
        rig
    };
    let mut rig = overtaken();
    rig.answer(Answer::EpochCurrent(true));
    assert!(rig.asks(Question::ProducerState { producer_id: 7 }), "resumes at once");

    let mut rig = overtaken();
    rig.answer(Answer::Lost);
    assert!(matches!(rig.lane.phase, Phase::BackingOff { .. }));

    let mut rig = overtaken();
    rig.answer(Answer::EpochCurrent(false));
    assert_eq!(rig.status(), Status::Parked(Parking::Overtaken));
    rig.feed(Event::Right(right(1, seconds(110), Duration::ZERO)));
    assert_eq!(rig.lane.phase, Phase::Parked, "the same epoch tells nothing new");
    rig.feed(Event::Right(right(2, seconds(120), Duration::ZERO)));
    assert!(rig.asks(Question::ProducerState { producer_id: 7 }), "a newer one does");
}

#[test]
fn refused_after_its_right_ended_it_parks_at_once() {
    let mut rig = Rig::intact(birth());
    rig.boot = seconds(500);
    let send = rig.offer(1).unwrap();
    rig.refused(send.token, 45);
    assert_eq!(rig.status(), Status::Parked(Parking::Overtaken));
}

#[test]
fn pauses_double_and_are_bounded() {
    let mut rig = Rig::new(birth());
    rig.feed(Event::Leaders { source: true, destination: true });
    let mut pauses = Vec::new();
    for _ in 0..12 {
        rig.answer(Answer::Lost);
        let Phase::BackingOff { until } = rig.lane.phase else { panic!("{:?}", rig.lane.phase) };
        pauses.push((until - rig.boot).as_millis());
        rig.boot = until;
        rig.feed(Event::Tick);
    }
    assert_eq!(pauses[..5], [100, 200, 400, 800, 1600]);
    assert_eq!(pauses[11], 2_000);
}

#[test]
fn answers_and_offers_of_before_are_ignored() {
    let mut rig = Rig::intact(birth());
    let stale = rig.lane.reading;
    let send = rig.offer(1).unwrap();
    rig.refused(send.token, 45);
    let question = rig.lane.question;
    rig.feed(Event::Answer { question: question - 1, answer: Answer::ProducerState(None) });
    assert_eq!(rig.lane.question, question);
    resume_by_state(&mut rig, 1, 52);
    let offer = Offer {
        reading: stale,
        first_offset: 102,
        next_offset: 103,
        count: 1,
        leader_epoch: 0,
        max_timestamp: WALL_MS,
        bytes: 1,
    };
    assert!(rig.feed(Event::Offered(offer)).is_empty());
}

#[test]
fn a_change_of_leader_begins_a_resume_anew() {
    let mut rig = Rig::intact(birth());
    let send = rig.offer(1).unwrap();
    rig.refused(send.token, 45);
    rig.answer(Answer::ProducerState(None));
    assert!(rig.asks(Question::LogEnd));
    rig.feed(Event::Leaders { source: true, destination: true });
    assert!(rig.asks(Question::ProducerState { producer_id: 7 }), "what the old leader had may be gone");
}

#[test]
fn nothing_is_sent_before_what_is_there_has_gone_by() {
    let mut rig = Rig::intact(birth());
    let send = rig.offer(3).unwrap();
    rig.feed(Event::Answered { token: send.token, outcome: Outcome::Lost });
    resume_by_state(&mut rig, 4, 55);
    assert_eq!(rig.offer(1), None);
    let reading = rig.lane.reading;
    let sent = rig.feed(Event::SkippedTo { reading, next_offset: 105, leader_epoch: 3 });
    assert!(matches!(sent[0], Action::Send(send) if send.n == 5), "{sent:?}");
}

#[test]
fn batches_do_not_travel_on_two_connections_at_once() {
    let mut rig = Rig::intact(birth());
    rig.lane.rules.weak_batches_alone = false;
    assert!(!rig.offer(1).unwrap().own_connection);
    rig.timestamp = WALL_MS - 2 * DAY_MS;
    assert_eq!(rig.offer(1), None);
}

#[test]
fn a_weak_lane_does_not_build_on_what_it_heard_an_hour_ago() {
    for (pause, asks) in [(seconds(3599), false), (seconds(3600), true)] {
        let mut rig = Rig::copying(Birth { right: right(1, seconds(100_000), Duration::ZERO), ..birth() });
        rig.timestamp = WALL_MS - 2 * DAY_MS;
        let send = rig.offer(1).unwrap();
        rig.stored(send.token, 50);
        rig.boot += pause;
        assert_eq!(rig.offer(1).is_none(), asks, "after {pause:?}");
        assert_eq!(rig.asks(Question::ProducerState { producer_id: 7 }), asks, "after {pause:?}");
    }
}

#[test]
fn a_generation_asked_for_under_another_epoch_is_asked_for_again() {
    let mut rig = Rig::new(birth());
    rig.feed(Event::Leaders { source: true, destination: true });
    rig.answer(Answer::SourceRange { earliest: 100, latest: 200 });
    rig.answer(Answer::NewProducerId(7));
    rig.answer(Answer::LogEnd(50));
    rig.feed(Event::Right(right(2, seconds(100), seconds(20))));
    rig.answer(Answer::HighWatermark(50));
    assert_eq!(rig.status(), Status::Waiting(Waiting::FormerHolder));
    rig.boot = seconds(20);
    rig.feed(Event::Tick);
    assert!(rig.asks(Question::SourceRange));
}

#[test]
fn a_position_of_a_newer_generation_supersedes_the_lane() {
    let mut rig = Rig::intact(birth());
    let seen = Position { generation: LaneGeneration(2), ..rig.lane.acked };
    rig.feed(Event::PositionSeen(seen));
    assert_eq!(rig.status(), Status::Parked(Parking::Superseded));
}
