//! The edits of messages. An edit is a message of the log, but not a row: it replaces the content of an earlier message of the
//! same sender.

use std::collections::{BTreeMap, BTreeSet};

use super::row::MessageContent;
use super::rows::Rows;
use crate::protocol::{Offset, UserId};

/// A message that replaces the content of an earlier one.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    /// The offset of the earlier message.
    pub(super) original: Offset,
    /// The offset of the edit.
    pub(super) offset: Offset,
    /// The sender of the edit.
    pub(super) from: UserId,
    /// The new content.
    pub(super) content: MessageContent,
}

/// The edits that were received.
#[derive(Clone, Debug, Default)]
pub(super) struct Edits {
    /// The newest edit of each message.
    newest: BTreeMap<Offset, Edit>,
    /// The offsets of all edits.
    offsets: BTreeSet<Offset>,
}

impl Edits {
    /// Adds `edit`, unless a newer one of the same message is known.
    pub(super) fn add(&mut self, edit: Edit) {
        self.offsets.insert(edit.offset);
        let newest = self.newest.entry(edit.original).or_insert(edit.clone());
        if newest.offset < edit.offset {
            *newest = edit;
        }
    }

    /// Replaces the content of the message at `original` by that of its newest edit. Does nothing if there is none, if the message
    /// is not in `rows`, or if it was deleted.
    pub(super) fn apply(&self, original: Offset, rows: &mut Rows) {
        if let Some(edit) = self.newest.get(&original)
            && let Some(message) = rows.find_stored(original)
            && message.from == edit.from
            && message.content != MessageContent::Deleted
        {
            message.content = edit.content.clone();
            message.edited = Some(edit.offset);
        }
    }

    /// Returns the offset of the last edit before `offset`.
    pub(super) fn before(&self, offset: Offset) -> Option<Offset> {
        self.offsets.range(..offset).next_back().copied()
    }

    /// Forgets the edits before `offset`. The server sends them again with the older messages.
    pub(super) fn forget_before(&mut self, offset: Offset) {
        self.newest.retain(|_, edit| edit.offset >= offset);
        self.offsets = self.offsets.split_off(&offset);
    }

    /// Forgets all edits, because a new epoch began.
    pub(super) fn clear(&mut self) {
        self.newest.clear();
        self.offsets.clear();
    }
}
