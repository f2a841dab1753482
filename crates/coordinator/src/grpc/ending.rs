//! Stops and deletes are answered once every part of the connector has ended; where that takes too long, with what keeps
//! them waiting.

use std::time::Duration;

use copyist_model::{ConnectorName, TargetState};
use copyist_proto::TIMED_OUT;
use tonic::Status;

use crate::core::{Command, Unended};
use crate::handle::Handle;
use crate::journal;

/// The gateway gives up after Connect's 90 s.
const PATIENCE: Duration = Duration::from_secs(85);

/// Parts that are named of each agent.
const NAMED_MAX: usize = 10;

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

fn late(unended: Option<Vec<Unended>>) -> String {
    let Some(unended) = unended.filter(|unended| !unended.is_empty()) else { return TIMED_OUT.to_owned() };
    let waits: Vec<String> = unended.iter().map(waits_for).collect();
    format!(
        "{TIMED_OUT}. The change is stored and goes on without this request; it waits for {}",
        waits.join("; for ")
    )
}

fn waits_for(Unended { agent, is_gone, parts }: &Unended) -> String {
    let mut named: Vec<String> = parts.iter().take(NAMED_MAX).map(|part| journal::named(*part)).collect();
    if parts.len() > NAMED_MAX {
        named.push(format!("{} more", parts.len() - NAMED_MAX));
    }
    let why = if *is_gone {
        "went away without a word: until its autonomy is over, it comes back, or it is declared dead (ForgetAgent)"
    } else {
        "has not confirmed their end yet"
    };
    format!("{agent} ({}), which {why}", named.join(", "))
}

#[cfg(test)]
mod tests {
    use copyist_model::Part;
    use tokio::sync::mpsc;
    use tonic::Code;

    use super::*;
    use crate::core::{Answer, Core, Failure, Patience, View};
    use crate::handle::{Known, Message};

    #[test]
    fn who_keeps_a_stop_waiting_is_named() {
        assert_eq!(late(None), "Request timed out", "whether it is stored is not known");
        assert_eq!(late(Some(Vec::new())), "Request timed out");
        let unended = |agent: &str, is_gone, parts: Vec<Part>| Unended {
            agent: agent.parse().unwrap(),
            is_gone,
            parts: parts.into_iter().collect(),
        };
        let busy = unended("a:1", false, vec![Part::Survey, Part::Task(3)]);
        let gone = unended("b:1", true, (0..12).map(Part::Task).collect());
        let expected = "Request timed out. The change is stored and goes on without this request; it waits for \
                        a:1 (survey, task 3), which has not confirmed their end yet; \
                        for b:1 (task 0, task 1, task 2, task 3, task 4, task 5, task 6, task 7, task 8, task 9, 2 more), \
                        which went away without a word: until its autonomy is over, it comes back, or it is declared dead \
                        (ForgetAgent)";
        assert_eq!(late(Some(vec![busy, gone])), expected);
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
