//! Who is let in, and the guards that take each out exactly once.

use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::protocol::CloseCode;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::hub::publish::now_millis;
use crate::server::hub::room::Named;
use crate::server::hub::{Hub, Outlet, Resume, Room, Seat, Start};
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::moderation::AccessRequest;
use crate::server::session::IpBucket;

/// Bytes of a silent connection: its task, its state, and its entries in tables.
const CONNECTION_BYTES: usize = 4096;

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
    /// `--max-room-members` is reached.
    #[error("this room has as many connections as one may have (--max-room-members)")]
    RoomFull,
    /// `--memory-budget` is exceeded, or was a moment ago.
    #[error("the server holds as many bytes for its clients as it allows (--memory-budget)")]
    MemoryFull,
    /// The server is stopping.
    #[error("the server is stopping")]
    Draining,
    /// The store cannot be read.
    #[error("the store cannot be read now")]
    StoreUnavailable,
}

/// A counted place in a room, before there is a connection. Dropping it gives the place back.
#[derive(Debug)]
pub struct Admission {
    place: Place,
    room: Arc<Room>,
    start: Start,
    head: Offset,
    first: Offset,
}

/// One of the places that the limits allow.
#[derive(Debug)]
struct Place {
    hub: Hub,
    address: IpAddr,
    /// Where it is one of the room's places too.
    room: Option<Arc<Room>>,
}

/// One connection's membership of its room. Dropping it is the only way to leave, so nobody leaves twice.
#[derive(Debug)]
pub struct Membership {
    place: Place,
    room: Arc<Room>,
    /// Who is present by it; `None` for a reader that nobody sees.
    id: Option<UserId>,
    /// The id that its token proves, also for a reader that nobody sees.
    proven: Option<UserId>,
    number: u64,
    /// When it came, in milliseconds since 1970 UTC.
    since: u64,
    /// Where its outlet is registered, once it is.
    keys: Option<Keys>,
    /// The connection itself, and its entry in the room's presence.
    _reservation: MemoryReservation,
}

#[derive(Clone, Copy, Debug)]
struct Keys {
    reader: usize,
    seat: usize,
}

impl Hub {
    /// Counts a connection from `address` to the room `name`, which is made if need be.
    ///
    /// # Errors
    /// The limit that is reached.
    pub async fn admit(
        &self,
        address: IpAddr,
        name: &RoomName,
        resume: Option<&Resume>,
    ) -> Result<Admission, Refusal> {
        if self.0.draining.load(Ordering::Acquire) {
            return Err(Refusal::Draining);
        }
        if Memory::of_process().is_tight() {
            return Err(Refusal::MemoryFull);
        }
        let mut place = self.take_place(address)?;
        let room = self.room(name).await?;
        place.enter(&room)?;
        let away = |_| Refusal::StoreUnavailable;
        let mut bounds = self.0.store.bounds(name).map_err(away)?;
        if let Some(resume) = resume
            && resume.after > bounds.head
        {
            // It may come from a node that has heard more.
            self.0.store.reach(resume.after).await.map_err(away)?;
            bounds = self.0.store.bounds(name).map_err(away)?;
        }
        let start = Start::new(&bounds, resume);
        Ok(Admission {
            place,
            room,
            start,
            head: bounds.head,
            first: bounds.first,
        })
    }

    fn take_place(&self, address: IpAddr) -> Result<Place, Refusal> {
        let settings = &self.0.settings;
        let mut census = self.0.census.lock();
        if census.connections >= settings.max_connections {
            return Err(Refusal::TooManyConnections);
        }
        let from_here = census.by_host.entry(IpBucket::of(address)).or_default();
        if *from_here >= settings.max_connections_per_ip {
            return Err(Refusal::TooManyFromAddress);
        }
        *from_here += 1;
        census.connections += 1;
        Ok(Place {
            hub: self.clone(),
            address,
            room: None,
        })
    }

