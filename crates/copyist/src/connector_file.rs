//! Files that describe a connector, as `connect-standalone` takes them: properties with a name, or JSON, either
//! flat with a name or in the shape of `POST /connectors`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use copyist_model::ConnectorName;
use copyist_model::client::is_secret;
use copyist_model::state::TargetState;
use serde_json::value::RawValue;

use crate::error::Problem;
use copyist_model::properties::Properties;

/// A connector that the command line asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectorFile {
    pub path: PathBuf,
    pub name: ConnectorName,
    /// As given; a `None` is a JSON null.
    pub config: BTreeMap<String, Option<String>>,
    pub initial_state: Option<TargetState>,
}

impl fmt::Debug for ConnectorFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hide = |(key, value): (&String, &Option<String>)| {
            let shown = if is_secret(key) { Some("[hidden]".to_owned()) } else { value.clone() };
            (key.clone(), shown)
        };
        f.debug_struct("ConnectorFile")
            .field("path", &self.path)
            .field("name", &self.name)
            .field("config", &self.config.iter().map(hide).collect::<BTreeMap<_, _>>())
            .field("initial_state", &self.initial_state)
            .finish()
    }
}

type Config = BTreeMap<String, Option<String>>;

impl ConnectorFile {
    /// Reads the content of the file at `path`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(path: &Path, content: &[u8]) -> Result<Self, Vec<Problem>> {
        let place = path.display().to_string();
        let problem = |(line, text): (Option<usize>, String)| Problem { place: place.clone(), line, text };
        let given = if is_json(path, content) { read_json(content) } else { read_properties(content) };
        let given = given.map_err(|problems| problems.into_iter().map(problem).collect::<Vec<_>>())?;
        let name = given.name.trim().parse::<ConnectorName>().map_err(|error| error.to_string());
        let state = given.initial_state.map(|state| state.parse::<TargetState>()).transpose();
        match (name, state) {
            (Ok(name), Ok(initial_state)) => {
                Ok(Self { path: path.to_owned(), name, config: given.config, initial_state })
            }
            (name, state) => {
                let wrong = name.err().into_iter().chain(state.err());
                Err(wrong.map(|text| problem((None, text))).collect())
            }
        }
    }
}

/// A name that is used twice: the second would silently replace the first.
#[must_use]
pub fn repeated_names(files: &[ConnectorFile]) -> Vec<Problem> {
    let mut seen: BTreeMap<&ConnectorName, &Path> = BTreeMap::new();
    let mut problems = Vec::new();
    for file in files {
        if let Some(first) = seen.insert(&file.name, &file.path) {
            let text = format!("connector {:?} is in {} already", file.name.as_str(), first.display());
            problems.push(Problem { place: file.path.display().to_string(), line: None, text });
        }
    }
    problems
}

struct Given {
    name: String,
    config: Config,
    initial_state: Option<String>,
}

type Wrong = Vec<(Option<usize>, String)>;

const NO_NAME: &str = "the connector has no name: add the key name";

