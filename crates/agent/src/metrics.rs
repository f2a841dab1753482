//! Per-lane numbers for Prometheus.

use copyist_model::{ConnectorName, TopicName};
use prometheus::core::Collector;
use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::engine::raw::reader::PlanCounts;

const LABELS: [&str; 3] = ["connector", "topic", "partition"];
/// How batches went: `pass`, or `rewrite` or `skip` for a reason. One that is rewritten for several counts for each.
const PLAN_LABELS: [&str; 5] = ["connector", "topic", "partition", "plan", "reason"];

/// The agent's metrics, registered once. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    records: IntCounterVec,
    bytes: IntCounterVec,
    lag_records: IntGaugeVec,
    lag_seconds: GaugeVec,
    stall_age: GaugeVec,
    gaps: IntCounterVec,
    batches: IntCounterVec,
    /// Records that the storage topics lack; 0 where this agent is not the scribe.
    pub storage_topics_behind: IntGauge,
}

impl Metrics {
    /// # Errors
    /// One of the names is taken in this registry.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(format!("copyist_lane_{name}"), help);
        let records = opts("records_total", "Records that the destination acknowledged.");
        let bytes = opts(
            "bytes_total",
            "Bytes that the destination acknowledged: of batches as they travel; with engine=librdkafka of keys and values.",
        );
        let lag_records = opts("lag_records", "Source offsets between the position and the end of the log.");
        let lag_seconds =
            opts("lag_seconds", "Age of the newest record copied while there are more to copy, else 0.");
        let stall_age =
            opts("stall_age_seconds", "Time since the lane last moved while it has something to do, else 0.");
        let gaps = opts("gaps_total", "Losses that loss.policy went past; the task's trace has the offsets.");
        let batches = opts("batches_total", "Source batches by what was done with them, and why.");
        let metrics = Self {
            records: IntCounterVec::new(records, &LABELS)?,
            bytes: IntCounterVec::new(bytes, &LABELS)?,
            lag_records: IntGaugeVec::new(lag_records, &LABELS)?,
            lag_seconds: GaugeVec::new(lag_seconds, &LABELS)?,
            stall_age: GaugeVec::new(stall_age, &LABELS)?,
            gaps: IntCounterVec::new(gaps, &LABELS)?,
            batches: IntCounterVec::new(batches, &PLAN_LABELS)?,
            storage_topics_behind: IntGauge::new(
                "copyist_storage_topics_behind",
                "Records of connectors and states that the storage topics lack, as far as this agent keeps them.",
            )?,
        };
        let collectors: [Box<dyn Collector>; 8] = [
            Box::new(metrics.records.clone()),
            Box::new(metrics.bytes.clone()),
            Box::new(metrics.lag_records.clone()),
            Box::new(metrics.lag_seconds.clone()),
            Box::new(metrics.stall_age.clone()),
            Box::new(metrics.gaps.clone()),
            Box::new(metrics.batches.clone()),
            Box::new(metrics.storage_topics_behind.clone()),
        ];
        collectors.into_iter().try_for_each(|collector| registry.register(collector))?;
        Ok(metrics)
    }

    /// The numbers of one lane, which vanish with the value.
    #[must_use]
    pub fn lane(&self, connector: &ConnectorName, topic: &TopicName, partition: i32) -> LaneMetrics {
        let partition = partition.to_string();
        let labels = [connector.as_str(), topic.as_str(), partition.as_str()];
        LaneMetrics {
            records: self.records.with_label_values(&labels),
            bytes: self.bytes.with_label_values(&labels),
            lag_records: self.lag_records.with_label_values(&labels),
            lag_seconds: self.lag_seconds.with_label_values(&labels),
            stall_age: self.stall_age.with_label_values(&labels),
            gaps: self.gaps.with_label_values(&labels),
            labels: labels.map(str::to_owned),
            all: self.clone(),
        }
    }
}

/// The numbers of one lane; dropping it takes them out of what is shown.
#[derive(Debug)]
pub struct LaneMetrics {
    pub records: IntCounter,
    pub bytes: IntCounter,
    pub lag_records: IntGauge,
    pub lag_seconds: Gauge,
    pub stall_age: Gauge,
    pub gaps: IntCounter,
    labels: [String; 3],
    all: Metrics,
}

impl LaneMetrics {
    /// Adds what became of batches since the last call.
    pub fn count(&self, counts: &PlanCounts) {
        for (plan, reason, batches) in counts.iter().filter(|(.., batches)| *batches > 0) {
            let [connector, topic, partition] = self.labels.each_ref().map(String::as_str);
            let labels = [connector, topic, partition, plan, reason];
            self.all.batches.with_label_values(&labels).inc_by(batches);
        }
    }
}

impl Drop for LaneMetrics {
    fn drop(&mut self) {
        let labels: [&str; 3] = self.labels.each_ref().map(String::as_str);
        // An error says that they are gone already.
        let _ = self.all.records.remove_label_values(&labels);
        let _ = self.all.bytes.remove_label_values(&labels);
        let _ = self.all.lag_records.remove_label_values(&labels);
        let _ = self.all.lag_seconds.remove_label_values(&labels);
        let _ = self.all.stall_age.remove_label_values(&labels);
        let _ = self.all.gaps.remove_label_values(&labels);
        for (plan, reason, _) in PlanCounts::default().iter() {
            let [connector, topic, partition] = labels;
            let _ = self.all.batches.remove_label_values(&[connector, topic, partition, plan, reason]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(registry: &Registry) -> String {
        prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    #[test]
    fn a_lanes_numbers_are_shown_while_it_is_there() {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).unwrap();
        let lane = metrics.lane(&"c".parse().unwrap(), &"t".parse().unwrap(), 3);
        lane.records.inc_by(5);
        lane.lag_seconds.set(1.5);
        let labels = r#"{connector="c",partition="3",topic="t"}"#;
        let text = shown(&registry);
        assert!(text.contains(&format!("copyist_lane_records_total{labels} 5")), "{text}");
        assert!(text.contains(&format!("copyist_lane_lag_seconds{labels} 1.5")), "{text}");
        for name in ["bytes_total", "lag_records", "stall_age_seconds"] {
            assert!(text.contains(&format!("copyist_lane_{name}{labels} 0")), "{name}: {text}");
        }
        drop(lane);
        assert!(!shown(&registry).contains("topic="), "{}", shown(&registry));
    }

    #[test]
    fn names_are_registered_once() {
        let registry = Registry::new();
        Metrics::register(&registry).unwrap();
        assert!(Metrics::register(&registry).is_err());
    }
}
