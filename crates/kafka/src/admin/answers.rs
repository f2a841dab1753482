//! Reads what the cluster answers. Pure.

use std::collections::BTreeMap;

use bytes::Bytes;
use copyist_model::TopicName;

use super::{Answers, Config, ConfigSource, Refusal};
use crate::code::Code;
use crate::error::Error;
use crate::primitive::Reader;
use crate::versions::Api;

/// The configs of each resource by its name.
pub type Described = BTreeMap<String, Result<Vec<Config>, Refusal>>;

/// Of CreateTopics.
///
/// # Errors
/// [`Error::Malformed`]
pub fn created(body: &Bytes, version: i16) -> Result<Answers, Error> {
    let flexible = Api::CreateTopics.is_flexible(version);
    let mut reader = Reader::new(body, "a CreateTopics answer", flexible);
    reader.i32()?;
    let mut answers = Answers::new();
    for _ in 0..reader.count(6)? {
        let name = reader.string()?.parse::<TopicName>().ok();
        if version >= 7 {
            reader.topic_id()?;
        }
        let answer = read_answer(&mut reader)?;
        if version >= 5 {
            skip_what_was_created(&mut reader)?;
        }
        reader.skip_tagged()?;
        answers.extend(name.map(|name| (name, answer)));
    }
    Ok(answers)
}

/// Partitions, replication factor, configs.
fn skip_what_was_created(reader: &mut Reader<'_>) -> Result<(), Error> {
    reader.i32()?;
    reader.i16()?;
    for _ in 0..reader.count(6)? {
        reader.string()?;
        reader.nullable_string()?;
        reader.bool()?;
        reader.i8()?;
        reader.bool()?;
        reader.skip_tagged()?;
    }
    Ok(())
}

/// Of CreatePartitions.
///
/// # Errors
/// [`Error::Malformed`]
pub fn grown(body: &Bytes, version: i16) -> Result<Answers, Error> {
    let flexible = Api::CreatePartitions.is_flexible(version);
    let mut reader = Reader::new(body, "a CreatePartitions answer", flexible);
    reader.i32()?;
    let mut answers = Answers::new();
    for _ in 0..reader.count(5)? {
        let name = reader.string()?.parse::<TopicName>().ok();
        let answer = read_answer(&mut reader)?;
        reader.skip_tagged()?;
        answers.extend(name.map(|name| (name, answer)));
    }
    Ok(answers)
}

/// Of IncrementalAlterConfigs: each resource by its name.
///
/// # Errors
/// [`Error::Malformed`]
pub fn altered(body: &Bytes, version: i16) -> Result<BTreeMap<String, Result<(), Refusal>>, Error> {
    let flexible = Api::IncrementalAlterConfigs.is_flexible(version);
    let mut reader = Reader::new(body, "an IncrementalAlterConfigs answer", flexible);
    reader.i32()?;
    let mut answers = BTreeMap::new();
    for _ in 0..reader.count(6)? {
        let answer = read_answer(&mut reader)?;
        reader.i8()?;
        answers.insert(reader.string()?.to_owned(), answer);
        reader.skip_tagged()?;
    }
    Ok(answers)
}

/// Of DescribeConfigs.
///
/// # Errors
/// [`Error::Malformed`]
pub fn described(body: &Bytes, version: i16) -> Result<Described, Error> {
    let flexible = Api::DescribeConfigs.is_flexible(version);
    let mut reader = Reader::new(body, "a DescribeConfigs answer", flexible);
    reader.i32()?;
    let mut resources = BTreeMap::new();
    for _ in 0..reader.count(7)? {
        let answer = read_answer(&mut reader)?;
        reader.i8()?;
        let name = reader.string()?.to_owned();
        let mut configs = Vec::new();
        for _ in 0..reader.count(7)? {
            configs.push(read_config(&mut reader, version)?);
        }
        reader.skip_tagged()?;
        resources.insert(name, answer.map(|()| configs));
    }
    Ok(resources)
}

fn read_config(reader: &mut Reader<'_>, version: i16) -> Result<Config, Error> {
    let config = Config {
        name: reader.string()?.to_owned(),
        value: reader.nullable_string()?.map(str::to_owned),
        is_read_only: reader.bool()?,
        source: source_of(reader.i8()?),
        is_sensitive: reader.bool()?,
    };
    // Where else it is set: not asked for.
    for _ in 0..reader.count(4)? {
        reader.string()?;
        reader.nullable_string()?;
        reader.i8()?;
        reader.skip_tagged()?;
    }
    if version >= 3 {
        // Its type and documentation.
        reader.i8()?;
        reader.nullable_string()?;
    }
    reader.skip_tagged()?;
    Ok(config)
}

/// `DescribeConfigsResponse.ConfigSource` of Kafka.
fn source_of(source: i8) -> ConfigSource {
    match source {
        1 => ConfigSource::Topic,
        2 => ConfigSource::Broker,
        3 => ConfigSource::BrokerDefault,
        4 => ConfigSource::StaticBroker,
        5 => ConfigSource::Default,
        other => ConfigSource::Other(other),
    }
}

fn read_answer(reader: &mut Reader<'_>) -> Result<Result<(), Refusal>, Error> {
    let code = Code(reader.i16()?);
    let text = reader.nullable_string()?.map(str::to_owned);
    Ok(code.check().map_err(|code| Refusal { code, text }))
}

#[cfg(test)]
mod tests;
