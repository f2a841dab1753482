//! What the coordinator counts: the states of connectors and tasks.

use copyist_model::InstanceState;
use prometheus::{IntCounter, IntGaugeVec, Opts, Registry};

use crate::core::Core;

/// The coordinator's metrics, registered in the registry it was given.
#[derive(Debug, Clone)]
pub struct Metrics {
    connector_state: IntGaugeVec,
    tasks: IntGaugeVec,
    commits: IntCounter,
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
        registry.register(Box::new(commits.clone()))?;
        Ok(Self { connector_state, tasks, commits })
    }

    pub(crate) fn committed(&self) {
        self.commits.inc();
    }

    /// Sets the gauges to what is shown now; those of connectors that are gone go.
    pub(crate) fn show(&self, core: &Core) {
        self.connector_state.reset();
        self.tasks.reset();
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
