//! The NATS JetStream store, for several nodes: one stream holds all rooms, and every node consumes it.
//!
//! # Invariants
//!
//! - An offset is the sequence number of the message in the stream. It grows within each room, is the same on every
//!   node, and skips the numbers of other rooms. The creation time of the stream identifies the epoch.
//! - A message belongs to a room only after the stream has delivered it. The order of the stream is the only order:
//!   a disconnected node shows fewer messages, never another order.
//! - A node derives `prev` by consuming or reading the stream without a gap. For the oldest message that is kept,
//!   `prev` is the value in the message itself if the message began the room, otherwise the number before it: a
//!   client that has received less may have missed a message.
//! - A deleted message leaves a tombstone, which every node puts in its place ([`graves`], [`eraser`]).
//! - A key is a `Nats-Msg-Id`, so a message is stored once, on whichever node it arrives, within the duplicate window
//!   of the stream.
//! - A room waits only for its own responses from NATS, never for those of other rooms ([`room_queues`]).
//! - A batch is stored without a gap, but it may be stored only in part ([`publisher`]).
//! - An ack is the ack of JetStream: as durable as the replicas and the `sync_interval` of the stream make it.
//! - A message contains the newest offset of its room that its node had seen. A node that reads the stream therefore
//!   detects removed messages just as a node that consumed the stream does ([`pages`]).
//! - Each node has one consumer. Older messages are requested from the leader of the stream; these requests are
//!   bounded and their results are cached ([`pages`], [`tail`]).
//! - If the stream was replaced or has lost its newest messages, the process ends, because the state of its clients
//!   is no longer valid. They reconnect in another epoch.
//!
//! Deliberately absent: a limit of bytes per room, which JetStream does not have, and a limit on the number of
//! remembered keys.

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

/// The timeout of one request to NATS.
const WAIT: Duration = Duration::from_secs(2);
/// The maximum number of publishes without an ack; further ones wait.
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
    /// The queue of appends; `None` after the store is closed.
    queue: Mutex<Option<UnboundedSender<AppendRequest>>>,
    runtime: Handle,
    bus: Arc<NatsBus>,
    eraser: Arc<Deleter>,
    council: NatsCouncil,
    /// The consumer, the bus and the rule tasks, which are aborted when the store is closed.
    tasks: [JoinHandle<()>; 3],
    /// The publisher task, which ends after the queue is closed; `None` after it was awaited.
    publishing: Mutex<Option<JoinHandle<()>>>,
}

impl NatsStore {
    /// Connects to NATS, creates the streams if they do not exist, and starts to consume them.
    ///
    /// # Errors
    /// If NATS cannot be reached, rejects the login, or does not offer JetStream to this account.
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

/// Spawns the task `name`. If it panics, the store is marked corrupt, because the other tasks depend on it.
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

    fn is_searchable(&self) -> bool {
        false
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
            // The consumer reports the deletion itself.
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
        // After a panic the store is already marked corrupt.
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
