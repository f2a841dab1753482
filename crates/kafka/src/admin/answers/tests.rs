//! Answers against `kafka-protocol`'s side of the broker.

use super::*;
use bytes::BytesMut;
use kafka_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use kafka_protocol::protocol::{Encodable, StrBytes};

const WHY: &str = "because";

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn why(code: i16) -> Option<StrBytes> {
    (code != 0).then(|| text(WHY))
}

fn bytes_of(answer: &impl Encodable, version: i16) -> Bytes {
    let mut bytes = BytesMut::new();
    answer.encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

fn expected() -> Answers {
    let refusal = Refusal { code: Code(36), text: Some(WHY.to_owned()) };
    [("a".parse().unwrap(), Ok(())), ("b".parse().unwrap(), Err(refusal))].into()
}

#[test]
fn answers_about_topics_are_read() {
    for version in 2..=7 {
        let topic = |name, code| {
            let mut topic = CreatableTopicResult::default()
                .with_name(text(name).into())
                .with_error_code(code)
                .with_error_message(why(code));
            if version >= 5 {
                topic.num_partitions = 3;
                topic.configs = Some(vec![CreatableTopicConfigs::default().with_name(text("x"))]);
                topic.topic_config_error_code = code;
            }
            topic
        };
        let answer = CreateTopicsResponse::default().with_topics(vec![topic("a", 0), topic("b", 36)]);
        let body = bytes_of(&answer, version);
        assert_eq!(created(&body, version).unwrap(), expected(), "{version}");
        assert!(created(&body.slice(..body.len() - 2), version).is_err());
    }
    for version in 0..=3 {
        let topic = |name, code| {
            let topic = CreatePartitionsTopicResult::default().with_name(text(name).into());
            topic.with_error_code(code).with_error_message(why(code))
        };
        let answer = CreatePartitionsResponse::default().with_results(vec![topic("a", 0), topic("b", 36)]);
        assert_eq!(grown(&bytes_of(&answer, version), version).unwrap(), expected(), "{version}");
    }
}

#[test]
fn answers_about_configs_are_read() {
    for version in 0..=1 {
        let resource = |name, code| {
            AlterConfigsResourceResponse::default()
                .with_resource_type(2)
                .with_resource_name(text(name))
                .with_error_code(code)
                .with_error_message(why(code))
        };
        let answer = IncrementalAlterConfigsResponse::default()
            .with_responses(vec![resource("a", 0), resource("b", 36)]);
        let read = altered(&bytes_of(&answer, version), version).unwrap();
        let expected: BTreeMap<_, _> =
            expected().into_iter().map(|(name, it)| (name.to_string(), it)).collect();
        assert_eq!(read, expected);
    }
    for version in 1..=4 {
        let config = |name, source: i8, secret: bool| {
            let mut config = DescribeConfigsResourceResult::default()
                .with_name(text(name))
                .with_value((!secret).then(|| text("v")))
                .with_read_only(secret)
                .with_config_source(source)
                .with_is_sensitive(secret)
                .with_synonyms(vec![DescribeConfigsSynonym::default().with_name(text("s"))]);
            if version >= 3 {
                config = config.with_config_type(5).with_documentation(Some(text("doc")));
            }
            config
        };
        let resource = |name, code| {
            DescribeConfigsResult::default()
                .with_resource_type(2)
                .with_resource_name(text(name))
                .with_error_code(code)
                .with_error_message(why(code))
                .with_configs(if code == 0 {
                    vec![config("x", 1, false), config("y", 5, true)]
                } else {
                    vec![]
                })
        };
        let answer =
            DescribeConfigsResponse::default().with_results(vec![resource("a", 0), resource("b", 29)]);
        let read = described(&bytes_of(&answer, version), version).unwrap();
        let config = |name: &str, value: Option<&str>, source, hidden| Config {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            source,
            is_read_only: hidden,
            is_sensitive: hidden,
        };
        let configs = vec![
            config("x", Some("v"), ConfigSource::Topic, false),
            config("y", None, ConfigSource::Default, true),
        ];
        assert_eq!(read["a"], Ok(configs), "{version}");
        assert_eq!(read["b"], Err(Refusal { code: Code(29), text: Some(WHY.to_owned()) }));
    }
}

#[test]
fn sources_are_those_of_the_protocol() {
    let rows = [
        (1, ConfigSource::Topic),
        (2, ConfigSource::Broker),
        (3, ConfigSource::BrokerDefault),
        (4, ConfigSource::StaticBroker),
        (5, ConfigSource::Default),
        (6, ConfigSource::Other(6)),
    ];
    for (source, expected) in rows {
        assert_eq!(source_of(source), expected);
    }
}