fn is_json(path: &Path, content: &[u8]) -> bool {
    let content = content.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(content);
    let begins = content.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    begins || path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

fn read_properties(content: &[u8]) -> Result<Given, Wrong> {
    let properties = Properties::parse(content).map_err(|malformed| {
        malformed.into_iter().map(|malformed| (Some(malformed.line), malformed.reason)).collect::<Vec<_>>()
    })?;
    let config: Config =
        properties.entries.into_iter().map(|(key, entry)| (key, Some(entry.value))).collect();
    let Some(name) = config.get("name").cloned().flatten() else {
        return Err(vec![(None, NO_NAME.to_owned())]);
    };
    Ok(Given { name, config, initial_state: None })
}

fn read_json(content: &[u8]) -> Result<Given, Wrong> {
    let content = content.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(content);
    let root = object(content).map_err(|error| {
        let line = (error.line() > 0).then_some(error.line());
        vec![(line, format!("not a JSON object: {error}"))]
    })?;
    // A flat config may have a key `config` too, as long as it is no object.
    let nested = root.get("config").filter(|config| config.get().starts_with('{'));
    let Some(nested) = nested else {
        let config = texts(&root)?;
        let Some(name) = config.get("name").cloned().flatten() else {
            return Err(vec![(None, NO_NAME.to_owned())]);
        };
        return Ok(Given { name, config, initial_state: None });
    };
    let nested = object(nested.get().as_bytes()).map_err(|error| vec![(None, format!("config: {error}"))])?;
    let outer =
        root.iter().filter(|(key, _)| *key != "config").map(|(key, value)| (key.clone(), value.clone()));
    let (outer, config) = match (texts(&outer.collect()), texts(&nested)) {
        (Ok(outer), Ok(config)) => (outer, config),
        (outer, config) => return Err([outer.err(), config.err()].into_iter().flatten().flatten().collect()),
    };
    let unknown = outer.keys().filter(|key| !matches!(key.as_str(), "name" | "initial_state"));
    let mut wrong: Wrong = unknown
        .map(|key| {
            (None, format!("unknown field {key:?} beside config; there are name, config, initial_state"))
        })
        .collect();
    let text = |key: &str| outer.get(key).cloned().flatten();
    let name = text("name").unwrap_or_else(|| {
        wrong.push((None, NO_NAME.to_owned()));
        String::new()
    });
    if wrong.is_empty() {
        Ok(Given { name, config, initial_state: text("initial_state") })
    } else {
        Err(wrong)
    }
}

type Fields = BTreeMap<String, Box<RawValue>>;

fn object(content: &[u8]) -> serde_json::Result<Fields> {
    serde_json::from_slice(content)
}

/// Numbers and booleans become the text that they are written with, as in Connect.
fn texts(fields: &Fields) -> Result<Config, Wrong> {
    let mut config = Config::new();
    let mut wrong = Vec::new();
    for (key, value) in fields {
        let raw = value.get();
        let text = match raw.as_bytes().first() {
            Some(b'{' | b'[') => {
                let kind = if raw.starts_with('{') { "an object" } else { "a list" };
                wrong.push((
                    None,
                    format!("{key} is {kind}; a value must be text, a number, a boolean or null"),
                ));
                continue;
            }
            Some(b'"') => serde_json::from_str(raw).ok(),
            Some(_) | None => (raw != "null").then(|| raw.to_owned()),
        };
        config.insert(key.clone(), text);
    }
    if wrong.is_empty() { Ok(config) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str, content: &str) -> Result<ConnectorFile, Vec<String>> {
        ConnectorFile::parse(Path::new(path), content.as_bytes())
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    type Row =
        (&'static str, &'static str, &'static [(&'static str, Option<&'static str>)], Option<TargetState>);

    #[test]
    fn all_forms_of_connect_standalone_are_read() {
        let rows: &[Row] = &[
            (
                "c.properties",
                "# x\nname=a\ntasks.max = 2",
                &[("name", Some("a")), ("tasks.max", Some("2"))],
                None,
            ),
            (
                "c.json",
                r#" {"name": "a", "tasks.max": 2, "x": true, "y": null, "z": 1e3, "config": "t"}"#,
                &[
                    ("config", Some("t")),
                    ("name", Some("a")),
                    ("tasks.max", Some("2")),
                    ("x", Some("true")),
                    ("y", None),
                    ("z", Some("1e3")),
                ],
                None,
            ),
            ("c", r#"{"name": "a", "config": {"k": "v\n\u00e9"}}"#, &[("k", Some("v\né"))], None),
            (
                "c.json",
                r#"{"name": " a ", "config": {}, "initial_state": "stopped"}"#,
                &[],
                Some(TargetState::Stopped),
            ),
            ("c.json", "\u{feff}{\"name\": \"a\", \"config\": {}, \"initial_state\": null}", &[], None),
        ];
        for (path, content, config, state) in rows {
            let file = parse(path, content).unwrap();
            let config: Config =
                config.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect();
            assert_eq!(
                (file.name.as_str(), file.config, file.initial_state),
                ("a", config, *state),
                "{content}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said_at_once_with_its_place() {
        let rows: &[(&str, &str, &[&str])] = &[
            ("c.properties", "tasks.max=1", &["c.properties: the connector has no name"]),
            ("c.properties", "name=a\nx=\\u1", &["c.properties:2: a \\u is not followed"]),
            ("c.json", "name=a", &["c.json:1: not a JSON object: expected"]),
            ("c.json", "", &["c.json:1: not a JSON object: EOF"]),
            ("c.json", "[]", &["c.json:1: not a JSON object: invalid type: sequence"]),
            ("c.json", "{\n\"name\": \"a\",\n}", &["c.json:3: not a JSON object: trailing comma"]),
            ("c.json", "{\"name\": \"a\"} x", &["c.json:1: not a JSON object: trailing characters"]),
            ("c.json", "{\"tasks.max\": 1}", &["c.json: the connector has no name"]),
            (
                "c.json",
                r#"{"name": "a", "x": {}, "y": [1]}"#,
                &["c.json: x is an object; a value", "c.json: y is a list; a value"],
            ),
            (
                "c.json",
                r#"{"config": {"x": 1}, "stat": "y"}"#,
                &["c.json: unknown field \"stat\" beside config", "c.json: the connector has no name"],
            ),
            (
                "c.json",
                r#"{"name": "a", "config": {"x": [1]}, "initial_state": {}}"#,
                &["c.json: initial_state is an object", "c.json: x is a list"],
            ),
            (
                "c.json",
                r#"{"name": " ", "config": {}, "initial_state": "ON"}"#,
                &["c.json: connector name \"\" is not valid", "c.json: initial_state \"ON\" is none of"],
            ),
        ];
        for (path, content, expected) in rows {
            let problems = parse(path, content).unwrap_err();
            assert_eq!(problems.len(), expected.len(), "{content}: {problems:?}");
            for (problem, beginning) in problems.iter().zip(*expected) {
                assert!(problem.starts_with(beginning), "{content}: {problem}");
            }
        }
    }

    #[test]
    fn a_name_is_used_once() {
        let one = parse("1.properties", "name=a").unwrap();
        let two = parse("2.properties", "name=b").unwrap();
        let three = parse("3.properties", "name=a").unwrap();
        let problems = repeated_names(&[one, two, three]);
        assert_eq!(
            problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["3.properties: connector \"a\" is in 1.properties already"]
        );
    }

    #[test]
    fn debug_hides_secrets() {
        let shown = format!("{:?}", parse("c", "name=a\nsrc.kafka.sasl.jaas.config=S1").unwrap());
        assert!(shown.contains("[hidden]") && !shown.contains("S1"), "{shown}");
    }
}
