//! Records that are lost to a lane, and what the user's policy makes of it. Never a silent jump.

use std::fmt;

use copyist_model::{LossPolicy, TopicId};

/// What was lost. Offsets are half-open ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The source took back records that were copied: `[end_offset, copied_to)`.
    SourceTruncated { end_offset: i64, copied_to: i64 },
    /// The source topic was created anew.
    SourceRecreated { copied_to: i64, topic_id: TopicId },
    /// The source deleted records before they were copied: `[from, to)`, but for the first `copied` of them, which the
    /// destination holds although no position says so.
    RetentionOvertook { from: i64, to: i64, copied: i64 },
    /// The destination lacks records that it acknowledged: it holds `found_n` of `stored_n`. The range is of the source
    /// and may hold more than the lost records.
    AcknowledgedLost { found_n: i64, stored_n: i64, source_to: i64, destination_to: i64 },
    /// The destination topic was created anew; all that it held is gone.
    DestinationRecreated { copied_to: i64, topic_id: TopicId },
    /// Somebody else writes into the destination partition, and the fence is weak.
    Foreign { n: i64, expected_offset: i64, found_offset: i64 },
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::SourceTruncated { end_offset, copied_to } => write!(
                f,
                "the source was truncated to offset {end_offset}: its records {end_offset} to {} are copied already",
                copied_to - 1
            ),
            Self::SourceRecreated { copied_to, topic_id } => write!(
                f,
                "the source topic was created anew (id {topic_id}); it was copied {}",
                up_to(copied_to)
            ),
            Self::RetentionOvertook { from, to, copied: 0 } => {
                write!(f, "the source deleted offsets {from} to {} before they were copied", to - 1)
            }
            Self::RetentionOvertook { from, to, copied } => write!(
                f,
                "the source deleted offsets {from} to {}, of which only the first {copied} records were copied",
                to - 1
            ),
            Self::AcknowledgedLost { found_n, stored_n, source_to, destination_to } => write!(
                f,
                "the destination lost {} records that it had acknowledged: it holds {found_n} of {stored_n}; they lay \
                 before source offset {source_to} and destination offset {destination_to}",
                stored_n - found_n
            ),
            Self::DestinationRecreated { copied_to, topic_id } => write!(
                f,
                "the destination topic was created anew (id {topic_id}); it held the source {}",
                up_to(copied_to)
            ),
            Self::Foreign { n, expected_offset, found_offset } => write!(
                f,
                "somebody else writes into the destination partition while the fence is weak: record {n} is at offset \
                 {found_offset}, not {expected_offset}"
            ),
        }
    }
}

/// What is known of how far a lane came.
fn up_to(copied_to: i64) -> String {
    match copied_to {
        ..=0 => "up to where is not known".to_owned(),
        1.. => format!("up to offset {} at least", copied_to - 1),
    }
}

/// A loss that the policy `continue` or `restart` went past, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    pub loss: Loss,
    pub remedy: Remedy,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; ", self.loss)?;
        match self.remedy {
            Remedy::Stop => f.write_str("copying stopped"),
            // What is at the destination already beyond that offset is still skipped.
            Remedy::BeginAt(offset) => write!(f, "copying went on at source offset {offset}"),
            Remedy::BeginAtEarliest => f.write_str("copying began again at the source's first offset"),
            Remedy::Share => f.write_str("copying went on, and offsets are compared no more"),
        }
    }
}

/// Why a lane stopped. Only a human starts it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    Loss(Loss),
    /// No stored position, and the user's reset key says `none`.
    NoPosition,
    /// One record alone is larger than the destination takes.
    TooLarge {
        offset: i64,
        bytes: u32,
    },
    /// The destination refuses a record: source offset of its batch, record index in it, the broker's words.
    Rejected {
        offset: i64,
        record_index: Option<i32>,
        code: i16,
        text: String,
    },
    /// The destination found damage twice in the batch at this source offset.
    Damaged {
        offset: i64,
    },
    /// A right is missing.
    Denied {
        code: i16,
        needs: &'static str,
    },
    /// The source's bytes cannot be copied.
    Unreadable(String),
    /// What the destination holds cannot be told: others write there, and where our records lay is gone.
    Unknowable {
        n: i64,
        destination_from: i64,
        destination_to: i64,
    },
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loss(loss) => write!(f, "{loss} (loss.policy=fail)"),
            Self::NoPosition => f.write_str("no position is stored, and the reset key allows no other start"),
            Self::TooLarge { offset, bytes } => write!(
                f,
                "the record at source offset {offset} takes {bytes} bytes, more than the destination's \
                 max.message.bytes"
            ),
            Self::Rejected { offset, record_index, code, text } => {
                write!(f, "the destination refuses the batch at source offset {offset} (error {code}")?;
                if let Some(index) = record_index {
                    write!(f, ", record {index} of it")?;
                }
                write!(f, "): {text}")
            }
            Self::Damaged { offset } => {
                write!(f, "the batch at source offset {offset} arrives damaged, also when read again")
            }
            Self::Denied { code, needs } => write!(f, "not allowed (error {code}): grant {needs}"),
            Self::Unreadable(text) => f.write_str(text),
            Self::Unknowable { n, destination_from, destination_to } => write!(
                f,
                "whether records from {n} on are in destination offsets {destination_from} to {} cannot be told: others \
                 write there, and the producer's traces are gone",
                destination_to - 1
            ),
        }
    }
}

