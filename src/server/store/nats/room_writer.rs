//! Writes under conditions: appends to rooms that were created or closed, appends with conditions, and the creation and
//! deletion of rooms. Also the parts of publishing that appends without conditions share.
//!
//! # Invariants
//!
//! - A write is decided on the state of the room after a message of its subject, and NATS stores it only if that is still
//!   the last one (`Nats-Expected-Last-Subject-Sequence`). Otherwise this node waits for the messages of the others, and
//!   decides again. So a write is as if it had been checked and stored in one step, on any node.
//! - An append of several messages is not stored in one step. If the node stops in the middle, each of them still names its
//!   place in the append, so a producer that repeats the append completes it.
//! - The last message of a subject is never removed from it without a mark behind it, because a removed message is no
//!   condition.

use std::collections::VecDeque;
use std::sync::Arc;

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use bytes::Bytes;
use futures::{StreamExt, stream};
use tracing::warn;

use super::codec::{Record, StreamEntry, payload};
use super::connection::NatsError;
use super::pending::{DeliveryOutcome, PendingPublish, PendingPublishes};
use super::room_life::LifeEvent;
use super::room_state::NatsRoomState;
use super::rooms::NatsRooms;
use super::streams::Streams;
use crate::protocol::{Offset, RoomName};
use crate::server::room::Draft;
use crate::server::store::{
    AppendConditions, AppendOutcome, AppendResult, CreateOutcome, CreateResult, Lifecycle, NewRoom,
    RoomChange, Stored, now_millis,
};

/// The initial number of messages of a batch that are sent before the first ack. It doubles while no other message
/// comes between them.
const FIRST_RUN: usize = 16;
/// The maximum number of messages of a batch that are sent before the first ack.
const LONGEST_RUN: usize = 256;
/// The maximum number of times that a write is decided again because another node has written first.
const MAX_ATTEMPTS: usize = 100;
/// The maximum number of expired rooms that are deleted at the same time.
const EXPIRED_AT_ONCE: usize = 16;
/// The time after which a room whose deletion has failed is looked at again, in milliseconds.
const EXPIRE_AGAIN: u64 = 1000;

/// The writer. See the [module docs](self).
#[derive(Debug)]
pub(super) struct RoomWriter {
    pub(super) rooms: Arc<NatsRooms>,
    pub(super) pending: Arc<PendingPublishes>,
}

/// A message of an append.
pub(super) struct PreparedMessage {
    pub(super) pending: PendingPublish,
    /// The id by which NATS recognizes it in a batch.
    pub(super) id: String,
    pub(super) message: PublishMessage,
}

/// The decision on a write.
enum WritePlan<T> {
    /// Nothing is written.
    Decided(T),
    /// The messages after the first few, and the events of all of them.
    Write(Vec<LifeEvent>, usize),
}

/// The result of a write.
enum WriteOutcome<T> {
    Decided(T),
    Written(Vec<Stored>),
}

impl RoomWriter {
    fn streams(&self) -> &Streams {
        &self.rooms.streams
    }

    /// Sends `messages` in runs, and moves those that are stored to `acked`. Each message is stored only directly after
    /// the previous one. If a message of another node or a duplicate interrupts a run, the rest of it is sent again. The
    /// first message of a run is stored only directly after number `tail` of the room's subject, if there is one.
    pub(super) async fn publish_runs(
        &self,
        room: &RoomName,
        mut messages: VecDeque<PreparedMessage>,
        mut tail: Option<u64>,
        acked: &mut Vec<(PendingPublish, PublishAck)>,
    ) -> Result<(), NatsError> {
        let subject = self.streams().subjects.room(room);
        let mut longest = FIRST_RUN;

        while !messages.is_empty() {
            let mut acks = Vec::new();
            let mut previous: Option<&str> = None;
            for PreparedMessage { id, message, .. } in messages.iter().take(longest) {
                let mut message = message.clone();
                match (previous.replace(id), tail) {
                    (Some(previous), _) => message = message.expected_last_message_id(previous),
                    (None, Some(tail)) => message = message.expected_last_subject_sequence(tail),
                    (None, None) => {}
                }
                acks.push(self.streams().send(subject.clone(), message).await?);
            }

            let mut stored = 0;
            for ack in acks {
                let ack = match ack.await {
                    Err(NatsError::Conflict) if stored > 0 => break,
                    ack => ack?,
                };
                if !ack.duplicate {
                    tail = tail.map(|_| ack.sequence);
                }
                acked.extend(messages.pop_front().map(|message| (message.pending, ack)));
                stored += 1;
            }
            // The factor of two limits the number of messages that are sent in vain.
            longest = (stored * 2).clamp(2, LONGEST_RUN);
        }
        Ok(())
    }

