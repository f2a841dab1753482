//! The coordinator's store: one suite over both stores, then etcd alone, with its members killed, stopped, wiped, restored
//! and filled, and the network before it cut. Every etcd here is a real one.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test whose step fails has failed, and says why; a fault test tells what happened"
)]

mod election;
mod faults;
mod fixture;
mod gate;
mod lines;
mod logins;
mod outages;
mod renewals;
mod storm;
mod suite;
