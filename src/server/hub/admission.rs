//! The admission of connections to the server and to rooms, and the guards that return each slot exactly once.
//!
//! An [`Admission`] reserves a slot for a connection, and becomes its [`Registration`]. A [`PendingSubscription`] reserves a slot in a
//! room, or opens the feed of a pattern, and becomes a [`Membership`]. Dropping any of them returns the slot.

use std::net::IpAddr;
use std::sync::Arc;

use crate::protocol::{Epoch, Offset, RoomName, RoomPattern, UnsubscribeCode, UserId};
use crate::server::hub::{
    ConnectionEntry, ConnectionInfo, Hub, HubState, Resume, Room, Source, StartPosition, Subscriber,
};
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::moderation::{AccessRequest, Denied};
use crate::server::store::{Bounds, now_millis};

/// The bytes of an idle connection: its task, its state, and its entry in the registry.
const CONNECTION_BYTES: usize = 4096;
/// The bytes of a membership: the subscription, and the entries in tables of the room.
const MEMBERSHIP_BYTES: usize = 256;

/// The reason why a connection or a room was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The limit `--max-connections` is reached.
    #[error("the server has as many connections as it allows (--max-connections)")]
    TooManyConnections,
    /// The limit `--max-connections-per-ip` is reached.
    #[error(
        "this address has as many connections as the server allows for one address (--max-connections-per-ip)"
    )]
    TooManyFromAddress,
    /// The limit `--max-rooms` is reached, and all rooms are in use.
    #[error("the server has as many rooms as it allows (--max-rooms), and all are in use")]
    TooManyRooms,
    /// As many patterns as rooms are allowed (`--max-rooms`) have readers.
    #[error(
        "the server has readers of as many patterns as it allows (--max-rooms); use one of these patterns, or the names of rooms"
    )]
    TooManyPatterns,
    /// The limit `--max-room-members` is reached.
    #[error(
        "this room has as many connections as the server allows for one room (--max-room-members)"
    )]
    RoomFull,
    /// The limit `--memory-budget` is exceeded, or was shortly before.
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
pub struct Admission(ConnectionSlot);

/// One of the connections that the server allows.
#[derive(Debug)]
struct ConnectionSlot {
    hub: Hub,
    address: IpAddr,
}

/// The registration of an open connection. Dropping it is the only way to leave the registry, so a connection is counted
/// exactly once.
#[derive(Debug)]
pub struct Registration {
    slot: ConnectionSlot,
    info: ConnectionInfo,
    /// The key of its entry in the registry.
    key: Option<usize>,
    reservation: MemoryReservation,
}

/// A subscription that is prepared but has not begun. A subscription to one room has a slot in it. Dropping it
/// returns the slot.
#[derive(Debug)]
pub struct PendingSubscription {
    place: Place,
    start: StartPosition,
    bounds: Bounds,
}

/// A reserved slot in a room, or a pattern, which has no limit. Dropping it returns the slot.
#[derive(Debug)]
struct Place(Source);

/// The place of one connection among the readers of a room or pattern, and among the members of the room. Dropping it ends
/// it, so a connection leaves exactly once.
#[derive(Debug)]
pub struct Membership {
    place: Place,
    hub: Hub,
    /// The id under which the connection is present; `None` for a reader that is not a member.
    id: Option<UserId>,
    /// True if the client leaves for good: see [`Membership::leave`].
    is_final: bool,
    /// The key of the reader in the feed.
    reader: usize,
    _reservation: MemoryReservation,
}

impl Admission {
    /// Reserves a slot for a connection from `address`: see [`Hub::admit`].
    pub(super) fn new(hub: &Hub, address: IpAddr) -> Result<Self, Refusal> {
        if hub.is_draining() {
            return Err(Refusal::Draining);
        }
        if Memory::of_process().is_short() {
            return Err(Refusal::MemoryFull);
        }
        Ok(Self(ConnectionSlot::new(hub, address)?))
    }

    /// Returns the hub.
    pub const fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// Opens the connection. With an `id` the client is present in its rooms; without one it only reads. `proven` is the
    /// id that its token proves; bans and kicks apply to it in either case.
    pub fn open(self, id: Option<UserId>, proven: Option<UserId>) -> Registration {
        Registration {
            info: ConnectionInfo::new(self.hub().connections().next_number(), id, proven),
            slot: self.0,
            key: None,
            reservation: Memory::of_process().reserve(CONNECTION_BYTES),
        }
    }
}

impl Registration {
    /// Returns the number, the user and the age of the connection.
    pub const fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Returns the client's address.
    pub const fn address(&self) -> IpAddr {
        self.slot.address
    }

    /// Returns the code and the message of the rule that keeps the client out of `room`, if there is one.
    pub fn denied(&self, room: &RoomName) -> Option<(UnsubscribeCode, String)> {
        let access = AccessRequest::new(self.info.account(), self.slot.address, room);
        let denied = self.slot.hub.moderation().rules().admit(&access).err()?;
        let code = match denied {
            Denied::Banned { .. } => UnsubscribeCode::Banned,
            Denied::Closed { .. } => UnsubscribeCode::RoomClosed,
        };
        Some((code, denied.to_string()))
    }

    /// Returns the rooms from which the client is banned by name.
    pub fn banned_rooms(&self) -> Vec<RoomName> {
        let rules = self.slot.hub.moderation().rules();
        rules.banned_rooms(self.info.account(), self.slot.address)
    }

    /// Counts the connection and `bytes` that it holds as memory of the process.
    pub fn count_memory(&self, bytes: usize) {
        self.reservation.set(CONNECTION_BYTES + bytes);
    }

