//! `copyist.connect.v1.LoggerService`.

use copyist_model::{LogLevel, Logger, LoggerFault};
use copyist_proto::OwnLoggers;
use copyist_proto::connect as wire;
use copyist_proto::connect::logger_service_server::LoggerService;
use copyist_proto::control::coordinator_message::Message as Stated;
use copyist_proto::control::{CoordinatorMessage, SetLogger};
use tonic::{Request, Response, Status};

use crate::handle::Handle;

/// The loggers of a coordinator's process, and the way to its agents'.
#[derive(Debug, Clone)]
pub struct LoggersOfCoordinator {
    handle: Handle,
    own: OwnLoggers,
}

impl LoggersOfCoordinator {
    #[must_use]
    pub fn new(handle: Handle, own: OwnLoggers) -> Self {
        Self { handle, own }
    }
}

#[tonic::async_trait]
impl LoggerService for LoggersOfCoordinator {
    async fn get_loggers(
        &self,
        request: Request<wire::GetLoggersRequest>,
    ) -> Result<Response<wire::GetLoggersResponse>, Status> {
        let name = request.into_inner().logger;
        let shown = if name.is_empty() { self.own.all() } else { self.own.get(&name).into_iter().collect() };
        if shown.is_empty() {
            return Err(Status::not_found(format!("Logger {name} not found.")));
        }
        let loggers = shown.into_iter().map(|Logger { name, level, last_modified_ms }| wire::Logger {
            name,
            level: level.as_str().to_owned(),
            last_modified_ms,
        });
        Ok(Response::new(wire::GetLoggersResponse { loggers: loggers.collect() }))
    }

    async fn set_logger(
        &self,
        request: Request<wire::SetLoggerRequest>,
    ) -> Result<Response<wire::SetLoggerResponse>, Status> {
        let wire::SetLoggerRequest { logger, level, agents } = request.into_inner();
        let level: LogLevel = level.parse().map_err(refused)?;
        let changed = self.own.set(&logger, level).map_err(refused)?;
        let mut agents_told = None;
        if agents {
            let set = SetLogger { logger, level: level.as_str().to_owned() };
            let message = CoordinatorMessage { message: Some(Stated::SetLogger(set)) };
            agents_told = self.handle.tell_agents(message).await;
        }
        Ok(Response::new(wire::SetLoggerResponse { changed, agents_told }))
    }
}

fn refused(fault: LoggerFault) -> Status {
    match fault {
        // What REST says.
        LoggerFault::UnknownLevel(_) => Status::not_found(fault.to_string()),
        LoggerFault::Nameless | LoggerFault::TooLong | LoggerFault::TooMany => {
            Status::invalid_argument(fault.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use copyist_model::Loggers;
    use tokio::sync::mpsc;

    use super::*;
    use crate::handle::Message;

    fn service() -> (LoggersOfCoordinator, mpsc::Receiver<Message>) {
        let (sender, messages) = mpsc::channel(4);
        let own = OwnLoggers::new(Loggers::new(LogLevel::Info, []));
        (LoggersOfCoordinator::new(Handle::new(sender), own), messages)
    }

    async fn set(
        service: &LoggersOfCoordinator,
        logger: &str,
        level: &str,
        agents: bool,
    ) -> Result<wire::SetLoggerResponse, Status> {
        let request = wire::SetLoggerRequest { logger: logger.into(), level: level.into(), agents };
        service.set_logger(Request::new(request)).await.map(Response::into_inner)
    }

    #[tokio::test]
    async fn a_level_is_set_here_and_said_to_the_agents() {
        let (service, mut messages) = service();
        let alone = set(&service, "a::b", "debug", false).await.unwrap();
        assert_eq!((alone.changed, alone.agents_told), (vec!["a.b".to_owned()], None));
        assert!(messages.try_recv().is_err());
        let driver = tokio::spawn(async move {
            let Some(Message::ToAgents(message, told)) = messages.recv().await else {
                panic!("nothing said")
            };
            told.send(3).unwrap();
            message
        });
        let all = set(&service, "a", "warn", true).await.unwrap();
        assert_eq!((all.changed.len(), all.agents_told), (2, Some(3)));
        let said = SetLogger { logger: "a".into(), level: "WARN".into() };
        assert_eq!(driver.await.unwrap().message, Some(Stated::SetLogger(said)));
        // Nobody leads.
        assert_eq!(set(&service, "a", "warn", true).await.unwrap().agents_told, None);
    }

    #[tokio::test]
    async fn loggers_are_shown_and_refusals_are_those_of_rest() {
        let (service, _messages) = service();
        let get = |name: &str| {
            let request = Request::new(wire::GetLoggersRequest { logger: name.to_owned() });
            service.get_loggers(request)
        };
        let refused = set(&service, "a", "HIGH", false).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (tonic::Code::NotFound, "invalid log level 'HIGH'."));
        let nameless = set(&service, "", "OFF", false).await.unwrap_err();
        assert_eq!(nameless.code(), tonic::Code::InvalidArgument);
        let unknown = get("no.such").await.unwrap_err();
        assert_eq!((unknown.code(), unknown.message()), (tonic::Code::NotFound, "Logger no.such not found."));
        set(&service, "a", "off", false).await.unwrap();
        let all = get("").await.unwrap().into_inner().loggers;
        let shown: Vec<_> = all.iter().map(|it| (it.name.as_str(), it.level.as_str())).collect();
        assert_eq!(shown, [("a", "OFF"), ("root", "INFO")]);
        assert!(all[0].last_modified_ms.is_some_and(|at| at > 1_600_000_000_000));
        assert_eq!(get("a").await.unwrap().into_inner().loggers, all[..1]);
    }
}
