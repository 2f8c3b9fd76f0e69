//! The index of all rooms in memory, as of the last commit. It answers questions about the bounds of a room without a
//! disk access, and finds the rooms that are due for trimming or are empty. Only the writer changes it, after each
//! commit.
//!
//! A room's row in the file is not saved with each message, because a commit of messages in many rooms would rewrite a
//! page for each. It is saved when the room is trimmed or a message is deleted, and otherwise some time later. The value
//! `saved` in `meta` is the offset up to which all rows are complete; when a file is opened, later messages are added to
//! the rows.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::Bound;

use parking_lot::Mutex;
use rusqlite::Connection;

use crate::protocol::{Epoch, Offset, RoomName, RoomPattern};
use crate::server::store::room_limits::{RoomLimitTable, RoomLimits};
use crate::server::store::sqlite::OpenError;
use crate::server::store::sqlite::file::File;
use crate::server::store::sqlite::lifecycle_row;
use crate::server::store::sqlite::room_row::{COLUMNS, RoomRow};
use crate::server::store::sqlite::scan::is_damaged_row;
use crate::server::store::sqlite::schema;
use crate::server::store::{Bounds, Lifecycle};

/// The number of rooms that one step of a list reads, so that the writer is not blocked for long.
const NAMES_AT_ONCE: usize = 512;

/// A lifecycle, and the time of use that is saved in the file.
#[derive(Debug)]
struct SavedLifecycle {
    lifecycle: Lifecycle,
    used: u64,
}

impl SavedLifecycle {
    const fn new(lifecycle: Lifecycle) -> Self {
        let used = lifecycle.used;
        Self { lifecycle, used }
    }

    /// Returns true if the time of use is to be saved, in a room with `limits`. A read is not, unless enough time has passed
    /// since the last one that was.
    fn is_due(&self, limits: &RoomLimits) -> bool {
        let after = limits.save_after();
        after > 0 && self.lifecycle.used - self.used >= after
    }
}

/// A message that the row of its room may lack.
struct UnsavedMessage {
    offset: u64,
    number: u64,
    clock: u64,
    bytes: u64,
}

/// Reads the messages that the rows of their rooms may lack, by room, in the order of their offsets.
fn unsaved_messages(
    connection: &Connection,
) -> rusqlite::Result<HashMap<i64, Vec<UnsavedMessage>>> {
    let saved = schema::number(connection, "saved")?.unwrap_or_default();
    let read = |select: &str| -> rusqlite::Result<_> {
        let mut messages: HashMap<_, Vec<_>> = HashMap::new();
        let mut select = connection.prepare(select)?;
        let mut rows = select.query([saved])?;
        while let Some(row) = rows.next()? {
            let message = UnsavedMessage {
                offset: row.get(1)?,
                number: row.get(2)?,
                clock: row.get(3)?,
                bytes: row.get(4)?,
            };
            messages.entry(row.get(0)?).or_default().push(message);
        }
        Ok(messages)
    };

    match read(
        "SELECT room, offset, number, clock, octet_length(body) FROM messages WHERE offset > ?1 ORDER BY offset",
    ) {
        // The index has the offsets of the messages on a damaged page.
        Err(error) if is_damaged_row(&error) => read(
            "SELECT room, offset, 0, 0, 0 FROM messages INDEXED BY messages_by_room WHERE offset > ?1 ORDER BY room, offset",
        ),
        messages => messages,
    }
}

/// The index of all rooms. See the [module docs](self).
#[derive(Debug)]
pub(super) struct RoomIndex {
    /// The epoch of the file.
    epoch: Epoch,
    limits: RoomLimitTable,
    inner: Mutex<RoomIndexState>,
}

#[derive(Debug, Default)]
struct RoomIndexState {
    rooms: HashMap<RoomName, RoomRow>,
    /// The lifecycles of the rooms that were created, closed or read, or have a writer sequence. The time of a read is
    /// needed only if the room expires without.
    lifecycles: HashMap<RoomName, SavedLifecycle>,
    /// The names of all rooms.
    names: BTreeSet<RoomName>,
    /// The rooms that keep no messages, by the time of their last message and their id.
    empty: BTreeMap<(u64, i64), RoomName>,
    /// An upper bound of the offsets of all rooms that were dropped.
    floor: u64,
    /// The newest offset of all rooms.
    newest: u64,
    /// The rooms whose rows were not saved since they got messages, each with an offset up to which its row is complete.
    unsaved: VecDeque<(u64, RoomName)>,
}

