//! The default store: one SQLite file, one writer thread, group commit.
//!
//! # Invariants
//!
//! - One thread writes. It stores all waiting appends in one transaction, and only then sends all their results in
//!   one message. No client sees a message that a crash could undo, and no offset is assigned twice.
//! - Offsets are positions in one sequence of all rooms, in the order in which messages are committed. The messages
//!   of a room are also numbered without holes, so that missing ones are found and counted.
//! - The committed bounds of each room are also kept in memory, so reading them needs no disk access.
//! - Readers have their own connections (write-ahead log), so readers and the writer never wait for each other.
//! - A file keeps its epoch only if it provably holds everything that was acknowledged: see [`state_file`].
//! - After a failed fsync nothing is written any more. The kernel may have dropped the pages that it could not write,
//!   and a second fsync would not report that ("fsyncgate", PostgreSQL 2018).
//!
//! Deliberately absent: a cache of messages. The hub's rings serve as one.

mod fault;
mod open_error;
mod damage;
mod state_file;
mod state_records;
mod schema;
mod lock;
mod open_files;
mod connections;
mod inspection;
mod file;
mod room_row;
mod room_index;
mod lifecycle_row;
mod hook_row;
mod scan;
mod reader;
mod matching;
mod export;
mod backup;
mod import;
mod trimmed_runs;
mod retention;
mod damaged_rooms;
mod batch;
mod erase;
mod queue;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot, watch};
use tracing::error;

use crate::protocol::{Epoch, Offset, RoomName, RoomPattern, RoomSelector};
use crate::server::room::Draft;
use crate::server::room_rules::RoomRuleTable;
use crate::server::store::changes::{Changes, StoreFuture};
use crate::server::store::clock::{Clock, ClockLimits, SavedClock, now_millis};
use crate::server::store::room_limits::RoomLimitTable;
use crate::server::store::{
    AppendConditions, AppendResult, Bounds, CreateResult, Damage, DatabaseCopy, Deleted, Health,
    HookState, Lifecycle, Limit, MatchingPage, MatchingRange, NewRoom, Page, Retention, RoomChange,
    RoomFilter, Span, Store, StoreError, Stored, StoredRoom,
};

pub use backup::{BackupError, BackupReport, Restored, backup, restore};
pub use export::{ExportError, Exported, export};
pub use import::{ImportError, ImportLine, Imported, import};
pub use open_error::OpenError;

use file::File;
use hook_row::HookWrite;
use queue::{ConditionalDrafts, Deletion, PendingWrite, Queue, Write};
use reader::Readers;
use room_index::RoomIndex;
use room_row::RoomRow;
use writer::Writer;

/// The guarantee that an `ack` gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Survival of a killed process. The newest messages may be lost if the operating system crashes or the power
    /// fails.
    Process,
    /// Survival of a power failure, because messages are fsynced first, provided that the disk honors fsync.
    Disk,
}

/// The settings of a [`SqliteStore`].
#[derive(Clone, Debug)]
pub struct SqliteSettings {
    /// The path of the database file. The file and its folder are created if missing.
    pub path: PathBuf,
    /// The guarantee that an `ack` gives.
    pub durability: Durability,
    /// The limits of the messages that are kept.
    pub retention: Retention,
    /// The rules for rooms.
    pub rules: Arc<RoomRuleTable>,
    /// The largest number of rooms in the database.
    pub max_rooms: usize,
    /// True if the whole file is checked on opening (`PRAGMA quick_check`), which takes about a second per gigabyte.
    pub quick_check: bool,
}

impl SqliteSettings {
    /// Returns the limits of all rooms.
    fn room_limits(&self) -> RoomLimitTable {
        RoomLimitTable::new(self.retention, self.rules.clone())
    }
}

#[cfg(test)]
impl SqliteSettings {
    /// Returns settings for tests. 100 messages of each room are kept.
    pub(in crate::server) fn of_test(path: PathBuf) -> Self {
        Self {
            path,
            durability: Durability::Process,
            retention: Retention::of_test(100),
            rules: Arc::default(),
            max_rooms: 10_000,
            quick_check: false,
        }
    }
}

