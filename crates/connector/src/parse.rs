//! From a config to a typed spec.

use std::collections::BTreeMap;

use copyist_model::client::is_secret;
use copyist_model::{ConnectorName, ConnectorSpec};

use crate::class::{CLASSES, Class, Definition};
use crate::given::{Given, Problems};
use crate::rejection::{Problem, Rejection};
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
    let (given, Problems { undefined, own, client }) = Given::read(class, &config);
    let mut problems = undefined;
    problems.extend(own);
    problems.extend((class.rules)(&given));
    problems.extend(client);
    let name = match name.parse::<ConnectorName>() {
        Ok(name) if problems.is_empty() => name,
        Ok(_) => return Err(Rejection::Invalid(problems)),
        Err(error) => {
            // The table trims the name first, so a control character at its end is only seen here.
            if problems.iter().all(|problem| problem.key != "name") {
                problems.push(Problem::new("name", error.to_string()));
            }
            return Err(Rejection::Invalid(problems));
        }
    };
    let (spec, mut warnings) = (class.assemble)(&given);
    warnings.extend(warning::warnings(&given));
    Ok(Parsed { name, spec, warnings })
}

/// A config in Java's notation of maps. A key that no class knows may be a mistyped secret: its value is hidden.
fn show(config: &BTreeMap<String, Option<String>>) -> String {
    let known = |key: &str| {
        CLASSES.iter().any(|class| !matches!(class.define(key), Definition::Ignored | Definition::Unknown))
    };
    let entries = config.iter().map(|(key, value)| match value {
        None => format!("{key}=null"),
        Some(value) if known(key) && !is_secret(key) => format!("{key}={value}"),
        Some(_) => format!("{key}=[hidden]"),
    });
    format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests;
