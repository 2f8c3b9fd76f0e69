//! Trimming of the rooms whose limits are tighter than those of the stream.
//!
//! JetStream has the same limits for all rooms, and none on their bytes. The stream therefore has the loosest limits that any
//! room needs, and one node removes what other rooms no longer keep: the node that holds a lease, as for hooks. It consumes
//! all messages anyway, so it looks at a room only when that may have exceeded a limit.
//!
//! # Invariants
//!
//! - The newest message of a room is removed only behind a mark, which names its offset. Readers of patterns therefore learn
//!   of a room that has lost all its messages, and the life of the room stays derivable.
//! - A room exceeds a limit by a [`SLACK`]th part of it for a moment, and its age by at most two times [`LATEST`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::sleep;
use tracing::{debug, info};

use super::codec::{Record, StreamSubject, room_of, token};
use super::connection::NatsError;
use super::history::HistoryReader;
use super::hooks::NatsHooks;
use super::room_writer::RoomWriter;
use super::rooms::Rooms;
use super::streams::longest_age;
use crate::protocol::{Offset, RoomName};
use crate::server::store::room_limits::{RoomLimitTable, RoomLimits};
use crate::server::store::{Lifecycle, Limit, Span, StoreError, now_millis};

/// The pause between two looks at the rooms that are due.
const INTERVAL: Duration = Duration::from_millis(250);
/// The pause between two renewals of the lease.
const RENEW_AFTER: Duration = Duration::from_secs(3);
/// The name of the lease, which no hook can have.
const LEASE: &str = "$trimming";
/// The part of a limit by which a room may exceed it.
const SLACK: u64 = 16;
/// The longest time for which a message may be kept after its age, in milliseconds.
const LATEST: u64 = 30 * 60 * 1000;
/// The maximum number of rooms that are trimmed at the same time.
const ROOMS_AT_ONCE: usize = 8;
/// The pause before a room is looked at again after a failure, in milliseconds.
const RETRY_AFTER: u64 = 3000;
/// The number of messages that are read at a time to add up their bytes.
const PAGE_MESSAGES: usize = 256;

/// The rooms that this node trims, by subject token. Pure, except for random delays.
#[derive(Debug, Default)]
pub(super) struct TrimSchedule {
    rooms: HashMap<String, RoomProgress>,
}

/// The messages of a room since the last look at it.
#[derive(Debug)]
struct RoomProgress {
    messages: u64,
    bytes: u64,
    next: NextTrim,
}

/// What may happen to a room before it must be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NextTrim {
    /// The number of messages that it may get.
    messages: u64,
    /// The number of bytes that it may get.
    bytes: u64,
    /// The time, in milliseconds since 1970 UTC.
    at: u64,
}

impl NextTrim {
    /// Returns the next look at a room with `limits` that has `messages` messages of `bytes` bytes. The oldest was stored at
    /// `oldest`, in milliseconds since 1970 UTC.
    fn new(limits: &RoomLimits, messages: u64, bytes: u64, oldest: u64) -> Self {
        let left = |limit: u64, used: u64| {
            limit
                .saturating_sub(used)
                .saturating_add(limit / SLACK)
                .saturating_add(1)
        };
        Self {
            messages: left(limits.messages, messages),
            bytes: left(limits.bytes, bytes),
            at: oldest
                .saturating_add(limits.age)
                .saturating_add((limits.age / SLACK).min(LATEST))
                .saturating_add(1),
        }
    }

    /// Returns a look at a room at `at`, in milliseconds since 1970 UTC, whatever messages it gets.
    const fn at(at: u64) -> Self {
        Self {
            messages: u64::MAX,
            bytes: u64::MAX,
            at,
        }
    }
}

impl RoomProgress {
    /// Creates the progress of a room without new messages.
    const fn new(next: NextTrim) -> Self {
        Self {
            messages: 0,
            bytes: 0,
            next,
        }
    }

    const fn is_due(&self, now: u64) -> bool {
        let next = self.next;
        self.messages >= next.messages || self.bytes >= next.bytes || now >= next.at
    }
}

impl TrimSchedule {
    /// Records that the room with `token` has a new message of `bytes` bytes.
    pub(super) fn note_message(&mut self, token: &str, bytes: usize, limits: &RoomLimitTable) {
        if !self.rooms.contains_key(token)
            && let Some(room) = room_of(token)
        {
            // It is looked at in time whatever its life is.
            let limits = limits.of(&room, &Lifecycle::default());
            self.set(&room, NextTrim::new(&limits, 0, 0, now_millis()));
        }
        if let Some(progress) = self.rooms.get_mut(token) {
            progress.messages += 1;
            progress.bytes = progress.bytes.saturating_add(bytes as u64);
        }
    }

