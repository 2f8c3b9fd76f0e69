//! Checks the timers of all connections regularly, instead of one timer for each. Rooms that the store
//! does not have are removed in the same pass.

use std::sync::Arc;

use tokio::time::MissedTickBehavior;

use crate::server::hub::room::Named;
use crate::server::hub::{Hub, Outlet};

impl Hub {
    pub(super) async fn sweep_forever(&self) {
        let mut interval = tokio::time::interval(self.0.settings.sweep_every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.each_outlet(|outlet| outlet.tick(self.now())).await;
            self.forget_unknown_rooms();
        }
    }

    /// Removes rooms without connections that the store does not have: they were only requested, or all their messages
    /// have expired.
    fn forget_unknown_rooms(&self) {
        // A room can be reached only under this lock, so a count of one means that it is empty.
        let mut rooms = self.0.rooms.lock();
        rooms.retain(|Named(room)| {
            let is_needed = Arc::strong_count(room) > 1 || !self.is_unknown(room);
            if !is_needed {
                self.0.store.release(room.name());
            }
            is_needed
        });
    }

    /// Calls `visit` for every connection that is there all the while; one that comes or goes meanwhile may be
    /// missed.
    pub(super) async fn each_outlet(&self, visit: impl Fn(&dyn Outlet)) {
        self.each_seat(|seat| Some(seat.outlet.clone()), |outlet| visit(&*outlet))
            .await;
    }
}
