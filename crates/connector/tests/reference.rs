//! `docs/connectors.md` is what the tables say. After a change of a table:
//!
//!     UPDATE_REFERENCE=1 cargo test -p copyist-connector --test reference

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use copyist_connector::class::{CLASSES, Class, Family, Members};
use copyist_connector::clients::{ClientKey, HONOURED, IGNORED, Side};
use copyist_connector::framework;
use copyist_connector::key::{Default, Effect, Key, Section};
use copyist_connector::kind::Kind;
use copyist_connector::plugin::VERSION;

const COMMAND: &str = "UPDATE_REFERENCE=1 cargo test -p copyist-connector --test reference";

#[test]
fn the_reference_page_is_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/connectors.md");
    let expected = page();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, &expected).expect("written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    let differs = expected.lines().zip(there.lines()).find(|(expected, there)| expected != there);
    assert!(there == expected, "docs/connectors.md is not what the tables say; run {COMMAND}\n{differs:#?}");
}

#[test]
fn every_key_is_on_the_page() {
    let page = page();
    let own = CLASSES.into_iter().flat_map(Class::own_keys).map(|key| key.name);
    let ignored = IGNORED.iter().flat_map(|ignored| ignored.names.iter().copied());
    for name in own.chain(HONOURED.iter().map(|key| key.name)).chain(ignored) {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

fn page() -> String {
    let mut page = format!(
        "# The keys of a connector\n\n\
         Generated from the tables in `crates/connector`, as are `GET /connector-plugins/CLASS/config` and\n\
         `PUT /connector-plugins/CLASS/config/validate`, which checks a config and creates nothing. Do not edit; run\n\
         `{COMMAND}`.\n\n\
         There are three kinds of key. Those in the first tables do what they say. Those in the last part are known from\n\
         Connect, from other replicators or from Kafka's clients, and have no effect here: a config may have them, and the\n\
         connector's status and the field `warnings` of a validation name them with the reason. All others are unknown:\n\
         as in Connect they are tolerated, and named there too, with the known key that is nearest to a misspelt one.\n\n\
         Blanks around values do not count. Lists are separated by commas.\n\n"
    );
    page += &classes();
    let mut told: Vec<&'static [Section]> = Vec::new();
    for class in CLASSES {
        if !told.iter().any(|sections| std::ptr::eq(*sections, class.sections)) {
            told.push(class.sections);
            page += &format!("## Keys of {}\n\n", of_these_sections(class).join(" and "));
            page += &tables(class.sections);
        }
    }
    page += "## Connect's own keys\n\n";
    page += &tables(framework::SECTIONS);
    page += &clients();
    page + &without_effect()
}

/// The classes with the same keys.
fn of_these_sections(class: &Class) -> Vec<String> {
    let same = CLASSES.into_iter().filter(|other| std::ptr::eq(other.sections, class.sections));
    same.map(|class| format!("`{}`", class.simple_name)).collect()
}

fn classes() -> String {
    let mut text =
        "## Classes\n\n`connector.class` is one of these:\n\n| class | for short |\n|---|---|\n".to_owned();
    for class in CLASSES {
        let package = if class.any_package { ", in any Java package" } else { "" };
        let mut short = vec![class.alias()];
        if class.simple_name != class.full_name {
            short.insert(0, class.simple_name);
        }
        let short = short.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        text += &format!("| `{}`{package} | {short} |\n", class.full_name);
    }
    text + "\n"
}

fn tables(sections: &'static [Section]) -> String {
    let mut groups: Vec<(&str, Vec<&Key>)> = Vec::new();
    for section in sections {
        let keys = section.keys.iter().filter(|key| !matches!(key.effect, Effect::Without(_)));
        match groups.iter_mut().find(|(group, _)| *group == section.group) {
            Some((_, known)) => known.extend(keys),
            None => groups.push((section.group, keys.collect())),
        }
    }
    let mut text = String::new();
    for (group, keys) in groups.into_iter().filter(|(_, keys)| !keys.is_empty()) {
        text += &format!(
            "### {group}\n\n| key | value | default | importance | meaning |\n|---|---|---|---|---|\n"
        );
        for key in keys {
            let importance = key.importance.as_str().to_lowercase();
            let (value, default) = (value(key.kind), default(key));
            let meaning = meaning(key.documentation, key.effect);
            text += &format!("| `{}` | {value} | {default} | {importance} | {meaning} |\n", key.name);
        }
        text += "\n";
    }
    text
}

fn default(key: &Key) -> String {
    match key.default {
        Default::Required => "required".to_owned(),
        Default::Absent => String::new(),
        Default::Value("") => "empty".to_owned(),
        Default::Value(VERSION) => "Copyist's".to_owned(),
        Default::Value(value) => format!("`{value}`"),
    }
}

fn meaning(sentence: &str, effect: Effect) -> String {
    match effect {
        Effect::Honoured | Effect::Without(_) | Effect::Always(&[VERSION]) => sentence.to_owned(),
        Effect::Always(values) => {
            format!("{sentence} Another value than {} has no effect.", choices(values, " or "))
        }
    }
}

fn choices(values: &[&str], between: &str) -> String {
    values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(between)
}

fn value(kind: Kind) -> String {
    let kind_name = kind.type_name().to_lowercase();
    match kind {
        Kind::OneOf(values) => choices(values, ", "),
        Kind::OneOfAnyCase(values) => format!("{}, in any case", choices(values, ", ")),
        Kind::OnlyTrue(_) => "`true`".to_owned(),
        Kind::OffsetReset => choices(&["earliest", "latest"], ", "),
        Kind::Boolean => choices(&["true", "false"], ", "),
        Kind::Number { min: Some(min), max: Some(max), .. } => format!("{kind_name}, {min} to {max}"),
        Kind::Number { min: Some(min), max: None, .. } => format!("{kind_name}, at least {min}"),
        Kind::Number { min: None, .. } => kind_name,
        Kind::EmptyList(_) => "empty".to_owned(),
        Kind::ByteArrays => "`…ByteArrayConverter`".to_owned(),
        Kind::Servers => "list of `host:port`".to_owned(),
        Kind::Topics => "list of topic names".to_owned(),
        Kind::Pattern => "regular expression".to_owned(),
        Kind::Rename => "topic name, with `${topic}`".to_owned(),
        Kind::Labels => "list of `name=value`".to_owned(),
        Kind::Text | Kind::NonEmptyText | Kind::Name | Kind::List | Kind::Class | Kind::Password => kind_name,
    }
}

/// Each family once, Connect's first.
fn families() -> Vec<&'static Family> {
    let mut families: Vec<&Family> = Vec::new();
    for family in CLASSES.into_iter().flat_map(Class::families) {
        if !families.iter().any(|known| known.prefix == family.prefix) {
            families.push(family);
        }
    }
    families
}

fn clients() -> String {
    let mut text =
        "## Client keys\n\nKafka's own client keys, after a prefix that says for which clients:\n\n\
                    | prefix | clients |\n|---|---|\n"
            .to_owned();
    for family in families() {
        if let Members::Clients(side) = family.members {
            text += &format!("| `{}` | {} |\n", family.prefix, who(side));
        }
    }
    text += "\n`src.consumer.` goes over `src.kafka.`, and `producer.override.` over `dest.kafka.`.\n\n\
             | key | value | for | importance | meaning |\n|---|---|---|---|---|\n";
    for ClientKey { name, kind, side, importance, effect, documentation } in HONOURED {
        let importance = importance.as_str().to_lowercase();
        let (value, meaning) = (value(*kind), meaning(documentation, *effect));
        text += &format!("| `{name}` | {value} | {} | {importance} | {meaning} |\n", who(*side));
    }
    text + "\n"
}

fn who(side: Side) -> &'static str {
    match side {
        Side::Source => "the source's",
        Side::Destination => "the destination's",
        Side::Both => "both",
    }
}

