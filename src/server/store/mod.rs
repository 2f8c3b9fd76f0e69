//! What keeps publications: gives each its offset, remembers keys, and reads back what the ring has passed.
//!
//! # Invariants
//!
//! - The reports of a room come in the order of its appends, one at a time. An append of nothing is reported when
//!   all appends before it, of any room, have been. Only a refusal may come sooner.
//! - An offset is never given twice in an epoch.
//! - A message is reported as stored only when it is, as durably as the store promises.
//! - A store that others write to as well tells all that is appended, in one order, to whoever follows it
//!   ([`Store::follow`]); a store with one writer has nothing to tell that it does not report.

mod clock;
mod page;
mod peers;
pub mod guard;
mod memory;
mod sqlite;
mod nats;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use tokio::sync::watch;

use crate::protocol::Epoch;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::room::{DedupLimits, Draft, Frame};

pub use memory::MemoryStore;
pub use nats::{NatsError, NatsLogin, NatsServers, NatsSettings, NatsStore};
pub use page::{Limit, Page, Span};
pub use peers::{Bus, Council, Heeding, Overheard};
pub use sqlite::{
    BackupError, BackupReport, Durability, ExportError, Exported, ImportError, ImportLine,
    Imported, OpenError, Restored, SqliteSettings, SqliteStore, backup, export, import, restore,
};

/// Which store, and how.
#[derive(Clone, Debug)]
pub enum StoreSettings {
    /// In memory: it ends with the process.
    Memory(Retention),
    /// In a file.
    Sqlite(SqliteSettings),
    /// In a stream that several nodes share.
    Nats(NatsSettings),
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// The file cannot be had.
    #[error(transparent)]
    Sqlite(#[from] OpenError),
    /// The stream cannot be had.
    #[error(transparent)]
    Nats(#[from] NatsError),
}

impl StoreSettings {
    /// Opens it.
    ///
    /// # Errors
    /// If its file or its stream cannot be had.
    pub async fn open(&self) -> Result<Arc<dyn Store>, OpenStoreError> {
        Ok(match self {
            Self::Memory(retention) => Arc::new(MemoryStore::new(*retention)),
            Self::Sqlite(settings) => Arc::new(SqliteStore::open(settings)?),
            Self::Nats(settings) => Arc::new(NatsStore::connect(settings).await?),
        })
    }
}

/// How much is kept of each room; older entries go first.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Entries, at least 1.
    pub messages: usize,
    /// Bytes of all entries together, as the store counts them; the newest is kept even if it alone is larger.
    pub bytes: usize,
    /// Age, by a clock that counts time passed: setting the date does not make anything older.
    pub age: Duration,
    /// How long keys are remembered.
    pub keys: DedupLimits,
}

/// Where a room's log stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Which life of the log this is.
    pub epoch: Epoch,
    /// The oldest offset kept; 0 when nothing is.
    pub first: Offset,
    /// The newest offset given out; 0 when none was.
    pub head: Offset,
    /// Everything after this offset is kept.
    pub gone: Offset,
    /// Whether no number after `base` is left out, so that what is gone can be counted.
    pub is_dense: bool,
    /// The room's offsets begin after this one; 0 where that is not known.
    pub base: Offset,
}

impl Bounds {
    /// Where a log stands in which each offset is one more than the one before it.
    pub fn dense(epoch: Epoch, first: Offset, head: Offset) -> Self {
        // The last one that is gone; of an empty log everything is.
        let gone = match first {
            Offset(0) => head,
            Offset(first) => Offset(first - 1),
        };
        Self {
            epoch,
            first,
            head,
            gone,
            is_dense: true,
            base: Offset(0),
        }
    }
}

/// What became of a draft.
#[derive(Clone, Debug)]
pub enum Stored {
    /// It is the newest entry of the log.
    New(Arc<Frame>),
    /// Its sender's key was stored before.
    Duplicate {
        /// Where.
        offset: Offset,
        /// When, in milliseconds since 1970 UTC.
        at: u64,
    },
}

/// What became of an entry that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is: its tombstone stands in its place.
    Now,
    /// It was before.
    Before,
    /// There is none at that offset, or it is no longer kept.
    NotKept,
}

/// Why a store could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not now; it may succeed later.
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
}

/// Whether a store takes anything now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// The last write got through.
    #[default]
    Ready,
    /// The last write did not, for this reason; the store tries again by itself.
    Refusing(String),
    /// The store cannot be reached, for this reason, nor what others store; it tries again by itself.
    Away(String),
    /// What is on the disk can no longer be vouched for: the process must end, and say why.
    Lost(String),
}

impl Health {
    /// As figures call it.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Refusing(_) => "refusing",
            Self::Away(_) => "away",
            Self::Lost(_) => "lost",
        }
    }
}

/// A copy of a store's database. Its file has no name, and goes with the handle.
#[derive(Debug)]
pub struct DatabaseCopy {
    /// The copy, to be read from its beginning.
    pub file: std::fs::File,
    /// Its size.
    pub bytes: u64,
}

