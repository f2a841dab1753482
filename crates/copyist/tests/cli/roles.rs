//! Processes of single roles, around the coordinator of a standalone process.

use copyist_proto::connect::GetFleetRequest;
use copyist_proto::connect::fleet_service_client::FleetServiceClient;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ListServiceResponse, ServerReflectionRequest};

use crate::support::{Running, address, directory, free_ports, get, until};

const CONNECTORS: &str = "copyist.connect.v1.ConnectorService";
const FLEET: &str = "copyist.connect.v1.FleetService";
const LOGGERS: &str = "copyist.connect.v1.LoggerService";
const AGENTS: &str = "copyist.control.v1.AgentService";
const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";

/// A coordinator with an agent of its own, an agent and a gateway.
struct Fleet {
    coordinator: (Running, String),
    agent: (Running, String),
    gateway: (Running, String),
    rest: String,
    _dirs: [TempDir; 3],
}

impl Fleet {
    fn start() -> Self {
        let alone = directory(&[("w.properties", &free_ports("agent.id=a"))]);
        let mut coordinator = Running::start(&alone, &[]);
        let at = grpc(&mut coordinator, "coordinator.listen");
        let file = free_ports(&format!(
            "group.id=copyist\ncoordinator.endpoints={at}\nagent.listen=127.0.0.1:0\ngateway.listen=127.0.0.1:0\n\
             agent.id=b"
        ));
        let dirs = [directory(&[("w.properties", &file)]), directory(&[("w.properties", &file)])];
        let mut agent = Running::start_as("agent", &dirs[0], &[]);
        let mut gateway = Running::start_as("gateway", &dirs[1], &[]);
        let rest = address(&gateway.wait_for("(listeners)"), "REST API: http://", " (listeners)");
        let agent_at = grpc(&mut agent, "agent.listen");
        let gateway_at = grpc(&mut gateway, "gateway.listen");
        let [one, two] = dirs;
        Self {
            coordinator: (coordinator, at),
            agent: (agent, agent_at),
            gateway: (gateway, gateway_at),
            rest,
            _dirs: [alone, one, two],
        }
    }
}

fn grpc(running: &mut Running, key: &str) -> String {
    let log = running.wait_for(&format!("({key})"));
    address(&log, "gRPC: ", &format!(" ({key})"))
}

fn channel(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).expect("an address").connect_lazy()
}

async fn health(address: &str, service: &str) -> Result<ServingStatus, tonic::Code> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(channel(address)).check(request).await;
    answer.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
}

async fn listed(address: &str) -> Vec<String> {
    let host = String::new();
    let request =
        ServerReflectionRequest { host, message_request: Some(MessageRequest::ListServices(String::new())) };
    let asked = futures::stream::iter([request]);
    let answer = ServerReflectionClient::new(channel(address)).server_reflection_info(asked).await;
    let answer = answer.expect("reflection").into_inner().message().await.expect("an answer").expect("one");
    let Some(MessageResponse::ListServicesResponse(ListServiceResponse { service })) =
        answer.message_response
    else {
        panic!("{answer:?}")
    };
    let mut names: Vec<_> = service.into_iter().map(|service| service.name).collect();
    names.sort();
    names
}

