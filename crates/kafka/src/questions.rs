//! Questions about one partition, for its leader: ask through [`crate::Cluster::leader`]. Each answer is a value, or
//! an [`Error`] that keeps the broker's code.

pub mod answers;

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    DescribeProducersRequest, InitProducerIdRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
    TopicName as WireName,
};
use kafka_protocol::protocol::StrBytes;

use crate::connection::Connection;
use crate::error::Error;
use crate::fetch::{EpochEnd, FetchLimits, FetchSession, FetchedPartition, Isolation, Wanted};
use crate::topic::PartitionKey;
use crate::versions::Api;

/// An ordinary consumer, to brokers.
const NO_REPLICA: i32 = -1;

/// What a partition's leader remembers of a producer id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerState {
    pub epoch: i32,
    pub last_sequence: i32,
    pub last_timestamp: i64,
}

/// Which offset is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetAt {
    /// The first there is.
    Earliest,
    /// The next to come: the high watermark, or with [`Isolation::ReadCommitted`] the last stable offset.
    Latest,
    /// The first record whose timestamp is this or later, in milliseconds.
    Timestamp(i64),
}

/// An offset, and the leader epoch of the record there (-1: unknown).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetFound {
    pub offset: i64,
    pub leader_epoch: i32,
}

/// What the leader knows of a producer id (DescribeProducers, brokers from 2.8 on; others are
/// [`Error::Unsupported`]). It speaks of the log's end, not of what is committed.
///
/// # Errors
/// See [`Error`].
pub async fn producer_state(
    leader: &Connection,
    key: &PartitionKey,
    producer_id: i64,
) -> Result<Option<ProducerState>, Error> {
    let version = leader.version(Api::DescribeProducers)?;
    let topic = TopicRequest::default().with_name(wire_name(key)).with_partition_indexes(vec![key.partition]);
    let request = DescribeProducersRequest::default().with_topics(vec![topic]);
    let body = leader.call(Api::DescribeProducers, version, &request).await?;
    answers::producer_state(&body, key, producer_id)
}

/// The largest leader epoch that the log knows up to `epoch`, and where it ends; for the current epoch that is the end
/// of the leader's log, replicated or not (OffsetForLeaderEpoch).
///
/// # Errors
/// See [`Error`].
pub async fn epoch_end(
    leader: &Connection,
    key: &PartitionKey,
    current_leader_epoch: i32,
    epoch: i32,
) -> Result<EpochEnd, Error> {
    let version = leader.version(Api::OffsetForLeaderEpoch)?;
    let partition = OffsetForLeaderPartition::default()
        .with_partition(key.partition)
        .with_current_leader_epoch(current_leader_epoch)
        .with_leader_epoch(epoch);
    let topic = OffsetForLeaderTopic::default().with_topic(wire_name(key)).with_partitions(vec![partition]);
    let request =
        OffsetForLeaderEpochRequest::default().with_replica_id(NO_REPLICA.into()).with_topics(vec![topic]);
    let body = leader.call(Api::OffsetForLeaderEpoch, version, &request).await?;
    answers::epoch_end(&body, version, key)
}

/// The end of the leader's log, replicated or not.
///
/// # Errors
/// See [`Error`].
pub async fn log_end(leader: &Connection, key: &PartitionKey, leader_epoch: i32) -> Result<i64, Error> {
    Ok(epoch_end(leader, key, leader_epoch, leader_epoch).await?.end_offset)
}

/// The end of what is replicated, and shows to consumers that read uncommitted.
///
/// # Errors
/// See [`Error`]; [`crate::Code::OFFSET_NOT_AVAILABLE`] just after an election.
pub async fn high_watermark(
    leader: &Connection,
    key: &PartitionKey,
    leader_epoch: i32,
) -> Result<i64, Error> {
    let found = offset(leader, key, leader_epoch, OffsetAt::Latest, Isolation::ReadUncommitted).await?;
    found.map(|found| found.offset).ok_or_else(|| Error::Unknown { what: format!("the end of {key}") })
}

