//! Batches come in: one session with each broker of the source, the next fetch out as soon as an answer's headers are
//! read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use copyist_kafka::{
    Code, Error, FetchAnswer, FetchLimits, FetchedPartition, Fetcher, Isolation, PartitionKey, Wanted,
};
use copyist_lane::{Event, SourceTrouble};
use tokio::time::sleep;

use super::answers;
use super::appetite::{Appetite, Served};
use super::budget::Lease;
use super::firsts::Firsts;
use super::lane::{Alive, LaneCell, LaneNumber, int32};
use super::route::{Happening, Route};
use super::sides::End;
use crate::driver::boot;

/// How long a broker may wait for records.
const MAX_WAIT: Duration = Duration::from_millis(250);
/// The first pause after a refusal, doubled up to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// A broker, and which of its fetchers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetcherId {
    broker: i32,
    slot: u32,
}

/// A fetcher and what it is to fetch.
#[derive(Debug, Default)]
pub struct FetcherCell {
    state: State,
    wanted: BTreeMap<PartitionKey, Wanted>,
    lanes: BTreeMap<PartitionKey, LaneNumber>,
    /// Counts connections: an answer of an earlier one is nobody's.
    opening: u64,
    failures: u32,
    appetite: Appetite,
    asked_at: Duration,
}

/// For whom a partition was asked for, and from where.
#[derive(Debug, Clone, Copy)]
struct Asked {
    lane: LaneNumber,
    offset: i64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Opening,
    Idle(Box<Fetcher>),
    Waiting(Box<Fetcher>),
}

impl Route {
    /// Says what is to be fetched for a lane, and by whom.
    pub(super) fn want(&mut self, number: LaneNumber) {
        let share_bytes = self.share_bytes();
        let Some(alive) = self.lanes.get_mut(&number).and_then(LaneCell::alive) else { return };
        let key = alive.source.clone();
        let id = alive.source_leader.map(|leader| FetcherId { broker: leader.broker, slot: alive.slot });
        let cell = id.and_then(|id| self.fetchers.get(&id));
        let appetite = cell.map(|cell| cell.appetite).unwrap_or_default();
        let wanted = alive.wanted(boot(), &appetite, share_bytes);
        let fetched_by = id.zip(wanted).map(|(id, _)| (id, key));
        if alive.fetched_by != fetched_by {
            self.unfetch(number);
        }
        let (Some((id, key)), Some(wanted)) = (&fetched_by, wanted) else { return };
        let cell = self.fetchers.entry(*id).or_default();
        cell.wanted.insert(key.clone(), wanted);
        cell.lanes.insert(key.clone(), number);
        cell.appetite.shared_by(cell.lanes.len());
        self.with(number, |alive| alive.fetched_by = fetched_by);
    }

    /// Nothing is to be fetched for it any more.
    pub(super) fn unfetch(&mut self, number: LaneNumber) {
        let Some(alive) = self.lanes.get_mut(&number).and_then(LaneCell::alive) else { return };
        let Some((id, key)) = alive.fetched_by.take() else { return };
        if let Some(cell) = self.fetchers.get_mut(&id).filter(|cell| cell.lanes.get(&key) == Some(&number)) {
            cell.lanes.remove(&key);
            cell.wanted.remove(&key);
        }
    }

    /// What one lane may read ahead.
    fn share_bytes(&self) -> usize {
        self.shared.budget.max_bytes() / self.lanes.len().max(1)
    }

    /// Sends the fetches that can go.
    pub(super) fn send_fetches(&mut self) {
        let ids: Vec<FetcherId> =
            self.fetchers.iter().filter(|(_, cell)| !cell.wanted.is_empty()).map(|(id, _)| *id).collect();
        for id in ids {
            self.send_fetch(id);
        }
    }

    fn send_fetch(&mut self, id: FetcherId) {
        let Some(cell) = self.fetchers.get_mut(&id) else { return };
        let bytes = cell.appetite.response_bytes();
        let has_room = self.shared.budget.has_room(bytes);
        match std::mem::take(&mut cell.state) {
            State::Closed => self.open_fetcher(id),
            State::Idle(mut fetcher) if has_room && !cell.wanted.is_empty() => {
                let sent = fetcher.send(&cell.wanted, &limits(bytes));
                cell.asked_at = boot();
                let opening = cell.opening;
                cell.state = State::Waiting(fetcher);
                self.do_later(async move {
                    let body = match sent {
                        Ok(answer) => answer.await,
                        Err(error) => Err(error),
                    };
                    Happening::Fetched(id, opening, body)
                });
            }
            state @ (State::Opening | State::Waiting(_) | State::Idle(_)) => cell.state = state,
        }
    }

