//! The default store: one SQLite file, one writer thread, group commit.
//!
//! # Invariants
//!
//! - One thread writes. It stores all appends that wait in one transaction, and only then sends their results, all in one
//!   message: no client sees a message that a crash could take back, and no offset is given twice.
//! - Offsets of a room are dense: the entry before `n` is `n - 1`.
//! - Where each room stands is also kept in memory, as last committed, so asking costs no disk.
//! - Readers have connections of their own (write-ahead log): they never wait for the writer, nor it for them.
//! - A file goes on in its epoch only if it is proven to hold all that was acknowledged: see [`state_file`].
//! - After a failed fsync nothing is written any more: the kernel may have dropped what it could not write, and a
//!   second fsync would not say so ("fsyncgate", PostgreSQL 2018).
//!
//! Deliberately absent: a cache of messages. The Hub's rings are that.

mod fault;
mod damage;
mod state_file;
mod schema;
mod lock;
mod open_files;
mod file;
mod ledger;
mod scan;
mod reader;
mod export;
mod backup;
mod import;
mod retention;
mod batch;
mod erase;
mod queue;
mod writer;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tracing::error;

use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::room::Draft;
use crate::server::store::changes::{Changes, StoreFuture};
use crate::server::store::clock::{Clock, ClockLimits, SavedClock};
use crate::server::store::{
    Bounds, Damage, DatabaseCopy, Deleted, Health, Limit, Page, Retention, Span, Store, StoreError,
    Stored,
};

pub use backup::{BackupError, BackupReport, Restored, backup, restore};
pub use export::{ExportError, Exported, export};
pub use file::OpenError;
pub use import::{ImportError, ImportLine, Imported, import};

use file::File;
use ledger::RoomIndex;
use queue::{Append, Deletion, Queue, Write};
use reader::Readers;
use writer::Writer;

/// What an `ack` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It survives the death of the process; the newest may be lost with the operating system or the power.
    Process,
    /// It was fsynced first: it survives the loss of power, if the disk keeps its word.
    Disk,
}

/// How a [`SqliteStore`] is opened.
#[derive(Clone, Debug)]
pub struct SqliteSettings {
    /// The file; made if there is none, its folder too.
    pub path: PathBuf,
    /// What an `ack` means.
    pub durability: Durability,
    /// What is kept.
    pub retention: Retention,
    /// Rooms that may be kept.
    pub max_rooms: usize,
    /// Whether the whole file is checked first (`PRAGMA quick_check`): about a second for each gigabyte.
    pub quick_check: bool,
}

/// See the [module docs](self).
pub struct SqliteStore {
    ledger: Arc<RoomIndex>,
    queue: Arc<Queue>,
    readers: Readers,
    health: watch::Receiver<Health>,
    writer: Mutex<Option<JoinHandle<()>>>,
    path: PathBuf,
    /// One copy of the database at a time.
    backup_turn: Arc<Semaphore>,
}

impl SqliteStore {
    /// Opens the file, brings its tables up to date and starts the writer.
    ///
    /// # Errors
    /// If the file is another server's, is no file of Fanfare's, is damaged, or cannot be read and written.
    pub fn open(settings: &SqliteSettings) -> Result<Self, OpenError> {
        let file = File::open(settings)?;
        let (ledger, newest) = RoomIndex::load(&file)?;
        let saved = saved_clock(&file, newest)?;
        let limits = ClockLimits::of(settings.retention.age);
        let clock = saved.map_or_else(Clock::new, |saved| Clock::resume(saved, limits));
        Self::start(file, ledger, settings, Arc::new(clock))
    }

    /// The same, by another clock.
    #[cfg(test)]
    pub(super) fn open_with(
        settings: &SqliteSettings,
        clock: Arc<Clock>,
    ) -> Result<Self, OpenError> {
        let file = File::open(settings)?;
        let (ledger, _) = RoomIndex::load(&file)?;
        Self::start(file, ledger, settings, clock)
    }

    fn start(
        file: File,
        ledger: RoomIndex,
        settings: &SqliteSettings,
        clock: Arc<Clock>,
    ) -> Result<Self, OpenError> {
        let ledger = Arc::new(ledger);
        let readers = Readers::open(&file, ledger.clone())?;
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
            ledger.clone(),
            queue.clone(),
            readers.clone(),
            settings,
            clock,
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
            ledger,
            queue,
            readers,
            health: watched,
            writer: Mutex::new(Some(writer)),
            path: settings.path.clone(),
            backup_turn: Arc::new(Semaphore::new(1)),
        })
    }
}

/// Reads where the store's clock continues: where it was saved, or at the newest message if that is later.
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
        // Before format 3 the two were the same.
        _ if newest > 0 => Some(SavedClock {
            clock: newest,
            wall: newest,
        }),
        _ => None,
    })
}

impl Store for SqliteStore {
    fn bounds(&self, room: &RoomName) -> Result<Bounds, StoreError> {
        Ok(self.ledger.bounds(room))
    }

    fn changes(&self) -> Changes {
        self.queue.changes.subscribe()
    }

    fn append(&self, room: &RoomName, drafts: Vec<Draft>, at: u64) -> StoreFuture<Vec<Stored>> {
        let (call, result) = self.queue.changes.begin(room, drafts.len());
        self.queue.push(Write::Append(Append { call, drafts, at }));
        result
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

    /// The file outlasts the process.
    fn release(&self, _room: &RoomName) {}

    fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    fn close(&self) {
        self.queue.close();
        // Before the writer: only the last to leave, if it may write, tidies up beside the file.
        self.readers.close();
        let writer = self.writer.lock().take();
        // An error means that it panicked while it refused what came, after the health had told of the first panic.
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
            .field("epoch", self.ledger.epoch())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::UserId;
    use crate::server::room::DedupLimits;

    fn store(folder: &tempfile::TempDir) -> SqliteStore {
        let age = Duration::from_secs(3600);
        let settings = SqliteSettings {
            path: folder.path().join("test.db"),
            durability: Durability::Process,
            retention: Retention {
                messages: 100,
                bytes: usize::MAX,
                age,
                keys: DedupLimits { messages: 100, age },
            },
            max_rooms: 10_000,
            quick_check: false,
        };
        SqliteStore::open(&settings).expect("opened")
    }

    fn drafts() -> Vec<Draft> {
        vec![Draft::text(UserId::guest(1), None, "hello")]
    }

    #[tokio::test]
    async fn a_panic_on_the_thread_that_writes_makes_the_store_lost_and_refuses_what_follows() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = store(&folder);
        let mut health = store.health();

        store.queue.push(Write::Fault);
        let lost = health.wait_for(|health| *health != Health::Ready).await;

        let reason = "the thread that writes to the database panicked: a fault".to_owned();
        assert_eq!(*lost.expect("told"), Health::Corrupt(reason.clone()));
        let refused = store.append(&RoomName::lobby(), drafts(), 0).await;
        assert_eq!(refused.map(|_| ()), Err(StoreError::Unavailable(reason)));
        store.close();
    }
}
