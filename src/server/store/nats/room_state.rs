//! The state of one open room: its bounds, its life, its tombstones and a cache of its newest messages. Pure.
//!
//! # Invariants
//!
//! - The head of a room is the offset of its newest message, or the value that NATS returned when the room was opened
//!   and the consumer was at `opened_at`. The messages after the head are new, and only those.
//! - The cached messages have no gap. The consumer appends new ones, and readers prepend older ones.
//! - The messages of a deleted room, up to its base, belong to no room. Marks and refused messages
//!   ([`room_life`](super::room_life)) have no place in the room.
//! - A tombstone is a message of its own, under a separate subject, because a stream can only remove a message as a
//!   whole. Readers put it in the place of the deleted message.

use std::sync::Arc;
use std::time::Instant;

use super::codec::Record;
use super::recent_messages::{CacheQuota, RecentMessages, page};
use super::room_life::{LoggedLife, MessageRole};
use super::tombstones::Tombstones;
use crate::protocol::{Epoch, Offset, RoomName};
use crate::server::room::Frame;
use crate::server::store::changes::LogChange;
use crate::server::store::room_limits::{RoomLimitTable, RoomLimits};
use crate::server::store::{Bounds, Limit, Page, Span, now_millis};

/// The state of one open room. See the [module docs](self).
#[derive(Debug)]
pub(super) struct NatsRoomState {
    name: RoomName,
    table: Arc<RoomLimitTable>,
    /// The newest offset; `None` until NATS has returned it.
    pub(super) head: Option<u64>,
    /// The first and the last sequence number that the consumer delivered before the head was known.
    early: Option<(u64, u64)>,
    /// The newest number of the stream that must be part of a life that is read from NATS.
    expected: u64,
    pub(super) life: LoggedLife,
    /// The position of the consumer when the life was read.
    pub(super) life_read_at: u64,
    /// The position of the consumer when the room was opened.
    opened_at: u64,
    /// The oldest offset that is kept; 0 if none is.
    pub(super) first: u64,
    /// The offset after which everything is kept.
    gone: u64,
    /// The time at which NATS last returned the oldest message.
    pub(super) loaded: Option<Instant>,
    pub(super) recent: RecentMessages,
    pub(super) tombstones: Tombstones,
    /// The lock of the task that requests messages or the state of the room from NATS.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    /// The number of tasks that open the room.
    pub(super) openings: usize,
    /// True after the room was opened, until it is released.
    pub(super) is_kept: bool,
}

impl NatsRoomState {
    /// Creates the state of an unknown room, opened when the consumer was at `opened_at`.
    pub(super) fn new(name: RoomName, table: Arc<RoomLimitTable>, opened_at: u64) -> Self {
        Self {
            name,
            table,
            head: None,
            early: None,
            expected: 0,
            life: LoggedLife::default(),
            life_read_at: opened_at,
            opened_at,
            first: 0,
            gone: 0,
            loaded: None,
            recent: RecentMessages::new(0),
            tombstones: Tombstones::default(),
            turn: Arc::default(),
            openings: 0,
            is_kept: false,
        }
    }

    /// Returns the bounds in a stream that was read up to `position`; `None` until the head is known.
    pub(super) fn bounds(&self, epoch: Epoch, position: u64) -> Option<Bounds> {
        let head = self.head?;
        let gone = if self.first == 0 { head } else { self.gone };
        Some(Bounds {
            epoch,
            first: Offset(self.first),
            head: Offset(head),
            gone: Offset(gone),
            newest: Offset(head.max(position)),
            is_known: self.is_known(),
        })
    }

    /// Returns its name.
    pub(super) const fn name(&self) -> &RoomName {
        &self.name
    }

    /// Returns the limits of its messages and of its life.
    pub(super) fn limits(&self) -> RoomLimits {
        self.table.of(&self.name, &self.life.lifecycle)
    }

    /// Returns the largest number of messages that are kept.
    pub(super) fn kept(&self) -> usize {
        usize::try_from(self.limits().messages).unwrap_or(usize::MAX)
    }

    /// Returns the time at which it expires if nobody uses it, in milliseconds since 1970 UTC; `None` if it does not.
    pub(super) fn expires_at(&self) -> Option<u64> {
        self.life
            .expires_at(&self.limits())
            .filter(|_| self.is_known())
    }

    /// Returns true if the room has expired.
    pub(super) fn is_expired(&self) -> bool {
        self.expires_at().is_some_and(|at| now_millis() >= at)
    }

