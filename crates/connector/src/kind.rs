//! The types of keys: what a value may be, what it becomes, and what Connect says when it is wrong.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::labels::{self, LabelFault};
use copyist_model::{RenameFormat, TopicName, TopicPattern};

use crate::servers;

/// What a key's value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// Text that is not blank.
    NonEmptyText,
    /// A connector's name.
    Name,
    /// One of these, in this case.
    OneOf(&'static [&'static str]),
    /// One of these, in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// `true` or `false`, in any case.
    Boolean,
    /// A boolean of which only `true` is possible, for this reason.
    OnlyTrue(&'static str),
    /// A whole number from `min` on; `counted` adds Connect's second complaint, about the null that a text
    /// which is no number becomes.
    Number { width: Width, min: Option<i64>, max: Option<i64>, counted: bool },
    /// Values separated by commas.
    List,
    /// A list that must stay empty, for this reason.
    EmptyList(&'static str),
    /// The name of a Java class.
    Class,
    /// A converter that passes bytes through.
    ByteArrays,
    /// Text that must not be shown.
    Password,
    /// `host:port` entries, separated by commas; may be blank.
    Servers,
    /// Topic names, separated by commas; may be blank.
    Topics,
    /// A regular expression over whole topic names; blank is none.
    Pattern,
    /// A topic name that may hold `${topic}`.
    Rename,
    /// `name=value` entries, separated by commas; may be blank.
    Labels,
    /// Where to start without a position.
    OffsetReset,
}

/// The number types of Kafka's `ConfigDef`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    Short,
    Int,
    Long,
}

/// A value that its kind has accepted. It has no `Debug`: it can be a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// Trimmed.
    Text(String),
    Flag(bool),
    Number(i64),
    Topics(BTreeSet<TopicName>),
    Pattern(TopicPattern),
    Rename(RenameFormat),
    Labels(BTreeMap<String, String>),
}

/// A value that is not possible: as Connect shows it, and the rule that it breaks. Both become one line:
/// `Invalid value <shown> for configuration <key>: <rule>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    pub shown: String,
    pub rule: String,
}

impl Breach {
    fn new(shown: &str, rule: impl Into<String>) -> Self {
        Self { shown: shown.to_owned(), rule: rule.into() }
    }
}

impl Kind {
    /// Whole numbers of a width from `min` on.
    #[must_use]
    pub const fn number(width: Width, min: i64) -> Self {
        Self::Number { width, min: Some(min), max: None, counted: false }
    }

