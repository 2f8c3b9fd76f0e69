//! The rooms that a pattern matches and whose messages its reader does not get.

use crate::protocol::RoomName;

/// A set of rooms, sorted. It is empty for almost all readers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExcludedRooms(Vec<RoomName>);

impl ExcludedRooms {
    /// The empty set.
    pub const NONE: Self = Self(Vec::new());

    /// Returns true if no room is excluded.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if `room` is excluded.
    pub fn contains(&self, room: &RoomName) -> bool {
        self.0.binary_search(room).is_ok()
    }

    /// Returns an iterator over the excluded rooms.
    pub fn iter(&self) -> impl Iterator<Item = &RoomName> {
        self.0.iter()
    }
}

impl FromIterator<RoomName> for ExcludedRooms {
    fn from_iter<I: IntoIterator<Item = RoomName>>(rooms: I) -> Self {
        let mut rooms: Vec<_> = rooms.into_iter().collect();
        rooms.sort_unstable();
        rooms.dedup();
        Self(rooms)
    }
}
