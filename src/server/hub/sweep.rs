//! One look at every connection's clock, again and again: no timer for each of them.

use std::sync::Arc;

use tokio::time::MissedTickBehavior;

use crate::server::hub::{Hub, Outlet, lock};

/// Connections looked at between two chances for other tasks.
const PER_TURN: usize = 256;

impl Hub {
    pub(super) async fn sweep_forever(&self) {
        let mut interval = tokio::time::interval(self.0.settings.sweep_every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.each_outlet(|outlet| outlet.tick(self.now())).await;
        }
    }

    /// Calls `visit` for every connection that is there all the while; one that comes or goes meanwhile may be
    /// missed.
    pub(super) async fn each_outlet(&self, visit: impl Fn(&dyn Outlet)) {
        let mut start = 0;
        loop {
            let some: Vec<Arc<dyn Outlet>> = {
                let outlets = lock(&self.0.outlets);
                if start >= outlets.capacity() {
                    return;
                }
                (start..start + PER_TURN).filter_map(|key| outlets.get(key).cloned()).collect()
            };
            some.iter().for_each(|outlet| visit(&**outlet));
            start += PER_TURN;
            tokio::task::yield_now().await;
        }
    }
}
