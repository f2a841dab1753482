//! The plugins and their keys: what the tables of `copyist_connector` say, as messages. Any replica can answer.

use copyist_connector::definition::KeyInfo;
use copyist_connector::plugin::{self, Listed, Plugin, VERSION};
use copyist_connector::validate::ValidatedKey;
use copyist_connector::version::VersionRange;
use copyist_proto::connect as wire;
use tonic::Status;

use super::details;
use crate::core::GivenConfig;

pub(super) fn list(request: &wire::ListPluginsRequest) -> wire::ListPluginsResponse {
    let message = |Listed { class, kind }| wire::Plugin {
        class: class.to_owned(),
        r#type: kind.to_owned(),
        version: VERSION.to_owned(),
    };
    wire::ListPluginsResponse {
        plugins: plugin::list(request.connectors_only).into_iter().map(message).collect(),
    }
}

pub(super) fn config(
    request: &wire::GetPluginConfigRequest,
) -> Result<wire::GetPluginConfigResponse, Status> {
    let unknown = || Status::not_found(format!("Unknown plugin {}.", request.plugin));
    let plugin = Plugin::find(&request.plugin).ok_or_else(unknown)?;
    // Connect's word for any version.
    if let Some(version) = request.version.as_deref().filter(|version| *version != "latest") {
        let range =
            VersionRange::parse(version).map_err(|invalid| Status::invalid_argument(invalid.to_string()))?;
        if !range.includes(VERSION) {
            return Err(Status::invalid_argument(format!(
                "Plugin {} not found that matches the version range {range}, available versions: [{VERSION}]",
                plugin.full_name()
            )));
        }
    }
    Ok(wire::GetPluginConfigResponse { keys: plugin.keys().into_iter().map(key_message).collect() })
}

pub(super) fn validate(plugin: &str, config: &GivenConfig) -> Result<wire::ValidateConfigResponse, Status> {
    let validation = copyist_connector::validate(plugin, config).map_err(details::invalid)?;
    Ok(wire::ValidateConfigResponse {
        error_count: u32::try_from(validation.error_count()).unwrap_or(u32::MAX),
        name: validation.class,
        groups: validation.groups.into_iter().map(str::to_owned).collect(),
        keys: validation.keys.into_iter().map(validated_message).collect(),
        warnings: validation.warnings,
    })
}

fn validated_message(key: ValidatedKey) -> wire::ValidatedKey {
    let ValidatedKey { definition, name, value, errors } = key;
    let offered = definition.as_ref().map(|definition| owned(definition.recommended));
    wire::ValidatedKey {
        definition: definition.map(key_message),
        name,
        value,
        recommended_values: offered.unwrap_or_default(),
        errors,
    }
}

