//! Produces to one broker over a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use crate::connection::Connection;
use crate::error::Error;
use crate::options::ConnectionOptions;
use crate::produce::{EncodedProduce, ProduceAnswer, ProduceFrame, walk};
use crate::topic::Endpoint;
use crate::versions::Api;

/// One broker, one connection. Several requests may be under way; the broker takes them in the order of the calls.
#[derive(Debug, Clone)]
pub struct Producer {
    connection: Arc<Connection>,
    version: i16,
}

impl Producer {
    /// # Errors
    /// As [`Connection::open`].
    pub async fn open(endpoint: &Endpoint, options: &ConnectionOptions) -> Result<Self, Error> {
        let connection = Connection::open(endpoint, options).await?;
        let version = connection.version(Api::Produce)?;
        Ok(Self { connection: Arc::new(connection), version })
    }

    /// Queues a request, now; the future is its outcome. The broker waits for its replicas for as long as a request
    /// may take. A future that is dropped leaves the outcome unknown.
    ///
    /// Fails with [`Error::Busy`] when nothing was sent; after [`Error::Lost`] and [`Error::Malformed`] the outcome is
    /// **unknown**: ask before sending again.
    pub fn send(
        &self,
        frame: ProduceFrame,
    ) -> impl Future<Output = Result<ProduceAnswer, Error>> + Send + 'static {
        let timeout = self.connection.request_timeout();
        let request = frame.encode(self.version, timeout);
        self.send_encoded(request, timeout)
    }

    fn send_encoded(
        &self,
        request: EncodedProduce,
        timeout: Duration,
    ) -> impl Future<Output = Result<ProduceAnswer, Error>> + Send + 'static {
        let EncodedProduce { version, segments, body_bytes, sent: partitions } = request;
        // A broker that waits for its replicas until the last moment still has its say.
        let timeout = timeout + timeout / 4;
        let sent = self.connection.send(Api::Produce, version, segments, body_bytes, timeout);
        let connection = Arc::clone(&self.connection);
        async move {
            let body = sent?.await?;
            let answer = walk(&body, version, &partitions)?;
            connection.mute(answer.throttle);
            Ok(answer)
        }
    }

    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}
