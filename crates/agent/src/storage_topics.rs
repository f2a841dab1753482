//! The worker's own topics (Connect's `offset.storage.topic`, `config.storage.topic`, `status.storage.topic`):
//! there, and compacted, before anything is kept in them; and what Connect's tools find in the last two, which the fleet's
//! scribe writes.
//!
//! [`records`] has the bytes, [`fleet`] what the fleet has, [`kept`] what a topic holds, [`plan`] the difference: pure.
//! [`scribe`] is the shell around them.

pub(crate) mod fleet;
pub(crate) mod kept;
pub(crate) mod plan;
pub(crate) mod records;
pub(crate) mod scribe;

use std::collections::BTreeMap;

use copyist_model::{ClusterId, TopicName};

use crate::error::Error;
use crate::survey::blueprint::Blueprint;
use crate::survey::cluster::Cluster;
use crate::survey::configs::Configs;
use crate::survey::create;
use crate::survey::remark::{Remark, Remarks};
use crate::worker::{StorageTopic, Worker};

const CLEANUP_POLICY: &str = "cleanup.policy";
const COMPACT: &str = "compact";

/// Creates those that are missing in the worker's cluster, checks those that are there, and tells which cluster
/// it is. Others may do the same at the same time.
///
/// # Errors
/// [`Error::Retry`] when the cluster does not answer, or its topics are not ready yet; [`Error::Stuck`] when a topic
/// is not compacted, or may not be created.
pub async fn ensure(worker: &Worker) -> Result<ClusterId, Error> {
    let mut cluster = Cluster::connect("worker's", &worker.cluster).await?;
    let view = cluster.view().await?;
    let (there, missing): (Vec<_>, Vec<_>) =
        storage(worker).into_iter().partition(|(_, topic)| view.topics.contains_key(&topic.name));
    if !missing.is_empty() {
        let blueprints = missing.iter().map(|(_, topic)| (topic.name.clone(), blueprint(topic))).collect();
        let remarks = create::create(&cluster, view.brokers, &blueprints).await?;
        report(&remarks)?;
        await_created(&mut cluster, &blueprints).await?;
    }
    let mut wrong = Vec::new();
    for (key, topic) in there {
        let policy = cluster.effective_config(&topic.name, CLEANUP_POLICY).await?;
        match policy.as_deref() {
            Some(COMPACT) => (),
            Some(other) => wrong.push(format!(
                "{key} {} has cleanup.policy={other}, which forgets what is kept in it; it must be \
                 cleanup.policy=compact, or another topic",
                topic.name
            )),
            None => {
                tracing::warn!(topic = %topic.name, "the configs of {key} may not be read: is it compacted?")
            }
        }
    }
    if wrong.is_empty() { Ok(cluster.id().clone()) } else { Err(Error::Stuck(wrong.join("; "))) }
}

fn storage(worker: &Worker) -> [(&'static str, &StorageTopic); 3] {
    [
        ("offset.storage.topic", &worker.offset_storage),
        ("config.storage.topic", &worker.config_storage),
        ("status.storage.topic", &worker.status_storage),
    ]
}

fn blueprint(topic: &StorageTopic) -> Blueprint {
    let configs: Configs = [(CLEANUP_POLICY.to_owned(), COMPACT.to_owned())].into();
    Blueprint { partitions: topic.partitions, replication_factor: topic.replication_factor, configs }
}

/// A warning goes to the log; anything worse is an error.
fn report(remarks: &Remarks) -> Result<(), Error> {
    for (remark, topics) in remarks.iter() {
        if matches!(remark, Remark::Warning(_)) {
            tracing::warn!("storage topics: {}", remark.sentence(topics));
        }
    }
    let text = || format!("storage topics: {}", remarks.trace());
    if remarks.has_problem() {
        return Err(Error::Stuck(text()));
    }
    if remarks.has_wait() {
        return Err(Error::Retry { what: text(), source: None });
    }
    Ok(())
}

async fn await_created(cluster: &mut Cluster, created: &BTreeMap<TopicName, Blueprint>) -> Result<(), Error> {
    // Whoever else created one may have given it other partitions: one of them shows that it is there.
    let wanted = created.keys().map(|name| (name.clone(), 1)).collect();
    let view = create::await_leaders(cluster, &wanted).await?;
    let late: Vec<&str> = wanted.keys().filter(|name| view.led(name) == 0).map(TopicName::as_str).collect();
    if late.is_empty() {
        return Ok(());
    }
    Err(Error::Retry {
        what: format!("storage topics without a leader so far: {}", late.join(", ")),
        source: None,
    })
}