/// A store in a SQLite database. See the [module docs](self).
pub struct SqliteStore {
    index: Arc<RoomIndex>,
    queue: Arc<Queue>,
    readers: Readers,
    clock: Arc<Clock>,
    health: watch::Receiver<Health>,
    writer: Mutex<Option<JoinHandle<()>>>,
    path: PathBuf,
    /// A permit that limits backups to one at a time.
    backup_turn: Arc<Semaphore>,
}

impl SqliteStore {
    /// Opens the file, migrates its tables and starts the writer.
    ///
    /// # Errors
    /// If the file is in use by another server, is not a Fanfare database, is damaged, or cannot be read and written.
    pub fn open(settings: &SqliteSettings) -> Result<Self, OpenError> {
        let file = File::open(settings)?;
        let limits = settings.room_limits();
        let clock_limits = ClockLimits::of(limits.shortest_age());
        let (index, newest) = RoomIndex::load(&file, limits)?;
        let saved = saved_clock(&file, newest)?;
        let clock = saved.map_or_else(Clock::new, |saved| Clock::resume(saved, clock_limits));
        Self::start(file, index, settings, Arc::new(clock))
    }

    /// Opens the file like [`Self::open`], with the given clock.
    #[cfg(test)]
    pub(super) fn open_with(
        settings: &SqliteSettings,
        clock: Arc<Clock>,
    ) -> Result<Self, OpenError> {
        let file = File::open(settings)?;
        let (index, _) = RoomIndex::load(&file, settings.room_limits())?;
        Self::start(file, index, settings, clock)
    }

    fn start(
        file: File,
        index: RoomIndex,
        settings: &SqliteSettings,
        clock: Arc<Clock>,
    ) -> Result<Self, OpenError> {
        let index = Arc::new(index);
        let readers = Readers::open(&file, index.clone())?;
        let queue = Arc::new(Queue::default());

        let first = match file.refusal() {
            None => Health::Ready,
            Some(reason) => {
                error!(reason, "the database is read-only until a write succeeds");
                Health::ReadOnly(reason.to_owned())
            }
        };

        let (health, watched) = watch::channel(first);
        let writer = Writer::new(
            file,
            index.clone(),
            queue.clone(),
            readers.clone(),
            settings,
            clock.clone(),
            health,
        );

        let writer = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| OpenError::Io {
                path: settings.path.clone(),
                source,
            })?;

        Ok(Self {
            index,
            queue,
            readers,
            clock,
            health: watched,
            writer: Mutex::new(Some(writer)),
            path: settings.path.clone(),
            backup_turn: Arc::new(Semaphore::new(1)),
        })
    }
}

/// Reads the time from which the store's clock continues: the saved time, or that of the newest message if it is
/// later.
fn saved_clock(file: &File, newest: u64) -> Result<Option<SavedClock>, OpenError> {
    let read = |name| {
        let number = schema::number(file.connection(), name);
        number.map_err(|error| file.wrong(&error))
    };

    Ok(match (read("clock")?, read("wall")?) {
        (Some(clock), Some(wall)) => {
            let since = newest.saturating_sub(clock);
            Some(SavedClock {
                clock: clock + since,
                wall: wall + since,
            })
        }
        // Before format 3 the two clocks were the same.
        _ if newest > 0 => Some(SavedClock {
            clock: newest,
            wall: newest,
        }),
        _ => None,
    })
}

impl Store for SqliteStore {
    fn bounds(&self, room: &RoomName) -> Result<Bounds, StoreError> {
        Ok(self.index.bounds(room))
    }

    fn changes(&self) -> Changes {
        self.queue.changes.subscribe()
    }

