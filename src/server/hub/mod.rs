//! The rooms and connections of one process: admission, publishing, fan-out, presence, other nodes, memory. [`Hub`]
//! is a handle to all of them; [`Hub::run`] runs their tasks.
//!
//! # Invariants
//!
//! - The hub accesses connections only as [`Subscriber`]s: no socket, no HTTP.
//! - A connection is counted once from its [`Admission`] and leaves once, when its [`Membership`] is dropped. Two
//!   connections with the same id are two members.
//! - A message is in the ring of its room, and is sent to readers, only after the store has stored it
//!   ([`store_changes`]).
//! - Each part has its own lock. Locks are short and never held across an await. Lock order: rooms, then a room's
//!   readers, then its log.

mod admission;
mod catch_up;
mod cluster;
mod cluster_moderation;
mod connections;
mod fanout;
mod history;
mod memory_pressure;
mod outage;
mod presence;
mod readers;
mod room;
mod rooms;
mod store_changes;
mod subscriber;
mod trace;

use std::net::IpAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::future::{join, join5};
use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::memory::Memory;
use crate::server::metrics;
use crate::server::moderation::Moderation;
use crate::server::room::{Draft, LogLimits, PresentMember, Tick};
use crate::server::run_clock::RunClock;
use crate::server::session::CatchUpPage;
use crate::server::store::{
    Backend, BusEvent, Changes, Deleted, Limit, Page, RuleEvent, Span, Store, StoreError,
    StoreFuture, Stored,
};

pub use admission::{Admission, Membership, Refusal};
pub use catch_up::{Gap, Resume, StartPosition};
pub use cluster_moderation::{ClusterModeration, DecreeError, Effect};
pub use connections::{ConnectionEntry, Connections, Listing};
pub use history::DeletionMark;
pub use memory_pressure::{MemoryBudget, MemoryHolder, MemoryRegistration, Reclaimable};
pub use room::{Room, RoomStats};
pub use rooms::Rooms;
pub use subscriber::{Closing, ConnectionStatus, Notice, Subscriber};
pub use trace::{TraceEvent, TracedConnection, Tracer};

use cluster::Cluster;
use fanout::Fanout;
use presence::DirtyPresence;

/// The size limit of a page of history in bytes: the most that one request of a client may hold in memory.
const PAGE_BYTES: usize = 256 * 1024;
/// The number of messages read from the store at once for a reader that has fallen behind.
const CATCH_UP_MESSAGES: usize = 256;
/// The time that a restarted server needs for each client that reconnects, with a margin.
const RECONNECT_EACH: Duration = Duration::from_millis(2);
/// The shortest and the longest time over which clients spread their reconnects.
const RECONNECT_WINDOW: (Duration, Duration) =
    (Duration::from_millis(500), Duration::from_secs(20));

/// The limits of one process.
#[derive(Clone, Copy, Debug)]
pub struct HubSettings {
    /// The largest number of connections in total.
    pub max_connections: usize,
    /// The largest number of connections from one address, or from one IPv6 network of size /64.
    pub max_connections_per_ip: usize,
    /// The largest number of rooms.
    pub max_rooms: usize,
    /// The largest number of connections to one room.
    pub max_room_members: usize,
    /// The bytes that the process may hold for clients.
    pub memory_budget: usize,
    /// The size of each room's ring.
    pub log: LogLimits,
    /// The time between two checks of the timers of all connections.
    pub sweep_every: Duration,
}

/// A cheap handle to the hub. See the [module docs](self).
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

struct Shared {
    max_room_members: usize,
    sweep_every: Duration,
    started: Instant,
    clock: RunClock,
    store: Arc<dyn Store>,
    rooms: Arc<Rooms>,
    connections: Arc<Connections>,
    fanout: Fanout,
    dirty_presence: Arc<DirtyPresence>,
    /// The other nodes; `None` for a single node.
    cluster: Option<Cluster>,
    moderation: Arc<ClusterModeration>,
    memory: Arc<MemoryBudget>,
    is_draining: AtomicBool,
    /// The inputs until [`Hub::run`] takes them.
    inputs: Mutex<Option<Inputs>>,
}

