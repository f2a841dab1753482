//! `copyist.connect.v1.FleetService`.

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
}

#[tonic::async_trait]
impl FleetService for Fleet {
    async fn forget_agent(
        &self,
        request: Request<wire::ForgetAgentRequest>,
    ) -> Result<Response<wire::ForgetAgentResponse>, Status> {
        let caller = request.remote_addr().map_or_else(|| "this process".to_owned(), |at| at.to_string());
        let agent = request.into_inner().agent_id;
        let agent = agent
            .parse()
            .map_err(|error: copyist_model::InvalidName| Status::invalid_argument(error.to_string()))?;
        tracing::warn!(%agent, caller, "somebody declares the agent dead");
        self.handle
            .command(Command::ForgetAgent { agent, caller })
            .await
            .map_err(|failure| status(&failure))?;
        Ok(Response::new(wire::ForgetAgentResponse {}))
    }
}
