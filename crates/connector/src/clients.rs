//! Kafka's client keys, as they follow `src.kafka.`, `src.consumer.`, `dest.kafka.` and `producer.override.`:
//! the names of the consumer, producer and admin clients of Kafka 4.3.
//!
//! [`HONOURED`] reach the agents' clients; those of [`IGNORED`] are known, so that a typo can be told from them,
//! and change nothing.

use crate::key::Importance::{High, Low, Medium};
use crate::key::{Effect, Importance};
use crate::kind::{Kind, Width};

/// Which clients a key concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Those that read the source.
    Source,
    /// Those that write the destination.
    Destination,
    Both,
}

impl Side {
    /// Whether a key of this side concerns the clients of `other`.
    #[must_use]
    pub fn includes(self, other: Self) -> bool {
        self == Self::Both || self == other
    }

    /// Why a key that does not concern these clients has no effect on them.
    #[must_use]
    pub const fn has_no_such_key(self) -> &'static str {
        match self {
            Self::Source => "consumers have no such key",
            Self::Destination => "producers have no such key",
            Self::Both => "no client has such a key",
        }
    }
}

/// A client key that means something to Copyist.
#[derive(Debug, Clone, Copy)]
pub struct ClientKey {
    pub name: &'static str,
    pub kind: Kind,
    pub side: Side,
    /// Kafka's own: the producer's, where it has the key.
    pub importance: Importance,
    pub effect: Effect,
    /// One sentence for the reader of a reference page.
    pub documentation: &'static str,
}

/// Client keys without effect, for one reason.
#[derive(Debug, Clone, Copy)]
pub struct Ignored {
    pub reason: &'static str,
    pub names: &'static [&'static str],
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct IgnoredKey {
    pub name: &'static str,
    pub reason: &'static str,
}

/// The row of a client key that means something.
#[must_use]
pub fn find(name: &str) -> Option<&'static ClientKey> {
    HONOURED.iter().find(|key| key.name == name)
}

/// Whether Kafka's clients know a key that has no effect here.
#[must_use]
pub fn is_ignored(name: &str) -> bool {
    ignored(name).is_some()
}

/// A key that Kafka's clients know and that has no effect here.
#[must_use]
pub fn ignored(name: &str) -> Option<IgnoredKey> {
    let known = |Ignored { reason, names }: &'static Ignored| {
        let name = names.iter().find(|known| **known == name)?;
        Some(IgnoredKey { name, reason })
    };
    IGNORED.iter().find_map(known)
}

/// Every client key of Kafka.
pub fn names() -> impl Iterator<Item = &'static str> {
    let ignored = IGNORED.iter().flat_map(|ignored| ignored.names.iter().copied());
    HONOURED.iter().map(|key| key.name).chain(ignored)
}

const fn row(
    name: &'static str,
    kind: Kind,
    side: Side,
    importance: Importance,
    documentation: &'static str,
) -> ClientKey {
    ClientKey { name, kind, side, importance, effect: Effect::Honoured, documentation }
}

const fn always(
    name: &'static str,
    kind: Kind,
    side: Side,
    importance: Importance,
    values: &'static [&'static str],
    documentation: &'static str,
) -> ClientKey {
    ClientKey { name, kind, side, importance, effect: Effect::Always(values), documentation }
}

const BYTES: Kind = Kind::number(Width::Int, 0);
const SOCKET_BYTES: Kind = Kind::number(Width::Int, -1);
const INT_MS: Kind = Kind::number(Width::Int, 0);
const LONG_MS: Kind = Kind::number(Width::Long, 0);
const IN_FLIGHT: Kind = Kind::Number { width: Width::Int, min: Some(1), max: Some(5), counted: false };
/// In the order in which Kafka names them.
const PROTOCOLS: Kind = Kind::OneOfAnyCase(&["SASL_SSL", "PLAINTEXT", "SSL", "SASL_PLAINTEXT"]);
const MECHANISMS: Kind = Kind::OneOf(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]);
const CODECS: Kind = Kind::OneOf(&["none", "gzip", "snappy", "lz4", "zstd"]);
const ACKS: Kind = Kind::OneOf(&["all", "-1", "0", "1"]);
const ISOLATION: Kind = Kind::OneOf(&["read_committed", "read_uncommitted"]);
const DNS: Kind = Kind::OneOf(&["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"]);

