//! Trimming of the rooms that have exceeded their limits.
//!
//! JetStream has the same limits for all rooms, and none on their bytes. The stream therefore has the loosest limits that any
//! room needs, and one node removes what rooms no longer keep: the node that holds a lease, as for hooks. It consumes the
//! messages of all rooms, so it checks a room only when that may have exceeded a limit
//! ([`trim_schedule`](super::trim_schedule)).
//!
//! # Invariants
//!
//! - The newest message of a room is removed only behind a mark, which names its offset. Readers of patterns therefore learn
//!   of a room that has lost all its messages, and the life of the room stays derivable.
//! - The bytes of a room are counted only when they may have exceeded its limit, because each of its messages must be read.
//! - A room is not trimmed before it has exceeded a limit by a [`SLACK`]th part of it, or its age by [`trim_delay`]. After a
//!   node has taken the lease, rooms whose age the stream does not limit are checked at random times within [`trim_delay`].

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use tokio::time::sleep;
use tracing::{debug, info};

use super::codec::Record;
use super::connection::NatsError;
use super::hooks::NatsHooks;
use super::room_writer::RoomWriter;
use super::rooms::NatsRooms;
use super::stream_config::longest_age;
use super::subjects::{StreamSubject, room_of};
use super::trim_schedule::{
    DueRoom, MAX_TRIM_DELAY, SLACK, TrimSchedule, TrimTrigger, remaining, trim_delay,
};
use crate::protocol::{Offset, RoomName};
use crate::server::store::room_limits::RoomLimits;
use crate::server::store::{Lifecycle, StoreError, now_millis};

/// The pause before the next check for due rooms, if there are none.
const INTERVAL: Duration = Duration::from_millis(250);
/// The pause between two renewals of the lease.
const RENEW_AFTER: Duration = Duration::from_secs(3);
/// The name of the lease, which no hook can have.
const LEASE: &str = "$trimming";
/// The maximum number of rooms that are trimmed at the same time.
const ROOMS_AT_ONCE: usize = 8;
/// The pause before a room is checked again after a failure, in milliseconds.
const RETRY_AFTER: u64 = 3000;

/// The task that trims rooms. See the [module docs](self).
pub(super) struct Trimmer {
    pub(super) rooms: Arc<NatsRooms>,
    pub(super) writer: Arc<RoomWriter>,
    pub(super) leases: Arc<NatsHooks>,
}

impl Trimmer {
    /// Trims rooms while this node has the lease, until dropped.
    pub(super) async fn run(self) {
        futures::join!(self.keep_lease(), self.trim_due_rooms());
    }

    /// Takes the lease as soon as it is free, and renews it.
    async fn keep_lease(&self) {
        loop {
            if let Err(error) = self.renew().await {
                debug!(%error, "could not renew the lease of trimming; trying again");
                self.rooms.set_trimming(None);
            }
            sleep(RENEW_AFTER).await;
        }
    }

    /// Takes or renews the lease, and begins or ends to trim.
    async fn renew(&self) -> Result<(), StoreError> {
        if !self.leases.hold(LEASE).await? {
            self.rooms.set_trimming(None);
            return Ok(());
        }
        if self.rooms.is_trimming() {
            return Ok(());
        }

        // Messages that arrive while the rooms are listed are recorded too.
        self.rooms.set_trimming(Some(TrimSchedule::default()));
        self.list_rooms().await?;
        info!("this node trims the rooms of all nodes");
        Ok(())
    }

    /// Schedules a check of each room.
    async fn list_rooms(&self) -> Result<(), NatsError> {
        let (streams, limits) = (&self.rooms.streams, &self.rooms.limits);
        let mut subjects = streams.room_subjects().await?;
        let age_of_stream = subjects.info.config.max_age;
        let bytes_of_stream = subjects.info.state.bytes;

        while let Some((subject, count)) = subjects.try_next().await.map_err(NatsError::request)? {
            let Some(StreamSubject::Message(token)) = streams.subjects.parse(&subject) else {
                continue;
            };
            let Some(room) = room_of(token) else {
                continue;
            };

            let of_room = limits.of(&room, &Lifecycle::default());
            let count = count as u64;
            // No message is larger than NATS allows, and no room is larger than the stream.
            let most_bytes =
                bytes_of_stream.min(count.saturating_mul(streams.max_payload() as u64));
            let bytes_left = remaining(of_room.bytes, most_bytes);
            let mut next = TrimTrigger::new(&of_room, count, bytes_left, now_millis());

            let is_aged_by_stream =
                !age_of_stream.is_zero() && age_of_stream.as_millis() <= u128::from(of_room.age);
            if count > of_room.messages {
                next.at = 0;
            } else if !is_aged_by_stream {
                next.at = now_millis() + fastrand::u64(0..=trim_delay(&of_room));
            }
            self.rooms
                .with_trim_schedule(|rooms| rooms.set(&room, next));
        }
        Ok(())
    }

