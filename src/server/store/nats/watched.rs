//! The patterns that this node watches, so that the consumer reports the messages of rooms that are not open.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::codec::{Record, room_of};
use crate::protocol::{Epoch, Offset, RoomPattern};
use crate::server::store::changes::LogChange;

/// The watched patterns. See the [module docs](self).
#[derive(Debug, Default)]
pub(super) struct WatchedPatterns {
    /// The patterns, each with the number of its watchers.
    patterns: BTreeMap<RoomPattern, usize>,
    /// The newest offsets of matching rooms, by subject token, as far as the consumer has delivered them meanwhile.
    heads: HashMap<String, u64>,
}

impl WatchedPatterns {
    /// Adds a watcher of `pattern`.
    pub(super) fn add(&mut self, pattern: &RoomPattern) {
        *self.patterns.entry(pattern.clone()).or_default() += 1;
    }

    /// Removes a watcher of `pattern`.
    pub(super) fn remove(&mut self, pattern: &RoomPattern) {
        if let Some(watchers) = self.patterns.get_mut(pattern) {
            *watchers -= 1;
            if *watchers == 0 {
                self.patterns.remove(pattern);
            }
        }
        if self.patterns.is_empty() {
            self.heads = HashMap::new();
        }
    }

    /// Returns true if no pattern is watched.
    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Records that the newest offset of the room with `token` is `head`, if the room is watched.
    pub(super) fn set_head(&mut self, token: &str, head: u64) {
        let is_watched = || {
            let room = room_of(token);
            room.is_some_and(|room| self.patterns.keys().any(|pattern| pattern.matches(&room)))
        };
        if let Some(known) = self.heads.get_mut(token) {
            *known = head;
        } else if !self.patterns.is_empty() && is_watched() {
            self.heads.insert(token.to_owned(), head);
        }
    }

    /// Returns the change by `record`, a message or a tombstone of the room with `token`; `None` if the room is not
    /// watched.
    pub(super) fn apply(&mut self, token: &str, record: Record, epoch: Epoch) -> Option<LogChange> {
        let room = room_of(token)?;
        if !self.patterns.keys().any(|pattern| pattern.matches(&room)) {
            return None;
        }

        let offset = record.offset;
        if let Some(at) = record.entry.deleted {
            return Some(LogChange::Deleted(room, Offset(offset), at));
        }
        let known = self.heads.insert(token.to_owned(), offset);
        let prev = known.unwrap_or_else(|| record.known_before());
        let frame = record.into_frame(room.clone(), epoch, prev);
        Some(LogChange::Appended(room, vec![Arc::new(frame)]))
    }
}
