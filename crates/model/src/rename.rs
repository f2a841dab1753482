//! How a source topic's name becomes its destination topic's name.

use crate::name::{InvalidName, TopicName};

const PLACEHOLDER: &str = "${topic}";

/// `topic.rename.format`: text with any number of `${topic}`; without one, every topic goes into the same topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenameFormat(String);

impl RenameFormat {
    /// # Errors
    /// When no topic name could come of it: the text around `${topic}` breaks Kafka's rule for topic names.
    pub fn parse(format: &str) -> Result<Self, InvalidName> {
        // The shortest topic name there is stands in for the topic.
        format.replace(PLACEHOLDER, "x").parse::<TopicName>()?;
        Ok(Self(format.to_owned()))
    }

    #[must_use]
    pub fn identity() -> Self {
        Self(PLACEHOLDER.to_owned())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether every topic keeps its name.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.0 == PLACEHOLDER
    }

    /// Whether all topics go into one.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        !self.0.contains(PLACEHOLDER)
    }

    /// # Errors
    /// When the new name breaks Kafka's rule (it can become too long).
    pub fn apply(&self, topic: &TopicName) -> Result<TopicName, InvalidName> {
        self.0.replace(PLACEHOLDER, topic.as_str()).parse()
    }

    /// Whether this format could have made `name` out of some other topic's name: then, on one cluster, a
    /// regex must not take `name` for a source, or each survey would copy the copies again. A format that keeps
    /// names or that is literal has no such pattern (a literal name is compared as a destination instead).
    #[must_use]
    pub fn could_have_made(&self, name: &TopicName) -> bool {
        if self.is_identity() {
            return false;
        }
        let Some((before, rest)) = self.0.split_once(PLACEHOLDER) else {
            return self.0 == name.as_str();
        };
        let after = rest.rsplit_once(PLACEHOLDER).map_or(rest, |(_, after)| after);
        let name = name.as_str();
        name.len() > before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        name.parse().unwrap()
    }

    #[test]
    fn formats_rename_as_written() {
        let rows = [
            ("${topic}", "a", "a"),
            ("connect.replica", "connect", "connect.replica"),
            ("${topic}.replica", "a", "a.replica"),
            ("dc1.${topic}", "a", "dc1.a"),
            ("${topic}-${topic}", "a", "a-a"),
        ];
        for (format, source, destination) in rows {
            assert_eq!(RenameFormat::parse(format).unwrap().apply(&topic(source)), Ok(topic(destination)));
        }
    }

    #[test]
    fn formats_that_make_no_topic_name_are_refused() {
        for format in ["", "a b", "${topic}/x", "${topik}", "."] {
            assert!(RenameFormat::parse(format).is_err(), "{format:?}");
        }
        let long = RenameFormat::parse("${topic}-${topic}").unwrap();
        assert!(long.apply(&topic(&"x".repeat(200))).is_err());
    }

    #[test]
    fn own_products_are_recognised() {
        let rows = [
            ("${topic}", "a", false),
            ("${topic}.replica", "a.replica", true),
            ("${topic}.replica", ".replica", false),
            ("${topic}.replica", "a", false),
            ("dc1.${topic}", "dc1.a", true),
            ("one", "one", true),
            ("one", "two", false),
        ];
        for (format, name, made) in rows {
            let format = RenameFormat::parse(format).unwrap();
            assert_eq!(format.could_have_made(&topic(name)), made, "{format:?} {name}");
        }
    }
}
