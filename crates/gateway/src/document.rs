//! The JSON documents of answers: fields in Connect's order.

use std::collections::BTreeMap;

use copyist_model::Logger;
use copyist_proto::Malformed;
use copyist_proto::connect::{
    ConnectorInfo, ConnectorOffset, ConnectorStatus, GetOffsetsResponse, GetServerResponse, InstanceStatus,
    ListConnectorsResponse, TaskInfo, TaskStatus,
};
use serde::Serialize;
use serde_json::value::RawValue;

/// `GET /`.
#[derive(Serialize)]
pub struct Server<'a> {
    version: &'a str,
    commit: &'a str,
    kafka_cluster_id: &'a str,
}

impl<'a> From<&'a GetServerResponse> for Server<'a> {
    fn from(server: &'a GetServerResponse) -> Self {
        let GetServerResponse { version, commit, kafka_cluster_id } = server;
        Self { version, commit, kafka_cluster_id }
    }
}

/// `GET /health`.
#[derive(Serialize)]
pub struct Health<'a> {
    pub status: &'static str,
    pub message: &'a str,
}

/// Connect's LoggerLevel.
#[derive(Serialize)]
pub struct LoggerLevel {
    level: &'static str,
    last_modified: Option<i64>,
}

impl From<&Logger> for LoggerLevel {
    fn from(logger: &Logger) -> Self {
        Self { level: logger.level.as_str(), last_modified: logger.last_modified_ms }
    }
}

/// Connect's ConnectorInfo.
#[derive(Serialize)]
pub struct Info<'a> {
    name: &'a str,
    config: &'a BTreeMap<String, String>,
    tasks: Vec<TaskId<'a>>,
    r#type: &'a str,
}

#[derive(Serialize)]
struct TaskId<'a> {
    connector: &'a str,
    task: u32,
}

impl<'a> From<&'a ConnectorInfo> for Info<'a> {
    fn from(info: &'a ConnectorInfo) -> Self {
        let ConnectorInfo { name, config, tasks, r#type } = info;
        let tasks = tasks.iter().map(|&task| TaskId { connector: name, task }).collect();
        Self { name, config, tasks, r#type }
    }
}

/// Connect's ConnectorStateInfo.
#[derive(Serialize)]
pub struct State<'a> {
    name: &'a str,
    connector: Instance<'a>,
    tasks: Vec<TaskState<'a>>,
    r#type: &'a str,
}

/// One task of it.
#[derive(Serialize)]
pub struct TaskState<'a> {
    id: u32,
    #[serde(flatten)]
    instance: Instance<'a>,
}

#[derive(Serialize)]
struct Instance<'a> {
    state: &'a str,
    worker_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    trace: &'a str,
}

impl<'a> From<&'a InstanceStatus> for Instance<'a> {
    fn from(status: &'a InstanceStatus) -> Self {
        let InstanceStatus { state, worker_id, trace, version } = status;
        Self { state, worker_id, version, trace }
    }
}

impl<'a> TryFrom<&'a TaskStatus> for TaskState<'a> {
    type Error = Malformed;

    fn try_from(task: &'a TaskStatus) -> Result<Self, Malformed> {
        let status =
            task.status.as_ref().ok_or(Malformed::Missing { message: "TaskStatus", field: "status" })?;
        Ok(Self { id: task.id, instance: status.into() })
    }
}

impl<'a> TryFrom<&'a ConnectorStatus> for State<'a> {
    type Error = Malformed;

    fn try_from(status: &'a ConnectorStatus) -> Result<Self, Malformed> {
        let missing = Malformed::Missing { message: "ConnectorStatus", field: "connector" };
        Ok(Self {
            name: &status.name,
            connector: status.connector.as_ref().ok_or(missing)?.into(),
            tasks: status.tasks.iter().map(TaskState::try_from).collect::<Result<_, _>>()?,
            r#type: &status.r#type,
        })
    }
}

/// One entry of `GET /connectors/{c}/tasks`.
#[derive(Serialize)]
pub struct Task<'a> {
    id: TaskId<'a>,
    config: &'a BTreeMap<String, String>,
}

/// `GET /connectors/{c}/tasks`.
pub fn tasks<'a>(connector: &'a str, tasks: &'a [TaskInfo]) -> Vec<Task<'a>> {
    let task = |task: &'a TaskInfo| Task { id: TaskId { connector, task: task.id }, config: &task.config };
    tasks.iter().map(task).collect()
}

