//! What runs: status, tasks, pause, resume, stop, restart.

use copyist_model::TargetState;
use copyist_proto::Malformed;
use copyist_proto::connect::{
    GetConnectorStatusRequest, GetTaskStatusRequest, ListTasksRequest, RestartConnectorRequest,
    RestartTaskRequest, SetTargetStateRequest,
};
use http::StatusCode;

use super::request_id;
use crate::document::{self, State, TaskState};
use crate::exchange::{Call, call, write};
use crate::refusal::Refusal;
use crate::reply::Reply;

pub async fn status(mut to: Call) -> Result<Reply, Refusal> {
    let request = GetConnectorStatusRequest { name: to.target.connector };
    let status = call(request, |request| to.client.get_connector_status(request)).await?;
    Reply::ok(&State::try_from(&status)?)
}

pub async fn tasks(mut to: Call) -> Result<Reply, Refusal> {
    let request = ListTasksRequest { name: to.target.connector.clone() };
    let listing = call(request, |request| to.client.list_tasks(request)).await?;
    Reply::ok(&document::tasks(&to.target.connector, &listing.tasks))
}

pub async fn task_status(mut to: Call) -> Result<Reply, Refusal> {
    let request = GetTaskStatusRequest { id: task_number(&to.target.task)?, name: to.target.connector };
    let status = call(request, |request| to.client.get_task_status(request)).await?;
    Reply::ok(&TaskState::try_from(&status)?)
}

/// Pause, resume and stop: an answer without a body.
pub async fn set_target(mut to: Call, state: TargetState, answer: StatusCode) -> Result<Reply, Refusal> {
    let request = SetTargetStateRequest {
        name: to.target.connector,
        state: state.as_str().to_owned(),
        request_id: request_id(),
    };
    write(request, |request| to.client.set_target_state(request)).await?;
    Ok(Reply::Empty(answer))
}

/// Without flags the connector alone is restarted (204); with one, the planned status is shown (202, KIP-745).
pub async fn restart(mut to: Call) -> Result<Reply, Refusal> {
    let (include_tasks, only_failed) = (to.query.flag("includeTasks"), to.query.flag("onlyFailed"));
    let request = RestartConnectorRequest { name: to.target.connector, include_tasks, only_failed };
    let planned = write(request, |request| to.client.restart_connector(request)).await?;
    if !include_tasks && !only_failed {
        return Ok(Reply::Empty(StatusCode::NO_CONTENT));
    }
    let missing = Malformed::Missing { message: "RestartConnectorResponse", field: "status" };
    Reply::json(StatusCode::ACCEPTED, &State::try_from(&planned.status.ok_or(missing)?)?)
}

pub async fn restart_task(mut to: Call) -> Result<Reply, Refusal> {
    let request = RestartTaskRequest { id: task_number(&to.target.task)?, name: to.target.connector };
    write(request, |request| to.client.restart_task(request)).await?;
    Ok(Reply::Empty(StatusCode::NO_CONTENT))
}

/// What is no 32-bit number leads nowhere.
fn task_number(task: &str) -> Result<i32, Refusal> {
    task.parse().map_err(|_| Refusal::framework(StatusCode::NOT_FOUND))
}
