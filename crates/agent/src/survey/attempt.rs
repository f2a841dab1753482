//! One full survey: look at both clusters, make the destination fit, look again.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::{ConnectorSpec, EngineChoice, TopicName};

use super::blueprint::Blueprint;
use super::cluster::{Cluster, Kept};
use super::configs::{self, Configs};
use super::create;
use super::identity::Identities;
use super::plan::{Ground, NewTopic, Plan};
use super::remark::{Problem, Remark, Remarks, Wait, Warning};
use super::view::ClusterView;
use crate::client::resolve::{Clients, Resolver};
use crate::engine::choice;
use crate::error::{Error, chain};
use crate::job::{Findings, Order};
use crate::worker::Worker;

/// What a survey found, made ready, and has to say.
pub struct Survey {
    pub findings: Findings,
    /// What holds at the moment.
    pub remarks: Remarks,
    /// Where topics that this survey created are not as wished.
    pub compromises: Remarks,
}

/// The two clusters of a connector, kept from one survey to the next.
pub struct Clusters {
    source: Kept,
    destination: Kept,
    resolver: Resolver,
    /// Those of the last survey.
    clients: Option<Clients>,
    identities: Identities,
}

impl Default for Clusters {
    fn default() -> Self {
        Self {
            source: Kept::new("source"),
            destination: Kept::new("destination"),
            resolver: Resolver::default(),
            clients: None,
            identities: Identities::default(),
        }
    }
}

impl Clusters {
    /// # Errors
    /// When a cluster does not answer or refuses: the text names it. Both are tried and named.
    pub async fn survey(&mut self, worker: &Worker, order: &Order) -> Result<Survey, Error> {
        let clients = self.resolver.resolve(worker, &order.spec).await?;
        let clients = &*self.clients.insert(clients);
        let surveyed = async {
            let reached = tokio::join!(
                self.source.reach(&clients.source),
                self.destination.reach(&clients.destination_admin)
            );
            let (source, destination) = both(reached.0, reached.1)?;
            survey(worker, order, source, destination).await
        };
        let (surveyed, told) = tokio::join!(surveyed, self.identities.ask(&order.spec.zookeepers));
        self.source.rest();
        self.destination.rest();
        let mut surveyed = surveyed?;
        told.compare(&surveyed.findings)
            .into_iter()
            .for_each(|warning| surveyed.remarks.add_general(warning));
        Ok(surveyed)
    }

    /// Which engine copies, and why; empty before a survey.
    #[must_use]
    pub fn engine(&self, asked: EngineChoice) -> String {
        let Some(clients) = &self.clients else { return String::new() };
        let (choice, why) = choice::choose(asked, &clients.source, &clients.destination, "");
        choice.sentence(&why)
    }
}

async fn survey(
    worker: &Worker,
    order: &Order,
    source: &mut Cluster,
    destination: &mut Cluster,
) -> Result<Survey, Error> {
    let spec = &order.spec;
    let (source_view, destination_view) = tokio::join!(source.view(), destination.view());
    let (source_view, destination_view) = both(source_view, destination_view)?;
    let storage = storage_topics(worker);
    let ground = Ground { spec, source: &source_view, destination: &destination_view, storage: &storage };
    let plan = Plan::make(&ground);
    let fitted = match fit(source, destination, &ground, &plan).await {
        Ok(fitted) => fitted,
        Err(error) => unfitted(&error, &destination_view, &plan),
    };
    let findings = Findings {
        generation: order.generation,
        source_cluster: source_view.id.clone(),
        destination_cluster: destination_view.id.clone(),
        topics: plan.found(&fitted.destination),
    };
    let (compromises, made) = fitted.remarks.split_warnings();
    let mut remarks = plan.remarks;
    remarks.extend(made);
    Ok(Survey { findings, remarks, compromises })
}

fn storage_topics(worker: &Worker) -> BTreeSet<TopicName> {
    [&worker.offset_storage, &worker.config_storage, &worker.status_storage]
        .map(|topic| topic.name.clone())
        .into()
}

/// Both, or what is wrong with each that is missing.
fn both<A, B>(source: Result<A, Error>, destination: Result<B, Error>) -> Result<(A, B), Error> {
    match (source, destination) {
        (Ok(source), Ok(destination)) => Ok((source, destination)),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => Err(error),
        (Err(source), Err(destination)) => {
            let what = format!("{}; {}", chain(&source), chain(&destination));
            match (source, destination) {
                (Error::Retry { .. }, Error::Retry { .. }) => Err(Error::Retry { what, source: None }),
                (Error::Stuck(_), _) | (_, Error::Stuck(_)) => Err(Error::Stuck(what)),
            }
        }
    }
}

/// The destination after a plan was carried out, with only what is ready of what was changed.
struct Fitted {
    destination: ClusterView,
    remarks: Remarks,
}

