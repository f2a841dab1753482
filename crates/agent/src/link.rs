//! The link to the coordinator: the session, again after each loss, and the renewal of rights.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use copyist_model::{AssignmentId, ClusterId, LaneGeneration, LaneId, LaneRecord, TopicName};
use copyist_proto::control as wire;
use copyist_proto::control::agent_message::Message as Said;
use copyist_proto::control::agent_service_client::AgentServiceClient;
use copyist_proto::control::coordinator_message::Message as Stated;
use copyist_proto::protocol::{CONTROL_PROTOCOL_OLDEST, CONTROL_PROTOCOL_VERSION};
use copyist_proto::{Malformed, convert, record};
use rand::RngExt;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::core::{Event, Judgement, Report, Run, Saying};
use crate::error::chain;
use crate::job::Order;
use crate::worker::Worker;

/// Words that wait for the coordinator; a session that falls further behind begins anew.
pub const OUTBOX: usize = 4096;

/// How long the coordinator may take to answer a `Renew` or to open a session.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Topics in one message of a survey: some 100 bytes each, and a message stays below 1 MiB.
const TOPICS_PER_MESSAGE: usize = 5_000;

/// What the link needs to know of its agent.
#[derive(Clone)]
pub struct Identity {
    pub worker: Arc<Worker>,
    pub incarnation: String,
    /// The worker's cluster, once reached.
    pub cluster: watch::Receiver<Option<ClusterId>>,
    pub standing: watch::Receiver<Standing>,
}

/// What a new session is told of the past.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Under which store the agent worked last; empty before its first session.
    pub store_id: String,
    /// The state of everything that runs.
    pub reports: Vec<Report>,
}

/// Holds a session open until `stop`. `rejoin` asks for a new one.
pub async fn hold(
    mut client: AgentServiceClient<Channel>,
    identity: Identity,
    mut outbox: mpsc::Receiver<Saying>,
    mut rejoin: mpsc::Receiver<()>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) {
    let mut backoff = Backoff::new();
    while !stop.is_cancelled() {
        // What waited for a session that is over is said again in the next one's Hello.
        while outbox.try_recv().is_ok() || rejoin.try_recv().is_ok() {}
        let session = session(&mut client, &identity, &mut outbox, &mut rejoin, &events, &stop);
        match session.await {
            Ok(()) => backoff = Backoff::new(),
            Err(status) => tracing::warn!(error = %status.message(), "no session with the coordinator"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(backoff.next()) => {}
        }
    }
}

async fn session(
    client: &mut AgentServiceClient<Channel>,
    identity: &Identity,
    outbox: &mut mpsc::Receiver<Saying>,
    rejoin: &mut mpsc::Receiver<()>,
    events: &mpsc::Sender<Event>,
    stop: &CancellationToken,
) -> Result<(), tonic::Status> {
    let (said, words) = mpsc::channel(64);
    let say = |message| wire::AgentMessage { message: Some(message) };
    let gone = |_| tonic::Status::unavailable("the session ended");
    said.send(say(Said::Hello(hello(identity)))).await.map_err(gone)?;
    let opening = tokio::time::timeout(ANSWER_TIMEOUT, client.session(ReceiverStream::new(words)));
    let mut stated = opening
        .await
        .map_err(|_| tonic::Status::deadline_exceeded("the coordinator did not answer"))??
        .into_inner();
    let mut heartbeats = tokio::time::interval(Duration::from_millis(500));
    heartbeats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = rejoin.recv() => return Ok(()),
            message = stated.message() => {
                let Some(message) = message?.and_then(|message| message.message) else { return Ok(()) };
                if let Stated::Welcome(welcome) = &message {
                    let every = Duration::from_millis(u64::from(welcome.heartbeat_interval_ms.max(50)));
                    heartbeats = tokio::time::interval(every);
                }
                if let Some(event) = understood(message) {
                    events.send(event).await.map_err(|_| tonic::Status::cancelled("stopping"))?;
                }
            }
            saying = outbox.recv() => {
                let Some(saying) = saying else { return Ok(()) };
                for message in messages(saying) {
                    said.send(say(message)).await.map_err(gone)?;
                }
            }
            _ = heartbeats.tick() => {
                let worker_cluster_id = cluster_id(identity);
                let heartbeat = Said::Heartbeat(wire::Heartbeat { worker_cluster_id });
                said.send(say(heartbeat)).await.map_err(gone)?;
            }
        }
    }
}

fn cluster_id(identity: &Identity) -> String {
    identity.cluster.borrow().as_ref().map(ToString::to_string).unwrap_or_default()
}

