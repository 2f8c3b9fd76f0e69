//! The publisher of appends. An append is finished when NATS has acknowledged its messages and the consumer has
//! delivered them.
//!
//! # Invariants
//!
//! - The appends of a room are published and finished in order. Rooms do not wait for each other: the first message
//!   of an empty room, or the lookup of a duplicate, costs a round trip in that room only.
//! - After a draft has failed, no later draft of its append is sent.
//! - A batch is never stored with a gap. JetStream (2.9) cannot store several messages atomically, so a batch that
//!   NATS refuses in the middle is stored up to that message. All checks that are possible in advance run before the
//!   first message is sent, so a message that is too large refuses the whole batch. Each message after the first is
//!   stored only directly after the previous one (`Nats-Expected-Last-Msg-Id`), even if requests are refused or lost.
//!   The error of a batch contains the number of its stored messages.
//! - A publish without a response in time fails, though it may be stored. A client that sends it again with the same
//!   key receives its offset.
//!
//! Deliberately absent: automatic retries of a publish without a response, which could overtake a later message.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::council::NatsCouncil;
use super::entry::{self, StreamEntry};
use super::flights::{Delivery, PendingPublish, PendingPublishes};
use super::pulse::HealthTracker;
use super::room_queues::RoomQueues;
use super::rooms::RoomStates;
use super::stream::Streams;
use super::{NatsError, WAIT};
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::metrics;
use crate::server::room::Draft;
use crate::server::store::changes::{Call, ChangeSender, LogChange};
use crate::server::store::{Health, StoreError, Stored};

/// The timeout of an ack.
const ACK_WITHIN: Duration = Duration::from_secs(5);
/// The interval of test writes while writes fail.
const TRY_EVERY: Duration = Duration::from_millis(500);
/// The maximum number of bytes of unfinished appends; further appends are refused.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// The initial number of messages of a batch that are sent before the first ack. It doubles while no other message
/// comes between them.
const FIRST_RUN: usize = 16;
/// The maximum number of concurrent lookups of duplicates in one append.
const MAX_LOOK_UPS: usize = 64;
/// The maximum number of messages of a batch that are sent before the first ack.
const LONGEST_RUN: usize = 256;

/// The messages of one append, which are stored in order in one room.
pub(super) struct AppendRequest {
    pub(super) call: Call<Vec<Stored>>,
    pub(super) drafts: Vec<Draft>,
    /// True if the messages are a batch: see the invariant on batches in the [module docs](self).
    pub(super) is_batch: bool,
    /// The time of the append, in milliseconds since 1970 UTC.
    pub(super) at: u64,
}

/// See the [module docs](self).
pub(super) struct Publisher {
    pub(super) rolls: Arc<Streams>,
    pub(super) rooms: Arc<RoomStates>,
    pub(super) flights: Arc<PendingPublishes>,
    pub(super) pulse: Arc<HealthTracker>,
    council: NatsCouncil,
    changes: Arc<ChangeSender>,
    /// The number of bytes of unfinished appends.
    waiting: AtomicUsize,
}

/// An [`AppendRequest`] that was published.
struct SentMessage {
    append: AppendRequest,
    /// The messages that were sent before one failed, in order.
    messages: Vec<OutgoingMessage>,
    /// The error that ended it.
    failure: Option<NatsError>,
    /// The time at which publishing started.
    began: Instant,
    /// The time at which the last message was sent.
    sent: Instant,
}

/// A draft that was published.
struct OutgoingMessage {
    flight: PendingPublish,
    ack: Ack,
}

/// The outcome of publishing a message that may be the first of its room.
enum Began {
    /// A message that was stored as the first.
    Stored(OutgoingMessage),
    /// A message that was not stored, because the room is not empty.
    NotEmpty(PendingPublish),
}

/// The ack of NATS for a message.
enum Ack {
    /// An ack that is still awaited.
    Due(PublishAckFuture),
    /// An ack that has been received.
    Come(PublishAck),
}

impl Publisher {
    pub(super) fn new(
        rolls: Arc<Streams>,
        rooms: Arc<RoomStates>,
        flights: Arc<PendingPublishes>,
        pulse: Arc<HealthTracker>,
        council: NatsCouncil,
        changes: Arc<ChangeSender>,
    ) -> Self {
        Self {
            rolls,
            rooms,
            flights,
            pulse,
            council,
            changes,
            waiting: AtomicUsize::new(0),
        }
    }

