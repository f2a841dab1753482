//! Holds a session with the leader, and finds the next one when it is over.

use std::collections::VecDeque;
use std::time::Duration;

use copyist_model::LogLevel;
use copyist_proto::control as wire;
use copyist_proto::control::agent_message::Message as Said;
use copyist_proto::control::agent_service_client::AgentServiceClient;
use copyist_proto::control::coordinator_message::Message as Stated;
use copyist_proto::{Coordinators, OwnLoggers, protocol};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::seek::{Outcome, Place, Seek};
use super::{Ends, Identity, Lines, jitter, statements, wants_a_human, words};
use crate::core::Saying;
use crate::error::chain;

/// Messages that the connection has not taken yet.
const UNSENT: usize = 64;

/// A coordinator that takes none of the agent's words for so long does not hear it.
pub(super) const DEAF: Duration = Duration::from_secs(10);

/// How long the last words of an agent that ends may take.
pub(super) const PARTING: Duration = Duration::from_secs(2);

/// And if they were not heard: how long a leader is looked for to say them to.
pub(super) const LOOKING: Duration = Duration::from_secs(3);

/// Holds a session open until `stop`: with whichever coordinator leads.
pub async fn hold(coordinators: Coordinators, identity: Identity, mut ends: Ends, stop: CancellationToken) {
    let addresses: Vec<String> = coordinators.addresses().map(str::to_owned).collect();
    let mut seek = Seek::new(addresses.len(), super::any_of(addresses.len()));
    let mut lines = Lines::new();
    while !is_over(&stop, &ends) {
        // What waited for a session that is over is said again in the next one's Hello.
        take_what_waits(&mut ends);
        let address = address_of(seek.place(), &addresses);
        let over = match coordinators.channel(&address) {
            Ok(channel) => {
                let opening = Opening { channel, deadline: seek.deadline(), coordinator: &address };
                session(opening, &identity, &mut ends, &mut lines, &stop).await
            }
            Err(invalid) => Over::Unreachable(invalid.to_string()),
        };
        ends.duty.send_replace(None);
        if matches!(over, Over::Parted) {
            return;
        }
        if is_over(&stop, &ends) {
            break;
        }
        tell(&over, &address, &mut lines);
        let wait = seek.learn(over.into(), jitter());
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(wait) => {}
        }
    }
    take_what_waits(&mut ends);
    let words = ends.parting.again();
    let said = say_last(&coordinators, &identity, &addresses, seek, &words);
    if !words.is_empty() && tokio::time::timeout(LOOKING, said).await.is_err() {
        tracing::warn!(
            "no coordinator has heard that the agent has ended: what it had waits for the end of its autonomy"
        );
    }
}

/// What waited for a session that is over is said again in the next one's Hello, or at the very end.
fn take_what_waits(ends: &mut Ends) {
    while let Ok(saying) = ends.outbox.try_recv() {
        ends.parting.note(&saying);
    }
    while ends.rejoin.try_recv().is_ok() {}
    // Who asked in a session that is over was told that there is no answer.
    while ends.answers.try_recv().is_ok() {}
}

fn address_of(place: Place, addresses: &[String]) -> String {
    match place {
        Place::Listed(number) => addresses.get(number).cloned().unwrap_or_default(),
        Place::Named(address) => address,
    }
}

/// Looks for a leader, and for nothing but to say the last words to it.
async fn say_last(
    coordinators: &Coordinators,
    identity: &Identity,
    addresses: &[String],
    mut seek: Seek,
    words: &[Saying],
) {
    loop {
        let address = address_of(seek.place(), addresses);
        let over = match coordinators.channel(&address) {
            Ok(channel) => {
                match tokio::time::timeout(seek.deadline(), Session::open(channel, identity)).await {
                    Ok(Ok((session, _))) => {
                        let words = words.iter().cloned().flat_map(words::messages).collect();
                        if session.part_with(words).await {
                            return;
                        }
                        Over::Unreachable("it did not hear the last words".to_owned())
                    }
                    Ok(Err(over)) => over,
                    Err(_) => Over::Unreachable("it opened no session in time".to_owned()),
                }
            }
            Err(invalid) => Over::Unreachable(invalid.to_string()),
        };
        tokio::time::sleep(seek.learn(over.into(), jitter())).await;
    }
}

