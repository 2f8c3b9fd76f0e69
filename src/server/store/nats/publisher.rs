//! The publisher of appends and deletions. An append is finished when NATS has acknowledged its messages and the
//! consumer has delivered them.
//!
//! # Invariants
//!
//! - The appends of a room are published and finished in order. Rooms do not wait for each other: the first message
//!   of an empty room, or the lookup of a duplicate, costs a round trip in that room only.
//! - After a draft has failed, no later draft of its append is sent.
//! - A batch is never stored with a gap. JetStream (2.9) cannot store several messages atomically, so a batch that
//!   NATS rejects in the middle is stored up to that message. All checks that are possible in advance run before the
//!   first message is sent, so a message that is too large rejects the whole batch. Each message after the first is
//!   stored only directly after the previous one (`Nats-Expected-Last-Msg-Id`), even if requests are rejected or lost.
//!   The error of a batch contains the number of its stored messages.
//! - A publish without a response in time fails, though it may be stored. A client that sends it again with the same
//!   key receives its offset.
//! - A deletion first publishes a tombstone. When the consumer has delivered the tombstone, the message is removed
//!   from the stream and its bytes are overwritten. If the process ends between the two steps, the message stays in
//!   the stream but is never shown. The next reader of its offset, or the next deletion, removes it.
//!
//! Deliberately absent: automatic retries of a publish without a response, which could overtake a later message.

use std::collections::VecDeque;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::publish::PublishAck;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::iter;
use futures::{FutureExt, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::codec::{Record, StreamEntry, payload};
use super::connection::NatsError;
use super::pending::{PendingPublish, PendingPublishes};
use super::room_queues::RoomQueues;
use super::room_state::NatsRoomState;
use super::room_writer::{PreparedMessage, RoomWriter};
use super::rooms::NatsRooms;
use super::streams::Streams;
use crate::protocol::{Offset, RoomName};
use crate::server::metrics;
use crate::server::room::Draft;
use crate::server::store::changes::{Call, ChangeSender, LogChange, StoreFuture};
use crate::server::store::{
    AppendConditions, AppendOutcome, AppendRefusal, Deleted, Health, StoreError, Stored,
};

/// The interval of test writes while writes fail.
const TEST_INTERVAL: Duration = Duration::from_millis(500);
/// The maximum number of bytes of unfinished appends; further appends are rejected.
const MAX_PENDING_BYTES: usize = 64 * 1024 * 1024;
/// The maximum number of concurrent lookups of duplicates in one append.
const MAX_LOOKUPS: usize = 64;

/// The publisher. See the [module docs](self).
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) rooms: Arc<NatsRooms>,
    pub(super) changes: Arc<ChangeSender>,
    pub(super) pending: Arc<PendingPublishes>,
    pub(super) writer: Arc<RoomWriter>,
    /// The queue of appends and changes; `None` after the store is closed.
    queue: Mutex<Option<UnboundedSender<PublishJob>>>,
    /// A permit for each byte that unfinished appends may have.
    bytes: Arc<Semaphore>,
}

/// The messages of one append, which are stored in order in one room.
#[derive(Debug)]
struct Append {
    call: Call<Vec<Stored>>,
    drafts: Vec<Draft>,
    /// True if the messages are a batch: see the invariant on batches in the [module docs](self).
    is_batch: bool,
    /// The time of the append, in milliseconds since 1970 UTC.
    at: u64,
    _bytes: OwnedSemaphorePermit,
}

/// A job of the publisher. The jobs of a room run in order.
enum PublishJob {
    Append(Append),
    /// A change of a room under conditions.
    Change(RoomName, BoxFuture<'static, ()>),
}

impl PublishJob {
    const fn room(&self) -> &RoomName {
        match self {
            Self::Append(append) => &append.call.room,
            Self::Change(room, _) => room,
        }
    }
}

/// An [`Append`] that was published.
struct SentAppend<'a> {
    append: Append,
    /// The results of the messages that were sent before one failed, in order.
    results: Results<'a>,
    /// The error that ended it.
    failure: Option<NatsError>,
    began: Instant,
}

