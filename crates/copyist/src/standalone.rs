//! All roles in one process, over an in-process channel that speaks the same contracts as a fleet's.

use std::time::Duration;

use copyist_agent::Agent;
use copyist_coordinator::grpc::{self, Build};
use copyist_coordinator::{Coordinator, Handle};
use copyist_proto::Coordinators;
use copyist_proto::connect::connector_service_client::ConnectorServiceClient;
use copyist_proto::connect::{ConfigEntry, CreateConnectorRequest, PutConnectorConfigRequest};
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

use crate::connector_file::ConnectorFile;
use crate::error::Error;
use crate::in_process;
use crate::listen::{self, Listeners};
use crate::metrics;
use crate::settings::Settings;
use crate::shutdown::Shutdown;

/// How often an agent asks for its rights within one ttl: two answers may be lost.
const RENEWALS_PER_TTL: u32 = 3;

/// A call without a deadline of its own is answered within this.
const CALL_DEADLINE: Duration = Duration::from_secs(90);

/// How often an agent says that it is there before its silence makes it suspect.
const HEARTBEATS_PER_SUSPICION: u32 = 3;

/// Runs until the shutdown begins, then drains: the agent first, who still needs the others.
///
/// # Errors
/// What keeps the roles from starting, or ends them.
pub async fn run(
    settings: Settings,
    connector_files: Vec<ConnectorFile>,
    stop: Shutdown,
) -> Result<(), Error> {
    let listeners = listen::bind(&settings).await?;
    let registry = metrics::registry();
    let agent_metrics = copyist_agent::metrics::Metrics::register(&registry).map_err(registered_twice)?;
    let coordinator_metrics =
        copyist_coordinator::metrics::Metrics::new(&registry).map_err(registered_twice)?;
    let coordinator_settings = coordinator_settings(&settings);
    let coordinator = Coordinator::open(coordinator_settings.clone(), coordinator_metrics)
        .map_err(|error| Error::role("coordinator", error))?;

    // Outlives the shutdown's beginning: the agent drains through what it serves.
    let serving = CancellationToken::new();
    let mut roles = JoinSet::new();
    let handle = coordinator.handle();
    let coordinators = serve(&mut roles, listeners, handle, coordinator_settings, registry, &serving);
    let until = serving.clone();
    roles.spawn(
        async move { coordinator.run(until).await.map_err(|error| Error::role("coordinator", error)) },
    );

    let renew_interval = settings.agent.lease_ttl / RENEWALS_PER_TTL;
    let agent = Agent::new(settings.worker, coordinators.clone(), agent_metrics, renew_interval);
    let mut agent = tokio::spawn(agent.run(stop.token()));
    let stopped = stop.token();
    let created = tokio::select! {
        created = create_connectors(coordinators.clone(), connector_files) => created,
        () = stopped.cancelled() => Ok(()),
    };
    if created.is_err() {
        stop.begin();
    }
    let mut result = tokio::select! {
        ended = &mut agent => agent_ended(ended),
        ended = roles.join_next() => {
            // A role that ends before it was told to takes the process with it.
            stop.begin();
            let result = role_ended(ended);
            result.and(agent_ended(agent.await))
        }
    };
    coordinators.end_patience();
    serving.cancel();
    while let Some(ended) = roles.join_next().await {
        result = result.and(role_ended(Some(ended)));
    }
    created.and(result)
}

/// Starts everything that answers: gRPC inside and outside, REST, metrics. Returns the way to the coordinator inside.
fn serve(
    roles: &mut JoinSet<Result<(), Error>>,
    listeners: Listeners,
    handle: Handle,
    settings: copyist_coordinator::Settings,
    registry: prometheus::Registry,
    serving: &CancellationToken,
) -> Coordinators {
    let build = Build { version: env!("CARGO_PKG_VERSION"), commit: env!("COPYIST_COMMIT") };
    let (channel, connections) = in_process::channel();
    let coordinators = Coordinators::in_process(channel, CALL_DEADLINE);
    let inside = grpc::serve(connections, handle.clone(), settings.clone(), build.clone(), serving.clone());
    roles.spawn(async move { inside.await.map_err(|error| Error::role("coordinator", error)) });
    let connections = TcpListenerStream::new(listeners.coordinator);
    let outside = grpc::serve(connections, handle, settings, build, serving.clone());
    roles.spawn(async move { outside.await.map_err(|error| Error::role("coordinator", error)) });
    for listener in listeners.rest {
        let client = ConnectorServiceClient::new(coordinators.clone());
        let rest = copyist_gateway::serve(listener, client, serving.clone());
        roles.spawn(async move { rest.await.map_err(|error| Error::role("gateway", error)) });
    }
    let until = serving.clone();
    roles.spawn(async move {
        metrics::serve(listeners.metrics, registry, until)
            .await
            .map_err(|source| Error::System { what: "serve metrics", source })
    });
    coordinators
}

fn coordinator_settings(settings: &Settings) -> copyist_coordinator::Settings {
    copyist_coordinator::Settings {
        store_path: settings.store_path.clone(),
        lease_ttl: settings.agent.lease_ttl,
        lease_margin: settings.lease_margin,
        autonomy_max: settings.agent.autonomy_max,
        suspect: settings.agent.suspect,
        heartbeat_interval: settings.agent.suspect / HEARTBEATS_PER_SUSPICION,
    }
}

/// The connectors of the command line, as `connect-standalone` takes them: created, or set to what the file says.
async fn create_connectors(coordinators: Coordinators, files: Vec<ConnectorFile>) -> Result<(), Error> {
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

fn registered_twice(error: prometheus::Error) -> Error {
    Error::role("metrics", error)
}

fn agent_ended(ended: Result<Result<(), copyist_agent::Error>, tokio::task::JoinError>) -> Result<(), Error> {
    match ended {
        Ok(result) => result.map_err(|error| Error::role("agent", error)),
        Err(error) => Err(Error::role("agent", error)),
    }
}

fn role_ended(ended: Option<Result<Result<(), Error>, tokio::task::JoinError>>) -> Result<(), Error> {
    match ended {
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(Error::role("a role", error)),
        None => Ok(()),
    }
}
