//! What a trace shows of a task's beginning: until it had fetched its first records, and until the first were
//! acknowledged.

use copyist_model::AssignmentId;
use copyist_proto::trace;
use tracing::Span;

/// Spans that end with what they wait for, or with the task.
#[derive(Debug, Default)]
pub struct Firsts {
    fetch: Option<Span>,
    acknowledgement: Option<Span>,
}

impl Firsts {
    /// The task starts; nothing is told of it without a trace to tell it in.
    pub fn begin(id: &AssignmentId, traceparent: &str) -> Self {
        if traceparent.is_empty() {
            return Self::default();
        }
        let (fetch, acknowledgement) = (
            tracing::info_span!("first fetch", part = %id),
            tracing::info_span!("first acknowledgement", part = %id),
        );
        trace::follow(&fetch, traceparent);
        trace::follow(&acknowledgement, traceparent);
        Self { fetch: Some(fetch), acknowledgement: Some(acknowledgement) }
    }

    pub fn fetched(&mut self) {
        self.fetch = None;
    }

    pub fn acknowledged(&mut self) {
        self.acknowledgement = None;
    }
}
