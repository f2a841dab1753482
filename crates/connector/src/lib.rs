//! Connect's keys: one table per class of connector, and what comes of a config: a typed spec with its
//! warnings, or a refusal that names every mistake at once, in Connect's own words. And what programs ask before they
//! create anything: which classes there are, which keys these have, what a config is worth.
//!
//! Absent on purpose: async, I/O, clocks, and the clusters themselves. Whether a topic exists or a broker answers
//! is the survey's business; `${provider:…}` references in client keys stay as they are, agents resolve them.
//!
//! Start with [`parse()`], then [`key`] (what a row of a table says), [`framework`], [`replicator`] and [`clients`]
//! (the tables), [`class`] (which tables a connector class has), and [`validate()`].

pub mod class;
pub mod clients;
pub mod definition;
pub mod framework;
pub mod given;
pub mod key;
pub mod kind;
pub mod parse;
pub mod plugin;
pub mod rejection;
pub mod replicator;
mod secret;
mod servers;
pub mod validate;
pub mod version;
mod warning;

pub use class::Class;
pub use parse::{Parsed, parse};
pub use rejection::{Problem, Rejection};
pub use validate::validate;
