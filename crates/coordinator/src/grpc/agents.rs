//! `copyist.control.v1.AgentService`.

use std::collections::BTreeMap;
use std::pin::Pin;

use copyist_model::{AssignmentEpoch, AssignmentId, InstanceState, LaneGeneration, LaneId};
use copyist_proto::control as wire;
use copyist_proto::control::agent_message::Message as Said;
use copyist_proto::control::agent_service_server::AgentService;
use copyist_proto::control::coordinator_message::Message as Stated;
use copyist_proto::protocol::negotiate;
use copyist_proto::{Malformed, convert, record, store};
use futures::{Stream, StreamExt};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::clock::millis_u32;
use crate::core::{
    self, Destination, Event, Findings, FoundTopic, Holder, LaneVerdict, Proposal, Refusal, Run, Statement,
};
use crate::driver::Settings;
use crate::error::chain;
use crate::handle::{Handle, Hello, Message, Opened, SessionNumber};
use crate::store::etcd::Leader;

/// Statements that wait for an agent; one that falls further behind starts a new session.
const OUTBOX: usize = 4096;

/// The agents' API.
#[derive(Debug, Clone)]
pub struct Agents {
    handle: Handle,
    settings: Settings,
    stop: CancellationToken,
}

impl Agents {
    #[must_use]
    pub fn new(handle: Handle, settings: Settings, stop: CancellationToken) -> Self {
        Self { handle, settings, stop }
    }

    fn welcome(&self, store_id: String, protocol_version: u32) -> wire::CoordinatorMessage {
        let welcome = wire::Welcome {
            store_id,
            heartbeat_interval_ms: millis_u32(self.settings.heartbeat_interval),
            lease_ttl_ms: millis_u32(self.settings.lease_ttl),
            autonomy_max_ms: millis_u32(self.settings.autonomy_max),
            protocol_version,
        };
        wire::CoordinatorMessage { message: Some(Stated::Welcome(welcome)) }
    }
}

#[tonic::async_trait]
impl AgentService for Agents {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<wire::CoordinatorMessage, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let mut said = request.into_inner();
        let first = said.message().await?.and_then(|message| message.message);
        let Some(Said::Hello(hello)) = first else {
            return Err(Status::invalid_argument("a session begins with Hello"));
        };
        let holder = holder(&hello.agent_id, &hello.incarnation)?;
        let version = negotiate(hello.protocol_version_oldest, hello.protocol_version);
        let version = version.map_err(|error| Status::failed_precondition(error.to_string()))?;
        if let Some(leader_address) = elsewhere(self.handle.leader()) {
            let redirect = Stated::Redirect(wire::Redirect { leader_address });
            let only = wire::CoordinatorMessage { message: Some(redirect) };
            return Ok(Response::new(Box::pin(futures::stream::iter([Ok(only)]))));
        }
        let (outbox, statements) = mpsc::channel(OUTBOX);
        let (opened, answer) = oneshot::channel();
        let running = hello.running.iter().map(held).collect::<Result<_, Malformed>>();
        let offset_storage_topic = hello.offset_storage_topic.clone();
        let message = Hello {
            hello: core::Hello {
                holder: holder.clone(),
                rack: hello.rack,
                labels: hello.labels,
                running: running.map_err(|error| Status::invalid_argument(error.to_string()))?,
                store_id: hello.store_id,
                // The driver knows.
                is_settled: false,
            },
            group_id: hello.group_id,
            destination: destination(hello.worker_cluster_id, &offset_storage_topic),
            outbox,
            opened,
        };
        let gone = |_| Status::unavailable("the coordinator is stopping, or opens its store again");
        self.handle.tell(Message::Hello(message)).await.map_err(|_| gone(()))?;
        let opened = answer.await.map_err(|_| gone(()))?;
        let Opened { store_id, session } = opened.map_err(Status::failed_precondition)?;
        let welcome = self.welcome(store_id, version);
        let listener = Listener {
            handle: self.handle.clone(),
            holder,
            offset_storage_topic,
            session,
            partial: BTreeMap::new(),
        };
        // The listener ends with its stream: when the agent goes, or when the process stops.
        tokio::spawn(listener.run(hello.running, said, self.stop.clone()));
        let first = futures::stream::iter([Ok(welcome)]);
        Ok(Response::new(Box::pin(first.chain(ReceiverStream::new(statements).map(Ok)))))
    }

    async fn renew(
        &self,
        request: Request<wire::RenewRequest>,
    ) -> Result<Response<wire::RenewResponse>, Status> {
        let wire::RenewRequest { agent_id, incarnation } = request.into_inner();
        let held = self.handle.renew(holder(&agent_id, &incarnation)?).await;
        let held = held.map_err(|failure| Status::unavailable(failure.to_string()))?;
        let held = held.ok_or_else(|| Status::not_found(format!("agent {agent_id} has no lease")))?;
        let held = held
            .into_iter()
            .map(|(id, epoch)| wire::HeldAssignment { id: Some((&id).into()), epoch: Some(epoch.into()) });
        Ok(Response::new(wire::RenewResponse {
            held: held.collect(),
            lease_ttl_ms: millis_u32(self.settings.lease_ttl),
        }))
    }
}

