//! What the agent says, in the words of the contract. Pure.

use copyist_proto::control as wire;
use copyist_proto::control::agent_message::Message as Said;
use copyist_proto::protocol::{CONTROL_PROTOCOL_OLDEST, CONTROL_PROTOCOL_VERSION};
use copyist_proto::record;

use super::Identity;
use crate::core::{Report, Saying};

/// Topics in one message of a survey: some 100 bytes each, and a message stays below 1 MiB.
const TOPICS_PER_MESSAGE: usize = 5_000;

pub(super) fn cluster_id(identity: &Identity) -> String {
    identity.cluster.borrow().as_ref().map(ToString::to_string).unwrap_or_default()
}

pub(super) fn hello(identity: &Identity) -> wire::Hello {
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
        group_id: worker.group_id.clone(),
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

pub(super) fn messages(saying: Saying) -> Vec<Said> {
    match saying {
        Saying::Draining => vec![Said::Draining(wire::Draining {})],
        Saying::Drained => vec![Said::Drained(wire::Drained {})],
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use copyist_model::{AssignmentEpoch, AssignmentId, LaneGeneration, StoreRevision};
    use tokio::sync::watch;

    use super::super::Standing;
    use super::super::statements::tests::lane_record;
    use super::*;
    use crate::job::Proposal;
    use crate::worker::Worker;

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
    fn a_hello_says_whose_agent_it_is_what_runs_and_by_which_store() {
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
            loggers: copyist_proto::OwnLoggers::new(copyist_model::Loggers::new(
                copyist_model::LogLevel::Info,
                [],
            )),
        };
        let hello = hello(&identity);
        assert_eq!((hello.store_id.as_str(), hello.running), ("s", vec![report(&running)]));
        assert_eq!(hello.group_id, "g");
    }
}
