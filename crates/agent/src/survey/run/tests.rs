use std::time::Duration;

use copyist_model::{AssignmentEpoch, AssignmentId, ClientProperties, ConnectorGeneration, TaskRevision};
use tokio::sync::mpsc;

use super::*;
use crate::job::{JobEvent, JobMessage, Right};
use crate::worker::StorageTopic;

/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";

fn worker() -> Worker {
    let topic =
        |name: &str| StorageTopic { name: name.parse().unwrap(), partitions: 1, replication_factor: 1 };
    Worker {
        agent_id: "a:1".parse().unwrap(),
        cluster: ClientProperties([("bootstrap.servers".to_owned(), NOWHERE.to_owned())].into()),
        producer: ClientProperties::default(),
        consumer: ClientProperties::default(),
        offset_storage: topic("o"),
        config_storage: topic("c"),
        status_storage: topic("s"),
        rack: String::new(),
        labels: Default::default(),
        flush_interval: Duration::from_secs(10),
        memory_bytes: 1,
        stop_timeout: Duration::from_secs(1),
    }
}

fn order() -> Order {
    let spec = copyist_proto::control::ConnectorSpec {
        rename_format: "${topic}".into(),
        offset_reset: copyist_proto::control::OffsetReset::Earliest.into(),
        engine: "auto".into(),
        loss_policy: "fail".into(),
        source: [("bootstrap.servers".to_owned(), NOWHERE.to_owned())].into(),
        destination_is_worker: true,
        poll_interval_ms: 1_000,
        ..Default::default()
    };
    Order {
        revision: TaskRevision(1),
        generation: ConnectorGeneration(1),
        spec: Arc::new(spec.try_into().unwrap()),
        lanes: Default::default(),
        records: Default::default(),
        shared: Default::default(),
        paused: false,
    }
}

async fn trace(mailbox: &mut mpsc::Receiver<JobMessage>) -> String {
    match mailbox.recv().await {
        Some(JobMessage::Event(JobEvent::Status { state: InstanceState::Unassigned, trace, .. })) => trace,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn no_survey_begins_without_a_right_and_one_under_way_is_given_up_with_it() {
    let (messages, mut mailbox) = mpsc::channel(1);
    let (right, shown_right) = watch::channel(Right::default());
    let (_orders, shown_orders) = watch::channel(order());
    let id = AssignmentId::survey(&"c".parse().unwrap());
    let reporter = Reporter::new(id, AssignmentEpoch::default(), messages, shown_right);
    let stop = CancellationToken::new();
    let context = SurveyContext { worker: Arc::new(worker()) };
    let job = tokio::spawn(run(context, shown_orders, reporter, stop.clone()));
    assert!(trace(&mut mailbox).await.starts_with("waits for the source cluster"));
    assert_eq!(trace(&mut mailbox).await, RIGHT_ENDED);
    let surveyed = tokio::time::timeout(Duration::from_millis(300), mailbox.recv());
    assert!(surveyed.await.is_err(), "it asks no cluster");
    right.send_replace(Right { ends_at: Duration::MAX, free_at: Duration::ZERO });
    assert_ne!(trace(&mut mailbox).await, RIGHT_ENDED);
    right.send_replace(Right::default());
    while trace(&mut mailbox).await != RIGHT_ENDED {}
    stop.cancel();
    assert!(matches!(mailbox.recv().await, Some(JobMessage::Event(JobEvent::Ended { .. }))));
    job.await.unwrap();
}