    /// Waits until NATS has acknowledged the publish `pending` and the consumer has delivered it.
    pub(super) async fn confirm(
        &self,
        room: &RoomName,
        at: u64,
        pending: PendingPublish,
        ack: PublishAck,
    ) -> Result<Stored, NatsError> {
        if ack.duplicate {
            let at = self.time_of(room, ack.sequence).await.unwrap_or(at);
            let offset = Offset(ack.sequence);
            return Ok(Stored::Duplicate { offset, at });
        }

        let missed = self.rooms.wait_for_missed(ack.sequence);
        match pending.delivered(missed).await? {
            DeliveryOutcome::Message(frame) => Ok(Stored::New(frame)),
            DeliveryOutcome::Removed => {
                let offset = Offset(ack.sequence);
                Ok(Stored::Removed { offset, at })
            }
            DeliveryOutcome::NoMessage => {
                // Another node closed the room first.
                self.streams().erase(ack.sequence).await?;
                Err(NatsError::Closed)
            }
        }
    }

    /// Returns the time of the message at `sequence`, in milliseconds since 1970 UTC; `None` if it is no longer kept.
    async fn time_of(&self, room: &RoomName, sequence: u64) -> Option<u64> {
        let cached = self.rooms.with(room, |room| room.time_of(sequence));
        if let Some(cached) = cached.flatten() {
            return Some(cached);
        }
        let message = self.streams().get(sequence).await.ok()??;
        Some(Record::parse(&message).entry.at)
    }

    /// Stores `drafts` in `room` under `conditions`, and returns those that are new or duplicates.
    pub(super) async fn append(
        &self,
        room: &RoomName,
        drafts: &[Draft],
        conditions: &AppendConditions,
        at: u64,
    ) -> Result<(AppendResult, Vec<Stored>), NatsError> {
        let opening = self.rooms.begin(room);
        opening.load_if_needed().await?;
        self.delete_if(room, NatsRoomState::is_expired).await?;
        let producer = conditions.producer.as_ref();
        let mut had_conditions = true;
        let (mut head, mut is_closed) = (Offset(0), false);

        let written = self.write(room, drafts, at, |state, stored| {
            head = Offset(state.head.unwrap_or_default());
            is_closed = state.life.lifecycle.is_closed;
            let outcome = state.life.check(conditions, drafts.len());
            if outcome != AppendOutcome::Stored {
                return WritePlan::Decided(outcome);
            }
            let skipped = match producer {
                Some(_) => state.life.stored_part(producer),
                None => stored,
            };
            if skipped > 0 && skipped >= drafts.len() {
                let seq = producer.map(|producer| producer.seq);
                return WritePlan::Decided(AppendOutcome::Duplicate { seq });
            }
            had_conditions = state.life.has_conditions();
            let events = LifeEvent::of_append(None, conditions, drafts.len());
            WritePlan::Write(events, skipped)
        });
        let (outcome, stored) = match written.await? {
            WriteOutcome::Decided(outcome) => (outcome, Vec::new()),
            WriteOutcome::Written(stored) => {
                if conditions.closes || !had_conditions {
                    self.rooms.save(room).await?;
                } else {
                    self.rooms.save_later(room);
                }
                (AppendOutcome::Stored, stored)
            }
        };

        // Later messages of others are not of this result: a client may read on after it.
        let result = AppendResult {
            head: stored.last().map_or(head, Stored::offset),
            is_closed: is_closed || (outcome == AppendOutcome::Stored && conditions.closes),
            outcome,
        };
        Ok((result, stored))
    }

