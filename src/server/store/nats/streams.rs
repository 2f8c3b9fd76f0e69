//! The stream that holds all rooms, and its consumers. A second one ([`heads`](super::heads)) keeps what must not expire.
//!
//! Messages expire by their number in the room, their bytes and their age. JetStream has the same limits for all rooms and
//! none on their bytes. Those of the stream are the loosest that any room needs, and [`trimming`](super::trimming) applies the
//! others. When a client creates a room, the limits of the stream are removed, because such a room keeps all its messages.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, ReplayPolicy, pull};
use async_nats::jetstream::context::{ContextBuilder, PublishError};
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, InfoWithSubjects, LastRawMessageErrorKind, RawMessageBuilder, Republish,
    State, Stream,
};
use bytes::Bytes;
use futures::{TryStreamExt, stream};

use super::codec::{Record, StreamEntry};
use super::connection::{HealthTracker, NatsError, NatsSettings, REQUEST_TIMEOUT};
use super::heads::HeadStream;
use super::room_life::LoggedLife;
use super::stream_config::{
    DESCRIPTION, epoch, is_missing, is_unlimited, longest_age, losses, open_stream,
};
use super::subjects::{COMMANDS, HEADS, ROOMS, RULES, StreamSubject, Subjects, TOMBSTONES};
use crate::protocol::{Epoch, RoomName};
use crate::server::store::room_limits::RoomLimitTable;

/// The shortest duplicate window that NATS accepts.
const MIN_DUPLICATE_WINDOW: Duration = Duration::from_millis(100);
/// The maximum number of publishes without an ack; further ones wait.
const MAX_UNACKED: usize = 8192;
/// The maximum number of messages of a deleted room that are removed at the same time.
const ERASED_AT_ONCE: usize = 16;
/// The size in bytes that is reserved for the headers of a message of a batch, in addition to its entry: the version
/// line, the message id and the expected message id.
const ADDED_HEADERS: usize = 150;

/// The header with the size of a message whose headers alone are delivered.
const MESSAGE_SIZE: &str = "Nats-Msg-Size";
/// The interval of idle heartbeats to a consumer; after two missed ones the request for messages is repeated.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// The lifetime of one request of a consumer for messages.
const REQUEST_LIFETIME: Duration = Duration::from_secs(30);
/// The maximum number of messages for one request of a consumer.
const MAX_REQUESTED: usize = 1000;
/// The time after which NATS deletes an inactive consumer.
const INACTIVE_AFTER: Duration = Duration::from_secs(30);

/// The life of a room in both streams.
#[derive(Debug)]
pub(super) struct LoadedLife {
    pub(super) life: LoggedLife,
    /// The newest offset of the room, even if that message is no longer in the stream; 0 if the room never had a message.
    pub(super) head: u64,
    /// The number of messages that were applied to the saved life.
    pub(super) unsaved: usize,
}

/// Both streams, and the health of the connection to them.
#[derive(Debug)]
pub(super) struct Streams {
    context: Context,
    /// The stream that holds all rooms.
    pub(super) rooms: Stream,
    pub(super) heads: HeadStream,
    pub(super) subjects: Subjects,
    pub(super) epoch: Epoch,
    pub(super) health: Arc<HealthTracker>,
    /// The last known limit of the first stream for one message in bytes; there is none if it is not positive.
    max_message_size: AtomicI32,
    /// True if the first stream is known to have no limits.
    is_unlimited: AtomicBool,
}