#[rustfmt::skip]
pub const HONOURED: &[ClientKey] = &[
    row("bootstrap.servers", Kind::Servers, Side::Both, High, "Brokers to ask first, as host:port, separated by commas."),
    row("client.id", Kind::Text, Side::Both, Medium, "The name that brokers log and set quotas by."),
    row("client.dns.lookup", DNS, Side::Both, Medium, "Whether all addresses of a host name are tried in turn."),
    row("client.rack", Kind::Text, Side::Source, Low, "The rack of the reader: brokers that can, let it read from a replica there."),
    row("security.protocol", PROTOCOLS, Side::Both, Medium, "How to speak to the brokers: in the clear or by TLS, with SASL or without."),
    row("sasl.mechanism", MECHANISMS, Side::Both, Medium, "How to authenticate."),
    row("sasl.jaas.config", Kind::Password, Side::Both, Medium, "The login module of Java's notation, with username and password."),
    row("ssl.keystore.location", Kind::Text, Side::Both, High, "The file with the client's key and certificates."),
    row("ssl.keystore.password", Kind::Password, Side::Both, High, "The password of that file."),
    row("ssl.keystore.type", Kind::Text, Side::Both, Medium, "The format of that file."),
    row("ssl.keystore.key", Kind::Password, Side::Both, High, "The client's key itself, in PEM."),
    row("ssl.keystore.certificate.chain", Kind::Password, Side::Both, High, "The client's certificates themselves, in PEM."),
    row("ssl.key.password", Kind::Password, Side::Both, High, "The password of the client's key."),
    row("ssl.truststore.location", Kind::Text, Side::Both, High, "The file with the certificates that sign the brokers'."),
    row("ssl.truststore.password", Kind::Password, Side::Both, High, "The password of that file."),
    row("ssl.truststore.type", Kind::Text, Side::Both, Medium, "The format of that file."),
    row("ssl.truststore.certificates", Kind::Password, Side::Both, High, "Those certificates themselves, in PEM."),
    row("ssl.endpoint.identification.algorithm", Kind::Text, Side::Both, Low, "How a broker's certificate must match its host name; empty: it need not."),
    row("request.timeout.ms", INT_MS, Side::Both, Medium, "How long to wait for the answer to a request."),
    row("connections.max.idle.ms", Kind::Number { width: Width::Long, min: None, max: None, counted: false }, Side::Both, Medium, "After which idle time a connection is closed."),
    row("metadata.max.age.ms", LONG_MS, Side::Both, Low, "After which time the leaders of partitions are asked for again."),
    row("reconnect.backoff.ms", LONG_MS, Side::Both, Low, "How long to wait before connecting again."),
    row("reconnect.backoff.max.ms", LONG_MS, Side::Both, Low, "The longest such wait after repeated failures."),
    row("retry.backoff.ms", LONG_MS, Side::Both, Low, "How long to wait before repeating a failed request."),
    row("retry.backoff.max.ms", LONG_MS, Side::Both, Low, "The longest such wait after repeated failures."),
    row("receive.buffer.bytes", SOCKET_BYTES, Side::Both, Medium, "Size of the sockets' receive buffers; -1: the system's."),
    row("send.buffer.bytes", SOCKET_BYTES, Side::Both, Medium, "Size of the sockets' send buffers; -1: the system's."),
    row("socket.connection.setup.timeout.ms", LONG_MS, Side::Both, Medium, "How long to wait until a connection stands."),
    row("fetch.min.bytes", BYTES, Side::Source, High, "How much a broker gathers before it answers a fetch."),
    row("fetch.max.bytes", BYTES, Side::Source, Medium, "How much one answer to a fetch may hold."),
    row("fetch.max.wait.ms", INT_MS, Side::Source, Low, "How long a broker gathers at most before it answers a fetch."),
    row("max.partition.fetch.bytes", BYTES, Side::Source, High, "How much of one partition an answer to a fetch may hold."),
    row("check.crcs", Kind::Boolean, Side::Source, Low, "Whether checksums of fetched records are checked."),
    row("auto.offset.reset", Kind::OffsetReset, Side::Source, Medium, "Where a partition without a stored position starts, when it was there at the connector's first survey."),
    row("compression.type", CODECS, Side::Destination, High, "How records are compressed for the destination."),
    row("linger.ms", LONG_MS, Side::Destination, Medium, "How long to gather records for a batch."),
    row("batch.size", BYTES, Side::Destination, Medium, "How large a batch of records may grow."),
    row("max.request.size", BYTES, Side::Destination, Medium, "How large a request, and so a record, may be."),
    row("max.in.flight.requests.per.connection", IN_FLIGHT, Side::Destination, Low, "How many requests may be unanswered at a time."),
    always("acks", ACKS, Side::Destination, Low, &["all", "-1"], "Every in-sync replica acknowledges, always."),
    always("enable.idempotence", Kind::Boolean, Side::Destination, Low, &["true"], "The producer is idempotent, always."),
    always("isolation.level", ISOLATION, Side::Source, Medium, &["read_committed"], "Records of aborted transactions are never copied."),
    always("allow.auto.create.topics", Kind::Boolean, Side::Source, Medium, &["false"], "Asking for a topic never creates it."),
    always("enable.auto.commit", Kind::Boolean, Side::Source, Medium, &["false"], "Positions are stored when the destination has acknowledged, and not before."),
];

