//! What is known about a name in a worker file.

use super::clients;
use super::key::{Clients, Members, Without, WorkerKey};
use super::role::Role;
use super::table::{self, FAMILIES};

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
pub enum Definition<'a> {
    /// A row of the table.
    Own(&'static WorkerKey),
    /// A Kafka client key; `property` is its name without the prefix.
    Client {
        clients: Clients,
        property: &'a str,
    },
    /// Of a config provider.
    Provider,
    /// Known, and without effect for these roles.
    Ignored(Without, &'static [Role]),
    Unknown,
}

#[must_use]
pub fn define(name: &str) -> Definition<'_> {
    // Some rows are client keys as well, such as session.timeout.ms: without a prefix they are the worker's.
    if let Some(key) = table::find(name) {
        return Definition::Own(key);
    }
    let family = FAMILIES.iter().find_map(|family| Some((family, name.strip_prefix(family.prefix)?)));
    let (clients, property) = match family.map(|(family, rest)| (family.members, family.roles, rest)) {
        Some((Members::Ignored(without), roles, _)) => return Definition::Ignored(without, roles),
        Some((Members::Providers, _, _)) => return Definition::Provider,
        Some((Members::Clients(clients), _, property)) => (clients, property),
        None => (Clients::All, name),
    };
    if clients::is_known(property) { Definition::Client { clients, property } } else { Definition::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let rows = [
            ("group.id", "own group.id"),
            ("bootstrap.servers", "own bootstrap.servers"),
            ("session.timeout.ms", "own session.timeout.ms"),
            ("admin.listeners", "own admin.listeners"),
            ("security.protocol", "All security.protocol"),
            ("producer.session.timeout.ms", "Producers session.timeout.ms"),
            ("producer.linger.ms", "Producers linger.ms"),
            ("consumer.bootstrap.servers", "Consumers bootstrap.servers"),
            ("admin.sasl.jaas.config", "Admins sasl.jaas.config"),
            ("metric.reporters", "All metric.reporters"),
            ("key.converter.schemas.enable", "ignored"),
            ("admin.listeners.https.ssl.key.password", "ignored"),
            ("config.providers", "own config.providers"),
            ("config.providers.a.class", "provider"),
            ("producer.lingr.ms", "unknown"),
            ("producer.", "unknown"),
            ("lingr", "unknown"),
        ];
        for (name, expected) in rows {
            let found = match define(name) {
                Definition::Own(key) => format!("own {}", key.name),
                Definition::Client { clients, property } => format!("{clients:?} {property}"),
                Definition::Provider => "provider".to_owned(),
                Definition::Ignored(..) => "ignored".to_owned(),
                Definition::Unknown => "unknown".to_owned(),
            };
            assert_eq!(found, expected, "{name}");
        }
    }
}
