//! The rows of the log in its order, and the [`RowWindow`] of those that are drawn.
//!
//! # Invariants
//!
//! - Rows are sorted by `order`: an offset for what is stored, the offset before it for a gap, 0 for what
//!   another epoch stored, [`LAST`] for what is not stored.
//! - No two stored rows of this epoch have the same offset. The caller of [`Rows::add`] ensures it.

use std::collections::VecDeque;

use super::row::{Entry, GapState, LAST, Message, MessageContent, MessageState, Row};
use super::row_window::RowWindow;
use crate::browser::scroll::Viewport;
use crate::protocol::{Offset, UserId};

/// The most rows while the end of the log is followed. Older messages are read from the server again when the user scrolls up.
pub(super) const MAX_FOLLOWED: usize = 2000;

/// The most rows while the user reads elsewhere in the log.
pub(super) const MAX_ROWS: usize = 100_000;

/// The sorted rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    list: VecDeque<Row>,
    newest_id: u64,
    /// The range of drawn rows.
    pub(super) window: RowWindow,
    /// The row that stays drawn, because it has the focus.
    pub(super) held: Option<u64>,
}

impl Rows {
    /// Returns the number of rows.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns the drawn rows, oldest first, each with the row before it.
    pub(super) fn drawn(&self) -> impl Iterator<Item = (Option<&Row>, &Row)> {
        let range = self.window.range();
        let before = range
            .start
            .checked_sub(1)
            .and_then(|before| self.list.get(before));
        let before = std::iter::once(before).chain(self.list.range(range.clone()).map(Some));
        before.zip(self.list.range(range))
    }

    /// Returns the row `id`.
    pub(super) fn get(&self, id: u64) -> Option<&Row> {
        self.position(id).map(|at| &self.list[at])
    }

    /// Returns the outgoing messages that are not stored, in the order in which they were sent.
    pub(super) fn unstored(&self) -> impl Iterator<Item = (u64, &Message)> {
        let start = self.list.partition_point(|row| row.order < LAST);
        self.list
            .range(start..)
            .filter_map(|row| Some((row.id, row.message()?)))
    }

    /// Returns the offset of the oldest stored row of this epoch.
    pub(super) fn oldest(&self) -> Option<Offset> {
        let start = self.list.partition_point(|row| row.order == 0);
        self.list
            .range(start..)
            .find(|row| row.is_stored())
            .map(|row| Offset(row.order))
    }

    /// Returns the message that is stored at `offset`.
    pub(super) fn find_stored(&mut self, offset: Offset) -> Option<&mut Message> {
        let start = self.list.partition_point(|row| row.order < offset.0);
        let mut there = self
            .list
            .range_mut(start..)
            .take_while(|row| row.order == offset.0);
        match &mut there.find(|row| row.is_stored())?.entry {
            Entry::Message(message) => Some(message),
            Entry::Gap(_) => None,
        }
    }

    /// Returns the row, the offset and the content of each message that is stored after `offset`.
    pub(super) fn stored_after(
        &self,
        offset: Offset,
    ) -> impl Iterator<Item = (u64, Offset, &Message)> {
        let start = self.list.partition_point(|row| row.order <= offset.0);
        let stored = self.list.range(start..).filter(|row| row.is_stored());
        stored.filter_map(|row| Some((row.id, Offset(row.order), row.message()?)))
    }

    /// Returns the row and the offset of the first message that is stored at `offset` or after it.
    pub(super) fn first_stored_from(&self, offset: Offset) -> Option<(u64, Offset)> {
        let before = Offset(offset.0.saturating_sub(1));
        let (id, offset, _) = self.stored_after(before).next()?;
        Some((id, offset))
    }

    /// Returns the offset of the last message that is stored before `offset`.
    pub(super) fn stored_before(&self, offset: Offset) -> Option<Offset> {
        let end = self.list.partition_point(|row| row.order < offset.0);
        let mut before = self.list.range(..end).rev();
        let row = before.find(|row| row.is_stored() && row.order > 0)?;
        Some(Offset(row.order))
    }

