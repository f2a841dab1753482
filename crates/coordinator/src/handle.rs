//! How services ask the driver: a message in, an answer back, both bounded in number and in time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use copyist_model::{AssignmentEpoch, AssignmentId, LaneGeneration, LaneId};
use copyist_proto::TIMED_OUT;
use copyist_proto::connect::WatchEvent;
use copyist_proto::control::answer::Answer as Found;
use copyist_proto::control::query::Question;
use copyist_proto::control::{self as wire, CoordinatorMessage};
use copyist_proto::forward::Target;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tracing::Span;

use crate::core::{
    self, Answer, Command, Core, Destination, Event, Failure, Holder, Patience, Proposal, View,
};
use crate::error::chain;
use crate::failovers::Failovers;
use crate::store::etcd::{Leader, Renewed, Replica};

/// How long a management request may take: Connect's own limit.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(90);

/// How long the driver may take to look something up, the commit before it included.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// How long an agent may take to answer a question, in the time that itself allows and some more.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// Proposals that the core is told at once: their verdicts must fit an agent's outbox.
const PROPOSALS_MAX: usize = 1024;

/// A question about the core, answered between two of its steps.
type Lookup = Box<dyn FnOnce(&Core, &Known) + std::marker::Send>;

/// What the driver knows beside the core.
#[derive(Debug, Clone)]
pub struct Known {
    /// Whether an agent has ever opened a session in this term.
    pub agents_seen: bool,
    pub failovers: Failovers,
    /// Where each change is told as it is stored.
    pub changes: broadcast::Sender<Arc<Vec<WatchEvent>>>,
}

/// Commits that a watcher may be behind.
const WATCHED_MAX: usize = 1024;

impl Default for Known {
    fn default() -> Self {
        let (changes, _) = broadcast::channel(WATCHED_MAX);
        Self { agents_seen: false, failovers: Failovers::default(), changes }
    }
}

/// What reaches the driver.
pub(crate) enum Message {
    /// With the span that it is part of.
    Command(Command, Span, oneshot::Sender<Result<Answer, Failure>>),
    Read(Lookup),
    Hello(Hello),
    Said(Event),
    Proposed(Proposal),
    /// A proposal whose record cannot be read, though it says which lane's it is.
    Unreadable {
        holder: Holder,
        lane: LaneId,
        generation: LaneGeneration,
        because: String,
    },
    Heartbeat {
        holder: Holder,
        destination: Option<Destination>,
    },
    SessionEnded(Holder, SessionNumber),
    /// What every agent with a session is told, and how many that were.
    ToAgents(Box<CoordinatorMessage>, oneshot::Sender<u32>),
    Renew(Holder, oneshot::Sender<Renewal>),
    /// A question to an agent; whichever can answer.
    Ask(Question, oneshot::Sender<Answers>),
    /// A part of an agent's answer.
    Answered(Holder, wire::Answer),
}

/// The parts of an agent's answer, or why there is none.
pub(crate) type Answers = Result<Vec<Found>, Failure>;

/// What a process holds; nothing when its lease is gone.
pub(crate) type Renewal = Result<Option<BTreeMap<AssignmentId, AssignmentEpoch>>, Failure>;

/// Without its key an agent is gone for everybody else: its lease alone gives no right.
pub(crate) fn renewal(alive: bool, view: &View, holder: &Holder) -> Renewal {
    if alive && !view.is_alive(holder) {
        return Err(Failure::Unavailable(format!("agent {} is not known yet", holder.agent)));
    }
    Ok(alive.then(|| view.held_by(holder)))
}

/// An agent that opens a session.
pub(crate) struct Hello {
    pub(crate) hello: core::Hello,
    /// Of the agent's fleet; empty: an older agent does not say it.
    pub(crate) group_id: String,
    /// Where it copies to by its worker file; nothing while it has not reached that cluster.
    pub(crate) destination: Option<Destination>,
    pub(crate) outbox: mpsc::Sender<CoordinatorMessage>,
    /// Told once the session is open, or why it is not.
    pub(crate) opened: oneshot::Sender<Result<Opened, String>>,
}

/// A proposal with those that came right behind it, while a commit kept this loop; and what came after them.
pub(crate) fn gather(
    first: Proposal,
    messages: &mut mpsc::Receiver<Message>,
) -> (Vec<Proposal>, Option<Message>) {
    let mut proposals = vec![first];
    while proposals.len() < PROPOSALS_MAX {
        match messages.try_recv() {
            Ok(Message::Proposed(next)) => proposals.push(next),
            Ok(other) => return (proposals, Some(other)),
            Err(_) => break,
        }
    }
    (proposals, None)
}

/// Tells a session from the next one of the same agent.
pub(crate) type SessionNumber = u64;

/// A session that is open.
pub(crate) struct Opened {
    pub(crate) store_id: String,
    pub(crate) session: SessionNumber,
}

/// The driver, for whoever asks it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    messages: mpsc::Sender<Message>,
    /// Nothing: this process is the only coordinator by its store.
    of_fleet: Option<OfFleet>,
}

/// A replica of several.
#[derive(Clone)]
struct OfFleet {
    replica: Replica,
    /// Where this process is reached.
    address: String,
    patience: Patience,
    /// Who answers management calls.
    target: watch::Receiver<Target>,
}

