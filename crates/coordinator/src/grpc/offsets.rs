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

/// Every position of a connector, as it is stored.
pub(super) async fn get(handle: &Handle, name: &ConnectorName) -> Result<Vec<wire::ConnectorOffset>, Status> {
    let question = Question::Offsets(OffsetsQuestion { connector: name.to_string() });
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
    Changes(Changes),
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
        return kept.answer.clone().map(|answer| match answer {
            Answer::Altered(told) => Asked::Before(told),
            Answer::Done | Answer::Info { .. } | Answer::Status(_) => Asked::Before(String::new()),
        });
    }
    let connector = core.stopped(name)?;
    if core.respondent().is_none() {
        return Err(Failure::Unavailable(
            "no agent is connected that could change offsets, try again".to_owned(),
        ));
    }
    let Some(offsets) = offsets else {
        // What the store knows of; there may be positions of others.
        return Ok(Asked::Changes(core.view().lanes_of(name).map(|lane| (lane.clone(), None)).collect()));
    };
    let source = connector.clusters.as_ref().map(|(source, _)| source);
    let of = Of { connector: name, source, spec: connector.spec.as_ref().ok().map(AsRef::as_ref) };
    alteration::read(&of, offsets).map(Asked::Changes).map_err(Failure::Invalid)
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
    mut changes: Changes,
    is_reset: bool,
) -> Result<String, Status> {
    let by = if by.is_empty() { uuid::Uuid::new_v4().to_string() } else { by };
    let begin = Command::BeginAlteration { name: name.clone(), by: by.clone() };
    handle.command(begin).await.map_err(|failure| status(&failure))?;
    // Where this fails it may happen yet: nobody may run the connector until that cannot be any more.
    let before = write(handle, name, &changes, is_reset).await.map_err(|failure| status(&failure))?;
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

/// Has an agent write.
async fn write(
    handle: &Handle,
    name: &ConnectorName,
    changes: &Changes,
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
        let connector = name.to_string();
        let changes = next.unwrap_or_default().to_vec();
        let question = AlterOffsetsQuestion { connector, changes, remove_all };
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
