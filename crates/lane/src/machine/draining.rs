//! Draining: nothing more is sent, every answer is read, and then the cause is acted upon.

use super::opening::{From, Opening};
use super::{Lane, Phase};
use crate::event::{Action, Now, Offer, Outcome, Parking, SourceTrouble};
use crate::loss::{Loss, Stop};
use crate::verdict::Verdict;

/// Why a lane drains, and so what comes after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// What was asked holds no more.
    Ask,
    /// A batch may be stored or not.
    Unknown,
    /// A batch was refused for its sequence.
    OutOfOrder,
    BackOff(String),
    RenewProducer,
    Superseded,
    Split {
        bytes: u32,
    },
    Damaged {
        offset: i64,
    },
    Stop(Stop),
    /// Others write into the destination partition, and the fence is intact.
    Share,
    Lose(Loss),
    Source(SourceTrouble),
    /// Begin again from what is known of the topics.
    Begin,
    Release,
}

impl Cause {
    /// A batch has failed, so the numbers behind it are open.
    fn is_failure(&self) -> bool {
        !matches!(self, Self::Ask | Self::Source(_) | Self::Begin | Self::Release)
    }
}

impl Lane {
    pub(super) fn cause_of(&self, verdict: Verdict, offer: &Offer, outcome: &Outcome) -> Cause {
        let (code, record_index, text) = match outcome {
            Outcome::Refused { code, record_index, text } => (*code, *record_index, text.clone()),
            Outcome::Stored { .. } | Outcome::Lost => (0, None, "no answer".to_owned()),
        };
        let (offset, bytes) = (offer.first_offset, offer.bytes);
        match verdict {
            Verdict::Stored | Verdict::Unknown => Cause::Unknown,
            Verdict::OutOfOrder => Cause::OutOfOrder,
            Verdict::BackOff | Verdict::Recreated => Cause::BackOff(format!("error {code}: {text}")),
            Verdict::ProducerForgotten => Cause::RenewProducer,
            Verdict::Superseded => Cause::Superseded,
            Verdict::TooLarge if offer.count == 1 => Cause::Stop(Stop::TooLarge { offset, bytes }),
            Verdict::TooLarge => Cause::Split { bytes: bytes / 2 },
            Verdict::Damaged if self.damaged_at == Some(offset) => Cause::Stop(Stop::Damaged { offset }),
            Verdict::Damaged => Cause::Damaged { offset },
            Verdict::Rejected => Cause::Stop(Stop::Rejected { offset, record_index, code, text }),
            Verdict::Denied { needs } => Cause::Stop(Stop::Denied { code, needs }),
        }
    }

    /// The first failure counts: those of later batches follow from it. Any counts more than what is no failure.
    pub(super) fn fail(&mut self, cause: Cause) {
        if !self.cause.as_ref().is_some_and(Cause::is_failure) {
            self.cause = Some(cause);
        }
        self.phase = Phase::Draining;
        self.offer = None;
    }

    pub(super) fn drain(&mut self, now: Now, cause: Cause, out: &mut Vec<Action>) {
        self.cause.get_or_insert(cause);
        self.phase = Phase::Draining;
        self.offer = None;
        if self.in_flight.is_empty() {
            self.drained(now, out);
        }
    }

    pub(super) fn drained(&mut self, now: Now, out: &mut Vec<Action>) {
        self.broken = false;
        let Some(cause) = self.cause.take() else { return };
        let weakly_lost = matches!(cause, Cause::Lose(_) | Cause::Superseded);
        if self.releasing && !weakly_lost {
            return self.store_and_release(now, out);
        }
        match cause {
            Cause::Ask | Cause::Begin | Cause::Release => self.begin(now, out),
            Cause::Unknown if !self.rules.ask_before_resending => self.resend_blindly(out),
            Cause::Unknown => self.ask_again(now, "a batch was not answered".to_owned(), out),
            Cause::OutOfOrder if now.boot >= self.right.ends_at => self.park(Parking::Overtaken, out),
            Cause::OutOfOrder => self.ask_again(now, "a sequence was refused".to_owned(), out),
            Cause::BackOff(why) => {
                out.push(Action::RefreshMetadata);
                self.back_off(now, why, out);
            }
            Cause::RenewProducer => self.renew_producer(now, out),
            Cause::Superseded => self.park(Parking::Superseded, out),
            Cause::Split { bytes } => {
                out.push(Action::LimitBatches { bytes });
                self.begin(now, out);
            }
            Cause::Damaged { offset } => {
                self.damaged_at = Some(offset);
                out.push(Action::VerifySource);
                self.begin(now, out);
            }
            Cause::Stop(stop) => self.stop_for_a_human(stop, out),
            Cause::Share => self.begin_generation(now, From::Shared, self.acked.n, out),
            Cause::Lose(loss) => self.lose(now, loss, out),
            Cause::Source(trouble) => self.source_judged(now, trouble, out),
        }
    }

    /// At once the first time, then with pauses, until something is acknowledged.
    fn ask_again(&mut self, now: Now, why: String, out: &mut Vec<Action>) {
        if self.failures == 0 {
            self.failures = 1;
            out.push(Action::RefreshMetadata);
            self.begin(now, out);
        } else {
            out.push(Action::RefreshMetadata);
            self.back_off(now, why, out);
        }
    }

    /// What clients do that do not ask. Only tests leave the rule out.
    fn resend_blindly(&mut self, out: &mut Vec<Action>) {
        self.next_n = self.acked.n;
        self.start_reading(self.acked.next_offset, 0, out);
        self.start_copying(self.evidence, out);
    }

    pub(super) fn begin_generation(&mut self, now: Now, from: From, base_n: i64, out: &mut Vec<Action>) {
        self.renewing = false;
        self.opening = Some(Opening::derived(from, base_n, self.resumed_epoch));
        self.begin(now, out);
    }
}
