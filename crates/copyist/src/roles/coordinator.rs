//! The coordinator of a process: its store, its decisions, and its gRPC services inside and outside.

use std::time::Duration;

use copyist_coordinator::grpc::{self, Build};
use copyist_coordinator::metrics::Metrics;
use copyist_coordinator::store::embedded::Embedded;
use copyist_coordinator::store::{Store, etcd, keys};
use copyist_coordinator::{Coordinator, Handle, Settings};
use copyist_proto::OwnLoggers;
use prometheus::Registry;
use tokio::net::TcpListener;
use tonic::transport::Channel;

use super::in_process;
use super::phase::Phase;
use super::registered_twice;
use crate::error::Error;
use crate::grpc_server::{self, Services};
use crate::settings::{Address, CoordinatorSettings, EtcdSettings, StoreSettings};

/// How often an agent says that it is there before its silence makes it suspect.
const HEARTBEATS_PER_SUSPICION: u32 = 3;

/// Starts a coordinator of the fleet `group_id`; returns the way to it within the process.
///
/// # Errors
/// When its store cannot be used.
pub fn start(
    own: &CoordinatorSettings,
    group_id: &str,
    listener: TcpListener,
    registry: &Registry,
    loggers: OwnLoggers,
    serving: &mut Phase,
) -> Result<Channel, Error> {
    let settings = settings(own, group_id);
    let handle = match &own.store {
        StoreSettings::File(path) => {
            let store = Embedded::open(path, settings.lease_ttl);
            let store = store.map_err(|error| Error::role("coordinator", error))?;
            let metrics = metrics(registry)?;
            run(Coordinator::new(store, settings.clone(), metrics), serving)
        }
        StoreSettings::Etcd { etcd, advertised, lease_ttl } => {
            let (etcd, address) =
                settings_of_etcd(etcd, advertised, *lease_ttl, group_id, &settings, &listener)?;
            // The leader resigns by what these tasks keep open.
            let (store, replica, tasks) = etcd::open(etcd, serving.after());
            serving.spawn_after(tasks);
            let metrics = metrics(registry)?;
            run(Coordinator::of_fleet(store, replica, address, settings.clone(), metrics), serving)
        }
    };
    Ok(serve(handle, settings, loggers, listener, serving))
}

/// Decides by a store, until told to stop.
fn run(coordinator: Coordinator<impl Store>, serving: &mut Phase) -> Handle {
    let handle = coordinator.handle();
    let until = serving.token();
    serving.spawn(async move {
        coordinator.run(until).await;
        Ok(())
    });
    handle
}

fn metrics(registry: &Registry) -> Result<Metrics, Error> {
    Metrics::new(registry).map_err(registered_twice)
}

/// And where others reach this coordinator.
fn settings_of_etcd(
    own: &EtcdSettings,
    advertised: &Address,
    leader_ttl: Duration,
    group_id: &str,
    settings: &Settings,
    listener: &TcpListener,
) -> Result<(etcd::Settings, String), Error> {
    let port = match advertised.port {
        0 => listener
            .local_addr()
            .map_err(|source| Error::System { what: "find its own port", source })?
            .port(),
        port => port,
    };
    let address = Address::join(&advertised.host, port);
    let settings = etcd::Settings {
        endpoints: own.endpoints.clone(),
        prefix: format!("{}/{}", own.prefix, keys::escape(group_id)),
        user: own
            .credentials
            .as_ref()
            .map(|it| etcd::Credentials { name: it.user.clone(), password: it.password.reveal().to_owned() }),
        tls: own.tls.as_ref().map(|tls| etcd::Tls {
            ca: tls.ca.reveal().to_owned(),
            identity: tls.identity.as_ref().map(|it| etcd::Identity {
                certificate: it.certificate.reveal().to_owned(),
                key: it.key.reveal().to_owned(),
            }),
        }),
        leader_ttl,
        agent_ttl: settings.lease_ttl,
        address: address.clone(),
        incarnation: uuid::Uuid::new_v4().to_string(),
    };
    Ok((settings, address))
}

fn serve(
    handle: Handle,
    settings: Settings,
    loggers: OwnLoggers,
    listener: TcpListener,
    serving: &mut Phase,
) -> Channel {
    let build = Build { version: env!("CARGO_PKG_VERSION"), commit: env!("COPYIST_COMMIT") };
    let (routes, names, forward) = grpc::services(handle, settings, build, loggers, serving.token());
    let services = Services { routes, names: names.into(), forward };
    let (channel, connections) = in_process::channel();
    let inside = grpc_server::serve(connections, services.clone(), serving.token());
    serving.spawn(async move { inside.await.map_err(|error| Error::role("coordinator", error)) });
    let outside = grpc_server::serve(grpc_server::accepted(listener), services, serving.token());
    serving.spawn(async move { outside.await.map_err(|error| Error::role("coordinator", error)) });
    channel
}

fn settings(own: &CoordinatorSettings, group_id: &str) -> Settings {
    Settings {
        group_id: group_id.to_owned(),
        lease_ttl: own.agent_lease_ttl,
        lease_margin: own.lease_margin,
        autonomy_max: own.autonomy_max,
        suspect: own.suspect,
        heartbeat_interval: own.suspect / HEARTBEATS_PER_SUSPICION,
        // A standalone process may be given another cluster; of a fleet, an agent of another is a stranger.
        destination_may_change: matches!(own.store, StoreSettings::File(_)),
    }
}
