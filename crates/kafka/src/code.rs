//! Kafka's error codes: kept as the numbers that brokers send, an unknown one as well.

use std::fmt;

use kafka_protocol::error::ResponseError;

/// A broker's error code; 0 is none. Shown by its name and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Code(pub i16);

impl Code {
    pub const NONE: Self = Self(0);
    pub const OFFSET_OUT_OF_RANGE: Self = Self(1);
    pub const UNKNOWN_TOPIC_OR_PARTITION: Self = Self(3);
    pub const LEADER_NOT_AVAILABLE: Self = Self(5);
    pub const NOT_LEADER_OR_FOLLOWER: Self = Self(6);
    pub const MESSAGE_TOO_LARGE: Self = Self(10);
    pub const RECORD_LIST_TOO_LARGE: Self = Self(18);
    pub const UNSUPPORTED_VERSION: Self = Self(35);
    pub const TOPIC_ALREADY_EXISTS: Self = Self(36);
    pub const NOT_CONTROLLER: Self = Self(41);
    pub const OUT_OF_ORDER_SEQUENCE_NUMBER: Self = Self(45);
    pub const FETCH_SESSION_ID_NOT_FOUND: Self = Self(70);
    pub const INVALID_FETCH_SESSION_EPOCH: Self = Self(71);
    pub const FENCED_LEADER_EPOCH: Self = Self(74);
    pub const UNKNOWN_LEADER_EPOCH: Self = Self(75);
    pub const OFFSET_NOT_AVAILABLE: Self = Self(78);
    pub const INVALID_RECORD: Self = Self(87);
    pub const UNKNOWN_TOPIC_ID: Self = Self(100);

    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// `Err` with the code unless it is 0.
    ///
    /// # Errors
    /// The code itself.
    pub fn check(self) -> Result<(), Self> {
        if self.is_none() { Ok(()) } else { Err(self) }
    }

    /// Whether Kafka's protocol calls it retriable. It does not say whether the request was carried out.
    #[must_use]
    pub fn is_retriable(self) -> bool {
        ResponseError::try_from_code(self.0).is_some_and(|error| error.is_retriable())
    }
}

/// `NotLeaderOrFollower (6)`
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ResponseError::try_from_code(self.0) {
            None => f.write_str("no error (0)"),
            Some(ResponseError::Unknown(code)) => write!(f, "unknown error ({code})"),
            Some(error) => write!(f, "{error} ({})", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_shown_by_name_and_number() {
        let rows = [
            (0, "no error (0)", false),
            (6, "NotLeaderOrFollower (6)", true),
            (45, "OutOfOrderSequenceNumber (45)", false),
            (-1, "UnknownServerError (-1)", false),
            (9999, "unknown error (9999)", false),
        ];
        for (code, shown, retriable) in rows {
            assert_eq!((Code(code).to_string().as_str(), Code(code).is_retriable()), (shown, retriable));
            assert_eq!(Code(code).check().is_ok(), code == 0);
        }
    }
}