/// An offset (ListOffsets). Nothing: no record has such a timestamp.
///
/// # Errors
/// See [`Error`].
pub async fn offset(
    leader: &Connection,
    key: &PartitionKey,
    leader_epoch: i32,
    at: OffsetAt,
    isolation: Isolation,
) -> Result<Option<OffsetFound>, Error> {
    let version = leader.version(Api::ListOffsets)?;
    let timestamp = match at {
        OffsetAt::Latest => -1,
        OffsetAt::Earliest => -2,
        OffsetAt::Timestamp(millis) => millis.max(0),
    };
    let partition = ListOffsetsPartition::default()
        .with_partition_index(key.partition)
        .with_current_leader_epoch(leader_epoch)
        .with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(wire_name(key)).with_partitions(vec![partition]);
    let mut request = ListOffsetsRequest::default()
        .with_replica_id(NO_REPLICA.into())
        .with_isolation_level(isolation.wire())
        .with_topics(vec![topic]);
    if version >= 10 {
        request.timeout_ms = i32::try_from(leader.request_timeout().as_millis()).unwrap_or(i32::MAX);
    }
    let body = leader.call(Api::ListOffsets, version, &request).await?;
    answers::offset(&body, version, key)
}

/// Reads at an offset once, without waiting and whatever is committed; with `max_bytes` 1 the one batch that holds it
/// comes, whole. Records are as they lie in the log.
///
/// # Errors
/// See [`Error`]; a code of the partition is [`Error::Refused`].
pub async fn read_at(
    leader: &Connection,
    key: &PartitionKey,
    leader_epoch: i32,
    offset: i64,
    max_bytes: i32,
) -> Result<FetchedPartition, Error> {
    let limits = FetchLimits {
        max_wait: Duration::ZERO,
        min_bytes: 0,
        max_bytes,
        isolation: Isolation::ReadUncommitted,
    };
    read_once(leader, key, leader_epoch, offset, &limits).await
}

/// One fetch of one partition, outside of any session.
///
/// # Errors
/// As [`read_at`].
pub async fn read_once(
    leader: &Connection,
    key: &PartitionKey,
    leader_epoch: i32,
    offset: i64,
    limits: &FetchLimits,
) -> Result<FetchedPartition, Error> {
    let mut session = FetchSession::single(leader.version(Api::Fetch)?);
    let max_bytes = limits.max_bytes;
    let wanted = Wanted { offset, current_leader_epoch: leader_epoch, last_fetched_epoch: -1, max_bytes };
    let request = session.request(&BTreeMap::from([(key.clone(), wanted)]), limits);
    let length = request.body.len();
    let timeout = leader.request_timeout();
    let body = leader.send(Api::Fetch, request.version, vec![request.body], length, timeout)?.await?;
    let answer = session.answer(&body)?;
    leader.mute(answer.throttle);
    let what = || format!("a read of {key} at {offset}");
    answer.code.check().map_err(|code| Error::refused(what(), code, None))?;
    let partition = answer.partitions.into_iter().find(|partition| partition.key == *key);
    let why = || Error::Malformed { what: "a Fetch answer", at: 0, why: format!("{key} is missing") };
    let partition = partition.ok_or_else(why)?;
    partition.code.check().map_err(|code| Error::refused(what(), code, None))?;
    Ok(partition)
}

/// A new producer id and its epoch, from any broker.
///
/// # Errors
/// See [`Error`]; codes 14, 15 and 16 come just after a broker's start.
pub async fn init_producer_id(broker: &Connection) -> Result<(i64, i16), Error> {
    let version = broker.version(Api::InitProducerId)?;
    let request = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(0);
    let body = broker.call(Api::InitProducerId, version, &request).await?;
    answers::producer_id(&body, version)
}

fn wire_name(key: &PartitionKey) -> WireName {
    WireName(StrBytes::from_string(key.topic.name().as_str().to_owned()))
}