/// What the policy makes of a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    Stop,
    /// A new generation at this source offset.
    BeginAt(i64),
    /// A new generation at the source's first offset.
    BeginAtEarliest,
    /// The same generation, and base offsets are compared no more.
    Share,
}

/// `next_offset` is where the lane would have read on.
#[must_use]
pub fn remedy(policy: LossPolicy, loss: &Loss, next_offset: i64) -> Remedy {
    match (policy, loss) {
        (LossPolicy::Fail, _) => Remedy::Stop,
        (LossPolicy::Restart, _) | (LossPolicy::Continue, Loss::SourceRecreated { .. }) => {
            Remedy::BeginAtEarliest
        }
        (LossPolicy::Continue, Loss::SourceTruncated { end_offset, .. }) => Remedy::BeginAt(*end_offset),
        (LossPolicy::Continue, Loss::RetentionOvertook { to, .. }) => Remedy::BeginAt(*to),
        (LossPolicy::Continue, Loss::AcknowledgedLost { .. } | Loss::DestinationRecreated { .. }) => {
            Remedy::BeginAt(next_offset)
        }
        (LossPolicy::Continue, Loss::Foreign { .. }) => Remedy::Share,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_decides_by_the_kind_of_loss() {
        let id = TopicId(7);
        let rows = [
            (Loss::SourceTruncated { end_offset: 5, copied_to: 9 }, Remedy::BeginAt(5)),
            (Loss::SourceRecreated { copied_to: 9, topic_id: id }, Remedy::BeginAtEarliest),
            (Loss::RetentionOvertook { from: 9, to: 20, copied: 0 }, Remedy::BeginAt(20)),
            (
                Loss::AcknowledgedLost { found_n: 3, stored_n: 9, source_to: 9, destination_to: 9 },
                Remedy::BeginAt(9),
            ),
            (Loss::DestinationRecreated { copied_to: 9, topic_id: id }, Remedy::BeginAt(9)),
            (Loss::Foreign { n: 9, expected_offset: 9, found_offset: 10 }, Remedy::Share),
        ];
        for (loss, continued) in rows {
            assert_eq!(remedy(LossPolicy::Fail, &loss, 9), Remedy::Stop, "{loss}");
            assert_eq!(remedy(LossPolicy::Continue, &loss, 9), continued, "{loss}");
            assert_eq!(remedy(LossPolicy::Restart, &loss, 9), Remedy::BeginAtEarliest, "{loss}");
        }
    }

    #[test]
    fn texts_name_the_exact_offsets() {
        let rows = [
            (
                Loss::SourceTruncated { end_offset: 5, copied_to: 9 },
                "the source was truncated to offset 5: its records 5 to 8 are copied already",
            ),
            (
                Loss::SourceRecreated { copied_to: 9, topic_id: TopicId::NONE },
                "the source topic was created anew (id 00000000-0000-0000-0000-000000000000); it was copied up to \
                 offset 8 at least",
            ),
            (
                Loss::DestinationRecreated { copied_to: 0, topic_id: TopicId::NONE },
                "the destination topic was created anew (id 00000000-0000-0000-0000-000000000000); it held the \
                 source up to where is not known",
            ),
            (
                Loss::RetentionOvertook { from: 9, to: 20, copied: 0 },
                "the source deleted offsets 9 to 19 before they were copied",
            ),
            (
                Loss::RetentionOvertook { from: 9, to: 20, copied: 3 },
                "the source deleted offsets 9 to 19, of which only the first 3 records were copied",
            ),
            (
                Loss::AcknowledgedLost { found_n: 3, stored_n: 9, source_to: 12, destination_to: 10 },
                "the destination lost 6 records that it had acknowledged: it holds 3 of 9; they lay before source \
                 offset 12 and destination offset 10",
            ),
            (
                Loss::Foreign { n: 9, expected_offset: 9, found_offset: 10 },
                "somebody else writes into the destination partition while the fence is weak: record 9 is at offset \
                 10, not 9",
            ),
        ];
        for (loss, text) in rows {
            assert_eq!(loss.to_string(), text);
            assert_eq!(Stop::Loss(loss).to_string(), format!("{text} (loss.policy=fail)"));
        }
        let ways = [
            (Remedy::Stop, "copying stopped"),
            (Remedy::BeginAt(9), "copying went on at source offset 9"),
            (Remedy::BeginAtEarliest, "copying began again at the source's first offset"),
            (Remedy::Share, "copying went on, and offsets are compared no more"),
        ];
        for (remedy, text) in ways {
            let (loss, _) = rows[0];
            assert_eq!(Gap { loss, remedy }.to_string(), format!("{loss}; {text}"));
        }
        let refused =
            Stop::Rejected { offset: 7, record_index: Some(2), code: 32, text: "too far ahead".to_owned() };
        assert_eq!(
            refused.to_string(),
            "the destination refuses the batch at source offset 7 (error 32, record 2 of it): too far ahead"
        );
    }
}