    /// Returns true if the room has, or had, messages, or was created.
    pub(super) fn is_known(&self) -> bool {
        self.head.is_some_and(|head| head > self.life.base) || self.life.is_known()
    }

    /// Sets the life of a room whose head is unknown, which was read from NATS when the consumer was at `position`. Returns
    /// false if the consumer has received events that it does not include: it must be read again.
    pub(super) fn set_life(&mut self, life: LoggedLife, position: u64) -> bool {
        self.life_read_at = position;
        let early = self.early.map_or(0, |(_, last)| last);
        let expected = if life.lifecycle.is_closed {
            // Some of the early messages may have come after the end.
            self.early = None;
            self.expected.max(early)
        } else {
            self.expected
        };

        let is_complete = life.applied >= expected;
        self.life = life;
        is_complete
    }

    /// Adds the events that the consumer has missed, because their messages were removed from the stream before. `read` is
    /// the life that NATS has, up to a message that the consumer has passed; it was at `position` when it was read.
    pub(super) fn add_missed_events(&mut self, read: LoggedLife, position: u64) -> Vec<LogChange> {
        self.life_read_at = position;
        let mut changes = Vec::new();

        if read.base > self.life.base {
            let newest = self.head.filter(|head| *head > read.base);
            changes.push(self.clear(read.base));
            self.head = newest.or(self.head);
            self.loaded = None;
            self.life.base = read.base;
            self.life.lifecycle = read.lifecycle.clone();
        }

        let was_closed = self.life.lifecycle.is_closed && changes.is_empty();
        let is_closed = read.lifecycle.is_closed && read.base == self.life.base;
        if read.applied >= self.life.applied {
            self.life = read;
        }
        self.life.lifecycle.is_closed |= is_closed;
        changes.extend(self.closed(was_closed));
        changes
    }

    /// Returns the newest offset; `None` if no message is kept.
    pub(super) fn newest_kept(&self) -> Option<Offset> {
        self.head.filter(|_| self.first > 0).map(Offset)
    }

    /// Returns true if the stream may hold no message of the room.
    pub(super) fn may_be_empty(&self) -> bool {
        let is_deleted = |head| self.tombstones.get(head).is_some();
        self.first == 0 || (self.head.is_some_and(is_deleted) && self.recent.has_only_tombstones())
    }

    /// Returns the time of the entry at `offset`, in milliseconds since 1970 UTC; `None` if it is not cached.
    pub(super) fn time_of(&self, offset: u64) -> Option<u64> {
        let recent = self.recent.get(offset).map(|frame| frame.at());
        recent.or_else(|| Some(self.tombstones.get(offset)?.entry.at))
    }

    /// Records that NATS returned `head` and `oldest`; `oldest` is `None` if no message is kept.
    pub(super) fn set_bounds(&mut self, head: u64, oldest: Option<Record>) {
        // The room may have been deleted meanwhile.
        let oldest = oldest.filter(|oldest| oldest.offset > self.life.base);
        let oldest = oldest.map(|oldest| (oldest.offset, oldest.before()));
        self.loaded = Some(Instant::now());

        match (self.head, oldest) {
            // A message that was over the limit may still be in the stream.
            (Some(_), Some(oldest)) if oldest.0 >= self.first => (self.first, self.gone) = oldest,
            (Some(_), Some(_)) => {}
            (Some(known), None) if known == head => self.first = 0,
            // A message was appended in the meantime, and that one is kept.
            (Some(_), None) => return,
            (None, _) => {
                let early = self.early.map(|(first, _)| (first, head));
                (self.first, self.gone) = oldest.or(early).unwrap_or((0, head));

                let last_early = self.early.map_or(0, |(_, last)| last);
                let head = head.max(self.first).max(last_early);
                self.head = Some(head);
                self.life.head = self.life.head.max(head);
                self.life.applied = self.life.applied.max(last_early);
                self.recent = RecentMessages::new(head);
            }
        }

        let first = if self.first == 0 {
            u64::MAX
        } else {
            self.first
        };
        self.recent.trim(first);
        self.tombstones.trim(first);
    }

    /// Returns true if `record` is a new message or any tombstone. Before the head is known, a message is only recorded.
    pub(super) fn is_new(&mut self, record: &Record) -> bool {
        if record.entry.deleted.is_some() {
            return record.offset > self.life.base;
        }

        let sequence = record.offset;
        let Some(head) = self.head else {
            if record.entry.life.is_some() {
                self.expected = sequence;
            }
            if !record.entry.is_mark() {
                let first = self.early.map_or(sequence, |(first, _)| first);
                self.early = Some((first, sequence));
            }
            return false;
        };
        sequence > head.max(self.life.applied)
    }

