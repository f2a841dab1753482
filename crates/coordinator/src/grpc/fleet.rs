//! `copyist.connect.v1.FleetService`.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use copyist_model::{AgentId, AssignmentId, InvalidName};
use copyist_proto::connect as wire;
use copyist_proto::connect::fleet_service_server::FleetService;
use copyist_proto::forward::FORWARDED_FOR;
use futures::Stream;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::watch;
use crate::core::{Command, Core};
use crate::failovers::Failover;
use crate::handle::{Handle, Known};

/// Events that wait for a watcher's connection.
const WATCHER_OUTBOX: usize = 64;

/// How long a watcher that reads nothing may delay the end of its stream.
const REASON_TIMEOUT: Duration = Duration::from_secs(5);

type Reply<T> = Result<Response<T>, Status>;

/// What operators ask of the fleet.
#[derive(Debug, Clone)]
pub struct Fleet {
    handle: Handle,
    stop: CancellationToken,
}

impl Fleet {
    #[must_use]
    pub fn new(handle: Handle, stop: CancellationToken) -> Self {
        Self { handle, stop }
    }

    async fn command(&self, command: Command) -> Result<(), Status> {
        super::command(&self.handle, command).await.map(drop)
    }

    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Core, &Known) -> T + Send + 'static,
    ) -> Result<T, Status> {
        super::read(&self.handle, question).await
    }
}

fn agent(id: &str) -> Result<AgentId, Status> {
    id.parse().map_err(|error: InvalidName| Status::invalid_argument(error.to_string()))
}

fn part(part: Option<wire::PartRef>) -> Result<AssignmentId, Status> {
    let part =
        part.ok_or_else(|| Status::invalid_argument("part is missing: say which connector, and which task"))?;
    let name = part.connector.parse();
    let name = name.map_err(|error: InvalidName| Status::invalid_argument(error.to_string()))?;
    Ok(part.task.map_or_else(|| AssignmentId::survey(&name), |number| AssignmentId::task(&name, number)))
}

/// Who asked, for the log.
fn caller<T>(request: &Request<T>) -> String {
    let forwarded = request.metadata().get(FORWARDED_FOR).and_then(|by| by.to_str().ok());
    if let Some(by) = forwarded {
        return by.to_owned();
    }
    request.remote_addr().map_or_else(|| "this process".to_owned(), |at| at.to_string())
}

#[tonic::async_trait]
impl FleetService for Fleet {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<wire::WatchEvent, Status>> + Send>>;

    async fn forget_agent(
        &self,
        request: Request<wire::ForgetAgentRequest>,
    ) -> Reply<wire::ForgetAgentResponse> {
        let caller = caller(&request);
        let agent = agent(&request.into_inner().agent_id)?;
        tracing::warn!(%agent, caller, "somebody declares the agent dead");
        self.command(Command::ForgetAgent { agent }).await?;
        Ok(Response::new(wire::ForgetAgentResponse {}))
    }

    async fn drain_agent(
        &self,
        request: Request<wire::DrainAgentRequest>,
    ) -> Reply<wire::DrainAgentResponse> {
        let caller = caller(&request);
        let agent = agent(&request.into_inner().agent_id)?;
        tracing::info!(%agent, caller, "somebody drains the agent");
        self.command(Command::DrainAgent { agent, drained: true }).await?;
        Ok(Response::new(wire::DrainAgentResponse {}))
    }

    async fn undrain_agent(
        &self,
        request: Request<wire::UndrainAgentRequest>,
    ) -> Reply<wire::UndrainAgentResponse> {
        let caller = caller(&request);
        let agent = agent(&request.into_inner().agent_id)?;
        tracing::info!(%agent, caller, "somebody ends the draining of the agent");
        self.command(Command::DrainAgent { agent, drained: false }).await?;
        Ok(Response::new(wire::UndrainAgentResponse {}))
    }

    async fn get_fleet(&self, _: Request<wire::GetFleetRequest>) -> Reply<wire::GetFleetResponse> {
        let leader_address = self.handle.leader_address();
        let answer = self.read(|core, _| {
            let view = core.view();
            wire::GetFleetResponse {
                leader_address,
                store_id: view.meta.store_id.clone(),
                revision: view.revision.0,
                destination_cluster_id: view
                    .meta
                    .destination
                    .clone()
                    .map(|it| it.cluster_id)
                    .unwrap_or_default(),
                agents: core.agents().into_iter().map(watch::fleet_agent).collect(),
            }
        });
        Ok(Response::new(answer.await?))
    }

