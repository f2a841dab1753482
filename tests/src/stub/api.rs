//! The requests that a stub answers.

use kafka_protocol::messages::ApiKey;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    Produce,
    Fetch,
    ListOffsets,
    Metadata,
    FindCoordinator,
    ApiVersions,
    CreateTopics,
    InitProducerId,
    OffsetForLeaderEpoch,
    DescribeConfigs,
    CreatePartitions,
    DescribeCluster,
    DescribeProducers,
}

impl Api {
    pub const ALL: [Api; 13] = [
        Api::Produce,
        Api::Fetch,
        Api::ListOffsets,
        Api::Metadata,
        Api::FindCoordinator,
        Api::ApiVersions,
        Api::CreateTopics,
        Api::InitProducerId,
        Api::OffsetForLeaderEpoch,
        Api::DescribeConfigs,
        Api::CreatePartitions,
        Api::DescribeCluster,
        Api::DescribeProducers,
    ];

    pub(crate) fn of(key: i16) -> Option<Api> {
        Api::ALL.into_iter().find(|api| api.key() as i16 == key)
    }

    pub(crate) fn key(self) -> ApiKey {
        self.row().0
    }

    /// In commands.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The oldest and newest versions offered, those of Kafka 4.3 where the codec knows them.
    pub(crate) fn versions(self) -> (i16, i16) {
        self.row().2
    }

    fn row(self) -> (ApiKey, &'static str, (i16, i16)) {
        match self {
            Api::Produce => (ApiKey::Produce, "produce", (3, 13)),
            Api::Fetch => (ApiKey::Fetch, "fetch", (4, 17)),
            Api::ListOffsets => (ApiKey::ListOffsets, "list-offsets", (1, 10)),
            Api::Metadata => (ApiKey::Metadata, "metadata", (0, 13)),
            Api::FindCoordinator => (ApiKey::FindCoordinator, "find-coordinator", (0, 6)),
            Api::ApiVersions => (ApiKey::ApiVersions, "api-versions", (0, 4)),
            Api::CreateTopics => (ApiKey::CreateTopics, "create-topics", (2, 7)),
            Api::InitProducerId => (ApiKey::InitProducerId, "init-producer-id", (0, 5)),
            Api::OffsetForLeaderEpoch => (ApiKey::OffsetForLeaderEpoch, "offset-for-leader-epoch", (2, 4)),
            Api::DescribeConfigs => (ApiKey::DescribeConfigs, "describe-configs", (1, 4)),
            Api::CreatePartitions => (ApiKey::CreatePartitions, "create-partitions", (0, 3)),
            Api::DescribeCluster => (ApiKey::DescribeCluster, "describe-cluster", (0, 2)),
            Api::DescribeProducers => (ApiKey::DescribeProducers, "describe-producers", (0, 0)),
        }
    }
}
