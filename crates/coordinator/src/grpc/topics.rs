//! A connector's active topics (KIP-558): those of which something was copied since the last reset, by what an agent finds
//! in the stored positions. So a topic becomes active with the first position behind a copied record, some seconds after it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use copyist_model::{ConnectorName, ConnectorSpec, TopicName};
use copyist_proto::control::answer::Answer as Found;
use copyist_proto::control::query::Question;
use copyist_proto::control::{CopiedTopic, TopicsQuestion};
use tonic::Status;

use super::details::status;
use crate::core::view::TopicMarks;
use crate::core::{Command, Core};
use crate::handle::Handle;

/// Long enough for an agent that has read the positions.
const LEFT_BEHIND_DEADLINE: Duration = Duration::from_millis(250);

/// What is known of a connector's topics here.
pub(super) struct Known {
    marks: TopicMarks,
    spec: Option<Arc<ConnectorSpec>>,
}

pub(super) fn known(core: &Core, name: &ConnectorName) -> Option<Known> {
    let connector = core.view().connectors.get(name)?;
    let marks = core.view().topic_marks.get(name).cloned().unwrap_or_default();
    Some(Known { marks, spec: connector.spec.clone().ok() })
}

/// The active topics, ordered.
pub(super) async fn get(handle: &Handle, name: &ConnectorName, known: Known) -> Result<Vec<String>, Status> {
    let copied = copied(handle, name, &known).await?;
    Ok(active(&copied, &known.marks).map(ToString::to_string).collect())
}

/// What a connector of before has copied under a name that is free; nothing where no agent says it soon: a creation does
/// not depend on it. Offsets to start from are left out: they do not count records.
pub(super) async fn left_behind(handle: &Handle, name: &ConnectorName) -> TopicMarks {
    let known = Known { marks: TopicMarks::new(), spec: None };
    let copied = tokio::time::timeout(LEFT_BEHIND_DEADLINE, copied(handle, name, &known)).await;
    copied.ok().and_then(Result::ok).unwrap_or_default()
}

/// A connector was created where another one of its name was before: its active topics are its own, its positions are not.
pub(super) async fn begin_anew(handle: &Handle, name: ConnectorName, marks: TopicMarks) {
    if !marks.is_empty()
        && let Err(failure) = handle.command(Command::ResetTopics { name: name.clone(), marks }).await
    {
        tracing::warn!(connector = %name, %failure, "active topics of an earlier connector of this name may be shown");
    }
}

/// No topic is active until more of it is copied.
pub(super) async fn reset(handle: &Handle, name: &ConnectorName, known: Known) -> Result<(), Status> {
    let marks = copied(handle, name, &known).await?;
    let command = Command::ResetTopics { name: name.clone(), marks };
    handle.command(command).await.map_err(|failure| status(&failure))?;
    Ok(())
}

fn active<'c>(copied: &'c TopicMarks, marks: &TopicMarks) -> impl Iterator<Item = &'c TopicName> {
    let is_active =
        |(topic, progress): &(&TopicName, &u64)| **progress > marks.get(*topic).copied().unwrap_or(0);
    copied.iter().filter(is_active).map(|(topic, _)| topic)
}

async fn copied(handle: &Handle, name: &ConnectorName, known: &Known) -> Result<TopicMarks, Status> {
    let question = Question::Topics(TopicsQuestion { connector: name.to_string() });
    let found = handle.ask(question).await.map_err(|failure| status(&failure))?;
    let parts = found.into_iter().filter_map(|part| match part {
        Found::Topics(part) => Some(part.topics),
        Found::Lanes(_) | Found::AlterOffsets(_) | Found::Offsets(_) => None,
    });
    Ok(by_destination(parts.flatten(), known.spec.as_deref()))
}

/// Where a position does not say where its records went, the config does.
fn by_destination(copied: impl Iterator<Item = CopiedTopic>, spec: Option<&ConnectorSpec>) -> TopicMarks {
    let mut topics = BTreeMap::new();
    for CopiedTopic { topic, destination, progress } in copied {
        let named = destination.parse::<TopicName>().ok();
        let renamed = || spec?.rename.apply(&topic.parse().ok()?).ok();
        if let Some(destination) = named.or_else(renamed) {
            let sum: &mut u64 = topics.entry(destination).or_default();
            *sum = sum.saturating_add(progress);
        }
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_active_by_its_destination_once_there_is_more_of_it_than_at_the_last_reset() {
        let config = [
            ("connector.class", "EMRReplicatorSourceConnector"),
            ("src.kafka.bootstrap.servers", "s:9092"),
            ("topic.regex", ".*"),
            ("topic.rename.format", "${topic}.copy"),
        ];
        let config = config.iter().map(|(key, value)| ((*key).into(), Some((*value).into()))).collect();
        let spec = copyist_connector::parse("c", &config).unwrap().spec;
        let topic = |topic: &str, destination: &str, progress| CopiedTopic {
            topic: topic.to_owned(),
            destination: destination.to_owned(),
            progress,
        };
        let told = || [topic("a", "", 5), topic("b", "b.old", 7), topic("c", "a.copy", 1), topic(" ", "", 1)];
        let copied = by_destination(told().into_iter(), Some(&spec));
        let expected =
            [("a.copy", 6), ("b.old", 7)].map(|(topic, progress)| (topic.parse().unwrap(), progress));
        assert_eq!(copied, expected.into());
        assert_eq!(by_destination(told().into_iter(), None).len(), 2, "those that positions name");
        let names = |marks: &TopicMarks| active(&copied, marks).map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&TopicMarks::new()), ["a.copy", "b.old"]);
        assert_eq!(names(&copied), Vec::<String>::new());
        let mark = |progress| TopicMarks::from([("b.old".parse().unwrap(), progress)]);
        assert_eq!(names(&mark(7)), ["a.copy"]);
        assert_eq!(names(&mark(6)), ["a.copy", "b.old"]);
    }
}