    /// Sends `append` through `queue`. Refuses it if NATS is unavailable or too many bytes are unfinished.
    pub(super) fn enqueue(
        &self,
        append: AppendRequest,
        queue: Option<&UnboundedSender<AppendRequest>>,
    ) {
        let size = size(&append);
        let before = self.waiting.fetch_add(size, Ordering::AcqRel);
        let (append, reason) = match (self.pulse.refusal(), queue) {
            (_, None) => (append, "it is closed".to_owned()),
            (Some(reason), _) => (append, reason),
            (None, Some(_)) if before > 0 && before + size > MAX_WAITING_BYTES => {
                (append, "NATS does not keep up".to_owned())
            }
            (None, Some(queue)) => match queue.send(append) {
                Ok(()) => return,
                Err(SendError(append)) => (append, "it is closed".to_owned()),
            },
        };

        self.waiting.fetch_sub(size, Ordering::AcqRel);
        self.finish(append.call, Err(StoreError::Unavailable(reason)));
    }

    fn finish(&self, call: Call<Vec<Stored>>, result: Result<Vec<Stored>, StoreError>) {
        self.changes
            .send(vec![LogChange::AppendFinished(call, result)]);
    }

    /// Publishes and finishes the appends from `queue`, until it is closed and all of them are finished.
    pub(super) async fn run(&self, queue: UnboundedReceiver<AppendRequest>) {
        tokio::select! {
            () = self.publish_all(queue) => {}
            () = self.try_again_forever() => {}
        }
    }