type Results<'a> = Vec<BoxFuture<'a, Result<Stored, NatsError>>>;

impl Publisher {
    /// Creates a publisher. The returned task publishes and finishes appends until [`Publisher::close`] was called and
    /// all of them are finished.
    pub(super) fn start(
        rooms: Arc<NatsRooms>,
        changes: Arc<ChangeSender>,
    ) -> (Arc<Self>, impl Future<Output = ()>) {
        let (queue, queued) = mpsc::unbounded_channel();
        let pending = Arc::new(PendingPublishes::new());
        let writer = Arc::new(RoomWriter {
            rooms: rooms.clone(),
            pending: pending.clone(),
        });
        let publisher = Arc::new(Self {
            rooms,
            changes,
            pending,
            writer,
            queue: Mutex::new(Some(queue)),
            bytes: Arc::new(Semaphore::new(MAX_PENDING_BYTES)),
        });

        let task = publisher.clone().run(queued);
        (publisher, task)
    }

    fn streams(&self) -> &Streams {
        &self.rooms.streams
    }

    /// Appends `drafts` to `room`. Rejects them if NATS is unavailable or too many bytes are unfinished.
    pub(super) fn append(
        &self,
        room: &RoomName,
        drafts: Vec<Draft>,
        at: u64,
        is_batch: bool,
    ) -> StoreFuture<Vec<Stored>> {
        let (call, result) = self.changes.begin(room, drafts.len());

        match (self.reserve(&drafts), &*self.queue.lock()) {
            (Err(error), _) => self.finish_call(call, Err(error.into())),
            (Ok(bytes), Some(queue)) => {
                let append = Append {
                    call,
                    drafts,
                    is_batch,
                    at,
                    _bytes: bytes,
                };
                // Sending fails only after a panic of the publisher. The call is dropped, so its result is an error.
                let _ = queue.send(PublishJob::Append(append));
            }
            // The store is closed; the call is dropped, so its result is an error.
            (Ok(_), None) => {}
        }

        result
    }

    /// Runs `change` of `room` with `drafts`, after the appends and changes that began before it. `finish` returns the
    /// change with its result.
    pub(super) fn change<T, F>(
        &self,
        room: &RoomName,
        drafts: Vec<Draft>,
        change: impl FnOnce(Arc<RoomWriter>, RoomName, Vec<Draft>) -> F,
        finish: fn(Call<T>, Result<T, StoreError>) -> LogChange,
    ) -> StoreFuture<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, NatsError>> + Send + 'static,
    {
        let (call, result) = self.changes.begin(room, drafts.len());
        let reserved = match self.reserve(&drafts) {
            Ok(reserved) => reserved,
            Err(error) => {
                self.changes.send(vec![finish(call, Err(error.into()))]);
                return result;
            }
        };

        let change = change(self.writer.clone(), room.clone(), drafts);
        let changes = self.changes.clone();
        let run = async move {
            let result = change.await.map_err(StoreError::from);
            changes.send(vec![finish(call, result)]);
            drop(reserved);
        };
        if let Some(queue) = &*self.queue.lock() {
            // Sending fails only after a panic of the publisher. The call is dropped, so its result is an error.
            let _ = queue.send(PublishJob::Change(room.clone(), run.boxed()));
        }
        result
    }

    /// Reserves memory for `drafts`. An append that is larger than the limit is accepted alone.
    fn reserve(&self, drafts: &[Draft]) -> Result<OwnedSemaphorePermit, NatsError> {
        self.streams().health.check_writable()?;
        let bytes: usize = drafts.iter().map(Draft::size).sum();
        let permits = bytes.min(MAX_PENDING_BYTES) as u32;
        let reserved = self.bytes.clone().try_acquire_many_owned(permits);
        reserved.map_err(|_| {
            NatsError::Rejected(format!(
                "this message and those that wait for NATS exceed {MAX_PENDING_BYTES} bytes; try again later"
            ))
        })
    }