impl RoomIndexState {
    fn insert(&mut self, name: RoomName, row: RoomRow) {
        if let Some(before) = self.rooms.insert(name.clone(), row) {
            self.empty.remove(&(before.clock, before.id));
        } else {
            self.names.insert(name.clone());
        }
        if row.is_empty() {
            self.empty.insert((row.clock, row.id), name);
        }
        self.newest = self.newest.max(row.head);
    }

    fn remove(&mut self, name: &RoomName) {
        if let Some(row) = self.rooms.remove(name) {
            self.names.remove(name);
            self.lifecycles.remove(name);
            self.empty.remove(&(row.clock, row.id));
        }
    }
}

impl RoomIndex {
    /// Loads the rooms of the file, which have `limits`. Also returns the latest time by the store's clock found in the
    /// file.
    pub(super) fn load(file: &File, limits: RoomLimitTable) -> Result<(Self, u64), OpenError> {
        let connection = file.connection();
        let read = || -> rusqlite::Result<_> {
            let mut select = connection.prepare(&format!("SELECT {COLUMNS}, name FROM rooms"))?;
            let rooms = select.query_map([], |row| Ok((row.get(9)?, RoomRow::of(row)?)))?;
            let rooms: Vec<(String, RoomRow)> = rooms.collect::<Result<_, _>>()?;
            Ok((
                rooms,
                schema::floor(connection)?,
                unsaved_messages(connection)?,
            ))
        };
        let (rooms, floor, messages) = read().map_err(|error| file.wrong(&error))?;
        let mut lifecycles = lifecycle_row::load(connection).map_err(|error| file.wrong(&error))?;

        let mut inner = RoomIndexState {
            floor,
            newest: floor,
            ..RoomIndexState::default()
        };
        let mut last = 0;
        for (name, mut row) in rooms {
            let name = RoomName::parse(&name).map_err(|error| file.damaged(error.to_string()))?;
            for message in messages.get(&row.id).into_iter().flatten() {
                if message.offset > row.head {
                    row.add(message.offset, message.bytes, message.clock);
                    row.count = row.count.max(message.number);
                }
            }

            last = last.max(row.clock);
            let lifecycle = lifecycles.remove(&row.id);
            let is_plain = lifecycle.is_none();
            let mut lifecycle = lifecycle.unwrap_or_default();
            row.set_lifecycle(&lifecycle, limits.of(&name, &lifecycle));
            if !is_plain {
                // The last read may not be saved, and must not be too early.
                lifecycle.used += row.limits.save_after();
                let lifecycle = SavedLifecycle::new(lifecycle);
                inner.lifecycles.insert(name.clone(), lifecycle);
            }
            if row.is_unsaved() {
                inner.unsaved.push_back((row.saved, name.clone()));
            }
            inner.insert(name, row);
        }
        inner.unsaved.make_contiguous().sort_unstable();

        let index = Self {
            epoch: file.epoch().clone(),
            limits,
            inner: Mutex::new(inner),
        };
        Ok((index, last))
    }

    pub(super) const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Returns the state of `room`, if the room exists.
    pub(super) fn row(&self, room: &RoomName) -> Option<RoomRow> {
        self.inner.lock().rooms.get(room).copied()
    }

    /// Returns the bounds of `room`. For a room that does not exist, returns the bounds that it would begin with.
    pub(super) fn bounds(&self, room: &RoomName) -> Bounds {
        let inner = self.inner.lock();
        let row = inner.rooms.get(room).copied();
        let row = row.unwrap_or(RoomRow::new(0, inner.floor, RoomLimits::NONE));

        Bounds {
            epoch: self.epoch.clone(),
            first: Offset(row.first),
            head: Offset(row.head),
            gone: Offset(row.gone),
            newest: Offset(inner.newest),
            is_known: row.is_known(),
        }
    }

