//! A worker file's keys, read by the table: typed values, everything that is wrong, and what the user should know.

use std::collections::BTreeMap;
use std::time::Duration;

use copyist_agent::client::providers::{Providers, Variables};
use copyist_model::client::is_secret;
use copyist_model::reference::has_reference;
use copyist_model::{AgentId, TopicName};

use super::address::Address;
use super::clients::{self, ClientKeys};
use super::definition::{Definition, define};
use super::etcd::Endpoint;
use super::key::{Clients, Default, Effect, Level, Without, WorkerKey};
use super::kind::Value;
use super::machine::Machine;
use super::providers;
use super::role::{self, Role};
use super::secret::Secret;
use super::table::{self, KEYS};
use crate::error::Problem;
use copyist_model::properties::Properties;

/// A worker file, its values read. What is absent has the table's default; what is wrong is absent here, and was
/// reported.
#[derive(Debug, Default)]
pub struct Given {
    values: BTreeMap<&'static str, Value>,
    /// Keys that the file leaves to their defaults.
    defaulted: Vec<&'static str>,
    /// Those of them that it names, without a value.
    blank: Vec<&'static str>,
    pub clients: ClientKeys,
    pub providers: Providers,
    pub unknown: Vec<String>,
    /// By importance and reason.
    pub without_effect: BTreeMap<(Level, &'static str), Vec<String>>,
    pub problems: Vec<Problem>,
}

impl Given {
    /// Reads the properties of the file `place` that `role` knows.
    #[must_use]
    pub fn read(place: &str, properties: &Properties, machine: &Machine, role: Role) -> Self {
        let mut given = Self::default();
        let mut reader = Reader { place, properties, role, given: &mut given };
        reader.read_providers(&machine.variables);
        reader.read_own();
        reader.read_others();
        given.problems.sort_by_key(|problem| problem.line);
        given
    }

    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        let Some(Value::Text(text)) = self.values.get(key) else { return None };
        Some(text)
    }

    #[must_use]
    pub fn number<N: TryFrom<i64>>(&self, key: &str) -> Option<N> {
        let Some(Value::Number(number)) = self.values.get(key) else { return None };
        N::try_from(*number).ok()
    }

    #[must_use]
    pub fn millis(&self, key: &str) -> Option<Duration> {
        self.number(key).map(Duration::from_millis)
    }

    #[must_use]
    pub fn topic(&self, key: &str) -> Option<TopicName> {
        let Some(Value::Topic(topic)) = self.values.get(key) else { return None };
        Some(topic.clone())
    }

    #[must_use]
    pub fn agent_id(&self, key: &str) -> Option<AgentId> {
        let Some(Value::AgentId(id)) = self.values.get(key) else { return None };
        Some(id.clone())
    }

    #[must_use]
    pub fn address(&self, key: &str) -> Option<Address> {
        let Some(Value::Address(address)) = self.values.get(key) else { return None };
        Some(address.clone())
    }

    #[must_use]
    pub fn addresses(&self, key: &str) -> Option<Vec<Address>> {
        let Some(Value::Addresses(addresses)) = self.values.get(key) else { return None };
        Some(addresses.clone())
    }

    #[must_use]
    pub fn etcd_endpoints(&self, key: &str) -> Option<Vec<Endpoint>> {
        let Some(Value::EtcdEndpoints(endpoints)) = self.values.get(key) else { return None };
        Some(endpoints.clone())
    }

    #[must_use]
    pub fn secret(&self, key: &str) -> Option<Secret> {
        let Some(Value::Secret(secret)) = self.values.get(key) else { return None };
        Some(secret.clone())
    }

    #[must_use]
    pub fn labels(&self, key: &str) -> Option<BTreeMap<String, String>> {
        let Some(Value::Labels(labels)) = self.values.get(key) else { return None };
        Some(labels.clone())
    }

    /// Whether the file names a key and gives it no value, which means something to few.
    #[must_use]
    pub fn is_blank(&self, key: &str) -> bool {
        self.blank.contains(&key)
    }

    #[must_use]
    pub fn is_defaulted(&self, key: &str) -> bool {
        self.defaulted.contains(&key)
    }
}

const HIDDEN: &str = "what its reference stands for is not possible here (it is not shown)";
const BROKERS_DEFAULT: &str = "-1, the brokers' own default, is not asked for: the default of Connect holds";

fn default_of(key: &WorkerKey) -> Option<Value> {
    key.default.value().and_then(|default| key.kind.read(default).ok())
}

struct Reader<'a> {
    place: &'a str,
    properties: &'a Properties,
    role: Role,
    given: &'a mut Given,
}

