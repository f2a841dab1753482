//! Writes through our own client: one request at a time to each broker, with all that came meanwhile.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use copyist_kafka::produce::BATCH_HEADER_BYTES;
use copyist_kafka::{
    Backoff, BrokerId, ClientOptions, Cluster, Code, ConnectionOptions, Endpoint, Error, Metadata,
    OutgoingBatch, PartitionKey, ProduceAnswer, ProduceFrame, Producer, Topic,
};
use copyist_model::TopicName;
use copyist_wire::{NewHeader, NewRecord, build};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::outbox::{Draft, Item, Outbox};
use super::{PUT_DEADLINE, Put};
use crate::compacted::MARK;
use crate::driver::wall_ms;
use crate::error::chain;

/// The first and the longest pause after a broker, or the cluster, could not be used.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// A producer waits a quarter longer for the answer: until the deadline of a put.
const REQUEST_TIMEOUT_MAX: Duration = Duration::from_secs(24);
/// Between two questions who leads.
const REFRESH_PAUSE: Duration = Duration::from_millis(300);

/// The topic may have got more partitions without an error that says so.
const METADATA_MAX_AGE: Duration = Duration::from_secs(300);

/// What came of something that took time.
enum Happening {
    Connected(Result<Cluster, Error>),
    Refreshed(Result<(), Error>),
    Sent(BrokerId, Option<Producer>, Vec<Draft>, Result<ProduceAnswer, Unwritten>),
}

/// Why a request has no answer.
enum Unwritten {
    /// It did not go out.
    NotSent(Error),
    /// It may or may not have been carried out.
    Unknown(Error),
}

type Doing = Pin<Box<dyn Future<Output = Happening> + Send>>;

/// The way to a broker.
struct Slot {
    busy: bool,
    producer: Option<Producer>,
    not_before: Instant,
    backoff: Backoff,
}

struct Writer {
    options: ClientOptions,
    topic: TopicName,
    began: Instant,
    cluster: Option<Cluster>,
    /// A connection, or a question who leads, is under way.
    asking: bool,
    asked_at: Instant,
    ask_not_before: Instant,
    backoff: Backoff,
    slots: BTreeMap<BrokerId, Slot>,
    outbox: Outbox,
    doings: FuturesUnordered<Doing>,
    /// What was wrong last.
    trouble: String,
}

/// Serves puts until nobody can ask any more. Told otherwise: why librdkafka has to.
pub(super) async fn run(
    mut options: ClientOptions,
    topic: TopicName,
    puts: &mut mpsc::Receiver<Put>,
) -> Option<String> {
    let timeout = &mut options.connection.request_timeout;
    *timeout = (*timeout).min(REQUEST_TIMEOUT_MAX);
    let mut writer = Writer::new(options, topic);
    loop {
        writer.pump();
        let (room, wake_at) = (writer.outbox.has_room(), writer.wake_at());
        tokio::select! {
            put = puts.recv(), if room => writer.push(put?),
            Some(happening) = writer.doings.next() => {
                if let Some(why) = writer.happened(happening) {
                    return Some(why);
                }
            }
            () = sleep_until(wake_at) => (),
        }
        // What waits already goes with it.
        while writer.outbox.has_room()
            && let Ok(put) = puts.try_recv()
        {
            writer.push(put);
        }
    }
}

impl Writer {
    fn new(options: ClientOptions, topic: TopicName) -> Self {
        let now = Instant::now();
        Self {
            outbox: Outbox::new(topic.as_str()),
            options,
            topic,
            began: now,
            cluster: None,
            asking: false,
            asked_at: now,
            ask_not_before: now,
            backoff: Backoff::new(RETRY),
            slots: BTreeMap::new(),
            doings: FuturesUnordered::new(),
            trouble: "no answer".to_owned(),
        }
    }

    fn push(&mut self, put: Put) {
        self.outbox.push(self.began.elapsed(), put);
    }

    /// When something has to be done without being told.
    fn wake_at(&self) -> Instant {
        let far = Instant::now() + PUT_DEADLINE;
        if !self.outbox.has_pending() {
            return self.outbox.next_deadline().map_or(far, |at| self.began + at);
        }
        let slots = self.slots.values().filter(|slot| !slot.busy).map(|slot| slot.not_before);
        let asked = (!self.asking).then_some(self.ask_not_before);
        let deadline = self.outbox.next_deadline().map(|at| self.began + at);
        let now = Instant::now();
        slots.chain(asked).filter(|at| *at > now).chain(deadline).min().unwrap_or(far)
    }

