//! Everything that runs.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use copyist_tests::{
    Cluster, ClusterOptions, Error, Etcd, EtcdOptions, Jars, KAFKA_VERSION, KafkaTool, Process, Progress,
    Result, Scratch, wait_until,
};
use copyist_tests::{Fleet, FleetOptions};
use serde_json::json;

/// Its `group.id`.
pub const FLEET: &str = "fleet";
pub const CONNECTOR: &str = "orders-to-the-other-side";
pub const TOPIC: &str = "orders";
pub const REPLICA: &str = "orders.replica";
pub const PARTITIONS: u32 = 40;
const RECORDS_PER_SECOND: u32 = 200;
const RUNNING_LIMIT: Duration = Duration::from_secs(120);

/// Dropped in the order of its fields.
pub struct Stage {
    producer: Process,
    pub fleet: Fleet,
    pub tool: KafkaTool,
    pub etcd: Etcd,
    pub source: Cluster,
    pub destination: Cluster,
    pub jars: Jars,
    _scratch: Scratch,
}

impl Stage {
    pub fn set_up() -> Result<Stage> {
        let say = |text: &str| Progress::Terminal.say(text);
        say(&format!("Kafka {KAFKA_VERSION}"));
        let jars = Jars::fetch(Progress::Terminal)?;
        let tool = KafkaTool::start(&jars, Progress::Terminal)?;
        say("Starting two Kafka clusters, one node each");
        let cluster = |name| ClusterOptions { progress: Progress::Terminal, ..ClusterOptions::named(name) };
        let (source, destination) = Cluster::start_two(&jars, cluster("source"), cluster("destination"))?;
        say("Starting etcd");
        let etcd = Etcd::start(EtcdOptions { progress: Progress::Terminal, ..EtcdOptions::named("etcd") })?;
        say("Starting 3 coordinators, 4 agents and 2 gateways");
        let options = FleetOptions { environment: BTreeMap::new(), ..FleetOptions::named(FLEET) };
        let fleet = Fleet::start(&etcd, &destination.bootstrap(), &options)?;
        let leader = fleet.wait_leader()?;
        say(&format!("{} leads", fleet.coordinators[leader].name));

        tool.at(&source.bootstrap()).create_topic(TOPIC, PARTITIONS)?;
        say(&format!("Creating the connector {CONNECTOR}"));
        create_connector(&fleet, &source.bootstrap())?;
        let scratch = Scratch::new("producer")?;
        let class = "org.apache.kafka.tools.ProducerPerformance";
        let arguments = format!(
            "--topic {TOPIC} --num-records 1000000000 --throughput {RECORDS_PER_SECOND} --record-size 100 \
             --bootstrap-server {}",
            source.bootstrap()
        );
        let log = scratch.path().join("producer.log");
        let producer = jars.command("kafka-producer-perf-test", class, &log)?.args(arguments.split(' '));
        let producer = Process::spawn(&producer)?;
        Ok(Stage { producer, fleet, tool, etcd, source, destination, jars, _scratch: scratch })
    }

    /// What makes the records.
    pub fn producer(&self) -> u32 {
        self.producer.pid()
    }
}

fn create_connector(fleet: &Fleet, source: &str) -> Result<()> {
    let body = json!({ "name": CONNECTOR, "config": {
        "connector.class": "EMRReplicatorSourceConnector",
        "src.kafka.bootstrap.servers": source,
        "topic.whitelist": TOPIC,
        "topic.rename.format": REPLICA,
        "tasks.max": "16",
    }});
    let (status, answer) = fleet.rest(0).post("/connectors", &body)?;
    if status != 201 {
        return Err(Error::Invalid(format!("the connector was refused with {status}: {answer}")));
    }
    let path = format!("/connectors/{CONNECTOR}/status");
    wait_until("the connector and its tasks to run", RUNNING_LIMIT, Progress::Terminal, || {
        let (_, status) = fleet.rest(0).get(&path)?;
        let tasks = status["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
        let runs = !tasks.is_empty() && tasks.iter().all(|task| task["state"] == "RUNNING");
        Ok(runs.then_some(()))
    })
}

/// Between two looks.
#[expect(clippy::disallowed_methods, reason = "it looks again and again, at people's pace")]
pub fn pause() {
    thread::sleep(Duration::from_millis(500));
}
