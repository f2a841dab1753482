//! Connect's REST on the wire: literal requests and answers against the served router, whose management API is a
//! real gRPC server with a small memory.

#![expect(clippy::expect_used, reason = "a test that cannot go on says why")]

mod crowd;
mod double;
mod loggers;
mod plugins;
mod rules;
mod samples;
mod time;
mod topics;
mod wire;
