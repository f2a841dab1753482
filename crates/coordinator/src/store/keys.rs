//! Keys and values: the only place that knows how the view's parts are spelled in the store.

use std::collections::BTreeSet;

use copyist_model::{
    AssignmentEpoch, AssignmentId, ConnectorGeneration, ConnectorName, InstanceState, LaneHeld, LaneId, Part,
    StoreRevision, TargetState, TaskId, TaskRevision,
};
use copyist_proto::{STORE_FORMAT_VERSION as FORMAT, connect, convert, record, store};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use prost::Message;

use crate::core::view::{
    Agent, Altering, Assignment, Connector, Destination, Holder, Holding, Meta, RequestAnswer, Status, Task,
    TopicMarks, View, Write,
};
use crate::core::{Answer, Failure, Info};
use crate::error::{Error, chain};

/// What stays as it is in a key's part.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-');

/// Failures, by the names of gRPC's status codes.
const NOT_FOUND: &str = "NOT_FOUND";
const ALREADY_EXISTS: &str = "ALREADY_EXISTS";
const ABORTED: &str = "ABORTED";
const INVALID_ARGUMENT: &str = "INVALID_ARGUMENT";
const UNAVAILABLE: &str = "UNAVAILABLE";

/// A part of a key: whatever is not in `[A-Za-z0-9._-]` is percent-encoded.
#[must_use]
pub fn escape(part: &str) -> String {
    utf8_percent_encode(part, ESCAPED).to_string()
}

/// The key of a write, and its new value (nothing: the key goes).
#[must_use]
pub fn encode(write: &Write, incarnation: u64) -> (String, Option<Vec<u8>>) {
    match write {
        Write::Meta(meta) => ("meta".to_owned(), Some(meta_value(meta))),
        Write::Connector(name, value) => {
            (format!("connectors/{}", escape(name.as_str())), value.as_deref().map(connector_value))
        }
        Write::Request(id, value) => {
            (format!("requests/{}", escape(id)), value.as_deref().map(request_value))
        }
        Write::Task(id, value) => {
            let key = format!("tasks/{}/{}", escape(id.connector.as_str()), id.number);
            (key, value.as_ref().map(task_value))
        }
        Write::Lane(id, value) => (lane_key(id), value.as_ref().map(|held| record::encode_held(id, held))),
        Write::TopicMarks(name, marks) => {
            (format!("topics/{}", escape(name.as_str())), marks.as_ref().map(topic_marks_value))
        }
        Write::Deletion(name, deleted_at_ms) => {
            (format!("deletions/{}", escape(name.as_str())), deleted_at_ms.map(deletion_value))
        }
        Write::Agent(id, value) => {
            (format!("agents/{}", escape(id.as_str())), value.as_ref().map(agent_value))
        }
        Write::Assignment(id, value) => {
            let value = value.as_ref().map(|assignment| assignment_value(assignment, incarnation));
            (part_key("assignments", id, "survey"), value)
        }
        Write::Released(id, holdings) => {
            let value = (!holdings.is_empty()).then(|| releases_value(holdings));
            (part_key("releases", id, "survey"), value)
        }
        Write::Status(id, value) => (part_key("status", id, "connector"), value.as_ref().map(status_value)),
    }
}

/// What a write takes in the store, key and value.
#[must_use]
pub fn size(write: &Write) -> usize {
    let (key, value) = encode(write, u64::MAX);
    key.len() + value.map_or(0, |value| value.len())
}

fn part_key(family: &str, id: &AssignmentId, survey: &str) -> String {
    let connector = escape(id.connector.as_str());
    match id.part {
        Part::Survey => format!("{family}/{connector}/{survey}"),
        Part::Task(number) => format!("{family}/{connector}/{number}"),
    }
}