    /// Sends what can go.
    fn pump(&mut self) {
        self.outbox.expire(self.began.elapsed(), &self.trouble);
        if !self.outbox.has_pending() {
            return;
        }
        let Some(cluster) = self.cluster.clone() else { return self.connect() };
        let view = cluster.view();
        let Some((topic, leaders)) = leaders(&view, &self.topic) else {
            self.trouble = format!("topic {} is not there", self.topic);
            return self.refresh(&cluster);
        };
        if self.asked_at.elapsed() > METADATA_MAX_AGE {
            self.refresh(&cluster);
        }
        let drafts = self.take(&cluster, &leaders);
        let mut by_broker: BTreeMap<BrokerId, Vec<Draft>> = BTreeMap::new();
        for draft in drafts {
            match leaders.get(&draft.partition).copied().flatten() {
                Some(broker) => by_broker.entry(broker).or_default().push(draft),
                None => self.outbox.again(draft),
            }
        }
        for (broker, drafts) in by_broker {
            self.send(&cluster, &topic, broker, drafts);
        }
    }

    /// What its leaders can take now.
    fn take(&mut self, cluster: &Cluster, leaders: &BTreeMap<i32, Option<BrokerId>>) -> Vec<Draft> {
        let (mut leaderless, now, slots) = (false, Instant::now(), &self.slots);
        let may_go = |partition: i32| {
            let leader = leaders.get(&partition).copied().flatten();
            leaderless |= leader.is_none();
            leader.is_some_and(|broker| slots.get(&broker).is_none_or(|slot| slot.may_go(now)))
        };
        let drafts = self.outbox.take(u32::try_from(leaders.len()).unwrap_or(u32::MAX), may_go);
        if leaderless {
            "a partition has no leader".clone_into(&mut self.trouble);
            self.refresh(cluster);
        }
        drafts
    }

    fn send(&mut self, cluster: &Cluster, topic: &Topic, broker: BrokerId, drafts: Vec<Draft>) {
        let slot = self.slots.entry(broker).or_insert_with(Slot::new);
        slot.busy = true;
        let producer = slot.producer.take().filter(|producer| producer.connection().is_open());
        let (endpoint, options) = (cluster.endpoint(broker), self.options.connection.clone());
        let frame = frame(topic, &drafts, wall_ms());
        self.doings.push(Box::pin(async move {
            let producer = match producer {
                Some(producer) => Ok(producer),
                None => open(endpoint, &options).await,
            };
            match producer {
                Ok(producer) => {
                    let answer = producer.send(frame).await.map_err(unwritten);
                    Happening::Sent(broker, Some(producer), drafts, answer)
                }
                Err(error) => Happening::Sent(broker, None, drafts, Err(Unwritten::NotSent(error))),
            }
        }));
    }

    /// Why this client cannot be used at all, if it cannot.
    fn happened(&mut self, happening: Happening) -> Option<String> {
        match happening {
            Happening::Connected(connected) => {
                self.asking = false;
                match connected {
                    Ok(cluster) => self.cluster = Some(cluster),
                    Err(error @ Error::Unsupported { .. }) => return Some(error.to_string()),
                    Err(error) => self.trouble = chain(&error),
                }
                self.asked();
            }
            Happening::Refreshed(refreshed) => {
                self.asking = false;
                if let Err(error) = refreshed {
                    self.trouble = chain(&error);
                }
                self.asked();
            }
            Happening::Sent(broker, producer, drafts, answer) => self.sent(broker, producer, drafts, answer),
        }
        None
    }

    fn asked(&mut self) {
        let pause = if self.cluster.is_some() { REFRESH_PAUSE } else { self.backoff.wait(rand::random()) };
        self.asked_at = Instant::now();
        self.ask_not_before = self.asked_at + pause;
    }

    fn sent(
        &mut self,
        broker: BrokerId,
        producer: Option<Producer>,
        drafts: Vec<Draft>,
        answer: Result<ProduceAnswer, Unwritten>,
    ) {
        if let Some(slot) = self.slots.get_mut(&broker) {
            slot.ended(producer, answer.as_ref().is_ok_and(is_taken));
        }
        match answer {
            Ok(answer) => self.answered(drafts, &answer),
            Err(Unwritten::NotSent(error)) => {
                self.trouble = chain(&error);
                drafts.into_iter().for_each(|draft| self.outbox.again(draft));
                self.look_again();
            }
            Err(Unwritten::Unknown(error)) => {
                self.trouble = chain(&error);
                drafts.into_iter().for_each(|draft| self.outbox.failed(draft, &self.trouble));
                self.look_again();
            }
        }
    }

