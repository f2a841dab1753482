//! Calls find who can answer them, over real connections: addresses where nobody listens, where connections die, hang or
//! are never made, replicas that cannot answer, and processes that forward.

mod coordinators;
mod forward;
mod servers;
