//! One transaction of the writer, and its effects on the state in memory. A [`Batch`] reads the committed rooms and
//! keys, and collects its own changes separately. The changes are applied to the memory only after the commit, so a
//! rollback leaves no trace there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::vec;

use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::protocol::{Key, Kind, MessageFields, Offset, RoomName, UserId};
use crate::server::room::{DedupEntry, DedupLimits, DedupWindow, Draft, Frame, Payload};
use crate::server::store::changes::LogChange;
use crate::server::store::sqlite::damaged_rooms::DamagedRooms;
use crate::server::store::sqlite::lifecycle_row;
use crate::server::store::sqlite::retention;
use crate::server::store::sqlite::room_index::RoomIndex;
use crate::server::store::sqlite::room_row::RoomRow;
use crate::server::store::sqlite::schema;
use crate::server::store::{
    AppendConditions, AppendOutcome, AppendRefusal, AppendResult, CreateOutcome, CreateResult,
    Lifecycle, NewRoom, RoomChange, StoreError, Stored,
};

/// Empty rooms that one transaction drops at most.
const MAX_EMPTY: usize = 4096;

/// A transaction that is being built. See the [module docs](self).
pub(super) struct Batch<'a> {
    pub(super) connection: &'a Connection,
    pub(super) index: &'a RoomIndex,
    /// The deduplication windows of rooms, loaded when needed. A rollback does not affect them.
    pub(super) keys: &'a mut HashMap<i64, DedupWindow>,
    pub(super) key_limits: DedupLimits,
    /// The current time by the store's clock.
    pub(super) now: u64,
    /// The current time in milliseconds since 1970 UTC.
    pub(super) wall: u64,
    pub(super) damage: &'a mut DamagedRooms,
    /// The largest number of rooms.
    pub(super) max_rooms: usize,
    /// The empty rooms that may be dropped, once they have been searched.
    pub(super) empty: Option<vec::IntoIter<(RoomName, RoomRow)>>,
    pub(super) changes: BatchChanges,
}

/// The changes of a transaction to the state in memory.
#[derive(Default)]
pub(super) struct BatchChanges {
    rows: HashMap<RoomName, RoomRow>,
    /// The new keys with the id of their room, in the order in which they were stored.
    keyed: Vec<(i64, DedupEntry)>,
    /// The same keys, indexed for lookup.
    found: HashMap<(i64, UserId, Key), (Offset, u64)>,
    /// The number of new rooms.
    created: usize,
    lifecycles: HashMap<RoomName, Lifecycle>,
    /// The dropped and deleted rooms.
    dropped: HashSet<RoomName>,
    /// The ids of these rooms.
    dropped_ids: Vec<i64>,
    /// True if rooms were deleted whose messages are still in the file.
    pub(super) has_deleted: bool,
    /// The changes to send, besides the results of plain appends, until they are taken.
    log: Vec<LogChange>,
    /// The highest offset of the dropped rooms.
    floor: u64,
    /// The newest offset of all rooms.
    newest: u64,
    /// The number of unsaved rooms whose rows were saved.
    saved: usize,
}

