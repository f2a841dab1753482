//! `config.providers`: what resolves the references in the worker file itself and in the client keys of connectors.

use std::collections::BTreeMap;

use copyist_agent::client::providers::{AllowedPaths, Provider, Providers, Variables};
use copyist_model::properties::Properties;

const LIST: &str = "config.providers";
const CLASSES: [&str; 3] = [
    "org.apache.kafka.common.config.provider.FileConfigProvider",
    "org.apache.kafka.common.config.provider.EnvVarConfigProvider",
    "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
];
const ALLOWED_PATHS: &str = "param.allowed.paths";
const ALLOWLIST: &str = "param.allowlist.pattern";

/// What a worker file says of its providers.
#[derive(Debug, Default)]
pub struct Read {
    pub providers: Providers,
    /// The key and what is wrong with it.
    pub problems: Vec<(String, String)>,
    /// Keys that no provider reads.
    pub without_effect: Vec<String>,
}

/// Reads `config.providers` and `config.providers.*`.
#[must_use]
pub fn read(properties: &Properties, variables: &Variables) -> Read {
    let value = |key: &str| properties.entries.get(key).map(|entry| entry.value.trim());
    let names = value(LIST).unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    let env_var = |allowed| Provider::EnvVar { variables: variables.clone(), allowed };
    let mut read = Read::default();
    let mut by_name = BTreeMap::new();
    let mut known = Vec::new();
    for name in names {
        let key = |rest: &str| format!("{LIST}.{name}.{rest}");
        let class = value(&key("class")).unwrap_or_default();
        let (param, provider) = match CLASSES.iter().position(|known| *known == class) {
            Some(0) => (ALLOWED_PATHS, allowed(value(&key(ALLOWED_PATHS))).map(Provider::File)),
            Some(1) => (ALLOWLIST, pattern(value(&key(ALLOWLIST))).map(env_var)),
            Some(_) => (ALLOWED_PATHS, allowed(value(&key(ALLOWED_PATHS))).map(Provider::Directory)),
            None => ("class", Err(vec![no_class(class)])),
        };
        match provider {
            Ok(provider) => drop(by_name.insert(name.to_owned(), provider)),
            Err(rules) => read.problems.extend(rules.into_iter().map(|rule| (key(param), rule))),
        }
        known.extend([key("class"), key(param)]);
    }
    let others = properties.entries.keys().filter(|key| key.starts_with("config.providers."));
    read.without_effect = others.filter(|key| !known.contains(key)).cloned().collect();
    read.providers = Providers::new(by_name);
    read
}

fn no_class(class: &str) -> String {
    let these = CLASSES.join(", ");
    match class {
        "" => format!("the class is missing: one of {these}"),
        class => format!("{class} is not here: Java classes are not loaded; these are built in: {these}"),
    }
}

fn allowed(paths: Option<&str>) -> Result<AllowedPaths, Vec<String>> {
    AllowedPaths::read(paths.unwrap_or_default())
}

/// As Kafka does: a name must hold a match, and need not be one.
fn pattern(text: Option<&str>) -> Result<Option<fancy_regex::Regex>, Vec<String>> {
    let compiled = text.filter(|text| !text.is_empty()).map(fancy_regex::Regex::new).transpose();
    // The reason can span lines.
    let reason =
        |error: fancy_regex::Error| error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    compiled.map_err(|error| vec![format!("not a regular expression: {}", reason(error))])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Read {
        read(&Properties::parse(text.as_bytes()).unwrap(), &Variables::default())
    }

    #[test]
    fn each_class_has_its_parameter() {
        let text = "config.providers=file, env ,dir,\n\
            config.providers.file.class=org.apache.kafka.common.config.provider.FileConfigProvider\n\
            config.providers.file.param.allowed.paths=/run/secrets\n\
            config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider\n\
            config.providers.env.param.allowlist.pattern=^KAFKA_\n\
            config.providers.dir.class=org.apache.kafka.common.config.provider.DirectoryConfigProvider\n\
            config.providers.dir.param.allowed.paths=/run/secrets\n\
            config.providers.dir.param.other=1\n\
            config.providers.vault.class=a.B\n";
        let Read { providers, problems, without_effect } = read_text(text);
        assert_eq!(problems, []);
        assert_eq!(without_effect, ["config.providers.dir.param.other", "config.providers.vault.class"]);
        let refused = [
            ("${file:/etc/s:k}", "config.providers.file.param.allowed.paths"),
            ("${dir:/etc:passwd}", "config.providers.dir.param.allowed.paths"),
            ("${env:HOME}", "config.providers.env.param.allowlist.pattern"),
        ];
        for (value, expected) in refused {
            let unresolved = providers.resolve(value).unwrap_err();
            assert!(unresolved[0].why.contains(expected), "{unresolved:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_what_would_be_right() {
        let env = "config.providers.a.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider";
        let file = "config.providers.a.class=org.apache.kafka.common.config.provider.FileConfigProvider";
        let rows = [
            (String::new(), "config.providers.a.class", "the class is missing: one of org.apache.kafka"),
            (
                "config.providers.a.class=x.Vault".to_owned(),
                "config.providers.a.class",
                "x.Vault is not here",
            ),
            (
                format!("{env}\nconfig.providers.a.param.allowlist.pattern=("),
                "config.providers.a.param.allowlist.pattern",
                "not a regular expression",
            ),
            (
                format!("{file}\nconfig.providers.a.param.allowed.paths=x,/y"),
                "config.providers.a.param.allowed.paths",
                "x must be an absolute path",
            ),
        ];
        for (lines, key, beginning) in rows {
            let read = read_text(&format!("config.providers=a\n{lines}"));
            let [(told_key, text)] = &read.problems[..] else { panic!("{:?}", read.problems) };
            assert!(told_key == key && text.starts_with(beginning), "{told_key}: {text}");
            let is_class = key.ends_with("class");
            assert_eq!(text.contains("DirectoryConfigProvider"), is_class, "{text}");
        }
        assert!(read_text("").problems.is_empty());
    }
}
