use std::sync::Arc;

use copyist_model::{AssignmentEpoch, AssignmentId, LaneStart};
use tokio::sync::mpsc;

use super::*;
use crate::engine::raw::{Budget, Plane, Shared};
use crate::job::{JobEvent, JobMessage, Right};
use crate::metrics::Metrics;
use crate::positions::Positions;
use crate::worker::Worker;

fn order() -> Order {
    let mut order = Order::from_nowhere("librdkafka");
    order.lanes.insert(&"s".parse().unwrap(), &"d".parse().unwrap(), 0, LaneStart::Reset);
    order
}

fn context(stop: &CancellationToken) -> TaskContext {
    let worker = Arc::new(Worker::nowhere());
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let (_, cluster) = watch::channel(None);
    let (positions, _) = Positions::start(&worker, cluster, stop.clone()).unwrap();
    let (plane, _) = Plane::start(Shared {
        positions: positions.clone(),
        metrics: metrics.clone(),
        budget: Budget::new(1),
        flush_interval: Duration::from_secs(10),
    })
    .unwrap();
    TaskContext { worker, positions, metrics, plane }
}

async fn trace(mailbox: &mut mpsc::Receiver<JobMessage>) -> String {
    match mailbox.recv().await {
        Some(JobMessage::Event(JobEvent::Status { state: InstanceState::Unassigned, trace, .. })) => trace,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_session_lasts_as_long_as_the_right() {
    let (messages, mut mailbox) = mpsc::channel(1);
    let (right, shown_right) = watch::channel(Right::default());
    let (orders, shown_orders) = watch::channel(order());
    let id = AssignmentId::task(&"c".parse().unwrap(), 0);
    let reporter = Reporter::new(id, AssignmentEpoch::default(), messages, shown_right);
    let (stop, serving) = (CancellationToken::new(), CancellationToken::new());
    let task = tokio::spawn(crate::engine::run(context(&serving), shown_orders, reporter, stop.clone()));
    let without_right = trace(&mut mailbox).await;
    assert!(without_right.starts_with("its right to write has ended"), "{without_right}");
    orders.send_replace(order());
    let served = tokio::time::timeout(Duration::from_millis(200), mailbox.recv());
    assert!(served.await.is_err(), "an order is no right");
    right.send_replace(Right { ends_at: Duration::MAX, free_at: Duration::ZERO });
    let with_right = trace(&mut mailbox).await;
    assert!(with_right.starts_with("waiting for the source cluster"), "{with_right}");
    right.send_replace(Right::default());
    while trace(&mut mailbox).await != without_right {}
    stop.cancel();
    assert!(matches!(mailbox.recv().await, Some(JobMessage::Event(JobEvent::Ended { .. }))));
    task.await.unwrap();
    serving.cancel();
}
