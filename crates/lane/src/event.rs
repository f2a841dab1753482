//! What can happen to a lane, and what it wants done. Read these two enums first.

use std::time::Duration;

use copyist_model::{AssignmentEpoch, LaneRecord, Position, TopicId};

use crate::align::Fingerprint;
use crate::loss::{Gap, Stop};

/// Now, and a throw of dice: rights and deadlines count on the first, the fence on the second, jitter on the third.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Since the machine started, suspended time included (CLOCK_BOOTTIME). Read immediately before the step.
    pub boot: Duration,
    /// Milliseconds since 1970.
    pub wall_ms: i64,
    /// Anything random, new for each step.
    pub dice: u32,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Who leads either end is known, or not any more. Said again whenever a leader changed, before any answer of the
    /// new one.
    Leaders {
        source: bool,
        destination: bool,
    },
    /// The answer to the question with this number.
    Answer {
        question: u32,
        answer: Answer,
    },
    /// The proposed record holds from now on.
    RecordCommitted,
    RecordRefused(Refusal),
    /// The store of positions has acknowledged this one.
    PositionStored(Position),
    /// Somebody stored this one for the lane. Whoever waits for a former holder would else begin below it, and take an
    /// intruder's sequence for the truth.
    PositionSeen(Position),
    /// The position that was last to be stored was not, or nobody knows.
    PositionFailed,
    /// The next batch is ready: planned, filtered, rewritten where needed. One at a time: the next is offered after
    /// [`Action::Send`] has taken this one.
    Offered(Offer),
    /// Offsets up to here hold nothing to copy (control records, aborted or filtered ones), and nothing is offered.
    NothingUntil {
        reading: u32,
        next_offset: i64,
        leader_epoch: i32,
    },
    /// The records that [`Read::skip_records`] told to skip have gone by, all of them.
    SkippedTo {
        reading: u32,
        next_offset: i64,
        leader_epoch: i32,
    },
    /// What became of a batch.
    Answered {
        token: u64,
        outcome: Outcome,
    },
    /// The connection to the destination's leader is gone. What was on it is answered as [`Outcome::Lost`].
    Disconnected,
    /// What the source said instead of records.
    Source(SourceTrouble),
    /// The destination's topic has another id now: it was created anew.
    DestinationRecreated(TopicId),
    /// A right was given, prolonged, or (ending at zero) withdrawn. A new epoch that comes with another record than this
    /// lane's wants a new [`Lane`](crate::Lane) instead.
    Right(Right),
    /// The time named by [`Action::WakeAt`] has come. One too many does no harm.
    Tick,
    /// A human wants a stopped lane to try again.
    Restarted,
    /// Drain, store the last position, release.
    Stop,
}

/// The right to write, counted on [`Now::boot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    pub epoch: AssignmentEpoch,
    /// From then on a lane whose fence is weak writes nothing. Zero: withdrawn.
    pub ends_at: Duration,
    /// From then on no former holder writes any more: when its right is over, and the margin as well. Zero after a
    /// confirmed release.
    pub free_at: Duration,
}

/// The next batch of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Of the [`Read`] that it comes from; offers of an earlier one are ignored.
    pub reading: u32,
    /// Source offset of its first record.
    pub first_offset: i64,
    /// One past the last source offset that it covers, skipped ones included.
    pub next_offset: i64,
    /// Records that are sent, after the filter; at least 1.
    pub count: u32,
    /// The source's leader epoch of its last record.
    pub leader_epoch: i32,
    /// The latest record timestamp, milliseconds since 1970.
    pub max_timestamp: i64,
    /// Size on the wire.
    pub bytes: u32,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Stored {
        base_offset: i64,
    },
    /// The broker's error code, and for some codes the record that it dislikes and a text.
    Refused {
        code: i16,
        record_index: Option<i32>,
        text: String,
    },
    /// No answer: timeout, cut connection, closed by us. It may have been stored.
    Lost,
}

/// Why a proposed record does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Another generation holds, or the epoch is over: somebody else knows better.
    Outdated,
    /// Nobody answered; the record may hold or not.
    Unanswered,
}

/// What the source said instead of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceTrouble {
    /// Its log ends below what was read, or continues differently (KIP-320): valid up to `end_offset`.
    Truncated { end_offset: i64 },
    /// The leader has no such offset; it has `earliest..latest`.
    OutOfRange { earliest: i64, latest: i64 },
    /// The topic has another id: it was created anew.
    Recreated(TopicId),
    /// Bytes that cannot be copied, with what is wrong and where. The lane stops.
    Unreadable(String),
}

