//! What keeps publications: gives each its offset, remembers keys, and reads back what the ring has passed.
//!
//! # Invariants
//!
//! - For one room, `stored` callbacks come in the order of the offsets they report, one at a time.
//! - An offset is never given twice in an epoch.
//! - A message is reported as stored only when it is, as durably as the store promises.

mod memory;

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::protocol::Epoch;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::room::{Draft, Frame};

pub use memory::{MemoryLimits, MemoryStore};

/// Where a room's log stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Which life of the log this is.
    pub epoch: Epoch,
    /// The oldest offset kept; 0 when nothing is.
    pub first: Offset,
    /// The newest offset given out; 0 when none was.
    pub head: Offset,
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

/// Which entries to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Those after this offset, the oldest of them first.
    After(Offset),
    /// Those before this offset, the newest of them.
    Before(Offset),
    /// The newest.
    Newest,
}

/// How large a [`Page`] may be; one entry always fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Entries.
    pub messages: usize,
    /// Bytes of them, as [`Frame::size`] counts.
    pub bytes: usize,
}

/// Some entries in a row.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Oldest first.
    pub frames: Vec<Arc<Frame>>,
    /// Whether there are more, in the direction of the [`Span`].
    pub more: bool,
}

/// Why a store could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not now; it may succeed later.
    #[error("the store cannot take this now: {0}")]
    Unavailable(String),
}

/// What is told what became of a batch, in the order of its drafts.
pub type Report = Box<dyn FnOnce(Result<Vec<Stored>, StoreError>) + Send>;

/// See the [module docs](self).
pub trait Store: Send + Sync {
    /// Where `room` stands; a room that there is not yet begins.
    ///
    /// # Errors
    /// If the store cannot be reached.
    fn bounds(&self, room: &RoomName) -> Result<Bounds, StoreError>;

    /// Stores `drafts` in a row and then tells `report`. `now` is milliseconds since 1970 UTC.
    fn append(&self, room: &RoomName, drafts: Vec<Draft>, now: u64, report: Report);

    /// Entries of `room`, as many as `limit` allows.
    fn read(&self, room: &RoomName, span: Span, limit: Limit)
    -> BoxFuture<'static, Result<Page, StoreError>>;

    /// Nobody is in `room` and its place is needed: what does not outlast the process may go.
    fn release(&self, room: &RoomName);
}
