//! A connector's offsets: asked of an agent, which reads and writes positions.

use std::collections::BTreeMap;

use copyist_model::{ConnectorName, LaneGeneration, LaneId};
use copyist_proto::connect as wire;
use copyist_proto::control::answer::Answer as Found;
use copyist_proto::control::query::Question;
use copyist_proto::control::{AlterOffsetsQuestion, LaneOffset, OffsetsQuestion};
use tonic::Status;

use super::details::status;
use crate::alteration::{self, Changes, Of};
use crate::core::{Altered, Answer, Command, Core, Failure, RequestId};
use crate::handle::Handle;

/// Changes in one question: a message stays well below 1 MiB.
const CHANGES_PER_QUESTION: usize = 1_000;

/// Of a message of 1 MiB, beside the changes. Of more lanes a position that lands late may be shown until they begin.
const ALTERED_PER_QUESTION: usize = 1_000;

/// The generations of a connector that are over, as offsets were changed, until others have begun.
pub(super) fn altered(core: &Core, name: &ConnectorName) -> Vec<LaneOffset> {
    let held = core.view().lanes.iter().filter(|(lane, _)| lane.connector == *name);
    let altered = held.filter_map(|(lane, held)| {
        let newest_generation = held.altered()?.0;
        Some(LaneOffset { lane: Some(lane.into()), next_offset: None, newest_generation })
    });
    altered.take(ALTERED_PER_QUESTION).collect()
}

/// Every position of a connector, as it is stored.
pub(super) async fn get(
    handle: &Handle,
    name: &ConnectorName,
    altered: Vec<LaneOffset>,
) -> Result<Vec<wire::ConnectorOffset>, Status> {
    let question = Question::Offsets(OffsetsQuestion { connector: name.to_string(), altered });
    let found = handle.ask(question).await.map_err(|failure| status(&failure))?;
    let parts = found.into_iter().filter_map(|part| match part {
        Found::Offsets(part) => Some(part.offsets),
        Found::Lanes(_) | Found::AlterOffsets(_) | Found::Topics(_) => None,
    });
    let offset = |stored: copyist_proto::control::StoredOffset| wire::ConnectorOffset {
        partition_json: stored.partition_json,
        offset_json: Some(stored.offset_json),
    };
    Ok(parts.flatten().map(offset).collect())
}

/// What a request for a change comes to before anything is done.
pub(super) enum Asked {
    Changes(Changes, Vec<LaneOffset>),
    /// It is a repetition: what the first one told.
    Before(String),
}

/// What is asked for: these offsets, or the removal of all. Only a stopped connector's offsets change.
pub(super) fn asked(
    core: &Core,
    request: &str,
    name: &ConnectorName,
    offsets: Option<&[wire::ConnectorOffset]>,
) -> Result<Asked, Failure> {
    if let Some(kept) = core.view().requests.get(request) {
        return match kept.answer.clone()? {
            Answer::Altered(told) => Ok(Asked::Before(told)),
            Answer::Done | Answer::Info { .. } | Answer::Status(_) => {
                Err(Failure::Conflict(format!("request id {request} is that of a request of another kind")))
            }
        };
    }
    let connector = core.stopped(name)?;
    if core.respondent().is_none() {
        return Err(Failure::Unavailable(
            "no agent is connected that could change offsets, try again".to_owned(),
        ));
    }
    let Some(offsets) = offsets else {
        // What the store knows of; there may be positions of others.
        let all = core.view().lanes_of(name).map(|lane| (lane.clone(), None)).collect();
        return Ok(Asked::Changes(all, altered(core, name)));
    };
    let source = connector.clusters.as_ref().map(|(source, _)| source);
    let of = Of { connector: name, source, spec: connector.spec.as_ref().ok().map(AsRef::as_ref) };
    let changes = alteration::read(&of, offsets).map_err(Failure::Invalid)?;
    Ok(Asked::Changes(changes, altered(core, name)))
}

/// What an agent found where it changed a connector's positions.
#[derive(Default)]
struct Before {
    /// Where lanes would have gone on.
    next_offsets: BTreeMap<LaneId, i64>,
    /// The newest generation of each lane that has any.
    generations: BTreeMap<LaneId, LaneGeneration>,
}

/// Changes offsets; returns what the user is to know of it.
pub(super) async fn alter(
    handle: &Handle,
    by: RequestId,
    name: &ConnectorName,
    (mut changes, altered): (Changes, Vec<LaneOffset>),
    is_reset: bool,
) -> Result<String, Status> {
    let by = if by.is_empty() { uuid::Uuid::new_v4().to_string() } else { by };
    // Where this fails it may happen yet: nobody may run the connector until that cannot be any more.
    let before = write(handle, name, &by, (&changes, &altered), is_reset).await;
    let before = before.map_err(|failure| status(&failure))?;
    if is_reset {
        changes.extend(before.next_offsets.keys().map(|lane| (lane.clone(), None)));
    }
    let told = alteration::told(&changes, &before.next_offsets).unwrap_or_default();
    let generation = |lane: &LaneId| before.generations.get(lane).copied().unwrap_or_default();
    let lanes = changes.keys().map(|lane| (lane.clone(), generation(lane))).collect();
    let altered = Altered { lanes, is_reset, told };
    let end = Command::EndAlteration { name: name.clone(), by, altered };
    match handle.command(end).await.map_err(|failure| status(&failure))? {
        Answer::Altered(told) => Ok(told),
        Answer::Done | Answer::Info { .. } | Answer::Status(_) => Ok(String::new()),
    }
}

/// Has an agent write, and says so before each part of it.
async fn write(
    handle: &Handle,
    name: &ConnectorName,
    by: &RequestId,
    (changes, altered): (&Changes, &[LaneOffset]),
    mut remove_all: bool,
) -> Result<Before, Failure> {
    let change = |(lane, next_offset): (&LaneId, &Option<i64>)| LaneOffset {
        lane: Some(lane.into()),
        next_offset: *next_offset,
        newest_generation: 0,
    };
    let changes: Vec<LaneOffset> = changes.iter().map(change).collect();
    let mut before = Before::default();
    let mut chunks = changes.chunks(CHANGES_PER_QUESTION);
    let mut next = chunks.next();
    while next.is_some() || remove_all {
        handle.command(Command::BeginAlteration { name: name.clone(), by: by.clone() }).await?;
        let connector = name.to_string();
        let changes = next.unwrap_or_default().to_vec();
        let altered = altered.to_vec();
        let question = AlterOffsetsQuestion { connector, changes, remove_all, altered };
        for found in handle.ask(Question::AlterOffsets(question)).await? {
            let Found::AlterOffsets(answer) = found else { continue };
            answer.before.into_iter().for_each(|found| before.hear(found));
        }
        (next, remove_all) = (chunks.next(), false);
    }
    Ok(before)
}

impl Before {
    fn hear(&mut self, found: LaneOffset) {
        let Some(lane) = found.lane.and_then(|lane| LaneId::try_from(lane).ok()) else { return };
        self.next_offsets.extend(found.next_offset.map(|next_offset| (lane.clone(), next_offset)));
        self.generations.insert(lane, LaneGeneration(found.newest_generation));
    }
}
