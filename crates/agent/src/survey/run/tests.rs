use std::time::Duration;

use copyist_model::{AssignmentEpoch, AssignmentId};
use tokio::sync::mpsc;

use super::*;
use crate::job::{JobEvent, JobMessage, Right};

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
    let (_orders, shown_orders) = watch::channel(Order::from_nowhere("auto"));
    let id = AssignmentId::survey(&"c".parse().unwrap());
    let reporter = Reporter::new(id, AssignmentEpoch::default(), messages, shown_right);
    let stop = CancellationToken::new();
    let context = SurveyContext { worker: Arc::new(Worker::nowhere()) };
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
