//! Fetches from one broker over a connection of its own.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::connection::{Answer, Connection};
use crate::error::Error;
use crate::fetch::{FetchAnswer, FetchLimits, FetchSession, Wanted};
use crate::options::ConnectionOptions;
use crate::topic::{Endpoint, PartitionKey};
use crate::versions::Api;

/// One broker, one connection, one fetch session.
#[derive(Debug)]
pub struct Fetcher {
    connection: Connection,
    session: FetchSession,
}

/// A fetch that is out: completes with what [`Fetcher::take`] takes. Dropped, the next fetch asks for everything anew.
#[derive(Debug)]
pub struct FetchInFlight(Answer);

impl Future for FetchInFlight {
    type Output = Result<Bytes, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl Fetcher {
    /// `rack` is the client's, so that the broker can name a nearer replica; empty: it does not.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn open(endpoint: &Endpoint, options: &ConnectionOptions, rack: &str) -> Result<Self, Error> {
        let connection = Connection::open(endpoint, options).await?;
        let session = FetchSession::new(connection.version(Api::Fetch)?, rack);
        Ok(Self { connection, session })
    }

    /// Asks for `wanted`, all that this broker is to read for us, and waits for the answer. Not to be dropped while it
    /// waits, except that what it would have brought may be asked for again.
    ///
    /// # Errors
    /// [`Error::Lost`]: open another one. [`Error::Malformed`] as well: the broker talks nonsense.
    pub async fn fetch(
        &mut self,
        wanted: &BTreeMap<PartitionKey, Wanted>,
        limits: &FetchLimits,
    ) -> Result<FetchAnswer, Error> {
        let body = self.send(wanted, limits)?.await?;
        self.take(&body)
    }

    /// The first half of [`Fetcher::fetch`]; at most one at a time.
    ///
    /// # Errors
    /// [`Error::Lost`], [`Error::Busy`], at once.
    pub fn send(
        &mut self,
        wanted: &BTreeMap<PartitionKey, Wanted>,
        limits: &FetchLimits,
    ) -> Result<FetchInFlight, Error> {
        let request = self.session.request(wanted, limits);
        let length = request.body.len();
        let timeout = self.connection.request_timeout() + limits.max_wait;
        let sent = self.connection.send(Api::Fetch, request.version, vec![request.body], length, timeout)?;
        Ok(FetchInFlight(sent))
    }

    /// The second half: what came.
    ///
    /// # Errors
    /// [`Error::Malformed`]
    pub fn take(&mut self, body: &Bytes) -> Result<FetchAnswer, Error> {
        let answer = self.session.answer(body)?;
        self.connection.mute(answer.throttle);
        Ok(answer)
    }

    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    #[must_use]
    pub fn session(&self) -> &FetchSession {
        &self.session
    }
}
