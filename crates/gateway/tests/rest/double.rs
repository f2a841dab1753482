//! A ConnectorService with a small memory. Its texts are Connect's; a few names make it misbehave.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use copyist_proto::connect::connector_service_server::ConnectorService;
use copyist_proto::connect::logger_service_server::LoggerService;
use copyist_proto::connect::*;
use tokio::sync::Notify;

use crate::plugins;
use tonic::{Code, Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

#[derive(Clone, Default)]
pub struct Double {
    kept: Arc<Mutex<Kept>>,
    /// Told when a call begins to hang.
    pub hanging: Arc<Notify>,
}

#[derive(Default)]
pub struct Kept {
    connectors: BTreeMap<String, Kind>,
    /// The request ids of writes.
    pub request_ids: Vec<String>,
    /// The configs received, key and value, as sent.
    pub configs: Vec<Vec<(String, Option<String>)>>,
    /// How many more creations nobody can answer.
    pub unavailable: u32,
    /// The restarts asked for: includeTasks, onlyFailed.
    pub restarts: Vec<(bool, bool)>,
    /// The loggers set: name, level, whether agents are told too.
    pub loggers: Vec<(String, String, bool)>,
    /// How many agents there are; nothing: it does not lead.
    pub agents: Option<u32>,
    pub health: HealthState,
    pub health_hangs: bool,
}

struct Kind {
    config: BTreeMap<String, String>,
    target: String,
}

impl Double {
    pub fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no test panics while it holds the lock")
    }

    async fn hang<T>(&self) -> T {
        self.hanging.notify_one();
        std::future::pending().await
    }

    /// `fail:<gRPC code>` fails so, `hang` never answers.
    async fn misbehave(&self, name: &str) -> Result<(), Status> {
        match name.strip_prefix("fail:").map(str::parse) {
            Some(Ok(code)) => Err(Status::new(Code::from_i32(code), format!("the text of {code}"))),
            _ if name == "hang" => self.hang().await,
            _ => Ok(()),
        }
    }
}

impl Kept {
    fn received(&mut self, config: &[ConfigEntry], request_id: &str) {
        self.request_ids.push(request_id.to_owned());
        self.configs.push(config.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect());
    }

    fn info(&self, name: &str) -> Result<ConnectorInfo, Status> {
        let kind = self.connectors.get(name).ok_or_else(|| not_found(name))?;
        let tasks = (0..kind.tasks()).collect();
        Ok(ConnectorInfo {
            name: name.to_owned(),
            config: kind.config.clone(),
            tasks,
            r#type: "source".to_owned(),
        })
    }

    fn put(&mut self, name: &str, config: &[ConfigEntry], target: &str) -> Result<ConnectorInfo, Status> {
        let mut checked = BTreeMap::from([("name".to_owned(), name.to_owned())]);
        for entry in config {
            let value = entry.value.clone().ok_or_else(|| Status::invalid_argument(NULL_VALUE))?;
            checked.insert(entry.key.clone(), value);
        }
        if checked["name"] != name {
            let text = "Connector name configuration ({}) doesn't match connector name in the URL ([])";
            return Err(Status::invalid_argument(text.replace("{}", &checked["name"]).replace("[]", name)));
        }
        match checked.get("connector.class").map(String::as_str) {
            None => {
                let text = format!("Connector config {{name={name}}} contains no connector type");
                return Err(Status::invalid_argument(text));
            }
            Some("Nope") => {
                return Err(Status::invalid_argument(
                    "Failed to find any class that implements Connector and which name matches Nope",
                ));
            }
            Some(_) => {}
        }
        if checked.get("tasks.max").is_some_and(|max| max == "abc") {
            return Err(Status::invalid_argument(INVALID));
        }
        self.connectors.insert(name.to_owned(), Kind { config: checked, target: target.to_owned() });
        self.info(name)
    }

    fn status(&self, name: &str) -> Result<ConnectorStatus, Status> {
        let unknown = || Status::not_found(format!("No status found for connector {name}"));
        let kind = self.connectors.get(name).ok_or_else(unknown)?;
        let instance = |state: &str, trace: &str| InstanceStatus {
            state: state.to_owned(),
            worker_id: "127.0.0.1:18083".to_owned(),
            trace: trace.to_owned(),
            version: "4.3.1".to_owned(),
        };
        let trace = kind.config.get("trace").map_or("", String::as_str);
        let state = if trace.is_empty() { kind.target.as_str() } else { "FAILED" };
        let task = |id| TaskStatus { id, status: Some(instance(state, trace)) };
        Ok(ConnectorStatus {
            name: name.to_owned(),
            connector: Some(instance(&kind.target, "")),
            tasks: (0..kind.tasks()).map(task).collect(),
            r#type: "source".to_owned(),
        })
    }
}

impl Kind {
    fn tasks(&self) -> u32 {
        u32::from(self.target != "STOPPED")
    }
}

const NULL_VALUE: &str = "Null value can not be supplied as the configuration value.";