    /// Creates `room`, or compares it with the existing one.
    pub(super) async fn create(
        &self,
        room: &RoomName,
        new: &NewRoom,
        at: u64,
    ) -> Result<CreateResult, NatsError> {
        let opening = self.rooms.begin(room);
        opening.load_if_needed().await?;
        self.delete_if(room, NatsRoomState::is_expired).await?;
        self.streams().remove_limits().await?;
        let conditions = AppendConditions {
            closes: new.is_closed,
            ..AppendConditions::default()
        };

        let mut head = Offset(0);
        let written = self.write(room, &new.drafts, at, |state, stored| {
            head = Offset(state.head.unwrap_or_default());
            if state.is_known() && stored == 0 {
                return WritePlan::Decided(state.life.lifecycle.compare(new));
            }
            let settings = Some(new.settings.clone());
            let events = LifeEvent::of_append(settings, &conditions, new.drafts.len());
            WritePlan::Write(events, stored)
        });
        match written.await? {
            WriteOutcome::Decided(outcome) => Ok(CreateResult { outcome, head }),
            WriteOutcome::Written(stored) => {
                self.rooms.save(room).await?;
                let outcome = CreateOutcome::Created;
                let head = stored.last().map_or(head, Stored::offset);
                Ok(CreateResult { outcome, head })
            }
        }
    }

    /// Changes the life of `room`, and returns it; `None` if the room does not exist.
    pub(super) async fn change(
        &self,
        room: &RoomName,
        change: &RoomChange,
    ) -> Result<Option<Lifecycle>, NatsError> {
        let opening = self.rooms.begin(room);
        opening.load_if_needed().await?;
        self.delete_if(room, NatsRoomState::is_expired).await?;
        if change.content_type.is_some() {
            self.streams().remove_limits().await?;
        }
        let at = now_millis();

        let written = self.write(room, &[], at, |state, _| {
            if !state.is_known() {
                return WritePlan::Decided(());
            }
            let mut lifecycle = state.life.lifecycle.clone();
            lifecycle.apply(change, at);
            WritePlan::Write(vec![LifeEvent::change(&lifecycle)], 0)
        });
        if let WriteOutcome::Decided(()) = written.await? {
            return Ok(None);
        }
        self.rooms.save(room).await?;

        let changed = |state: &mut NatsRoomState| {
            let lifecycle = state.life.lifecycle.clone();
            (lifecycle, state.expires_at())
        };
        let (lifecycle, expires_at) = self.rooms.with(room, changed).ok_or(NatsError::NotOpen)?;
        self.rooms.set_expiry(room, expires_at);
        Ok(Some(lifecycle))
    }

    /// Deletes `room` with all its messages. Returns false if it does not exist.
    pub(super) async fn delete(&self, room: &RoomName) -> Result<bool, NatsError> {
        let opening = self.rooms.begin(room);
        opening.load_if_needed().await?;
        self.delete_if(room, NatsRoomState::is_expired).await?;
        self.delete_if(room, |state| state.is_known()).await
    }

    /// Deletes those of `rooms` that have expired.
    pub(super) async fn expire(&self, rooms: Vec<RoomName>) {
        stream::iter(rooms)
            .for_each_concurrent(EXPIRED_AT_ONCE, async |room| {
                let next = self.expire_room(&room).await.unwrap_or_else(|error| {
                    warn!(%room, %error, "could not delete an expired room; trying again");
                    Some(now_millis() + EXPIRE_AGAIN)
                });
                self.rooms.set_expiry(&room, next);
            })
            .await;
    }

