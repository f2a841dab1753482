//! A cluster asked through librdkafka: its id and its metadata through a consumer that consumes nothing. It is made
//! for one survey and dropped after it, so that an idle connector costs nothing.
//!
//! No topic comes into being by asking: all topics are asked for, never one by its name.

mod admin;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use copyist_model::{ClusterId, TopicName};
use rdkafka::admin::AdminClient;
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::metadata::{Metadata, MetadataTopic};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::{OnceCell, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::blueprint::needs_human;
use super::place::{CLOSED, CONNECT_DEADLINE, FOREIGN, Place};
use super::view::{ClusterView, TopicView};
use crate::error::Error;

/// The wait for it is cut into pieces, so that a stop never waits longer than one.
const CONNECT_SLICE: Duration = Duration::from_millis(100);
/// Waits for the metadata, asked for anew each time: a cluster that goes down in between is seen soon, and the
/// metadata of a large one over a slow line may take its time.
const METADATA_SLICES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10)];
/// Reasons kept from one attempt to connect: the first say most.
const REASONS_MAX: usize = 64;

/// A client of a cluster that has answered.
pub struct Librdkafka {
    place: Place,
    id: ClusterId,
    config: ClientConfig,
    client: OffThread<Arc<BaseConsumer<Reasons>>>,
    told: mpsc::Receiver<Reason>,
    admin: OnceCell<OffThread<AdminClient<DefaultClientContext>>>,
}

impl Librdkafka {
    /// # Errors
    /// [`Error::Retry`] when nobody answers in time, [`Error::Stuck`] when the properties are wrong or the cluster
    /// does not take the credentials.
    pub async fn connect(place: &Place, mut config: ClientConfig) -> Result<Self, Error> {
        // A broker that hangs up is the reason looked for, not a line in the log.
        config.set("log.connection.close", "true");
        let (reasons, mut told) = mpsc::channel(REASONS_MAX);
        let client = BaseConsumer::from_config_and_context(&config, Reasons(reasons));
        let client = OffThread::new(Arc::new(client.map_err(|error| place.librdkafka_error(&error))?));
        let deadline = Instant::now() + CONNECT_DEADLINE;
        let mut trouble = Trouble::default();
        loop {
            let asked = Arc::clone(client.get());
            let answer = spawn_blocking(move || cluster_id(&asked)).await;
            if let Some(id) = answer.map_err(|error| gone(place, &error))? {
                let id = id.parse().map_err(|error| Error::Stuck(format!("{place}: {error}")))?;
                let (place, admin) = (place.clone(), OnceCell::new());
                return Ok(Self { place, id, config, client, told, admin });
            }
            trouble.hear(&mut told);
            if trouble.is_over() || Instant::now() >= deadline {
                return Err(trouble.error(place));
            }
        }
    }

    #[must_use]
    pub fn id(&self) -> &ClusterId {
        &self.id
    }

    /// What is there now, as one broker sees it.
    ///
    /// # Errors
    /// [`Error::Retry`] when no broker answers in time.
    pub async fn view(&mut self) -> Result<ClusterView, Error> {
        let mut trouble = Trouble::default();
        for slice in METADATA_SLICES {
            let asked = Arc::clone(self.client.get());
            let answer = spawn_blocking(move || metadata(&asked, slice)).await;
            match answer.map_err(|error| gone(&self.place, &error))? {
                Ok(metadata) => return Ok(viewed(&self.id, &metadata)),
                Err(error) => trouble.last = Some(error.to_string()),
            }
            trouble.hear(&mut self.told);
            if trouble.is_over() {
                break;
            }
        }
        Err(trouble.error(&self.place))
    }
}

/// A reason without what changes from time to time (which thread, after how long), and in words where librdkafka
/// speaks of system calls, or takes another protocol's answer for a response that is too large and advises to
/// allow larger ones.
fn in_words(reason: &str) -> String {
    if reason.contains("Invalid response size") {
        return FOREIGN.to_owned();
    }
    let reason = reason.rsplit_once(" (after ").map_or(reason, |(reason, _)| reason);
    let (thread, rest) = reason.split_once("]: ").unwrap_or(("", reason));
    let reason = if thread.starts_with("[thrd:") { rest } else { reason };
    if reason.contains("Disconnected: connection closed by peer") {
        return CLOSED.to_owned();
    }
    reason.to_owned()
}

fn cluster_id(client: &BaseConsumer<Reasons>) -> Option<String> {
    let id = client.client().fetch_cluster_id(CONNECT_SLICE);
    let_speak(client);
    id
}

fn metadata(client: &BaseConsumer<Reasons>, deadline: Duration) -> Result<Metadata, KafkaError> {
    let metadata = client.fetch_metadata(None, deadline);
    let_speak(client);
    metadata
}

/// Has the client tell its troubles. Each comes up once more as the result of a poll.
fn let_speak(client: &BaseConsumer<Reasons>) {
    for _ in 0..REASONS_MAX {
        if client.poll(Duration::from_millis(1)).is_none() {
            break;
        }
    }
}

fn gone(place: &Place, error: &tokio::task::JoinError) -> Error {
    Error::Retry { what: format!("{place}: the wait for it was cut short ({error})"), source: None }
}

fn viewed(id: &ClusterId, metadata: &Metadata) -> ClusterView {
    let topic = |topic: &MetadataTopic| Some((topic.name().parse::<TopicName>().ok()?, topic_view(topic)));
    ClusterView {
        id: id.clone(),
        brokers: u16::try_from(metadata.brokers().len()).unwrap_or(u16::MAX),
        topics: metadata.topics().iter().filter_map(topic).collect::<BTreeMap<_, _>>(),
    }
}

