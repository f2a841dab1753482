//! Equality on real Kafka, by the raw engine: every kind of record, codec, timestamp type, transaction and compaction,
//! for each way in which a batch is planned. Compared by Kafka's Java client, and batches that pass byte for byte.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test whose step fails has failed, and says why; it tells what really happened"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use copyist_tests::equality::odd::{self, OddRecord};
use copyist_tests::equality::{Plans, StoredBatch, Times, content, segments, wait_exactly};
use copyist_tests::scenario::{LIMIT, config, destination, numbered, source};
use copyist_tests::{
    Copyist, CopyistOptions, Process, Progress, Rec, Scenario, Scratch, Step, suite, wait_until,
};

/// 2024-01-02.
const THEN: i64 = 1_704_153_600_000;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// A header's name that is no text.
const NO_TEXT: [u8; 5] = [b'n', 0xff, 0xfe, 0x80, b'o'];
/// The cleaner looks every 15 s.
const CLEANED: Duration = Duration::from_secs(150);

/// One batch of all records, whatever its size.
const ONE_BATCH: [(&str, &str); 2] = [("batch.size", "4000000"), ("linger.ms", "5000")];
/// One batch for each record.
const SINGLE: (&str, &str) = ("batch.size", "0");

/// Bytes that hardly compress, the same each time.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// `count` records of a key and 200 bytes.
fn noisy(topic: &str, count: usize) -> Vec<Rec> {
    let record = |n: usize| {
        let stamp = THEN + i64::try_from(n).expect("few");
        Rec::new(topic, 0).key(format!("key {n}")).value(noise(n as u64, 200)).timestamp(stamp)
    };
    (0..count).map(record).collect()
}

/// Records with everything that a copy can get wrong.
fn odd_records(topic: &str) -> Vec<Rec> {
    let rec = |age: i64| Rec::new(topic, 0).timestamp(THEN + age);
    vec![
        rec(0),
        rec(1).key("").value(""),
        rec(2).key("tombstone"),
        rec(3).value("without a key"),
        rec(4).key(""),
        rec(5).key(vec![7; 200_000]).value(vec![0; 500_000]),
        rec(6).key([0, 255, 10]).value([128, 0]).header("twice", Some(b"1")).header("twice", Some(b"2")),
        rec(7).value("v").header("null", None).header("empty", Some(b"")).header("", Some(b"no name")),
        rec(8).key("tombstone with a header").header("h\u{e9}", Some(&[0, 159, 146, 150])),
        rec(-100_000).value("older than the one before"),
        rec(-THEN).value("1970"),
        rec(-THEN + 1).value("a moment later"),
    ]
}

fn plain_topic(topic: &str) {
    source().create_topic(topic, 1).expect("created");
}

/// One that is there before Copyist comes.
fn at_destination(topic: &str, configs: &[(&str, &str)]) {
    destination().create_topic_with(topic, 1, 1, configs).expect("created");
}

fn produce(properties: &[(&str, &str)], records: &[Rec]) {
    source().produce_with(properties, records).expect("produced");
}

/// Each codec: odd records in small batches and in one, and batches that pass.
fn write_kinds() {
    for codec in CODECS {
        let topic = format!("eq-kinds-{codec}");
        plain_topic(&topic);
        let zipped = ("compression.type", codec);
        produce(&[zipped, ONE_BATCH[0], ONE_BATCH[1]], &odd_records(&topic));
        produce(&[zipped, ONE_BATCH[0], ONE_BATCH[1]], &noisy(&topic, 200));
        produce(&[zipped, SINGLE], &odd_records(&topic));
        produce(&[zipped, ("batch.size", "500")], &numbered(&topic, 1, codec, 50));
        produce(&[zipped, ONE_BATCH[0], ONE_BATCH[1]], &noisy(&topic, 300));
    }
}

