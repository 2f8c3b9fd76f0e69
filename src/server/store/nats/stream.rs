//! The stream that holds all rooms, and a second stream that keeps the newest offset of each room.
//!
//! Messages expire by their number in the room and by age. The newest offset of a room must survive the expiry of all
//! its messages. The NATS server therefore copies the headers of each message to the second stream (`NAME-heads`),
//! which keeps the newest copy per room without expiry, about 300 bytes each. The second stream also holds the rules
//! of all nodes.

use std::num::Wrapping;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_SEQUENCE;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::{GetStreamErrorKind, PublishErrorKind};
use async_nats::jetstream::message::{PublishMessage, StreamMessage};
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, InfoError, LastRawMessageErrorKind, RawMessageError, Republish,
    Stream,
};
use futures::TryStreamExt;

use super::NatsError;
use super::entry::StreamEntry;
use super::settings::NatsSettings;
use super::subject::{Place, Subjects};
use crate::protocol::Epoch;
use crate::protocol::RoomName;

/// The prefix of the stream's description. The number of times that the stream has lost messages follows.
const DESCRIPTION: &str = "Fanfare's rooms, life ";

/// The shortest duplicate window that NATS accepts.
const SHORTEST_WINDOW: Duration = Duration::from_millis(100);
/// The size in bytes that is reserved for the headers added when a message of a batch is sent.
const ADDED_HEADERS: usize = 128;

/// See the [module docs](self).
pub(super) struct Streams {
    pub(super) context: Context,
    pub(super) rooms: Stream,
    heads: Stream,
    pub(super) subjects: Subjects,
    pub(super) epoch: Epoch,
    /// The last known limit of the first stream for one message in bytes; there is none if it is not positive.
    max_message_size: AtomicI32,
}

/// The state of the stream, compared to the time at which it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamStatus {
    /// The same stream.
    Same,
    /// Another stream, created in the meantime.
    Other,
    /// The same stream, without its newest messages.
    Shortened,
    /// A missing stream.
    Missing,
}

impl Streams {
    /// Opens both streams, creates them if they do not exist, and sets their limits.
    pub(super) async fn open(context: Context, settings: &NatsSettings) -> Result<Self, NatsError> {
        let subjects = Subjects::new(&settings.stream);
        let (name, age) = (&settings.stream, settings.retention.age);
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
            subjects: vec![subjects.all_heads(), subjects.all_rules()],
            max_messages_per_subject: 1,
            // With a longer window, this stream could drop the copy of a message whose key the first one accepts again.
            duplicate_window: SHORTEST_WINDOW,
            ..common.clone()
        };

        let rooms = Config {
            name: name.clone(),
            subjects: subjects.followed(),
            max_messages_per_subject: i64::try_from(settings.retention.messages)
                .unwrap_or(i64::MAX),
            max_age: age,
            duplicate_window: settings.retention.keys.age.min(age),
            republish: Some(Republish {
                source: subjects.all_rooms(),
                destination: subjects.all_heads(),
                headers_only: true,
            }),
            description: Some(format!("{DESCRIPTION}0")),
            ..common
        };

        let heads = find(&context, heads).await?;
        let rooms = find(&context, rooms).await?;