    fn finish_call(&self, call: Call<Vec<Stored>>, result: Result<Vec<Stored>, StoreError>) {
        self.changes
            .send(vec![LogChange::AppendFinished(call, result)]);
    }

    /// Accepts no more appends.
    pub(super) fn close(&self) {
        self.queue.lock().take();
    }

    async fn run(self: Arc<Self>, queue: UnboundedReceiver<PublishJob>) {
        tokio::select! {
            () = self.publish_all(queue) => {}
            () = self.test_writes() => {}
        }
    }

    async fn publish_all(&self, mut queue: UnboundedReceiver<PublishJob>) {
        let mut publishing = RoomQueues::new(async |job: PublishJob| match job {
            PublishJob::Append(append) => Some(self.publish(append).await),
            PublishJob::Change(_, change) => {
                change.await;
                None
            }
        });
        let mut finishing = RoomQueues::new(async |sent: SentAppend<'_>| self.finish(sent).await);

        loop {
            tokio::select! {
                Some(job) = queue.recv() => publishing.push(job.room().clone(), job),
                Some(sent) = publishing.next() => {
                    if let Some(sent) = sent {
                        finishing.push(sent.append.call.room.clone(), sent);
                    }
                }
                Some(()) = finishing.next() => {}
                else => return,
            }
        }
    }

    /// Publishes an empty command at intervals while writes fail. Without it the store would never become ready again,
    /// because it rejects all appends in that state.
    async fn test_writes(&self) {
        let mut health = self.streams().health.watch();
        let is_read_only = |health: &Health| matches!(health, Health::ReadOnly(_));

        // `wait_for` fails only after the health tracker is dropped, and `self` keeps it alive.
        while health.wait_for(is_read_only).await.is_ok() {
            sleep(TEST_INTERVAL).await;
            // The outcome is recorded in the health.
            let _ = self.streams().publish_command(Bytes::new()).await;
        }
    }

    /// Sends the messages of `append` until one fails.
    async fn publish(&self, append: Append) -> SentAppend<'_> {
        let began = Instant::now();
        let mut results = Vec::with_capacity(append.drafts.len());
        let sent = self.send_all(&append, &mut results).await;

        SentAppend {
            append,
            results,
            failure: sent.err(),
            began,
        }
    }