    /// Returns the lifecycle of `room`, if it has one.
    pub(super) fn lifecycle(&self, room: &RoomName) -> Option<Lifecycle> {
        let inner = self.inner.lock();
        inner
            .lifecycles
            .get(room)
            .map(|saved| saved.lifecycle.clone())
    }

    /// Returns the limits of `room` with the state `lifecycle`.
    pub(super) fn limits(&self, room: &RoomName, lifecycle: &Lifecycle) -> RoomLimits {
        self.limits.of(room, lifecycle)
    }

    /// Returns the limits of all rooms.
    pub(super) const fn all_limits(&self) -> &RoomLimitTable {
        &self.limits
    }

    /// Records a read of `room` at `clock`, if it expires when it is not used.
    pub(super) fn touch(&self, room: &RoomName, clock: u64) {
        let inner = &mut *self.inner.lock();
        let row = inner.rooms.get(room).filter(|row| row.is_known());
        if row.is_none_or(|row| row.limits.idle.is_none()) {
            return;
        }

        let saved = match inner.lifecycles.get_mut(room) {
            Some(saved) => saved,
            None => inner
                .lifecycles
                .entry(room.clone())
                .or_insert(SavedLifecycle::new(Lifecycle::default())),
        };
        saved.lifecycle.used = saved.lifecycle.used.max(clock);
    }

    /// Returns at most `count` rooms with times of use that must be saved, each with its id and that time, and records that
    /// they are saved.
    pub(super) fn take_unsaved_uses(&self, count: usize) -> Vec<(i64, u64)> {
        let inner = &mut *self.inner.lock();
        let rooms = &inner.rooms;
        let due = inner.lifecycles.iter_mut().filter_map(|(name, saved)| {
            let row = rooms.get(name).filter(|row| saved.is_due(&row.limits))?;
            saved.used = saved.lifecycle.used;
            Some((row.id, saved.used))
        });
        due.take(count).collect()
    }

    /// Returns at most `count` rooms that have expired. `clock` is the time by the store's clock, and `wall` that since 1970
    /// UTC in milliseconds.
    pub(super) fn expired(&self, clock: u64, wall: u64, count: usize) -> Vec<RoomName> {
        let inner = self.inner.lock();
        let is_expired = |(name, row): &(&RoomName, &RoomRow)| {
            let saved = inner.lifecycles.get(*name);
            let read = saved.map_or(0, |saved| saved.lifecycle.used);
            row.limits.is_expired(row.clock.max(read), clock, wall)
        };
        let can_expire = |(_, row): &(&RoomName, &RoomRow)| row.limits.can_expire();
        let expired = inner.rooms.iter().filter(can_expire).filter(is_expired);
        let expired = expired.take(count);
        expired.map(|(name, _)| name.clone()).collect()
    }

    /// Returns the number of rooms.
    pub(super) fn len(&self) -> usize {
        self.inner.lock().rooms.len()
    }

    /// Returns the newest offset of all rooms.
    pub(super) fn newest(&self) -> u64 {
        self.inner.lock().newest
    }

    /// Returns the offset after which new rooms begin.
    pub(super) fn floor(&self) -> u64 {
        self.inner.lock().floor
    }

    /// Returns at most `limit` rooms that `is_selected`, match `pattern` and follow `after`, by name. The writer is never
    /// blocked for long, so a commit may be in between.
    pub(super) fn list(
        &self,
        pattern: &RoomPattern,
        after: Option<&RoomName>,
        limit: usize,
        is_selected: impl Fn(&RoomName, &RoomRow) -> bool,
    ) -> Vec<(RoomName, RoomRow)> {
        let prefix = pattern.prefix();
        let mut found = Vec::new();
        let mut start = match after.filter(|after| after.as_str() >= prefix) {
            Some(after) => Bound::Excluded(after.clone()),
            None => Bound::Unbounded,
        };

        loop {
            let inner = self.inner.lock();
            let from = match &start {
                Bound::Excluded(last) => Bound::Excluded(last.as_str()),
                _ => Bound::Included(prefix),
            };
            let names = inner.names.range::<str, _>((from, Bound::Unbounded));
            let mut last = None;
            for name in names.take(NAMES_AT_ONCE) {
                if !name.as_str().starts_with(prefix) || found.len() == limit {
                    return found;
                }
                let row = inner.rooms.get(name).filter(|row| is_selected(name, row));
                found.extend(row.map(|row| (name.clone(), *row)));
                last = Some(name);
            }

            match last {
                Some(last) => start = Bound::Excluded(last.clone()),
                None => return found,
            }
        }
    }

