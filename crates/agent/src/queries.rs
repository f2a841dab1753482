//! Answers what the coordinator asks of an agent: details are asked for, not pushed.

use std::collections::BTreeMap;
use std::time::Duration;

use copyist_model::{ConnectorName, LaneGeneration, LaneId};
use copyist_proto::control as wire;
use copyist_proto::control::answer::Answer as Found;
use copyist_proto::control::query::Question;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, chain};
use crate::positions::known::Generations;
use crate::positions::{Positions, Remembered, Stored, format};

/// Questions that may wait, as many as a coordinator asks at once; they are answered one after the other.
pub const QUERIES_MAX: usize = 64;

/// One that has waited longer is not begun: who asked may have given up, and done something else.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// A question, and when it came.
pub type Asked = (Instant, wire::Query);

/// The coordinator waits a little longer.
const DEADLINE: Duration = Duration::from_secs(25);

/// Of one message: half of what the contract allows.
const MESSAGE_BYTES_MAX: usize = 512 << 10;

/// At most 520 bytes each.
const TOPICS_PER_MESSAGE: usize = 1_000;

/// Of an offset in a message, beside its texts.
const OFFSET_OVERHEAD_BYTES: usize = 32;

/// Answers until `stop`, or until nobody can ask any more.
pub async fn serve(
    positions: Positions,
    mut asked: mpsc::Receiver<Asked>,
    answers: mpsc::Sender<wire::Answer>,
    stop: CancellationToken,
) {
    while let Some(Some((came, query))) = stop.run_until_cancelled(asked.recv()).await {
        if came.elapsed() > WAIT_MAX {
            let late = "the agent had too many questions before this one".to_owned();
            for answer in messages(query.id, Err(late)) {
                let _ = stop.run_until_cancelled(answers.send(answer)).await;
            }
            continue;
        }
        let found = tokio::time::timeout(DEADLINE, found(&positions, query.question));
        let found = match stop.run_until_cancelled(found).await {
            Some(Ok(Ok(found))) => Ok(found),
            Some(Ok(Err(error))) => Err(error),
            Some(Err(_)) => Err(late(&positions)),
            None => return,
        };
        for answer in messages(query.id, found) {
            // A session that takes no answers ends, and who asked is told so.
            if !matches!(stop.run_until_cancelled(answers.send(answer)).await, Some(Ok(()))) {
                return;
            }
        }
    }
}

fn late(positions: &Positions) -> String {
    let seconds = DEADLINE.as_secs();
    match positions.waits_for().or_else(|| positions.trouble()) {
        Some(what) => format!("not within {seconds} s: the agent waits for {what}"),
        None => format!("not within {seconds} s"),
    }
}

/// The parts of an answer, each small enough for a message; or why there is none.
async fn found(positions: &Positions, question: Option<Question>) -> Result<Vec<Found>, String> {
    match question {
        Some(Question::Offsets(wire::OffsetsQuestion { connector, altered })) => {
            let connector = named(&connector)?;
            let all =
                positions.all_now(&connector, generations(altered)?).await.map_err(|error| chain(&error))?;
            Ok(offsets(&stored(all)))
        }
        Some(Question::AlterOffsets(question)) => {
            let before = alter(positions, question).await?;
            Ok(vec![Found::AlterOffsets(wire::AlterOffsetsAnswer { before })])
        }
        Some(Question::Topics(wire::TopicsQuestion { connector })) => {
            let connector = named(&connector)?;
            let all = positions.all(&connector, Generations::new()).await.map_err(|error| chain(&error))?;
            Ok(topics(&stored(all)))
        }
        Some(Question::Lanes(_)) | None => Err("this agent does not know the question".to_owned()),
    }
}

fn generations(altered: Vec<wire::LaneOffset>) -> Result<Generations, String> {
    let generation = |altered: wire::LaneOffset| {
        let lane = altered.lane.ok_or("a generation names no lane")?;
        let lane = LaneId::try_from(lane).map_err(|error| chain(&error))?;
        Ok((lane, LaneGeneration(altered.newest_generation)))
    };
    altered.into_iter().map(generation).collect()
}

