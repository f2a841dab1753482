//! What cannot be exact any more: found, judged, and handled by the user's policy.

use copyist_model::TopicId;

use super::draining::Cause;
use super::opening::From;
use super::{Lane, Phase};
use crate::birth::Start;
use crate::event::{Action, Now, SourceTrouble};
use crate::loss::{Gap, Loss, Remedy, Stop, remedy};

impl Lane {
    pub(super) fn source_trouble(&mut self, now: Now, trouble: SourceTrouble, out: &mut Vec<Action>) {
        if let SourceTrouble::Recreated(id) = trouble {
            self.birth.source.topic_id = id;
            self.begin_if_possible(now, out);
        } else if self.phase == Phase::Copying {
            self.drain(now, Cause::Source(trouble), out);
        }
    }

    pub(super) fn destination_recreated(&mut self, now: Now, id: TopicId, out: &mut Vec<Action>) {
        self.birth.destination.topic_id = id;
        self.begin_if_possible(now, out);
    }

    fn begin_if_possible(&mut self, now: Now, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Copying => self.drain(now, Cause::Begin, out),
            Phase::Resuming(_) | Phase::BackingOff { .. } => self.begin(now, out),
            // Each of them ends in `begin`, or in what a human does.
            Phase::Leaders
            | Phase::Opening
            | Phase::Draining
            | Phase::Parked
            | Phase::Stopped
            | Phase::Released => {}
        }
    }

    /// All is drained: is anything lost by what the source said?
    pub(super) fn source_judged(&mut self, now: Now, trouble: SourceTrouble, out: &mut Vec<Action>) {
        let read_from = self.acked.next_offset;
        // Some of what is at the destination is not acknowledged to us: at most that many offsets.
        let ahead = self.next_n - self.acked.n;
        match trouble {
            SourceTrouble::Truncated { end_offset }
            | SourceTrouble::OutOfRange { latest: end_offset, .. }
                if end_offset < read_from + ahead =>
            {
                let loss = Loss::SourceTruncated { end_offset, copied_to: read_from + ahead };
                self.lose(now, loss, out);
            }
            SourceTrouble::OutOfRange { earliest, .. } if earliest > read_from => {
                let countable =
                    !self.birth.source_compacted && self.record.as_ref().is_some_and(|it| !it.shared);
                if ahead > 0 && countable {
                    self.ask_after_retention(earliest, out);
                } else {
                    self.overtaken_by_retention(now, earliest, out);
                }
            }
            SourceTrouble::Unreadable(text) => self.stop_for_a_human(Stop::Unreadable(text), out),
            SourceTrouble::Truncated { .. }
            | SourceTrouble::OutOfRange { .. }
            | SourceTrouble::Recreated(_) => {
                self.begin(now, out);
            }
        }
    }

    /// A topic with another id than in the record is another topic.
    pub(super) fn recreated(&self) -> Option<Loss> {
        let record = self.record.as_ref()?;
        let changed = |then: TopicId, now: TopicId| !then.is_none() && !now.is_none() && then != now;
        let copied_to = self.acked.next_offset;
        let (source, destination) = (self.birth.source.topic_id, self.birth.destination.topic_id);
        if changed(record.source.topic_id, source) {
            return Some(Loss::SourceRecreated { copied_to, topic_id: source });
        }
        changed(record.destination.topic_id, destination)
            .then_some(Loss::DestinationRecreated { copied_to, topic_id: destination })
    }

    pub(super) fn overtaken_by_retention(&mut self, now: Now, earliest: i64, out: &mut Vec<Action>) {
        let (from, copied) = (self.acked.next_offset, self.next_n - self.acked.n);
        self.lose(now, Loss::RetentionOvertook { from, to: earliest, copied: copied.max(0) }, out);
    }

    pub(super) fn lose(&mut self, now: Now, loss: Loss, out: &mut Vec<Action>) {
        let base_n = self.acked.n.max(self.next_n);
        let remedy = remedy(self.birth.loss_policy, &loss, self.acked.next_offset);
        let from = match remedy {
            Remedy::Stop => return self.stop_for_a_human(Stop::Loss(loss), out),
            Remedy::BeginAt(next_offset) => From::Offset { next_offset, leader_epoch: -1 },
            Remedy::BeginAtEarliest => From::Policy(Start::Earliest),
            Remedy::Share => From::Shared,
        };
        out.push(Action::RecordGap(Gap { loss, remedy }));
        self.begin_generation(now, from, base_n, out);
    }
}
