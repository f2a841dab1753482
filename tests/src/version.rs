//! Versions of Kafka, and what the launcher must know of them.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A version of Kafka; `0.10.2.2` has a fourth number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KafkaVersion {
    pub major: u16,
    pub minor: u16,
    pub patch: u16,
    /// Only before 1.0.
    fix: Option<u16>,
}

/// What the launcher starts where nothing else is said, and what Kafka's Java clients are.
pub const KAFKA_VERSION: KafkaVersion = KafkaVersion::new(4, 3, 1);

/// The first whose KRaft is fit for production.
const KRAFT_FROM: KafkaVersion = KafkaVersion::new(3, 3, 0);
/// The first that is built for Scala 2.13, and whose own log goes through slf4j.
const SCALA_2_13_FROM: KafkaVersion = KafkaVersion::new(2, 4, 0);
/// The first whose `kafka-storage format` makes users.
const FORMATS_USERS_FROM: KafkaVersion = KafkaVersion::new(3, 5, 0);

impl KafkaVersion {
    #[must_use]
    pub const fn new(major: u16, minor: u16, patch: u16) -> KafkaVersion {
        KafkaVersion { major, minor, patch, fix: None }
    }

    /// Before 1.0: `0.10.2.2` is `former(10, 2, 2)`.
    #[must_use]
    pub const fn former(minor: u16, patch: u16, fix: u16) -> KafkaVersion {
        KafkaVersion { major: 0, minor, patch, fix: Some(fix) }
    }

    /// Whether its clusters keep what they know of themselves in ZooKeeper.
    #[must_use]
    pub fn needs_zookeeper(self) -> bool {
        self < KRAFT_FROM
    }

    pub(crate) fn is_for_scala_2_13(self) -> bool {
        self >= SCALA_2_13_FROM
    }

    pub(crate) fn formats_users(self) -> bool {
        self >= FORMATS_USERS_FROM
    }
}

impl fmt::Display for KafkaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        self.fix.map_or(Ok(()), |fix| write!(f, ".{fix}"))
    }
}

impl FromStr for KafkaVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<KafkaVersion> {
        let numbers: Option<Vec<u16>> = text.split('.').map(|number| number.parse().ok()).collect();
        match numbers.as_deref() {
            Some([0, minor, patch, fix]) => Ok(KafkaVersion::former(*minor, *patch, *fix)),
            Some([major, minor, patch]) => Ok(KafkaVersion::new(*major, *minor, *patch)),
            Some(_) | None => Err(Error::Invalid(format!("{text:?} is no version of Kafka"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_written_and_ordered() {
        let versions = ["0.10.2.2", "2.4.1", "2.8.2", "3.3.2", "3.9.1", "4.3.1"].map(|text| {
            let version: KafkaVersion = text.parse().expect("a version");
            assert_eq!(version.to_string(), text);
            version
        });
        assert!(versions.is_sorted());
        assert_eq!(versions.map(KafkaVersion::needs_zookeeper), [true, true, true, false, false, false]);
        assert_eq!(versions.map(KafkaVersion::is_for_scala_2_13), [false, true, true, true, true, true]);
        assert_eq!(versions.map(KafkaVersion::formats_users), [false, false, false, false, true, true]);
        for text in ["", "4", "4.3", "4.3.1.0", "v4.3.1", "4.3.-1"] {
            assert!(text.parse::<KafkaVersion>().is_err(), "{text}");
        }
    }
}
