//! Topics: how those at the destination are made, which are copied where, and which never; and clusters that ask for
//! a password.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use copyist_tests::scenario::{config, connector_state, destination, numbered, source};
use copyist_tests::{
    Cluster, ClusterOptions, Copyist, CopyistOptions, Kafka, Rec, Scenario, ScramUser, Side, suite,
};

/// 2024-01-02 and 2001-09-09: brokers of today find both old.
const THEN: i64 = 1_704_153_600_000;
const LONG_AGO: i64 = 1_000_000_000_000;
/// 2100-01-01: brokers refuse it by default.
const FAR_AHEAD: i64 = 4_102_444_800_000;
const NO_LIMIT: &str = "9223372036854775807";
/// Looks for topics often.
const OFTEN: (&str, &str) = ("topic.poll.interval.ms", "500");
/// Looks once, as far as a test goes.
const ONCE: (&str, &str) = ("topic.poll.interval.ms", "600000");

/// Two brokers that create topics for whoever asks for them, refuse some configs, and know alice.
fn third() -> &'static Cluster {
    static THIRD: OnceLock<Cluster> = OnceLock::new();
    THIRD.get_or_init(|| {
        let mut options = ClusterOptions::named("third");
        options.nodes = 2;
        options.scram = Some(alice());
        options.refuses_compression_type = true;
        options.properties.insert("auto.create.topics.enable".to_owned(), "true".to_owned());
        suite::must("a third cluster", Cluster::start(suite::jars(), options))
    })
}

fn at_third() -> Kafka<'static> {
    suite::tool().at(&third().bootstrap())
}

fn alice() -> ScramUser {
    ScramUser { name: "alice".to_owned(), password: "wonder-land 7".to_owned() }
}

fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn partitions(kafka: &Kafka<'_>, topic: &str) -> usize {
    suite::must("described", kafka.describe_topic(topic)).partitions.len()
}

#[test]
fn a_created_topic_takes_after_its_source() {
    let own = [
        ("cleanup.policy", "compact"),
        ("max.message.bytes", "2000000"),
        ("retention.ms", "1234567890"),
        ("segment.bytes", "2097152"),
    ];
    let replaced = [
        ("min.insync.replicas", "2"),
        ("message.timestamp.type", "LogAppendTime"),
        ("message.timestamp.before.max.ms", "86400000"),
        ("message.timestamp.after.max.ms", "1000"),
    ];
    let left_out = [
        ("leader.replication.throttled.replicas", "0:1"),
        ("follower.replication.throttled.replicas", "*"),
        ("local.retention.ms", "1000"),
        ("remote.log.copy.disable", "false"),
    ];
    let (from, to) = (source(), destination());
    from.create_topic_with("created", 7, 1, &[&own[..], &replaced, &left_out].concat()).expect("created");
    from.create_topic_with("stamped", 1, 1, &[("message.timestamp.type", "LogAppendTime")]).expect("created");
    from.produce(&numbered("created", 7, "created", 70)).expect("produced");
    from.produce(&[Rec::new("stamped", 0).value("v")]).expect("produced");
    let scenario = Scenario::start("creation");
    scenario.create("created", &config(&[("topic.whitelist", "created"), ONCE]));
    scenario.wait_copied("created", "created", 70);
    let made = [
        ("min.insync.replicas", "1"),
        ("message.timestamp.type", "CreateTime"),
        ("message.timestamp.before.max.ms", NO_LIMIT),
        ("message.timestamp.after.max.ms", NO_LIMIT),
    ];
    let expected = configs(&[&own[..], &made].concat());
    assert_eq!(to.topic_configs("created").expect("configs"), expected);
    let topic = to.describe_topic("created").expect("described");
    assert_eq!((topic.partitions.len(), topic.partitions[0].replicas.len()), (7, 1));

    let config = config(&[("topic.whitelist", "stamped"), ("topic.timestamp.type", "LogAppendTime"), ONCE]);
    scenario.create("stamped", &config);
    scenario.wait_records(&to, "stamped", 1);
    let made = to.topic_configs("stamped").expect("configs");
    assert_eq!(made["message.timestamp.type"], "LogAppendTime");
    let status = scenario.wait_running("stamped", 1);
    let trace = status["connector"]["trace"].as_str().expect("a warning");
    assert!(trace.contains("topic.timestamp.type=LogAppendTime"), "{trace}");
}

