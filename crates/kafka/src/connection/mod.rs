//! One connection to one broker: requests go out as they come, many before the first answer; answers come back in
//! their order. Two tasks own the halves of the socket, a handle owns the tasks.

mod reader;
mod writer;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::{Encodable, StrBytes};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::{BreakCause, Error};
use crate::frame::RequestHead;
use crate::options::ConnectionOptions;
use crate::primitive::Reader;
use crate::topic::Endpoint;
use crate::transport::{self, SocketHandle, Transport};
use crate::versions::{Api, Versions};

/// Requests whose answers may be outstanding at once.
const UNANSWERED_MAX: usize = 256;
/// Brokers throttle for no longer than their quotas' windows, a dozen seconds; more is no quota.
const THROTTLE_MAX: Duration = Duration::from_secs(60);

/// A handle. Dropping it breaks the connection, [`Connection::close`] lets what is under way end first.
pub struct Connection {
    shared: Arc<Shared>,
    versions: Versions,
    request_timeout: Duration,
    queue: Mutex<Option<mpsc::Sender<Outgoing>>>,
    queued_max: usize,
    socket: Mutex<Option<SocketHandle>>,
    tasks: TaskTracker,
}

/// What handle, tasks and waiting callers have in common.
struct Shared {
    broker: Arc<str>,
    cause: OnceLock<Arc<BreakCause>>,
    stop: CancellationToken,
    /// Nothing is written before.
    muted_until: watch::Sender<Instant>,
}

/// A request on its way to the writer.
struct Outgoing {
    api: Api,
    version: i16,
    segments: Vec<Bytes>,
    body_bytes: usize,
    timeout: Duration,
    reply: oneshot::Sender<Bytes>,
}

/// A request on its way to the reader: the next answer is its own.
struct Pending {
    head: RequestHead,
    deadline: Instant,
    timeout: Duration,
    reply: oneshot::Sender<Bytes>,
}

impl Connection {
    /// Connects, and asks the broker which versions it speaks. Takes at most `connect_timeout` for each address and
    /// for that question.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Lost`], or what the broker says.
    pub async fn open(endpoint: &Endpoint, options: &ConnectionOptions) -> Result<Self, Error> {
        let transport = transport::connect(endpoint, options).await?;
        Self::over(transport, endpoint.to_string().into(), options).await
    }

