//! What the tests of a fleet have in common: etcd, two clusters, a fleet, and a topic that it copies.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use copyist_tests::exact::{Age, Feed, Tally, at, forgetful};
use copyist_tests::grpc::Grpc;
use copyist_tests::{
    Cluster, ClusterOptions, Deadline, Etcd, EtcdOptions, Fleet, FleetOptions, Kafka, Progress, suite,
    wait_until,
};
use serde_json::{Value, json};

/// A source, and a destination that soon forgets who wrote old records.
pub fn pair() -> &'static (Cluster, Cluster) {
    static PAIR: OnceLock<(Cluster, Cluster)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let (source, destination) = (ClusterOptions::named("fleet-source"), forgetful("fleet-destination"));
        suite::must("two clusters", Cluster::start_two(suite::jars(), source, destination))
    })
}

pub struct Stage {
    pub topic: String,
    pub partitions: u32,
    pub etcd: Etcd,
    pub fleet: Fleet,
    pub source: Kafka<'static>,
    pub destination: Kafka<'static>,
    /// Its records are so old that the destination forgets who wrote them: its lanes copy by their right alone.
    pub is_weak: bool,
    /// What was done to it.
    pub story: Vec<String>,
}

impl Stage {
    /// A fleet of its own, and a source topic that a connector of the same name copies in a task for each partition.
    pub fn open(topic: &str, partitions: u32, options: FleetOptions) -> Stage {
        let etcd = suite::must("etcd", Etcd::start(EtcdOptions::named(&format!("{topic}-etcd"))));
        let (from, to) = pair();
        let fleet = suite::must("a fleet", Fleet::start(&etcd, &to.bootstrap(), &options));
        let (source, destination) = (at(from), at(to));
        suite::must("created", source.create_topic(topic, partitions));
        let stage = Stage {
            topic: topic.to_owned(),
            partitions,
            etcd,
            fleet,
            source,
            destination,
            is_weak: false,
            story: Vec::new(),
        };
        stage.create(topic, topic);
        stage.wait_running(topic, partitions as usize);
        stage
    }

    pub fn config(topic: &str) -> Value {
        json!({
            "connector.class": "EMRReplicatorSourceConnector",
            "engine": "raw",
            "src.kafka.bootstrap.servers": pair().0.bootstrap(),
            "topic.whitelist": topic,
        })
    }

    pub fn create(&self, connector: &str, topic: &str) {
        let body = json!({"name": connector, "config": Stage::config(topic)});
        let (status, answer) = self.must("created", self.fleet.rest(0).post("/connectors", &body));
        assert_eq!(status, 201, "{answer}{}", self.fleet.tails());
    }

    pub fn feed(&self, age: Age, most: u64) -> Feed<'static> {
        let partitions = i32::try_from(self.partitions).unwrap_or(i32::MAX);
        // The topic lives as long as the test's process.
        let topic: &'static str = self.topic.clone().leak();
        Feed { at: self.source.clone(), topic, partitions, age, transactions: false, most }
    }

    pub fn tell(&mut self, what: impl Into<String>) {
        self.story.push(what.into());
    }

    pub fn wait_running(&self, connector: &str, tasks: usize) {
        let path = format!("/connectors/{connector}/status");
        let mut last = Value::Null;
        let run = self.fleet.wait("all tasks to run", || {
            last = self.fleet.rest(0).get(&path)?.1;
            let states = last["tasks"].as_array().cloned().unwrap_or_default();
            let running = states.iter().filter(|task| task["state"] == "RUNNING").count();
            Ok((running == tasks && states.len() == tasks && last["connector"]["state"] == "RUNNING")
                .then_some(()))
        });
        self.must(&format!("{connector}: all tasks RUNNING; its status is {last:#}"), run);
    }

    /// How many records the destination has.
    pub fn copied(&self) -> u64 {
        let ends = suite::must("offsets", self.destination.end_offsets(&self.topic));
        ends.values().map(|end| end.unsigned_abs()).sum()
    }

    /// Waits until the destination has at least so many records.
    pub fn wait_copied(&self, records: u64) {
        let mut seen = 0;
        let reached =
            wait_until(&format!("{records} records"), Duration::from_secs(180), Progress::Silent, || {
                seen = self.copied();
                Ok((seen >= records).then_some(()))
            });
        self.must(&format!("{records} records, of which {seen} are there"), reached);
    }

    /// Waits until more is copied than now.
    pub fn wait_moving(&self) {
        self.wait_copied(self.copied() + 1);
    }

    /// Waits until each partition has more than now.
    pub fn wait_all_lanes_moving(&self) {
        let before = suite::must("offsets", self.destination.end_offsets(&self.topic));
        let mut standing = Vec::new();
        let moved = self.fleet.wait("each partition to move", || {
            let now = self.destination.end_offsets(&self.topic)?;
            standing =
                before.iter().filter(|(at, end)| now.get(at) == Some(end)).map(|(at, _)| *at).collect();
            Ok(standing.is_empty().then_some(()))
        });
        self.must(&format!("partitions {standing:?} stand still"), moved);
    }

    /// While what happens happens.
    pub fn pass(&self, time: Duration) {
        let deadline = Deadline::after(time);
        let over = || Ok(deadline.passed().then_some(()));
        self.must(
            "a while",
            wait_until("the while", time * 2 + Duration::from_secs(5), Progress::Silent, over),
        );
    }

    /// What the logs of all agents tell of lanes.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for agent in &self.fleet.agents {
            tally.read(&suite::must("a log", agent.log_text()), &BTreeMap::new());
        }
        tally
    }

    /// How often a text is in the logs of coordinators.
    pub fn said(&self, text: &str) -> usize {
        let logs = self.fleet.coordinators.iter().map(|member| member.log_text().unwrap_or_default());
        logs.map(|log| log.matches(text).count()).sum()
    }

    /// An operator says that what was killed of an agent is dead: what waits for its word waits no longer.
    pub fn forget(&self, agent: usize) {
        let grpc = Grpc::at(&self.fleet.gateways[0].grpc_address());
        let request = json!({"agent_id": format!("agent-{}:8083", agent + 1)});
        let forgotten = self.fleet.wait("the agent to be forgotten", || {
            // Its lease has not ended yet.
            Ok(grpc.ask("FleetService/ForgetAgent", &request).ok().map(|_| ()))
        });
        self.must("forgotten", forgotten);
    }

    pub fn must<T>(&self, what: &str, result: copyist_tests::Result<T>) -> T {
        suite::must(&format!("{what}; {:?}", self.story), result)
    }
}
