//! The thread that serves a producer's events: deliveries, errors, statistics, log lines.
//!
//! It sleeps while nothing is under way (librdkafka's own poll spins through the last millisecond of each wait, so
//! polling all the time would cost an idle producer near 1 % of a core); who sends wakes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};

/// One wait while records are under way, and so how long stopping may take then.
const BUSY_WAIT: Duration = Duration::from_millis(250);
/// One sleep while none are: events that nobody waits for are served so often.
const IDLE_SLEEP: Duration = Duration::from_secs(1);

/// The thread. It lasts until it is told to stop.
#[derive(Debug)]
pub struct Poller {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

/// Wakes the thread; cheap when it is awake.
#[derive(Debug, Clone)]
pub struct Waker(thread::Thread);

impl Waker {
    /// To be called after something was sent.
    pub fn wake(&self) {
        self.0.unpark();
    }
}

impl Poller {
    /// # Errors
    /// No thread can be had.
    pub fn start<C: ProducerContext + 'static>(producer: Arc<BaseProducer<C>>) -> KafkaResult<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let serve = move || {
            while !stopped.load(Ordering::Acquire) {
                // Counts records under way and events to serve.
                if producer.in_flight_count() > 0 {
                    producer.poll(BUSY_WAIT);
                } else {
                    thread::park_timeout(IDLE_SLEEP);
                }
            }
        };
        let thread = thread::Builder::new().name("deliveries".into()).spawn(serve);
        let thread = thread.map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self { stop, thread })
    }

    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker(self.thread.thread().clone())
    }

    /// Stops the thread and waits for its end: blocks for a moment.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the thread that serves a producer panicked");
        }
    }
}
