//! The scenario: the `curl` line that people use with Kafka Connect, Kafka's own tools at both ends, and every record
//! compared.

use std::fs;
use std::path::Path;
use std::time::Duration;

use copyist_tests::{
    Cluster, ClusterOptions, Comparison, Copyist, CopyistOptions, Deadline, Error, Jars, KAFKA_VERSION,
    KafkaTool, Lifetime, Process, Progress, Result, Side, Spec, cache_dir, wait_until,
};
use serde_json::Value;

use crate::account::{Account, thousands};
use crate::options::Options;
use crate::{disk, kept};

pub const TOPIC: &str = "connect";
pub const REPLICA: &str = "connect.replica";
pub const CONNECTOR: &str = "connect-test";
const PARTITIONS: u32 = 10;
const RECORDS: u64 = 100_000;
const RECORDS_PER_SECOND: u64 = 5_000;
const RECORD_BYTES: u64 = 1_000;

const COMMAND_LIMIT: Duration = Duration::from_secs(60);
const RUNNING_LIMIT: Duration = Duration::from_secs(60);
/// On a loaded machine the producer does not reach its rate.
const PRODUCE_LIMIT: Duration = Duration::from_secs(300);
const CONSUME_LIMIT: Duration = Duration::from_secs(300);
const COMPARE_LIMIT: Duration = Duration::from_secs(300);
/// How often a count is told while records are compared.
const TELL_EVERY: u64 = 25_000;

/// Everything that runs. Dropped in the order of its fields.
struct Stage {
    tool: KafkaTool,
    copyist: Copyist,
    source: Cluster,
    destination: Cluster,
    jars: Jars,
}

pub fn run(options: &Options, account: &mut Account) -> Result<Comparison> {
    let stage = set_up(options, account)?;
    create_topic(options, account, &stage)?;
    create_connector(options, account, &stage)?;
    let produced = produce(options, account, &stage)?;
    consume(options, account, &stage, &produced)?;
    let comparison = compare(account, &stage)?;
    take_down(options, account, stage)?;
    Ok(comparison)
}

fn set_up(options: &Options, account: &mut Account) -> Result<Stage> {
    account.step(&format!("Kafka {KAFKA_VERSION}"), None);
    let jars = Jars::fetch(Progress::Terminal)?;
    account.tell(format_args!("its jars are in {}", jars.root().display()));
    let tool = KafkaTool::start(&jars, Progress::Terminal)?;

    account
        .step("Start two Kafka clusters, one node each", Some(&options.dir.join("source/node-1/kafka.log")));
    let (source, destination) =
        Cluster::start_two(&jars, cluster(options, "source"), cluster(options, "destination"))?;
    account.tell(format_args!("source       {}", source.bootstrap()));
    account.tell(format_args!("destination  {}", destination.bootstrap()));

    account.step("Start Copyist", Some(&options.dir.join("copyist/copyist.log")));
    let own = CopyistOptions {
        dir: Some(options.dir.join("copyist")),
        lifetime: lifetime(options),
        progress: Progress::Terminal,
        ..CopyistOptions::default()
    };
    let copyist = Copyist::start(&destination.bootstrap(), own)?;
    account.command(format_args!("copyist standalone {}", copyist.worker_file().display()));
    account.tell(format_args!("REST     {}", copyist.rest().base()));
    account.tell(format_args!("gRPC     {}", copyist.grpc_address()));
    account.tell(format_args!("metrics  {}", copyist.metrics_url()));
    Ok(Stage { tool, copyist, source, destination, jars })
}

fn cluster(options: &Options, name: &str) -> ClusterOptions {
    ClusterOptions {
        dir: Some(options.dir.join(name)),
        lifetime: lifetime(options),
        progress: Progress::Terminal,
        ..ClusterOptions::named(name)
    }
}

fn lifetime(options: &Options) -> Lifetime {
    if options.keep { Lifetime::MayOutliveUs } else { Lifetime::WithUs }
}