        let epoch = epoch(rooms.cached_info());
        let max_message_size = AtomicI32::new(rooms.cached_info().config.max_message_size);
        Ok(Self {
            context,
            rooms,
            heads,
            subjects,
            epoch,
            max_message_size,
        })
    }

    /// Returns the last sequence number of the stream at the time it was opened.
    pub(super) fn last_sequence(&self) -> u64 {
        self.rooms.cached_info().state.last_sequence
    }

    /// Compares the stream with the opened one; `seen` is a sequence number that the stream has already had.
    pub(super) async fn fate(&self, seen: u64) -> Result<StreamStatus, NatsError> {
        match self
            .context
            .get_stream(&self.rooms.cached_info().config.name)
            .await
        {
            Ok(found) => {
                let info = found.cached_info();
                let max_message_size = info.config.max_message_size;
                self.max_message_size
                    .store(max_message_size, Ordering::Relaxed);

                Ok(if epoch(info) != self.epoch {
                    StreamStatus::Other
                } else if info.state.last_sequence < seen {
                    StreamStatus::Shortened
                } else {
                    StreamStatus::Same
                })
            }
            Err(error) if is_missing(&error) => Ok(StreamStatus::Missing),
            Err(error) => Err(NatsError::Stream(error.to_string())),
        }
    }

    /// Starts a new epoch, because the stream will assign the offsets of the lost messages again. Every node that
    /// detects the loss calls this; repeated calls have the same effect as one.
    pub(super) async fn begin_another_life(&self) -> Result<(), NatsError> {
        let mut config = self.rooms.cached_info().config.clone();
        config.description = Some(format!("{DESCRIPTION}{}", life(&config) + 1));
        self.context
            .update_stream(&config)
            .await
            .map_err(|error| NatsError::Stream(error.to_string()))?;
        Ok(())
    }

    /// Returns the first message of `room` at or after `sequence`.
    pub(super) async fn next(
        &self,
        room: &RoomName,
        sequence: u64,
    ) -> Result<Option<StreamMessage>, NatsError> {
        let next = self.rooms.raw_message_builder().sequence(sequence);
        found(next.next_by_subject(self.subjects.room(room)).send().await)
    }

    /// Returns the message at `sequence`, of any room.
    pub(super) async fn at(&self, sequence: u64) -> Result<Option<StreamMessage>, NatsError> {
        found(
            self.rooms
                .raw_message_builder()
                .sequence(sequence)
                .send()
                .await,
        )
    }

    /// Returns the newest offset of `room`, even if that message is no longer in the stream; 0 if the room never had a
    /// message.
    pub(super) async fn head(&self, room: &RoomName) -> Result<u64, NatsError> {
        let kept = self.rooms.raw_message_builder();
        let remembered = self.heads.raw_message_builder();
        let (kept, remembered) = futures::join!(
            kept.last_by_subject(self.subjects.room(room)).send(),
            remembered.last_by_subject(self.subjects.head(room)).send(),
        );

        let kept = found(kept)?.map_or(0, |kept| kept.sequence);
        let remembered = found(remembered)?.and_then(|head| self.head_in(&head));
        Ok(kept.max(remembered.unwrap_or_default()))
    }

    /// Returns the number of messages of `room` in the stream.
    pub(super) async fn count(&self, room: &RoomName) -> Result<usize, NatsError> {
        let wrong = |error: InfoError| NatsError::Stream(error.to_string());
        let mut subjects = self
            .rooms
            .info_with_subjects(self.subjects.room(room))
            .await
            .map_err(wrong)?;
        Ok(subjects
            .try_next()
            .await
            .map_err(wrong)?
            .map_or(0, |(_, count)| count))
    }

    /// Returns the tombstones of `room` with their offsets.
    pub(super) async fn graves(
        &self,
        room: &RoomName,
    ) -> Result<Vec<(u64, StreamEntry)>, NatsError> {
        let (mut graves, mut from) = (Vec::new(), 1);
        loop {
            let next = self.rooms.raw_message_builder().sequence(from);
            let Some(grave) = found(
                next.next_by_subject(self.subjects.graves(room))
                    .send()
                    .await,
            )?
            else {
                return Ok(graves);
            };

            from = grave.sequence + 1;
            let tombstone = StreamEntry::read(Some(&grave.headers), &[], 0);
            if let Some(Place::Grave(_, offset)) = self.subjects.place_of(&grave.subject)
                && tombstone.deleted().is_some()
            {
                graves.push((offset, tombstone));
            }
        }
    }

    /// Returns the first rule after number `sequence` of the second stream.
    pub(super) async fn rule_after(
        &self,
        sequence: u64,
    ) -> Result<Option<StreamMessage>, NatsError> {
        let next = self.heads.raw_message_builder().sequence(sequence + 1);
        found(next.next_by_subject(self.subjects.all_rules()).send().await)
    }

    /// Returns the current last sequence number of the stream.
    pub(super) async fn newest(&self) -> Result<u64, NatsError> {
        let info = self
            .rooms
            .get_info()
            .await
            .map_err(|error| NatsError::Stream(error.to_string()))?;
        Ok(info.state.last_sequence)
    }

    /// Removes the message at `sequence` from the stream and overwrites its bytes; does nothing if it is not there.
    pub(super) async fn erase(&self, sequence: u64) -> Result<(), NatsError> {
        match self.rooms.delete_message(sequence).await {
            Ok(_) => Ok(()),
            Err(_) if self.at(sequence).await?.is_none() => Ok(()),
            Err(error) => Err(NatsError::Stream(error.to_string())),
        }
    }

    /// Records in the second stream that the newest offset of `room` is at least `head`. This is needed for a message
    /// whose copy the second stream rejects, because its headers state conditions that hold only in the first stream.
    pub(super) async fn remember(&self, room: &RoomName, head: u64) -> Result<(), NatsError> {
        let subject = self.subjects.head(room);
        loop {
            let newest = self.heads.raw_message_builder();
            let newest = found(newest.last_by_subject(subject.clone()).send().await)?;
            if newest.as_ref().and_then(|newest| self.head_in(newest)) >= Some(head) {
                return Ok(());
            }

            // A copy of a newer message may arrive first and must not be replaced.
            let message = PublishMessage::build()
                .header(NATS_SEQUENCE, head.to_string())
                .expected_last_subject_sequence(newest.map_or(0, |newest| newest.sequence));
            let sent = self.context.send_publish(subject.clone(), message).await;
            let ack = match sent {
                Ok(ack) => ack.await,
                Err(error) => Err(error),
            };
            match ack {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {}
                Err(error) => return Err(NatsError::Stream(error.to_string())),
            }
        }
    }

    /// Returns the offset in `message` of the second stream; `None` if it comes from an earlier first stream.
    fn head_in(&self, message: &StreamMessage) -> Option<u64> {
        if message.time < self.rooms.cached_info().created {
            return None;
        }
        message.headers.get(NATS_SEQUENCE)?.as_str().parse().ok()
    }

    /// Checks that NATS accepts the size of `message`, which has this `number` in its batch, including the headers that
    /// the client library adds.
    pub(super) fn check_size(
        &self,
        number: usize,
        message: PublishMessage,
    ) -> Result<(), NatsError> {
        let message = message.outbound_message("");
        let headers: usize = message
            .headers
            .iter()
            .flat_map(HeaderMap::iter)
            .flat_map(|(name, values)| values.iter().map(move |value| (name, value)))
            .map(|(name, value)| name.to_string().len() + value.as_str().len() + 4)
            .sum();

        let size = message.payload.len() + headers + ADDED_HEADERS;
        let (limit, setting) = self.max_message();
        if size > limit {
            return Err(NatsError::TooLarge {
                number,
                size,
                limit,
                setting,
            });
        }
        Ok(())
    }

    /// Returns the size of the largest message that NATS accepts, with its headers, and the setting that limits it.
    fn max_message(&self) -> (usize, &'static str) {
        let of_server = self.context.client().server_info().max_payload;
        let of_stream = self.max_message_size.load(Ordering::Relaxed);
        match usize::try_from(of_stream) {
            Ok(of_stream @ 1..) if of_stream < of_server => (of_stream, "max_msg_size"),
            _ => (of_server, "max_payload"),
        }
    }
}

