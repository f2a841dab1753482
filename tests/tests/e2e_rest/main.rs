//! The REST API under crowds and garbage: a thousand connectors, hundreds of clients at once while leaders die, requests
//! that are none, clients that are slow or say nothing. No Kafka is needed: nothing is copied.
//!
//! `COPYIST_TEST_SEED`, `_KILLS` (of leaders), `_CLIENTS`, `_REQUESTS` (that are garbage) and `_CONNECTIONS` (that say
//! nothing) are what `tests/soak` changes.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test whose step fails has failed, and says why; one that passes tells what happened"
)]

mod clients;
mod crowd;
mod garbage;
mod hold;
mod listing;
mod loggers;
mod noise;
mod stage;
mod web;