    async fn send_all<'a>(
        &'a self,
        append: &Append,
        results: &mut Results<'a>,
    ) -> Result<(), NatsError> {
        self.streams().health.check_writable()?;
        let (room, at) = (&append.call.room, append.at);
        let has_conditions = self.rooms.with(room, |room| room.life.has_conditions());
        if has_conditions == Some(true)
            && let Some(stored) = self.append_to_created(append).await?
        {
            results.extend(stored.into_iter().map(|stored| ready(Ok(stored)).boxed()));
            return Ok(());
        }
        let mut messages = self.messages(append)?;

        // After a duplicate the room is still empty, so the next message may be the first.
        for draft in &append.drafts {
            let Some(stored) = self.publish_first(room, draft, at).await? else {
                break;
            };
            results.push(ready(Ok(stored)).boxed());
            messages.pop_front();
        }
        if append.is_batch {
            return self.publish_batch(append, messages, results).await;
        }

        let subject = self.streams().subjects.room(room);
        for PreparedMessage {
            pending, message, ..
        } in messages
        {
            let ack = self.streams().send(subject.clone(), message).await?;
            results.push(self.confirm(room.clone(), at, pending, ack).boxed());
        }
        Ok(())
    }

    /// Stores the messages of `append` in a room that was created or closed. Returns `None` if the room was deleted.
    async fn append_to_created(&self, append: &Append) -> Result<Option<Vec<Stored>>, NatsError> {
        let (room, conditions) = (&append.call.room, AppendConditions::default());
        let appended = self
            .writer
            .append(room, &append.drafts, &conditions, append.at);
        let (result, stored) = appended.await?;
        match result.outcome {
            AppendOutcome::Refused(AppendRefusal::NoRoom) => Ok(None),
            AppendOutcome::Refused(_) => Err(NatsError::Closed),
            AppendOutcome::Stored | AppendOutcome::Duplicate { .. } => Ok(Some(stored)),
        }
    }

    /// Creates the messages of `append`. Checks that NATS accepts the sizes of those of a batch.
    fn messages(&self, append: &Append) -> Result<VecDeque<PreparedMessage>, NatsError> {
        let room = &append.call.room;
        let seen = self.rooms.with(room, |room| room.newest_kept()).flatten();
        let base = self.base(room);

        let message = |(index, draft): (usize, &Draft)| {
            let pending = self.pending.begin();
            let mut entry = StreamEntry::new(draft, append.at, pending.id);
            entry.seen = seen;

            let id = entry.message_id(room, base);
            let mut message = entry.to_message(room, base, payload(draft));
            if append.is_batch {
                let size = entry.to_json().len() + payload(draft).len();
                self.streams().check_size(index + 1, size)?;
                message = message.message_id(&id);
            }
            Ok(PreparedMessage {
                pending,
                id,
                message,
            })
        };
        append.drafts.iter().enumerate().map(message).collect()
    }

    /// Sends the messages of a batch in runs, and records the newest offset of the room.
    async fn publish_batch<'a>(
        &'a self,
        append: &Append,
        messages: VecDeque<PreparedMessage>,
        results: &mut Results<'a>,
    ) -> Result<(), NatsError> {
        let (room, at) = (&append.call.room, append.at);
        let mut acked = Vec::new();
        let sent = self.writer.publish_runs(room, messages, None, &mut acked);
        let sent = sent.await;
        // This is necessary after an error too, because the messages before it are stored.
        if let Some((_, newest)) = acked.last() {
            self.record_head(room, newest.sequence).await;
        }

        results.extend(acked.into_iter().map(|(pending, ack)| {
            let ack = ready(Ok(ack));
            self.confirm(room.clone(), at, pending, ack).boxed()
        }));
        sent.map_err(|error| match (results.len(), append.drafts.len()) {
            (0, _) => error,
            (stored, messages) => NatsError::Rejected(format!(
                "the first {stored} of {messages} messages are stored, then: {error}"
            )),
        })
    }

    /// Publishes `draft` if `room` is empty, and returns `None` if it is not. The first message of a room contains the
    /// offset before it, which is stored nowhere else in the stream. NATS therefore stores it only if it is the first,
    /// and this node sends nothing else to the room until the consumer has delivered it.
    async fn publish_first(
        &self,
        room: &RoomName,
        draft: &Draft,
        at: u64,
    ) -> Result<Option<Stored>, NatsError> {
        let head = self.rooms.bounds(room)?.head;
        let may_be_empty = self.rooms.with(room, |room| room.may_be_empty());
        if may_be_empty != Some(true) {
            return Ok(None);
        }

        let pending = self.pending.begin();
        let mut entry = StreamEntry::new(draft, at, pending.id);
        entry.prev = Some(head);
        // After the messages of the room, or the room before it, were removed, the last message is the mark of that.
        let last = |room: &mut NatsRoomState| room.life.ends_with_mark.then_some(room.life.applied);
        let last = self.rooms.with(room, last).flatten().unwrap_or_default();
        let message = entry.to_message(room, self.base(room), payload(draft));
        let message = message.expected_last_subject_sequence(last);

        let subject = self.streams().subjects.room(room);
        let ack = match self.streams().send(subject, message).await?.await {
            // Another node has stored the first message.
            Err(NatsError::Conflict) => return Ok(None),
            ack => ack?,
        };
        if !ack.duplicate {
            self.record_head(room, ack.sequence).await;
        }
        let stored = self.writer.confirm(room, at, pending, ack).await?;
        Ok(Some(stored))
    }

    /// Returns the offset after which `room` begins.
    fn base(&self, room: &RoomName) -> u64 {
        let base = self.rooms.with(room, |room| room.life.base);
        base.unwrap_or_default()
    }

    /// Records that the newest offset of `room` is `head`, for a message whose headers state conditions.
    async fn record_head(&self, room: &RoomName, head: u64) {
        if let Err(error) = self.streams().heads.record_head(room, head).await {
            warn!(%room, head, %error, "could not record the newest offset of a room; when its messages have expired, clients that resume may get recovery \"lost\"");
        }
    }

    /// Waits until the publish `pending` is acknowledged, and the consumer has delivered it.
    async fn confirm(
        &self,
        room: RoomName,
        at: u64,
        pending: PendingPublish,
        ack: impl Future<Output = Result<PublishAck, NatsError>>,
    ) -> Result<Stored, NatsError> {
        self.writer.confirm(&room, at, pending, ack.await?).await
    }

    /// Waits for the outcome of `sent` and finishes its append.
    async fn finish(&self, sent: SentAppend<'_>) {
        let SentAppend {
            append,
            results,
            failure,
            began,
        } = sent;

        // The lookups of duplicates run concurrently.
        let results = iter(results).buffered(MAX_LOOKUPS);
        let stored = results.try_collect::<Vec<_>>().await;
        let result = failure.map_or(stored, Err);

        match &result {
            Ok(stored) => metrics::record_commit(began.elapsed(), stored.len()),
            Err(NatsError::Closed) => {}
            Err(_) => metrics::count_store_failure(),
        }
        self.finish_call(append.call, result.map_err(StoreError::from));
    }

    /// Deletes the message at `offset` of `room`; `at` is the current time in milliseconds since 1970 UTC.
    pub(super) async fn delete(
        &self,
        room: &RoomName,
        offset: Offset,
        at: u64,
    ) -> Result<Deleted, NatsError> {
        self.streams().health.check_writable()?;
        let bounds = self.rooms.bounds(room)?;
        let sequence = offset.0;
        if bounds.first == Offset(0) || !(bounds.first..=bounds.head).contains(&offset) {
            return Ok(Deleted::NotKept);
        }

        let is_deleted = || {
            let has_tombstone = |room: &mut NatsRoomState| room.tombstones.get(sequence).is_some();
            self.rooms.with(room, has_tombstone) == Some(true)
        };
        if is_deleted() {
            self.streams().erase(sequence).await?;
            return Ok(Deleted::Before);
        }

        let subject = self.streams().subjects.room(room);
        let message = self.streams().get(sequence).await?;
        let Some(message) = message.filter(|message| *message.subject == *subject) else {
            // Another node may have deleted it, so the consumer must catch up first.
            let newest = self.streams().last_sequence().await?;
            self.rooms.wait_for(newest).await?;
            return Ok(if is_deleted() {
                Deleted::Before
            } else {
                Deleted::NotKept
            });
        };

        let next = self.streams().next(room, sequence + 1).await?;
        let tombstone = self
            .rooms
            .with(room, |room| room.tombstones.next(sequence + 1));
        let next = next.map(|next| next.sequence).into_iter();
        let next = next.chain(tombstone.flatten()).min().map(Offset);

        let pending = self.pending.begin();
        let entry = Record::parse(&message).entry;
        let tombstone = entry.clone().into_tombstone(at, next, pending.id);
        let subject = self.streams().subjects.tombstone(room, sequence);
        // The id makes exactly one of several concurrent deletions of the message succeed.
        let tombstone = tombstone.to_message(room, 0, Bytes::new());
        let tombstone = tombstone.message_id(&subject);

        let ack = self.streams().send(subject, tombstone).await?.await?;
        if !ack.duplicate {
            let missed = self.rooms.wait_for_missed(ack.sequence);
            pending.delivered(missed).await?;
        }
        self.writer.mark_removal(room, sequence, &entry).await?;
        self.streams().erase(sequence).await?;
        Ok(if ack.duplicate {
            Deleted::Before
        } else {
            Deleted::Now
        })
    }
}
