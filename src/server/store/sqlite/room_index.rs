//! The index of all rooms in memory, as of the last commit. It answers questions about the bounds of a room without a
//! disk access, and finds the rooms that are due for trimming or are empty. Only the writer changes it, after each
//! commit.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use rusqlite::Row;

use crate::protocol::Epoch;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::store::sqlite::OpenError;
use crate::server::store::sqlite::file::File;
use crate::server::store::sqlite::schema;
use crate::server::store::{Bounds, Retention};

/// The state of one room: its row in `rooms`, and values that avoid reading its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RoomRow {
    /// The room's id in the file.
    pub(super) id: i64,
    /// The oldest offset kept; `head + 1` if nothing is kept.
    pub(super) first: u64,
    /// The newest offset assigned.
    pub(super) head: u64,
    /// The total size of the kept bodies in bytes.
    pub(super) bytes: u64,
    /// The time at which the newest message was stored, by the store's clock.
    pub(super) clock: u64,
    /// A lower bound of the time at which the kept messages were stored, by the store's clock.
    pub(super) oldest: u64,
    /// The offset after which the room's offsets begin.
    pub(super) base: u64,
}

impl RoomRow {
    /// Creates the state of a new room without messages, whose offsets begin after `base`.
    pub(super) const fn new(id: i64, base: u64) -> Self {
        Self {
            id,
            first: base + 1,
            head: base,
            bytes: 0,
            clock: 0,
            oldest: 0,
            base,
        }
    }

    /// Returns the offset of the newest message; 0 if there was none.
    pub(super) const fn newest(&self) -> Offset {
        if self.head == self.base {
            Offset(0)
        } else {
            Offset(self.head)
        }
    }

    /// Returns the number of kept messages.
    pub(super) const fn kept(&self) -> u64 {
        self.head + 1 - self.first
    }

    /// Returns true if messages in the room may be past the limits. `now` is the current time by the store's clock.
    pub(super) fn is_due(&self, retention: &Retention, now: u64) -> bool {
        let is_over = self.kept() > retention.messages as u64
            || (self.bytes > retention.bytes as u64 && self.kept() > 1);
        let is_old = u128::from(now.saturating_sub(self.oldest)) > retention.age.as_millis();
        self.kept() > 0 && (is_over || is_old)
    }

    fn of(row: &Row<'_>) -> rusqlite::Result<(String, Self)> {
        let (first, head, bytes, clock) = (row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?);
        Ok((
            row.get(1)?,
            Self {
                id: row.get(0)?,
                first,
                head,
                bytes,
                clock,
                oldest: 0,
                base: row.get(6)?,
            },
        ))
    }
}

/// The index of all rooms. See the [module docs](self).
#[derive(Debug)]
pub(super) struct RoomIndex {
    /// The epoch of the file.
    epoch: Epoch,
    inner: Mutex<RoomIndexState>,
}

#[derive(Debug, Default)]
struct RoomIndexState {
    rooms: HashMap<RoomName, RoomRow>,
    /// The rooms that keep no messages, by the time of their last message and their id.
    empty: BTreeMap<(u64, i64), RoomName>,
    /// An upper bound of the offsets of all rooms that were dropped.
    floor: u64,
}

impl RoomIndexState {
    fn insert(&mut self, name: RoomName, row: RoomRow) {
        if let Some(before) = self.rooms.insert(name.clone(), row) {
            self.empty.remove(&(before.clock, before.id));
        }
        if row.kept() == 0 {
            self.empty.insert((row.clock, row.id), name);
        }
    }

    fn remove(&mut self, name: &RoomName) {
        if let Some(row) = self.rooms.remove(name) {
            self.empty.remove(&(row.clock, row.id));
        }
    }
}

impl RoomIndex {
    /// Loads the rooms of the file. Also returns the latest time by the store's clock found in the file.
    pub(super) fn load(file: &File) -> Result<(Self, u64), OpenError> {
        let rooms = || -> rusqlite::Result<_> {
            let mut select = file
                .connection()
                .prepare("SELECT id, name, first, head, bytes, clock, base FROM rooms")?;
            select
                .query_map([], RoomRow::of)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        let rooms = rooms().map_err(|error| file.wrong(&error))?;
        let floor = schema::floor(file.connection()).map_err(|error| file.wrong(&error))?;

        let mut inner = RoomIndexState {
            floor,
            ..RoomIndexState::default()
        };
        let mut last = 0;
        for (name, row) in rooms {
            let name = RoomName::parse(&name).map_err(|error| file.damaged(error.to_string()))?;
            last = last.max(row.clock);
            inner.insert(name, row);
        }
        Ok((
            Self {
                epoch: file.epoch().clone(),
                inner: Mutex::new(inner),
            },
            last,
        ))
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
        let row = row.unwrap_or(RoomRow::new(0, inner.floor));
        drop(inner);

        let first = if row.kept() > 0 { row.first } else { 0 };
        Bounds {
            base: Offset(row.base),
            ..Bounds::dense(self.epoch.clone(), Offset(first), Offset(row.head))
        }
    }

    /// Returns the number of rooms.
    pub(super) fn len(&self) -> usize {
        self.inner.lock().rooms.len()
    }

    /// Returns the offset after which new rooms begin.
    pub(super) fn floor(&self) -> u64 {
        self.inner.lock().floor
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
    pub(super) fn due(&self, retention: &Retention, now: u64, count: usize) -> Vec<RoomName> {
        let inner = self.inner.lock();
        let due = inner
            .rooms
            .iter()
            .filter(|(_, row)| row.is_due(retention, now));
        due.take(count).map(|(name, _)| name.clone()).collect()
    }

    /// Applies the changes of a commit.
    pub(super) fn commit(
        &self,
        rows: impl IntoIterator<Item = (RoomName, RoomRow)>,
        dropped: &[RoomName],
        floor: u64,
    ) {
        let mut inner = self.inner.lock();
        dropped.iter().for_each(|name| inner.remove(name));

        for (name, row) in rows {
            inner.insert(name, row);
        }

        inner.floor = inner.floor.max(floor);
    }
}