fn lane_key(lane: &LaneId) -> String {
    let (connector, cluster) = (escape(lane.connector.as_str()), escape(lane.source_cluster.as_str()));
    format!("lanes/{connector}/{cluster}/{}/{}", escape(lane.topic.as_str()), lane.partition)
}

fn meta_value(meta: &Meta) -> Vec<u8> {
    let destination = meta.destination.clone();
    let destination = destination.map(|it| (it.cluster_id, it.offset_storage_topic)).unwrap_or_default();
    let value = store::Meta {
        format_version: FORMAT,
        store_id: meta.store_id.clone(),
        incarnation: meta.incarnation,
        destination_cluster_id: destination.0,
        offset_storage_topic: destination.1,
    };
    value.encode_to_vec()
}

fn connector_value(connector: &Connector) -> Vec<u8> {
    let (source, destination) = connector.clusters.clone().unzip();
    let value = store::Connector {
        format_version: FORMAT,
        config: connector.config.clone(),
        target_state: connector.target.as_str().to_owned(),
        generation: connector.generation.0,
        revision: connector.revision.0,
        tasks_generation: connector.tasks_generation.0,
        deleting: connector.deleting,
        surveyed: connector.surveyed,
        source_cluster_id: source.map(|id| id.to_string()).unwrap_or_default(),
        destination_cluster_id: destination.map(|id| id.to_string()).unwrap_or_default(),
        altered: connector.altered.clone(),
        altering_by: connector.altering.as_ref().map(|altering| altering.by.clone()).unwrap_or_default(),
        altering_until_ms: connector.altering.as_ref().map_or(0, |altering| altering.until_ms),
    };
    value.encode_to_vec()
}

fn request_value(kept: &RequestAnswer) -> Vec<u8> {
    let response = match &kept.answer {
        Ok(Answer::Done | Answer::Altered(_) | Answer::Status(_)) | Err(_) => {
            connect::PutConnectorConfigResponse::default()
        }
        Ok(Answer::Info { created, info }) => connect::PutConnectorConfigResponse {
            created: *created,
            info: Some(connect::ConnectorInfo {
                name: info.name.to_string(),
                config: info.config.clone(),
                tasks: info.tasks.clone(),
                r#type: "source".to_owned(),
            }),
        },
    };
    let value = store::RequestAnswer {
        format_version: FORMAT,
        response: response.encode_to_vec(),
        expires_at_ms: kept.expires_at_ms,
        failure: kept.answer.as_ref().err().map(failure_value),
        altered: match &kept.answer {
            Ok(Answer::Altered(told)) => Some(told.clone()),
            Ok(Answer::Done | Answer::Status(_) | Answer::Info { .. }) | Err(_) => None,
        },
    };
    value.encode_to_vec()
}

fn failure_value(failure: &Failure) -> store::Failure {
    let code = match failure {
        Failure::NotFound(_) => NOT_FOUND,
        Failure::AlreadyExists(_) => ALREADY_EXISTS,
        Failure::Conflict(_) => ABORTED,
        Failure::Invalid(_) => INVALID_ARGUMENT,
        Failure::Unavailable(_) => UNAVAILABLE,
    };
    store::Failure { code: code.to_owned(), text: failure.to_string() }
}

fn task_value(task: &Task) -> Vec<u8> {
    let value = store::Task {
        format_version: FORMAT,
        revision: task.revision.0,
        generation: task.generation.0,
        topics: convert::lanes_to_store(&task.lanes),
    };
    value.encode_to_vec()
}

fn agent_value(agent: &Agent) -> Vec<u8> {
    let value = store::Agent {
        format_version: FORMAT,
        incarnation: agent.incarnation.clone(),
        rack: agent.rack.clone(),
        labels: agent.labels.clone(),
        drained: agent.drained,
    };
    value.encode_to_vec()
}