    async fn get_placement(
        &self,
        request: Request<wire::GetPlacementRequest>,
    ) -> Reply<wire::GetPlacementResponse> {
        let id = part(request.into_inner().part)?;
        let unknown = Status::not_found(format!("Unknown part: {id}"));
        let found = self.read(move |core, known| placement(core, known, &id)).await?;
        found.map(Response::new).ok_or(unknown)
    }

    async fn move_part(&self, request: Request<wire::MovePartRequest>) -> Reply<wire::MovePartResponse> {
        let caller = caller(&request);
        let wire::MovePartRequest { part: id, agent_id } = request.into_inner();
        let (id, to) = (part(id)?, agent(&agent_id)?);
        tracing::info!(part = %id, %to, caller, "somebody moves the part");
        self.command(Command::Move { id, to }).await?;
        Ok(Response::new(wire::MovePartResponse {}))
    }

    async fn watch(&self, request: Request<wire::WatchRequest>) -> Reply<Self::WatchStream> {
        let connector = request.into_inner().connector;
        // Together, so that nothing falls between what is and what changes.
        let (everything, changes) =
            self.read(|core, known| (watch::everything(core), known.changes.subscribe())).await?;
        let (outbox, stream) = mpsc::channel(WATCHER_OUTBOX);
        let watcher = Watcher { connector, outbox, changes };
        // It ends with its stream, with the term, or with the process.
        tokio::spawn(watcher.run(everything, self.stop.clone()));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// One reader of changes.
struct Watcher {
    /// Empty: everything.
    connector: String,
    outbox: mpsc::Sender<Result<wire::WatchEvent, Status>>,
    changes: broadcast::Receiver<Arc<Vec<wire::WatchEvent>>>,
}

impl Watcher {
    async fn run(mut self, everything: Vec<wire::WatchEvent>, stop: CancellationToken) {
        let why = tokio::select! {
            why = self.pass_on(everything) => why,
            () = stop.cancelled() => "the coordinator is stopping: watch again",
        };
        let told = self.outbox.send(Err(Status::unavailable(why)));
        // Who has gone, or reads nothing, needs no reason.
        drop(tokio::time::timeout(REASON_TIMEOUT, told).await);
    }

    /// Returns why it ends.
    async fn pass_on(&mut self, everything: Vec<wire::WatchEvent>) -> &'static str {
        let mut events = Arc::new(everything);
        loop {
            for event in
                events.iter().filter(|it| self.connector.is_empty() || watch::is_of(it, &self.connector))
            {
                if self.outbox.send(Ok(event.clone())).await.is_err() {
                    return "the watcher is gone";
                }
            }
            events = match self.changes.recv().await {
                Ok(events) => events,
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    return "too many changes were not read: watch again";
                }
                Err(broadcast::error::RecvError::Closed) => {
                    return "this coordinator leads no more: watch again";
                }
            };
        }
    }
}

fn placement(core: &Core, known: &Known, id: &AssignmentId) -> Option<wire::GetPlacementResponse> {
    let found = core.whereabouts(id)?;
    let (agent_id, epoch) =
        found.holder.map(|(agent, epoch)| (agent.to_string(), epoch.revision.0)).unwrap_or_default();
    Some(wire::GetPlacementResponse {
        agent_id,
        epoch,
        former_agent_ids: found.former.iter().map(ToString::to_string).collect(),
        moving_to: found.moving_to.map(|to| to.to_string()).unwrap_or_default(),
        pinned: found.pinned,
        reason: found.reason,
        last_failover: known.failovers.of(id).map(failover),
    })
}

fn failover(failover: &Failover) -> wire::Failover {
    wire::Failover {
        from_agent_id: failover.from.to_string(),
        to_agent_id: failover.to.to_string(),
        noticed_after_ms: failover.noticed_ms.unwrap_or_default(),
        assigned_after_ms: failover.assigned_ms,
        resumed_after_ms: failover.resumed_ms,
    }
}
