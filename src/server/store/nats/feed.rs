//! The one consumer of a node: it brings what any node published, in the stream's order.
//!
//! # Invariants
//!
//! - Nothing is skipped or taken twice: a consumer that misses a number is given up for one that begins where the
//!   last message was.
//! - The bounds of a room are changed first, then the hub gets the change, then the publisher gets its result.

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

/// A sign of life from the stream when nothing is published; without two of them it is asked anew.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long one request for messages lasts.
const REQUEST: Duration = Duration::from_secs(30);
/// Messages that one request asks for.
const BATCH: usize = 1000;
/// Messages that are told to a room in one go.
const AT_ONCE: usize = 256;
/// How long NATS keeps a consumer that asks for nothing.
const FORGET_AFTER: Duration = Duration::from_secs(30);
/// The pause before another try.
const PAUSE: Duration = Duration::from_millis(500);
/// How long there may be no stream, as while NATS starts, before it counts as deleted.
const MISSING_FOR: Duration = Duration::from_secs(10);

/// What one message of the stream leads to.
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
    /// Changes when the connection is open again.
    pub(super) connected: watch::Receiver<u64>,
}

impl Consumer {
    /// Follows the stream until dropped, or until it is lost.
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

    /// Whether the stream is what it was.
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

    /// Takes `message`, which must be the consumer's number `expected`.
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

    /// Sends the changes to the hub, and then the results to those who published.
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
