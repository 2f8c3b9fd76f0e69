//! The way into the stream: drafts are published one after the other without waiting, and reported in that order
//! once NATS has acknowledged them and the feed has brought them.
//!
//! A publish of which nothing is heard in time is refused, though it may be stored: who sends it again with its
//! key is told where. Deliberately absent: a second try of our own, which could overtake a later message.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use bytes::Bytes;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, timeout_at};

use super::council::NatsCouncil;
use super::entry::{self, Entry};
use super::flights::{Echo, Flight, Flights};
use super::pulse::Pulse;
use super::rooms::Rooms;
use super::stream::Rolls;
use super::{NatsError, WAIT};
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::metrics;
use crate::server::room::Draft;
use crate::server::store::{Health, Report, StoreError, Stored};

/// How long an `ack` may take.
const ACK_WITHIN: Duration = Duration::from_secs(5);
/// While writes do not get through, how often one is tried.
const TRY_EVERY: Duration = Duration::from_millis(500);
/// Bytes that may be on their way; more are refused.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// Some messages of one room in a row, and who is to be told.
pub(super) struct Append {
    pub(super) room: RoomName,
    pub(super) drafts: Vec<Draft>,
    /// Milliseconds since 1970 UTC.
    pub(super) at: u64,
    pub(super) report: Report,
}

/// See the [module docs](self).
pub(super) struct Publisher {
    pub(super) rolls: Arc<Rolls>,
    pub(super) rooms: Arc<Rooms>,
    pub(super) flights: Arc<Flights>,
    pub(super) pulse: Arc<Pulse>,
    council: NatsCouncil,
    /// Bytes that were taken and are not reported.
    waiting: AtomicUsize,
}

/// An [`Append`] that was published.
struct Sent {
    append: Append,
    messages: Vec<Result<Message, NatsError>>,
    bytes: usize,
    began: Instant,
}

/// One draft that was published.
struct Message {
    flight: Flight,
    ack: Ack,
}

/// What NATS says to it.
enum Ack {
    Due(PublishAckFuture),
    Come(PublishAck),
}

impl Publisher {
    pub(super) fn new(
        rolls: Arc<Rolls>,
        rooms: Arc<Rooms>,
        flights: Arc<Flights>,
        pulse: Arc<Pulse>,
        council: NatsCouncil,
    ) -> Self {
        Self {
            rolls,
            rooms,
            flights,
            pulse,
            council,
            waiting: AtomicUsize::new(0),
        }
    }

    /// Takes `append`, to be sent through `queue`, or refuses it: while NATS is away, and when too much waits.
    pub(super) fn take(&self, append: Append, queue: Option<&UnboundedSender<Append>>) {
        let size = size(&append);
        let before = self.waiting.fetch_add(size, Ordering::AcqRel);
        let refusal = match (self.pulse.refusal(), queue) {
            (_, None) => "it is closed".to_owned(),
            (Some(reason), _) => reason,
            (None, Some(_)) if before > 0 && before + size > MAX_WAITING_BYTES => {
                "NATS does not keep up".to_owned()
            }
            (None, Some(queue)) => match queue.send(append) {
                Ok(()) => return,
                Err(mpsc::error::SendError(append)) => {
                    self.waiting.fetch_sub(size, Ordering::AcqRel);
                    return (append.report)(Err(StoreError::Unavailable(
                        "it is closed".to_owned(),
                    )));
                }
            },
        };
        self.waiting.fetch_sub(size, Ordering::AcqRel);
        (append.report)(Err(StoreError::Unavailable(refusal)));
    }

    /// Publishes and reports what comes through `queue`, until that is closed and all of it is reported.
    pub(super) async fn run(&self, queue: UnboundedReceiver<Append>) {
        let (sent, reported) = mpsc::unbounded_channel();
        let publishing =
            futures::future::join(self.publish_all(queue, sent), self.report_all(reported));
        tokio::select! {
            _all = publishing => {}
            () = self.try_again_forever() => {}
        }
    }

    /// While writes do not get through nothing is taken, so nobody would notice when they do again: then an order
    /// that says nothing is tried.
    async fn try_again_forever(&self) {
        let mut health = self.pulse.watch();
        // It changes for as long as there is a pulse, which this one keeps.
        while health
            .wait_for(|health| matches!(health, Health::Refusing(_)))
            .await
            .is_ok()
        {
            tokio::time::sleep(TRY_EVERY).await;
            let tried = self.council.tell(Bytes::new()).await;
            self.pulse
                .write_was(tried.map_err(|error| error.to_string()));
        }
    }

    async fn publish_all(&self, mut queue: UnboundedReceiver<Append>, sent: UnboundedSender<Sent>) {
        while let Some(append) = queue.recv().await {
            let began = Instant::now();
            let mut messages = Vec::with_capacity(append.drafts.len());
            for draft in &append.drafts {
                messages.push(self.publish(&append.room, draft, append.at).await);
            }
            let bytes = size(&append);
            // The other end outlasts this one.
            let _ended = sent.send(Sent {
                append,
                messages,
                bytes,
                began,
            });
        }
    }

