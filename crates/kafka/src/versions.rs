//! Which version of each API is spoken with a broker. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::code::Code;
use crate::error::Error;
use crate::primitive::Reader;

/// The APIs that this client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    Produce,
    Fetch,
    ListOffsets,
    Metadata,
    ApiVersions,
    CreateTopics,
    InitProducerId,
    OffsetForLeaderEpoch,
    DescribeConfigs,
    CreatePartitions,
    IncrementalAlterConfigs,
    DescribeProducers,
}

/// Versions from `min` to `max`; empty when `min` is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRange {
    pub min: i16,
    pub max: i16,
}

impl VersionRange {
    pub const NONE: Self = Self { min: 0, max: -1 };
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min > self.max { f.write_str("none") } else { write!(f, "{}..{}", self.min, self.max) }
    }
}

impl Api {
    pub const ALL: [Self; 12] = [
        Self::Produce,
        Self::Fetch,
        Self::ListOffsets,
        Self::Metadata,
        Self::ApiVersions,
        Self::CreateTopics,
        Self::InitProducerId,
        Self::OffsetForLeaderEpoch,
        Self::DescribeConfigs,
        Self::CreatePartitions,
        Self::IncrementalAlterConfigs,
        Self::DescribeProducers,
    ];

    /// The number in a request's header.
    #[must_use]
    pub fn key(self) -> i16 {
        match self {
            Self::Produce => 0,
            Self::Fetch => 1,
            Self::ListOffsets => 2,
            Self::Metadata => 3,
            Self::ApiVersions => 18,
            Self::CreateTopics => 19,
            Self::InitProducerId => 22,
            Self::OffsetForLeaderEpoch => 23,
            Self::DescribeConfigs => 32,
            Self::CreatePartitions => 37,
            Self::IncrementalAlterConfigs => 44,
            Self::DescribeProducers => 61,
        }
    }

    /// The versions that we speak. The lowest are those of brokers 2.4 or below, the highest what `kafka-protocol`
    /// and our own framing know.
    #[must_use]
    pub fn ours(self) -> VersionRange {
        let (min, max) = match self {
            Self::Produce => (3, 13),
            // From 4 on there are isolation levels.
            Self::Fetch => (4, 18),
            // From 4 on there are leader epochs.
            Self::ListOffsets => (4, 10),
            Self::Metadata => (7, 13),
            Self::ApiVersions => (0, 3),
            Self::CreateTopics => (2, 7),
            Self::InitProducerId => (0, 4),
            Self::OffsetForLeaderEpoch => (2, 4),
            Self::DescribeConfigs => (1, 4),
            Self::CreatePartitions => (0, 3),
            Self::IncrementalAlterConfigs => (0, 1),
            Self::DescribeProducers => (0, 0),
        };
        VersionRange { min, max }
    }

    /// The first version whose header and body have tagged fields.
    #[must_use]
    pub fn flexible_from(self) -> i16 {
        match self {
            Self::Produce | Self::Metadata => 9,
            Self::Fetch => 12,
            Self::ListOffsets => 6,
            Self::ApiVersions => 3,
            Self::CreateTopics => 5,
            Self::InitProducerId | Self::CreatePartitions => 2,
            Self::OffsetForLeaderEpoch | Self::DescribeConfigs => 4,
            Self::IncrementalAlterConfigs => 1,
            Self::DescribeProducers => 0,
        }
    }

    /// Whether a request carries 1 or 2 as its header's version.
    #[must_use]
    pub fn is_flexible(self, version: i16) -> bool {
        version >= self.flexible_from()
    }