fn is_over(stop: &CancellationToken, ends: &Ends) -> bool {
    stop.is_cancelled() || ends.outbox.is_closed()
}

/// How an attempt at a session ended; texts say why.
#[derive(Debug)]
enum Over {
    Unreachable(String),
    Redirected {
        leader: String,
        lasted: Duration,
    },
    Refused(String),
    Ended {
        lasted: Duration,
        because: String,
    },
    Lost {
        lasted: Duration,
        because: String,
    },
    /// The agent ends, and the coordinator has heard its last words.
    Parted,
}

impl From<Over> for Outcome {
    fn from(over: Over) -> Self {
        match over {
            Over::Unreachable(_) => Self::Unreachable,
            Over::Redirected { leader, lasted } => Self::Redirected { leader, lasted },
            Over::Refused(_) => Self::Refused,
            Over::Ended { lasted, .. } => Self::Ended { lasted },
            Over::Lost { lasted, .. } => Self::Lost { lasted },
            Over::Parted => Self::Ended { lasted: Duration::ZERO },
        }
    }
}

impl From<Status> for Over {
    fn from(status: Status) -> Self {
        if wants_a_human(status.code()) {
            return Self::Refused(status.message().to_owned());
        }
        Self::Unreachable(chain(&status))
    }
}

fn tell(over: &Over, coordinator: &str, lines: &mut Lines) {
    match over {
        Over::Unreachable(error) => {
            if let Some(left_out) = lines.admit("unreachable") {
                tracing::warn!(coordinator, error, left_out, "no session with this coordinator");
            }
        }
        Over::Redirected { leader, .. } if leader.is_empty() => {
            if let Some(left_out) = lines.admit("nobody leads") {
                tracing::warn!(coordinator, left_out, "no coordinator leads at this moment");
            }
        }
        Over::Redirected { leader, .. } => tracing::debug!(coordinator, leader, "another coordinator leads"),
        Over::Refused(because) => {
            if let Some(left_out) = lines.admit(because) {
                tracing::error!(coordinator, because, left_out, "the coordinator refuses this agent");
            }
        }
        Over::Parted => {}
        Over::Ended { because, .. } | Over::Lost { because, .. } => {
            if let Some(left_out) = lines.admit("ended") {
                tracing::warn!(coordinator, because, left_out, "the session with the coordinator is over");
            }
        }
    }
}

/// A session to be opened.
struct Opening<'a> {
    channel: Channel,
    deadline: Duration,
    coordinator: &'a str,
}

async fn session(
    opening: Opening<'_>,
    identity: &Identity,
    ends: &mut Ends,
    lines: &mut Lines,
    stop: &CancellationToken,
) -> Over {
    let Opening { channel, deadline, coordinator } = opening;
    let open = tokio::time::timeout(deadline, Session::open(channel, identity));
    let opened = tokio::select! {
        // The leader may have heard the hello already: it is to hear as well that the agent ends.
        () = long_after(stop) => return Over::Unreachable("the agent ends".to_owned()),
        opened = open => opened,
    };
    let (session, welcome) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(over)) => return over,
        Err(_) => {
            return Over::Unreachable(format!("it did not open a session within {} s", deadline.as_secs()));
        }
    };
    let opened = Instant::now();
    ends.parting.welcome();
    if let Some(left_out) = lines.admit("open") {
        tracing::info!(coordinator, left_out, "a session with the leader is open");
    }
    match session.run(welcome, identity, ends, lines, stop).await {
        Ended::Redirected(leader) => Over::Redirected { leader, lasted: opened.elapsed() },
        Ended::Because(because) => Over::Ended { lasted: opened.elapsed(), because },
        Ended::Lost(because) => Over::Lost { lasted: opened.elapsed(), because },
        Ended::Parted => Over::Parted,
    }
}

