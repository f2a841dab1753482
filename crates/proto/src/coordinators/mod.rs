//! How a role reaches the coordinators: a list of addresses, one connection to each, and calls that go on to the next
//! address until somebody answers.
//!
//! Any replica takes a call: one that does not lead forwards it. UNAVAILABLE means that nobody could answer: it is asked
//! again, there or elsewhere, until the call's patience or deadline ends. A write carries a request id, so that one which
//! was done already gets its first answer. [`Course`] decides where and when; the rest is its shell.

mod course;
mod dial;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use rand::RngExt;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Channel;
use tower::Service;
use tracing::Instrument;

use crate::passing::{self, Failure, Held};
use crate::trace;

pub use course::Course;
pub use dial::{CONNECT_TIMEOUT, HEADER_BYTES_MAX, connection};

/// The longest wait between two rounds of a call: an election takes some seconds.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// Attached to a request: how long it is asked again when nobody can answer. Without it: until the call's deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(pub Duration);

/// Attached to a request: once it may have begun somewhere, it is not asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Once;

/// Addresses that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddresses {
    /// Nothing to reach a coordinator by.
    #[error("there is no address of a coordinator")]
    Nothing,
    /// These are no addresses.
    #[error("an address of a coordinator is host:port, and not {}", .0.join(", "))]
    Malformed(Vec<String>),
}

/// The coordinators of a fleet, as a service for calls. Cheap to clone; clones share their connections.
///
/// A call's answer is whatever a coordinator said, but for UNAVAILABLE. When nobody answered, it is UNAVAILABLE with
/// every address and what was wrong there (with the metadata `copyist-not-begun` if the call has certainly not begun
/// anywhere); when the caller's time was over, DEADLINE_EXCEEDED. A call whose requests are a stream needs a
/// [`Coordinators::channel`].
#[derive(Debug, Clone)]
pub struct Coordinators {
    places: Arc<[Place]>,
    /// The number of the address that answered last.
    answered: Arc<AtomicUsize>,
    deadline: Duration,
    /// Whether this process ends.
    ends: Arc<watch::Sender<bool>>,
}

#[derive(Debug)]
struct Place {
    address: String,
    channel: Channel,
    /// Counts attempts to connect that ran into their timeout, so that who waits for the same connection goes elsewhere
    /// instead of waiting for one attempt after the other.
    unreachable: watch::Sender<u64>,
}

impl Place {
    fn new(address: String, channel: Channel) -> Self {
        Self { address, channel, unreachable: watch::channel(0).0 }
    }
}

impl Coordinators {
    /// By their addresses (`host:port`), connected when first used. A call without a deadline of its own (`grpc-timeout`)
    /// gets `deadline`. Needs a tokio runtime.
    ///
    /// # Errors
    /// When there are none, or some are malformed: all of them at once.
    pub fn new<A: AsRef<str>>(
        addresses: impl IntoIterator<Item = A>,
        deadline: Duration,
    ) -> Result<Self, InvalidAddresses> {
        let addresses: Vec<String> =
            addresses.into_iter().map(|address| address.as_ref().to_owned()).collect();
        let opened = addresses.iter().map(|address| (address, connection(address)));
        let (good, bad): (Vec<_>, Vec<_>) = opened.partition(|(_, channel)| channel.is_some());
        if !bad.is_empty() {
            return Err(InvalidAddresses::Malformed(
                bad.into_iter().map(|(text, _)| format!("{text:?}")).collect(),
            ));
        }
        let place =
            |(address, channel): (&String, Option<Channel>)| Some(Place::new(address.clone(), channel?));
        let places: Vec<Place> = good.into_iter().filter_map(place).collect();
        if places.is_empty() {
            return Err(InvalidAddresses::Nothing);
        }
        Ok(Self::of(places, deadline))
    }

    /// The one coordinator of this process.
    #[must_use]
    pub fn in_process(channel: Channel, deadline: Duration) -> Self {
        Self::of(vec![Place::new("in-process".to_owned(), channel)], deadline)
    }

    fn of(places: Vec<Place>, deadline: Duration) -> Self {
        Self {
            places: places.into(),
            answered: Arc::default(),
            deadline,
            ends: Arc::new(watch::channel(false).0),
        }
    }

