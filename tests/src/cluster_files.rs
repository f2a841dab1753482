//! What a node of a cluster reads at its start: pure text.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cluster::ClusterOptions;
use crate::zookeeper::SESSION_MS;

/// The ports of one node on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub plaintext: u16,
    /// Only where the cluster has a SCRAM user.
    pub sasl: Option<u16>,
    /// Only of node 1, which is the controller.
    pub controller: Option<u16>,
}

/// Who keeps what the cluster knows of itself: the controller at this port, or ZooKeeper.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Quorum {
    KRaft(u16),
    ZooKeeper(u16),
}

const LOOPBACK: &str = "127.0.0.1";

/// The properties of node `id` (1, 2, …); node 1 is broker and controller, the others are brokers. The options'
/// own properties win.
pub(crate) fn server_properties(
    options: &ClusterOptions,
    id: usize,
    ports: Ports,
    quorum: Quorum,
    data: &Path,
) -> String {
    let mut listeners = vec![format!("PLAINTEXT://{LOOPBACK}:{}", ports.plaintext)];
    listeners.extend(ports.sasl.map(|port| format!("SASL_PLAINTEXT://{LOOPBACK}:{port}")));
    let advertised = listeners.join(",");
    listeners.extend(ports.controller.map(|port| format!("CONTROLLER://{LOOPBACK}:{port}")));
    let mut properties: BTreeMap<String, String> = BTreeMap::from(
        [
            ("listeners", listeners.join(",")),
            ("advertised.listeners", advertised),
            ("log.dirs", data.display().to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    properties.extend(
        in_quorum(quorum, &options.chroot, id, ports).into_iter().map(|(key, value)| (key.to_owned(), value)),
    );
    properties.extend(FIXED.map(|(key, value)| (key.to_owned(), value.to_owned())));
    if options.scram.is_some() {
        properties.extend(SCRAM.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
    if options.refuses_compression_type {
        properties.insert("create.topic.policy.class.name".to_owned(), "RefusingPolicy".to_owned());
    }
    properties.extend(options.properties.clone());
    // A backslash would start an escape.
    properties.iter().map(|(key, value)| format!("{key}={}\n", value.replace('\\', "\\\\"))).collect()
}

fn in_quorum(quorum: Quorum, chroot: &str, id: usize, ports: Ports) -> Vec<(&'static str, String)> {
    match quorum {
        Quorum::KRaft(port) => {
            let roles = if ports.controller.is_some() { "broker,controller" } else { "broker" };
            vec![
                ("process.roles", roles.to_owned()),
                ("node.id", id.to_string()),
                ("controller.quorum.voters", format!("1@{LOOPBACK}:{port}")),
                ("controller.listener.names", "CONTROLLER".to_owned()),
            ]
        }
        Quorum::ZooKeeper(port) => vec![
            ("broker.id", id.to_string()),
            ("zookeeper.connect", format!("{LOOPBACK}:{port}{chroot}")),
            ("zookeeper.session.timeout.ms", SESSION_MS.to_owned()),
        ],
    }
}

const FIXED: [(&str, &str); 16] = [
    (
        "listener.security.protocol.map",
        "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
    ),
    ("auto.create.topics.enable", "false"),
    // Records of tests bear timestamps of long ago: a broker would delete them at its first look, 30 s after its start.
    ("log.retention.ms", "-1"),
    // One node is a whole cluster here.
    ("offsets.topic.replication.factor", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("share.coordinator.state.topic.replication.factor", "1"),
    ("share.coordinator.state.topic.min.isr", "1"),
    // Few files and no waits: clusters start and groups form quickly.
    ("offsets.topic.num.partitions", "4"),
    ("transaction.state.log.num.partitions", "4"),
    ("share.coordinator.state.topic.num.partitions", "4"),
    ("group.initial.rebalance.delay.ms", "0"),
    // After kill -9 a broker registers again only when its former session has ended, by default 9 s later.
    ("broker.session.timeout.ms", "4000"),
    ("broker.heartbeat.interval.ms", "500"),
    // The default is 128 MB of a heap that is 512 MB.
    ("log.cleaner.dedupe.buffer.size", "16777216"),
    // Segments are preallocated index files of 10 MB otherwise.
    ("log.index.size.max.bytes", "1048576"),
];

const SCRAM: [(&str, &str); 2] = [
    ("sasl.enabled.mechanisms", "SCRAM-SHA-256"),
    (
        "listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config",
        "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    ),
];

/// Kafka's form of a uuid: base64url of its 16 bytes, without padding.
pub(crate) fn kafka_uuid(bits: u128) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    // 128 bits are 21 groups of six, and two bits, filled up with zeros.
    let groups = (0..22_u32).map(|group| if group < 21 { bits >> (122 - 6 * group) } else { bits << 4 });
    groups.map(|group| char::from(ALPHABET[usize::from((group & 63) as u8)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_as_kafka_writes_it() {
        assert_eq!(kafka_uuid(0), "AAAAAAAAAAAAAAAAAAAAAA");
        // The bytes 00 01 … 0f; checked with Java's Base64.getUrlEncoder().
        assert_eq!(kafka_uuid(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f), "AAECAwQFBgcICQoLDA0ODw");
        assert_eq!(kafka_uuid(u128::MAX), "_____________________w");
    }

    #[test]
    fn own_properties_win() {
        let mut options = ClusterOptions::named("x");
        options.properties.insert("auto.create.topics.enable".to_owned(), "true".to_owned());
        let ports = Ports { plaintext: 1, sasl: None, controller: None };
        let text = server_properties(&options, 2, ports, Quorum::KRaft(9), Path::new("/data"));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.contains(&"auto.create.topics.enable=true") && lines.contains(&"process.roles=broker"));
        assert!(lines.contains(&"listeners=PLAINTEXT://127.0.0.1:1"), "{text}");
        assert!(lines.contains(&"controller.quorum.voters=1@127.0.0.1:9"), "{text}");
    }

    #[test]
    fn a_broker_finds_zookeeper_and_has_no_role() {
        let ports = Ports { plaintext: 1, sasl: None, controller: None };
        let options = ClusterOptions { chroot: "/k".to_owned(), ..ClusterOptions::named("x") };
        let text = server_properties(&options, 2, ports, Quorum::ZooKeeper(9), Path::new("/data"));
        assert!(
            text.contains("\nzookeeper.connect=127.0.0.1:9/k\n") && text.contains("broker.id=2\n"),
            "{text}"
        );
        assert!(!text.contains("process.roles") && !text.contains("voters"), "{text}");
    }
}
