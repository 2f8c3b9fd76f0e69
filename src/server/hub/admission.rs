//! The admission of connections, and the guards that return each slot exactly once. An [`Admission`] holds a slot
//! before the connection exists; a [`Membership`] holds it until the connection ends. Dropping either returns the
//! slot.

use std::net::IpAddr;
use std::sync::Arc;

use crate::protocol::{CloseCode, Offset, RoomName, UserId};
use crate::server::hub::connections::unreachable_notice;
use crate::server::hub::{
    Closing, ConnectionEntry, Hub, Resume, Room, StartPosition, Subscriber, now_millis,
};
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::moderation::AccessRequest;
use crate::server::store::Health;

/// The bytes of an idle connection: its task, its state, and its entries in tables.
const CONNECTION_BYTES: usize = 4096;

/// The reason why a connection or a room was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The limit `--max-connections` is reached.
    #[error("the server has as many connections as it allows (--max-connections)")]
    TooManyConnections,
    /// The limit `--max-connections-per-ip` is reached.
    #[error("this address has as many connections as one may have (--max-connections-per-ip)")]
    TooManyFromAddress,
    /// The limit `--max-rooms` is reached, and no room is empty.
    #[error("the server has as many rooms as it allows (--max-rooms), each with somebody in it")]
    TooManyRooms,
    /// The limit `--max-room-members` is reached.
    #[error("this room has as many connections as one may have (--max-room-members)")]
    RoomFull,
    /// The limit `--memory-budget` is exceeded, or was until a moment ago.
    #[error("the server holds as many bytes for its clients as it allows (--memory-budget)")]
    MemoryFull,
    /// The server is stopping.
    #[error("the server is stopping")]
    Draining,
    /// The store cannot be read.
    #[error("the store cannot be read now")]
    StoreUnavailable,
}

/// A slot that is reserved before the connection exists. Dropping it returns the slot.
#[derive(Debug)]
pub struct Admission {
    room: RoomSlot,
    slot: ConnectionSlot,
    start: StartPosition,
    head: Offset,
    first: Offset,
}

/// One of the connections that the server allows.
#[derive(Debug)]
struct ConnectionSlot {
    hub: Hub,
    address: IpAddr,
}

/// One of the connections that a room allows.
#[derive(Debug)]
struct RoomSlot(Arc<Room>);

/// The membership of one connection in its room. Dropping it is the only way to leave, so a connection leaves exactly
/// once.
#[derive(Debug)]
pub struct Membership {
    room: RoomSlot,
    slot: ConnectionSlot,
    /// The id under which the connection is present; `None` for a reader that is not a member.
    id: Option<UserId>,
    /// The id that the token proves, also for a reader that is not a member.
    proven: Option<UserId>,
    number: u64,
    /// The time at which the connection joined, in milliseconds since 1970 UTC.
    since: u64,
    /// The keys of the subscriber, once it is registered.
    keys: Option<SubscriberKeys>,
    /// The memory of the connection and of its entry in the room's presence.
    _reservation: MemoryReservation,
}

/// The keys of a registered subscriber.
#[derive(Clone, Copy, Debug)]
struct SubscriberKeys {
    reader: usize,
    connection: usize,
}

impl Admission {
    /// Reserves a slot for a connection from `address` to the room `name`: see [`Hub::admit`].
    pub(super) async fn new(
        hub: &Hub,
        address: IpAddr,
        name: &RoomName,
        resume: Option<&Resume>,
    ) -> Result<Self, Refusal> {
        if hub.is_draining() {
            return Err(Refusal::Draining);
        }
        if Memory::of_process().is_short() {
            return Err(Refusal::MemoryFull);
        }
        let slot = ConnectionSlot::new(hub, address)?;
        let room = hub.room(name).await?;
        let room = RoomSlot::new(room, hub.0.max_room_members)?;

        let store = hub.store();
        let unavailable = |_| Refusal::StoreUnavailable;
        let mut bounds = store.bounds(name).map_err(unavailable)?;
        if let Some(resume) = resume
            && resume.after > bounds.newest
        {
            // The client may come from a node that has read more of the log.
            store.reach(resume.after).await.map_err(unavailable)?;
            bounds = store.bounds(name).map_err(unavailable)?;
        }

        Ok(Self {
            room,
            slot,
            start: StartPosition::counted(store, name, &bounds, resume)
                .await
                .map_err(unavailable)?,
            head: bounds.head,
            first: bounds.first,
        })
    }