    /// The addresses, in their order; at least one.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|place| place.address.as_str())
    }

    /// The connection to an address, for a session or for questions that choose their coordinator themselves. One that
    /// is not of the list (a leader that was named) gets a connection of its own, made when first used and gone with its
    /// last clone.
    ///
    /// # Errors
    /// When it is no `host:port`.
    pub fn channel(&self, address: &str) -> Result<Channel, InvalidAddresses> {
        if let Some(place) = self.places.iter().find(|place| place.address == address) {
            return Ok(place.channel.clone());
        }
        connection(address).ok_or_else(|| InvalidAddresses::Malformed(vec![format!("{address:?}")]))
    }

    /// From now on no call, of any clone, is asked again when nobody could answer: this process ends, and who waits for it
    /// is told so at once.
    pub fn end_patience(&self) {
        self.ends.send_replace(true);
    }

    async fn ask(self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let began = Instant::now();
        let deadline = passing::time_left(request.headers()).unwrap_or(self.deadline);
        let patience =
            request.extensions().get().map_or(deadline, |&Patience(patience)| patience.min(deadline));
        let is_once = request.extensions().get::<Once>().is_some();
        let collected = tokio::time::timeout(deadline, Held::collect(request)).await;
        let held =
            collected.map_err(|_| Status::deadline_exceeded("the request did not arrive in time"))??;
        let mut course = Course::new(self.places.len(), self.answered.load(Ordering::Relaxed), WAIT_MAX);
        let mut failures = Failures::new(self.places.len());
        let mut ends = self.ends.subscribe();
        loop {
            let place = course.place();
            match self.attempt(place, &held, deadline.saturating_sub(began.elapsed())).await {
                Ok(answer) => {
                    self.answered.store(place, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(failure) => failures.keep(place, failure),
            }
            let wait = course.failed(jitter());
            let is_over = began.elapsed() + wait >= patience || *ends.borrow_and_update();
            if is_over || failures.is_late || (is_once && failures.may_have_begun) {
                return Err(failures.status(began.elapsed(), self.addresses()));
            }
            // A process that ends asks once more, at once.
            let _ = tokio::time::timeout(wait, ends.changed()).await;
        }
    }

    async fn attempt(&self, place: usize, held: &Held, left: Duration) -> Result<Response<Body>, Failure> {
        let Some(place) = self.places.get(place) else { return Err(Failure::nowhere()) };
        let mut unreachable = place.unreachable.subscribe();
        let answer = tokio::select! {
            biased;
            answer = held.ask(place.channel.clone(), left) => answer,
            // Its sender lives as long as this does.
            _ = unreachable.changed() => Err(Failure::given_up()),
        };
        answer.inspect_err(|failure| {
            if failure.is_slow_connecting {
                place.unreachable.send_modify(|count| *count += 1);
            }
        })
    }
}

impl Service<Request<Body>> for Coordinators {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let span = trace::client_span(request.uri().path());
        trace::inject(&span, request.headers_mut());
        let (asked, ended) = (self.clone().ask(request), span.clone());
        let recorded = async move {
            let answer = asked.await;
            match &answer {
                Ok(answer) => trace::record_status(&ended, answer.headers()),
                Err(status) => trace::record_code(&ended, status.code()),
            }
            answer
        };
        Box::pin(recorded.instrument(span))
    }
}

/// What has gone wrong with one call so far.
struct Failures {
    /// The last failure at each address.
    last: Vec<Option<String>>,
    may_have_begun: bool,
    is_late: bool,
}

impl Failures {
    fn new(places: usize) -> Self {
        Self { last: vec![None; places], may_have_begun: false, is_late: false }
    }

    fn keep(&mut self, place: usize, failure: Failure) {
        self.may_have_begun |= failure.may_have_begun;
        self.is_late |= failure.is_late;
        if let Some(last) = self.last.get_mut(place) {
            *last = Some(failure.because);
        }
    }

    fn status<'a>(&self, after: Duration, addresses: impl Iterator<Item = &'a str>) -> Status {
        let told = addresses.zip(&self.last).filter_map(|(address, last)| Some((address, last.as_ref()?)));
        let told: Vec<String> = told.map(|(address, because)| format!("{address}: {because}")).collect();
        let text =
            format!("no coordinator could answer within {:.1} s: {}", after.as_secs_f64(), told.join("; "));
        match (self.is_late, self.may_have_begun) {
            (true, _) => Status::deadline_exceeded(text),
            (false, true) => Status::unavailable(text),
            (false, false) => passing::not_begun(text),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a shell draws the randomness of its waits")]
fn jitter() -> f64 {
    rand::rng().random()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn addresses_are_checked_all_at_once() {
        let nobody: [&str; 0] = [];
        assert_eq!(Coordinators::new(nobody, LONG).unwrap_err(), InvalidAddresses::Nothing);
        let mixed = ["a:1", "b", "http://c:1", "[::1]:2", "u@d:3", "", "e:99999"];
        let error = Coordinators::new(mixed, LONG).unwrap_err();
        let expected =
            r#"an address of a coordinator is host:port, and not "b", "http://c:1", "u@d:3", "", "e:99999""#;
        assert_eq!(error.to_string(), expected);
        let coordinators = Coordinators::new(["a:1", "[::1]:2"], LONG).unwrap();
        assert_eq!(coordinators.addresses().collect::<Vec<_>>(), ["a:1", "[::1]:2"]);
        assert!(coordinators.channel("elsewhere:7").is_ok() && coordinators.channel("a:1").is_ok());
        assert!(coordinators.channel("elsewhere").is_err() && coordinators.channel("").is_err());
    }

    #[test]
    fn the_last_error_tells_every_address_and_whether_it_may_have_begun() {
        let failure = |because: &str, may_have_begun, is_late| Failure {
            because: because.to_owned(),
            said: None,
            may_have_begun,
            is_late,
            is_slow_connecting: false,
        };
        let mut failures = Failures::new(3);
        let status =
            |failures: &Failures| failures.status(Duration::from_millis(1250), ["a", "b", "c"].into_iter());
        failures.keep(0, failure("x", false, false));
        failures.keep(1, failure("y", false, false));
        failures.keep(0, failure("z", false, false));
        let unbegun = status(&failures);
        assert_eq!(unbegun.code(), tonic::Code::Unavailable);
        assert_eq!(unbegun.message(), "no coordinator could answer within 1.2 s: a: z; b: y");
        assert!(unbegun.metadata().contains_key(crate::NOT_BEGUN));
        failures.keep(2, failure("w", true, false));
        assert!(!status(&failures).metadata().contains_key(crate::NOT_BEGUN));
        failures.keep(1, failure("late", false, true));
        assert_eq!(status(&failures).code(), tonic::Code::DeadlineExceeded);
    }
}
