//! Reads a topic through our own client: one fetch session with each broker that leads a part of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use copyist_kafka::questions::{self, OffsetAt};
use copyist_kafka::{
    Backoff, BrokerId, ClientOptions, Cluster, Code, Error, FetchAnswer, FetchLimits, FetchedPartition,
    Fetcher, Isolation, PartitionKey, Wanted,
};
use copyist_model::TopicName;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep};

use super::leaders::Leaders;
use super::progress::Progress;
use super::{Ended, RETRY, Read, pause, records};
use crate::error::chain;

/// A long poll: idle, a broker is asked every few seconds.
const POLL: Duration = Duration::from_secs(5);
/// While there should be more to read.
const LOADING_POLL: Duration = Duration::from_millis(250);
const RESPONSE_BYTES: i32 = 4 << 20;
const PARTITION_BYTES: i32 = 1 << 20;
/// The topic may have got other leaders, more partitions, or a successor, without an error that says so.
const METADATA_MAX_AGE: Duration = Duration::from_secs(300);
/// While some partition has no leader.
const LEADERLESS_PAUSE: Duration = Duration::from_secs(2);
/// Before what was refused without a reason to wait is asked again.
const AGAIN_PAUSE: Duration = Duration::from_millis(100);

/// What is read, and how far it was.
pub(super) struct Own {
    topic: TopicName,
    options: ClientOptions,
    /// The number of the last question for the topic's end.
    asks: watch::Receiver<u64>,
    reads: mpsc::Sender<Read>,
    progress: Mutex<Progress>,
    /// The progress may be another.
    advanced: Notify,
}

/// Why a broker is not read from any more.
enum Broken {
    /// Ask again who leads.
    Passing(Error),
    Ended(Ended),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        match error {
            Error::Unsupported { .. } => Self::Ended(Ended::Foreign(error.to_string())),
            Error::Config(_) | Error::Malformed { .. } => Self::Ended(Ended::Failed(chain(&error))),
            Error::Unreachable { .. }
            | Error::Lost { .. }
            | Error::Busy { .. }
            | Error::Refused { .. }
            | Error::Timeout { .. }
            | Error::Unknown { .. } => Self::Passing(error),
        }
    }
}

impl From<Broken> for Ended {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Passing(error) => Self::Failed(chain(&error)),
            Broken::Ended(ended) => ended,
        }
    }
}

impl Own {
    pub fn new(
        topic: TopicName,
        options: ClientOptions,
        asks: watch::Receiver<u64>,
        reads: mpsc::Sender<Read>,
    ) -> Self {
        Self { topic, options, asks, reads, progress: Mutex::default(), advanced: Notify::new() }
    }

    /// Reads on from where it stopped, until it cannot.
    pub async fn follow(&self) -> Ended {
        match self.connect().await {
            Ok(cluster) => loop {
                if let Err(ended) = self.follow_leaders(&cluster).await {
                    return ended;
                }
            },
            Err(error) => Broken::from(error).into(),
        }
    }

    async fn connect(&self) -> Result<Cluster, Error> {
        let cluster = Cluster::connect(self.options.clone()).await?;
        cluster.add_topics([self.topic.clone()]);
        cluster.refresh().await?;
        Ok(cluster)
    }

    /// Reads from the brokers that lead now, until others do.
    async fn follow_leaders(&self, cluster: &Cluster) -> Result<(), Ended> {
        let leaders = Leaders::of(&cluster.view(), &self.topic).map_err(Ended::Failed)?;
        lock(&self.progress).meet(&leaders.topic, leaders.partitions());
        let brokers = leaders.led.iter();
        let mut following: FuturesUnordered<_> =
            brokers.map(|(broker, keys)| self.follow_broker(cluster, &leaders, *broker, keys)).collect();
        tokio::select! {
            Some(ended) = following.next() => ended,
            () = self.until_changed(cluster, &leaders) => Ok(()),
            ended = self.answer(cluster, &leaders) => Err(ended),
        }
    }

    /// Says when the topic was read to its end, each time that it is asked for.
    async fn answer(&self, cluster: &Cluster, leaders: &Leaders) -> Ended {
        let (mut asks, mut answered) = (self.asks.clone(), 0);
        loop {
            let asked = *asks.borrow_and_update();
            if asked > answered {
                if let Err(ended) = self.read_to_end(cluster, leaders, asked).await {
                    return ended;
                }
                answered = asked;
            } else if asks.changed().await.is_err() {
                // Nobody asks any more.
                std::future::pending::<()>().await;
            }
        }
    }

    async fn read_to_end(&self, cluster: &Cluster, leaders: &Leaders, asked: u64) -> Result<(), Ended> {
        let mut backoff = Backoff::new(RETRY);
        let ends = loop {
            match self.ends(cluster, leaders).await {
                Ok(ends) => break ends,
                Err(error) => self.tell(Read::Trouble(chain(&error))).await?,
            }
            sleep(backoff.wait(rand::random())).await;
        };
        while !lock(&self.progress).reaches(&ends) {
            self.advanced.notified().await;
        }
        self.tell(Read::ToEnd(asked)).await
    }

