//! Calls find who can answer them, over real connections: addresses where nobody listens, where connections die, hang or
//! are never made, replicas that cannot answer, and processes that forward.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on is to panic")]

mod coordinators;
mod forward;
mod servers;
