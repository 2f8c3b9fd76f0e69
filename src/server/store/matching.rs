//! Reads over several rooms, selected by name or by pattern: the range, the page, the list of rooms, and the selection of the oldest messages
//! from many rooms.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::protocol::{Offset, RoomName, RoomSelector};
use crate::server::room::Frame;
use crate::server::store::{Lifecycle, Limit};

/// The offsets of a read over several rooms.
#[derive(Clone, Copy, Debug)]
pub struct MatchingRange {
    /// The offset after which messages are read.
    pub after: Offset,
    /// Trimmed messages up to this offset are not counted, because the reader was sent a gap for them or does not need
    /// them.
    pub known: Offset,
    /// The largest offset that is read.
    pub until: Offset,
}

impl MatchingRange {
    /// Returns the range of all messages after `after`. Trimmed messages up to `known` are not counted.
    pub fn after(after: Offset, known: Offset) -> Self {
        Self {
            after,
            known: known.max(after),
            until: Offset(u64::MAX),
        }
    }
}

/// Returns true if one of `rooms` matches `name`.
pub(super) fn is_selected(rooms: &[RoomSelector], name: &RoomName) -> bool {
    rooms.iter().any(|selector| selector.matches(name))
}

/// The oldest messages after an offset in all rooms that are selected by name or by pattern.
///
/// Rooms are trimmed independently of each other, so a page can have messages that are older than trimmed ones. Each
/// message of these rooms after the offset and up to `until` is either in `frames`, or counted in `trimmed` or
/// `damaged`.
#[derive(Clone, Debug)]
pub struct MatchingPage {
    /// The messages, in the order of their offsets over all rooms.
    pub frames: Vec<Arc<Frame>>,
    /// True if there are more messages after `until`.
    pub more: bool,
    /// The offset up to which the page is complete. The next page begins after it.
    pub until: Offset,
    /// The newest offset, at most `until`, that may belong to a message that is no longer kept; the offset of the
    /// request or an older one if there is none.
    pub gone: Offset,
    /// The number of messages that are no longer kept, from the offset of the request up to `until`; `None` if the
    /// store does not know it. Rooms that were dropped are unknown.
    pub trimmed: Option<u64>,
    /// The number of messages that cannot be read.
    pub damaged: u64,
}

/// A room in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRoom {
    /// The name.
    pub room: RoomName,
    /// The oldest offset kept; 0 if nothing is kept.
    pub first: Offset,
    /// The newest offset.
    pub head: Offset,
    /// The number of messages that are kept; `None` if the store does not know it.
    pub count: Option<u64>,
    /// The state of the room besides its messages.
    pub lifecycle: Lifecycle,
    /// The time at which it expires if it is not used until then, in milliseconds since 1970 UTC; `None` if it does not.
    pub expires_at: Option<u64>,
}

/// A function that selects rooms by name.
pub type RoomFilter = Box<dyn Fn(&RoomName) -> bool + Send + Sync>;

/// The messages with the lowest offsets among those that were added, as many as a [`Limit`] allows. Room after room
/// can be added, each in the order of its offsets.
#[derive(Debug)]
pub(super) struct Oldest<T> {
    limit: Limit,
    /// The messages by offset, each with its size in bytes.
    messages: BTreeMap<u64, (usize, T)>,
    bytes: usize,
    /// The lowest offset that did not fit.
    end: u64,
}

/// The oldest messages as frames.
pub(super) type OldestFrames = Oldest<Arc<Frame>>;

impl<T> Oldest<T> {
    pub(super) const fn new(limit: Limit) -> Self {
        Self {
            limit,
            messages: BTreeMap::new(),
            bytes: 0,
            end: u64::MAX,
        }
    }

    /// Returns true if a message at `offset` does not fit any more.
    pub(super) const fn is_past(&self, offset: u64) -> bool {
        offset >= self.end
    }

