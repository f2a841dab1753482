//! The plugins that Connect's clients can list: the connector classes, and the converters that a config may name.

use crate::class::{CLASSES, Class};
use crate::definition::{self, BYTE_ARRAYS, KeyInfo};

/// A class that a config can name.
#[derive(Debug, Clone, Copy)]
pub enum Plugin {
    Connector(&'static Class),
    /// Passes bytes through, by this full class name.
    Converter(&'static str),
}

/// What is accepted as a converter, as [`crate::kind::Kind::ByteArrays`] does, under the names that are listed.
const CONVERTERS: [&str; 2] = [BYTE_ARRAYS, "io.confluent.connect.replicator.util.ByteArrayConverter"];

/// A line of the list of plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    pub class: &'static str,
    /// In Connect's words.
    pub kind: &'static str,
}

/// The version of every plugin.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// All plugins, in Connect's order; a converter is there as one of headers as well.
#[must_use]
pub fn list(connectors_only: bool) -> Vec<Listed> {
    let mut listed: Vec<_> =
        CLASSES.iter().map(|class| Listed { class: class.full_name, kind: "source" }).collect();
    if !connectors_only {
        for kind in ["converter", "header_converter"] {
            listed.extend(CONVERTERS.map(|class| Listed { class, kind }));
        }
    }
    listed
}

impl Plugin {
    /// By full name, simple name or alias.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        if let Some(class) = Class::find(name) {
            return Some(Self::Connector(class));
        }
        let full = CONVERTERS.into_iter().find(|class| *class == name);
        let by_alias = || matches!(name, "ByteArrayConverter" | "ByteArray").then_some(BYTE_ARRAYS);
        full.or_else(by_alias).map(Self::Converter)
    }

    #[must_use]
    pub fn full_name(&self) -> &'static str {
        match self {
            Self::Connector(class) => class.full_name,
            Self::Converter(class) => class,
        }
    }

    /// Its keys: a connector's own, then Connect's.
    #[must_use]
    pub fn keys(&self) -> Vec<KeyInfo> {
        match self {
            Self::Connector(class) => {
                definition::own_keys(class).into_iter().chain(definition::framework_keys()).collect()
            }
            Self::Converter(_) => vec![converter_type()],
        }
    }
}

/// The one key of Connect's converters that have no settings; Connect itself sets it.
fn converter_type() -> KeyInfo {
    KeyInfo {
        required: true,
        documentation: "How this converter will be used.".to_owned(),
        ..definition::bare("converter.type", "converter.type")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;

    #[test]
    fn connectors_come_first_and_converters_twice() {
        let rows = |connectors_only| {
            list(connectors_only).into_iter().map(|Listed { class, kind }| (kind, class)).collect::<Vec<_>>()
        };
        let connectors =
            [("source", "EMRReplicatorSourceConnector"), ("source", "io.copyist.CopyistSourceConnector")];
        assert_eq!(rows(true), connectors);
        let converters = ["converter", "header_converter"].into_iter().flat_map(|kind| {
            [
                (kind, "org.apache.kafka.connect.converters.ByteArrayConverter"),
                (kind, "io.confluent.connect.replicator.util.ByteArrayConverter"),
            ]
        });
        assert_eq!(rows(false), connectors.into_iter().chain(converters).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_listed_is_found_and_accepted_under_each_of_its_names() {
        for Listed { class, kind } in list(false) {
            assert_eq!(Plugin::find(class).map(|plugin| plugin.full_name()), Some(class), "{kind}");
            if kind == "converter" {
                assert!(Kind::ByteArrays.read(class).is_ok(), "{class}");
            }
        }
        let rows = [
            ("EMRReplicatorSource", Some("EMRReplicatorSourceConnector")),
            ("com.example.EMRReplicatorSourceConnector", Some("EMRReplicatorSourceConnector")),
            ("CopyistSourceConnector", Some("io.copyist.CopyistSourceConnector")),
            ("CopyistSource", Some("io.copyist.CopyistSourceConnector")),
            ("ByteArray", Some("org.apache.kafka.connect.converters.ByteArrayConverter")),
            ("ByteArrayConverter", Some("org.apache.kafka.connect.converters.ByteArrayConverter")),
            ("FileStreamSource", None),
            ("JsonConverter", None),
            ("", None),
        ];
        for (name, full_name) in rows {
            assert_eq!(Plugin::find(name).map(|plugin| plugin.full_name()), full_name, "{name:?}");
        }
    }

    #[test]
    fn a_connectors_own_keys_stand_before_connects() {
        let keys = Plugin::Connector(CLASSES[0]).keys();
        let at = |name: &str| keys.iter().position(|key| key.name == name).unwrap();
        assert!(at("agent.racks") < at("name"), "all of the connector's, then all of Connect's");
        assert_eq!(
            (keys[0].name.as_str(), keys.last().unwrap().name.as_str()),
            ("src.kafka.bootstrap.servers", "offsets.storage.topic")
        );
        let converter: Vec<_> =
            Plugin::Converter(BYTE_ARRAYS).keys().into_iter().map(|key| key.name).collect();
        assert_eq!(converter, ["converter.type"]);
    }
}
