//! Active topics, and what the worker file allows of them.

use copyist_gateway::{Surface, TopicTracking};

use crate::wire::Rest;

#[tokio::test]
async fn what_the_worker_file_switches_off_is_forbidden() {
    // Enabled, resets allowed; whether the two requests are answered by a coordinator.
    let rows = [(true, true, [true, true]), (true, false, [true, false]), (false, true, [false, false])];
    for (enabled, may_be_reset, served) in rows {
        let rest = Rest::tracking(Surface::Everything, TopicTracking { enabled, may_be_reset }).await;
        let requests = [
            ("GET /connectors/a/topics", "Topic tracking is disabled."),
            ("PUT /connectors/a/topics/reset", "Topic tracking reset is disabled."),
        ];
        for ((request, refusal), is_served) in requests.into_iter().zip(served) {
            let answer = rest.ask(request).await;
            let refusal = if enabled { refusal } else { "Topic tracking is disabled." };
            let is_refused = answer.starts_with("403 ") && answer.contains(refusal);
            assert_eq!(is_refused, !is_served, "{enabled} {may_be_reset} {request}: {answer}");
        }
    }
}