impl Reader<'_> {
    fn read_providers(&mut self, variables: &Variables) {
        let read = providers::read(self.properties, variables);
        for (key, rule) in read.problems {
            let line = self.properties.entries.get(&key).map(|entry| entry.line);
            self.given.problems.push(Problem {
                place: self.place.to_owned(),
                line,
                text: format!("{key}: {rule}"),
            });
        }
        for key in read.without_effect {
            self.note(Level::Warning, "no provider reads it", &key);
        }
        self.given.providers = read.providers;
    }

    /// A key's value, with what its references stand for; nothing, when that is not to be had, which is reported.
    fn resolved(&mut self, name: &str, value: &str) -> Option<String> {
        match self.given.providers.resolve(value) {
            Ok(resolved) => Some(resolved.unwrap_or_else(|| value.to_owned())),
            Err(unresolved) => {
                let line = self.properties.entries.get(name).map(|entry| entry.line);
                let text = |why| format!("{name}: {why}");
                let problem = |why| Problem { place: self.place.to_owned(), line, text: text(why) };
                self.given.problems.extend(unresolved.into_iter().map(problem));
                None
            }
        }
    }

    fn read_own(&mut self) {
        let role = self.role;
        let ours = |key: &&WorkerKey| key.effect == Effect::Honoured && role.is_one_of(key.roles);
        for key in KEYS.iter().filter(ours) {
            // As for Connect, a key without a value is no key.
            let entry = self.properties.entries.get(key.name);
            let read = match entry.filter(|entry| !entry.value.trim().is_empty()) {
                Some(entry) => match self.resolved(key.name, &entry.value).map(|text| key.kind.read(&text)) {
                    Some(Ok(Value::Number(-1))) => {
                        self.note(Level::Info, BROKERS_DEFAULT, key.name);
                        default_of(key)
                    }
                    Some(Ok(value)) => Some(value),
                    Some(Err(rules)) => {
                        self.report(key.name, rules);
                        None
                    }
                    None => None,
                },
                None => {
                    self.given.defaulted.push(key.name);
                    self.given.blank.extend(entry.map(|_| key.name));
                    if key.default == Default::Required {
                        let text = format!("{} is missing: {}", key.name, key.documentation);
                        self.given.problems.push(Problem { place: self.place.to_owned(), line: None, text });
                    }
                    default_of(key)
                }
            };
            self.given.values.extend(read.map(|value| (key.name, value)));
        }
    }

    fn read_others(&mut self) {
        let properties = self.properties;
        for (name, entry) in &properties.entries {
            match define(name) {
                Definition::Own(key) => match key.effect {
                    Effect::Honoured => self.foreign(key, &entry.value),
                    Effect::Without(without) => self.without_effect(name, &entry.value, without, key.roles),
                },
                Definition::Client { clients, property } => {
                    if self.role.is_one_of(role::WORKERS) {
                        self.read_client(name, clients, property, &entry.value);
                    }
                }
                Definition::Provider => (),
                Definition::Ignored(without, roles) => {
                    self.without_effect(name, &entry.value, without, roles);
                }
                Definition::Unknown => self.given.unknown.push(name.clone()),
            }
        }
    }

    fn read_client(&mut self, name: &str, clients: Clients, property: &str, value: &str) {
        // Those are only compared with the keys without a prefix.
        let is_compared = clients == Clients::Admins || property == "bootstrap.servers";
        let value = if is_compared { Some(value.to_owned()) } else { self.resolved(name, value) };
        let Some(value) = value else { return };
        if self.properties.entries.get(name).is_some_and(|entry| has_reference(&entry.value)) {
            self.given.clients.hide(property);
        }
        match clients::read(self.properties, clients, property, &value) {
            clients::Read::Property(value) => self.given.clients.insert(clients, property, value),
            clients::Read::AsItIs => (),
            clients::Read::WithoutEffect(reason) => self.note(Level::Warning, reason, name),
            clients::Read::Wrong(rules) => self.report(name, rules),
        }
    }

    /// One file may serve all roles of a fleet; a standalone process that is given a fleet's keys is a mistake.
    fn foreign(&mut self, key: &WorkerKey, value: &str) {
        if self.role == Role::Standalone && !self.role.is_one_of(key.roles) {
            self.without_effect(key.name, value, table::FLEET, &[Role::Standalone]);
        }
    }

    fn without_effect(&mut self, name: &str, value: &str, without: Without, roles: &[Role]) {
        if self.role.is_one_of(roles) && without.ignores(value) {
            self.note(without.level, without.reason, name);
        }
    }

    fn note(&mut self, level: Level, reason: &'static str, name: &str) {
        self.given.without_effect.entry((level, reason)).or_default().push(name.to_owned());
    }

    fn report(&mut self, name: &str, rules: Vec<String>) {
        let entry = self.properties.entries.get(name);
        let value = entry.map_or("", |entry| entry.value.trim());
        // Rules show parts of values.
        let rules = if has_reference(value) { vec![HIDDEN.to_owned()] } else { rules };
        for rule in rules {
            let text = format!("{name}={}: {rule}", show(name, value));
            let line = entry.map(|entry| entry.line);
            self.given.problems.push(Problem { place: self.place.to_owned(), line, text });
        }
    }
}

/// A value in an error: shortened, and hidden when it is a secret.
fn show(name: &str, value: &str) -> String {
    const CHARACTERS_MAX: usize = 100;
    // An address may have a user with a password in it.
    if is_secret(name) || value.contains('@') {
        return "[hidden]".to_owned();
    }
    match value.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

/// The names of all keys that a worker file may have, for a typo to be compared with.
pub fn known_names() -> impl Iterator<Item = String> {
    let own = table::KEYS.iter().map(|key| key.name.to_owned());
    own.chain(clients::names())
}
