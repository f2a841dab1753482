//! The contracts of `proto/` as generated code, the only conversions between it and `copyist-model`, and how calls
//! find who can answer them: [`coordinators`] on the side that asks, [`forward`] on the side that is asked. And what every
//! process has for its services: its [`loggers`], and its part in a [`trace`].
//!
//! Absent on purpose: services, and any decision about connectors. Generated types never travel further than a crate's
//! edge (gRPC services, the agent's link, the store's keys, the gateway).
//!
//! Start with the `.proto` files; then [`convert`], and [`coordinators`].

pub mod convert;
pub mod coordinators;
pub mod forward;
pub mod loggers;
mod methods;
mod passing;
pub mod protocol;
pub mod record;
pub mod trace;

pub use convert::Malformed;
pub use coordinators::Coordinators;
pub use loggers::OwnLoggers;
pub use passing::{NOT_BEGUN, REQUEST_BYTES_MAX, TIMED_OUT, not_begun};
pub use protocol::CONTROL_PROTOCOL_VERSION;

/// `copyist.connect.v1`: management, in Connect's words.
pub mod connect {
    #[allow(clippy::all, clippy::wildcard_enum_match_arm, missing_docs, reason = "generated")]
    mod generated {
        tonic::include_proto!("copyist.connect.v1");
    }
    pub use generated::*;
}

/// `copyist.control.v1`: between coordinator and agents.
pub mod control {
    #[allow(clippy::all, clippy::wildcard_enum_match_arm, missing_docs, reason = "generated")]
    mod generated {
        tonic::include_proto!("copyist.control.v1");
    }
    pub use generated::*;
}

/// `copyist.store.v1`: the values of the store's keys.
pub mod store {
    #[allow(clippy::all, missing_docs, reason = "generated")]
    mod generated {
        tonic::include_proto!("copyist.store.v1");
    }
    pub use generated::*;
}

/// The compiled descriptors of all packages, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The version of the stored formats that this program writes, and the newest that it reads.
pub const STORE_FORMAT_VERSION: u32 = 1;