/// The agents that are connected, by name.
async fn agents(address: &str) -> Vec<String> {
    let fleet = FleetServiceClient::new(channel(address)).get_fleet(GetFleetRequest::default()).await;
    let agents = fleet.map(|fleet| fleet.into_inner().agents).unwrap_or_default();
    agents.into_iter().map(|agent| agent.agent_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_answers_what_it_has_and_says_what_that_is() {
    let mut fleet = Fleet::start();
    let rows = [
        (&fleet.coordinator.1, vec![CONNECTORS, FLEET, LOGGERS, AGENTS]),
        (&fleet.agent.1, vec![]),
        (&fleet.gateway.1, vec![CONNECTORS, FLEET]),
    ];
    for (address, own) in rows {
        for service in own.iter().copied().chain([""]) {
            assert_eq!(health(address, service).await, Ok(ServingStatus::Serving), "{address} {service}");
        }
        assert_eq!(health(address, "other.Service").await, Err(tonic::Code::NotFound));
        let expected: Vec<_> = own.into_iter().chain([HEALTH, REFLECTION]).map(str::to_owned).collect();
        assert_eq!(listed(address).await, expected, "{address}");
    }
    // What the gateway answers comes from the coordinator, by either API.
    let handle = tokio::runtime::Handle::current();
    for address in [&fleet.coordinator.1, &fleet.gateway.1] {
        tokio::task::block_in_place(|| {
            until(|| (handle.block_on(agents(address)) == ["a", "b"]).then_some(()));
        });
    }
    let rest = fleet.rest.clone();
    let answer = tokio::task::block_in_place(|| get(&rest, "/connectors"));
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("[]"), "{answer}");
    for (role, running) in [("agent", &mut fleet.agent.0), ("gateway", &mut fleet.gateway.0)] {
        running.signal(Signal::SIGTERM);
        assert_eq!(running.exit_status(), Some(0), "{role}: {}", running.text());
        assert!(running.text().trim_end().ends_with("stopped"), "{role}: {}", running.text());
    }
    fleet.coordinator.0.signal(Signal::SIGTERM);
    assert_eq!(fleet.coordinator.0.exit_status(), Some(0), "{}", fleet.coordinator.0.text());
}

#[test]
fn administration_is_served_where_the_file_says_and_nowhere_else() {
    let rows = [
        ("", "200", None),
        ("admin.listeners=", "404", None),
        ("admin.listeners=http://127.0.0.1:0", "404", Some("200")),
    ];
    for (line, beside, apart) in rows {
        let dir = directory(&[("w.properties", &free_ports(line))]);
        let mut running = Running::start(&dir, &[]);
        let log = running.wait_for("(metrics.listen)");
        let status = |address: &str, path: &str| get(address, path)["HTTP/1.1 ".len()..][..3].to_owned();
        let rest = address(&log, "REST API: http://", " (listeners)");
        assert_eq!(
            (status(&rest, "/admin/loggers").as_str(), status(&rest, "/").as_str()),
            (beside, "200"),
            "{line}"
        );
        assert_eq!(log.contains("(admin.listeners)"), apart.is_some(), "{log}");
        if let Some(apart) = apart {
            let lines = log.lines().find(|line| line.contains("(admin.listeners)")).expect("it says where");
            let admin = address(lines, "REST API: http://", "/admin/loggers (admin.listeners)");
            assert_eq!(
                (status(&admin, "/admin/loggers/root").as_str(), status(&admin, "/").as_str()),
                (apart, "404")
            );
        }
        running.signal(Signal::SIGTERM);
        assert_eq!(running.exit_status(), Some(0), "{}", running.text());
    }
}

#[test]
fn a_role_listens_where_its_own_keys_say_and_nowhere_else() {
    let file = "group.id=g\ncoordinator.endpoints=127.0.0.1:1\nagent.listen=127.0.0.1:0\nagent.id=b\n\
                gateway.listen=127.0.0.1:0\netcd.endpoints=127.0.0.1:1";
    let rows = [
        ("coordinator", &["coordinator.listen", "metrics.listen"][..]),
        ("agent", &["agent.listen", "metrics.listen"]),
        ("gateway", &["listeners", "gateway.listen", "metrics.listen"]),
        ("distributed", &["listeners", "coordinator.listen", "metrics.listen"]),
    ];
    for (role, keys) in rows {
        let dir = directory(&[("w.properties", &free_ports(file))]);
        let mut running = Running::start_as(role, &dir, &[]);
        let log = running.wait_for("(metrics.listen)");
        for key in ["listeners", "coordinator.listen", "agent.listen", "gateway.listen", "metrics.listen"] {
            assert_eq!(log.contains(&format!(" ({key})")), keys.contains(&key), "{role} {key}: {log}");
        }
        running.signal(Signal::SIGTERM);
        assert_eq!(running.exit_status(), Some(0), "{role}: {}", running.text());
    }
}