fn assignment_value(assignment: &Assignment, incarnation: u64) -> Vec<u8> {
    let value = store::Assignment {
        format_version: FORMAT,
        holder: assignment.holder.agent.to_string(),
        holder_incarnation: assignment.holder.incarnation.clone(),
        epoch_incarnation: incarnation,
        former: assignment.former.iter().map(holding_value).collect(),
        pinned: assignment.pinned,
    };
    value.encode_to_vec()
}

fn holding_value((holder, epoch): &Holding) -> store::FormerHolder {
    store::FormerHolder {
        agent: holder.agent.to_string(),
        incarnation: holder.incarnation.clone(),
        epoch_revision: epoch.revision.0,
        epoch_incarnation: epoch.incarnation,
    }
}

fn releases_value(holdings: &BTreeSet<Holding>) -> Vec<u8> {
    let released = holdings.iter().map(holding_value).collect();
    store::Releases { format_version: FORMAT, released }.encode_to_vec()
}

fn topic_marks_value(marks: &TopicMarks) -> Vec<u8> {
    let progress = marks.iter().map(|(topic, progress)| (topic.to_string(), *progress)).collect();
    store::TopicMarks { format_version: FORMAT, progress }.encode_to_vec()
}

fn topic_marks(key: &str, value: &[u8]) -> Result<TopicMarks, Error> {
    let value: store::TopicMarks = message(key, value)?;
    check_format(key, value.format_version)?;
    value.progress.into_iter().map(|(topic, progress)| Ok((parsed(key, &topic)?, progress))).collect()
}

fn deletion_value(deleted_at_ms: u64) -> Vec<u8> {
    store::Deletion { format_version: FORMAT, deleted_at_ms }.encode_to_vec()
}

fn deletion(key: &str, value: &[u8]) -> Result<u64, Error> {
    let value: store::Deletion = message(key, value)?;
    check_format(key, value.format_version)?;
    Ok(value.deleted_at_ms)
}

fn status_value(status: &Status) -> Vec<u8> {
    let value = store::Status {
        format_version: FORMAT,
        state: status.state.as_str().to_owned(),
        agent: status.agent.as_ref().map(ToString::to_string).unwrap_or_default(),
        trace: status.trace.clone(),
    };
    value.encode_to_vec()
}

/// Puts one stored key into the view. Keys of families that this version does not read are left alone.
///
/// # Errors
/// When the value is damaged, or of a newer format; the text names the key.
pub fn decode(view: &mut View, key: &str, value: &[u8], revision: StoreRevision) -> Result<(), Error> {
    let parts: Vec<&str> = key.split('/').collect();
    match parts.as_slice() {
        ["meta"] => {
            let value: store::Meta = message(key, value)?;
            check_format(key, value.format_version)?;
            let store::Meta { store_id, incarnation, destination_cluster_id, offset_storage_topic, .. } =
                value;
            let destination = Destination { cluster_id: destination_cluster_id, offset_storage_topic };
            let destination = Some(destination).filter(|it| !it.cluster_id.is_empty());
            view.meta = Meta { store_id, incarnation, destination };
        }
        ["connectors", name] => {
            view.connectors.insert(named(key, name)?, connector(key, name, value)?);
        }
        ["requests", id] => {
            if let Some(kept) = request(key, value)? {
                view.requests.insert(unescape(key, id)?, kept);
            }
        }
        ["tasks", name, number] => {
            let id = TaskId { connector: named(key, name)?, number: number_of(key, number)? };
            view.tasks.insert(id, task(key, value)?);
        }
        ["lanes", _, _, _, _] => {
            let (lane, held) = lane_held(key, value)?;
            view.lanes.insert(lane, held);
        }
        ["topics", name] => drop(view.topic_marks.insert(named(key, name)?, topic_marks(key, value)?)),
        ["deletions", name] => drop(view.deletions.insert(named(key, name)?, deletion(key, value)?)),
        ["agents", id] => {
            let value: store::Agent = message(key, value)?;
            check_format(key, value.format_version)?;
            let store::Agent { format_version: _, incarnation, rack, labels, drained } = value;
            let agent = Agent { incarnation, rack, labels, drained };
            view.agents.insert(parsed(key, &unescape(key, id)?)?, agent);
        }
        ["assignments", name, part] => {
            let id = AssignmentId { connector: named(key, name)?, part: part_of(key, part, "survey")? };
            view.assignments.insert(id, assignment(key, value, revision)?);
        }
        ["releases", name, part] => {
            let id = AssignmentId { connector: named(key, name)?, part: part_of(key, part, "survey")? };
            let value: store::Releases = message(key, value)?;
            check_format(key, value.format_version)?;
            view.releases.insert(id, holdings(key, value.released)?.into_iter().collect());
        }
        ["status", name, part] => {
            let id = AssignmentId { connector: named(key, name)?, part: part_of(key, part, "connector")? };
            view.statuses.insert(id, status(key, value)?);
        }
        [..] => {}
    }
    Ok(())
}