    /// Returns the row of the gap at the end of the stored messages, if the user has skipped them.
    pub(super) fn skipped_end(&self) -> Option<u64> {
        let end = self.list.partition_point(|row| row.order < LAST);
        let last = self.list.get(end.checked_sub(1)?)?;
        match &last.entry {
            Entry::Gap(gap) if gap.is_skipped && gap.state == GapState::Open => Some(last.id),
            _ => None,
        }
    }

    /// Removes the gaps that begin at `start` or later, and before `end`.
    pub(super) fn remove_gaps(&mut self, start: Offset, end: Offset) {
        for id in self.gaps(start, end) {
            self.remove(id);
        }
    }

    /// Returns true if a gap begins at `start` or later, and before `end`.
    pub(super) fn has_gap(&self, start: Offset, end: Offset) -> bool {
        !self.gaps(start, end).is_empty()
    }

    fn gaps(&self, start: Offset, end: Offset) -> Vec<u64> {
        let first = self.list.partition_point(|row| row.order < start.0);
        self.list
            .range(first..)
            .take_while(|row| row.order < end.0)
            .filter(|row| row.message().is_none())
            .map(|row| row.id)
            .collect()
    }

    /// Returns true if the row `id` is the row `other`, or after it.
    pub(super) fn is_at_or_after(&self, id: u64, other: u64) -> bool {
        self.position(id) >= self.position(other)
    }

    /// Returns the message that is stored at `offset`.
    pub(super) fn stored(&self, offset: Offset) -> Option<&Message> {
        let (id, found) = self.first_stored_from(offset)?;
        self.get(id).filter(|_| found == offset)?.message()
    }

    /// Returns the row of the newest text of `user`.
    pub(super) fn last_text_of(&self, user: &UserId) -> Option<u64> {
        let is_own_text = |row: &&Row| {
            row.message().is_some_and(|message| {
                message.from == *user && matches!(message.content, MessageContent::Text(_))
            })
        };
        self.list.iter().rev().find(is_own_text).map(|row| row.id)
    }

    /// Returns the newest drawn message that the server has not sent since the last of `disconnects`.
    pub(super) fn newest_outdated(&self, disconnects: u32) -> Option<Offset> {
        let is_outdated = |row: &&Row| {
            // The server no longer has the messages of another epoch.
            row.order > 0
                && row.is_stored()
                && row
                    .message()
                    .is_some_and(|message| message.seen_after < disconnects)
        };
        self.list
            .range(self.window.range())
            .rev()
            .find(is_outdated)
            .map(|row| Offset(row.order))
    }

    /// Records that the server has sent the messages from `start` to before `end` after this many `disconnects`.
    pub(super) fn mark_current(&mut self, start: Offset, end: Offset, disconnects: u32) {
        let first = self.list.partition_point(|row| row.order < start.0);
        for row in self
            .list
            .range_mut(first..)
            .take_while(|row| row.order < end.0)
        {
            if let Entry::Message(message) = &mut row.entry {
                message.seen_after = disconnects;
            }
        }
    }

    /// Deletes the content of the message that is stored at `offset`.
    pub(super) fn erase(&mut self, offset: Offset) {
        if let Some(message) = self.find_stored(offset) {
            message.content = MessageContent::Deleted;
        }
    }

    /// Returns the ids of the messages that contain `words`, the newest first. Latin letters match in either case.
    pub(super) fn search(&self, words: &str) -> Vec<u64> {
        let words = words.to_ascii_lowercase();
        let holds = |row: &&Row| match row.message().map(|message| &message.content) {
            Some(MessageContent::Text(text) | MessageContent::Json(text)) => contains(text, &words),
            _ => false,
        };

        self.list
            .iter()
            .rev()
            .filter(holds)
            .map(|row| row.id)
            .collect()
    }

    /// Draws the rows of the visible part. Returns whether other rows are drawn now.
    pub(super) fn update_window(&mut self, viewport: Viewport) -> bool {
        let held = self.held.and_then(|id| self.position(id));
        self.window.update(viewport, self.list.len(), held)
    }

