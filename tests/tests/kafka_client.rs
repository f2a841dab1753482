//! The product's Kafka client on real brokers: what it asks for is there, what it sends arrives, what breaks is told.

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use copyist_kafka::admin::{Alteration, ConfigSource, Mode, NewTopic};
use copyist_kafka::questions::{self, OffsetAt, ProducerState};
use copyist_kafka::{
    ClientOptions, Cluster, Code, Connection, Endpoint, Error, FetchLimits, Fetcher, Isolation,
    OutgoingBatch, PartitionKey, ProduceFrame, ProducedPartition, Producer, Topic, Wanted,
};
use copyist_model::{TopicId, TopicName};
use copyist_tests::{ClusterOptions, Kafka, Rec, Step, suite};
use copyist_wire::{Aborted, Judged, Stamp, Walk, patch};

const LIMITS: FetchLimits = FetchLimits {
    max_wait: Duration::from_millis(500),
    min_bytes: 1,
    max_bytes: 16 << 20,
    isolation: Isolation::ReadCommitted,
};
const SOON: Duration = Duration::from_secs(30);

/// On one thread, as the copy path runs.
fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(2 * SOON, test).await.expect("in time") })
}

fn options(bootstrap: &str) -> ClientOptions {
    ClientOptions::new(Endpoint::parse_list(bootstrap).expect("host:port"))
}

async fn connect(bootstrap: &str) -> Cluster {
    Cluster::connect(options(bootstrap)).await.expect("connected")
}

fn name(topic: &str) -> TopicName {
    topic.parse().expect("a topic's name")
}

/// The view's key of a partition, once it has a leader.
async fn led(cluster: &Cluster, topic: &str, partition: i32) -> PartitionKey {
    cluster.add_topics([name(topic)]);
    loop {
        let view = cluster.refresh().await.expect("refreshed");
        if let Some(found) = view.topic(&name(topic)) {
            let key = PartitionKey { topic: found.topic.clone(), partition };
            if view.leader(&key).is_some() {
                return key;
            }
        }
    }
}

async fn fetcher(cluster: &Cluster, key: &PartitionKey) -> Fetcher {
    let leader = cluster.view().leader(key).expect("led").broker;
    let endpoint = cluster.endpoint(leader).expect("up");
    Fetcher::open(&endpoint, &cluster.options().connection, "").await.expect("opened")
}

async fn producer(cluster: &Cluster, key: &PartitionKey) -> Producer {
    let leader = cluster.view().leader(key).expect("led").broker;
    let endpoint = cluster.endpoint(leader).expect("up");
    Producer::open(&endpoint, &cluster.options().connection).await.expect("opened")
}

fn wanted(offset: i64) -> Wanted {
    Wanted { offset, current_leader_epoch: -1, last_fetched_epoch: -1, max_bytes: 1 << 20 }
}

/// A broker that has just started asks for patience (14, 15).
async fn producer_id(broker: &Connection) -> i64 {
    loop {
        match questions::init_producer_id(broker).await {
            Ok((id, epoch)) => {
                assert_eq!(epoch, 0);
                return id;
            }
            Err(error) => assert!(error.code().is_some_and(Code::is_retriable), "{error}"),
        }
    }
}

/// The batches of some records that are to be copied, and where to read on.
fn committed(records: &Bytes, aborted: Vec<(i64, i64)>, from: i64) -> (Vec<Bytes>, i64) {
    let mut judge = Aborted::new(aborted);
    let mut next = from;
    let mut batches = Vec::new();
    for found in Walk::new(records) {
        let found = found.expect("a whole batch");
        next = found.batch.next_offset();
        if judge.judge(&found.batch).expect("a marker is readable") == Judged::Data {
            batches.push(records.slice(found.range));
        }
    }
    (batches, next)
}

fn stamped(batch: &Bytes, producer_id: i64, base_sequence: i32) -> (OutgoingBatch, i32) {
    let view = copyist_wire::Batch::new(batch).expect("a batch");
    let header = patch(&view, Stamp { producer_id, producer_epoch: 0, base_sequence });
    (OutgoingBatch { header, payload: batch.slice(header.len()..) }, view.count())
}

