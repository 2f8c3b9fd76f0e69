//! The stream that holds all rooms, and the one beside it that remembers where each stands.
//!
//! Messages leave the stream by count in their room and by age. So that a room in which nothing is left still
//! knows its newest offset, the server copies each message's headers to a second stream (`NAME-heads`), which
//! keeps the newest of each room for ever: some 300 bytes. It keeps the rules of all nodes too.

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

/// What the stream's description begins with; then comes the number of its life.
const DESCRIPTION: &str = "Fanfare's rooms, life ";

/// The shortest window in which NATS looks for duplicates.
const SHORTEST_WINDOW: Duration = Duration::from_millis(100);
/// Bytes of the headers that a message gets when it is sent in a batch.
const ADDED_HEADERS: usize = 128;

/// See the [module docs](self).
pub(super) struct Streams {
    pub(super) context: Context,
    pub(super) rooms: Stream,
    heads: Stream,
    pub(super) subjects: Subjects,
    pub(super) epoch: Epoch,
    /// The limit of the first stream for one message, as it was seen last; none if not positive.
    max_message_size: AtomicI32,
}

/// What became of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamStatus {
    /// It is the same.
    Same,
    /// It is another, made anew.
    Other,
    /// It has lost its end.
    Shortened,
    /// There is none.
    Missing,
}

impl Streams {
    /// Finds both streams, makes them if there are none, and sets their limits.
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
            // A copy is never a duplicate: a key that the first stream takes again may be known here still.
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

    /// The last sequence that the stream had when it was opened.
    pub(super) fn last_sequence(&self) -> u64 {
        self.rooms.cached_info().state.last_sequence
    }

    /// Whether it is still the stream that it was, when `seen` was its last sequence or an earlier one.
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

    /// Offsets are given anew for what the stream lost, so they belong to another life. All nodes that notice do
    /// this, and it makes no difference how many.
    pub(super) async fn begin_another_life(&self) -> Result<(), NatsError> {
        let mut config = self.rooms.cached_info().config.clone();
        config.description = Some(format!("{DESCRIPTION}{}", life(&config) + 1));
        self.context
            .update_stream(&config)
            .await
            .map_err(|error| NatsError::Stream(error.to_string()))?;
        Ok(())
    }

    /// The first message of `room` at or after `sequence`.
    pub(super) async fn next(
        &self,
        room: &RoomName,
        sequence: u64,
    ) -> Result<Option<StreamMessage>, NatsError> {
        let next = self.rooms.raw_message_builder().sequence(sequence);
        found(next.next_by_subject(self.subjects.room(room)).send().await)
    }

    /// The message at `sequence`, of whichever room.
    pub(super) async fn at(&self, sequence: u64) -> Result<Option<StreamMessage>, NatsError> {
        found(
            self.rooms
                .raw_message_builder()
                .sequence(sequence)
                .send()
                .await,
        )
    }

    /// Returns the newest offset of `room`, 0 if it never had one: also when that message is no longer in the
    /// stream.
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

    /// How many messages of `room` it holds.
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

    /// What was deleted of `room`: where, and what stays of it.
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

    /// The first rule after number `sequence` of the second stream.
    pub(super) async fn rule_after(
        &self,
        sequence: u64,
    ) -> Result<Option<StreamMessage>, NatsError> {
        let next = self.heads.raw_message_builder().sequence(sequence + 1);
        found(next.next_by_subject(self.subjects.all_rules()).send().await)
    }

    /// The number of the newest message of the stream, as it is now.
    pub(super) async fn newest(&self) -> Result<u64, NatsError> {
        let info = self
            .rooms
            .get_info()
            .await
            .map_err(|error| NatsError::Stream(error.to_string()))?;
        Ok(info.state.last_sequence)
    }

    /// Takes the message at `sequence` out of the stream and writes over its bytes, if it is there.
    pub(super) async fn erase(&self, sequence: u64) -> Result<(), NatsError> {
        match self.rooms.delete_message(sequence).await {
            Ok(_) => Ok(()),
            Err(_) if self.at(sequence).await?.is_none() => Ok(()),
            Err(error) => Err(NatsError::Stream(error.to_string())),
        }
    }

    /// Remembers that the newest offset of `room` is at least `head`: for a message whose copy the second stream
    /// does not take, because its headers demand what holds in the first one only.
    pub(super) async fn remember(&self, room: &RoomName, head: u64) -> Result<(), NatsError> {
        let subject = self.subjects.head(room);
        loop {
            let newest = self.heads.raw_message_builder();
            let newest = found(newest.last_by_subject(subject.clone()).send().await)?;
            if newest.as_ref().and_then(|newest| self.head_in(newest)) >= Some(head) {
                return Ok(());
            }

            // A copy of a newer message may come first; that one must not be replaced.
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

    /// Returns the offset that a message of the second stream remembers; none if it is of an earlier first stream.
    fn head_in(&self, message: &StreamMessage) -> Option<u64> {
        if message.time < self.rooms.cached_info().created {
            return None;
        }
        message.headers.get(NATS_SEQUENCE)?.as_str().parse().ok()
    }

    /// Checks that NATS takes `message`, the one with this `number` of a batch, with room for the headers that the
    /// client library adds.
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

/// Which life of the log the stream is: told by when it was made and by how often it lost its end since.
fn epoch(info: &Info) -> Epoch {
    let nanos = Wrapping(info.created.unix_timestamp_nanos() as u64);
    // Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4): each bit counts.
    let mixed = (nanos + Wrapping(life(&info.config))) * Wrapping(0x9E37_79B9_7F4A_7C15);
    Epoch::new((mixed.0 >> 32) as u32)
}

fn life(config: &Config) -> u64 {
    let number = config
        .description
        .as_deref()
        .and_then(|text| text.strip_prefix(DESCRIPTION));
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

/// The stream of `wanted`, made or changed to be so.
async fn find(context: &Context, wanted: Config) -> Result<Stream, NatsError> {
    let wrong = |error: String| NatsError::Stream(format!("{:?}: {error}", wanted.name));
    let existing = match context.get_stream(&wanted.name).await {
        Ok(existing) => existing,
        Err(error) if is_missing(&error) => {
            // Another node may be as far; making the same twice is no error.
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

/// That there is no such message is an answer.
fn found(
    answer: Result<StreamMessage, RawMessageError>,
) -> Result<Option<StreamMessage>, NatsError> {
    match answer {
        Ok(message) => Ok(Some(message)),
        Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => Ok(None),
        Err(error) => Err(NatsError::Stream(error.to_string())),
    }
}
