//! What a config is worth before anything is created of it: Connect's `ConfigInfos`.

use std::collections::{BTreeMap, BTreeSet};

use crate::class::{Class, Definition};
use crate::definition::{self, KeyInfo};
use crate::given::is_reference;
use crate::kind::Kind;
use crate::parse::{judge, read_name, show};
use crate::rejection::{Problem, Rejection};
use crate::secret::{self, HIDDEN};
use crate::warning;

type Config = BTreeMap<String, Option<String>>;

/// A config, judged key by key. No text shows a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validation {
    /// The class as the config names it.
    pub class: String,
    pub groups: Vec<&'static str>,
    /// First nulls of keys that nobody defines, then Connect's keys and the class's in their order, then the client
    /// keys that the config has, by name.
    pub keys: Vec<ValidatedKey>,
    /// What would happen otherwise than the config says, as the connector's status would tell it.
    pub warnings: Vec<String>,
}

/// A key, its value, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatedKey {
    /// Absent for a key that nobody defines.
    pub definition: Option<KeyInfo>,
    pub name: String,
    /// As it was read, possible or not; absent where there is none or its type does not fit.
    pub value: Option<String>,
    pub errors: Vec<String>,
}

impl Validation {
    /// As many as `POST /connectors` would count.
    #[must_use]
    pub fn error_count(&self) -> usize {
        self.keys.iter().map(|key| key.errors.len()).sum()
    }
}

/// Judges a config by the class that it names. `plugin` is the class that the request is for, by full or simple name
/// or alias.
///
/// # Errors
/// In this order: the class is another than `plugin`, there is none, it is unknown.
pub fn validate(plugin: &str, config: &Config) -> Result<Validation, Rejection> {
    let Some(class_name) = config.get("connector.class").cloned().flatten() else {
        return Err(Rejection::NoClass { config: show(config) });
    };
    if !is_for(plugin, &class_name) {
        return Err(Rejection::OtherClass { class: class_name, plugin: plugin.to_owned() });
    }
    let Some(class) = Class::find(&class_name) else {
        return Err(Rejection::UnknownClass { class: class_name });
    };
    let (given, mut problems) = judge(class, config);
    if let Some(Some(name)) = config.get("name") {
        read_name(name, &mut problems);
    }
    let mut warnings = if problems.is_empty() { (class.assemble)(&given).1 } else { Vec::new() };
    warnings.extend(warning::warnings(&given));
    let groups = definition::groups(class);
    Ok(Validation { keys: keys(class, config, &problems), class: class_name, groups, warnings })
}

/// Connect's own rule, by how the names end, and any two names of one class.
fn is_for(plugin: &str, class: &str) -> bool {
    let alias = |name: &str| {
        name.strip_suffix("Connector").filter(|rest| !rest.is_empty()).unwrap_or(name).to_owned()
    };
    let same = || match (Class::find(plugin), Class::find(class)) {
        (Some(plugin), Some(class)) => std::ptr::eq(plugin, class),
        (Some(_) | None, Some(_) | None) => false,
    };
    alias(class).ends_with(&alias(plugin)) || same()
}

fn keys(class: &'static Class, config: &Config, problems: &[Problem]) -> Vec<ValidatedKey> {
    let mut messages: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for problem in problems {
        messages.entry(&problem.key).or_default().push(problem.message.clone());
    }
    let errors = |name: &str| messages.get(name).cloned().unwrap_or_default();
    let is_own = |name: &str| matches!(class.define(name), Definition::Own(_));
    let nulls = config.iter().filter(|(name, value)| value.is_none() && !is_own(name));
    let undefined = nulls.map(|(name, _)| ValidatedKey {
        definition: None,
        name: name.clone(),
        value: None,
        errors: errors(name),
    });
    let own = definition::framework_keys().into_iter().chain(definition::own_keys(class));
    let clients = client_names(config, problems);
    let clients = clients.into_iter().filter_map(|name| definition::client_key(class, name));
    let defined = own.chain(clients).map(|info| ValidatedKey {
        value: match config.get(&info.name) {
            Some(raw) => raw.as_deref().and_then(|raw| shown(&info, raw)),
            None => info.default.map(str::to_owned),
        },
        name: info.name.clone(),
        errors: errors(&info.name),
        definition: Some(info),
    });
    undefined.chain(defined).collect()
}

/// Keys that may be client keys: those with a value, and those whose lack is a problem.
fn client_names<'a>(config: &'a Config, problems: &'a [Problem]) -> BTreeSet<&'a str> {
    let written = config.iter().filter(|(_, value)| value.is_some()).map(|(name, _)| name.as_str());
    let lacking = problems.iter().map(|problem| problem.key.as_str());
    written.chain(lacking.filter(|name| !config.contains_key(*name))).collect()
}

/// A value as Connect shows it: read by its type, whether it is possible or not.
fn shown(info: &KeyInfo, raw: &str) -> Option<String> {
    // What a reference stands for is judged where the clients are made.
    let is_open = is_reference(raw) && (info.group.is_none() || info.kind == Kind::Servers);
    let kind = if is_open { Kind::Text } else { info.kind };
    let text = kind.typed_text(raw)?;
    Some(if info.kind == Kind::Password { HIDDEN.to_owned() } else { secret::shown(&info.name, &text) })
}

#[cfg(test)]
mod tests;
