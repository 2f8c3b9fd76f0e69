//! What waits to be written.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::room::Draft;
use crate::server::store::{DeleteReport, Report, StoreError};

/// Bytes that may wait for a disk that does not keep up; more are refused.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that one transaction takes, unless a single append is larger: bounds how long the next one waits.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Some messages of one room in a row, and who is to be told.
pub(super) struct Append {
    pub(super) room: RoomName,
    pub(super) drafts: Vec<Draft>,
    /// Milliseconds since 1970 UTC.
    pub(super) at: u64,
    pub(super) report: Report,
}

/// An entry to be deleted, and who is to be told.
pub(super) struct Deletion {
    pub(super) room: RoomName,
    pub(super) offset: Offset,
    /// Milliseconds since 1970 UTC.
    pub(super) at: u64,
    pub(super) report: DeleteReport,
}

impl Append {
    fn size(&self) -> usize {
        self.drafts.iter().map(Draft::size).sum()
    }
}

/// See the [module docs](self).
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Told when something came, or the end.
    came: Condvar,
}

#[derive(Default)]
struct Waiting {
    appends: Vec<Append>,
    /// So few that nobody counts them.
    deletions: Vec<Deletion>,
    bytes: usize,
    /// Caches are to be dropped.
    must_reclaim: bool,
    is_closed: bool,
}

/// What the writer finds.
pub(super) enum Taken {
    /// These, for one transaction; at least one.
    Batch(Vec<Append>),
    /// Nothing came in time, or nothing to be stored.
    Nothing,
    /// Nothing is left, and nothing more comes.
    Closed,
}

impl Queue {
    /// Adds `append`, or refuses it when too much waits or nothing is taken any more.
    pub(super) fn push(&self, append: Append) {
        let size = append.size();
        let mut waiting = self.waiting.lock();
        let refusal = if waiting.is_closed {
            "it is closed"
        } else if waiting.bytes + size > MAX_WAITING_BYTES && waiting.bytes > 0 {
            "the disk does not keep up"
        } else {
            waiting.bytes += size;
            waiting.appends.push(append);
            drop(waiting);
            self.came.notify_one();
            return;
        };
        drop(waiting);
        (append.report)(Err(StoreError::Unavailable(refusal.to_owned())));
    }

    /// Adds `deletion`, unless nothing is taken any more.
    pub(super) fn push_deletion(&self, deletion: Deletion) {
        let mut waiting = self.waiting.lock();
        if waiting.is_closed {
            drop(waiting);
            (deletion.report)(Err(StoreError::Unavailable("it is closed".to_owned())));
        } else {
            waiting.deletions.push(deletion);
            drop(waiting);
            self.came.notify_one();
        }
    }

    /// All deletions that wait.
    pub(super) fn take_deletions(&self) -> Vec<Deletion> {
        std::mem::take(&mut self.waiting.lock().deletions)
    }

    /// Everything that waits, as far as one transaction takes it; waits for something at most for `patience`.
    pub(super) fn take(&self, patience: Duration) -> Taken {
        let is_quiet = |waiting: &mut Waiting| {
            waiting.appends.is_empty()
                && waiting.deletions.is_empty()
                && !waiting.must_reclaim
                && !waiting.is_closed
        };
        let mut waiting = self.waiting.lock();
        // After a timeout, the batch is empty.
        let _ = self.came.wait_while_for(&mut waiting, is_quiet, patience);

        if waiting.appends.is_empty() {
            return if waiting.is_closed {
                Taken::Closed
            } else {
                Taken::Nothing
            };
        }
        let mut bytes = 0;
        let fits = |append: &&Append| {
            bytes += append.size();
            bytes <= MAX_BATCH_BYTES
        };
        let count = waiting.appends.iter().take_while(fits).count().max(1);
        let rest = waiting.appends.split_off(count);
        let batch = std::mem::replace(&mut waiting.appends, rest);
        waiting.bytes -= batch.iter().map(Append::size).sum::<usize>();
        Taken::Batch(batch)
    }

    /// Has the writer drop its caches.
    pub(super) fn reclaim(&self) {
        self.waiting.lock().must_reclaim = true;
        self.came.notify_one();
    }

    /// Returns whether the writer must drop its caches, once for each request.
    pub(super) fn take_reclaim(&self) -> bool {
        std::mem::take(&mut self.waiting.lock().must_reclaim)
    }

    /// Takes nothing more.
    pub(super) fn close(&self) {
        self.waiting.lock().is_closed = true;
        self.came.notify_one();
    }
}
