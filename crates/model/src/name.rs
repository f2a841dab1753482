//! Names and ids: parsed once, then trusted.

use std::fmt;
use std::str::FromStr;

/// A name that breaks its rule. The text says which name, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value:?} is not valid: {rule}")]
pub struct InvalidName {
    what: &'static str,
    value: String,
    rule: &'static str,
}

impl InvalidName {
    fn new(what: &'static str, value: &str, rule: &'static str) -> Self {
        Self { what, value: value.to_owned(), rule }
    }
}

/// A connector's name: not empty, without ISO control characters, case-sensitive, trimmed by who reads a body.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectorName(String);

impl ConnectorName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ConnectorName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name.trim().is_empty() {
            return Err(InvalidName::new("connector name", name, "it may not be empty"));
        }
        if name.chars().any(char::is_control) {
            return Err(InvalidName::new("connector name", name, "it may not hold control characters"));
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for ConnectorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A Kafka topic name: 1 to 249 characters of `[a-zA-Z0-9._-]`, neither `.` nor `..` (Kafka's `Topic.validate`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(String);

impl TopicName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TopicName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !(1..=249).contains(&name.len()) {
            return Err(InvalidName::new("topic name", name, "it must have 1 to 249 characters"));
        }
        if matches!(name, "." | "..") {
            return Err(InvalidName::new("topic name", name, "it may not be '.' or '..'"));
        }
        if !name.chars().all(legal) {
            return Err(InvalidName::new(
                "topic name",
                name,
                "only ASCII letters, digits, '.', '_' and '-' are allowed",
            ));
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id that a Kafka cluster gives itself (`cluster.id` of its metadata).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(String);

impl ClusterId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterId {
    type Err = InvalidName;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        if id.is_empty() {
            return Err(InvalidName::new("cluster id", id, "it may not be empty"));
        }
        Ok(Self(id.to_owned()))
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An agent's id, which is Connect's `worker_id`: usually the advertised `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(String);

impl AgentId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AgentId {
    type Err = InvalidName;

    fn from_str(id: &str) -> Result<Self, Self::Err> {
        if id.is_empty() || id.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(InvalidName::new("agent id", id, "it must be non-empty text without blanks"));
        }
        Ok(Self(id.to_owned()))
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A task of a connector, shown as Connect does: `<connector>-<number>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskId {
    pub connector: ConnectorName,
    pub number: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.connector, self.number)
    }
}

/// Which part of a connector is placed on an agent: its survey, or one of its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    Survey,
    Task(u32),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Survey => f.write_str("survey"),
            Self::Task(number) => write!(f, "{number}"),
        }
    }
}

/// What an assignment is about: one part of one connector.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssignmentId {
    pub connector: ConnectorName,
    pub part: Part,
}

impl AssignmentId {
    #[must_use]
    pub fn survey(connector: &ConnectorName) -> Self {
        Self { connector: connector.clone(), part: Part::Survey }
    }

    #[must_use]
    pub fn task(connector: &ConnectorName, number: u32) -> Self {
        Self { connector: connector.clone(), part: Part::Task(number) }
    }
}

impl fmt::Display for AssignmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.connector, self.part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names_follow_kafkas_rule() {
        let rows: [(&str, bool); 8] = [
            ("connect", true),
            ("a.b_c-D9", true),
            (&"x".repeat(249), true),
            (&"x".repeat(250), false),
            ("", false),
            (".", false),
            ("..", false),
            ("a b", false),
        ];
        for (name, valid) in rows {
            assert_eq!(name.parse::<TopicName>().is_ok(), valid, "{name:?}");
        }
    }

    #[test]
    fn connector_names_are_any_text_without_control_characters() {
        for (name, valid) in [("a/b %ñ{x}", true), (" x", true), ("", false), ("  ", false), ("a\nb", false)]
        {
            assert_eq!(name.parse::<ConnectorName>().is_ok(), valid, "{name:?}");
        }
    }

    #[test]
    fn agent_and_cluster_ids_are_not_empty() {
        for (id, valid) in [("127.0.0.1:8083", true), ("", false), ("a b", false), ("a\tb", false)] {
            assert_eq!(id.parse::<AgentId>().is_ok(), valid, "{id:?}");
        }
        assert!("".parse::<ClusterId>().is_err());
        assert!("khxOb9lATbCBolngUaja4g".parse::<ClusterId>().is_ok());
    }
}
