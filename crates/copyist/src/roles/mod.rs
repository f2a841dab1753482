//! The roles of a process, wired together: those that its settings have.
//!
//! Within a process that has a coordinator, the others reach it over pipes that speak the same contracts as a
//! fleet's sockets. A process drains in phases: the agent first, which still needs a coordinator; then the gateway,
//! which answers what it has; then the coordinator, which resigns, and all else that answers.

mod coordinator;
mod given_connectors;
mod in_process;
mod phase;

use std::time::Duration;

use copyist_agent::Agent;
use copyist_gateway::Gateway;
use copyist_proto::connect::{connector_service_server, fleet_service_server};
use copyist_proto::forward::{ForwardLayer, Target};
use copyist_proto::{Coordinators, OwnLoggers};
use prometheus::Registry;
use tokio::net::TcpListener;
use tonic::transport::Channel;

use crate::connector_file::ConnectorFile;
use crate::error::Error;
use crate::grpc_server::{self, Services};
use crate::listen;
use crate::metrics;
use crate::settings::{AgentSettings, Settings};
use crate::shutdown::Shutdown;
use phase::Phase;

/// How often an agent asks for its rights within one ttl: two answers may be lost.
const RENEWALS_PER_TTL: u32 = 3;

/// A call without a deadline of its own is answered within this.
const CALL_DEADLINE: Duration = Duration::from_secs(90);

/// Runs until the shutdown begins, then drains.
///
/// # Errors
/// What keeps a role from starting, or ends it.
pub async fn run(
    settings: Settings,
    connector_files: Vec<ConnectorFile>,
    loggers: OwnLoggers,
    stop: Shutdown,
) -> Result<(), Error> {
    let listeners = listen::bind(&settings).await?;
    let registry = metrics::registry();
    let (mut copying, mut answering, mut serving) = (Phase::default(), Phase::default(), Phase::default());
    let mut inside = None;
    if let (Some(own), Some(listener)) = (&settings.coordinator, listeners.coordinator) {
        inside = Some(coordinator::start(
            own,
            &settings.group_id,
            listener,
            &registry,
            loggers.clone(),
            &mut serving,
        )?);
    }
    serve_metrics(listeners.metrics, registry.clone(), &mut serving);
    let mut result = Ok(());
    // What serves it within the process goes on as long as somebody could ask there.
    let _asks_inside = inside.clone();
    let coordinators = reach(&settings, inside)?;
    if let Some(coordinators) = coordinators.clone() {
        for (listener, surface) in listeners.rest {
            let gateway = Gateway::new(coordinators.clone(), loggers.clone(), surface);
            // Where there is a listener, there are a gateway's settings.
            let gateway = match &settings.gateway {
                Some(own) => gateway.tracking(own.tracking),
                None => gateway,
            };
            let rest = copyist_gateway::serve(listener, gateway, answering.token());
            answering.spawn(async move { rest.await.map_err(|error| Error::role("gateway", error)) });
        }
        if let Some(listener) = listeners.gateway {
            serve_grpc("gateway", listener, passed_on(coordinators.clone()), &mut answering);
        }
        if let Some(listener) = listeners.agent {
            serve_grpc("agent", listener, Services::none(), &mut serving);
        }
        if let Some(own) = settings.agent {
            start_agent(own, coordinators.clone(), &registry, loggers, &mut copying)?;
        }
        result = tokio::select! {
            created = given_connectors::create(coordinators, connector_files) => created,
            () = stop.begun() => Ok(()),
        };
    }
    if result.is_ok() {
        // A role that ends before it was told to takes the process with it.
        result = tokio::select! {
            () = stop.begun() => Ok(()),
            Some(ended) = copying.ended() => ended,
            Some(ended) = answering.ended() => ended,
            Some(ended) = serving.ended() => ended,
        };
    }
    stop.begin();
    result = result.and(copying.end().await);
    // Whom nobody has answered by now is asked no more.
    coordinators.iter().for_each(Coordinators::end_patience);
    for phase in [answering, serving] {
        result = result.and(phase.end().await);
    }
    result
}

/// How the agent and the gateway of this process reach coordinators; nothing: it has neither.
fn reach(settings: &Settings, inside: Option<Channel>) -> Result<Option<Coordinators>, Error> {
    match (settings.coordinators.as_slice(), inside) {
        ([], None) => Ok(None),
        ([], Some(channel)) => Ok(Some(Coordinators::in_process(channel, CALL_DEADLINE))),
        (addresses, Some(_) | None) => {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            let reached = Coordinators::new(&addresses, CALL_DEADLINE);
            reached.map(Some).map_err(|error| Error::role("process", error))
        }
    }
}

fn start_agent(
    settings: AgentSettings,
    coordinators: Coordinators,
    registry: &Registry,
    loggers: OwnLoggers,
    copying: &mut Phase,
) -> Result<(), Error> {
    let metrics = copyist_agent::metrics::Metrics::register(registry).map_err(registered_twice)?;
    let renew_interval = settings.lease_ttl / RENEWALS_PER_TTL;
    let agent = Agent::new(settings.worker, coordinators, metrics, loggers, renew_interval);
    let agent = agent.run(copying.token());
    copying.spawn(async move { agent.await.map_err(|error| Error::role("agent", error)) });
    Ok(())
}

/// The management API at the gateway: any coordinator answers.
fn passed_on(coordinators: Coordinators) -> Services {
    const PREFIX: &str = "/copyist.connect.v1.";
    let to = move |_: &str| Target::Coordinators(coordinators.clone());
    let names = vec![connector_service_server::SERVICE_NAME, fleet_service_server::SERVICE_NAME];
    Services { names, forward: ForwardLayer::new("gateway", &[PREFIX], to), ..Services::none() }
}

fn serve_grpc(role: &'static str, listener: TcpListener, services: Services, phase: &mut Phase) {
    let served = grpc_server::serve(grpc_server::accepted(listener), services, phase.token());
    phase.spawn(async move { served.await.map_err(|error| Error::role(role, error)) });
}

fn serve_metrics(listener: TcpListener, registry: Registry, serving: &mut Phase) {
    let served = metrics::serve(listener, registry, serving.token());
    serving
        .spawn(async move { served.await.map_err(|source| Error::System { what: "serve metrics", source }) });
}

fn registered_twice(error: prometheus::Error) -> Error {
    Error::role("metrics", error)
}
