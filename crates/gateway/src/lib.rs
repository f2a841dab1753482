//! Kafka Connect's REST API over the management API `copyist.connect.v1.ConnectorService`.
//!
//! A request is decided by pure functions (its path, method and media types), decoded into one gRPC call, and the
//! call's answer is encoded as Connect writes it. Clients of Connect must not notice the difference, down to the
//! order of fields; where the original is needlessly unkind (broken JSON is a 500, a `/` in a name is refused)
//! this one is kinder.
//!
//! Absent on purpose: state, decisions about connectors, the meaning of their keys, Kafka, the store. What a name
//! or a config may be is checked behind the gRPC call, so that other callers get the same answers.
//!
//! Start with `resource` (the table of what exists), then `exchange` (a request's way), `refusal` (every error), and
//! `handlers`. What a crowd of clients may cost is bounded in `serve`, `connections`, `stream` and `budget`.

mod budget;
mod connections;
mod document;
mod exchange;
mod gateway;
mod handlers;
mod input;
mod media;
mod path;
mod plugin_document;
mod query;
mod refusal;
mod reply;
mod resource;
mod serve;
mod stream;
mod trace;

pub use gateway::{Gateway, Surface, TopicTracking};
pub use serve::{Error, serve};

use gateway::Client;

/// Connect's REST API, each request one call of the management API.
pub fn router(gateway: Gateway) -> axum::Router {
    // Not axum's own routing: Connect's rules on encoded slashes, matrix parameters and empty segments need the
    // raw path.
    let router = axum::Router::new().fallback(exchange::answer).with_state(gateway);
    router.layer(axum::middleware::from_fn(trace::traced))
}
