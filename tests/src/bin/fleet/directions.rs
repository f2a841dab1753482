//! What to try.

use copyist_tests::Member;

use crate::stage::{CONNECTOR, PARTITIONS, REPLICA, Stage};

pub fn text(stage: &Stage) -> String {
    let fleet = &stage.fleet;
    let (rest, grpc) = (fleet.rest(0).base(), fleet.gateways[0].grpc_address());
    let etcd = stage.etcd.endpoints().join(",");
    let class_path = stage.jars.class_path();
    let all = fleet.coordinators.iter().chain(&fleet.agents).chain(&fleet.gateways);
    let members: Vec<_> = all.map(member).collect();
    let leader = fleet.leader().unwrap_or_default();
    let (leader, agent) = (&fleet.coordinators[leader], &fleet.agents[0]);
    let pid = |member: &Member| member.pid().unwrap_or_default();
    format!(
        "
It copies {PARTITIONS} partitions until Ctrl-C. Each change is told below; everything is removed at the end.

{}

Try, in another terminal:
  Kill the leader; kill an agent; both at once:
    kill -9 {}
    kill -9 {}
  Start what was killed again, as it was (there it ends with Ctrl-C of its own):
    {}
  Stop an agent for longer than its right lasts, then let it go on:
    kill -STOP {}; sleep 20; kill -CONT {}
  Ask, over Connect's REST API at either gateway:
    curl -s {rest}/connectors/{CONNECTOR}/status
    curl -s -X PUT {rest}/connectors/{CONNECTOR}/pause
  Ask over gRPC, with grpcurl: who leads, who has what and why, what happens:
    grpcurl -plaintext {grpc} list
    grpcurl -plaintext {grpc} copyist.connect.v1.FleetService/GetFleet
    grpcurl -plaintext {grpc} copyist.connect.v1.FleetService/Watch
    grpcurl -plaintext -d '{{\"agent_id\": \"agent-1:8083\"}}' {grpc} copyist.connect.v1.FleetService/DrainAgent
  Look into etcd, with etcdctl:
    ETCDCTL_API=3 etcdctl --endpoints {etcd} get --prefix --keys-only /copyist/
  See what arrives:
    java -cp '{}' org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server {} --topic {REPLICA}
  Stop what makes the records:
    kill {}
",
        members.join("\n"),
        pid(leader),
        pid(agent),
        agent.command(),
        pid(agent),
        pid(agent),
        class_path.display(),
        stage.destination.bootstrap(),
        stage.producer(),
    )
}

fn member(member: &Member) -> String {
    format!(
        "  {:<14} process {:<7} {}",
        member.name,
        member.pid().unwrap_or_default(),
        member.log_path().display()
    )
}
