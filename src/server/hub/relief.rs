//! What gives way when the memory budget is exceeded: first rings, whose readers are then served from the store,
//! and then the slowest clients. Nobody new comes in until it is over.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::server::hub::memory::Memory;
use crate::server::hub::{Hub, Outlet, Room, lock};
use crate::server::room::Moment;

/// How long after the last relief nobody new comes in: or whoever was cut off would be back at once, and the
/// next to be cut off.
const CALM: Duration = Duration::from_secs(1);
/// How long after a relief it is looked whether another is due: what was cut off is given back by its own task.
const BETWEEN: Duration = Duration::from_millis(50);

/// What a client holds that could be taken from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burden {
    /// Since when it takes nothing, or has not finished a message.
    pub since: Moment,
    /// Bytes.
    pub bytes: usize,
}

impl Hub {
    /// What clients make the process hold.
    pub fn memory(&self) -> &Memory {
        &self.0.memory
    }

    pub(super) async fn relieve_forever(&self) {
        let memory = self.memory();
        loop {
            memory.tight().await;
            while memory.held() > memory.budget() {
                self.relieve().await;
                tokio::time::sleep(BETWEEN).await;
            }
            tokio::time::sleep(CALM).await;
            memory.relax();
        }
    }

    /// Frees an eighth more than is needed, so that the next message does not exceed the budget again.
    async fn relieve(&self) {
        let memory = self.memory();
        let wanted = memory.budget() / 8 * 7;
        let before = memory.held();
        self.shorten_rings(memory.budget() / 2).await;
        let mut excess = memory.held().saturating_sub(wanted);
        let mut burdens: Vec<(Burden, Arc<dyn Outlet>)> = Vec::new();
        if excess > 0 {
            let visit = |outlet: Arc<dyn Outlet>| {
                burdens.extend(outlet.burden().map(|burden| (burden, outlet)))
            };
            self.each_seat(|seat| Some(seat.outlet.clone()), visit)
                .await;
        }
        burdens.sort_unstable_by_key(|(burden, _)| burden.since);
        let mut closed = 0;
        for (burden, outlet) in burdens {
            if excess == 0 {
                break;
            }
            outlet.shed();
            closed += 1;
            excess = excess.saturating_sub(burden.bytes);
        }
        warn!(
            held = before,
            budget = memory.budget(),
            closed,
            "memory budget exceeded: the slowest clients are closed"
        );
    }

    /// Makes the rings of all rooms together no longer than `bytes`, each no longer than its share.
    async fn shorten_rings(&self, bytes: usize) {
        let rooms: Vec<Arc<Room>> = lock(&self.0.rooms)
            .iter()
            .map(|named| named.0.clone())
            .collect();
        let share = bytes / rooms.len().max(1);
        for room in rooms {
            room.shorten(share);
            tokio::task::yield_now().await;
        }
    }
}
