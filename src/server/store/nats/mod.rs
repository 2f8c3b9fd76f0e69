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
//! - What is deleted leaves a tombstone that every node puts in its place ([`graves`], [`eraser`]).
//! - A key is a `Nats-Msg-Id`, so it is stored once whichever node gets it, for as long as the stream's window.
//! - A room waits for its own answers from NATS, and for no other room's ([`room_queues`]).
//! - A batch is stored without a hole, if not whole ([`publisher`]).
//! - An ack is JetStream's own: as durable as the stream's replicas and `sync_interval` make it.
//! - A message names the newest one of its room that its node knew: so a node that reads the stream knows of a
//!   message that somebody has removed, as a node does that has followed it ([`pages`]).
//! - There is one consumer for each node. Old messages are read by questions to the stream's leader, bounded and
//!   remembered ([`pages`], [`tail`]).
//! - A stream that is another than it was, or that has lost its end, ends the process: what its clients know is no
//!   longer so. They come back to another epoch.
//!
//! Deliberately absent: a limit of bytes by room, which JetStream has not; keys remembered by count.

mod error;
mod settings;
mod subject;
mod entry;
mod pulse;
mod link;
mod stream;
mod tail;
mod graves;
mod standing;
mod rooms;
mod room_queues;
mod record;
mod pages;
mod flights;
mod feed;
mod scout;
mod publisher;
mod eraser;
mod council;
mod bus;
#[cfg(test)]
pub(super) mod server;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::ContextBuilder;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::room::Draft;
use crate::server::store::changes::{ChangeSender, Changes, LogChange, StoreFuture};
use crate::server::store::guard;
use crate::server::store::{
    Backend, Bounds, ClusterBackend, Deleted, Health, Limit, Page, Span, Store, StoreError, Stored,
};

pub use error::NatsError;
pub use settings::{NatsLogin, NatsServers, NatsSettings};

use bus::{BusSubscription, NatsBus};
use council::NatsCouncil;
use eraser::Deleter;
use feed::Consumer;
use flights::PendingPublishes;
use link::NatsConnection;
use pages::HistoryReader;
use publisher::{AppendRequest, Publisher};
use pulse::HealthTracker;
use rooms::RoomStates;
use scout::RoomOpener;
use stream::Streams;

/// How long NATS may take to answer a question.
const WAIT: Duration = Duration::from_secs(2);
/// Publishes that may be unanswered at once; more wait.
const MAX_UNANSWERED: usize = 8192;

/// See the [module docs](self).
pub struct NatsStore {
    rolls: Arc<Streams>,
    rooms: Arc<RoomStates>,
    pages: Arc<HistoryReader>,
    scout: RoomOpener,
    pulse: Arc<HealthTracker>,
    publisher: Arc<Publisher>,
    changes: Arc<ChangeSender>,
    /// `None` once it is closed.
    queue: Mutex<Option<UnboundedSender<AppendRequest>>>,
    runtime: Handle,
    bus: Arc<NatsBus>,
    eraser: Arc<Deleter>,
    council: NatsCouncil,
    /// Those that end with the store: the feed, the bus and the council.
    tasks: [JoinHandle<()>; 3],
    /// Ends when the queue does; `None` once that was waited for.
    publishing: Mutex<Option<JoinHandle<()>>>,
}

impl NatsStore {
    /// Connects, makes the stream if there is none, and follows it.
    ///
    /// # Errors
    /// If NATS cannot be reached, does not let us in, or has no JetStream for us.
    pub async fn connect(settings: &NatsSettings) -> Result<Self, NatsError> {
        let NatsConnection { client, connected } = NatsConnection::connect(settings).await?;
        let wire = BusSubscription::open(client.clone(), &settings.stream).await?;
        let context = ContextBuilder::new()
            .timeout(WAIT)
            .max_ack_inflight(MAX_UNANSWERED)
            .backpressure_on_inflight(true)
            .build(client);
        let rolls = Arc::new(Streams::open(context, settings).await?);
        let kept = settings.retention.messages;
        let rooms = Arc::new(RoomStates::new(
            rolls.epoch.clone(),
            kept,
            rolls.last_sequence(),
        ));
        let pages = Arc::new(HistoryReader::new(rolls.clone(), rooms.clone()));
        let flights = Arc::new(PendingPublishes::new());
        let pulse = Arc::new(HealthTracker::new());
        let changes = Arc::new(ChangeSender::default());
        let council = NatsCouncil::new(rolls.clone(), flights.clone(), pulse.clone());
        let deciding = spawn(&pulse, "that follows the rules of all nodes", {
            let council = council.clone();
            async move { council.run().await }
        });
        let publisher = Arc::new(Publisher::new(
            rolls.clone(),
            rooms.clone(),
            flights.clone(),
            pulse.clone(),
            council.clone(),
            changes.clone(),
        ));
        let eraser = Arc::new(Deleter {
            rolls: rolls.clone(),
            rooms: rooms.clone(),
            flights: flights.clone(),
            pulse: pulse.clone(),
        });
        let scout = RoomOpener {
            rolls: rolls.clone(),
            rooms: rooms.clone(),
            pages: pages.clone(),
            pulse: pulse.clone(),
        };
        let feed = Consumer {
            rolls: rolls.clone(),
            rooms: rooms.clone(),
            flights,
            pulse: pulse.clone(),
            council: council.clone(),
            changes: changes.clone(),
            connected: connected.clone(),
        };
        let (note, notes) = mpsc::unbounded_channel();
        let bus = Arc::new(NatsBus::new(note));
        let carrying = spawn(&pulse, "that listens to other nodes", {
            let bus = bus.clone();
            async move { bus.run(wire, notes, connected).await }
        });
        let (queue, queued) = mpsc::unbounded_channel();
        let publishing = spawn(&pulse, "that publishes", {
            let publisher = publisher.clone();
            async move { publisher.run(queued).await }
        });
        let following = spawn(&pulse, "that follows the stream", feed.run());
        Ok(Self {
            rolls,
            rooms,
            pages,
            scout,
            pulse,
            publisher,
            changes,
            queue: Mutex::new(Some(queue)),
            runtime: Handle::current(),
            bus,
            eraser,
            council,
            tasks: [following, carrying, deciding],
            publishing: Mutex::new(Some(publishing)),
        })
    }
}

