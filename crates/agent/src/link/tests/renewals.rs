//! Rights: who is asked for them, and from when they count.

use std::collections::BTreeMap;
use std::time::Duration;

use tonic::Status;

use super::scripted::{Answer, Scripted, addresses, refusing, silent};
use super::{Agent, coordinators};
use crate::core::Event;
use crate::driver::boot_ms;

/// Long: questions are asked when a test wants them.
const INTERVAL: Duration = Duration::from_secs(60);

/// When the question was asked that this answers.
fn sent_ms(event: Event) -> u64 {
    let Event::Renewed { sent_ms, ttl_ms: 10_000, held } = event else { panic!("no right: {event:?}") };
    assert_eq!(held, BTreeMap::new());
    sent_ms
}

#[tokio::test]
async fn rights_are_asked_for_in_intervals_and_at_once_when_wanted() {
    let replica = Scripted::answering([Answer::Held]);
    let mut agent = Agent::renewing(addresses(&[&replica]).await, Duration::from_millis(100));
    let (first, second) = (sent_ms(agent.event().await), sent_ms(agent.event().await));
    assert!(second >= first + 100, "{first} {second}");
    agent.stop().await;
    let mut agent = Agent::renewing(addresses(&[&replica]).await, INTERVAL);
    agent.renew.send(()).await.unwrap();
    sent_ms(agent.event().await);
    agent.stop().await;
}

#[tokio::test]
async fn the_next_coordinator_is_asked_when_one_fails_and_remembered_when_it_answers() {
    let unavailable = Answer::Fail(Status::unavailable("etcd is not reached"));
    let (cut_off, good) = (Scripted::answering([unavailable]), Scripted::answering([Answer::Held]));
    let (one, two) = (cut_off.serve().await, good.serve().await);
    let mut agent = Agent::renewing(coordinators([refusing().await, one, two]), INTERVAL);
    for _ in 0..5 {
        agent.renew.send(()).await.unwrap();
        sent_ms(agent.event().await);
    }
    // It begins at any of the three, and stays with the one that answers.
    assert!(good.asked() == 5 && cut_off.asked() <= 1, "{} {}", good.asked(), cut_off.asked());
    agent.stop().await;
}

#[tokio::test]
async fn who_is_silent_costs_less_than_a_right_lasts_and_the_right_counts_from_the_question_answered() {
    let (hanging, good) = (Scripted::answering([Answer::Hang]), Scripted::answering([Answer::Held]));
    let (one, two) = (hanging.serve().await, good.serve().await);
    let stopped = silent().await;
    // Of a right of 10 s.
    let interval = Duration::from_millis(3333);
    let (mut hung, mut rounds) = (0, 0);
    // Each begins at any of the three.
    while hung == 0 || rounds < 5 {
        rounds += 1;
        assert!(rounds < 100, "the one that hangs is asked sometimes");
        let mut agent = Agent::renewing(coordinators([&one, &two, &stopped]), interval);
        let (began, before) = (boot_ms(), hanging.asked());
        agent.renew.send(()).await.unwrap();
        let sent = sent_ms(agent.event().await);
        println!("answered after {} ms, sent after {} ms", boot_ms() - began, sent - began);
        assert!(boot_ms() - began < 6667, "two of three are dead, and the right is not over");
        if hanging.asked() > before {
            hung += 1;
            let asked_ms = *hanging.asked_ms.lock().unwrap().last().unwrap();
            assert!(sent >= asked_ms + 1900, "asked anew: {asked_ms} {sent}");
        }
        agent.stop().await;
    }
}

#[tokio::test]
async fn a_slow_answer_counts_while_others_are_asked_already() {
    let slow = Scripted::answering([Answer::After(Duration::from_millis(1000))]);
    let hanging = Scripted::answering([Answer::Hang]);
    let mut agent = Agent::renewing(addresses(&[&slow, &hanging]).await, Duration::from_millis(400));
    let sent = sent_ms(agent.event().await);
    let first = slow.asked_ms.lock().unwrap()[0];
    assert!(sent <= first, "the first question to it is the one that was answered: {sent} {first}");
    assert!(hanging.asked() > 0, "the other one was asked meanwhile");
    agent.stop().await;
}

#[tokio::test]
async fn a_lease_that_is_gone_is_an_answer() {
    let gone = Scripted::answering([Answer::Fail(Status::not_found("agent a:1 has no lease"))]);
    let mut agent = Agent::renewing(addresses(&[&gone]).await, INTERVAL);
    agent.renew.send(()).await.unwrap();
    assert_eq!(agent.event().await, Event::LeaseLost);
    agent.stop().await;
}

#[tokio::test]
async fn refusals_and_outages_end_by_themselves() {
    let refused = || Answer::Fail(Status::failed_precondition("a newer process has this id"));
    let outage = || Answer::Fail(Status::unavailable("etcd is not reached"));
    let replica = Scripted::answering([refused(), outage(), refused(), outage(), Answer::Held]);
    let mut agent = Agent::renewing(addresses(&[&replica]).await, INTERVAL);
    agent.renew.send(()).await.unwrap();
    sent_ms(agent.event().await);
    assert_eq!(replica.asked(), 5);
    agent.stop().await;
}

#[tokio::test]
async fn it_stops_while_nobody_answers() {
    let mut agent = Agent::renewing(coordinators([refusing().await, silent().await]), INTERVAL);
    agent.renew.send(()).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(300), agent.events.recv()).await.is_err());
    agent.stop().await;
}
