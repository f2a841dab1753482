//! The table of what exists: paths, their methods, and what each does. Pure.

use http::Method;

/// What a request can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    GetServer,
    GetHealth,
    ListConnectors,
    CreateConnector,
    GetConnector,
    DeleteConnector,
    GetConfig,
    PutConfig,
    PatchConfig,
    GetStatus,
    Pause,
    Resume,
    Stop,
    RestartConnector,
    ListTasks,
    GetTaskStatus,
    RestartTask,
    GetOffsets,
    AlterOffsets,
    ResetOffsets,
    GetTopics,
    ResetTopics,
    ListPlugins,
    GetPluginConfig,
    ValidateConfig,
    ListLoggers,
    GetLogger,
    SetLogger,
}

/// A method with a meaning of its own; HEAD is GET without the body, OPTIONS is answered from the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

#[derive(Debug, Clone, Copy)]
enum Segment {
    Literal(&'static str),
    Connector,
    Task,
    Plugin,
    Logger,
}

/// A path and what can be done with it.
#[derive(Debug)]
pub struct Resource {
    path: &'static [Segment],
    endpoints: &'static [(Verb, Endpoint)],
    /// What OPTIONS says, in the order in which Connect says it where that is known.
    pub allow: &'static str,
    /// Whether a request with a Content-Type other than JSON is refused, as everywhere but at `/` and `/health`.
    pub consumes_json: bool,
}

/// What the path of a request names; empty text where it names none.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub connector: String,
    /// The task's number as written.
    pub task: String,
    pub plugin: String,
    pub logger: String,
}

const GET: &str = "HEAD,GET,OPTIONS";

const fn resource(
    path: &'static [Segment],
    endpoints: &'static [(Verb, Endpoint)],
    allow: &'static str,
) -> Resource {
    Resource { path, endpoints, allow, consumes_json: true }
}

const TABLE: &[Resource] = {
    use Segment::{Connector, Literal, Logger, Plugin, Task};
    use Verb::{Delete, Get, Patch, Post, Put};
    const CONNECTORS: Segment = Literal("connectors");
    const PLUGINS: Segment = Literal("connector-plugins");
    &[
        Resource { path: &[], endpoints: &[(Get, Endpoint::GetServer)], allow: GET, consumes_json: false },
        Resource {
            path: &[Literal("health")],
            endpoints: &[(Get, Endpoint::GetHealth)],
            allow: GET,
            consumes_json: false,
        },
        resource(
            &[CONNECTORS],
            &[(Get, Endpoint::ListConnectors), (Post, Endpoint::CreateConnector)],
            "HEAD,POST,GET,OPTIONS",
        ),
        resource(
            &[CONNECTORS, Connector],
            &[(Get, Endpoint::GetConnector), (Delete, Endpoint::DeleteConnector)],
            "DELETE,GET,HEAD,OPTIONS",
        ),
        resource(
            &[CONNECTORS, Connector, Literal("config")],
            &[(Get, Endpoint::GetConfig), (Put, Endpoint::PutConfig), (Patch, Endpoint::PatchConfig)],
            "HEAD,GET,OPTIONS,PUT,PATCH",
        ),
        resource(&[CONNECTORS, Connector, Literal("status")], &[(Get, Endpoint::GetStatus)], GET),
        resource(&[CONNECTORS, Connector, Literal("pause")], &[(Put, Endpoint::Pause)], "OPTIONS,PUT"),
        resource(&[CONNECTORS, Connector, Literal("resume")], &[(Put, Endpoint::Resume)], "OPTIONS,PUT"),
        resource(&[CONNECTORS, Connector, Literal("stop")], &[(Put, Endpoint::Stop)], "OPTIONS,PUT"),
        resource(
            &[CONNECTORS, Connector, Literal("restart")],
            &[(Post, Endpoint::RestartConnector)],
            "POST,OPTIONS",
        ),
        resource(&[CONNECTORS, Connector, Literal("tasks")], &[(Get, Endpoint::ListTasks)], GET),
        resource(
            &[CONNECTORS, Connector, Literal("tasks"), Task, Literal("status")],
            &[(Get, Endpoint::GetTaskStatus)],
            GET,
        ),
        resource(
            &[CONNECTORS, Connector, Literal("tasks"), Task, Literal("restart")],
            &[(Post, Endpoint::RestartTask)],
            "POST,OPTIONS",
        ),
        resource(
            &[CONNECTORS, Connector, Literal("offsets")],
            &[(Get, Endpoint::GetOffsets), (Patch, Endpoint::AlterOffsets), (Delete, Endpoint::ResetOffsets)],
            "HEAD,DELETE,GET,OPTIONS,PATCH",
        ),
        resource(&[CONNECTORS, Connector, Literal("topics")], &[(Get, Endpoint::GetTopics)], GET),
        resource(
            &[CONNECTORS, Connector, Literal("topics"), Literal("reset")],
            &[(Put, Endpoint::ResetTopics)],
            "OPTIONS,PUT",
        ),
        resource(&[PLUGINS], &[(Get, Endpoint::ListPlugins)], GET),
        resource(&[PLUGINS, Plugin, Literal("config")], &[(Get, Endpoint::GetPluginConfig)], GET),
        resource(
            &[PLUGINS, Plugin, Literal("config"), Literal("validate")],
            &[(Put, Endpoint::ValidateConfig)],
            "OPTIONS,PUT",
        ),
        resource(&[Literal("admin"), Literal("loggers")], &[(Get, Endpoint::ListLoggers)], GET),
        resource(
            &[Literal("admin"), Literal("loggers"), Logger],
            &[(Get, Endpoint::GetLogger), (Put, Endpoint::SetLogger)],
            "HEAD,GET,OPTIONS,PUT",
        ),
    ]
};