    /// Returns the rooms that are due at `now`, in milliseconds since 1970 UTC. They are not returned again before
    /// [`TrimSchedule::set`] or [`TrimSchedule::forget`].
    fn take_due(&mut self, now: u64) -> Vec<RoomName> {
        let due = self
            .rooms
            .iter_mut()
            .filter(|(_, progress)| progress.is_due(now));
        due.filter_map(|(token, progress)| {
            *progress = RoomProgress::new(NextTrim::at(u64::MAX));
            room_of(token)
        })
        .collect()
    }

    /// Schedules the next look at `room`. The messages that were noted since the last one count.
    fn set(&mut self, room: &RoomName, next: NextTrim) {
        let progress = self.rooms.entry(token(room));
        progress.or_insert_with(|| RoomProgress::new(next)).next = next;
    }

    /// Forgets `room`, which has no messages, unless it has got some since the last look at it.
    fn forget(&mut self, room: &RoomName) {
        match self.rooms.get_mut(&token(room)) {
            Some(progress) if progress.messages > 0 => progress.next = NextTrim::at(0),
            _ => {
                self.rooms.remove(&token(room));
            }
        }
    }
}

/// The task that trims rooms. See the [module docs](self).
pub(super) struct Trimmer {
    pub(super) rooms: Arc<Rooms>,
    pub(super) writer: Arc<RoomWriter>,
    pub(super) history: Arc<HistoryReader>,
    pub(super) leases: Arc<NatsHooks>,
}

impl Trimmer {
    /// Trims rooms whenever this node has the lease, until dropped.
    pub(super) async fn run(self) {
        let mut renewed: Option<Instant> = None;
        let mut commands_at = Instant::now();
        loop {
            sleep(INTERVAL).await;
            if renewed.is_none_or(|renewed| renewed.elapsed() >= RENEW_AFTER) {
                renewed = Some(Instant::now());
                if let Err(error) = self.renew().await {
                    debug!(%error, "could not renew the lease of trimming; trying again");
                    self.rooms.set_trimming(None);
                }
            }

            let due = self
                .rooms
                .with_trimmed(|rooms| rooms.take_due(now_millis()));
            let Some(due) = due else {
                continue;
            };
            stream::iter(due)
                .for_each_concurrent(ROOMS_AT_ONCE, async |room| self.trim_or_retry(&room).await)
                .await;
            if commands_at <= Instant::now() {
                commands_at = Instant::now() + self.trim_others().await;
            }
        }
    }

    /// Takes or renews the lease if some rooms have tighter limits than the stream, and begins or ends to trim.
    async fn renew(&self) -> Result<(), StoreError> {
        let streams = &self.rooms.streams;
        let is_needed = self.rooms.limits.has_history_rules()
            || self.rooms.limits.has_expiry_rules()
            || streams.read_unlimited().await?;
        if !is_needed || !self.leases.hold(LEASE).await? {
            self.rooms.set_trimming(None);
            return Ok(());
        }
        if self.rooms.with_trimmed(|_| ()).is_some() {
            return Ok(());
        }

        // Messages that arrive while the rooms are listed are noted too.
        self.rooms.set_trimming(Some(TrimSchedule::default()));
        let listed = self.list_rooms().await;
        if listed.is_err() {
            self.rooms.set_trimming(None);
        }
        info!("this node trims the rooms of all nodes");
        Ok(listed?)
    }

    /// Schedules a look at each room. They are spread over the time by which messages may be kept longer.
    async fn list_rooms(&self) -> Result<(), NatsError> {
        let (streams, limits) = (&self.rooms.streams, &self.rooms.limits);
        let mut subjects = streams.room_subjects().await?;
        while let Some((subject, count)) = subjects.try_next().await.map_err(NatsError::request)? {
            let Some(StreamSubject::Message(token)) = streams.subjects.parse(&subject) else {
                continue;
            };
            let Some(room) = room_of(token) else {
                continue;
            };

            let of_room = limits.of(&room, &Lifecycle::default());
            let mut next = NextTrim::new(&of_room, count as u64, 0, 0);
            let longest = (of_room.age / SLACK).min(LATEST);
            next.at = now_millis() + fastrand::u64(0..=longest);
            if count as u64 > of_room.messages || of_room.bytes < u64::MAX {
                next.at = 0;
            }
            self.rooms.with_trimmed(|rooms| rooms.set(&room, next));
        }
        Ok(())
    }

    async fn trim_or_retry(&self, room: &RoomName) {
        let next = self.trim(room).await.unwrap_or_else(|error| {
            debug!(%room, %error, "could not trim a room; trying again");
            Some(NextTrim::at(now_millis() + RETRY_AFTER))
        });
        self.rooms.with_trimmed(|rooms| match next {
            Some(next) => rooms.set(room, next),
            None => rooms.forget(room),
        });
    }

