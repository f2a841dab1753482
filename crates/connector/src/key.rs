//! What a row of a table says about a key.

use crate::kind::Kind;

/// A key of a connector's config.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Default,
    pub importance: Importance,
    pub effect: Effect,
    /// One sentence for the reader of a reference page.
    pub documentation: &'static str,
}

/// What holds when a key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// The key must be there.
    Required,
    /// Nothing.
    Absent,
    Value(&'static str),
}

impl Default {
    #[must_use]
    pub fn value(self) -> Option<&'static str> {
        match self {
            Self::Required | Self::Absent => None,
            Self::Value(value) => Some(value),
        }
    }
}

/// Kafka's `ConfigDef.Importance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    High,
    Medium,
    Low,
}

/// What a key that the user wrote changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Honoured,
    /// Copyist always does what these values ask for; any other value has no effect, and is reported.
    Always(&'static [&'static str]),
    /// No value has an effect, for this reason; reported.
    Without(&'static str),
}

impl Effect {
    /// Whether writing `value` changes nothing although the user may expect it to.
    #[must_use]
    pub fn ignores(self, value: &str) -> bool {
        match self {
            Self::Honoured => false,
            Self::Always(values) => !values.iter().any(|known| known.eq_ignore_ascii_case(value.trim())),
            Self::Without(_) => true,
        }
    }
}

/// Keys that belong together, in the order in which they are checked and shown.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Kafka's `ConfigKey.group`.
    pub group: &'static str,
    /// `ConfigKey.orderInGroup` of the first key; the others follow by one.
    pub first_order: u32,
    pub keys: &'static [Key],
}

/// All keys of a table, in order.
pub fn keys(sections: &'static [Section]) -> impl Iterator<Item = &'static Key> {
    sections.iter().flat_map(|section| section.keys)
}

pub(crate) const fn key(
    name: &'static str,
    kind: Kind,
    default: Default,
    importance: Importance,
    effect: Effect,
    documentation: &'static str,
) -> Key {
    Key { name, kind, default, importance, effect, documentation }
}