    async fn report_all(&self, mut sent: UnboundedReceiver<Sent>) {
        while let Some(Sent {
            append,
            messages,
            bytes,
            began,
        }) = sent.recv().await
        {
            let Append {
                room, at, report, ..
            } = append;
            let deadline = began + ACK_WITHIN;
            let mut stored = Ok(Vec::with_capacity(messages.len()));
            for message in messages {
                let settled = match message {
                    Ok(message) => self.settle(&room, at, message, deadline).await,
                    Err(error) => Err(error),
                };
                match (&mut stored, settled) {
                    (Ok(stored), Ok(one)) => stored.push(one),
                    (Ok(_), Err(error)) => stored = Err(StoreError::Unavailable(error.to_string())),
                    (Err(_), _) => {}
                }
            }
            self.waiting.fetch_sub(bytes, Ordering::AcqRel);
            match &stored {
                Ok(stored) if stored.is_empty() => {}
                Ok(stored) => {
                    metrics::committed(began.elapsed(), stored.len());
                    self.pulse.write_was(Ok(()));
                }
                Err(_) => metrics::store_failed(),
            }
            report(stored);
        }
    }

    /// The error of a publish. Where it says something of all others too, they are refused until one gets through.
    fn failed(&self, error: &PublishError) -> NatsError {
        use PublishErrorKind::{BrokenPipe, Other, StreamNotFound, TimedOut};
        // What it is of, and why: the kind alone says only that it failed.
        let reason = error
            .source()
            .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
        if matches!(error.kind(), BrokenPipe | Other | StreamNotFound | TimedOut) {
            self.pulse.write_was(Err(reason.clone()));
        }
        NatsError::Publish(reason)
    }

    /// No answer came.
    fn unanswered(&self) -> NatsError {
        self.pulse.write_was(Err(NatsError::Unanswered.to_string()));
        NatsError::Unanswered
    }

    async fn publish(&self, room: &RoomName, draft: &Draft, at: u64) -> Result<Message, NatsError> {
        let flight = self.flights.begin();
        let mut entry = Entry::new(draft, at, flight.ticket);
        let bounds = self.rooms.bounds(room).ok_or(NatsError::NotOpen)?;
        if self.rooms.may_be_empty(room) {
            entry.prev = Some(bounds.head);
            if let Some(ack) = self.begin_room(room, draft, &entry).await? {
                return Ok(Message {
                    flight,
                    ack: Ack::Come(ack),
                });
            }
            entry.prev = None;
        }
        let message = message(room, draft, &entry)?;
        let subject = self.rolls.subjects.room(room);
        let ack = self.rolls.context.send_publish(subject, message).await;
        ack.map(|ack| Message {
            flight,
            ack: Ack::Due(ack),
        })
        .map_err(|error| self.failed(&error))
    }

    /// Publishes the first message of a room in which nothing is kept. It says what was before it, as nothing in
    /// the stream does; so it is taken only if it is the first, and nothing is sent after it until that is
    /// known. `None` if another node was sooner.
    async fn begin_room(
        &self,
        room: &RoomName,
        draft: &Draft,
        entry: &Entry,
    ) -> Result<Option<PublishAck>, NatsError> {
        let message = message(room, draft, entry)?.expected_last_subject_sequence(0);
        let sent = self
            .rolls
            .context
            .send_publish(self.rolls.subjects.room(room), message)
            .await;
        let ack = sent.map_err(|error| self.failed(&error))?;
        match timeout_at(Instant::now() + WAIT, ack).await {
            Ok(Ok(ack)) => {
                if !ack.duplicate {
                    self.rolls.remember(room, ack.sequence).await?;
                }
                Ok(Some(ack))
            }
            Ok(Err(error)) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(None),
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(_elapsed) => Err(self.unanswered()),
        }
    }

    /// Waits for what becomes of `message`, at most until `deadline`.
    async fn settle(
        &self,
        room: &RoomName,
        at: u64,
        message: Message,
        deadline: Instant,
    ) -> Result<Stored, NatsError> {
        let Message { mut flight, ack } = message;
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
        // It is stored; that it does not come back in time is the feed's affair.
        match timeout_at(deadline, &mut flight.heard).await {
            Ok(Ok(Echo::Entry(frame))) => Ok(Stored::New(frame)),
            _ => Err(NatsError::Unanswered),
        }
    }

    /// When the message at `sequence` came; unknown if it is no longer kept.
    async fn at(&self, room: &RoomName, sequence: u64) -> Option<u64> {
        if let Some(at) = self.rooms.said_at(room, sequence) {
            return Some(at);
        }
        let message = self.rolls.at(sequence).await.ok()??;
        Some(Entry::read(Some(&message.headers), &message.payload, 0).at())
    }
}

fn size(append: &Append) -> usize {
    append.drafts.iter().map(Draft::size).sum()
}

fn message(room: &RoomName, draft: &Draft, entry: &Entry) -> Result<PublishMessage, NatsError> {
    let headers = entry
        .headers(room)
        .map_err(|error| NatsError::Publish(error.to_string()))?;
    Ok(PublishMessage::build()
        .payload(entry::payload(draft))
        .headers(headers))
}
