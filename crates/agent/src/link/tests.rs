//! The link against scripted coordinators, over real connections.

mod renewals;
mod scripted;
mod sessions;

use std::time::Duration;

use copyist_model::{LogLevel, Loggers};
use copyist_proto::control as wire;
use copyist_proto::{Coordinators, OwnLoggers};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Duty, Ends, Identity, OUTBOX, Parting, Standing, hold, renew};
use crate::core::{Event, Saying};
use crate::worker::Worker;

/// Nothing that is waited for takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

fn identity() -> Identity {
    Identity {
        worker: std::sync::Arc::new(Worker::nowhere()),
        incarnation: "i".to_owned(),
        cluster: watch::channel(None).1,
        standing: watch::channel(Standing::default()).1,
        loggers: OwnLoggers::new(Loggers::new(LogLevel::Info, [])),
    }
}

fn coordinators<A: AsRef<str>>(addresses: impl IntoIterator<Item = A>) -> Coordinators {
    Coordinators::new(addresses, PATIENCE).unwrap()
}

/// The agent's side of a link.
struct Agent {
    outbox: mpsc::Sender<Saying>,
    rejoin: mpsc::Sender<()>,
    /// Asks for rights at once.
    renew: mpsc::Sender<()>,
    events: mpsc::Receiver<Event>,
    queries: mpsc::Receiver<crate::queries::Asked>,
    answers: mpsc::Sender<wire::Answer>,
    duty: watch::Receiver<Duty>,
    stop: CancellationToken,
    link: JoinHandle<()>,
}

impl Agent {
    /// One that holds a session.
    fn holding(coordinators: Coordinators) -> Self {
        Self::of(identity(), coordinators)
    }

    fn of(identity: Identity, coordinators: Coordinators) -> Self {
        Self::linked(|ends, _, stop| tokio::spawn(hold(coordinators, identity, ends, stop)))
    }

    /// One that renews its rights.
    fn renewing(coordinators: Coordinators, interval: Duration) -> Self {
        Self::linked(|ends, at_once, stop| {
            tokio::spawn(renew(coordinators, identity(), interval, at_once, ends.events, stop))
        })
    }

    fn linked(link: impl FnOnce(Ends, mpsc::Receiver<()>, CancellationToken) -> JoinHandle<()>) -> Self {
        let (outbox, words) = mpsc::channel(OUTBOX);
        let (rejoin, rejoins) = mpsc::channel(1);
        let (renew, at_once) = mpsc::channel(1);
        let (heard, events) = mpsc::channel(64);
        let stop = CancellationToken::new();
        let parting = Parting::default();
        let (ask, queries) = mpsc::channel(1);
        let (answers, answered) = mpsc::channel(1);
        let (duty, shown_duty) = watch::channel(None);
        let ends = Ends {
            outbox: words,
            rejoin: rejoins,
            events: heard,
            queries: ask,
            answers: answered,
            parting,
            duty,
        };
        let link = link(ends, at_once, stop.clone());
        Self { outbox, rejoin, renew, events, queries, answers, duty: shown_duty, stop, link }
    }

    async fn event(&mut self) -> Event {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event.expect("something happens in time").expect("the link goes on")
    }

    /// Stops it, and waits for its end.
    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.link).await.expect("it ends in time").unwrap();
    }
}