/// What Kafka's clients do not write; large enough to pass, and small enough to be merged.
fn write_odd() {
    let topic = "eq-odd";
    plain_topic(topic);
    let name = |name: &[u8]| name.to_vec();
    let odd = |timestamp, value: Vec<u8>| OddRecord {
        timestamp,
        key: Some(NO_TEXT.to_vec()),
        value: Some(value),
        headers: vec![
            (name(&NO_TEXT), None),
            (name(b"twice"), Some(vec![1])),
            (name(b"twice"), Some(vec![])),
            (name(b""), Some(vec![0xff])),
            (name(&NO_TEXT), Some(NO_TEXT.to_vec())),
        ],
    };
    let none = OddRecord { timestamp: -1, ..OddRecord::default() };
    let batches: [Vec<OddRecord>; 6] = [
        vec![odd(THEN, noise(1, 20_000)), odd(THEN - 1_000_000_000, vec![]), odd(-1, vec![9]), none.clone()],
        vec![none.clone(), odd(THEN, noise(2, 20_000)), none.clone()],
        vec![none.clone()],
        vec![odd(THEN, vec![1]), odd(0, vec![2]), odd(-1, vec![3])],
        vec![none.clone(), odd(THEN + 5, vec![4])],
        vec![odd(-1, noise(3, 20_000))],
    ];
    for records in batches {
        odd::produce(&suite::pair().0.bootstrap(), topic, 0, &records).expect("produced");
    }
}

/// The source's own time, the destination's own, and both.
fn write_appended() {
    let appended = [("message.timestamp.type", "LogAppendTime")];
    for topic in ["eq-appended", "eq-both"] {
        source().create_topic_with(topic, 1, 1, &appended).expect("created");
    }
    plain_topic("eq-appending");
    at_destination("eq-appending", &appended);
    at_destination("eq-both", &appended);
    plain_topic("eq-recompressed");
    // The broker opens every batch.
    at_destination("eq-recompressed", &[("compression.type", "lz4")]);
    for topic in ["eq-appended", "eq-both", "eq-appending", "eq-recompressed"] {
        for codec in CODECS {
            produce(&[("compression.type", codec), ONE_BATCH[0], ONE_BATCH[1]], &odd_records(topic));
            produce(&[("compression.type", codec), ONE_BATCH[0], ONE_BATCH[1]], &noisy(topic, 100));
            produce(&[("compression.type", codec), SINGLE], &numbered(topic, 1, codec, 10));
        }
    }
}

/// Two transactional producers and a plain one into one partition at the same time, one kind after the other as well.
fn write_transactions() {
    let topic = "eq-transactions";
    plain_topic(topic);
    let steps = |tag: &str, ends: [Step; 3]| {
        let part = |end: Step| {
            let records = numbered(topic, 1, &format!("{tag} {end:?}"), 400);
            records.into_iter().map(Step::Record).chain([end]).collect::<Vec<_>>()
        };
        ends.into_iter().flat_map(part).collect::<Vec<_>>()
    };
    let small = [("batch.size", "600")];
    std::thread::scope(|scope| {
        let kept = steps("a", [Step::Commit, Step::Abort, Step::Commit]);
        scope.spawn(move || source().transact("eq-a", &small, &kept).expect("produced"));
        let lost = steps("b", [Step::Abort, Step::Commit, Step::Abort]);
        scope.spawn(move || source().transact("eq-b", &small, &lost).expect("produced"));
        for round in 0..15 {
            produce(&[], &numbered(topic, 1, &format!("plain {round}"), 5));
        }
    });
    let large = noisy(topic, 200).into_iter().map(Step::Record);
    let large: Vec<Step> = large.chain([Step::Commit]).collect();
    source().transact("eq-c", &ONE_BATCH, &large).expect("produced");
    let stored = stored_at_source(topic);
    println!("{topic}: {} batches, {} of others within transactions", stored.len(), interleaved(&stored));
    assert!(interleaved(&stored) > 0, "nothing came in between");
}

