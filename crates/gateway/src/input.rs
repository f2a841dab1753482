//! Bodies of requests: JSON as lenient as Connect's own reader where that has an effect, and all mistakes at once
//! where it is not. Pure. No message shows a config's values: they may be secrets.

use std::borrow::Cow;
use std::fmt;

use copyist_model::TargetState;
use copyist_proto::connect::{ConfigEntry, ConnectorOffset};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Why a body is refused; one line for each mistake.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct BadBody(Vec<String>);

/// Mistakes that are told; of a body of 20 MB there may be millions.
const PROBLEMS_MAX: usize = 100;

/// Members of an object, or entries of an array: what a body says is several times in memory, each with its own weight.
const MEMBERS_MAX: usize = 50_000;

/// What is wrong with a body, as far as it is told.
#[derive(Default)]
struct Problems {
    told: Vec<String>,
    untold: usize,
}

impl Problems {
    fn push(&mut self, problem: String) {
        if self.told.len() < PROBLEMS_MAX {
            self.told.push(problem);
        } else {
            self.untold += 1;
        }
    }

    fn extend(&mut self, problems: impl IntoIterator<Item = String>) {
        problems.into_iter().for_each(|problem| self.push(problem));
    }

    fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// `value`, if nothing is wrong.
    fn or<T>(self, value: T) -> Result<T, BadBody> {
        let Self { mut told, untold } = self;
        if told.is_empty() {
            return Ok(value);
        }
        if untold > 0 {
            told.push(format!("and {untold} more mistakes"));
        }
        Err(BadBody(told))
    }
}

fn too_many(what: &str) -> BadBody {
    problem(format!("{what} has more than {MEMBERS_MAX} entries"))
}

/// The body of `POST /connectors`.
#[derive(Debug, PartialEq)]
pub struct Creation {
    /// As sent; empty when there is none.
    pub name: String,
    pub config: Vec<ConfigEntry>,
    pub initial_state: Option<TargetState>,
}

/// Reads the body of `POST /connectors`.
///
/// # Errors
/// When it is no JSON, or not the object that is wanted.
pub fn creation(body: &[u8]) -> Result<Creation, BadBody> {
    const WANTED: &str = r#"a JSON object with the fields "name", "config" and, if wished, "initial_state""#;
    let text = text(body)?;
    let mut creation = Creation { name: String::new(), config: Vec::new(), initial_state: None };
    let (mut problems, mut configured) = (Problems::default(), false);
    for (field, value) in object(&text, WANTED)? {
        let read = match field.as_str() {
            "name" => optional_scalar("name", value).map(|name| creation.name = name.unwrap_or_default()),
            "config" if kind(value) == "null" => Ok(()),
            "config" => {
                configured = true;
                let entries = Entries::read(value).ok_or_else(|| must_be("\"config\"", value, CONFIG));
                entries.and_then(config).map(|config| creation.config = config)
            }
            "initial_state" => initial_state(value).map(|state| creation.initial_state = state),
            _ => Err(problem(format!(
                "Unknown field {field:?}: the known ones are \"name\", \"config\" and \"initial_state\""
            ))),
        };
        problems.extend(read.err().into_iter().flat_map(|BadBody(problems)| problems));
    }
    if !configured {
        problems.push(format!("The field \"config\" is missing or null: it must be {CONFIG}"));
    }
    problems.or(creation)
}

const CONFIG: &str = "a JSON object of configuration keys and their values";

/// Reads a body that is a config itself: keys in the order sent, null values kept.
///
/// # Errors
/// When it is no JSON, or not the object that is wanted.
pub fn config_body(body: &[u8]) -> Result<Vec<ConfigEntry>, BadBody> {
    config(object(&text(body)?, CONFIG)?)
}

