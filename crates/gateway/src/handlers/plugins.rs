//! Plugins, their keys, and what a config is worth.

use copyist_proto::connect::{GetPluginConfigRequest, ListPluginsRequest, ValidateConfigRequest};

use crate::exchange::{Call, call, read};
use crate::input;
use crate::plugin_document::{Key, Plugin, Validation};
use crate::refusal::Refusal;
use crate::reply::Reply;

pub async fn list(mut to: Call) -> Result<Reply, Refusal> {
    let request = ListPluginsRequest { connectors_only: to.query.flag_or("connectorsOnly", true) };
    let listing = call(request, |request| to.client.list_plugins(request)).await?;
    Reply::ok(&listing.plugins.iter().map(Plugin::from).collect::<Vec<_>>())
}

pub async fn config(mut to: Call) -> Result<Reply, Refusal> {
    let version = to.query.first("version").map(str::to_owned);
    let request = GetPluginConfigRequest { plugin: to.target.plugin, version };
    let config = call(request, |request| to.client.get_plugin_config(request)).await?;
    Reply::ok(&config.keys.iter().map(Key::from).collect::<Vec<_>>())
}

pub async fn validate(mut to: Call) -> Result<Reply, Refusal> {
    let config = input::config_body(&read(to.body, to.declared).await?)?;
    let request = ValidateConfigRequest { plugin: to.target.plugin, config };
    let validation = call(request, |request| to.client.validate_config(request)).await?;
    Reply::ok(&Validation::from(&validation))
}