/// Asked of the destination's leader unless it says otherwise; answered by [`Event::Answer`], always: by [`Answer::Lost`]
/// when the request's own deadline has passed. Only the last one asked is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// DescribeProducers at the leader.
    ProducerState { producer_id: i64 },
    /// OffsetForLeaderEpoch of the current epoch: where the leader's log ends.
    LogEnd,
    /// ListOffsets, latest, isolation 0.
    HighWatermark,
    /// Fetch at this offset, isolation 0: the header of the first batch that ends at or beyond it.
    Tail { offset: i64 },
    /// InitProducerId without a transactional id.
    NewProducerId,
    /// ListOffsets of the source: earliest, and latest (isolation 1).
    SourceRange,
    /// The records of both ends as fingerprints: the source's from an offset on (committed, filtered as for copying;
    /// as many as twice those of the destination are enough), the destination's in a range.
    Contents { source_from: i64, destination_from: i64, destination_to: i64 },
    /// Of any coordinator replica: is this lane's assignment epoch current?
    EpochCurrent { epoch: AssignmentEpoch },
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// `None`: the leader remembers nothing of this producer.
    ProducerState(Option<ProducerState>),
    LogEnd(i64),
    HighWatermark(i64),
    /// `None`: no such batch any more (below the log's start).
    Tail(Option<TailBatch>),
    NewProducerId(i64),
    SourceRange {
        earliest: i64,
        latest: i64,
    },
    /// Those of the source with their offsets.
    Contents {
        source: Vec<(i64, Fingerprint)>,
        destination: Vec<Fingerprint>,
    },
    EpochCurrent(bool),
    /// The broker's error code.
    Refused {
        code: i16,
        text: String,
    },
    /// No answer.
    Lost,
}

/// What DescribeProducers says of one producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerState {
    pub epoch: i16,
    pub last_sequence: i32,
    /// Of its last batch; what its age is measured by.
    pub last_timestamp: i64,
}

/// A batch header found at the destination's tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TailBatch {
    pub base_offset: i64,
    pub last_offset: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub control: bool,
}

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Ask {
        question: u32,
        what: Question,
    },
    /// To the coordinator, with the assignment epoch and the generation it replaces (0: none).
    Propose {
        epoch: AssignmentEpoch,
        replaces: u64,
        record: Box<LaneRecord>,
    },
    StorePosition(Position),
    /// Drop what was read and what is offered; fetch from here.
    Read(Read),
    /// The batch last offered goes out, patched with this. Offer the next.
    Send(Send),
    /// Until said otherwise, make no batch of more than one record larger than this. Followed by a `Read`.
    LimitBatches {
        bytes: u32,
    },
    /// Check the source batch's own CRC when it is read again, and have its bytes fetched anew. Followed by a `Read`.
    VerifySource,
    /// The right ended while batches were on the way: close the lane's own connection at once.
    Abort,
    RefreshMetadata,
    /// A `Tick` is wanted then, on [`Now::boot`]; replaces the one before.
    WakeAt(Duration),
    /// What the lane is doing has changed.
    Report(Status),
    /// Records are lost by the user's policy: count it and show it, with its offsets.
    RecordGap(Gap),
    /// Drop all that was read: nothing will be sent until the next `Read`.
    Idle,
    /// Drained; nothing more will be written under this epoch. `last` is stored, unless `unstored`.
    Released {
        last: Option<Position>,
        unstored: bool,
    },
}

/// From where to read the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Goes into what is offered.
    pub reading: u32,
    pub from_offset: i64,
    /// That many records that would be copied are at the destination already.
    pub skip_records: u64,
    /// Of the last record copied, for truncation detection; -1: unknown.
    pub leader_epoch: i32,
}

/// How a batch travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Send {
    /// Comes back with the outcome.
    pub token: u64,
    /// Number of its first record.
    pub n: i64,
    pub count: u32,
    pub sequence: i32,
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// On a connection of this lane alone, with TCP_USER_TIMEOUT, so that it can be aborted.
    pub own_connection: bool,
}

/// How a resumed lane knew what is at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// A generation that has just begun.
    Fresh,
    DescribeProducers,
    Tail,
    Arithmetic,
    /// Contents compared, on a compacted source.
    Contents,
}

/// What a lane is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    Waiting(Waiting),
    Copying(Evidence),
    Parked(Parking),
    Stopped(Stop),
    Released,
}

/// What a lane waits for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waiting {
    Leaders,
    /// A former holder may still write, and the fence is weak.
    FormerHolder,
    /// The right has ended, and the fence is weak.
    Right,
    /// The lane record, the first position.
    Store,
    /// Answers to what it asked.
    Answers,
    /// After an error, in words.
    Backoff(String),
}

/// Why a lane rests until somebody knows better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parking {
    /// Somebody else copies it. Ends with a newer epoch.
    Overtaken,
    /// Another record holds. Ends with a new [`Lane`](crate::Lane) made from it.
    Superseded,
}
