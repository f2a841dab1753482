//! What the coordinator states and answers, in the core's words. Pure but for its log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use copyist_model::{AssignmentId, LaneGeneration, LaneHeld, LaneId, TopicName};
use copyist_proto::control as wire;
use copyist_proto::control::coordinator_message::Message as Stated;
use copyist_proto::{Malformed, convert, record};

use crate::core::{Event, Judgement, Run};
use crate::error::chain;
use crate::job::Order;

/// What a statement means to the core; one that makes no sense is logged and left out.
pub(super) fn understood(stated: Stated) -> Option<Event> {
    let event = match stated {
        Stated::Welcome(wire::Welcome { store_id, autonomy_max_ms, .. }) => {
            Ok(Event::Welcome { store_id, autonomy_max_ms: u64::from(autonomy_max_ms) })
        }
        Stated::Assignment(assignment) => run(assignment).map(|run| Event::Run(Box::new(run))),
        Stated::Release(release) => released(release),
        Stated::SetComplete(_) => Ok(Event::SetComplete),
        Stated::LaneRecord(verdict) => judged(verdict),
        // All of these are the session's business.
        Stated::Redirect(_) | Stated::Scribe(_) | Stated::SetLogger(_) | Stated::Query(_) => return None,
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
        bytes => Some(record::decode_held(bytes)?.1),
    };
    let because = verdict.refused_because;
    Ok(Event::Verdict {
        lane: lane.try_into()?,
        generation: LaneGeneration(verdict.generation),
        judgement: Judgement { refused_because: Some(because).filter(|because| !because.is_empty()), holds },
    })
}

/// A lane whose record is left out proposes one, and learns from the refusal what holds.
fn records(encoded: &[Vec<u8>]) -> BTreeMap<LaneId, LaneHeld> {
    let log = |error: &Malformed| {
        tracing::error!(error = %chain(error), "the coordinator stated a lane record that makes no sense");
    };
    encoded.iter().filter_map(|bytes| record::decode_held(bytes).inspect_err(log).ok()).collect()
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
            traceparent: assignment.traceparent,
        },
        previous_right_wait_ms: u64::from(assignment.previous_right_wait_ms),
    })
}

pub(super) fn renewed(sent_ms: u64, answer: wire::RenewResponse) -> Option<Event> {
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

#[cfg(test)]
pub(super) mod tests {
    use copyist_model::{Engine, LaneEnd, LaneRecord, TopicId};

    use super::*;

    pub fn lane_record() -> LaneRecord {
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
        let judged = |refused_because: Option<&str>, holds: Option<LaneHeld>| {
            let refused_because = refused_because.map(str::to_owned);
            let judgement = Judgement { refused_because, holds };
            Some(Event::Verdict { lane: lane_record().lane, generation: LaneGeneration(4), judgement })
        };
        let holds = record::encode(&lane_record());
        let record = || Some(lane_record().into());
        let altered = LaneHeld::Altered(LaneGeneration(9));
        let rows = [
            (verdict("", Vec::new()), judged(None, None)),
            (verdict("", holds.clone()), judged(None, record())),
            (verdict("old", Vec::new()), judged(Some("old"), None)),
            (verdict("old", holds), judged(Some("old"), record())),
            (
                verdict("old", record::encode_held(&lane_record().lane, &altered)),
                judged(Some("old"), Some(altered)),
            ),
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
        let expected = BTreeMap::from([(lane_record().lane, lane_record().into())]);
        assert_eq!(*run.order.records, expected);
        assert_eq!(run.order.shared, BTreeSet::from(["t.replica".parse().unwrap()]));
    }
}