    /// Deletes `room` if it has expired. Returns the time at which it expires otherwise.
    async fn expire_room(&self, room: &RoomName) -> Result<Option<u64>, NatsError> {
        let opening = self.rooms.begin(room);
        opening.load_if_needed().await?;
        self.delete_if(room, NatsRoomState::is_expired).await?;
        let expires_at = self.rooms.with(room, |state| state.expires_at());
        Ok(expires_at.flatten())
    }

    /// Deletes `room` if it `is_due`. Returns true if it was deleted by this call.
    async fn delete_if(
        &self,
        room: &RoomName,
        is_due: impl Fn(&NatsRoomState) -> bool,
    ) -> Result<bool, NatsError> {
        if self.rooms.with(room, |state| is_due(state)) == Some(false) {
            return Ok(false);
        }

        let written = self.write(room, &[], now_millis(), |state, _| {
            if is_due(state) {
                WritePlan::Write(vec![LifeEvent::deletion()], 0)
            } else {
                WritePlan::Decided(())
            }
        });
        if let WriteOutcome::Decided(()) = written.await? {
            return Ok(false);
        }
        self.rooms.save(room).await?;
        self.erase_deleted(room).await?;
        Ok(true)
    }

    /// Removes the messages of the room before `room`, which was deleted, from the stream.
    async fn erase_deleted(&self, room: &RoomName) -> Result<(), NatsError> {
        let base = self.rooms.with(room, |state| state.life.base);
        let base = base.ok_or(NatsError::NotOpen)?;
        self.streams().erase_before(room, base).await
    }

    /// Writes messages with `drafts` as `plan` decides. It gets the state of the room and the number of messages that this
    /// call has stored. The results of those are in the order of the drafts.
    async fn write<T>(
        &self,
        room: &RoomName,
        drafts: &[Draft],
        at: u64,
        mut plan: impl FnMut(&NatsRoomState, usize) -> WritePlan<T>,
    ) -> Result<WriteOutcome<T>, NatsError> {
        self.streams().health.check_writable()?;
        let mut stored = Vec::new();
        let (mut tail, mut base) = (None, None);

        for _attempt in 0..MAX_ATTEMPTS {
            let decide = |state: &mut NatsRoomState| {
                // What was stored in a room that was deleted since is no part of the room that follows it.
                let before = base.replace(state.life.base);
                if before.is_some_and(|before| before != state.life.base) {
                    stored.clear();
                }
                // An error is the decision not to write.
                match plan(state, stored.len()) {
                    WritePlan::Decided(decided) => Ok(Err(decided)),
                    WritePlan::Write(events, skipped) => {
                        let messages = self.messages(state, drafts, events, skipped, at)?;
                        Ok::<_, NatsError>(Ok((messages, state.life.applied)))
                    }
                }
            };
            let decided = self.rooms.with(room, decide).ok_or(NatsError::NotOpen)?;
            let (messages, applied) = match decided? {
                Ok(write) => write,
                Err(decided) if stored.is_empty() => return Ok(WriteOutcome::Decided(decided)),
                // Another node has closed or deleted the room.
                Err(_) => {
                    return Err(partly_stored(
                        stored.len(),
                        drafts.len(),
                        &NatsError::Closed,
                    ));
                }
            };

            let mut acked = Vec::new();
            let after = Some(tail.unwrap_or(applied));
            let sent = self.publish_runs(room, messages, after, &mut acked).await;
            for (pending, ack) in acked {
                if drafts.is_empty() {
                    let missed = self.rooms.wait_for_missed(ack.sequence);
                    pending.delivered(missed).await?;
                } else {
                    stored.push(self.confirm(room, at, pending, ack).await?);
                }
            }
            match sent {
                Ok(()) => return Ok(WriteOutcome::Written(stored)),
                Err(NatsError::Conflict) => tail = Some(self.catch_up(room).await?),
                Err(error) if stored.is_empty() => return Err(error),
                Err(error) => return Err(partly_stored(stored.len(), drafts.len(), &error)),
            }
        }
        Err(NatsError::Conflict)
    }