impl Streams {
    /// Opens both streams, creates them if they do not exist, and sets their limits: the loosest of `limits`.
    pub(super) async fn open(
        client: Client,
        settings: &NatsSettings,
        limits: &RoomLimitTable,
    ) -> Result<Self, NatsError> {
        let context = ContextBuilder::new()
            .timeout(REQUEST_TIMEOUT)
            .max_ack_inflight(MAX_UNACKED)
            .backpressure_on_inflight(true)
            .build(client);
        let subjects = Subjects::new(&settings.stream);
        let (name, retention) = (&settings.stream, settings.retention);

        let common = Config {
            num_replicas: settings.replicas,
            discard: DiscardPolicy::Old,
            max_messages: -1,
            max_bytes: -1,
            max_consumers: -1,
            ..Config::default()
        };
        let heads = Config {
            name: format!("{name}-heads"),
            subjects: vec![subjects.all(HEADS), subjects.all(RULES)],
            max_messages_per_subject: 1,
            // With a longer window, this stream could drop the copy of a message whose key the first one accepts again.
            duplicate_window: MIN_DUPLICATE_WINDOW,
            ..common.clone()
        };
        let rooms = Config {
            name: name.clone(),
            subjects: [ROOMS, TOMBSTONES, COMMANDS]
                .map(|kind| subjects.all(kind))
                .to_vec(),
            max_messages_per_subject: i64::try_from(limits.most_messages()).unwrap_or(i64::MAX),
            max_age: longest_age(limits),
            duplicate_window: retention.keys.age.min(retention.age),
            republish: Some(Republish {
                source: subjects.all(ROOMS),
                destination: subjects.all(HEADS),
                headers_only: true,
            }),
            description: Some(format!("{DESCRIPTION}0")),
            ..common
        };

        let heads = open_stream(&context, heads).await?;
        let rooms = open_stream(&context, rooms).await?;

        let info = rooms.cached_info();
        let epoch = epoch(info);
        let heads = HeadStream {
            context: context.clone(),
            stream: heads,
            subjects: subjects.clone(),
            epoch: epoch.clone(),
            began: info.created.unix_timestamp_nanos(),
        };
        Ok(Self {
            epoch,
            max_message_size: AtomicI32::new(info.config.max_message_size),
            is_unlimited: AtomicBool::new(is_unlimited(&info.config)),
            health: Arc::default(),
            context,
            rooms,
            heads,
            subjects,
        })
    }

    /// Returns an error if the stream is missing, was replaced, or has lost its newest messages. `seen` is a sequence
    /// number that the stream has already had.
    pub(super) async fn check(&self, seen: u64) -> Result<(), NatsError> {
        let opened = &self.rooms.cached_info().config;
        let found = match self.context.get_stream(&opened.name).await {
            Ok(found) => found,
            Err(error) if is_missing(&error) => return Err(NatsError::Missing),
            Err(error) => return Err(NatsError::request(error)),
        };

        let info = found.cached_info();
        let max_message_size = info.config.max_message_size;
        self.max_message_size
            .store(max_message_size, Ordering::Relaxed);
        self.is_unlimited
            .store(is_unlimited(&info.config), Ordering::Relaxed);
        if epoch(info) != self.epoch {
            return Err(NatsError::Lost("the stream was replaced by another"));
        }
        if info.state.last_sequence < seen {
            self.start_epoch().await?;
            let reason = "the stream has lost its newest messages";
            return Err(NatsError::Lost(reason));
        }
        Ok(())
    }

    /// Starts a new epoch, because the stream will assign the offsets of the lost messages again. Every node that
    /// detects the loss calls this; repeated calls have the same effect as one.
    async fn start_epoch(&self) -> Result<(), NatsError> {
        let losses = losses(&self.rooms.cached_info().config);
        let config = self.config().await?;
        let config = Config {
            description: Some(format!("{DESCRIPTION}{}", losses + 1)),
            ..config
        };
        self.context
            .update_stream(&config)
            .await
            .map_err(NatsError::request)?;
        Ok(())
    }

    /// Requests the configuration of the first stream.
    async fn config(&self) -> Result<Config, NatsError> {
        let info = self.rooms.get_info().await.map_err(NatsError::request)?;
        Ok(info.config)
    }

