//! The words of Copyist as types: names, lanes, epochs, states, and the typed spec of a connector.
//!
//! Absent on purpose: async, I/O, clocks, randomness, generated code, and Connect's keys. A word lives here
//! when at least two crates say it. Values are parsed once, at the edge, and trusted from there on.
//!
//! Start with [`lane`] (what is copied), then [`epoch`] (who may), then [`spec`] (what a connector wants).

pub mod client;
pub mod epoch;
pub mod labels;
pub mod lane;
pub mod logger;
pub mod name;
pub mod properties;
pub mod record;
pub mod reference;
pub mod rename;
pub mod spec;
pub mod state;
pub mod zookeeper;

pub use client::ClientProperties;
pub use epoch::{AssignmentEpoch, ConnectorGeneration, LaneGeneration, StoreRevision, TaskRevision};
pub use lane::{LaneId, LaneStart, PartitionSet, TaskLanes, TopicLanes};
pub use logger::{LogLevel, Logger, LoggerFault, Loggers};
pub use name::{AgentId, AssignmentId, ClusterId, ConnectorName, InvalidName, Part, TaskId, TopicName};
pub use record::{Engine, LaneEnd, LaneHeld, LaneRecord, Position, TopicId};
pub use reference::Reference;
pub use rename::RenameFormat;
pub use spec::{
    AgentChoice, ConnectorSpec, Destination, EngineChoice, LossPolicy, OffsetReset, TopicCreation,
    TopicPattern, TopicSelection, ZooKeepers,
};
pub use state::{InstanceState, TargetState};
pub use zookeeper::ZooKeeper;
