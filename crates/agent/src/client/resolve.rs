//! A connector's clients made ready: references resolved by the worker's config providers, brokers found in
//! ZooKeeper, the worker's own properties under those of the connector. Done anew each time that clients are made, so
//! that a changed secret is taken.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::Semaphore;

use copyist_kafka::topic::Endpoint;
use copyist_model::{ClientProperties, ConnectorSpec, Destination};

use super::providers::Providers;
use super::{Role, hidden_problems, zookeeper};
use crate::error::Error;
use crate::worker::Worker;

/// For reading the files that references lead to.
const FILES_DEADLINE: Duration = Duration::from_secs(5);
static READERS: Semaphore = Semaphore::const_new(READERS_MAX);
const READERS_MAX: usize = 8;
const SERVERS: &str = "bootstrap.servers";

/// The properties of a connector's clients, complete. Any of them may be a secret: what is shown of them is the
/// connector's own text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clients {
    pub source: ClientProperties,
    /// Of those that write records.
    pub destination: ClientProperties,
    /// Of those that look after the destination's topics: without the worker's `producer.*`.
    pub destination_admin: ClientProperties,
}

/// Makes one connector's clients ready, again and again.
#[derive(Debug, Clone, Default)]
pub struct Resolver {
    /// The brokers that ZooKeeper named last: while it is away they are still those of the cluster.
    found: Option<String>,
}

impl Resolver {
    /// # Errors
    /// [`Error::Stuck`] when a reference stands for nothing, or for what cannot be; [`Error::Retry`] when brokers must be
    /// found in ZooKeeper, and are not.
    pub async fn resolve(&mut self, worker: &Worker, spec: &ConnectorSpec) -> Result<Clients, Error> {
        let mut clients = resolved(worker, spec).await?;
        if clients.source.bootstrap_servers().is_empty()
            && let Some(zookeeper) = &spec.zookeepers.source
        {
            let protocol = clients.source.get("security.protocol").unwrap_or("PLAINTEXT").trim();
            let servers = match (zookeeper::ask(zookeeper).await, &self.found) {
                (Ok(told), _) => zookeeper::brokers::servers(&told.brokers, protocol)
                    .map_err(|why| Error::Stuck(format!("the source's ZooKeeper {zookeeper}: {why}")))?,
                (Err(why), Some(found)) if why.is_silent => {
                    tracing::debug!(%why, "the brokers found before are asked");
                    found.clone()
                }
                (Err(why), _) => {
                    let what = format!("the source's brokers: {why}");
                    return Err(Error::Retry { what, source: None });
                }
            };
            self.found = Some(servers.clone());
            clients.source.0.insert(SERVERS.to_owned(), servers);
        }
        Ok(clients)
    }
}

/// How the source's place is called before its brokers are known.
#[must_use]
pub fn source_servers(spec: &ConnectorSpec) -> String {
    match (spec.source.bootstrap_servers(), &spec.zookeepers.source) {
        ("", Some(zookeeper)) => format!("ZooKeeper {zookeeper}"),
        (servers, _) => servers.to_owned(),
    }
}

/// How the destination's place is called.
#[must_use]
pub fn destination_servers<'s>(worker: &'s Worker, spec: &'s ConnectorSpec) -> &'s str {
    match &spec.destination {
        Destination::Cluster(properties) => properties.bootstrap_servers(),
        Destination::Worker(_) => worker.cluster.bootstrap_servers(),
    }
}

