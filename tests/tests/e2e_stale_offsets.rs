//! Offsets that were changed through one agent hold for another one that has not read of it, and against a position of
//! before that lands after the change. The second agent reaches the topic of positions by a way of its own, which is cut;
//! a reader that is not ours counts what is copied.
#![expect(clippy::single_range_in_vec_init, reason = "parts of a partition, of which there may be one")]
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test whose step fails has failed, and says why; one that passes tells what happened"
)]

use std::collections::BTreeMap;

use copyist_tests::grpc::Grpc;
use copyist_tests::parts::{self, Parts};
use copyist_tests::scenario::{numbered, source};
use copyist_tests::{
    Cluster, ClusterOptions, Cut, Etcd, EtcdOptions, Fleet, FleetOptions, Kafka, Member, Rec, ScramUser,
    Side, free_port, suite,
};
use reqwest::Method;
use serde_json::{Value, json};

const PARTITIONS: i32 = 3;
const ROUND: usize = 60;
/// Less than the position of a lane takes, and more than a question does.
const PUT_BYTES: u64 = 400;

/// How the second agent speaks to the topic of positions.
#[derive(Clone, Copy, PartialEq)]
enum Client {
    Own,
    /// As it has to log in.
    Librdkafka,
}

struct Stage {
    topic: &'static str,
    destination: Cluster,
    /// Between the second agent and the topic of positions.
    way: Cut,
    fleet: Fleet,
    /// Has the connector to itself; its data goes past `way`.
    second: Member,
    rounds: usize,
    _etcd: Etcd,
}