    fn append(&self, room: &RoomName, drafts: Vec<Draft>, at: u64) -> StoreFuture<Vec<Stored>> {
        let (call, result) = self.queue.changes.begin(room, drafts.len());
        self.queue
            .push(Write::Append(PendingWrite::new(call, drafts, at)));
        result
    }

    fn lifecycle(&self, room: &RoomName) -> Result<Option<Lifecycle>, StoreError> {
        let row = self.index.row(room).filter(RoomRow::is_known);
        let lifecycle = row.map(|row| {
            let lifecycle = self.index.lifecycle(room).unwrap_or_default();
            let used = lifecycle.used.max(row.clock);
            let is_expired = row.limits.is_expired(used, self.clock.now(), now_millis());
            (!is_expired).then_some(lifecycle)
        });
        Ok(lifecycle.flatten())
    }

    fn create_room(&self, room: &RoomName, new: NewRoom, at: u64) -> StoreFuture<CreateResult> {
        let (call, result) = self.queue.changes.begin(room, new.drafts.len());
        self.queue
            .push(Write::Create(PendingWrite::new(call, Some(new), at)));
        result
    }

    fn append_if(
        &self,
        room: &RoomName,
        drafts: Vec<Draft>,
        conditions: AppendConditions,
        at: u64,
    ) -> StoreFuture<AppendResult> {
        let (call, result) = self.queue.changes.begin(room, drafts.len());
        let write = ConditionalDrafts { drafts, conditions };
        self.queue
            .push(Write::AppendIf(PendingWrite::new(call, write, at)));
        result
    }

    fn change_room(&self, room: &RoomName, change: RoomChange) -> StoreFuture<Option<Lifecycle>> {
        let (call, result) = self.queue.changes.begin(room, 0);
        self.queue
            .push(Write::ChangeRoom(PendingWrite::new(call, change, 0)));
        result
    }

    fn expires_at(&self, room: &RoomName) -> Result<Option<u64>, StoreError> {
        let row = self.index.row(room).filter(RoomRow::is_known);
        Ok(row.and_then(|row| {
            let lifecycle = self.index.lifecycle(room).unwrap_or_default();
            let used = lifecycle.used.max(row.clock);
            row.limits.expires_at(used, self.clock.now(), now_millis())
        }))
    }

    fn delete_room(&self, room: &RoomName) -> StoreFuture<bool> {
        let (call, result) = self.queue.changes.begin(room, 0);
        self.queue
            .push(Write::DeleteRoom(PendingWrite::new(call, (), 0)));
        result
    }

    fn touch(&self, room: &RoomName) {
        self.index.touch(room, self.clock.now());
    }

    fn delete(&self, room: &RoomName, offset: Offset, at: u64) -> StoreFuture<Deleted> {
        let (call, result) = self.queue.changes.begin(room, 1);
        self.queue
            .push(Write::Delete(Deletion { call, offset, at }));
        result
    }

