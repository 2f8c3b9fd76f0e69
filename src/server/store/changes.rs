//! The stream of a store's changes to the hub, including the results of appends and deletions.
//!
//! # Invariants
//!
//! - The changes and results of a room are sent in the order of its log. Only a refusal may be sent earlier.
//! - A result is delivered to its caller after the hub has applied it. The hub applies it even if the caller has
//!   gone.
//! - Without a hub, as in command-line tools, results are delivered immediately.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{oneshot, watch};

use crate::protocol::{Offset, RoomName};
use crate::server::metrics::{self, PublishResult};
use crate::server::room::Frame;
use crate::server::spans::{CommitId, PublishSpan};
use crate::server::store::{AppendOutcome, AppendResult, Deleted, StoreError, Stored};

/// A future that resolves to the result of a call of the store.
pub type StoreFuture<T> = BoxFuture<'static, Result<T, StoreError>>;

/// The changes of a store: one item per commit, in order.
pub type Changes = UnboundedReceiver<Vec<LogChange>>;

/// A change of a room's log, or the result of a call of this node.
#[derive(Debug)]
pub enum LogChange {
    /// Consecutive frames that a node, possibly this one, appended.
    Appended(RoomName, Vec<Arc<Frame>>),
    /// A deletion by any node: the offset of the message and the time in milliseconds since 1970 UTC.
    Deleted(RoomName, Offset, u64),
    /// A hole in the changes of watched patterns: messages up to this offset were not delivered to this node, and are
    /// read from the store as far as they are kept.
    Missed(Offset),
    /// A place between changes. A task that waits for it continues when the hub drops it.
    Barrier(oneshot::Sender<()>),
    /// A room accepts no more messages after this offset.
    Closed(RoomName, Offset),
    /// A room was deleted with its messages up to this offset.
    RoomDeleted(RoomName, Offset),
    /// A finished append of this node. If no other node appends, new messages are only in this result, not in
    /// a [`LogChange::Appended`].
    AppendFinished(Call<Vec<Stored>>, Result<Vec<Stored>, StoreError>),
    /// A finished deletion of this node. The deletion itself is sent before it.
    DeleteFinished(Call<Deleted>, Result<Deleted, StoreError>),
    /// The result of another call of this node. Its changes are sent before it.
    Finished(DeferredResult),
}

/// The result of a call, which waits until the changes before it are applied.
pub struct DeferredResult(Box<dyn FnOnce() + Send>);

impl DeferredResult {
    /// Sends the result to the caller.
    pub fn deliver(self) {
        (self.0)();
    }
}

impl fmt::Debug for DeferredResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredResult").finish_non_exhaustive()
    }
}

/// A pending call that changes the log, until its result is delivered.
#[derive(Debug)]
pub struct Call<T> {
    /// The room that the call changes.
    pub room: RoomName,
    messages: usize,
    began: Instant,
    span: Option<Box<PublishSpan>>,
    /// The commit that stored it, if that is traced.
    pub(super) commit: Option<CommitId>,
    caller: oneshot::Sender<Result<T, StoreError>>,
    /// A guard that keeps [`ChangeSender::flush`] waiting until it is dropped.
    _unflushed: watch::Receiver<()>,
}

impl<T> Call<T> {
    fn send(self, result: Result<T, StoreError>) {
        // Sending fails if the caller has gone; the messages remain stored.
        let _ = self.caller.send(result);
    }

    /// Records the latency of an append, and ends its span. `newest` is the offset of the last message.
    fn trace(&mut self, newest: Result<Option<Offset>, String>) {
        metrics::record_ack_latency(self.began.elapsed());
        if let Some(span) = self.span.take() {
            span.end(&self.room, self.messages, newest, self.commit.take());
        }
    }
}

impl<T: Send + 'static> Call<T> {
    /// Returns the change with the result of the call.
    pub(super) fn finish(self, result: Result<T, StoreError>) -> LogChange {
        LogChange::Finished(DeferredResult(Box::new(move || self.send(result))))
    }
}

impl Call<Vec<Stored>> {
    /// Counts and traces the append, and sends the result to the caller.
    pub fn deliver(mut self, result: Result<Vec<Stored>, StoreError>) {
        count(self.messages, &result);
        let newest = result
            .as_ref()
            .map(|stored| stored.last().map(Stored::offset));
        self.trace(newest.map_err(ToString::to_string));

        self.send(result);
    }
}

