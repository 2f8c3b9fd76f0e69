//! The window of rows that the page shows, always in the log's order.
//!
//! # Invariants
//!
//! - Rows are sorted by `order`: an offset for what is stored, the offset before it for what is not in the log
//!   (a gap, a refused message), 0 for what another epoch stored, [`LAST`] for what waits.
//! - No two stored rows of this epoch have one offset. Who adds one sees to that.

use std::collections::VecDeque;

use super::row::{Entry, LAST, Message, Row, State};
use crate::protocol::Key;
use crate::protocol::Offset;

/// Each change walks all rows of the list, so the window is small; older messages are not lost, only not here.
pub(super) const MOST_ROWS: usize = 300;

/// See the [module docs](self).
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    list: VecDeque<Row>,
    newest_id: u64,
}

impl Rows {
    /// Oldest first.
    pub(super) fn iter(&self) -> std::collections::vec_deque::Iter<'_, Row> {
        self.list.iter()
    }

    /// The row `id`.
    pub(super) fn get(&self, id: u64) -> Option<&Row> {
        self.position(id).map(|at| &self.list[at])
    }

    /// The rows that wait for the server's word, in the order in which they were said.
    pub(super) fn pending(&self) -> Vec<u64> {
        self.list.iter().filter(|row| row.is_pending()).map(|row| row.id).collect()
    }

    /// The row of this page's message `key`, unless it is stored.
    pub(super) fn find_unstored(&self, key: &Key) -> Option<u64> {
        let is_it = |row: &&Row| row.message().is_some_and(|message| message.key.as_ref() == Some(key));
        self.list.iter().rev().find(is_it).map(|row| row.id)
    }

    /// The message that is stored at `offset`.
    pub(super) fn find_stored(&mut self, offset: Offset) -> Option<&mut Message> {
        let start = self.list.partition_point(|row| row.order < offset.0);
        let mut there = self.list.range_mut(start..).take_while(|row| row.order == offset.0);
        match &mut there.find(|row| row.is_stored())?.entry {
            Entry::Message(message) => Some(message),
            Entry::Gap(_) => None,
        }
    }

    /// A new row behind all that have no greater `order`; answers its id.
    pub(super) fn add(&mut self, entry: Entry, order: u64) -> u64 {
        self.newest_id += 1;
        self.insert(Row { id: self.newest_id, first: true, entry, order, version: 0 });
        self.newest_id
    }

    /// The row `id` shows `entry` from now on.
    pub(super) fn replace(&mut self, id: u64, entry: Entry) {
        if let Some(at) = self.position(id) {
            self.list[at].entry = entry;
            self.list[at].version += 1;
        }
    }

    /// The message of the row `id` got as far as `state`, and stands at `order` now.
    pub(super) fn settle(&mut self, id: u64, order: u64, state: State) {
        let Some(mut row) = self.remove(id) else { return };
        row.order = order;
        if let Entry::Message(message) = &mut row.entry {
            message.state = state;
            if state == State::Stored {
                message.key = None;
            }
        }
        self.insert(row);
    }

    /// Takes the row `id` away.
    pub(super) fn remove(&mut self, id: u64) -> Option<Row> {
        self.position(id).and_then(|at| self.list.remove(at))
    }

    /// The log began anew: what is here comes before all of it, except what waits.
    pub(super) fn forget_offsets(&mut self) {
        for row in self.list.iter_mut().filter(|row| row.order != LAST) {
            row.order = 0;
        }
    }

    /// After changes: keeps the window, and decides anew which rows open a group.
    pub(super) fn tidy(&mut self) {
        while self.list.len() > MOST_ROWS && self.list.front().is_some_and(|row| !row.is_pending()) {
            self.list.pop_front();
        }
        for at in 0..self.list.len() {
            let before = at.checked_sub(1).and_then(|before| self.list.get(before));
            let first = self.list[at].opens_after(before);
            let row = &mut self.list[at];
            if row.first != first {
                row.first = first;
                row.version += 1;
            }
        }
    }

    fn insert(&mut self, row: Row) {
        let at = self.list.partition_point(|other| other.order <= row.order);
        self.list.insert(at, row);
    }

    fn position(&self, id: u64) -> Option<usize> {
        // Rows that change are near the end.
        self.list.iter().rposition(|row| row.id == id)
    }
}