    /// Makes the connection a member. With an `id` the client is present from now on; without one it only reads.
    /// `proven` is the id that its token proves; bans and kicks apply to it in either case.
    pub fn join(self, id: Option<UserId>, proven: Option<UserId>) -> Membership {
        let Self { slot, room, .. } = self;
        let since = now_millis();
        if let Some(id) = &id {
            room.0.presence.lock().join(id, since);
            slot.hub.0.dirty_presence.mark(&room.0);
        }

        let id_bytes = id.as_ref().map_or(0, |id| 2 * id.as_str().len());
        Membership {
            number: slot.hub.connections().next_number(),
            room,
            slot,
            id,
            proven,
            since,
            keys: None,
            _reservation: Memory::of_process().reserve(CONNECTION_BYTES + id_bytes),
        }
    }

    /// Returns the room.
    pub const fn room(&self) -> &Arc<Room> {
        &self.room.0
    }

    /// Returns the hub.
    pub const fn hub(&self) -> &Hub {
        &self.slot.hub
    }

    /// Returns the position at which the member begins to read, as of its admission. The member gets all later
    /// messages: the client may consider itself in the room as soon as the handshake is answered, before the
    /// connection is registered here.
    pub const fn start(&self) -> &StartPosition {
        &self.start
    }

    /// Returns the newest offset at the time of admission.
    pub const fn head(&self) -> Offset {
        self.head
    }

    /// Returns the oldest offset kept at the time of admission; 0 if there was none.
    pub const fn first(&self) -> Offset {
        self.first
    }
}

impl Membership {
    /// Returns the id under which the connection is present, if any.
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

    /// Returns the user id that the client's token proves.
    pub const fn proven(&self) -> Option<&UserId> {
        self.proven.as_ref()
    }

    /// Returns the time at which the connection joined, in milliseconds since 1970 UTC.
    pub const fn since(&self) -> u64 {
        self.since
    }

    /// Registers `subscriber` as the reader of this member.
    pub fn register(&mut self, subscriber: Arc<dyn Subscriber>) {
        let hub = &self.slot.hub;
        let room = &self.room.0;
        let reader = room.add_reader(subscriber.clone());
        let entry = ConnectionEntry {
            subscriber: subscriber.clone(),
            room: room.clone(),
            number: self.number,
            id: self.id.clone(),
            proven: self.proven.clone(),
            address: self.slot.address,
            since: self.since,
        };
        let account = entry.account().cloned();
        let connection = hub.connections().insert(entry);
        self.keys = Some(SubscriberKeys { reader, connection });

        // Between admission and registration, notifications could not reach this connection; handle missed ones now.
        if matches!(*hub.store().health().borrow(), Health::Unreachable(_)) {
            subscriber.send(&unreachable_notice());
        }
        if hub.is_draining() {
            subscriber.close(Closing::Drain(hub.reconnect_after()));
        }
        let access = AccessRequest::new(account.as_ref(), self.slot.address, room.name());
        if hub.moderation().rules().admit(&access).is_err() {
            subscriber.close(Closing::Code(CloseCode::NotAllowed));
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let hub = &self.slot.hub;
        if let Some(SubscriberKeys { reader, connection }) = self.keys {
            self.room.0.remove_reader(reader);
            hub.connections().remove(connection);
        }
        if let Some(id) = &self.id {
            self.room.0.presence.lock().leave(id, hub.now());
            hub.0.dirty_presence.mark(&self.room.0);
        }
    }
}

impl ConnectionSlot {
    fn new(hub: &Hub, address: IpAddr) -> Result<Self, Refusal> {
        hub.connections().count_in(address)?;
        Ok(Self {
            hub: hub.clone(),
            address,
        })
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.hub.connections().count_out(self.address);
    }
}

impl RoomSlot {
    fn new(room: Arc<Room>, limit: usize) -> Result<Self, Refusal> {
        if room.enter(limit) {
            Ok(Self(room))
        } else {
            Err(Refusal::RoomFull)
        }
    }
}

impl Drop for RoomSlot {
    fn drop(&mut self) {
        self.0.leave();
    }
}
