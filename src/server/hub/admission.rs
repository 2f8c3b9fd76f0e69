//! The admission of connections, and the guards that give each slot back exactly once.

use std::net::IpAddr;
use std::sync::Arc;

use crate::protocol::CloseCode;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::hub::{
    Closing, ConnectionEntry, Hub, Notice, Resume, Room, StartPosition, Subscriber, now_millis,
    outage,
};
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::moderation::AccessRequest;
use crate::server::store::Health;

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

/// A slot that is counted before there is a connection. Dropping it gives the slot back.
#[derive(Debug)]
pub struct Admission {
    slot: ConnectionSlot,
    room: Arc<Room>,
    start: StartPosition,
    head: Offset,
    first: Offset,
}

/// One of the places that the limits allow.
#[derive(Debug)]
struct ConnectionSlot {
    hub: Hub,
    address: IpAddr,
    /// Set once it is one of the room's places too.
    room: Option<Arc<Room>>,
}

/// One connection's membership of its room. Dropping it is the only way to leave, so it leaves once.
#[derive(Debug)]
pub struct Membership {
    slot: ConnectionSlot,
    room: Arc<Room>,
    /// The id that is present by it; `None` for a reader that is not a member.
    id: Option<UserId>,
    /// The id that its token proves, also for a reader that is not a member.
    proven: Option<UserId>,
    number: u64,
    /// When it joined, in milliseconds since 1970 UTC.
    since: u64,
    /// Set once its subscriber is registered.
    keys: Option<Keys>,
    /// The connection itself, and its entry in the room's presence.
    _reservation: MemoryReservation,
}

/// The keys of a registered subscriber.
#[derive(Clone, Copy, Debug)]
struct Keys {
    reader: usize,
    connection: usize,
}

impl Admission {
    /// Counts a connection from `address` to the room `name`: see [`Hub::admit`].
    pub(super) async fn new(
        hub: &Hub,
        address: IpAddr,
        name: &RoomName,
        resume: Option<&Resume>,
    ) -> Result<Self, Refusal> {
        if hub.is_draining() {
            return Err(Refusal::Draining);
        }
        if Memory::of_process().is_tight() {
            return Err(Refusal::MemoryFull);
        }
        let mut slot = ConnectionSlot::new(hub, address)?;
        let room = hub.room(name).await?;
        slot.enter(&room)?;

        let store = hub.store();
        let unavailable = |_| Refusal::StoreUnavailable;
        let mut bounds = store.bounds(name).map_err(unavailable)?;
        if let Some(resume) = resume
            && resume.after > bounds.head
        {
            // The client may come from a node that has read more of the log.
            store.reach(resume.after).await.map_err(unavailable)?;
            bounds = store.bounds(name).map_err(unavailable)?;
        }

        Ok(Self {
            slot,
            room,
            start: StartPosition::new(&bounds, resume),
            head: bounds.head,
            first: bounds.first,
        })
    }

    /// Returns the room.
    pub const fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Returns where its member begins to read, as the log stood when it was admitted. It gets all messages after that: the
    /// client may consider itself in the room as soon as the handshake is answered, before there is a connection here.
    pub const fn start(&self) -> &StartPosition {
        &self.start
    }

    /// Returns the newest offset at that time.
    pub const fn head(&self) -> Offset {
        self.head
    }

    /// Returns the oldest offset kept at that time; 0 when there was none.
    pub const fn first(&self) -> Offset {
        self.first
    }
}

impl Membership {
    /// Makes an admitted connection a member: see [`Hub::join`].
    pub(super) fn new(
        hub: &Hub,
        admission: Admission,
        id: Option<UserId>,
        proven: Option<UserId>,
    ) -> Self {
        let Admission { slot, room, .. } = admission;
        let since = now_millis();
        if let Some(id) = &id {
            room.presence.lock().join(id, since);
            hub.0.dirty_presence.mark(&room);
        }

        let id_bytes = id.as_ref().map_or(0, |id| 2 * id.as_str().len());
        Self {
            slot,
            room,
            id,
            proven,
            number: hub.connections().next_number(),
            since,
            keys: None,
            _reservation: Memory::of_process().reserve(CONNECTION_BYTES + id_bytes),
        }
    }

    /// Returns the id that is present by it, if any.
    pub const fn id(&self) -> Option<&UserId> {
        self.id.as_ref()
    }

    /// Returns the connection's number, from 1.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Returns the client's address.
    pub const fn address(&self) -> IpAddr {
        self.slot.address
    }

    /// Returns when it joined, in milliseconds since 1970 UTC.
    pub const fn since(&self) -> u64 {
        self.since
    }

    /// Registers `subscriber` as the reader of this member.
    pub fn register(&mut self, subscriber: Arc<dyn Subscriber>) {
        let hub = &self.slot.hub;
        let reader = self.room.add_reader(subscriber.clone());
        let entry = ConnectionEntry {
            subscriber: subscriber.clone(),
            room: self.room.clone(),
            number: self.number,
            id: self.id.clone(),
            proven: self.proven.clone(),
            address: self.slot.address,
            since: self.since,
        };
        let account = entry.account().cloned();
        let connection = hub.connections().insert(entry);
        self.keys = Some(Keys { reader, connection });

        // Things that happened since it was admitted, when it could not be found here.
        if matches!(*hub.store().health().borrow(), Health::Unreachable(_)) {
            subscriber.send(&Notice::Room(&outage::notice()));
        }
        if hub.is_draining() {
            subscriber.close(Closing::Drain(hub.reconnect_after()));
        }
        let access = AccessRequest::new(account.as_ref(), self.slot.address, self.room.name());
        if hub.moderation().rules().admit(&access).is_err() {
            subscriber.close(Closing::Code(CloseCode::NotAllowed));
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let hub = &self.slot.hub;
        if let Some(Keys { reader, connection }) = self.keys {
            self.room.remove_reader(reader);
            hub.connections().remove(connection);
        }
        if let Some(id) = &self.id {
            self.room.presence.lock().leave(id, hub.now());
            hub.0.dirty_presence.mark(&self.room);
        }
    }
}

impl ConnectionSlot {
    fn new(hub: &Hub, address: IpAddr) -> Result<Self, Refusal> {
        hub.connections().count_in(address)?;
        Ok(Self {
            hub: hub.clone(),
            address,
            room: None,
        })
    }

    /// Takes one of the places in `room` too.
    fn enter(&mut self, room: &Arc<Room>) -> Result<(), Refusal> {
        if !room.enter(self.hub.0.max_room_members) {
            return Err(Refusal::RoomFull);
        }
        self.room = Some(room.clone());
        Ok(())
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            room.leave();
        }
        self.hub.connections().count_out(self.address);
    }
}
