//! What to copy where, and what the destination lacks for it: decided from what both clusters say.

use std::collections::{BTreeMap, BTreeSet};

use copyist_model::{ConnectorSpec, Destination, TopicName};

use super::remark::{Note, Problem, Remark, Remarks, Wait, Warning};
use super::view::{ClusterView, TopicView};
use crate::job::FoundTopic;

/// Topics that a broker keeps for itself and lets no producer write to.
const BROKER_TOPICS: [&str; 4] =
    ["__consumer_offsets", "__transaction_state", "__share_group_state", "__cluster_metadata"];

/// Kafka's mark of an internal topic.
const INTERNAL_PREFIX: &str = "__";

/// What a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    pub spec: &'a ConnectorSpec,
    pub source: &'a ClusterView,
    pub destination: &'a ClusterView,
    /// The worker's own topics, in the worker's cluster.
    pub storage: &'a BTreeSet<TopicName>,
}

/// A source topic on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub source: TopicName,
    pub destination: TopicName,
    pub partitions: u32,
    pub literal: bool,
}

/// A destination topic to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    pub partitions: u32,
    /// As wished; the destination may have fewer brokers.
    pub replication_factor: u16,
    /// Whose configs it gets.
    pub sources: Vec<TopicName>,
}

/// What to do at the destination, and what to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    pub routes: Vec<Route>,
    pub create: BTreeMap<TopicName, NewTopic>,
    /// By destination topic: partitions to have.
    pub grow: BTreeMap<TopicName, u32>,
    pub remarks: Remarks,
}

impl Plan {
    #[must_use]
    pub fn make(ground: &Ground<'_>) -> Self {
        let mut plan = Self::default();
        plan.select(ground);
        plan.await_selected(ground);
        plan.fit(ground);
        plan
    }

    /// The routes whose destination is there, each with the partitions that both ends have.
    #[must_use]
    pub fn found(&self, destination: &ClusterView) -> Vec<FoundTopic> {
        let found = |route: &Route| FoundTopic {
            source: route.source.clone(),
            destination: route.destination.clone(),
            partitions: route.partitions.min(destination.partitions(&route.destination)),
            literal: route.literal,
        };
        self.routes.iter().map(found).filter(|topic| topic.partitions > 0).collect()
    }

    fn select(&mut self, ground: &Ground<'_>) {
        for (topic, view) in &ground.source.topics {
            if !ground.spec.selection.selects(topic) {
                continue;
            }
            match destination_of(ground, topic) {
                Err(remark) => self.remarks.add(remark, topic),
                Ok(_) if view.partitions == 0 => self.remarks.add(Wait::WithoutPartitions, topic),
                Ok(destination) => self.routes.push(Route {
                    source: topic.clone(),
                    destination,
                    partitions: view.partitions,
                    literal: ground.spec.selection.whitelist.contains(topic),
                }),
            }
        }
    }

    fn await_selected(&mut self, ground: &Ground<'_>) {
        let selection = &ground.spec.selection;
        for topic in &selection.whitelist {
            if selection.selects(topic) && !ground.source.topics.contains_key(topic) {
                match destination_of(ground, topic) {
                    Err(remark) => self.remarks.add(remark, topic),
                    Ok(_) => self.remarks.add(Wait::Missing, topic),
                }
            }
        }
        let Some(pattern) = &selection.pattern else { return };
        if self.routes.is_empty() && !self.remarks.has_problem() && !self.remarks.has_wait() {
            self.remarks.add_general(Wait::NothingMatches { pattern: pattern.as_str().to_owned() });
        }
    }

    /// Compares what the routes need with what the destination has.
    fn fit(&mut self, ground: &Ground<'_>) {
        let mut by_destination: BTreeMap<TopicName, Vec<Route>> = BTreeMap::new();
        for route in &self.routes {
            by_destination.entry(route.destination.clone()).or_default().push(route.clone());
        }
        for (destination, routes) in by_destination {
            if routes.len() > 1 {
                let shared = Warning::Shared { destination: destination.clone() };
                routes.iter().for_each(|route| self.remarks.add(shared.clone(), &route.source));
            }
            let partitions = routes.iter().map(|route| route.partitions).max().unwrap_or(0);
            match ground.destination.topics.get(&destination) {
                None => self.lacks(ground, &destination, partitions, &routes),
                Some(there) => self.meets(ground, &destination, partitions, there),
            }
        }
    }

