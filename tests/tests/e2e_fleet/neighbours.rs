//! Who meets whom: other fleets on the same etcd and the same clusters, processes that should not be there, and whoever
//! asks by gRPC.

use copyist_tests::grpc::Grpc;
use copyist_tests::scenario::numbered;
use copyist_tests::{Fleet, FleetOptions, Member, suite};
use serde_json::{Value, json};

use crate::stage::{Stage, pair};

fn small(name: &str) -> FleetOptions {
    let mut options = FleetOptions { coordinators: 2, agents: 2, gateways: 1, ..FleetOptions::named(name) };
    options.properties.insert("agent.lease.ttl.ms".to_owned(), "3000".to_owned());
    options
}

impl Stage {
    /// Waits until a process has logged a line that has all of `parts`, and returns it.
    fn wait_logged(&self, member: &Member, parts: &[&str]) -> String {
        let line = self.fleet.wait(&format!("{} to log {parts:?}", member.name), || {
            let log = member.log_text()?;
            Ok(log.lines().rev().find(|line| parts.iter().all(|part| line.contains(part))).map(str::to_owned))
        });
        self.must(&format!("{parts:?}; {}", member.log_text().unwrap_or_default()), line)
    }
}

#[test]
fn fleets_with_other_group_ids_do_not_see_one_another() {
    const TOPIC: &str = "fleet-neighbour";
    let stage = Stage::open(TOPIC, 2, small(TOPIC));
    // One's name begins like the other's, and is what a path below it would be.
    for name in ["fleet-neighbour-2", "fleet-neighbour/connectors"] {
        let mut options = FleetOptions { agents: 1, coordinators: 1, ..small(TOPIC) };
        options.properties.insert("group.id".to_owned(), name.to_owned());
        for key in ["offset", "config", "status"] {
            options.properties.insert(format!("{key}.storage.topic"), format!("other-{key}"));
        }
        let other = suite::must("another fleet", Fleet::start(&stage.etcd, &pair().1.bootstrap(), &options));
        let (status, none) = stage.must("listed", other.rest(0).get("/connectors"));
        assert_eq!((status, none), (200, json!([])), "{name}");
        let body = json!({"name": "theirs", "config": Stage::config("nothing")});
        let (status, answer) = stage.must("created", other.rest(0).post("/connectors", &body));
        assert_eq!(status, 201, "{answer}");
        let (_, ours) = stage.must("listed", stage.fleet.rest(0).get("/connectors"));
        assert_eq!(ours, json!([TOPIC]), "{name}");
        let fleet = Grpc::at(&other.gateways[0].grpc_address()).ask("FleetService/GetFleet", &json!({}));
        let agents = fleet.expect("answered")["agents"].as_array().map(Vec::len);
        assert_eq!(agents, Some(1), "{name}: its agents only");
    }
    suite::must("produced", stage.source.produce(&numbered(TOPIC, 2, "r", 50)));
    stage.wait_copied(50);
}

#[test]
fn processes_that_should_not_be_there_are_told_so_and_harm_nobody() {
    const TOPIC: &str = "fleet-stranger";
    let mut stage = Stage::open(TOPIC, 4, small(TOPIC));
    let source = pair().0.bootstrap();
    let stranger = [("bootstrap.servers", source.as_str()), ("agent.id", "stranger:1")];
    let mut stranger = stage.must("a file", stage.fleet.agents[0].beside("stranger", &stranger));
    stage.must("started", stranger.launch());
    let told = stage.wait_logged(&stranger, &["the agents of this fleet copy into cluster", "group.id"]);
    assert!(told.contains(pair().1.cluster_id()) && told.contains(pair().0.cluster_id()), "{told}");
    stranger.kill_9();

    let mut twin = stage.must("a file", stage.fleet.agents[0].beside("twin", &[]));
    stage.must("started", twin.launch());
    stage
        .wait_logged(&stage.fleet.agents[0], &["another process that started later has the id agent-1:8083"]);
    suite::must("produced", stage.source.produce(&numbered(TOPIC, 4, "r", 80)));
    stage.wait_copied(80);
    twin.kill_9();
    let back = stage.fleet.wait("the older process to be back", || {
        let log = stage.fleet.agents[0].log_text()?;
        let told = log.rfind("another process that started later");
        Ok((log.rfind("a session with the leader is open") > told).then_some(()))
    });
    stage.must("the older process is back", back);
    suite::must("produced", stage.source.produce(&numbered(TOPIC, 4, "s", 80)));
    stage.wait_copied(160);
    assert!(stage.fleet.members_mut().all(Member::runs), "{}", stage.fleet.tails());
}