/// Batches that lie between those of somebody else's transaction.
fn interleaved(batches: &[StoredBatch]) -> usize {
    let mut open = BTreeSet::new();
    let mut between = 0;
    for StoredBatch { header, .. } in batches {
        let id = header.producer_id;
        if header.is_control() {
            open.remove(&id);
            continue;
        }
        between += usize::from(open.iter().any(|other| *other != id));
        if header.is_transactional() {
            open.insert(id);
        }
    }
    between
}

/// Begins what the cleaner ends: [`wait_cleaned`].
fn write_compacted() {
    let topic = "eq-compacted";
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "1000"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("min.compaction.lag.ms", "0"),
    ];
    source().create_topic_with(topic, 1, 1, &configs).expect("created");
    // It would clean as well.
    at_destination(topic, &[("cleanup.policy", "delete")]);
    let batch = |minute: i64, keys: &[usize], codec: &str| {
        let record = |key: &usize| {
            let record = Rec::new(topic, 0).key(format!("key {key}")).timestamp(THEN + minute * 60_000);
            if key % 13 == 12 { record } else { record.value(noise(*key as u64, 150)) }
        };
        let records: Vec<Rec> = keys.iter().map(record).collect();
        // Each call is a producer of its own, and a segment: of a producer's last batch the header stays.
        produce(&[("compression.type", codec), ONE_BATCH[0], ONE_BATCH[1]], &records);
    };
    let range = |from: usize, to: usize, step: usize| (from..to).step_by(step).collect::<Vec<usize>>();
    for (minute, codec) in (0..).zip(CODECS) {
        let first = usize::try_from(minute).expect("few") * 1_000;
        batch(3 * minute, &range(first, first + 300, 1), codec);
        batch(3 * minute + 1, &range(first + 500, first + 520, 1), codec);
        // Every second of the first goes, and all of the next.
        let again = [range(first, first + 300, 2), range(first + 500, first + 520, 1)].concat();
        batch(3 * minute + 2, &again, codec);
    }
    batch(100, &[9_001], "none");
    batch(101, &[9_002, 9_001, 9_002], "none");
}

fn wait_cleaned() {
    let topic = "eq-compacted";
    let mut counts = (0, 0, 0);
    let cleaned = wait_until("the cleaner", CLEANED, Progress::Silent, || {
        // Segments are replaced meanwhile.
        let Ok(batches) = segments::batches(&suite::pair().0, topic, 0) else { return Ok(None) };
        let empty = batches.iter().filter(|batch| batch.header.count == 0).count();
        let gaps = batches.iter().filter(|batch| batch.has_gaps()).count();
        counts = (batches.len(), gaps, empty);
        Ok((gaps >= CODECS.len() && empty >= CODECS.len()).then_some(()))
    });
    let (batches, gaps, empty) = counts;
    println!("{topic}: {batches} batches, {gaps} with gaps, {empty} empty");
    suite::must("a cleaned log", cleaned);
    let years = [("min.compaction.lag.ms", "1000000000000")];
    source().alter_topic_configs(topic, &years, &[]).expect("no more cleaning");
}

/// The destination takes batches of 20,000 bytes at most.
fn write_oversize() {
    let topic = "eq-oversize";
    plain_topic(topic);
    at_destination(topic, &[("max.message.bytes", "20000")]);
    for codec in CODECS {
        produce(&[("compression.type", codec), ONE_BATCH[0], ONE_BATCH[1]], &noisy(topic, 400));
    }
}

/// One batch of 200 records for each codec; copying is to begin within the third.
const STARTS_AT: i64 = 450;

fn write_start() {
    plain_topic("eq-start");
    for codec in CODECS {
        produce(&[("compression.type", codec), ONE_BATCH[0], ONE_BATCH[1]], &noisy("eq-start", 200));
    }
}

