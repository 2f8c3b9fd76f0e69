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

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

use super::codec::Record;
use super::room_life::{LoggedLife, MessageRole};
use crate::protocol::{Epoch, Offset, RoomName};
use crate::server::memory::Memory;
use crate::server::room::Frame;
use crate::server::store::changes::LogChange;
use crate::server::store::room_limits::{RoomLimitTable, RoomLimits};
use crate::server::store::{Bounds, Limit, Page, Span, now_millis};

/// The maximum number of cached messages per room.
const MAX_MESSAGES: usize = 256;
/// The maximum number of cached bytes per room. The ring of the hub shares most of these messages.
const MAX_BYTES: usize = 128 * 1024;
/// The approximate limit of the caches of all rooms in bytes; a quarter of the memory budget is a further limit. A
/// cache shrinks to its quota when the next message is appended.
const ALL_BYTES: usize = 64 * 1024 * 1024;

/// The state of one open room. See the [module docs](self).
#[derive(Debug)]
pub(super) struct RoomState {
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

impl RoomState {
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

    /// Reports whether the stream may hold no message of the room.
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

    /// Reports whether `record` is a new message or any tombstone. Before the head is known, a message is only noted.
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

    /// Applies `record`, a new message or any tombstone, and returns the changes. `hole` is the newest number of the stream
    /// that the consumer did not receive.
    pub(super) fn apply(
        &mut self,
        mut record: Record,
        hole: u64,
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

        let prev = if hole > head.max(self.opened_at) {
            hole.min(offset - 1)
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

/// Returns the page of `span` from `frames`, which have no gap. `gone` is set if the entry at the start is in `frames`.
pub(super) fn page(frames: &VecDeque<Arc<Frame>>, span: Span, limit: Limit) -> Page {
    let place = |offset: u64| frames.partition_point(|frame| frame.offset().0 <= offset);
    let newest = |end| Page::newest(frames.range(..end).rev(), limit);

    match span {
        Span::After(after) => {
            let start = place(after.0);
            let last = start.checked_sub(1).and_then(|last| frames.get(last));
            let gone = last.map(|last| last.offset());
            Page {
                gone: gone.filter(|gone| *gone == after),
                ..Page::oldest(frames.range(start..), limit)
            }
        }
        Span::Before(before) => newest(place(before.0.saturating_sub(1))),
        Span::Newest => newest(frames.len()),
    }
}

/// The limits of the cache of one room.
#[derive(Clone, Copy, Debug)]
pub(super) struct CacheQuota {
    /// The maximum number of messages that the stream keeps of the room.
    kept: usize,
    bytes: usize,
}

impl CacheQuota {
    /// Returns the quota of one of `rooms` open rooms. The stream keeps at most `kept` messages of each.
    pub(super) fn of(kept: usize, rooms: usize) -> Self {
        let all = ALL_BYTES.min(Memory::of_process().budget() / 4);
        Self {
            kept,
            bytes: MAX_BYTES.min(all / rooms.max(1)),
        }
    }
}

/// The cache of the newest messages of a room, from which most reads are served without a request to NATS.
#[derive(Debug)]
pub(super) struct RecentMessages {
    /// The cached messages in order, without a gap.
    pub(super) frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    /// The offset after which every message of the room is cached.
    pub(super) floor: u64,
}

impl RecentMessages {
    /// Creates an empty cache for a room whose newest offset is `head`.
    const fn new(head: u64) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            floor: head,
        }
    }

    /// Appends the newest message. If there is a gap before it, all earlier messages are removed from the cache.
    fn push(&mut self, frame: Arc<Frame>, quota: CacheQuota) {
        let newest = self.frames.back();
        let head = newest.map_or(self.floor, |newest| newest.offset().0);
        if frame.prev().0 > head {
            *self = Self::new(frame.prev().0);
        }

        self.bytes += frame.size();
        self.frames.push_back(frame);
        while self.frames.len() > quota.kept.min(MAX_MESSAGES)
            || (self.bytes > quota.bytes && self.frames.len() > 1)
        {
            self.pop();
        }
    }

    /// Prepends `frames`, all entries after `floor` up to the current floor; the newest ones first, as far as the quota
    /// allows.
    fn prepend(&mut self, frames: &[Arc<Frame>], floor: u64, quota: CacheQuota) {
        for frame in frames.iter().rev() {
            let is_full = self.frames.len() >= quota.kept.min(MAX_MESSAGES)
                || self.bytes + frame.size() > quota.bytes;
            if is_full {
                self.floor = frame.offset().0;
                return;
            }
            self.bytes += frame.size();
            self.frames.push_front(frame.clone());
        }
        self.floor = floor;
    }

    /// Removes the messages before `first`, the oldest offset that is kept.
    fn trim(&mut self, first: u64) {
        let is_old = |oldest: &Arc<Frame>| oldest.offset().0 < first;
        while self.frames.front().is_some_and(is_old) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(oldest) = self.frames.pop_front() {
            self.bytes -= oldest.size();
            self.floor = oldest.offset().0;
        }
    }

    /// Replaces the message at `offset` with a tombstone, if it is cached.
    fn redact(&mut self, offset: u64) {
        if let Some(index) = self.index(offset)
            && !self.frames[index].is_deleted()
        {
            let tombstone = Arc::new(self.frames[index].tombstone());
            self.bytes += tombstone.size();
            let deleted = std::mem::replace(&mut self.frames[index], tombstone);
            self.bytes -= deleted.size();
        }
    }

    fn index(&self, offset: u64) -> Option<usize> {
        self.frames
            .binary_search_by_key(&offset, |frame| frame.offset().0)
            .ok()
    }

    /// Returns the message at `offset`, if it is cached.
    fn get(&self, offset: u64) -> Option<&Arc<Frame>> {
        self.frames.get(self.index(offset)?)
    }

    /// Reports whether the cache holds no entries except tombstones.
    fn has_only_tombstones(&self) -> bool {
        self.frames.iter().all(|frame| frame.is_deleted())
    }

    /// Returns the oldest cached message if the cache holds as many messages as the stream keeps of the room.
    fn oldest_kept(&self, quota: CacheQuota) -> Option<&Arc<Frame>> {
        self.frames
            .front()
            .filter(|_| self.frames.len() == quota.kept)
    }
}

/// The tombstones of a room by offset: deleted messages that still occupy their place.
#[derive(Debug, Default)]
pub(super) struct Tombstones(BTreeMap<u64, Record>);

impl Tombstones {
    /// Adds `tombstone`. Returns true if there was none at its offset.
    pub(super) fn insert(&mut self, tombstone: Record) -> bool {
        self.0.insert(tombstone.offset, tombstone).is_none()
    }