    /// Creates the messages with `drafts` after the first `skipped`, each with one of `events`; a mark if there are no drafts.
    fn messages(
        &self,
        state: &NatsRoomState,
        drafts: &[Draft],
        events: Vec<LifeEvent>,
        skipped: usize,
        at: u64,
    ) -> Result<VecDeque<PreparedMessage>, NatsError> {
        let head = state.head.ok_or(NatsError::NotOpen)?;
        let seen = state.newest_kept();

        let message = |(index, event): (usize, LifeEvent)| {
            let pending = self.pending.begin();
            let (entry, payload) = match drafts.get(index) {
                None => (StreamEntry::mark(event, head, at, pending.id), Bytes::new()),
                Some(draft) => {
                    let mut entry = StreamEntry::new(draft, at, pending.id);
                    entry.seen = seen;
                    // The first message of a room names the offset before it.
                    let is_first = index == skipped && seen.is_none();
                    entry.prev = is_first.then_some(Offset(head));
                    entry.life = Some(Box::new(event));
                    (entry, payload(draft))
                }
            };

            let size = entry.to_json().len() + payload.len();
            self.streams().check_size(index + 1, size)?;
            let id = entry.message_id(state.name(), state.life.base);
            let message = entry.to_message(state.name(), state.life.base, payload);
            Ok(PreparedMessage {
                pending,
                message: message.message_id(&id),
                id,
            })
        };
        let events = events.into_iter().enumerate().skip(skipped);
        events.map(message).collect()
    }

    /// Waits for all messages of `room` that other nodes have stored. Returns the number of the last one; 0 if there is
    /// none.
    async fn catch_up(&self, room: &RoomName) -> Result<u64, NatsError> {
        let last = self.streams().last(room).await?;
        let last = last.map_or(0, |last| last.sequence);
        self.rooms.wait_for(last).await?;
        Ok(last)
    }

    /// Stores a mark with the event of `entry` behind message `sequence` of `room`, if that is the last one and is about to
    /// be removed.
    pub(super) async fn mark_removal(
        &self,
        room: &RoomName,
        sequence: u64,
        entry: &StreamEntry,
    ) -> Result<(), NatsError> {
        let needs_mark = |state: &mut NatsRoomState| {
            let has_event = entry.life.is_some() || state.life.has_conditions();
            (has_event && state.life.applied == sequence).then_some(state.head?)
        };
        let Some(head) = self.rooms.with(room, needs_mark).flatten() else {
            return Ok(());
        };
        self.store_mark(room, sequence, entry, head).await
    }

    /// Stores a mark with the event of `last`, the last message of `room`, behind it, unless it is no longer the last one. It
    /// is about to be removed because it is over the limits of the room.
    pub(super) async fn mark_trimmed(
        &self,
        room: &RoomName,
        last: &Record,
    ) -> Result<(), NatsError> {
        self.store_mark(room, last.offset, &last.entry, last.offset)
            .await
    }

    /// Stores a mark with the event of `entry` in `room`, whose newest offset is `head`, if its last message is number
    /// `sequence`. The mark is no use of the room.
    async fn store_mark(
        &self,
        room: &RoomName,
        sequence: u64,
        entry: &StreamEntry,
        head: u64,
    ) -> Result<(), NatsError> {
        let event = entry.life.as_deref().cloned().unwrap_or_default();
        let pending = self.pending.begin();
        let mark = StreamEntry::mark(event.into_mark(), head, entry.at, pending.id);
        let message = mark.to_message(room, 0, Bytes::new());
        let message = message.expected_last_subject_sequence(sequence);
        let subject = self.streams().subjects.room(room);
        match self.streams().send(subject, message).await?.await {
            // It is no longer the last one.
            Err(NatsError::Conflict) => Ok(()),
            marked => marked.map(|_| ()),
        }
    }
}

fn partly_stored(stored: usize, messages: usize, error: &NatsError) -> NatsError {
    NatsError::Rejected(format!(
        "the first {stored} of {messages} messages are stored, then: {error}"
    ))
}