/// Spawns the task `name`. If it panics, the store is lost: the other tasks cannot do without it.
fn spawn(
    pulse: &Arc<HealthTracker>,
    name: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let pulse = pulse.clone();
    tokio::spawn(async move {
        if let Err(panic) = guard::run_task(task).await {
            pulse.is_lost(format!("the task {name} panicked: {panic}"));
        }
    })
}

impl NatsStore {
    /// Returns the store and its connections to other nodes.
    pub fn into_backend(self) -> Backend {
        let cluster = ClusterBackend {
            bus: self.bus.clone(),
            rules: Arc::new(self.council.clone()),
        };
        Backend {
            store: Arc::new(self),
            cluster: Some(cluster),
        }
    }

    fn publish(
        &self,
        room: &RoomName,
        drafts: Vec<Draft>,
        at: u64,
        is_batch: bool,
    ) -> StoreFuture<Vec<Stored>> {
        let (call, result) = self.changes.begin(room, drafts.len());
        let append = AppendRequest {
            call,
            drafts,
            is_batch,
            at,
        };

        let queue = self.queue.lock();
        self.publisher.enqueue(append, queue.as_ref());
        result
    }
}

impl Store for NatsStore {
    fn open(&self, room: &RoomName) -> StoreFuture<()> {
        self.scout.open(room)
    }

    fn reach(&self, offset: Offset) -> StoreFuture<()> {
        self.scout.reach(offset)
    }

    fn bounds(&self, room: &RoomName) -> Result<Bounds, StoreError> {
        Ok(self.rooms.bounds(room).ok_or(NatsError::NotOpen)?)
    }

    fn changes(&self) -> Changes {
        self.changes.subscribe()
    }

    fn append(&self, room: &RoomName, drafts: Vec<Draft>, at: u64) -> StoreFuture<Vec<Stored>> {
        self.publish(room, drafts, at, false)
    }

    fn append_batch(
        &self,
        room: &RoomName,
        drafts: Vec<Draft>,
        at: u64,
    ) -> StoreFuture<Vec<Stored>> {
        let is_batch = drafts.len() > 1;
        self.publish(room, drafts, at, is_batch)
    }

    fn delete(&self, room: &RoomName, offset: Offset, at: u64) -> StoreFuture<Deleted> {
        let (call, result) = self.changes.begin(room, 1);
        let (eraser, changes) = (self.eraser.clone(), self.changes.clone());
        self.runtime.spawn(async move {
            // The stream brings the deletion itself.
            let deleted = eraser.erase(&call.room, offset, at).await;
            changes.send(vec![LogChange::DeleteFinished(call, deleted)]);
        });
        result
    }

    fn flush(&self) -> BoxFuture<'static, ()> {
        self.changes.flush()
    }

    fn read(&self, room: &RoomName, span: Span, limit: Limit) -> StoreFuture<Page> {
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
        self.queue.lock().take();
        let publishing = self.publishing.lock().take();
        // A panic has made the store lost already.
        let _ = publishing.map(|publishing| self.runtime.block_on(publishing));
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
        f.debug_struct("NatsStore")
            .field("epoch", &self.rolls.epoch)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_task_of_the_store_makes_it_lost() {
        let pulse = Arc::new(HealthTracker::new());

        let task = spawn(&pulse, "that publishes", async { panic!("a fault") });
        task.await.expect("the panic is caught");

        let reason = "the task that publishes panicked: a fault".to_owned();
        assert_eq!(*pulse.watch().borrow(), Health::Corrupt(reason));
    }
}
