//! One function for each endpoint: decode, one call, encode.

mod connectors;
mod loggers;
mod offsets;
mod plugins;
mod running;
mod server;
mod topics;

use copyist_model::TargetState;
use http::StatusCode;

use crate::exchange::Call;
use crate::refusal::Refusal;
use crate::reply::Reply;
use crate::resource::Endpoint;

/// Does what an endpoint is for.
pub async fn handle(endpoint: Endpoint, call: Call) -> Result<Reply, Refusal> {
    match endpoint {
        Endpoint::GetServer => server::get(call).await,
        Endpoint::GetHealth => server::health(call).await,
        Endpoint::ListConnectors => connectors::list(call).await,
        Endpoint::CreateConnector => connectors::create(call).await,
        Endpoint::GetConnector => connectors::get(call).await,
        Endpoint::DeleteConnector => connectors::delete(call).await,
        Endpoint::GetConfig => connectors::get_config(call).await,
        Endpoint::PutConfig => connectors::put_config(call).await,
        Endpoint::PatchConfig => connectors::patch_config(call).await,
        Endpoint::GetStatus => running::status(call).await,
        Endpoint::Pause => running::set_target(call, TargetState::Paused, StatusCode::ACCEPTED).await,
        Endpoint::Resume => running::set_target(call, TargetState::Running, StatusCode::ACCEPTED).await,
        // 204, not 202 as the other two: clients check it.
        Endpoint::Stop => running::set_target(call, TargetState::Stopped, StatusCode::NO_CONTENT).await,
        Endpoint::RestartConnector => running::restart(call).await,
        Endpoint::ListTasks => running::tasks(call).await,
        Endpoint::GetTaskStatus => running::task_status(call).await,
        Endpoint::RestartTask => running::restart_task(call).await,
        Endpoint::GetOffsets => offsets::get(call).await,
        Endpoint::AlterOffsets => offsets::alter(call).await,
        Endpoint::ResetOffsets => offsets::reset(call).await,
        Endpoint::GetTopics => topics::get(call).await,
        Endpoint::ResetTopics => topics::reset(call).await,
        Endpoint::ListPlugins => plugins::list(call).await,
        Endpoint::GetPluginConfig => plugins::config(call).await,
        Endpoint::ValidateConfig => plugins::validate(call).await,
        Endpoint::ListLoggers => loggers::list(&call),
        Endpoint::GetLogger => loggers::get(&call),
        Endpoint::SetLogger => loggers::set(call).await,
    }
}

/// The name of a write, so that it is done once however often it is sent.
fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
