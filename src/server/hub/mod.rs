//! The registry of rooms and connections in one process: admit, register, publish, broadcast, sweep.
//!
//! # Invariants
//!
//! - The Hub knows connections only as [`Outlet`]s: no socket, no HTTP.
//! - A connection is counted once from its [`Admission`] and leaves once, when its [`Membership`] is dropped;
//!   two connections with the same id are two members.
//! - Locks are short and never held across a wait. Order: rooms, then a room's readers, then its log.

mod admission;
mod announce;
mod council;
mod delete;
mod fanout;
mod history;
mod inspect;
mod nodes;
mod outage;
mod publish;
mod readers;
mod recover;
mod relief;
mod room;
mod sweep;
mod trace;

use std::collections::{HashMap, HashSet};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::protocol::CloseCode;
use crate::protocol::Push;
use crate::server::memory::Memory;
use crate::server::moderation::Moderation;
use crate::server::room::{DeliveryCounters, FanoutBatch, LogLimits, Tick};
use crate::server::run_clock::RunClock;
use crate::server::session::IpBucket;
use crate::server::store::Store;

pub use admission::{Admission, Membership, Refusal};
pub use council::{DecreeError, Effect};
pub use history::DeletionMark;
pub use inspect::{Figures, Part, Seat, Standing};
pub use publish::Due;
pub use recover::{Gap, Resume, Start};
pub use relief::{Burden, Reclaimable, Tracked};
pub use room::Room;
pub use trace::{Passed, Traced, Tracer};

/// Time that a restarted server needs for each client that comes back, with room to spare.
const RECONNECT_EACH: Duration = Duration::from_millis(2);
/// The shortest and the longest time over which clients are told to spread.
const RECONNECT_WINDOW: (Duration, Duration) =
    (Duration::from_millis(500), Duration::from_secs(20));

/// What the Hub needs of an open transport. None of these may wait.
pub trait Outlet: Send + Sync {
    /// Hands what is pending to the kernel, as far as it takes it.
    fn flush(&self, reel: &mut FanoutBatch<'_>);
    /// Looks at the clock: pings, expiry, stuck readers.
    fn tick(&self, now: Tick);
    /// Says `frame`, a frame of the typed dialect, if the client speaks that.
    fn tell(&self, frame: &[u8]);
    /// Says `push`, which belongs to the log, if the client's dialect has words for it.
    fn say(&self, push: &Push);
    /// The server is about to stop: ends the connection with 1001. The client should come back after so long.
    fn drain(&self, reconnect_after: Duration);
    /// Ends the connection with `code`.
    fn close(&self, code: CloseCode);
    /// From now on `tracer` is told what passes.
    fn trace(&self, tracer: Tracer);
    /// How far it has got.
    fn standing(&self) -> Standing;
    /// What could be taken from it; `None` if it holds nothing to speak of.
    fn burden(&self) -> Option<Burden> {
        None
    }
    /// Gives up its burden, and ends.
    fn shed(&self) {}
}

/// Limits of one process.
#[derive(Clone, Copy, Debug)]
pub struct HubSettings {
    /// Connections in all.
    pub max_connections: usize,
    /// Connections from one address, or one IPv6 network of the size /64.
    pub max_connections_per_ip: usize,
    /// Rooms.
    pub max_rooms: usize,
    /// Connections to one room.
    pub max_room_members: usize,
    /// Bytes that clients may make the process hold.
    pub memory_budget: usize,
    /// What each room keeps in memory.
    pub log: LogLimits,
    /// How often every connection's clock is looked at.
    pub sweep_every: Duration,
}

/// A cheap handle on the one registry; see the [module docs](self).
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

struct Shared {
    settings: HubSettings,
    store: Arc<dyn Store>,
    moderation: Moderation,
    started: Instant,
    clock: RunClock,
    /// The number of the newest connection.
    newest: AtomicU64,
    rooms: Mutex<HashSet<room::Named>>,
    seats: Mutex<Slab<Seat>>,
    census: Mutex<Census>,
    /// Holders of memory beside the connections.
    reclaimable: Mutex<Slab<Arc<dyn Reclaimable>>>,
    /// Told whenever a connection leaves.
    left: Notify,
    lanes: Box<[fanout::Lane]>,
    restless: announce::Restless,
    /// The other nodes, if there may be any.
    nodes: Option<nodes::Nodes>,
    /// The store cannot be reached.
    is_away: AtomicBool,
    draining: AtomicBool,
    delivered: Arc<DeliveryCounters>,
}

/// Who is counted: every [`Admission`] that is alive.
#[derive(Default)]
struct Census {
    connections: usize,
    by_host: HashMap<IpBucket, usize>,
}

impl Hub {
    /// Creates a Hub over `store` that applies the rules of `moderation` and uses `clock` for client timeouts. Its
    /// tasks start with [`Hub::run`].
    pub fn new(
        settings: HubSettings,
        store: Arc<dyn Store>,
        moderation: Moderation,
        clock: RunClock,
    ) -> Self {
        Memory::of_process().set_budget(settings.memory_budget);
        let lanes = std::thread::available_parallelism().map_or(1, usize::from);
        let hub = Self(Arc::new(Shared {
            settings,
            store: store.clone(),
            moderation,
            started: Instant::now(),
            clock,
            newest: AtomicU64::new(0),
            rooms: Mutex::default(),
            seats: Mutex::default(),
            census: Mutex::default(),
            reclaimable: Mutex::default(),
            left: Notify::new(),
            lanes: (0..lanes).map(|_| fanout::Lane::default()).collect(),
            restless: announce::Restless::default(),
            nodes: store.bus().map(nodes::Nodes::new),
            is_away: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            delivered: Arc::default(),
        }));
        let shared = Arc::downgrade(&hub.0);
        store.follow(Box::new(move |name, change| {
            if let Some(shared) = shared.upgrade() {
                Self(shared).hear(name, change);
            }
        }));
        hub.meet_nodes();
        hub.heed_council();
        hub
    }