#[test]
fn limits_on_timestamps_are_opened() {
    let from = source();
    // The destination's brokers would refuse both by their defaults, or by the source topic's.
    let open = [("message.timestamp.after.max.ms", NO_LIMIT), ("message.timestamp.before.max.ms", NO_LIMIT)];
    from.create_topic_with("ages", 1, 1, &open).expect("created");
    let ages = [FAR_AHEAD, LONG_AGO, 1, THEN];
    from.produce(&ages.map(|age| Rec::new("ages", 0).timestamp(age).value("v"))).expect("produced");
    from.alter_topic_configs("ages", &[("message.timestamp.before.max.ms", "1000")], &[]).expect("altered");
    let scenario = Scenario::start("ages");
    scenario.create("ages", &config(&[("topic.whitelist", "ages"), ONCE]));
    scenario.wait_copied("ages", "ages", 4);
}

#[test]
fn existing_topics_are_grown_or_used_as_they_are() {
    let (from, to) = (source(), destination());
    from.create_topic("narrow", 3).expect("created");
    to.create_topic("narrow", 1).expect("created");
    from.create_topic("wide", 2).expect("created");
    to.create_topic_with("wide", 4, 1, &[("retention.ms", "-1")]).expect("created");
    from.produce(&numbered("narrow", 3, "narrow", 30)).expect("produced");
    from.produce(&numbered("wide", 2, "wide", 20)).expect("produced");
    let scenario = Scenario::start("existing");
    scenario.create("existing", &config(&[("topic.whitelist", "narrow,wide"), ONCE]));
    scenario.wait_copied("narrow", "narrow", 30);
    scenario.wait_copied("wide", "wide", 20);
    assert_eq!((partitions(&to, "narrow"), partitions(&to, "wide")), (3, 4));
    assert_eq!(to.topic_configs("wide").expect("configs"), configs(&[("retention.ms", "-1")]));
    let status = scenario.wait_running("existing", 5);
    let trace = status["connector"]["trace"].as_str().expect("a warning");
    assert!(trace.contains("the destination has more partitions (4) than the source (2)"), "{trace}");
    assert!(trace.contains("wide") && !trace.contains("narrow"), "{trace}");
}

#[test]
fn several_topics_go_into_one_with_the_largest_count() {
    let (from, to) = (source(), destination());
    from.create_topic_with("into-a", 2, 1, &[("retention.ms", "111111111"), ("segment.bytes", "2097152")])
        .expect("created");
    from.create_topic_with("into-b", 5, 1, &[("retention.ms", "222222222"), ("segment.bytes", "2097152")])
        .expect("created");
    from.produce(&numbered("into-a", 2, "a", 40)).expect("produced");
    from.produce(&numbered("into-b", 5, "b", 100)).expect("produced");
    let scenario = Scenario::start("several");
    let pairs = [("topic.whitelist", "into-a,into-b"), ("topic.rename.format", "into-one"), ONCE];
    scenario.create("several", &config(&pairs));
    scenario.wait_records(&to, "into-one", 140);
    let status = scenario.wait_running("several", 7);
    let trace = status["connector"]["trace"].as_str().expect("a warning");
    assert!(trace.contains("into the one topic into-one: into-a, into-b"), "{trace}");
    assert!(trace.contains("source topics do not agree (retention.ms): into-one"), "{trace}");
    assert_eq!(partitions(&to, "into-one"), 5);
    let made = to.topic_configs("into-one").expect("configs");
    assert_eq!((made.get("retention.ms"), made["segment.bytes"].as_str()), (None, "2097152"));

    // Those of each source keep their partition and order among themselves.
    let copied = to.dump("into-one").expect("dumped");
    assert_eq!(copied.len(), 140);
    for (topic, tag) in [("into-a", "a "), ("into-b", "b ")] {
        let written = from.dump(topic).expect("dumped");
        let of_tag = |rec: &&Rec| rec.value.as_ref().is_some_and(|value| value.starts_with(tag.as_bytes()));
        let found: Vec<_> = copied.iter().filter(of_tag).map(Rec::content).collect();
        assert_eq!(found, written.iter().map(Rec::content).collect::<Vec<_>>(), "{topic}");
    }
}