/// The streams that the tasks of the hub consume.
struct Inputs {
    changes: Changes,
    cluster: Option<(UnboundedReceiver<BusEvent>, UnboundedReceiver<RuleEvent>)>,
}

impl Hub {
    /// Creates a hub that stores messages in `backend`, applies the rules of `moderation` and uses `clock` for client
    /// timeouts. Its tasks start with [`Hub::run`].
    pub fn new(
        settings: HubSettings,
        backend: Backend,
        moderation: Moderation,
        clock: RunClock,
    ) -> Self {
        Memory::of_process().set_budget(settings.memory_budget);
        let Backend { store, cluster } = backend;
        let inputs = Inputs {
            changes: store.changes(),
            cluster: cluster
                .as_ref()
                .map(|cluster| (cluster.bus.events(), cluster.rules.events())),
        };

        let shards = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u16);
        let max_rooms = settings.max_rooms;
        let rooms = Arc::new(Rooms::new(store.clone(), max_rooms, settings.log, shards));
        let connections = Arc::new(Connections::new(
            settings.max_connections,
            settings.max_connections_per_ip,
        ));
        let dirty_presence = Arc::new(DirtyPresence::default());
        let rules = cluster.as_ref().map(|cluster| cluster.rules.clone());
        let moderation = ClusterModeration::new(moderation, connections.clone(), rules);
        let memory = MemoryBudget::new(rooms.clone(), connections.clone(), store.clone());
        let cluster = cluster.map(|cluster| {
            let (rooms, dirty_presence) = (rooms.clone(), dirty_presence.clone());
            Cluster::new(cluster.bus, rooms, dirty_presence, clock.clone())
        });