    /// Trims the rooms that are due while this node has the lease.
    async fn trim_due_rooms(&self) {
        let mut other_subjects_at = Instant::now();
        loop {
            let take = |rooms: &mut TrimSchedule| rooms.take_due(now_millis(), ROOMS_AT_ONCE);
            let due = self.rooms.with_trim_schedule(take);
            let has_lease = due.is_some();
            let due = due.unwrap_or_default();

            if due.is_empty() {
                sleep(INTERVAL).await;
            }

            let trims = due.iter().map(|due| self.trim_or_retry(due));
            futures::future::join_all(trims).await;

            if has_lease && other_subjects_at <= Instant::now() {
                other_subjects_at = Instant::now() + self.trim_other_subjects().await;
            }
        }
    }

    async fn trim_or_retry(&self, due: &DueRoom) {
        let next = self.trim(due).await.unwrap_or_else(|error| {
            debug!(room = %due.room, %error, "could not trim a room; trying again");
            Some(TrimTrigger::at(now_millis() + RETRY_AFTER, due.bytes_left))
        });
        self.rooms.with_trim_schedule(|rooms| match next {
            Some(next) => rooms.set(&due.room, next),
            None => rooms.forget(&due.room),
        });
    }

    /// Removes the messages of a room that are over its limits. Returns the trigger of the room's next check; `None` if it has
    /// no messages.
    async fn trim(&self, due: &DueRoom) -> Result<Option<TrimTrigger>, NatsError> {
        let room = &due.room;
        let opening = self.rooms.begin(room);
        opening.reload().await?;
        let limits = self.rooms.with(room, |state| state.limits());
        let limits = limits.ok_or(NatsError::NotOpen)?;

        let mut end = self.end_by_age(room, &limits).await?;
        let mut bytes_left = due.bytes_left;
        if bytes_left == 0 {
            let (end_by_bytes, bytes) = self.end_by_bytes(room, limits.bytes).await?;
            end = end.max(end_by_bytes);
            bytes_left = remaining(limits.bytes, bytes);
        }
        if end > 0 {
            self.remove_before(room, end).await?;
        }
        let count = self.trim_to_number(room, &limits).await?;

        // Readers on this node see at once what is left.
        opening.reload().await?;

        let base = self.rooms.with(room, |state| state.life.base);
        let oldest = self.rooms.first_message(room, base.unwrap_or_default() + 1);
        let oldest = oldest.await?;
        Ok(oldest.map(|oldest| TrimTrigger::new(&limits, count, bytes_left, oldest.stored_at)))
    }

    /// Removes the oldest messages if there are more than `limits` allow. Returns the number of those that are kept.
    async fn trim_to_number(&self, room: &RoomName, limits: &RoomLimits) -> Result<u64, NatsError> {
        let count = self.rooms.streams.count(room).await? as u64;
        // The newest message may be a mark, such as that of the end of the room.
        let has_mark = self.rooms.with(room, |state| state.life.ends_with_mark);
        let kept = limits
            .messages
            .saturating_add(u64::from(has_mark == Some(true)));

        if count > kept {
            self.rooms.streams.purge_except(room, kept).await?;
        }
        Ok(count.min(kept))
    }

    /// Returns the number of the oldest message of `room` that is kept by the `limit` of its bytes, or 0 if all are kept, and the
    /// bytes of the messages that are kept.
    async fn end_by_bytes(&self, room: &RoomName, limit: u64) -> Result<(u64, u64), NatsError> {
        if limit == u64::MAX {
            return Ok((0, 0));
        }

        let streams = &self.rooms.streams;
        let mut bytes = 0;
        let add = |_sequence, size| {
            bytes += size;
            ControlFlow::Continue(())
        };
        streams.visit_sizes(room, add).await?;
        if bytes <= limit {
            return Ok((0, bytes));
        }

        // The second time, only the messages that are removed are read.
        let mut end = 0;
        let skip = |sequence, size| {
            end = sequence;
            // The newest message is kept.
            if bytes <= limit.max(size) {
                return ControlFlow::Break(());
            }
            bytes -= size;
            ControlFlow::Continue(())
        };
        streams.visit_sizes(room, skip).await?;
        Ok((end, bytes))
    }

