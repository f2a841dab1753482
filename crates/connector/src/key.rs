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
    pub form: Form,
}

/// How a form shows a key.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// Kafka's `ConfigKey.displayName`; absent: the key's name.
    pub display_name: Option<&'static str>,
    /// Absent: as its kind wants it.
    pub width: Option<FieldWidth>,
    /// Keys whose values are judged, or have an effect, according to this one's.
    pub dependents: &'static [&'static str],
}

/// Kafka's `ConfigDef.Width`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldWidth {
    None,
    Short,
    Medium,
    Long,
}

impl FieldWidth {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Short => "SHORT",
            Self::Medium => "MEDIUM",
            Self::Long => "LONG",
        }
    }
}

impl Key {
    /// With another name than the key's in forms, and this width.
    pub(crate) const fn shown(self, display_name: &'static str, width: FieldWidth) -> Self {
        let form = Form { display_name: Some(display_name), width: Some(width), ..self.form };
        Self { form, ..self }
    }

    /// With keys that depend on it.
    pub(crate) const fn with_dependents(self, dependents: &'static [&'static str]) -> Self {
        Self { form: Form { dependents, ..self.form }, ..self }
    }
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

impl Importance {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "HIGH",
            Self::Medium => "MEDIUM",
            Self::Low => "LOW",
        }
    }
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

    /// Why a value without effect has none; `documentation` is that of the key.
    #[must_use]
    pub fn reason(self, documentation: &'static str) -> Option<&'static str> {
        match self {
            Self::Honoured => None,
            Self::Always(_) => Some(documentation.trim_end_matches('.')),
            Self::Without(reason) => Some(reason),
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
    let form = Form { display_name: None, width: None, dependents: &[] };
    Key { name, kind, default, importance, effect, documentation, form }
}