    /// The name of Kafka's `ConfigDef.Type`.
    #[must_use]
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Text
            | Self::NonEmptyText
            | Self::Name
            | Self::OneOf(_)
            | Self::OneOfAnyCase(_)
            | Self::Pattern
            | Self::Rename
            | Self::OffsetReset => "STRING",
            Self::Boolean | Self::OnlyTrue(_) => "BOOLEAN",
            Self::Number { width, .. } => width.type_name(),
            Self::List | Self::EmptyList(_) | Self::Servers | Self::Topics | Self::Labels => "LIST",
            Self::Class | Self::ByteArrays => "CLASS",
            Self::Password => "PASSWORD",
        }
    }

    /// Reads a value; blanks around it do not count.
    ///
    /// # Errors
    /// Everything that is wrong with it, in Connect's order.
    pub fn read(self, raw: &str) -> Result<Value, Vec<Breach>> {
        let text = raw.trim();
        let refuse = |rule: String| Err(vec![Breach::new(text, rule)]);
        match self {
            Self::Text | Self::Class | Self::Password => Ok(Value::Text(text.to_owned())),
            Self::NonEmptyText if text.is_empty() => refuse("String must be non-empty".into()),
            Self::NonEmptyText => Ok(Value::Text(text.to_owned())),
            Self::Name => read_name(text),
            Self::OneOf(values) if values.contains(&text) => Ok(Value::Text(text.to_owned())),
            Self::OneOfAnyCase(values) if values.iter().any(|known| known.eq_ignore_ascii_case(text)) => {
                Ok(Value::Text(text.to_owned()))
            }
            Self::OneOf(values) => refuse(one_of(values)),
            Self::OneOfAnyCase(values) => refuse(one_of_any_case(values)),
            Self::Boolean => read_flag(raw),
            Self::OnlyTrue(reason) => {
                let flag = read_flag(raw)?;
                if flag == Value::Flag(true) { Ok(flag) } else { refuse(reason.to_owned()) }
            }
            Self::Number { width, min, max, counted } => read_number(raw, width, (min, max), counted),
            Self::List => read_list(text),
            Self::EmptyList(_) if text.is_empty() => Ok(Value::Text(String::new())),
            Self::EmptyList(reason) => {
                Err(vec![Breach::new(&format!("[{}]", entries(text).join(", ")), reason)])
            }
            Self::ByteArrays => read_converter(raw),
            Self::Servers => servers::read(text)
                .map(Value::Text)
                .map_err(|rules| rules.into_iter().map(|rule| Breach::new(text, rule)).collect()),
            Self::Topics => read_topics(text),
            Self::Pattern => read_pattern(text),
            Self::Rename => read_rename(text),
            Self::Labels => read_labels(text),
            Self::OffsetReset => read_reset(text),
        }
    }

    /// A value as Kafka's types write it, possible or not; nothing where it is none of its type.
    #[must_use]
    pub fn typed_text(self, raw: &str) -> Option<String> {
        let text = raw.trim();
        match self {
            Self::Boolean | Self::OnlyTrue(_) => {
                ["true", "false"].into_iter().find(|flag| flag.eq_ignore_ascii_case(text)).map(str::to_owned)
            }
            Self::Number { width, .. } => width.parse(text).map(|number| number.to_string()),
            Self::List | Self::EmptyList(_) | Self::Servers | Self::Topics | Self::Labels => {
                Some(entries(text).join(","))
            }
            Self::ByteArrays => is_converter(text).then(|| text.to_owned()),
            Self::Text
            | Self::NonEmptyText
            | Self::Name
            | Self::OneOf(_)
            | Self::OneOfAnyCase(_)
            | Self::Class
            | Self::Password
            | Self::Pattern
            | Self::Rename
            | Self::OffsetReset => Some(text.to_owned()),
        }
    }

    /// What Connect says about a null, besides that no value may be null.
    #[must_use]
    pub fn null_breach(self) -> Option<Breach> {
        let rule = match self {
            Self::OneOf(values) => one_of(values),
            Self::OneOfAnyCase(values) => one_of_any_case(values),
            Self::Number { counted: true, .. } => NON_NULL.to_owned(),
            Self::List | Self::EmptyList(_) => "entry must be non null".to_owned(),
            Self::Text
            | Self::NonEmptyText
            | Self::Name
            | Self::Boolean
            | Self::OnlyTrue(_)
            | Self::Number { counted: false, .. }
            | Self::Class
            | Self::ByteArrays
            | Self::Password
            | Self::Servers
            | Self::Topics
            | Self::Pattern
            | Self::Rename
            | Self::Labels
            | Self::OffsetReset => return None,
        };
        Some(Breach::new("null", rule))
    }
}

impl Width {
    const fn type_name(self) -> &'static str {
        match self {
            Self::Short => "SHORT",
            Self::Int => "INT",
            Self::Long => "LONG",
        }
    }

    fn parse(self, text: &str) -> Option<i64> {
        match self {
            Self::Short => text.parse::<i16>().ok().map(i64::from),
            Self::Int => text.parse::<i32>().ok().map(i64::from),
            Self::Long => text.parse().ok(),
        }
    }
}

const NON_NULL: &str = "Value must be non-null";

fn one_of(values: &[&str]) -> String {
    format!("String must be one of: {}", values.join(", "))
}

fn one_of_any_case(values: &[&str]) -> String {
    format!("String must be one of (case insensitive): {}", values.join(", "))
}

/// Entries of a list that are not blank, trimmed.
fn entries(text: &str) -> Vec<&str> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect()
}

fn read_name(text: &str) -> Result<Value, Vec<Breach>> {
    let codes: Vec<_> = text.chars().filter(|c| c.is_control()).map(|c| u32::from(c).to_string()).collect();
    if text.is_empty() {
        return Err(vec![Breach::new(text, "String may not be empty")]);
    }
    if !codes.is_empty() {
        let codes = codes.join(", ");
        let rule =
            format!("String may not contain control sequences but had the following ASCII chars: {codes}");
        return Err(vec![Breach::new(text, rule)]);
    }
    Ok(Value::Text(text.to_owned()))
}

fn read_flag(raw: &str) -> Result<Value, Vec<Breach>> {
    let text = raw.trim();
    if text.eq_ignore_ascii_case("true") {
        Ok(Value::Flag(true))
    } else if text.eq_ignore_ascii_case("false") {
        Ok(Value::Flag(false))
    } else {
        Err(vec![Breach::new(raw, "Expected value to be either true or false")])
    }
}