    /// Returns the tombstone at `offset`.
    pub(super) fn get(&self, offset: u64) -> Option<&Record> {
        self.0.get(&offset)
    }

    /// Returns the tombstones in `range`, which is not empty, in order.
    pub(super) fn range(&self, range: RangeInclusive<u64>) -> Vec<Record> {
        self.0.range(range).map(|(_, one)| one.clone()).collect()
    }

    /// Returns the offset of the first tombstone at or after `offset`.
    pub(super) fn next(&self, offset: u64) -> Option<u64> {
        self.0.range(offset..).next().map(|(offset, _)| *offset)
    }

    /// Returns the offset of the last tombstone; 0 if there is none.
    pub(super) fn newest(&self) -> u64 {
        self.0.keys().next_back().copied().unwrap_or_default()
    }

    /// Removes the tombstones before `first`.
    pub(super) fn trim(&mut self, first: u64) {
        self.0 = self.0.split_off(&first);
    }

    /// Returns the oldest tombstone that is kept before `oldest`, the first message in the stream. At most `places`
    /// tombstones and messages from there on are kept, and the tombstones must precede `oldest` without a gap. If the
    /// stream holds no message, they must end at `head`, the newest offset. `None` if no tombstone is kept.
    pub(super) fn oldest(
        &self,
        oldest: Option<&Record>,
        head: u64,
        places: usize,
    ) -> Option<&Record> {
        let before = oldest.map_or(u64::MAX, |oldest| oldest.offset);
        let places = places.saturating_sub(self.0.range(before..).count());
        // The offset of the following entry, and the one that it names as its predecessor.
        let mut next = oldest.map(|oldest| oldest.offset);
        let mut prev = oldest.map_or(Some(head), |oldest| Some(oldest.entry.prev?.0));
        let mut found = None;

        for (offset, tombstone) in self.0.range(..before).rev().take(places) {
            let named = tombstone.entry.next.map(|next| next.0);
            if (next.is_none() || named != next) && prev != Some(*offset) {
                break;
            }

            found = Some(tombstone);
            next = Some(*offset);
            prev = tombstone.entry.prev.map(|prev| prev.0);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::protocol::UserId;
    use crate::server::room::Draft;
    use crate::server::store::nats::codec::{PublishId, StreamEntry};

    const ID: PublishId = PublishId { node: 1, number: 1 };

    fn frame(offset: u64, bytes: usize) -> Arc<Frame> {
        let draft = Draft::binary(UserId::guest(0), &vec![0; bytes]);
        let (offset, prev) = (Offset(offset), Offset(offset - 1));
        Arc::new(Frame::new(
            RoomName::lobby(),
            draft,
            Epoch::new(0),
            offset,
            prev,
            0,
        ))
    }

    fn record(offset: u64, prev: Option<u64>) -> Record {
        let draft = Draft::text(UserId::guest(0), None, "");
        let mut entry = StreamEntry::new(&draft, 7, ID);
        entry.prev = prev.map(Offset);
        Record {
            offset,
            entry,
            payload: Bytes::new(),
            stored_at: 7,
        }
    }

    /// Creates tombstones from their offsets, each with the next and the previous offset if those are known.
    fn tombstones(all: &[(u64, Option<u64>, Option<u64>)]) -> Tombstones {
        let mut tombstones = Tombstones::default();
        for (offset, next, prev) in all {
            let record = record(*offset, *prev);
            let entry = record.entry.into_tombstone(9, next.map(Offset), ID);
            assert!(tombstones.insert(Record { entry, ..record }));
        }
        tombstones
    }

    /// Returns the oldest kept tombstone before `oldest`, given its offset and the offset before it if that is known.
    fn oldest(
        tombstones: &Tombstones,
        oldest: Option<(u64, Option<u64>)>,
        places: usize,
    ) -> Option<u64> {
        let oldest = oldest.map(|(offset, prev)| record(offset, prev));
        let found = tombstones.oldest(oldest.as_ref(), 9, places);
        found.map(|found| found.offset)
    }

    #[test]
    fn caches_shrink_as_rooms_open_but_keep_the_newest_message() {
        let cached = |rooms: usize, bytes: usize| {
            let mut recent = RecentMessages::new(0);
            let quota = CacheQuota::of(1000, rooms);
            (1..=300).for_each(|offset| recent.push(frame(offset, bytes), quota));
            (recent.frames.len(), recent.floor)
        };

        assert_eq!(cached(1, 1), (256, 44));
        let (messages, floor) = cached(10_000, 1000);
        assert!((1..8).contains(&messages) && floor == 300 - messages as u64);
        assert_eq!(cached(1_000_000, 1000), (1, 299));
    }

    #[test]
    fn older_messages_are_prepended_up_to_the_quota() {
        let quota = CacheQuota::of(3, 1);
        let mut recent = RecentMessages::new(8);
        recent.push(frame(9, 1), quota);

        recent.prepend(&[frame(6, 1), frame(7, 1), frame(8, 1)], 5, quota);

        let oldest = recent.oldest_kept(quota).map(|oldest| oldest.offset().0);
        assert_eq!((recent.floor, oldest), (6, Some(7)));
        recent.redact(8);
        assert!(recent.get(8).is_some_and(|frame| frame.is_deleted()));
        assert!(!recent.has_only_tombstones());
    }

    #[test]
    fn a_room_begins_with_the_tombstones_before_its_oldest_message() {
        let some = tombstones(&[
            (2, Some(3), None),
            (4, Some(5), None),
            (5, Some(7), None),
            (8, None, None),
        ]);

        assert_eq!(oldest(&some, Some((7, None)), 10), Some(4), "3 is missing");
        assert_eq!(
            oldest(&some, Some((7, None)), 2),
            Some(5),
            "8 is one of two"
        );
        assert_eq!(oldest(&some, Some((6, None)), 10), None, "7 follows 5");
        assert_eq!(oldest(&some, Some((6, Some(5))), 10), Some(4), "6 names 5");
        assert_eq!(oldest(&some, Some((1, None)), 10), None, "1 is the oldest");
    }

    #[test]
    fn a_room_of_tombstones_begins_with_one_only_if_its_newest_entry_is_one() {
        let newest = tombstones(&[(9, None, Some(4))]);
        assert_eq!(oldest(&newest, None, 9), Some(9));

        let both = tombstones(&[(4, None, None), (9, None, Some(4))]);
        assert_eq!(oldest(&both, None, 9), Some(4));

        let older = tombstones(&[(4, None, None)]);
        assert_eq!(oldest(&older, None, 9), None, "9 is no longer kept");
    }

    #[test]
    fn tombstones_are_found_and_trimmed_by_offset() {
        let mut some = tombstones(&[(2, None, Some(0)), (4, None, None), (8, None, None)]);
        let before = |offset| some.get(offset).map(Record::before);
        assert_eq!((before(2), before(4)), (Some(0), Some(3)));

        some.trim(3);

        let offsets: Vec<_> = some.range(0..=9).iter().map(|one| one.offset).collect();
        assert_eq!(offsets, [4, 8]);
        assert_eq!((some.next(5), some.newest()), (Some(8), 8));
    }
}
