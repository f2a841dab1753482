//! Produce, versions 3 to 13: parsed while it arrives, so that a payload nobody keeps is never held in one piece.

use std::collections::BTreeMap;
use std::io;

use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::api::Api;
use super::batch::{CRC_FROM, HEADER_BYTES, Header};
use super::body::Body;
use super::broker::{Broker, locked};
use super::code;
use super::data::{Incoming, Outcome};
use super::injection::Action;
use super::reply::Fate;
use super::sessions::TopicKey;

const ALL: i16 = -1;

/// A request, its payloads checked.
#[derive(Debug)]
pub(crate) struct Request {
    pub acks: i16,
    transactional: bool,
    /// In a broker's map: a partition that is listed twice has its later entry.
    entries: BTreeMap<(TopicKey, i32), Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Why it is refused before it gets to the log.
    problem: i16,
    batch: Option<Incoming>,
    bytes: u64,
}

impl Entry {
    fn refused(problem: i16, bytes: usize) -> Entry {
        Entry { problem, batch: None, bytes: bytes as u64 }
    }
}

impl Request {
    /// # Errors
    /// Those of the connection, and `InvalidData` for what is no request.
    pub fn read(broker: &Broker, body: &mut Body<'_, '_>, version: i16) -> io::Result<Request> {
        let flexible = version >= 9;
        let transactional = body.string(flexible)?.is_some();
        let acks = body.i16()?;
        let _timeout_ms = body.i32()?;
        let mut request = Request { acks, transactional, entries: BTreeMap::new() };
        for _ in 0..body.count(flexible)? {
            let key = if version >= 13 {
                TopicKey::Id(Uuid::from_bytes(body.array()?))
            } else {
                TopicKey::Name(body.string(flexible)?.unwrap_or_default())
            };
            for _ in 0..body.count(flexible)? {
                let partition = body.i32()?;
                let bytes = body.count(flexible)?;
                let entry = read_records(broker, body, (&key, partition), bytes)?;
                if request.entries.insert((key.clone(), partition), entry).is_some() {
                    broker.counts.fault("a partition twice in one request");
                }
                body.tags(flexible)?;
            }
            body.tags(flexible)?;
        }
        body.tags(flexible)?;
        if acks != ALL {
            broker.counts.fault("acks other than all");
        }
        Ok(request)
    }
}

/// Checks what a broker checks of an entry's records (`ProduceRequest.validateRecords`, `LogValidator`).
fn read_records(
    broker: &Broker,
    body: &mut Body<'_, '_>,
    to: (&TopicKey, i32),
    bytes: usize,
) -> io::Result<Entry> {
    if bytes < HEADER_BYTES {
        body.skip(bytes)?;
        broker.counts.fault("an entry without a batch");
        return Ok(Entry::refused(code::INVALID_RECORD, bytes));
    }
    let start: [u8; HEADER_BYTES] = body.array()?;
    let header = Header::read(&start);
    let payload = bytes - HEADER_BYTES;
    let (problem, fault) = judge_header(&header, bytes, broker.options.max_batch_bytes);
    if let Some(fault) = fault {
        broker.counts.fault(fault);
    }
    if problem != code::NONE {
        body.skip(payload)?;
        return Ok(Entry::refused(problem, bytes));
    }
    let kept = broker
        .topic(to.0)
        .and_then(|topic| Some(locked(topic.partition(to.1)?).wants_bytes(header.producer_id, bytes)));
    let mut crc = crc32c::crc32c(&start[CRC_FROM..]);
    let mut whole = None;
    if kept == Some(true) {
        let mut held = Vec::with_capacity(bytes);
        held.extend_from_slice(&start);
        body.append_to(&mut held, payload)?;
        crc = crc32c::crc32c_append(crc, &held[HEADER_BYTES..]);
        whole = Some(held);
    } else if broker.options.check_crc {
        body.each_piece(payload, |piece| crc = crc32c::crc32c_append(crc, piece))?;
    } else {
        body.skip(payload)?;
    }
    if (broker.options.check_crc || whole.is_some()) && crc != header.crc {
        broker.counts.fault("a wrong CRC");
        return Ok(Entry::refused(code::CORRUPT_MESSAGE, bytes));
    }
    let batch = Incoming { header, bytes: whole };
    Ok(Entry { problem: code::NONE, batch: Some(batch), bytes: bytes as u64 })
}

/// The code with which a broker refuses such a batch, and what is wrong with it.
fn judge_header(header: &Header, bytes: usize, max_bytes: usize) -> (i16, Option<&'static str>) {
    let invalid = |what| (code::INVALID_RECORD, Some(what));
    match header {
        _ if header.magic != 2 => invalid("a magic other than 2"),
        _ if header.total_bytes() < i64::try_from(bytes).unwrap_or(i64::MAX) => {
            invalid("two batches for one partition")
        }
        _ if header.total_bytes() != i64::try_from(bytes).unwrap_or(i64::MAX) => {
            (code::CORRUPT_MESSAGE, Some("a batch longer than its entry"))
        }
        _ if header.base_offset != 0 => invalid("a base offset other than 0"),
        _ if header.is_control() => invalid("a control batch"),
        _ if header.is_transactional() => {
            (code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, Some("a transactional batch"))
        }
        _ if header.count <= 0 => invalid("an empty batch"),
        _ if header.last_offset_delta.checked_add(1) != Some(header.count) => {
            invalid("an offset range other than the count")
        }
        _ if header.producer_id >= 0 && header.base_sequence < 0 => invalid("a negative sequence"),
        // No fault: a client learns the limit this way.
        _ if bytes > max_bytes => (code::MESSAGE_TOO_LARGE, None),
        _ => (code::NONE, None),
    }
}

