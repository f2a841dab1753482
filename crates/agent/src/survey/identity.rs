//! Whether a connector's clusters are those that its ZooKeepers know.

use std::time::Duration;

use copyist_model::{ClusterId, ZooKeeper, ZooKeepers};
use tokio::time::{Instant, timeout};

use super::remark::Warning;
use crate::client::zookeeper;
use crate::job::Findings;

/// A survey waits so long for the answer, which it can do without.
const ASK_DEADLINE: Duration = Duration::from_secs(2);
/// After silence: most of these ZooKeepers are only written down, and gone.
const SILENCE_PAUSE: Duration = Duration::from_secs(300);

/// The ZooKeepers, kept from one survey to the next.
#[derive(Debug, Default)]
pub struct Identities {
    source: Identity,
    destination: Identity,
}

#[derive(Debug, Default)]
struct Identity {
    not_before: Option<Instant>,
}

/// What the ZooKeepers said: each one's name and its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    source: Option<(String, ClusterId)>,
    destination: Option<(String, ClusterId)>,
}

impl Identities {
    pub async fn ask(&mut self, zookeepers: &ZooKeepers) -> Told {
        let (source, destination) = tokio::join!(
            self.source.ask(zookeepers.source.as_ref()),
            self.destination.ask(zookeepers.destination.as_ref())
        );
        Told { source, destination }
    }
}

impl Identity {
    async fn ask(&mut self, zookeeper: Option<&ZooKeeper>) -> Option<(String, ClusterId)> {
        let zookeeper = zookeeper?;
        if self.not_before.is_some_and(|at| Instant::now() < at) {
            return None;
        }
        let told = timeout(ASK_DEADLINE, zookeeper::ask(zookeeper)).await;
        self.not_before = match &told {
            Ok(Ok(_)) => None,
            Ok(Err(_)) | Err(_) => Some(Instant::now() + SILENCE_PAUSE),
        };
        let told =
            told.ok()?.inspect_err(|why| tracing::debug!(%why, "the cluster's id is not compared")).ok()?;
        Some((zookeeper.to_string(), told.cluster?.parse().ok()?))
    }
}

impl Told {
    /// What the brokers say otherwise.
    #[must_use]
    pub fn compare(self, findings: &Findings) -> Vec<Warning> {
        let ends = [
            ("source", self.source, &findings.source_cluster),
            ("destination", self.destination, &findings.destination_cluster),
        ];
        let compared = ends.into_iter().filter_map(|(role, told, found)| {
            let (zookeeper, told) = told.filter(|(_, told)| told != found)?;
            Some(Warning::OtherCluster { role, zookeeper, told, found: found.clone() })
        });
        compared.collect()
    }
}

#[cfg(test)]
mod tests {
    use copyist_model::ConnectorGeneration;

    use super::*;

    #[test]
    fn brokers_of_another_cluster_are_told() {
        let cluster = |id: &str| id.parse::<ClusterId>().unwrap();
        let findings = Findings {
            generation: ConnectorGeneration(1),
            source_cluster: cluster("S"),
            destination_cluster: cluster("D"),
            topics: Vec::new(),
        };
        let told = |source: Option<&str>, destination: Option<&str>| {
            let at = |id: &str| ("z:1".to_owned(), cluster(id));
            Told { source: source.map(at), destination: destination.map(at) }.compare(&findings)
        };
        assert_eq!(told(None, None), []);
        assert_eq!(told(Some("S"), Some("D")), []);
        let [warning] = &told(Some("X"), Some("D"))[..] else { panic!("one") };
        assert!(matches!(warning, Warning::OtherCluster { role: "source", .. }), "{warning:?}");
        let [warning] = &told(Some("S"), Some("S"))[..] else { panic!("one") };
        let mut remarks = super::super::remark::Remarks::default();
        remarks.add_general(warning.clone());
        assert_eq!(
            remarks.trace(),
            "the destination's brokers are those of cluster D, but its ZooKeeper z:1 is that of cluster S: what \
             the brokers say holds"
        );
    }

    #[tokio::test]
    async fn a_silent_zookeeper_is_left_alone_for_a_while() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let second = Duration::from_secs(1);
        let source = ZooKeeper::parse(&format!("127.0.0.1:{port}"), second, second).ok();
        let mut identities = Identities::default();
        let told = identities.ask(&ZooKeepers { source, destination: None }).await;
        assert_eq!(told, Told { source: None, destination: None });
        assert!(identities.source.not_before.is_some_and(|at| at > Instant::now()));
        assert_eq!(identities.destination.not_before, None);
    }
}
