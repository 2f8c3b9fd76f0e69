//! Several nodes over NATS JetStream: one stream holds all rooms, and every node follows it.
//!
//! # Invariants
//!
//! - An offset is the number of the message in the stream: it grows in each room, the same on every node, and
//!   leaves out the numbers of other rooms. Which life of the log it belongs to is told by when the stream was made.
//! - Nothing is a message of a room until the stream has brought it back: the stream's order is the only one, and
//!   a node that is cut off shows less, never another order.
//! - `prev` is what the node knows from following or reading without a hole. Of the oldest message that is kept it
//!   is what the message says itself, if it began the room, else the number before it: whoever saw less may have
//!   missed something.
//! - A key is a `Nats-Msg-Id`, so it is stored once whichever node gets it, for as long as the stream's window.
//! - An ack is JetStream's own: as durable as the stream's replicas and `sync_interval` make it.
//! - There is one consumer for each node. Old messages are read by questions to the stream's leader, bounded and
//!   remembered ([`pages`], [`tail`]).
//! - A stream that is another than it was, or that has lost its end, ends the process: what its clients know is no
//!   longer so. They come back to another epoch.
//!
//! Deliberately absent: deleting one message; a limit of bytes by room, which JetStream has not; keys remembered by count.

mod settings;
mod subject;
mod entry;
mod pulse;
mod link;
mod stream;
mod tail;
mod rooms;
mod pages;
mod flights;
mod feed;
mod publisher;
mod bus;
#[cfg(test)]
pub(super) mod server;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_nats::jetstream::context::ContextBuilder;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::room::Draft;
use crate::server::store::{
    Bounds, Bus, DeleteReport, Health, Heard, Limit, Page, Report, Span, Store, StoreError,
};

pub use settings::{NatsLogin, NatsServers, NatsSettings};

use bus::{NatsBus, Wire};
use feed::Feed;
use flights::Flights;
use link::Link;
use pages::Pages;
use publisher::{Append, Publisher};
use pulse::Pulse;
use rooms::Rooms;
use stream::Rolls;

/// How long NATS may take to answer a question.
const WAIT: Duration = Duration::from_secs(2);
/// Publishes that may be unanswered at once; more wait.
const MAX_UNANSWERED: usize = 8192;

/// What goes wrong with NATS.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// No server lets us in.
    #[error("cannot connect to NATS at {servers}: {problem}")]
    Connect {
        /// Where.
        servers: String,
        /// What the client says.
        problem: String,
    },
    /// A file that says who we are cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A stream of this name has other subjects.
    #[error("NATS has a stream {name:?} that is not Fanfare's; name another one with --nats-stream")]
    Foreign {
        /// The stream.
        name: String,
    },
    /// JetStream refuses something, or does not answer.
    #[error("the NATS stream: {0}")]
    Stream(String),
    /// A publish was refused.
    #[error("NATS did not take it: {0}")]
    Publish(String),
    /// A publish was not answered in time.
    #[error("NATS did not answer in time; it may be stored or not: send it again with the same key")]
    Unanswered,
    /// The room was given up meanwhile.
    #[error("the room is not open")]
    NotOpen,
    /// The stream is not what it was.
    #[error("{0}")]
    Lost(String),
}

