//! The types of worker keys: what a value may be, and what it becomes.

use std::collections::BTreeMap;

use copyist_connector::kind as connector_kind;
use copyist_model::labels::{self, LabelFault};
use copyist_model::{AgentId, TopicName};

use super::address::{Address, read_endpoint, read_endpoints, read_listeners};
use super::etcd::{self, Endpoint};
use super::secret::Secret;

/// What a key's value may be. Blanks around a value do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// A whole number of `unit`.
    Number {
        min: i64,
        max: i64,
        unit: &'static str,
    },
    /// A whole number from 1 to `max`, or -1: the default (in Connect the brokers').
    Count {
        max: i64,
        unit: &'static str,
    },
    /// One of these, in any case.
    OneOf(&'static [&'static str]),
    Topic,
    AgentId,
    /// `host:port` entries of brokers, separated by commas.
    Servers,
    /// `host:port` to listen on.
    Address,
    /// `http://host:port` entries to listen on, separated by commas.
    Listeners,
    /// `host:port` by which others are reached.
    Endpoint,
    /// `host:port` entries of others, separated by commas.
    Endpoints,
    /// `http://host:port`, `https://host:port` or `host:port` entries, separated by commas.
    EtcdEndpoints,
    /// What keys in etcd begin with.
    Prefix,
    /// Text that nobody may see.
    Secret,
    /// `name=value` entries, separated by commas.
    Labels,
}

/// A value that its kind has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Number(i64),
    Topic(TopicName),
    AgentId(AgentId),
    Address(Address),
    Addresses(Vec<Address>),
    EtcdEndpoints(Vec<Endpoint>),
    Secret(Secret),
    Labels(BTreeMap<String, String>),
}

impl Kind {
    /// Milliseconds from `min` to a day.
    #[must_use]
    pub const fn millis(min: i64) -> Self {
        Self::Number { min, max: 86_400_000, unit: "milliseconds" }
    }

    /// As the reference page names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number { unit, .. } | Self::Count { unit, .. } => unit,
            Self::OneOf(_) => "one of a list",
            Self::Topic => "topic",
            Self::AgentId => "id",
            Self::Servers => "brokers",
            Self::Address | Self::Endpoint => "address",
            Self::Listeners | Self::Endpoints | Self::EtcdEndpoints => "addresses",
            Self::Prefix => "key prefix",
            Self::Secret => "password",
            Self::Labels => "labels",
        }
    }

    /// Reads a value that is not blank.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with what would be right.
    pub fn read(self, raw: &str) -> Result<Value, Vec<String>> {
        let text = raw.trim();
        let one = |rule: String| vec![rule];
        match self {
            Self::Text => Ok(Value::Text(text.to_owned())),
            Self::Number { min, max, unit } => whole_number(text, min, max)
                .ok_or_else(|| one(format!("must be a whole number from {min} to {max} ({unit})")))
                .map(Value::Number),
            Self::Count { .. } if text == "-1" => Ok(Value::Number(-1)),
            Self::Count { max, unit } => whole_number(text, 1, max)
                .ok_or_else(|| one(format!("must be a whole number from 1 to {max} ({unit}), or -1")))
                .map(Value::Number),
            Self::OneOf(values) => values
                .iter()
                .find(|value| value.eq_ignore_ascii_case(text))
                .map(|value| Value::Text((*value).to_owned()))
                .ok_or_else(|| one(format!("must be one of: {}", values.join(", ")))),
            Self::Topic => text.parse().map(Value::Topic).map_err(|error| one(format!("{error}"))),
            Self::AgentId => text.parse().map(Value::AgentId).map_err(|error| one(format!("{error}"))),
            Self::Servers => match connector_kind::Kind::Servers.read(text) {
                Ok(_) => Ok(Value::Text(text.to_owned())),
                Err(breaches) => Err(breaches.into_iter().map(|breach| breach.rule).collect()),
            },
            Self::Address => text
                .parse()
                .map(Value::Address)
                .map_err(|reason| one(format!("{reason}; write HOST:PORT, or :PORT for every interface"))),
            Self::Listeners => read_listeners(text).map(Value::Addresses),
            Self::Endpoint => read_endpoint(text).map(Value::Address).map_err(one),
            Self::Endpoints => read_endpoints(text).map(Value::Addresses),
            Self::EtcdEndpoints => etcd::read_endpoints(text).map(Value::EtcdEndpoints),
            Self::Prefix => etcd::read_prefix(text).map(Value::Text).map_err(one),
            Self::Secret => Ok(Value::Secret(Secret::new(text))),
            Self::Labels => read_labels(text).map(Value::Labels),
        }
    }
}

fn whole_number(text: &str, min: i64, max: i64) -> Option<i64> {
    text.parse().ok().filter(|number| (min..=max).contains(number))
}