    fn lacks(&mut self, ground: &Ground<'_>, destination: &TopicName, partitions: u32, routes: &[Route]) {
        if !ground.spec.creation.enabled {
            return self.remarks.add(Wait::NotCreated, destination);
        }
        let factor = |route: &Route| ground.source.topics.get(&route.source).map(|it| it.replication_factor);
        let source_factor = routes.iter().filter_map(factor).max().unwrap_or(1);
        let topic = NewTopic {
            partitions,
            replication_factor: ground.spec.creation.replication_factor.unwrap_or(source_factor).max(1),
            sources: routes.iter().map(|route| route.source.clone()).collect(),
        };
        self.create.insert(destination.clone(), topic);
    }

    fn meets(&mut self, ground: &Ground<'_>, destination: &TopicName, partitions: u32, there: &TopicView) {
        if there.partitions > partitions {
            let warning = Warning::MorePartitions { source: partitions, destination: there.partitions };
            self.remarks.add(warning, destination);
        } else if there.partitions < partitions && ground.spec.creation.enabled {
            self.grow.insert(destination.clone(), partitions);
        } else if there.partitions < partitions {
            let wait = Wait::NotGrown { from: there.partitions, to: partitions };
            self.remarks.add(wait, destination);
        }
    }
}

/// Where a selected topic goes, or why it goes nowhere.
fn destination_of(ground: &Ground<'_>, topic: &TopicName) -> Result<TopicName, Remark> {
    let literal = ground.spec.selection.whitelist.contains(topic);
    let one_cluster = ground.source.id == ground.destination.id;
    let into_worker = matches!(ground.spec.destination, Destination::Worker(_));
    if topic.as_str().starts_with(INTERNAL_PREFIX) {
        return Err(if literal { Problem::InternalNamed.into() } else { Note::Internal.into() });
    }
    if ground.storage.contains(topic) {
        // On another cluster a topic of that name is another worker's, and may be meant when it is named.
        match (literal, one_cluster && into_worker) {
            (false, _) => return Err(Note::Storage.into()),
            (true, true) => return Err(Problem::StorageNamed.into()),
            (true, false) => (),
        }
    }
    if one_cluster && !literal && ground.spec.rename.could_have_made(topic) {
        return Err(Note::OwnCopy.into());
    }
    let renamed = ground.spec.rename.apply(topic);
    let destination = renamed.map_err(|error| Problem::BadName { problem: error.to_string() })?;
    if one_cluster && destination == *topic {
        return Err(Problem::OntoItself { cluster: ground.source.id.clone() }.into());
    }
    let broker_topic = BROKER_TOPICS.contains(&destination.as_str());
    if broker_topic || (into_worker && ground.storage.contains(&destination)) {
        return Err(Problem::IntoInternal { destination }.into());
    }
    Ok(destination)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use copyist_model::{
        ClientProperties, OffsetReset, RenameFormat, TopicCreation, TopicPattern, TopicSelection,
    };

    use super::*;

    /// Remarks with the names of their topics.
    type Said = Vec<(Remark, Vec<String>)>;
    /// Name, partitions, replication factor.
    type Topics = &'static [(&'static str, u32, u16)];

    /// One situation: what is selected and there, on two clusters `A` and `B` unless `one_cluster`.
    struct Case {
        whitelist: &'static [&'static str],
        regex: Option<&'static str>,
        blacklist: &'static [&'static str],
        rename: &'static str,
        own_destination: bool,
        one_cluster: bool,
        creation: bool,
        factor: Option<u16>,
        source: Topics,
        destination: Topics,
    }

    const CASE: Case = Case {
        whitelist: &[],
        regex: None,
        blacklist: &[],
        rename: "${topic}",
        own_destination: false,
        one_cluster: false,
        creation: true,
        factor: None,
        source: &[],
        destination: &[],
    };

    impl Case {
        fn plan(&self) -> (Plan, Vec<FoundTopic>) {
            let spec = self.spec();
            let source = view("A", self.source);
            let destination = view(if self.one_cluster { "A" } else { "B" }, self.destination);
            let storage = ["connect-offsets", "connect-configs", "connect-status"].map(topic).into();
            let ground =
                Ground { spec: &spec, source: &source, destination: &destination, storage: &storage };
            let plan = Plan::make(&ground);
            let found = plan.found(&destination);
            (plan, found)
        }

        fn spec(&self) -> ConnectorSpec {
            let topics = |names: &[&str]| names.iter().map(|name| topic(name)).collect();
            let to = ClientProperties::default();
            ConnectorSpec {
                selection: TopicSelection {
                    whitelist: topics(self.whitelist),
                    pattern: self.regex.map(|regex| TopicPattern::parse(regex).unwrap()),
                    blacklist: topics(self.blacklist),
                },
                rename: RenameFormat::parse(self.rename).unwrap(),
                tasks_max: None,
                source: ClientProperties::default(),
                destination: if self.own_destination {
                    Destination::Cluster(to)
                } else {
                    Destination::Worker(to)
                },
                zookeepers: copyist_model::ZooKeepers::default(),
                offset_reset: OffsetReset::Earliest,
                engine: copyist_model::EngineChoice::Auto,
                loss_policy: copyist_model::LossPolicy::Fail,
                agents: copyist_model::AgentChoice::default(),
                creation: TopicCreation {
                    enabled: self.creation,
                    replication_factor: self.factor,
                    timestamp_type: "CreateTime".into(),
                    overrides: BTreeMap::new(),
                },
                poll_interval: Duration::from_secs(120),
            }
        }

        /// `source>destination` of each route.
        fn routes(&self) -> Vec<String> {
            self.plan().0.routes.iter().map(|it| format!("{}>{}", it.source, it.destination)).collect()
        }

        /// Each remark with its topics.
        fn remarks(&self) -> Said {
            let names = |topics: &BTreeSet<TopicName>| topics.iter().map(ToString::to_string).collect();
            self.plan().0.remarks.iter().map(|(remark, topics)| (remark.clone(), names(topics))).collect()
        }
    }

    fn topic(name: &str) -> TopicName {
        name.parse().unwrap()
    }

    fn view(id: &str, topics: &[(&str, u32, u16)]) -> ClusterView {
        let view = |&(name, partitions, replication_factor): &(&str, u32, u16)| {
            (topic(name), TopicView { partitions, led: partitions, replication_factor })
        };
        ClusterView { id: id.parse().unwrap(), brokers: 3, topics: topics.iter().map(view).collect() }
    }

    fn one(remark: impl Into<Remark>, topics: &[&str]) -> Said {
        vec![(remark.into(), topics.iter().map(|name| (*name).to_owned()).collect())]
    }

    #[test]
    fn selected_topics_go_where_they_are_renamed_to() {
        let source = &[("a", 1, 1), ("b", 1, 1), ("c", 1, 1)];
        let rows: [(Case, &[&str]); 5] = [
            (Case { whitelist: &["a", "b"], source, ..CASE }, &["a>a", "b>b"]),
            (Case { regex: Some("[ab]"), blacklist: &["b"], source, ..CASE }, &["a>a"]),
            (Case { whitelist: &["c"], regex: Some("a"), source, ..CASE }, &["a>a", "c>c"]),
            (Case { whitelist: &["a"], rename: "x.${topic}", source, ..CASE }, &["a>x.a"]),
            (Case { whitelist: &["a"], blacklist: &["a"], source, ..CASE }, &[]),
        ];
        for (case, expected) in rows {
            assert_eq!(case.routes(), expected);
            assert_eq!(case.remarks(), []);
        }
    }

    #[test]
    fn listed_topics_that_are_missing_are_waited_for_and_the_others_go_on() {
        let case = Case { whitelist: &["a", "b", "c"], source: &[("b", 2, 1), ("c", 0, 1)], ..CASE };
        assert_eq!(case.routes(), ["b>b"]);
        let expected = [one(Wait::Missing, &["a"]), one(Wait::WithoutPartitions, &["c"])].concat();
        assert_eq!(case.remarks(), expected);
        let hidden = Case { whitelist: &["a"], blacklist: &["a"], ..CASE };
        assert_eq!(hidden.remarks(), []);
        let nothing = Case { regex: Some("x.*"), source: &[("a", 1, 1)], ..CASE };
        assert_eq!(nothing.remarks(), one(Wait::NothingMatches { pattern: "x.*".into() }, &[]));
    }

    #[test]
    fn internal_topics_are_left_out_and_refused_when_named() {
        let source = &[("__consumer_offsets", 50, 1), ("a", 1, 1)];
        let by_regex = Case { regex: Some(".*"), source, ..CASE };
        assert_eq!(by_regex.routes(), ["a>a"]);
        assert_eq!(by_regex.remarks(), one(Note::Internal, &["__consumer_offsets"]));
        for source in [source.as_slice(), &[("a", 1, 1)]] {
            let named = Case { whitelist: &["__consumer_offsets", "a"], source, ..CASE };
            assert_eq!(named.routes(), ["a>a"]);
            assert_eq!(named.remarks(), one(Problem::InternalNamed, &["__consumer_offsets"]));
        }
    }

    #[test]
    fn storage_topics_are_left_out_unless_another_clusters_is_named() {
        const SOURCE: Topics = &[("connect-offsets", 25, 1)];
        const NAMED: Case =
            Case { whitelist: &["connect-offsets"], rename: "b.${topic}", source: SOURCE, ..CASE };
        let nothing = one(Wait::NothingMatches { pattern: "connect-.*".into() }, &[]);
        let left_out = [nothing, one(Note::Storage, &["connect-offsets"])].concat();
        let refused = one(Problem::StorageNamed, &["connect-offsets"]);
        let rows: [(Case, &[&str], Said); 4] = [
            (Case { regex: Some("connect-.*"), source: SOURCE, ..CASE }, &[], left_out),
            (Case { one_cluster: true, ..NAMED }, &[], refused),
            (
                Case { one_cluster: true, own_destination: true, ..NAMED },
                &["connect-offsets>b.connect-offsets"],
                vec![],
            ),
            (NAMED, &["connect-offsets>b.connect-offsets"], vec![]),
        ];
        for (case, routes, remarks) in rows {
            assert_eq!(case.routes(), routes);
            assert_eq!(case.remarks(), remarks);
        }
    }

    #[test]
    fn nothing_is_copied_into_internal_and_storage_topics() {
        const STORAGE: Case =
            Case { whitelist: &["a"], rename: "connect-status", source: &[("a", 1, 1)], ..CASE };
        let into = |destination: &str| one(Problem::IntoInternal { destination: topic(destination) }, &["a"]);
        let rows: [(Case, Said); 4] = [
            (STORAGE, into("connect-status")),
            (Case { own_destination: true, ..STORAGE }, vec![]),
            (
                Case { rename: "__consumer_offsets", own_destination: true, ..STORAGE },
                into("__consumer_offsets"),
            ),
            (Case { rename: "__mine", ..STORAGE }, vec![]),
        ];
        for (case, remarks) in rows {
            assert_eq!(case.remarks(), remarks);
            assert_eq!(case.routes().len(), usize::from(remarks.is_empty()));
        }
    }

    #[test]
    fn a_topic_onto_itself_is_refused_on_one_cluster_alone() {
        let source = &[("a", 1, 1), ("b", 1, 1)];
        let onto_itself = Problem::OntoItself { cluster: "A".parse().unwrap() };
        let identity = Case { regex: Some(".*"), one_cluster: true, source, ..CASE };
        assert_eq!(identity.routes(), [] as [&str; 0]);
        assert_eq!(identity.remarks(), one(onto_itself.clone(), &["a", "b"]));
        let literal = Case { whitelist: &["a", "b"], rename: "a", one_cluster: true, source, ..CASE };
        assert_eq!(literal.routes(), ["b>a"]);
        assert_eq!(literal.remarks(), one(onto_itself, &["a"]));
        let two_clusters = Case { regex: Some(".*"), source, ..CASE };
        assert_eq!(two_clusters.routes(), ["a>a", "b>b"]);
    }

    #[test]
    fn on_one_cluster_copies_are_not_copied_again_unless_named() {
        let source = &[("a", 1, 1), ("a.replica", 1, 1)];
        let case = Case { regex: Some("a.*"), rename: "${topic}.replica", one_cluster: true, source, ..CASE };
        assert_eq!(case.routes(), ["a>a.replica"]);
        let left_out = case.remarks().into_iter().filter(|(remark, _)| matches!(remark, Remark::Note(_)));
        assert_eq!(left_out.collect::<Vec<_>>(), one(Note::OwnCopy, &["a.replica"]));
        let named = Case { whitelist: &["a.replica"], ..case };
        assert_eq!(named.routes(), ["a>a.replica", "a.replica>a.replica.replica"]);
        let two_clusters = Case { whitelist: &[], one_cluster: false, ..named };
        assert_eq!(two_clusters.routes(), ["a>a.replica", "a.replica>a.replica.replica"]);
        let literal = Case { regex: Some("a.*"), rename: "a.replica", one_cluster: true, source, ..CASE };
        assert_eq!(literal.routes(), ["a>a.replica"]);
    }

    #[test]
    fn a_name_that_becomes_too_long_is_refused_and_the_others_go_on() {
        const LONG: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
                            xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
        let case = Case {
            whitelist: &[LONG, "a"],
            rename: "${topic}-${topic}",
            source: &[(LONG, 1, 1), ("a", 1, 1)],
            ..CASE
        };
        assert_eq!(case.routes(), ["a>a-a"]);
        let (remark, topics) = case.remarks().remove(0);
        assert_eq!(topics, [LONG]);
        let Remark::Problem(Problem::BadName { problem }) = remark else { panic!("{remark:?}") };
        assert!(problem.contains("249"), "{problem}");
    }

    #[test]
    fn missing_topics_are_created_like_their_source_or_as_configured() {
        const SOURCE: Topics = &[("a", 10, 2), ("b", 3, 1)];
        const BOTH: Case = Case { whitelist: &["a", "b"], source: SOURCE, ..CASE };
        let rows: [(Case, Topics); 4] = [
            (BOTH, &[("a", 10, 2), ("b", 3, 1)]),
            (Case { factor: Some(3), ..BOTH }, &[("a", 10, 3), ("b", 3, 3)]),
            (Case { rename: "one", ..BOTH }, &[("one", 10, 2)]),
            (Case { destination: &[("a", 10, 1)], ..BOTH }, &[("b", 3, 1)]),
        ];
        for (case, expected) in rows {
            let (plan, found) = case.plan();
            let create: Vec<_> = plan
                .create
                .iter()
                .map(|(name, it)| (name.as_str(), it.partitions, it.replication_factor))
                .collect();
            assert_eq!(create, expected);
            assert_eq!(found.len(), case.destination.len(), "only what is there is ready");
        }
    }

    #[test]
    fn several_topics_in_one_get_the_largest_count_and_a_warning() {
        let case =
            Case { whitelist: &["a", "b"], rename: "one", source: &[("a", 2, 1), ("b", 5, 3)], ..CASE };
        let (plan, _) = case.plan();
        let sources = vec![topic("a"), topic("b")];
        let created = NewTopic { partitions: 5, replication_factor: 3, sources };
        assert_eq!(plan.create, [(topic("one"), created)].into());
        assert_eq!(case.remarks(), one(Warning::Shared { destination: topic("one") }, &["a", "b"]));
        let there = Case { destination: &[("one", 3, 1)], ..case };
        let (plan, found) = there.plan();
        assert_eq!(plan.grow, [(topic("one"), 5)].into());
        assert_eq!(found.iter().map(|it| it.partitions).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn existing_topics_are_grown_used_or_waited_for() {
        const TEN: Case = Case { whitelist: &["a"], source: &[("a", 10, 1)], ..CASE };
        let more = one(Warning::MorePartitions { source: 10, destination: 12 }, &["a"]);
        let fewer = one(Wait::NotGrown { from: 4, to: 10 }, &["a"]);
        type Row = (Case, Option<u32>, Option<u32>, Said);
        let rows: [Row; 7] = [
            (Case { destination: &[("a", 10, 1)], ..TEN }, None, Some(10), vec![]),
            (Case { destination: &[("a", 4, 1)], ..TEN }, Some(10), Some(4), vec![]),
            (Case { destination: &[("a", 12, 1)], ..TEN }, None, Some(10), more.clone()),
            (Case { destination: &[("a", 10, 1)], creation: false, ..TEN }, None, Some(10), vec![]),
            (Case { destination: &[("a", 4, 1)], creation: false, ..TEN }, None, Some(4), fewer),
            (Case { destination: &[("a", 12, 1)], creation: false, ..TEN }, None, Some(10), more),
            (Case { creation: false, ..TEN }, None, None, one(Wait::NotCreated, &["a"])),
        ];
        for (case, grown, ready, remarks) in rows {
            let (plan, found) = case.plan();
            assert_eq!(plan.create, BTreeMap::new());
            assert_eq!(plan.grow.get(&topic("a")).copied(), grown);
            assert_eq!(found.first().map(|it| it.partitions), ready);
            assert_eq!(case.remarks(), remarks);
        }
    }

    #[test]
    fn what_is_found_says_whether_it_was_named() {
        let case = Case {
            whitelist: &["a"],
            regex: Some(".*"),
            source: &[("a", 1, 1), ("b", 2, 1)],
            destination: &[("a", 1, 1), ("b", 2, 1)],
            ..CASE
        };
        let found = |name: &str, partitions, literal| FoundTopic {
            source: topic(name),
            destination: topic(name),
            partitions,
            literal,
        };
        assert_eq!(case.plan().1, [found("a", 1, true), found("b", 2, false)]);
    }
}
