//! From a config to a typed spec.

use std::collections::BTreeMap;

use copyist_model::{ConnectorName, ConnectorSpec};

use crate::class::{CLASSES, Class, Definition};
use crate::given::{Given, Problems};
use crate::rejection::{Problem, Rejection};
use crate::secret::{self, HIDDEN};
use crate::warning;

/// A config that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    pub name: ConnectorName,
    pub spec: ConnectorSpec,
    /// What the user should know: one line each, for the connector's status.
    pub warnings: Vec<String>,
}

/// Reads a connector's config, as `POST /connectors` and `PUT /connectors/{name}/config` give it: `name` is the
/// request's (trimmed where it comes from a body), a `None` is a JSON null.
///
/// # Errors
/// In this order: the name differs from the config's, there is no class, the class is unknown, or everything
/// that is wrong with the keys at once.
pub fn parse(name: &str, config: &BTreeMap<String, Option<String>>) -> Result<Parsed, Rejection> {
    let mut config = config.clone();
    // As Connect does: the request's name stands in for an absent or null one.
    let given = config.entry("name".to_owned()).or_default().get_or_insert_with(|| name.to_owned());
    if given.as_str() != name {
        return Err(Rejection::NameMismatch { given: given.clone(), name: name.to_owned() });
    }
    let Some(class_name) = config.get("connector.class").cloned().flatten() else {
        return Err(Rejection::NoClass { config: show(&config) });
    };
    let Some(class) = Class::find(&class_name) else {
        return Err(Rejection::UnknownClass { class: class_name });
    };
    let (given, mut problems) = judge(class, &config);
    match read_name(name, &mut problems) {
        Some(name) if problems.is_empty() => {
            let (spec, mut warnings) = (class.assemble)(&given);
            warnings.extend(warning::warnings(&given));
            Ok(Parsed { name, spec, warnings })
        }
        Some(_) | None => Err(Rejection::Invalid(problems)),
    }
}

/// A config as its class reads it, and all that is wrong with its keys, in Connect's order.
pub(crate) fn judge<'a>(
    class: &'static Class,
    config: &'a BTreeMap<String, Option<String>>,
) -> (Given<'a>, Vec<Problem>) {
    let (given, Problems { undefined, own, client }) = Given::read(class, config);
    let mut problems = undefined;
    problems.extend(own);
    problems.extend((class.rules)(&given));
    problems.extend(client);
    (given, problems)
}

/// The name itself. The table trims it first, so a control character at its end is only seen here.
pub(crate) fn read_name(name: &str, problems: &mut Vec<Problem>) -> Option<ConnectorName> {
    let read = name.parse::<ConnectorName>();
    if let Err(error) = &read
        && problems.iter().all(|problem| problem.key != "name")
    {
        problems.push(Problem::new("name", error.to_string()));
    }
    read.ok()
}

/// A config in Java's notation of maps. A key that no class knows may be a mistyped secret: its value is hidden.
pub(crate) fn show(config: &BTreeMap<String, Option<String>>) -> String {
    let known = |key: &str| {
        CLASSES
            .iter()
            .any(|class| matches!(class.define(key), Definition::Own(_) | Definition::Client { .. }))
    };
    let entries = config.iter().map(|(key, value)| match value {
        None => format!("{key}=null"),
        Some(value) if known(key) => format!("{key}={}", secret::shown(key, value)),
        Some(_) => format!("{key}={HIDDEN}"),
    });
    format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests;
