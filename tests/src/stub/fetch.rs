//! Fetch, versions 4 to 17: the answer is framed by hand, so that records are never copied on their way.

use std::time::Duration;

use kafka_protocol::messages::FetchRequest;
use uuid::Uuid;

use super::api::Api;
use super::batch::place;
use super::broker::{Broker, locked};
use super::code;
use super::data::{Budget, ReadOut, Taken};
use super::injection::Action;
use super::reply::{Fate, Pieces};
use super::sessions::{TopicKey, Turn, Wanted};
use crate::wait::Deadline;

/// Payloads smaller than this are copied: a piece of their own would cost more.
const COPY_BELOW_BYTES: usize = 16 * 1024;

/// What is said of one partition.
#[derive(Debug, Default)]
struct Said {
    error: i16,
    high_watermark: i64,
    log_start: i64,
    /// Epoch and end offset.
    diverging: Option<(i32, i64)>,
    read: ReadOut,
}

impl Said {
    fn failed(error: i16) -> Said {
        Said { error, high_watermark: -1, log_start: -1, ..Said::default() }
    }

    fn is_news(&self, wanted: &Wanted) -> bool {
        let told = Some((self.high_watermark, self.log_start));
        self.error != code::NONE || self.diverging.is_some() || self.read.bytes > 0 || wanted.told != told
    }
}

/// Reads, waits if there is less than the request wants, and writes the answer's body. `error`: what an injection says
/// of all partitions.
pub(crate) fn answer(
    broker: &Broker,
    request: &FetchRequest,
    (version, error): (i16, i16),
    to: &mut Pieces,
    fate: &mut Fate,
) {
    let turn = locked(&broker.sessions).begin(request, version);
    let mut turn = match turn {
        Ok(turn) => turn,
        Err(error) => {
            let head = Head { throttle_ms: fate.throttle_ms, error, session_id: 0 };
            return write(to, version, head, request.isolation_level, Vec::new());
        }
    };
    let injected: Vec<i16> =
        turn.wanted.iter().map(|wanted| injected(broker, wanted, fate).unwrap_or(error)).collect();
    let said = read_or_wait(broker, request, &turn, &injected);
    let records = said.iter().map(|said| said.read.records).sum();
    broker.counts.fetched(records, said.iter().map(|said| said.read.bytes).sum());
    let served: Vec<bool> = said.iter().map(|said| said.read.bytes > 0).collect();
    let incremental = turn.incremental;
    let mut told = Vec::with_capacity(said.len());
    for (wanted, said) in turn.wanted.iter_mut().zip(said) {
        if !incremental || said.is_news(wanted) {
            wanted.told = (said.error == code::NONE).then_some((said.high_watermark, said.log_start));
            told.push((wanted.clone(), said));
        }
    }
    let head = Head { throttle_ms: fate.throttle_ms, error: code::NONE, session_id: turn.id };
    write(to, version, head, request.isolation_level, told);
    if turn.id != 0 {
        locked(&broker.sessions).end(turn.id, turn.wanted, &served);
    }
}

/// The error code that an injection gives a partition.
fn injected(broker: &Broker, wanted: &Wanted, fate: &mut Fate) -> Option<i16> {
    if broker.injections.waiting() == 0 {
        return None;
    }
    let topic = broker.topic(&wanted.topic)?;
    let action = broker.injections.take(Api::Fetch, Some((&topic.name, wanted.partition)));
    match action.and_then(|action| fate.take(action)) {
        Some(Action::Error { code, .. }) => Some(code),
        _ => None,
    }
}

fn read_or_wait(broker: &Broker, request: &FetchRequest, turn: &Turn, injected: &[i16]) -> Vec<Said> {
    let limit = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = Deadline::after(limit);
    let enough = usize::try_from(request.min_bytes).unwrap_or(0);
    loop {
        let seen = broker.appends();
        let said = read_all(broker, request, turn, injected);
        let bytes: usize = said.iter().map(|said| said.read.bytes).sum();
        let urgent = said.iter().any(|said| said.error != code::NONE || said.diverging.is_some());
        if bytes >= enough || urgent || deadline.passed() || broker.stops() {
            return said;
        }
        broker.wait_for_append(seen, deadline.left());
    }
}

fn read_all(broker: &Broker, request: &FetchRequest, turn: &Turn, injected: &[i16]) -> Vec<Said> {
    let mut left = usize::try_from(request.max_bytes).unwrap_or(0);
    let mut empty = true;
    let mut all = Vec::with_capacity(turn.wanted.len());
    for (wanted, error) in turn.wanted.iter().zip(injected) {
        let said =
            if *error == code::NONE { read(broker, wanted, left, empty) } else { Said::failed(*error) };
        left = left.saturating_sub(said.read.bytes);
        empty &= said.read.bytes == 0;
        all.push(said);
    }
    all
}

