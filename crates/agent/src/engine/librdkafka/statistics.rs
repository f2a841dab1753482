//! What librdkafka's statistics and complaints tell. Pure.

use std::collections::BTreeMap;

use rdkafka::Statistics;
use rdkafka::error::RDKafkaErrorCode;

/// Whether any broker is connected. librdkafka keeps at least one connection: without one for long, the cluster
/// is not to be reached.
#[must_use]
pub fn connected(statistics: &Statistics) -> bool {
    statistics.brokers.values().any(|broker| broker.state == "UP" || broker.state == "UPDATE")
}

/// The end of each partition's log as a reader of committed records sees it; −1: not known yet.
#[must_use]
pub fn log_ends(statistics: &Statistics) -> BTreeMap<(&str, i32), i64> {
    let mut ends = BTreeMap::new();
    for topic in statistics.topics.values() {
        for partition in topic.partitions.values() {
            ends.insert((topic.topic.as_str(), partition.partition), partition.ls_offset);
        }
    }
    ends
}

/// Whether an error explains why a cluster is not reached. That all brokers are down explains nothing.
#[must_use]
pub fn is_about_connections(code: RDKafkaErrorCode) -> bool {
    const CODES: [RDKafkaErrorCode; 7] = [
        RDKafkaErrorCode::Authentication,
        RDKafkaErrorCode::BrokerTransportFailure,
        RDKafkaErrorCode::OperationTimedOut,
        RDKafkaErrorCode::Resolve,
        RDKafkaErrorCode::SSL,
        RDKafkaErrorCode::SaslAuthenticationFailed,
        RDKafkaErrorCode::UnsupportedFeature,
    ];
    CODES.contains(&code)
}

/// A complaint without the names of connections before it and the counts and times behind it, so that a repeated
/// one is the same.
#[must_use]
pub fn essence(reason: &str) -> String {
    let mut rest = reason.split(" (after ").next().unwrap_or(reason).trim();
    while let Some((_, behind)) = rest.split_once(": ").filter(|(name, _)| !name.contains(' ')) {
        rest = behind;
    }
    rest.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::statistics::{Broker, Partition, Topic};

    fn broker(state: &str) -> (String, Broker) {
        (state.to_owned(), Broker { state: state.to_owned(), ..Broker::default() })
    }

    #[test]
    fn one_broker_up_is_a_connection() {
        let rows: [(&[&str], bool); 4] = [
            (&[], false),
            (&["INIT", "DOWN", "TRY_CONNECT", "CONNECT", "AUTH_REQ"], false),
            (&["DOWN", "UP"], true),
            (&["UPDATE"], true),
        ];
        for (states, expected) in rows {
            let brokers = states.iter().map(|state| broker(state)).collect();
            assert_eq!(connected(&Statistics { brokers, ..Statistics::default() }), expected, "{states:?}");
        }
    }

    #[test]
    fn the_end_is_that_of_committed_records() {
        let partition = Partition { partition: 3, ls_offset: 7, hi_offset: 9, ..Partition::default() };
        let partitions = [(3, partition)].into_iter().collect();
        let topic = Topic { topic: "t".into(), partitions, ..Topic::default() };
        let topics = [("t".to_owned(), topic)].into_iter().collect();
        let statistics = Statistics { topics, ..Statistics::default() };
        assert_eq!(log_ends(&statistics), BTreeMap::from([(("t", 3), 7)]));
    }

    #[test]
    fn a_repeated_complaint_is_the_same() {
        let line = "b:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state \
                    CONNECT, 4 identical error(s) suppressed)";
        assert_eq!(essence(line), "Connect to ipv4#127.0.0.1:1 failed: Connection refused");
        assert_eq!(essence("GroupCoordinator: b:1: Connect failed: no"), "Connect failed: no");
        assert_eq!(essence("plain"), "plain");
        assert!(is_about_connections(RDKafkaErrorCode::BrokerTransportFailure));
        assert!(!is_about_connections(RDKafkaErrorCode::AllBrokersDown));
    }
}