/// One session's ear.
struct Listener {
    handle: Handle,
    holder: Holder,
    offset_storage_topic: String,
    session: SessionNumber,
    /// Surveys whose last message is still to come.
    partial: BTreeMap<String, Vec<wire::FoundTopic>>,
}

impl Listener {
    async fn run(
        mut self,
        running: Vec<wire::Report>,
        mut said: Streaming<wire::AgentMessage>,
        stop: CancellationToken,
    ) {
        let mut outcome = Ok(());
        for report in running {
            outcome = outcome.and(self.take(Said::Report(report)).await);
        }
        while outcome.is_ok() {
            let message = tokio::select! {
                () = stop.cancelled() => break,
                message = said.message() => message,
            };
            let Ok(Some(wire::AgentMessage { message })) = message else { break };
            // One that is empty is of a newer version, which says it in addition.
            if let Some(message) = message {
                outcome = self.take(message).await;
            }
        }
        if let Err(error) = outcome {
            tracing::warn!(agent = %self.holder.agent, %error, "the agent said something that makes no sense");
        }
        // When the driver is gone there is nobody left to be told.
        drop(self.handle.tell(Message::SessionEnded(self.holder, self.session)).await);
    }

    async fn take(&mut self, said: Said) -> Result<(), Status> {
        let malformed = |error: Malformed| Status::invalid_argument(error.to_string());
        let holder = self.holder.clone();
        let message = match said {
            Said::Hello(_) => return Err(Status::invalid_argument("Hello comes once in a session")),
            Said::Heartbeat(wire::Heartbeat { worker_cluster_id }) => {
                let destination = destination(worker_cluster_id, &self.offset_storage_topic);
                Message::Heartbeat { holder, destination }
            }
            Said::Draining(wire::Draining {}) => Message::Said(Event::Draining(holder)),
            Said::Drained(wire::Drained {}) => Message::Said(Event::Drained(holder)),
            Said::Report(report) => Message::Said(reported(&holder, report).map_err(malformed)?),
            Said::Released(wire::Released { id, epoch }) => Message::Said(Event::Released {
                holder,
                id: convert::assignment_id(id).map_err(malformed)?,
                epoch: convert::epoch(epoch).map_err(malformed)?,
            }),
            Said::Survey(findings) => match self.gather(findings) {
                Some(whole) => Message::Said(surveyed(&holder, whole).map_err(malformed)?),
                None => return Ok(()),
            },
            Said::LaneRecord(proposal) => match heard(holder, proposal) {
                Some(message) => message,
                None => return Ok(()),
            },
            Said::Answer(answer) => Message::Answered(holder, answer),
        };
        self.handle.tell(message).await.map_err(|failure| Status::unavailable(failure.to_string()))
    }

    /// A survey's messages as one, once the last is there.
    fn gather(&mut self, mut part: wire::SurveyFindings) -> Option<wire::SurveyFindings> {
        let gathered = self.partial.entry(part.connector.clone()).or_default();
        gathered.append(&mut part.topics);
        if !part.complete {
            return None;
        }
        part.topics = self.partial.remove(&part.connector).unwrap_or_default();
        Some(part)
    }
}

/// Where the leader is, if this process is not the one; empty: nobody leads.
fn elsewhere(leader: Leader) -> Option<String> {
    match leader {
        Leader::Ours => None,
        Leader::Other(address) => Some(address),
        Leader::Unknown | Leader::Nobody => Some(String::new()),
    }
}

/// Nothing while the agent has not reached its worker's cluster.
fn destination(cluster_id: String, offset_storage_topic: &str) -> Option<Destination> {
    let destination = Destination { cluster_id, offset_storage_topic: offset_storage_topic.to_owned() };
    Some(destination).filter(|it| !it.cluster_id.is_empty())
}

fn holder(agent: &str, incarnation: &str) -> Result<Holder, Status> {
    let agent = agent
        .parse()
        .map_err(|error: copyist_model::InvalidName| Status::invalid_argument(error.to_string()))?;
    Ok(Holder { agent, incarnation: incarnation.to_owned() })
}

fn held(report: &wire::Report) -> Result<(AssignmentId, AssignmentEpoch), Malformed> {
    Ok((convert::assignment_id(report.id.clone())?, convert::epoch(report.epoch)?))
}

