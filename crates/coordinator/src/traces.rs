//! Which trace a decision belongs to: that of the last change that somebody asked for, as far as it is recent. What
//! follows from a change follows in steps, with the words of agents in between.

use std::collections::BTreeMap;

use copyist_model::ConnectorName;
use copyist_proto::trace;
use tracing::Span;

use crate::core::{Command, Event, Statement};

/// What a change leads to later is not its trace's business.
const TRACED_MS: u64 = 120_000;

/// The traces of connectors.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    of_connectors: BTreeMap<ConnectorName, Traced>,
}

#[derive(Debug)]
struct Traced {
    traceparent: String,
    since_ms: u64,
}

impl Traces {
    /// The span in which a command is carried out. What follows from it for its connector will be in its trace.
    pub(crate) fn command(&mut self, command: &Command, caller: &Span, now_ms: u64) -> Span {
        self.of_connectors.retain(|_, traced| now_ms < traced.since_ms + TRACED_MS);
        if caller.is_none() {
            return Span::none();
        }
        let connector = connector(command);
        let name = connector.as_ref().map(ToString::to_string).unwrap_or_default();
        let span = tracing::info_span!(parent: caller, "decide", connector = name);
        if let (Some(connector), Some(traceparent)) = (connector, trace::traceparent(&span)) {
            self.of_connectors.insert(connector, Traced { traceparent, since_ms: now_ms });
        }
        span
    }

    /// The place in a trace of what an agent is told; empty: none.
    pub(crate) fn of(&self, statement: &Statement, now_ms: u64) -> String {
        let Statement::Run(run) = statement else { return String::new() };
        let Some(traced) = self.recent(&run.id.connector, now_ms) else { return String::new() };
        let span = tracing::info_span!("assign", part = %run.id);
        trace::follow(&span, &traced.traceparent);
        trace::traceparent(&span).unwrap_or_default()
    }

    /// The span in which a survey's findings become tasks.
    pub(crate) fn heard(&self, event: &Event, now_ms: u64) -> Span {
        let Event::Surveyed { connector, .. } = event else { return Span::none() };
        let Some(traced) = self.recent(connector, now_ms) else { return Span::none() };
        let span = tracing::info_span!("surveyed", %connector);
        trace::follow(&span, &traced.traceparent);
        span
    }

    fn recent(&self, connector: &ConnectorName, now_ms: u64) -> Option<&Traced> {
        self.of_connectors.get(connector).filter(|traced| now_ms < traced.since_ms + TRACED_MS)
    }
}

/// The span of a commit within what is traced; none elsewhere.
pub(crate) fn commit(writes: usize) -> Span {
    if Span::current().is_none() {
        return Span::none();
    }
    tracing::info_span!("commit", writes)
}

/// Whose tasks may run otherwise by it.
fn connector(command: &Command) -> Option<ConnectorName> {
    match command {
        Command::Create { name, .. } => name.trim().parse().ok(),
        Command::PutConfig { name, .. }
        | Command::PatchConfig { name, .. }
        | Command::Delete { name, .. }
        | Command::SetTarget { name, .. }
        | Command::Restart { name, .. }
        | Command::RestartTask { name, .. } => Some(name.clone()),
        Command::Move { id, .. } => Some(id.connector.clone()),
        Command::ForgetAgent { .. }
        | Command::DrainAgent { .. }
        | Command::BeginAlteration { .. }
        | Command::EndAlteration { .. }
        | Command::ResetTopics { .. } => None,
    }
}