    async fn publish_all(&self, mut queue: UnboundedReceiver<AppendRequest>) {
        let mut publishing =
            RoomQueues::new(async |append: AppendRequest| self.publish(append).await);
        let mut finishing = RoomQueues::new(async |sent: SentMessage| self.wait(sent).await);

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
    /// because it refuses all appends in that state.
    async fn try_again_forever(&self) {
        let mut health = self.pulse.watch();
        // `wait_for` fails only after the `HealthTracker` is dropped, and `self` keeps it alive.
        while health
            .wait_for(|health| matches!(health, Health::ReadOnly(_)))
            .await
            .is_ok()
        {
            tokio::time::sleep(TRY_EVERY).await;
            let tried = self.council.tell(Bytes::new()).await;
            self.pulse
                .write_was(tried.map_err(|error| error.to_string()));
        }
    }

    /// Sends the messages of `append` until one fails.
    async fn publish(&self, append: AppendRequest) -> SentMessage {
        let began = Instant::now();
        let mut messages = Vec::with_capacity(append.drafts.len());
        let (room, drafts, at) = (&append.call.room, append.drafts.as_slice(), append.at);

        let result = match self.pulse.refusal() {
            Some(reason) => Err(NatsError::Publish(reason)),
            None if append.is_batch => {
                let sent = self.publish_batch(room, drafts, at, &mut messages).await;
                // This is necessary after an error too, because the messages before it are stored.
                let remembered = self.remember(room, messages.last()).await;
                if let (Err(_), Err(error)) = (&sent, &remembered) {
                    warn!(%room, %error, "could not record the newest offset of a room; when its messages have expired, clients that resume may get recovery \"lost\"");
                }
                sent.and(remembered)
            }
            None => self.publish_each(room, drafts, at, &mut messages).await,
        };

        SentMessage {
            append,
            messages,
            failure: result.err(),
            began,
            sent: Instant::now(),
        }
    }

    /// Records that `newest`, the last stored message of a batch, is the newest one of `room`.
    async fn remember(
        &self,
        room: &RoomName,
        newest: Option<&OutgoingMessage>,
    ) -> Result<(), NatsError> {
        match newest.map(|newest| &newest.ack) {
            Some(Ack::Come(ack)) => self.rolls.remember(room, ack.sequence).await,
            Some(Ack::Due(_)) | None => Ok(()),
        }
    }

    /// Sends all drafts without waiting for their acks.
    async fn publish_each(
        &self,
        room: &RoomName,
        drafts: &[Draft],
        at: u64,
        messages: &mut Vec<OutgoingMessage>,
    ) -> Result<(), NatsError> {
        for draft in drafts {
            let flight = self.flights.begin();

            let message = match self.begin_room(room, draft, at, flight).await? {
                Began::Stored(message) => message,
                Began::NotEmpty(flight) => {
                    let mut entry = StreamEntry::new(draft, at, flight.ticket);
                    entry.seen = self.rooms.newest_kept(room);
                    let ack = self.send(room, message(room, draft, &entry)?).await?;
                    OutgoingMessage {
                        flight,
                        ack: Ack::Due(ack),
                    }
                }
            };
            messages.push(message);
        }
        Ok(())
    }

    /// Sends the drafts in runs. Each draft is stored only directly after the previous one. If a message of another
    /// room or a duplicate interrupts a run, the rest of it is sent again.
    async fn publish_batch(
        &self,
        room: &RoomName,
        drafts: &[Draft],
        at: u64,
        messages: &mut Vec<OutgoingMessage>,
    ) -> Result<(), NatsError> {
        let seen = self.rooms.newest_kept(room);
        let entries: Vec<(&Draft, PendingPublish, StreamEntry)> = drafts
            .iter()
            .map(|draft| {
                let flight = self.flights.begin();
                let mut entry = StreamEntry::new(draft, at, flight.ticket);
                entry.seen = seen;
                (draft, flight, entry)
            })
            .collect();

        for (number, (draft, _, entry)) in entries.iter().enumerate() {
            let message = message(room, draft, entry)?.message_id(entry.message_id(room));
            self.rolls.check_size(number + 1, message)?;
        }

        let mut entries = VecDeque::from(entries);
        let mut longest = FIRST_RUN;
        if let Some((draft, flight, entry)) = entries.pop_front() {
            match self.begin_room(room, draft, at, flight).await? {
                Began::Stored(message) => messages.push(message),
                Began::NotEmpty(flight) => entries.push_front((draft, flight, entry)),
            }
        }

        while !entries.is_empty() {
            let run = self.publish_run(room, &mut entries, longest, messages);
            let stored = run.await?;
            // The factor of two limits the number of messages that are sent in vain.
            longest = (stored * 2).clamp(2, LONGEST_RUN);
        }
        Ok(())
    }

    /// Sends at most `longest` of `entries`, moves the stored ones to `messages`, and returns their number.
    async fn publish_run(
        &self,
        room: &RoomName,
        entries: &mut VecDeque<(&Draft, PendingPublish, StreamEntry)>,
        longest: usize,
        messages: &mut Vec<OutgoingMessage>,
    ) -> Result<usize, NatsError> {
        let mut acks = Vec::with_capacity(longest.min(entries.len()));
        let mut before: Option<String> = None;
        for (draft, _, entry) in entries.iter().take(longest) {
            let id = entry.message_id(room);
            let mut sent = message(room, draft, entry)?.message_id(&id);
            if let Some(before) = before.replace(id) {
                sent = sent.expected_last_message_id(before);
            }
            acks.push(self.send(room, sent).await?);
        }

        let mut stored = 0;
        for ack in acks {
            let ack = match timeout_at(Instant::now() + WAIT, ack).await {
                Ok(Ok(ack)) => Ack::Come(ack),
                Ok(Err(error))
                    if stored > 0 && error.kind() == PublishErrorKind::WrongLastMessageId =>
                {
                    break;
                }
                Ok(Err(error)) => return Err(self.failed(&error)),
                Err(_elapsed) => return Err(self.unanswered()),
            };
            if let Some((_, flight, _)) = entries.pop_front() {
                messages.push(OutgoingMessage { flight, ack });
            }
            stored += 1;
        }
        Ok(stored)
    }

    /// Waits for the outcome of `sent` and finishes its append.
    async fn wait(&self, sent: SentMessage) {
        let SentMessage {
            append,
            messages,
            failure,
            began,
            sent,
        } = sent;

        let bytes = size(&append);
        let AppendRequest { call, at, .. } = append;
        // In a batch, all sent messages have been acknowledged.
        let (drafts, acknowledged) = (append.drafts.len(), messages.len());

        // The lookups of duplicates run concurrently.
        let deadline = sent + ACK_WITHIN;
        let settled = futures::stream::iter(messages)
            .map(|message| self.settle(&call.room, at, message, deadline))
            .buffered(MAX_LOOK_UPS)
            .try_collect::<Vec<_>>()
            .await;
        let result = match (settled, failure) {
            (Ok(stored), None) => Ok(stored),
            (_, Some(error)) | (Err(error), None) => Err(error),
        };

        self.waiting.fetch_sub(bytes, Ordering::AcqRel);
        let result = match result {
            Ok(stored) => {
                metrics::record_commit(began.elapsed(), stored.len());
                self.pulse.write_was(Ok(()));
                Ok(stored)
            }
            Err(error) => {
                metrics::count_store_failure();
                Err(StoreError::Unavailable(
                    if append.is_batch && acknowledged > 0 {
                        format!(
                            "the first {acknowledged} of {drafts} messages are stored, then: {error}"
                        )
                    } else {
                        error.to_string()
                    },
                ))
            }
        };
        self.finish(call, result);
    }

    /// Converts the error of a publish. If it affects all publishes, further ones are refused until a write succeeds.
    fn failed(&self, error: &PublishError) -> NatsError {
        use PublishErrorKind::{BrokenPipe, Other, StreamNotFound, TimedOut};

        let refused = error.source().and_then(|source| source.downcast_ref());
        let is_too_large = refused.is_some_and(|refused: &async_nats::jetstream::Error| {
            refused.error_code() == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM
        });
        // The source contains the cause; the error alone only states that the publish failed.
        let reason = error
            .source()
            .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
        if !is_too_large && matches!(error.kind(), BrokenPipe | Other | StreamNotFound | TimedOut) {
            self.pulse.write_was(Err(reason.clone()));
        }
        NatsError::Publish(reason)
    }

    /// Records the missing response as a failed write and returns the error.
    fn unanswered(&self) -> NatsError {
        self.pulse.write_was(Err(NatsError::Unanswered.to_string()));
        NatsError::Unanswered
    }

    async fn send(
        &self,
        room: &RoomName,
        message: PublishMessage,
    ) -> Result<PublishAckFuture, NatsError> {
        let subject = self.rolls.subjects.room(room);
        let sent = self.rolls.context.send_publish(subject, message).await;
        sent.map_err(|error| self.failed(&error))
    }

    /// Publishes `draft` if `room` is empty. The first message of a room contains the offset before it, which is stored
    /// nowhere else in the stream. NATS therefore stores it only if it is the first, and this node sends nothing else
    /// to the room until the result is known.
    async fn begin_room(
        &self,
        room: &RoomName,
        draft: &Draft,
        at: u64,
        flight: PendingPublish,
    ) -> Result<Began, NatsError> {
        let bounds = self.rooms.bounds(room).ok_or(NatsError::NotOpen)?;
        if !self.rooms.may_be_empty(room) {
            return Ok(Began::NotEmpty(flight));
        }

        let mut entry = StreamEntry::new(draft, at, flight.ticket);
        entry.prev = Some(bounds.head);
        let message = message(room, draft, &entry)?.expected_last_subject_sequence(0);
        let ack = self.send(room, message).await?;

        match timeout_at(Instant::now() + WAIT, ack).await {
            Ok(Ok(ack)) => {
                if !ack.duplicate {
                    self.rooms.began(room, ack.sequence);
                    self.rolls.remember(room, ack.sequence).await?;
                }
                Ok(Began::Stored(OutgoingMessage {
                    flight,
                    ack: Ack::Come(ack),
                }))
            }
            // Another node has stored the first message.
            Ok(Err(error)) if error.kind() == PublishErrorKind::WrongLastSequence => {
                Ok(Began::NotEmpty(flight))
            }
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(_elapsed) => Err(self.unanswered()),
        }
    }

    /// Waits for the outcome of `message`, at most until `deadline`.
    async fn settle(
        &self,
        room: &RoomName,
        at: u64,
        message: OutgoingMessage,
        deadline: Instant,
    ) -> Result<Stored, NatsError> {
        let OutgoingMessage { mut flight, ack } = message;

        let ack = match ack {
            Ack::Come(ack) => ack,
            Ack::Due(ack) => timeout_at(deadline, ack)
                .await
                .map_err(|_elapsed| self.unanswered())?
                .map_err(|error| self.failed(&error))?,
        };

        if ack.duplicate {
            let at = self.at(room, ack.sequence).await.unwrap_or(at);
            return Ok(Stored::Duplicate {
                offset: Offset(ack.sequence),
                at,
            });
        }

        // The message is stored. If its delivery is late, the consumer reports that, so no failed write is recorded.
        match timeout_at(deadline, &mut flight.heard).await {
            Ok(Ok(Delivery::Entry(frame))) => Ok(Stored::New(frame)),
            _ => Err(NatsError::Unanswered),
        }
    }

    /// Returns the time of the message at `sequence`, in milliseconds since 1970 UTC; `None` if it is no longer kept.
    async fn at(&self, room: &RoomName, sequence: u64) -> Option<u64> {
        if let Some(at) = self.rooms.said_at(room, sequence) {
            return Some(at);
        }
        let message = self.rolls.at(sequence).await.ok()??;
        Some(StreamEntry::read(Some(&message.headers), &message.payload, 0).at())
    }
}

fn size(append: &AppendRequest) -> usize {
    append.drafts.iter().map(Draft::size).sum()
}

fn message(
    room: &RoomName,
    draft: &Draft,
    entry: &StreamEntry,
) -> Result<PublishMessage, NatsError> {
    let headers = entry
        .headers(room)
        .map_err(|error| NatsError::Publish(error.to_string()))?;
    Ok(PublishMessage::build()
        .payload(entry::payload(draft))
        .headers(headers))
}
