//! The log of all rooms. A store assigns each message its offset, remembers the keys of recent messages for
//! deduplication, and returns messages that the ring has dropped.
//!
//! # Invariants
//!
//! - Offsets are positions in one sequence of all rooms. An offset is never assigned twice in an epoch.
//! - A message is reported as stored only after it is stored with the durability that the store promises.
//! - A store never calls into the hub. Results are return values, and changes are one stream ([`Store::changes`],
//!   [`LogChange`]).

mod changes;
mod clock;
mod cluster;
mod health;
mod hook;
mod lease;
mod lifecycle;
mod matching;
mod page;
mod room_limits;
mod trimmed_run;
pub mod panic_guard;
mod memory_room;
mod memory;
mod sqlite;
mod nats;
mod backend;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use tokio::sync::watch;

use crate::protocol::{Epoch, Offset, RoomName, RoomPattern, RoomSelector};
use crate::server::room::{DedupLimits, Draft, Frame};

pub use backend::{Backend, OpenStoreError, StoreSettings};
pub use changes::{Call, Changes, DeferredResult, LogChange, StoreFuture};
pub use clock::now_millis;
pub use cluster::{Bus, BusEvent, ClusterBackend, RuleEvent, RuleStore};
pub use health::{Damage, Health};
pub use hook::{HookState, HookStatus};
pub use lease::Lease;
pub use lifecycle::{
    AppendConditions, AppendOutcome, AppendRefusal, AppendResult, CreateOutcome, CreateResult,
    Lifecycle, NewRoom, ProducerPosition, RoomChange, RoomSettings,
};
pub use matching::{MatchingPage, MatchingRange, RoomFilter, StoredRoom};
pub use memory::{MemorySettings, MemoryStore};
pub use nats::{NatsError, NatsLogin, NatsServers, NatsSettings, NatsStore};
pub use page::{Limit, PAGE_BYTES, Page, Span};
pub use sqlite::{
    BackupError, BackupReport, Durability, ExportError, Exported, ImportError, ImportLine,
    Imported, OpenError, Restored, SqliteSettings, SqliteStore, backup, export, import, restore,
};

/// The retention limits of each room. The oldest entries are removed first.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Entries, at least 1.
    pub messages: usize,
    /// Bytes of all entries together, as the store counts them; the newest is kept even if it alone is larger.
    pub bytes: usize,
    /// The age, by a clock that counts elapsed time: setting the date does not make an entry older.
    pub age: Duration,
    /// The limits of the remembered keys.
    pub keys: DedupLimits,
}

#[cfg(test)]
impl Retention {
    /// Returns limits for tests that reach no other limit than the number of messages.
    pub(in crate::server) fn of_test(messages: usize) -> Self {
        let age = Duration::from_secs(1 << 40);
        Self {
            messages,
            bytes: usize::MAX,
            age,
            keys: DedupLimits {
                messages: messages as u64,
                age,
            },
        }
    }
}

/// The bounds of a room's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The epoch of the log.
    pub epoch: Epoch,
    /// The oldest offset kept; 0 if nothing is kept.
    pub first: Offset,
    /// The newest offset; 0 if nothing was ever stored. If an earlier room of the same name may have had messages, the
    /// room begins after their offsets.
    pub head: Offset,
    /// The last offset that is no longer kept.
    pub gone: Offset,
    /// The newest offset of all rooms, at least `head`. A client may resume from any offset up to it.
    pub newest: Offset,
    /// True if the store has, or had, messages of the room, or the room was created.
    pub is_known: bool,
}

impl Bounds {
    /// Adds a room with messages to the bounds of several rooms.
    fn include(&mut self, first: Offset, head: Offset, gone: Offset) {
        if first > Offset(0) && (self.first == Offset(0) || first < self.first) {
            self.first = first;
        }
        self.head = self.head.max(head);
        self.gone = self.gone.max(gone);
        self.is_known = true;
    }
}

