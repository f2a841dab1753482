//! What a user's client properties say about connections.

use std::str::FromStr;
use std::time::Duration;

use copyist_model::ClientProperties;

use crate::error::Error;
use crate::topic::Endpoint;

/// How connections to the brokers of one cluster are made and kept.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// Sent with each request; quotas and the broker's log name it.
    pub client_id: String,
    /// For one address: TCP, and the first exchange on it.
    pub connect_timeout: Duration,
    /// For an answer, from when its request was written; a fetch adds its own wait.
    pub request_timeout: Duration,
    /// How long written bytes may stay unacknowledged by the broker's machine (`TCP_USER_TIMEOUT`); `None`: the
    /// kernel's default, about a quarter of an hour.
    pub tcp_user_timeout: Option<Duration>,
    /// `SO_SNDBUF`; `None`: the kernel adapts it.
    pub send_buffer_bytes: Option<usize>,
    /// `SO_RCVBUF`; `None`: the kernel adapts it.
    pub receive_buffer_bytes: Option<usize>,
    /// A longer answer breaks the connection.
    pub response_bytes_max: usize,
    /// Requests that may wait to be written.
    pub queued_requests_max: usize,
    /// Bytes of buffers that a connection keeps for its next answers.
    pub pool_bytes_max: usize,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            client_id: "copyist".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            tcp_user_timeout: None,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
            response_bytes_max: 100 << 20,
            queued_requests_max: 64,
            pool_bytes_max: 16 << 20,
        }
    }
}

/// The client properties of one cluster, as far as this client reads them.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    pub bootstrap: Vec<Endpoint>,
    pub connection: ConnectionOptions,
    /// `client.rack`; empty when there is none.
    pub rack: String,
    /// The first and the longest wait before a broker that could not be reached is tried again.
    pub reconnect_backoff: (Duration, Duration),
    /// The first and the longest wait before metadata is asked for again.
    pub retry_backoff: (Duration, Duration),
    /// For one operation on the cluster with its retries: `default.api.timeout.ms`.
    pub operation_timeout: Duration,
}

impl ClientOptions {
    #[must_use]
    pub fn new(bootstrap: Vec<Endpoint>) -> Self {
        let ms = Duration::from_millis;
        Self {
            bootstrap,
            connection: ConnectionOptions::default(),
            rack: String::new(),
            reconnect_backoff: (ms(50), ms(1_000)),
            retry_backoff: (ms(100), ms(1_000)),
            operation_timeout: ms(60_000),
        }
    }

    /// Reads Kafka's names, resolved. Keys that mean nothing to this client are left alone.
    ///
    /// # Errors
    /// [`Error::Config`] with all problems; a `security.protocol` other than PLAINTEXT is one.
    pub fn parse(properties: &ClientProperties) -> Result<Self, Error> {
        let mut reader = PropertyReader { properties, problems: Vec::new() };
        let bootstrap = match Endpoint::parse_list(properties.bootstrap_servers()) {
            Ok(endpoints) => endpoints,
            Err(why) => {
                reader.problems.push(format!("bootstrap.servers: {why}"));
                Vec::new()
            }
        };
        if let Some(protocol) = properties.get("security.protocol")
            && !protocol.trim().eq_ignore_ascii_case("PLAINTEXT")
        {
            reader.problems.push(format!("security.protocol {protocol} needs engine=librdkafka"));
        }
        let mut options = Self::new(bootstrap);
        reader.fill(&mut options);
        if reader.problems.is_empty() { Ok(options) } else { Err(Error::Config(reader.problems.join("; "))) }
    }
}

struct PropertyReader<'p> {
    properties: &'p ClientProperties,
    problems: Vec<String>,
}

impl PropertyReader<'_> {
    fn fill(&mut self, options: &mut ClientOptions) {
        let connection = &mut options.connection;
        if let Some(id) = self.properties.get("client.id") {
            id.clone_into(&mut connection.client_id);
        }
        if let Some(rack) = self.properties.get("client.rack") {
            rack.clone_into(&mut options.rack);
        }
        self.millis("socket.connection.setup.timeout.ms", &mut connection.connect_timeout);
        self.millis("request.timeout.ms", &mut connection.request_timeout);
        self.millis("default.api.timeout.ms", &mut options.operation_timeout);
        self.millis("reconnect.backoff.ms", &mut options.reconnect_backoff.0);
        self.millis("reconnect.backoff.max.ms", &mut options.reconnect_backoff.1);
        self.millis("retry.backoff.ms", &mut options.retry_backoff.0);
        self.millis("retry.backoff.max.ms", &mut options.retry_backoff.1);
        self.buffer("send.buffer.bytes", &mut connection.send_buffer_bytes);
        self.buffer("receive.buffer.bytes", &mut connection.receive_buffer_bytes);
    }

    fn number<T: FromStr>(&mut self, name: &str, wanted: &str) -> Option<T> {
        let given = self.properties.get(name)?;
        let number = given.trim().parse().ok();
        if number.is_none() {
            self.problems.push(format!("{name}: {given:?} is not {wanted}"));
        }
        number
    }

    fn millis(&mut self, name: &str, into: &mut Duration) {
        if let Some(millis) = self.number::<u32>(name, "a number of milliseconds") {
            *into = Duration::from_millis(millis.into());
        }
    }

    /// -1 leaves it to the kernel, as in Kafka.
    fn buffer(&mut self, name: &str, into: &mut Option<usize>) {
        if let Some(bytes) = self.number::<i32>(name, "a number of bytes, or -1") {
            *into = usize::try_from(bytes).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> ClientProperties {
        ClientProperties(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    }

    #[test]
    fn kafkas_names_are_read() {
        let options = ClientOptions::parse(&properties(&[
            ("bootstrap.servers", "a:1,b:2"),
            ("client.id", "me"),
            ("request.timeout.ms", "1500"),
            ("reconnect.backoff.max.ms", "2000"),
            ("receive.buffer.bytes", "65536"),
            ("send.buffer.bytes", "-1"),
            ("acks", "all"),
            ("security.protocol", "plaintext"),
        ]))
        .unwrap();
        assert_eq!(options.bootstrap.len(), 2);
        assert_eq!(options.connection.client_id, "me");
        assert_eq!(options.connection.request_timeout, Duration::from_millis(1500));
        assert_eq!(options.reconnect_backoff, (Duration::from_millis(50), Duration::from_secs(2)));
        assert_eq!(options.connection.receive_buffer_bytes, Some(65536));
        assert_eq!(options.connection.send_buffer_bytes, None);
    }

    #[test]
    fn all_problems_are_named_at_once() {
        let error = ClientOptions::parse(&properties(&[
            ("bootstrap.servers", "a"),
            ("request.timeout.ms", "soon"),
            ("security.protocol", "SASL_SSL"),
        ]))
        .unwrap_err()
        .to_string();
        let named = ["bootstrap.servers: \"a\"", "request.timeout.ms: \"soon\"", "SASL_SSL"];
        assert!(named.iter().all(|part| error.contains(part)), "{error}");
    }
}