    /// The room `name`, made if need be; at the limit, in the place of one that nobody is in.
    ///
    /// # Errors
    /// [`Refusal::TooManyRooms`] and [`Refusal::StoreUnavailable`].
    pub async fn room(&self, name: &RoomName) -> Result<Arc<Room>, Refusal> {
        // Before the lock: it may take a moment.
        self.0
            .store
            .open(name)
            .await
            .map_err(|_| Refusal::StoreUnavailable)?;
        let mut rooms = self.0.rooms.lock();
        if let Some(Named(room)) = rooms.get(name) {
            return Ok(room.clone());
        }
        if rooms.len() >= self.0.settings.max_rooms {
            // A room can be reached only under this lock, so a count of one means that it is empty.
            let empty = rooms
                .iter()
                .find(|Named(room)| Arc::strong_count(room) == 1)
                .map(|Named(room)| room.name().clone());
            let Some(empty) = empty else {
                self.0.store.release(name);
                return Err(Refusal::TooManyRooms);
            };
            rooms.remove(&empty);
            self.0.store.release(&empty);
        }
        let lane = fastrand::u16(..self.0.lanes.len() as u16);
        let bounds = self.0.store.bounds(name).map_err(|_| {
            self.0.store.release(name);
            Refusal::StoreUnavailable
        })?;
        let room = Arc::new(Room::new(
            name.clone(),
            bounds,
            self.0.settings.log,
            lane,
            self.0.delivered.clone(),
        ));
        rooms.insert(Named(room.clone()));
        drop(rooms);
        self.ask_nodes(&room);
        Ok(room)
    }

    /// Makes whoever was admitted a member. With an `id` it is present from now on; without one it only reads.
    ///
    /// `proven` is the id that its token proves, which bans and kicks apply to in either case.
    pub fn join(
        &self,
        admission: Admission,
        id: Option<UserId>,
        proven: Option<UserId>,
    ) -> Membership {
        let Admission { place, room, .. } = admission;
        let (number, since) = (
            self.0.newest.fetch_add(1, Ordering::Relaxed) + 1,
            now_millis(),
        );
        if let Some(id) = &id {
            room.presence.lock().join(id, since);
            self.is_restless(&room);
        }
        let name = id.as_ref().map_or(0, |id| 2 * id.as_str().len());
        Membership {
            place,
            room,
            id,
            proven,
            number,
            since,
            keys: None,
            _reservation: Memory::of_process().reserve(CONNECTION_BYTES + name),
        }
    }
}

impl Membership {
    /// Who is present by it, if anybody.
    pub const fn id(&self) -> Option<&UserId> {
        self.id.as_ref()
    }

    /// The connection's number, from 1.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Where it comes from.
    pub const fn address(&self) -> IpAddr {
        self.place.address
    }

    /// Since when it is one, in milliseconds since 1970 UTC.
    pub const fn since(&self) -> u64 {
        self.since
    }

    /// From now on `outlet` is flushed, ticked, told and drained by the Hub.
    pub fn register(&mut self, outlet: Arc<dyn Outlet>) {
        let hub = &self.place.hub;
        let reader = self.room.add_reader(outlet.clone());
        let seat = Seat {
            outlet: outlet.clone(),
            room: self.room.clone(),
            number: self.number,
            id: self.id.clone(),
            proven: self.proven.clone(),
            address: self.place.address,
            since: self.since,
        };
        let id = seat.account().cloned();
        let seat = hub.0.seats.lock().insert(seat);
        self.keys = Some(Keys { reader, seat });
        hub.tell_if_away(&*outlet);
        if hub.0.draining.load(Ordering::Acquire) {
            outlet.drain(hub.reconnect_after());
        }
        // Since it was admitted, it may have been banned, or its room closed, when nobody could see it here.
        let guest = AccessRequest::new(id.as_ref(), self.place.address, self.room.name());
        if hub.0.moderation.admit(&guest).is_err() {
            outlet.close(CloseCode::NotAllowed);
        }
    }
}

impl Admission {
    /// The room.
    pub const fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Where its member begins to read, as the log stood when it was admitted. Whatever came after that, it
    /// hears: its client may believe itself in the room as soon as it is answered, which is before there is a
    /// connection here.
    pub const fn start(&self) -> &Start {
        &self.start
    }

    /// The newest offset then.
    pub const fn head(&self) -> Offset {
        self.head
    }

    /// The oldest offset kept then; 0 when none was.
    pub const fn first(&self) -> Offset {
        self.first
    }
}

impl Place {
    /// Takes one of the places in `room`. A connection has one room all its life, so there is one for each.
    fn enter(&mut self, room: &Arc<Room>) -> Result<(), Refusal> {
        if !room.enter(self.hub.0.settings.max_room_members) {
            return Err(Refusal::RoomFull);
        }
        self.room = Some(room.clone());
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            room.leave();
        }
        let mut census = self.hub.0.census.lock();
        census.connections -= 1;
        if let Entry::Occupied(mut here) = census.by_host.entry(IpBucket::of(self.address)) {
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
        let hub = &self.place.hub;
        if let Some(Keys { reader, seat }) = self.keys {
            self.room.remove_reader(reader);
            let seat = hub.0.seats.lock().remove(seat);
            drop(seat);
        }
        if let Some(id) = &self.id {
            self.room.presence.lock().leave(id, hub.now());
            hub.is_restless(&self.room);
        }
    }
}