fn reported(holder: &Holder, report: wire::Report) -> Result<Event, Malformed> {
    let state = InstanceState::ALL.into_iter().find(|state| state.as_str() == report.state);
    Ok(Event::Reported {
        holder: holder.clone(),
        id: convert::assignment_id(report.id)?,
        epoch: convert::epoch(report.epoch)?,
        state: state.ok_or(Malformed::Missing { message: "Report", field: "state" })?,
        trace: report.trace,
    })
}

fn surveyed(holder: &Holder, findings: wire::SurveyFindings) -> Result<Event, Malformed> {
    let name = |source| Malformed::Name { message: "SurveyFindings", source };
    let topic = |topic: wire::FoundTopic| -> Result<FoundTopic, Malformed> {
        Ok(FoundTopic {
            source: topic.source.parse().map_err(name)?,
            destination: topic.destination.parse().map_err(name)?,
            partitions: topic.partitions,
            literal: topic.literal,
        })
    };
    Ok(Event::Surveyed {
        holder: holder.clone(),
        connector: findings.connector.parse().map_err(name)?,
        epoch: convert::epoch(findings.epoch)?,
        findings: Findings {
            generation: copyist_model::ConnectorGeneration(findings.generation),
            source: findings.source_cluster_id.parse().map_err(name)?,
            destination: findings.destination_cluster_id.parse().map_err(name)?,
            topics: findings.topics.into_iter().map(topic).collect::<Result<_, _>>()?,
        },
    })
}

/// What a proposal means: one that cannot be read is refused here, as long as it can be said which lane's it is.
fn heard(holder: Holder, proposal: wire::LaneRecordProposal) -> Option<Message> {
    let lane = lane_of(&proposal.record);
    match proposed(&holder, proposal) {
        Ok(proposal) => Some(Message::Proposed(proposal)),
        Err(error) => {
            let because = chain(&error);
            tracing::warn!(agent = %holder.agent, error = %because, "the agent proposed a lane record that makes no sense");
            let (lane, generation) = lane?;
            Some(Message::Unreadable { holder, lane, generation, because })
        }
    }
}

fn proposed(holder: &Holder, proposal: wire::LaneRecordProposal) -> Result<Proposal, Malformed> {
    Ok(Proposal {
        holder: holder.clone(),
        id: convert::assignment_id(proposal.id)?,
        epoch: convert::epoch(proposal.epoch)?,
        replaces: LaneGeneration(proposal.replaces_generation),
        record: Box::new(record::decode(&proposal.record)?),
    })
}

/// Which lane's record it is meant to be, and of which generation.
fn lane_of(record: &[u8]) -> Option<(LaneId, LaneGeneration)> {
    let record = store::LaneRecord::decode(record).ok()?;
    let source = record.source?;
    let lane = wire::LaneId {
        connector: record.connector,
        source_cluster_id: source.cluster_id,
        topic: source.topic,
        partition: source.partition,
    };
    Some((lane.try_into().ok()?, LaneGeneration(record.generation)))
}

/// A statement of the core's, for the wire.
#[must_use]
pub(crate) fn statement(
    statement: Statement,
    traceparent: String,
    settings: &Settings,
) -> wire::CoordinatorMessage {
    let message = match statement {
        Statement::Run(run) => Stated::Assignment(assignment(*run, traceparent, settings)),
        Statement::Release { id, epoch } => {
            Stated::Release(wire::Release { id: Some(wire_id(&id)), epoch: Some(epoch.into()) })
        }
        Statement::SetComplete => Stated::SetComplete(wire::SetComplete {}),
        Statement::Verdict(verdict) => Stated::LaneRecord(wire_verdict(*verdict)),
    };
    wire::CoordinatorMessage { message: Some(message) }
}

/// Whether an agent is the scribe.
#[must_use]
pub(crate) fn scribe(is_scribe: bool, mark: String) -> wire::CoordinatorMessage {
    wire::CoordinatorMessage { message: Some(Stated::Scribe(wire::Scribe { is_scribe, mark })) }
}

fn wire_verdict(verdict: LaneVerdict) -> wire::LaneRecordVerdict {
    let (refused_because, holds) = match verdict.refusal {
        None => (String::new(), None),
        Some(Refusal { because, holds }) => (because, holds),
    };
    wire::LaneRecordVerdict {
        lane: Some((&verdict.lane).into()),
        generation: verdict.generation.0,
        refused_because,
        holds: holds.map(|held| record::encode_held(&verdict.lane, &held)).unwrap_or_default(),
    }
}

fn wire_id(id: &AssignmentId) -> wire::AssignmentId {
    id.into()
}

