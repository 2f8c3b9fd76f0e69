//! The registry of the rooms in memory.
//!
//! The first reference to a room besides the registry's is obtained only under the lock of the registry. So a reference
//! count of one means that the room has no readers and is not being opened.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::protocol::{Offset, RoomName};
use crate::server::hub::{Feed, HubSettings, Listing, Refusal, Room};
use crate::server::room::{DeliveryCounters, LogLimits, Tick};
use crate::server::room_rules::RoomRuleTable;
use crate::server::store::Store;

/// The maximum number of attempts to open a room. One fails if the room is removed as unused before it is registered.
const MAX_OPENINGS: usize = 3;

/// The registry of rooms. See the [module docs](self).
#[derive(Debug)]
pub struct Rooms {
    store: Arc<dyn Store>,
    max: usize,
    limits: LogLimits,
    rules: Arc<RoomRuleTable>,
    /// The number of fan-out shards.
    shards: u16,
    delivered: Arc<DeliveryCounters>,
    /// The offset up to which the messages of all rooms are in their rings.
    applied: AtomicU64,
    /// A notification that is sent when messages were applied.
    has_applied: Notify,
    rooms: Mutex<HashSet<ByName>>,
}

impl Rooms {
    /// Creates an empty registry, whose limits and rules are in `settings`.
    pub(super) fn new(store: Arc<dyn Store>, settings: &HubSettings, shards: u16) -> Self {
        Self {
            store,
            max: settings.max_rooms,
            limits: settings.log,
            rules: settings.rules.clone(),
            shards,
            delivered: Arc::default(),
            applied: AtomicU64::new(0),
            has_applied: Notify::new(),
            rooms: Mutex::default(),
        }
    }

    /// Returns the room `name`, and true if it was loaded from the store now. If there are too many rooms, an unused
    /// one is removed.
    ///
    /// # Errors
    /// [`Refusal::TooManyRooms`] and [`Refusal::StoreUnavailable`].
    pub(super) async fn open(&self, name: &RoomName) -> Result<(Arc<Room>, bool), Refusal> {
        for _ in 0..MAX_OPENINGS {
            // Opened before the lock is taken, because this may take a moment.
            let opened = self.store.open(name).await;
            opened.map_err(|_| Refusal::StoreUnavailable)?;
            if let Some(opened) = self.get_or_insert(name)? {
                return Ok(opened);
            }
        }

        Err(Refusal::StoreUnavailable)
    }

    /// Returns the room `name`, which the store has opened, and true if it was not in memory; `None` if the store has
    /// released it since.
    ///
    /// # Errors
    /// [`Refusal::TooManyRooms`].
    fn get_or_insert(&self, name: &RoomName) -> Result<Option<(Arc<Room>, bool)>, Refusal> {
        let mut rooms = self.rooms.lock();
        if let Some(ByName(room)) = rooms.get(name) {
            return Ok(Some((room.clone(), false)));
        }
        let Ok(bounds) = self.store.bounds(name) else {
            return Ok(None);
        };

        if rooms.len() >= self.max {
            let unused = rooms
                .iter()
                .find(|ByName(room)| Arc::strong_count(room) == 1)
                .map(|ByName(room)| room.name().clone());
            let Some(unused) = unused else {
                self.store.release(name);
                return Err(Refusal::TooManyRooms);
            };
            rooms.remove(&unused);
            self.store.release(&unused);
        }

        let feed = self.new_feed(bounds.head);
        let lifecycle = self.store.lifecycle(name).unwrap_or_default();
        if lifecycle.is_some_and(|lifecycle| lifecycle.is_closed) {
            feed.close(name, bounds.head);
        }
        let rules = self.rules.of(name).clone();
        let room = Room::new(name.clone(), bounds, self.store.clone(), feed, rules);
        let room = Arc::new(room);
        rooms.insert(ByName(room.clone()));
        Ok(Some((room, true)))
    }

    /// Returns the rules for rooms.
    pub(super) const fn rules(&self) -> &Arc<RoomRuleTable> {
        &self.rules
    }

    /// Records a use of each room that has readers, if a rule deletes it when it is not used.
    pub(super) fn touch_read(&self) {
        for ByName(room) in self.rooms.lock().iter() {
            if room.rules().expires.is_some() && room.feed().readers().len() > 0 {
                self.store.touch(room.name());
            }
        }
    }

