//! Who is let in, and the guards that take each out exactly once.

use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::protocol::CloseCode;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::hub::{Hub, Outlet, Room, lock};

/// Why a connection or a room was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `--max-connections` is reached.
    #[error("the server has as many connections as it allows (--max-connections)")]
    TooManyConnections,
    /// `--max-connections-per-ip` is reached.
    #[error("this address has as many connections as one may have (--max-connections-per-ip)")]
    TooManyFromAddress,
    /// `--max-rooms` is reached and every room has somebody in it.
    #[error("the server has as many rooms as it allows (--max-rooms), each with somebody in it")]
    TooManyRooms,
    /// The server is stopping.
    #[error("the server is stopping")]
    Draining,
}

/// A counted place in a room, before there is a connection. Dropping it gives the place back.
#[derive(Debug)]
pub struct Admission {
    place: Place,
    room: Arc<Room>,
    cursor: Offset,
}

/// One of the places that the limits allow.
#[derive(Debug)]
struct Place {
    hub: Hub,
    address: IpAddr,
}

/// One connection's membership of its room. Dropping it is the only way to leave, so nobody leaves twice.
#[derive(Debug)]
pub struct Membership {
    admission: Admission,
    outlet: usize,
    reader: usize,
}

impl Hub {
    /// Counts a connection from `address` to the room `name`, which is made if need be.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn admit(&self, address: IpAddr, name: &RoomName) -> Result<Admission, Refusal> {
        if self.0.draining.load(Ordering::Acquire) {
            return Err(Refusal::Draining);
        }
        let place = self.take_place(address)?;
        let room = self.room(name)?;
        let cursor = room.head();
        Ok(Admission { place, room, cursor })
    }

    fn take_place(&self, address: IpAddr) -> Result<Place, Refusal> {
        let settings = &self.0.settings;
        let mut census = lock(&self.0.census);
        if census.connections >= settings.max_connections {
            return Err(Refusal::TooManyConnections);
        }
        let from_here = census.by_address.entry(address).or_default();
        if *from_here >= settings.max_connections_per_ip {
            return Err(Refusal::TooManyFromAddress);
        }
        *from_here += 1;
        census.connections += 1;
        Ok(Place { hub: self.clone(), address })
    }

    /// The room `name`, made if need be; at the limit, in the place of one that nobody is in.
    ///
    /// # Errors
    /// [`Refusal::TooManyRooms`].
    pub fn room(&self, name: &RoomName) -> Result<Arc<Room>, Refusal> {
        let mut rooms = lock(&self.0.rooms);
        if let Some(room) = rooms.get(name) {
            return Ok(room.clone());
        }
        if rooms.len() >= self.0.settings.max_rooms {
            // Nobody else can get at a room without this lock, so a count of one means that nobody is in it.
            let empty =
                rooms.iter().find(|(_, room)| Arc::strong_count(room) == 1).map(|(name, _)| name.clone());
            match empty {
                Some(empty) => rooms.remove(&empty),
                None => return Err(Refusal::TooManyRooms),
            };
        }
        let lane = fastrand::usize(..self.0.lanes.len());
        let room = Arc::new(Room::new(name.clone(), self.0.settings.log, lane));
        rooms.insert(name.clone(), room.clone());
        Ok(room)
    }

    /// Makes `outlet` a member of the room that it was admitted to: from now on it is flushed, ticked and
    /// closed by the Hub.
    pub fn register(&self, admission: Admission, outlet: Arc<dyn Outlet>) -> Membership {
        let reader = lock(&admission.room.readers).insert(outlet.clone());
        let key = lock(&self.0.outlets).insert(outlet.clone());
        if self.0.draining.load(Ordering::Acquire) {
            outlet.close(CloseCode::GoingAway);
        }
        Membership { admission, outlet: key, reader }
    }
}

impl Admission {
    /// The room.
    pub const fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Where its log stood then. Whatever came after that, the new member hears: its client may believe
    /// itself in the room as soon as it is answered, which is before there is a connection here.
    pub const fn cursor(&self) -> Offset {
        self.cursor
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut census = lock(&self.hub.0.census);
        census.connections -= 1;
        if let Entry::Occupied(mut here) = census.by_address.entry(self.address) {
            *here.get_mut() -= 1;
            if *here.get() == 0 {
                here.remove();
            }
        }
        drop(census);
        self.hub.0.left.notify_waiters();
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let reader = lock(&self.admission.room.readers).remove(self.reader);
        let outlet = lock(&self.admission.place.hub.0.outlets).remove(self.outlet);
        drop((reader, outlet));
    }
}
