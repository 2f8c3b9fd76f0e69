//! Where every room stands, in memory, as it was last committed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Row;

use crate::protocol::Epoch;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::store::Retention;
use crate::server::store::sqlite::OpenError;
use crate::server::store::sqlite::file::File;

/// Where one room stands: its row in `rooms`, and what spares a look at its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The room's number in the file.
    pub(super) id: i64,
    /// The oldest offset kept; `head + 1` when nothing is.
    pub(super) first: u64,
    /// The newest offset given out.
    pub(super) head: u64,
    /// Bytes of the bodies that are kept.
    pub(super) bytes: u64,
    /// When the newest was stored, by the store's clock.
    pub(super) clock: u64,
    /// Nothing here was stored before this, by the store's clock.
    pub(super) oldest: u64,
}

impl Place {
    /// A room in which nothing was said.
    pub(super) const fn new(id: i64) -> Self {
        Self {
            id,
            first: 1,
            head: 0,
            bytes: 0,
            clock: 0,
            oldest: 0,
        }
    }

    /// How many messages are kept.
    pub(super) const fn kept(&self) -> u64 {
        self.head + 1 - self.first
    }

    /// Whether something in it may be past the limits, `now` by the store's clock.
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
            },
        ))
    }
}

/// See the [module docs](self).
#[derive(Debug)]
pub(super) struct Ledger {
    /// Which life of its logs the file holds.
    epoch: Epoch,
    rooms: Mutex<HashMap<RoomName, Place>>,
}

impl Ledger {
    /// What the file says, and the latest time by the store's clock in it.
    pub(super) fn load(file: &File) -> Result<(Self, u64), OpenError> {
        let load = || -> rusqlite::Result<_> {
            let mut select = file
                .connection
                .prepare("SELECT id, name, first, head, bytes, clock FROM rooms")?;
            select
                .query_map([], Place::of)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        let mut rooms = HashMap::new();
        for (name, place) in load().map_err(|error| file.wrong(&error))? {
            let name = RoomName::parse(&name).map_err(|error| file.damaged(error.to_string()))?;
            rooms.insert(name, place);
        }
        let last = rooms
            .values()
            .map(|place| place.clock)
            .max()
            .unwrap_or_default();
        Ok((
            Self {
                epoch: file.epoch()?,
                rooms: Mutex::new(rooms),
            },
            last,
        ))
    }

    pub(super) const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Where `room` stands, if anything was ever said there.
    pub(super) fn place(&self, room: &RoomName) -> Option<Place> {
        self.lock().get(room).copied()
    }

    /// The oldest offset kept, 0 when nothing is, and the newest given out.
    pub(super) fn bounds(&self, room: &RoomName) -> (Offset, Offset) {
        match self.place(room) {
            Some(place) if place.kept() > 0 => (Offset(place.first), Offset(place.head)),
            Some(place) => (Offset(0), Offset(place.head)),
            None => (Offset(0), Offset(0)),
        }
    }

    /// At most `count` of the rooms in which something may be past the limits, `now` by the store's clock.
    pub(super) fn due(&self, retention: &Retention, now: u64, count: usize) -> Vec<RoomName> {
        let rooms = self.lock();
        let due = rooms
            .iter()
            .filter(|(_, place)| place.is_due(retention, now));
        due.take(count).map(|(name, _)| name.clone()).collect()
    }

    /// These places were committed.
    pub(super) fn commit(&self, places: impl IntoIterator<Item = (RoomName, Place)>) {
        self.lock().extend(places);
    }

    /// What this lock guards is consistent between statements, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, HashMap<RoomName, Place>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