/// All services of the management API, which each coordinator and each gateway answers.
const MANAGEMENT: [&str; 2] = ["copyist.connect.v1.ConnectorService", "copyist.connect.v1.FleetService"];
/// And what every role has.
const EVERYWHERE: [&str; 2] = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];

#[test]
fn grpcurl_lists_and_calls_everything_on_each_role() {
    const TOPIC: &str = "fleet-grpc";
    let stage = Stage::open(TOPIC, 4, small(TOPIC));
    let fleet = &stage.fleet;
    let all = || fleet.coordinators.iter().chain(&fleet.agents).chain(&fleet.gateways);
    for member in all() {
        let grpc = Grpc::at(&member.grpc_address());
        let listed = grpc.run(&[], &["list"]).expect("a list");
        let manages = !member.name.starts_with("agent");
        for service in EVERYWHERE.iter().chain(MANAGEMENT.iter().filter(|_| manages)) {
            assert!(listed.contains(service), "{} of {}: {listed}", service, member.name);
        }
        let health = grpc.run(&[], &["grpc.health.v1.Health/Check"]).expect("an answer");
        assert!(health.contains("SERVING"), "{}: {health}", member.name);
    }
    let leader = stage.must("a leader", fleet.wait_leader());
    let leads = fleet.ways[leader].address();
    for member in fleet.coordinators.iter().chain(&fleet.gateways) {
        let grpc = Grpc::at(&member.grpc_address());
        let shown = grpc.ask("FleetService/GetFleet", &json!({})).expect("a fleet");
        assert_eq!(shown["leaderAddress"], json!(leads), "{}", member.name);
        assert_eq!(shown["agents"].as_array().map(Vec::len), Some(2), "{shown:#}");
        assert_eq!(shown["destinationClusterId"], json!(pair().1.cluster_id()));
        let placed = grpc.ask("FleetService/GetPlacement", &json!({"part": {"connector": TOPIC, "task": 0}}));
        let placed = placed.expect("a placement");
        assert!(placed["reason"].as_str().is_some_and(|reason| reason.contains(" lanes")), "{placed:#}");
        let listed = grpc.call("ListConnectors", &json!({"expandStatus": true})).expect("a list");
        assert_eq!(listed["connectors"][0]["name"], json!(TOPIC), "{}", member.name);
    }
    let gateway = Grpc::at(&fleet.gateways[0].grpc_address());
    moved_and_drained(&stage, &gateway);
    let unknown =
        gateway.ask("FleetService/DrainAgent", &json!({"agentId": "nobody:1"})).expect_err("refused");
    assert_eq!((unknown.code.as_str(), unknown.message.as_str()), ("NotFound", "Unknown agent: nobody:1"));
}

/// A task is moved to the other agent and stays there; an agent is drained and gets its share again; a watcher sees it.
fn moved_and_drained(stage: &Stage, gateway: &Grpc) {
    let part = json!({"connector": stage.topic, "task": 0});
    let placed = |part: &Value| {
        let placed = gateway.ask("FleetService/GetPlacement", &json!({"part": part})).expect("a placement");
        (placed["agentId"].as_str().unwrap_or_default().to_owned(), placed["pinned"] == json!(true))
    };
    let (before, _) = placed(&part);
    let other = if before == "agent-1:8083" { "agent-2:8083" } else { "agent-1:8083" };
    gateway.ask("FleetService/MovePart", &json!({"part": part, "agentId": other})).expect("moved");
    assert_eq!(placed(&part), (other.to_owned(), true));
    gateway.ask("FleetService/DrainAgent", &json!({"agentId": other})).expect("drained");
    let emptied = stage.fleet.wait("the agent to have nothing", || {
        let fleet = gateway.ask("FleetService/GetFleet", &json!({})).unwrap_or_default();
        let agents = fleet["agents"].as_array().cloned().unwrap_or_default();
        let drained = agents.iter().find(|agent| agent["agentId"] == json!(other));
        Ok(drained.is_some_and(|it| it["parts"] == json!(0) && it["draining"] == json!(true)).then_some(()))
    });
    stage.must("drained", emptied);
    gateway.ask("FleetService/UndrainAgent", &json!({"agentId": other})).expect("undrained");
    let seen = gateway.run(
        &["-emit-defaults", "-max-time", "3", "-d", &json!({"connector": stage.topic}).to_string()],
        &["copyist.connect.v1.FleetService/Watch"],
    );
    // The stream goes on until its time is over.
    let printed = seen.map_or_else(|refused| refused.message, |printed| printed);
    assert!(printed.contains("\"synced\"") || printed.contains("deadline"), "{printed}");
}
