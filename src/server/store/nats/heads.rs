//! The second stream (`NAME-heads`), which keeps the newest message of each subject without expiry.
//!
//! NATS copies the headers of each message of a room from the first stream to it, about 300 bytes for each room, because
//! the newest offset of a room must outlast all its messages. It also holds the rules of all nodes, the states and leases
//! of hooks, and the lives of rooms that were created, closed or deleted, or have producers. A life is derived from the
//! messages of the room. It is stored so that it outlasts them and need not be derived from all of them.

use async_nats::header::NATS_SEQUENCE;
use async_nats::jetstream::Context;
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::Stream;
use bytes::Bytes;
use futures::TryStreamExt;

use super::codec::Record;
use super::connection::NatsError;
use super::room_life::LoggedLife;
use super::streams::fetch;
use super::subjects::{RULES, Subjects};
use crate::protocol::{Epoch, RoomName};

/// The second stream. See the [module docs](self).
#[derive(Debug)]
pub(super) struct HeadStream {
    pub(super) context: Context,
    pub(super) stream: Stream,
    pub(super) subjects: Subjects,
    /// The epoch of the first stream.
    pub(super) epoch: Epoch,
    /// The time at which the first stream was created, in nanoseconds since 1970 UTC.
    pub(super) began: i128,
}

impl HeadStream {
    /// Returns the newest offset of `room` as far as it is recorded.
    pub(super) async fn read_head(&self, room: &RoomName) -> Result<Option<u64>, NatsError> {
        let recorded = self.stream.raw_message_builder();
        let recorded = fetch(recorded.last_by_subject(self.subjects.head(room))).await?;
        Ok(recorded.and_then(|head| self.head_in(&head)))
    }

    /// Returns the life in `message`; `None` if it is of another epoch.
    fn saved_life(&self, message: &StreamMessage) -> Option<LoggedLife> {
        let (epoch, life): (Epoch, LoggedLife) = serde_json::from_slice(&message.payload).ok()?;
        (epoch == self.epoch).then_some(life)
    }

    /// Saves `life` of `room`, unless a newer one is there.
    pub(super) async fn save_life(
        &self,
        room: &RoomName,
        life: &LoggedLife,
    ) -> Result<(), NatsError> {
        let version = |life: &LoggedLife| (life.applied, life.lifecycle.used);
        let is_saved = |saved: &StreamMessage| {
            let saved = self.saved_life(saved);
            saved.is_some_and(|saved| version(&saved) >= version(life))
        };

        let payload = serde_json::to_vec(&(&self.epoch, life)).map_err(NatsError::request)?;
        let message = PublishMessage::build().payload(payload.into());
        self.replace(self.subjects.life(room), is_saved, message)
            .await
    }

    /// Returns all rooms with a saved life.
    pub(super) async fn rooms_with_life(&self) -> Result<Vec<RoomName>, NatsError> {
        let subjects = self.stream.info_with_subjects(self.subjects.lives()).await;
        let mut subjects = subjects.map_err(NatsError::request)?;

        let mut rooms = Vec::new();
        while let Some((subject, _)) = subjects.try_next().await.map_err(NatsError::request)? {
            rooms.extend(self.subjects.room_of_life(&subject));
        }
        Ok(rooms)
    }

    /// Returns the saved life of `room`.
    pub(super) async fn read_saved_life(
        &self,
        room: &RoomName,
    ) -> Result<Option<LoggedLife>, NatsError> {
        let saved = self.stream.raw_message_builder();
        let saved = fetch(saved.last_by_subject(self.subjects.life(room))).await?;
        Ok(saved.and_then(|saved| self.saved_life(&saved)))
    }

    /// Returns the first rule after number `sequence`.
    pub(super) async fn rule_after(
        &self,
        sequence: u64,
    ) -> Result<Option<StreamMessage>, NatsError> {
        let next = self.stream.raw_message_builder().sequence(sequence + 1);
        fetch(next.next_by_subject(self.subjects.all(RULES))).await
    }

    /// Publishes `rule` under the token `name`. Returns its sequence number.
    pub(super) async fn publish_rule(&self, name: &str, rule: Bytes) -> Result<u64, NatsError> {
        let sent = self.context.publish(self.subjects.rule(name), rule).await?;
        Ok(sent.await?.sequence)
    }

    /// Returns the newest message of hooks called `name`.
    pub(super) async fn hook(&self, name: &str) -> Result<Option<StreamMessage>, NatsError> {
        let newest = self.stream.raw_message_builder();
        fetch(newest.last_by_subject(self.subjects.hook(name))).await
    }

    /// Replaces the message of hooks called `name`, if its number is `expected`; 0 if there must be none. Returns the new
    /// number. Fails with [`NatsError::Conflict`] if it has another.
    pub(super) async fn replace_hook(
        &self,
        name: &str,
        payload: Bytes,
        expected: u64,
    ) -> Result<u64, NatsError> {
        let message = PublishMessage::build()
            .payload(payload)
            .expected_last_subject_sequence(expected);
        let subject = self.subjects.hook(name);
        let sent = self.context.send_publish(subject, message).await?;
        let ack = sent.await.map_err(NatsError::from)?;
        Ok(ack.sequence)
    }

    /// Records that the newest offset of `room` is at least `head`. This is needed for a message whose copy the second stream
    /// rejects, because the conditions in its headers hold only in the first stream.
    pub(super) async fn record_head(&self, room: &RoomName, head: u64) -> Result<(), NatsError> {
        let is_recorded = |newest: &StreamMessage| self.head_in(newest) >= Some(head);
        let message = PublishMessage::build().header(NATS_SEQUENCE, head.to_string());
        self.replace(self.subjects.head(room), is_recorded, message)
            .await
    }

    /// Replaces the message under `subject` with `message`, unless `is_newer` returns true for the present one.
    async fn replace(
        &self,
        subject: String,
        is_newer: impl Fn(&StreamMessage) -> bool,
        message: PublishMessage,
    ) -> Result<(), NatsError> {
        loop {
            let newest = self.stream.raw_message_builder();
            let newest = fetch(newest.last_by_subject(subject.clone())).await?;
            if newest.as_ref().is_some_and(&is_newer) {
                return Ok(());
            }

            // If another node replaces it first, the newer message must be compared.
            let sequence = newest.map_or(0, |newest| newest.sequence);
            let message = message.clone().expected_last_subject_sequence(sequence);
            let sent = self.context.send_publish(subject.clone(), message).await?;
            match sent.await.map_err(NatsError::from) {
                Err(NatsError::Conflict) => {}
                outcome => return outcome.map(|_| ()),
            }
        }
    }

    /// Returns the offset in `message`; `None` if it comes from an earlier first stream.
    fn head_in(&self, message: &StreamMessage) -> Option<u64> {
        if message.time.unix_timestamp_nanos() < self.began {
            return None;
        }
        let Record { entry, .. } = Record::parse(message);
        if entry.is_mark() {
            return entry.seen.map(|head| head.0);
        }
        message.headers.get(NATS_SEQUENCE)?.as_str().parse().ok()
    }
}
