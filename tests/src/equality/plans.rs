//! How batches were planned, as the metrics say it.

use std::collections::BTreeMap;

/// `copyist_lane_batches_total` by topic, plan and reason.
#[derive(Clone, Debug, Default)]
pub struct Plans(BTreeMap<(String, String, String), u64>);

impl Plans {
    /// From the text that Prometheus reads.
    pub fn read(metrics: &str) -> Plans {
        let mut plans = Plans::default();
        let lines = metrics.lines().filter_map(|line| line.strip_prefix("copyist_lane_batches_total{"));
        for line in lines {
            let Some((labels, count)) = line.split_once("} ") else { continue };
            let label = |name: &str| {
                let begin = format!("{name}=\"");
                let at = labels.split_inclusive("\",").find_map(|label| label.strip_prefix(&begin));
                at.map(|text| text.trim_end_matches(',').trim_end_matches('"').to_owned()).unwrap_or_default()
            };
            let key = (label("topic"), label("plan"), label("reason"));
            *plans.0.entry(key).or_default() += count.parse::<u64>().unwrap_or_default();
        }
        plans
    }

    /// Batches of a topic.
    pub fn of(&self, topic: &str, plan: &str, reason: &str) -> u64 {
        self.0.get(&(topic.to_owned(), plan.to_owned(), reason.to_owned())).copied().unwrap_or_default()
    }

    /// Of all topics, in lines.
    pub fn table(&self) -> String {
        let mut sums: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for ((_, plan, reason), count) in &self.0 {
            *sums.entry((plan, reason)).or_default() += count;
        }
        let lines = sums.iter().map(|((plan, reason), count)| format!("  {plan} {reason}: {count}"));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A sum over the lanes of a connector.
pub fn sum_of(metrics: &str, name: &str, connector: &str) -> f64 {
    let lines = metrics.lines().filter(|line| {
        line.starts_with(&format!("{name}{{")) && line.contains(&format!("connector=\"{connector}\""))
    });
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_by_topic_plan_and_reason() {
        let text = "# HELP x\n\
                    copyist_lane_batches_total{connector=\"c\",partition=\"0\",plan=\"pass\",reason=\"\",topic=\"t\"} 3\n\
                    copyist_lane_batches_total{connector=\"c\",partition=\"1\",plan=\"pass\",reason=\"\",topic=\"t\"} 4\n\
                    copyist_lane_batches_total{connector=\"c\",partition=\"1\",plan=\"skip\",reason=\"control\",topic=\"t\"} 1\n\
                    copyist_lane_gaps_total{connector=\"c\",partition=\"1\",topic=\"t\"} 2\n";
        let plans = Plans::read(text);
        assert_eq!(plans.of("t", "pass", ""), 7);
        assert_eq!(plans.of("t", "skip", "control"), 1);
        assert_eq!(plans.of("u", "pass", ""), 0);
        assert!((sum_of(text, "copyist_lane_gaps_total", "c") - 2.0).abs() < f64::EPSILON);
    }
}