/// Takes one stored key out of the view. Keys of families that this version does not read are left alone.
///
/// # Errors
/// When the key cannot be read; the text names it.
pub fn remove(view: &mut View, key: &str) -> Result<(), Error> {
    let parts: Vec<&str> = key.split('/').collect();
    match parts.as_slice() {
        ["meta"] => view.meta = Meta::default(),
        ["connectors", name] => drop(view.connectors.remove(&named(key, name)?)),
        ["requests", id] => drop(view.requests.remove(&unescape(key, id)?)),
        ["tasks", name, number] => {
            let id = TaskId { connector: named(key, name)?, number: number_of(key, number)? };
            view.tasks.remove(&id);
        }
        ["lanes", name, cluster, topic, partition] => {
            let lane = LaneId {
                connector: named(key, name)?,
                source_cluster: parsed(key, &unescape(key, cluster)?)?,
                topic: parsed(key, &unescape(key, topic)?)?,
                partition: parsed(key, partition)?,
            };
            view.lanes.remove(&lane);
        }
        ["topics", name] => drop(view.topic_marks.remove(&named(key, name)?)),
        ["deletions", name] => drop(view.deletions.remove(&named(key, name)?)),
        ["agents", id] => drop(view.agents.remove(&parsed(key, &unescape(key, id)?)?)),
        ["assignments", name, part] => {
            let id = AssignmentId { connector: named(key, name)?, part: part_of(key, part, "survey")? };
            view.assignments.remove(&id);
        }
        ["releases", name, part] => {
            let id = AssignmentId { connector: named(key, name)?, part: part_of(key, part, "survey")? };
            view.releases.remove(&id);
        }
        ["status", name, part] => {
            let id = AssignmentId { connector: named(key, name)?, part: part_of(key, part, "connector")? };
            view.statuses.remove(&id);
        }
        [..] => {}
    }
    Ok(())
}

fn message<M: Message + Default>(key: &str, value: &[u8]) -> Result<M, Error> {
    M::decode(value).map_err(|error| damaged(key, &error.to_string()))
}

fn damaged(key: &str, why: &str) -> Error {
    Error::StoreUnreadable(format!("the store's key {key} cannot be read: {why}"))
}

fn check_format(key: &str, version: u32) -> Result<(), Error> {
    if version == FORMAT {
        return Ok(());
    }
    Err(Error::StoreUnreadable(format!(
        "the store's key {key} has format version {version}, and this version of copyist reads {FORMAT}: \
         run the version that wrote it, or a newer one"
    )))
}

fn unescape(key: &str, part: &str) -> Result<String, Error> {
    let text = percent_decode_str(part).decode_utf8().map_err(|error| damaged(key, &error.to_string()))?;
    Ok(text.into_owned())
}

fn parsed<T: std::str::FromStr>(key: &str, text: &str) -> Result<T, Error>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| damaged(key, &error.to_string()))
}

