//! What a run with `--keep` leaves, and how to look at it.

use std::fs;

use copyist_tests::{Cluster, Copyist, Error, Jars, Progress, Result};

use crate::options::Options;
use crate::scenario::{CONNECTOR, REPLICA, TOPIC};

/// Gives everything up, and tells.
pub fn leave(
    options: &Options,
    jars: &Jars,
    source: Cluster,
    destination: Cluster,
    copyist: Copyist,
) -> Result<()> {
    let text = directions(options, jars, &source.bootstrap(), &destination.bootstrap(), &copyist);
    let mark = options.dir.join("kept");
    fs::write(&mark, &text).map_err(Error::io(format_args!("write {}", mark.display())))?;
    source.leave_running();
    destination.leave_running();
    copyist.leave_running();
    Progress::Terminal.say(text);
    Ok(())
}

fn directions(options: &Options, jars: &Jars, source: &str, destination: &str, copyist: &Copyist) -> String {
    let rest = copyist.rest().base();
    let (grpc, metrics) = (copyist.grpc_address(), copyist.metrics_url());
    let (class_path, dir) = (jars.class_path(), options.dir.display().to_string());
    let class_path = class_path.display();
    format!(
        "
Everything still runs; this text is in {dir}/kept.

  The connector, over Connect's REST API:
    curl -s {rest}/connectors/{CONNECTOR}/status
    curl -s '{rest}/connectors?expand=info&expand=status'
    curl -s -X PUT {rest}/connectors/{CONNECTOR}/pause
  The same over gRPC, with grpcurl:
    grpcurl -plaintext {grpc} list
    grpcurl -plaintext {grpc} copyist.connect.v1.ConnectorService/ListConnectors
  Lag, rates and states of each lane:
    curl -s {metrics} | grep '^copyist_'
  Kafka's own tools: more records at the source, and what arrives at the destination:
    kafka() {{ java -cp '{class_path}' \"org.apache.kafka.tools.$1\" \"${{@:2}}\"; }}
    kafka ProducerPerformance --bootstrap-server {source} --topic {TOPIC} --num-records 1000 --throughput 100 --record-size 100
    kafka consumer.ConsoleConsumer --bootstrap-server {destination} --topic {REPLICA}
  Its settings and its log:
    {dir}/copyist/worker.properties
    {dir}/copyist/copyist.log

To stop it all and remove its files: deploy/quickstart --clean
"
    )
}
