//! What the stub does on demand instead of what it would do: taken in order, each as often as it says.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::api::Api;
use super::broker::locked;

/// Meets the next requests of an API, or the next that name a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// `None`: any.
    pub api: Option<Api>,
    /// Topic and partition of a request; `None`: the request as a whole, an error then being that of all partitions.
    pub partition: Option<(String, i32)>,
    pub action: Action,
    pub times: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Kafka's error code; of a Produce, after the batch was appended or instead.
    Error { code: i16, after: bool },
    /// The connection is closed without an answer, after the request had its effect or before.
    Drop { after: bool },
    /// The answer comes so much later; the requests behind it wait as well.
    Stall(Duration),
    /// The answer carries this `throttle_time_ms`.
    Throttle(i32),
    /// The answer's length is this instead.
    Length(i32),
    /// Of the answer come so many bytes, then the end of the connection.
    Cut(usize),
    /// The answer comes with bytes changed; the seed grows by one with each use.
    Mutate(u64),
    /// Instead of the answer comes what is none, of a kind and with bytes chosen by the seed, which grows as well.
    Garbage(u64),
    /// One of the batches in an answer to Fetch has a byte changed, chosen by the seed, which grows as well.
    Damage(u64),
    /// The first batch in an answer to Fetch has the bits of the mask changed in this byte of it.
    Flip { byte: usize, mask: u8 },
    /// The base offset in an answer to Produce is so much off.
    Shift(i64),
}

#[derive(Debug, Default)]
pub(crate) struct Injections {
    queue: Mutex<VecDeque<Injection>>,
    /// Its length, to be read without the lock.
    waiting: AtomicUsize,
    taken: AtomicUsize,
}

impl Injections {
    pub fn add(&self, injection: Injection) {
        let mut queue = locked(&self.queue);
        queue.push_back(injection);
        self.waiting.store(queue.len(), Ordering::Release);
    }

    pub fn clear(&self) {
        locked(&self.queue).clear();
        self.waiting.store(0, Ordering::Release);
    }

    /// Those that wait for their request.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// What was done so far, each time counted.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// The first that meets this; it is used up by one.
    pub fn take(&self, api: Api, partition: Option<(&str, i32)>) -> Option<Action> {
        if self.waiting() == 0 {
            return None;
        }
        let mut queue = locked(&self.queue);
        let at = queue.iter().position(|injection| injection.meets(api, partition))?;
        let injection = queue.get_mut(at)?;
        let action = injection.action;
        injection.times = injection.times.saturating_sub(1);
        if let Action::Mutate(seed) | Action::Garbage(seed) | Action::Damage(seed) = &mut injection.action {
            *seed += 1;
        }
        if injection.times == 0 {
            queue.remove(at);
        }
        self.waiting.store(queue.len(), Ordering::Release);
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(action)
    }
}

impl Injection {
    fn meets(&self, api: Api, partition: Option<(&str, i32)>) -> bool {
        let wanted = self.partition.as_ref().map(|(topic, partition)| (topic.as_str(), *partition));
        self.api.is_none_or(|own| own == api) && wanted == partition
    }
}