#[test]
fn replication_factors_follow_and_are_bounded_by_the_brokers() {
    let (from, to, two) = (source(), destination(), at_third());
    let in_sync = [("min.insync.replicas", "2")];
    two.create_topic_with("factor-two", 2, 2, &in_sync).expect("created");
    from.create_topic_with("factor-one", 2, 1, &in_sync).expect("created");
    two.produce(&numbered("factor-two", 2, "x", 20)).expect("produced");
    from.produce(&numbered("factor-one", 2, "y", 20)).expect("produced_with_one");
    let (one_node, two_nodes) = (suite::pair().0.bootstrap(), third().bootstrap());
    let scenario = Scenario::start("factors");
    let bounded =
        config(&[("topic.whitelist", "factor-two"), ("src.kafka.bootstrap.servers", &two_nodes), ONCE]);
    let raised = |factor, name| {
        config(&[
            ("topic.whitelist", "factor-one"),
            ("topic.rename.format", name),
            ("src.kafka.bootstrap.servers", &one_node),
            ("dest.kafka.bootstrap.servers", &two_nodes),
            ("dest.topic.replication.factor", factor),
            ONCE,
        ])
    };
    scenario.create("bounded", &bounded);
    scenario.create("raised", &raised("2", "factor-raised"));
    scenario.create("too-high", &raised("5", "factor-too-high"));
    let side = |at, topic| Side { at, topic };
    scenario.wait_equal(side(&two, "factor-two"), side(&to, "factor-two"), 20);
    scenario.wait_equal(side(&from, "factor-one"), side(&two, "factor-raised"), 20);
    scenario.wait_equal(side(&from, "factor-one"), side(&two, "factor-too-high"), 20);
    for (at, topic, replicas, in_sync) in
        [(&to, "factor-two", 1, "1"), (&two, "factor-raised", 2, "2"), (&two, "factor-too-high", 2, "2")]
    {
        let described = at.describe_topic(topic).expect("described");
        assert!(described.partitions.iter().all(|it| it.replicas.len() == replicas), "{described:?}");
        assert_eq!(at.topic_configs(topic).expect("configs")["min.insync.replicas"], in_sync, "{topic}");
    }
    let warned = "created with replication factor 1 instead of 2, for want of brokers: factor-two";
    scenario.wait_logged(&["WARN", "bounded", warned]);
    let warned = "created with replication factor 2 instead of 5, for want of brokers: factor-too-high";
    scenario.wait_logged(&["WARN", "too-high", warned]);
}

#[test]
fn a_config_that_the_destination_refuses_is_left_out() {
    let (from, two) = (source(), at_third());
    let given = [("compression.type", "gzip"), ("retention.ms", "123456789")];
    two.create_topic_with("refused", 1, 1, &given).expect_err("the policy is at work");
    from.create_topic_with("refused", 2, 1, &given).expect("created");
    from.produce(&numbered("refused", 2, "x", 20)).expect("produced");
    let scenario = Scenario::start("refused");
    let to = third().bootstrap();
    scenario.create(
        "refused",
        &config(&[("topic.whitelist", "refused"), ("dest.kafka.bootstrap.servers", &to), ONCE]),
    );
    scenario.wait_equal(Side { at: &from, topic: "refused" }, Side { at: &two, topic: "refused" }, 20);
    let made = two.topic_configs("refused").expect("configs");
    assert_eq!((made.get("compression.type"), made["retention.ms"].as_str()), (None, "123456789"));
    assert_eq!(made["message.timestamp.type"], "CreateTime");
    let warned = "created without configs that the destination refuses (compression.type): refused";
    scenario.wait_logged(&["WARN", warned]);
}