    fn answered(&mut self, drafts: Vec<Draft>, answer: &ProduceAnswer) {
        for draft in drafts {
            let told = answer.partitions.iter().find(|told| told.key.partition == draft.partition);
            let Some(told) = told else {
                self.outbox.failed(draft, "the broker does not say what became of it");
                continue;
            };
            if told.code.is_none() {
                self.outbox.written(draft, told.base_offset);
                continue;
            }
            let text = told.error_message.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
            self.trouble = format!("{}{text}", told.code);
            if is_elsewhere(told.code) {
                self.outbox.again(draft);
                self.look_again();
            } else if is_refusal(told.code) {
                self.outbox.refused(draft, &self.trouble);
            } else {
                self.outbox.failed(draft, &self.trouble);
            }
        }
    }

    /// Somebody else may lead.
    fn look_again(&mut self) {
        if let Some(cluster) = self.cluster.clone() {
            self.refresh(&cluster);
        }
    }

    fn connect(&mut self) {
        let (options, topic) = (self.options.clone(), self.topic.clone());
        self.ask(async move {
            let connected = async {
                let cluster = Cluster::connect(options).await?;
                cluster.add_topics([topic]);
                cluster.refresh().await?;
                Ok(cluster)
            };
            Happening::Connected(connected.await)
        });
    }

    fn refresh(&mut self, cluster: &Cluster) {
        let cluster = cluster.clone();
        self.ask(async move { Happening::Refreshed(cluster.refresh().await.map(drop)) });
    }

    /// One question at a time, and not too often.
    fn ask(&mut self, question: impl Future<Output = Happening> + Send + 'static) {
        if std::mem::replace(&mut self.asking, true) {
            return;
        }
        let not_before = self.ask_not_before;
        self.doings.push(Box::pin(async move {
            sleep_until(not_before).await;
            question.await
        }));
    }
}

impl Slot {
    fn new() -> Self {
        let backoff = Backoff::new(RETRY);
        Self { busy: false, producer: None, not_before: Instant::now(), backoff }
    }

    fn may_go(&self, now: Instant) -> bool {
        !self.busy && self.not_before <= now
    }

    fn ended(&mut self, producer: Option<Producer>, well: bool) {
        (self.busy, self.producer) = (false, producer);
        if well {
            self.backoff.reset();
        } else {
            self.not_before = Instant::now() + self.backoff.wait(rand::random());
        }
    }
}

/// Who leads each partition; nothing while the topic is not there.
fn leaders(view: &Metadata, name: &TopicName) -> Option<(Topic, BTreeMap<i32, Option<BrokerId>>)> {
    let found = view.topic(name).filter(|found| !found.partitions.is_empty())?;
    let partitions = found.partitions.iter();
    let leaders = partitions.map(|(number, it)| (*number, it.leader.map(|leader| leader.broker)));
    Some((found.topic.clone(), leaders.collect()))
}

fn frame(topic: &Topic, drafts: &[Draft], timestamp: i64) -> ProduceFrame {
    let mut frame = ProduceFrame::new();
    for draft in drafts {
        let marks: Vec<_> = draft.items.iter().map(header).collect();
        let records = draft.items.iter().zip(&marks).map(|(Item { record, .. }, mark)| NewRecord {
            key: Some(record.key.as_bytes()),
            value: record.value.as_ref().map(String::as_bytes),
            timestamp,
            headers: mark.as_slice(),
        });
        let batch = build(&records.collect::<Vec<_>>());
        let split =
            batch.as_ref().and_then(|batch| batch.first_chunk::<BATCH_HEADER_BYTES>().zip(Some(batch)));
        if let Some((header, batch)) = split {
            let batch = OutgoingBatch { header: *header, payload: batch.slice(BATCH_HEADER_BYTES..) };
            let key = PartitionKey { topic: topic.clone(), partition: draft.partition };
            // There is one draft of each partition.
            let _ = frame.add(key, batch);
        }
    }
    frame
}

fn header(item: &Item) -> Option<NewHeader<'_>> {
    item.record.mark.as_ref().map(|mark| (MARK, Some(mark.as_bytes())))
}

async fn open(endpoint: Result<Endpoint, Error>, options: &ConnectionOptions) -> Result<Producer, Error> {
    Producer::open(&endpoint?, options).await
}

fn unwritten(error: Error) -> Unwritten {
    match error {
        Error::Busy { .. } | Error::Unreachable { .. } | Error::Config(_) | Error::Unsupported { .. } => {
            Unwritten::NotSent(error)
        }
        Error::Lost { .. }
        | Error::Refused { .. }
        | Error::Malformed { .. }
        | Error::Timeout { .. }
        | Error::Unknown { .. } => Unwritten::Unknown(error),
    }
}