fn frame(key: &PartitionKey, batch: OutgoingBatch) -> ProduceFrame {
    let mut frame = ProduceFrame::new();
    frame.add(key.clone(), batch).expect("one batch");
    frame
}

async fn produced(producer: &Producer, key: &PartitionKey, batch: OutgoingBatch) -> ProducedPartition {
    let answer = producer.send(frame(key, batch)).await.expect("answered");
    answer.partitions.into_iter().next().expect("each partition is answered")
}

/// Copies one partition up to `until`, a batch at a time; returns the next sequence.
async fn copy(
    fetcher: &mut Fetcher,
    producer: &Producer,
    (from, to): (&PartitionKey, &PartitionKey),
    producer_id: i64,
    until: i64,
) -> i32 {
    let (mut offset, mut sequence, mut expected) = (0, 0, 0);
    while offset < until {
        let answer = fetcher.fetch(&BTreeMap::from([(from.clone(), wanted(offset))]), &LIMITS).await;
        let answer = answer.expect("fetched");
        assert!(answer.code.is_none(), "{}", answer.code);
        for partition in answer.partitions {
            assert!(partition.code.is_none(), "{}", partition.code);
            let (batches, next) = committed(&partition.records, partition.aborted, offset);
            offset = next;
            for batch in batches {
                let (outgoing, count) = stamped(&batch, producer_id, sequence);
                let outcome = produced(producer, to, outgoing).await;
                assert_eq!((outcome.code, outcome.base_offset), (Code::NONE, expected));
                sequence += count;
                expected += i64::from(count);
            }
        }
    }
    sequence
}

/// As they are shown, without the topic.
fn contents(kafka: &Kafka<'_>, topic: &str) -> Vec<Rec> {
    let records = kafka.dump(topic).expect("dumped").into_iter();
    records.map(|rec| Rec { topic: String::new(), offset: 0, ..rec }).collect()
}

#[test]
fn topics_are_created_grown_and_configured() {
    let bootstrap = suite::pair().0.bootstrap();
    run(async {
        let cluster = connect(&bootstrap).await;
        assert_eq!(cluster.id().expect("told").as_str(), suite::pair().0.cluster_id());
        let configs = BTreeMap::from([("retention.ms".to_owned(), "1234567".to_owned())]);
        let new = NewTopic { partitions: 2, replication_factor: Some(1), configs };
        let bad = NewTopic { partitions: 1, replication_factor: Some(9), configs: BTreeMap::new() };
        let topics = BTreeMap::from([(name("made"), new), (name("made-bad"), bad)]);
        let code = |answers: &copyist_kafka::admin::Answers, topic: &str| {
            answers[&name(topic)].as_ref().err().map_or(0, |refusal| refusal.code.0)
        };
        let answers = cluster.create_topics(&topics, Mode::Validate).await.expect("answered");
        assert_eq!((code(&answers, "made"), code(&answers, "made-bad")), (0, 38));
        assert!(!cluster.all_topics().await.expect("told").topics.contains_key(&name("made")));
        let answers = cluster.create_topics(&topics, Mode::Perform).await.expect("answered");
        assert_eq!((code(&answers, "made"), code(&answers, "made-bad")), (0, 38));
        let answers = cluster.create_topics(&topics, Mode::Perform).await.expect("answered");
        assert_eq!(code(&answers, "made"), Code::TOPIC_ALREADY_EXISTS.0);
        assert!(answers[&name("made")].as_ref().is_err_and(|refusal| refusal.text.is_some()));

        let answers = cluster.grow_topics(&[(name("made"), 3)].into()).await.expect("answered");
        assert_eq!(code(&answers, "made"), 0);
        let answers = cluster.grow_topics(&[(name("made"), 3)].into()).await.expect("answered");
        assert_eq!(code(&answers, "made"), 37);
        led(&cluster, "made", 2).await;
        let all = cluster.all_topics().await.expect("told");
        let made = &all.topics[&name("made")];
        assert!(made.partitions.len() == 3 && !made.topic.id().is_none() && !made.is_internal);
        assert!(made.partitions.values().all(|partition| partition.replicas == 1));

        let set = BTreeMap::from([
            ("retention.ms".to_owned(), Alteration::Delete),
            ("max.message.bytes".to_owned(), Alteration::Set("77777".to_owned())),
        ]);
        let change = BTreeMap::from([(name("made"), set)]);
        let answers = cluster.alter_topic_configs(&change, Mode::Perform).await.expect("answered");
        assert_eq!(code(&answers, "made"), 0);
        let described = cluster.topic_configs(&[&name("made"), &name("not-there")]).await.expect("told");
        let configs = described[&name("made")].as_ref().expect("described");
        let set: Vec<_> = configs.iter().filter(|config| config.source == ConfigSource::Topic).collect();
        assert_eq!(set.len(), 1);
        assert_eq!((set[0].name.as_str(), set[0].value.as_deref()), ("max.message.bytes", Some("77777")));
        assert!(configs.iter().any(|config| config.name == "retention.ms"));
        let missing = described[&name("not-there")].as_ref().expect_err("not there");
        assert_eq!(missing.code, Code::UNKNOWN_TOPIC_OR_PARTITION);
        let broker = *cluster.view().brokers.keys().next().expect("one");
        let configs = cluster.broker_configs(broker).await.expect("told");
        let expiration = configs.iter().find(|config| config.name == "producer.id.expiration.ms");
        assert_eq!(expiration.and_then(|config| config.value.as_deref()), Some("86400000"));
        cluster.close().await;
    });
}