impl From<NatsError> for StoreError {
    fn from(error: NatsError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// See the [module docs](self).
pub struct NatsStore {
    rolls: Arc<Rolls>,
    rooms: Arc<Rooms>,
    pages: Arc<Pages>,
    pulse: Arc<Pulse>,
    publisher: Arc<Publisher>,
    heard: Arc<OnceLock<Heard>>,
    /// `None` once it is closed.
    queue: Mutex<Option<UnboundedSender<Append>>>,
    runtime: Handle,
    bus: Arc<NatsBus>,
    /// Those that end with the store: the feed and the bus.
    tasks: [JoinHandle<()>; 2],
    /// Ends when the queue does; `None` once that was waited for.
    publishing: Mutex<Option<JoinHandle<()>>>,
}

impl NatsStore {
    /// Connects, makes the stream if there is none, and follows it.
    ///
    /// # Errors
    /// If NATS cannot be reached, does not let us in, or has no JetStream for us.
    pub async fn connect(settings: &NatsSettings) -> Result<Self, NatsError> {
        let Link { client, connected } = Link::connect(settings).await?;
        let wire = Wire::open(client.clone(), &settings.stream).await?;
        let context = ContextBuilder::new()
            .timeout(WAIT)
            .max_ack_inflight(MAX_UNANSWERED)
            .backpressure_on_inflight(true)
            .build(client);
        let rolls = Arc::new(Rolls::open(context, settings).await?);
        let kept = settings.retention.messages;
        let rooms = Arc::new(Rooms::new(rolls.epoch.clone(), kept, rolls.last_sequence()));
        let pages = Arc::new(Pages::new(rolls.clone(), rooms.clone()));
        let (flights, pulse, heard) = (Arc::new(Flights::new()), Arc::new(Pulse::new()), Arc::default());
        let publisher =
            Arc::new(Publisher::new(rolls.clone(), rooms.clone(), flights.clone(), pulse.clone()));
        let feed = Feed {
            rolls: rolls.clone(),
            rooms: rooms.clone(),
            flights,
            pulse: pulse.clone(),
            heard: Arc::clone(&heard),
            connected: connected.clone(),
        };
        let (note, notes) = mpsc::unbounded_channel();
        let bus = Arc::new(NatsBus::new(note));
        let carrying = tokio::spawn({
            let bus = bus.clone();
            async move { bus.run(wire, notes, connected).await }
        });
        let (queue, queued) = mpsc::unbounded_channel();
        let publishing = tokio::spawn({
            let publisher = publisher.clone();
            async move { publisher.run(queued).await }
        });
        Ok(Self {
            rolls,
            rooms,
            pages,
            pulse,
            publisher,
            heard,
            queue: Mutex::new(Some(queue)),
            runtime: Handle::current(),
            bus,
            tasks: [tokio::spawn(feed.run()), carrying],
            publishing: Mutex::new(Some(publishing)),
        })
    }
}

impl Store for NatsStore {
    fn open(&self, room: &RoomName) -> BoxFuture<'static, Result<(), StoreError>> {
        let opening = self.rooms.begin(room);
        if opening.is_known {
            return std::future::ready(Ok(())).boxed();
        }
        let (rolls, rooms, pages) = (self.rolls.clone(), self.rooms.clone(), self.pages.clone());
        let (pulse, room) = (self.pulse.clone(), room.clone());
        async move {
            let _turn = opening.turn.lock().await;
            let opening = rooms.begin(&room);
            if opening.is_known {
                return Ok(());
            }
            let asked = async {
                let head = match opening.head {
                    Some(head) => head,
                    None => rolls.head(&room).await?,
                };
                rooms.learn(&room, head, pages.oldest(&room).await?);
                Ok::<(), NatsError>(())
            };
            let answer = match pulse.refusal() {
                Some(reason) => Err(StoreError::Unavailable(reason)),
                None => asked.await.map_err(StoreError::from),
            };
            // A room whose head is known can be read on from: it may serve less, and nothing wrong.
            if opening.head.is_some() { Ok(()) } else { answer }
        }
        .boxed()
    }

    fn follow(&self, heard: Heard) {
        // There is one Hub to a store.
        let _second = self.heard.set(heard);
    }

    fn bus(&self) -> Option<Arc<dyn Bus>> {
        Some(self.bus.clone())
    }

    fn bounds(&self, room: &RoomName) -> Result<Bounds, StoreError> {
        Ok(self.rooms.bounds(room).ok_or(NatsError::NotOpen)?)
    }

    fn append(&self, room: &RoomName, drafts: Vec<Draft>, at: u64, report: Report) {
        let append = Append { room: room.clone(), drafts, at, report };
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.publisher.take(append, queue.as_ref());
    }

    /// A stream only takes a message out whole, and then its readers would see a gap.
    fn delete(&self, _room: &RoomName, _offset: Offset, _at: u64, report: DeleteReport) {
        report(Err(StoreError::Unsupported("messages in NATS cannot be deleted one by one")));
    }

    fn read(
        &self,
        room: &RoomName,
        span: Span,
        limit: Limit,
    ) -> BoxFuture<'static, Result<Page, StoreError>> {
        let (opened, pages, room) = (self.open(room), self.pages.clone(), room.clone());
        async move {
            opened.await?;
            Ok(pages.page(&room, span, limit).await?)
        }
        .boxed()
    }

    fn release(&self, room: &RoomName) {
        self.rooms.release(room);
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.pulse.watch()
    }

    fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let publishing = self.publishing.lock().unwrap_or_else(PoisonError::into_inner).take();
        // An error means that it panicked, which its own output has told.
        let _panicked = publishing.map(|publishing| self.runtime.block_on(publishing));
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Drop for NatsStore {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl fmt::Debug for NatsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsStore").field("epoch", &self.rolls.epoch).finish_non_exhaustive()
    }
}
