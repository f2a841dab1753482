//! Connectors and their configs.

use std::collections::BTreeMap;

use copyist_proto::Malformed;
use copyist_proto::connect::{
    ConnectorInfo, CreateConnectorRequest, DeleteConnectorRequest, GetConnectorRequest,
    ListConnectorsRequest, PatchConnectorConfigRequest, PutConnectorConfigRequest,
};
use http::StatusCode;

use super::request_id;
use crate::document::{Info, expanded};
use crate::exchange::{Call, LIMITS, call, read, write};
use crate::input;
use crate::refusal::Refusal;
use crate::reply::{Reply, location};

/// As soon as `expand` occurs the answer is a map, whatever it says.
pub async fn list(mut to: Call) -> Result<Reply, Refusal> {
    let expand = to.query.all("expand");
    let asked = |what: &str| expand.as_ref().is_some_and(|values| values.contains(&what));
    let (expand_info, expand_status) = (asked("info"), asked("status"));
    let request = ListConnectorsRequest { expand_info, expand_status };
    // Others wait here, as long as for an answer; nobody closes the semaphore.
    let _turn = match expand {
        Some(_) => {
            let turn = to.gateway.listings.clone().acquire_owned();
            tokio::time::timeout(LIMITS.deadline, turn).await.map_err(|_| Refusal::timed_out())?.ok()
        }
        None => None,
    };
    let listing = call(request, |request| to.client.list_connectors(request)).await?;
    if expand.is_some() {
        return Reply::ok(&expanded(&listing, expand_info, expand_status)?);
    }
    let names: Vec<_> = listing.connectors.iter().map(|listed| listed.name.as_str()).collect();
    Reply::ok(&names)
}

pub async fn create(mut to: Call) -> Result<Reply, Refusal> {
    let creation = input::creation(&read(to.body, to.declared).await?)?;
    let initial_state = creation.initial_state.map_or("", |state| state.as_str()).to_owned();
    let request = CreateConnectorRequest {
        name: creation.name,
        config: creation.config,
        initial_state,
        request_id: request_id(),
    };
    let info = write(request, |request| to.client.create_connector(request)).await?;
    Reply::created(&Info::from(&info), location(to.host.as_deref(), &info.name))
}

pub async fn get(to: Call) -> Result<Reply, Refusal> {
    Reply::ok(&Info::from(&info(to).await?))
}

pub async fn get_config(to: Call) -> Result<Reply, Refusal> {
    let config: BTreeMap<String, String> = info(to).await?.config;
    Reply::ok(&config)
}

async fn info(mut to: Call) -> Result<ConnectorInfo, Refusal> {
    let request = GetConnectorRequest { name: to.target.connector };
    call(request, |request| to.client.get_connector(request)).await
}

pub async fn put_config(mut to: Call) -> Result<Reply, Refusal> {
    let config = input::config_body(&read(to.body, to.declared).await?)?;
    let request = PutConnectorConfigRequest { name: to.target.connector, config, request_id: request_id() };
    let put = write(request, |request| to.client.put_connector_config(request)).await?;
    let missing = Malformed::Missing { message: "PutConnectorConfigResponse", field: "info" };
    let info = put.info.ok_or(missing)?;
    if put.created {
        return Reply::created(&Info::from(&info), location(to.host.as_deref(), &info.name));
    }
    Reply::ok(&Info::from(&info))
}

pub async fn patch_config(mut to: Call) -> Result<Reply, Refusal> {
    let changes = match input::config_body(&read(to.body, to.declared).await?) {
        Ok(changes) => changes,
        Err(mistake) => {
            // Connect looks for the connector first.
            let request = GetConnectorRequest { name: to.target.connector };
            call(request, |request| to.client.get_connector(request)).await?;
            return Err(mistake.into());
        }
    };
    let request =
        PatchConnectorConfigRequest { name: to.target.connector, changes, request_id: request_id() };
    let info = write(request, |request| to.client.patch_connector_config(request)).await?;
    Reply::ok(&Info::from(&info))
}

pub async fn delete(mut to: Call) -> Result<Reply, Refusal> {
    let request = DeleteConnectorRequest { name: to.target.connector, request_id: request_id() };
    write(request, |request| to.client.delete_connector(request)).await?;
    Ok(Reply::Empty(StatusCode::NO_CONTENT))
}