#[test]
fn batches_of_each_codec_travel_as_they_are() {
    let (source, destination) = suite::pair();
    let (from, to) = (suite::tool().at(&source.bootstrap()), suite::tool().at(&destination.bootstrap()));
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("travel-{codec}");
        from.create_topic(&topic, 1).expect("created");
        to.create_topic(&topic, 1).expect("created");
        let records: Vec<Rec> = (0..2_000)
            .map(|n| {
                let rec = Rec::new(&topic, 0).timestamp(1_704_153_600_000 + n).value(format!("value {n}"));
                if n % 3 == 0 {
                    rec.key(format!("{n}")).header("twice", Some(b"1")).header("twice", None)
                } else {
                    rec
                }
            })
            .collect();
        let settings = [("compression.type", codec), ("batch.size", "4096"), ("linger.ms", "5")];
        from.produce_with(&settings, &records).expect("produced");
        run(async {
            let (source, destination) =
                (connect(&source.bootstrap()).await, connect(&destination.bootstrap()).await);
            let (at, onto) = (led(&source, &topic, 0).await, led(&destination, &topic, 0).await);
            let mut fetcher = fetcher(&source, &at).await;
            let producer = producer(&destination, &onto).await;
            let id = producer_id(producer.connection()).await;
            let sequence = copy(&mut fetcher, &producer, (&at, &onto), id, 2_000).await;
            assert_eq!(sequence, 2_000);
        });
        assert_eq!(contents(&to, &topic), contents(&from, &topic), "{codec}");
    }
}

#[test]
fn aborted_batches_stay_behind() {
    let (source, destination) = suite::pair();
    let (from, to) = (suite::tool().at(&source.bootstrap()), suite::tool().at(&destination.bootstrap()));
    let topic = "travel-committed";
    from.create_topic(topic, 1).expect("created");
    to.create_topic(topic, 1).expect("created");
    let record = |value: &str| Step::Record(Rec::new(topic, 0).timestamp(1_704_153_600_000).value(value));
    let steps =
        [record("a"), Step::Commit, record("lost"), record("too"), Step::Abort, record("b"), Step::Commit];
    from.transact("kafka-client", &[], &steps).expect("produced");
    run(async {
        let (source, destination) =
            (connect(&source.bootstrap()).await, connect(&destination.bootstrap()).await);
        let (at, onto) = (led(&source, topic, 0).await, led(&destination, topic, 0).await);
        let mut fetcher = fetcher(&source, &at).await;
        let producer = producer(&destination, &onto).await;
        let id = producer_id(producer.connection()).await;
        assert_eq!(copy(&mut fetcher, &producer, (&at, &onto), id, 7).await, 2);
    });
    let all = to.dump_with(&[("isolation.level", "read_uncommitted")], &[topic]).expect("dumped");
    let values: Vec<_> = all.into_iter().filter_map(|rec| rec.value).collect();
    assert_eq!(values, [b"a", b"b"]);
}