    /// Removes the limits of the first stream, because a room keeps all its messages.
    pub(super) async fn remove_limits(&self) -> Result<(), NatsError> {
        if self.is_unlimited.load(Ordering::Relaxed) {
            return Ok(());
        }

        let config = Config {
            max_messages_per_subject: -1,
            max_age: Duration::ZERO,
            ..self.config().await?
        };
        let updated = self.context.update_stream(&config).await;
        updated.map_err(NatsError::request)?;
        self.is_unlimited.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Removes the messages of `room` before number `end` of the stream. Their bytes may stay in its files.
    pub(super) async fn purge_before(&self, room: &RoomName, end: u64) -> Result<(), NatsError> {
        let purge = self.rooms.purge().filter(self.subjects.room(room));
        let purged = purge.sequence(end).await;
        purged.map(|_| ()).map_err(NatsError::request)
    }

    /// Removes all messages of `room` except the newest `kept`. Their bytes may stay in its files.
    pub(super) async fn purge_except(&self, room: &RoomName, kept: u64) -> Result<(), NatsError> {
        let purge = self.rooms.purge().filter(self.subjects.room(room));
        let purged = purge.keep(kept).await;
        purged.map(|_| ()).map_err(NatsError::request)
    }

    /// Returns the first command or use of a room at or after `sequence`.
    pub(super) async fn next_command(
        &self,
        sequence: u64,
    ) -> Result<Option<StreamMessage>, NatsError> {
        let next = self.rooms.raw_message_builder().sequence(sequence);
        fetch(next.next_by_subject(self.subjects.all(COMMANDS))).await
    }

    /// Removes the commands and the uses of rooms before number `end` of the stream.
    pub(super) async fn purge_commands_before(&self, end: u64) -> Result<(), NatsError> {
        let purge = self.rooms.purge().filter(self.subjects.all(COMMANDS));
        let purged = purge.sequence(end).await;
        purged.map(|_| ()).map_err(NatsError::request)
    }

    /// Returns the first message of `room` at or after `sequence`.
    pub(super) async fn next(
        &self,
        room: &RoomName,
        sequence: u64,
    ) -> Result<Option<StreamMessage>, NatsError> {
        let next = self.rooms.raw_message_builder().sequence(sequence);
        fetch(next.next_by_subject(self.subjects.room(room))).await
    }

    /// Returns the first message of any room at or after `sequence`.
    pub(super) async fn next_of_all(
        &self,
        sequence: u64,
    ) -> Result<Option<StreamMessage>, NatsError> {
        let next = self.rooms.raw_message_builder().sequence(sequence);
        fetch(next.next_by_subject(self.subjects.all(ROOMS))).await
    }

    /// Requests the subjects of all rooms with messages in the stream, each with the number of messages.
    pub(super) async fn room_subjects(&self) -> Result<InfoWithSubjects, NatsError> {
        let subjects = self.rooms.info_with_subjects(self.subjects.all(ROOMS));
        subjects.await.map_err(NatsError::request)
    }

    /// Requests the subjects of all tombstones, and the state of the stream.
    pub(super) async fn tombstone_subjects(&self) -> Result<InfoWithSubjects, NatsError> {
        let subjects = self.rooms.info_with_subjects(self.subjects.all(TOMBSTONES));
        subjects.await.map_err(NatsError::request)
    }

    /// Returns the tombstone of the message at `offset` of `room`.
    pub(super) async fn tombstone(
        &self,
        room: &RoomName,
        offset: u64,
    ) -> Result<Option<StreamMessage>, NatsError> {
        let tombstones = self.rooms.raw_message_builder();
        fetch(tombstones.last_by_subject(self.subjects.tombstone(room, offset))).await
    }

    /// Returns the message at `sequence`, of any room.
    pub(super) async fn get(&self, sequence: u64) -> Result<Option<StreamMessage>, NatsError> {
        fetch(self.rooms.raw_message_builder().sequence(sequence)).await
    }

    /// Returns the last message under the subject of `room`, which may be a mark.
    pub(super) async fn last(&self, room: &RoomName) -> Result<Option<StreamMessage>, NatsError> {
        let last = self.rooms.raw_message_builder();
        fetch(last.last_by_subject(self.subjects.room(room))).await
    }

    /// Returns the life of `room`: the saved one, and the messages after it.
    pub(super) async fn life(&self, room: &RoomName) -> Result<LoadedLife, NatsError> {
        let used = self.rooms.raw_message_builder();
        let (last, recorded, saved, used) = futures::try_join!(
            self.last(room),
            self.heads.read_head(room),
            self.heads.read_saved_life(room),
            fetch(used.last_by_subject(self.subjects.uses(room))),
        )?;

        let last = last.as_ref().map(Record::parse);
        let has_event = |last: &Record| last.entry.life.is_some();
        // In an ordinary room, only marks have events. In any other room, each message after an event that is not saved has one
        // too.
        let is_ordinary = saved.is_none() && !last.as_ref().is_some_and(has_event);
        let mut life = saved.unwrap_or_default();
        let mut unsaved = 0;
        if let Some(last) = last.filter(|last| last.offset > life.applied) {
            if is_ordinary {
                life.apply(last.offset, last.entry.at, None);
            } else {
                unsaved = self.apply_after(room, &mut life, last.offset).await?;
            }
        }
        if let Some(used) = used {
            life.touch(Record::parse(&used).entry.at);
        }

        let recorded = recorded.filter(|_| !life.lifecycle.is_closed);
        let head = life.head.max(recorded.unwrap_or_default());
        Ok(LoadedLife {
            life,
            head,
            unsaved,
        })
    }

    /// Applies the messages of `room` up to `last` that `life` does not include. Returns their number.
    async fn apply_after(
        &self,
        room: &RoomName,
        life: &mut LoggedLife,
        last: u64,
    ) -> Result<usize, NatsError> {
        let mut applied = 0;
        while life.applied < last
            && let Some(message) = self.next(room, life.applied + 1).await?
        {
            let Record { offset, entry, .. } = Record::parse(&message);
            life.apply(offset, entry.at, entry.life.as_deref());
            applied += 1;
        }
        Ok(applied)
    }

    /// Publishes that `room` was used, to all nodes.
    pub(super) async fn publish_use(&self, room: &RoomName, at: u64) -> Result<(), NatsError> {
        let used = StreamEntry::used(at);
        let message = used.to_message(room, 0, Bytes::new());
        self.send(self.subjects.uses(room), message).await?.await?;
        Ok(())
    }

    /// Returns the number of messages of `room` in the stream.
    pub(super) async fn count(&self, room: &RoomName) -> Result<usize, NatsError> {
        let info = self.rooms.info_with_subjects(self.subjects.room(room));
        let mut subjects = info.await.map_err(NatsError::request)?;
        let subject = subjects.try_next().await.map_err(NatsError::request)?;
        Ok(subject.map_or(0, |(_, count)| count))
    }

    /// Creates a consumer of the first stream from number `start`: of the messages under `filter`, or of all if it is empty,
    /// and only of their headers if `headers_only`. NATS deletes it when it is no longer used.
    pub(super) async fn create_consumer(
        &self,
        start: u64,
        filter: String,
        headers_only: bool,
    ) -> Result<PullConsumer, NatsError> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: start,
            },
            filter_subject: filter,
            headers_only,
            ack_policy: AckPolicy::None,
            replay_policy: ReplayPolicy::Instant,
            inactive_threshold: INACTIVE_AFTER,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };

        let consumer = self.rooms.create_consumer(config).await;
        consumer.map_err(NatsError::request)
    }

    /// Passes the number and the bytes of each message of `room` to `visit`, in order, until it breaks.
    pub(super) async fn visit_sizes(
        &self,
        room: &RoomName,
        visit: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<(), NatsError> {
        let filter = self.subjects.room(room);
        let consumer = self.create_consumer(1, filter, true).await?;
        let visited = visit_sizes_by(&consumer, visit).await;

        // Otherwise, NATS deletes it later.
        let _ = self
            .rooms
            .delete_consumer(&consumer.cached_info().name)
            .await;
        visited
    }

    /// Returns the tombstones of `room`.
    pub(super) async fn tombstones(&self, room: &RoomName) -> Result<Vec<Record>, NatsError> {
        let (mut tombstones, mut from) = (Vec::new(), 1);
        loop {
            let next = self.rooms.raw_message_builder().sequence(from);
            let next = next.next_by_subject(self.subjects.tombstones(room));
            let Some(message) = fetch(next).await? else {
                return Ok(tombstones);
            };

            from = message.sequence + 1;
            if let Some(StreamSubject::Tombstone(_, offset)) = self.subjects.parse(&message.subject)
            {
                tombstones.extend(Record::tombstone(&message, offset));
            }
        }
    }

    /// Returns the last sequence number of the stream at the time it was opened.
    pub(super) fn opened_at(&self) -> u64 {
        self.rooms.cached_info().state.last_sequence
    }

    /// Requests the last sequence number of the stream.
    pub(super) async fn last_sequence(&self) -> Result<u64, NatsError> {
        Ok(self.state().await?.last_sequence)
    }

    /// Requests the state of the stream.
    pub(super) async fn state(&self) -> Result<State, NatsError> {
        let info = self.rooms.get_info().await.map_err(NatsError::request)?;
        Ok(info.state)
    }

    /// Sends `message` to the first stream. The returned future resolves when it is stored or rejected, and records
    /// the outcome in the health.
    pub(super) async fn send(
        &self,
        subject: String,
        message: PublishMessage,
    ) -> Result<impl Future<Output = Result<PublishAck, NatsError>>, NatsError> {
        let sent = self.context.send_publish(subject, message).await;
        let ack = sent.map_err(|error| self.failed(error))?;

        Ok(async {
            let ack = ack.await.map_err(|error| self.failed(error))?;
            self.health.set_writes(Ok(()));
            Ok(ack)
        })
    }

    /// Converts the error of a publish, and records it in the health if it affects all publishes.
    fn failed(&self, error: PublishError) -> NatsError {
        let error = NatsError::from(error);
        if matches!(error, NatsError::Unconfirmed | NatsError::Publish(_)) {
            self.health.set_writes(Err(error.to_string()));
        }
        error
    }

    /// Publishes `command` to all nodes; an empty one has no effect on them except that they check for new rules.
    pub(super) async fn publish_command(&self, command: Bytes) -> Result<(), NatsError> {
        // The subject is unique, so no later command replaces this one.
        let subject = self.subjects.command(fastrand::u64(..));
        let message = PublishMessage::build().payload(command);
        self.send(subject, message).await?.await?;
        Ok(())
    }

    /// Removes the messages of `room` before `end` from the stream and overwrites their bytes.
    pub(super) async fn erase_before(&self, room: &RoomName, end: u64) -> Result<(), NatsError> {
        let messages = stream::try_unfold(1, |from| async move {
            let next = self.next(room, from).await?;
            let next = next.filter(|next| next.sequence < end);
            Ok::<_, NatsError>(next.map(|next| (next.sequence, next.sequence + 1)))
        });
        messages
            .try_for_each_concurrent(ERASED_AT_ONCE, |sequence| self.erase(sequence))
            .await
    }

    /// Removes the message at `sequence` from the stream and overwrites its bytes; does nothing if it is not there.
    pub(super) async fn erase(&self, sequence: u64) -> Result<(), NatsError> {
        match self.rooms.delete_message(sequence).await {
            Ok(_) => Ok(()),
            Err(_) if self.get(sequence).await?.is_none() => Ok(()),
            Err(error) => Err(NatsError::request(error)),
        }
    }

    /// Returns the largest message that NATS accepts, in bytes with its headers.
    pub(super) fn max_payload(&self) -> usize {
        self.context.client().server_info().max_payload
    }

    /// Checks that NATS accepts message `number` of a batch, which has `size` bytes with the header of its entry.
    pub(super) fn check_size(&self, number: usize, size: usize) -> Result<(), NatsError> {
        let of_server = self.max_payload();
        let of_stream = self.max_message_size.load(Ordering::Relaxed);
        let (limit, setting) = match usize::try_from(of_stream) {
            Ok(of_stream @ 1..) if of_stream < of_server => (of_stream, "max_msg_size"),
            _ => (of_server, "max_payload"),
        };

        let size = size + ADDED_HEADERS;
        if size > limit {
            return Err(NatsError::Rejected(format!(
                "message {number} of the batch is {size} bytes with its headers; the limit of NATS is {limit} \
                 ({setting}). No message of the batch is stored"
            )));
        }
        Ok(())
    }
}