async fn resolved(worker: &Worker, spec: &ConnectorSpec) -> Result<Clients, Error> {
    let (Destination::Cluster(own) | Destination::Worker(own)) = &spec.destination;
    let (providers, source, own) = (worker.providers.clone(), spec.source.clone(), own.clone());
    let (source, own) = from_files(move || {
        (Side::read(&providers, "source", &source), Side::read(&providers, "destination", &own))
    })
    .await?;
    let layered = |layers: &[&ClientProperties]| {
        let over = match spec.destination {
            Destination::Cluster(_) => &[],
            Destination::Worker(_) => layers,
        };
        let all = over.iter().copied().chain([&own.properties]);
        ClientProperties(all.flat_map(|layer| layer.0.clone()).collect())
    };
    let clients = Clients {
        destination: layered(&[&worker.cluster, &worker.producer]),
        destination_admin: layered(&[&worker.cluster]),
        source: source.properties.clone(),
    };
    let (problems, clients) = from_files(move || {
        let mut problems = source.problems(&clients.source, Role::Consumer);
        problems.extend(own.problems(&clients.destination, Role::Producer));
        (problems, clients)
    })
    .await?;
    if problems.is_empty() { Ok(clients) } else { Err(Error::Stuck(problems.join("; "))) }
}

/// Does what reads files. They can be on a disk that has gone: then it is waited for so long and no longer, and few wait
/// there at a time, as each keeps one of the threads that everybody needs.
async fn from_files<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let reading = async {
        let reader = READERS.acquire().await;
        tokio::task::spawn_blocking(move || {
            let _until_it_is_done = reader;
            read()
        })
        .await
    };
    let silent = || Error::Retry {
        what: format!("the files that references lead to: not read within {} s", FILES_DEADLINE.as_secs()),
        source: None,
    };
    tokio::time::timeout(FILES_DEADLINE, reading)
        .await
        .map_err(|_| silent())?
        .map_err(|panic| Error::Stuck(format!("reading references: {panic}")))
}

/// One side's properties of a connector, their references resolved.
struct Side {
    role: &'static str,
    properties: ClientProperties,
    /// Whose values are not the user's text.
    hidden: BTreeSet<String>,
    unresolved: Vec<String>,
}

impl Side {
    fn read(providers: &Providers, role: &'static str, written: &ClientProperties) -> Self {
        let mut side =
            Self { role, properties: written.clone(), hidden: BTreeSet::new(), unresolved: Vec::new() };
        for (name, value) in &written.0 {
            match providers.resolve(value) {
                Ok(None) => (),
                Ok(Some(resolved)) => {
                    side.properties.0.insert(name.clone(), resolved);
                    side.hidden.insert(name.clone());
                }
                Err(unresolved) => {
                    side.unresolved.extend(unresolved.iter().map(|why| format!("{name}: {why}")));
                }
            }
        }
        side
    }

    /// What is wrong, told without a value.
    fn problems(&self, complete: &ClientProperties, client: Role) -> Vec<String> {
        let told = |problem: String| format!("the {}'s {problem}", self.role);
        if !self.unresolved.is_empty() {
            return self.unresolved.iter().cloned().map(told).collect();
        }
        hidden_values(complete, client, &self.hidden).into_iter().map(told).collect()
    }
}

/// The properties among `hidden`, whose values come from references, that no client takes: one text for each, without
/// its value.
#[must_use]
pub fn hidden_values(properties: &ClientProperties, client: Role, hidden: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = hidden_problems(properties, client, hidden);
    let value = |name: &str| properties.get(name).filter(|_| hidden.contains(name));
    if value(SERVERS).is_some_and(|servers| Endpoint::parse_list(servers).is_err()) {
        wrong.insert(SERVERS.to_owned());
    }
    // Who fails to open a file says which.
    let locations = hidden.iter().filter(|name| name.ends_with(".location"));
    // A pipe would be waited for.
    let is_readable = |path: &str| {
        std::fs::metadata(path).is_ok_and(|found| found.is_file()) && std::fs::File::open(path).is_ok()
    };
    let missing = locations.filter(|name| value(name).is_some_and(|path| !is_readable(path.trim())));
    wrong.extend(missing.cloned());
    let told = |name: String| match name.ends_with(".location") {
        true => format!("{name}: what its reference stands for is no file that can be read here"),
        false => format!("{name}: what its reference stands for is not possible here (it is not shown)"),
    };
    wrong.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests;
