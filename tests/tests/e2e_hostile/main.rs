//! The raw engine against a hostile world, on stub brokers: every answer that a destination may give, sequences that
//! wrap, a source that talks nonsense, crowds of idle partitions, brokers that throttle, somebody else who writes.
//!
//! The worker's own topics are on the suite's destination; the connector's two clusters are stubs, unless a test says
//! otherwise. The destination stub judges every batch as a broker does, keeps it, and counts what no honest client
//! sends; what it kept is compared with the source by Kafka's Java client.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test whose step fails has failed, and says why; it tells what really happened"
)]

mod answers;
mod crowd;
mod foreign;
mod garbage;
mod wrap;

use std::time::Duration;

use copyist_tests::scenario::LIMIT;
use copyist_tests::stub::{Options, Stub, TopicSpec};
use copyist_tests::{Deadline, Progress, Scenario, Side, suite, wait_until};
use serde_json::{Value, json};

const CONNECTOR: &str = "c";

/// A source and a destination, and a Copyist with one connector between them.
struct Between {
    scenario: Scenario,
    source: Stub,
    destination: Stub,
}

impl Between {
    /// The connector copies all topics of the source whose names begin with `name`.
    fn start(name: &str, source: Stub, destination: Stub, pairs: &[(&str, &str)]) -> Between {
        Between::start_worker(name, source, destination, &[], pairs)
    }

    /// As [`Between::start`], with `properties` in the worker file.
    fn start_worker(
        name: &str,
        source: Stub,
        destination: Stub,
        properties: &[(&str, &str)],
        pairs: &[(&str, &str)],
    ) -> Between {
        let scenario = Scenario::start_with(name, &suite::pair().1.bootstrap(), properties);
        let between = Between { scenario, source, destination };
        let selection = format!("{name}.*");
        between.create(&[&[("topic.regex", selection.as_str())], pairs].concat());
        between
    }

    fn create(&self, pairs: &[(&str, &str)]) {
        self.scenario.create(CONNECTOR, &config(&self.source, &self.destination, pairs));
    }

    /// Waits until a partition of the destination ends where that of the source does, and returns that.
    fn wait_partition(&self, topic: &str, partition: i32) -> i64 {
        let wanted = end(&self.source, topic, partition);
        let what = format!("offset {wanted} of {topic}-{partition}");
        let mut last = -1;
        let waited = wait_until(&what, LIMIT, Progress::Silent, || {
            last = end(&self.destination, topic, partition);
            Ok((last >= wanted).then_some(()))
        });
        self.scenario.must(&format!("{what}: the destination is at {last}; {}", self.status()), waited);
        assert_eq!(
            end(&self.destination, topic, partition),
            wanted,
            "{topic}-{partition}: more than there is"
        );
        wanted
    }

    fn wait_partitions(&self, topic: &str, partitions: impl IntoIterator<Item = i32>) {
        for partition in partitions {
            self.wait_partition(topic, partition);
        }
    }

    /// Every record at both ends, read by Kafka's Java client, is the same and in the same place.
    fn assert_equal(&self, topic: &str) -> u64 {
        let (tool, stubs) = (suite::tool(), [&self.source, &self.destination]);
        // A consumer that turns to another partition first waits for what it has asked of the one before.
        let at_once = || [("fetch.max.wait.ms".to_owned(), "1".to_owned())];
        let [from, to] = stubs.map(|stub| tool.at(&stub.bootstrap()).with(at_once()));
        let (left, right) = (Side { at: &from, topic }, Side { at: &to, topic });
        let compared = suite::must("a comparison", tool.compare(left, right, LIMIT, |_| ()));
        let copied = compared.left_records;
        assert!(copied > 0, "nothing was compared in {topic}");
        assert_eq!((compared.equal, compared.right_records), (copied, copied), "{topic}: {compared:#?}");
        copied
    }

    /// Nothing was sent that no honest client sends, and no batch twice.
    fn assert_honest(&self) {
        let counts = self.destination.counts();
        assert_eq!((counts.fault_count(), counts.duplicates), (0, 0), "{counts}");
    }

    fn status(&self) -> Value {
        self.scenario.get(&format!("/connectors/{CONNECTOR}/status"))
    }

    fn log(&self) -> String {
        self.scenario.must("the log", self.scenario.copyist.log_text())
    }

    fn assert_no_panic(&self) {
        let log = self.log();
        let panic = log.lines().find(|line| line.contains("panicked"));
        assert_eq!(panic, None);
    }
}

fn stub(name: &str, topics: &[&str]) -> Stub {
    stub_with(name, topics, Options::default())
}

fn stub_with(name: &str, topics: &[&str], options: Options) -> Stub {
    let topics = topics.iter().map(|topic| topic.parse::<TopicSpec>().expect("a topic")).collect();
    suite::must("a stub", Stub::start(Options { cluster_id: format!("stub-{name}"), topics, ..options }))
}

fn config(source: &Stub, destination: &Stub, pairs: &[(&str, &str)]) -> Value {
    let (from, to) = (source.bootstrap(), destination.bootstrap());
    let own = [
        ("connector.class", "EMRReplicatorSourceConnector"),
        ("src.kafka.bootstrap.servers", from.as_str()),
        ("dest.kafka.bootstrap.servers", to.as_str()),
    ];
    let all: std::collections::BTreeMap<&str, &str> = own.into_iter().chain(pairs.iter().copied()).collect();
    json!(all)
}

/// Carries out a stub's command.
fn tell(stub: &Stub, command: &str) -> String {
    stub.command(command).unwrap_or_else(|wrong| panic!("{command}: {wrong}"))
}

fn end(stub: &Stub, topic: &str, partition: i32) -> i64 {
    stub.offsets(topic, partition).map_or(0, |(_, end, _)| end)
}

fn trace_of(status: &Value) -> String {
    let tasks = status["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let traces = tasks.iter().filter_map(|task| task["trace"].as_str());
    traces.collect::<Vec<_>>().join("\n")
}

/// Lets time pass while `look` is called again and again.
fn watch(time: Duration, mut look: impl FnMut()) {
    let over = Deadline::after(time);
    let waited = wait_until("time to pass", time + LIMIT, Progress::Silent, || {
        look();
        Ok(over.passed().then_some(()))
    });
    suite::must("time", waited);
}

/// The largest resident set so far, in MiB.
fn peak_mib(scenario: &Scenario) -> u64 {
    let pid = scenario.copyist.pid().expect("it runs");
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    let kib = line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
    kib / 1024
}

/// CPU time so far: fields 14 and 15 of proc(5) `stat`, in units of 1/100 s.
fn cpu(scenario: &Scenario) -> Duration {
    let pid = scenario.copyist.pid().expect("it runs");
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, fields) = text.rsplit_once(") ").expect("a name");
    let fields = fields.split_whitespace().skip(11).take(2);
    Duration::from_millis(10 * fields.map(|field| field.parse::<u64>().expect("a number")).sum::<u64>())
}