/// By reason, in the order in which the reasons first occur.
fn without_effect() -> String {
    let mut text = "## Known, and without effect\n\n".to_owned();
    let own = CLASSES.into_iter().flat_map(Class::own_keys);
    let own = own.filter_map(|key| match key.effect {
        Effect::Without(reason) => Some((reason, format!("`{}`", key.name))),
        Effect::Honoured | Effect::Always(_) => None,
    });
    let begun = families().into_iter().filter_map(|family| match family.members {
        Members::Ignored(reason) => Some((reason, format!("`{}*`", family.prefix))),
        Members::Clients(_) => None,
    });
    text += &by_reason(own.chain(begun));
    text += "Client keys, after each of the prefixes above. A key of the other side's clients has no effect either.\n\n";
    let clients = IGNORED
        .iter()
        .flat_map(|ignored| ignored.names.iter().map(|name| (ignored.reason, format!("`{name}`"))));
    text + by_reason(clients).trim_end() + "\n"
}

fn by_reason(keys: impl Iterator<Item = (&'static str, String)>) -> String {
    let mut reasons: Vec<&str> = Vec::new();
    let mut by_reason: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (reason, key) in keys {
        let known = by_reason.entry(reason).or_insert_with(|| {
            reasons.push(reason);
            Vec::new()
        });
        if !known.contains(&key) {
            known.push(key);
        }
    }
    let row = |reason: &&str| format!("| {reason} | {} |\n", by_reason[reason].join(", "));
    let rows: String = reasons.iter().map(row).collect();
    format!("| reason | keys |\n|---|---|\n{rows}\n")
}
