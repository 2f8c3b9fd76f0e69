//! One transaction in the making: what it changes is kept aside until it is committed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::Connection;

use crate::protocol::Key;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::room::{Draft, Frame, KeyWindow, Keyed, Said};
use crate::server::store::sqlite::ledger::{Ledger, Place};
use crate::server::store::sqlite::retention;
use crate::server::store::{Retention, Stored};

/// See the [module docs](self).
pub(super) struct Batch<'a> {
    connection: &'a Connection,
    ledger: &'a Ledger,
    /// What is remembered of the rooms from before; loaded where need be, which a rollback does not touch.
    keys: &'a mut HashMap<i64, KeyWindow>,
    retention: Retention,
    /// By the store's clock.
    now: u64,
    damage: &'a mut DamagedRooms,
    changes: Changes,
}

/// The rooms of which a part of the file is damaged.
///
/// SQLite refuses all further writes of a transaction in which it has met a damaged page. So a batch that meets one
/// fails, and from then on the old messages of that room are read by another connection and stay in the file.
#[derive(Default)]
pub(super) struct DamagedRooms {
    rooms: HashSet<i64>,
    reader: Option<Connection>,
    /// The room whose old messages the writer reads now.
    suspect: Option<i64>,
}

impl DamagedRooms {
    /// Marks the room whose old messages were read last as damaged, and gives `reader` to it. Returns whether that
    /// is news: then the batch may succeed when it is tried again.
    pub(super) fn mark(&mut self, reader: impl FnOnce() -> Option<Connection>) -> bool {
        let Some(room) = self.suspect.take() else {
            return false;
        };
        if self.reader.is_none() {
            self.reader = reader();
        }
        self.reader.is_some() && self.rooms.insert(room)
    }

    /// Returns the connection that reads old messages of `room`, if that is damaged.
    fn reader(&self, room: i64) -> Option<&Connection> {
        self.reader
            .as_ref()
            .filter(|_reader| self.rooms.contains(&room))
    }
}