fn assignment(run: Run, traceparent: String, settings: &Settings) -> wire::Assignment {
    let wait = if run.follows_unreleased { settings.previous_right_wait() } else { Default::default() };
    wire::Assignment {
        id: Some(wire_id(&run.id)),
        epoch: Some(run.epoch.into()),
        revision: run.revision.0,
        generation: run.generation.0,
        spec: Some(run.spec.as_ref().into()),
        lanes: convert::lanes_to_wire(&run.lanes),
        previous_right_wait_ms: millis_u32(wait),
        paused: run.paused,
        lane_records: run.records.iter().map(|(lane, held)| record::encode_held(lane, held)).collect(),
        shared_destinations: run.shared.iter().map(ToString::to_string).collect(),
        traceparent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use copyist_model::{AssignmentEpoch, Engine, LaneEnd, LaneRecord, StoreRevision, TopicId};

    fn end(topic: &str) -> LaneEnd {
        LaneEnd {
            cluster: "k".parse().unwrap(),
            topic: topic.parse().unwrap(),
            topic_id: TopicId(1),
            partition: 3,
        }
    }

    fn lane_record() -> LaneRecord {
        let source = end("t");
        LaneRecord {
            lane: LaneId {
                connector: "c".parse().unwrap(),
                source_cluster: source.cluster.clone(),
                topic: source.topic.clone(),
                partition: 3,
            },
            generation: LaneGeneration(7),
            engine: Engine::Raw,
            source,
            destination: end("u"),
            producer_id: 1,
            base_n: 2,
            base_offset: 3,
            base_source_offset: 4,
            shared: false,
        }
    }

    fn by() -> Holder {
        Holder { agent: "a:1".parse().unwrap(), incarnation: "i".into() }
    }

    fn epoch() -> AssignmentEpoch {
        AssignmentEpoch { incarnation: 1, revision: StoreRevision(5) }
    }

    fn proposal(record: Vec<u8>) -> wire::LaneRecordProposal {
        let id = AssignmentId::task(&"c".parse().unwrap(), 2);
        wire::LaneRecordProposal {
            epoch: Some(epoch().into()),
            replaces_generation: 6,
            record,
            id: Some((&id).into()),
        }
    }

    #[test]
    fn a_proposal_reaches_the_driver_as_it_was_said() {
        let record = lane_record();
        let Some(Message::Proposed(heard)) = heard(by(), proposal(record::encode(&record))) else {
            panic!("it was readable")
        };
        let expected = Proposal {
            holder: by(),
            id: AssignmentId::task(&"c".parse().unwrap(), 2),
            epoch: epoch(),
            replaces: LaneGeneration(6),
            record: Box::new(record),
        };
        assert_eq!(heard, expected);
    }

    #[test]
    fn an_unreadable_proposal_is_refused_where_its_lane_is_known_and_dropped_else() {
        let good = store::LaneRecord::decode(&*record::encode(&lane_record())).unwrap();
        let newer = store::LaneRecord { format_version: 99, ..good.clone() };
        let engine = store::LaneRecord { engine: "steam".into(), ..good.clone() };
        let bytes = |record: &store::LaneRecord| record.encode_to_vec();
        let without_id = wire::LaneRecordProposal { id: None, ..proposal(bytes(&good)) };
        let without_epoch = wire::LaneRecordProposal { epoch: None, ..proposal(bytes(&good)) };
        let rows = [
            (proposal(bytes(&newer)), "99"),
            (proposal(bytes(&engine)), "steam"),
            (without_id, "lacks"),
            (without_epoch, "lacks"),
        ];
        for (proposal, text) in rows {
            let Some(Message::Unreadable { holder, lane, generation, because }) = heard(by(), proposal)
            else {
                panic!("{text}: its lane is readable")
            };
            assert_eq!((holder, lane, generation), (by(), lane_record().lane, LaneGeneration(7)));
            assert!(because.contains(text), "{because}");
        }
        let nowhere = store::LaneRecord { source: None, ..good.clone() };
        let nameless = store::LaneRecord { connector: String::new(), ..good };
        for record in [vec![0xff; 9], Vec::new(), bytes(&nowhere), bytes(&nameless)] {
            assert!(heard(by(), proposal(record)).is_none());
        }
    }

    #[test]
    fn a_verdict_says_what_holds_and_why() {
        let lane = lane_record().lane;
        let said = |refusal| {
            wire_verdict(LaneVerdict { lane: lane.clone(), generation: LaneGeneration(8), refusal })
        };
        let committed = said(None);
        assert_eq!(LaneId::try_from(committed.lane.clone().unwrap()).unwrap(), lane);
        assert_eq!((committed.generation, committed.refused_because.as_str()), (8, ""));
        assert!(committed.holds.is_empty());
        let holds = Some(lane_record().into());
        let refused = said(Some(Refusal { because: "why".into(), holds }));
        assert_eq!(refused.refused_because, "why");
        assert_eq!(record::decode(&refused.holds).unwrap(), lane_record());
        assert!(said(Some(Refusal { because: "why".into(), holds: None })).holds.is_empty());
    }
}
