//! `copyist.connect.v1.FleetService`.

use copyist_model::{AgentId, InvalidName};
use copyist_proto::connect as wire;
use copyist_proto::connect::fleet_service_server::FleetService;
use tonic::{Request, Response, Status};

use super::connectors::status;
use crate::core::Command;
use crate::handle::Handle;

/// What operators ask of the fleet.
#[derive(Debug, Clone)]
pub struct Fleet {
    handle: Handle,
}

impl Fleet {
    #[must_use]
    pub fn new(handle: Handle) -> Self {
        Self { handle }
    }

    async fn command(&self, command: Command) -> Result<(), Status> {
        self.handle.command(command).await.map_err(|failure| status(&failure)).map(drop)
    }
}

fn agent(id: &str) -> Result<AgentId, Status> {
    id.parse().map_err(|error: InvalidName| Status::invalid_argument(error.to_string()))
}

/// Who asked, for the log.
fn caller<T>(request: &Request<T>) -> String {
    request.remote_addr().map_or_else(|| "this process".to_owned(), |at| at.to_string())
}

#[tonic::async_trait]
impl FleetService for Fleet {
    async fn forget_agent(
        &self,
        request: Request<wire::ForgetAgentRequest>,
    ) -> Result<Response<wire::ForgetAgentResponse>, Status> {
        let caller = caller(&request);
        let agent = agent(&request.into_inner().agent_id)?;
        tracing::warn!(%agent, caller, "somebody declares the agent dead");
        self.command(Command::ForgetAgent { agent }).await?;
        Ok(Response::new(wire::ForgetAgentResponse {}))
    }

    async fn drain_agent(
        &self,
        request: Request<wire::DrainAgentRequest>,
    ) -> Result<Response<wire::DrainAgentResponse>, Status> {
        let caller = caller(&request);
        let agent = agent(&request.into_inner().agent_id)?;
        tracing::info!(%agent, caller, "somebody drains the agent");
        self.command(Command::DrainAgent { agent, drained: true }).await?;
        Ok(Response::new(wire::DrainAgentResponse {}))
    }

    async fn undrain_agent(
        &self,
        request: Request<wire::UndrainAgentRequest>,
    ) -> Result<Response<wire::UndrainAgentResponse>, Status> {
        let caller = caller(&request);
        let agent = agent(&request.into_inner().agent_id)?;
        tracing::info!(%agent, caller, "somebody ends the draining of the agent");
        self.command(Command::DrainAgent { agent, drained: false }).await?;
        Ok(Response::new(wire::UndrainAgentResponse {}))
    }
}