    /// Creates a feed whose first message will follow `head`.
    pub(super) fn new_feed(&self, head: Offset) -> Feed {
        let shard = fastrand::u16(..self.shards);
        Feed::new(self.limits, head, shard, self.delivered.clone())
    }

    /// Returns the room `name`, if it is in memory.
    pub(super) fn get(&self, name: &RoomName) -> Option<Arc<Room>> {
        self.rooms.lock().get(name).map(|ByName(room)| room.clone())
    }

    /// Returns all rooms in memory.
    pub(super) fn all(&self) -> Vec<Arc<Room>> {
        let rooms = self.rooms.lock();
        rooms.iter().map(|ByName(room)| room.clone()).collect()
    }

    /// Returns the selected rooms with names after `after`, at most `limit`, in the order of their names.
    pub fn list(
        &self,
        after: &str,
        limit: usize,
        is_selected: impl Fn(&RoomName) -> bool,
    ) -> Listing<Arc<Room>> {
        let mut rooms = self.all();
        rooms.retain(|room| room.name().as_str() > after && is_selected(room.name()));
        rooms.sort_unstable_by(|one, other| one.name().cmp(other.name()));

        rooms.truncate(limit + 1);
        Listing::new(rooms, limit)
    }

    /// Returns the selected rooms that have members, each with the number of its members.
    pub fn member_counts(
        &self,
        is_selected: impl Fn(&RoomName) -> bool,
    ) -> HashMap<RoomName, usize> {
        let mut rooms = self.all();
        rooms.retain(|room| is_selected(room.name()));

        let counts = rooms
            .into_iter()
            .map(|room| (room.name().clone(), room.stats().members));
        counts.filter(|(_, members)| *members > 0).collect()
    }

    /// Returns the offset up to which the messages of all rooms are in their rings. A reader of several rooms reads up to
    /// it, so that it gets their messages in the order of their offsets.
    pub fn applied(&self) -> Offset {
        Offset(self.applied.load(Ordering::Acquire))
    }

    /// Records that the store has messages up to `newest`, if no message was applied since the server started: there is
    /// nothing to apply up to there.
    pub(super) fn begin_at(&self, newest: Offset) {
        // If it is not 0, a position is already recorded, and messages move it on.
        let _ = self
            .applied
            .compare_exchange(0, newest.0, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Records that all messages up to `offset` are in their rings.
    pub(super) fn set_applied(&self, offset: Offset) {
        self.applied.fetch_max(offset.0, Ordering::AcqRel);
        self.has_applied.notify_waiters();
    }

    /// Returns a future that completes when messages are applied after this call.
    pub(super) fn next_applied(&self) -> Notified<'_> {
        self.has_applied.notified()
    }

    /// Returns the number of rooms in memory.
    pub fn count(&self) -> usize {
        self.rooms.lock().len()
    }

    /// Returns the number of messages delivered so far, counted once per reader, and their size in bytes.
    pub fn delivered(&self) -> (u64, u64) {
        self.delivered.read()
    }

    /// Returns the number of delivered signals and that of dropped ones, each counted once per reader.
    pub fn delivered_signals(&self) -> (u64, u64) {
        self.delivered.read_signals()
    }

    /// Drops the signals of all rooms that have waited too long for slow readers.
    pub(super) fn expire_signals(&self, now: Tick) {
        for ByName(room) in self.rooms.lock().iter() {
            room.feed().expire_signals(now);
        }
    }

    /// Removes unused rooms that the store does not have: they were only requested, or all their messages have
    /// expired.
    pub(super) fn remove_unknown(&self) {
        self.rooms.lock().retain(|ByName(room)| {
            let is_used = Arc::strong_count(room) > 1 || room.is_publishing();
            let is_needed = is_used || !room.is_unknown();
            if !is_needed {
                self.store.release(room.name());
            }
            is_needed
        });
    }
}

/// A room in a set, found by its name. A map would store each name twice.
#[derive(Debug)]
struct ByName(Arc<Room>);

impl Borrow<RoomName> for ByName {
    fn borrow(&self) -> &RoomName {
        self.0.name()
    }
}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name().hash(state);
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for ByName {}
