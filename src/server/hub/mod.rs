//! The registry of rooms and connections in one process: admit, register, publish, broadcast, sweep.
//!
//! # Invariants
//!
//! - The Hub knows connections only as [`Outlet`]s: no socket, no HTTP.
//! - A connection is counted once from its [`Admission`] and leaves once, when its [`Membership`] is dropped;
//!   two connections with the same id are two members.
//! - Locks are short and never held across a wait. Order: rooms, then a room's readers, then its log.

mod admission;
mod fanout;
mod publish;
mod room;
mod sweep;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use slab::Slab;
use tokio::sync::Notify;

use crate::protocol::{CloseCode, RoomName};
use crate::server::room::{LogLimits, Reel};
use crate::server::session::Moment;

pub use admission::{Admission, Membership, Refusal};
pub use room::Room;

/// What the Hub needs of an open transport. None of these may wait.
pub trait Outlet: Send + Sync {
    /// Hands what is pending to the kernel, as far as it takes it.
    fn flush(&self, reel: &mut Reel<'_>);
    /// Looks at the clock: pings, expiry, stuck readers.
    fn tick(&self, now: Moment);
    /// Ends the connection with `code`.
    fn close(&self, code: CloseCode);
}

/// Limits of one process.
#[derive(Clone, Copy, Debug)]
pub struct HubSettings {
    /// Connections in all.
    pub max_connections: usize,
    /// Connections from one address.
    pub max_connections_per_ip: usize,
    /// Rooms.
    pub max_rooms: usize,
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
    started: Instant,
    rooms: Mutex<HashMap<RoomName, Arc<Room>>>,
    outlets: Mutex<Slab<Arc<dyn Outlet>>>,
    census: Mutex<Census>,
    /// Told whenever a connection leaves.
    left: Notify,
    lanes: Box<[fanout::Lane]>,
    draining: AtomicBool,
}

/// Who is counted: every [`Admission`] that is alive.
#[derive(Default)]
struct Census {
    connections: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Hub {
    /// An empty Hub. Its tasks start with [`Hub::run`].
    pub fn new(settings: HubSettings) -> Self {
        let lanes = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Shared {
            settings,
            started: Instant::now(),
            rooms: Mutex::default(),
            outlets: Mutex::default(),
            census: Mutex::default(),
            left: Notify::new(),
            lanes: (0..lanes).map(|_| fanout::Lane::default()).collect(),
            draining: AtomicBool::new(false),
        }))
    }

    /// Now, as the session floor counts time.
    pub fn now(&self) -> Moment {
        Moment::after_start(self.0.started.elapsed())
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        lock(&self.0.census).connections
    }

    /// Fans out and sweeps until dropped.
    pub async fn run(&self) {
        let fanout = futures::future::join_all((0..self.0.lanes.len()).map(|lane| {
            let hub = self.clone();
            tokio::spawn(async move { hub.fan_out(lane).await })
        }));
        futures::future::join(fanout, self.sweep_forever()).await;
    }

    /// Admits nobody from now on, closes every connection with 1001 and waits until all have left.
    pub async fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
        self.each_outlet(|outlet| outlet.close(CloseCode::GoingAway)).await;
        loop {
            let left = self.0.left.notified();
            if self.connections() == 0 {
                return;
            }
            left.await;
        }
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

/// A panic in another task must not stop everyone: what these locks guard is consistent between statements.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