    /// Returns the number of the stream before which all messages of `room` are too old; 0 if none is.
    async fn end_by_age(&self, room: &RoomName, limits: &RoomLimits) -> Result<u64, NatsError> {
        let Some(before) = now_millis().checked_sub(limits.age) else {
            return Ok(0);
        };
        let streams = &self.rooms.streams;
        let is_old = async |sequence| {
            let message = streams.next(room, sequence).await?;
            let record = message.map(|message| Record::parse(&message));
            Ok::<_, NatsError>(record.is_some_and(|record| record.stored_at < before))
        };

        let Some(first) = self.rooms.first_message(room, 1).await? else {
            return Ok(0);
        };
        if first.stored_at >= before {
            return Ok(0);
        }

        // Messages are in the order of time, so the first one that is kept is found by halving.
        let last = streams.last(room).await?;
        let last = last.map_or(first.offset, |last| last.sequence);
        let (mut old, mut end) = (first.offset, last + 1);
        while old + 1 < end {
            let middle = old + (end - old) / 2;
            if is_old(middle).await? {
                old = middle;
            } else {
                end = middle;
            }
        }
        Ok(end)
    }

    /// Removes the messages of `room` before number `end` of the stream, behind a mark if the newest one is among them.
    async fn remove_before(&self, room: &RoomName, end: u64) -> Result<(), NatsError> {
        let streams = &self.rooms.streams;
        let has_conditions = self.rooms.with(room, |state| state.life.has_conditions());
        if has_conditions == Some(true) {
            self.rooms.save(room).await?;
        }

        let last = streams.last(room).await?;
        let last = last.map(|last| Record::parse(&last));
        let end = match last {
            Some(last) if last.offset < end && !last.entry.is_mark() => {
                self.rooms.wait_for(last.offset).await?;
                self.writer.mark_trimmed(room, &last).await?;
                end
            }
            Some(last) => end.min(last.offset),
            None => return Ok(()),
        };
        streams.purge_before(room, end).await
    }

    /// Removes commands, uses and tombstones that are too old, and returns the time until the next check. After an error, they
    /// are removed the next time.
    async fn trim_other_subjects(&self) -> Duration {
        let age = longest_age(&self.rooms.limits);
        let age_millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        if let Some(before) = now_millis().checked_sub(age_millis) {
            let trimmed =
                futures::future::try_join(self.trim_commands(before), self.trim_tombstones());
            if let Err(error) = trimmed.await {
                debug!(%error, "could not remove old commands and tombstones; trying again");
            }
        }
        (age / SLACK as u32).min(Duration::from_millis(MAX_TRIM_DELAY))
    }

    /// Removes the commands and the uses that were stored before `before`, in milliseconds since 1970 UTC.
    async fn trim_commands(&self, before: u64) -> Result<(), NatsError> {
        let streams = &self.rooms.streams;
        let mut end = 0;
        while let Some(message) = streams.next_command(end + 1).await?
            && Record::parse(&message).stored_at < before
        {
            end = message.sequence;
        }

        if end > 0 {
            streams.purge_commands_before(end + 1).await?;
        }
        Ok(())
    }

    /// Removes the tombstones of messages that would be too old by now if they had not been deleted.
    async fn trim_tombstones(&self) -> Result<(), NatsError> {
        let streams = &self.rooms.streams;
        let mut subjects = streams.tombstone_subjects().await?;
        let now = now_millis();

        while let Some((subject, _)) = subjects.try_next().await.map_err(NatsError::request)? {
            let Some(StreamSubject::Tombstone(token, offset)) = streams.subjects.parse(&subject)
            else {
                continue;
            };
            let Some(room) = room_of(token) else {
                continue;
            };
            let Some(tombstone) = streams.tombstone(&room, offset).await? else {
                continue;
            };

            let life = streams
                .heads
                .read_saved_life(&room)
                .await?
                .unwrap_or_default();
            let limits = self.rooms.limits.of(&room, &life.lifecycle);
            let is_deleted = Offset(offset) <= Offset(life.base);
            let stored_at = Record::parse(&tombstone).stored_at;
            if is_deleted || now.saturating_sub(stored_at) > limits.age {
                streams.erase(tombstone.sequence).await?;
            }
        }
        Ok(())
    }
}