/// Returns the epoch of the stream: a hash of its creation time and the number of times that it has lost messages.
fn epoch(info: &Info) -> Epoch {
    let nanos = Wrapping(info.created.unix_timestamp_nanos() as u64);
    // Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4): every bit has an effect.
    let mixed = (nanos + Wrapping(life(&info.config))) * Wrapping(0x9E37_79B9_7F4A_7C15);
    Epoch::new((mixed.0 >> 32) as u32)
}

/// Returns the number of times that the stream has lost messages.
fn life(config: &Config) -> u64 {
    let number = config
        .description
        .as_deref()
        .and_then(|text| text.strip_prefix(DESCRIPTION));
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

/// Returns the stream with the configuration `wanted`; creates or updates it if necessary.
async fn find(context: &Context, wanted: Config) -> Result<Stream, NatsError> {
    let wrong = |error: String| NatsError::Stream(format!("{:?}: {error}", wanted.name));
    let existing = match context.get_stream(&wanted.name).await {
        Ok(existing) => existing,
        Err(error) if is_missing(&error) => {
            // Another node may create it at the same time; creating the same stream twice is not an error.
            return context
                .create_stream(wanted.clone())
                .await
                .map_err(|error| wrong(error.to_string()));
        }
        Err(error) => return Err(wrong(error.to_string())),
    };

    let config = existing.cached_info().config.clone();
    if config.subjects.first() != wanted.subjects.first() {
        return Err(NatsError::Foreign { name: wanted.name });
    }

    let changed = Config {
        subjects: wanted.subjects,
        max_messages_per_subject: wanted.max_messages_per_subject,
        max_age: wanted.max_age,
        duplicate_window: if wanted.duplicate_window > Duration::ZERO {
            wanted.duplicate_window
        } else {
            config.duplicate_window
        },
        num_replicas: wanted.num_replicas,
        ..config.clone()
    };

    if changed == config {
        return Ok(existing);
    }

    context
        .update_stream(&changed)
        .await
        .map_err(|error| wrong(error.to_string()))?;
    context
        .get_stream(&wanted.name)
        .await
        .map_err(|error| wrong(error.to_string()))
}

fn is_missing(error: &async_nats::jetstream::context::GetStreamError) -> bool {
    let not_found = async_nats::jetstream::ErrorCode::STREAM_NOT_FOUND;
    matches!(error.kind(), GetStreamErrorKind::JetStream(error) if error.error_code() == not_found)
}

/// Converts the error for a missing message into `None`.
fn found(
    answer: Result<StreamMessage, RawMessageError>,
) -> Result<Option<StreamMessage>, NatsError> {
    match answer {
        Ok(message) => Ok(Some(message)),
        Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => Ok(None),
        Err(error) => Err(NatsError::Stream(error.to_string())),
    }
}