fn named(key: &str, part: &str) -> Result<ConnectorName, Error> {
    parsed(key, &unescape(key, part)?)
}

fn number_of(key: &str, text: &str) -> Result<u32, Error> {
    parsed(key, text)
}

fn part_of(key: &str, text: &str, survey: &str) -> Result<Part, Error> {
    if text == survey { Ok(Part::Survey) } else { Ok(Part::Task(number_of(key, text)?)) }
}

fn connector(key: &str, name: &str, value: &[u8]) -> Result<Connector, Error> {
    let value: store::Connector = message(key, value)?;
    check_format(key, value.format_version)?;
    let (spec, warnings) = Connector::read(&named(key, name)?, &value.config);
    let clusters = match (value.source_cluster_id.as_str(), value.destination_cluster_id.as_str()) {
        ("", _) | (_, "") => None,
        (source, destination) => Some((parsed(key, source)?, parsed(key, destination)?)),
    };
    Ok(Connector {
        config: value.config,
        target: parsed::<TargetState>(key, &value.target_state)?,
        generation: ConnectorGeneration(value.generation),
        revision: TaskRevision(value.revision),
        tasks_generation: ConnectorGeneration(value.tasks_generation),
        deleting: value.deleting,
        surveyed: value.surveyed,
        clusters,
        spec,
        warnings,
        altered: value.altered,
        altering: (!value.altering_by.is_empty())
            .then_some(Altering { by: value.altering_by, until_ms: value.altering_until_ms }),
    })
}

fn request(key: &str, value: &[u8]) -> Result<Option<RequestAnswer>, Error> {
    let value: store::RequestAnswer = message(key, value)?;
    check_format(key, value.format_version)?;
    let response: connect::PutConnectorConfigResponse = message(key, &value.response)?;
    let answer = match (response.info, value.failure, value.altered) {
        (_, Some(failed), _) => Err(failure(key, failed)?),
        (None, None, Some(told)) => Ok(Answer::Altered(told)),
        (None, None, None) => Ok(Answer::Done),
        (Some(info), None, _) => {
            let name = parsed(key, &info.name)?;
            let info = Info { name, config: info.config, tasks: info.tasks };
            Ok(Answer::Info { created: response.created, info })
        }
    };
    Ok(Some(RequestAnswer { answer, expires_at_ms: value.expires_at_ms }))
}

fn failure(key: &str, stored: store::Failure) -> Result<Failure, Error> {
    let store::Failure { code, text } = stored;
    Ok(match code.as_str() {
        NOT_FOUND => Failure::NotFound(text),
        ALREADY_EXISTS => Failure::AlreadyExists(text),
        ABORTED => Failure::Conflict(text),
        INVALID_ARGUMENT => Failure::Invalid(text),
        UNAVAILABLE => Failure::Unavailable(text),
        other => return Err(damaged(key, &format!("{other:?} is no failure"))),
    })
}

fn task(key: &str, value: &[u8]) -> Result<Task, Error> {
    let value: store::Task = message(key, value)?;
    check_format(key, value.format_version)?;
    Ok(Task {
        revision: TaskRevision(value.revision),
        generation: ConnectorGeneration(value.generation),
        lanes: convert::lanes_from_store(value.topics).map_err(|error| damaged(key, &error.to_string()))?,
    })
}

/// A record names its lane as well: one under another lane's key would number that lane's records.
fn lane_held(key: &str, value: &[u8]) -> Result<(LaneId, LaneHeld), Error> {
    check_format(key, message::<store::LaneRecord>(key, value)?.format_version)?;
    let (lane, held) = record::decode_held(value).map_err(|error| damaged(key, &chain(&error)))?;
    if lane_key(&lane) != key {
        let LaneId { connector, source_cluster, .. } = &lane;
        let of = format!("its value is of lane {lane} of connector {connector} and cluster {source_cluster}");
        return Err(damaged(key, &of));
    }
    Ok((lane, held))
}

