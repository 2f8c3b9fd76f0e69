//! The rooms of which the writer has found damaged pages.

use std::collections::HashSet;

use rusqlite::Connection;

use crate::server::store::sqlite::connections::ReadConnection;

/// The rooms whose data in the file is partly damaged.
///
/// SQLite refuses all further writes of a transaction that has read a damaged page. So the batch that finds one
/// fails. From then on the old messages of that room are read through another connection and stay in the file.
#[derive(Default)]
pub(super) struct DamagedRooms {
    rooms: HashSet<i64>,
    reader: Option<ReadConnection>,
    /// The room whose old messages the writer is reading.
    pub(super) suspect: Option<i64>,
}

impl DamagedRooms {
    /// Marks the suspect room as damaged, and opens a separate connection with `reader` if there is none. Returns
    /// true if the room was not marked before: then the batch may succeed when it is retried.
    pub(super) fn mark(&mut self, reader: impl FnOnce() -> Option<ReadConnection>) -> bool {
        let Some(room) = self.suspect.take() else {
            return false;
        };
        if self.reader.is_none() {
            self.reader = reader();
        }
        self.reader.is_some() && self.rooms.insert(room)
    }

    /// Returns the connection that reads old messages of `room`, if the room is damaged.
    pub(super) fn reader(&self, room: i64) -> Option<&Connection> {
        self.reader
            .as_deref()
            .filter(|_reader| self.rooms.contains(&room))
    }
}
