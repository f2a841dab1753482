//! The coordinator's store: one suite over both stores, then etcd alone, with its members killed, stopped, wiped, restored
//! and filled, and the network before it cut. Every etcd here is a real one.

mod election;
mod faults;
mod fixture;
mod gate;
mod logins;
mod outages;
mod renewals;
mod suite;