impl Stage {
    /// Two agents, of which the first has nothing to copy and is the one to be asked.
    fn open(topic: &'static str, client: Client) -> Stage {
        let etcd = suite::must("etcd", Etcd::start(EtcdOptions::named(&format!("{topic}-etcd"))));
        let way = suite::must("a way", Cut::before(0));
        let destination = destination(topic, &way, client);
        let sasl = destination.sasl_bootstrap();
        way.forward_to(sasl.rsplit(':').next().expect("a port").parse().expect("a port"));
        let properties = [("offset.flush.interval.ms", "500"), ("agent.lease.ttl.ms", "4000")];
        let options = FleetOptions {
            coordinators: 1,
            agents: 1,
            gateways: 1,
            properties: properties.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..FleetOptions::named(topic)
        };
        let fleet = suite::must("a fleet", Fleet::start(&etcd, &destination.bootstrap(), &options));
        let mut own = if client == Client::Librdkafka { user().client_properties() } else { BTreeMap::new() };
        own.extend(
            [
                ("agent.id", "agent-2:8083".to_owned()),
                ("agent.labels", "copies=yes".to_owned()),
                ("bootstrap.servers", way.address()),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        let own: Vec<(&str, &str)> = own.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let mut second = suite::must("an agent", fleet.agents[0].beside("agent-2", &own));
        suite::must("launched", second.launch());
        suite::must("created", source().create_topic(topic, PARTITIONS.unsigned_abs()));
        let stage = Stage { topic, destination, way, fleet, second, rounds: 0, _etcd: etcd };
        let config = json!({
            "connector.class": "EMRReplicatorSourceConnector",
            "engine": "raw",
            "agent.labels": "copies=yes",
            "src.kafka.bootstrap.servers": suite::pair().0.bootstrap(),
            "dest.kafka.bootstrap.servers": stage.destination.bootstrap(),
            "topic.whitelist": topic,
        });
        stage.call(Method::POST, "/connectors", Some(&json!({"name": topic, "config": config})), 201);
        stage
    }

    fn call(&self, method: Method, path: &str, body: Option<&Value>, status: u16) -> Value {
        let answer = self.must("an answer", self.fleet.rest(0).call(method.clone(), path, body));
        assert_eq!(answer.0, status, "{method} {path}: {}{}", answer.1, self.fleet.tails());
        answer.1
    }

    fn put(&self, action: &str, status: u16) {
        self.call(Method::PUT, &format!("/connectors/{}/{action}", self.topic), None, status);
    }

    fn must<T>(&self, what: &str, result: copyist_tests::Result<T>) -> T {
        let log = self.second.log_text().unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(15).collect();
        suite::must(&format!("{what}; the second agent says, last first: {tail:#?}"), result)
    }

    fn at(&self) -> Kafka<'static> {
        suite::tool().at(&self.destination.bootstrap())
    }

    fn produce(&mut self) {
        let tag = format!("round {}", self.rounds);
        let count = ROUND * PARTITIONS.unsigned_abs() as usize;
        suite::must("produced", source().produce(&numbered(self.topic, PARTITIONS, &tag, count)));
        self.rounds += 1;
    }

    /// The last offset copied; nothing: none.
    fn alter(&self, offsets: [Option<i64>; 3]) -> String {
        let offsets: Vec<_> = (0..).zip(offsets).collect();
        let body = parts::offsets(suite::pair().0.cluster_id(), self.topic, &offsets);
        let path = format!("/connectors/{}/offsets", self.topic);
        let answer = self.call(Method::PATCH, &path, Some(&body), 200);
        answer["message"].as_str().expect("a message").to_owned()
    }

    /// By partition, as they are shown.
    fn wait_offsets(&self, wanted: &[i64]) {
        let path = format!("/connectors/{}/offsets", self.topic);
        let found = self.fleet.wait("the offsets", || {
            let shown = self.fleet.rest(0).get(&path)?.1;
            let entries = shown["offsets"].as_array().cloned().unwrap_or_default();
            let shown: Vec<i64> = entries.iter().filter_map(|it| it["offset"]["offset"].as_i64()).collect();
            Ok((shown == wanted).then_some(()))
        });
        self.must("the offsets", found);
    }

    /// Waits until each partition of the destination holds these parts of the source's, and nothing else.
    fn wait_parts(&self, parts: &Parts<'_>) {
        let total = parts::records(parts);
        let at = self.at();
        let mut seen = 0;
        let reached = self.fleet.wait("the records", || {
            let Ok(ends) = at.end_offsets(self.topic) else { return Ok(None) };
            seen = ends.values().sum::<i64>().unsigned_abs();
            Ok((seen >= total).then_some(()))
        });
        self.must(&format!("{total} records, {seen} are there"), reached);
        let side = |at| Side { at, topic: self.topic };
        parts::assert_holds(side(&at), side(&source()), parts);
    }

    /// What is stored last of each lane, by partition.
    fn stored(&self) -> BTreeMap<i64, Value> {
        let records = self.must("read", self.at().dump(&format!("{}-offsets", self.topic)));
        let mut stored = BTreeMap::new();
        for Rec { key, value, .. } in records {
            let key: Value = serde_json::from_slice(&key.unwrap_or_default()).unwrap_or_default();
            let value = value.and_then(|value| serde_json::from_slice(&value).ok()).unwrap_or_default();
            stored.insert(key[1]["partition"].as_i64().unwrap_or(-1), value);
        }
        stored
    }
}

/// Its second listener is advertised as the cut way's. It asks for a password, unless our own client is to use it.
fn destination(topic: &str, way: &Cut, client: Client) -> Cluster {
    let port = suite::must("a port", free_port());
    let protocol = if client == Client::Librdkafka { "SASL_PLAINTEXT" } else { "PLAINTEXT" };
    let protocols = format!("CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:{protocol}");
    let advertised = format!("PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://{}", way.address());
    let properties = [("advertised.listeners", advertised), ("listener.security.protocol.map", protocols)];
    let options = ClusterOptions {
        port: Some(port),
        scram: Some(user()),
        properties: properties.map(|(key, value)| (key.to_owned(), value)).into(),
        ..ClusterOptions::named(&format!("{topic}-destination"))
    };
    suite::must("a destination", Cluster::start(suite::jars(), options))
}

fn user() -> ScramUser {
    ScramUser { name: "second".to_owned(), password: "agent".to_owned() }
}

#[test]
fn an_agent_that_has_not_read_of_a_change_waits_until_it_has() {
    waits_until_it_has_read("unread", Client::Own);
}

#[test]
fn so_does_one_that_reads_by_librdkafka() {
    waits_until_it_has_read("unread-by-librdkafka", Client::Librdkafka);
}

fn waits_until_it_has_read(topic: &'static str, client: Client) {
    let mut stage = Stage::open(topic, client);
    stage.produce();
    stage.wait_parts(&[&[0..60], &[0..60], &[0..60]]);
    stage.put("stop", 204);
    stage.wait_offsets(&[59, 59, 59]);

    stage.way.cut(true);
    stage.alter([Some(19), None, Some(99)]);
    stage.produce();
    stage.put("resume", 202);
    // It has the tasks, and has not read what it must know.
    let path = format!("/connectors/{}/status", stage.topic);
    let mut last = Value::Null;
    let waits = stage.fleet.wait("the second agent to wait", || {
        last = stage.fleet.rest(0).get(&path)?.1;
        let tasks = last["tasks"].as_array().cloned().unwrap_or_default();
        let waits = |task: &Value| {
            task["state"] == "UNASSIGNED" && task["trace"].as_str().is_some_and(|it| it.contains("position"))
        };
        Ok((tasks.len() == 3 && tasks.iter().all(waits)).then_some(()))
    });
    stage.must(&format!("three tasks that wait for positions; the status is {last:#}"), waits);
    println!("it waits: {}", last["tasks"][0]["trace"]);
    stage.wait_parts(&[&[0..60], &[0..60], &[0..60]]);

    stage.way.cut(false);
    stage.produce();
    stage.wait_parts(&[&[0..60, 20..180], &[0..60, 0..180], &[0..60, 100..180]]);
    stage.wait_offsets(&[179, 179, 179]);
}

#[test]
fn a_position_that_lands_after_a_change_undoes_nothing() {
    let mut stage = Stage::open("late", Client::Own);
    stage.produce();
    stage.wait_parts(&[&[0..60], &[0..60], &[0..60]]);
    stage.wait_offsets(&[59, 59, 59]);

    // Its next positions are on their way when it is killed.
    stage.way.cut(true);
    stage.produce();
    stage.wait_parts(&[&[0..120], &[0..120], &[0..120]]);
    let held =
        stage.fleet.wait("positions on their way", || Ok((stage.way.held() >= PUT_BYTES).then_some(())));
    stage.must("positions on their way", held);
    println!("{} bytes are on their way", stage.way.held());
    stage.second.kill_9();
    let grpc = Grpc::at(&stage.fleet.gateways[0].grpc_address());
    let forgotten = stage.fleet.wait("the second agent to be forgotten", || {
        Ok(grpc.ask("FleetService/ForgetAgent", &json!({"agent_id": "agent-2:8083"})).ok())
    });
    stage.must("forgotten", forgotten);
    stage.put("stop", 204);
    stage.alter([Some(19), None, Some(129)]);

    stage.way.cut(false);
    let mut stored = BTreeMap::new();
    let landed = stage.fleet.wait("the positions to land", || {
        stored = stage.stored();
        Ok(stored.values().any(|position| position["copyist.generation"].is_u64()).then_some(()))
    });
    stage.must(&format!("positions of before behind the change; stored are {stored:?}"), landed);
    println!("stored after the change: {stored:?}");
    // Lane 1 begins anew.
    stage.wait_offsets(&[19, 129]);

    stage.produce();
    suite::must("launched", stage.second.launch());
    stage.put("resume", 202);
    stage.wait_parts(&[&[0..120, 20..180], &[0..120, 0..180], &[0..120, 130..180]]);
    stage.wait_offsets(&[179, 179, 179]);
}