    /// Draws the row `id` and its neighbours.
    pub(super) fn show(&mut self, id: u64) {
        if let Some(at) = self.position(id) {
            self.window.show(at, self.list.len());
        }
    }

    /// Adds a row after those of the same and smaller `order`, and returns its id.
    pub(super) fn add(&mut self, entry: Entry, order: u64) -> u64 {
        self.newest_id += 1;
        self.insert(Row {
            id: self.newest_id,
            entry,
            order,
        });
        self.newest_id
    }

    /// Replaces the content of the row `id`.
    pub(super) fn replace(&mut self, id: u64, entry: Entry) {
        if let Some(at) = self.position(id) {
            self.list[at].entry = entry;
        }
    }

    /// Sets the state of the message of the row `id`, which is not stored.
    pub(super) fn set_state(&mut self, id: u64, state: MessageState) {
        if let Some(at) = self.position(id)
            && let Entry::Message(message) = &mut self.list[at].entry
        {
            message.state = state;
        }
    }

    /// Records that the message of the row `id` is stored at `offset`, as the server reported after this many
    /// `disconnects`.
    pub(super) fn store(&mut self, id: u64, offset: Offset, disconnects: u32) {
        let Some(mut row) = self.remove(id) else {
            return;
        };
        row.order = offset.0;
        if let Entry::Message(message) = &mut row.entry {
            message.state = MessageState::Stored;
            message.seen_after = disconnects;
        }
        self.insert(row);
    }

    /// Removes the row `id`.
    pub(super) fn remove(&mut self, id: u64) -> Option<Row> {
        let at = self.position(id)?;
        self.window.removed(at);
        self.list.remove(at)
    }

    /// Removes all rows but the outgoing messages.
    pub(super) fn remove_stored(&mut self) {
        while self.list.front().is_some_and(|row| row.order < LAST) {
            self.list.pop_front();
            self.window.removed(0);
        }
    }

    /// Moves all stored rows before the log, because a new epoch began.
    pub(super) fn forget_offsets(&mut self) {
        for row in self.list.iter_mut().filter(|row| row.order != LAST) {
            row.order = 0;
        }
    }

    /// Removes the oldest rows beyond [`MAX_FOLLOWED`] or [`MAX_ROWS`], and moves the window if it follows the end. Call it after
    /// changes. Returns the removed rows.
    pub(super) fn tidy(&mut self) -> Vec<Row> {
        let limit = if self.window.follows() {
            MAX_FOLLOWED
        } else {
            MAX_ROWS
        };
        let mut dropped = Vec::new();
        while self.list.len() > limit && self.list.front().is_some_and(|row| row.order < LAST) {
            dropped.extend(self.list.pop_front());
            self.window.removed(0);
        }

        let held = self.held.and_then(|id| self.position(id));
        self.window.settle(self.list.len(), held);
        dropped
    }

    fn insert(&mut self, row: Row) {
        let at = self.list.partition_point(|other| other.order <= row.order);
        self.list.insert(at, row);
        self.window.inserted(at);
    }

    fn position(&self, id: u64) -> Option<usize> {
        // Rows that change are near the end.
        self.list.iter().rposition(|row| row.id == id)
    }
}

/// Returns true if `text` contains `words`, which are in lower case. The standard library's search is linear
/// (Crochemore and Perrin, "Two-way string-matching", 1991).
fn contains(text: &str, words: &str) -> bool {
    !words.is_empty() && text.to_ascii_lowercase().contains(words)
}

#[cfg(test)]
mod tests {
    use super::contains;

    #[test]
    fn words_are_found_in_either_case_and_in_any_script() {
        assert!(contains("Deploy to STAGING", "staging"));
        assert!(contains("早上好，看得到。", "看得"));
        assert!(
            !contains("早上好", "晚上好")
                && !contains("short", "longer than it")
                && !contains("any", "")
        );
    }
}
