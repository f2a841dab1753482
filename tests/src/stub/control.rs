//! The words in which a stub is told what to do, one command a line:
//!
//! ```text
//! inject API [TOPIC PARTITION] ACTION [xTIMES]   the next request of that API (`any`: of all), once unless TIMES
//!   API      produce, fetch, metadata, list-offsets, init-producer-id, describe-producers, …: see [`Api::name`]
//!   ACTION   error CODE [after]    Kafka's error code; of a Produce: after the batch was appended, else instead
//!            drop [after]          the connection is closed before the request has an effect, or after it
//!            stall MS              the answer comes later
//!            throttle MS           the answer asks to be left alone for so long
//!            length N              the answer's length is N: negative, or huge
//!            cut BYTES             so much of the answer, then the end of the connection
//!            mutate SEED           bytes of the answer are changed
//!            garbage SEED          no answer but noise: random bytes, a wrong length, a part, another's correlation id
//!            damage SEED           of a Fetch: a batch that comes along is damaged, where a CRC or a length tells
//!            flip BYTE MASK        of a Fetch: bits of one byte of the first batch are changed
//!            shift N               the base offset in the answer to a Produce is N off
//! clear                            takes back all injections
//! create SPEC | delete TOPIC | recreate TOPIC    SPEC as of the command line; re-created: empty, with a new id
//! forget-producers TOPIC PARTITION               as after an expiry
//! foreign TOPIC PARTITION RECORDS                somebody else writes
//! delete-before TOPIC PARTITION OFFSET           retention
//! advance TOPIC PARTITION OFFSET                 an empty log begins there, as if what lay before was written and deleted
//! truncate TOPIC PARTITION OFFSET                an unclean election: later records are lost, the epoch rises
//! leader-epoch TOPIC PARTITION EPOCH             a clean election
//! end TOPIC PARTITION OFFSET                     an endless topic ends there
//! forget-sessions                                every fetch session is evicted
//! offsets TOPIC PARTITION                        log start, end, leader epoch
//! producers TOPIC PARTITION                      what is remembered of them: id and last sequence of each
//! stats                                          the counts, as JSON
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::api::Api;
use super::batch::{Header, NOBODY, Record, build};
use super::broker::{Broker, locked, now_ms};
use super::data::{Data, Incoming, Outcome};
use super::injection::{Action, Injection};
use super::sessions::TopicKey;
use super::topics::{Topic, TopicSpec};

/// Carries a line out; its answer.
pub(crate) fn run(broker: &Broker, line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let done = match words.as_slice() {
        ["inject", rest @ ..] => {
            broker.injections.add(injection(rest)?);
            String::new()
        }
        ["clear"] => {
            broker.injections.clear();
            String::new()
        }
        ["stats"] => serde_json::to_string(&broker.counts.snapshot()).map_err(|error| error.to_string())?,
        ["create", spec] => create(broker, &spec.parse()?, BTreeMap::new())?,
        ["delete", topic] => {
            broker.topics_mut().remove(topic).ok_or_else(|| format!("no topic {topic}"))?;
            String::new()
        }
        ["recreate", topic] => {
            let old = find(broker, topic)?;
            let partitions = u32::try_from(old.partitions.len()).map_err(|error| error.to_string())?;
            create(broker, &TopicSpec::new(topic, partitions, old.kind), old.configs.clone())?
        }
        ["forget-sessions"] => {
            locked(&broker.sessions).clear();
            String::new()
        }
        [word, topic, partition, rest @ ..] => on_partition(broker, word, (topic, partition), rest)?,
        _ => return Err(format!("{line:?} is no command")),
    };
    // Fetches that wait look again.
    broker.tell_append();
    Ok(done)
}

fn create(broker: &Broker, spec: &TopicSpec, configs: BTreeMap<String, String>) -> Result<String, String> {
    broker.create(spec, configs).map_err(|error| error.to_string())?;
    Ok(String::new())
}

fn find(broker: &Broker, topic: &str) -> Result<Arc<Topic>, String> {
    broker.topic(&TopicKey::Name(topic.to_owned())).ok_or_else(|| format!("no topic {topic}"))
}