#[test]
fn no_topic_comes_into_being_by_being_asked_for() {
    let (from, two) = (source(), at_third());
    let at = third().bootstrap();
    from.create_topic("asked-for", 1).expect("created");
    from.produce(&numbered("asked-for", 1, "x", 10)).expect("produced");
    let scenario = Scenario::start("asked-for");
    // The source has only one of the two topics; the destination, which may not get new ones, has none.
    let waiting = config(&[
        ("topic.whitelist", "asked-for"),
        ("dest.kafka.bootstrap.servers", &at),
        ("topic.auto.create", "false"),
        OFTEN,
    ]);
    scenario.create("waiting", &waiting);
    let absent =
        config(&[("topic.whitelist", "asked-for-absent"), ("src.kafka.bootstrap.servers", &at), OFTEN]);
    scenario.create("absent", &absent);
    let says = |text: &'static str| {
        move |status: &serde_json::Value| {
            connector_state(status) == "RUNNING"
                && status["connector"]["trace"].as_str().is_some_and(|trace| trace.contains(text))
        }
    };
    let text =
        "waits for topics that do not exist at the source, or that may not be described: asked-for-absent";
    scenario.wait_status("absent", "what it waits for", says(text));
    let text = "waits for destination topics (this connector may not create them): asked-for";
    scenario.wait_status("waiting", "what it waits for", says(text));
    let there = two.list_topics().expect("listed");
    assert!(!there.iter().any(|topic| topic.starts_with("asked-for")), "{there:?}");

    two.create_topic("asked-for", 1).expect("created");
    two.create_topic("asked-for-absent", 3).expect("created");
    two.produce(&numbered("asked-for-absent", 3, "y", 30)).expect("produced");
    scenario.wait_equal(Side { at: &from, topic: "asked-for" }, Side { at: &two, topic: "asked-for" }, 10);
    let to = destination();
    let (left, right) =
        (Side { at: &two, topic: "asked-for-absent" }, Side { at: &to, topic: "asked-for-absent" });
    scenario.wait_equal(left, right, 30);
    assert_eq!(partitions(&two, "asked-for-absent"), 3);
}

#[test]
fn storage_topics_are_created_compacted() {
    let properties = [
        ("offset.storage.partitions", "3"),
        ("offset.storage.replication.factor", "3"),
        ("status.storage.partitions", "2"),
    ];
    let bootstrap = suite::pair().1.bootstrap();
    let scenario = Scenario::start_with("storage", &bootstrap, &properties);
    scenario.wait_logged(&["WARN", "replication factor 1 instead of 3, for want of brokers: storage-offset"]);
    let to = destination();
    for (topic, count) in [("storage-offset", 3), ("storage-config", 1), ("storage-status", 2)] {
        scenario.wait_topic(&to, topic);
        let described = to.describe_topic(topic).expect("described");
        assert_eq!((described.partitions.len(), described.partitions[0].replicas.len()), (count, 1));
        assert_eq!(to.topic_configs(topic).expect("configs")["cleanup.policy"], "compact", "{topic}");
    }
    // Connect's defaults.
    let other = Scenario::start_with("defaults", &bootstrap, &[]);
    for (topic, count) in [("defaults-config", 1), ("defaults-status", 5)] {
        other.wait_topic(&to, topic);
        assert_eq!(partitions(&to, topic), count, "{topic}");
    }
}

#[test]
fn a_storage_topic_that_forgets_is_one_clear_error() {
    let to = destination();
    to.create_topic_with("forgetful", 5, 1, &[("cleanup.policy", "delete")]).expect("created");
    let properties = [("offset.storage.topic", "forgetful"), ("group.id", "forgetful")];
    let options = CopyistOptions { properties: configs(&properties), ..CopyistOptions::default() };
    let mut copyist = Copyist::prepare(&suite::pair().1.bootstrap(), options).expect("prepared");
    copyist.launch().expect("launched");
    let (status, log) = copyist.wait_exit().expect("it ends by itself");
    assert!(!status.success(), "{status}");
    let text = "offset.storage.topic forgetful has cleanup.policy=delete";
    let lines: Vec<_> = log.lines().filter(|line| line.contains(text)).collect();
    assert!(lines.len() == 1 && lines[0].contains("must be cleanup.policy=compact"), "{log}");
}