impl Call<AppendResult> {
    /// Returns the change with the result of an append with conditions, which is counted and traced when it is delivered.
    pub(super) fn finish_append(mut self, result: Result<AppendResult, StoreError>) -> LogChange {
        LogChange::Finished(DeferredResult(Box::new(move || {
            let counted = match result.as_ref().map(|result| &result.outcome) {
                Ok(AppendOutcome::Stored) => PublishResult::Stored,
                Ok(AppendOutcome::Duplicate { .. }) => PublishResult::Duplicate,
                Ok(AppendOutcome::Refused(_)) | Err(_) => PublishResult::Refused,
            };
            metrics::count_published(self.messages, counted);
            let newest = result.as_ref().map(|result| Some(result.head));
            self.trace(newest.map_err(ToString::to_string));

            self.send(result);
        })))
    }
}

impl Call<Deleted> {
    /// Sends the result to the caller.
    pub fn deliver(self, result: Result<Deleted, StoreError>) {
        self.send(result);
    }
}

impl Stored {
    /// Returns the frame if the message is new in the log.
    pub const fn frame(&self) -> Option<&Arc<Frame>> {
        match self {
            Self::New(frame) => Some(frame),
            Self::Duplicate { .. } | Self::Removed { .. } => None,
        }
    }

    /// Returns the offset of the message.
    pub fn offset(&self) -> Offset {
        match self {
            Self::New(frame) => frame.offset(),
            Self::Duplicate { offset, .. } | Self::Removed { offset, .. } => *offset,
        }
    }
}

/// The sending half of [`Changes`]. Each store has one.
#[derive(Debug, Default)]
pub(super) struct ChangeSender {
    follower: OnceLock<UnboundedSender<Vec<LogChange>>>,
    /// A channel of which each unfinished call holds a receiver.
    unflushed: Mutex<watch::Sender<()>>,
}

impl ChangeSender {
    /// Returns all changes from now on. Only the first caller receives any: a store has one hub.
    pub(super) fn subscribe(&self) -> Changes {
        let (sender, changes) = mpsc::unbounded_channel();
        // If there already is a subscriber, the new channel is closed.
        let _ = self.follower.set(sender);
        changes
    }

    /// Begins a call that changes `messages` messages of `room`. The future resolves when its result is delivered.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        room: &RoomName,
        messages: usize,
    ) -> (Call<T>, StoreFuture<T>) {
        let (caller, receiver) = oneshot::channel();
        let call = Call {
            room: room.clone(),
            messages,
            began: Instant::now(),
            span: PublishSpan::begin(),
            commit: None,
            caller,
            _unflushed: self.unflushed.lock().subscribe(),
        };

        let failed = || StoreError::Unavailable("the store has failed".to_owned());
        let result = receiver.map(move |result| result.unwrap_or_else(|_| Err(failed())));
        (call, result.boxed())
    }

    /// Sends the changes of one commit.
    pub(super) fn send(&self, changes: Vec<LogChange>) {
        let unsent = match self.follower.get() {
            Some(follower) => follower.send(changes).err().map(|error| error.0),
            None => Some(changes),
        };

        for change in unsent.into_iter().flatten() {
            match change {
                LogChange::AppendFinished(call, result) => call.deliver(result),
                LogChange::DeleteFinished(call, result) => call.deliver(result),
                LogChange::Finished(delivery) => delivery.deliver(),
                LogChange::Appended(..)
                | LogChange::Deleted(..)
                | LogChange::Closed(..)
                | LogChange::RoomDeleted(..)
                | LogChange::Missed(_)
                | LogChange::Barrier(_) => {}
            }
        }
    }

    /// Sends the result of a deletion, after the deletion itself if the message was deleted by this call.
    pub(super) fn send_deleted(
        &self,
        call: Call<Deleted>,
        offset: Offset,
        at: u64,
        result: Result<Deleted, StoreError>,
    ) {
        let mut changes = Vec::new();

        if result == Ok(Deleted::Now) {
            changes.push(LogChange::Deleted(call.room.clone(), offset, at));
        }

        changes.push(LogChange::DeleteFinished(call, result));
        self.send(changes);
    }

    /// Waits until every change that was sent is applied.
    pub(super) fn barrier(&self) -> BoxFuture<'static, ()> {
        let (barrier, applied) = oneshot::channel();
        self.send(vec![LogChange::Barrier(barrier)]);
        // Nothing is sent through the channel: it closes.
        applied.map(drop).boxed()
    }

    /// Waits until the result of every started call is delivered.
    pub(super) fn flush(&self) -> BoxFuture<'static, ()> {
        let mut unflushed = self.unflushed.lock();
        let previous = std::mem::take(&mut *unflushed);
        // Later flushes must wait for this one too.
        let this = unflushed.subscribe();
        drop(unflushed);

        async move {
            previous.closed().await;
            drop(this);
        }
        .boxed()
    }
}