fn hello(identity: &Identity) -> wire::Hello {
    let worker = &identity.worker;
    let standing = identity.standing.borrow();
    wire::Hello {
        agent_id: worker.agent_id.to_string(),
        incarnation: identity.incarnation.clone(),
        protocol_version: CONTROL_PROTOCOL_VERSION,
        store_id: standing.store_id.clone(),
        worker_cluster_id: cluster_id(identity),
        offset_storage_topic: worker.offset_storage.name.to_string(),
        rack: worker.rack.clone(),
        labels: worker.labels.clone(),
        running: standing.reports.iter().map(report).collect(),
        protocol_version_oldest: CONTROL_PROTOCOL_OLDEST,
    }
}

fn report(report: &Report) -> wire::Report {
    wire::Report {
        id: Some((&report.id).into()),
        epoch: Some(report.epoch.into()),
        revision: report.revision.0,
        state: report.state.as_str().to_owned(),
        trace: report.trace.clone(),
    }
}

fn messages(saying: Saying) -> Vec<Said> {
    match saying {
        Saying::Draining => vec![Said::Draining(wire::Draining {})],
        Saying::Report(said) => vec![Said::Report(report(&said))],
        Saying::Released { id, epoch } => {
            vec![Said::Released(wire::Released { id: Some((&id).into()), epoch: Some(epoch.into()) })]
        }
        Saying::Surveyed { id, epoch, findings } => {
            let part = |topics: &[crate::job::FoundTopic], complete| wire::SurveyFindings {
                connector: id.connector.to_string(),
                epoch: Some(epoch.into()),
                generation: findings.generation.0,
                source_cluster_id: findings.source_cluster.to_string(),
                destination_cluster_id: findings.destination_cluster.to_string(),
                topics: topics.iter().map(found_topic).collect(),
                complete,
            };
            let mut parts: Vec<_> =
                findings.topics.chunks(TOPICS_PER_MESSAGE).map(|topics| part(topics, false)).collect();
            match parts.last_mut() {
                Some(last) => last.complete = true,
                None => parts.push(part(&[], true)),
            }
            parts.into_iter().map(Said::Survey).collect()
        }
        Saying::Propose { id, epoch, proposal } => {
            vec![Said::LaneRecord(wire::LaneRecordProposal {
                epoch: Some(epoch.into()),
                replaces_generation: proposal.replaces.0,
                record: record::encode(&proposal.record),
                id: Some((&id).into()),
            })]
        }
    }
}

fn found_topic(topic: &crate::job::FoundTopic) -> wire::FoundTopic {
    wire::FoundTopic {
        source: topic.source.to_string(),
        destination: topic.destination.to_string(),
        partitions: topic.partitions,
        literal: topic.literal,
    }
}

/// What a statement means to the core; one that makes no sense is logged and left out.
fn understood(stated: Stated) -> Option<Event> {
    let event = match stated {
        Stated::Welcome(wire::Welcome { store_id, autonomy_max_ms, .. }) => {
            Ok(Event::Welcome { store_id, autonomy_max_ms: u64::from(autonomy_max_ms) })
        }
        Stated::Assignment(assignment) => run(assignment).map(|run| Event::Run(Box::new(run))),
        Stated::Release(release) => released(release),
        Stated::SetComplete(_) => Ok(Event::SetComplete),
        Stated::LaneRecord(verdict) => judged(verdict),
        // Standalone has one coordinator, and nothing is asked of agents so far.
        Stated::Redirect(_) | Stated::Query(_) => return None,
    };
    event
        .inspect_err(|error| {
            tracing::error!(error = %chain(error), "the coordinator stated something that makes no sense");
        })
        .ok()
}

fn released(release: wire::Release) -> Result<Event, Malformed> {
    Ok(Event::Release { id: convert::assignment_id(release.id)?, epoch: convert::epoch(release.epoch)? })
}

fn judged(verdict: wire::LaneRecordVerdict) -> Result<Event, Malformed> {
    let lane = verdict.lane.ok_or(Malformed::Missing { message: "LaneRecordVerdict", field: "lane" })?;
    let holds = match verdict.holds.as_slice() {
        [] => None,
        bytes => Some(Box::new(record::decode(bytes)?)),
    };
    let because = verdict.refused_because;
    Ok(Event::Verdict {
        lane: lane.try_into()?,
        generation: LaneGeneration(verdict.generation),
        judgement: Judgement { refused_because: Some(because).filter(|because| !because.is_empty()), holds },
    })
}

