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

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use bytes::Bytes;
use futures::future::{BoxFuture, Join, join};
use futures::stream::{FuturesUnordered, iter};
use futures::{FutureExt, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::codec::{PublishId, Record, StreamEntry, payload};
use super::connection::NatsError;
use super::room_state::RoomState;
use super::rooms::Rooms;
use super::streams::Streams;
use crate::protocol::{Offset, RoomName};
use crate::server::metrics;
use crate::server::room::{Draft, Frame};
use crate::server::store::changes::{Call, ChangeSender, LogChange, StoreFuture};
use crate::server::store::{Deleted, Health, StoreError, Stored};

/// The timeout of the delivery of an acknowledged message.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);
/// The interval of test writes while writes fail.
const TEST_INTERVAL: Duration = Duration::from_millis(500);
/// The maximum number of bytes of unfinished appends; further appends are rejected.
const MAX_PENDING_BYTES: usize = 64 * 1024 * 1024;
/// The initial number of messages of a batch that are sent before the first ack. It doubles while no other message
/// comes between them.
const FIRST_RUN: usize = 16;
/// The maximum number of messages of a batch that are sent before the first ack.
const LONGEST_RUN: usize = 256;
/// The maximum number of concurrent lookups of duplicates in one append.
const MAX_LOOKUPS: usize = 64;

/// The publisher. See the [module docs](self).
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) rooms: Arc<Rooms>,
    pub(super) changes: ChangeSender,
    pub(super) pending: Arc<PendingPublishes>,
    /// The queue of appends; `None` after the store is closed.
    queue: Mutex<Option<UnboundedSender<Append>>>,
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

/// A message of an append.
struct OutgoingMessage {
    pending: PendingPublish,
    /// The id by which NATS recognizes it in a batch.
    id: String,
    message: PublishMessage,
}

