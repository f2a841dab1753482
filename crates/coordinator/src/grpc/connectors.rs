//! `copyist.connect.v1.ConnectorService`.

use std::collections::BTreeMap;

use copyist_model::{AssignmentId, ConnectorName, TargetState};
use copyist_proto::connect as wire;
use copyist_proto::connect::connector_service_server::ConnectorService;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use super::Build;
use super::offsets::Asked;
use super::{details, ending, offsets, plugins, topics};
use crate::clock::boot_ms;
use crate::core::view::TopicMarks;
use crate::core::{Answer, Command, Core, GivenConfig, Info, StatusView, view};
use crate::handle::{Handle, Known};

type Reply<T> = Result<Response<T>, Status>;

/// The management API.
#[derive(Debug, Clone)]
pub struct Connectors {
    handle: Handle,
    build: Build,
}

impl Connectors {
    #[must_use]
    pub fn new(handle: Handle, build: Build) -> Self {
        Self { handle, build }
    }

    async fn command(&self, command: Command) -> Result<Answer, Status> {
        super::command(&self.handle, command).await
    }

    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Core, &Known) -> T + Send + 'static,
    ) -> Result<T, Status> {
        super::read(&self.handle, question).await
    }
}

fn status_message(shown: StatusView) -> wire::ConnectorStatus {
    wire::ConnectorStatus {
        name: shown.name.to_string(),
        connector: Some(instance(shown.connector)),
        tasks: shown.tasks.into_iter().map(|(id, status)| task_message(id, status)).collect(),
        r#type: SOURCE.to_owned(),
    }
}

fn task_message(id: u32, status: view::Status) -> wire::TaskStatus {
    wire::TaskStatus { id, status: Some(instance(status)) }
}

