//! What a process is for: by its role it reads its keys of a worker file that all roles may share.

/// What a process does, as the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything, with a store of its own.
    Standalone,
    /// A coordinator, an agent and a gateway of a fleet in one process.
    Distributed,
    Coordinator,
    Agent,
    Gateway,
}

pub const ALL: &[Role] =
    &[Role::Standalone, Role::Distributed, Role::Coordinator, Role::Agent, Role::Gateway];
/// Those that decide.
pub const COORDINATORS: &[Role] = &[Role::Standalone, Role::Distributed, Role::Coordinator];
/// Those that reach the worker's cluster.
pub const WORKERS: &[Role] = &[Role::Standalone, Role::Distributed, Role::Agent];
/// Those that serve Connect's REST API.
pub const REST: &[Role] = &[Role::Standalone, Role::Distributed, Role::Gateway];
/// Those that keep what they know in etcd.
pub const REPLICAS: &[Role] = &[Role::Distributed, Role::Coordinator];
/// Those that belong to a fleet.
pub const FLEET: &[Role] = &[Role::Distributed, Role::Coordinator, Role::Agent, Role::Gateway];

impl Role {
    /// As the command line names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Distributed => "distributed",
            Self::Coordinator => "coordinator",
            Self::Agent => "agent",
            Self::Gateway => "gateway",
        }
    }

    #[must_use]
    pub fn is_one_of(self, roles: &[Self]) -> bool {
        roles.contains(&self)
    }
}
