//! One look at every connection's clock, again and again: no timer for each of them.

use tokio::time::MissedTickBehavior;

use crate::server::hub::{Hub, Outlet};

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
        self.each_seat(|seat| Some(seat.outlet.clone()), |outlet| visit(&*outlet))
            .await;
    }
}