#[test]
fn a_session_reads_what_is_wanted_and_forgets_the_rest() {
    let bootstrap = suite::pair().0.bootstrap();
    let kafka = suite::tool().at(&bootstrap);
    for topic in ["session-a", "session-b"] {
        kafka.create_topic(topic, 2).expect("created");
    }
    let say = |topic: &str, partition, value: &str| {
        kafka.produce(&[Rec::new(topic, partition).value(value)]).expect("produced");
    };
    run(async {
        let cluster = connect(&bootstrap).await;
        let (a0, a1) = (led(&cluster, "session-a", 0).await, led(&cluster, "session-a", 1).await);
        let b0 = led(&cluster, "session-b", 0).await;
        let mut fetcher = fetcher(&cluster, &a0).await;
        let mut want: BTreeMap<PartitionKey, Wanted> =
            [&a0, &a1, &b0].into_iter().map(|key| (key.clone(), wanted(0))).collect();
        for topic in ["session-a", "session-b"] {
            say(topic, 0, "1");
        }
        let first = fetcher.fetch(&want, &LIMITS).await.expect("fetched");
        assert!(first.code.is_none() && fetcher.session().is_incremental());
        let told: BTreeSet<_> = first.partitions.iter().map(|it| it.key.clone()).collect();
        assert_eq!(told, want.keys().cloned().collect(), "a full answer tells of each");
        want.insert(a0.clone(), wanted(1));
        want.insert(b0.clone(), wanted(1));
        let quiet = fetcher.fetch(&want, &LIMITS).await.expect("fetched");
        assert!(quiet.partitions.iter().all(|it| it.records.is_empty()), "{quiet:?}");

        // Paused: forgotten, though it has news.
        want.remove(&b0);
        say("session-b", 0, "2");
        say("session-a", 1, "first of a1");
        let told = fetcher.fetch(&want, &LIMITS).await.expect("fetched");
        let with_records = |answer: &copyist_kafka::FetchAnswer| {
            let full = answer.partitions.iter().filter(|it| !it.records.is_empty());
            full.map(|it| it.key.clone()).collect::<Vec<_>>()
        };
        assert_eq!(with_records(&told), std::slice::from_ref(&a1));
        // Wanted again.
        want.insert(a1.clone(), wanted(1));
        want.insert(b0.clone(), wanted(1));
        let told = fetcher.fetch(&want, &LIMITS).await.expect("fetched");
        assert_eq!(with_records(&told), std::slice::from_ref(&b0));

        // A fetch that is dropped on the way leads to a full one.
        drop(fetcher.send(&want, &LIMITS).expect("sent"));
        let told = fetcher.fetch(&want, &LIMITS).await.expect("fetched");
        assert!(told.code.is_none() && told.partitions.len() == 3, "{told:?}");

        // Out of range, and another topic under the same name.
        let too_far = BTreeMap::from([(a0.clone(), wanted(1_000))]);
        let told = fetcher.fetch(&too_far, &LIMITS).await.expect("fetched");
        assert_eq!(told.partitions[0].code, Code::OFFSET_OUT_OF_RANGE);
        let topic = Topic::new(name("session-a"), TopicId(7));
        let other = BTreeMap::from([(PartitionKey { topic, partition: 0 }, wanted(0))]);
        let told = fetcher.fetch(&other, &LIMITS).await.expect("fetched");
        let code = told.partitions.first().map_or(told.code, |partition| partition.code);
        assert_eq!(code, Code::UNKNOWN_TOPIC_ID);
    });
}

