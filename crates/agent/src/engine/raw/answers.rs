//! A lane's questions put to brokers, and their words in the lane's.

use copyist_kafka::questions::{self, OffsetAt};
use copyist_kafka::{Cluster, Error, Isolation, PartitionKey};
use copyist_lane::{Answer, ProducerState, Question, TailBatch};
use copyist_model::AssignmentEpoch;
use copyist_wire::{Batch, Walk};
use tokio::sync::watch;
use tokio::time::{Duration, timeout};

use super::contents;
use crate::job::Right;

/// Long enough for the next renewal of a right.
const RENEWAL_DEADLINE: Duration = Duration::from_secs(15);

/// Both ends of a lane, and the right that it is copied by.
#[derive(Debug, Clone)]
pub struct Ends {
    pub source_cluster: Cluster,
    pub destination_cluster: Cluster,
    pub source: PartitionKey,
    pub destination: PartitionKey,
    pub epoch: AssignmentEpoch,
    pub right: watch::Receiver<Right>,
}

/// Asks, and says what was answered: also when nothing was.
pub async fn ask(ends: Ends, what: Question) -> Answer {
    let asked = match what {
        Question::ProducerState { producer_id } => producer_state(&ends, producer_id).await,
        Question::LogEnd => log_end(&ends).await,
        Question::HighWatermark => high_watermark(&ends).await,
        Question::Tail { offset } => tail(&ends, offset).await,
        Question::NewProducerId => new_producer_id(&ends).await,
        Question::SourceRange => range(&ends.source_cluster, &ends.source)
            .await
            .map(|(earliest, latest)| Answer::SourceRange { earliest, latest }),
        Question::Contents { source_from, destination_from, destination_to } => {
            contents::compare(&ends, source_from, destination_from..destination_to).await
        }
        Question::EpochCurrent { epoch } => return epoch_current(ends, epoch).await,
    };
    asked.unwrap_or_else(|error| refused(&error))
}

/// The earliest offset, and the end of what is committed.
///
/// # Errors
/// As the questions themselves.
pub async fn range(cluster: &Cluster, key: &PartitionKey) -> Result<(i64, i64), Error> {
    let (leader, at) = cluster.leader(key).await?;
    let missing = || Error::Unknown { what: format!("the range of {key}") };
    let earliest =
        questions::offset(&leader, key, at.epoch, OffsetAt::Earliest, Isolation::ReadCommitted).await?;
    let latest =
        questions::offset(&leader, key, at.epoch, OffsetAt::Latest, Isolation::ReadCommitted).await?;
    Ok((earliest.ok_or_else(missing)?.offset, latest.ok_or_else(missing)?.offset))
}

fn refused(error: &Error) -> Answer {
    match error {
        Error::Refused { code, text, .. } => {
            Answer::Refused { code: code.0, text: text.clone().unwrap_or_else(|| code.to_string()) }
        }
        Error::Unsupported { .. } => {
            Answer::Refused { code: copyist_kafka::Code::UNSUPPORTED_VERSION.0, text: error.to_string() }
        }
        Error::Unreachable { .. }
        | Error::Lost { .. }
        | Error::Busy { .. }
        | Error::Malformed { .. }
        | Error::Timeout { .. }
        | Error::Unknown { .. }
        | Error::Config(_) => Answer::Lost,
    }
}

async fn producer_state(ends: &Ends, producer_id: i64) -> Result<Answer, Error> {
    let (leader, _) = ends.destination_cluster.leader(&ends.destination).await?;
    let state = questions::producer_state(&leader, &ends.destination, producer_id).await?;
    let state = state.and_then(|state| {
        let epoch = i16::try_from(state.epoch).ok()?;
        let (last_sequence, last_timestamp) = (state.last_sequence, state.last_timestamp);
        Some(ProducerState { epoch, last_sequence, last_timestamp })
    });
    Ok(Answer::ProducerState(state))
}

async fn log_end(ends: &Ends) -> Result<Answer, Error> {
    let (leader, at) = ends.destination_cluster.leader(&ends.destination).await?;
    questions::log_end(&leader, &ends.destination, at.epoch).await.map(Answer::LogEnd)
}

async fn high_watermark(ends: &Ends) -> Result<Answer, Error> {
    let (leader, at) = ends.destination_cluster.leader(&ends.destination).await?;
    questions::high_watermark(&leader, &ends.destination, at.epoch).await.map(Answer::HighWatermark)
}

async fn tail(ends: &Ends, offset: i64) -> Result<Answer, Error> {
    let key = &ends.destination;
    let (leader, at) = ends.destination_cluster.leader(key).await?;
    let found = questions::read_at(&leader, key, at.epoch, offset, 1).await?;
    let batches = Walk::new(&found.records).map_while(Result::ok).map(|found| tail_batch(&found.batch));
    Ok(Answer::Tail(batches.into_iter().find(|batch| batch.last_offset >= offset)))
}

fn tail_batch(batch: &Batch<'_>) -> TailBatch {
    TailBatch {
        base_offset: batch.base_offset(),
        last_offset: batch.last_offset(),
        producer_id: batch.producer_id(),
        producer_epoch: batch.producer_epoch(),
        base_sequence: batch.base_sequence(),
        control: batch.is_control(),
    }
}

async fn new_producer_id(ends: &Ends) -> Result<Answer, Error> {
    // Any broker gives one; the one that will see it is as good as another.
    let (broker, _) = ends.destination_cluster.leader(&ends.destination).await?;
    questions::init_producer_id(&broker).await.map(|(id, _)| Answer::NewProducerId(id))
}

/// The next renewal tells: it names only what is current.
async fn epoch_current(mut ends: Ends, epoch: AssignmentEpoch) -> Answer {
    if epoch != ends.epoch {
        return Answer::EpochCurrent(false);
    }
    let before = ends.right.borrow_and_update().ends_at;
    let renewed = ends.right.wait_for(|right| right.ends_at.is_zero() || right.ends_at > before);
    match timeout(RENEWAL_DEADLINE, renewed).await {
        Ok(Ok(right)) => Answer::EpochCurrent(!right.ends_at.is_zero()),
        Ok(Err(_)) | Err(_) => Answer::Lost,
    }
}