fn on_partition(
    broker: &Broker,
    word: &str,
    (topic, partition): (&str, &str),
    rest: &[&str],
) -> Result<String, String> {
    let topic = find(broker, topic)?;
    let data = topic.partition(number(partition)?).ok_or_else(|| format!("no partition {partition}"))?;
    let mut data = locked(data);
    match (word, rest) {
        ("forget-producers", []) => data.producers.forget_all(),
        ("foreign", [records]) => foreign(&mut data, number(records)?)?,
        ("delete-before", [offset]) => data.delete_before(number(offset)?),
        ("advance", [offset]) => data.advance(number(offset)?)?,
        ("truncate", [offset]) => data.truncate(number(offset)?),
        ("leader-epoch", [epoch]) => data.start_epoch(number(epoch)?),
        ("end", [offset]) => data.set_end(number(offset)?),
        ("producers", []) => return Ok(producers(&data)),
        ("offsets", []) => return Ok(format!("{} {} {}", data.log_start, data.end, data.leader_epoch())),
        _ => return Err(format!("{word} is no command for a partition with {} more words", rest.len())),
    }
    Ok(String::new())
}

fn producers(data: &Data) -> String {
    let each = data.producers.iter().map(|(id, producer)| format!("{id}:{}", producer.last_sequence));
    each.collect::<Vec<_>>().join(" ")
}

fn foreign(data: &mut Data, records: usize) -> Result<(), String> {
    let record = Record { key: None, value: Some(b"foreign".to_vec()), timestamp_delta: 0 };
    let bytes = build(&vec![record; records], super::Codec::None, now_ms(Duration::ZERO), NOBODY);
    let bytes = bytes.map_err(|error| error.to_string())?;
    let start = bytes.first_chunk().ok_or("at least one record")?;
    let batch = Incoming { header: Header::read(start), bytes: Some(bytes) };
    match data.append(batch, false) {
        Outcome::Appended { .. } | Outcome::Duplicate { .. } => Ok(()),
        Outcome::Refused(code) => Err(format!("refused with {code}: an endless topic takes nothing")),
    }
}

/// The words after `inject`.
fn injection(words: &[&str]) -> Result<Injection, String> {
    let (times, words) = match words.split_last() {
        Some((last, rest)) => match last.strip_prefix('x').and_then(|times| times.parse().ok()) {
            Some(times) => (times, rest),
            None => (1, words),
        },
        None => (1, words),
    };
    let Some((api, words)) = words.split_first() else { return Err("inject what?".to_owned()) };
    let known = Api::ALL.into_iter().find(|known| known.name() == *api);
    if known.is_none() && *api != "any" {
        let names = Api::ALL.map(Api::name).join(", ");
        return Err(format!("{api} is no API; it is any, {names}"));
    }
    // What is no action by itself begins with a partition.
    let (partition, words) = match words {
        [topic, partition, rest @ ..] if action(words).is_err() => {
            (Some(((*topic).to_owned(), number(partition)?)), rest)
        }
        _ => (None, words),
    };
    Ok(Injection { api: known, partition, action: action(words)?, times })
}

fn action(words: &[&str]) -> Result<Action, String> {
    Ok(match words {
        ["error", code] => Action::Error { code: number(code)?, after: false },
        ["error", code, "after"] => Action::Error { code: number(code)?, after: true },
        ["drop"] => Action::Drop { after: false },
        ["drop", "after"] => Action::Drop { after: true },
        ["stall", ms] => Action::Stall(Duration::from_millis(number(ms)?)),
        ["throttle", ms] => Action::Throttle(number(ms)?),
        ["length", length] => Action::Length(number(length)?),
        ["cut", bytes] => Action::Cut(number(bytes)?),
        ["mutate", seed] => Action::Mutate(number(seed)?),
        ["garbage", seed] => Action::Garbage(number(seed)?),
        ["damage", seed] => Action::Damage(number(seed)?),
        ["flip", byte, mask] => Action::Flip { byte: number(byte)?, mask: number(mask)? },
        ["shift", by] => Action::Shift(number(by)?),
        _ => return Err(format!("{:?} is no action", words.join(" "))),
    })
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{word} is no number that fits here"))
}