fn key_message(key: KeyInfo) -> wire::ConfigKey {
    wire::ConfigKey {
        name: key.name,
        r#type: key.kind.type_name().to_owned(),
        required: key.required,
        default_value: key.default.map(str::to_owned),
        importance: key.importance.as_str().to_owned(),
        documentation: key.documentation,
        group: key.group.map(str::to_owned),
        order_in_group: key.order_in_group,
        width: key.width.as_str().to_owned(),
        display_name: key.display_name.to_owned(),
        dependents: owned(key.dependents),
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn config_of(plugin: &str, version: Option<&str>) -> Result<Vec<wire::ConfigKey>, (Code, String)> {
        let version = version.map(str::to_owned);
        let request = wire::GetPluginConfigRequest { plugin: plugin.to_owned(), version };
        let answer = config(&request).map(|answer| answer.keys);
        answer.map_err(|status| (status.code(), status.message().to_owned()))
    }

    #[test]
    fn plugins_are_listed_with_their_version() {
        for (connectors_only, count) in [(true, 2), (false, 6)] {
            let plugins = list(&wire::ListPluginsRequest { connectors_only }).plugins;
            assert_eq!(plugins.len(), count);
            assert!(plugins.iter().all(|plugin| plugin.version == env!("CARGO_PKG_VERSION")), "{plugins:?}");
        }
    }

    #[test]
    fn a_plugin_has_keys_in_a_version_that_fits() {
        let above = format!("({VERSION},)");
        for version in [None, Some("latest"), Some(VERSION), Some("[0,)"), Some("")] {
            assert!(config_of("CopyistSource", version).is_ok_and(|keys| keys.len() > 50), "{version:?}");
        }
        let class = "io.copyist.CopyistSourceConnector";
        let none = |range: &str| {
            format!(
                "Plugin {class} not found that matches the version range {range}, available versions: [{VERSION}]"
            )
        };
        let rows = [
            ("nope", None, Code::NotFound, "Unknown plugin nope.".to_owned()),
            ("nope", Some("9.9"), Code::NotFound, "Unknown plugin nope.".to_owned()),
            (class, Some("9.9"), Code::InvalidArgument, none("[9.9,9.9]")),
            (class, Some(&above), Code::InvalidArgument, none(&above)),
            (class, Some("[1,"), Code::InvalidArgument, "Invalid version specification: [1,".to_owned()),
        ];
        for (plugin, version, code, text) in rows {
            assert_eq!(config_of(plugin, version).unwrap_err(), (code, text), "{plugin} {version:?}");
        }
    }

    #[test]
    fn a_validation_is_told_whole() {
        let rows = [
            ("connector.class", "CopyistSource"),
            ("tasks.max", "0"),
            ("src.kafka.bootstrap.servers", "b:1"),
            ("topic.whitelist", "t"),
            ("src.kafka.sasl.jaas.config", "S3CR3T"),
            ("schema.registry.topic", "s"),
        ];
        let config: GivenConfig = rows.map(|(key, value)| (key.to_owned(), Some(value.to_owned()))).into();
        let answer = validate("CopyistSource", &config).unwrap();
        assert_eq!((answer.name.as_str(), answer.error_count), ("CopyistSource", 2));
        assert_eq!((answer.groups.len(), answer.warnings.len()), (12, 1));
        let key = |name: &str| answer.keys.iter().find(|key| key.name == name).unwrap();
        assert_eq!(key("tasks.max").errors.len(), 1);
        assert_eq!(key("src.kafka.sasl.jaas.config").value.as_deref(), Some("[hidden]"));
        let reload = key("config.action.reload");
        assert_eq!(reload.recommended_values, ["none", "restart"]);
        let expected = wire::ConfigKey {
            name: "config.action.reload".to_owned(),
            r#type: "STRING".to_owned(),
            required: false,
            default_value: Some("restart".to_owned()),
            importance: "LOW".to_owned(),
            documentation:
                "What to do when an external value that the config refers to has changed. Without effect \
                            here: references are resolved when a client is made."
                    .to_owned(),
            group: Some("Common".to_owned()),
            order_in_group: 14,
            width: "MEDIUM".to_owned(),
            display_name: "Reload Action".to_owned(),
            dependents: Vec::new(),
        };
        assert_eq!(reload.definition.as_ref(), Some(&expected));
        let dependents = &key("engine").definition.as_ref().unwrap().dependents;
        assert_eq!(dependents, &["exactly.once.support"]);
        assert!(!format!("{answer:?}").contains("S3CR3T"));
    }

    #[test]
    fn a_config_that_cannot_be_judged_is_refused_as_a_bad_request() {
        for (plugin, class, beginning) in [
            ("CopyistSource", None, "Connector config {} contains no connector type"),
            (
                "x",
                Some("CopyistSource"),
                "Included connector type CopyistSource does not match request type x",
            ),
            ("x", Some("x"), "Failed to find any class"),
        ] {
            let class = class.map(|class: &str| ("connector.class".to_owned(), Some(class.to_owned())));
            let status = validate(plugin, &class.into_iter().collect()).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
            assert!(status.message().starts_with(beginning), "{}", status.message());
        }
    }
}