fn stored(all: Vec<(LaneId, Remembered)>) -> Vec<(LaneId, Stored)> {
    all.into_iter().filter_map(|(lane, found)| Some((lane, found.stored?))).collect()
}

fn named(connector: &str) -> Result<ConnectorName, String> {
    connector.parse().map_err(|error: copyist_model::InvalidName| error.to_string())
}

/// Stores what is asked for; tells where the lanes concerned would have gone on before.
async fn alter(
    positions: &Positions,
    question: wire::AlterOffsetsQuestion,
) -> Result<Vec<wire::LaneOffset>, String> {
    let text = |error: Error| chain(&error);
    let connector = named(&question.connector)?;
    let known: BTreeMap<LaneId, Remembered> = positions
        .all_now(&connector, generations(question.altered)?)
        .await
        .map_err(text)?
        .into_iter()
        .collect();
    let changes: Vec<(LaneId, Option<Stored>)> = if question.remove_all {
        // Those that the coordinator knows may not have been read here.
        let named = question.changes.into_iter().map(change).collect::<Result<BTreeMap<_, _>, _>>()?;
        known.keys().chain(named.keys()).map(|lane| (lane.clone(), None)).collect()
    } else {
        question.changes.into_iter().map(change).collect::<Result<_, _>>()?
    };
    let before = changes.iter().filter_map(|(lane, _)| {
        let Remembered { stored, newest } = known.get(lane)?;
        let next_offset = stored.as_ref().map(|stored| stored.next_offset);
        Some(wire::LaneOffset { lane: Some(lane.into()), next_offset, newest_generation: newest.0 })
    });
    let before = before.collect();
    positions.write(changes).await.map_err(text)?;
    Ok(before)
}

fn change(change: wire::LaneOffset) -> Result<(LaneId, Option<Stored>), String> {
    let lane = change.lane.ok_or("a change names no lane")?;
    let lane = LaneId::try_from(lane).map_err(|error| chain(&error))?;
    Ok((lane, change.next_offset.map(Stored::plain)))
}

/// As they are stored, a message's worth at a time; one that is empty where there is none.
fn offsets(all: &[(LaneId, Stored)]) -> Vec<Found> {
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for (lane, stored) in all {
        let offset = wire::StoredOffset {
            partition_json: format::partition(lane),
            offset_json: format::value(stored),
        };
        bytes += offset.partition_json.len() + offset.offset_json.len() + OFFSET_OVERHEAD_BYTES;
        if bytes > MESSAGE_BYTES_MAX {
            parts.push(Vec::new());
            bytes = 0;
        }
        parts.last_mut().into_iter().for_each(|part| part.push(offset.clone()));
    }
    parts.into_iter().map(|offsets| Found::Offsets(wire::OffsetsAnswer { offsets })).collect()
}

/// What was copied of each topic, a message's worth at a time.
fn topics(all: &[(LaneId, Stored)]) -> Vec<Found> {
    let mut copied: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (lane, stored) in all {
        // A plain offset does not say how much of what is before it was copied here.
        let (destination, progress) = match &stored.exact {
            Some(exact) => (exact.record.destination.topic.as_str(), exact.position.n),
            None => ("", stored.next_offset),
        };
        if progress > 0 {
            let sum = copied.entry((lane.topic.as_str(), destination)).or_default();
            *sum = sum.saturating_add(progress.unsigned_abs());
        }
    }
    let topic = |((topic, destination), progress): (&(&str, &str), &u64)| wire::CopiedTopic {
        topic: (*topic).to_owned(),
        destination: (*destination).to_owned(),
        progress: *progress,
    };
    let copied: Vec<wire::CopiedTopic> = copied.iter().map(topic).collect();
    let part = |topics: &[wire::CopiedTopic]| Found::Topics(wire::TopicsAnswer { topics: topics.to_vec() });
    copied.chunks(TOPICS_PER_MESSAGE).map(part).collect()
}