/// What a transaction changes of what is kept in memory.
#[derive(Default)]
pub(super) struct Changes {
    places: HashMap<RoomName, Place>,
    /// By room, in the order in which they were stored.
    keyed: Vec<(i64, Keyed)>,
    /// The same, to be found again.
    found: HashMap<(i64, UserId, Key), (Offset, u64)>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        ledger: &'a Ledger,
        keys: &'a mut HashMap<i64, KeyWindow>,
        retention: Retention,
        now: u64,
        damage: &'a mut DamagedRooms,
    ) -> Self {
        Self {
            connection,
            ledger,
            keys,
            retention,
            now,
            damage,
            changes: Changes::default(),
        }
    }

    /// Stores `drafts`, said `at`, in a row in `room`.
    pub(super) fn append(
        &mut self,
        room: RoomName,
        drafts: Vec<Draft>,
        at: u64,
    ) -> rusqlite::Result<Vec<Stored>> {
        if drafts.is_empty() {
            return Ok(Vec::new());
        }
        let mut place = self.place(&room)?;
        let stored = drafts
            .into_iter()
            .map(|draft| self.append_one(&mut place, draft, at))
            .collect::<rusqlite::Result<_>>();
        self.changes.places.insert(room, place);
        stored
    }

    fn append_one(&mut self, place: &mut Place, draft: Draft, at: u64) -> rusqlite::Result<Stored> {
        if let Some(key) = draft.key()
            && let Some((offset, at)) = self.find(place, draft.from(), key)?
        {
            return Ok(Stored::Duplicate { offset, at });
        }
        let (prev, offset) = (Offset(place.head), Offset(place.head + 1));
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO messages (room, offset, at, clock, sender, key, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        let (from, key) = (draft.from().as_str(), draft.key().map(Key::as_str));
        let length = match draft.said() {
            Said::Text(text) => {
                insert.execute((place.id, offset.0, at, self.now, from, key, text))?;
                text.len()
            }
            Said::Binary(bytes) => {
                insert.execute((place.id, offset.0, at, self.now, from, key, bytes))?;
                bytes.len()
            }
        };
        if place.kept() == 0 {
            place.oldest = self.now;
        }
        (place.head, place.clock) = (offset.0, self.now);
        place.bytes += length as u64;
        if let Some(key) = draft.key().cloned() {
            let from = draft.from().clone();
            self.changes
                .found
                .insert((place.id, from.clone(), key.clone()), (offset, at));
            self.changes.keyed.push((
                place.id,
                Keyed {
                    from,
                    key,
                    offset,
                    at,
                    clock: self.now,
                },
            ));
        }
        Ok(Stored::New(Arc::new(Frame::new(
            draft,
            self.ledger.epoch().clone(),
            offset,
            prev,
            at,
        ))))
    }

    /// Where and when `from` said something with `key` lately.
    fn find(
        &mut self,
        place: &Place,
        from: &UserId,
        key: &Key,
    ) -> rusqlite::Result<Option<(Offset, u64)>> {
        if let Some(found) = self
            .changes
            .found
            .get(&(place.id, from.clone(), key.clone()))
        {
            return Ok(Some(*found));
        }
        let window = match self.keys.get_mut(&place.id) {
            Some(window) => window,
            None => {
                let reader = self.damage.reader(place.id);
                let (connection, is_damaged) = match reader {
                    Some(reader) => (reader, true),
                    None => (self.connection, false),
                };
                let limits = self.retention.keys;
                let window = retention::load_keys(connection, place, limits, self.now, is_damaged);
                if window.is_err() {
                    self.damage.suspect = Some(place.id);
                }
                self.keys.entry(place.id).or_insert(window?)
            }
        };
        window.forget(Offset(place.head), self.now);
        Ok(window.find(from, key))
    }

    /// Where `room` stands in this transaction; a room that there is not yet begins.
    fn place(&self, room: &RoomName) -> rusqlite::Result<Place> {
        if let Some(place) = self
            .changes
            .places
            .get(room)
            .copied()
            .or_else(|| self.ledger.place(room))
        {
            return Ok(place);
        }
        let id = self
            .connection
            .prepare_cached(
                "INSERT INTO rooms (name, first, head, bytes, clock) VALUES (?1, 1, 0, 0, 0) RETURNING id",
            )?
            .query_row([room.as_str()], |row| row.get(0))?;
        Ok(Place::new(id))
    }

    /// `rooms` are to be trimmed too.
    pub(super) fn touch(&mut self, rooms: Vec<RoomName>) -> rusqlite::Result<()> {
        for room in rooms {
            let place = self.place(&room)?;
            self.changes.places.insert(room, place);
        }
        Ok(())
    }

    /// Trims the rooms that were touched and writes where they stand. What is past the limits and too much for
    /// this transaction goes with the next.
    pub(super) fn finish(mut self) -> rusqlite::Result<Changes> {
        let mut update = self.connection.prepare_cached(
            "UPDATE rooms SET first = ?2, head = ?3, bytes = ?4, clock = ?5 WHERE id = ?1",
        )?;
        for (name, place) in &mut self.changes.places {
            let trimmed = match self.damage.reader(place.id) {
                Some(reader) => {
                    let committed = self.ledger.place(name).map_or(0, |place| place.head);
                    let (retention, now) = (&self.retention, self.now);
                    retention::trim_damaged(reader, place, committed, retention, now)
                }
                None => retention::trim(self.connection, place, &self.retention, self.now),
            };
            if trimmed.is_err() {
                self.damage.suspect = Some(place.id);
            }
            trimmed?;
            update.execute((place.id, place.first, place.head, place.bytes, place.clock))?;
        }
        drop(update);
        Ok(self.changes)
    }
}

impl Changes {
    /// The transaction is committed: so it is.
    pub(super) fn apply(self, ledger: &Ledger, keys: &mut HashMap<i64, KeyWindow>) {
        ledger.commit(self.places);
        for (room, keyed) in self.keyed {
            // There is one: it was loaded when the key was looked for.
            if let Some(window) = keys.get_mut(&room) {
                window.remember(keyed);
            }
        }
    }
}
