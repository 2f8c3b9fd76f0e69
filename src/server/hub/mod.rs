//! The rooms and connections of one process: admission, publishing, fan-out, presence, other nodes, memory. [`Hub`]
//! is a handle to all of them; [`Hub::run`] runs their tasks.
//!
//! # Invariants
//!
//! - The hub accesses connections only as [`Subscriber`]s: no socket, no HTTP.
//! - A connection is counted once, from its [`Admission`] until its [`Registration`] is dropped. It leaves each room
//!   once, when its [`Membership`] is dropped. A user id is present in a room while one of its connections is a member.
//! - A message is in the ring of its room, and is sent to readers, only after the store has stored it ([`fanout`]).
//! - Each part has its own lock. Locks are short and never held across an await. Lock order: the state of a connection,
//!   then the rooms or the pattern feeds, then the presence and the readers of one of them, then its log. No lock of the
//!   hub is held while a [`Subscriber`] is called.

mod admission;
mod resume;
mod cluster;
mod cluster_moderation;
mod connections;
mod fanout;
mod feed;
mod pattern_feed;
mod source;
mod memory_pressure;
mod presence;
mod presence_log;
mod references;
mod room;
mod rooms;
mod room_events;
mod signals;
mod subscriber;
mod trace;

use std::net::IpAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::{join, join5};
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::protocol::{Json, Offset, RoomName, RoomPattern, RoomSelector, Signal, UserId};
use crate::server::memory::Memory;
use crate::server::metrics;
use crate::server::moderation::Moderation;
use crate::server::room::{LogLimits, PresentMember, Tick};
use crate::server::room_rules::RoomRuleTable;
use crate::server::run_clock::RunClock;
use crate::server::store::{
    Backend, BusEvent, Changes, Health, Lease, RuleEvent, Store, now_millis,
};

pub use admission::{Admission, Membership, PendingSubscription, Refusal, Registration};
pub use cluster_moderation::{ClusterModeration, Effect, RuleError};
pub use connections::{ConnectionEntry, ConnectionInfo, Connections, Listing};
pub use feed::{DeletionMark, Feed};
pub use memory_pressure::{MemoryBudget, MemoryHolder, MemoryRegistration, Reclaimable};
pub use pattern_feed::PatternFeed;
pub use references::{ReferenceError, check_references};
pub use resume::{Gap, Resume, StartPosition};
pub use room::{DeleteError, Room, RoomStats};
pub use room_events::RoomEvent;
pub use rooms::Rooms;
pub use source::Source;
pub use subscriber::{Closing, Notice, Subscriber, SubscriberStatus};
pub use trace::{TraceEvent, TracedConnection, Tracer};

use cluster::Cluster;
use connections::unreachable_notice;
use fanout::Fanout;
use pattern_feed::PatternFeeds;
use presence::DirtyPresence;
use presence_log::PresenceLog;
use room_events::RoomEvents;
use signals::SignalDelivery;

/// The time that a restarted server needs for each client that reconnects, with a margin.
const RECONNECT_EACH: Duration = Duration::from_millis(2);
/// The shortest and the longest time over which clients spread their reconnects.
const RECONNECT_WINDOW: (Duration, Duration) =
    (Duration::from_millis(500), Duration::from_secs(20));

/// The limits of one process.
#[derive(Clone, Debug)]
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
    /// The size of the ring of each room and of each pattern.
    pub log: LogLimits,
    /// The time between two checks of the timers of all connections.
    pub sweep_every: Duration,
    /// The rules for rooms.
    pub rules: Arc<RoomRuleTable>,
}

/// A cheap handle to the hub. See the [module docs](self).
#[derive(Clone)]
pub struct Hub(Arc<HubState>);

struct HubState {
    max_room_members: usize,
    sweep_every: Duration,
    started: Instant,
    clock: RunClock,
    store: Arc<dyn Store>,
    rooms: Arc<Rooms>,
    patterns: Arc<PatternFeeds>,
    connections: Arc<Connections>,
    fanout: Arc<Fanout>,
    signals: Arc<SignalDelivery>,
    dirty_presence: Arc<DirtyPresence>,
    presence_log: Arc<PresenceLog>,
    /// The other nodes; `None` for a single node.
    cluster: Option<Cluster>,
    moderation: Arc<ClusterModeration>,
    memory: Arc<MemoryBudget>,
    is_draining: AtomicBool,
    /// The events of rooms that are not messages.
    events: RoomEvents,
    /// The inputs until [`Hub::run`] takes them.
    inputs: Mutex<Option<Inputs>>,
}

/// The streams that the tasks of the hub consume.
struct Inputs {
    changes: Changes,
    cluster: Option<ClusterInputs>,
}

