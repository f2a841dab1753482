//! The JSON documents about plugins: fields in the order of Connect 4.2 and later.

use copyist_proto::connect::{self, ConfigKey, ValidateConfigResponse, ValidatedKey};
use serde::Serialize;

/// Connect's PluginInfo.
#[derive(Serialize)]
pub struct Plugin<'a> {
    class: &'a str,
    r#type: &'a str,
    version: &'a str,
}

impl<'a> From<&'a connect::Plugin> for Plugin<'a> {
    fn from(plugin: &'a connect::Plugin) -> Self {
        let connect::Plugin { class, r#type, version } = plugin;
        Self { class, r#type, version }
    }
}

/// Connect's ConfigKeyInfo.
#[derive(Serialize)]
pub struct Key<'a> {
    name: &'a str,
    r#type: &'a str,
    required: bool,
    default_value: Option<&'a str>,
    importance: &'a str,
    documentation: &'a str,
    group: Option<&'a str>,
    order_in_group: i32,
    width: &'a str,
    display_name: &'a str,
    dependents: &'a [String],
    /// As Connect before 4.2 called `order_in_group`.
    order: i32,
}

impl<'a> From<&'a ConfigKey> for Key<'a> {
    fn from(key: &'a ConfigKey) -> Self {
        Self {
            name: &key.name,
            r#type: &key.r#type,
            required: key.required,
            default_value: key.default_value.as_deref(),
            importance: &key.importance,
            documentation: &key.documentation,
            group: key.group.as_deref(),
            order_in_group: key.order_in_group,
            width: &key.width,
            display_name: &key.display_name,
            dependents: &key.dependents,
            order: key.order_in_group,
        }
    }
}

/// Connect's ConfigInfos.
#[derive(Serialize)]
pub struct Validation<'a> {
    name: &'a str,
    error_count: u32,
    groups: &'a [String],
    configs: Vec<Config<'a>>,
    /// Connect has no such field: it tolerates unknown keys without a word. Its clients pass over fields they do not
    /// know, as they had to whenever Connect got new ones; without warnings the document is Connect's own.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
}

/// Connect's ConfigInfo.
#[derive(Serialize)]
struct Config<'a> {
    definition: Option<Key<'a>>,
    value: Value<'a>,
}

/// Connect's ConfigValueInfo.
#[derive(Serialize)]
struct Value<'a> {
    name: &'a str,
    value: Option<&'a str>,
    recommended_values: &'a [String],
    errors: &'a [String],
    visible: bool,
}

impl<'a> From<&'a ValidateConfigResponse> for Validation<'a> {
    fn from(validation: &'a ValidateConfigResponse) -> Self {
        let ValidateConfigResponse { name, error_count, groups, keys, warnings } = validation;
        Self {
            name,
            error_count: *error_count,
            groups,
            configs: keys.iter().map(Config::from).collect(),
            warnings,
        }
    }
}

impl<'a> From<&'a ValidatedKey> for Config<'a> {
    fn from(key: &'a ValidatedKey) -> Self {
        let ValidatedKey { definition, name, value, recommended_values, errors } = key;
        let value = Value { name, value: value.as_deref(), recommended_values, errors, visible: true };
        Self { definition: definition.as_ref().map(Key::from), value }
    }
}