/// Appends what may be appended; nothing where the fate is the connection's end before that. `of_all`: what an
/// injection says of all partitions.
pub(crate) fn answer(
    broker: &Broker,
    request: Request,
    of_all: Option<Action>,
    fate: &mut Fate,
) -> ProduceResponse {
    if request.transactional {
        broker.counts.fault("a transactional id");
    }
    let injected: Vec<Option<Action>> = request
        .entries
        .keys()
        .map(|(key, partition)| injected(broker, key, *partition, fate).or(of_all))
        .collect();
    let mut response = ProduceResponse::default().with_throttle_time_ms(fate.throttle_ms);
    if fate.closes_before() {
        return response;
    }
    let (mut records, mut bytes, mut appended) = (0, 0, false);
    for (((key, partition), entry), injected) in request.entries.into_iter().zip(injected) {
        let count = entry.batch.as_ref().map_or(0, |batch| batch.header.count.unsigned_abs());
        let size = entry.bytes;
        let (outcome, start) = append(broker, &key, partition, entry, injected);
        if matches!(outcome, Outcome::Appended { .. }) {
            (records, bytes, appended) = (records + u64::from(count), bytes + size, true);
        }
        let said = answered(broker, partition, outcome, start, injected);
        match response.responses.last_mut() {
            Some(topic) if is(topic, &key) => topic.partition_responses.push(said),
            Some(_) | None => response.responses.push(topic_of(&key, said)),
        }
    }
    broker.counts.produced(records, bytes);
    if appended {
        broker.tell_append();
    }
    response
}

fn injected(broker: &Broker, key: &TopicKey, partition: i32, fate: &mut Fate) -> Option<Action> {
    if broker.injections.waiting() == 0 {
        return None;
    }
    let topic = broker.topic(key)?;
    let action = broker.injections.take(Api::Produce, Some((&topic.name, partition)))?;
    fate.take(action)
}

/// The outcome, and where the log starts.
fn append(
    broker: &Broker,
    key: &TopicKey,
    partition: i32,
    entry: Entry,
    injected: Option<Action>,
) -> (Outcome, i64) {
    if let Some(Action::Error { code, after: false }) = injected {
        return (Outcome::Refused(code), -1);
    }
    let Some(batch) = entry.batch else { return (Outcome::Refused(entry.problem), -1) };
    let unknown = match key {
        TopicKey::Name(_) => code::UNKNOWN_TOPIC_OR_PARTITION,
        TopicKey::Id(_) => code::UNKNOWN_TOPIC_ID,
    };
    let Some(topic) = broker.topic(key) else { return (Outcome::Refused(unknown), -1) };
    let Some(data) = topic.partition(partition) else {
        return (Outcome::Refused(code::UNKNOWN_TOPIC_OR_PARTITION), -1);
    };
    let mut data = locked(data);
    let outcome = data.append(batch, broker.options.strict_producers);
    (outcome, data.log_start)
}

fn answered(
    broker: &Broker,
    partition: i32,
    outcome: Outcome,
    log_start: i64,
    injected: Option<Action>,
) -> PartitionProduceResponse {
    let said = PartitionProduceResponse::default().with_index(partition).with_log_start_offset(log_start);
    let refused = |code| said.clone().with_error_code(code).with_base_offset(-1);
    if let Some(Action::Error { code, .. }) = injected {
        return refused(code);
    }
    let shift = if let Some(Action::Shift(by)) = injected { by } else { 0 };
    match outcome {
        Outcome::Appended { base_offset } => said.with_base_offset(base_offset + shift),
        Outcome::Duplicate { base_offset } => {
            broker.counts.duplicate();
            said.with_base_offset(base_offset + shift)
        }
        Outcome::Refused(code) => {
            broker.counts.refused(code);
            refused(code)
        }
    }
}

fn is(topic: &TopicProduceResponse, key: &TopicKey) -> bool {
    match key {
        TopicKey::Name(name) => topic.name.as_str() == name,
        TopicKey::Id(id) => topic.topic_id == *id,
    }
}

fn topic_of(key: &TopicKey, said: PartitionProduceResponse) -> TopicProduceResponse {
    let topic = TopicProduceResponse::default().with_partition_responses(vec![said]);
    match key {
        TopicKey::Name(name) => topic.with_name(TopicName(StrBytes::from_string(name.clone()))),
        TopicKey::Id(id) => topic.with_topic_id(*id),
    }
}