    fn flush(&self) -> BoxFuture<'static, ()> {
        self.queue.changes.flush()
    }

    fn read(&self, room: &RoomName, span: Span, limit: Limit) -> StoreFuture<Page> {
        self.readers.page(room, span, limit).boxed()
    }

    fn count(&self, room: &RoomName, offset: Offset) -> StoreFuture<Option<u64>> {
        self.readers.count(room, offset).boxed()
    }

    fn epoch(&self) -> Epoch {
        self.index.epoch().clone()
    }

    fn watch(&self, _pattern: &RoomPattern) -> Offset {
        Offset(self.index.newest())
    }

    fn read_matching(
        &self,
        rooms: &[RoomSelector],
        range: MatchingRange,
        limit: Limit,
    ) -> StoreFuture<MatchingPage> {
        self.readers.matching(rooms, range, limit).boxed()
    }

    fn count_matching(&self, rooms: &[RoomSelector], after: Offset) -> StoreFuture<Option<u64>> {
        self.readers.count_matching(rooms, after).boxed()
    }

    fn load_hook(&self, name: &str) -> StoreFuture<Option<HookState>> {
        self.readers.hook(name).boxed()
    }

    fn save_hook(&self, name: &str, state: HookState) -> StoreFuture<()> {
        let (result, saved) = oneshot::channel();
        let name = name.to_owned();
        self.queue.push(Write::SaveHook(HookWrite {
            name,
            state,
            result,
        }));
        let failed = || StoreError::Unavailable("the store has failed".to_owned());
        saved
            .map(move |saved| saved.unwrap_or_else(|_| Err(failed())))
            .boxed()
    }

    fn matching_bounds(&self, pattern: &RoomPattern) -> StoreFuture<Bounds> {
        ready(Ok(self.index.matching_bounds(pattern))).boxed()
    }

    fn list_rooms(
        &self,
        pattern: &RoomPattern,
        after: Option<&RoomName>,
        limit: usize,
        filter: RoomFilter,
    ) -> StoreFuture<Vec<StoredRoom>> {
        let is_selected = |room: &RoomName, row: &RoomRow| row.is_known() && filter(room);
        let rooms = self.index.list(pattern, after, limit, is_selected);

        let summary = |(room, row): (RoomName, RoomRow)| {
            let lifecycle = self.index.lifecycle(&room).unwrap_or_default();
            let used = lifecycle.used.max(row.clock);

            StoredRoom {
                room,
                first: Offset(row.first),
                head: Offset(row.head),
                count: Some(row.kept()),
                lifecycle,
                expires_at: row.limits.expires_at(used, self.clock.now(), now_millis()),
            }
        };

        ready(Ok(rooms.into_iter().map(summary).collect())).boxed()
    }

    fn backup(&self) -> Option<StoreFuture<DatabaseCopy>> {
        let (path, turn) = (self.path.clone(), self.backup_turn.clone());
        let copying = async move {
            let Ok(turn) = turn.try_acquire_owned() else {
                let reason = "another copy of the database is being made".to_owned();
                return Err(StoreError::Unavailable(reason));
            };
            let copying = tokio::task::spawn_blocking(move || {
                let copy = backup::copy_unnamed(&path);
                drop(turn);
                copy
            });
            match copying.await {
                Ok(copy) => copy.map_err(|error| StoreError::Unavailable(error.to_string())),
                Err(error) => Err(StoreError::Unavailable(error.to_string())),
            }
        };
        Some(copying.boxed())
    }

    fn damage(&self) -> Option<Damage> {
        self.readers.damage()
    }

    fn reclaim(&self, _bytes: usize) {
        self.queue.reclaim();
    }

    /// Does nothing: the file outlasts the process.
    fn release(&self, _room: &RoomName) {}

    fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    fn close(&self) {
        self.queue.close();
        // Readers must close before the writer: only the last connection, if it may write, removes the files beside
        // the database.
        self.readers.close();
        let writer = self.writer.lock().take();
        // An error means that the writer panicked again while it refused writes; the health reports the first panic.
        let _ = writer.map(JoinHandle::join);
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("epoch", self.index.epoch())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::UserId;

    fn store(folder: &tempfile::TempDir) -> SqliteStore {
        let settings = SqliteSettings::of_test(folder.path().join("test.db"));
        SqliteStore::open(&settings).expect("opened")
    }

    fn drafts() -> Vec<Draft> {
        vec![Draft::text(UserId::guest(1), None, "hello")]
    }

    #[tokio::test]
    async fn a_panic_on_the_thread_that_writes_makes_the_store_corrupt_and_refuses_what_follows() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store(&folder);
        let mut health = store.health();

        store.queue.push(Write::Fault);
        let corrupt = health.wait_for(|health| *health != Health::Ready).await;

        let reason = "the thread that writes to the database panicked: a fault".to_owned();
        assert_eq!(
            *corrupt.expect("the writer"),
            Health::Corrupt(reason.clone())
        );
        let refused = store.append(&RoomName::lobby(), drafts(), 0).await;
        assert_eq!(refused.map(|_| ()), Err(StoreError::Unavailable(reason)));
        store.close();
    }
}