fn assignment(key: &str, value: &[u8], revision: StoreRevision) -> Result<Assignment, Error> {
    let value: store::Assignment = message(key, value)?;
    check_format(key, value.format_version)?;
    Ok(Assignment {
        holder: Holder { agent: parsed(key, &value.holder)?, incarnation: value.holder_incarnation },
        epoch: AssignmentEpoch { incarnation: value.epoch_incarnation, revision },
        former: holdings(key, value.former)?,
        pinned: value.pinned,
    })
}

fn holdings(key: &str, stored: Vec<store::FormerHolder>) -> Result<Vec<Holding>, Error> {
    let holding = |one: store::FormerHolder| {
        let holder = Holder { agent: parsed(key, &one.agent)?, incarnation: one.incarnation };
        let revision = StoreRevision(one.epoch_revision);
        Ok((holder, AssignmentEpoch { incarnation: one.epoch_incarnation, revision }))
    };
    stored.into_iter().map(holding).collect()
}

fn status(key: &str, value: &[u8]) -> Result<Status, Error> {
    let value: store::Status = message(key, value)?;
    check_format(key, value.format_version)?;
    let state = InstanceState::ALL.into_iter().find(|state| state.as_str() == value.state);
    let agent = if value.agent.is_empty() { None } else { Some(parsed(key, &value.agent)?) };
    Ok(Status {
        state: state.ok_or_else(|| damaged(key, &format!("{:?} is no state", value.state)))?,
        agent,
        trace: value.trace,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use copyist_model::{Engine, LaneEnd, LaneGeneration, LaneRecord, LaneStart, TaskLanes, TopicId};
    use std::collections::BTreeMap;

    fn lane_record(connector: &str, cluster: &str, partition: i32) -> LaneRecord {
        let end = |cluster: &str, topic: &str| LaneEnd {
            cluster: cluster.parse().unwrap(),
            topic: topic.parse().unwrap(),
            topic_id: TopicId(9),
            partition,
        };
        let source = end(cluster, "t.-_T");
        let lane = LaneId {
            connector: connector.parse().unwrap(),
            source_cluster: source.cluster.clone(),
            topic: source.topic.clone(),
            partition,
        };
        LaneRecord {
            lane,
            generation: LaneGeneration(4),
            engine: Engine::Raw,
            source,
            destination: end("d", "u"),
            producer_id: 5,
            base_n: 6,
            base_offset: 7,
            base_source_offset: 8,
            shared: true,
        }
    }

    fn lane_write(record: &LaneRecord) -> Write {
        Write::Lane(record.lane.clone(), Some(record.clone().into()))
    }

    /// One write of each family, with names that need escaping.
    fn writes() -> Vec<Write> {
        let name: ConnectorName = "a/b ñ%".parse().unwrap();
        let topic = "t".parse().unwrap();
        let mut lanes = TaskLanes::default();
        lanes.insert(&topic, &topic, 3, LaneStart::Earliest);
        let config = BTreeMap::from([("connector.class".to_owned(), "x".to_owned())]);
        let (spec, warnings) = Connector::read(&name, &config);
        let holder = Holder { agent: "h:1".parse().unwrap(), incarnation: "i".into() };
        let epoch = AssignmentEpoch { incarnation: 2, revision: StoreRevision(5) };
        let info = Info { name: name.clone(), config: config.clone(), tasks: vec![0, 1] };
        let connector = Connector {
            config,
            target: TargetState::Paused,
            generation: ConnectorGeneration(3),
            revision: TaskRevision(4),
            tasks_generation: ConnectorGeneration(2),
            deleting: true,
            surveyed: true,
            clusters: Some(("s".parse().unwrap(), "d".parse().unwrap())),
            spec,
            warnings,
            altered: "t-0 begins anew".to_owned(),
            altering: Some(Altering { by: "one".to_owned(), until_ms: 120_000 }),
        };
        let altered = RequestAnswer { answer: Ok(Answer::Altered("how".to_owned())), expires_at_ms: 9 };
        let of_altered = lane_record(name.as_str(), "s/ñ", 12).lane;
        let kept = RequestAnswer { answer: Ok(Answer::Info { created: true, info }), expires_at_ms: 9 };
        let failed = |failure| RequestAnswer { answer: Err(failure), expires_at_ms: 9 };
        let failures = [
            Failure::NotFound("a".into()),
            Failure::AlreadyExists("b".into()),
            Failure::Conflict("c".into()),
            Failure::Invalid("d".into()),
            Failure::Unavailable("e".into()),
        ];
        let failures = failures.map(|it| Write::Request(it.to_string(), Some(Box::new(failed(it)))));
        let task = Task { revision: TaskRevision(2), generation: ConnectorGeneration(2), lanes };
        let agent =
            Agent { incarnation: "i".into(), rack: "r".into(), labels: BTreeMap::new(), drained: true };
        let assignment =
            Assignment { holder: holder.clone(), epoch, former: vec![(holder, epoch)], pinned: true };
        let status = Status::new(InstanceState::Failed, None, "why".into());
        vec![
            Write::Meta(Meta {
                store_id: "s".into(),
                incarnation: 2,
                destination: Some(Destination { cluster_id: "k".into(), offset_storage_topic: "o".into() }),
            }),
            Write::Connector(name.clone(), Some(Box::new(connector))),
            Write::Request("r/1".into(), Some(Box::new(kept))),
            Write::Request("r/2".into(), Some(Box::new(altered))),
            Write::Task(TaskId { connector: name.clone(), number: 7 }, Some(task)),
            lane_write(&lane_record(name.as_str(), "s/ñ", 11)),
            Write::Lane(of_altered, Some(LaneHeld::Altered(LaneGeneration(3)))),
            Write::TopicMarks(name.clone(), Some([("t".parse().unwrap(), 7)].into())),
            Write::Deletion(name.clone(), Some(8)),
            Write::Agent("h:1".parse().unwrap(), Some(agent)),
            Write::Assignment(AssignmentId::survey(&name), Some(assignment.clone())),
            Write::Assignment(AssignmentId::task(&name, 7), Some(assignment.clone())),
            Write::Released(AssignmentId::task(&name, 7), assignment.former.iter().cloned().collect()),
            Write::Status(AssignmentId::survey(&name), Some(status)),
        ]
        .into_iter()
        .chain(failures)
        .collect()
    }

    #[test]
    fn every_family_survives_the_store() {
        let revision = StoreRevision(5);
        let (mut applied, mut loaded) = (View::default(), View::default());
        for write in writes() {
            let (key, value) = encode(&write, 2);
            decode(&mut loaded, &key, &value.unwrap(), revision).unwrap();
            applied.apply(revision, write);
        }
        loaded.revision = revision;
        assert_eq!(loaded, applied);
    }

    #[test]
    fn a_removed_key_leaves_what_there_was_without_it() {
        let revision = StoreRevision(5);
        for gone in writes() {
            let (gone, _) = encode(&gone, 2);
            let (mut without, mut removed) = (View::default(), View::default());
            for write in writes() {
                let (key, value) = encode(&write, 2);
                let value = value.unwrap();
                if key != gone {
                    decode(&mut without, &key, &value, revision).unwrap();
                }
                decode(&mut removed, &key, &value, revision).unwrap();
            }
            assert_ne!(removed, without, "{gone}");
            remove(&mut removed, &gone).unwrap();
            assert_eq!(removed, without, "{gone}");
            remove(&mut removed, &gone).unwrap();
            assert_eq!(removed, without, "{gone}, when it is not there");
        }
        for odd in ["tasks/c/x", "assignments/c/x", "lanes/c/s/t/x", "agents/%ff"] {
            let error = remove(&mut View::default(), odd).unwrap_err().to_string();
            assert!(error.contains(odd), "{error}");
        }
        remove(&mut View::default(), "later/x").unwrap();
    }

    #[test]
    fn keys_are_spelled_as_documented() {
        let keys: Vec<String> = writes().iter().map(|write| encode(write, 2).0).collect();
        let name = "a%2Fb%20%C3%B1%25";
        assert_eq!(
            keys,
            [
                "meta".to_owned(),
                format!("connectors/{name}"),
                "requests/r%2F1".to_owned(),
                "requests/r%2F2".to_owned(),
                format!("tasks/{name}/7"),
                format!("lanes/{name}/s%2F%C3%B1/t.-_T/11"),
                format!("lanes/{name}/s%2F%C3%B1/t.-_T/12"),
                format!("topics/{name}"),
                format!("deletions/{name}"),
                "agents/h%3A1".to_owned(),
                format!("assignments/{name}/survey"),
                format!("assignments/{name}/7"),
                format!("releases/{name}/7"),
                format!("status/{name}/connector"),
                "requests/a".to_owned(),
                "requests/b".to_owned(),
                "requests/c".to_owned(),
                "requests/d".to_owned(),
                "requests/e".to_owned(),
            ]
        );
    }

    #[test]
    fn damage_and_newer_formats_are_refused_naming_the_key() {
        for write in writes() {
            let (key, _) = encode(&write, 2);
            // Field 1 is the format version in every value.
            let newer = decode(&mut View::default(), &key, &[8, 2], StoreRevision(1)).unwrap_err();
            assert!(newer.to_string().contains(&key) && newer.to_string().contains("version 2"), "{newer}");
            let broken = decode(&mut View::default(), &key, &[0xff], StoreRevision(1)).unwrap_err();
            assert!(broken.to_string().contains(&key), "{broken}");
        }
    }

    #[test]
    fn lanes_whose_names_look_alike_have_keys_of_their_own() {
        let names =
            [("a/b", "c"), ("a", "b/c"), ("a", "b"), ("a%2Fb", "c"), ("ñ", "c"), ("n~", "c"), ("A", "b")];
        let mut view = View::default();
        for (connector, cluster) in names {
            for partition in [0, 1, 11] {
                let (key, value) = encode(&lane_write(&lane_record(connector, cluster, partition)), 1);
                decode(&mut view, &key, &value.unwrap(), StoreRevision(1)).unwrap();
            }
        }
        assert_eq!(view.lanes.len(), 3 * names.len());
        assert!(view.lanes.iter().all(|(lane, held)| held.record().is_some_and(|it| it.lane == *lane)));
    }

    #[test]
    fn a_record_under_another_lanes_key_is_refused() {
        let of = |connector, cluster, partition| {
            encode(&lane_write(&lane_record(connector, cluster, partition)), 1)
        };
        let (_, value) = of("c", "s", 1);
        let value = value.unwrap();
        let topic = of("c", "s", 1).0.replace("t.-_T", "other");
        for key in [of("d", "s", 1).0, of("c", "r", 1).0, of("c", "s", 2).0, topic] {
            let error = decode(&mut View::default(), &key, &value, StoreRevision(1)).unwrap_err().to_string();
            assert!(
                error.contains(&key) && error.contains("t.-_T-1 of connector c and cluster s"),
                "{error}"
            );
        }
        let (key, _) = of("c", "s", 1);
        let lacks = store::LaneRecord { format_version: FORMAT, ..Default::default() }.encode_to_vec();
        let error = decode(&mut View::default(), &key, &lacks, StoreRevision(1)).unwrap_err().to_string();
        assert!(error.contains(&key) && error.contains("source"), "{error}");
    }

    #[test]
    fn families_of_later_versions_are_left_alone() {
        decode(&mut View::default(), "later/x", &[8, 1], StoreRevision(1)).unwrap();
    }
}