impl Batch<'_> {
    /// Stores `drafts`, received at `at`, consecutively in `room`.
    pub(super) fn append(
        &mut self,
        room: RoomName,
        drafts: Vec<Draft>,
        at: u64,
    ) -> rusqlite::Result<Result<Vec<Stored>, StoreError>> {
        if drafts.is_empty() {
            return Ok(Ok(Vec::new()));
        }
        let Some(mut row) = self.row(&room)? else {
            let limit = self.max_rooms;
            return Ok(Err(StoreError::TooManyRooms { limit }));
        };
        if row.is_closed {
            return Ok(Err(StoreError::RoomClosed));
        }

        let stored = self.append_all(&room, &mut row, drafts, at)?;
        self.changes.rows.insert(room, row);
        Ok(Ok(stored))
    }

    /// Creates `room`, or compares it with the existing one.
    pub(super) fn create(
        &mut self,
        room: &RoomName,
        new: NewRoom,
        at: u64,
    ) -> rusqlite::Result<Result<CreateResult, StoreError>> {
        self.delete_expired(room)?;
        if let Some(row) = self.known(room) {
            let result = CreateResult {
                outcome: self.lifecycle(room).compare(&new),
                head: Offset(row.head),
            };
            return Ok(Ok(result));
        }
        let Some(mut row) = self.row(room)? else {
            let limit = self.max_rooms;
            return Ok(Err(StoreError::TooManyRooms { limit }));
        };

        let lifecycle = Lifecycle::of(&new, self.now);
        let stored = self.append_all(room, &mut row, new.drafts, at)?;
        self.save_lifecycle(room, &mut row, lifecycle)?;
        let result = CreateResult {
            outcome: CreateOutcome::Created,
            head: Offset(row.head),
        };
        self.changes.log(room, &row, &stored);
        self.changes.rows.insert(room.clone(), row);
        Ok(Ok(result))
    }

    /// Stores `drafts` in `room` if `conditions` are met.
    pub(super) fn append_if(
        &mut self,
        room: &RoomName,
        drafts: Vec<Draft>,
        conditions: &AppendConditions,
        at: u64,
    ) -> rusqlite::Result<AppendResult> {
        self.delete_expired(room)?;
        let Some(mut row) = self.known(room) else {
            return Ok(AppendResult {
                outcome: AppendOutcome::Refused(AppendRefusal::NoRoom),
                head: Offset(0),
                is_closed: false,
            });
        };

        let mut lifecycle = self.lifecycle(room);
        let producer = conditions.producer.as_ref();
        let newest = match producer {
            Some(producer) => lifecycle_row::producer(self.connection, row.id, &producer.id)?,
            None => None,
        };
        let outcome = conditions.check(&lifecycle, newest, !drafts.is_empty());
        if outcome != AppendOutcome::Stored {
            return Ok(AppendResult {
                outcome,
                head: Offset(row.head),
                is_closed: row.is_closed,
            });
        }

        let stored = self.append_all(room, &mut row, drafts, at)?;
        if let Some(producer) = producer {
            lifecycle_row::save_producer(self.connection, row.id, producer)?;
        }
        if lifecycle.record(conditions, self.now) {
            self.save_lifecycle(room, &mut row, lifecycle)?;
        }
        let result = AppendResult {
            outcome,
            head: Offset(row.head),
            is_closed: row.is_closed,
        };
        self.changes.log(room, &row, &stored);
        self.changes.rows.insert(room.clone(), row);
        Ok(result)
    }

    /// Changes the life of `room`. Returns `None` if it does not exist.
    pub(super) fn change_room(
        &mut self,
        room: &RoomName,
        change: &RoomChange,
    ) -> rusqlite::Result<Option<Lifecycle>> {
        self.delete_expired(room)?;
        let Some(mut row) = self.known(room) else {
            return Ok(None);
        };

        let was_closed = row.is_closed;
        let mut lifecycle = self.lifecycle(room);
        lifecycle.apply(change, self.now);
        self.save_lifecycle(room, &mut row, lifecycle.clone())?;
        if row.is_closed && !was_closed {
            self.changes.log(room, &row, &[]);
        }
        self.changes.rows.insert(room.clone(), row);
        Ok(Some(lifecycle))
    }

    /// Deletes `room`. Returns false if it does not exist.
    pub(super) fn delete_room(&mut self, room: &RoomName) -> rusqlite::Result<bool> {
        self.delete_expired(room)?;
        let row = self.known(room);
        row.map_or(Ok(()), |row| self.remove(room, &row))?;
        Ok(row.is_some())
    }

    /// Deletes `room` if it has expired.
    pub(super) fn delete_expired(&mut self, room: &RoomName) -> rusqlite::Result<()> {
        match self.known(room) {
            Some(row) if self.is_expired(room, &row) => self.remove(room, &row),
            _ => Ok(()),
        }
    }

    /// Returns true if `room`, whose state is `row`, has expired.
    fn is_expired(&self, room: &RoomName, row: &RoomRow) -> bool {
        if !row.limits.can_expire() {
            return false;
        }

        let used = self.lifecycle(room).used.max(row.clock);
        row.limits.is_expired(used, self.now, self.wall)
    }

    /// Deletes `room`, whose state is `row`.
    fn remove(&mut self, room: &RoomName, row: &RoomRow) -> rusqlite::Result<()> {
        lifecycle_row::remove_room(self.connection, row.id)?;
        lifecycle_row::mark_deleted(self.connection, row.id)?;
        let is_committed = self.index.row(room).is_some() && !self.changes.dropped.contains(room);
        self.changes.created -= usize::from(!is_committed);
        self.changes.rows.remove(room);
        self.changes.lifecycles.remove(room);
        self.record_dropped(room.clone(), row);
        self.save_floor()?;

        self.changes.has_deleted = true;
        let deleted = LogChange::RoomDeleted(room.clone(), Offset(row.head));
        self.changes.log.push(deleted);
        Ok(())
    }

    fn append_all(
        &mut self,
        room: &RoomName,
        row: &mut RoomRow,
        drafts: Vec<Draft>,
        at: u64,
    ) -> rusqlite::Result<Vec<Stored>> {
        drafts
            .into_iter()
            .map(|draft| self.append_one(room, row, draft, at))
            .collect()
    }

    /// Returns the lifecycle of `room` in this transaction.
    fn lifecycle(&self, room: &RoomName) -> Lifecycle {
        if let Some(lifecycle) = self.changes.lifecycles.get(room) {
            return lifecycle.clone();
        }
        let is_dropped = self.changes.dropped.contains(room);
        let committed = self.index.lifecycle(room).filter(|_| !is_dropped);
        committed.unwrap_or_default()
    }

    fn save_lifecycle(
        &mut self,
        room: &RoomName,
        row: &mut RoomRow,
        lifecycle: Lifecycle,
    ) -> rusqlite::Result<()> {
        lifecycle_row::save(self.connection, row.id, &lifecycle)?;
        row.set_lifecycle(&lifecycle, self.index.limits(room, &lifecycle));
        self.changes.lifecycles.insert(room.clone(), lifecycle);
        Ok(())
    }

    fn append_one(
        &mut self,
        room: &RoomName,
        row: &mut RoomRow,
        draft: Draft,
        at: u64,
    ) -> rusqlite::Result<Stored> {
        if let Some(key) = draft.key()
            && let Some((offset, at)) = self.find(row, draft.from(), key)?
        {
            return Ok(Stored::Duplicate { offset, at });
        }

        let (prev, offset) = (row.newest(), Offset(self.changes.newest + 1));
        let number = row.count + 1;
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO messages
                (offset, room, number, prev, at, clock, sender, key, body, is_json, kind, reply_to, edits)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?;
        let MessageFields {
            kind,
            key,
            reply_to,
            edits,
        } = draft.fields();
        let bytes = draft.payload().as_bytes();
        let body = match draft.payload() {
            Payload::Text(_) | Payload::Json(_) => ValueRef::Text(bytes),
            Payload::Binary(_) => ValueRef::Blob(bytes),
        };
        insert.execute((
            offset.0,
            row.id,
            number,
            prev.0,
            at,
            self.now,
            draft.from().as_str(),
            key.as_ref().map(Key::as_str),
            ToSqlOutput::Borrowed(body),
            matches!(draft.payload(), Payload::Json(_)),
            kind.as_ref().map(Kind::as_str),
            reply_to.map(|offset| offset.0),
            edits.map(|offset| offset.0),
        ))?;

        row.add(offset.0, bytes.len() as u64, self.now);
        self.changes.newest = offset.0;

        if let Some(key) = draft.key().cloned() {
            let from = draft.from().clone();
            self.changes
                .found
                .insert((row.id, from.clone(), key.clone()), (offset, at));
            self.changes.keyed.push((
                row.id,
                DedupEntry {
                    from,
                    key,
                    number,
                    offset,
                    at,
                    clock: self.now,
                },
            ));
        }

        let epoch = self.index.epoch().clone();
        let frame = Frame::new(room.clone(), draft, epoch, offset, prev, at).numbered(number);
        Ok(Stored::New(Arc::new(frame)))
    }

    /// Returns the offset and time of the remembered message from `from` with `key`, if any.
    fn find(
        &mut self,
        row: &RoomRow,
        from: &UserId,
        key: &Key,
    ) -> rusqlite::Result<Option<(Offset, u64)>> {
        if let Some(found) = self.changes.found.get(&(row.id, from.clone(), key.clone())) {
            return Ok(Some(*found));
        }

        let window = match self.keys.get_mut(&row.id) {
            Some(window) => window,
            None => {
                let reader = self.damage.reader(row.id);
                let (connection, is_damaged) = match reader {
                    Some(reader) => (reader, true),
                    None => (self.connection, false),
                };
                let limits = self.key_limits;
                let window = retention::load_keys(connection, row, limits, self.now, is_damaged);
                if window.is_err() {
                    self.damage.suspect = Some(row.id);
                }
                self.keys.entry(row.id).or_insert(window?)
            }
        };

        window.expire(row.count, self.now);
        Ok(window.find(from, key))
    }

    /// Returns the state of `room` in this transaction. Creates the room if it does not exist, and drops an empty one
    /// if the limit of rooms is reached. Returns `None` if no room can be dropped either.
    fn row(&mut self, room: &RoomName) -> rusqlite::Result<Option<RoomRow>> {
        if let Some(row) = self.known(room) {
            if !self.is_expired(room, &row) {
                return Ok(Some(row));
            }
            self.remove(room, &row)?;
        }
        let rooms = self.index.len() + self.changes.created - self.changes.dropped.len();
        if rooms >= self.max_rooms && self.drop_empty(self.oldest_key(), 1)? == 0 {
            return Ok(None);
        }

        let base = self.changes.floor.max(self.index.floor());
        let id = lifecycle_row::insert_room(self.connection, room.as_str(), base)?;
        self.changes.created += 1;
        let limits = self.index.limits(room, &Lifecycle::default());
        Ok(Some(RoomRow::new(id, base, limits)))
    }

    /// Returns the state of `room` in this transaction, if the room exists.
    fn known(&self, room: &RoomName) -> Option<RoomRow> {
        if let Some(row) = self.changes.rows.get(room) {
            return Some(*row);
        }
        let is_dropped = self.changes.dropped.contains(room);
        self.index.row(room).filter(|_row| !is_dropped)
    }

    /// Drops at most `count` rooms that keep no messages and have had none since `since`. Returns the number of
    /// dropped rooms.
    pub(super) fn drop_empty(&mut self, since: u64, count: usize) -> rusqlite::Result<usize> {
        let mut dropped = 0;
        while dropped < count {
            // Loaded once: the rooms that this transaction drops stay in the room index until the commit.
            let load = || self.index.empty(since, MAX_EMPTY).into_iter();
            let Some((name, row)) = self.empty.get_or_insert_with(load).next() else {
                break;
            };
            if self.changes.rows.contains_key(&name) || self.changes.dropped.contains(&name) {
                continue;
            }

            lifecycle_row::remove_room(self.connection, row.id)?;
            self.record_dropped(name, &row);
            dropped += 1;
        }

        if dropped > 0 {
            self.save_floor()?;
        }
        Ok(dropped)
    }

    /// Records that `room` was removed from the file.
    fn record_dropped(&mut self, room: RoomName, row: &RoomRow) {
        self.changes.floor = self.changes.floor.max(row.head);
        self.changes.dropped_ids.push(row.id);
        if self.index.row(&room).is_some() {
            self.changes.dropped.insert(room);
        }
    }

    /// Saves the offset after which new rooms begin.
    fn save_floor(&self) -> rusqlite::Result<()> {
        let floor = self.changes.floor.max(self.index.floor());
        schema::set_number(self.connection, "floor", floor)
    }

    /// Returns the changes to send since this was last called.
    pub(super) fn take_log(&mut self) -> Vec<LogChange> {
        std::mem::take(&mut self.changes.log)
    }

    /// Returns the time, by the store's clock, since which keys are remembered.
    fn oldest_key(&self) -> u64 {
        let age = u64::try_from(self.key_limits.age.as_millis()).unwrap_or(u64::MAX);
        self.now.saturating_sub(age)
    }

    /// Removes keys that are too old for all rooms. Returns the number of removed keys.
    pub(super) fn forget_keys(&self) -> rusqlite::Result<usize> {
        retention::forget_keys(self.connection, &self.key_limits, self.now)
    }

    /// Saves the rows of at most `count` rooms that may lack messages after `until`. Returns the number of saved rows.
    pub(super) fn save_rows(&mut self, until: u64, count: usize) -> rusqlite::Result<usize> {
        let (rooms, complete) = self.index.unsaved(until, count);
        if rooms.is_empty() {
            return Ok(0);
        }

        self.changes.saved = rooms.len();
        for room in rooms {
            if let Some(mut row) = self.known(&room) {
                row.save(self.connection)?;
                self.changes.rows.insert(room, row);
            }
        }
        schema::set_number(self.connection, "saved", complete)?;
        Ok(self.changes.saved)
    }

    /// Marks `rooms` to be trimmed too.
    pub(super) fn touch(&mut self, rooms: Vec<RoomName>) {
        for room in rooms {
            if let Some(row) = self.known(&room) {
                self.changes.rows.insert(room, row);
            }
        }
    }

    /// Trims the rooms that were touched and writes their rows. Excess messages beyond the limit of one transaction
    /// are trimmed by a later one.
    pub(super) fn finish(mut self) -> rusqlite::Result<BatchChanges> {
        for (name, row) in &mut self.changes.rows {
            let gone = row.gone;
            let trimmed = match self.damage.reader(row.id) {
                Some(reader) => {
                    let committed = self.index.row(name).map_or(0, |row| row.head);
                    retention::trim_damaged(self.connection, reader, row, committed, self.now)
                }
                None => retention::trim(self.connection, row, &self.key_limits, self.now),
            };

            if trimmed.is_err() {
                self.damage.suspect = Some(row.id);
            }
            trimmed?;

            if row.gone > gone {
                row.save(self.connection)?;
            }
        }

        Ok(self.changes)
    }
}

impl BatchChanges {
    /// Creates an empty set of changes. The next message follows `newest`.
    pub(super) fn after(newest: u64) -> Self {
        Self {
            newest,
            ..Self::default()
        }
    }

    /// Records that messages were `stored` in `room`, and whether it is closed now.
    fn log(&mut self, room: &RoomName, row: &RoomRow, stored: &[Stored]) {
        let frames: Vec<_> = stored.iter().filter_map(Stored::frame).cloned().collect();
        if !frames.is_empty() {
            self.log.push(LogChange::Appended(room.clone(), frames));
        }
        if row.is_closed {
            self.log
                .push(LogChange::Closed(room.clone(), Offset(row.head)));
        }
    }

    /// Applies the changes to the memory after the commit.
    pub(super) fn apply(self, index: &RoomIndex, keys: &mut HashMap<i64, DedupWindow>) {
        index.commit(
            self.rows,
            self.lifecycles,
            &self.dropped,
            self.floor,
            self.saved,
        );

        for id in self.dropped_ids {
            keys.remove(&id);
        }

        for (room, keyed) in self.keyed {
            // The window exists if it was loaded when the key was looked up.
            if let Some(window) = keys.get_mut(&room) {
                window.insert(keyed);
            }
        }
    }
}