fn count(messages: usize, result: &Result<Vec<Stored>, StoreError>) {
    let Ok(stored) = result else {
        return metrics::count_published(messages, PublishResult::Refused);
    };

    let is_duplicate = |stored: &&Stored| matches!(stored, Stored::Duplicate { .. });
    let duplicates = stored.iter().filter(is_duplicate).count();
    metrics::count_published(stored.len() - duplicates, PublishResult::Stored);
    metrics::count_published(duplicates, PublishResult::Duplicate);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(sender: &ChangeSender) -> (Call<Vec<Stored>>, StoreFuture<Vec<Stored>>) {
        sender.begin(&RoomName::lobby(), 1)
    }

    fn finish(sender: &ChangeSender, call: Call<Vec<Stored>>) {
        sender.send(vec![LogChange::AppendFinished(call, Ok(Vec::new()))]);
    }

    #[test]
    fn without_a_hub_a_result_is_delivered_at_once() {
        let sender = ChangeSender::default();
        let (call, result) = begin(&sender);

        finish(&sender, call);

        assert!(matches!(result.now_or_never(), Some(Ok(_))));
    }

    #[test]
    fn a_result_waits_for_the_hub() {
        let sender = ChangeSender::default();
        let mut changes = sender.subscribe();
        let (call, mut result) = begin(&sender);

        finish(&sender, call);
        assert!((&mut result).now_or_never().is_none());
        deliver(&mut changes);

        assert!(matches!(result.now_or_never(), Some(Ok(_))));
    }

    #[test]
    fn an_append_whose_caller_has_gone_still_comes_to_the_hub() {
        let sender = ChangeSender::default();
        let mut changes = sender.subscribe();
        let (call, result) = begin(&sender);

        drop(result);
        finish(&sender, call);

        assert_eq!(deliver(&mut changes), 1);
    }

    #[test]
    fn a_flush_waits_for_appends_that_began_before_it_and_for_no_later_one() {
        let sender = ChangeSender::default();
        let mut changes = sender.subscribe();
        let (earlier, _result) = begin(&sender);
        let mut flush = sender.flush();
        let _later = begin(&sender);

        finish(&sender, earlier);
        assert!((&mut flush).now_or_never().is_none(), "it is not applied");
        deliver(&mut changes);

        assert!(flush.now_or_never().is_some());
    }

    #[test]
    fn a_barrier_waits_for_the_changes_before_it_and_for_no_call() {
        let sender = ChangeSender::default();
        let mut changes = sender.subscribe();
        let _unfinished = begin(&sender);

        sender.send(vec![LogChange::Missed(Offset(1))]);
        let mut barrier = sender.barrier();
        let missed = changes.try_recv();
        assert!((&mut barrier).now_or_never().is_none(), "{missed:?}");
        deliver(&mut changes);

        assert!(barrier.now_or_never().is_some());
    }

    #[test]
    fn an_append_that_the_store_drops_fails() {
        let sender = ChangeSender::default();
        let (call, result) = begin(&sender);

        drop(call);

        assert!(matches!(result.now_or_never(), Some(Err(_))));
    }

    /// Delivers the results that were sent, and returns the number of finished appends.
    fn deliver(changes: &mut Changes) -> usize {
        let sent = changes.try_recv().expect("changes");
        let mut delivered = 0;

        for change in sent {
            if let LogChange::AppendFinished(call, result) = change {
                call.deliver(result);
                delivered += 1;
            }
        }

        delivered
    }
}
