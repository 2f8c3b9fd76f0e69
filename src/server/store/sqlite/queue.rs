//! The queue of appends and deletions for the writer thread. The writer takes many appends at once and stores them in
//! one transaction. When too many bytes are waiting, further writes are refused.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::protocol::Offset;
use crate::server::room::Draft;
use crate::server::spans::CommitId;
use crate::server::store::changes::{Call, ChangeSender, LogChange};
use crate::server::store::sqlite::batch::Batch;
use crate::server::store::sqlite::hook_row::HookWrite;
use crate::server::store::{
    AppendConditions, AppendResult, CreateResult, Deleted, Lifecycle, NewRoom, RoomChange,
    StoreError, Stored,
};

/// The largest number of waiting bytes when the disk is too slow; more are refused.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// The largest number of bytes in one transaction, except for a single larger append. It bounds the waiting time of
/// the next one.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// A call that waits for its transaction, and then for its result to be sent.
pub(super) struct PendingWrite<W, T> {
    pub(super) call: Call<T>,
    /// The content to write; empty once it is written.
    write: W,
    /// The time of the call, in milliseconds since 1970 UTC.
    pub(super) at: u64,
    /// The changes before the result.
    changes: Vec<LogChange>,
    /// The result, once it is written.
    result: Option<Result<T, StoreError>>,
}

/// Messages to be stored under conditions.
#[derive(Default)]
pub(super) struct ConditionalDrafts {
    pub(super) drafts: Vec<Draft>,
    pub(super) conditions: AppendConditions,
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
    Append(PendingWrite<Vec<Draft>, Vec<Stored>>),
    AppendIf(PendingWrite<ConditionalDrafts, AppendResult>),
    Create(PendingWrite<Option<NewRoom>, CreateResult>),
    ChangeRoom(PendingWrite<RoomChange, Option<Lifecycle>>),
    DeleteRoom(PendingWrite<(), bool>),
    Delete(Deletion),
    SaveHook(HookWrite),
    /// A request that makes the writer thread panic.
    #[cfg(test)]
    Fault,
}

impl<W, T> PendingWrite<W, T> {
    pub(super) const fn new(call: Call<T>, write: W, at: u64) -> Self {
        Self {
            call,
            write,
            at,
            changes: Vec::new(),
            result: None,
        }
    }

    /// Returns the result, or `failure` if there is one.
    fn take_result(&mut self, failure: Option<&StoreError>) -> Result<T, StoreError> {
        match (failure, self.result.take()) {
            (None, Some(result)) => result,
            (failure, _) => Err(failure.cloned().unwrap_or_else(|| {
                StoreError::Unavailable("the transaction has no result".to_owned())
            })),
        }
    }
}

impl Write {
    fn size(&self) -> usize {
        let drafts = match self {
            Self::Append(append) => &append.write,
            Self::AppendIf(append) => &append.write.drafts,
            Self::Create(create) => match &create.write {
                Some(new) => &new.drafts,
                None => return 0,
            },
            _ => return 0,
        };
        drafts.iter().map(Draft::size).sum()
    }

    /// Returns the number of messages to be stored.
    pub(super) fn messages(&self) -> usize {
        match self {
            Self::Append(append) => append.write.len(),
            Self::AppendIf(append) => append.write.drafts.len(),
            Self::Create(create) => create.write.as_ref().map_or(0, |new| new.drafts.len()),
            _ => 0,
        }
    }

    /// Writes it in the transaction of `batch`. A deletion of a message has a transaction of its own.
    pub(super) fn apply(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        match self {
            Self::Append(append) => {
                let drafts = std::mem::take(&mut append.write);
                let room = append.call.room.clone();
                append.result = Some(batch.append(room, drafts, append.at)?);
                append.changes = batch.take_log();
            }
            Self::AppendIf(append) => {
                let ConditionalDrafts { drafts, conditions } = std::mem::take(&mut append.write);
                let room = &append.call.room;
                let result = batch.append_if(room, drafts, &conditions, append.at)?;
                append.result = Some(Ok(result));
                append.changes = batch.take_log();
            }
            Self::Create(create) => {
                if let Some(new) = create.write.take() {
                    create.result = Some(batch.create(&create.call.room, new, create.at)?);
                    create.changes = batch.take_log();
                }
            }
            Self::ChangeRoom(change) => {
                let changed = batch.change_room(&change.call.room, &change.write)?;
                change.result = Some(Ok(changed));
                change.changes = batch.take_log();
            }
            Self::DeleteRoom(delete) => {
                delete.result = Some(Ok(batch.delete_room(&delete.call.room)?));
                delete.changes = batch.take_log();
            }
            Self::SaveHook(hook) => hook.apply(batch.connection)?,
            Self::Delete(_) => {}
            #[cfg(test)]
            Self::Fault => {}
        }

        Ok(())
    }

    /// Adds the changes and the result to `changes`; only the error `failure` if there is one. `commit` is the commit, if it
    /// is traced.
    pub(super) fn finish(
        self,
        failure: Option<&StoreError>,
        commit: Option<&CommitId>,
        changes: &mut Vec<LogChange>,
    ) {
        let mut send = |own: Vec<LogChange>, finished: LogChange| {
            if failure.is_none() {
                changes.extend(own);
            }
            changes.push(finished);
        };

        match self {
            Self::Append(mut append) => {
                let result = append.take_result(failure);
                append.call.commit = commit.cloned();
                let finished = LogChange::AppendFinished(append.call, result);
                send(append.changes, finished);
            }
            Self::AppendIf(mut append) => {
                let result = append.take_result(failure);
                append.call.commit = commit.cloned();
                send(append.changes, append.call.finish_append(result));
            }
            Self::Create(mut create) => {
                let result = create.take_result(failure);
                send(create.changes, create.call.finish(result));
            }
            Self::ChangeRoom(mut change) => {
                let result = change.take_result(failure);
                send(change.changes, change.call.finish(result));
            }
            Self::DeleteRoom(mut delete) => {
                let result = delete.take_result(failure);
                send(delete.changes, delete.call.finish(result));
            }
            Self::Delete(delete) => {
                let result = Err(failure.cloned().unwrap_or_else(|| {
                    StoreError::Unavailable("the deletion was not written".to_owned())
                }));
                send(Vec::new(), LogChange::DeleteFinished(delete.call, result));
            }
            Self::SaveHook(hook) => hook.finish(failure),
            #[cfg(test)]
            Self::Fault => {}
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
    /// Writes for one transaction, at least one.
    Batch(Vec<Write>),
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
        let refusal = StoreError::Unavailable(reason.to_owned());
        let mut refused = Vec::new();

        for write in writes {
            write.finish(Some(&refusal), None, &mut refused);
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
                (Write::Delete(delete), Dequeued::Nothing) => {
                    work = Dequeued::Deletions(vec![delete]);
                }
                (Write::Delete(delete), Dequeued::Deletions(deletions)) => deletions.push(delete),
                #[cfg(test)]
                (Write::Fault, Dequeued::Nothing) => panic!("a fault"),
                #[cfg(test)]
                (Write::Fault, _) => {
                    waiting.writes.push_front(Write::Fault);
                    break;
                }
                (write @ Write::Delete(_), _) => {
                    waiting.writes.push_front(write);
                    break;
                }
                (write, Dequeued::Nothing) => work = Dequeued::Batch(vec![write]),
                (write, Dequeued::Batch(batch)) if bytes + size <= MAX_BATCH_BYTES => {
                    batch.push(write);
                }
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
            queue.push(Write::Append(PendingWrite::new(call, drafts, 0)));
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
