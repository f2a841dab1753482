//! Sessions: where they are opened, how they end, what follows.

use std::time::Duration;

use copyist_model::LogLevel;
use copyist_model::{AssignmentEpoch, AssignmentId, InstanceState, StoreRevision, TaskRevision};
use copyist_proto::control as wire;
use copyist_proto::control::agent_message::Message as Said;
use copyist_proto::control::coordinator_message::Message as Stated;
use copyist_proto::protocol::{CONTROL_PROTOCOL_OLDEST, CONTROL_PROTOCOL_VERSION};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;

use super::super::{say, session};
use super::scripted::{Act, Scripted, addresses, freezable, refusing, silent};
use super::{Agent, PATIENCE, coordinators};
use crate::core::{Event, Report, Saying};

fn id() -> AssignmentId {
    AssignmentId::task(&"c".parse().unwrap(), 1)
}

fn epoch() -> AssignmentEpoch {
    AssignmentEpoch { incarnation: 1, revision: StoreRevision(5) }
}

fn welcomed() -> Event {
    Event::Welcome { store_id: "s".to_owned(), autonomy_max_ms: 7 }
}

/// Waits for a word that is no heartbeat.
async fn heard(said: &mut mpsc::Receiver<Said>) -> Said {
    loop {
        let word = tokio::time::timeout(PATIENCE, said.recv()).await.expect("the agent speaks in time");
        let word = word.expect("the coordinator goes on");
        if !matches!(word, Said::Heartbeat(_)) {
            return word;
        }
    }
}

async fn hello(said: &mut mpsc::Receiver<Said>) -> wire::Hello {
    let word = heard(said).await;
    let Said::Hello(hello) = word else { panic!("no Hello: {word:?}") };
    hello
}

#[tokio::test]
async fn a_leader_that_is_named_is_followed_whether_it_is_listed_or_not() {
    let (leader, mut said) = Scripted::acting([Act::Hold(Vec::new())]);
    let leader_address = leader.serve().await;
    let (follower, mut asked) = Scripted::acting([Act::Redirect(leader_address)]);
    let mut agent = Agent::holding(addresses(&[&follower]).await);
    assert_eq!(agent.event().await, welcomed());
    let hello = hello(&mut said).await;
    let versions = (hello.protocol_version_oldest, hello.protocol_version);
    assert_eq!(
        (hello.agent_id.as_str(), versions),
        ("a:1", (CONTROL_PROTOCOL_OLDEST, CONTROL_PROTOCOL_VERSION))
    );
    assert!(asked.try_recv().is_ok(), "the follower was asked first");
    agent.stop().await;
}

#[tokio::test]
async fn an_agent_is_the_scribe_while_it_is_told_so_and_no_longer_than_its_session() {
    let duty = |is_scribe, mark: &str| wire::CoordinatorMessage {
        message: Some(Stated::Scribe(wire::Scribe { is_scribe, mark: mark.into() })),
    };
    let rows = [
        (vec![duty(true, "s/0")], Some("s/0")),
        (vec![duty(true, "s/0"), duty(true, "s/1")], Some("s/1")),
        (vec![duty(true, "s/0"), duty(false, "s/0")], None),
    ];
    for (stated, expected) in rows {
        // What comes behind is heard once the duty was.
        let last = wire::CoordinatorMessage { message: Some(Stated::SetComplete(wire::SetComplete {})) };
        let (leader, _said) = Scripted::acting([Act::Hold(stated.into_iter().chain([last]).collect())]);
        let mut agent = Agent::holding(addresses(&[&leader]).await);
        assert_eq!((agent.event().await, agent.event().await), (welcomed(), Event::SetComplete));
        assert_eq!(agent.duty.borrow().as_deref(), expected);
        leader.act(Act::Hang);
        agent.rejoin.send(()).await.unwrap();
        let over = agent.duty.wait_for(Option::is_none);
        tokio::time::timeout(PATIENCE, over).await.expect("its session is over").unwrap();
        agent.stop().await;
    }
}

#[tokio::test]
async fn replicas_that_name_one_another_are_asked_with_waits_until_one_leads() {
    let (one, mut asked) = Scripted::acting([Act::Hang]);
    let (two, _) = Scripted::acting([Act::Hang]);
    let (first, second) = (one.serve().await, two.serve().await);
    one.act(Act::Redirect(second.clone()));
    two.act(Act::Redirect(first.clone()));
    let began = Instant::now();
    let mut agent = Agent::holding(coordinators([&first, &second]));
    for _ in 0..6 {
        hello(&mut asked).await;
    }
    // A row of three redirects without a wait reaches the first one twice, and the shortest wait is 50 ms.
    println!("six questions took {:?}", began.elapsed());
    assert!(began.elapsed() >= Duration::from_millis(50));
    one.act(Act::Hold(Vec::new()));
    assert_eq!(agent.event().await, welcomed());
    agent.stop().await;
}