impl std::fmt::Debug for OfFleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OfFleet").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Handle {
    pub(crate) fn new(messages: mpsc::Sender<Message>) -> Self {
        Self { messages, of_fleet: None }
    }

    pub(crate) fn of_fleet(
        messages: mpsc::Sender<Message>,
        replica: Replica,
        address: String,
        patience: Patience,
        target: watch::Receiver<Target>,
    ) -> Self {
        Self { messages, of_fleet: Some(OfFleet { replica, address, patience, target }) }
    }

    /// Who leads, as far as this replica knows.
    #[must_use]
    pub fn leader(&self) -> Leader {
        self.of_fleet.as_ref().map_or(Leader::Ours, |it| it.replica.leader().borrow().clone())
    }

    /// Where who leads is reached; empty: nobody does, or there is only this process.
    #[must_use]
    pub fn leader_address(&self) -> String {
        match (self.leader(), &self.of_fleet) {
            (Leader::Other(address), _) => address,
            (Leader::Ours, Some(of_fleet)) => of_fleet.address.clone(),
            (Leader::Ours, None) | (Leader::Unknown | Leader::Nobody, _) => String::new(),
        }
    }

    /// Who answers management calls: this process, or the leader.
    #[must_use]
    pub fn target(&self) -> Target {
        self.of_fleet.as_ref().map_or(Target::Here, |it| it.target.borrow().clone())
    }

    /// Carries out a management request; it is stored when this returns.
    ///
    /// # Errors
    /// Why it was not carried out; [`Failure::Unavailable`] leaves open whether it will be.
    pub async fn command(&self, command: Command) -> Result<Answer, Failure> {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Command(command, Span::current(), reply)).await?;
        tokio::time::timeout(COMMAND_TIMEOUT, answer)
            .await
            .map_err(|_| Failure::Unavailable(TIMED_OUT.to_owned()))?
            .map_err(|_| stopping())?
    }

    /// Looks something up in the core; in what the store holds, where this replica does not lead.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] when the coordinator stops, or has no store at the moment.
    pub async fn read<T, F>(&self, question: F) -> Result<T, Failure>
    where
        T: std::marker::Send + 'static,
        F: FnOnce(&Core, &Known) -> T + std::marker::Send + 'static,
    {
        if let Some(of_fleet) = self.of_fleet.as_ref().filter(|_| self.leader() != Leader::Ours) {
            return of_fleet.read(question).await;
        }
        let (reply, answer) = oneshot::channel();
        let question = Box::new(move |core: &Core, known: &Known| {
            // Whoever asked may have gone away.
            drop(reply.send(question(core, known)));
        });
        self.tell(Message::Read(question)).await?;
        tokio::time::timeout(READ_TIMEOUT, answer)
            .await
            .map_err(|_| Failure::Unavailable(TIMED_OUT.to_owned()))?
            .map_err(|_| stopping())
    }

    /// Says something to every agent with a session; returns how many were told; nothing where this replica does not lead.
    pub(crate) async fn tell_agents(&self, message: CoordinatorMessage) -> Option<u32> {
        if self.leader() != Leader::Ours {
            return None;
        }
        let (reply, told) = oneshot::channel();
        self.tell(Message::ToAgents(Box::new(message), reply)).await.ok()?;
        tokio::time::timeout(READ_TIMEOUT, told).await.ok()?.ok()
    }

    /// Extends an agent's lease, then says what it holds; nothing when the lease is gone.
    ///
    /// # Errors
    /// As [`Handle::read`].
    pub(crate) async fn renew(&self, holder: Holder) -> Renewal {
        if let Some(OfFleet { replica, .. }) = &self.of_fleet {
            return renewed(replica, &holder).await;
        }
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Renew(holder, reply)).await?;
        tokio::time::timeout(READ_TIMEOUT, answer)
            .await
            .map_err(|_| Failure::Unavailable(TIMED_OUT.to_owned()))?
            .map_err(|_| stopping())?
    }

    /// Asks an agent, if this process leads.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: there is no agent, or it did not answer, or what it was to do failed.
    pub(crate) async fn ask(&self, question: Question) -> Answers {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Ask(question, reply)).await?;
        tokio::time::timeout(ASK_TIMEOUT, answer)
            .await
            .map_err(|_| Failure::Unavailable("no agent has answered in time".to_owned()))?
            .map_err(|_| stopping())?
    }

    pub(crate) async fn tell(&self, message: Message) -> Result<(), Failure> {
        self.messages.send(message).await.map_err(|_| stopping())
    }
}

impl OfFleet {
    /// By what is stored: who connects, and what was reported last, is known to the leader alone.
    async fn read<T>(&self, question: impl FnOnce(&Core, &Known) -> T) -> Result<T, Failure> {
        let view = self.replica.view().await.map_err(|error| Failure::Unavailable(chain(&error)))?;
        let known = Known { agents_seen: !view.agents.is_empty(), ..Known::default() };
        Ok(question(&Core::new(view, self.patience), &known))
    }
}

async fn renewed(replica: &Replica, holder: &Holder) -> Renewal {
    match replica.renew(holder).await {
        Ok(Renewed::Held(held)) => Ok(Some(held)),
        Ok(Renewed::NotYet) => Err(Failure::Unavailable(format!("agent {} is not known yet", holder.agent))),
        Ok(Renewed::Lost) => Ok(None),
        Err(error) => Err(Failure::Unavailable(chain(&error))),
    }
}

fn stopping() -> Failure {
    Failure::Unavailable("this coordinator does not lead, is stopping, or opens its store again".to_owned())
}
