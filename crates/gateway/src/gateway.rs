//! What the REST API is made of, shared by all requests of a listener.

use std::sync::Arc;

use copyist_proto::connect::connector_service_client::ConnectorServiceClient;
use copyist_proto::{Coordinators, OwnLoggers};
use tokio::sync::Semaphore;

use crate::budget::Budget;

/// How to reach the management API.
pub type Client = ConnectorServiceClient<Coordinators>;

/// The largest gRPC answer that is read: a listing with every connector's config and status can exceed tonic's 4 MiB.
const ANSWER_MAX_BYTES: usize = 256 << 20;

/// Listings with every connector's config or status that are made at once: each is in memory several times.
const LISTINGS_MAX: usize = 4;

/// Which part of Connect's REST API a listener has (`admin.listeners`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    Everything,
    WithoutAdministration,
    AdministrationAlone,
}

impl Surface {
    /// Whether a path is a part of it.
    pub(crate) fn has(self, segments: &[String]) -> bool {
        let is_administration = segments.first().is_some_and(|first| first == "admin");
        match self {
            Self::Everything => true,
            Self::WithoutAdministration => !is_administration,
            Self::AdministrationAlone => is_administration,
        }
    }
}

/// What may be done with the record of active topics (`topic.tracking.enable`, `topic.tracking.allow.reset`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicTracking {
    pub enabled: bool,
    pub may_be_reset: bool,
}

/// Connect's REST API over coordinators. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gateway {
    pub(crate) client: Client,
    pub(crate) coordinators: Coordinators,
    pub(crate) loggers: OwnLoggers,
    pub(crate) surface: Surface,
    pub(crate) budget: Budget,
    pub(crate) listings: Arc<Semaphore>,
    pub(crate) tracking: TopicTracking,
}

impl Gateway {
    /// Answers by what `coordinators` say; `loggers` are those of this process.
    #[must_use]
    pub fn new(coordinators: Coordinators, loggers: OwnLoggers, surface: Surface) -> Self {
        let client = Client::new(coordinators.clone()).max_decoding_message_size(ANSWER_MAX_BYTES);
        let listings = Arc::new(Semaphore::new(LISTINGS_MAX));
        let tracking = TopicTracking { enabled: true, may_be_reset: true };
        Self { client, coordinators, loggers, surface, budget: Budget::new(), listings, tracking }
    }

    /// The same with limits to what may be done with the record of active topics.
    #[must_use]
    pub fn tracking(self, tracking: TopicTracking) -> Self {
        Self { tracking, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_has_all_or_a_part() {
        let admin = ["admin", "loggers"].map(str::to_owned);
        let other = ["connectors"].map(str::to_owned);
        let rows = [
            (Surface::Everything, true, true),
            (Surface::WithoutAdministration, false, true),
            (Surface::AdministrationAlone, true, false),
        ];
        for (surface, has_admin, has_other) in rows {
            assert_eq!((surface.has(&admin), surface.has(&other)), (has_admin, has_other), "{surface:?}");
        }
        assert!(!Surface::AdministrationAlone.has(&[]));
    }
}