fn messages(query_id: u64, found: Result<Vec<Found>, String>) -> Vec<wire::Answer> {
    let answer = |error, answer, more| wire::Answer { query_id, error, answer, more };
    match found {
        Ok(parts) if parts.is_empty() => vec![answer(String::new(), None, false)],
        Ok(parts) => {
            let last = parts.len().saturating_sub(1);
            let part = |(at, found)| answer(String::new(), Some(found), at < last);
            parts.into_iter().enumerate().map(part).collect()
        }
        Err(why) => vec![answer(why, None, false)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(partition: i32) -> LaneId {
        LaneId {
            connector: "c".parse().unwrap(),
            source_cluster: "k".parse().unwrap(),
            topic: "t".parse().unwrap(),
            partition,
        }
    }

    #[test]
    fn offsets_are_told_as_they_are_stored_in_as_many_messages_as_it_takes() {
        let all: Vec<_> = (0..12_000).map(|partition| (lane(partition), Stored::plain(42))).collect();
        let answers = messages(7, Ok(offsets(&all)));
        let (last, others) = answers.split_last().unwrap();
        assert!(others.len() > 1 && others.iter().all(|answer| answer.more) && !last.more);
        let mut told = Vec::new();
        for answer in &answers {
            let Some(Found::Offsets(part)) = &answer.answer else { panic!("{answer:?}") };
            let bytes = part.offsets.iter().map(|it| it.partition_json.len() + it.offset_json.len());
            assert!(bytes.sum::<usize>() <= MESSAGE_BYTES_MAX && answer.query_id == 7);
            told.extend(part.offsets.clone());
        }
        assert_eq!(told.len(), all.len());
        assert_eq!(told[3].partition_json, r#"{"cluster":"k","partition":3,"topic":"t"}"#);
        assert_eq!(told[3].offset_json, r#"{"offset":41}"#);
        let nothing = messages(8, Ok(offsets(&[])));
        assert!(matches!(&nothing[..], [answer] if !answer.more && answer.error.is_empty()), "{nothing:?}");
    }

    #[test]
    fn what_has_no_answer_says_why() {
        let told = messages(7, Err("why".to_owned()));
        assert_eq!(told, [wire::Answer { query_id: 7, error: "why".to_owned(), answer: None, more: false }]);
    }

    #[test]
    fn a_change_is_a_start_or_an_end() {
        let change = |next_offset| {
            super::change(wire::LaneOffset {
                lane: Some((&lane(1)).into()),
                next_offset,
                newest_generation: 0,
            })
        };
        assert_eq!(change(Some(5)), Ok((lane(1), Some(Stored::plain(5)))));
        assert_eq!(change(None), Ok((lane(1), None)));
        assert!(super::change(wire::LaneOffset::default()).is_err());
    }

    #[test]
    fn a_topic_was_copied_as_far_as_its_lanes_were() {
        let end = |topic: &str| copyist_model::LaneEnd {
            cluster: "k".parse().unwrap(),
            topic: topic.parse().unwrap(),
            topic_id: copyist_model::TopicId::NONE,
            partition: 0,
        };
        let generation = copyist_model::LaneGeneration(4);
        let record = copyist_model::LaneRecord {
            lane: lane(0),
            generation,
            engine: copyist_model::Engine::Raw,
            source: end("t"),
            destination: end("t.copy"),
            producer_id: 7,
            base_n: 1,
            base_offset: 2,
            base_source_offset: 3,
            shared: false,
        };
        let exact = |n| {
            let position = copyist_model::Position {
                generation,
                next_offset: 900,
                leader_epoch: -1,
                n,
                destination_offset: 0,
            };
            Stored::exact(position, record.clone())
        };
        let all =
            [(lane(0), exact(5)), (lane(1), exact(7)), (lane(2), exact(0)), (lane(3), Stored::plain(9))];
        let told = topics(&all);
        let [Found::Topics(part)] = &told[..] else { panic!("{told:?}") };
        let rows: Vec<_> =
            part.topics.iter().map(|it| (it.topic.as_str(), it.destination.as_str(), it.progress)).collect();
        assert_eq!(rows, [("t", "", 9), ("t", "t.copy", 12)]);
        let nothing = messages(1, Ok(topics(&[(lane(0), exact(0))])));
        assert!(matches!(&nothing[..], [answer] if answer.answer.is_none() && answer.error.is_empty()));
    }
}