    /// Returns the bounds of all rooms that `pattern` matches.
    pub(super) fn matching_bounds(&self, pattern: &RoomPattern) -> Bounds {
        let mut bounds = Bounds {
            epoch: self.epoch.clone(),
            first: Offset(0),
            head: Offset(0),
            gone: Offset(0),
            newest: Offset(0),
            is_known: false,
        };
        for (_, row) in self.list(pattern, None, usize::MAX, |_, row| row.count > 0) {
            bounds.include(Offset(row.first), Offset(row.head), Offset(row.gone));
        }

        let inner = self.inner.lock();
        bounds.newest = Offset(inner.newest);
        bounds.gone = bounds.gone.max(Offset(inner.floor));
        bounds
    }

    /// Returns at most `count` rooms that are empty and have had no message since `since`, longest empty first.
    pub(super) fn empty(&self, since: u64, count: usize) -> Vec<(RoomName, RoomRow)> {
        let inner = self.inner.lock();
        let old = inner.empty.range(..(since, i64::MIN)).take(count);
        old.filter_map(|(_, name)| Some((name.clone(), *inner.rooms.get(name)?)))
            .collect()
    }

    /// Returns at most `count` rooms with messages that may be past the limits. `now` is the current time by the
    /// store's clock.
    pub(super) fn due(&self, now: u64, count: usize) -> Vec<RoomName> {
        let inner = self.inner.lock();
        let due = inner.rooms.iter().filter(|(_, row)| row.is_due(now));
        due.take(count).map(|(name, _)| name.clone()).collect()
    }

    /// Returns at most `count` rooms whose rows may lack messages after `until`, oldest first, and the offset up to
    /// which all other rows are complete.
    pub(super) fn unsaved(&self, until: u64, count: usize) -> (Vec<RoomName>, u64) {
        let inner = self.inner.lock();
        let due = inner
            .unsaved
            .iter()
            .take_while(|(saved, _)| *saved <= until);
        let rooms: Vec<_> = due.take(count).map(|(_, name)| name.clone()).collect();
        let rest = inner.unsaved.get(rooms.len());
        let complete = rest.map_or(inner.newest, |(saved, _)| *saved);
        (rooms, complete)
    }

    /// Applies the changes of a commit, which saved the rows of the first `saved` unsaved rooms.
    pub(super) fn commit(
        &self,
        rows: impl IntoIterator<Item = (RoomName, RoomRow)>,
        lifecycles: impl IntoIterator<Item = (RoomName, Lifecycle)>,
        dropped: &HashSet<RoomName>,
        floor: u64,
        saved: usize,
    ) {
        let mut inner = self.inner.lock();
        dropped.iter().for_each(|name| inner.remove(name));
        for (name, mut lifecycle) in lifecycles {
            // A reader may have used the room since the transaction read its state.
            if let Some(before) = inner.lifecycles.get(&name) {
                lifecycle.used = lifecycle.used.max(before.lifecycle.used);
            }
            inner
                .lifecycles
                .insert(name, SavedLifecycle::new(lifecycle));
        }
        inner.unsaved.drain(..saved);

        let newest = inner.newest;
        for (name, row) in rows {
            let was_unsaved = inner.rooms.get(&name).is_some_and(RoomRow::is_unsaved);
            if row.is_unsaved() && !was_unsaved {
                inner.unsaved.push_back((newest, name.clone()));
            }
            inner.insert(name, row);
        }

        inner.floor = inner.floor.max(floor);
    }
}