/// The result of storing a draft.
#[derive(Clone, Debug)]
pub enum Stored {
    /// A new message, the newest entry of the log.
    New(Arc<Frame>),
    /// A message with the same sender and key was stored before.
    Duplicate {
        /// The offset of that message.
        offset: Offset,
        /// The time of that message, in milliseconds since 1970 UTC.
        at: u64,
    },
    /// A new message that another node removed, with its room or by a limit, before this node received it.
    Removed {
        /// The offset of the message.
        offset: Offset,
        /// The time of the message, in milliseconds since 1970 UTC.
        at: u64,
    },
}

/// The result of deleting an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The message was deleted by this call, and a tombstone is in its place.
    Now,
    /// The message was deleted earlier.
    Before,
    /// No entry exists at that offset, or it is no longer kept.
    NotKept,
}

/// The reason why a call of a store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The call may succeed later.
    #[error("the store cannot take this now: {0}")]
    Unavailable(String),
    /// The room does not exist, and no more may be created.
    #[error(
        "the store has {limit} rooms, the limit (--max-rooms), and a new one takes the place of one whose messages have all expired (--history-age) and that has had none for 10 minutes"
    )]
    TooManyRooms {
        /// The limit.
        limit: usize,
    },
    /// The store in memory has as many streams as rooms are allowed.
    #[error(
        "the server keeps {limit} streams in memory, the limit (--max-rooms); delete one, or create them with a TTL"
    )]
    TooManyStreams {
        /// The limit.
        limit: usize,
    },
    /// The room accepts no more messages.
    #[error("the room is closed: it accepts no more messages")]
    RoomClosed,
    /// Another node has stored a state of the hook since this node has loaded it.
    #[error("another node has moved the hook")]
    HookMoved,
}

/// A copy of a store's database. The file has no name, and is removed with the handle.
#[derive(Debug)]
pub struct DatabaseCopy {
    /// The copy, positioned at its start.
    pub file: std::fs::File,
    /// The size of the copy.
    pub bytes: u64,
}

/// The log of all rooms. See the [module docs](self).
pub trait Store: fmt::Debug + Send + Sync {
    /// Loads the current bounds of `room`. Until the room is released, it can be appended to and its changes are
    /// sent.
    ///
    /// # Errors
    /// If the store cannot be reached.
    fn open(&self, _room: &RoomName) -> StoreFuture<()> {
        ready(Ok(())).boxed()
    }

    /// Waits until the bounds of open rooms include everything up to `offset` that other nodes have appended. A
    /// client that comes from another node may have seen that offset there.
    ///
    /// # Errors
    /// If the store cannot be reached.
    fn reach(&self, _offset: Offset) -> StoreFuture<()> {
        ready(Ok(())).boxed()
    }

    /// Returns the changes of all open rooms from now on, including the results of this node's calls. The caller must
    /// deliver each result. Each store has one caller.
    fn changes(&self) -> Changes;

    /// Returns the current bounds of `room`, which must be open. Creates the room if it does not exist.
    ///
    /// # Errors
    /// If the store cannot be reached.
    fn bounds(&self, room: &RoomName) -> Result<Bounds, StoreError>;

    /// Stores `drafts` in order, without other messages between them. `at` is the time at which they were received,
    /// in milliseconds since 1970 UTC. The append starts immediately and continues if the future is dropped.
    ///
    /// # Errors
    /// If a draft could not be stored.
    fn append(&self, room: &RoomName, drafts: Vec<Draft>, at: u64) -> StoreFuture<Vec<Stored>>;

    /// Stores all of `drafts` or none, otherwise like [`Store::append`]. A store without transactions stops at the
    /// first failure, and the error contains the number of messages stored.
    ///
    /// # Errors
    /// If a draft could not be stored.
    fn append_batch(
        &self,
        room: &RoomName,
        drafts: Vec<Draft>,
        at: u64,
    ) -> StoreFuture<Vec<Stored>> {
        self.append(room, drafts, at)
    }