    /// Where committed records end now, by partition.
    async fn ends(&self, cluster: &Cluster, leaders: &Leaders) -> Result<BTreeMap<i32, i64>, Error> {
        if let Some(partition) = leaders.leaderless.first() {
            let what = format!("the end of {}-{partition}, which has no leader", self.topic);
            return Err(Error::Unknown { what });
        }
        let mut ends = BTreeMap::new();
        for (key, epoch) in leaders.led.values().flatten() {
            let (leader, _) = cluster.leader(key).await?;
            let at = OffsetAt::Latest;
            let end = questions::offset(&leader, key, *epoch, at, Isolation::ReadCommitted).await?;
            let unknown = || Error::Unknown { what: format!("the end of {key} is not known") };
            ends.insert(key.partition, end.ok_or_else(unknown)?.offset);
        }
        Ok(ends)
    }

    async fn until_changed(&self, cluster: &Cluster, leaders: &Leaders) {
        loop {
            sleep(if leaders.leaderless.is_empty() { METADATA_MAX_AGE } else { LEADERLESS_PAUSE }).await;
            // Who cannot be reached is told of by those who read from them.
            if cluster.refresh().await.is_ok() && self.are_others(cluster, leaders) {
                return;
            }
            let none_reads = leaders.led.is_empty();
            if none_reads && self.reads.send(Read::Trouble("no partition has a leader".into())).await.is_err()
            {
                return;
            }
        }
    }

    fn are_others(&self, cluster: &Cluster, leaders: &Leaders) -> bool {
        Leaders::of(&cluster.view(), &self.topic).as_ref() != Ok(leaders)
    }

    /// Reads from one broker until it, or others, lead otherwise.
    async fn follow_broker(
        &self,
        cluster: &Cluster,
        leaders: &Leaders,
        broker: BrokerId,
        keys: &BTreeMap<PartitionKey, i32>,
    ) -> Result<(), Ended> {
        let mut backoff = Backoff::new(RETRY);
        let mut failures = 0_u32;
        loop {
            let began = Instant::now();
            let error = match self.fetch_from(cluster, broker, keys).await {
                Broken::Passing(error) => chain(&error),
                Broken::Ended(ended) => return Err(ended),
            };
            failures = if began.elapsed() > RETRY.1 { 1 } else { failures + 1 };
            // A leader that moves is no failure.
            let told = if failures == 1 { Read::Trouble(error) } else { Read::Failed(error) };
            self.tell(told).await?;
            pause(&mut backoff, began).await;
            if cluster.refresh().await.is_ok() && self.are_others(cluster, leaders) {
                return Ok(());
            }
        }
    }

    async fn fetch_from(
        &self,
        cluster: &Cluster,
        broker: BrokerId,
        keys: &BTreeMap<PartitionKey, i32>,
    ) -> Broken {
        let opened = async {
            let endpoint = cluster.endpoint(broker)?;
            Fetcher::open(&endpoint, &self.options.connection, "").await
        };
        let mut fetcher = match opened.await {
            Ok(fetcher) => fetcher,
            Err(error) => return error.into(),
        };
        // The first answer says where each partition ends, also where there is nothing to read.
        let mut max_wait = Duration::ZERO;
        loop {
            let taken = match fetcher.fetch(&self.wanted(keys), &limits(max_wait)).await {
                Ok(answer) => self.take(cluster, keys, answer).await,
                Err(error) => Err(error.into()),
            };
            if let Err(broken) = taken {
                return broken;
            }
            let loaded = lock(&self.progress).are_loaded(keys.keys().map(|key| key.partition));
            max_wait = if loaded { POLL } else { LOADING_POLL };
        }
    }

    fn wanted(&self, keys: &BTreeMap<PartitionKey, i32>) -> BTreeMap<PartitionKey, Wanted> {
        let progress = lock(&self.progress);
        let wanted = |(key, epoch): (&PartitionKey, &i32)| {
            let wanted = Wanted {
                offset: progress.next_offset(key.partition),
                current_leader_epoch: *epoch,
                last_fetched_epoch: -1,
                max_bytes: PARTITION_BYTES,
            };
            (key.clone(), wanted)
        };
        keys.iter().map(wanted).collect()
    }

    async fn take(
        &self,
        cluster: &Cluster,
        keys: &BTreeMap<PartitionKey, i32>,
        answer: FetchAnswer,
    ) -> Result<(), Broken> {
        if [Code::FETCH_SESSION_ID_NOT_FOUND, Code::INVALID_FETCH_SESSION_EPOCH].contains(&answer.code) {
            // The next request opens another session.
            sleep(AGAIN_PAUSE).await;
            return Ok(());
        }
        answer.code.check().map_err(|code| refused("a fetch".to_owned(), code))?;
        let mut result = Ok(());
        for partition in &answer.partitions {
            // One that is in trouble holds no other up.
            result = result.and(self.take_partition(cluster, keys, partition).await);
        }
        result
    }