/// A lane whose record is left out proposes one, and learns from the refusal which one holds.
fn records(encoded: &[Vec<u8>]) -> BTreeMap<LaneId, LaneRecord> {
    let log = |error: &Malformed| {
        tracing::error!(error = %chain(error), "the coordinator stated a lane record that makes no sense");
    };
    let decoded = encoded.iter().filter_map(|bytes| record::decode(bytes).inspect_err(log).ok());
    decoded.map(|record| (record.lane.clone(), record)).collect()
}

fn shared(destinations: &[String]) -> Result<BTreeSet<TopicName>, Malformed> {
    let name =
        |text: &String| text.parse().map_err(|source| Malformed::Name { message: "Assignment", source });
    destinations.iter().map(name).collect()
}

fn run(assignment: wire::Assignment) -> Result<Run, Malformed> {
    let spec = assignment.spec.ok_or(Malformed::Missing { message: "Assignment", field: "spec" })?;
    Ok(Run {
        id: convert::assignment_id(assignment.id)?,
        epoch: convert::epoch(assignment.epoch)?,
        order: Order {
            revision: copyist_model::TaskRevision(assignment.revision),
            generation: copyist_model::ConnectorGeneration(assignment.generation),
            spec: Arc::new(spec.try_into()?),
            lanes: convert::lanes_from_wire(assignment.lanes)?,
            records: Arc::new(records(&assignment.lane_records)),
            shared: shared(&assignment.shared_destinations)?,
            paused: assignment.paused,
        },
        previous_right_wait_ms: u64::from(assignment.previous_right_wait_ms),
    })
}

/// Renews rights every `interval`, and at once when asked to, until `stop`.
pub async fn renew(
    mut client: AgentServiceClient<Channel>,
    identity: Identity,
    interval: Duration,
    mut at_once: mpsc::Receiver<()>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            asked = at_once.recv() => if asked.is_none() { return },
            () = tokio::time::sleep(interval) => {}
        }
        while at_once.try_recv().is_ok() {}
        // The right counts from before the question, on a clock that does not stop with the machine.
        let sent_ms = crate::driver::boot_ms();
        let request = wire::RenewRequest {
            agent_id: identity.worker.agent_id.to_string(),
            incarnation: identity.incarnation.clone(),
        };
        let event = match tokio::time::timeout(ANSWER_TIMEOUT, client.renew(request)).await {
            Ok(Ok(answer)) => renewed(sent_ms, answer.into_inner()),
            Ok(Err(status)) if status.code() == tonic::Code::NotFound => Some(Event::LeaseLost),
            // No answer is no right; the next question may bring one.
            Ok(Err(_)) | Err(_) => None,
        };
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return;
        }
    }
}

fn renewed(sent_ms: u64, answer: wire::RenewResponse) -> Option<Event> {
    let held = answer.held.into_iter().map(|held| {
        let id: AssignmentId = convert::assignment_id(held.id)?;
        Ok((id, convert::epoch(held.epoch)?))
    });
    match held.collect::<Result<_, Malformed>>() {
        Ok(held) => Some(Event::Renewed { sent_ms, ttl_ms: u64::from(answer.lease_ttl_ms), held }),
        Err(error) => {
            tracing::error!(error = %chain(&error), "the coordinator's answer to Renew makes no sense");
            None
        }
    }
}

/// A leader that is new waits for its agents no longer than it takes to suspect one.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Waits between attempts: doubling from 100 ms, with jitter.
struct Backoff(Duration);

impl Backoff {
    fn new() -> Self {
        Self(Duration::from_millis(100))
    }

    #[expect(clippy::disallowed_methods, reason = "the link draws the randomness of its backoff")]
    fn next(&mut self) -> Duration {
        let wait = self.0.mul_f64(rand::rng().random_range(0.5..1.5));
        self.0 = (self.0 * 2).min(BACKOFF_MAX);
        wait
    }
}

#[cfg(test)]
mod tests {
    use copyist_model::{AssignmentEpoch, Engine, LaneEnd, StoreRevision, TopicId};

    use super::*;
    use crate::job::Proposal;

    fn lane_record() -> LaneRecord {
        let end = |cluster: &str, topic: &str| LaneEnd {
            cluster: cluster.parse().unwrap(),
            topic: topic.parse().unwrap(),
            topic_id: TopicId(9),
            partition: 2,
        };
        let (source, destination) = (end("s", "t"), end("d", "t.copy"));
        LaneRecord {
            lane: LaneId {
                connector: "c".parse().unwrap(),
                source_cluster: source.cluster.clone(),
                topic: source.topic.clone(),
                partition: 2,
            },
            generation: LaneGeneration(4),
            engine: Engine::Raw,
            source,
            destination,
            producer_id: 7,
            base_n: 1,
            base_offset: 2,
            base_source_offset: 3,
            shared: false,
        }
    }

