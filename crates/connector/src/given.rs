//! A config as it was given, read by its class's tables.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::reference::has_reference;
use copyist_model::{ClientProperties, RenameFormat, TopicName, TopicPattern};

use crate::class::{Class, Definition};
use crate::clients::{self, Side};
use crate::key::{Default, Effect};
use crate::kind::{Breach, Kind, Value};
use crate::rejection::Problem;
use crate::secret;

const ONLY_CLIENTS: &str = "a reference to a config provider is resolved where clients are made: only keys that begin \
                            with src.kafka., src.consumer., dest.kafka. or producer.override. may hold one; write the \
                            value itself";
const NULL: &str = "Null value can not be supplied as the configuration value.";

/// A config, its values read. What is absent has its table's default; what is wrong is absent here, and was
/// reported by [`Given::read`]. It has no `Debug`: its values are secrets in part.
pub struct Given<'a> {
    class: &'static Class,
    config: &'a BTreeMap<String, Option<String>>,
    values: BTreeMap<&'a str, Value>,
}

/// What is wrong with single keys.
#[derive(Debug, Default)]
pub struct Problems {
    /// Nulls of keys that Connect's and the class's tables do not have.
    pub undefined: Vec<Problem>,
    /// In table order.
    pub own: Vec<Problem>,
    /// Of client keys, by name.
    pub client: Vec<Problem>,
}

impl<'a> Given<'a> {
    /// Reads every key that the class knows.
    #[must_use]
    pub fn read(class: &'static Class, config: &'a BTreeMap<String, Option<String>>) -> (Self, Problems) {
        let mut given = Self { class, config, values: BTreeMap::new() };
        let mut problems = Problems::default();
        for key in class.own_keys() {
            match config.get(key.name) {
                Some(raw) => problems.own.extend(given.read_one(key.name, key.kind, raw.as_deref())),
                None if key.default == Default::Required => problems.own.push(Problem::missing(key.name)),
                None => {
                    let value = key.default.value().and_then(|value| key.kind.read(value).ok());
                    given.values.extend(value.map(|value| (key.name, value)));
                }
            }
        }
        for (name, raw) in config {
            match (class.define(name), raw.as_deref()) {
                (Definition::Own(_), _) => (),
                (
                    Definition::Client { .. }
                    | Definition::IgnoredClient(_)
                    | Definition::Ignored(_)
                    | Definition::Unknown,
                    None,
                ) => problems.undefined.push(Problem::new(name, NULL)),
                (Definition::Client { key, .. }, Some(raw)) => {
                    // A reference to a config provider is resolved, and judged, where the clients are made.
                    let kind = if has_reference(raw) { Kind::Text } else { key.kind };
                    problems.client.extend(given.read_one(name, kind, Some(raw)));
                }
                (Definition::IgnoredClient(_) | Definition::Ignored(_) | Definition::Unknown, Some(_)) => (),
            }
        }
        (given, problems)
    }

    fn read_one(&mut self, key: &'a str, kind: Kind, raw: Option<&str>) -> Vec<Problem> {
        // Keys of secrets take any text (a test says so), so what is shown is none.
        let problem = |Breach { shown, rule }: Breach| Problem::invalid(key, &shown, &rule);
        let Some(raw) = raw else {
            return kind.null_breach().map(problem).into_iter().chain([Problem::new(key, NULL)]).collect();
        };
        let is_own = matches!(self.class.define(key), Definition::Own(_));
        let kind = match (has_reference(raw), is_own) {
            (false, _) | (true, false) => kind,
            // `src.kafka.bootstrap.servers` and the like are in a table of their own, and client keys all the same.
            (true, true) if kind == Kind::Servers => Kind::Text,
            // What a connector is called is nobody's secret; a secret without an effect is not read at all.
            (true, true) if matches!(kind, Kind::Name | Kind::Password) => kind,
            (true, true) => return vec![Problem::invalid(key, &secret::shown(key, raw), ONLY_CLIENTS)],
        };
        match kind.read(raw) {
            Ok(value) => {
                self.values.insert(key, value);
                Vec::new()
            }
            Err(breaches) => breaches.into_iter().map(problem).collect(),
        }
    }