pub const INVALID: &str = "Connector configuration is invalid and contains the following 2 error(s):\nInvalid value abc for configuration tasks.max: Not a number of type INT\nInvalid value null for configuration tasks.max: Value must be non-null\nYou can also find the above list of errors at the endpoint `/connector-plugins/{connectorType}/config/validate`";

fn not_found(name: &str) -> Status {
    Status::not_found(format!("Connector {name} not found"))
}

#[tonic::async_trait]
impl ConnectorService for Double {
    async fn get_server(&self, _: Request<GetServerRequest>) -> Answer<GetServerResponse> {
        Ok(Response::new(GetServerResponse {
            version: "4.3.1".to_owned(),
            commit: "26b251a451ce941d".to_owned(),
            kafka_cluster_id: "khxOb9lATbCBolngUaja4g".to_owned(),
        }))
    }

    async fn get_health(&self, _: Request<GetHealthRequest>) -> Answer<GetHealthResponse> {
        let (state, hangs) = {
            let kept = self.kept();
            (kept.health, kept.health_hangs)
        };
        if hangs {
            return self.hang().await;
        }
        let message = match state {
            HealthState::Healthy => "Worker has completed startup and is ready to handle requests.",
            HealthState::Starting => "Worker is still starting up.",
            HealthState::Unhealthy => "Worker was unable to handle this request.",
            HealthState::Unspecified => "",
        };
        Ok(Response::new(GetHealthResponse { state: state.into(), message: message.to_owned() }))
    }

    async fn list_connectors(
        &self,
        request: Request<ListConnectorsRequest>,
    ) -> Answer<ListConnectorsResponse> {
        let request = request.into_inner();
        let kept = self.kept();
        let listed = |name: &String| {
            Ok(ListedConnector {
                name: name.clone(),
                info: request.expand_info.then(|| kept.info(name)).transpose()?,
                status: request.expand_status.then(|| kept.status(name)).transpose()?,
            })
        };
        let connectors = kept.connectors.keys().map(listed).collect::<Result<_, Status>>()?;
        Ok(Response::new(ListConnectorsResponse { connectors }))
    }

    async fn create_connector(&self, request: Request<CreateConnectorRequest>) -> Answer<ConnectorInfo> {
        let request = request.into_inner();
        let mut kept = self.kept();
        kept.received(&request.config, &request.request_id);
        if kept.unavailable > 0 {
            kept.unavailable -= 1;
            return Err(Status::unavailable("the leader is gone"));
        }
        let name = request.name.trim();
        if name.is_empty() {
            return Err(Status::invalid_argument("String may not be empty"));
        }
        if kept.connectors.contains_key(name) {
            return Err(Status::already_exists(format!("Connector {name} already exists")));
        }
        let target = if request.initial_state.is_empty() { "RUNNING" } else { &request.initial_state };
        let info = kept.put(name, &request.config, target)?;
        Ok(Response::new(ConnectorInfo { tasks: Vec::new(), ..info }))
    }

    async fn get_connector(&self, request: Request<GetConnectorRequest>) -> Answer<ConnectorInfo> {
        let name = request.into_inner().name;
        self.misbehave(&name).await?;
        self.kept().info(&name).map(Response::new)
    }

    async fn put_connector_config(
        &self,
        request: Request<PutConnectorConfigRequest>,
    ) -> Answer<PutConnectorConfigResponse> {
        let request = request.into_inner();
        let mut kept = self.kept();
        kept.received(&request.config, &request.request_id);
        let before = kept.info(&request.name).ok();
        let mut info = kept.put(&request.name, &request.config, "RUNNING")?;
        info.tasks = before.as_ref().map(|before| before.tasks.clone()).unwrap_or_default();
        Ok(Response::new(PutConnectorConfigResponse { created: before.is_none(), info: Some(info) }))
    }

    async fn patch_connector_config(
        &self,
        request: Request<PatchConnectorConfigRequest>,
    ) -> Answer<ConnectorInfo> {
        let request = request.into_inner();
        let mut kept = self.kept();
        kept.received(&request.changes, &request.request_id);
        let kind = kept.connectors.get_mut(&request.name).ok_or_else(|| not_found(&request.name))?;
        for change in request.changes {
            match change.value {
                Some(value) => kind.config.insert(change.key, value),
                None => kind.config.remove(&change.key),
            };
        }
        kept.info(&request.name).map(Response::new)
    }

    async fn delete_connector(
        &self,
        request: Request<DeleteConnectorRequest>,
    ) -> Answer<DeleteConnectorResponse> {
        let request = request.into_inner();
        let mut kept = self.kept();
        kept.request_ids.push(request.request_id);
        kept.connectors.remove(&request.name).ok_or_else(|| not_found(&request.name))?;
        Ok(Response::new(DeleteConnectorResponse {}))
    }

    async fn get_connector_status(
        &self,
        request: Request<GetConnectorStatusRequest>,
    ) -> Answer<ConnectorStatus> {
        self.kept().status(&request.into_inner().name).map(Response::new)
    }