/// Creates and grows what the plan says.
async fn fit(
    source: &Cluster,
    destination: &mut Cluster,
    ground: &Ground<'_>,
    plan: &Plan,
) -> Result<Fitted, Error> {
    let mut remarks = Remarks::default();
    if plan.create.is_empty() && plan.grow.is_empty() {
        return Ok(Fitted { destination: ground.destination.clone(), remarks });
    }
    let mut changed = plan.grow.clone();
    if !plan.create.is_empty() {
        let blueprints = blueprints(source, destination, ground.spec, &plan.create, &mut remarks).await?;
        changed.extend(blueprints.iter().map(|(name, blueprint)| (name.clone(), blueprint.partitions)));
        remarks.extend(create::create(destination, ground.destination.brokers, &blueprints).await?);
    }
    if !plan.grow.is_empty() {
        remarks.extend(create::grow(destination, &plan.grow).await?);
    }
    changed.retain(|name, _| !remarks.hold(name));
    let mut view = create::await_leaders(destination, &changed).await?;
    for (name, partitions) in changed {
        let led = view.led(&name);
        if led < partitions {
            remarks.add(Wait::NotReady { why: "not every partition has a leader".to_owned() }, &name);
        }
        if let Some(topic) = view.topics.get_mut(&name) {
            topic.partitions = led;
        }
    }
    Ok(Fitted { destination: view, remarks })
}

/// What is there goes on while a cluster does not let the rest be made.
fn unfitted(error: &Error, destination: &ClusterView, plan: &Plan) -> Fitted {
    let remark: Remark = match error {
        Error::Retry { .. } => Wait::NotReady { why: chain(error) }.into(),
        Error::Stuck(why) => Problem::CreationRefused { why: why.clone() }.into(),
    };
    let mut remarks = Remarks::default();
    plan.create.keys().chain(plan.grow.keys()).for_each(|name| remarks.add(remark.clone(), name));
    Fitted { destination: destination.clone(), remarks }
}

/// What to create, with the configs that the source shows.
async fn blueprints(
    source: &Cluster,
    destination: &Cluster,
    spec: &ConnectorSpec,
    topics: &BTreeMap<TopicName, NewTopic>,
    remarks: &mut Remarks,
) -> Result<BTreeMap<TopicName, Blueprint>, Error> {
    let sources: BTreeSet<&TopicName> = topics.values().flat_map(|topic| &topic.sources).collect();
    let sources: Vec<&TopicName> = sources.into_iter().collect();
    let shown = source.configs_of(&sources).await?;
    let untold = shown.is_none();
    let no_configs = || sources.iter().map(|source| ((*source).clone(), Configs::new())).collect();
    let shown = shown.unwrap_or_else(no_configs);
    let Some(any) = topics.keys().next() else { return Ok(BTreeMap::new()) };
    let limits = create::timestamp_limits(destination, any).await?;
    let mut blueprints = BTreeMap::new();
    for (name, topic) in topics {
        let known: Vec<&Configs> = topic.sources.iter().filter_map(|source| shown.get(source)).collect();
        if known.len() < topic.sources.len() {
            let hidden = topic.sources.iter().filter(|source| !shown.contains_key(*source));
            hidden.for_each(|source| remarks.add(Problem::ConfigsUnreadable, source));
            continue;
        }
        let (common, names) = configs::agreed(&known);
        if !names.is_empty() {
            remarks.add(Warning::ConfigsDiffer { names }, name);
        }
        if untold {
            remarks.add(Warning::ConfigsUntold, name);
        }
        let factor = topic.replication_factor;
        let configs = configs::of_created(&common, &spec.creation, limits, factor);
        let blueprint = Blueprint { partitions: topic.partitions, replication_factor: factor, configs };
        blueprints.insert(name.clone(), blueprint);
    }
    Ok(blueprints)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::course::Again;

    fn retry(what: &str) -> Result<(), Error> {
        Err(Error::Retry { what: what.into(), source: None })
    }

    fn stuck(what: &str) -> Result<(), Error> {
        Err(Error::Stuck(what.into()))
    }

    #[test]
    fn both_ends_are_named_and_a_refusal_outweighs_an_outage() {
        let rows = [
            (retry("s"), Ok(()), false, "s"),
            (Ok(()), stuck("d"), true, "d"),
            (retry("s"), retry("d"), false, "s; d"),
            (retry("s"), stuck("d"), true, "s; d"),
            (stuck("s"), retry("d"), true, "s; d"),
        ];
        for (source, destination, is_stuck, text) in rows {
            let error = both(source, destination).unwrap_err();
            assert_eq!((matches!(error, Error::Stuck(_)), error.to_string().as_str()), (is_stuck, text));
        }
        assert!(both(Ok(()), Ok(())).is_ok());
    }

    #[test]
    fn what_is_there_goes_on_when_the_rest_cannot_be_made() {
        let topic = |name: &str| name.parse::<TopicName>().unwrap();
        let view = ClusterView { id: "B".parse().unwrap(), brokers: 1, topics: BTreeMap::new() };
        let plan = Plan { grow: [(topic("g"), 2)].into(), ..Plan::default() };
        for (error, problem) in [(retry("later"), false), (stuck("never"), true)] {
            let fitted = unfitted(&error.unwrap_err(), &view, &plan);
            assert_eq!(fitted.destination, view);
            assert!(fitted.remarks.hold(&topic("g")));
            let again = if problem { Again::AtPoll } else { Again::Soon };
            assert_eq!((fitted.remarks.has_problem(), fitted.remarks.again()), (problem, again));
        }
    }
}
