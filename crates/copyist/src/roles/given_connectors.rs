//! The connectors of the command line.

use copyist_proto::Coordinators;
use copyist_proto::connect::connector_service_client::ConnectorServiceClient;
use copyist_proto::connect::{ConfigEntry, CreateConnectorRequest, PutConnectorConfigRequest};

use crate::connector_file::ConnectorFile;
use crate::error::Error;

/// Creates them, or sets them to what their files say, as `connect-standalone` does.
///
/// # Errors
/// The first that is refused.
pub async fn create(coordinators: Coordinators, files: Vec<ConnectorFile>) -> Result<(), Error> {
    let mut client = ConnectorServiceClient::new(coordinators);
    for file in files {
        let name = file.name.to_string();
        let config: Vec<ConfigEntry> =
            file.config.into_iter().map(|(key, value)| ConfigEntry { key, value }).collect();
        let refused = |status: tonic::Status| Error::Connector {
            path: file.path.clone(),
            message: status.message().to_owned(),
        };
        let created = client
            .create_connector(CreateConnectorRequest {
                name: name.clone(),
                config: config.clone(),
                initial_state: file.initial_state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
                request_id: String::new(),
            })
            .await;
        match created {
            Ok(_) => tracing::info!(connector = %name, file = %file.path.display(), "connector created"),
            Err(status) if status.code() == tonic::Code::AlreadyExists => {
                let put = PutConnectorConfigRequest { name: name.clone(), config, request_id: String::new() };
                client.put_connector_config(put).await.map_err(refused)?;
                tracing::info!(connector = %name, file = %file.path.display(), "connector configured");
            }
            Err(status) => return Err(refused(status)),
        }
    }
    Ok(())
}