fn topic_view(topic: &MetadataTopic) -> TopicView {
    TopicView::of(topic.partitions().iter().map(|it| (it.id(), it.leader() >= 0, it.replicas().len())))
}

/// Why a client does not get through, as librdkafka says it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reason {
    code: Option<RDKafkaErrorCode>,
    text: String,
}

/// What an attempt to connect has met so far.
#[derive(Debug, Default)]
struct Trouble {
    all_down: bool,
    refused: Option<String>,
    last: Option<String>,
}

impl Trouble {
    fn hear(&mut self, told: &mut mpsc::Receiver<Reason>) {
        while let Ok(reason) = told.try_recv() {
            self.add(reason);
        }
    }

    fn add(&mut self, reason: Reason) {
        match reason.code {
            // It comes after the reasons and gives none.
            Some(RDKafkaErrorCode::AllBrokersDown) => self.all_down = true,
            Some(code) if needs_human(code) => self.refused = Some(in_words(&reason.text)),
            Some(_) => self.last = Some(in_words(&reason.text)),
            None => self.last = self.last.take().or_else(|| Some(in_words(&reason.text))),
        }
    }

    /// Whether waiting longer, now, is of no use.
    fn is_over(&self) -> bool {
        self.refused.is_some() || self.all_down
    }

    fn error(self, place: &Place) -> Error {
        if let Some(why) = self.refused {
            return Error::Stuck(format!("{place} refuses: {why}"));
        }
        let seconds = CONNECT_DEADLINE.as_secs();
        let why = self.last.unwrap_or_else(|| format!("no answer within {seconds} s"));
        Error::Retry { what: format!("{place}: {why}"), source: None }
    }
}

/// Passes on a client's troubles. Its log lines say the same once more and more often.
struct Reasons(mpsc::Sender<Reason>);

impl ClientContext for Reasons {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, "{line}");
        // A connection that the broker closes is an error to the log alone.
        if facility == "FAIL" {
            let _ = self.0.try_send(Reason { code: None, text: line.to_owned() });
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // A full channel has the first reasons.
        let _ = self.0.try_send(Reason { code: error.rdkafka_error_code(), text: reason.to_owned() });
    }
}

impl ConsumerContext for Reasons {}

/// A client whose end may block (it joins its threads, one of which may be resolving a name): dropping it leaves
/// that to the runtime's threads for blocking work, which the runtime joins.
pub struct OffThread<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> OffThread<T> {
    #[must_use]
    pub fn new(client: T) -> Self {
        Self(Some(client))
    }

    #[expect(clippy::expect_used, reason = "taken by drop alone")]
    #[must_use]
    pub fn get(&self) -> &T {
        self.0.as_ref().expect("a client is there until it is dropped")
    }
}

impl<T: Send + 'static> Drop for OffThread<T> {
    fn drop(&mut self) {
        let client = self.0.take();
        drop(spawn_blocking(move || drop(client)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_tells_a_refusal_from_an_outage_and_keeps_the_reason() {
        let place = Place::at("source", "b:1");
        let reason = |code, text: &str| Reason { code: Some(code), text: text.into() };
        let refused = reason(RDKafkaErrorCode::Authentication, "bad password");
        let lost = reason(RDKafkaErrorCode::BrokerTransportFailure, "b:1: connection refused");
        let all_down = reason(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        let logged = Reason { code: None, text: "b:1: disconnected".into() };
        let rows: [(&[&Reason], bool, bool, &str); 6] = [
            (&[&logged, &all_down], true, false, "the source cluster at b:1: b:1: disconnected"),
            (&[&lost, &logged], false, false, "the source cluster at b:1: b:1: connection refused"),
            (&[], false, false, "the source cluster at b:1: no answer within 5 s"),
            (&[&lost], false, false, "the source cluster at b:1: b:1: connection refused"),
            (&[&lost, &all_down], true, false, "the source cluster at b:1: b:1: connection refused"),
            (&[&refused, &lost, &all_down], true, true, "the source cluster at b:1 refuses: bad password"),
        ];
        for (reasons, over, stuck, text) in rows {
            let mut trouble = Trouble::default();
            reasons.iter().for_each(|reason| trouble.add((*reason).clone()));
            assert_eq!(trouble.is_over(), over, "{text}");
            let error = trouble.error(&place);
            assert_eq!((matches!(error, Error::Stuck(_)), error.to_string().as_str()), (stuck, text));
        }
    }

    #[test]
    fn reasons_lose_what_changes_and_another_protocol_is_called_that() {
        let rows = [
            (
                "h:80/bootstrap: Receive failed: Invalid response size 1213486160 (0..100000000): increase",
                FOREIGN,
            ),
            ("b:1: Connect failed: refused (after 3ms in state CONNECT)", "b:1: Connect failed: refused"),
            (
                "[thrd:b:1/bootstrap]: b:1: Disconnected (after 0ms in state APIVERSION_QUERY)",
                "b:1: Disconnected",
            ),
            ("[::1]: refused", "[::1]: refused"),
            (
                "[thrd:b:1/bootstrap]: b:1: Disconnected: connection closed by peer: receive 0 after POLLIN (after 1ms)",
                CLOSED,
            ),
        ];
        for (reason, expected) in rows {
            assert_eq!(in_words(reason), expected);
        }
    }
}