#[test]
fn questions_are_answered() {
    let (source, destination) = suite::pair();
    let kafka = suite::tool().at(&source.bootstrap());
    kafka.create_topic("asked", 1).expect("created");
    let records: Vec<Rec> = (0..5).map(|n| Rec::new("asked", 0).timestamp(1_000 * n).value("v")).collect();
    kafka.produce_with(&[("linger.ms", "200")], &records).expect("produced");
    kafka.delete_records("asked", 0, 2).expect("deleted");
    suite::tool().at(&destination.bootstrap()).create_topic("asked", 1).expect("created");
    run(async {
        let (source, destination) =
            (connect(&source.bootstrap()).await, connect(&destination.bootstrap()).await);
        let key = led(&source, "asked", 0).await;
        let (leader, known) = source.leader(&key).await.expect("led");
        let at = async |at| {
            let asked = questions::offset(&leader, &key, known.epoch, at, Isolation::ReadCommitted).await;
            asked.expect("answered").map(|found| found.offset)
        };
        assert_eq!(at(OffsetAt::Earliest).await, Some(2));
        assert_eq!(at(OffsetAt::Latest).await, Some(5));
        assert_eq!(at(OffsetAt::Timestamp(3_000)).await, Some(3));
        assert_eq!(at(OffsetAt::Timestamp(9_000)).await, None);
        assert_eq!(questions::high_watermark(&leader, &key, known.epoch).await.expect("answered"), 5);
        assert_eq!(questions::log_end(&leader, &key, known.epoch).await.expect("answered"), 5);
        let newer = questions::log_end(&leader, &key, known.epoch + 1).await.expect_err("no such epoch");
        assert_eq!(newer.code(), Some(Code::UNKNOWN_LEADER_EPOCH));

        let tail = questions::read_at(&leader, &key, known.epoch, 4, 1).await.expect("read");
        let batch = copyist_wire::Batch::new(&tail.records).expect("one whole batch");
        assert_eq!((tail.high_watermark, batch.last_offset()), (5, 4));
        let beyond = questions::read_at(&leader, &key, known.epoch, 6, 1).await.expect_err("beyond");
        assert_eq!(beyond.code(), Some(Code::OFFSET_OUT_OF_RANGE));

        let onto = led(&destination, "asked", 0).await;
        let producer = producer(&destination, &onto).await;
        let asked = producer.connection();
        let id = producer_id(asked).await;
        let other = producer_id(asked).await;
        assert_ne!(id, other);
        assert_eq!(questions::producer_state(asked, &onto, id).await.expect("answered"), None);
        let (outgoing, count) = stamped(&tail.records, id, 40);
        assert_eq!(produced(&producer, &onto, outgoing.clone()).await.code, Code::NONE);
        let state = questions::producer_state(asked, &onto, id).await.expect("answered").expect("known");
        let last_sequence = 40 + count - 1;
        assert!(
            matches!(state, ProducerState { epoch: 0, last_sequence: found, .. } if found == last_sequence)
        );
        // The same once more, a gap, another topic of that name, a damaged byte.
        let again = produced(&producer, &onto, outgoing.clone()).await;
        assert_eq!((again.code, again.base_offset), (Code::NONE, 0));
        let (gap, _) = stamped(&tail.records, id, 50);
        assert_eq!(produced(&producer, &onto, gap).await.code, Code::OUT_OF_ORDER_SEQUENCE_NUMBER);
        let topic = Topic::new(name("asked"), TopicId(7));
        let elsewhere = PartitionKey { topic, partition: 0 };
        assert_eq!(produced(&producer, &elsewhere, outgoing).await.code, Code::UNKNOWN_TOPIC_ID);
        let (mut damaged, _) = stamped(&tail.records, id, 45);
        let mut payload = damaged.payload.to_vec();
        payload[0] ^= 0x40;
        damaged.payload = payload.into();
        assert_eq!(produced(&producer, &onto, damaged).await.code, Code(2));
    });
}

