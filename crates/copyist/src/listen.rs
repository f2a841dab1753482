//! The listeners: bound before anything runs, so that a wrong address costs nothing.

use std::fmt;
use std::io;

use tokio::net::TcpListener;

use crate::error::Error;
use crate::port_holder::{self, PortHolder};
use crate::settings::{Address, Settings};

/// Bound, and not yet answering.
#[derive(Debug)]
pub struct Listeners {
    /// Connect's REST API; one or more.
    pub rest: Vec<TcpListener>,
    /// gRPC.
    pub coordinator: TcpListener,
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
    let mut unbound = Vec::new();
    let mut rest = Vec::new();
    for address in &settings.listeners {
        rest.extend(keep(bind_one("listeners", address).await, &mut unbound));
    }
    let coordinator = keep(bind_one("coordinator.listen", &settings.coordinator_listen).await, &mut unbound);
    let metrics = keep(bind_one("metrics.listen", &settings.metrics_listen).await, &mut unbound);
    match (coordinator, metrics) {
        (Some(coordinator), Some(metrics)) if unbound.is_empty() => {
            for listener in &rest {
                tracing::info!("REST API: http://{} (listeners)", local_address(listener));
            }
            tracing::info!("gRPC: {} (coordinator.listen)", local_address(&coordinator));
            tracing::info!("metrics: http://{}/metrics (metrics.listen)", local_address(&metrics));
            Ok(Listeners { rest, coordinator, metrics })
        }
        (Some(_) | None, Some(_) | None) => Err(Error::Listen(unbound)),
    }
}

fn keep(bound: Result<TcpListener, Unbound>, unbound: &mut Vec<Unbound>) -> Option<TcpListener> {
    bound.map_err(|error| unbound.push(error)).ok()
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
