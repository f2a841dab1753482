//! The subject that all sections ask, one after the other, and what `$NAME` stands for in their tables.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use copyist_tests::suite::{jars, must, tool};
use copyist_tests::{Cluster, ClusterOptions, KAFKA_VERSION, Progress, Subject, wait_until};
use serde_json::{Value, json};

use crate::case::{Body, Case, Expected, Request};
use crate::shape::{self, Json};
use crate::wire::{self, Answer};

/// How long the stage is cleared, and Connect asked again.
const LIMIT: Duration = Duration::from_secs(60);
/// What Connect says while its workers find each other anew; its clients ask again.
const REBALANCES: [&str; 4] =
    ["conflicting operation", "stale configuration", "rebalance is expected", "no known leader URL"];

#[derive(Debug)]
pub struct Stage {
    pub subject: Subject,
    /// Longest name first, as some begin like others.
    names: Vec<(&'static str, String)>,
    cluster: Cluster,
}

impl Stage {
    /// The only one, for this section alone.
    pub fn enter() -> MutexGuard<'static, Stage> {
        static STAGE: OnceLock<Mutex<Stage>> = OnceLock::new();
        let stage = STAGE.get_or_init(|| Mutex::new(Stage::start()));
        // A section that failed has left nothing half done.
        stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start() -> Stage {
        let cluster = std::thread::scope(|scope| {
            let tools = scope.spawn(tool);
            let cluster = must("a cluster", Cluster::start(jars(), ClusterOptions::named("contract")));
            tools.join().expect("Kafka's Java clients started");
            cluster
        });
        let subject = must("the subject", Subject::start(&cluster.bootstrap()));
        let names = names(&subject, &cluster.bootstrap());
        Stage { subject, names, cluster }
    }