    /// Returns the time for client timeouts.
    pub fn now(&self) -> Tick {
        self.0.clock.now()
    }

    /// Returns the clock of [`Hub::now`].
    pub fn clock(&self) -> &RunClock {
        &self.0.clock
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.0.census.lock().connections
    }

    /// How many there may be, and how many from one address.
    pub fn max_connections(&self) -> (usize, usize) {
        (
            self.0.settings.max_connections,
            self.0.settings.max_connections_per_ip,
        )
    }

    /// Messages handed to readers so far, once for each, and their bytes.
    pub fn delivered(&self) -> (u64, u64) {
        self.0.delivered.read()
    }

    /// How many rooms are in memory.
    pub fn rooms(&self) -> usize {
        self.0.rooms.lock().len()
    }

    /// Fans out, announces, sweeps and keeps to the memory budget until dropped. Ends only when a task of the
    /// fan-out does, which is a fault; and a panic of another task is one of this call.
    pub async fn run(&self) {
        let mut lanes = JoinSet::new();
        for lane in 0..self.0.lanes.len() {
            let hub = self.clone();
            lanes.spawn(async move { hub.fan_out(lane).await });
        }
        let others = futures::future::join5(
            self.announce_forever(),
            self.sweep_forever(),
            self.relieve_forever(),
            self.heed_nodes(),
            self.tell_of_outages(),
        );

        let ended = tokio::select! {
            Some(ended) = lanes.join_next() => ended,
            _ = others => Ok(()),
        };
        if let Err(error) = ended
            && let Ok(panic) = error.try_into_panic()
        {
            resume_unwind(panic);
        }
    }

    /// Admits nobody from now on, closes every connection with 1001 and waits until all have left. What was
    /// published before is heard before.
    pub async fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
        self.settle().await;
        // Once for all: who has left already has not come back yet.
        let window = self.reconnect_window();
        self.each_outlet(|outlet| outlet.drain(window.mul_f64(fastrand::f64())))
            .await;
        loop {
            let left = self.0.left.notified();
            if self.connections() == 0 {
                return self.leave_nodes();
            }
            left.await;
        }
    }
}

impl Hub {
    /// When one of the clients that are sent away should come back: each at another time, so that a server
    /// that restarts is not run over.
    fn reconnect_after(&self) -> Duration {
        self.reconnect_window().mul_f64(fastrand::f64())
    }

    /// The time over which those who are here now should come back.
    fn reconnect_window(&self) -> Duration {
        (RECONNECT_EACH * self.connections() as u32).clamp(RECONNECT_WINDOW.0, RECONNECT_WINDOW.1)
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub")
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