fn read(broker: &Broker, wanted: &Wanted, left: usize, at_least_one: bool) -> Said {
    let unknown = match wanted.topic {
        TopicKey::Name(_) => code::UNKNOWN_TOPIC_OR_PARTITION,
        TopicKey::Id(_) => code::UNKNOWN_TOPIC_ID,
    };
    let Some(topic) = broker.topic(&wanted.topic) else { return Said::failed(unknown) };
    let Some(data) = topic.partition(wanted.partition) else {
        return Said::failed(code::UNKNOWN_TOPIC_OR_PARTITION);
    };
    let data = locked(data);
    let error = data.check_epoch(wanted.current_leader_epoch);
    if error != code::NONE {
        return Said::failed(error);
    }
    let said = Said { high_watermark: data.end, log_start: data.log_start, ..Said::default() };
    if let Some(diverging) = data.divergence(wanted.last_fetched_epoch, wanted.offset) {
        return Said { diverging: Some(diverging), ..said };
    }
    let bytes = usize::try_from(wanted.max_bytes).unwrap_or(0).min(left);
    let budget = Budget { bytes, at_least_one, cut_tail: broker.options.cut_tails };
    match data.read(wanted.offset, budget) {
        Ok(read) => Said { read, ..said },
        Err(error) => Said { error, ..said },
    }
}

struct Head {
    throttle_ms: i32,
    error: i16,
    session_id: i32,
}

/// The body, by FetchResponse.json of Kafka 4.3.
fn write(to: &mut Pieces, version: i16, head: Head, isolation: i8, told: Vec<(Wanted, Said)>) {
    let flexible = version >= 12;
    to.put(&head.throttle_ms.to_be_bytes());
    if version >= 7 {
        to.put(&head.error.to_be_bytes());
        to.put(&head.session_id.to_be_bytes());
    }
    let mut topics: Vec<(TopicKey, Vec<(i32, Said)>)> = Vec::new();
    for (wanted, said) in told {
        match topics.last_mut() {
            Some((key, partitions)) if *key == wanted.topic => partitions.push((wanted.partition, said)),
            _ => topics.push((wanted.topic, vec![(wanted.partition, said)])),
        }
    }
    put_count(to, flexible, topics.len());
    for (key, partitions) in topics {
        put_key(to, flexible, &key);
        put_count(to, flexible, partitions.len());
        for (partition, said) in partitions {
            write_partition(to, version, partition, isolation, said);
        }
        put_no_tags(to, flexible);
    }
    put_no_tags(to, flexible);
}

fn write_partition(to: &mut Pieces, version: i16, partition: i32, isolation: i8, said: Said) {
    let flexible = version >= 12;
    to.put(&partition.to_be_bytes());
    to.put(&said.error.to_be_bytes());
    to.put(&said.high_watermark.to_be_bytes());
    to.put(&said.high_watermark.to_be_bytes());
    if version >= 5 {
        to.put(&said.log_start.to_be_bytes());
    }
    // Aborted transactions: none for read_committed, no list for read_uncommitted.
    match (isolation, flexible) {
        (1, _) => put_count(to, flexible, 0),
        (_, true) => to.put(&[0]),
        (_, false) => to.put(&(-1i32).to_be_bytes()),
    }
    if version >= 11 {
        to.put(&(-1i32).to_be_bytes());
    }
    put_count(to, flexible, said.read.bytes);
    said.read.batches.into_iter().for_each(|taken| put_batch(to, taken));
    match said.diverging {
        Some((epoch, end)) if flexible => {
            // One tagged field: number 0, 13 bytes, the struct with no tags of its own.
            to.put(&[1, 0, 13]);
            to.put(&epoch.to_be_bytes());
            to.put(&end.to_be_bytes());
            to.put(&[0]);
        }
        Some(_) | None => put_no_tags(to, flexible),
    }
}

/// Patched on its way; its payload is shared unless it is small.
fn put_batch(to: &mut Pieces, taken: Taken) {
    let (batch, begin) = (taken.batch, to.len());
    let mut start = [0; 16];
    let patched = start.len().min(batch.len());
    start[..patched].copy_from_slice(&batch[..patched]);
    // Of a shorter one the client takes nothing.
    if batch.len() >= start.len() {
        place(&mut start, taken.base_offset, taken.leader_epoch);
    }
    to.put(&start[..patched]);
    if batch.len() < COPY_BELOW_BYTES {
        to.put(&batch[patched..]);
    } else {
        to.share(batch.slice(patched..));
    }
    to.mark_batch(begin);
}

fn put_key(to: &mut Pieces, flexible: bool, key: &TopicKey) {
    match key {
        TopicKey::Id(id) => to.put(Uuid::as_bytes(id)),
        TopicKey::Name(name) if flexible => {
            put_count(to, true, name.len());
            to.put(name.as_bytes());
        }
        TopicKey::Name(name) => {
            to.put(&i16::try_from(name.len()).unwrap_or(i16::MAX).to_be_bytes());
            to.put(name.as_bytes());
        }
    }
}

/// Of an array, of bytes, or of a compact string.
fn put_count(to: &mut Pieces, flexible: bool, count: usize) {
    if !flexible {
        return to.put(&i32::try_from(count).unwrap_or(i32::MAX).to_be_bytes());
    }
    let mut rest = count + 1;
    while rest >= 0x80 {
        to.put(&[(rest & 0x7f) as u8 | 0x80]);
        rest >>= 7;
    }
    to.put(&[rest as u8]);
}

fn put_no_tags(to: &mut Pieces, flexible: bool) {
    if flexible {
        to.put(&[0]);
    }
}