    /// Removes the messages of `room` that are over its limits. Returns the next look at it; `None` if it has no messages.
    async fn trim(&self, room: &RoomName) -> Result<Option<NextTrim>, NatsError> {
        let opening = self.rooms.begin(room);
        opening.reload().await?;
        let limits = self.rooms.with(room, |state| state.limits());
        let limits = limits.ok_or(NatsError::NotOpen)?;

        let (end, bytes) = self.end_by_bytes(room, &limits).await?;
        let end = end.max(self.end_by_age(room, &limits).await?);
        if end > 0 {
            self.remove_before(room, end).await?;
        }
        let count = self.trim_to_number(room, &limits).await?;
        // Readers on this node see at once what is left.
        opening.reload().await?;

        let base = self.rooms.with(room, |state| state.life.base);
        let oldest = self.rooms.first_message(room, base.unwrap_or_default() + 1);
        let oldest = oldest.await?;
        Ok(oldest.map(|oldest| NextTrim::new(&limits, count, bytes, oldest.stored_at)))
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

    /// Returns the offset of the oldest message that is kept by its bytes, or 0 if all are, and the bytes that are kept.
    async fn end_by_bytes(
        &self,
        room: &RoomName,
        limits: &RoomLimits,
    ) -> Result<(u64, u64), NatsError> {
        if limits.bytes == u64::MAX {
            return Ok((0, 0));
        }

        let limit = Limit::page(PAGE_MESSAGES);
        let (mut span, mut bytes, mut end) = (Span::Newest, 0, 0);
        loop {
            let page = self.history.page(room, span, limit).await?;
            for frame in page.frames.iter().rev() {
                let size = frame.payload().as_bytes().len() as u64;
                if bytes + size > limits.bytes && end > 0 {
                    return Ok((end, bytes));
                }
                bytes += size;
                end = frame.offset().0;
            }
            match page.frames.first() {
                Some(oldest) if page.more => span = Span::Before(oldest.offset()),
                _ => return Ok((0, bytes)),
            }
        }
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

    /// Removes commands, uses and tombstones that are too old, and returns the time until the next look at them. Errors
    /// matter little: they are removed the next time.
    async fn trim_others(&self) -> Duration {
        let age = longest_age(&self.rooms.limits);
        let age_millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        if let Some(before) = now_millis().checked_sub(age_millis) {
            let trimmed =
                futures::future::try_join(self.trim_commands(before), self.trim_tombstones());
            if let Err(error) = trimmed.await {
                debug!(%error, "could not remove old commands and tombstones; trying again");
            }
        }
        (age / SLACK as u32).min(Duration::from_millis(LATEST))
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

    /// Removes the tombstones of deleted messages that would be too old by now.
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

            let life = streams.read_saved_life(&room).await?.unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::store::Retention;

    const LIMITS: RoomLimits = RoomLimits {
        messages: 32,
        bytes: 1600,
        age: 1600,
        ..RoomLimits::NONE
    };

    #[test]
    fn a_room_is_looked_at_when_it_may_have_exceeded_a_limit_by_a_sixteenth() {
        let next = NextTrim::new(&LIMITS, 30, 1000, 5000);

        assert_eq!(
            next,
            NextTrim {
                messages: 5,
                bytes: 701,
                at: 6701,
            }
        );
        assert!(!RoomProgress::new(next).is_due(6700));
        assert!(RoomProgress::new(next).is_due(6701));
        let unlimited = NextTrim::new(&RoomLimits::NONE, 30, 1000, 5000);
        assert!(!RoomProgress::new(unlimited).is_due(u64::MAX - 1));
    }

    #[test]
    fn the_rooms_that_have_got_enough_messages_are_due() {
        let (lobby, other) = (RoomName::lobby(), RoomName::parse("other").expect("a name"));
        let table = RoomLimitTable::new(Retention::of_test(100), Arc::default());
        let mut schedule = TrimSchedule::default();
        schedule.set(&lobby, NextTrim::new(&LIMITS, 32, 0, 5000));
        schedule.set(&other, NextTrim::new(&LIMITS, 10, 0, 5000));

        for _ in 0..3 {
            schedule.note_message("lobby", 1, &table);
            schedule.note_message("other", 1, &table);
        }

        assert_eq!(schedule.take_due(0), std::slice::from_ref(&lobby));
        assert!(schedule.take_due(0).is_empty());
        assert_eq!(schedule.take_due(6701), [other]);
        schedule.forget(&lobby);
        assert_eq!(schedule.rooms.len(), 1);
    }

    #[test]
    fn a_message_that_arrives_during_a_look_at_its_room_counts_for_the_next_one() {
        let lobby = RoomName::lobby();
        let table = RoomLimitTable::new(Retention::of_test(1), Arc::default());
        let mut schedule = TrimSchedule::default();
        schedule.set(&lobby, NextTrim::at(0));
        assert_eq!(schedule.take_due(0), std::slice::from_ref(&lobby));

        schedule.note_message("lobby", 1, &table);
        let limits = table.of(&lobby, &Lifecycle::default());
        schedule.set(&lobby, NextTrim::new(&limits, 1, 1, 5000));

        assert_eq!(schedule.take_due(0), std::slice::from_ref(&lobby));
        schedule.note_message("lobby", 1, &table);
        schedule.forget(&lobby);
        assert_eq!(schedule.take_due(0), [lobby]);
    }
}
