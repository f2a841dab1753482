//! Why a config was refused, in Connect's own words.

use std::fmt::Write as _;

use crate::class::{CLASSES, Class};

/// One line about one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub key: String,
    /// The whole line, as Connect words it; shows no secret.
    pub message: String,
}

impl Problem {
    #[must_use]
    pub fn new(key: &str, message: impl Into<String>) -> Self {
        Self { key: key.to_owned(), message: message.into() }
    }

    /// A value that breaks a rule.
    #[must_use]
    pub fn invalid(key: &str, shown: &str, rule: &str) -> Self {
        Self::new(key, format!("Invalid value {shown} for configuration {key}: {rule}"))
    }

    #[must_use]
    pub fn missing(key: &str) -> Self {
        Self::new(key, format!("Missing required configuration \"{key}\" which has no default value."))
    }
}

/// A refused config. `Display` is the message for the user: Connect's REST texts, where it has one. All of them
/// are answered with 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The config carries another name than the request.
    #[error("Connector name configuration ({given}) doesn't match connector name in the URL ({name})")]
    NameMismatch { given: String, name: String },
    /// No `connector.class`. `config` is in Java's notation of maps, with values shown only of keys that are
    /// known and no secrets.
    #[error("Connector config {config} contains no connector type")]
    NoClass { config: String },
    #[error(
        "Failed to find any class that implements Connector and which name matches {class}, available \
         connectors are: {}",
        available()
    )]
    UnknownClass { class: String },
    /// The config is of another class than the request is for.
    #[error("Included connector type {class} does not match request type {plugin}")]
    OtherClass { class: String, plugin: String },
    /// Everything that is wrong, in Connect's order.
    #[error("{}", invalid(.0))]
    Invalid(Vec<Problem>),
}

fn available() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let describe = |class: &&Class| {
        let name = class.full_name;
        format!(
            "PluginDesc{{klass=class {name}, name='{name}', version='{version}', encodedVersion={version}, \
             type=source, typeName='source', location='classpath'}}"
        )
    };
    CLASSES.iter().map(describe).collect::<Vec<_>>().join(", ")
}

fn invalid(problems: &[Problem]) -> String {
    let mut text =
        format!("Connector configuration is invalid and contains the following {} error(s):", problems.len());
    for Problem { message, .. } in problems {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{message}");
    }
    text.push_str(
        "\nYou can also find the above list of errors at the endpoint \
         `/connector-plugins/{connectorType}/config/validate`",
    );
    text
}