/// The streams of messages from other nodes.
struct ClusterInputs {
    nodes: UnboundedReceiver<BusEvent>,
    signals: Receiver<Bytes>,
    rules: UnboundedReceiver<RuleEvent>,
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
            cluster: cluster.as_ref().map(|cluster| ClusterInputs {
                nodes: cluster.bus.events(),
                signals: cluster.bus.signals(),
                rules: cluster.rules.events(),
            }),
        };

        let shards = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u16);
        let max_rooms = settings.max_rooms;
        let rooms = Arc::new(Rooms::new(store.clone(), &settings, shards));
        let connections = Arc::new(Connections::new(
            settings.max_connections,
            settings.max_connections_per_ip,
        ));
        let patterns = Arc::new(PatternFeeds::new(max_rooms));
        let events = RoomEvents::default();
        let fanout = Arc::new(Fanout::new(shards, events.clone()));
        let signals = Arc::new(SignalDelivery {
            rooms: rooms.clone(),
            patterns: patterns.clone(),
            fanout: fanout.clone(),
            clock: clock.clone(),
        });
        let presence_log = Arc::new(PresenceLog::new(store.clone(), rooms.clone()));
        let dirty_presence = Arc::new(DirtyPresence::new(presence_log.clone()));
        let rules = cluster.as_ref().map(|cluster| cluster.rules.clone());
        let moderation = ClusterModeration::new(moderation, connections.clone(), rules);
        let memory = MemoryBudget::new(
            rooms.clone(),
            patterns.clone(),
            connections.clone(),
            store.clone(),
        );
        let cluster = cluster.map(|cluster| {
            Cluster::new(
                cluster.bus,
                rooms.clone(),
                dirty_presence.clone(),
                signals.clone(),
                clock.clone(),
            )
        });

        Self(Arc::new(HubState {
            max_room_members: settings.max_room_members,
            sweep_every: settings.sweep_every,
            started: Instant::now(),
            clock,
            store,
            rooms,
            patterns,
            connections,
            fanout,
            signals,
            dirty_presence,
            presence_log,
            cluster,
            moderation: Arc::new(moderation),
            memory: Arc::new(memory),
            is_draining: AtomicBool::new(false),
            events,
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
        let hub = self.0.clone();
        tasks.spawn(async move {
            hub.fanout
                .apply_all(inputs.changes, &hub.rooms, &hub.patterns)
                .await
        });

        let hub = &*self.0;
        let cluster = async {
            if let (Some(cluster), Some(inputs)) = (&hub.cluster, inputs.cluster) {
                let nodes = cluster.run(inputs.nodes, inputs.signals);
                join(nodes, hub.moderation.run(inputs.rules)).await;
            }
        };
        let presence =
            hub.dirty_presence
                .announce_all(hub.cluster.as_ref(), &hub.clock, &hub.events);
        let presence_log = hub.presence_log.run(hub.cluster.as_ref());
        let others = join5(
            join(presence, presence_log),
            cluster,
            hub.sweep(),
            hub.memory.enforce(),
            hub.connections
                .watch_health(hub.store.health(), &hub.rooms, &hub.dirty_presence),
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

    /// Reserves a slot for a connection from `address`.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn admit(&self, address: IpAddr) -> Result<Admission, Refusal> {
        Admission::new(self, address)
    }

    /// Opens the room `name`, and reserves a slot in it. With `resume` the client continues from that position.
    ///
    /// # Errors
    /// The limit that is reached.
    pub async fn enter(
        &self,
        name: &RoomName,
        resume: Option<&Resume>,
    ) -> Result<PendingSubscription, Refusal> {
        PendingSubscription::new(self, name, resume, self.0.max_room_members).await
    }

    /// Enters the room `name` like [`Hub::enter`], for a connection that already has a slot in it and returns that one
    /// afterwards. So this is possible in a full room too.
    ///
    /// # Errors
    /// The limit that is reached.
    pub async fn enter_again(
        &self,
        name: &RoomName,
        resume: Option<&Resume>,
    ) -> Result<PendingSubscription, Refusal> {
        let max_members = self.0.max_room_members.saturating_add(1);
        PendingSubscription::new(self, name, resume, max_members).await
    }

    /// Opens the feed of all rooms that match `pattern`. With `resume` the client continues from that position.
    ///
    /// # Errors
    /// [`Refusal::TooManyPatterns`] and [`Refusal::StoreUnavailable`].
    pub async fn enter_pattern(
        &self,
        pattern: &RoomPattern,
        resume: Option<&Resume>,
    ) -> Result<PendingSubscription, Refusal> {
        PendingSubscription::of_pattern(self, pattern, resume).await
    }

    /// Enters each of `rooms`, as [`Hub::enter`] and [`Hub::enter_pattern`] do. Without `resume`, the client gets the
    /// messages of all of them after one position.
    ///
    /// # Errors
    /// The limit that is reached.
    pub async fn enter_all(
        &self,
        rooms: &[RoomSelector],
        resume: Option<&Resume>,
    ) -> Result<Vec<PendingSubscription>, Refusal> {
        let mut pending = Vec::with_capacity(rooms.len());
        for room in rooms {
            pending.push(match room {
                RoomSelector::Room(name) => self.enter(name, resume).await?,
                RoomSelector::Pattern(pattern) => self.enter_pattern(pattern, resume).await?,
            });
        }

        if pending.len() > 1 {
            let newest = pending.iter().map(PendingSubscription::newest).max();
            self.wait_until_applied(newest.unwrap_or_default()).await;
        }
        if resume.is_none()
            && let Some(start) = pending.first().map(PendingSubscription::newest)
        {
            for subscription in &mut pending {
                subscription.begin_at(start);
            }
        }
        Ok(pending)
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

    /// Opens the feed of a room or pattern for a reader that is no connection. While the result exists, the feed gets the
    /// new messages.
    ///
    /// # Errors
    /// The limit that is reached, and [`Refusal::StoreUnavailable`].
    pub async fn open_source(&self, rooms: &RoomSelector) -> Result<Source, Refusal> {
        let pattern = match rooms {
            RoomSelector::Room(name) => return Ok(Source::Room(self.room(name).await?)),
            RoomSelector::Pattern(pattern) => pattern,
        };

        let HubState { store, rooms, .. } = &*self.0;
        let bounds = store.matching_bounds(pattern).await;
        rooms.begin_at(bounds.map_err(|_| Refusal::StoreUnavailable)?.newest);
        let feed = self.0.patterns.open(pattern, store, rooms)?;
        Ok(Source::Pattern(feed))
    }

    /// Returns a receiver of the events of all rooms that are not messages, from now on.
    pub fn room_events(&self) -> broadcast::Receiver<RoomEvent> {
        self.0.events.subscribe()
    }

    /// Returns a future that completes when messages are in their rings that were not there at the time of this call.
    pub fn next_applied(&self) -> impl Future<Output = ()> + Send + '_ {
        self.0.rooms.next_applied()
    }

    /// Sends `subscriber` the notices that could not reach it between its admission and its registration.
    pub fn send_missed(&self, subscriber: &dyn Subscriber) {
        if matches!(*self.0.store.health().borrow(), Health::Unreachable(_)) {
            subscriber.send(&unreachable_notice());
        }
        if self.is_draining() {
            subscriber.close(Closing::Drain(self.reconnect_after()));
        }
    }

    /// Waits until the messages up to `newest` are in the rings of their rooms.
    pub async fn wait_until_applied(&self, newest: Offset) {
        if self.0.rooms.applied() < newest {
            self.0.store.wait_until_applied().await;
            self.0.rooms.set_applied(newest);
        }
    }

    /// Returns the members of `room` on all nodes, like [`Room::present`]. Waits at most a second for the other
    /// nodes.
    pub async fn present(&self, room: &Room) -> (usize, Option<Vec<PresentMember>>) {
        if let Some(cluster) = &self.0.cluster
            && room.rules().has_presence()
        {
            cluster.wait_for_presence(room).await;
        }
        room.present()
    }

    /// Sends `signal` to the clients that are subscribed to its room now, on all nodes.
    pub fn send_signal(&self, signal: Signal) {
        metrics::count_signal();
        if let Some(cluster) = &self.0.cluster {
            cluster.send_signal(&signal);
        }
        self.0.signals.deliver(signal);
    }

    /// Sets the state that presence shows beside `id` in `room`; `None` removes it. Without effect if `id` is not a member.
    pub fn set_state(&self, room: &Arc<Room>, id: &UserId, state: Option<Json>) {
        let has_changed = room.presence.lock().set_state(id, state, now_millis());
        if has_changed {
            self.0.dirty_presence.mark(room);
        }
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

    /// Returns the rules for rooms.
    pub fn rules(&self) -> &Arc<RoomRuleTable> {
        self.0.rooms.rules()
    }

    /// Creates the lease `name`: see [`Lease`].
    pub fn lease(&self, name: &str) -> Lease {
        Lease::start(self.0.store.clone(), name)
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

impl HubState {
    /// Checks the timers of all connections at intervals, which replaces a timer per connection, and removes old signals,
    /// and rooms and pattern feeds that have expired or are not needed, until dropped.
    async fn sweep(&self) {
        let mut interval = tokio::time::interval(self.sweep_every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.connections
                .for_each(|subscriber| subscriber.tick(self.clock.now()))
                .await;
            self.rooms.expire_signals(self.clock.now());
            self.patterns.expire_signals(self.clock.now());
            self.rooms.touch_read();
            self.store.expire_rooms();
            self.rooms.remove_unknown();
            self.patterns.remove_unused(&*self.store);
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

#[cfg(test)]
mod tests;
