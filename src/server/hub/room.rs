//! A room in memory: its newest frames, its readers and its members. The ring of frames, the readers and the members
//! each have their own lock. Counters decide when a fan-out pass is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::protocol::Epoch;
use crate::protocol::Offset;
use crate::protocol::Push;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::hub::fanout::WRITES_PER_TURN;
use crate::server::hub::readers::Readers;
use crate::server::hub::{Notice, Subscriber};
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::room::{
    DeliveryCounters, FanoutBatch, Frame, Log, LogLimits, Presence, PresentMember, RemotePresence,
};
use crate::server::store::Bounds;

/// The number of consecutive times a pass may be delayed until the next publish is finished, which takes some
/// commits.
const MAX_PUT_OFF: u8 = 16;

/// The statistics of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomStats {
    /// The number of ids that are present.
    pub members: usize,
    /// The number of open connections, including readers that are not members.
    pub connections: usize,
    /// The newest offset.
    pub head: Offset,
    /// The number of entries in memory, and their size in bytes.
    pub ring: (usize, usize),
}

/// A room in memory. See the [module docs](self).
pub struct Room {
    name: RoomName,
    epoch: Epoch,
    /// True if its offsets have no holes.
    pub(super) is_dense: bool,
    pub(super) log: Mutex<Log>,
    /// The number of deletions applied to the log. It grows under the lock of the log, before readers are notified.
    pub(super) erasures: AtomicU64,
    /// The memory of the room itself; frames have their own reservations.
    _reservation: MemoryReservation,
    readers: Mutex<Readers>,
    /// The number of admitted connections.
    occupants: AtomicUsize,
    pub(super) presence: Mutex<Presence>,
    /// The members on other nodes, if any. Lock order: `presence` first.
    pub(super) neighbours: Mutex<Option<Box<RemotePresence>>>,
    /// The time at which the members of other nodes were last requested.
    pub(super) presence_requested: Mutex<Option<Instant>>,
    /// A notification that is sent when a node has sent its members here, or has left.
    pub(super) presence_received: Notify,
    /// True while a fan-out pass is queued.
    pub(super) is_dirty: AtomicBool,
    /// The time at which the pass was queued, in microseconds since the start of the fan-out.
    pub(super) dirty_since: AtomicU64,
    /// The counters of its deliveries.
    tally: Arc<DeliveryCounters>,
    /// True while a presence announcement is due.
    pub(super) is_presence_dirty: AtomicBool,
    /// The earliest time of the next announcement.
    pub(super) announce_after: Mutex<Option<Instant>>,
    /// The number of publishes that the store has not finished.
    publishes: AtomicU32,
    /// The number of consecutive times a pass was delayed.
    put_off: AtomicU8,
    /// The fan-out shard of the room.
    pub(super) shard: u16,
}