fn create_topic(options: &Options, account: &mut Account, stage: &Stage) -> Result<()> {
    let log = options.dir.join("topic.log");
    account.step(&format!("Create topic {TOPIC} with {PARTITIONS} partitions at the source"), Some(&log));
    let arguments = format!(
        "--create --topic {TOPIC} --partitions {PARTITIONS} --bootstrap-server {}",
        stage.source.bootstrap()
    );
    account.command(format_args!("kafka-topics {arguments}"));
    let spec = stage.jars.command("kafka-topics", "org.apache.kafka.tools.TopicCommand", &log)?;
    follow(&spec.args(arguments.split(' ')), COMMAND_LIMIT, account)
}

fn create_connector(options: &Options, account: &mut Account, stage: &Stage) -> Result<()> {
    account.step(&format!("Create connector {CONNECTOR}"), Some(&stage.copyist.log_path()));
    let base = stage.copyist.rest().base();
    let body = connector(&stage.source.bootstrap());
    account.command(format_args!(
        "curl -X POST -H \"Content-Type: application/json\" --data '{body}' {base}/connectors"
    ));
    let post = ["-X", "POST", "-H", "Content-Type: application/json", "--data", &body];
    let created = curl(options, account, &post, &format!("{base}/connectors"))?;
    if created.get("name").and_then(Value::as_str) != Some(CONNECTOR) {
        return Err(Error::Invalid(format!("the connector was not created: {created}")));
    }
    account.command(format_args!("curl {base}/connectors"));
    curl(options, account, &[], &format!("{base}/connectors"))?;
    wait_until("the connector and its tasks to run", RUNNING_LIMIT, Progress::Terminal, || {
        let (_, status) = stage.copyist.rest().get(&format!("/connectors/{CONNECTOR}/status"))?;
        all_running(&status)
    })?;
    for path in ["status", "tasks"] {
        let url = format!("{base}/connectors/{CONNECTOR}/{path}");
        account.command(format_args!("curl {url}"));
        curl(options, account, &[], &url)?;
    }
    Ok(())
}

/// The body as in Connect's own users' scripts: zookeeper's addresses are accepted, and nothing is there.
fn connector(source: &str) -> String {
    let converter = "org.apache.kafka.connect.converters.ByteArrayConverter";
    format!(
        "{{\"name\": \"{CONNECTOR}\", \"config\": {{ \"connector.class\": \"EMRReplicatorSourceConnector\", \
         \"key.converter\": \"{converter}\", \"value.converter\": \"{converter}\", \
         \"src.kafka.bootstrap.servers\": \"{source}\", \"src.zookeeper.connect\": \"127.0.0.1:2181\", \
         \"dest.zookeeper.connect\": \"127.0.0.1:2181\", \"topic.whitelist\": \"{TOPIC}\", \
         \"topic.rename.format\": \"{REPLICA}\", \"src.kafka.max.poll.records\": \"300\" }} }}"
    )
}

/// Runs curl, shows what it answered, and returns it.
fn curl(options: &Options, account: &Account, arguments: &[&str], url: &str) -> Result<Value> {
    let log = options.dir.join("curl.log");
    // Each answer alone; the meter of progress is for terminals.
    let config = options.dir.join(".curlrc");
    let begun = fs::write(&log, "").and_then(|()| fs::write(&config, "silent\nshow-error\n"));
    begun.map_err(Error::io(format_args!("write below {}", options.dir.display())))?;
    let mut spec = Spec::new("curl", "curl", &log).args(arguments.iter().copied()).arg(url);
    spec.environment.insert("CURL_HOME".into(), Some(options.dir.clone().into()));
    Process::run(&spec, COMMAND_LIMIT, Progress::Terminal)?;
    let text = fs::read_to_string(&log).map_err(Error::io(format_args!("read {}", log.display())))?;
    account.answer(&text);
    serde_json::from_str(&text).map_err(|error| Error::Invalid(format!("the answer is no JSON: {error}")))
}

