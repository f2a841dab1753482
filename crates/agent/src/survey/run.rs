//! The survey as a job: now, again at each interval, and at once when its order changes.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use copyist_model::InstanceState;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::attempt::{Clusters, Survey};
use super::course::{Course, Line, Outcome};
use super::place::Place;
use super::remark::{Remark, Remarks};
use crate::client::resolve::{destination_servers, source_servers};
use crate::error::{Error, chain};
use crate::job::{Findings, Order, Reporter};
use crate::worker::Worker;

const RIGHT_ENDED: &str = "its right has ended: it looks at the clusters again, and creates topics, once the \
                           coordinator has renewed it";

/// What a survey needs beside its order.
#[derive(Debug, Clone)]
pub struct SurveyContext {
    pub worker: Arc<Worker>,
}

/// Surveys until `stop`, or until nobody gives orders any more; [`Reporter::ended`] is its last word.
pub async fn run(
    context: SurveyContext,
    mut orders: watch::Receiver<Order>,
    reporter: Reporter,
    stop: CancellationToken,
) {
    let mut job = Job {
        worker: context.worker,
        reporter,
        clusters: Clusters::default(),
        started: Instant::now(),
        course: Course::default(),
        told: None,
        compromises: Remarks::default(),
        logged: BTreeSet::new(),
    };
    let mut order = orders.borrow_and_update().clone();
    loop {
        let changed = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            changed = orders.changed() => changed,
            never = job.follow(&order) => match never {},
        };
        if changed.is_err() {
            break;
        }
        let next = orders.borrow_and_update().clone();
        if next.generation != order.generation {
            job.course = Course::default();
        }
        job.compromises = Remarks::default();
        order = next;
    }
    job.reporter.ended().await;
}

struct Job {
    worker: Arc<Worker>,
    reporter: Reporter,
    clusters: Clusters,
    started: Instant,
    course: Course,
    /// The status reported last.
    told: Option<(InstanceState, String)>,
    /// Where created topics are not as wished: a later survey does not see it any more.
    compromises: Remarks,
    /// Remarks of the last survey; each is logged when it comes up, not as long as it holds.
    logged: BTreeSet<String>,
}

impl Job {
    /// Does what `order` says until it is dropped, at any of its waits.
    async fn follow(&mut self, order: &Order) -> Infallible {
        if order.paused {
            self.clusters = Clusters::default();
            self.tell(InstanceState::Paused, String::new()).await;
            return std::future::pending().await;
        }
        if self.course.is_new() {
            self.tell(InstanceState::Unassigned, self.places(order)).await;
        } else if self.is_told_paused() {
            // It has surveyed before: a cluster that is away now is an outage like any other.
            self.tell(InstanceState::Running, self.engine(order)).await;
        }
        loop {
            if !self.reporter.holds_right() {
                self.wait_for_right(order).await;
            }
            let surveyed = tokio::select! {
                surveyed = self.clusters.survey(&self.worker, order) => surveyed,
                () = self.reporter.right_ended() => continue,
            };
            let (outcome, findings) = self.outcome(surveyed, order);
            let now = self.started.elapsed();
            let turn = self.course.turn(outcome, order.spec.poll_interval, now, chance());
            let connector = &self.reporter.id().connector;
            match turn.log {
                Some(Line::Trouble(line)) => tracing::warn!(%connector, "survey: {line}"),
                Some(Line::Over) => tracing::info!(%connector, "survey: both clusters answer again"),
                None => (),
            }
            if let Some(findings) = findings {
                self.reporter.surveyed(findings).await;
            }
            if let Some((state, trace)) = turn.status {
                self.tell(state, trace).await;
            }
            tokio::select! {
                () = sleep(turn.wait) => {}
                () = self.reporter.right_ended() => {}
            }
        }
    }

    /// Nothing but the right keeps two surveys from creating topics at the same time.
    async fn wait_for_right(&mut self, order: &Order) {
        let state = self.told.as_ref().map_or(InstanceState::Unassigned, |(state, _)| *state);
        let connector = self.reporter.id().connector.clone();
        // An order that comes meanwhile makes it wait anew.
        if self.told.as_ref().is_none_or(|(_, trace)| trace != RIGHT_ENDED) {
            tracing::warn!(%connector, "survey: {RIGHT_ENDED}");
        }
        self.tell(state, RIGHT_ENDED.to_owned()).await;
        self.reporter.right_held().await;
        tracing::info!(%connector, "survey: its right was renewed");
        // What needs a human is said by the survey that comes now.
        if state == InstanceState::Running {
            self.tell(state, self.engine(order)).await;
        } else if state == InstanceState::Unassigned {
            self.tell(state, self.places(order)).await;
        }
    }

    fn outcome(&mut self, result: Result<Survey, Error>, order: &Order) -> (Outcome, Option<Findings>) {
        match result {
            Ok(Survey { findings, mut remarks, compromises }) => {
                self.compromises.extend(compromises);
                remarks.extend(self.compromises.clone());
                self.log(&remarks);
                let nothing_else = findings.topics.is_empty() && !remarks.has_wait();
                let outcome = Outcome::Surveyed {
                    trace: with_engine(remarks.trace(), &self.engine(order)),
                    stuck: remarks.has_problem() && nothing_else,
                    again: remarks.again(),
                };
                (outcome, Some(findings))
            }
            Err(error @ Error::Retry { .. }) => (Outcome::Unreachable(chain(&error)), None),
            Err(error @ Error::Stuck(_)) => (Outcome::Refused(chain(&error)), None),
        }
    }

    fn log(&mut self, remarks: &Remarks) {
        let connector = &self.reporter.id().connector;
        let mut lines = BTreeSet::new();
        for (remark, topics) in remarks.iter() {
            let line = remark.sentence(topics);
            if !self.logged.contains(&line) {
                match remark {
                    Remark::Problem(_) | Remark::Warning(_) => tracing::warn!(%connector, "survey: {line}"),
                    Remark::Wait(_) | Remark::Note(_) => tracing::info!(%connector, "survey: {line}"),
                }
            }
            lines.insert(line);
        }
        self.logged = lines;
    }

    async fn tell(&mut self, state: InstanceState, trace: String) {
        let status = (state, trace);
        if self.told.as_ref() != Some(&status) {
            self.reporter.status(status.0, status.1.clone()).await;
            self.told = Some(status);
        }
    }

    /// Which engine copies, and why.
    fn engine(&self, order: &Order) -> String {
        self.clusters.engine(order.spec.engine)
    }

    fn is_told_paused(&self) -> bool {
        self.told.as_ref().is_some_and(|(state, _)| *state == InstanceState::Paused)
    }

    fn places(&self, order: &Order) -> String {
        let source = Place::at("source", &source_servers(&order.spec));
        let destination = Place::at("destination", destination_servers(&self.worker, &order.spec));
        format!("waits for {source} and {destination}")
    }
}

/// Remarks first: they may want something of somebody.
fn with_engine(remarks: String, engine: &str) -> String {
    if remarks.is_empty() || engine.is_empty() {
        return remarks + engine;
    }
    format!("{remarks}\n{engine}")
}

fn chance() -> f64 {
    rand::random()
}

#[cfg(test)]
mod tests;
