//! While the store cannot be reached, everybody is told: what is said elsewhere comes later, and what is said here
//! is refused. Also whoever comes in that time. Who comes and goes is told anew when it is over, so that a client
//! hears that too.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::protocol::ErrorCode;
use crate::protocol::Push;
use crate::server::hub::{Hub, Outlet};
use crate::server::store::Health;
use crate::server::wire::{self, Opcode};

/// What clients are told.
const MESSAGE: &str =
    "this server cannot reach the others now: messages come later, and none are taken";

impl Hub {
    /// Tells everybody whenever the store goes away or comes back, until dropped.
    pub(super) async fn tell_of_outages(&self) {
        let mut health = self.0.store.health();
        loop {
            let is_away = matches!(&*health.borrow_and_update(), Health::Away(_));
            let was_away = self.0.is_away.swap(is_away, Ordering::AcqRel);
            if is_away && !was_away {
                let frame = away();
                self.each_outlet(|outlet| outlet.tell(&frame)).await;
            } else if was_away && !is_away {
                self.each_room(|room| {
                    room.presence.lock().announce_again();
                    self.is_restless(room);
                });
            }
            if health.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tells `outlet`, which has just come, if the store is away.
    pub(super) fn tell_if_away(&self, outlet: &dyn Outlet) {
        if self.0.is_away.load(Ordering::Acquire) {
            outlet.tell(&away());
        }
    }
}

/// The frame that says so.
fn away() -> Bytes {
    let code = ErrorCode::StoreUnavailable;
    let push = Push::Error {
        code,
        message: MESSAGE.to_owned(),
        retry: true,
        key: None,
    };
    wire::encode(Opcode::Text, push.encode().as_bytes())
}