pub const IGNORED: &[Ignored] = &[
    Ignored {
        reason: "Java classes are not loaded",
        names: &[
            "interceptor.classes",
            "key.deserializer",
            "key.serializer",
            "metric.reporters",
            "sasl.client.callback.handler.class",
            "sasl.login.callback.handler.class",
            "sasl.login.class",
            "sasl.oauthbearer.jwt.retriever.class",
            "sasl.oauthbearer.jwt.validator.class",
            "security.providers",
            "ssl.engine.factory.class",
            "value.deserializer",
            "value.serializer",
        ],
    },
    Ignored {
        reason: "TLS is OpenSSL's: protocol versions and ciphers are its own choice",
        names: &[
            "ssl.cipher.suites",
            "ssl.enabled.protocols",
            "ssl.keymanager.algorithm",
            "ssl.protocol",
            "ssl.provider",
            "ssl.secure.random.implementation",
            "ssl.trustmanager.algorithm",
        ],
    },
    Ignored {
        reason: "Kerberos and OAuth are not supported",
        names: &[
            "sasl.kerberos.kinit.cmd",
            "sasl.kerberos.min.time.before.relogin",
            "sasl.kerberos.service.name",
            "sasl.kerberos.ticket.renew.jitter",
            "sasl.kerberos.ticket.renew.window.factor",
            "sasl.login.connect.timeout.ms",
            "sasl.login.read.timeout.ms",
            "sasl.login.refresh.buffer.seconds",
            "sasl.login.refresh.min.period.seconds",
            "sasl.login.refresh.window.factor",
            "sasl.login.refresh.window.jitter",
            "sasl.login.retry.backoff.max.ms",
            "sasl.login.retry.backoff.ms",
            "sasl.oauthbearer.assertion.algorithm",
            "sasl.oauthbearer.assertion.claim.aud",
            "sasl.oauthbearer.assertion.claim.exp.seconds",
            "sasl.oauthbearer.assertion.claim.iss",
            "sasl.oauthbearer.assertion.claim.jti.include",
            "sasl.oauthbearer.assertion.claim.nbf.seconds",
            "sasl.oauthbearer.assertion.claim.sub",
            "sasl.oauthbearer.assertion.file",
            "sasl.oauthbearer.assertion.private.key.file",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.template.file",
            "sasl.oauthbearer.client.credentials.client.id",
            "sasl.oauthbearer.client.credentials.client.secret",
            "sasl.oauthbearer.clock.skew.seconds",
            "sasl.oauthbearer.expected.audience",
            "sasl.oauthbearer.expected.issuer",
            "sasl.oauthbearer.header.urlencode",
            "sasl.oauthbearer.jwks.endpoint.refresh.ms",
            "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms",
            "sasl.oauthbearer.jwks.endpoint.retry.backoff.ms",
            "sasl.oauthbearer.jwks.endpoint.url",
            "sasl.oauthbearer.scope",
            "sasl.oauthbearer.scope.claim.name",
            "sasl.oauthbearer.sub.claim.name",
            "sasl.oauthbearer.token.endpoint.url",
        ],
    },
    Ignored {
        reason: "partitions are assigned by tasks, not by a consumer group",
        names: &[
            "auto.commit.interval.ms",
            "exclude.internal.topics",
            "group.id",
            "group.instance.id",
            "group.protocol",
            "group.remote.assignor",
            "heartbeat.interval.ms",
            "max.poll.interval.ms",
            "max.poll.records",
            "partition.assignment.strategy",
            "session.timeout.ms",
            "share.acknowledgement.mode",
            "share.acquire.mode",
        ],
    },
    Ignored {
        reason: "each record goes into the partition that it came from, and there are no transactions",
        names: &[
            "partitioner.adaptive.partitioning.enable",
            "partitioner.availability.timeout.ms",
            "partitioner.class",
            "partitioner.ignore.keys",
            "transaction.timeout.ms",
            "transaction.two.phase.commit.enable",
            "transactional.id",
        ],
    },
    Ignored {
        reason: "a copy is retried until the destination answers, within the agent's own memory",
        names: &["buffer.memory", "default.api.timeout.ms", "delivery.timeout.ms", "max.block.ms", "retries"],
    },
    Ignored {
        reason: "a detail of Java's clients",
        names: &[
            "bootstrap.controllers",
            "compression.gzip.level",
            "compression.lz4.level",
            "compression.zstd.level",
            "config.providers",
            "enable.metrics.push",
            "metadata.max.idle.ms",
            "metadata.recovery.rebootstrap.trigger.ms",
            "metadata.recovery.strategy",
            "metrics.num.samples",
            "metrics.recording.level",
            "metrics.sample.window.ms",
            "socket.connection.setup.timeout.max.ms",
        ],
    },
];