fn read_number(
    raw: &str,
    width: Width,
    (min, max): (Option<i64>, Option<i64>),
    counted: bool,
) -> Result<Value, Vec<Breach>> {
    let Some(number) = width.parse(raw.trim()) else {
        let mut breaches = vec![Breach::new(raw, format!("Not a number of type {}", width.type_name()))];
        breaches.extend(counted.then(|| Breach::new("null", NON_NULL)));
        return Err(breaches);
    };
    let refuse = |rule: String| Err(vec![Breach::new(&number.to_string(), rule)]);
    match (min, max) {
        (Some(min), _) if number < min => refuse(format!("Value must be at least {min}")),
        (_, Some(max)) if number > max => refuse(format!("Value must be no more than {max}")),
        (Some(_) | None, Some(_) | None) => Ok(Value::Number(number)),
    }
}

fn read_labels(text: &str) -> Result<Value, Vec<Breach>> {
    let breach = |fault| match fault {
        LabelFault::NoPair(entry) => Breach::new(text, format!("{entry} is not NAME=VALUE")),
        LabelFault::Twice(name) => Breach::new(text, format!("label {name} is there twice")),
    };
    let labels =
        labels::read_labels(text).map_err(|faults| faults.into_iter().map(breach).collect::<Vec<_>>())?;
    Ok(Value::Labels(labels))
}

/// A list of aliases, each of them once.
fn read_list(text: &str) -> Result<Value, Vec<Breach>> {
    let aliases = entries(text);
    let distinct: BTreeSet<_> = aliases.iter().collect();
    if distinct.len() < aliases.len() {
        let shown = format!("[{}]", aliases.join(", "));
        return Err(vec![Breach::new(&shown, "Duplicate alias provided.")]);
    }
    Ok(Value::Text(aliases.join(",")))
}

/// Whether a class can be a converter, by its name.
fn is_converter(class: &str) -> bool {
    class.ends_with("Converter") || class == "ByteArray"
}

fn read_converter(raw: &str) -> Result<Value, Vec<Breach>> {
    let class = raw.trim();
    let simple = class.rsplit('.').next().unwrap_or(class);
    if simple == "ByteArrayConverter" || class == "ByteArray" {
        return Ok(Value::Text(class.to_owned()));
    }
    if !is_converter(class) {
        return Err(vec![Breach::new(raw, format!("Class {raw} could not be found."))]);
    }
    let rule = "records are copied byte by byte and never decoded; write \
                org.apache.kafka.connect.converters.ByteArrayConverter, or leave the key out";
    Err(vec![Breach::new(class, rule)])
}

fn read_topics(text: &str) -> Result<Value, Vec<Breach>> {
    let mut topics = BTreeSet::new();
    let mut breaches = Vec::new();
    for entry in entries(text) {
        match entry.parse::<TopicName>() {
            Ok(topic) => drop(topics.insert(topic)),
            Err(error) => {
                let rule = format!("{error}; a pattern belongs into topic.regex");
                breaches.push(Breach::new(text, rule));
            }
        }
    }
    if breaches.is_empty() { Ok(Value::Topics(topics)) } else { Err(breaches) }
}

fn read_pattern(text: &str) -> Result<Value, Vec<Breach>> {
    if text.is_empty() {
        return Ok(Value::Text(String::new()));
    }
    TopicPattern::parse(text).map(Value::Pattern).map_err(|reason| {
        // The reason can span lines; in Connect's frame a line is an error.
        let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        vec![Breach::new(text, format!("not a regular expression: {reason}"))]
    })
}

fn read_rename(text: &str) -> Result<Value, Vec<Breach>> {
    // In property files and shells people escape the placeholder.
    let format = text.replace("\\${topic}", "${topic}");
    if format.replace("${topic}", "").contains("${") {
        return Err(vec![Breach::new(text, "the only placeholder is ${topic}")]);
    }
    RenameFormat::parse(&format).map(Value::Rename).map_err(|error| {
        let rule = if format.contains("${topic}") {
            format!("with \"x\" for ${{topic}}, {error}")
        } else {
            error.to_string()
        };
        vec![Breach::new(text, rule)]
    })
}

fn read_reset(text: &str) -> Result<Value, Vec<Breach>> {
    if matches!(text, "earliest" | "latest") {
        return Ok(Value::Text(text.to_owned()));
    }
    let rule = "String must be one of: earliest, latest; a partition without a stored position must start \
                somewhere";
    Err(vec![Breach::new(text, rule)])
}