async fn long_after(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(PARTING).await;
}

/// Why an open session ended.
enum Ended {
    Redirected(String),
    Because(String),
    Lost(String),
    Parted,
}

impl From<&str> for Ended {
    fn from(because: &str) -> Self {
        Self::Because(because.to_owned())
    }
}

struct Session {
    said: mpsc::Sender<wire::AgentMessage>,
    stated: Streaming<wire::CoordinatorMessage>,
    /// What is to be said and did not fit yet. The words of one event at most: the outbox waits meanwhile.
    unsaid: VecDeque<Said>,
    /// Since when the connection takes nothing.
    deaf_since: Option<Instant>,
}

impl Session {
    async fn open(channel: Channel, identity: &Identity) -> Result<(Self, wire::Welcome), Over> {
        let (said, words) = mpsc::channel(UNSENT);
        let hello = Said::Hello(words::hello(identity));
        let unheard = |_| Over::Unreachable("the connection takes no words".to_owned());
        said.try_send(wire::AgentMessage { message: Some(hello) }).map_err(unheard)?;
        let mut client = AgentServiceClient::new(channel);
        let mut stated = client.session(ReceiverStream::new(words)).await?.into_inner();
        let silent = || Over::Unreachable("it ended the session without a word".to_owned());
        match stated.message().await?.ok_or_else(silent)?.message {
            Some(Stated::Welcome(welcome)) => {
                protocol::agreed(welcome.protocol_version)
                    .map_err(|error| Over::Refused(error.to_string()))?;
                Ok((Self { said, stated, unsaid: VecDeque::new(), deaf_since: None }, welcome))
            }
            Some(Stated::Redirect(redirect)) => {
                let (leader, lasted) = (redirect.leader_address, Duration::ZERO);
                Err(Over::Redirected { leader, lasted })
            }
            Some(
                Stated::Assignment(_)
                | Stated::Release(_)
                | Stated::SetComplete(_)
                | Stated::Query(_)
                | Stated::LaneRecord(_)
                | Stated::Scribe(_)
                | Stated::SetLogger(_),
            )
            | None => Err(Over::Unreachable("it began with something else than Welcome".to_owned())),
        }
    }

    async fn run(
        mut self,
        welcome: wire::Welcome,
        identity: &Identity,
        ends: &mut Ends,
        lines: &mut Lines,
        stop: &CancellationToken,
    ) -> Ended {
        let said = self.said.clone();
        let mut heartbeats = every(welcome.heartbeat_interval_ms);
        let mut message = Some(Stated::Welcome(welcome));
        loop {
            if let Some(Stated::Redirect(redirect)) = message {
                return Ended::Redirected(redirect.leader_address);
            }
            if let Some(Stated::Scribe(wire::Scribe { is_scribe, mark })) = &message {
                ends.duty.send_replace(is_scribe.then(|| mark.as_str().into()));
            }
            if let Some(Stated::SetLogger(set)) = &message {
                set_logger(set, &identity.loggers);
            }
            if let Some(Stated::Query(query)) = message {
                ask(query, ends, lines);
                message = None;
            }
            if let Some(event) = message.take().and_then(statements::understood)
                && ends.events.send(event).await.is_err()
            {
                break;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                asked = ends.rejoin.recv() => match asked {
                    Some(()) => return "the agent begins a new one".into(),
                    None => break,
                },
                stated = self.stated.message() => match stated {
                    Ok(Some(stated)) => message = known(stated, lines),
                    Ok(None) => return "the coordinator ended it".into(),
                    Err(status) => return Ended::Lost(chain(&status)),
                },
                room = said.reserve(), if !self.unsaid.is_empty() => match room {
                    Ok(room) => {
                        room.send(wire::AgentMessage { message: self.unsaid.pop_front() });
                        self.deaf_since = None;
                    }
                    Err(_) => return "the connection takes no more words".into(),
                },
                saying = ends.outbox.recv(), if self.unsaid.is_empty() => match saying {
                    Some(saying) => {
                        ends.parting.note(&saying);
                        self.unsaid.extend(words::messages(saying));
                    }
                    None => break,
                },
                Some(answer) = ends.answers.recv(), if self.unsaid.is_empty() => {
                    self.unsaid.push_back(Said::Answer(answer));
                }
                _ = heartbeats.tick() => if let Some(ended) = self.heartbeat(identity) { return ended },
            }
        }
        // The agent ends: its other ends may be gone before its stop is told.
        drop(said);
        if self.part(ends).await { Ended::Parted } else { "the agent ends".into() }
    }

