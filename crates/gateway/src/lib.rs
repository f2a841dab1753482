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
//! `handlers`.

mod document;
mod exchange;
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
mod trace;

use copyist_proto::Coordinators;
use copyist_proto::connect::connector_service_client::ConnectorServiceClient;

pub use serve::{Error, serve};

/// How to reach the management API.
type Client = ConnectorServiceClient<Coordinators>;

/// The largest gRPC answer that is read: a listing with every connector's config and status can exceed tonic's 4 MiB.
const ANSWER_MAX_BYTES: usize = 256 << 20;

/// Connect's REST API, each request one call of `client`.
pub fn router(client: ConnectorServiceClient<Coordinators>) -> axum::Router {
    let client = client.max_decoding_message_size(ANSWER_MAX_BYTES);
    // Not axum's own routing: Connect's rules on encoded slashes, matrix parameters and empty segments need the
    // raw path.
    let router = axum::Router::new().fallback(exchange::answer).with_state(client);
    router.layer(axum::middleware::from_fn(trace::traced))
}
