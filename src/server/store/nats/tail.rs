//! The cache of the newest messages of a room, from which most reads are served without a request to NATS.
//!
//! The consumer appends new messages, and readers prepend older ones. The cached messages have no gap.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::protocol::Offset;
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

/// See the [module docs](self).
#[derive(Debug)]
pub(super) struct RecentMessages {
    /// The cached messages in order, without a gap.
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    /// The offset after which every message of the room is cached.
    floor: u64,
}

/// A copy of the cache at one moment.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// The oldest offset of the room that is kept; 0 if none is.
    pub(super) first: u64,
    /// The offset after which `frames` holds every message of the room.
    pub(super) floor: u64,
    /// The messages in order, without a gap.
    pub(super) frames: Vec<Arc<Frame>>,
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
    pub(super) fn push(&mut self, frame: Arc<Frame>, share: CacheQuota) {
        let head = self
            .frames
            .back()
            .map_or(self.floor, |newest| newest.offset().0);
        if frame.prev().0 > head {
            *self = Self::new(frame.prev().0);
        }
        self.bytes += frame.size();

        self.frames.push_back(frame);

        let most = share.kept.min(MAX_MESSAGES);
        while self.frames.len() > most || (self.bytes > share.bytes && self.frames.len() > 1) {
            self.pop();
        }
    }

    /// Prepends `frames`, all entries after `floor` up to the current floor; the newest ones first, as far as the quota
    /// allows.
    pub(super) fn extend(&mut self, frames: &[Arc<Frame>], floor: u64, share: CacheQuota) {
        for frame in frames.iter().rev() {
            let is_full = self.frames.len() >= share.kept.min(MAX_MESSAGES)
                || self.bytes + frame.size() > share.bytes;
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
        while self
            .frames
            .front()
            .is_some_and(|oldest| oldest.offset().0 < first)
        {
            self.pop();
        }
    }

    /// Replaces the message at `offset` with a tombstone, if it is cached.
    pub(super) fn erase(&mut self, offset: u64) {
        let place = self
            .frames
            .binary_search_by_key(&Offset(offset), |frame| frame.offset());
        if let Some(frame) = place.ok().and_then(|place| self.frames.get_mut(place)) {
            let tombstone = frame.tombstone();
            self.bytes += tombstone.size();
            self.bytes -= frame.size();
            *frame = Arc::new(tombstone);
        }
    }

    /// Reports whether the cache holds no entries except tombstones.
    pub(super) fn says_nothing(&self) -> bool {
        self.frames.iter().all(|frame| frame.is_deleted())
    }

    fn pop(&mut self) {
        if let Some(oldest) = self.frames.pop_front() {
            self.bytes -= oldest.size();
            self.floor = oldest.offset().0;
        }
    }

    pub(super) const fn floor(&self) -> u64 {
        self.floor
    }

    /// Returns the oldest cached message if the cache holds as many messages as the stream keeps of the room.
    pub(super) fn oldest_of(&self, share: CacheQuota) -> Option<&Arc<Frame>> {
        self.frames
            .front()
            .filter(|_| self.frames.len() == share.kept)
    }

    /// Returns the message at `offset`, if it is cached.
    pub(super) fn at(&self, offset: u64) -> Option<&Arc<Frame>> {
        let place = self
            .frames
            .binary_search_by_key(&Offset(offset), |frame| frame.offset())
            .ok()?;
        self.frames.get(place)
    }

    /// Returns a copy of the cache; `first` is the oldest offset of the room that is kept.
    pub(super) fn excerpt(&self, first: u64) -> Snapshot {
        Snapshot {
            first,
            floor: self.floor,
            frames: self.frames.iter().cloned().collect(),
        }
    }
}

impl Snapshot {
    /// Returns the page of `span` if all its messages are cached.
    pub(super) fn page(&self, span: Span, limit: Limit) -> Option<Page> {
        let is_complete = self.first == 0 || self.floor < self.first;
        let place = |offset: Offset| {
            self.frames
                .partition_point(|frame| frame.offset() <= offset)
        };

        let end = match span {
            Span::After(after) => {
                let is_here = is_complete || after.0 >= self.floor;
                let (seen, rest) = self.frames.split_at(place(after));
                return is_here.then(|| Page {
                    gone: seen
                        .last()
                        .map(|last| last.offset())
                        .filter(|last| *last == after),
                    ..Page::oldest(rest.iter(), limit)
                });
            }
            Span::Before(before) => place(Offset(before.0.saturating_sub(1))),
            Span::Newest => self.frames.len(),
        };

        let page = Page::newest(self.frames[..end].iter().rev(), limit);
        (is_complete || page.more).then_some(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Epoch, UserId};
    use crate::server::room::Draft;

    fn frame(offset: u64, bytes: usize) -> Arc<Frame> {
        let draft = Draft::binary(UserId::guest(0), &vec![0; bytes]);
        Arc::new(Frame::new(
            draft,
            Epoch::new(0),
            Offset(offset),
            Offset(offset - 1),
            0,
        ))
    }

    #[test]
    fn the_more_rooms_there_are_the_less_a_tail_holds_and_never_nothing() {
        let held = |rooms: usize, bytes: usize| {
            let mut tail = RecentMessages::new(0);
            (1..=300)
                .for_each(|offset| tail.push(frame(offset, bytes), CacheQuota::of(1000, rooms)));
            (tail.frames.len(), tail.floor())
        };

        assert_eq!(held(1, 1), (256, 44));
        let (of_ten_thousand, floor) = held(10_000, 1000);
        assert!((1..8).contains(&of_ten_thousand) && floor == 300 - of_ten_thousand as u64);
        assert_eq!(held(1_000_000, 1000), (1, 299));
    }

    #[test]
    fn what_was_read_fills_a_tail_from_behind_and_no_further_than_its_share() {
        let share = CacheQuota::of(3, 1);
        let mut tail = RecentMessages::new(8);
        tail.push(frame(9, 1), share);

        tail.extend(&[frame(6, 1), frame(7, 1), frame(8, 1)], 5, share);
        assert_eq!(
            (
                tail.floor(),
                tail.oldest_of(share).map(|oldest| oldest.offset().0)
            ),
            (6, Some(7))
        );

        tail.erase(8);
        assert!(tail.at(8).is_some_and(|frame| frame.is_deleted()) && !tail.says_nothing());
    }
}
