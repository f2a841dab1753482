//! Lanes are only added as long as the tasks of a connector are of one number, and each is in one task.

use std::collections::{BTreeMap, BTreeSet};

use copyist_coordinator::core::Write;
use copyist_coordinator::core::view::Task;
use copyist_model::{ConnectorGeneration, ConnectorName, TaskId, TopicName};

use super::{Fact, Invariant, Truth};

type Lanes = BTreeSet<(TopicName, i32)>;

#[derive(Default)]
pub struct Growth {
    tasks: BTreeMap<TaskId, (ConnectorGeneration, Lanes)>,
}

impl Invariant for Growth {
    fn name(&self) -> &'static str {
        "lanes are only added"
    }

    fn observe(&mut self, truth: &Truth, fact: &Fact) -> Option<String> {
        let writes = match fact {
            Fact::Stored { writes, .. } => writes,
            Fact::Restored { .. } => {
                let tasks = truth.store.view.tasks.iter();
                self.tasks =
                    tasks.map(|(id, task)| (id.clone(), (task.generation, lanes_of(task)))).collect();
                return None;
            }
            _ => return None,
        };
        let mut grown = BTreeSet::new();
        for write in writes {
            let Write::Task(id, task) = write else { continue };
            grown.insert(id.connector.clone());
            let Some(task) = task else {
                self.tasks.remove(id);
                continue;
            };
            let lanes = lanes_of(task);
            if let Some((generation, before)) = self.tasks.get(id)
                && *generation == task.generation
                && let Some((topic, partition)) = before.difference(&lanes).next()
            {
                return Some(format!("task {}-{} lost {topic}-{partition}", id.connector, id.number));
            }
            self.tasks.insert(id.clone(), (task.generation, lanes));
        }
        grown.iter().find_map(|name| self.judge(truth, name))
    }
}

fn lanes_of(task: &Task) -> Lanes {
    task.lanes.iter().map(|(topic, at, ..)| (topic.clone(), at)).collect()
}

impl Growth {
    fn judge(&self, truth: &Truth, name: &ConnectorName) -> Option<String> {
        let mut seen: BTreeMap<&(TopicName, i32), u32> = BTreeMap::new();
        let tasks: Vec<_> = self.tasks.iter().filter(|(id, _)| id.connector == *name).collect();
        for (expected, (id, (_, lanes))) in (0..).zip(&tasks) {
            // A row of commits may end a connector's tasks.
            let connector = truth.store.view.connectors.get(name)?;
            if !connector.deleting && connector.tasks_are_current() && id.number != expected {
                return Some(format!("tasks of {name} are not numbered without a gap"));
            }
            for lane in lanes {
                if let Some(other) = seen.insert(lane, id.number) {
                    let (topic, partition) = lane;
                    return Some(format!(
                        "{topic}-{partition} is in {name}-{other} and {name}-{}",
                        id.number
                    ));
                }
            }
        }
        let bound = truth.store.view.connectors.get(name)?.spec.as_ref().ok()?.tasks_bound() as usize;
        let is_current = truth.store.view.connectors.get(name)?.tasks_are_current();
        (is_current && tasks.len() > bound)
            .then(|| format!("{} tasks of {name}, at most {bound}", tasks.len()))
    }
}