    /// Adds `message` of `size` bytes, or replaces the one at `offset`. Breaks if no later message fits.
    pub(super) fn add(&mut self, offset: u64, size: usize, message: T) -> ControlFlow<()> {
        if self.is_past(offset) {
            return ControlFlow::Break(());
        }

        self.bytes += size;
        if let Some((size, _)) = self.messages.insert(offset, (size, message)) {
            self.bytes -= size;
        }
        while self.messages.len() > self.limit.messages.max(1)
            || (self.bytes > self.limit.bytes && self.messages.len() > 1)
        {
            let Some((offset, (size, _))) = self.messages.pop_last() else {
                break;
            };
            self.bytes -= size;
            self.end = offset;
        }

        if self.is_past(offset) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Returns the messages, and their page without frames. `newest` is the offset up to which all rooms were read.
    pub(super) fn into_page(self, newest: u64) -> (Vec<T>, MatchingPage) {
        let more = self.end != u64::MAX;
        let last = self.messages.keys().next_back().copied();
        let until = last.filter(|_| more).unwrap_or(newest);

        let page = MatchingPage {
            frames: Vec::new(),
            more,
            until: Offset(until),
            gone: Offset(0),
            trimmed: Some(0),
            damaged: 0,
        };
        let messages = self.messages.into_values().map(|(_, message)| message);
        (messages.collect(), page)
    }
}

impl OldestFrames {
    /// Adds `frame` like [`Oldest::add`].
    pub(super) fn add_frame(&mut self, frame: Arc<Frame>) -> ControlFlow<()> {
        self.add(frame.offset().0, frame.size(), frame)
    }

    /// Returns the page of these messages. `newest` is the offset up to which all rooms were read.
    pub(super) fn into_frames(self, newest: u64) -> MatchingPage {
        let (frames, page) = self.into_page(newest);
        MatchingPage { frames, ..page }
    }
}

impl MatchingPage {
    /// Adds the messages of dropped rooms, whose offsets are at most `floor`. Those up to `known` are not missing.
    pub(super) fn add_dropped(&mut self, floor: u64, known: Offset) {
        let floor = Offset(floor.min(self.until.0));
        if floor > known {
            self.gone = self.gone.max(floor);
            self.trimmed = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::UserId;
    use crate::server::room::Draft;

    fn frame(offset: u64, bytes: usize) -> Arc<Frame> {
        let draft = Draft::binary(UserId::guest(0), &vec![0; bytes]);
        Arc::new(Frame::of_test(&RoomName::lobby(), draft, offset))
    }

    fn page(limit: Limit, rooms: &[&[(u64, usize)]]) -> (Vec<u64>, bool, u64) {
        let mut oldest = OldestFrames::new(limit);
        for room in rooms {
            for (offset, bytes) in *room {
                if oldest.add_frame(frame(*offset, *bytes)).is_break() {
                    break;
                }
            }
        }

        let page = oldest.into_frames(99);
        let offsets = page.frames.iter().map(|frame| frame.offset().0).collect();
        (offsets, page.more, page.until.0)
    }

    #[test]
    fn the_oldest_messages_of_all_rooms_are_selected_whatever_the_order_of_the_rooms() {
        let limit = Limit {
            messages: 3,
            bytes: usize::MAX,
        };
        let (a, b): (&[_], &[_]) = (&[(2, 1), (8, 1), (9, 1), (10, 1)], &[(1, 1), (4, 1)]);

        assert_eq!(page(limit, &[a, b]), (vec![1, 2, 4], true, 4));
        assert_eq!(page(limit, &[b, a]), (vec![1, 2, 4], true, 4));
        assert_eq!(page(limit, &[b]), (vec![1, 4], false, 99));
    }

    #[test]
    fn no_message_after_one_that_does_not_fit_is_selected() {
        let limit = Limit {
            messages: 9,
            bytes: 2 * size_of::<Frame>() + 100,
        };

        let selected = page(limit, &[&[(1, 1), (2, 500)], &[(3, 1)]]);

        assert_eq!(selected, (vec![1], true, 1));
        assert_eq!(page(limit, &[&[(1, 5000)]]), (vec![1], false, 99));
    }
}
