//! Kafka client keys in a worker file: without a prefix for all clients of the worker's cluster, and after
//! `producer.`, `consumer.` and `admin.`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use copyist_agent::client::Role as ClientRole;
use copyist_agent::client::resolve::hidden_values;
use copyist_connector::clients::{self as table, Side};
use copyist_connector::key::Effect;
use copyist_connector::kind::Value;
use copyist_model::ClientProperties;

use super::key::{Clients, Members};
use super::table::FAMILIES;
use copyist_model::properties::Properties;

/// Client keys that have an effect.
#[derive(Clone, Default)]
pub struct ClientKeys {
    all: BTreeMap<String, String>,
    producers: BTreeMap<String, String>,
    consumers: BTreeMap<String, String>,
    /// Properties whose values come from references.
    hidden: BTreeSet<String>,
}

impl ClientKeys {
    pub fn insert(&mut self, clients: Clients, property: &str, value: String) {
        let properties = match clients {
            // Of admin clients' keys, [`read`] makes no property.
            Clients::All | Clients::Admins => &mut self.all,
            Clients::Producers => &mut self.producers,
            Clients::Consumers => &mut self.consumers,
        };
        properties.insert(property.to_owned(), value);
    }

    /// Its value is not what the file says, and must not be shown.
    pub fn hide(&mut self, property: &str) {
        self.hidden.insert(property.to_owned());
    }

    /// What references stand for and no client takes: one text for each.
    #[must_use]
    pub fn hidden_values(&self) -> BTreeSet<String> {
        let producer = hidden_values(&self.producer(), ClientRole::Producer, &self.hidden);
        let consumer = hidden_values(&self.consumer(), ClientRole::Consumer, &self.hidden);
        producer.into_iter().chain(consumer).collect()
    }

    /// What SASL needs and is not there: one text for each missing key.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let groups = [("", &self.all), ("producer.", &self.producers), ("consumer.", &self.consumers)];
        let missing = groups.into_iter().flat_map(|(prefix, own)| {
            let protocol = own.get("security.protocol").filter(|protocol| {
                protocol.get(..5).is_some_and(|beginning| beginning.eq_ignore_ascii_case("SASL_"))
            });
            let lacks = |key: &&str| !own.contains_key(*key) && !self.all.contains_key(*key);
            let missing = ["sasl.mechanism", "sasl.jaas.config"].into_iter().filter(lacks);
            let keys = missing
                .map(move |key| format!("{prefix}{key} is missing: {prefix}security.protocol asks for SASL"));
            protocol.map(|_| keys).into_iter().flatten().collect::<Vec<_>>()
        });
        missing.collect()
    }

    /// For every client of the worker's cluster.
    #[must_use]
    pub fn cluster(&self) -> ClientProperties {
        ClientProperties(self.all.clone())
    }

    /// `producer.*` over those without a prefix.
    #[must_use]
    pub fn producer(&self) -> ClientProperties {
        ClientProperties(self.all.clone().into_iter().chain(self.producers.clone()).collect())
    }

    /// `consumer.*` over those without a prefix.
    #[must_use]
    pub fn consumer(&self) -> ClientProperties {
        ClientProperties(self.all.clone().into_iter().chain(self.consumers.clone()).collect())
    }
}

/// Shows no secret.
impl fmt::Debug for ClientKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientKeys").field(&self.producer()).field(&self.consumer()).finish()
    }
}

/// What comes of a client key.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    Property(String),
    /// It asks for what happens anyway.
    AsItIs,
    WithoutEffect(&'static str),
    /// What is wrong, with what would be right.
    Wrong(Vec<String>),
}

/// Whether Kafka's clients know the property.
#[must_use]
pub fn is_known(property: &str) -> bool {
    table::find(property).is_some() || table::is_ignored(property)
}

/// The names of all client keys, with and without prefixes.
pub fn names() -> impl Iterator<Item = String> {
    let prefixes = FAMILIES.iter().filter(|family| matches!(family.members, Members::Clients(_)));
    let prefixes = prefixes.map(|family| family.prefix).chain([""]);
    prefixes.flat_map(|prefix| table::names().map(move |property| format!("{prefix}{property}")))
}

/// Reads a client key that [`is_known`].
#[must_use]
pub fn read(properties: &Properties, clients: Clients, property: &str, raw: &str) -> Read {
    let without_prefix = || properties.entries.get(property).map(|entry| entry.value.trim());
    if property == "bootstrap.servers" {
        return read_servers(without_prefix(), raw);
    }
    let Some(key) = table::find(property) else { return Read::WithoutEffect(ignored_because(property)) };
    match clients {
        Clients::Producers if !key.side.includes(Side::Destination) => {
            return Read::WithoutEffect("producers have no such key");
        }
        Clients::Consumers if !key.side.includes(Side::Source) => {
            return Read::WithoutEffect("consumers have no such key");
        }
        Clients::Admins if without_prefix() == Some(raw.trim()) => return Read::AsItIs,
        Clients::Admins => return Read::WithoutEffect("admin clients go by the keys without a prefix"),
        Clients::All | Clients::Producers | Clients::Consumers => (),
    }
    if property == "auto.offset.reset" {
        return Read::WithoutEffect("where a partition starts is said by each connector");
    }
    match key.effect {
        Effect::Honoured => (),
        Effect::Always(_) | Effect::Without(_) if key.effect.ignores(raw) => {
            return Read::WithoutEffect(key.documentation.trim_end_matches('.'));
        }
        Effect::Always(_) | Effect::Without(_) => return Read::AsItIs,
    }
    match key.kind.read(raw) {
        Ok(value) => Read::Property(to_property(value, raw)),
        Err(breaches) => Read::Wrong(breaches.into_iter().map(|breach| breach.rule).collect()),
    }
}

/// The records and the storage topics are in one cluster, that of `bootstrap.servers`.
fn read_servers(without_prefix: Option<&str>, raw: &str) -> Read {
    if without_prefix == Some(raw.trim()) {
        return Read::AsItIs;
    }
    Read::Wrong(vec![
        "records go to the cluster of bootstrap.servers: leave this key out; a connector with another \
         destination names it by dest.kafka.bootstrap.servers"
            .to_owned(),
    ])
}

fn ignored_because(property: &str) -> &'static str {
    let group = table::IGNORED.iter().find(|ignored| ignored.names.contains(&property));
    group.map_or("it is not known", |ignored| ignored.reason)
}

fn to_property(value: Value, raw: &str) -> String {
    match value {
        Value::Text(text) => text,
        Value::Flag(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Topics(_) | Value::Pattern(_) | Value::Rename(_) | Value::Labels(_) => raw.trim().to_owned(),
    }
}
