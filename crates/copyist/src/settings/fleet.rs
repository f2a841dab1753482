//! What holds for processes of a fleet only: their names, their addresses, and the times that etcd can keep.

use std::time::Duration;

use super::address::Address;
use super::given::Given;
use super::key::Level;
use super::machine::Machine;
use super::notice::Notice;
use super::role::{self, Role};

/// etcd grants no lease that is shorter, unless its election timeout is altered.
const ETCD_LEASE_MIN: Duration = Duration::from_secs(2);

/// The leases' lengths, in milliseconds.
const LEASES: [&str; 2] = ["agent.lease.ttl.ms", "coordinator.lease.ttl.ms"];

/// How long the system tries to bring a write to a broker that does not answer (`TCP_USER_TIMEOUT`).
const WRITE_TIMEOUT: Duration = Duration::from_secs(4);

/// etcd's default; a deposed leader of it may answer for twice this.
const ETCD_ELECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// What is missing or cannot be in a fleet.
pub fn rules(place: &str, given: &Given, machine: &Machine, role: Role) -> Vec<String> {
    let mut problems = Vec::new();
    if role.is_one_of(role::FLEET) && given.is_defaulted("group.id") {
        problems.push(
            "group.id is missing: the name of the fleet, the same in all its processes, and in no other fleet of \
             the same etcd"
                .to_owned(),
        );
    }
    if role.is_one_of(&[Role::Agent, Role::Gateway]) && given.is_defaulted("coordinator.endpoints") {
        problems.push(format!(
            "coordinator.endpoints is missing: where the {} finds the coordinators, as host:port, separated by \
             commas",
            role.name()
        ));
    }
    if role.is_one_of(role::REPLICAS) {
        problems.extend(replica_rules(place, given, machine, role));
    }
    problems
}

fn replica_rules(place: &str, given: &Given, machine: &Machine, role: Role) -> Vec<String> {
    let mut problems = Vec::new();
    let unreachable = unreachable(given, machine);
    if given.is_defaulted("etcd.endpoints") {
        problems.push(without_etcd(place, given, machine, role, unreachable.is_some()));
    }
    if !is_without_addresses(given) {
        problems.extend(unreachable);
    }
    for key in LEASES {
        if let Some(ttl) = given.millis(key).filter(|ttl| *ttl < ETCD_LEASE_MIN) {
            problems.push(format!(
                "{key} is {}; etcd grants no lease shorter than {} ms",
                ttl.as_millis(),
                ETCD_LEASE_MIN.as_millis()
            ));
        }
    }
    problems
}

/// Whether the file says nothing yet of etcd and of where this coordinator is: one text tells all.
fn is_without_addresses(given: &Given) -> bool {
    ["etcd.endpoints", "coordinator.listen", "coordinator.advertised.address"]
        .into_iter()
        .all(|key| given.is_defaulted(key))
}

/// What Connect's own file lacks, in the words that make it a fleet's.
fn without_etcd(place: &str, given: &Given, machine: &Machine, role: Role, unreachable: bool) -> String {
    let mut lines = vec!["etcd.endpoints=http://127.0.0.1:2379".to_owned()];
    if unreachable && is_without_addresses(given) {
        lines.push(if is_loopback(&machine.address) {
            // Nobody else is reached, or reaches it: then all of the fleet is here.
            "coordinator.endpoints=127.0.0.1:9083".to_owned()
        } else {
            format!("coordinator.listen={}", Address::join(&machine.address, 9083))
        });
    }
    let these = if lines.len() == 1 {
        "this line, with etcd's own address"
    } else {
        "these two lines, with the right addresses"
    };
    let lines: String = lines.iter().map(|line| format!("\n  {line}")).collect();
    let alone = match role {
        Role::Distributed => {
            format!("\n  Without etcd, one process does everything: copyist standalone {place}")
        }
        Role::Standalone | Role::Coordinator | Role::Agent | Role::Gateway => String::new(),
    };
    format!(
        "etcd.endpoints is missing: coordinators keep in etcd what the fleet knows; add {these}:{lines}{alone}"
    )
}

/// Where the others of the fleet reach this coordinator. Port 0 stands for the one that it will listen on.
pub fn advertised(given: &Given, machine: &Machine) -> Option<Address> {
    let listen = given.address("coordinator.listen")?;
    if !given.is_defaulted("coordinator.advertised.address") {
        return given.address("coordinator.advertised.address");
    }
    // Of a machine, as Connect takes it for its worker_id.
    let host = if listen.names_a_host() { listen.host } else { machine.address.clone() };
    Some(Address { host, port: listen.port })
}

/// An address that leads each process to itself is none for a fleet, unless all of it is on this machine.
fn unreachable(given: &Given, machine: &Machine) -> Option<String> {
    let advertised = advertised(given, machine).filter(Address::is_loopback)?;
    let endpoints = given.addresses("coordinator.endpoints").unwrap_or_default();
    if !endpoints.is_empty() && endpoints.iter().all(Address::is_loopback) {
        return None;
    }
    let (key, other) = if given.is_defaulted("coordinator.advertised.address") {
        ("coordinator.listen", " or coordinator.advertised.address")
    } else {
        ("coordinator.advertised.address", "")
    };
    Some(format!(
        "{key}: {advertised} is reached from this machine only: name by {key}{other} an address that the others of \
         the fleet reach, or, where all of it is on this machine, all coordinators by coordinator.endpoints, as in \
         coordinator.endpoints={advertised}"
    ))
}

fn is_loopback(host: &str) -> bool {
    Address { host: host.to_owned(), port: 0 }.is_loopback()
}

/// A lease's length as etcd keeps it: whole seconds.
#[must_use]
pub fn granted(ttl: Duration) -> Duration {
    Duration::from_secs(ttl.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX))
}

/// What a lane whose fence is weak must at least wait beyond the former holder's right.
fn margin_min(ttl: Duration) -> Duration {
    WRITE_TIMEOUT + 2 * ETCD_ELECTION_TIMEOUT + ttl / 100
}

/// What a user of a fleet's coordinator should know about its times.
pub fn notices(place: &str, given: &Given, role: Role) -> Vec<Notice> {
    let mut notices = Vec::new();
    if !role.is_one_of(role::REPLICAS) {
        return notices;
    }
    let ttl = given.millis("agent.lease.ttl.ms").map(granted);
    if let (Some(margin), Some(min)) = (given.millis("lease.margin.ms"), ttl.map(margin_min))
        && margin < min
    {
        let text = format!(
            "{place}: lease.margin.ms is {}, less than the {} that a write under way and a deposed leader of etcd \
             may last: records older than the destination remembers may be copied twice after an agent is lost",
            margin.as_millis(),
            min.as_millis()
        );
        notices.push(Notice { level: Level::Warning, text });
    }
    for key in LEASES {
        let Some(ttl) = given.millis(key) else { continue };
        if granted(ttl) != ttl {
            let (ttl, granted) = (ttl.as_millis(), granted(ttl).as_millis());
            let text = format!("{place}: {key} is {ttl}; etcd counts whole seconds, so {granted} holds");
            notices.push(Notice { level: Level::Info, text });
        }
    }
    notices
}
