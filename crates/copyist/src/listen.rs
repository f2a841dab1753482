//! The listeners: bound before anything runs, so that a wrong address costs nothing.

use std::fmt;
use std::io;

use copyist_gateway::Surface;
use tokio::net::TcpListener;

use crate::error::Error;
use crate::port_holder::{self, PortHolder};
use crate::settings::{Address, Administration, Settings};

/// Bound, and not yet answering: those of the roles that the process has.
#[derive(Debug)]
pub struct Listeners {
    /// Connect's REST API, and which part of it.
    pub rest: Vec<(TcpListener, Surface)>,
    /// gRPC.
    pub coordinator: Option<TcpListener>,
    /// gRPC.
    pub agent: Option<TcpListener>,
    /// gRPC.
    pub gateway: Option<TcpListener>,
    pub metrics: TcpListener,
}

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct Unbound {
    pub key: &'static str,
    pub address: Address,
    pub holder: Option<PortHolder>,
    pub source: io::Error,
}

impl fmt::Display for Unbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, address, holder, source } = self;
        write!(f, "{key}: cannot listen on {address}: ")?;
        match (source.kind(), holder) {
            (io::ErrorKind::AddrInUse, Some(holder)) => write!(f, "the port is in use by {holder}")?,
            (io::ErrorKind::AddrInUse, None) => {
                write!(f, "the port is in use (by whom, the user of this process may not see)")?;
            }
            _ => write!(f, "{source}")?,
        }
        write!(f, "; choose another address by {key}")
    }
}

/// Binds every listener of the settings; logs one line for each.
///
/// # Errors
/// [`Error::Listen`] with every address that cannot be had.
pub async fn bind(settings: &Settings) -> Result<Listeners, Error> {
    let coordinator = settings.coordinator.as_ref().map(|coordinator| &coordinator.listen);
    let agent = settings.agent.as_ref().and_then(|agent| agent.listen.as_ref());
    let gateway = settings.gateway.as_ref().and_then(|gateway| gateway.listen.as_ref());
    let mut binder = Binder::default();
    let mut rest = Vec::new();
    if let Some(gateway) = &settings.gateway {
        let (surface, separate) = match &gateway.administration {
            Administration::Beside => (Surface::Everything, &[][..]),
            Administration::Off => (Surface::WithoutAdministration, &[][..]),
            Administration::At(addresses) => (Surface::WithoutAdministration, addresses.as_slice()),
        };
        for address in &gateway.listeners {
            let bound = binder.bind("REST API: http://", "listeners", "", Some(address)).await;
            rest.extend(bound.map(|listener| (listener, surface)));
        }
        for address in separate {
            let bound =
                binder.bind("REST API: http://", "admin.listeners", "/admin/loggers", Some(address)).await;
            rest.extend(bound.map(|listener| (listener, Surface::AdministrationAlone)));
        }
    }
    let coordinator = binder.bind("gRPC: ", "coordinator.listen", "", coordinator).await;
    let agent = binder.bind("gRPC: ", "agent.listen", "", agent).await;
    let gateway = binder.bind("gRPC: ", "gateway.listen", "", gateway).await;
    let metrics =
        binder.bind("metrics: http://", "metrics.listen", "/metrics", Some(&settings.metrics_listen)).await;
    match metrics {
        Some(metrics) if binder.unbound.is_empty() => {
            for line in binder.lines {
                tracing::info!("{line}");
            }
            Ok(Listeners { rest, coordinator, agent, gateway, metrics })
        }
        Some(_) | None => Err(Error::Listen(binder.unbound)),
    }
}

#[derive(Default)]
struct Binder {
    unbound: Vec<Unbound>,
    /// What is said once all are bound.
    lines: Vec<String>,
}

impl Binder {
    /// Nothing, when there is nothing to bind, or it cannot be had.
    async fn bind(
        &mut self,
        before: &str,
        key: &'static str,
        after: &str,
        address: Option<&Address>,
    ) -> Option<TcpListener> {
        match bind_one(key, address?).await {
            Ok(listener) => {
                self.lines.push(format!("{before}{}{after} ({key})", local_address(&listener)));
                Some(listener)
            }
            Err(unbound) => {
                self.unbound.push(unbound);
                None
            }
        }
    }
}

async fn bind_one(key: &'static str, address: &Address) -> Result<TcpListener, Unbound> {
    let bound = if address.is_every_interface() {
        match TcpListener::bind(("::", address.port)).await {
            // A machine without IPv6.
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind(("0.0.0.0", address.port)).await
            }
            bound => bound,
        }
    } else {
        TcpListener::bind((address.host.as_str(), address.port)).await
    };
    bound.map_err(|source| {
        let in_use = source.kind() == io::ErrorKind::AddrInUse;
        let holder = in_use.then(|| port_holder::find(address.port)).flatten();
        Unbound { key, address: address.clone(), holder, source }
    })
}

fn local_address(listener: &TcpListener) -> String {
    listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_had_names_key_address_and_holder() {
        let row = |kind: io::ErrorKind, holder| Unbound {
            key: "metrics.listen",
            address: "127.0.0.1:9084".parse().unwrap(),
            holder,
            source: kind.into(),
        };
        let java = PortHolder::Process { pid: 7, command: "java".into() };
        let rows = [
            (row(io::ErrorKind::AddrInUse, Some(java)), "the port is in use by process 7 (java)"),
            (
                row(io::ErrorKind::AddrInUse, Some(PortHolder::Ourselves)),
                "the port is in use by another listener of this very process",
            ),
            (
                row(io::ErrorKind::AddrInUse, None),
                "the port is in use (by whom, the user of this process may not see)",
            ),
            (row(io::ErrorKind::PermissionDenied, None), "permission denied"),
        ];
        for (unbound, reason) in rows {
            assert_eq!(
                unbound.to_string(),
                format!(
                    "metrics.listen: cannot listen on 127.0.0.1:9084: {reason}; choose another address by metrics.listen"
                )
            );
        }
    }
}