impl Room {
    pub(super) fn new(
        name: RoomName,
        bounds: Bounds,
        limits: LogLimits,
        shard: u16,
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
            presence_requested: Mutex::default(),
            presence_received: Notify::new(),
            is_dirty: AtomicBool::new(false),
            dirty_since: AtomicU64::new(0),
            tally,
            is_presence_dirty: AtomicBool::new(false),
            announce_after: Mutex::new(None),
            publishes: AtomicU32::new(0),
            put_off: AtomicU8::new(0),
            shard,
        }
    }

    /// Returns its name.
    pub const fn name(&self) -> &RoomName {
        &self.name
    }

    /// Returns the epoch of its log.
    pub const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Returns its newest offset.
    pub fn head(&self) -> Offset {
        self.log.lock().head()
    }

    /// Returns a reader of the current log.
    pub fn reel(&self) -> FanoutBatch<'_> {
        FanoutBatch::new(&self.log)
            .counted(&self.tally)
            .watching_redactions(&self.erasures)
    }

    /// Appends those of `frames` that are not in the log yet: a store with several nodes may send frames twice.
    pub(super) fn append<'a>(&self, frames: impl Iterator<Item = &'a Arc<Frame>>) {
        let mut log = self.log.lock();
        for frame in frames {
            if frame.offset() > log.head() {
                log.append(frame.clone());
            }
        }
    }

    /// Replaces the message at `offset` with a tombstone. `at` is the time of the deletion, in milliseconds since
    /// 1970 UTC. Returns true if readers must be notified.
    pub(super) fn erase(&self, offset: Offset, at: u64) -> bool {
        let mut log = self.log.lock();
        let is_news = log.redact(offset, at);
        self.erasures.store(log.redactions(), Ordering::Release);
        is_news
    }

    /// Notifies every reader of a deletion.
    pub(super) async fn notify_deleted(&self, offset: Offset, at: u64) {
        self.notify(&Notice::Log(&Push::Deleted { offset, at }))
            .await;
    }

    /// Sends `notice` to every reader. In a large room this takes a while.
    pub(super) async fn notify(&self, notice: &Notice<'_>) {
        for (number, reader) in self.readers().iter().enumerate() {
            if number % WRITES_PER_TURN == WRITES_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
            reader.send(notice);
        }
    }

    /// Returns the recent deletions up to the offset `seen`, for a reader that resumes and may have read those
    /// messages.
    pub fn deleted(&self, seen: Offset) -> Vec<Push> {
        let erased = self.log.lock().redacted(seen);
        erased
            .into_iter()
            .map(|(offset, at)| Push::Deleted { offset, at })
            .collect()
    }

    /// Drops the oldest frames until the rest fits in `bytes`. Readers that lag behind are served from the store.
    pub(super) fn truncate(&self, bytes: usize) {
        self.log.lock().truncate(bytes);
    }

    /// Admits one more connection if there are fewer than `limit`. Returns true if it was admitted.
    pub(super) fn enter(&self, limit: usize) -> bool {
        let one_more = |occupants| (occupants < limit).then_some(occupants + 1);
        self.occupants
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }

    /// Records that an admitted connection leaves.
    pub(super) fn leave(&self) {
        self.occupants.fetch_sub(1, Ordering::Relaxed);
    }

    /// Records that a publish has been sent to the store.
    pub(super) fn publish_started(&self) {
        self.publishes.fetch_add(1, Ordering::AcqRel);
    }

    /// Records that the store has finished a publish. Returns true if a pass is due. While another publish is
    /// pending, the pass is delayed: it costs one write per reader, so one pass for both is cheaper. A pass is
    /// delayed at most [`MAX_PUT_OFF`] times in a row.
    pub(super) fn publish_finished(&self) -> bool {
        let is_last = self.publishes.fetch_sub(1, Ordering::AcqRel) == 1;
        let is_due = is_last || self.put_off.fetch_add(1, Ordering::AcqRel) >= MAX_PUT_OFF;
        if is_due {
            self.put_off.store(0, Ordering::Release);
        }
        is_due
    }

    /// Returns true if no frame is in memory.
    pub(super) fn holds_nothing(&self) -> bool {
        self.log.lock().usage().0 == 0
    }

    /// Returns true if a publish is pending in the store.
    pub(super) fn is_publishing(&self) -> bool {
        self.publishes.load(Ordering::Acquire) > 0
    }

    /// Returns its current readers.
    pub(super) fn readers(&self) -> Readers {
        self.readers.lock().clone()
    }

    /// Adds a reader and returns its key.
    pub(super) fn add_reader(&self, reader: Arc<dyn Subscriber>) -> usize {
        self.readers.lock().insert(reader)
    }

    /// Removes the reader with `key`.
    pub(super) fn remove_reader(&self, key: usize) {
        let removed = self.readers.lock().remove(key);
        // Dropping the reader closes its socket, which takes a moment, so this is not done under the lock.
        drop(removed);
    }

    /// Returns its current statistics.
    pub fn stats(&self) -> RoomStats {
        let members = self.presence.lock().count();
        let connections = self.readers.lock().len();
        let log = self.log.lock();

        RoomStats {
            members,
            connections,
            head: log.head(),
            ring: log.usage(),
        }
    }

    /// Returns the number of its members, and their ids unless they are too many.
    pub fn members(&self) -> (usize, Option<Vec<UserId>>) {
        let mut presence = self.presence.lock();
        (presence.count(), presence.member_ids())
    }

    /// Returns the number of its members, and unless they are too many, each with its connections and the time of its
    /// arrival.
    pub fn present(&self) -> (usize, Option<Vec<PresentMember>>) {
        let presence = self.presence.lock();
        (presence.count(), presence.sorted_members())
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
