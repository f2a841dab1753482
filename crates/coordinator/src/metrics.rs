//! What the coordinator counts: the states of connectors and tasks.

use std::time::Duration;

use copyist_model::InstanceState;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntGaugeVec, Opts, Registry};

use crate::core::Core;
use crate::failovers::Failover;

/// The coordinator's metrics, registered in the registry it was given.
#[derive(Debug, Clone)]
pub struct Metrics {
    connector_state: IntGaugeVec,
    tasks: IntGaugeVec,
    commits: IntCounter,
    failover: HistogramVec,
}

impl Metrics {
    /// # Errors
    /// When one of the names is registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let connector_state = IntGaugeVec::new(
            Opts::new("copyist_connector_state", "1 for the state that the connector is in, else 0."),
            &["connector", "state"],
        )?;
        let tasks = IntGaugeVec::new(
            Opts::new("copyist_connector_tasks", "Tasks of the connector in each state."),
            &["connector", "state"],
        )?;
        let commits = IntCounter::new("copyist_store_commits_total", "Commits stored by this coordinator.")?;
        registry.register(Box::new(connector_state.clone()))?;
        registry.register(Box::new(tasks.clone()))?;
        let failover = HistogramVec::new(
            HistogramOpts::new(
                "copyist_failover_seconds",
                "How long parts of lost agents stood still: until the loss was noticed, then until the part was \
                 assigned anew, then until it was reported RUNNING.",
            )
            .buckets(vec![0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 6.0, 12.0, 20.0, 60.0]),
            &["phase"],
        )?;
        registry.register(Box::new(commits.clone()))?;
        registry.register(Box::new(failover.clone()))?;
        Ok(Self { connector_state, tasks, commits, failover })
    }

    pub(crate) fn committed(&self) {
        self.commits.inc();
    }

    pub(crate) fn assigned(&self, failover: &Failover) {
        if let Some(noticed_ms) = failover.noticed_ms {
            self.observe("noticed", noticed_ms);
        }
        self.observe("assigned", failover.assigned_ms);
    }

    pub(crate) fn resumed(&self, failover: &Failover) {
        failover.resumed_ms.into_iter().for_each(|resumed_ms| self.observe("resumed", resumed_ms));
    }

    fn observe(&self, phase: &str, ms: u64) {
        self.failover.with_label_values(&[phase]).observe(Duration::from_millis(ms).as_secs_f64());
    }

    /// Who does not lead shows no states: they would be what was.
    pub(crate) fn hide(&self) {
        self.connector_state.reset();
        self.tasks.reset();
    }

    /// Sets the gauges to what is shown now; those of connectors that are gone go.
    pub(crate) fn show(&self, core: &Core) {
        self.hide();
        for name in core.view().connectors.keys() {
            let Some(status) = core.status(name) else { continue };
            for state in InstanceState::ALL {
                let labels = [name.as_str(), state.as_str()];
                let is = i64::from(status.connector.state == state);
                self.connector_state.with_label_values(&labels).set(is);
                let tasks = status.tasks.iter().filter(|(_, task)| task.state == state).count();
                self.tasks.with_label_values(&labels).set(i64::try_from(tasks).unwrap_or(i64::MAX));
            }
        }
    }
}