    /// Says what is left to say, and whether the coordinator has heard it.
    async fn part(mut self, ends: &mut Ends) -> bool {
        let mut left = std::mem::take(&mut self.unsaid);
        while let Ok(saying) = ends.outbox.try_recv() {
            ends.parting.note(&saying);
            left.extend(words::messages(saying));
        }
        tokio::time::timeout(PARTING, self.part_with(left)).await.unwrap_or(false)
    }

    /// Says the last words, and waits until the coordinator has heard them: it ends its side then.
    async fn part_with(self, left: VecDeque<Said>) -> bool {
        let Self { said, mut stated, .. } = self;
        for message in left {
            if said.send(wire::AgentMessage { message: Some(message) }).await.is_err() {
                return false;
            }
        }
        drop(said);
        loop {
            match stated.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Says that the agent is there, if the connection takes words at all.
    fn heartbeat(&mut self, identity: &Identity) -> Option<Ended> {
        let heartbeat = Said::Heartbeat(wire::Heartbeat { worker_cluster_id: words::cluster_id(identity) });
        match self.said.try_send(wire::AgentMessage { message: Some(heartbeat) }) {
            Ok(()) => self.deaf_since = None,
            Err(mpsc::error::TrySendError::Closed(_)) => {
                return Some("the connection takes no more words".into());
            }
            Err(mpsc::error::TrySendError::Full(_)) => {
                let since = *self.deaf_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= DEAF {
                    return Some(Ended::Lost("the coordinator takes none of the agent's words".to_owned()));
                }
            }
        }
        None
    }
}

/// Hands on a question. One that finds no room is not answered: who asked waits for so long and no longer.
fn ask(query: wire::Query, ends: &Ends, lines: &mut Lines) {
    if ends.queries.try_send((Instant::now(), query)).is_err()
        && let Some(left_out) = lines.admit("query")
    {
        tracing::warn!(left_out, "the coordinator asks more than this agent can answer");
    }
}

fn set_logger(set: &wire::SetLogger, loggers: &OwnLoggers) {
    let level = set.level.parse::<LogLevel>();
    if let Err(fault) = level.and_then(|level| loggers.set(&set.logger, level)) {
        tracing::warn!(logger = set.logger, error = %fault, "the coordinator sets a logger in vain");
    }
}

/// A message that this agent knows; a coordinator of a newer version may say more.
fn known(stated: wire::CoordinatorMessage, lines: &mut Lines) -> Option<Stated> {
    if stated.message.is_none()
        && let Some(left_out) = lines.admit("unknown")
    {
        tracing::warn!(left_out, "the coordinator says something that this version does not know: skipped");
    }
    stated.message
}

fn every(heartbeat_interval_ms: u32) -> Interval {
    let mut heartbeats =
        tokio::time::interval(Duration::from_millis(u64::from(heartbeat_interval_ms.max(50))));
    heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeats
}
