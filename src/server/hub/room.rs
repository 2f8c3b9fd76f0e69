//! A room as the Hub holds it: its log, who reads it, and whether a fan-out is due.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use slab::Slab;

use crate::protocol::{Epoch, Offset, RoomName};
use crate::server::hub::{Outlet, lock};
use crate::server::room::{Log, LogLimits, Reel};

/// See the [module docs](self).
pub struct Room {
    name: RoomName,
    epoch: Epoch,
    pub(super) log: Mutex<Log>,
    pub(super) readers: Mutex<Slab<Arc<dyn Outlet>>>,
    /// Set when something was appended that no fan-out pass has taken up.
    pub(super) dirty: AtomicBool,
    /// Which lane fans it out: one at a time, so that its readers are never written to by two passes.
    pub(super) lane: usize,
}

impl Room {
    pub(super) fn new(name: RoomName, limits: LogLimits, lane: usize) -> Self {
        Self {
            name,
            epoch: Epoch::new(fastrand::u32(..)),
            log: Mutex::new(Log::new(limits)),
            readers: Mutex::default(),
            dirty: AtomicBool::new(false),
            lane,
        }
    }

    /// Its name.
    pub const fn name(&self) -> &RoomName {
        &self.name
    }

    /// Which life of its log this is.
    pub const fn epoch(&self) -> &Epoch {
        &self.epoch
    }

    /// Its newest offset.
    pub fn head(&self) -> Offset {
        lock(&self.log).head()
    }

    /// Its log as it stands now, to be read from any place.
    pub fn reel(&self) -> Reel<'_> {
        Reel::new(&self.log)
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("name", &self.name).finish_non_exhaustive()
    }
}