/// Whether the broker is the one to write to.
fn is_taken(answer: &ProduceAnswer) -> bool {
    !answer.partitions.iter().any(|told| is_elsewhere(told.code))
}

/// The next leader takes it; what this one may have appended all the same is the same record once more.
fn is_elsewhere(code: Code) -> bool {
    [
        Code::UNKNOWN_TOPIC_OR_PARTITION,
        Code::LEADER_NOT_AVAILABLE,
        Code::NOT_LEADER_OR_FOLLOWER,
        Code::UNKNOWN_TOPIC_ID,
    ]
    .contains(&code)
}

/// Whether the same batch would be refused again.
fn is_refusal(code: Code) -> bool {
    [Code::MESSAGE_TOO_LARGE, Code::RECORD_LIST_TOO_LARGE, Code::INVALID_RECORD].contains(&code)
}

#[cfg(test)]
mod tests {
    use copyist_kafka::Leader;
    use copyist_kafka::metadata::{PartitionMetadata, TopicMetadata};
    use copyist_model::TopicId;

    use super::super::Outgoing;
    use super::*;

    #[test]
    fn leaders_are_known_once_the_topic_is_there() {
        let name: TopicName = "t".parse().unwrap();
        let partition = |broker: Option<i32>| PartitionMetadata {
            code: Code::NONE,
            leader: broker.map(|broker| Leader { broker, epoch: 0 }),
            replicas: 1,
        };
        let view = |code, partitions: &[Option<i32>]| {
            let topic = TopicMetadata {
                topic: Topic::new(name.clone(), TopicId(1)),
                code,
                is_internal: false,
                partitions: (0..).zip(partitions.iter().map(|leader| partition(*leader))).collect(),
            };
            Metadata { topics: [(name.clone(), topic)].into(), ..Metadata::default() }
        };
        let found = leaders(&view(Code::NONE, &[Some(4), None]), &name).map(|(_, leaders)| leaders);
        assert_eq!(found, Some([(0, Some(4)), (1, None)].into()));
        assert_eq!(leaders(&view(Code::LEADER_NOT_AVAILABLE, &[Some(4)]), &name), None);
        assert_eq!(leaders(&view(Code::NONE, &[]), &name), None);
        assert_eq!(leaders(&Metadata::default(), &name), None);
    }

    #[test]
    fn a_request_has_one_batch_for_each_partition() {
        let record = |number: i32| Outgoing {
            key: format!("key {number}"),
            value: (number > 20).then(|| "value".to_owned()),
            mark: (number > 30).then(|| "mark".into()),
        };
        let mut outbox = Outbox::new("p");
        let (done, _answer) = tokio::sync::oneshot::channel();
        let records = (0..40).map(record).collect();
        outbox.push(Duration::ZERO, Put { records, stops_at_refusal: false, done });
        let drafts = outbox.take(4, |_| true);
        let topic = Topic::new("p".parse().unwrap(), TopicId(1));
        let frame = frame(&topic, &drafts, 5);
        assert_eq!((drafts.len(), frame.len()), (4, 4));
        let key = |partition| PartitionKey { topic: topic.clone(), partition };
        assert!((0..4).all(|partition| frame.contains(&key(partition))));
        let items = drafts.iter().flat_map(|draft| &draft.items);
        let payload: usize = items.map(|item| item.record.key.len()).sum();
        assert!(frame.batch_bytes() > payload, "{} for {payload}", frame.batch_bytes());
    }

    #[test]
    fn only_what_did_not_go_out_is_sent_again_without_a_word() {
        let unknown = |error| matches!(unwritten(error), Unwritten::Unknown(_));
        let text = || "b".to_owned();
        assert!(!unknown(Error::Busy { broker: "b".into(), pending: 1 }));
        assert!(!unknown(Error::Config(text())));
        assert!(unknown(Error::Timeout { what: text(), after: RETRY.0 }));
        assert!(unknown(Error::Malformed { what: "x", at: 0, why: text() }));
        assert!(is_elsewhere(Code::NOT_LEADER_OR_FOLLOWER) && is_elsewhere(Code::UNKNOWN_TOPIC_ID));
        // REQUEST_TIMED_OUT and NOT_ENOUGH_REPLICAS_AFTER_APPEND.
        assert!(!is_elsewhere(Code(7)) && !is_elsewhere(Code(20)));
        assert!(is_refusal(Code(10)) && is_refusal(Code(18)) && is_refusal(Code(87)) && !is_refusal(Code(7)));
    }
}
