//! The JetStream consumer of a node. It delivers the messages of all nodes in the order of the stream.
//!
//! # Invariants
//!
//! - No message is skipped or processed twice. A consumer that misses a sequence number is replaced by one that
//!   starts after the last processed message.
//! - First the bounds of a room change, then the hub receives the change, then the publisher receives its result.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::Message;
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use super::codec::PublishId;
use super::connection::NatsError;
use super::publisher::Publisher;
use super::streams::messages_of;
use super::subjects::StreamSubject;
use crate::server::room::Frame;
use crate::server::store::changes::LogChange;

/// The maximum number of messages that are processed together.
const MAX_BATCH: usize = 256;
/// The mean pause before the next attempt; a random factor from 0.5 to 1.5 applies.
const PAUSE: Duration = Duration::from_millis(500);
/// The time for which the stream may be missing, for example while NATS starts, before it counts as deleted.
const MISSING_FOR: Duration = Duration::from_secs(10);

/// The consumer. See the [module docs](self).
pub(super) struct Consumer {
    pub(super) publisher: Arc<Publisher>,
    /// The channel for commands. An empty one requests a check for new rules.
    pub(super) commands: UnboundedSender<Bytes>,
    /// A counter that changes when the connection is open again.
    pub(super) connected: watch::Receiver<u64>,
}

/// The results of messages that were processed together.
#[derive(Default)]
struct ConsumedBatch {
    changes: Vec<LogChange>,
    /// The publishes that were delivered, each with its frame if it is an append.
    delivered: Vec<(PublishId, Option<Arc<Frame>>)>,
}

impl Consumer {
    /// Consumes the stream until dropped, or until the stream is lost.
    pub(super) async fn run(mut self) {
        let health = self.publisher.rooms.streams.health.clone();
        let mut missing_since = None;
        loop {
            let Err(error) = self.consume().await;
            let is_missing = matches!(error, NatsError::Missing);
            let since = *missing_since.get_or_insert_with(Instant::now);

            match error {
                NatsError::Lost(reason) => return health.set_corrupt(reason),
                NatsError::Missing if since.elapsed() > MISSING_FOR => {
                    return health.set_corrupt("the stream was deleted");
                }
                error => health.set_consumer(Err(error.to_string())),
            }
            if !is_missing {
                missing_since = None;
            }

            tokio::select! {
                Ok(()) = self.connected.changed() => {}
                () = tokio::time::sleep(PAUSE.mul_f64(0.5 + fastrand::f64())) => {}
            }
        }
    }

    /// Consumes the stream until an error.
    async fn consume(&self) -> Result<Infallible, NatsError> {
        let rooms = &self.publisher.rooms;
        rooms.streams.check(rooms.position()).await?;

        let start = rooms.position() + 1;
        let consumer = rooms.streams.create_consumer(start, String::new(), false);
        let messages = messages_of(&consumer.await?).await?;
        rooms.streams.health.set_consumer(Ok(()));
        self.send_command(Bytes::new());

        let mut chunks = messages.ready_chunks(MAX_BATCH);
        let mut expected = 1;
        while let Some(chunk) = chunks.next().await {
            let mut batch = ConsumedBatch::default();
            let processed = chunk.into_iter().try_for_each(|message| {
                let message = message.map_err(NatsError::request)?;
                self.process(message, &mut expected, &mut batch)
            });

            self.publisher.changes.send(batch.changes);
            for (id, frame) in batch.delivered {
                self.publisher.pending.deliver(id, frame);
            }
            rooms.notify_position();
            processed?;
        }
        Err(NatsError::request("the consumer ended"))
    }

    /// Processes `message`, whose consumer sequence number must be `expected`, and increments `expected`.
    fn process(
        &self,
        message: Message,
        expected: &mut u64,
        batch: &mut ConsumedBatch,
    ) -> Result<(), NatsError> {
        let info = message.info().map_err(NatsError::request)?;
        if info.consumer_sequence != *expected {
            let number = info.consumer_sequence;
            let problem = format!("the consumer sent message {number} instead of {expected}");
            return Err(NatsError::Request(problem));
        }
        *expected += 1;

        let (sequence, time) = (info.stream_sequence, info.published);
        let message = message.message;
        let message = StreamMessage {
            subject: message.subject,
            sequence,
            headers: message.headers.unwrap_or_default(),
            payload: message.payload,
            time,
        };

        let rooms = &self.publisher.rooms;
        let subject = rooms.streams.subjects.parse(&message.subject);
        if subject == Some(StreamSubject::Command) {
            self.send_command(message.payload.clone());
        }

        let mut changes = Vec::new();
        let id = rooms.process(&message, subject, &mut changes);
        let frame = changes.iter().find_map(|change| match change {
            LogChange::Appended(_, frames) => frames.first().cloned(),
            _ => None,
        });
        batch.delivered.extend(id.map(|id| (id, frame)));

        for change in changes {
            match (batch.changes.last_mut(), change) {
                (Some(LogChange::Appended(last, frames)), LogChange::Appended(room, new))
                    if *last == room =>
                {
                    frames.extend(new);
                }
                (_, change) => batch.changes.push(change),
            }
        }
        Ok(())
    }

    fn send_command(&self, command: Bytes) {
        // Sending fails only after the store is closed, when no command matters.
        let _ = self.commands.send(command);
    }
}