    fn id() -> AssignmentId {
        AssignmentId::task(&"c".parse().unwrap(), 1)
    }

    #[test]
    fn a_proposal_says_who_proposes_what_instead_of_what() {
        let epoch = AssignmentEpoch { incarnation: 1, revision: StoreRevision(5) };
        let proposal = Box::new(Proposal { replaces: LaneGeneration(3), record: lane_record() });
        let expected = wire::LaneRecordProposal {
            epoch: Some(wire::Epoch { incarnation: 1, revision: 5 }),
            replaces_generation: 3,
            record: record::encode(&lane_record()),
            id: Some((&id()).into()),
        };
        let said = messages(Saying::Propose { id: id(), epoch, proposal });
        assert_eq!(said, [Said::LaneRecord(expected)]);
    }

    #[test]
    fn a_hello_says_what_runs_and_by_which_store() {
        let running = Report {
            id: id(),
            epoch: AssignmentEpoch { incarnation: 1, revision: StoreRevision(5) },
            revision: copyist_model::TaskRevision(3),
            state: copyist_model::InstanceState::Running,
            trace: "t".to_owned(),
        };
        let standing = Standing { store_id: "s".to_owned(), reports: vec![running.clone()] };
        let identity = Identity {
            worker: Arc::new(Worker::nowhere()),
            incarnation: "i".to_owned(),
            cluster: watch::channel(None).1,
            standing: watch::channel(standing).1,
        };
        let hello = hello(&identity);
        assert_eq!((hello.store_id.as_str(), hello.running), ("s", vec![report(&running)]));
    }

    #[test]
    fn a_welcome_names_the_store_and_the_autonomy() {
        let welcome = wire::Welcome { store_id: "s".into(), autonomy_max_ms: 7, ..Default::default() };
        let expected = Event::Welcome { store_id: "s".to_owned(), autonomy_max_ms: 7 };
        assert_eq!(understood(Stated::Welcome(welcome)), Some(expected));
    }

    #[test]
    fn verdicts_are_understood() {
        let verdict = |refused_because: &str, holds: Vec<u8>| wire::LaneRecordVerdict {
            lane: Some((&lane_record().lane).into()),
            generation: 4,
            refused_because: refused_because.to_owned(),
            holds,
        };
        let judged = |refused_because: Option<&str>, holds: Option<LaneRecord>| {
            let refused_because = refused_because.map(str::to_owned);
            let judgement = Judgement { refused_because, holds: holds.map(Box::new) };
            Some(Event::Verdict { lane: lane_record().lane, generation: LaneGeneration(4), judgement })
        };
        let holds = record::encode(&lane_record());
        let rows = [
            (verdict("", Vec::new()), judged(None, None)),
            (verdict("", holds.clone()), judged(None, Some(lane_record()))),
            (verdict("old", Vec::new()), judged(Some("old"), None)),
            (verdict("old", holds), judged(Some("old"), Some(lane_record()))),
            (verdict("old", vec![0xff]), None),
            (wire::LaneRecordVerdict { lane: None, ..verdict("", Vec::new()) }, None),
        ];
        for (stated, expected) in rows {
            assert_eq!(understood(Stated::LaneRecord(stated.clone())), expected, "{stated:?}");
        }
    }

    #[test]
    fn an_assignment_brings_the_records_of_its_lanes_but_for_malformed_ones() {
        let spec = wire::ConnectorSpec {
            rename_format: "${topic}".into(),
            offset_reset: wire::OffsetReset::Earliest.into(),
            engine: "auto".into(),
            loss_policy: "fail".into(),
            ..Default::default()
        };
        let assignment = wire::Assignment {
            id: Some((&id()).into()),
            epoch: Some(wire::Epoch::default()),
            spec: Some(spec),
            lane_records: vec![vec![0xff], record::encode(&lane_record())],
            shared_destinations: vec!["t.replica".into()],
            ..Default::default()
        };
        let Some(Event::Run(run)) = understood(Stated::Assignment(assignment)) else { panic!("left out") };
        let expected = BTreeMap::from([(lane_record().lane, lane_record())]);
        assert_eq!(*run.order.records, expected);
        assert_eq!(run.order.shared, BTreeSet::from(["t.replica".parse().unwrap()]));
    }
}
