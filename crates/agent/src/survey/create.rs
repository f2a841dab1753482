//! Makes topics at a cluster, and gives way where the cluster does not take them as wished.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use copyist_model::TopicName;
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::{Instant, sleep};

use super::blueprint::{Blueprint, Reaction, explained, needs_human, refuses_configs};
use super::cluster::{Cluster, Mode};
use super::configs::{Configs, TimestampLimits};
use super::remark::{Problem, Remarks, Wait, Warning};
use super::view::ClusterView;
use crate::error::Error;

/// How often one topic is asked for in other words: with fewer replicas, with fewer configs, and once to spare.
const REFITS_MAX: usize = 3;
/// Longest wait for the leaders of new partitions; what is not there then is looked for by the next survey.
const READY_DEADLINE: Duration = Duration::from_secs(15);
const READY_POLL_FIRST: Duration = Duration::from_millis(50);
const READY_POLL_MAX: Duration = Duration::from_secs(1);

/// Creates `topics`.
///
/// # Errors
/// When the cluster does not answer. What it says about single topics is in the remarks.
pub async fn create(
    cluster: &Cluster,
    brokers: u16,
    topics: &BTreeMap<TopicName, Blueprint>,
) -> Result<Remarks, Error> {
    let mut remarks = Remarks::default();
    let answers = cluster.create(topics, Mode::Perform).await?;
    for (name, blueprint) in topics {
        let answer = answers.get(name).copied().unwrap_or(Err(RDKafkaErrorCode::Unknown));
        let created = settle(cluster, brokers, name, blueprint.clone(), answer, &mut remarks).await?;
        if let Some(Blueprint { partitions, replication_factor, .. }) = created {
            tracing::info!(topic = %name, partitions, replication_factor, "topic created");
        }
    }
    Ok(remarks)
}

/// Follows an answer until the topic is there or nothing more can be done; returns what it was created as.
async fn settle(
    cluster: &Cluster,
    brokers: u16,
    name: &TopicName,
    mut blueprint: Blueprint,
    mut answer: Result<(), RDKafkaErrorCode>,
    remarks: &mut Remarks,
) -> Result<Option<Blueprint>, Error> {
    let wished = blueprint.clone();
    for _ in 0..=REFITS_MAX {
        match blueprint.reaction(answer, brokers) {
            Reaction::Done if answer.is_ok() => {
                remarks.extend(compromises(name, &wished, &blueprint));
                return Ok(Some(blueprint));
            }
            Reaction::Done => return Ok(None),
            Reaction::BoundFactor(factor) => blueprint.bound_factor(factor),
            Reaction::DropConfigs => blueprint.configs = accepted(cluster, name, &blueprint).await?,
            Reaction::Refused(why) => {
                remarks.add(Problem::CreationRefused { why }, name);
                return Ok(None);
            }
            Reaction::Later(why) => {
                remarks.add(Wait::NotReady { why }, name);
                return Ok(None);
            }
        }
        answer = ask(cluster, name, &blueprint, Mode::Perform).await?;
    }
    remarks.add(Wait::NotReady { why: "it was refused in each form".to_owned() }, name);
    Ok(None)
}

/// The configs that the cluster takes, tried one after the other: it says that one is wrong, not which.
async fn accepted(cluster: &Cluster, name: &TopicName, blueprint: &Blueprint) -> Result<Configs, Error> {
    let mut trial = Blueprint { configs: Configs::new(), ..blueprint.clone() };
    for (config, value) in &blueprint.configs {
        trial.configs.insert(config.clone(), value.clone());
        let answer = ask(cluster, name, &trial, Mode::Validate).await?;
        if answer.is_err_and(refuses_configs) {
            trial.configs.remove(config);
        }
    }
    Ok(trial.configs)
}

async fn ask(
    cluster: &Cluster,
    name: &TopicName,
    blueprint: &Blueprint,
    mode: Mode,
) -> Result<Result<(), RDKafkaErrorCode>, Error> {
    let one = [(name.clone(), blueprint.clone())].into();
    let answers = cluster.create(&one, mode).await?;
    Ok(answers.get(name).copied().unwrap_or(Err(RDKafkaErrorCode::Unknown)))
}

fn compromises(name: &TopicName, wished: &Blueprint, created: &Blueprint) -> Remarks {
    let mut remarks = Remarks::default();
    let (wanted, factor) = (wished.replication_factor, created.replication_factor);
    if wanted != factor {
        remarks.add(Warning::FactorBounded { wanted, created: factor }, name);
    }
    let refused = wished.configs.keys().filter(|config| !created.configs.contains_key(*config)).cloned();
    let names: BTreeSet<String> = refused.collect();
    if !names.is_empty() {
        remarks.add(Warning::ConfigsRefused { names }, name);
    }
    remarks
}

/// How the cluster names its limits on timestamps, found out by offering them for a topic that is to be created.
///
/// # Errors
/// When the cluster does not answer.
pub async fn timestamp_limits(cluster: &Cluster, name: &TopicName) -> Result<TimestampLimits, Error> {
    for limits in [TimestampLimits::BeforeAndAfter, TimestampLimits::Difference] {
        let trial = Blueprint { partitions: 1, replication_factor: 1, configs: limits.opened() };
        if !ask(cluster, name, &trial, Mode::Validate).await?.is_err_and(refuses_configs) {
            return Ok(limits);
        }
    }
    Ok(TimestampLimits::Unknown)
}

/// Adds partitions: `topics` gives the number to have.
///
/// # Errors
/// When the cluster does not answer. What it says about single topics is in the remarks.
pub async fn grow(cluster: &Cluster, topics: &BTreeMap<TopicName, u32>) -> Result<Remarks, Error> {
    let mut remarks = Remarks::default();
    for (name, answer) in cluster.grow(topics).await? {
        match answer {
            Ok(()) => tracing::info!(topic = %name, partitions = topics.get(&name), "partitions added"),
            // Somebody else was quicker.
            Err(RDKafkaErrorCode::InvalidPartitions) => (),
            Err(code) if needs_human(code) => {
                remarks.add(Problem::GrowthRefused { why: explained(code) }, &name);
            }
            Err(code) => remarks.add(Wait::NotReady { why: code.to_string() }, &name),
        }
    }
    Ok(remarks)
}

/// Looks until each of `topics` has as many partitions with a leader, or the deadline; returns the last look.
///
/// # Errors
/// When the cluster does not answer.
pub async fn await_leaders(
    cluster: &mut Cluster,
    topics: &BTreeMap<TopicName, u32>,
) -> Result<ClusterView, Error> {
    let deadline = Instant::now() + READY_DEADLINE;
    let mut pause = READY_POLL_FIRST;
    loop {
        let view = cluster.view().await?;
        let ready = topics.iter().all(|(name, partitions)| view.led(name) >= *partitions);
        if ready || Instant::now() >= deadline {
            return Ok(view);
        }
        sleep(pause).await;
        pause = (pause * 2).min(READY_POLL_MAX);
    }
}
