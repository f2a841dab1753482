mod proposals;
mod rights;
mod stating;
mod stores;
mod telling;

use std::time::Duration;

use copyist_model::{ConnectorGeneration, Engine, LaneEnd, LaneHeld, LaneRecord, StoreRevision, TopicId};

use super::*;

const TTL_MS: u64 = 10_000;
const AUTONOMY_MS: u64 = 600_000;

fn id() -> AssignmentId {
    AssignmentId::task(&"c".parse().unwrap(), 0)
}

fn epoch(revision: u64) -> AssignmentEpoch {
    AssignmentEpoch { incarnation: 1, revision: StoreRevision(revision) }
}

fn run(epoch_revision: u64, revision: u64) -> Run {
    let order = Order { revision: TaskRevision(revision), ..Order::from_nowhere("auto") };
    Run { id: id(), epoch: epoch(epoch_revision), order, previous_right_wait_ms: 0 }
}

fn welcome() -> Event {
    welcome_to("s")
}

fn welcome_to(store_id: &str) -> Event {
    Event::Welcome { store_id: store_id.to_owned(), autonomy_max_ms: AUTONOMY_MS }
}

fn stated(run: Run) -> Event {
    Event::Run(Box::new(run))
}

fn renewed(sent_ms: u64, held: &[u64]) -> Event {
    let held = held.iter().map(|revision| (id(), epoch(*revision))).collect();
    Event::Renewed { sent_ms, ttl_ms: TTL_MS, held }
}

fn ended(revision: u64) -> Event {
    Event::Job(JobEvent::Ended { id: id(), epoch: epoch(revision) })
}

fn status(revision: u64, state: InstanceState) -> Event {
    Event::Job(JobEvent::Status { id: id(), epoch: epoch(revision), state, trace: String::new() })
}

fn findings() -> Findings {
    Findings {
        generation: ConnectorGeneration(1),
        source_cluster: "s".parse().unwrap(),
        destination_cluster: "d".parse().unwrap(),
        topics: Vec::new(),
    }
}

fn released(revision: u64) -> Effect {
    Effect::Tell(Saying::Released { id: id(), epoch: epoch(revision) })
}

fn release(revision: u64) -> Event {
    Event::Release { id: id(), epoch: epoch(revision) }
}

fn right(ends_ms: u64, free_ms: u64) -> Right {
    Right { ends_at: Duration::from_millis(ends_ms), free_at: Duration::from_millis(free_ms) }
}

/// With the right that a question of `sent_ms` brought.
fn start(of: Run, sent_ms: u64) -> Effect {
    Effect::Start { id: id(), epoch: of.epoch, order: of.order, right: right(sent_ms + TTL_MS, 0) }
}

fn right_until(ends_ms: u64) -> Effect {
    Effect::Right { id: id(), right: right(ends_ms, 0) }
}

fn withdrawn() -> Effect {
    right_until(0)
}

fn draining() -> Effect {
    Effect::Tell(Saying::Draining)
}

fn drained() -> Effect {
    Effect::Tell(Saying::Drained)
}

fn stop() -> Effect {
    Effect::Stop { id: id() }
}

/// A core that runs the part under epoch 5, with a right from 0 to the ttl.
fn running() -> Core {
    let mut core = Core::default();
    assert_eq!(core.step(0, welcome()), [Effect::Renew]);
    assert_eq!(core.step(0, stated(run(5, 1))), [Effect::Renew]);
    assert_eq!(core.step(0, renewed(0, &[5])), [start(run(5, 1), 0)]);
    core
}

/// One that waits for its right under epoch 5.
fn waiting() -> Core {
    let mut core = Core::default();
    assert_eq!(core.step(0, welcome()), [Effect::Renew]);
    assert_eq!(core.step(0, stated(run(5, 1))), [Effect::Renew]);
    core
}

/// One whose job has broken under epoch 5.
fn broken() -> Core {
    let mut core = running();
    core.step(1, ended(5));
    core
}

/// One whose job under epoch 5 stops.
fn stopping() -> Core {
    let mut core = running();
    assert_eq!(core.step(1, release(5)), [stop()]);
    core
}

/// One whose job under epoch 5 stops, and is to be followed by one under epoch 9.
fn followed() -> Core {
    let mut core = running();
    assert_eq!(core.step(1, stated(run(9, 1))), [stop()]);
    core
}