    fn open_fetcher(&mut self, id: FetcherId) {
        let Some(cluster) = self.source.cluster.clone() else { return };
        let options = self.source.options.connection.clone();
        let Some(cell) = self.fetchers.get_mut(&id) else { return };
        cell.state = State::Opening;
        let after = if cell.failures == 0 { Duration::ZERO } else { pause(cell.failures) };
        self.do_later(async move {
            sleep(after).await;
            let opened = match cluster.endpoint(id.broker) {
                Ok(endpoint) => Fetcher::open(&endpoint, &options, "").await,
                Err(error) => Err(error),
            };
            Happening::FetcherOpened(id, opened)
        });
    }

    pub(super) fn fetcher_opened(&mut self, id: FetcherId, result: Result<Fetcher, Error>) {
        let Some(cell) = self.fetchers.get_mut(&id) else { return };
        match result {
            Ok(fetcher) => {
                cell.opening += 1;
                cell.state = State::Idle(Box::new(fetcher));
            }
            Err(error) => self.fetcher_failed(id, &error),
        }
    }

    fn fetcher_failed(&mut self, id: FetcherId, error: &Error) {
        if let Some(cell) = self.fetchers.get_mut(&id) {
            cell.state = State::Closed;
            cell.failures = cell.failures.saturating_add(1);
        }
        self.source.hear(Some(error), boot());
        self.refresh(End::Source);
    }

    pub(super) fn fetched(&mut self, id: FetcherId, opening: u64, result: Result<Bytes, Error>) {
        let Some(cell) = self.fetchers.get_mut(&id).filter(|cell| cell.opening == opening) else { return };
        let State::Waiting(mut fetcher) = std::mem::take(&mut cell.state) else { return };
        let (bytes, answer) = match result.and_then(|body| Ok((body.len(), fetcher.take(&body)?))) {
            Ok(taken) => taken,
            Err(error) => return self.fetcher_failed(id, &error),
        };
        cell.failures = 0;
        let held = fetcher.session().held();
        let of = |partition: &FetchedPartition| {
            let asked = held.get(&partition.key)?;
            Some(Asked { lane: *cell.lanes.get(&partition.key)?, offset: asked.offset })
        };
        let asked: Vec<Option<Asked>> = answer.partitions.iter().map(of).collect();
        cell.state = State::Idle(fetcher);
        self.source.hear(None, boot());
        self.take_answer(id, answer, bytes, &asked);
    }

    fn take_answer(&mut self, id: FetcherId, answer: FetchAnswer, bytes: usize, asked: &[Option<Asked>]) {
        if !answer.code.is_none() && answer.code != Code::FETCH_SESSION_ID_NOT_FOUND {
            let (what, text) = ("a fetch".to_owned(), None);
            return self.fetcher_failed(id, &Error::Refused { what, code: answer.code, text });
        }
        let lease = Arc::new(self.shared.budget.take(bytes));
        let endpoints = answer.endpoints;
        let were_idle = asked.iter().flatten().all(|asked| self.sees(asked.lane, Alive::is_idle));
        for (partition, asked) in answer.partitions.into_iter().zip(asked) {
            let Some(Asked { lane, offset }) = *asked else { continue };
            if let (Some(leader), Some(cluster)) = (partition.current_leader, &self.source.cluster) {
                cluster.learn(&partition.key, leader, &endpoints);
            }
            self.take_partition(lane, offset, partition, &lease);
            self.want(lane);
        }
        let are_behind = asked.iter().flatten().any(|asked| self.sees(asked.lane, Alive::is_behind));
        self.learn_appetite(id, were_idle && are_behind);
        // The broker reads on while what came is sent.
        self.send_fetch(id);
    }

    fn sees(&self, number: LaneNumber, what: impl FnOnce(&Alive) -> bool) -> bool {
        self.lanes.get(&number).and_then(LaneCell::seen).is_some_and(what)
    }

    fn learn_appetite(&mut self, id: FetcherId, starving: bool) {
        let budget_bytes = self.shared.budget.max_bytes();
        if let Some(cell) = self.fetchers.get_mut(&id) {
            let took = boot().saturating_sub(cell.asked_at);
            cell.appetite.learn(Served { took, starving }, budget_bytes);
        }
    }