#[test]
fn a_topic_is_never_copied_onto_itself() {
    let to = destination();
    to.create_topic("itself", 1).expect("created");
    let here = suite::pair().1.bootstrap();
    let scenario = Scenario::start("itself");
    let itself = config(&[("topic.whitelist", "itself"), ("src.kafka.bootstrap.servers", &here), ONCE]);
    scenario.create("itself", &itself);
    let trace = scenario.wait_failed("itself");
    let cluster = suite::pair().1.cluster_id();
    assert!(trace.contains("onto themselves: itself ") && trace.contains(cluster), "{trace}");
}

#[test]
fn on_one_cluster_a_regex_does_not_take_its_own_copies() {
    let to = destination();
    let here = suite::pair().1.bootstrap();
    to.create_topic("one.a", 1).expect("created");
    to.produce(&numbered("one.a", 1, "a", 10)).expect("produced");
    let scenario = Scenario::start("one-cluster");
    let pairs = [
        ("topic.regex", "one\\..*"),
        ("topic.rename.format", "${topic}.copy"),
        ("src.kafka.bootstrap.servers", &here),
        OFTEN,
    ];
    scenario.create("one-cluster", &config(&pairs));
    let copied = |topic: &str, copy: &str| {
        scenario.wait_equal(Side { at: &to, topic }, Side { at: &to, topic: copy }, 10);
    };
    copied("one.a", "one.a.copy");
    scenario.wait_logged(&["left out as copies", "one.a.copy"]);
    // Copied by a survey that saw the first copy as well.
    to.create_topic("one.b", 1).expect("created");
    to.produce(&numbered("one.b", 1, "b", 10)).expect("produced");
    copied("one.b", "one.b.copy");
    let all = to.list_topics().expect("listed");
    let of_test: Vec<&str> = all.iter().map(String::as_str).filter(|it| it.starts_with("one.")).collect();
    assert_eq!(of_test, ["one.a", "one.a.copy", "one.b", "one.b.copy"]);
}

#[test]
fn cycles_and_second_copies_are_refused_with_both_names() {
    let (from, to) = (source(), destination());
    from.create_topic("round", 1).expect("created");
    from.produce(&numbered("round", 1, "x", 10)).expect("produced");
    let scenario = Scenario::start("rules");
    scenario.create("there", &config(&[("topic.whitelist", "round"), ONCE]));
    scenario.wait_copied("round", "round", 10);
    scenario.wait_running("there", 1);

    let (here, back) = (suite::pair().1.bootstrap(), suite::pair().0.bootstrap());
    let cycle = [
        ("topic.whitelist", "round"),
        ("src.kafka.bootstrap.servers", &*here),
        ("dest.kafka.bootstrap.servers", &*back),
        ONCE,
    ];
    scenario.create("back", &config(&cycle));
    let trace = scenario.wait_failed("back");
    assert!(
        ["connector back", "connector there", "round for ever"].iter().all(|it| trace.contains(it)),
        "{trace}"
    );
    scenario.create("again", &config(&[("topic.regex", "round"), ONCE]));
    let trace = scenario.wait_failed("again");
    assert!(["connector again", "connector there", "already"].iter().all(|it| trace.contains(it)), "{trace}");

    // The earlier one goes on, and nothing went round.
    from.produce(&numbered("round", 1, "later", 10)).expect("produced");
    scenario.wait_copied("round", "round", 20);
    assert_eq!(from.dump("round").expect("dumped").len(), 20);
    assert_eq!(to.dump("round").expect("dumped").len(), 20);
    scenario.wait_running("there", 1);
}

