//! A room as the Hub holds it: its newest frames, who reads them, who is here.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::protocol::Epoch;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::hub::readers::Readers;
use crate::server::hub::{Figures, Outlet};
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::room::{
    DeliveryCounters, FanoutBatch, Frame, Log, LogLimits, Presence, PresentMember, RemotePresence,
};
use crate::server::store::Bounds;

/// Answers of the store in a row that may be left to the next one: some commits' time.
const MAX_LEFT: u8 = 16;

/// See the [module docs](self).
pub struct Room {
    name: RoomName,
    epoch: Epoch,
    /// Whether its offsets leave no number out.
    pub(super) is_dense: bool,
    pub(super) log: Mutex<Log>,
    /// The number of erased frames of the log; grows under its lock, before readers are notified.
    pub(super) erasures: AtomicU64,
    /// The room itself; its frames are counted by themselves.
    _reservation: MemoryReservation,
    readers: Mutex<Readers>,
    /// Connections that were let in.
    occupants: AtomicUsize,
    pub(super) presence: Mutex<Presence>,
    /// Who of them is on another node, if there are any. Where both are locked, `presence` is first.
    pub(super) neighbours: Mutex<Option<Box<RemotePresence>>>,
    /// When the other nodes were last asked for their members here.
    pub(super) nodes_asked: Mutex<Option<Instant>>,
    /// Notified when a node has sent its members here, or is gone.
    pub(super) nodes_heard: Notify,
    /// Set when something was appended that no fan-out pass has taken up.
    pub(super) dirty: AtomicBool,
    /// When that was, in microseconds since the Hub began.
    pub(super) due_since: AtomicU64,
    /// Where its deliveries are counted.
    tally: Arc<DeliveryCounters>,
    /// Set when somebody came or went and an announcement is due.
    pub(super) restless: AtomicBool,
    /// The earliest time of the next announcement.
    pub(super) announce_after: Mutex<Option<Instant>>,
    /// Publishes that the store has not answered yet.
    underway: AtomicU32,
    /// Answers in a row that no pass was begun for, because another was on its way.
    left: AtomicU8,
    /// Which lane fans it out: one at a time, so that its readers are never written to by two passes.
    pub(super) lane: u16,
}

impl Room {
    pub(super) fn new(
        name: RoomName,
        bounds: Bounds,
        limits: LogLimits,
        lane: u16,
        tally: Arc<DeliveryCounters>,
    ) -> Self {
        let bytes = size_of::<Self>() + 2 * name.as_str().len();
        Self {
            name,
            epoch: bounds.epoch,
            is_dense: bounds.is_dense,
            log: Mutex::new(Log::new(limits, bounds.head)),
            erasures: AtomicU64::new(0),
            _reservation: Memory::of_process().reserve(bytes),
            readers: Mutex::default(),
            occupants: AtomicUsize::new(0),
            presence: Mutex::default(),
            neighbours: Mutex::default(),
            nodes_asked: Mutex::default(),
            nodes_heard: Notify::new(),
            dirty: AtomicBool::new(false),
            due_since: AtomicU64::new(0),
            tally,
            restless: AtomicBool::new(false),
            announce_after: Mutex::new(None),
            underway: AtomicU32::new(0),
            left: AtomicU8::new(0),
            lane,
        }
    }

    /// Its name.
    pub const fn name(&self) -> &RoomName {
        &self.name
    }

    /// Which life of its log this is.
    pub const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Its newest offset.
    pub fn head(&self) -> Offset {
        self.log.lock().head()
    }

    /// Its log as it stands now, to be read from any place.
    pub fn reel(&self) -> FanoutBatch<'_> {
        FanoutBatch::new(&self.log)
            .counted(&self.tally)
            .watching_redactions(&self.erasures)
    }

    /// Appends those of `frames` that its log does not have yet: what a store has told, it also reports.
    pub(super) fn take<'a>(&self, frames: impl Iterator<Item = &'a Arc<Frame>>) {
        let mut log = self.log.lock();
        for frame in frames {
            if frame.offset() > log.head() {
                log.append(frame.clone());
            }
        }
    }

    /// Drops the oldest frames until they take no more than `bytes`. Readers that lag behind are served from the store.
    pub(super) fn shorten(&self, bytes: usize) {
        self.log.lock().truncate(bytes);
    }

    /// Lets one more connection in, if there are fewer than `limit`.
    pub(super) fn enter(&self, limit: usize) -> bool {
        let one_more = |occupants| (occupants < limit).then_some(occupants + 1);
        self.occupants
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }

    /// One that was let in leaves.
    pub(super) fn leave(&self) {
        self.occupants.fetch_sub(1, Ordering::Relaxed);
    }

    /// A publish goes to the store.
    pub(super) fn asked(&self) {
        self.underway.fetch_add(1, Ordering::AcqRel);
    }

    /// The store has answered one. Whether a pass is due: not while the next answer is on its way, which will do
    /// for both, as a pass costs a write for each reader whatever it holds. Never left out for long.
    pub(super) fn answered(&self) -> bool {
        let is_last = self.underway.fetch_sub(1, Ordering::AcqRel) == 1;
        let is_due = is_last || self.left.fetch_add(1, Ordering::AcqRel) >= MAX_LEFT;
        if is_due {
            self.left.store(0, Ordering::Release);
        }
        is_due
    }

    /// Returns whether no frame is in memory.
    pub(super) fn holds_nothing(&self) -> bool {
        self.log.lock().holds().0 == 0
    }

    /// Who reads it now.
    pub(super) fn readers(&self) -> Readers {
        self.readers.lock().clone()
    }

    /// From now on `outlet` reads it; gives its key.
    pub(super) fn add_reader(&self, outlet: Arc<dyn Outlet>) -> usize {
        self.readers.lock().insert(outlet)
    }

    /// The reader with `key` reads no more.
    pub(super) fn remove_reader(&self, key: usize) {
        let removed = self.readers.lock().remove(key);
        // With its socket, which takes a moment: not under the lock.
        drop(removed);
    }

    /// It in figures.
    pub fn figures(&self) -> Figures {
        let members = self.presence.lock().count();
        let connections = self.readers.lock().len();
        let log = self.log.lock();
        Figures {
            members,
            connections,
            head: log.head(),
            ring: log.holds(),
        }
    }

    /// How many members it has, and who they are unless they are too many to name.
    pub fn members(&self) -> (usize, Option<Vec<UserId>>) {
        let mut presence = self.presence.lock();
        (presence.count(), presence.member_ids())
    }

    /// The same, each with its connections and since when it is here.
    pub fn present(&self) -> (usize, Option<Vec<PresentMember>>) {
        let presence = self.presence.lock();
        (presence.count(), presence.present())
    }
}

/// A room in a set, found by its name: a map would hold each name twice.
pub(super) struct Named(pub(super) Arc<Room>);

impl Borrow<RoomName> for Named {
    fn borrow(&self) -> &RoomName {
        &self.0.name
    }
}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Named {}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
