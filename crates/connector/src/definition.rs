//! What Connect tells programs of a key: its `ConfigKeyInfo`, of which they make forms.

use copyist_model::client::is_secret;

use crate::class::{Class, Definition};
use crate::clients::{ClientKey, IgnoredKey, Side};
use crate::framework;
use crate::key::{Default, Effect, FieldWidth, Form, Importance, Key, Section};
use crate::kind::Kind;

/// A key as it is shown to programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    pub name: String,
    /// Its type is [`Kind::type_name`].
    pub kind: Kind,
    /// Whether it must be there: it has no default, not even nothing.
    pub required: bool,
    pub default: Option<&'static str>,
    pub importance: Importance,
    pub documentation: String,
    pub group: Option<&'static str>,
    /// Its place in the group; -1 without a group.
    pub order_in_group: i32,
    pub width: FieldWidth,
    pub display_name: &'static str,
    pub dependents: &'static [&'static str],
    /// Values to offer.
    pub recommended: &'static [&'static str],
}

/// The converter of Connect that passes bytes through.
pub const BYTE_ARRAYS: &str = "org.apache.kafka.connect.converters.ByteArrayConverter";

/// Connect's own keys, in its order.
#[must_use]
pub fn framework_keys() -> Vec<KeyInfo> {
    of_sections(framework::SECTIONS)
}

/// The keys of a class, without Connect's own.
#[must_use]
pub fn own_keys(class: &Class) -> Vec<KeyInfo> {
    of_sections(class.sections)
}

/// The groups of Connect and of a class, each once, in order.
#[must_use]
pub fn groups(class: &Class) -> Vec<&'static str> {
    let mut groups = Vec::new();
    for Section { group, .. } in framework::SECTIONS.iter().chain(class.sections) {
        if !groups.contains(group) {
            groups.push(*group);
        }
    }
    groups
}

/// A client key under a prefix, as Connect shows those of `producer.override.`; nothing for what is none.
#[must_use]
pub fn client_key(class: &Class, name: &str) -> Option<KeyInfo> {
    match class.define(name) {
        Definition::Client { key, side } => Some(of_client(name, key, side)),
        Definition::IgnoredClient(key) => Some(of_ignored_client(name, key)),
        Definition::Own(_) | Definition::Ignored(_) | Definition::Unknown => None,
    }
}

fn of_sections(sections: &'static [Section]) -> Vec<KeyInfo> {
    let of_section = |section: &'static Section| {
        (section.first_order..).zip(section.keys).map(|(order, key)| of_key(key, section.group, order))
    };
    sections.iter().flat_map(of_section).collect()
}

fn of_key(key: &'static Key, group: &'static str, order: u32) -> KeyInfo {
    let Form { display_name, width, dependents } = key.form;
    KeyInfo {
        name: key.name.to_owned(),
        kind: key.kind,
        required: key.default == Default::Required,
        default: key.default.value(),
        importance: key.importance,
        documentation: documentation(key.documentation, key.effect),
        group: Some(group),
        order_in_group: i32::try_from(order).unwrap_or(i32::MAX),
        width: width.unwrap_or_else(|| field_width(key.kind)),
        display_name: display_name.unwrap_or(key.name),
        dependents,
        recommended: recommended(key.kind, key.effect),
    }
}

fn of_client(name: &str, key: &'static ClientKey, side: Side) -> KeyInfo {
    let effect = if key.side.includes(side) { key.effect } else { Effect::Without(side.has_no_such_key()) };
    KeyInfo {
        kind: key.kind,
        importance: key.importance,
        documentation: documentation(key.documentation, effect),
        recommended: recommended(key.kind, effect),
        ..bare(name, key.name)
    }
}

fn of_ignored_client(name: &str, key: IgnoredKey) -> KeyInfo {
    KeyInfo {
        kind: if is_secret(key.name) { Kind::Password } else { Kind::Text },
        documentation: documentation("A key of Kafka's clients.", Effect::Without(key.reason)),
        ..bare(name, key.name)
    }
}

/// As Kafka describes what is defined without a group. What a client does without the key is the agent's business: no
/// default is shown.
pub(crate) fn bare(name: &str, property: &'static str) -> KeyInfo {
    KeyInfo {
        name: name.to_owned(),
        kind: Kind::Text,
        required: false,
        default: None,
        importance: Importance::Low,
        documentation: String::new(),
        group: None,
        order_in_group: -1,
        width: FieldWidth::None,
        display_name: property,
        dependents: &[],
        recommended: &[],
    }
}