    async fn take_partition(
        &self,
        cluster: &Cluster,
        keys: &BTreeMap<PartitionKey, i32>,
        partition: &FetchedPartition,
    ) -> Result<(), Broken> {
        if partition.code == Code::OFFSET_OUT_OF_RANGE {
            return self.restart(cluster, keys, &partition.key).await;
        }
        let what = || format!("a read of {}", partition.key);
        partition.code.check().map_err(|code| refused(what(), code))?;
        self.take_records(partition).await
    }

    async fn take_records(&self, partition: &FetchedPartition) -> Result<(), Broken> {
        let number = partition.key.partition;
        let from = lock(&self.progress).next_offset(number);
        let (found, next) =
            records::read(partition, from).map_err(|error| unreadable(&partition.key, &error))?;
        if !found.is_empty() {
            self.tell(Read::Records(found)).await.map_err(Broken::Ended)?;
        }
        // Only now: what was not told is read again.
        let newly_loaded = {
            let mut progress = lock(&self.progress);
            let before = progress.is_loaded();
            progress.advance(number, next, partition.last_stable_offset);
            (!before && progress.is_loaded()).then(|| progress.partitions())
        };
        self.advanced.notify_one();
        if let Some(partitions) = newly_loaded {
            self.tell(Read::Loaded { partitions }).await.map_err(Broken::Ended)?;
        }
        Ok(())
    }

    /// Compaction may outrun the reader; what is left is what counts.
    async fn restart(
        &self,
        cluster: &Cluster,
        keys: &BTreeMap<PartitionKey, i32>,
        key: &PartitionKey,
    ) -> Result<(), Broken> {
        sleep(AGAIN_PAUSE).await;
        let (leader, _) = cluster.leader(key).await?;
        let epoch = keys.get(key).copied().unwrap_or(-1);
        let earliest =
            questions::offset(&leader, key, epoch, OffsetAt::Earliest, Isolation::ReadUncommitted).await?;
        let what = || Error::Unknown { what: format!("the start of {key} is not known") };
        let earliest = earliest.ok_or_else(what)?.offset;
        lock(&self.progress).restart(key.partition, earliest);
        Ok(())
    }

    async fn tell(&self, read: Read) -> Result<(), Ended> {
        // Then nobody needs the reason either.
        self.reads.send(read).await.map_err(|_| Ended::Failed("nobody hears it".into()))
    }
}

fn limits(max_wait: Duration) -> FetchLimits {
    // Connect may write in transactions.
    let isolation = Isolation::ReadCommitted;
    FetchLimits { max_wait, min_bytes: 1, max_bytes: RESPONSE_BYTES, isolation }
}

fn refused(what: String, code: Code) -> Error {
    Error::Refused { what, code, text: None }
}

fn unreadable(key: &PartitionKey, error: &copyist_wire::Error) -> Broken {
    let text = format!("{key}: {error}");
    Broken::Ended(match error {
        copyist_wire::Error::OldMagic { .. } => Ended::Foreign(text),
        copyist_wire::Error::Batch { .. }
        | copyist_wire::Error::Record { .. }
        | copyist_wire::Error::Decompress { .. }
        | copyist_wire::Error::Bomb { .. }
        | copyist_wire::Error::Compress { .. }
        | copyist_wire::Error::RecordTooLarge { .. } => Ended::Failed(text),
    })
}

/// A poisoned lock is taken all the same: each value behind one is replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use copyist_kafka::Topic;
    use copyist_kafka::versions::{Api, VersionRange};
    use copyist_model::TopicId;
    use copyist_wire::Fault;

    use super::*;

    fn label(broken: &Broken) -> &'static str {
        match broken {
            Broken::Passing(_) => "passing",
            Broken::Ended(Ended::Failed(_)) => "failed",
            Broken::Ended(Ended::Foreign(_)) => "foreign",
        }
    }

    #[test]
    fn what_this_client_cannot_read_is_left_to_librdkafka_and_the_rest_is_tried_again() {
        let (text, none) = (|| "x".to_owned(), VersionRange::NONE);
        let source = Arc::new(io::Error::other("x"));
        let rows = [
            (Error::Unsupported { broker: "b".into(), api: Api::Fetch, ours: none, theirs: none }, "foreign"),
            (Error::Malformed { what: "x", at: 0, why: text() }, "failed"),
            (Error::Config(text()), "failed"),
            (Error::Unreachable { what: text(), source }, "passing"),
            (Error::Busy { broker: "b".into(), pending: 1 }, "passing"),
            (refused(text(), Code::NOT_LEADER_OR_FOLLOWER), "passing"),
            (Error::Timeout { what: text(), after: POLL }, "passing"),
            (Error::Unknown { what: text() }, "passing"),
        ];
        for (error, expected) in rows {
            let told = error.to_string();
            assert_eq!(label(&error.into()), expected, "{told}");
        }
        let key = PartitionKey { topic: Topic::new("t".parse().unwrap(), TopicId::NONE), partition: 0 };
        let old = copyist_wire::Error::OldMagic { at: 0, base_offset: 0, magic: 1 };
        assert_eq!(label(&unreadable(&key, &old)), "foreign");
        let damaged = copyist_wire::Error::Batch { at: 0, base_offset: 0, fault: Fault::Crc };
        assert_eq!(label(&unreadable(&key, &damaged)), "failed");
    }
}