/// `GET /connectors/{c}/offsets`: both objects as they are stored.
#[derive(Serialize)]
pub struct Offsets<'a> {
    offsets: Vec<Offset<'a>>,
}

#[derive(Serialize)]
struct Offset<'a> {
    partition: &'a RawValue,
    offset: &'a RawValue,
}

impl<'a> TryFrom<&'a GetOffsetsResponse> for Offsets<'a> {
    type Error = Malformed;

    fn try_from(found: &'a GetOffsetsResponse) -> Result<Self, Malformed> {
        let malformed = |field| Malformed::Missing { message: "ConnectorOffset", field };
        let offset = |offset: &'a ConnectorOffset| {
            let json = offset.offset_json.as_deref().unwrap_or("null");
            let partition = serde_json::from_str(&offset.partition_json);
            Ok(Offset {
                partition: partition.map_err(|_| malformed("partition_json"))?,
                offset: serde_json::from_str(json).map_err(|_| malformed("offset_json"))?,
            })
        };
        Ok(Self { offsets: found.offsets.iter().map(offset).collect::<Result<_, Malformed>>()? })
    }
}

/// Connect's ActiveTopicsInfo, beneath the connector's name.
#[derive(Serialize)]
pub struct Topics<'a> {
    pub topics: &'a [String],
}

/// What was done, in a sentence.
#[derive(Serialize)]
pub struct Done<'a> {
    pub message: &'a str,
}

/// One entry of `GET /connectors?expand=…`.
#[derive(Serialize)]
pub struct Expanded<'a> {
    /// Outer: asked for. Inner: there is one; else null.
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<Option<Info<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<State<'a>>,
}

/// `GET /connectors?expand=…`: a connector whose status is asked for and unknown is left out, as in Connect.
///
/// # Errors
/// When a status lacks its parts.
pub fn expanded(
    listing: &ListConnectorsResponse,
    info: bool,
    status: bool,
) -> Result<BTreeMap<&str, Expanded<'_>>, Malformed> {
    let mut entries = BTreeMap::new();
    for listed in &listing.connectors {
        if status && listed.status.is_none() {
            continue;
        }
        let entry = Expanded {
            info: info.then(|| listed.info.as_ref().map(Info::from)),
            status: listed.status.as_ref().filter(|_| status).map(State::try_from).transpose()?,
        };
        entries.insert(listed.name.as_str(), entry);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use copyist_proto::connect::ListedConnector;

    #[test]
    fn expansions_are_null_or_left_out_when_there_is_nothing() {
        let listed = |name: &str, info: bool, state: Option<&str>| ListedConnector {
            name: name.to_owned(),
            info: info.then(|| ConnectorInfo { name: name.to_owned(), ..ConnectorInfo::default() }),
            status: state.map(|state| ConnectorStatus {
                name: name.to_owned(),
                connector: Some(InstanceStatus { state: state.to_owned(), ..InstanceStatus::default() }),
                ..ConnectorStatus::default()
            }),
        };
        let connectors = vec![listed("a", true, None), listed("b", false, Some("PAUSED"))];
        let listing = ListConnectorsResponse { connectors };
        let a = r#"{"name":"a","config":{},"tasks":[],"type":""}"#;
        let b = r#"{"name":"b","connector":{"state":"PAUSED","worker_id":""},"tasks":[],"type":""}"#;
        let rows = [
            (false, false, r#"{"a":{},"b":{}}"#.to_owned()),
            (true, false, format!(r#"{{"a":{{"info":{a}}},"b":{{"info":null}}}}"#)),
            (false, true, format!(r#"{{"b":{{"status":{b}}}}}"#)),
            (true, true, format!(r#"{{"b":{{"info":null,"status":{b}}}}}"#)),
        ];
        for (info, status, expected) in rows {
            let expanded = expanded(&listing, info, status).unwrap();
            assert_eq!(serde_json::to_string(&expanded).unwrap(), expected);
        }
    }

    #[test]
    fn a_status_without_its_parts_is_not_shown() {
        assert!(State::try_from(&ConnectorStatus::default()).is_err());
        assert!(TaskState::try_from(&TaskStatus::default()).is_err());
    }
}