    /// The trimmed text of a key, or its default.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        let Some(Value::Text(text)) = self.values.get(key) else { return None };
        Some(text)
    }

    #[must_use]
    pub fn flag(&self, key: &str) -> bool {
        self.values.get(key) == Some(&Value::Flag(true))
    }

    #[must_use]
    pub fn number(&self, key: &str) -> Option<i64> {
        let Some(Value::Number(number)) = self.values.get(key) else { return None };
        Some(*number)
    }

    #[must_use]
    pub fn topics(&self, key: &str) -> BTreeSet<TopicName> {
        let Some(Value::Topics(topics)) = self.values.get(key) else { return BTreeSet::new() };
        topics.clone()
    }

    #[must_use]
    pub fn pattern(&self, key: &str) -> Option<TopicPattern> {
        let Some(Value::Pattern(pattern)) = self.values.get(key) else { return None };
        Some(pattern.clone())
    }

    #[must_use]
    pub fn rename(&self, key: &str) -> RenameFormat {
        let Some(Value::Rename(format)) = self.values.get(key) else { return RenameFormat::identity() };
        format.clone()
    }

    #[must_use]
    pub fn labels(&self, key: &str) -> BTreeMap<String, String> {
        let Some(Value::Labels(labels)) = self.values.get(key) else { return BTreeMap::new() };
        labels.clone()
    }

    /// The entries of a list.
    #[must_use]
    pub fn list(&self, key: &str) -> BTreeSet<String> {
        let entries = self.text(key).unwrap_or_default().split(',').map(str::trim);
        entries.filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
    }

    /// Whether the user wrote nothing for a key: it is not there, null, or holds blanks and commas only.
    #[must_use]
    pub fn is_blank(&self, key: &str) -> bool {
        let blank = |raw: &str| raw.chars().all(|c| c == ',' || c.is_whitespace());
        self.config.get(key).and_then(Option::as_deref).is_none_or(blank)
    }

    /// Whether a key is written with a JSON null, which is reported as such.
    #[must_use]
    pub fn is_null(&self, key: &str) -> bool {
        self.config.get(key).is_some_and(Option::is_none)
    }

    /// The client properties under these prefixes that have an effect on the clients of `side`; a later
    /// prefix wins. `auto.offset.reset` is no client's business here, and blank servers are none.
    #[must_use]
    pub fn properties(&self, prefixes: &[&str], side: Side) -> ClientProperties {
        let mut properties = BTreeMap::new();
        for prefix in prefixes {
            for (name, value) in &self.values {
                let Some(property) = name.strip_prefix(prefix) else { continue };
                let Some(key) = clients::find(property) else { continue };
                if key.effect == Effect::Honoured && key.side.includes(side) {
                    properties.extend(value.to_property().map(|value| (property.to_owned(), value)));
                }
            }
        }
        properties.remove("auto.offset.reset");
        if properties.get("bootstrap.servers").is_some_and(String::is_empty) {
            properties.remove("bootstrap.servers");
        }
        ClientProperties(properties)
    }

    /// The keys that the user wrote, with what the class knows about them.
    pub fn written(&self) -> impl Iterator<Item = (&'a str, &'a str, Definition)> {
        let written = self.config.iter().filter_map(|(name, raw)| Some((name.as_str(), raw.as_deref()?)));
        written.map(|(name, raw)| (name, raw, self.class.define(name)))
    }

    #[must_use]
    pub fn class(&self) -> &'static Class {
        self.class
    }
}

impl Value {
    /// As a client property; nothing for values that no client key has.
    fn to_property(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Flag(flag) => Some(flag.to_string()),
            Self::Number(number) => Some(number.to_string()),
            Self::Topics(_) | Self::Pattern(_) | Self::Rename(_) | Self::Labels(_) => None,
        }
    }
}