    /// Deletes the message at `offset` of `room`, after earlier appends. `at` is the current time, in milliseconds
    /// since 1970 UTC. A tombstone keeps the offset, sender and key, so that readers see no gap and a repeated
    /// publish is still recognized. The payload is removed from all files of the store, immediately or shortly
    /// afterwards. The deletion continues if the future is dropped.
    ///
    /// # Errors
    /// If the store cannot delete now.
    fn delete(&self, room: &RoomName, offset: Offset, at: u64) -> StoreFuture<Deleted>;

    /// Returns the lifecycle of `room`; `None` if the room does not exist or has expired.
    ///
    /// # Errors
    /// If the store cannot be reached.
    fn lifecycle(&self, room: &RoomName) -> Result<Option<Lifecycle>, StoreError>;

    /// Creates `room`, or compares it with the existing one. `at` is the current time, in milliseconds since 1970 UTC.
    ///
    /// # Errors
    /// If the store cannot create rooms now.
    fn create_room(&self, room: &RoomName, new: NewRoom, at: u64) -> StoreFuture<CreateResult>;

    /// Stores `drafts` consecutively in `room`, which must exist, if `conditions` are met. The conditions are checked and
    /// the messages are stored in one transaction. A store without transactions completes an append that was stored in
    /// part when its producer repeats it.
    ///
    /// # Errors
    /// If the store cannot store the messages now.
    fn append_if(
        &self,
        room: &RoomName,
        drafts: Vec<Draft>,
        conditions: AppendConditions,
        at: u64,
    ) -> StoreFuture<AppendResult>;

    /// Deletes `room` with all its messages. Returns false if the room does not exist. The payloads are removed from all
    /// files of the store, immediately or shortly afterwards.
    ///
    /// # Errors
    /// If the store cannot delete rooms now.
    fn delete_room(&self, room: &RoomName) -> StoreFuture<bool>;

    /// Changes the life of `room`, and returns it; `None` if the room does not exist.
    ///
    /// # Errors
    /// If the store cannot change rooms now.
    fn change_room(&self, room: &RoomName, change: RoomChange) -> StoreFuture<Option<Lifecycle>>;

    /// Returns the time at which `room` expires if it is not used until then, in milliseconds since 1970 UTC; `None` if it
    /// does not expire.
    ///
    /// # Errors
    /// If the store cannot be reached.
    fn expires_at(&self, room: &RoomName) -> Result<Option<u64>, StoreError>;

    /// Records a read of `room`, which delays its expiry if it has a time to live.
    fn touch(&self, room: &RoomName);

    /// Deletes the rooms that have expired, unless the store does so itself. Call this at intervals.
    fn expire_rooms(&self) {}

    /// Waits until every append and deletion that has started is finished and its result is delivered.
    fn flush(&self) -> BoxFuture<'static, ()>;