/// As Connect stores it: the last offset that was copied.
fn store_position(scenario: &Scenario, storage: &str, connector: &str, topic: &str, next: i64) {
    scenario.wait_topic(&destination(), storage);
    let cluster = suite::pair().0.cluster_id();
    let key = format!(r#"["{connector}",{{"cluster":"{cluster}","partition":0,"topic":"{topic}"}}]"#);
    let mut record = Rec::new(storage, 0).key(key).value(format!(r#"{{"offset":{}}}"#, next - 1));
    record.partition = None;
    destination().produce(&[record]).expect("stored");
}

fn write_tiny() {
    plain_topic("eq-tiny");
    for codec in CODECS {
        produce(&[("compression.type", codec), SINGLE], &numbered("eq-tiny", 1, codec, 60));
    }
}

fn stored_at_source(topic: &str) -> Vec<StoredBatch> {
    segments::batches(&suite::pair().0, topic, 0).expect("the log")
}

fn stored_at_destination(topic: &str) -> Vec<StoredBatch> {
    segments::batches(&suite::pair().1, topic, 0).expect("the log")
}

/// Committed records, from an offset on.
fn to_copy(topic: &str, from: i64) -> Vec<Rec> {
    let all = source().dump(topic).expect("read");
    all.into_iter().filter(|record| record.offset >= from).collect()
}

/// Which plan is to be seen in which topic.
const OUTCOMES: [(&str, &str, &str); 17] = [
    ("eq-kinds-none", "pass", ""),
    ("eq-kinds-gzip", "pass", ""),
    ("eq-kinds-snappy", "pass", ""),
    ("eq-kinds-lz4", "pass", ""),
    ("eq-kinds-zstd", "pass", ""),
    ("eq-odd", "pass", ""),
    ("eq-compacted", "pass", ""),
    ("eq-transactions", "pass", ""),
    ("eq-both", "pass", ""),
    ("eq-start", "rewrite", "start"),
    ("eq-tiny", "rewrite", "tiny"),
    ("eq-compacted", "rewrite", "gaps"),
    ("eq-appended", "rewrite", "log_append_time"),
    ("eq-oversize", "rewrite", "oversize"),
    ("eq-transactions", "skip", "control"),
    ("eq-transactions", "skip", "aborted"),
    ("eq-compacted", "skip", "empty"),
];

/// Waits until the metrics show every outcome.
fn wait_outcomes(scenario: &Scenario) -> Plans {
    let mut plans = Plans::default();
    let mut missing = Vec::new();
    let found = wait_until("every plan in the metrics", LIMIT, Progress::Silent, || {
        plans = Plans::read(&scenario.copyist.metrics()?);
        missing =
            OUTCOMES.into_iter().filter(|(topic, plan, reason)| plans.of(topic, plan, reason) == 0).collect();
        Ok(missing.is_empty().then(|| plans.clone()))
    });
    println!("batches by plan:\n{}", plans.table());
    scenario.must(&format!("every plan, of which {missing:?} are missing"), found)
}

/// All topics of the first test, and what timestamps their copies bear.
fn all_topics() -> Vec<(String, Times)> {
    let kinds = CODECS.map(|codec| (format!("eq-kinds-{codec}"), Times::Kept));
    let others = [
        "eq-odd",
        "eq-appended",
        "eq-transactions",
        "eq-compacted",
        "eq-oversize",
        "eq-start",
        "eq-tiny",
        "eq-recompressed",
    ];
    let others = others.map(|topic| (topic.to_owned(), Times::Kept));
    let stamped = ["eq-both", "eq-appending"].map(|topic| (topic.to_owned(), Times::Appended));
    kinds.into_iter().chain(others).chain(stamped).collect()
}

#[test]
fn every_kind_of_record_is_equal_for_each_plan() {
    write_compacted();
    write_kinds();
    write_odd();
    write_appended();
    write_transactions();
    write_oversize();
    write_start();
    write_tiny();
    wait_cleaned();
    let scenario = Scenario::start("equality");
    store_position(&scenario, "equality-offset", "equal", "eq-start", STARTS_AT);
    let topics = all_topics();
    let from = |topic: &str| if topic == "eq-start" { STARTS_AT } else { 0 };
    let expected: Vec<Vec<Rec>> = topics.iter().map(|(topic, _)| to_copy(topic, from(topic))).collect();
    scenario.create("equal", &config(&[("topic.regex", "eq-.*")]));
    for ((topic, times), expected) in topics.iter().zip(&expected) {
        wait_exactly(&scenario, expected, &destination(), topic, *times);
        assert!(*expected == to_copy(topic, from(topic)), "{topic}: the source is another now");
        println!("{topic}: {} records are equal", expected.len());
    }
    scenario.wait_running("equal", topics.len());
    let plans = wait_outcomes(&scenario);
    for (topic, _) in &topics {
        let (sent, copied) = (stored_at_source(topic), stored_at_destination(topic));
        let (passed, same) = (plans.of(topic, "pass", ""), segments::identical(&sent, &copied));
        println!(
            "{topic}: {} batches, {} copies, {passed} passed, {same} the same bytes",
            sent.len(),
            copied.len()
        );
        let opened = topic == "eq-recompressed";
        assert!(opened || same >= passed, "{topic}: {passed} batches passed, {same} are the same bytes");
        assert!(!copied.iter().any(|it| it.header.is_control() || it.header.is_transactional()), "{topic}");
    }
    let names = |batches: Vec<StoredBatch>| {
        let bytes: Vec<u8> = batches.into_iter().flat_map(|batch| batch.bytes).collect();
        bytes.windows(NO_TEXT.len()).filter(|it| **it == NO_TEXT).count()
    };
    assert_eq!(
        names(stored_at_destination("eq-odd")),
        names(stored_at_source("eq-odd")),
        "bytes that are no text"
    );
    // Nothing comes late.
    for ((topic, times), expected) in topics.iter().zip(&expected) {
        if let Err(misfits) = content::exactly(expected, &destination(), topic, *times) {
            panic!("{topic}: {misfits}");
        }
    }
}

/// Killed within a batch that is split: the rest of it follows, and what was whole is passed over.
#[test]
fn a_batch_that_was_copied_in_part_is_continued_within() {
    let topic = "parted";
    plain_topic(topic);
    at_destination(topic, &[("max.message.bytes", "20000")]);
    // 17 KB pass; 400 KB become twenty or more.
    produce(&ONE_BATCH, &noisy(topic, 75));
    produce(&ONE_BATCH, &noisy(topic, 1_700));
    let scratch = Scratch::new("parted").expect("made");
    let options = |environment: BTreeMap<OsString, Option<OsString>>| {
        let own = ["group.id", "offset.storage.topic", "config.storage.topic", "status.storage.topic"];
        let properties =
            own.map(|key| (key.to_owned(), format!("parted-{}", key.split('.').next().unwrap_or(key))));
        let dir = Some(scratch.path().to_owned());
        CopyistOptions { properties: properties.into(), dir, environment, ..CopyistOptions::default() }
    };
    // Records of 2024 travel on a connection of their own.
    let kill = ("COPYIST_KILL_AT".into(), Some("OwnProduced:3".into()));
    let bootstrap = suite::pair().1.bootstrap();
    let started = Copyist::start(&bootstrap, options([kill].into())).expect("started");
    let mut scenario = Scenario { copyist: started };
    scenario.create("c", &config(&[("topic.whitelist", topic)]));
    scenario.copyist.wait_exit().expect("it kills itself");
    let there = destination().end_offsets(topic).expect("offsets")[&0];
    println!("killed with {there} of 1775 records at the destination");
    assert!((76..1_775).contains(&there), "not within the second batch");
    let started = Copyist::start(&bootstrap, options(BTreeMap::new())).expect("started again");
    let scenario = Scenario { copyist: started };
    wait_exactly(&scenario, &to_copy(topic, 0), &destination(), topic, Times::Kept);
    let seen = wait_until("resume in the metrics", LIMIT, Progress::Silent, || {
        let plans = Plans::read(&scenario.copyist.metrics()?);
        let seen = plans.of(topic, "rewrite", "resume") > 0 && plans.of(topic, "skip", "already_copied") > 0;
        Ok(seen.then_some(plans))
    });
    println!("batches by plan after the restart:\n{}", scenario.must("both", seen).table());
}

/// What DumpLogSegments prints of a partition's batches: from each line its codec and size.
fn dumped(cluster: &copyist_tests::Cluster, topic: &str, scratch: &Path) -> Vec<String> {
    let files = segments::files(&segments::directory(cluster, topic, 0)).expect("segments");
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let log = scratch.join(format!("{}-{topic}.dump", cluster.cluster_id()));
    let class = "org.apache.kafka.tools.DumpLogSegments";
    let spec = suite::jars().command("DumpLogSegments", class, &log).expect("java");
    let spec = spec.args(["--files", &files.join(",")]);
    Process::run(&spec, LIMIT, Progress::Silent).expect("it runs");
    let text = std::fs::read_to_string(&log).expect("what it printed");
    let word = |line: &str, name: &str| {
        let rest = line.split_once(&format!("{name}: ")).map(|(_, rest)| rest.to_owned());
        rest.and_then(|rest| rest.split(' ').next().map(str::to_owned))
    };
    let batch = |line: &str| Some(format!("{} {}", word(line, "compresscodec")?, word(line, "size")?));
    text.lines().filter_map(batch).collect()
}

#[test]
fn batches_that_pass_are_the_same_bytes_and_look_the_same_in_kafkas_own_dump() {
    let batches = 4;
    for codec in CODECS {
        let topic = format!("e0-{codec}");
        plain_topic(&topic);
        for batch in 0..batches {
            let zipped = ("compression.type", codec);
            produce(&[zipped, ONE_BATCH[0], ONE_BATCH[1]], &noisy(&topic, 200 + 50 * batch));
        }
    }
    let scenario = Scenario::start("e0");
    scenario.create("e0", &config(&[("topic.regex", "e0-.*")]));
    let scratch = Scratch::new("dumps").expect("made");
    for codec in CODECS {
        let topic = format!("e0-{codec}");
        wait_exactly(&scenario, &to_copy(&topic, 0), &destination(), &topic, Times::Kept);
        let (sent, copied) = (stored_at_source(&topic), stored_at_destination(&topic));
        assert_eq!((sent.len(), copied.len()), (batches, batches), "{topic}");
        for (batch, copy) in sent.iter().zip(&copied) {
            assert!(batch.is_identical(copy), "{topic}: {:?} became {:?}", batch.header, copy.header);
            assert_eq!(copy.codec(), codec);
        }
        let [of_source, of_destination] =
            [&suite::pair().0, &suite::pair().1].map(|cluster| dumped(cluster, &topic, scratch.path()));
        assert_eq!(of_source.len(), batches, "{of_source:?}");
        assert!(of_source.iter().all(|line| line.to_lowercase().starts_with(codec)), "{of_source:?}");
        assert_eq!(of_source, of_destination, "{topic}");
        println!("{topic}: {}", of_destination.join(", "));
    }
    let seen = wait_until("all in the metrics", LIMIT, Progress::Silent, || {
        let plans = Plans::read(&scenario.copyist.metrics()?);
        let passed: u64 = CODECS.iter().map(|codec| plans.of(&format!("e0-{codec}"), "pass", "")).sum();
        Ok((passed == (batches * CODECS.len()) as u64).then_some(passed))
    });
    println!("{} batches passed", scenario.must("all passed", seen));
}