/// `Some` when the connector and at least one task run and none does not; an error when one has failed.
fn all_running(status: &Value) -> Result<Option<()>> {
    let tasks = status["tasks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let parts: Vec<&Value> = std::iter::once(&status["connector"]).chain(tasks).collect();
    if let Some(failed) = parts.iter().find(|part| part["state"] == "FAILED") {
        let trace = failed["trace"].as_str().unwrap_or("without a trace");
        return Err(Error::Invalid(format!("the connector or a task failed: {trace}")));
    }
    Ok((!tasks.is_empty() && parts.iter().all(|part| part["state"] == "RUNNING")).then_some(()))
}

/// Returns the time since its end.
fn produce(options: &Options, account: &mut Account, stage: &Stage) -> Result<Deadline> {
    let log = options.dir.join("producer.log");
    let title = format!("Produce {} records, {} a second", thousands(RECORDS), thousands(RECORDS_PER_SECOND));
    account.step(&title, Some(&log));
    let arguments = format!(
        "--topic {TOPIC} --num-records {RECORDS} --throughput {RECORDS_PER_SECOND} --record-size {RECORD_BYTES} \
         --bootstrap-server {}",
        stage.source.bootstrap()
    );
    account.command(format_args!("kafka-producer-perf-test {arguments}"));
    let class = "org.apache.kafka.tools.ProducerPerformance";
    let spec = stage.jars.command("kafka-producer-perf-test", class, &log)?.args(arguments.split(' '));
    follow(&spec, PRODUCE_LIMIT, account)?;
    Ok(Deadline::after(CONSUME_LIMIT))
}

fn consume(options: &Options, account: &mut Account, stage: &Stage, produced: &Deadline) -> Result<()> {
    let log = options.dir.join("consumer.log");
    account.step("Consume them at the destination", Some(&log));
    let arguments = format!(
        "--topic {REPLICA} --num-records {RECORDS} --timeout 60000 --bootstrap-server {}",
        stage.destination.bootstrap()
    );
    account.command(format_args!("kafka-consumer-perf-test {arguments}"));
    let class = "org.apache.kafka.tools.ConsumerPerformance";
    let spec = stage.jars.command("kafka-consumer-perf-test", class, &log)?.args(arguments.split(' '));
    follow(&spec, CONSUME_LIMIT, account)?;
    let text = fs::read_to_string(&log).map_err(Error::io(format_args!("read {}", log.display())))?;
    let consumed = consumed_records(&text);
    if consumed != Some(RECORDS) {
        let counted = consumed.map_or("no number".to_owned(), thousands);
        return Err(Error::Invalid(format!(
            "it counted {counted} instead of {} records",
            thousands(RECORDS)
        )));
    }
    let seconds = produced.elapsed().as_secs_f32();
    account.tell(format_args!("{} records, {seconds:.1} s after the last was produced", thousands(RECORDS)));
    Ok(())
}

/// The column of the consumer's table that counts records.
fn consumed_records(text: &str) -> Option<u64> {
    let rows = text.lines().map(|line| line.split(',').map(str::trim).collect::<Vec<_>>());
    let rows: Vec<Vec<&str>> = rows.filter(|row| row.len() > 4).collect();
    let [.., header, values] = rows.as_slice() else { return None };
    let column = header.iter().position(|name| *name == "data.consumed.in.nMsg")?;
    values.get(column)?.parse().ok()
}

fn compare(account: &mut Account, stage: &Stage) -> Result<Comparison> {
    account.step("Compare every record", Some(&stage.copyist.log_path()));
    account.tell("key, value, headers, timestamp, partition and order, read by Kafka's Java client");
    let (left, right) =
        (stage.tool.at(&stage.source.bootstrap()), stage.tool.at(&stage.destination.bootstrap()));
    let (left, right) = (Side { at: &left, topic: TOPIC }, Side { at: &right, topic: REPLICA });
    let comparison = stage.tool.compare(left, right, COMPARE_LIMIT, |compared| {
        if compared.is_multiple_of(TELL_EVERY) {
            account.tell(format_args!("{} compared", thousands(compared)));
        }
    })?;
    let partitions = (comparison.left_partitions, comparison.right_partitions);
    let records = (comparison.equal, comparison.left_records, comparison.right_records);
    if partitions == (PARTITIONS, PARTITIONS) && records == (RECORDS, RECORDS, RECORDS) {
        return Ok(comparison);
    }
    Err(Error::Invalid(differences(&comparison)))
}

fn differences(found: &Comparison) -> String {
    let mut text = format!(
        "the topics differ: {} records in {} partitions at the source, {} in {} at the destination, {} equal, {} not",
        found.left_records,
        found.left_partitions,
        found.right_records,
        found.right_partitions,
        found.equal,
        found.different
    );
    for difference in &found.differences {
        let offset = |offset: Option<i64>| offset.map_or("none".to_owned(), |offset| offset.to_string());
        text += &format!(
            "\n    partition {}, offset {} at the source and {} at the destination: {}",
            difference.partition,
            offset(difference.left_offset),
            offset(difference.right_offset),
            difference.what
        );
    }
    text
}

/// Stops everything, or leaves it running.
fn take_down(options: &Options, account: &mut Account, stage: Stage) -> Result<()> {
    let data = disk::used_bytes(&options.dir);
    if options.keep {
        account.step("Leave it running", Some(&stage.copyist.log_path()));
        kept::leave(options, &stage.jars, stage.source, stage.destination, stage.copyist)?;
        return tell_disk(options, account, data, "");
    }
    account.step("Stop everything", Some(&stage.copyist.log_path()));
    let Stage { tool, mut copyist, source, destination, jars: _ } = stage;
    let status = copyist.stop()?;
    if !status.success() {
        return Err(Error::Invalid(format!("copyist ended with {status} after SIGTERM")));
    }
    drop((tool, source, destination));
    disk::remove(&options.dir);
    tell_disk(options, account, data, ", removed again")
}

fn tell_disk(options: &Options, account: &Account, data: u64, removed: &str) -> Result<()> {
    let cache = cache_dir()?.join(format!("kafka-{KAFKA_VERSION}"));
    let used = |dir: &Path| disk::readable(disk::used_bytes(dir));
    account.tell(format_args!(
        "disk: {} for the build in {}, {} for Kafka in {}, {} of data in this run{removed}",
        used(&options.target),
        options.target.display(),
        used(&cache),
        cache.display(),
        disk::readable(data)
    ));
    Ok(())
}

/// Runs a command to its end, and shows what it writes when it writes it.
fn follow(spec: &Spec, limit: Duration, account: &Account) -> Result<()> {
    let mut shown = 0;
    Process::run_telling(spec, limit, |text| {
        // The last line may still be written.
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        if let Some(new) = text.get(shown..whole) {
            account.answer(new);
            shown = whole.max(shown);
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_body_is_the_one_that_connects_users_post() {
        let body: Value = serde_json::from_str(&connector("broker:9092")).expect("it is JSON");
        assert_eq!(
            (&body["name"], body["config"].as_object().map(|keys| keys.len())),
            (&json!(CONNECTOR), Some(9))
        );
        assert_eq!(body["config"]["src.kafka.bootstrap.servers"], "broker:9092");
        assert_eq!(body["config"]["topic.rename.format"], "connect.replica");
    }

    #[test]
    fn running_means_the_connector_and_every_task() {
        let status = |connector: &str, tasks: &[&str]| {
            let tasks: Vec<Value> =
                tasks.iter().map(|state| json!({"state": state, "trace": "why"})).collect();
            all_running(&json!({"connector": {"state": connector}, "tasks": tasks}))
        };
        assert!(matches!(status("RUNNING", &["RUNNING", "RUNNING"]), Ok(Some(()))));
        for (connector, tasks) in
            [("RUNNING", &[][..]), ("RUNNING", &["RUNNING", "UNASSIGNED"]), ("UNASSIGNED", &["RUNNING"])]
        {
            assert!(matches!(status(connector, tasks), Ok(None)), "{connector} {tasks:?}");
        }
        let failed = status("RUNNING", &["RUNNING", "FAILED"]).expect_err("one failed").to_string();
        assert_eq!(failed, "the connector or a task failed: why");
        assert!(matches!(all_running(&json!({"error_code": 404})), Ok(None)));
    }

    #[test]
    fn the_consumers_count_is_read_from_its_table() {
        let table = "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec\n\
                     2026-01-01 00:00:00:000, 2026-01-01 00:00:01:000, 95.3674, 82.4978, 99998, 86505.1903\n";
        assert_eq!(consumed_records(table), Some(99_998));
        assert_eq!(
            consumed_records(&format!("a warning, with commas, and, more, of them\n{table}")),
            Some(99_998)
        );
        assert_eq!(consumed_records("nothing of the kind\n"), None);
    }
}
