//! A cache of the newest messages of a room. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::server::memory::Memory;
use crate::server::room::Frame;
use crate::server::store::{Limit, Page, Span};

/// The maximum number of cached messages per room.
const MAX_MESSAGES: usize = 256;
/// The maximum number of cached bytes per room. The ring of the hub shares most of these messages.
const MAX_BYTES: usize = 128 * 1024;
/// The approximate limit of the caches of all rooms in bytes; a quarter of the memory budget is a further limit. A
/// cache shrinks to its quota when the next message is appended.
const ALL_BYTES: usize = 64 * 1024 * 1024;

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
    pub(super) const fn new(head: u64) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            floor: head,
        }
    }

    /// Appends the newest message. If there is a gap before it, all earlier messages are removed from the cache.
    pub(super) fn push(&mut self, frame: Arc<Frame>, quota: CacheQuota) {
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
    pub(super) fn prepend(&mut self, frames: &[Arc<Frame>], floor: u64, quota: CacheQuota) {
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
    pub(super) fn trim(&mut self, first: u64) {
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
    pub(super) fn redact(&mut self, offset: u64) {
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
    pub(super) fn get(&self, offset: u64) -> Option<&Arc<Frame>> {
        self.frames.get(self.index(offset)?)
    }

    /// Returns true if the cache holds no entries except tombstones.
    pub(super) fn has_only_tombstones(&self) -> bool {
        self.frames.iter().all(|frame| frame.is_deleted())
    }

    /// Returns the oldest cached message if the cache holds as many messages as the stream keeps of the room.
    pub(super) fn oldest_kept(&self, quota: CacheQuota) -> Option<&Arc<Frame>> {
        self.frames
            .front()
            .filter(|_| self.frames.len() == quota.kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Epoch, Offset, RoomName, UserId};
    use crate::server::room::Draft;

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
}