        Self(Arc::new(Shared {
            max_room_members: settings.max_room_members,
            sweep_every: settings.sweep_every,
            started: Instant::now(),
            clock,
            store,
            rooms,
            connections,
            fanout: Fanout::new(shards),
            dirty_presence,
            cluster,
            moderation: Arc::new(moderation),
            memory: Arc::new(memory),
            is_draining: AtomicBool::new(false),
            inputs: Mutex::new(Some(inputs)),
        }))
    }

    /// Runs the tasks of the hub until dropped. Returns only if a task ends, which is a fault. A panic in a task is
    /// propagated. Call this once.
    pub async fn run(&self) {
        let Some(inputs) = self.0.inputs.lock().take() else {
            return;
        };

        let mut tasks = JoinSet::new();
        for shard in 0..self.0.fanout.shards() {
            let hub = self.0.clone();
            tasks.spawn(async move { hub.fanout.run(shard).await });
        }
        let (hub, changes) = (self.0.clone(), inputs.changes);
        tasks
            .spawn(async move { store_changes::apply_all(changes, &hub.rooms, &hub.fanout).await });

        let hub = &*self.0;
        let cluster = async {
            if let (Some(cluster), Some((nodes, rules))) = (&hub.cluster, inputs.cluster) {
                join(cluster.run(nodes), hub.moderation.run(rules)).await;
            }
        };
        let presence = hub
            .dirty_presence
            .announce_all(hub.cluster.as_ref(), &hub.clock);
        let others = join5(
            presence,
            cluster,
            hub.sweep(),
            hub.memory.enforce(),
            hub.watch_health(),
        );

        let ended = tokio::select! {
            Some(ended) = tasks.join_next() => ended,
            _ = others => Ok(()),
        };
        if let Err(error) = ended
            && let Ok(panic) = error.try_into_panic()
        {
            resume_unwind(panic);
        }
    }

    /// Stops admitting connections, closes all open ones with 1001 and waits until they are gone. Messages that were
    /// published earlier are sent first.
    pub async fn drain(&self) {
        self.0.is_draining.store(true, Ordering::Release);
        self.0.store.flush().await;

        // Computed once, because the number of connections shrinks while clients leave.
        let window = self.reconnect_window();
        self.0
            .connections
            .for_each(|subscriber| {
                subscriber.close(Closing::Drain(window.mul_f64(fastrand::f64())));
            })
            .await;
        self.0.connections.all_gone().await;

        if let Some(cluster) = &self.0.cluster {
            cluster.leave();
        }
    }

    /// Reserves a slot for a connection from `address` to the room `name`, and opens the room. With `resume` the
    /// client continues from that position.
    ///
    /// # Errors
    /// The limit that is reached.
    pub async fn admit(
        &self,
        address: IpAddr,
        name: &RoomName,
        resume: Option<&Resume>,
    ) -> Result<Admission, Refusal> {
        Admission::new(self, address, name, resume).await
    }

    /// Makes an admitted connection a member. With an `id` the client is present from now on; without one it only
    /// reads. `proven` is the id that its token proves; bans and kicks apply to it in either case.
    pub fn join(
        &self,
        admission: Admission,
        id: Option<UserId>,
        proven: Option<UserId>,
    ) -> Membership {
        Membership::new(self, admission, id, proven)
    }

    /// Returns the room `name`, loaded from the store if it is not in memory.
    ///
    /// # Errors
    /// [`Refusal::TooManyRooms`] and [`Refusal::StoreUnavailable`].
    pub async fn room(&self, name: &RoomName) -> Result<Arc<Room>, Refusal> {
        let (room, is_new) = self.0.rooms.open(name).await?;
        if let Some(cluster) = self.0.cluster.as_ref().filter(|_| is_new) {
            cluster.request_presence(&room);
        }
        Ok(room)
    }

    /// Returns true if the next message of `room` creates the room in the store.
    pub fn is_new(&self, room: &Room) -> bool {
        room.holds_nothing() && self.0.rooms.is_unknown(room)
    }

    /// Stores `drafts` consecutively in `room`. The future resolves when the new messages are in the ring. Messages
    /// that are received together should be published together: readers then get them in one write.
    ///
    /// The messages are stored and sent to the readers even if the future is dropped.
    pub fn publish(&self, room: &Room, drafts: Vec<Draft>) -> StoreFuture<Vec<Stored>> {
        room.publish_started();
        self.0.store.append(room.name(), drafts, now_millis())
    }

    /// Publishes either all of `drafts` or none, otherwise like [`Hub::publish`]: see [`Store::append_batch`].
    pub fn publish_batch(&self, room: &Room, drafts: Vec<Draft>) -> StoreFuture<Vec<Stored>> {
        room.publish_started();
        self.0.store.append_batch(room.name(), drafts, now_millis())
    }

    /// Deletes the message at `offset` of `room`, and notifies the readers. A tombstone replaces it, so that no
    /// reader sees a gap.
    ///
    /// # Errors
    /// If the store cannot delete now.
    pub async fn delete(&self, room: &Room, offset: Offset) -> Result<Deleted, StoreError> {
        self.0.store.delete(room.name(), offset, now_millis()).await
    }

    /// Reads at most `messages` entries of `room` from the store, and at most [`PAGE_BYTES`] bytes. Before the
    /// entries are passed to a reader that is notified of deletions, call [`Room::redact`].
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub async fn read_page(
        &self,
        room: &Room,
        span: Span,
        messages: usize,
    ) -> Result<(Page, DeletionMark), StoreError> {
        let mark = room.deletion_mark();
        let limit = Limit {
            messages,
            bytes: PAGE_BYTES,
        };

        let page = self.0.store.read(room.name(), span, limit).await?;
        Ok((page, mark))
    }

    /// Reads like [`Hub::read_page`], for a reader that is not notified of deletions: messages deleted meanwhile are
    /// replaced by tombstones.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub async fn history(
        &self,
        room: &Room,
        span: Span,
        messages: usize,
    ) -> Result<Page, StoreError> {
        loop {
            let (mut page, mark) = self.read_page(room, span, messages).await?;
            if room.redact(&mut page.frames, mark) {
                return Ok(page);
            }
        }
    }

    /// Reads a batch of messages of `room` after `after`, for a reader whose next message is no longer in the ring.
    ///
    /// # Errors
    /// If the store cannot be read now.
    pub async fn catch_up(
        &self,
        room: &Room,
        after: Offset,
    ) -> Result<(CatchUpPage, DeletionMark), StoreError> {
        metrics::count_catch_up();

        // Read before the page: messages that are appended meanwhile are in the ring, or the reader catches up again.
        let head = room.head();
        let span = Span::After(after);
        let (page, mark) = self.read_page(room, span, CATCH_UP_MESSAGES).await?;

        // A store that does not return `gone` trims only the oldest messages.
        let first_before = || page.frames.first().map_or(head, |first| first.prev());
        let page = CatchUpPage {
            head,
            gone: page.gone.unwrap_or_else(first_before),
            is_dense: room.is_dense,
            frames: page.frames,
        };
        Ok((page, mark))
    }

    /// Returns the members of `room` on all nodes, like [`Room::present`]. Waits at most a second for the other
    /// nodes.
    pub async fn present(&self, room: &Room) -> (usize, Option<Vec<PresentMember>>) {
        if let Some(cluster) = &self.0.cluster {
            cluster.wait_for_presence(room).await;
        }
        room.present()
    }

    /// Returns the rooms in memory.
    pub fn rooms(&self) -> &Rooms {
        &self.0.rooms
    }

    /// Returns the connections.
    pub fn connections(&self) -> &Connections {
        &self.0.connections
    }

    /// Returns the memory budget, which [`Hub::run`] enforces.
    pub fn memory(&self) -> &Arc<MemoryBudget> {
        &self.0.memory
    }

    /// Returns the moderation rules.
    pub fn moderation(&self) -> &Arc<ClusterModeration> {
        &self.0.moderation
    }

    /// Returns the store, for its status and backups.
    pub fn store(&self) -> &dyn Store {
        &*self.0.store
    }

    /// Returns the clock for client timeouts.
    pub fn clock(&self) -> &RunClock {
        &self.0.clock
    }

    /// Returns the time for client timeouts.
    pub fn now(&self) -> Tick {
        self.0.clock.now()
    }

    /// Returns the time since the server started.
    pub fn uptime(&self) -> Duration {
        self.0.started.elapsed()
    }

    fn is_draining(&self) -> bool {
        self.0.is_draining.load(Ordering::Acquire)
    }

    /// Returns a random delay before a closed client should reconnect, so that clients do not all reconnect at once.
    fn reconnect_after(&self) -> Duration {
        self.reconnect_window().mul_f64(fastrand::f64())
    }

    /// Returns the period over which the connected clients should reconnect.
    fn reconnect_window(&self) -> Duration {
        let connections = self.0.connections.count() as u32;
        (RECONNECT_EACH * connections).clamp(RECONNECT_WINDOW.0, RECONNECT_WINDOW.1)
    }
}

impl Shared {
    /// Notifies all clients when the store becomes unreachable, until dropped.
    async fn watch_health(&self) {
        let (connections, rooms) = (&self.connections, &self.rooms);
        let presence = &self.dirty_presence;
        outage::notify_all(self.store.health(), connections, rooms, presence).await;
    }

    /// Checks the timers of all connections at intervals, which replaces a timer per connection, and removes rooms
    /// that are not needed, until dropped.
    async fn sweep(&self) {
        let mut interval = tokio::time::interval(self.sweep_every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.connections
                .for_each(|subscriber| subscriber.tick(self.clock.now()))
                .await;
            self.rooms.remove_unknown();
        }
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("connections", &self.0.connections.count())
            .finish_non_exhaustive()
    }
}

/// Returns the current time in milliseconds since 1970 UTC.
fn now_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests;