pub(super) fn instance(status: view::Status) -> wire::InstanceStatus {
    wire::InstanceStatus {
        state: status.state.as_str().to_owned(),
        worker_id: status.agent.map(|agent| agent.to_string()).unwrap_or_default(),
        trace: status.trace,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Whose REST API this is. Clients switch calls on by the first two numbers: with those of our own they would not stop
/// connectors, or ask for offsets.
const CONNECT_VERSION: &str = "4.3.1";

/// Every class of ours is a source connector.
const SOURCE: &str = "source";

#[tonic::async_trait]
impl ConnectorService for Connectors {
    async fn get_server(&self, _: Request<wire::GetServerRequest>) -> Reply<wire::GetServerResponse> {
        let destination = self.read(|core, _| core.view().meta.destination.clone()).await?;
        Ok(Response::new(wire::GetServerResponse {
            version: format!("{CONNECT_VERSION}-copyist-{}", self.build.version),
            commit: self.build.commit.to_owned(),
            kafka_cluster_id: destination.map(|it| it.cluster_id).unwrap_or_default(),
        }))
    }

    async fn get_health(&self, _: Request<wire::GetHealthRequest>) -> Reply<wire::GetHealthResponse> {
        let (state, message) = match self.handle.read(|_, known| known.agents_seen).await {
            Ok(true) => (
                wire::HealthState::Healthy,
                "Worker has completed startup and is ready to handle requests.".to_owned(),
            ),
            Ok(false) => (
                wire::HealthState::Starting,
                "Worker is still starting up. No agent has connected yet.".to_owned(),
            ),
            Err(failure) => (
                wire::HealthState::Unhealthy,
                format!(
                    "Worker was unable to handle this request and may be unable to handle other requests. {failure}"
                ),
            ),
        };
        Ok(Response::new(wire::GetHealthResponse { state: state.into(), message }))
    }

    async fn list_connectors(
        &self,
        request: Request<wire::ListConnectorsRequest>,
    ) -> Reply<wire::ListConnectorsResponse> {
        let wire::ListConnectorsRequest { expand_info, expand_status } = request.into_inner();
        let listed = self
            .read(move |core, known| {
                let names = core.view().connectors.keys();
                names
                    .map(|name| {
                        let info = expand_info.then(|| core.info(name)).flatten();
                        let status = expand_status.then(|| shown(core, known, name)).flatten();
                        (name.to_string(), info, status)
                    })
                    .collect::<Vec<_>>()
            })
            .await?;
        let connectors = listed.into_iter().map(|(name, info, status)| wire::ListedConnector {
            name,
            info: info.map(info_message),
            status: status.map(status_message),
        });
        Ok(Response::new(wire::ListConnectorsResponse { connectors: connectors.collect() }))
    }

    async fn create_connector(
        &self,
        request: Request<wire::CreateConnectorRequest>,
    ) -> Reply<wire::ConnectorInfo> {
        let request = request.into_inner();
        let initial = match request.initial_state.as_str() {
            "" => TargetState::Running,
            state => state.parse().map_err(Status::invalid_argument)?,
        };
        let (name, config) = (request.name, given(request.config));
        let command = Command::Create {
            request: request.request_id,
            name: name.clone(),
            config: config.clone(),
            initial,
        };
        let left = self.left_behind(name.trim()).await?;
        let answer = self.command(command).await;
        let answer = answer.map_err(|failure| details::of_config(failure, name.trim(), &config))?;
        self.created(left, &answer).await;
        info_reply(answer).map(|(_, info)| Response::new(info))
    }

    async fn get_connector(&self, request: Request<wire::GetConnectorRequest>) -> Reply<wire::ConnectorInfo> {
        let name = request.into_inner().name;
        let info = self.of(&name, |core, _, name| core.info(name)).await?;
        Ok(Response::new(info_message(info.ok_or_else(|| not_found(&name))?)))
    }

    async fn put_connector_config(
        &self,
        request: Request<wire::PutConnectorConfigRequest>,
    ) -> Reply<wire::PutConnectorConfigResponse> {
        let request = request.into_inner();
        let config = given(request.config);
        let name = match request.name.parse() {
            Ok(name) => name,
            // A name that is no name: the parser of configs has Connect's words for it.
            Err(_) => return Err(name_refused(&request.name, &config)),
        };
        let command = Command::PutConfig { request: request.request_id, name, config: config.clone() };
        let left = self.left_behind(&request.name).await?;
        let answer = self.command(command).await;
        let answer = answer.map_err(|failure| details::of_config(failure, &request.name, &config))?;
        self.created(left, &answer).await;
        let (created, info) = info_reply(answer)?;
        Ok(Response::new(wire::PutConnectorConfigResponse { created, info: Some(info) }))
    }

    async fn patch_connector_config(
        &self,
        request: Request<wire::PatchConnectorConfigRequest>,
    ) -> Reply<wire::ConnectorInfo> {
        let request = request.into_inner();
        let name = known_name(&request.name).ok_or_else(|| not_found(&request.name))?;
        let command =
            Command::PatchConfig { request: request.request_id, name, changes: given(request.changes) };
        info_reply(self.command(command).await?).map(|(_, info)| Response::new(info))
    }

    async fn delete_connector(
        &self,
        request: Request<wire::DeleteConnectorRequest>,
    ) -> Reply<wire::DeleteConnectorResponse> {
        let request = request.into_inner();
        let name = known_name(&request.name).ok_or_else(|| not_found(&request.name))?;
        ending::delete(&self.handle, request.request_id, name).await?;
        Ok(Response::new(wire::DeleteConnectorResponse {}))
    }

    async fn get_connector_status(
        &self,
        request: Request<wire::GetConnectorStatusRequest>,
    ) -> Reply<wire::ConnectorStatus> {
        let name = request.into_inner().name;
        let shown = self.of(&name, shown).await?;
        let shown =
            shown.ok_or_else(|| Status::not_found(format!("No status found for connector {name}")))?;
        Ok(Response::new(status_message(shown)))
    }

    async fn list_tasks(&self, request: Request<wire::ListTasksRequest>) -> Reply<wire::ListTasksResponse> {
        let name = request.into_inner().name;
        let tasks =
            self.of(&name, |core, _, name| tasks(core, name)).await?.ok_or_else(|| not_found(&name))?;
        Ok(Response::new(wire::ListTasksResponse { tasks }))
    }

    async fn get_task_status(&self, request: Request<wire::GetTaskStatusRequest>) -> Reply<wire::TaskStatus> {
        let wire::GetTaskStatusRequest { name, id } = request.into_inner();
        let shown = self.of(&name, move |core, known, name| task_shown(core, known, name, id)).await?;
        let number = u32::try_from(id).unwrap_or_default();
        match shown {
            Some(shown) => Ok(Response::new(task_message(number, shown))),
            None => Err(Status::not_found(format!("No status found for task {name}-{id}"))),
        }
    }

    async fn set_target_state(
        &self,
        request: Request<wire::SetTargetStateRequest>,
    ) -> Reply<wire::SetTargetStateResponse> {
        let request = request.into_inner();
        let unknown = || Status::not_found(format!("Unknown connector {}", request.name));
        let name = known_name(&request.name).ok_or_else(unknown)?;
        let target = request.state.parse().map_err(Status::invalid_argument)?;
        ending::set_target(&self.handle, request.request_id, name, target).await?;
        Ok(Response::new(wire::SetTargetStateResponse {}))
    }

    async fn restart_connector(
        &self,
        request: Request<wire::RestartConnectorRequest>,
    ) -> Reply<wire::RestartConnectorResponse> {
        let wire::RestartConnectorRequest { name, include_tasks, only_failed } = request.into_inner();
        let unknown = || Status::not_found(format!("Unknown connector: {name}"));
        let name = known_name(&name).ok_or_else(unknown)?;
        let answer = self.command(Command::Restart { name, include_tasks, only_failed }).await?;
        let status = match answer {
            Answer::Status(shown) => Some(status_message(shown)),
            Answer::Done | Answer::Altered(_) | Answer::Info { .. } => None,
        };
        Ok(Response::new(wire::RestartConnectorResponse { status }))
    }

    async fn restart_task(
        &self,
        request: Request<wire::RestartTaskRequest>,
    ) -> Reply<wire::RestartTaskResponse> {
        let wire::RestartTaskRequest { name, id } = request.into_inner();
        let unknown = || Status::not_found(format!("Unknown connector: {name}"));
        let name = known_name(&name).ok_or_else(unknown)?;
        self.command(Command::RestartTask { name, task: id }).await?;
        Ok(Response::new(wire::RestartTaskResponse {}))
    }

    async fn get_topics(&self, request: Request<wire::GetTopicsRequest>) -> Reply<wire::GetTopicsResponse> {
        let topics = match self.topics_of(&request.into_inner().name).await? {
            Some((name, known)) => topics::get(&self.handle, &name, known).await?,
            // As in Connect: an unknown connector has no topics.
            None => Vec::new(),
        };
        Ok(Response::new(wire::GetTopicsResponse { topics }))
    }

    async fn reset_topics(
        &self,
        request: Request<wire::ResetTopicsRequest>,
    ) -> Reply<wire::ResetTopicsResponse> {
        if let Some((name, known)) = self.topics_of(&request.into_inner().name).await? {
            topics::reset(&self.handle, &name, known).await?;
        }
        Ok(Response::new(wire::ResetTopicsResponse {}))
    }

    async fn get_offsets(
        &self,
        request: Request<wire::GetOffsetsRequest>,
    ) -> Reply<wire::GetOffsetsResponse> {
        let name = self.existing(request.into_inner().name).await?;
        let of = name.clone();
        let altered = self.read(move |core, _| offsets::altered(core, &of)).await?;
        let offsets = offsets::get(&self.handle, &name, altered).await?;
        Ok(Response::new(wire::GetOffsetsResponse { offsets }))
    }

    async fn alter_offsets(
        &self,
        request: Request<wire::AlterOffsetsRequest>,
    ) -> Reply<wire::AlterOffsetsResponse> {
        let wire::AlterOffsetsRequest { name, offsets, request_id } = request.into_inner();
        if offsets.is_empty() {
            let text = "Partitions / offsets need to be provided for an alter offsets request";
            return Err(Status::invalid_argument(text));
        }
        let message = self.altered(name, request_id, Some(offsets)).await?;
        Ok(Response::new(wire::AlterOffsetsResponse { message }))
    }

    async fn reset_offsets(
        &self,
        request: Request<wire::ResetOffsetsRequest>,
    ) -> Reply<wire::ResetOffsetsResponse> {
        let wire::ResetOffsetsRequest { name, request_id } = request.into_inner();
        let message = self.altered(name, request_id, None).await?;
        Ok(Response::new(wire::ResetOffsetsResponse { message }))
    }

    async fn list_plugins(
        &self,
        request: Request<wire::ListPluginsRequest>,
    ) -> Reply<wire::ListPluginsResponse> {
        Ok(Response::new(plugins::list(&request.into_inner())))
    }

    async fn get_plugin_config(
        &self,
        request: Request<wire::GetPluginConfigRequest>,
    ) -> Reply<wire::GetPluginConfigResponse> {
        plugins::config(&request.into_inner()).map(Response::new)
    }

    async fn validate_config(
        &self,
        request: Request<wire::ValidateConfigRequest>,
    ) -> Reply<wire::ValidateConfigResponse> {
        let wire::ValidateConfigRequest { plugin, config } = request.into_inner();
        plugins::validate(&plugin, &given(config)).map(Response::new)
    }
}

impl Connectors {
    /// The name of a connector that there is.
    async fn existing(&self, name: String) -> Result<ConnectorName, Status> {
        let known =
            self.of(&name, |core, _, name| core.view().connectors.contains_key(name).then(|| name.clone()));
        known.await?.ok_or_else(|| not_found(&name))
    }

    /// What an earlier connector has copied under a name that is free, if it is.
    async fn left_behind(&self, name: &str) -> Result<Option<TopicMarks>, Status> {
        let free =
            self.of(name, |core, _, name| (!core.view().connectors.contains_key(name)).then(|| name.clone()));
        match free.await? {
            Some(name) => Ok(Some(topics::left_behind(&self.handle, &name).await)),
            None => Ok(None),
        }
    }

    async fn created(&self, left: Option<TopicMarks>, answer: &Answer) {
        if let (Some(left), Answer::Info { created: true, info }) = (left, answer) {
            topics::begin_anew(&self.handle, info.name.clone(), left).await;
        }
    }

    async fn topics_of(&self, name: &str) -> Result<Option<(ConnectorName, topics::Known)>, Status> {
        self.of(name, |core, _, name| Some((name.clone(), topics::known(core, name)?))).await
    }

    /// Changes offsets, or removes all, and says so in Connect's sentence.
    async fn altered(
        &self,
        name: String,
        request: String,
        offsets: Option<Vec<wire::ConnectorOffset>>,
    ) -> Result<String, Status> {
        let is_reset = offsets.is_none();
        let by = request.clone();
        let asked = move |core: &Core, _: &Known, name: &ConnectorName| {
            Some((name.clone(), offsets::asked(core, &request, name, offsets.as_deref())))
        };
        let (known, asked) = self.of(&name, asked).await?.ok_or_else(|| not_found(&name))?;
        let told = match asked.map_err(|failure| details::status(&failure))? {
            Asked::Changes(changes, altered) => {
                let handle = self.handle.clone();
                // A client that goes away must not leave it half done.
                let alter =
                    async move { offsets::alter(&handle, by, &known, (changes, altered), is_reset).await };
                let altered = tokio::spawn(alter.in_current_span()).await;
                altered.map_err(|_| Status::internal("the change of offsets was broken off"))??
            }
            Asked::Before(told) => told,
        };
        let done = if is_reset { "reset" } else { "altered" };
        let sentence = format!("The offsets for this connector have been {done} successfully");
        Ok(if told.is_empty() { sentence } else { format!("{sentence}. {told}") })
    }

    /// Asks the core about a connector by the name as sent; text that is no name names nothing.
    async fn of<T: Send + 'static>(
        &self,
        name: &str,
        question: impl FnOnce(&Core, &Known, &ConnectorName) -> Option<T> + Send + 'static,
    ) -> Result<Option<T>, Status> {
        match known_name(name) {
            Some(name) => self.read(move |core, known| question(core, known, &name)).await,
            None => Ok(None),
        }
    }
}

/// The status, with how tasks came from a lost agent lately.
fn shown(core: &Core, known: &Known, name: &ConnectorName) -> Option<StatusView> {
    let mut status = core.status(name)?;
    for (number, task) in &mut status.tasks {
        tell_failover(known, &AssignmentId::task(name, *number), task);
    }
    Some(status)
}

fn task_shown(core: &Core, known: &Known, name: &ConnectorName, task: i32) -> Option<view::Status> {
    let mut status = core.task_status(name, task)?;
    if let Ok(number) = u32::try_from(task) {
        tell_failover(known, &AssignmentId::task(name, number), &mut status);
    }
    Some(status)
}

fn tell_failover(known: &Known, id: &AssignmentId, status: &mut view::Status) {
    let told = known.failovers.told(id, boot_ms());
    let lines: Vec<String> = [std::mem::take(&mut status.trace)]
        .into_iter()
        .filter(|trace| !trace.is_empty())
        .chain(told)
        .collect();
    status.trace = lines.join("\n");
}

fn known_name(name: &str) -> Option<ConnectorName> {
    name.parse().ok()
}

fn not_found(name: &str) -> Status {
    Status::not_found(format!("Connector {name} not found"))
}

fn name_refused(name: &str, config: &GivenConfig) -> Status {
    match copyist_connector::parse(name, config) {
        Err(rejection) => details::invalid(rejection),
        Ok(_) => details::invalid(format_args!("{name:?} is no name for a connector")),
    }
}

fn given(entries: Vec<wire::ConfigEntry>) -> GivenConfig {
    entries.into_iter().map(|entry| (entry.key, entry.value)).collect()
}

fn info_message(info: Info) -> wire::ConnectorInfo {
    wire::ConnectorInfo {
        name: info.name.to_string(),
        config: info.config,
        tasks: info.tasks,
        r#type: SOURCE.to_owned(),
    }
}

fn info_reply(answer: Answer) -> Result<(bool, wire::ConnectorInfo), Status> {
    match answer {
        Answer::Info { created, info } => Ok((created, info_message(info))),
        Answer::Done | Answer::Altered(_) | Answer::Status(_) => {
            Err(Status::aborted("the request id belongs to a request of another kind"))
        }
    }
}

/// The tasks as Connect shows them: the connector's config, the class that carries it out, and the lanes.
fn tasks(core: &Core, name: &ConnectorName) -> Option<Vec<wire::TaskInfo>> {
    let connector = core.view().connectors.get(name)?;
    let task = |(id, task): (u32, &view::Task)| {
        let mut config: BTreeMap<String, String> = connector.config.clone();
        config.insert("task.class".to_owned(), "io.copyist.CopyistSourceTask".to_owned());
        config.insert("task.lanes".to_owned(), lanes_text(task));
        wire::TaskInfo { id, config }
    };
    Some(core.view().tasks_of(name).map(task).collect())
}

fn lanes_text(task: &view::Task) -> String {
    let topics = task.lanes.0.iter().map(|(topic, lanes)| {
        let all: copyist_model::PartitionSet = lanes.iter().map(|(partition, _)| partition).collect();
        let ranges: Vec<String> = all
            .ranges()
            .iter()
            .map(|&(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
            .collect();
        format!("{topic}:{}", ranges.join(","))
    });
    topics.collect::<Vec<_>>().join(" ")
}
