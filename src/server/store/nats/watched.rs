//! The patterns that this node watches, so that the consumer reports the messages of rooms that are not open.

use std::collections::HashMap;
use std::sync::Arc;

use super::codec::Record;
use super::subjects::room_of;
use crate::protocol::{Epoch, Offset, RoomName, RoomPattern};
use crate::server::room::PatternMap;
use crate::server::store::changes::LogChange;

/// The maximum number of rooms whose newest offsets are kept.
const MAX_HEADS: usize = 100_000;

/// The watched patterns. See the [module docs](self).
#[derive(Debug, Default)]
pub(super) struct WatchedPatterns {
    /// The patterns, each with the number of its watchers.
    patterns: PatternMap<usize>,
    /// The newest offsets of matching rooms, by subject token, as far as the consumer has delivered them meanwhile. The
    /// first message after an offset was forgotten has a `prev` that it names itself.
    heads: HashMap<String, u64>,
}

impl WatchedPatterns {
    /// Adds a watcher of `pattern`.
    pub(super) fn add(&mut self, pattern: &RoomPattern) {
        *self.patterns.get_or_insert(pattern, 0) += 1;
    }

    /// Removes a watcher of `pattern`.
    pub(super) fn remove(&mut self, pattern: &RoomPattern) {
        *self.patterns.get_or_insert(pattern, 1) -= 1;
        self.patterns.retain(|watchers| *watchers > 0);
        // The offsets of rooms that are no longer watched would be out of date later.
        self.forget_heads();
    }

    /// Forgets the newest offsets of all rooms, for example because the consumer has missed messages.
    pub(super) fn forget_heads(&mut self) {
        self.heads = HashMap::new();
    }

    /// Returns true if no pattern is watched.
    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Records that the newest offset of the room with `token` is `head`, if the room is watched.
    pub(super) fn set_head(&mut self, token: &str, head: u64) {
        if self.is_empty() {
            return;
        }

        if let Some(known) = self.heads.get_mut(token) {
            *known = head;
        } else if room_of(token).is_some_and(|room| self.is_watched(&room)) {
            self.insert_head(token, head);
        }
    }

    /// Records a new newest offset, and returns the earlier one.
    fn insert_head(&mut self, token: &str, head: u64) -> Option<u64> {
        if self.heads.len() >= MAX_HEADS {
            self.forget_heads();
        }
        self.heads.insert(token.to_owned(), head)
    }

    /// Returns true if a watched pattern matches `room`.
    pub(super) fn is_watched(&self, room: &RoomName) -> bool {
        self.patterns.matching(room).next().is_some()
    }

    /// Returns the changes by `record`, a message or a tombstone of the room with `token`; none if the room is not watched.
    pub(super) fn apply(&mut self, token: &str, record: Record, epoch: Epoch) -> Vec<LogChange> {
        let Some(room) = room_of(token).filter(|room| self.is_watched(room)) else {
            return Vec::new();
        };

        let offset = Offset(record.offset);
        if let Some(at) = record.entry.deleted {
            return vec![LogChange::Deleted(room, offset, at)];
        }
        let life = record.entry.life.clone().unwrap_or_default();
        if life.deletes {
            self.heads.remove(token);
            return vec![LogChange::RoomDeleted(room, offset)];
        }
        let last = if life.is_mark {
            record.entry.seen.unwrap_or_default()
        } else {
            offset
        };
        let closed = life.closes.then(|| LogChange::Closed(room.clone(), last));
        if life.is_mark {
            return closed.into_iter().collect();
        }

        let known = self.insert_head(token, offset.0);
        let prev = known.unwrap_or_else(|| record.known_before());
        let frame = record.into_frame(room.clone(), epoch, prev);
        let appended = LogChange::Appended(room, vec![Arc::new(frame)]);
        [appended].into_iter().chain(closed).collect()
    }
}