/// Reads the body of `PATCH /connectors/{c}/offsets`. What the objects in it mean is judged where the connector is known.
///
/// # Errors
/// When it is no JSON, or not the object that is wanted; without an offset in Connect's words.
pub fn offsets(body: &[u8]) -> Result<Vec<ConnectorOffset>, BadBody> {
    const WANTED: &str =
        r#"a JSON object with the field "offsets", an array of {"partition":{…},"offset":{…}}"#;
    const NONE: &str = "Partitions / offsets need to be provided for an alter offsets request";
    let text = text(body)?;
    let (mut offsets, mut problems) = (Vec::new(), Problems::default());
    for (field, value) in object(&text, WANTED)? {
        match (field.as_str(), kind(value)) {
            ("offsets", "an array") => {
                let entries: Vec<&RawValue> = serde_json::from_str(value.get()).unwrap_or_default();
                if entries.len() > MEMBERS_MAX {
                    return Err(too_many("\"offsets\""));
                }
                for entry in entries {
                    match offset(entry) {
                        Ok(offset) => offsets.push(offset),
                        Err(BadBody(wrong)) => problems.extend(wrong),
                    }
                }
            }
            ("offsets", "null") => {}
            ("offsets", kind) => problems.push(format!("\"offsets\" is {kind}: it must be an array")),
            _ => problems.push(format!("Unknown field {field:?}: the known one is \"offsets\"")),
        }
    }
    if problems.is_empty() && offsets.is_empty() {
        problems.push(NONE.to_owned());
    }
    problems.or(offsets)
}

fn offset(entry: &RawValue) -> Result<ConnectorOffset, BadBody> {
    const WANTED: &str = r#"an object {"partition":{…},"offset":{…}}"#;
    let members = Entries::read(entry).ok_or_else(|| must_be("An entry of \"offsets\"", entry, WANTED))?;
    let mut offset = ConnectorOffset { partition_json: "null".to_owned(), offset_json: None };
    let mut problems = Problems::default();
    for (field, value) in members {
        match (field.as_str(), kind(value)) {
            ("partition", "null" | "an object") => offset.partition_json = value.get().to_owned(),
            ("offset", "an object") => offset.offset_json = Some(value.get().to_owned()),
            ("offset", "null") => offset.offset_json = None,
            ("partition" | "offset", _) => {
                problems.extend(must_be(&format!("{field:?} in \"offsets\""), value, "an object or null").0);
            }
            _ => problems.push(format!(
                "Unknown field {field:?} in \"offsets\": the known ones are \"partition\" and \"offset\""
            )),
        }
    }
    problems.or(offset)
}

fn config(entries: Vec<(String, &RawValue)>) -> Result<Vec<ConfigEntry>, BadBody> {
    if entries.len() > MEMBERS_MAX {
        return Err(too_many("The configuration"));
    }
    let (mut config, mut problems) = (Vec::new(), Problems::default());
    for (key, value) in entries {
        match optional_scalar(&key, value) {
            Ok(value) => config.push(ConfigEntry { key, value }),
            Err(BadBody(wrong)) => problems.extend(wrong),
        }
    }
    problems.or(config)
}

fn initial_state(value: &RawValue) -> Result<Option<TargetState>, BadBody> {
    let state = optional_scalar("initial_state", value)?;
    state.map(|state| state.parse().map_err(problem)).transpose()
}

/// A string's text, and the source text of a number or boolean: `1.50` is "1.50".
fn optional_scalar(key: &str, value: &RawValue) -> Result<Option<String>, BadBody> {
    match kind(value) {
        "null" => Ok(None),
        "a number" | "a boolean" => Ok(Some(value.get().to_owned())),
        "a string" => serde_json::from_str(value.get()).map(Some).map_err(|_| {
            problem(format!("The value of {key:?} holds an escape sequence that is no character"))
        }),
        kind => {
            let hint = match key {
                "config" => " (here the configuration is the whole body, not a field \"config\" of it)",
                _ => "",
            };
            Err(problem(format!(
                "The value of {key:?} is {kind}: it must be a string, a number or a boolean{hint}"
            )))
        }
    }
}

