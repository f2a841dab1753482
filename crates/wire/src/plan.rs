//! What to do with a batch, decided from its header alone.

use std::fmt;

use crate::batch::Batch;
use crate::codec::Codec;
use crate::committed::Judged;

/// An uncompressed batch below this joins others that wait: one batch per partition and request is a rule of the
/// broker, so tiny ones would cost a request each.
pub const TINY_PLAIN_BYTES: usize = 16 * 1024;
/// The same for a compressed batch, which costs far more to rewrite.
pub const TINY_COMPRESSED_BYTES: usize = 2 * 1024;

/// What timestamps the copies of a LogAppendTime topic's records get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampPolicy {
    /// Those that consumers of the source see: the append time.
    Exact,
    /// Those that the producers gave.
    Original,
}

/// What a lane copies, and how; fixed for a lane generation but for `max_batch_bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Records below it are not copied.
    pub start_offset: i64,
    pub log_append_time: TimestampPolicy,
    /// A record stage: records without a key are not copied (a compacted destination refuses them).
    pub drop_null_keys: bool,
    /// The destination's `max.message.bytes`.
    pub max_batch_bytes: usize,
    /// What a batch may decompress to.
    pub max_plain_bytes: usize,
}

/// What else there is of the same partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Bytes waiting with this batch: already in the rewriter, or read and not yet planned.
    pub waiting_bytes: usize,
    /// Records (of those that count, so after a record stage) from here on that the destination already has, as a
    /// resume found.
    pub skip_records: i64,
}

/// What to do with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Patch the header, leave the payload.
    Pass,
    /// Through the [`crate::Rewriter`].
    Rewrite(Reasons),
    /// Copy nothing, go on behind it.
    Skip(SkipReason),
}

/// Why nothing of a batch is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// A transaction's marker.
    Control,
    /// Of a transaction that was aborted.
    Aborted,
    /// Compaction left no record in it.
    Empty,
    /// It ends before the start offset.
    BeforeStart,
    /// All its records are at the destination: [`Backlog::skip_records`] goes down by its count.
    AlreadyCopied,
}

impl SkipReason {
    pub const ALL: [Self; 5] =
        [Self::Control, Self::Aborted, Self::Empty, Self::BeforeStart, Self::AlreadyCopied];

    /// As metrics call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Aborted => "aborted",
            Self::Empty => "empty",
            Self::BeforeStart => "before_start",
            Self::AlreadyCopied => "already_copied",
        }
    }
}

/// Why a batch is rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The start offset lies within it.
    Start,
    /// Its first records are at the destination already.
    Resume,
    /// Compaction left gaps between its offsets.
    Gaps,
    /// Its records get the append time.
    LogAppendTime,
    /// It is larger than the destination takes.
    Oversize,
    /// A record stage must see its records.
    Stage,
    /// It is small and others wait.
    Tiny,
}

impl Reason {
    pub const ALL: [Self; 7] =
        [Self::Start, Self::Resume, Self::Gaps, Self::LogAppendTime, Self::Oversize, Self::Stage, Self::Tiny];

    /// As metrics call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Resume => "resume",
            Self::Gaps => "gaps",
            Self::LogAppendTime => "log_append_time",
            Self::Oversize => "oversize",
            Self::Stage => "stage",
            Self::Tiny => "tiny",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// One or more [`Reason`]s.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Reasons(u8);

impl Reasons {
    #[must_use]
    pub fn contains(self, reason: Reason) -> bool {
        self.0 & reason.bit() != 0
    }

    /// In the order of the rules.
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        Reason::ALL.into_iter().filter(move |reason| self.contains(*reason))
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Reason> for Reasons {
    fn from_iter<I: IntoIterator<Item = Reason>>(reasons: I) -> Self {
        Self(reasons.into_iter().fold(0, |bits, reason| bits | reason.bit()))
    }
}

impl fmt::Debug for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Decides. The first skip that holds wins; else all reasons to rewrite that hold are named; else it passes.
#[must_use]
pub fn plan(batch: &Batch<'_>, judged: Judged, policy: &Policy, backlog: &Backlog) -> Plan {
    if let Some(reason) = skip_reason(batch, judged, policy, backlog) {
        return Plan::Skip(reason);
    }
    let reasons: Reasons = Reason::ALL.into_iter().filter(|r| holds(*r, batch, policy, backlog)).collect();
    if reasons.is_empty() { Plan::Pass } else { Plan::Rewrite(reasons) }
}

fn skip_reason(batch: &Batch<'_>, judged: Judged, policy: &Policy, backlog: &Backlog) -> Option<SkipReason> {
    match judged {
        Judged::Control => return Some(SkipReason::Control),
        Judged::Aborted => return Some(SkipReason::Aborted),
        Judged::Data => {}
    }
    if batch.count() == 0 {
        return Some(SkipReason::Empty);
    }
    if batch.last_offset() < policy.start_offset {
        return Some(SkipReason::BeforeStart);
    }
    // Only where all its records count does the header say how many do.
    let all_count = batch.base_offset() >= policy.start_offset && !policy.drop_null_keys;
    (all_count && backlog.skip_records >= i64::from(batch.count())).then_some(SkipReason::AlreadyCopied)
}

fn holds(reason: Reason, batch: &Batch<'_>, policy: &Policy, backlog: &Backlog) -> bool {
    match reason {
        Reason::Start => batch.base_offset() < policy.start_offset,
        Reason::Resume => backlog.skip_records > 0,
        Reason::Gaps => !batch.is_contiguous(),
        Reason::LogAppendTime => {
            batch.is_log_append_time() && policy.log_append_time == TimestampPolicy::Exact
        }
        Reason::Oversize => batch.total_bytes() > policy.max_batch_bytes,
        Reason::Stage => policy.drop_null_keys,
        Reason::Tiny => backlog.waiting_bytes > 0 && batch.total_bytes() < tiny_bytes(batch.codec()),
    }
}

fn tiny_bytes(codec: Codec) -> usize {
    match codec {
        Codec::None => TINY_PLAIN_BYTES,
        Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd => TINY_COMPRESSED_BYTES,
    }
}