    async fn over(
        transport: Transport,
        broker: Arc<str>,
        options: &ConnectionOptions,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            broker: Arc::clone(&broker),
            cause: OnceLock::new(),
            stop: CancellationToken::new(),
            muted_until: watch::Sender::new(Instant::now()),
        });
        let (queue, queued) = mpsc::channel(options.queued_requests_max);
        let (unanswered, pending) = mpsc::channel(UNANSWERED_MAX);
        let tasks = TaskTracker::new();
        let client_id = options.client_id.clone();
        tasks.spawn(writer::write_requests(
            transport.write,
            queued,
            unanswered,
            client_id,
            Arc::clone(&shared),
        ));
        tasks.spawn(reader::read_answers(transport.read, pending, options.clone(), Arc::clone(&shared)));
        tasks.close();
        let mut connection = Self {
            shared,
            versions: Versions::none(Arc::clone(&broker)),
            request_timeout: options.request_timeout,
            queue: Mutex::new(Some(queue)),
            queued_max: options.queued_requests_max,
            socket: Mutex::new(Some(transport.socket)),
            tasks,
        };
        let versions = connection.ask_versions(broker, options.connect_timeout).await;
        connection.versions = versions.map_err(Error::before_use)?;
        Ok(connection)
    }

    async fn ask_versions(&self, broker: Arc<str>, timeout: Duration) -> Result<Versions, Error> {
        for version in [Api::ApiVersions.ours().max, 0] {
            let mut request = ApiVersionsRequest::default();
            if version >= 3 {
                request.client_software_name = StrBytes::from_static_str("copyist");
                request.client_software_version = StrBytes::from_static_str(env!("CARGO_PKG_VERSION"));
            }
            let body = encoded(Api::ApiVersions, version, &request)?;
            let length = body.len();
            let body = self.send(Api::ApiVersions, version, vec![body], length, timeout)?.await?;
            if let Ok(versions) = Versions::read(Arc::clone(&broker), &body, version)? {
                return Ok(versions);
            }
        }
        Ok(Versions::none(broker))
    }

    /// How errors call the broker: `host:port`.
    #[must_use]
    pub fn broker(&self) -> &str {
        &self.shared.broker
    }

    /// # Errors
    /// [`Error::Unsupported`] when the broker and we have no version of it in common.
    pub fn version(&self, api: Api) -> Result<i16, Error> {
        self.versions.pick(api)
    }

    #[must_use]
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Whether requests still go through it, as far as is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shared.cause.get().is_none() && !self.shared.stop.is_cancelled()
    }

    /// Sends a small request, and waits for the body of its answer.
    ///
    /// # Errors
    /// [`Error::Lost`] when there is no answer in time, [`Error::Busy`] when nothing was sent.
    pub async fn call(&self, api: Api, version: i16, request: &impl Encodable) -> Result<Bytes, Error> {
        let body = encoded(api, version, request)?;
        let length = body.len();
        let body = self.send(api, version, vec![body], length, self.request_timeout)?.await?;
        if api.throttle_leads() {
            let throttle = Reader::new(&body, "an answer", false).i32()?;
            self.mute(crate::fetch::duration_of(throttle));
        }
        Ok(body)
    }

    /// Queues a request whose body is these segments, `body_bytes` in all; requests leave in the order of these calls.
    /// The answer's body comes later. `timeout` counts from when the request is written.
    ///
    /// # Errors
    /// [`Error::Busy`] and [`Error::Lost`], at once.
    pub fn send(
        &self,
        api: Api,
        version: i16,
        segments: Vec<Bytes>,
        body_bytes: usize,
        timeout: Duration,
    ) -> Result<Answer, Error> {
        let (reply, answer) = oneshot::channel();
        let outgoing = Outgoing { api, version, segments, body_bytes, timeout, reply };
        let queue = lock(&self.queue);
        let sent = queue.as_ref().map(|queue| queue.try_send(outgoing));
        match sent {
            Some(Ok(())) => Ok(Answer { answer, shared: Arc::clone(&self.shared) }),
            Some(Err(mpsc::error::TrySendError::Full(_))) => {
                Err(Error::Busy { broker: Arc::clone(&self.shared.broker), pending: self.queued_max })
            }
            Some(Err(mpsc::error::TrySendError::Closed(_))) | None => Err(self.shared.lost()),
        }
    }

    /// For answers, from when their requests are written; a fetch adds its own wait.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// Holds requests back for as long as the broker's answer said (`throttle_time_ms`).
    pub fn mute(&self, throttle: Duration) {
        let throttle = throttle.min(THROTTLE_MAX);
        if !throttle.is_zero() {
            let until = Instant::now() + throttle;
            self.shared.muted_until.send_modify(|muted| *muted = (*muted).max(until));
        }
    }

    /// Takes no more requests, lets those under way be answered (or miss their deadline), and closes.
    pub async fn close(&self) {
        drop(lock(&self.queue).take());
        self.tasks.wait().await;
        drop(lock(&self.socket).take());
    }

    /// Closes now: what is not yet on its way is thrown away, and all that waits for an answer gets [`Error::Lost`].
    /// When this returns, nothing of it reaches the broker any more that had not left this machine.
    pub async fn abort(&self) {
        if let Some(socket) = lock(&self.socket).take() {
            socket.discard_unsent();
        }
        self.shared.broken(BreakCause::Aborted);
        self.tasks.wait().await;
    }

    /// Completes when the connection is broken or closed.
    pub async fn ended(&self) {
        self.tasks.wait().await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.broken(BreakCause::Aborted);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("broker", &self.shared.broker).finish_non_exhaustive()
    }
}

impl Shared {
    /// The first cause stays.
    fn broken(&self, cause: BreakCause) {
        let _ = self.cause.set(Arc::new(cause));
        self.stop.cancel();
    }

    fn lost(&self) -> Error {
        let cause = self.cause.get().map_or_else(|| Arc::new(BreakCause::Closed), Arc::clone);
        Error::Lost { broker: Arc::clone(&self.broker), cause }
    }
}

/// The body of an answer, later. Dropped, it is thrown away when it comes; its request, if still queued, is not sent.
#[derive(Debug)]
pub struct Answer {
    answer: oneshot::Receiver<Bytes>,
    shared: Arc<Shared>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("broker", &self.broker).finish_non_exhaustive()
    }
}

impl Future for Answer {
    type Output = Result<Bytes, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.answer).poll(context));
        Poll::Ready(answer.map_err(|_| self.shared.lost()))
    }
}

/// A poisoned lock is taken all the same: each value behind one is replaced as a whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn encoded(api: Api, version: i16, request: &impl Encodable) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    let done = request.encode(&mut bytes, version);
    done.map_err(|error| Error::Config(format!("{api} request, version {version}: {error}")))?;
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests;
