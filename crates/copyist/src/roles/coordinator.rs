//! The coordinator of a process: its store, its decisions, and its gRPC services inside and outside.

use copyist_coordinator::grpc::{self, Build};
use copyist_coordinator::store::Store;
use copyist_coordinator::store::embedded::Embedded;
use copyist_coordinator::{Coordinator, Handle, Settings};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Channel;

use super::in_process;
use super::phase::Phase;
use super::registered_twice;
use crate::error::Error;
use crate::settings::{CoordinatorSettings, StoreSettings};

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
    serving: &mut Phase,
) -> Result<Channel, Error> {
    let settings = settings(own);
    let handle = match &own.store {
        StoreSettings::File(path) => {
            let store = Embedded::open(path, settings.lease_ttl);
            let store = store.map_err(|error| Error::role("coordinator", error))?;
            run(store, settings.clone(), registry, serving)?
        }
        // Here etcd's store is opened: `copyist_coordinator::store::etcd::open`.
        StoreSettings::Etcd { etcd, .. } => {
            let text = format!("fleet {group_id}: {} is not spoken to yet", etcd.endpoints.join(", "));
            return Err(Error::role("coordinator", text));
        }
    };
    Ok(serve(handle, settings, listener, serving))
}

/// Decides by a store, until told to stop.
fn run(
    store: impl Store,
    settings: Settings,
    registry: &Registry,
    serving: &mut Phase,
) -> Result<Handle, Error> {
    let metrics = copyist_coordinator::metrics::Metrics::new(registry).map_err(registered_twice)?;
    let coordinator = Coordinator::new(store, settings, metrics);
    let handle = coordinator.handle();
    let until = serving.token();
    serving.spawn(async move {
        coordinator.run(until).await;
        Ok(())
    });
    Ok(handle)
}

fn serve(handle: Handle, settings: Settings, listener: TcpListener, serving: &mut Phase) -> Channel {
    let build = Build { version: env!("CARGO_PKG_VERSION"), commit: env!("COPYIST_COMMIT") };
    let (channel, connections) = in_process::channel();
    let inside = grpc::serve(connections, handle.clone(), settings.clone(), build.clone(), serving.token());
    serving.spawn(async move { inside.await.map_err(|error| Error::role("coordinator", error)) });
    let connections = TcpListenerStream::new(listener);
    let outside = grpc::serve(connections, handle, settings, build, serving.token());
    serving.spawn(async move { outside.await.map_err(|error| Error::role("coordinator", error)) });
    channel
}

fn settings(own: &CoordinatorSettings) -> Settings {
    Settings {
        lease_ttl: own.agent_lease_ttl,
        lease_margin: own.lease_margin,
        autonomy_max: own.autonomy_max,
        suspect: own.suspect,
        heartbeat_interval: own.suspect / HEARTBEATS_PER_SUSPICION,
    }
}
