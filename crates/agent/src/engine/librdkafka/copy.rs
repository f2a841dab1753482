//! Records from the lanes' queues to the producer, as far as there is room.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::BaseRecord;

use super::lane::{Admission, Lane, Record, Share};
use super::lanes::LaneNumber;
use super::refusal::{SourceError, judge_source};
use super::session::{Clients, LaneQueue, Session, tag};
use crate::engine::name::LaneName;

/// Records of one lane in one turn: others wait for theirs meanwhile.
const TURN: usize = 500;

/// What a round over all lanes came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    /// Some lane has more to read and room for it.
    pub more: bool,
    /// A record was handed to the producer.
    pub sent: bool,
    /// A record could not be handed to the producer: the session is over.
    pub broken: Option<String>,
}

/// One turn for each lane that has something to read.
pub(super) fn round(session: &mut Session, lanes: &mut BTreeMap<LaneNumber, Lane>, now: Duration) -> Round {
    let Session { clients, queues, parked, .. } = session;
    let share = Share::of(queues.len());
    let mut round = Round::default();
    for (&number, queue) in queues.iter() {
        let Some(lane) = lanes.get_mut(&number) else { continue };
        if !queue.readable.load(Ordering::Acquire) && !parked.contains_key(&number) {
            continue;
        }
        let mut turn = Turn { clients, number, lane, parked, share, now, sent: false };
        let taken = turn.take(queue);
        round.sent |= turn.sent;
        match taken {
            Ok(more) => round.more |= more,
            Err(error) => round.broken = Some(format!("{}: {error}", lane.name)),
        }
    }
    round
}

struct Turn<'t> {
    clients: &'t Clients,
    number: LaneNumber,
    lane: &'t mut Lane,
    parked: &'t mut BTreeMap<LaneNumber, (u64, OwnedMessage)>,
    share: Share,
    now: Duration,
    sent: bool,
}

impl Turn<'_> {
    /// Whether there is more to read, and room for it.
    fn take(&mut self, queue: &LaneQueue) -> Result<bool, KafkaError> {
        if !self.resend()? {
            return Ok(false);
        }
        // Cleared first: what comes in from here on sets it again.
        queue.readable.store(false, Ordering::Release);
        for _ in 0..TURN {
            if !self.has_room() {
                queue.readable.store(true, Ordering::Release);
                return Ok(false);
            }
            match queue.queue.poll(Duration::ZERO) {
                None => return Ok(false),
                Some(Ok(message)) => self.forward(&message)?,
                Some(Err(error)) => self.meet(&error),
            }
        }
        queue.readable.store(true, Ordering::Release);
        Ok(true)
    }

    fn has_room(&self) -> bool {
        !self.parked.contains_key(&self.number) && self.lane.has_room(self.share)
    }

    /// Sends what was parked; false: there is still no room for it.
    fn resend(&mut self) -> Result<bool, KafkaError> {
        let Some((sequence, message)) = self.parked.remove(&self.number) else { return Ok(true) };
        let headers = message.headers().map(|headers| headers.as_borrowed().detach());
        match self.send(&message, headers, sequence) {
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => {
                self.parked.insert(self.number, (sequence, message));
                Ok(false)
            }
            other => other.map(|()| true),
        }
    }

    fn forward(&mut self, message: &BorrowedMessage<'_>) -> Result<(), KafkaError> {
        let timestamp = message.timestamp().to_millis().unwrap_or(-1);
        let bytes = message.key_len() + message.payload_len();
        let record = Record { offset: message.offset(), timestamp, bytes };
        let Admission::Send(sequence) = self.lane.admit(record, self.now) else { return Ok(()) };
        // As they are, byte by byte: their names need not be UTF-8.
        let headers = message.headers().map(BorrowedHeaders::detach);
        match self.send(message, headers, sequence) {
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => {
                self.parked.insert(self.number, (sequence, message.detach()));
                Ok(())
            }
            other => other,
        }
    }

    /// Hands a record to the producer. Null and empty stay apart; an absent timestamp stays −1.
    fn send(
        &mut self,
        message: &impl Message,
        headers: Option<OwnedHeaders>,
        sequence: u64,
    ) -> Result<(), KafkaError> {
        let LaneName { destination, partition, .. } = &self.lane.name;
        let record = BaseRecord {
            topic: destination.as_str(),
            partition: Some(*partition),
            payload: message.payload(),
            key: message.key(),
            timestamp: Some(message.timestamp().to_millis().unwrap_or(-1)),
            headers,
            delivery_opaque: tag(self.number, sequence),
        };
        let sent = self.clients.producer.send(record).map_err(|(error, _)| error);
        self.sent |= sent.is_ok();
        if let Err(error) = &sent
            && let Some(code) = error.rdkafka_error_code()
            && code != RDKafkaErrorCode::QueueFull
        {
            self.lane.fail(sequence, code);
        }
        sent
    }

    /// An error instead of a record. A lane that is not read on is taken out of the consumer after the round.
    fn meet(&mut self, error: &KafkaError) {
        let lane = &mut *self.lane;
        if let KafkaError::PartitionEOF(_) = error {
            lane.reach_end();
            return;
        }
        let Some(code) = error.rdkafka_error_code() else { return };
        match judge_source(code) {
            SourceError::Passing => tracing::debug!(lane = %lane.name, %error, "the source had trouble"),
            SourceError::Missing => {
                lane.suspect = true;
                lane.wait(format!("the source does not have this partition: {code}"));
            }
            SourceError::OutOfRange => {
                lane.suspect = true;
                lane.wait("the source does not have the offset that comes next; asking what it has".into());
            }
            SourceError::Stop => lane.stop(format!(
                "the source does not give the record at offset {}: {code}",
                lane.next().unwrap_or_default()
            )),
        }
    }
}