    /// Whether the body of an answer begins with `throttle_time_ms`, in all the versions that we speak.
    #[must_use]
    pub fn throttle_leads(self) -> bool {
        match self {
            Self::Produce | Self::ApiVersions => false,
            Self::Fetch
            | Self::ListOffsets
            | Self::Metadata
            | Self::CreateTopics
            | Self::InitProducerId
            | Self::OffsetForLeaderEpoch
            | Self::DescribeConfigs
            | Self::CreatePartitions
            | Self::IncrementalAlterConfigs
            | Self::DescribeProducers => true,
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A broker that does not know our version of ApiVersions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UseVersion0;

/// What one broker offers, and what is used of it.
#[derive(Debug, Clone)]
pub struct Versions {
    broker: Arc<str>,
    offered: BTreeMap<Api, VersionRange>,
}

impl Versions {
    /// Of a broker that has not told yet.
    #[must_use]
    pub fn none(broker: Arc<str>) -> Self {
        Self { broker, offered: BTreeMap::new() }
    }

    /// From the body of a broker's answer to ApiVersions; `broker` is how errors call it. `Err` within: the broker does
    /// not know this version, ask in version 0.
    ///
    /// # Errors
    /// [`Error::Malformed`], or [`Error::Refused`] with another code.
    pub fn read(broker: Arc<str>, body: &Bytes, version: i16) -> Result<Result<Self, UseVersion0>, Error> {
        let mut reader = Reader::new(body, "an ApiVersions answer", Api::ApiVersions.is_flexible(version));
        match Code(reader.i16()?) {
            Code::NONE => (),
            // What follows is written in version 0.
            Code::UNSUPPORTED_VERSION if version > 0 => return Ok(Err(UseVersion0)),
            code => return Err(Error::refused(format!("{broker} does not tell its versions"), code, None)),
        }
        let mut offered = BTreeMap::new();
        for _ in 0..reader.count(6)? {
            let key = reader.i16()?;
            let range = VersionRange { min: reader.i16()?, max: reader.i16()? };
            reader.skip_tagged()?;
            offered.extend(Api::ALL.into_iter().find(|api| api.key() == key).map(|api| (api, range)));
        }
        Ok(Ok(Self { broker, offered }))
    }

    /// The highest version that both speak.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when there is none.
    pub fn pick(&self, api: Api) -> Result<i16, Error> {
        let ours = api.ours();
        let theirs = self.offered.get(&api).copied().unwrap_or(VersionRange::NONE);
        let version = ours.max.min(theirs.max);
        if version >= ours.min.max(theirs.min) {
            return Ok(version);
        }
        Err(Error::Unsupported { broker: Arc::clone(&self.broker), api, ours, theirs })
    }

    /// Whether a version of it can be spoken.
    #[must_use]
    pub fn has(&self, api: Api) -> bool {
        self.pick(api).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use kafka_protocol::messages::api_versions_response::ApiVersion;
    use kafka_protocol::messages::{ApiKey, ApiVersionsResponse};
    use kafka_protocol::protocol::Encodable;

    fn answer(code: i16, ranges: &[(Api, i16, i16)], version: i16) -> Bytes {
        let api = |(api, min, max): &(Api, i16, i16)| {
            ApiVersion::default().with_api_key(api.key()).with_min_version(*min).with_max_version(*max)
        };
        let unknown = ApiVersion::default().with_api_key(999);
        let answer = ApiVersionsResponse::default()
            .with_error_code(code)
            .with_api_keys(ranges.iter().map(api).chain([unknown]).collect());
        let mut bytes = BytesMut::new();
        answer.encode(&mut bytes, version).unwrap();
        bytes.freeze()
    }

    fn offering(ranges: &[(Api, i16, i16)]) -> Versions {
        Versions::read("broker 1".into(), &answer(0, ranges, 3), 3).unwrap().unwrap()
    }

    #[test]
    fn a_broker_that_does_not_know_our_version_is_asked_in_version_0() {
        let broker: Arc<str> = "broker 1".into();
        let old = answer(35, &[(Api::ApiVersions, 0, 2)], 0);
        assert!(matches!(Versions::read(Arc::clone(&broker), &old, 3), Ok(Err(UseVersion0))));
        let versions = answer(0, &[(Api::Fetch, 0, 11)], 0);
        let versions = Versions::read(Arc::clone(&broker), &versions, 0).unwrap().unwrap();
        assert_eq!(versions.pick(Api::Fetch).unwrap(), 11);
        let refused = Versions::read(broker, &answer(33, &[], 3), 3).unwrap_err();
        assert_eq!(refused.code(), Some(Code(33)));
    }

    #[test]
    fn the_highest_common_version_is_picked() {
        // tools.md's table: 2.4.1, 3.9, 4.3.1; a broker of the future; one before 2.4.
        let rows = [
            (Api::Fetch, 0, 11, Ok(11)),
            (Api::Fetch, 0, 17, Ok(17)),
            (Api::Fetch, 4, 18, Ok(18)),
            (Api::Fetch, 17, 40, Ok(18)),
            (Api::Fetch, 0, 4, Ok(4)),
            (Api::Fetch, 0, 3, Err("broker 1 speaks Fetch in versions 0..3, needed is one of 4..18")),
            (Api::Fetch, 19, 40, Err("broker 1 speaks Fetch in versions 19..40, needed is one of 4..18")),
            (Api::Produce, 0, 8, Ok(8)),
            (Api::Produce, 0, 13, Ok(13)),
            (Api::ListOffsets, 0, 5, Ok(5)),
            (Api::ListOffsets, 1, 11, Ok(10)),
            (Api::Metadata, 0, 9, Ok(9)),
            (Api::InitProducerId, 0, 2, Ok(2)),
            (Api::DescribeProducers, 0, 0, Ok(0)),
        ];
        for (api, min, max, expected) in rows {
            let versions = offering(&[(api, min, max)]);
            let picked = versions.pick(api).map_err(|error| error.to_string());
            assert_eq!(picked, expected.map_err(str::to_owned), "{api} {min}..{max}");
            assert_eq!(versions.has(api), expected.is_ok());
        }
        let error = offering(&[]).pick(Api::DescribeProducers).unwrap_err().to_string();
        assert_eq!(error, "broker 1 speaks DescribeProducers in versions none, needed is one of 0..0");
    }

    #[test]
    fn keys_headers_and_ranges_are_those_of_the_protocol() {
        for api in Api::ALL {
            let theirs = ApiKey::try_from(api.key()).unwrap();
            let (ours, valid) = (api.ours(), theirs.valid_versions());
            assert_eq!(format!("{theirs:?}"), api.to_string());
            assert!(ours.min >= valid.min && ours.max <= valid.max, "{api}");
            for version in ours.min..=ours.max {
                let header = if api.is_flexible(version) { 2 } else { 1 };
                assert_eq!(theirs.request_header_version(version), header, "{api} {version}");
            }
        }
    }
}