/// Messages that are stored and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The number of messages found so far.
    pub messages: usize,
    /// The room of the first one that was found.
    pub room: RoomName,
    /// Its offset.
    pub offset: Offset,
    /// The error of the database.
    pub problem: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            messages,
            room,
            offset,
            problem,
        } = self;
        write!(
            f,
            "{messages} messages cannot be read because the database is damaged, the first found at offset {offset} of \
             room {room} ({problem}); readers are sent a gap; restore a backup to get them back"
        )
    }
}

/// What is told what became of a batch, in the order of its drafts.
pub type Report = Box<dyn FnOnce(Result<Vec<Stored>, StoreError>) + Send>;

/// What is told what became of an entry.
pub type DeleteReport = Box<dyn FnOnce(Result<Deleted, StoreError>) + Send>;

/// What happens to a room's log.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// These were appended, one behind the other.
    Appended(&'a [Arc<Frame>]),
    /// What was said there is gone.
    Deleted {
        /// Where.
        offset: Offset,
        /// When, in milliseconds since 1970 UTC.
        at: u64,
    },
}

/// What is told what happens to a room, by whomever, in the order of the log.
pub type Heard = Box<dyn Fn(&RoomName, Change<'_>) + Send + Sync>;

/// See the [module docs](self).
pub trait Store: Send + Sync {
    /// Learns where `room` stands, as well as that can be known now. From then on its bounds can be asked, it can
    /// be appended to and is followed, until it is released.
    ///
    /// # Errors
    /// If the store cannot be reached.
    fn open(&self, _room: &RoomName) -> BoxFuture<'static, Result<(), StoreError>> {
        ready(Ok(())).boxed()
    }

    /// Waits until the bounds of open rooms tell of everything up to `offset` that others have appended: of what
    /// a reader may have seen elsewhere.
    ///
    /// # Errors
    /// If the store cannot be reached.
    fn reach(&self, _offset: Offset) -> BoxFuture<'static, Result<(), StoreError>> {
        ready(Ok(())).boxed()
    }

    /// From now on `heard` is told what is appended to open rooms and what is deleted there: when [`Store::bounds`]
    /// say so too, and before it is reported. What it was told may be reported again.
    fn follow(&self, _heard: Heard) {}

    /// The way to other nodes, if there may be any.
    fn bus(&self) -> Option<Arc<dyn Bus>> {
        None
    }

    /// Where rules of all nodes are kept, if there may be any others.
    fn council(&self) -> Option<Arc<dyn Council>> {
        None
    }

    /// Where `room`, which is open, stands; a room that there is not yet begins.
    ///
    /// # Errors
    /// If the store cannot be reached.
    fn bounds(&self, room: &RoomName) -> Result<Bounds, StoreError>;

    /// Stores `drafts` in a row and then tells `report`. `at` is when they came, in milliseconds since 1970 UTC.
    fn append(&self, room: &RoomName, drafts: Vec<Draft>, at: u64, report: Report);

    /// Stores `drafts` as [`Store::append`] does, and all of them or none. A store that cannot do that stores none
    /// behind one that failed, and says in the error how many it has stored.
    fn append_batch(&self, room: &RoomName, drafts: Vec<Draft>, at: u64, report: Report) {
        self.append(room, drafts, at, report);
    }

    /// Deletes what was said at `offset` of `room`, `at` the time in milliseconds since 1970 UTC, and then tells
    /// `report`, behind the reports of what was appended before. The entry keeps its place, sender and key, so that
    /// no reader sees a gap and a repeated send is still known; its bytes are gone from all that the store writes,
    /// or will be in a moment.
    fn delete(&self, room: &RoomName, offset: Offset, at: u64, report: DeleteReport);

    /// Entries of `room`, as many as `limit` allows.
    fn read(
        &self,
        room: &RoomName,
        span: Span,
        limit: Limit,
    ) -> BoxFuture<'static, Result<Page, StoreError>>;

    /// Gives back memory, because the budget is exceeded: caches go, and a store that is in memory keeps about `bytes`.
    fn reclaim(&self, _bytes: usize) {}

    /// Nobody is in `room` and its place is needed: what does not outlast the process may go.
    fn release(&self, room: &RoomName);

    /// Whether it takes anything now; changes as it goes.
    fn health(&self) -> watch::Receiver<Health>;

    /// Returns what was found damaged, if anything was.
    fn damage(&self) -> Option<Damage> {
        None
    }

    /// Copies the database as it stands; `None` if it is in no file.
    fn backup(&self) -> Option<BoxFuture<'static, Result<DatabaseCopy, StoreError>>> {
        None
    }

    /// Finishes what was appended and lets go of its files. Waits for the disk; nothing may be appended after it.
    fn close(&self);
}

#[cfg(test)]
mod tests;
