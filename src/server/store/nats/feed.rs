//! The one JetStream consumer of a node. It delivers what any node published, in the order of the stream.
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
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy};
use futures::StreamExt;
use tokio::sync::watch;

use super::NatsError;
use super::council::NatsCouncil;
use super::entry::{PublishId, StreamEntry};
use super::flights::{Delivery, PendingPublishes};
use super::pulse::HealthTracker;
use super::rooms::{News, RoomStates, What};
use super::stream::{StreamStatus, Streams};
use super::subject::Place;
use crate::server::store::changes::{ChangeSender, LogChange};

/// The interval of idle heartbeats from NATS; after two missed ones the request for messages is repeated.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// The lifetime of one request for messages.
const REQUEST: Duration = Duration::from_secs(30);
/// The maximum number of messages for one request.
const BATCH: usize = 1000;
/// The maximum number of messages that are processed together.
const AT_ONCE: usize = 256;
/// The time after which NATS deletes an inactive consumer.
const FORGET_AFTER: Duration = Duration::from_secs(30);
/// The mean pause before the next attempt; a random factor from 0.5 to 1.5 applies.
const PAUSE: Duration = Duration::from_millis(500);
/// The time for which the stream may be missing, for example while NATS starts, before it counts as deleted.
const MISSING_FOR: Duration = Duration::from_secs(10);

/// The result of processing one message of the stream.
struct Taken {
    news: Option<News>,
    by: Option<PublishId>,
}

/// See the [module docs](self).
pub(super) struct Consumer {
    pub(super) rolls: Arc<Streams>,
    pub(super) rooms: Arc<RoomStates>,
    pub(super) flights: Arc<PendingPublishes>,
    pub(super) pulse: Arc<HealthTracker>,
    pub(super) council: NatsCouncil,
    pub(super) changes: Arc<ChangeSender>,
    /// A counter that changes when the connection is open again.
    pub(super) connected: watch::Receiver<u64>,
}

impl Consumer {
    /// Consumes the stream until dropped, or until the stream is lost.
    pub(super) async fn run(mut self) {
        let mut missing_since = None;
        loop {
            match self.check(&mut missing_since).await {
                Ok(()) => {
                    let Err(error) = self.follow().await;
                    self.pulse.feed_is(Err(error.to_string()));
                }
                Err(NatsError::Lost(reason)) => return self.pulse.is_lost(reason),
                Err(error) => self.pulse.feed_is(Err(error.to_string())),
            }
            tokio::select! {
                Ok(()) = self.connected.changed() => {}
                () = tokio::time::sleep(PAUSE.mul_f64(0.5 + fastrand::f64())) => {}
            }
        }
    }

    /// Returns an error if the stream is missing, was replaced or has lost its newest messages.
    async fn check(&self, missing_since: &mut Option<Instant>) -> Result<(), NatsError> {
        let fate = self.rolls.fate(self.rooms.position()).await?;
        if fate != StreamStatus::Missing {
            *missing_since = None;
        }

        match fate {
            StreamStatus::Same => Ok(()),
            StreamStatus::Other => Err(NatsError::Lost(
                "the stream is not the one that it was".to_owned(),
            )),
            StreamStatus::Shortened => {
                self.rolls.begin_another_life().await?;
                Err(NatsError::Lost(
                    "the stream has lost its newest messages".to_owned(),
                ))
            }
            StreamStatus::Missing
                if missing_since.get_or_insert_with(Instant::now).elapsed() > MISSING_FOR =>
            {
                Err(NatsError::Lost("the stream was deleted".to_owned()))
            }
            StreamStatus::Missing => Err(NatsError::Stream("there is no stream".to_owned())),
        }
    }

    async fn follow(&self) -> Result<Infallible, NatsError> {
        let wrong = |error: String| NatsError::Stream(error);
        let config = Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: self.rooms.position() + 1,
            },
            ack_policy: AckPolicy::None,
            replay_policy: ReplayPolicy::Instant,
            inactive_threshold: FORGET_AFTER,
            memory_storage: true,
            num_replicas: 1,
            ..Config::default()
        };

        let consumer = self
            .rolls
            .rooms
            .create_consumer(config)
            .await
            .map_err(|error| wrong(error.to_string()))?;

        let request = consumer
            .stream()
            .max_messages_per_batch(BATCH)
            .heartbeat(HEARTBEAT)
            .expires(REQUEST);
        let messages = request
            .messages()
            .await
            .map_err(|error| wrong(error.to_string()))?;
        self.pulse.feed_is(Ok(()));
        self.council.look();

        let mut chunks = messages.ready_chunks(AT_ONCE);
        let mut expected = 1;
        while let Some(chunk) = chunks.next().await {
            let mut all = Vec::with_capacity(chunk.len());
            let mut end = Ok(());
            for message in chunk {
                let message = message.map_err(|error| wrong(error.to_string()));
                match message.and_then(|message| self.take(&message, &mut expected)) {
                    Ok(taken) => all.push(taken),
                    Err(error) => {
                        end = Err(error);
                        break;
                    }
                }
            }

            self.tell(all);
            self.rooms.tell_position();
            end?;
        }
        Err(NatsError::Stream("the consumer ended".to_owned()))
    }

    /// Processes `message`, whose consumer sequence number must be `expected`, and increments `expected`.
    fn take(&self, message: &Message, expected: &mut u64) -> Result<Taken, NatsError> {
        let info = message
            .info()
            .map_err(|error| NatsError::Stream(error.to_string()))?;
        if info.consumer_sequence != *expected {
            return Err(NatsError::Stream(
                "the consumer left something out".to_owned(),
            ));
        }
        *expected += 1;

        let time = (info.published.unix_timestamp_nanos() / 1_000_000) as u64;
        let mut by = None;

        let place = self.rolls.subjects.place_of(&message.subject);
        if place == Some(Place::Order) {
            self.council.on_command(&message.payload);
        }

        let news = self.rooms.take(info.stream_sequence, place, || {
            let entry = StreamEntry::read(message.headers.as_ref(), &message.payload, time);
            by = entry.by;
            (entry, message.payload.clone())
        });
        Ok(Taken { news, by })
    }

    /// Sends the changes to the hub, and then the results to the waiting publishes.
    fn tell(&self, all: Vec<Taken>) {
        let news: Vec<&News> = all.iter().filter_map(|taken| taken.news.as_ref()).collect();
        let runs = news.chunk_by(|one, next| one.room == next.room && one.is_like(next));

        let changes = runs.filter_map(|run| {
            let News { room, what } = run.first()?;
            let room = room.clone();
            Some(match *what {
                What::Deleted { offset, at } => LogChange::Deleted(room, offset, at),
                What::Appended(_) => {
                    let frames = run.iter().filter_map(|news| news.appended());
                    LogChange::Appended(room, frames.cloned().collect())
                }
            })
        });
        self.changes.send(changes.collect());

        for Taken { news, by } in all {
            if let Some(ticket) = by {
                let entry = news.as_ref().and_then(News::appended);
                self.flights.heard(
                    ticket,
                    entry.cloned().map_or(Delivery::Done, Delivery::Entry),
                );
            }
        }
    }
}