/// The members of the JSON object that a text is.
fn object<'a>(text: &'a str, wanted: &str) -> Result<Vec<(String, &'a RawValue)>, BadBody> {
    if text.trim().is_empty() {
        return Err(problem(format!("The request has no body: it must be {wanted}")));
    }
    let value: &RawValue = serde_json::from_str(text)
        .map_err(|error| problem(format!("The request body is not valid JSON: {error}")))?;
    Entries::read(value).ok_or_else(|| must_be("The request body", value, wanted))
}

fn must_be(what: &str, value: &RawValue, wanted: &str) -> BadBody {
    match kind(value) {
        "an object" => problem(format!("{what} has a key with an escape sequence that is no character")),
        kind => problem(format!("{what} is {kind}: it must be {wanted}")),
    }
}

fn problem(text: String) -> BadBody {
    BadBody(vec![text])
}

/// What a valid JSON text is, by its first character.
fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        Some(_) | None => "a number",
    }
}

/// UTF-8 with or without a byte order mark, or UTF-16, told by its mark or by where its zero bytes are.
fn text(body: &[u8]) -> Result<Cow<'_, str>, BadBody> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        let whole = bytes.len().is_multiple_of(2);
        let text = char::decode_utf16(units).collect::<Result<String, _>>().ok().filter(|_| whole);
        text.map(Cow::Owned).ok_or_else(|| problem("The request body is not valid UTF-16".to_owned()))
    };
    match body {
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0, _, ..] => utf16(body, u16::from_be_bytes),
        [_, 0, ..] => utf16(body, u16::from_le_bytes),
        _ => {
            let rest = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
            let text = std::str::from_utf8(rest)
                .map_err(|error| problem(format!("The request body is not valid UTF-8: {error}")))?;
            Ok(Cow::Borrowed(text))
        }
    }
}

