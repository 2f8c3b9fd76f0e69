//! The rows of the log, always in its order, and the [`Window`] on them that is drawn.
//!
//! # Invariants
//!
//! - Rows are sorted by `order`: an offset for what is stored, the offset before it for a gap, 0 for what
//!   another epoch stored, [`LAST`] for what is not stored.
//! - No two stored rows of this epoch have one offset. Who adds one sees to that.

use std::collections::VecDeque;

use super::row::{Entry, LAST, Message, Row, State, Words};
use super::window::Window;
use crate::protocol::Offset;

/// Rows that a page holds, about 20 MB of them. Older ones are not lost, only not here.
pub(super) const MOST_ROWS: usize = 100_000;

/// See the [module docs](self).
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    list: VecDeque<Row>,
    newest_id: u64,
    /// Which of them are drawn.
    pub(super) window: Window,
}

impl Rows {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The drawn ones, oldest first, each with the row before it.
    pub(super) fn drawn(&self) -> impl Iterator<Item = (Option<&Row>, &Row)> {
        let range = self.window.range();
        let before = range
            .start
            .checked_sub(1)
            .and_then(|before| self.list.get(before));
        let before = std::iter::once(before).chain(self.list.range(range.clone()).map(Some));
        before.zip(self.list.range(range))
    }

    /// The row `id`.
    pub(super) fn get(&self, id: u64) -> Option<&Row> {
        self.position(id).map(|at| &self.list[at])
    }

    /// What this page said and the room does not have, in the order in which it was said.
    pub(super) fn unstored(&self) -> impl Iterator<Item = (u64, &Message)> {
        let start = self.list.partition_point(|row| row.order < LAST);
        self.list
            .range(start..)
            .filter_map(|row| Some((row.id, row.message()?)))
    }

    /// The offset of the oldest stored row of this epoch.
    pub(super) fn oldest(&self) -> Option<Offset> {
        let start = self.list.partition_point(|row| row.order == 0);
        self.list
            .range(start..)
            .find(|row| row.is_stored())
            .map(|row| Offset(row.order))
    }

    /// The message that is stored at `offset`.
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

    /// The newest drawn message that the room has not told since the page was away for the time numbered `absences`.
    pub(super) fn newest_untold(&self, absences: u32) -> Option<Offset> {
        let is_untold = |row: &&Row| {
            // Of what another epoch stored, nobody can be asked.
            row.order > 0
                && row.is_stored()
                && row.message().is_some_and(|message| message.told < absences)
        };
        self.list
            .range(self.window.range())
            .rev()
            .find(is_untold)
            .map(|row| Offset(row.order))
    }

    /// All that is stored from `start` and before `end` is as the room has told it now.
    pub(super) fn tell(&mut self, start: Offset, end: Offset, absences: u32) {
        let first = self.list.partition_point(|row| row.order < start.0);
        for row in self
            .list
            .range_mut(first..)
            .take_while(|row| row.order < end.0)
        {
            if let Entry::Message(message) = &mut row.entry {
                message.told = absences;
            }
        }
    }

    /// What is stored at `offset` was deleted.
    pub(super) fn erase(&mut self, offset: Offset) {
        if let Some(message) = self.find_stored(offset) {
            message.words = Words::Deleted;
        }
    }

    /// Returns the ids of the messages that contain `words`, the newest first. Latin letters match in either case.
    pub(super) fn search(&self, words: &str) -> Vec<u64> {
        let words = words.to_ascii_lowercase();
        let holds = |row: &&Row| match row.message().map(|message| &message.words) {
            Some(Words::Text(text)) => contains(text, &words),
            _ => false,
        };
        self.list
            .iter()
            .rev()
            .filter(holds)
            .map(|row| row.id)
            .collect()
    }

    /// Draws the row `id` and what stands around it.
    pub(super) fn show(&mut self, id: u64) {
        if let Some(at) = self.position(id) {
            self.window.show(at, self.list.len());
        }
    }

    /// A new row behind all that have no greater `order`; answers its id.
    pub(super) fn add(&mut self, entry: Entry, order: u64) -> u64 {
        self.newest_id += 1;
        self.insert(Row {
            id: self.newest_id,
            entry,
            order,
        });
        self.newest_id
    }

    /// The row `id` shows `entry` from now on.
    pub(super) fn replace(&mut self, id: u64, entry: Entry) {
        if let Some(at) = self.position(id) {
            self.list[at].entry = entry;
        }
    }

    /// The message of the row `id`, which is not stored, got as far as `state`.
    pub(super) fn settle(&mut self, id: u64, state: State) {
        if let Some(at) = self.position(id)
            && let Entry::Message(message) = &mut self.list[at].entry
        {
            message.state = state;
        }
    }

    /// The message of the row `id` is stored at `offset`, as the room tells after so many `absences`.
    pub(super) fn store(&mut self, id: u64, offset: Offset, absences: u32) {
        let Some(mut row) = self.remove(id) else {
            return;
        };
        row.order = offset.0;
        if let Entry::Message(message) = &mut row.entry {
            message.state = State::Stored;
            message.told = absences;
        }
        self.insert(row);
    }

    /// Takes the row `id` away.
    pub(super) fn remove(&mut self, id: u64) -> Option<Row> {
        let at = self.position(id)?;
        self.window.removed(at);
        self.list.remove(at)
    }

    /// The log began anew: what is here comes before all of it, except what waits.
    pub(super) fn forget_offsets(&mut self) {
        for row in self.list.iter_mut().filter(|row| row.order != LAST) {
            row.order = 0;
        }
    }

    /// After changes: keeps the oldest rows from becoming too many, and the window where it should be.
    /// Answers whether rows were dropped.
    pub(super) fn tidy(&mut self) -> bool {
        let mut dropped = false;
        while self.list.len() > MOST_ROWS && self.list.front().is_some_and(|row| row.order < LAST) {
            self.list.pop_front();
            self.window.removed(0);
            dropped = true;
        }
        self.window.settle(self.list.len());
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

/// Returns whether `text` contains `words`, which are in lower case. The standard library's search is linear
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
