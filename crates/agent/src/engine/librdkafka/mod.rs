//! The compatibility engine: a plain librdkafka consumer → idempotent producer, at least once.
//!
//! A task has one of each, for all its lanes. A record goes from its lane's own queue straight to the producer,
//! to the same partition number; its acknowledgement moves the lane's position, which is stored every second.
//! Whatever breaks the producer ends the *session* (both clients); the next one reads again from the positions.
//!
//! Absent on purpose: creating topics (the survey does), and any memory besides the positions.
//!
//! Pure, and worth reading first: [`lane`] (one lane), [`start`], [`refusal`] (what an error means), [`status`]
//! (what the user is told). Shells: `task` (what a task knows), `serve` (its loop), `session` (the clients), `prepare`
//! (lanes made ready), `copy` (records).

pub mod lane;
pub mod refusal;
pub mod settings;
pub mod start;
pub mod statistics;
pub mod status;

mod copy;
mod lanes;
mod prepare;
mod serve;
mod session;
mod task;

pub use self::task::run;