    /// Adds `subscriber` to the registry. Call [`Hub::send_missed`] afterwards.
    pub fn register(&mut self, subscriber: Arc<dyn Subscriber>) {
        self.key = Some(self.slot.hub.connections().insert(ConnectionEntry {
            subscriber,
            info: self.info.clone(),
            address: self.slot.address,
        }));
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.slot.hub.connections().remove(key);
        }
    }
}

impl PendingSubscription {
    /// Reserves a slot in the room `name` unless `max_members` are in use: see [`Hub::enter`].
    pub(super) async fn new(
        hub: &Hub,
        name: &RoomName,
        resume: Option<&Resume>,
        max_members: usize,
    ) -> Result<Self, Refusal> {
        let room = hub.room(name).await?;
        let place = Place::in_room(room, max_members)?;

        let store = hub.store();
        let unavailable = |_| Refusal::StoreUnavailable;
        let mut bounds = store.bounds(name).map_err(unavailable)?;
        hub.rooms().begin_at(bounds.newest);
        if let Some(resume) = resume
            && resume.after > bounds.newest
        {
            // The client may come from a node that has read more of the log.
            store.reach(resume.after).await.map_err(unavailable)?;
            bounds = store.bounds(name).map_err(unavailable)?;
        }

        store.touch(name);
        let start = StartPosition::counted(store, name, &bounds, resume).await;
        Ok(Self {
            place,
            start: start.map_err(unavailable)?,
            bounds,
        })
    }

    /// Opens the feed of `pattern`: see [`Hub::enter_pattern`].
    pub(super) async fn of_pattern(
        hub: &Hub,
        pattern: &RoomPattern,
        resume: Option<&Resume>,
    ) -> Result<Self, Refusal> {
        let HubState {
            store,
            rooms,
            patterns,
            ..
        } = &*hub.0;
        let unavailable = |_| Refusal::StoreUnavailable;
        if let Some(resume) = resume {
            store.reach(resume.after).await.map_err(unavailable)?;
        }
        let bounds = store.matching_bounds(pattern).await.map_err(unavailable)?;
        rooms.begin_at(bounds.newest);
        let feed = patterns.open(pattern, store, rooms)?;

        Ok(Self {
            start: StartPosition::in_pattern(&bounds, resume),
            place: Place(Source::Pattern(feed)),
            bounds,
        })
    }

    /// Returns the room or the pattern.
    pub const fn source(&self) -> &Source {
        &self.place.0
    }

    /// Returns true if the reader begins after the last message of a closed room.
    pub fn is_at_end(&self) -> bool {
        let is_closed = self.source().room().is_some_and(|room| room.is_closed());
        is_closed && self.start.cursor >= self.bounds.head
    }

    /// Returns the epoch of the log.
    pub const fn epoch(&self) -> &Epoch {
        &self.bounds.epoch
    }

    /// Returns the position at which the reader begins. The reader gets all later messages.
    pub const fn start(&self) -> &StartPosition {
        &self.start
    }

    /// Moves the start back to `offset` if it is later and the messages after `offset` are kept, for a reader of several
    /// rooms that begins at one position in all of them.
    pub(super) fn begin_at(&mut self, offset: Offset) {
        let earliest = offset.max(self.bounds.gone);
        self.start.cursor = self.start.cursor.min(earliest);
    }

    /// Returns the newest offset of the room, or of the matching rooms, at the time of entry.
    pub const fn head(&self) -> Offset {
        self.bounds.head
    }

    /// Returns the oldest offset kept at the time of entry; 0 if there was none.
    pub const fn first(&self) -> Offset {
        self.bounds.first
    }

    /// Returns the newest offset of the whole store at the time of entry.
    pub const fn newest(&self) -> Offset {
        self.bounds.newest
    }

    /// Makes the connection of `registration` a reader and, if the source is one room, a member. `subscriber` gets all
    /// messages and notices from now on.
    pub fn join(self, registration: &Registration, subscriber: Arc<dyn Subscriber>) -> Membership {
        let source = self.source();
        let hub = registration.slot.hub.clone();
        let reader = source.feed().add_reader(subscriber);
        let has_presence = source
            .room()
            .is_some_and(|room| room.rules().has_presence());
        let id = registration.info.id().cloned().filter(|_| has_presence);
        if let (Some(id), Some(room)) = (&id, source.room()) {
            room.presence.lock().join(id, now_millis());
            hub.0.dirty_presence.mark(room);
        }

        let id_bytes = id.as_ref().map_or(0, |id| 2 * id.as_str().len());
        Membership {
            place: self.place,
            hub,
            id,
            is_final: false,
            reader,
            _reservation: Memory::of_process().reserve(MEMBERSHIP_BYTES + id_bytes),
        }
    }
}

impl Membership {
    /// Ends the membership of a client that leaves for good. The others see it at once; a membership that is dropped is that
    /// of a client which may reconnect.
    pub fn leave(mut self) {
        self.is_final = true;
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let source = &self.place.0;
        source.feed().remove_reader(self.reader);
        if let (Some(id), Some(room)) = (&self.id, source.room()) {
            let now = self.hub.now();
            let mut presence = room.presence.lock();
            if self.is_final {
                presence.leave(id, now);
            } else {
                presence.disconnect(id, now);
            }
            drop(presence);

            self.hub.0.dirty_presence.mark(room);
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

impl Place {
    /// Reserves a slot in `room` unless `limit` are in use.
    fn in_room(room: Arc<Room>, limit: usize) -> Result<Self, Refusal> {
        if room.reserve_slot(limit) {
            Ok(Self(Source::Room(room)))
        } else {
            Err(Refusal::RoomFull)
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Source::Room(room) = &self.0 {
            room.release_slot();
        }
    }
}
