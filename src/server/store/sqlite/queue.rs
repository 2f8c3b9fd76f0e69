//! The queue of appends and deletions for the writer thread. The writer takes many appends at once and stores them in
//! one transaction. When too many bytes are waiting, further writes are refused.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::protocol::Offset;
use crate::server::room::Draft;
use crate::server::store::changes::{Call, ChangeSender, LogChange};
use crate::server::store::{Deleted, StoreError, Stored};

/// The largest number of waiting bytes when the disk is too slow; more are refused.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// The largest number of bytes in one transaction, except for a single larger append. It bounds the waiting time of
/// the next one.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Messages to be stored consecutively in one room.
pub(super) struct Append {
    pub(super) call: Call<Vec<Stored>>,
    pub(super) drafts: Vec<Draft>,
    /// The time at which they were received, in milliseconds since 1970 UTC.
    pub(super) at: u64,
}

impl Append {
    fn size(&self) -> usize {
        self.drafts.iter().map(Draft::size).sum()
    }
}

/// A message to be deleted.
pub(super) struct Deletion {
    pub(super) call: Call<Deleted>,
    pub(super) offset: Offset,
    /// The time of the deletion, in milliseconds since 1970 UTC.
    pub(super) at: u64,
}

/// A call that changes the log.
pub(super) enum Write {
    Append(Append),
    Delete(Deletion),
    /// A request that makes the writer thread panic.
    #[cfg(test)]
    Fault,
}

impl Write {
    fn size(&self) -> usize {
        match self {
            Self::Append(append) => append.size(),
            _ => 0,
        }
    }
}

/// The queue of the writer thread. See the [module docs](self).
#[derive(Default)]
pub(super) struct Queue {
    /// The sender of results.
    pub(super) changes: ChangeSender,
    waiting: Mutex<Waiting>,
    /// A condition that is notified when there is work or the queue is closed.
    came: Condvar,
}

#[derive(Default)]
struct Waiting {
    writes: VecDeque<Write>,
    bytes: usize,
    /// True if the writer must drop its caches.
    must_reclaim: bool,
    is_closed: bool,
}

/// The next work for the writer.
pub(super) enum Dequeued {
    /// Appends for one transaction, at least one.
    Batch(Vec<Append>),
    /// Deletions, at least one.
    Deletions(Vec<Deletion>),
    /// No work before the timeout.
    Nothing,
    /// No work left in a closed queue.
    Closed,
}

impl Queue {
    /// Adds `write`. Refuses it if too many bytes are waiting or the queue is closed.
    pub(super) fn push(&self, write: Write) {
        let size = write.size();
        let mut waiting = self.waiting.lock();
        let reason = if waiting.is_closed {
            "the store is closed"
        } else if waiting.bytes + size > MAX_WAITING_BYTES && waiting.bytes > 0 {
            "the disk does not keep up"
        } else {
            waiting.bytes += size;
            waiting.writes.push_back(write);
            drop(waiting);
            self.came.notify_one();
            return;
        };

        drop(waiting);
        self.refuse([write], reason);
    }

    /// Refuses `writes`: sends `reason` as their error.
    pub(super) fn refuse(&self, writes: impl IntoIterator<Item = Write>, reason: &str) {
        let refusal = || StoreError::Unavailable(reason.to_owned());
        let mut refused = Vec::new();

        for write in writes {
            refused.push(match write {
                Write::Append(append) => LogChange::AppendFinished(append.call, Err(refusal())),
                Write::Delete(delete) => LogChange::DeleteFinished(delete.call, Err(refusal())),
                #[cfg(test)]
                Write::Fault => continue,
            });
        }

        self.changes.send(refused);
    }

    /// Waits up to `timeout` for work, and returns as much of it as one transaction takes.
    pub(super) fn next(&self, timeout: Duration) -> Dequeued {
        let is_idle = |waiting: &mut Waiting| {
            waiting.writes.is_empty() && !waiting.must_reclaim && !waiting.is_closed
        };
        let mut waiting = self.waiting.lock();
        // After a timeout there is nothing to do.
        let _ = self.came.wait_while_for(&mut waiting, is_idle, timeout);

        let mut work = Dequeued::Nothing;
        let mut bytes = 0;
        while let Some(write) = waiting.writes.pop_front() {
            let size = write.size();
            match (write, &mut work) {
                (Write::Append(append), Dequeued::Nothing) => work = Dequeued::Batch(vec![append]),
                (Write::Append(append), Dequeued::Batch(batch))
                    if bytes + size <= MAX_BATCH_BYTES =>
                {
                    batch.push(append);
                }
                (Write::Delete(delete), Dequeued::Nothing) => {
                    work = Dequeued::Deletions(vec![delete]);
                }
                (Write::Delete(delete), Dequeued::Deletions(deletions)) => deletions.push(delete),
                #[cfg(test)]
                (Write::Fault, Dequeued::Nothing) => panic!("a fault"),
                (write, _) => {
                    waiting.writes.push_front(write);
                    break;
                }
            }
            bytes += size;
        }
        waiting.bytes -= bytes;

        match work {
            Dequeued::Nothing if waiting.is_closed => Dequeued::Closed,
            work => work,
        }
    }

    /// Requests that the writer drop its caches.
    pub(super) fn reclaim(&self) {
        self.waiting.lock().must_reclaim = true;
        self.came.notify_one();
    }

    /// Returns true if the writer must drop its caches, once per request.
    pub(super) fn take_reclaim(&self) -> bool {
        std::mem::take(&mut self.waiting.lock().must_reclaim)
    }

    /// Refuses all later writes.
    pub(super) fn close(&self) {
        self.waiting.lock().is_closed = true;
        self.came.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{RoomName, UserId};

    #[test]
    fn a_deletion_stays_between_the_appends_before_and_after_it() {
        let queue = Queue::default();
        let append = || {
            let (call, _result) = queue.changes.begin(&RoomName::lobby(), 1);
            let drafts = vec![Draft::text(UserId::guest(1), None, "x")];
            queue.push(Write::Append(Append {
                call,
                drafts,
                at: 0,
            }));
        };

        append();
        append();
        let (call, _result) = queue.changes.begin(&RoomName::lobby(), 1);
        queue.push(Write::Delete(Deletion {
            call,
            offset: Offset(1),
            at: 0,
        }));
        append();

        let next = || queue.next(Duration::ZERO);
        assert!(matches!(next(), Dequeued::Batch(appends) if appends.len() == 2));
        assert!(matches!(next(), Dequeued::Deletions(deletions) if deletions.len() == 1));
        assert!(matches!(next(), Dequeued::Batch(appends) if appends.len() == 1));
    }
}