/// An object's members with their source text. Of members with the same key the last one wins, in the first one's
/// place, as in Java's maps.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Entries<'a> {
    fn read(value: &'a RawValue) -> Option<Vec<(String, &'a RawValue)>> {
        serde_json::from_str(value.get()).ok().map(|Self(entries)| entries)
    }
}

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
        let mut places = std::collections::BTreeMap::new();
        let mut entries: Vec<(String, &'de RawValue)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
            let place = *places.entry(key.clone()).or_insert(entries.len());
            match entries.get_mut(place) {
                Some((_, earlier)) => *earlier = value,
                None => entries.push((key, value)),
            }
        }
        Ok(Entries(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Vec<(String, Option<String>)>, String> {
        let entries = config_body(body.as_bytes()).map_err(|error| error.to_string())?;
        Ok(entries.into_iter().map(|entry| (entry.key, entry.value)).collect())
    }

    #[test]
    fn scalars_become_strings_by_their_source_text() {
        let rows = [
            ("true", Some("true")),
            ("false", Some("false")),
            ("17", Some("17")),
            ("-0", Some("-0")),
            ("1.50", Some("1.50")),
            ("1e3", Some("1e3")),
            ("1E+400", Some("1E+400")),
            ("123456789012345678901234567890", Some("123456789012345678901234567890")),
            (r#"" a\n\u00f1\/ ""#, Some(" a\nñ/ ")),
            (r#""\uD83D\uDE00""#, Some("😀")),
            (r#""""#, Some("")),
            ("null", None),
        ];
        for (source, expected) in rows {
            let read = read(&format!("{{ \"k\" :\t{source}\n}}")).unwrap();
            assert_eq!(read, [("k".to_owned(), expected.map(str::to_owned))], "{source}");
        }
    }

    #[test]
    fn order_is_kept_and_the_last_duplicate_wins_in_the_first_ones_place() {
        let read = read(r#"{"b":1,"a":2,"b":"3","c":4}"#).unwrap();
        let pairs: Vec<_> =
            read.iter().map(|(key, value)| (key.as_str(), value.as_deref().unwrap())).collect();
        assert_eq!(pairs, [("b", "3"), ("a", "2"), ("c", "4")]);
        let nested_but_replaced = r#"{"a":{},"a":"x"}"#;
        assert!(config_body(nested_but_replaced.as_bytes()).is_ok());
    }

    #[test]
    fn encodings_are_told_by_their_bytes() {
        let json = "{\"k\":\"ñ😀\"}";
        let units = |mark: &str, unit: fn(u16) -> [u8; 2]| {
            format!("{mark}{json}").encode_utf16().flat_map(unit).collect::<Vec<u8>>()
        };
        let bodies = [
            json.as_bytes().to_vec(),
            format!("\u{FEFF}{json}").into_bytes(),
            units("\u{FEFF}", u16::to_be_bytes),
            units("\u{FEFF}", u16::to_le_bytes),
            units("", u16::to_be_bytes),
            units("", u16::to_le_bytes),
        ];
        for body in bodies {
            let expected = ConfigEntry { key: "k".to_owned(), value: Some("ñ😀".to_owned()) };
            assert_eq!(config_body(&body).unwrap(), [expected], "{body:?}");
        }
        assert!(config_body(b"{\"k\":\"\xff\"}").unwrap_err().to_string().contains("UTF-8"));
        assert!(config_body(b"\xFE\xFF\x00").unwrap_err().to_string().contains("UTF-16"));
    }

    #[test]
    fn refusals_say_what_is_wrong_and_where() {
        let rows = [
            ("", "no body: it must be a JSON object"),
            (" \n", "no body"),
            ("null", "The request body is null: it must be a JSON object"),
            ("[]", "is an array"),
            ("\"x\"", "is a string"),
            ("17", "is a number"),
            ("true", "is a boolean"),
            ("{", "not valid JSON: EOF while parsing an object at line 1 column 1"),
            ("abc", "not valid JSON: expected value at line 1 column 1"),
            ("{'a':1}", "line 1 column 2"),
            ("{\"a\":1,\n}", "line 2 column 1"),
            ("{} {}", "trailing characters at line 1 column 4"),
            ("{\"a\":NaN}", "line 1 column 6"),
            (
                r#"{"a":{},"b":1,"c":[1]}"#,
                "The value of \"a\" is an object: it must be a string, a number or a boolean\nThe value of \"c\" is an array",
            ),
            (r#"{"name":"a","config":{}}"#, "the configuration is the whole body"),
            (r#"{"a":"\uD83D"}"#, "The value of \"a\" holds an escape"),
            (r#"{"\uD83D":1}"#, "key with an escape"),
        ];
        for (body, expected) in rows {
            let message = read(body).unwrap_err();
            assert!(message.contains(expected), "{body}: {message}");
        }
    }

    #[test]
    fn a_creation_has_three_fields() {
        let read = creation(br#"{"initial_state":"pAused","config":{"a":1.50},"name":" n "}"#).unwrap();
        let config = vec![ConfigEntry { key: "a".to_owned(), value: Some("1.50".to_owned()) }];
        let expected = Creation { name: " n ".to_owned(), config, initial_state: Some(TargetState::Paused) };
        assert_eq!(read, expected);
        let read = creation(br#"{"config":{},"initial_state":null,"name":null}"#).unwrap();
        assert_eq!(read, Creation { name: String::new(), config: Vec::new(), initial_state: None });
    }

    #[test]
    fn a_creation_names_all_mistakes_at_once() {
        let body = br#"{"Name":"n","nmae":1,"name":[],"config":{"a":{},"b":[]},"initial_state":"WHAT"}"#;
        let message = creation(body).unwrap_err().to_string();
        let expected = [
            "Unknown field \"Name\": the known ones are \"name\", \"config\" and \"initial_state\"",
            "Unknown field \"nmae\"",
            "The value of \"name\" is an array",
            "The value of \"a\" is an object",
            "The value of \"b\" is an array",
            "initial_state \"WHAT\" is none of RUNNING, PAUSED, STOPPED",
        ];
        let lines: Vec<_> = message.lines().collect();
        assert_eq!(lines.len(), expected.len(), "{message}");
        for (line, expected) in lines.iter().zip(expected) {
            assert!(line.starts_with(expected), "{line}");
        }
        for (body, expected) in [
            (r#"{"name":"n"}"#, "\"config\" is missing or null"),
            (r#"{"name":"n","config":null}"#, "\"config\" is missing or null"),
            (r#"{"name":"n","config":[]}"#, "\"config\" is an array: it must be a JSON object"),
            (r#"{"name":"n","config":{},"initial_state":""}"#, "none of RUNNING"),
            ("[]", "The request body is an array: it must be a JSON object with the fields \"name\""),
        ] {
            let message = creation(body.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(expected) && message.lines().count() == 1, "{body}: {message}");
        }
    }

    #[test]
    fn offsets_are_pairs_of_objects() {
        let body =
            br#"{"offsets":[{"partition":{"a":1},"offset":{"b":2}},{"partition":null},{"offset":null}]}"#;
        let read = offsets(body).unwrap();
        let expected = [(r#"{"a":1}"#, Some(r#"{"b":2}"#)), ("null", None), ("null", None)];
        let pairs: Vec<_> =
            read.iter().map(|it| (it.partition_json.as_str(), it.offset_json.as_deref())).collect();
        assert_eq!(pairs, expected);
        let none = "Partitions / offsets need to be provided for an alter offsets request";
        let rows = [
            ("{}", none),
            (r#"{"offsets":null}"#, none),
            (r#"{"offsets":[]}"#, none),
            (r#"{"offsets":{}}"#, "\"offsets\" is an object: it must be an array"),
            (
                r#"{"offsets":[1]}"#,
                "An entry of \"offsets\" is a number: it must be an object {\"partition\"",
            ),
            (
                r#"{"offsets":[{"partition":1}]}"#,
                "\"partition\" in \"offsets\" is a number: it must be an object or null",
            ),
            (r#"{"offsets":[{"offset":[]}]}"#, "\"offset\" in \"offsets\" is an array"),
            (r#"{"offsets":[{"x":1}]}"#, "Unknown field \"x\" in \"offsets\": the known ones"),
            (r#"{"x":1}"#, "Unknown field \"x\": the known one is \"offsets\""),
            ("[]", "The request body is an array: it must be a JSON object with the field \"offsets\""),
        ];
        for (body, expected) in rows {
            let message = offsets(body.as_bytes()).unwrap_err().to_string();
            assert!(message.starts_with(expected) && message.lines().count() == 1, "{body}: {message}");
        }
        let all =
            offsets(br#"{"x":1,"offsets":[{"y":1},{"partition":1,"offset":2}]}"#).unwrap_err().to_string();
        assert_eq!(all.lines().count(), 4, "{all}");
    }

    #[test]
    fn of_many_mistakes_some_are_told_and_there_may_not_be_too_many_entries() {
        let entries = vec!["1"; 300].join(",");
        let message = offsets(format!(r#"{{"offsets":[{entries}]}}"#).as_bytes()).unwrap_err().to_string();
        assert_eq!(message.lines().count(), PROBLEMS_MAX + 1);
        assert!(message.ends_with("and 200 more mistakes"), "{message}");
        let entries = vec!["1"; MEMBERS_MAX + 1].join(",");
        let message = offsets(format!(r#"{{"offsets":[{entries}]}}"#).as_bytes()).unwrap_err().to_string();
        assert_eq!(message, "\"offsets\" has more than 50000 entries");
        let members: Vec<String> = (0..=MEMBERS_MAX).map(|n| format!("\"{n}\":1")).collect();
        let message = read(&format!("{{{}}}", members.join(","))).unwrap_err();
        assert_eq!(message, "The configuration has more than 50000 entries");
    }
}