    /// Waits until the hub has applied every change that bounds and pages of the store already include.
    fn wait_until_applied(&self) -> BoxFuture<'static, ()> {
        self.flush()
    }

    /// Returns entries of `room`, as many as `limit` allows.
    ///
    /// # Errors
    /// If the store cannot be read now.
    fn read(&self, room: &RoomName, span: Span, limit: Limit) -> StoreFuture<Page>;

    /// Makes the changes complete for `pattern`: from the returned offset on, they contain every message of every room
    /// that matches, also of rooms that are not open or that begin later. Older messages are in
    /// [`Store::read_matching`]. Each call needs one of [`Store::unwatch`].
    fn watch(&self, pattern: &RoomPattern) -> Offset;

    /// Ends one [`Store::watch`] of `pattern`.
    fn unwatch(&self, _pattern: &RoomPattern) {}

    /// Reads the oldest messages in `range` of all rooms that one of `rooms` matches, as many as `limit` allows.
    ///
    /// # Errors
    /// If the store cannot be read now.
    fn read_matching(
        &self,
        rooms: &[RoomSelector],
        range: MatchingRange,
        limit: Limit,
    ) -> StoreFuture<MatchingPage>;

    /// Returns the number of kept messages after `after` of all rooms that one of `rooms` matches; `None` if the store does
    /// not know it.
    ///
    /// # Errors
    /// If the store cannot be read now.
    fn count_matching(&self, _rooms: &[RoomSelector], _after: Offset) -> StoreFuture<Option<u64>> {
        ready(Ok(None)).boxed()
    }

    /// Returns the bounds of all rooms together that `pattern` matches. `gone` is the newest offset that may belong to
    /// a message that is no longer kept; other rooms may have older messages.
    ///
    /// # Errors
    /// If the store cannot be read now.
    fn matching_bounds(&self, pattern: &RoomPattern) -> StoreFuture<Bounds>;

    /// Returns the rooms that have or had messages, match `pattern`, follow `after` and are selected by `filter`, by
    /// name, at most `limit`.
    ///
    /// # Errors
    /// If the store cannot be read now.
    fn list_rooms(
        &self,
        pattern: &RoomPattern,
        after: Option<&RoomName>,
        limit: usize,
        filter: RoomFilter,
    ) -> StoreFuture<Vec<StoredRoom>>;

    /// Returns the epoch of the log.
    fn epoch(&self) -> Epoch;

    /// Returns true if all messages of a room can be read for a search: they are on this machine.
    fn is_searchable(&self) -> bool {
        true
    }

    /// Returns the number of messages of `room` up to `offset`, including those that are no longer kept; `None` if the
    /// store does not know it. The difference of two numbers is the number of messages between two offsets.
    ///
    /// # Errors
    /// If the store cannot be read now.
    fn count(&self, _room: &RoomName, _offset: Offset) -> StoreFuture<Option<u64>> {
        ready(Ok(None)).boxed()
    }

    /// Returns the stored state of the hook `name`; `None` if it was never stored.
    ///
    /// # Errors
    /// If the store cannot be read now.
    fn load_hook(&self, name: &str) -> StoreFuture<Option<HookState>>;

    /// Stores the state of the hook `name`, as durably as messages.
    ///
    /// # Errors
    /// If the store cannot be written to now, and [`StoreError::HookMoved`].
    fn save_hook(&self, name: &str, state: HookState) -> StoreFuture<()>;

    /// Returns true if another node has stored a state of the hook `name` since this node has loaded or stored it.
    ///
    /// # Errors
    /// If the store cannot be reached.
    fn has_hook_moved(&self, _name: &str) -> StoreFuture<bool> {
        ready(Ok(false)).boxed()
    }

    /// Returns true if several nodes may share the store, so that one of them needs a [`Lease`] for what only one may do.
    fn has_leases(&self) -> bool {
        false
    }

    /// Takes the lease `name`, or renews it. Returns true if this node has the lease for the next seconds.
    ///
    /// # Errors
    /// If the store cannot be reached.
    fn hold_lease(&self, _name: &str) -> StoreFuture<bool> {
        ready(Ok(true)).boxed()
    }

    /// Gives up the lease `name`, if this node has it.
    ///
    /// # Errors
    /// If the store cannot be reached.
    fn release_lease(&self, _name: &str) -> StoreFuture<()> {
        ready(Ok(())).boxed()
    }

    /// Frees memory when the budget is exceeded: caches are dropped, and a store in memory keeps about `bytes`.
    fn reclaim(&self, _bytes: usize) {}

    /// Closes `room`, which has no readers. Data that does not outlast the process may be dropped.
    fn release(&self, room: &RoomName);

    /// Returns a receiver of the store's health.
    fn health(&self) -> watch::Receiver<Health>;

    /// Returns the unreadable messages found so far, if any.
    fn damage(&self) -> Option<Damage> {
        None
    }

    /// Copies the current state of the database; `None` if the store has no database file.
    fn backup(&self) -> Option<StoreFuture<DatabaseCopy>> {
        None
    }

    /// Finishes pending appends and closes the files. Blocks. Nothing may be appended afterwards.
    fn close(&self);
}

#[cfg(test)]
mod tests;