    fn take_partition(
        &mut self,
        number: LaneNumber,
        asked_offset: i64,
        partition: FetchedPartition,
        lease: &Arc<Lease>,
    ) {
        let Some(alive) = self.lanes.get_mut(&number).and_then(LaneCell::alive) else { return };
        if alive.reader.reading().is_none() || alive.reader.fetch_from().0 != asked_offset {
            // It reads elsewhere meanwhile.
            return;
        }
        if let Some(end) = partition.diverging {
            let trouble = SourceTrouble::Truncated { end_offset: end.end_offset };
            return self.events.push_back((number, Event::Source(trouble)));
        }
        if !partition.code.is_none() {
            return self.fetch_refused(number, partition.code);
        }
        alive.last_stable_offset = partition.last_stable_offset.max(alive.last_stable_offset);
        let has_records = !partition.records.is_empty();
        let pushed = alive.reader.push(partition.records, partition.aborted, lease);
        self.busy.insert(number);
        match pushed {
            Ok(()) => {
                alive.fetch_failures = 0;
                if has_records {
                    self.firsts(number, Firsts::fetched);
                }
            }
            // Once it may be the network's fault.
            Err(error) if alive.fetch_failures > 0 => {
                let trouble = SourceTrouble::Unreadable(error.to_string());
                self.events.push_back((number, Event::Source(trouble)));
            }
            Err(error) => {
                tracing::warn!(lane = %self.name(number), %error, "read again");
                self.pause_fetching(number);
            }
        }
    }

    pub(super) fn firsts(&mut self, number: LaneNumber, happened: impl FnOnce(&mut Firsts)) {
        let task = self.lanes.get(&number).map(|lane| lane.task);
        task.and_then(|task| self.tasks.get_mut(&task)).map(|task| &mut task.firsts).map(happened);
    }

    fn fetch_refused(&mut self, number: LaneNumber, code: Code) {
        match code.0 {
            1 => self.ask_range(number),
            29 => {
                let text = format!("not allowed ({code}): grant READ on the source topic");
                self.events.push_back((number, Event::Source(SourceTrouble::Unreadable(text))));
            }
            _ => {
                self.pause_fetching(number);
                self.refresh(End::Source);
            }
        }
    }

    pub(super) fn pause_fetching(&mut self, number: LaneNumber) {
        let now = boot();
        let mut until = now;
        self.with(number, |alive| {
            alive.fetch_failures = alive.fetch_failures.saturating_add(1);
            until = now + pause(alive.fetch_failures);
            alive.fetch_not_before = until;
        });
        self.do_later(async move {
            sleep(until.saturating_sub(now)).await;
            Happening::FetchAgain(number)
        });
    }

    /// The leader has no such offset: what has it?
    fn ask_range(&mut self, number: LaneNumber) {
        let Some(cluster) = self.source.cluster.clone() else { return };
        let Some(alive) = self.lanes.get_mut(&number).and_then(LaneCell::alive) else { return };
        let Some(reading) = alive.reader.reading() else { return };
        alive.asking_range = true;
        let key = alive.source.clone();
        self.do_later(async move {
            let range = answers::range(&cluster, &key).await;
            Happening::Range(number, reading, range)
        });
    }

    pub(super) fn range_known(
        &mut self,
        number: LaneNumber,
        reading: u32,
        result: Result<(i64, i64), Error>,
    ) {
        let Some(alive) = self.lanes.get_mut(&number).and_then(LaneCell::alive) else { return };
        if alive.reader.reading() != Some(reading) {
            return;
        }
        alive.asking_range = false;
        match result {
            Ok((earliest, latest)) => {
                let trouble = SourceTrouble::OutOfRange { earliest, latest };
                self.events.push_back((number, Event::Source(trouble)));
            }
            Err(error) => {
                self.source.hear(Some(&error), boot());
                self.pause_fetching(number);
            }
        }
    }
}

fn pause(failures: u32) -> Duration {
    let doubled = PAUSE.0.saturating_mul(1 << failures.min(10)).min(PAUSE.1);
    jittered(doubled)
}

/// Half of it at least, the rest by chance.
pub(super) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + 0.5 * rand::random::<f64>())
}

/// A fetch waits for the first record, not for many: it is what follows that gathers.
fn limits(max_bytes: usize) -> FetchLimits {
    let max_bytes = int32(max_bytes);
    FetchLimits { max_wait: MAX_WAIT, min_bytes: 1, max_bytes, isolation: Isolation::ReadCommitted }
}
