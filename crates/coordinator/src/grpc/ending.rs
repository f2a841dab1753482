//! Stops and deletes are answered once every part of the connector has ended; where that takes too long, with what keeps
//! them waiting.

use std::time::Duration;

use copyist_model::{ConnectorName, TargetState};
use tonic::Status;

use crate::core::Command;
use crate::handle::Handle;

/// The gateway gives up after Connect's 90 s.
const PATIENCE: Duration = Duration::from_secs(85);

/// Parts that are named.
const NAMED_MAX: usize = 10;

/// What Connect says then.
const TIMED_OUT: &str = "Request timed out";

pub(super) async fn delete(handle: &Handle, request: String, name: ConnectorName) -> Result<(), Status> {
    ended(handle, name.clone(), Command::Delete { request, name }).await
}

pub(super) async fn set_target(
    handle: &Handle,
    request: String,
    name: ConnectorName,
    target: TargetState,
) -> Result<(), Status> {
    ended(handle, name.clone(), Command::SetTarget { request, name, target }).await
}

/// Carries out a command after which the connector may have to end.
async fn ended(handle: &Handle, name: ConnectorName, command: Command) -> Result<(), Status> {
    let Ok(answer) = tokio::time::timeout(PATIENCE, super::command(handle, command)).await else {
        let unended = super::read(handle, move |core, _| core.unended(&name)).await?;
        return Err(Status::deadline_exceeded(late(unended)));
    };
    answer.map(|_| ())
}

fn late(unended: Option<Vec<String>>) -> String {
    let Some(mut parts) = unended.filter(|parts| !parts.is_empty()) else { return TIMED_OUT.to_owned() };
    let more = parts.len().saturating_sub(NAMED_MAX);
    parts.truncate(NAMED_MAX);
    if more > 0 {
        parts.push(format!("and {more} more"));
    }
    format!(
        "{TIMED_OUT}. The change is stored and goes on without this request; it waits: {}",
        parts.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tonic::Code;

    use super::*;
    use crate::core::{Answer, Core, Failure, Patience, View};
    use crate::handle::{Known, Message};

    #[test]
    fn who_keeps_a_stop_waiting_is_named() {
        let parts = |count: usize| Some((0..count).map(|number| format!("task {number}: busy")).collect());
        assert_eq!(late(None), "Request timed out", "whether it is stored is not known");
        assert_eq!(late(parts(0)), "Request timed out");
        let begins = "Request timed out. The change is stored and goes on without this request; it waits: task 0: busy; ";
        assert_eq!(late(parts(2)), format!("{begins}task 1: busy"));
        assert!(late(parts(10)).ends_with("; task 9: busy"));
        assert!(late(parts(12)).ends_with("; task 9: busy; and 2 more"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_passed_on_and_waited_for_no_longer_than_the_gateway_does() {
        let name: ConnectorName = "c".parse().unwrap();
        let rows = [
            (Some(Ok(Answer::Done)), None),
            (Some(Err(Failure::NotFound("no c".to_owned()))), Some((Code::NotFound, "no c"))),
            (None, Some((Code::DeadlineExceeded, TIMED_OUT))),
        ];
        for (answer, expected) in rows {
            let (sender, mut messages) = mpsc::channel(1);
            let driver = tokio::spawn(async move {
                let core = Core::new(View::default(), Patience { suspect_ms: 1, released_after_ms: 1 });
                let mut unanswered = Vec::new();
                while let Some(message) = messages.recv().await {
                    match (message, &answer) {
                        (Message::Command(_, _, reply), Some(answer)) => drop(reply.send(answer.clone())),
                        (Message::Command(_, _, reply), None) => unanswered.push(reply),
                        (Message::Read(question), _) => question(&core, &Known::default()),
                        (_, _) => panic!("neither a command nor a question"),
                    }
                }
            });
            let handle = Handle::new(sender);
            let ended = set_target(&handle, String::new(), name.clone(), TargetState::Stopped).await;
            drop(handle);
            let said = ended.err().map(|status| (status.code(), status.message().to_owned()));
            assert_eq!(said, expected.map(|(code, text)| (code, text.to_owned())));
            driver.await.unwrap();
        }
    }
}