/// The sentence of a key, and what is to be known of its effect.
fn documentation(sentence: &str, effect: Effect) -> String {
    match effect {
        Effect::Honoured => sentence.to_owned(),
        Effect::Always(values) => {
            format!("{sentence} Another value than {} has no effect here.", values.join(" or "))
        }
        Effect::Without(reason) => format!("{sentence} Without effect here: {reason}."),
    }
}

/// What a form can offer.
fn recommended(kind: Kind, effect: Effect) -> &'static [&'static str] {
    if let Effect::Always(values) = effect {
        return values;
    }
    match kind {
        Kind::OneOf(values) | Kind::OneOfAnyCase(values) => values,
        Kind::Boolean => &["true", "false"],
        Kind::OnlyTrue(_) => &["true"],
        Kind::ByteArrays => &[BYTE_ARRAYS],
        Kind::OffsetReset => &["earliest", "latest"],
        Kind::Text
        | Kind::NonEmptyText
        | Kind::Name
        | Kind::Number { .. }
        | Kind::List
        | Kind::EmptyList(_)
        | Kind::Class
        | Kind::Password
        | Kind::Servers
        | Kind::Topics
        | Kind::Pattern
        | Kind::Rename
        | Kind::Labels => &[],
    }
}

/// How wide a field must be for what people write there.
fn field_width(kind: Kind) -> FieldWidth {
    match kind {
        Kind::Boolean
        | Kind::OnlyTrue(_)
        | Kind::Number { .. }
        | Kind::OneOf(_)
        | Kind::OneOfAnyCase(_)
        | Kind::OffsetReset => FieldWidth::Short,
        Kind::Text | Kind::NonEmptyText | Kind::Name | Kind::Class | Kind::ByteArrays | Kind::Password => {
            FieldWidth::Medium
        }
        Kind::List
        | Kind::EmptyList(_)
        | Kind::Servers
        | Kind::Topics
        | Kind::Pattern
        | Kind::Rename
        | Kind::Labels => FieldWidth::Long,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::CLASSES;
    use crate::kind::Width;

    fn find(name: &str) -> KeyInfo {
        let keys = framework_keys().into_iter().chain(own_keys(CLASSES[0]));
        keys.into_iter().find(|key| key.name == name).unwrap_or_else(|| panic!("{name}"))
    }

    fn client(name: &str) -> KeyInfo {
        client_key(CLASSES[0], name).unwrap_or_else(|| panic!("{name}"))
    }

    #[test]
    fn a_key_of_a_table_is_described_as_connect_describes_it() {
        let expected = KeyInfo {
            name: "tasks.max".to_owned(),
            kind: Kind::Number { width: Width::Int, min: Some(1), max: None, counted: true },
            required: false,
            default: None,
            importance: Importance::High,
            documentation:
                "The most tasks to spread the partitions over; by itself one for each partition, up to \
                            256."
                    .to_owned(),
            group: Some("Common"),
            order_in_group: 4,
            width: FieldWidth::Short,
            display_name: "Tasks max",
            dependents: &[],
            recommended: &[],
        };
        assert_eq!(find("tasks.max"), expected);
        let own = find("topic.auto.create");
        assert_eq!(
            (own.group, own.order_in_group, own.display_name),
            (Some("Destination"), 6, "topic.auto.create")
        );
        assert_eq!(own.dependents, ["dest.topic.replication.factor", "topic.timestamp.type"]);
        assert_eq!((own.required, own.default, own.importance), (false, Some("true"), Importance::Low));
        let required = find("name");
        assert_eq!((required.required, required.default), (true, None));
    }

    #[test]
    fn dependents_are_keys() {
        for key in framework_keys().into_iter().chain(own_keys(CLASSES[0])) {
            for dependent in key.dependents {
                assert_eq!(find(dependent).name, *dependent);
            }
        }
    }

    #[test]
    fn groups_stand_in_the_order_of_the_tables_and_once() {
        let connects = [
            "Common",
            "Transforms",
            "Predicates",
            "Error Handling",
            "Topic Creation",
            "Exactly Once Support",
            "offsets.topic",
        ];
        let own = ["Source", "Source Topics", "Destination", "Copying", "Offsets, Provenance and Schemas"];
        assert_eq!(groups(CLASSES[0]), [&connects[..], &own].concat());
    }

    #[test]
    fn each_effect_is_told_after_the_sentence() {
        let rows = [
            (Effect::Honoured, "It is."),
            (Effect::Always(&["a"]), "It is. Another value than a has no effect here."),
            (Effect::Always(&["a", "b"]), "It is. Another value than a or b has no effect here."),
            (Effect::Without("nobody asks"), "It is. Without effect here: nobody asks."),
        ];
        for (effect, expected) in rows {
            assert_eq!(documentation("It is.", effect), expected);
        }
    }

    #[test]
    fn each_kind_of_value_has_its_width_and_what_it_offers() {
        const CHOICES: &[&str] = &["a", "b"];
        let rows: [(Kind, FieldWidth, &[&str]); 18] = [
            (Kind::Text, FieldWidth::Medium, &[]),
            (Kind::NonEmptyText, FieldWidth::Medium, &[]),
            (Kind::Name, FieldWidth::Medium, &[]),
            (Kind::Class, FieldWidth::Medium, &[]),
            (Kind::Password, FieldWidth::Medium, &[]),
            (Kind::ByteArrays, FieldWidth::Medium, &[BYTE_ARRAYS]),
            (Kind::OneOf(CHOICES), FieldWidth::Short, CHOICES),
            (Kind::OneOfAnyCase(CHOICES), FieldWidth::Short, CHOICES),
            (Kind::Boolean, FieldWidth::Short, &["true", "false"]),
            (Kind::OnlyTrue(""), FieldWidth::Short, &["true"]),
            (Kind::number(Width::Long, 0), FieldWidth::Short, &[]),
            (Kind::OffsetReset, FieldWidth::Short, &["earliest", "latest"]),
            (Kind::List, FieldWidth::Long, &[]),
            (Kind::EmptyList(""), FieldWidth::Long, &[]),
            (Kind::Servers, FieldWidth::Long, &[]),
            (Kind::Topics, FieldWidth::Long, &[]),
            (Kind::Pattern, FieldWidth::Long, &[]),
            (Kind::Rename, FieldWidth::Long, &[]),
        ];
        for (kind, width, offered) in rows {
            assert_eq!(
                (field_width(kind), recommended(kind, Effect::Honoured)),
                (width, offered),
                "{kind:?}"
            );
            assert!(offered.iter().all(|value| kind.read(value).is_ok()), "{kind:?}");
        }
        assert_eq!(field_width(Kind::Labels), FieldWidth::Long);
        assert_eq!(recommended(Kind::Labels, Effect::Honoured), &[] as &[&str]);
        assert_eq!(recommended(Kind::Boolean, Effect::Always(&["false"])), ["false"]);
        assert_eq!(recommended(Kind::Boolean, Effect::Without("")), ["true", "false"]);
    }

    #[test]
    fn client_keys_are_described_under_their_prefix() {
        let linger = client("producer.override.linger.ms");
        let expected = KeyInfo {
            name: "producer.override.linger.ms".to_owned(),
            kind: Kind::number(Width::Long, 0),
            required: false,
            default: None,
            importance: Importance::Medium,
            documentation: "How long to gather records for a batch.".to_owned(),
            group: None,
            order_in_group: -1,
            width: FieldWidth::None,
            display_name: "linger.ms",
            dependents: &[],
            recommended: &[],
        };
        assert_eq!(linger, expected);
        let elsewhere = client("src.kafka.linger.ms");
        assert!(elsewhere.documentation.ends_with(" Without effect here: consumers have no such key."));
        let codec = client("dest.kafka.compression.type");
        assert_eq!(codec.recommended, ["none", "gzip", "snappy", "lz4", "zstd"]);
        let ignored = client("src.consumer.group.id");
        assert_eq!(
            (ignored.kind, ignored.display_name, ignored.importance),
            (Kind::Text, "group.id", Importance::Low)
        );
        assert_eq!(
            ignored.documentation,
            "A key of Kafka's clients. Without effect here: partitions are assigned by tasks, not by a consumer \
             group."
        );
        let secret = client("src.kafka.sasl.oauthbearer.client.credentials.client.secret");
        assert_eq!(secret.kind, Kind::Password);
        for name in [
            "src.kafka.bootstrap.servers",
            "src.kafka.color",
            "color",
            "admin.override.linger.ms",
            "linger.ms",
        ] {
            assert_eq!(client_key(CLASSES[0], name), None, "{name}");
        }
    }
}
