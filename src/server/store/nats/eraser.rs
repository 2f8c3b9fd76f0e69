//! The deletion of one message. First a tombstone is published to the stream. When the consumer has delivered the
//! tombstone, the message is removed from the stream and its bytes are overwritten.
//!
//! If the process ends between the two steps, the message stays in the stream but is never shown. The next reader of
//! its offset removes it ([`HistoryReader`](super::pages::HistoryReader)), and so does the next deletion.

use std::sync::Arc;

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::message::PublishMessage;
use tokio::time::timeout;

use super::entry::StreamEntry;
use super::flights::{Delivery, PendingPublishes};
use super::pulse::HealthTracker;
use super::rooms::RoomStates;
use super::stream::Streams;
use super::{NatsError, WAIT};
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::store::{Deleted, StoreError};

/// See the [module docs](self).
pub(super) struct Deleter {
    pub(super) rolls: Arc<Streams>,
    pub(super) rooms: Arc<RoomStates>,
    pub(super) flights: Arc<PendingPublishes>,
    pub(super) pulse: Arc<HealthTracker>,
}

impl Deleter {
    /// Deletes the message at `offset` of `room`; `at` is the current time in milliseconds since 1970 UTC.
    pub(super) async fn erase(
        &self,
        room: &RoomName,
        offset: Offset,
        at: u64,
    ) -> Result<Deleted, StoreError> {
        match self.pulse.refusal() {
            Some(reason) => Err(StoreError::Unavailable(reason)),
            None => Ok(self.bury(room, offset, at).await?),
        }
    }

    async fn bury(&self, room: &RoomName, offset: Offset, at: u64) -> Result<Deleted, NatsError> {
        let bounds = self.rooms.bounds(room).ok_or(NatsError::NotOpen)?;
        let sequence = offset.0;
        if bounds.first == Offset(0) || !(bounds.first..=bounds.head).contains(&offset) {
            return Ok(Deleted::NotKept);
        }

        if self
            .rooms
            .graves(room, |graves| graves.at(sequence).is_some())
        {
            self.rolls.erase(sequence).await?;
            return Ok(Deleted::Before);
        }

        let said = self.rolls.at(sequence).await?;
        let Some(said) = said.filter(|said| *said.subject == *self.rolls.subjects.room(room))
        else {
            return self.is_gone(room, sequence).await;
        };

        let next = self
            .rolls
            .next(room, sequence + 1)
            .await?
            .map(|next| next.sequence);
        let next_grave = self.rooms.graves(room, |graves| graves.next(sequence + 1));
        let next = next.into_iter().chain(next_grave).min().map(Offset);

        let mut flight = self.flights.begin();
        let time = (said.time.unix_timestamp_nanos() / 1_000_000) as u64;
        let said = StreamEntry::read(Some(&said.headers), &said.payload, time);
        let refused = |error: String| NatsError::Publish(error);

        let header = said.into_tombstone(at, next, flight.ticket).header();
        let mut headers = header.map_err(|error| refused(error.to_string()))?;
        let subject = self.rolls.subjects.grave(room, sequence);
        // The id makes exactly one of several concurrent deletions of the message succeed.
        headers.insert(NATS_MESSAGE_ID, subject.as_str());

        let message = PublishMessage::build().headers(headers);
        let sent = self.rolls.context.send_publish(subject, message).await;
        let ack = sent.map_err(|error| refused(error.to_string()))?;
        let ack = timeout(WAIT, ack)
            .await
            .map_err(|_elapsed| NatsError::Unanswered)?;

        if !ack.map_err(|error| refused(error.to_string()))?.duplicate {
            match timeout(WAIT, &mut flight.heard).await {
                Ok(Ok(Delivery::Done)) => {}
                _ => return Err(NatsError::Unanswered),
            }
            self.rolls.erase(sequence).await?;
            return Ok(Deleted::Now);
        }

        self.rolls.erase(sequence).await?;
        Ok(Deleted::Before)
    }

    /// Returns the outcome of deleting a message of `room` that is not in the stream at `sequence`. Another node may
    /// have deleted it, so the consumer must catch up first.
    async fn is_gone(&self, room: &RoomName, sequence: u64) -> Result<Deleted, NatsError> {
        let newest = self.rolls.newest().await?;
        let mut reached = self.rooms.reached();
        if timeout(WAIT, reached.wait_for(|position| *position >= newest))
            .await
            .is_err()
        {
            return Err(NatsError::Unanswered);
        }

        let is_grave = self
            .rooms
            .graves(room, |graves| graves.at(sequence).is_some());
        Ok(if is_grave {
            Deleted::Before
        } else {
            Deleted::NotKept
        })
    }
}