fn read_labels(text: &str) -> Result<BTreeMap<String, String>, Vec<String>> {
    let wrong = |fault| match fault {
        LabelFault::NoPair(entry) => format!("entry {entry:?} is not NAME=VALUE"),
        LabelFault::Twice(name) => format!("label {name:?} is there twice"),
    };
    labels::read_labels(text).map_err(|faults| faults.into_iter().map(wrong).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: Kind = Kind::Number { min: 0, max: 9, unit: "things" };
    const COUNT: Kind = Kind::Count { max: 9, unit: "things" };
    const FORMATS: Kind = Kind::OneOf(&["text", "json"]);

    fn addresses(texts: &[&str]) -> Vec<Address> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn right_values_are_read() {
        let text = |text: &str| Value::Text(text.to_owned());
        let rows = [
            (Kind::Text, " a b ", text("a b")),
            (PORT, " 0", Value::Number(0)),
            (PORT, "9", Value::Number(9)),
            (COUNT, "-1", Value::Number(-1)),
            (COUNT, "1", Value::Number(1)),
            (FORMATS, "JSON", text("json")),
            (Kind::Topic, "a.b", Value::Topic("a.b".parse().unwrap())),
            (Kind::AgentId, "h:1", Value::AgentId("h:1".parse().unwrap())),
            (Kind::Servers, "a:1,b:2", text("a:1,b:2")),
            (Kind::Address, "h:1", Value::Address("h:1".parse().unwrap())),
            (Kind::Listeners, "http://h:1", Value::Addresses(vec!["h:1".parse().unwrap()])),
            (Kind::Endpoint, "h:1", Value::Address("h:1".parse().unwrap())),
            (Kind::Endpoints, "h:1 , [::1]:2,", Value::Addresses(addresses(&["h:1", "[::1]:2"]))),
            (Kind::Prefix, "/a/b/", text("/a/b")),
            (Kind::Secret, " S1 ", Value::Secret(Secret::new("S1"))),
            (
                Kind::Labels,
                "a=1, b = x=y,",
                Value::Labels([("a", "1"), ("b", "x=y")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
            ),
        ];
        for (kind, raw, value) in rows {
            assert_eq!(kind.read(raw), Ok(value), "{raw:?}");
        }
    }

    #[test]
    fn wrong_values_are_told_what_would_be_right() {
        let rows: &[(Kind, &str, &[&str])] = &[
            (PORT, "10", &["must be a whole number from 0 to 9 (things)"]),
            (PORT, "-1", &["must be a whole number from 0 to 9 (things)"]),
            (PORT, "5s", &["must be a whole number from 0 to 9 (things)"]),
            (COUNT, "0", &["must be a whole number from 1 to 9 (things), or -1"]),
            (COUNT, "-2", &["must be a whole number from 1 to 9 (things), or -1"]),
            (FORMATS, "xml", &["must be one of: text, json"]),
            (Kind::Topic, "a/b", &["topic name \"a/b\" is not valid"]),
            (Kind::AgentId, "a b", &["agent id \"a b\" is not valid"]),
            (
                Kind::Servers,
                "a,b:0",
                &["entry \"a\" has no port; write host:port", "entry \"b:0\" has a port"],
            ),
            (Kind::Address, "h", &["has no port; write HOST:PORT"]),
            (Kind::Listeners, "h:1", &["entry \"h:1\" has no scheme"]),
            (Kind::Endpoint, "h:0", &["has port 0; write HOST:PORT"]),
            (
                Kind::Endpoints,
                "h,:1,0.0.0.0:1,h:1,h:1,http://h:2",
                &[
                    "entry \"h\" has no port; write HOST:PORT",
                    "entry \":1\" names no host; write HOST:PORT",
                    "entry \"0.0.0.0:1\" names no host",
                    "entry \"h:1\" is there twice",
                    "entry \"http://h:2\" has no valid host name",
                ],
            ),
            (Kind::Endpoints, ",", &["has no entry; write HOST:PORT"]),
            (Kind::Prefix, "copyist", &["must begin with a slash"]),
            (Kind::Prefix, "/", &["must name something"]),
            (Kind::Prefix, "/a\u{7}", &["must have no control characters"]),
            (
                Kind::Labels,
                "a,=b,c=1,c=2",
                &["entry \"a\" is not", "entry \"=b\" is not", "label \"c\" is there"],
            ),
        ];
        for (kind, raw, expected) in rows {
            let rules = kind.read(raw).unwrap_err();
            assert_eq!(rules.len(), expected.len(), "{raw:?}: {rules:?}");
            for (rule, beginning) in rules.iter().zip(*expected) {
                assert!(rule.starts_with(beginning), "{raw:?}: {rule}");
            }
        }
    }
}
