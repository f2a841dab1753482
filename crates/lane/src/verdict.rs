//! The error table: what a broker's answer means for a lane. From `fence.md`, tried on brokers 2.4, 3.9 and 4.3.

use crate::event::Outcome;

/// What the answer to a Produce request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Stored now or earlier (an exact resend is acknowledged with its original offset).
    Stored,
    /// Not stored: the sequence is not the next one. Read all other answers, then ask.
    OutOfOrder,
    /// Stored or not: ask, never resend.
    Unknown,
    /// Not stored; for a while. Back off, refresh metadata, ask.
    BackOff,
    /// The broker (2.4) has forgotten the producer and takes sequence 0 only: a new producer id.
    ProducerForgotten,
    /// Somebody opened a newer generation: read its record.
    Superseded,
    /// The topic has another id.
    Recreated,
    /// Too large for the topic or the broker: split, the sequence stays.
    TooLarge,
    /// The CRC is wrong on arrival: fetch again once.
    Damaged,
    /// The broker will never take it.
    Rejected,
    /// A right is missing: what to grant.
    Denied { needs: &'static str },
}

/// What became of a batch, as a verdict. Codes that the table does not know are unknown outcomes: asking is always safe.
#[must_use]
pub fn verdict(outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Stored { .. } => Verdict::Stored,
        Outcome::Lost => Verdict::Unknown,
        Outcome::Refused { code, .. } => of_code(*code),
    }
}

fn of_code(code: i16) -> Verdict {
    match code {
        0 => Verdict::Stored,
        // OUT_OF_ORDER_SEQUENCE_NUMBER, DUPLICATE_SEQUENCE_NUMBER (never seen).
        45 | 46 => Verdict::OutOfOrder,
        // INVALID_PRODUCER_EPOCH, PRODUCER_FENCED.
        47 | 90 => Verdict::Superseded,
        59 => Verdict::ProducerForgotten,
        // UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE, NOT_LEADER_OR_FOLLOWER, REPLICA_NOT_AVAILABLE,
        // NETWORK_EXCEPTION, NOT_ENOUGH_REPLICAS, KAFKA_STORAGE_ERROR, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH,
        // OFFSET_NOT_AVAILABLE.
        3 | 5 | 6 | 9 | 13 | 19 | 56 | 74 | 75 | 78 => Verdict::BackOff,
        100 => Verdict::Recreated,
        // MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE.
        10 | 18 => Verdict::TooLarge,
        2 => Verdict::Damaged,
        // INVALID_TIMESTAMP, INVALID_RECORD.
        32 | 87 => Verdict::Rejected,
        29 => Verdict::Denied { needs: "WRITE on the destination topic" },
        31 => Verdict::Denied { needs: "IDEMPOTENT_WRITE on the destination cluster" },
        53 => Verdict::Denied { needs: "WRITE without a transactional id" },
        // REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS_AFTER_APPEND, UNKNOWN_SERVER_ERROR, and all others.
        _ => Verdict::Unknown,
    }
}

/// What an error in answer to a question means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Ask again after a while.
    Again,
    /// This broker does not answer this question: find out otherwise.
    Unsupported,
    /// The offset asked for is gone.
    OutOfRange,
    Denied {
        needs: &'static str,
    },
}

/// An error code in answer to a question. All that is not understood is asked again: nothing is at stake.
#[must_use]
pub fn refused(code: i16) -> Refused {
    match code {
        1 => Refused::OutOfRange,
        29 => {
            Refused::Denied { needs: "READ on the source topic, and READ and WRITE on the destination topic" }
        }
        31 => Refused::Denied { needs: "IDEMPOTENT_WRITE on the destination cluster" },
        // UNSUPPORTED_VERSION.
        35 => Refused::Unsupported,
        _ => Refused::Again,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: i16) -> Verdict {
        verdict(&Outcome::Refused { code, record_index: None, text: String::new() })
    }

    #[test]
    fn each_row_of_the_table() {
        let rows: [(&[i16], Verdict); 9] = [
            (&[45, 46], Verdict::OutOfOrder),
            (&[47, 90], Verdict::Superseded),
            (&[59], Verdict::ProducerForgotten),
            (&[7, 20, -1], Verdict::Unknown),
            (&[3, 6, 5, 9, 13, 19, 56, 74, 75, 78], Verdict::BackOff),
            (&[100], Verdict::Recreated),
            (&[10, 18], Verdict::TooLarge),
            (&[2], Verdict::Damaged),
            (&[32, 87], Verdict::Rejected),
        ];
        for (codes, expected) in rows {
            for &code in codes {
                assert_eq!(of(code), expected, "code {code}");
            }
        }
        assert_eq!(verdict(&Outcome::Stored { base_offset: 3 }), Verdict::Stored);
        assert_eq!(of(0), Verdict::Stored);
        assert_eq!(verdict(&Outcome::Lost), Verdict::Unknown);
    }

    #[test]
    fn a_missing_right_is_named() {
        for (code, word) in [(29, "WRITE on the destination topic"), (31, "cluster"), (53, "transactional")] {
            let found = of(code);
            assert!(
                matches!(found, Verdict::Denied { needs } if needs.contains(word)),
                "code {code} is {found:?}"
            );
        }
    }

    #[test]
    fn whatever_the_table_does_not_name_is_unknown() {
        let named =
            [0, 2, 3, 5, 6, 9, 10, 13, 18, 19, 29, 31, 32, 45, 46, 47, 53, 56, 59, 74, 75, 78, 87, 90, 100];
        for code in (-2..200).filter(|code| !named.contains(code)) {
            assert_eq!(of(code), Verdict::Unknown, "code {code}");
        }
    }

    #[test]
    fn each_row_of_refused_questions() {
        let rows = [
            (1, Refused::OutOfRange),
            (35, Refused::Unsupported),
            (14, Refused::Again),
            (15, Refused::Again),
            (16, Refused::Again),
            (78, Refused::Again),
            (9999, Refused::Again),
        ];
        for (code, expected) in rows {
            assert_eq!(refused(code), expected, "code {code}");
        }
        assert!(matches!(refused(29), Refused::Denied { needs } if needs.contains("READ")));
        assert!(matches!(refused(31), Refused::Denied { needs } if needs.contains("cluster")));
    }
}