#[tokio::test]
async fn who_does_not_answer_is_left() {
    let (hanging, mut asked) = Scripted::acting([Act::Hang]);
    let (leader, _said) = Scripted::acting([Act::Hold(Vec::new())]);
    let hanging = hanging.serve().await;
    for first in [refusing().await, silent().await, hanging] {
        let leader = leader.serve().await;
        let (follower, _) = Scripted::acting([Act::Redirect(first.clone()), Act::Redirect(leader.clone())]);
        let began = Instant::now();
        let mut agent = Agent::holding(addresses(&[&follower]).await);
        assert_eq!(agent.event().await, welcomed(), "{first}");
        println!("left after {:?}", began.elapsed());
        agent.stop().await;
    }
    assert!(asked.try_recv().is_ok(), "the one that hangs was asked");
}

#[tokio::test]
async fn while_nobody_leads_it_asks_on() {
    let nobody = || Act::Redirect(String::new());
    let (replica, mut said) = Scripted::acting([nobody(), nobody(), nobody(), Act::Hold(Vec::new())]);
    let mut agent = Agent::holding(addresses(&[&replica]).await);
    assert_eq!(agent.event().await, welcomed());
    for _ in 0..4 {
        hello(&mut said).await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_refusal_is_mended_without_a_restart() {
    let refuse = || Act::Refuse(Status::failed_precondition("another cluster than the fleet's"));
    let (replica, mut said) = Scripted::acting([refuse(), refuse(), Act::Hold(Vec::new())]);
    let began = Instant::now();
    let mut agent = Agent::holding(addresses(&[&replica]).await);
    assert_eq!(agent.event().await, welcomed());
    // The shortest waits are 0.5 s and 1 s.
    assert!(began.elapsed() >= Duration::from_millis(1500), "it did not hammer");
    for _ in 0..3 {
        hello(&mut said).await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_version_that_this_agent_does_not_speak_is_a_refusal() {
    let (replica, mut said) = Scripted::acting([Act::Hang]);
    let welcome = wire::Welcome { protocol_version: CONTROL_PROTOCOL_VERSION + 1, ..Default::default() };
    let (other, _) = Scripted::acting([Act::Hang]);
    other.act(Act::Welcome(welcome));
    replica.act(Act::Redirect(other.serve().await));
    let mut agent = Agent::holding(addresses(&[&replica]).await);
    hello(&mut said).await;
    hello(&mut said).await;
    assert!(agent.events.try_recv().is_err(), "no session was opened");
    replica.act(Act::Hold(Vec::new()));
    assert_eq!(agent.event().await, welcomed());
    agent.stop().await;
}

#[tokio::test]
async fn what_this_version_does_not_know_is_skipped() {
    let unknown = wire::CoordinatorMessage { message: None };
    let complete = wire::CoordinatorMessage { message: Some(Stated::SetComplete(wire::SetComplete {})) };
    let (leader, mut said) = Scripted::acting([Act::Hold(vec![unknown.clone(), unknown, complete])]);
    let mut agent = Agent::holding(addresses(&[&leader]).await);
    assert_eq!((agent.event().await, agent.event().await), (welcomed(), Event::SetComplete));
    agent.outbox.send(Saying::Draining).await.unwrap();
    hello(&mut said).await;
    assert_eq!(heard(&mut said).await, Said::Draining(wire::Draining {}), "the session goes on");
    agent.stop().await;
}

#[tokio::test]
async fn the_leader_sets_loggers_and_what_makes_no_sense_does_no_harm() {
    let set = |logger: &str, level: &str| wire::CoordinatorMessage {
        message: Some(Stated::SetLogger(wire::SetLogger { logger: logger.into(), level: level.into() })),
    };
    let complete = wire::CoordinatorMessage { message: Some(Stated::SetComplete(wire::SetComplete {})) };
    let stated = vec![set("a.b", "LOUD"), set("", "DEBUG"), set("a.b", "DEBUG"), complete];
    let (leader, _said) = Scripted::acting([Act::Hold(stated)]);
    let identity = super::identity();
    let loggers = identity.loggers.clone();
    let mut agent = Agent::of(identity, addresses(&[&leader]).await);
    assert_eq!((agent.event().await, agent.event().await), (welcomed(), Event::SetComplete));
    let level = |name: &str| loggers.get(name).map(|logger| logger.level);
    assert_eq!((level("a.b"), level("root")), (Some(LogLevel::Debug), Some(LogLevel::Info)));
    agent.stop().await;
}

#[tokio::test]
async fn a_leader_that_is_deposed_names_the_next_one_within_the_session() {
    let (next, mut said) = Scripted::acting([Act::Hold(Vec::new())]);
    let leader_address = next.serve().await;
    let redirect = Stated::Redirect(wire::Redirect { leader_address });
    let (deposed, _) =
        Scripted::acting([Act::Hold(vec![wire::CoordinatorMessage { message: Some(redirect) }])]);
    let mut agent = Agent::holding(addresses(&[&deposed]).await);
    assert_eq!((agent.event().await, agent.event().await), (welcomed(), welcomed()));
    hello(&mut said).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_session_that_ends_is_opened_again() {
    let (leader, mut said) = Scripted::acting([Act::End, Act::Hold(Vec::new())]);
    let mut agent = Agent::holding(addresses(&[&leader]).await);
    assert_eq!((agent.event().await, agent.event().await), (welcomed(), welcomed()));
    for _ in 0..2 {
        hello(&mut said).await;
    }
    agent.stop().await;
}

#[tokio::test]
async fn a_session_over_which_nothing_comes_any_more_is_left() {
    let (leader, mut said) = Scripted::acting([Act::Hold(Vec::new())]);
    let (way, freeze) = freezable(leader.serve().await).await;
    let (other, mut asked) = Scripted::acting([Act::Redirect(way)]);
    let mut agent = Agent::holding(addresses(&[&other]).await);
    assert_eq!(agent.event().await, welcomed());
    hello(&mut said).await;
    hello(&mut asked).await;
    other.act(Act::Hold(Vec::new()));
    freeze.cancel();
    let began = Instant::now();
    assert_eq!(agent.event().await, welcomed());
    hello(&mut asked).await;
    println!("left after {:?}", began.elapsed());
    agent.stop().await;
}

#[tokio::test]
async fn words_that_find_no_room_end_in_a_new_session() {
    let (leader, mut said) = Scripted::acting([Act::Deaf, Act::Hold(Vec::new())]);
    let mut agent = Agent::holding(addresses(&[&leader]).await);
    assert_eq!(agent.event().await, welcomed());
    hello(&mut said).await;
    let report = Report {
        id: id(),
        epoch: epoch(),
        revision: TaskRevision(1),
        state: InstanceState::Running,
        trace: "t".repeat(8 << 10),
    };
    let mut words = 0;
    let again = loop {
        say(&agent.outbox, &agent.rejoin, Saying::Report(report.clone()));
        words += 1;
        tokio::task::yield_now().await;
        match said.try_recv() {
            Ok(Said::Heartbeat(_)) | Err(mpsc::error::TryRecvError::Empty) => {}
            other => break other,
        }
        assert!(words < 10_000_000, "the outbox is bounded");
    };
    println!("a new session after {words} words");
    assert!(matches!(again, Ok(Said::Hello(_))) && words > super::OUTBOX, "{again:?} after {words}");
    assert_eq!(agent.event().await, welcomed());
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_takes_no_words_is_left() {
    let (leader, mut said) = Scripted::acting([Act::Deaf, Act::Hold(Vec::new())]);
    let mut agent = Agent::holding(leader.in_process());
    assert_eq!(agent.event().await, welcomed());
    hello(&mut said).await;
    let began = Instant::now();
    let word = Saying::Released { id: id(), epoch: epoch() };
    let speak = async { while agent.outbox.send(word.clone()).await.is_ok() {} };
    let again = tokio::select! {
        () = speak => None,
        hello = hello(&mut said) => Some(hello),
    };
    println!("a new session after {:?}", began.elapsed());
    assert!(again.is_some() && began.elapsed() >= session::DEAF && began.elapsed() < session::DEAF * 2);
    agent.stop().await;
}

#[tokio::test]
async fn a_heartbeat_says_no_more_than_the_cluster() {
    let (leader, mut said) = Scripted::acting([Act::Hold(Vec::new())]);
    let agent = Agent::holding(addresses(&[&leader]).await);
    hello(&mut said).await;
    for _ in 0..3 {
        let word = tokio::time::timeout(PATIENCE, said.recv()).await.expect("heartbeats come").unwrap();
        assert_eq!(word, Said::Heartbeat(wire::Heartbeat { worker_cluster_id: String::new() }));
    }
    agent.stop().await;
}

#[tokio::test]
async fn the_last_words_of_an_agent_that_ends_are_heard() {
    let (leader, mut said) = Scripted::acting([Act::Hold(Vec::new())]);
    let mut agent = Agent::holding(addresses(&[&leader]).await);
    assert_eq!(agent.event().await, welcomed());
    hello(&mut said).await;
    for _ in 0..1000 {
        agent.outbox.try_send(Saying::Released { id: id(), epoch: epoch() }).unwrap();
    }
    agent.stop().await;
    let released = wire::Released { id: Some((&id()).into()), epoch: Some(epoch().into()) };
    for _ in 0..1000 {
        assert_eq!(heard(&mut said).await, Said::Released(released.clone()));
    }
}

#[tokio::test]
async fn an_agent_whose_ends_are_gone_parts_as_well_and_opens_no_other_session() {
    let (leader, mut said) = Scripted::acting([Act::Hold(Vec::new())]);
    let mut agent = Agent::holding(addresses(&[&leader]).await);
    assert_eq!(agent.event().await, welcomed());
    hello(&mut said).await;
    for _ in 0..100 {
        agent.outbox.try_send(Saying::Draining).unwrap();
    }
    let Agent { outbox, rejoin, events, link, .. } = agent;
    drop((outbox, rejoin, events));
    tokio::time::timeout(PATIENCE, link).await.expect("it ends without being told").unwrap();
    for _ in 0..100 {
        assert_eq!(heard(&mut said).await, Said::Draining(wire::Draining {}));
    }
    drop(leader);
    assert!(said.try_recv().is_err(), "and that is all");
}

#[tokio::test]
async fn an_agent_that_ends_does_not_wait_for_a_coordinator_that_hears_nothing() {
    let (leader, _said) = Scripted::acting([Act::Deaf]);
    let mut agent = Agent::holding(addresses(&[&leader]).await);
    assert_eq!(agent.event().await, welcomed());
    let began = Instant::now();
    agent.stop().await;
    assert!(began.elapsed() >= session::PARTING && began.elapsed() < PATIENCE / 2);
}

#[tokio::test]
async fn what_was_released_is_told_to_the_next_leader_when_there_is_none_at_the_end() {
    let nobody = || Act::Redirect(String::new());
    let released = Saying::Released { id: id(), epoch: epoch() };
    for acts in [
        // There is no session; or one that breaks while the last words are said.
        vec![nobody(), nobody(), nobody(), nobody(), Act::Hold(Vec::new())],
        vec![Act::End, nobody(), Act::Hold(Vec::new())],
    ] {
        let (leader, mut said) = Scripted::acting(acts);
        let agent = Agent::holding(addresses(&[&leader]).await);
        hello(&mut said).await;
        agent.outbox.try_send(Saying::Draining).unwrap();
        agent.outbox.try_send(released.clone()).unwrap();
        agent.outbox.try_send(Saying::Drained).unwrap();
        agent.stop().await;
        let mut last = Vec::new();
        while let Ok(word) = said.try_recv() {
            last.push(word);
        }
        let word = wire::Released { id: Some((&id()).into()), epoch: Some(epoch().into()) };
        let expected =
            [Said::Draining(wire::Draining {}), Said::Released(word), Said::Drained(wire::Drained {})];
        assert!(last.ends_with(&expected), "{last:?}");
    }
}

#[tokio::test]
async fn what_nobody_is_there_to_hear_is_not_said_for_ever() {
    let (replica, mut said) = Scripted::acting([Act::Redirect(String::new())]);
    let agent = Agent::holding(addresses(&[&replica]).await);
    hello(&mut said).await;
    agent.outbox.try_send(Saying::Draining).unwrap();
    agent.outbox.try_send(Saying::Released { id: id(), epoch: epoch() }).unwrap();
    let began = Instant::now();
    agent.stop().await;
    assert!(began.elapsed() >= session::LOOKING && began.elapsed() < PATIENCE / 2);
}

#[tokio::test]
async fn questions_are_handed_on_and_answers_said_in_the_session_in_which_they_are_found() {
    let query =
        |id| wire::CoordinatorMessage { message: Some(Stated::Query(wire::Query { id, question: None })) };
    // There is room for one: the others are not answered.
    let (leader, mut said) =
        Scripted::acting([Act::Hold(vec![query(1), query(2)]), Act::Hold(vec![query(3)])]);
    let mut agent = Agent::holding(addresses(&[&leader]).await);
    assert_eq!(agent.event().await, welcomed());
    hello(&mut said).await;
    assert_eq!(agent.queries.recv().await.map(|(_, query)| query.id), Some(1));
    let answer = |query_id| wire::Answer { query_id, ..Default::default() };
    agent.answers.send(answer(1)).await.unwrap();
    assert_eq!(heard(&mut said).await, Said::Answer(answer(1)));

    agent.rejoin.send(()).await.unwrap();
    assert_eq!(agent.event().await, welcomed());
    hello(&mut said).await;
    assert_eq!(agent.queries.recv().await.map(|(_, query)| query.id), Some(3));
    agent.answers.send(answer(3)).await.unwrap();
    assert_eq!(heard(&mut said).await, Said::Answer(answer(3)));
    agent.stop().await;
}