    pub fn expand(&self, table: &str) -> String {
        self.names.iter().fold(table.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// `Err` says what was answered and what is wrong with it; `None` when the subject is not asked.
    pub fn check(&self, case: &Case, limit: Duration) -> Option<Result<(), String>> {
        let expected = case.of(self.subject.name())?;
        let mut last = String::new();
        let limit = if expected.eventually { limit } else { Duration::ZERO };
        let met = wait_until("the answer", limit, Progress::Silent, || {
            let answer = self.ask(&case.request, expected.status);
            last = answer.as_ref().map_or_else(|error| error.clone(), shown);
            let judged = answer.and_then(|answer| judge(expected, &answer));
            last = judged.as_ref().err().map_or_else(String::new, |error| format!("{error}\n{last}"));
            Ok(judged.ok())
        });
        Some(met.map_err(|_| last))
    }

    fn ask(&self, request: &Request, expected: u16) -> Result<Answer, String> {
        let mut last = Err("no answer".to_owned());
        if let Some(topic) = request.line.strip_prefix("TOPIC ") {
            return self.last_values(topic);
        }
        let once = || {
            last = wire::exchange(self.subject.worker_id(), request).map_err(|error| error.to_string());
            let again = last.as_ref().is_ok_and(|answer| answer.status != expected && of_a_rebalance(answer));
            Ok((!again || matches!(self.subject, Subject::Copyist(_))).then_some(()))
        };
        // What it still says after that is its answer.
        let _limit = wait_until("an answer", LIMIT, Progress::Silent, once);
        last
    }

    /// The last value of each key of a topic, as an answer: values are JSON, keys are text.
    fn last_values(&self, topic: &str) -> Result<Answer, String> {
        let records = tool().at(&self.cluster.bootstrap()).dump(topic).map_err(|error| error.chain())?;
        let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let last: BTreeMap<String, String> = records
            .into_iter()
            .map(|record| {
                (text(record.key).unwrap_or_default(), text(record.value).unwrap_or("null".to_owned()))
            })
            .collect();
        let fields: Vec<String> =
            last.into_iter().map(|(key, value)| format!("{}:{value}", Value::String(key))).collect();
        let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        Ok(Answer { status: 200, headers, body: format!("{{{}}}", fields.join(",")).into_bytes() })
    }

    /// Deletes all connectors, and waits until nothing of them shows.
    pub fn clear(&self) {
        let rest = self.subject.rest();
        let gone = wait_until("no connectors", LIMIT, Progress::Silent, || {
            let named = rest.get("/connectors")?.1;
            let named: Vec<&str> = named.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            for name in &named {
                rest.delete(&format!("/connectors/{}", encoded(name)))?;
            }
            // What has no status yet is left out here, and what is deleted may still have one.
            let states = rest.get("/connectors?expand=status")?.1;
            Ok((named.is_empty() && states == json!({})).then_some(()))
        });
        must("the section's end", gone);
    }
}

fn encoded(name: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    name.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn names(subject: &Subject, bootstrap: &str) -> Vec<(&'static str, String)> {
    let fields = |config: Value| {
        let text = config.to_string();
        text[1..text.len() - 1].to_owned()
    };
    let source = |topic: &str| fields(must("a source", subject.source(bootstrap, topic)));
    let cluster_id = must("the cluster's id", tool().at(bootstrap).cluster_id());
    let (version, class, full_class, from) = match subject {
        Subject::Copyist(_) => {
            let class = "EMRReplicatorSourceConnector";
            (env!("CARGO_PKG_VERSION").to_owned(), class, class, cluster_id.clone())
        }
        Subject::Connect(_) => {
            let full_class = "org.apache.kafka.connect.file.FileStreamSourceConnector";
            (KAFKA_VERSION.to_string(), "FileStreamSource", full_class, "source".to_owned())
        }
    };
    let [configs, offsets, statuses] = subject.storage_topics();
    let mut names = vec![
        ("$SOURCE", source("contract")),
        ("$OTHER", source("contract-other")),
        ("$MIRROR", fields(must("a source", subject.mirror(bootstrap, "mirrored")))),
        ("$FAILING", fields(subject.failing(bootstrap))),
        ("$FROM", from),
        ("$CONFIGS", configs.to_owned()),
        ("$OFFSETS", offsets.to_owned()),
        ("$STATUSES", statuses.to_owned()),
        ("$CLUSTER_ID", cluster_id),
        ("$WORKER", subject.worker_id().to_owned()),
        ("$VERSION", version),
        ("$CLASS", class.to_owned()),
        ("$FULL_CLASS", full_class.to_owned()),
    ];
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    names
}

fn of_a_rebalance(answer: &Answer) -> bool {
    matches!(answer.status, 409 | 500) && REBALANCES.iter().any(|text| answer.text().contains(text))
}

fn shown(answer: &Answer) -> String {
    let headers: BTreeMap<&String, &String> =
        answer.headers.iter().map(|(name, value)| (name, value)).collect();
    let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    format!("{}\n{}\n\n{}", answer.status, headers.join("\n"), answer.text())
}

fn judge(expected: &Expected, answer: &Answer) -> Result<(), String> {
    if answer.status != expected.status {
        return Err(format!("{} instead of {}", answer.status, expected.status));
    }
    let mut headers: Vec<(&str, &str)> =
        expected.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    if matches!(expected.body, Body::Json(_)) && !headers.iter().any(|(name, _)| *name == "Content-Type") {
        headers.push(("Content-Type", "application/json"));
    }
    if answer.status == 204 {
        headers.extend([("Content-Type", "-"), ("Content-Length", "-")]);
    }
    headers.into_iter().try_for_each(|(name, value)| header(name, value, answer.header(name)))?;
    body(&expected.body, answer)
}

fn header(name: &str, wanted: &str, found: Option<&str>) -> Result<(), String> {
    let fits = match (wanted.strip_prefix('~'), found) {
        (Some(pattern), Some(found)) => shape::glob(pattern, found),
        (None, Some(found)) => wanted == found,
        (_, None) => wanted == "-",
    };
    if fits { Ok(()) } else { Err(format!("{name} is {found:?}, not {wanted:?}")) }
}

fn body(expected: &Body, answer: &Answer) -> Result<(), String> {
    match expected {
        Body::Any => Ok(()),
        Body::Empty if answer.body.is_empty() => Ok(()),
        Body::Empty => Err("a body".to_owned()),
        Body::Text(pattern) if shape::glob(pattern, answer.text().trim_end()) => Ok(()),
        Body::Text(pattern) => Err(format!("the body is not {pattern:?}")),
        Body::Json(wanted) => {
            let found: Json =
                serde_json::from_slice(&answer.body).map_err(|error| format!("no JSON: {error}"))?;
            shape::fits(wanted, &found, "$")
        }
    }
}