#[test]
fn many_requests_are_under_way_at_once() {
    let (source, destination) = suite::pair();
    let (from, to) = (suite::tool().at(&source.bootstrap()), suite::tool().at(&destination.bootstrap()));
    from.create_topic("pipelined", 1).expect("created");
    to.create_topic("pipelined", 2).expect("created");
    from.produce(&[Rec::new("pipelined", 0).value("v")]).expect("produced");
    run(async {
        let (source, destination) =
            (connect(&source.bootstrap()).await, connect(&destination.bootstrap()).await);
        let at = led(&source, "pipelined", 0).await;
        let (leader, known) = source.leader(&at).await.expect("led");
        let records = questions::read_at(&leader, &at, known.epoch, 0, 1).await.expect("read").records;
        let (one, two) = (led(&destination, "pipelined", 0).await, led(&destination, "pipelined", 1).await);
        let producer = producer(&destination, &one).await;
        let id = producer_id(producer.connection()).await;
        for round in 0..20 {
            let send = |sequence| {
                let mut frame = frame(&one, stamped(&records, id, sequence).0);
                frame.add(two.clone(), stamped(&records, id, sequence).0).expect("another partition");
                producer.send(frame)
            };
            let under_way: Vec<_> =
                (5 * round..5 * round + 5).map(|sequence| (sequence, send(sequence))).collect();
            for (sequence, answer) in under_way {
                let answer = answer.await.expect("answered");
                assert_eq!(answer.partitions.len(), 2);
                for partition in answer.partitions {
                    assert_eq!((partition.code, partition.base_offset), (Code::NONE, i64::from(sequence)));
                }
            }
        }
    });
    assert_eq!(to.end_offsets("pipelined").expect("offsets"), BTreeMap::from([(0, 100), (1, 100)]));
}

/// On a runtime of several threads, too.
#[test]
fn a_killed_broker_is_lost_and_found_again() {
    let mut broker =
        copyist_tests::Cluster::start(suite::jars(), ClusterOptions::named("lost")).expect("started");
    let bootstrap = broker.bootstrap();
    suite::tool().at(&bootstrap).create_topic("lost", 1).expect("created");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (cluster, key, mut fetcher) = runtime.block_on(async {
        let cluster = connect(&bootstrap).await;
        let key = led(&cluster, "lost", 0).await;
        let fetcher = fetcher(&cluster, &key).await;
        (cluster, key, fetcher)
    });
    let limits = FetchLimits { max_wait: SOON, ..LIMITS };
    let want = BTreeMap::from([(key.clone(), wanted(0))]);
    let waiting = {
        let _inside = runtime.enter();
        runtime.spawn(fetcher.send(&want, &limits).expect("sent"))
    };
    broker.kill_9();
    let lost = runtime.block_on(async { tokio::time::timeout(SOON, waiting).await });
    let lost = lost.expect("at once").expect("no panic").expect_err("nobody answers");
    assert!(matches!(lost, Error::Lost { .. }) && lost.is_outcome_unknown(), "{lost:?}");
    assert!(!fetcher.connection().is_open());
    let unreachable = runtime.block_on(cluster.refresh()).expect_err("nobody is there");
    assert!(matches!(unreachable, Error::Unreachable { .. }), "{unreachable:?}");
    broker.restart().expect("started again");
    runtime.block_on(async {
        let again = led(&cluster, "lost", 0).await;
        assert_eq!(again, key, "the same topic");
        let (leader, known) = cluster.leader(&again).await.expect("led");
        assert_eq!(questions::log_end(&leader, &again, known.epoch).await.expect("answered"), 0);
        cluster.close().await;
    });
}

#[test]
fn what_is_no_broker_is_told() {
    run(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let endpoint = Endpoint { host: "localhost".to_owned(), port };
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n")
                .await
                .expect("written");
            stream
        };
        let connection = options("localhost:1").connection;
        let (opened, _stream) = tokio::join!(Connection::open(&endpoint, &connection), server);
        let error = opened.expect_err("no broker");
        let mut told = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            told = format!("{told}: {cause}");
            source = cause.source();
        }
        assert!(told.starts_with(&format!("localhost:{port} cannot be reached")), "{told}");
        assert!(told.ends_with("(what answers there speaks HTTP)"), "{told}");
    });
}