#[test]
fn internal_topics_are_left_out() {
    let (from, to) = (source(), destination());
    from.create_topic("__inner", 1).expect("created");
    from.create_topic("outer", 1).expect("created");
    from.produce(&numbered("__inner", 1, "x", 10)).expect("produced");
    from.produce(&numbered("outer", 1, "y", 10)).expect("produced");
    let scenario = Scenario::start("internal");
    scenario.create("by-regex", &config(&[("topic.regex", "__inner|outer"), ONCE]));
    scenario.wait_copied("outer", "outer", 10);
    scenario.wait_logged(&["left out as internal: __inner"]);
    scenario.create("by-name", &config(&[("topic.whitelist", "__inner"), ONCE]));
    let trace = scenario.wait_failed("by-name");
    assert!(trace.contains("internal topics are never copied: __inner"), "{trace}");

    // Its own storage topics lie at the destination, where `outer` is a copy by now.
    let here = suite::pair().1.bootstrap();
    to.create_topic("outer-too", 1).expect("created");
    to.produce(&numbered("outer-too", 1, "z", 10)).expect("produced");
    let own = [
        ("topic.regex", "internal-offset|outer|outer-too"),
        ("topic.rename.format", "taken.${topic}"),
        ("src.kafka.bootstrap.servers", &*here),
        ONCE,
    ];
    scenario.create("storage", &config(&own));
    scenario.wait_equal(Side { at: &to, topic: "outer-too" }, Side { at: &to, topic: "taken.outer-too" }, 10);
    scenario.wait_logged(&["left out as storage topics of this worker: internal-offset"]);
    let status = scenario.wait_running("storage", 1);
    let trace = status["connector"]["trace"].as_str().expect("a warning");
    assert!(trace.contains("connectors of this fleet copy into them: outer;"), "{trace}");
    let all = to.list_topics().expect("listed");
    assert!(!all.iter().any(|it| it.contains("__inner") || it == "taken.internal-offset"), "{all:?}");
}

#[test]
fn clusters_that_ask_for_a_password_are_copied_and_keep_it_secret() {
    let kafka = at_third();
    kafka.create_topic_with("secured", 2, 2, &[]).expect("created");
    kafka.produce(&numbered("secured", 2, "x", 50)).expect("produced");
    let bootstrap = third().sasl_bootstrap();
    let login = alice().client_properties();
    let worker: Vec<(&str, &str)> = login.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let scenario = Scenario::start_with("secured", &bootstrap, &worker);
    let as_user = |user: &ScramUser, side: &str, pairs: &[(&str, &str)]| {
        let mut all = config(pairs);
        all[format!("{side}.kafka.bootstrap.servers")] = bootstrap.clone().into();
        for (key, value) in user.client_properties() {
            all[format!("{side}.kafka.{key}")] = value.into();
        }
        all
    };
    let copy = [("topic.whitelist", "secured"), ("topic.rename.format", "${topic}.copy"), ONCE];
    scenario.create("secured", &as_user(&alice(), "src", &copy));
    let side = |topic| Side { at: &kafka, topic };
    scenario.wait_equal(side("secured"), side("secured.copy"), 50);
    scenario.wait_running("secured", 2);
    let plain = source();
    plain.create_topic("secured-into", 1).expect("created");
    plain.produce(&numbered("secured-into", 1, "y", 10)).expect("produced");
    scenario.create("into", &as_user(&alice(), "dest", &[("topic.whitelist", "secured-into"), ONCE]));
    scenario.wait_equal(Side { at: &plain, topic: "secured-into" }, side("secured-into"), 10);
    let wrong = ScramUser { password: "guessed-secret-9".to_owned(), ..alice() };
    scenario.create("wrong", &as_user(&wrong, "src", &copy));
    let refused = scenario.wait_status("wrong", "the refusal of the password", |status| {
        let trace = status["connector"]["trace"].as_str().unwrap_or_default();
        trace.contains("source") && trace.to_ascii_lowercase().contains("authentication")
    });
    assert_ne!(connector_state(&refused), "RUNNING");
    let texts = [
        scenario.copyist.log_text().expect("a log"),
        scenario.copyist.metrics().expect("metrics"),
        scenario.get("/connectors/secured/status").to_string(),
        scenario.get("/connectors?expand=status").to_string(),
        refused.to_string(),
    ];
    for text in texts {
        assert!(!text.is_empty());
        for secret in ["wonder", "land 7", "guessed-secret"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}
