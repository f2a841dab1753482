//! Renews the agent's rights at any coordinator that answers.

use std::time::Duration;

use copyist_proto::Coordinators;
use copyist_proto::control as wire;
use copyist_proto::control::agent_service_client::AgentServiceClient;
use copyist_proto::coordinators::Course;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{Identity, Lines, any_of, jitter, statements, wants_a_human};
use crate::core::Event;

/// Who has not answered a question by then never will.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for one coordinator's answer before the next one is asked as well: a part of the interval, so that
/// a right survives one that is dead, and within these bounds.
const SILENCE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// The longest wait between two rounds without an answer.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// Renews rights every `interval`, and at once when asked to, until `stop`.
pub async fn renew(
    coordinators: Coordinators,
    identity: Identity,
    interval: Duration,
    mut at_once: mpsc::Receiver<()>,
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
) {
    let addresses: Vec<String> = coordinators.addresses().map(str::to_owned).collect();
    // Each address of the list has its connection already.
    let clients = addresses.iter().filter_map(|address| coordinators.channel(address).ok());
    let clients: Vec<_> = clients.map(AgentServiceClient::new).collect();
    let course = Course::new(clients.len(), any_of(clients.len()), WAIT_MAX);
    let silence = (interval * 3 / 5).clamp(SILENCE.0, SILENCE.1);
    let mut renewal = Renewal { clients, identity, course, silence, lines: Lines::new() };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            asked = at_once.recv() => if asked.is_none() { return },
            () = tokio::time::sleep(interval) => {}
        }
        while at_once.try_recv().is_ok() {}
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = renewal.ask() => event,
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

struct Renewal {
    clients: Vec<AgentServiceClient<Channel>>,
    identity: Identity,
    /// Begins where somebody answered last.
    course: Course,
    silence: Duration,
    lines: Lines,
}

/// What comes next, at its time.
enum Due {
    /// The next question.
    Ask,
    /// The end of the patience with the newest question.
    Silence,
}

impl Renewal {
    /// Asks one coordinator after the other until one answers. Who is silent may still answer while the next is asked.
    async fn ask(&mut self) -> Event {
        let mut asked = FuturesUnordered::new();
        let (mut due, mut at) = (Due::Ask, Instant::now());
        let mut newest = 0_u64;
        loop {
            tokio::select! {
                biased;
                Some((number, place, answer)) = asked.next(), if !asked.is_empty() => match answer {
                    Ok(event) => {
                        self.course.answered_at(place);
                        tracing::debug!(place, "a coordinator answers for the rights");
                        return event;
                    }
                    Err(status) => {
                        self.tell(place, &status);
                        if number == newest && matches!(due, Due::Silence) {
                            (due, at) = (Due::Ask, Instant::now() + self.course.failed(jitter()));
                        }
                    }
                },
                () = tokio::time::sleep_until(at) => match due {
                    Due::Ask => {
                        newest += 1;
                        asked.push(self.question(newest));
                        (due, at) = (Due::Silence, Instant::now() + self.silence);
                    }
                    Due::Silence => (due, at) = (Due::Ask, Instant::now() + self.course.failed(jitter())),
                },
            }
        }
    }

    /// One question, to the coordinator whose turn it is. At most a few wait for their answers at once: each ends by its
    /// own deadline.
    fn question(&self, number: u64) -> impl Future<Output = (u64, usize, Result<Event, Status>)> + use<> {
        let place = self.course.place();
        let client = self.clients.get(place).cloned();
        let request = wire::RenewRequest {
            agent_id: self.identity.worker.agent_id.to_string(),
            incarnation: self.identity.incarnation.clone(),
        };
        // The right counts from before the question, on a clock that does not stop with the machine.
        let sent_ms = crate::driver::boot_ms();
        async move {
            let answer = match client {
                Some(client) => answer(client, request, sent_ms).await,
                None => Err(Status::unavailable("there is no such coordinator")),
            };
            (number, place, answer)
        }
    }

    /// That nobody renews is told by who misses the rights; what only a human can mend is told here.
    fn tell(&mut self, place: usize, status: &Status) {
        tracing::debug!(place, %status, "a coordinator does not renew the rights");
        if wants_a_human(status.code())
            && let Some(left_out) = self.lines.admit(status.message())
        {
            let because = status.message();
            tracing::error!(because, left_out, "the coordinator refuses to renew the rights of this agent");
        }
    }
}

/// What a question's answer means; an answer that makes no sense is none.
async fn answer(
    mut client: AgentServiceClient<Channel>,
    request: wire::RenewRequest,
    sent_ms: u64,
) -> Result<Event, Status> {
    let answered = tokio::time::timeout(ANSWER_TIMEOUT, client.renew(request)).await;
    match answered.map_err(|_| Status::deadline_exceeded("no answer in time"))? {
        Ok(answer) => {
            let senseless = || Status::internal("an answer that makes no sense");
            statements::renewed(sent_ms, answer.into_inner()).ok_or_else(senseless)
        }
        Err(status) if status.code() == Code::NotFound => Ok(Event::LeaseLost),
        Err(status) => Err(status),
    }
}
