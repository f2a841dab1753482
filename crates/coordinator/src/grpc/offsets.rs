//! A connector's offsets: asked of an agent, which reads and writes positions.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::{ConnectorName, LaneId};
use copyist_proto::connect as wire;
use copyist_proto::control::answer::Answer as Found;
use copyist_proto::control::query::Question;
use copyist_proto::control::{AlterOffsetsQuestion, LaneOffset, OffsetsQuestion};
use tonic::Status;

use super::details::status;
use crate::alteration::{self, Changes, Of};
use crate::core::{Command, Core, Failure, Removed};
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

/// The changes that are asked for; only a stopped connector's offsets change.
pub(super) fn asked(
    core: &Core,
    name: &ConnectorName,
    offsets: &[wire::ConnectorOffset],
) -> Result<Changes, Failure> {
    let connector = core.stopped(name)?;
    let source = connector.clusters.as_ref().map(|(source, _)| source);
    let of = Of { connector: name, source, spec: connector.spec.as_ref().ok().map(AsRef::as_ref) };
    alteration::read(&of, offsets).map_err(Failure::Invalid)
}

/// The removal of what has a record; there may be positions of others.
pub(super) fn all(core: &Core, name: &ConnectorName) -> Result<Changes, Failure> {
    core.stopped(name)?;
    Ok(core.view().lanes_of(name).map(|lane| (lane.clone(), None)).collect())
}

/// Changes offsets; returns what the user is to know of it.
pub(super) async fn alter(
    handle: &Handle,
    name: &ConnectorName,
    mut changes: Changes,
    is_reset: bool,
) -> Result<Option<String>, Status> {
    let removed = if is_reset {
        Removed::All
    } else {
        let removed = changes.iter().filter(|(_, next_offset)| next_offset.is_none());
        Removed::Lanes(removed.map(|(lane, _)| lane.clone()).collect::<BTreeSet<LaneId>>())
    };
    let by = uuid::Uuid::new_v4().to_string();
    let begin = Command::BeginAlteration { name: name.clone(), by: by.clone(), removed };
    handle.command(begin).await.map_err(|failure| status(&failure))?;
    // Where this fails it may happen yet: nobody may run the connector until that cannot be any more.
    let before = write(handle, name, &changes, is_reset).await.map_err(|failure| status(&failure))?;
    if is_reset {
        changes.extend(before.keys().map(|lane| (lane.clone(), None)));
    }
    let told = alteration::told(&changes, &before);
    let end = Command::EndAlteration { name: name.clone(), by, altered: told.clone().unwrap_or_default() };
    handle.command(end).await.map_err(|failure| status(&failure))?;
    Ok(told)
}

/// Has an agent write; where the lanes concerned would have gone on before.
async fn write(
    handle: &Handle,
    name: &ConnectorName,
    changes: &Changes,
    mut remove_all: bool,
) -> Result<BTreeMap<LaneId, i64>, Failure> {
    let changes: Vec<LaneOffset> = changes
        .iter()
        .map(|(lane, next_offset)| LaneOffset { lane: Some(lane.into()), next_offset: *next_offset })
        .collect();
    let mut before = BTreeMap::new();
    let mut chunks = changes.chunks(CHANGES_PER_QUESTION);
    let mut next = chunks.next();
    while next.is_some() || remove_all {
        let connector = name.to_string();
        let changes = next.unwrap_or_default().to_vec();
        let question = AlterOffsetsQuestion { connector, changes, remove_all };
        for found in handle.ask(Question::AlterOffsets(question)).await? {
            let Found::AlterOffsets(answer) = found else { continue };
            for LaneOffset { lane, next_offset } in answer.before {
                let lane = lane.and_then(|lane| LaneId::try_from(lane).ok());
                before.extend(lane.zip(next_offset));
            }
        }
        (next, remove_all) = (chunks.next(), false);
    }
    Ok(before)
}