impl Publisher {
    /// Creates a publisher. The returned task publishes and finishes appends until [`Publisher::close`] was called and
    /// all of them are finished.
    pub(super) fn start(rooms: Arc<Rooms>) -> (Arc<Self>, impl Future<Output = ()>) {
        let (queue, queued) = mpsc::unbounded_channel();
        let publisher = Arc::new(Self {
            rooms,
            changes: ChangeSender::default(),
            pending: Arc::new(PendingPublishes::new()),
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
                let _ = queue.send(append);
            }
            // The store is closed; the call is dropped, so its result is an error.
            (Ok(_), None) => {}
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

    async fn run(self: Arc<Self>, queue: UnboundedReceiver<Append>) {
        tokio::select! {
            () = self.publish_all(queue) => {}
            () = self.test_writes() => {}
        }
    }

    async fn publish_all(&self, mut queue: UnboundedReceiver<Append>) {
        let mut publishing = RoomQueues::new(async |append: Append| self.publish(append).await);
        let mut finishing = RoomQueues::new(async |sent: SentAppend<'_>| self.finish(sent).await);

        loop {
            tokio::select! {
                Some(append) = queue.recv() => {
                    publishing.push(append.call.room.clone(), append);
                }
                Some(sent) = publishing.next() => {
                    finishing.push(sent.append.call.room.clone(), sent);
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
        for OutgoingMessage {
            pending, message, ..
        } in messages
        {
            let ack = self.streams().send(subject.clone(), message).await?;
            results.push(self.confirm(room.clone(), at, pending, ack).boxed());
        }
        Ok(())
    }

    /// Creates the messages of `append`. Checks that NATS accepts the sizes of those of a batch.
    fn messages(&self, append: &Append) -> Result<VecDeque<OutgoingMessage>, NatsError> {
        let room = &append.call.room;
        let seen = self.rooms.with(room, |room| room.newest_kept()).flatten();

        let message = |(index, draft): (usize, &Draft)| {
            let pending = self.pending.begin();
            let mut entry = StreamEntry::new(draft, append.at, pending.id);
            entry.seen = seen;

            let id = entry.message_id(room);
            let mut message = message(room, &entry, payload(draft));
            if append.is_batch {
                let size = entry.to_json().len() + payload(draft).len();
                self.streams().check_size(index + 1, size)?;
                message = message.message_id(&id);
            }
            Ok(OutgoingMessage {
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
        messages: VecDeque<OutgoingMessage>,
        results: &mut Results<'a>,
    ) -> Result<(), NatsError> {
        let (room, at) = (&append.call.room, append.at);
        let mut acked = Vec::new();
        let sent = self.publish_runs(room, messages, &mut acked).await;
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

    /// Sends `messages` in runs, and moves those that are stored to `acked`. Each message is stored only directly after
    /// the previous one. If a message of another node or a duplicate interrupts a run, the rest of it is sent again.
    async fn publish_runs(
        &self,
        room: &RoomName,
        mut messages: VecDeque<OutgoingMessage>,
        acked: &mut Vec<(PendingPublish, PublishAck)>,
    ) -> Result<(), NatsError> {
        let subject = self.streams().subjects.room(room);
        let mut longest = FIRST_RUN;

        while !messages.is_empty() {
            let mut acks = Vec::new();
            let mut previous: Option<&str> = None;
            for OutgoingMessage { id, message, .. } in messages.iter().take(longest) {
                let mut message = message.clone();
                if let Some(previous) = previous.replace(id) {
                    message = message.expected_last_message_id(previous);
                }
                acks.push(self.streams().send(subject.clone(), message).await?);
            }

            let mut stored = 0;
            for ack in acks {
                let ack = match ack.await {
                    Err(NatsError::Conflict) if stored > 0 => break,
                    ack => ack?,
                };
                acked.extend(messages.pop_front().map(|message| (message.pending, ack)));
                stored += 1;
            }
            // The factor of two limits the number of messages that are sent in vain.
            longest = (stored * 2).clamp(2, LONGEST_RUN);
        }
        Ok(())
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
        let message = message(room, &entry, payload(draft)).expected_last_subject_sequence(0);

        let subject = self.streams().subjects.room(room);
        let ack = match self.streams().send(subject, message).await?.await {
            // Another node has stored the first message.
            Err(NatsError::Conflict) => return Ok(None),
            ack => ack?,
        };
        if !ack.duplicate {
            self.record_head(room, ack.sequence).await;
        }
        let stored = self.confirm(room.clone(), at, pending, ready(Ok(ack)));
        stored.await.map(Some)
    }

    /// Records that the newest offset of `room` is `head`, for a message whose headers state conditions.
    async fn record_head(&self, room: &RoomName, head: u64) {
        if let Err(error) = self.streams().record_head(room, head).await {
            warn!(%room, head, %error, "could not record the newest offset of a room; when its messages have expired, clients that resume may get recovery \"lost\"");
        }
    }

    /// Waits until NATS has acknowledged the publish `pending` and the consumer has delivered it.
    async fn confirm(
        &self,
        room: RoomName,
        at: u64,
        pending: PendingPublish,
        ack: impl Future<Output = Result<PublishAck, NatsError>>,
    ) -> Result<Stored, NatsError> {
        let ack = ack.await?;
        if ack.duplicate {
            let at = self.time_of(&room, ack.sequence).await.unwrap_or(at);
            let offset = Offset(ack.sequence);
            return Ok(Stored::Duplicate { offset, at });
        }
        let frame = pending.delivered().await?;
        frame.map(Stored::New).ok_or(NatsError::Unconfirmed)
    }

    /// Returns the time of the message at `sequence`, in milliseconds since 1970 UTC; `None` if it is no longer kept.
    async fn time_of(&self, room: &RoomName, sequence: u64) -> Option<u64> {
        let cached = self.rooms.with(room, |room| room.time_of(sequence));
        if let Some(cached) = cached.flatten() {
            return Some(cached);
        }
        let message = self.streams().get(sequence).await.ok()??;
        Some(Record::parse(&message).entry.at)
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
            let has_tombstone = |room: &mut RoomState| room.tombstones.get(sequence).is_some();
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
        let entry = entry.into_tombstone(at, next, pending.id);
        let subject = self.streams().subjects.tombstone(room, sequence);
        // The id makes exactly one of several concurrent deletions of the message succeed.
        let tombstone = self::message(room, &entry, Bytes::new()).message_id(&subject);

        let ack = self.streams().send(subject, tombstone).await?.await?;
        if !ack.duplicate {
            pending.delivered().await?;
        }
        self.streams().erase(sequence).await?;
        Ok(if ack.duplicate {
            Deleted::Before
        } else {
            Deleted::Now
        })
    }
}

fn message(room: &RoomName, entry: &StreamEntry, payload: Bytes) -> PublishMessage {
    let headers = entry.headers(room);
    PublishMessage::build().payload(payload).headers(headers)
}

/// The publishes of this node that the consumer has not delivered yet. Each publish has a [`PublishId`], by which the
/// consumer finds the task that waits for it.
#[derive(Debug)]
pub(super) struct PendingPublishes {
    node: u64,
    newest: AtomicU64,
    waiting: Mutex<HashMap<PublishId, oneshot::Sender<Option<Arc<Frame>>>>>,
}

/// A publish whose delivery is awaited. Dropping it cancels the wait.
#[derive(Debug)]
pub(super) struct PendingPublish {
    id: PublishId,
    delivery: oneshot::Receiver<Option<Arc<Frame>>>,
    publishes: Arc<PendingPublishes>,
}

impl PendingPublishes {
    fn new() -> Self {
        Self {
            node: fastrand::u64(..),
            newest: AtomicU64::new(0),
            waiting: Mutex::default(),
        }
    }

    /// Registers a new publish and returns it.
    fn begin(self: &Arc<Self>) -> PendingPublish {
        let id = PublishId {
            node: self.node,
            number: self.newest.fetch_add(1, Ordering::Relaxed) + 1,
        };
        let (sender, delivery) = oneshot::channel();
        self.waiting.lock().insert(id, sender);

        PendingPublish {
            id,
            delivery,
            publishes: self.clone(),
        }
    }

    /// Completes the publish `id` with its `frame`, `None` for a tombstone; does nothing if another node published it.
    pub(super) fn deliver(&self, id: PublishId, frame: Option<Arc<Frame>>) {
        if let Some(waiting) = self.waiting.lock().remove(&id) {
            // The receiver has been dropped if the publish timed out.
            let _ = waiting.send(frame);
        }
    }
}

impl PendingPublish {
    /// Waits for the delivery. A late one is reported by the consumer, so it is not recorded as a failed write.
    async fn delivered(mut self) -> Result<Option<Arc<Frame>>, NatsError> {
        match timeout(DELIVERY_TIMEOUT, &mut self.delivery).await {
            Ok(Ok(frame)) => Ok(frame),
            _ => Err(NatsError::Unconfirmed),
        }
    }
}

impl Drop for PendingPublish {
    fn drop(&mut self) {
        self.publishes.waiting.lock().remove(&self.id);
    }
}

/// Queues of work that runs in order within each room, and concurrently in different rooms. A room has a queue only
/// while it has work.
struct RoomQueues<T, W, F: Future> {
    work: W,
    /// The rooms in which work runs, each with its waiting items.
    waiting: HashMap<RoomName, VecDeque<T>>,
    running: FuturesUnordered<Join<Ready<RoomName>, F>>,
}

impl<T, W, F> RoomQueues<T, W, F>
where
    W: Fn(T) -> F,
    F: Future,
{
    /// Creates empty queues; `work` is called for each item when its turn comes.
    fn new(work: W) -> Self {
        Self {
            work,
            waiting: HashMap::new(),
            running: FuturesUnordered::new(),
        }
    }

    /// Adds `item` to the end of the queue of `room`.
    fn push(&mut self, room: RoomName, item: T) {
        match self.waiting.entry(room) {
            Entry::Occupied(mut waiting) => waiting.get_mut().push_back(item),
            Entry::Vacant(idle) => {
                let work = (self.work)(item);
                self.running.push(join(ready(idle.key().clone()), work));
                idle.insert(VecDeque::new());
            }
        }
    }

    /// Waits for the next finished item of any room and returns its result; `None` if no work runs. Cancel safe: no
    /// result is lost.
    async fn next(&mut self) -> Option<F::Output> {
        let (room, output) = self.running.next().await?;

        match self.waiting.get_mut(&room).and_then(VecDeque::pop_front) {
            Some(item) => {
                let work = (self.work)(item);
                self.running.push(join(ready(room), work));
            }
            None => {
                self.waiting.remove(&room);
            }
        }
        Some(output)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::sync::Semaphore;

    use super::*;

    fn room(name: &str) -> RoomName {
        RoomName::parse(name).expect("a name")
    }

    #[test]
    fn a_waiting_room_delays_only_its_own_items() {
        let gate = Semaphore::new(0);
        let mut queues = RoomQueues::new(async |(is_gated, number): (bool, u32)| {
            if is_gated {
                gate.acquire().await.expect("it is never closed").forget();
            }
            number
        });

        queues.push(room("held"), (true, 1));
        queues.push(room("held"), (false, 2));
        queues.push(room("free"), (false, 3));
        queues.push(room("free"), (false, 4));
        let mut done = || queues.next().now_or_never().flatten();

        assert_eq!([done(), done(), done()], [Some(3), Some(4), None]);
        gate.add_permits(1);
        assert_eq!([done(), done(), done()], [Some(1), Some(2), None]);
        assert!(queues.waiting.is_empty(), "idle rooms have no queue");
    }
}