    /// Applies `record`, a new message or any tombstone, and returns the changes. `newest_missed` is the newest number of the
    /// stream that the consumer did not receive.
    pub(super) fn apply(
        &mut self,
        mut record: Record,
        newest_missed: u64,
        epoch: Epoch,
        quota: CacheQuota,
    ) -> Vec<LogChange> {
        let Some(head) = self.head else {
            // A tombstone of a room that is being opened.
            self.tombstones.insert(record);
            return Vec::new();
        };

        let offset = record.offset;
        let was_closed = self.life.lifecycle.is_closed;
        if let Some(at) = record.entry.deleted {
            if !self.tombstones.insert(record.clone()) {
                return Vec::new();
            }
            if offset <= head {
                self.recent.redact(offset);
                return vec![LogChange::Deleted(self.name.clone(), Offset(offset), at)];
            }
            // The message was removed from the stream before the consumer received it.
        } else {
            let event = record.entry.life.as_deref();
            match self.life.apply(offset, record.entry.at, event) {
                MessageRole::Message => {}
                MessageRole::Mark => return self.closed(was_closed).into_iter().collect(),
                MessageRole::Refused => return Vec::new(),
                MessageRole::Deletion => return vec![self.clear(offset)],
            }
            if let Some(tombstone) = self.tombstones.get(offset) {
                // The message was deleted in the meantime.
                record = tombstone.clone();
            }
        }

        let prev = if newest_missed > head.max(self.opened_at) {
            newest_missed.min(offset - 1)
        } else {
            head
        };

        let frame = Arc::new(record.into_frame(self.name.clone(), epoch, prev));
        self.push(frame.clone(), quota);

        let appended = LogChange::Appended(self.name.clone(), vec![frame]);
        [appended]
            .into_iter()
            .chain(self.closed(was_closed))
            .collect()
    }

    /// Returns the change if the room is closed now and was not before.
    fn closed(&self, was_closed: bool) -> Option<LogChange> {
        let is_new = self.life.lifecycle.is_closed && !was_closed;
        let head = Offset(self.head.unwrap_or_default());
        is_new.then(|| LogChange::Closed(self.name.clone(), head))
    }

    /// Removes everything up to `offset`, because the room was deleted there.
    fn clear(&mut self, offset: u64) -> LogChange {
        self.head = Some(offset);
        (self.first, self.gone) = (0, offset);
        self.recent = RecentMessages::new(offset);
        self.tombstones.trim(offset + 1);
        LogChange::RoomDeleted(self.name.clone(), Offset(offset))
    }

    /// Adds the newest entry.
    fn push(&mut self, frame: Arc<Frame>, quota: CacheQuota) {
        let (offset, prev) = (frame.offset().0, frame.prev().0);
        self.head = Some(offset);
        if self.first == 0 {
            (self.first, self.gone) = (offset, prev);
        }
        self.recent.push(frame, quota);

        if let Some(oldest) = self.recent.oldest_kept(quota)
            && oldest.offset().0 > self.first
        {
            (self.first, self.gone) = (oldest.offset().0, self.recent.floor);
        }
    }

    /// Returns the page of `span` if all its messages are cached.
    pub(super) fn page(&self, span: Span, limit: Limit) -> Option<Page> {
        let page = page(&self.recent.frames, span, limit);
        let is_complete = self.first == 0 || self.recent.floor < self.first;
        let is_cached = match span {
            Span::After(after) => after.0 >= self.recent.floor,
            Span::Before(_) | Span::Newest => page.more,
        };
        (is_complete || is_cached).then_some(page)
    }

    /// Caches `frames`: all entries after `floor`, up to `until`, if that is still the floor of the cache.
    pub(super) fn prepend(
        &mut self,
        frames: &[Arc<Frame>],
        floor: u64,
        until: u64,
        quota: CacheQuota,
    ) {
        if self.recent.floor != until {
            return;
        }

        self.recent.prepend(frames, floor, quota);
        // Some of them may have been deleted while they were read.
        for frame in frames {
            let offset = frame.offset().0;
            if self.tombstones.get(offset).is_some() {
                self.recent.redact(offset);
            }
        }
    }
}
