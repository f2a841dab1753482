//! What brokers write of themselves into ZooKeeper, and which of their addresses a client is to use. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A living broker's node under `/brokers/ids`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// In its own order.
    listeners: Vec<Listener>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Listener {
    protocol: String,
    /// `host:port`.
    address: String,
}

impl Broker {
    /// Reads the node's data: with `endpoints` and, from Kafka 0.10.2 on, the protocols of the listeners that they name;
    /// before Kafka 0.9 with `host` and `port` alone.
    #[must_use]
    pub fn read(json: &[u8]) -> Option<Self> {
        let node: Value = serde_json::from_slice(json).ok()?;
        let protocols = node.get("listener_security_protocol_map");
        let endpoints =
            node.get("endpoints").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let listeners: Vec<Listener> = endpoints
            .iter()
            .filter_map(|endpoint| {
                let (name, address) = endpoint.as_str()?.split_once("://")?;
                // Without a map a listener is called as its protocol is.
                let protocol =
                    protocols.and_then(|map| map.get(name)).and_then(Value::as_str).unwrap_or(name);
                Some(Listener { protocol: protocol.to_owned(), address: usable(address)? })
            })
            .collect();
        if !listeners.is_empty() {
            return Some(Self { listeners });
        }
        let (host, port) = (node.get("host")?.as_str()?, node.get("port")?.as_i64()?);
        let address = usable(&format!("{host}:{port}"))?;
        Some(Self { listeners: vec![Listener { protocol: "PLAINTEXT".to_owned(), address }] })
    }
}

/// An address with a host and a port; in old nodes either may be missing (port −1).
fn usable(address: &str) -> Option<String> {
    let (host, port) = address.rsplit_once(':')?;
    let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
    (!host.is_empty()).then(|| format!("{host}:{port}"))
}

/// `bootstrap.servers` for clients of this `security.protocol`: the addresses of each broker that speak it, by id.
///
/// # Errors
/// No address does; the text says what they speak.
pub fn servers(brokers: &BTreeMap<i32, Broker>, protocol: &str) -> Result<String, String> {
    let listeners = || brokers.values().flat_map(|broker| &broker.listeners);
    let fitting = listeners().filter(|listener| listener.protocol.eq_ignore_ascii_case(protocol));
    let addresses: Vec<&str> = fitting.map(|listener| listener.address.as_str()).collect();
    if !addresses.is_empty() {
        return Ok(addresses.join(","));
    }
    let spoken: BTreeSet<&str> = listeners().map(|listener| listener.protocol.as_str()).collect();
    let spoken = spoken.into_iter().collect::<Vec<_>>().join(", ");
    Err(format!("no broker speaks the security.protocol of the clients there, which must be one of {spoken}"))
}

/// Reads the data of `/cluster/id`.
#[must_use]
pub fn cluster_id(json: &[u8]) -> Option<String> {
    let node: Value = serde_json::from_slice(json).ok()?;
    Some(node.get("id")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Kafka 2.4.1 and 3.9.1 write them.
    const PLAIN: &str = r#"{"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"endpoints":["PLAINTEXT://127.0.0.1:12092"],"jmx_port":-1,"port":12092,"host":"127.0.0.1","version":4,"timestamp":"1795421676224"}"#;
    const NAMED: &str = r#"{"features":{},"listener_security_protocol_map":{"INT":"PLAINTEXT","EXT":"SASL_SSL","MORE":"PLAINTEXT"},"endpoints":["EXT://e.x:9","INT://i:7","MORE://[::1]:8"],"jmx_port":-1,"port":9,"host":"e.x","version":5,"timestamp":"1"}"#;
    /// As Kafka 0.9 and 0.8 do.
    const WITHOUT_MAP: &str = r#"{"jmx_port":-1,"timestamp":"1","endpoints":["SSL://old:9093","PLAINTEXT://old:9092"],"host":"old","version":2,"port":9092}"#;
    const WITHOUT_ENDPOINTS: &str =
        r#"{"jmx_port":-1,"timestamp":"1","host":"older","version":1,"port":9091}"#;
    /// Without a PLAINTEXT listener host and port say nothing.
    const SECURE: &str = r#"{"listener_security_protocol_map":{"SSL":"SSL"},"endpoints":["SSL://s:1"],"host":null,"port":-1,"version":4}"#;

    fn brokers(nodes: &[&str]) -> BTreeMap<i32, Broker> {
        let read = nodes.iter().map(|node| Broker::read(node.as_bytes()).unwrap());
        (1..).zip(read).collect()
    }

    #[test]
    fn the_addresses_that_speak_a_protocol_are_found() {
        let all = brokers(&[PLAIN, NAMED, WITHOUT_MAP, WITHOUT_ENDPOINTS, SECURE]);
        let rows = [
            ("PLAINTEXT", "127.0.0.1:12092,i:7,[::1]:8,old:9092,older:9091"),
            ("plaintext", "127.0.0.1:12092,i:7,[::1]:8,old:9092,older:9091"),
            ("SASL_SSL", "e.x:9"),
            ("SSL", "old:9093,s:1"),
        ];
        for (protocol, expected) in rows {
            assert_eq!(servers(&all, protocol).as_deref(), Ok(expected), "{protocol}");
        }
        let none = servers(&all, "SASL_PLAINTEXT").unwrap_err();
        assert!(none.ends_with("one of PLAINTEXT, SASL_SSL, SSL"), "{none}");
    }

    #[test]
    fn a_node_that_names_no_address_is_none() {
        let rows = [
            "",
            "[]",
            "{}",
            r#"{"host":null,"port":-1}"#,
            r#"{"host":"h","port":-1}"#,
            r#"{"host":"h","port":70000}"#,
            r#"{"endpoints":["PLAINTEXT://:9092","x",7]}"#,
        ];
        for node in rows {
            assert_eq!(Broker::read(node.as_bytes()), None, "{node}");
        }
    }

    #[test]
    fn a_clusters_id_is_read() {
        let rows = [(r#"{"version":"1","id":"I-d"}"#, Some("I-d")), ("{}", None), ("I-d", None)];
        for (node, expected) in rows {
            assert_eq!(cluster_id(node.as_bytes()).as_deref(), expected, "{node}");
        }
    }
}