/// The resource that a path's segments lead to, and what they name.
pub fn find(segments: &[String]) -> Option<(&'static Resource, Target)> {
    TABLE.iter().find_map(|resource| Some((resource, target(resource.path, segments)?)))
}

fn target(path: &[Segment], segments: &[String]) -> Option<Target> {
    if path.len() != segments.len() {
        return None;
    }
    let mut target = Target::default();
    for (part, segment) in path.iter().zip(segments) {
        match part {
            Segment::Literal(literal) if segment == literal => {}
            Segment::Connector if !segment.is_empty() => target.connector.clone_from(segment),
            Segment::Task if !segment.is_empty() => target.task.clone_from(segment),
            Segment::Plugin if !segment.is_empty() => target.plugin.clone_from(segment),
            Segment::Logger if !segment.is_empty() => target.logger.clone_from(segment),
            Segment::Literal(_) | Segment::Connector | Segment::Task | Segment::Plugin | Segment::Logger => {
                return None;
            }
        }
    }
    Some(target)
}

impl Resource {
    /// What a method does here.
    pub fn endpoint(&self, method: &Method) -> Option<Endpoint> {
        let verb = match *method {
            Method::GET | Method::HEAD => Verb::Get,
            Method::POST => Verb::Post,
            Method::PUT => Verb::Put,
            Method::PATCH => Verb::Patch,
            Method::DELETE => Verb::Delete,
            _ => return None,
        };
        self.endpoints.iter().find(|(known, _)| *known == verb).map(|&(_, endpoint)| endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn options_say_what_the_table_does() {
        for resource in TABLE {
            let mut expected = BTreeSet::from(["OPTIONS"]);
            for (verb, _) in resource.endpoints {
                match verb {
                    Verb::Get => expected.extend(["GET", "HEAD"]),
                    Verb::Post => expected.extend(["POST"]),
                    Verb::Put => expected.extend(["PUT"]),
                    Verb::Patch => expected.extend(["PATCH"]),
                    Verb::Delete => expected.extend(["DELETE"]),
                }
            }
            assert_eq!(resource.allow.split(',').collect::<BTreeSet<_>>(), expected, "{resource:?}");
        }
    }

    #[test]
    fn names_may_look_like_parts_of_the_api() {
        let segments = ["connectors", "status", "tasks", "restart", "status"].map(str::to_owned);
        let (resource, target) = find(&segments).unwrap();
        assert_eq!(resource.endpoint(&Method::HEAD), Some(Endpoint::GetTaskStatus));
        let expected =
            Target { connector: "status".to_owned(), task: "restart".to_owned(), ..Target::default() };
        assert_eq!(target, expected);
        let segments = ["connector-plugins", "config", "config"].map(str::to_owned);
        let (resource, target) = find(&segments).unwrap();
        assert_eq!(resource.endpoint(&Method::GET), Some(Endpoint::GetPluginConfig));
        assert_eq!(target, Target { plugin: "config".to_owned(), ..Target::default() });
    }
}