/// Returns the messages of `consumer`, as NATS delivers them.
pub(super) async fn messages_of(consumer: &PullConsumer) -> Result<pull::Stream, NatsError> {
    let messages = consumer
        .stream()
        .max_messages_per_batch(MAX_REQUESTED)
        .heartbeat(HEARTBEAT)
        .expires(REQUEST_LIFETIME)
        .messages();
    messages.await.map_err(NatsError::request)
}

/// Passes the number and the bytes of each message of `consumer`, which delivers headers, to `visit` until it breaks.
async fn visit_sizes_by(
    consumer: &PullConsumer,
    mut visit: impl FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(), NatsError> {
    if consumer.cached_info().num_pending == 0 {
        return Ok(());
    }

    let mut messages = messages_of(consumer).await?;
    while let Some(message) = messages.try_next().await.map_err(NatsError::request)? {
        let info = message.info().map_err(NatsError::request)?;
        let (sequence, is_last) = (info.stream_sequence, info.pending == 0);
        let headers = message.headers.as_ref();
        let size = headers.and_then(|headers| headers.get(MESSAGE_SIZE)?.as_str().parse().ok());
        if visit(sequence, size.unwrap_or_default()).is_break() || is_last {
            return Ok(());
        }
    }
    Err(NatsError::request("the consumer ended"))
}

/// Sends `request`; returns `None` if the message does not exist.
pub(super) async fn fetch(request: RawMessageBuilder) -> Result<Option<StreamMessage>, NatsError> {
    match request.send().await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(NatsError::request(error)),
    }
}