    async fn list_tasks(&self, request: Request<ListTasksRequest>) -> Answer<ListTasksResponse> {
        let info = self.kept().info(&request.into_inner().name)?;
        let class =
            ("task.class".to_owned(), "org.apache.kafka.connect.file.FileStreamSourceTask".to_owned());
        let config: BTreeMap<_, _> = info.config.into_iter().chain([class]).collect();
        let tasks = info.tasks.iter().map(|&id| TaskInfo { id, config: config.clone() }).collect();
        Ok(Response::new(ListTasksResponse { tasks }))
    }

    async fn get_task_status(&self, request: Request<GetTaskStatusRequest>) -> Answer<TaskStatus> {
        let GetTaskStatusRequest { name, id } = request.into_inner();
        let unknown = || Status::not_found(format!("No status found for task {name}-{id}"));
        let status = self.kept().status(&name).map_err(|_| unknown())?;
        let found = status.tasks.into_iter().find(|task| i64::from(task.id) == i64::from(id));
        found.map(Response::new).ok_or_else(unknown)
    }

    async fn set_target_state(
        &self,
        request: Request<SetTargetStateRequest>,
    ) -> Answer<SetTargetStateResponse> {
        let request = request.into_inner();
        let mut kept = self.kept();
        kept.request_ids.push(request.request_id);
        let unknown = || Status::not_found(format!("Unknown connector {}", request.name));
        kept.connectors.get_mut(&request.name).ok_or_else(unknown)?.target = request.state;
        Ok(Response::new(SetTargetStateResponse {}))
    }

    async fn restart_connector(
        &self,
        request: Request<RestartConnectorRequest>,
    ) -> Answer<RestartConnectorResponse> {
        let request = request.into_inner();
        let mut kept = self.kept();
        kept.restarts.push((request.include_tasks, request.only_failed));
        let unknown = |_| Status::not_found(format!("Unknown connector: {}", request.name));
        let mut status = kept.status(&request.name).map_err(unknown)?;
        let tasks = status.tasks.iter_mut().filter(|_| request.include_tasks);
        let instances = status.connector.iter_mut().chain(tasks.filter_map(|task| task.status.as_mut()));
        for instance in instances.filter(|instance| !request.only_failed || instance.state == "FAILED") {
            instance.state = "RESTARTING".to_owned();
        }
        Ok(Response::new(RestartConnectorResponse { status: Some(status) }))
    }

    async fn restart_task(&self, request: Request<RestartTaskRequest>) -> Answer<RestartTaskResponse> {
        let RestartTaskRequest { name, id } = request.into_inner();
        let unknown = |_| Status::not_found(format!("Unknown connector: {name}"));
        let info = self.kept().info(&name).map_err(unknown)?;
        if !info.tasks.iter().any(|&task| i64::from(task) == i64::from(id)) {
            return Err(Status::not_found(format!("Unknown task: {name}-{id}")));
        }
        Ok(Response::new(RestartTaskResponse {}))
    }

    async fn get_topics(&self, _: Request<GetTopicsRequest>) -> Answer<GetTopicsResponse> {
        Err(Status::unimplemented("topics"))
    }

    async fn reset_topics(&self, _: Request<ResetTopicsRequest>) -> Answer<ResetTopicsResponse> {
        Err(Status::unimplemented("topics"))
    }

    async fn get_offsets(&self, _: Request<GetOffsetsRequest>) -> Answer<GetOffsetsResponse> {
        Err(Status::unimplemented("offsets"))
    }

    async fn alter_offsets(&self, _: Request<AlterOffsetsRequest>) -> Answer<AlterOffsetsResponse> {
        Err(Status::unimplemented("offsets"))
    }

    async fn reset_offsets(&self, _: Request<ResetOffsetsRequest>) -> Answer<ResetOffsetsResponse> {
        Err(Status::unimplemented("offsets"))
    }

    async fn list_plugins(&self, request: Request<ListPluginsRequest>) -> Answer<ListPluginsResponse> {
        Ok(Response::new(plugins::list(&request.into_inner())))
    }

    async fn get_plugin_config(
        &self,
        request: Request<GetPluginConfigRequest>,
    ) -> Answer<GetPluginConfigResponse> {
        plugins::config(&request.into_inner()).map(Response::new)
    }

    async fn validate_config(
        &self,
        request: Request<ValidateConfigRequest>,
    ) -> Answer<ValidateConfigResponse> {
        let request = request.into_inner();
        self.kept().received(&request.config, "");
        plugins::validate(request).map(Response::new)
    }
}

#[tonic::async_trait]
impl LoggerService for Double {
    async fn get_loggers(&self, _: Request<GetLoggersRequest>) -> Answer<GetLoggersResponse> {
        Err(Status::unimplemented("the gateway asks for its own"))
    }

    async fn set_logger(&self, request: Request<SetLoggerRequest>) -> Answer<SetLoggerResponse> {
        let SetLoggerRequest { logger, level, agents } = request.into_inner();
        let mut kept = self.kept();
        kept.loggers.push((logger, level, agents));
        Ok(Response::new(SetLoggerResponse { changed: Vec::new(), agents_told: kept.agents }))
    }
}
