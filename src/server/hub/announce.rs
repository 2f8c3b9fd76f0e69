//! Tells rooms who came and went: gathered, so that a storm of joins is a few frames and not a flood.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use crate::protocol::Push;
use crate::server::hub::fanout::WRITES_PER_TURN;
use crate::server::hub::{Hub, Room, lock};
use crate::server::wire::{self, Opcode};

/// How long joins and leaves are gathered.
const GATHER: Duration = Duration::from_millis(250);

/// Rooms in which somebody came or went.
#[derive(Default)]
pub(super) struct Restless {
    rooms: Mutex<Vec<Arc<Room>>>,
    wake: Notify,
}

impl Hub {
    /// Somebody came to or went from `room`.
    pub(super) fn is_restless(&self, room: &Arc<Room>) {
        if !room.restless.swap(true, Ordering::AcqRel) {
            lock(&self.0.restless.rooms).push(room.clone());
            self.0.restless.wake.notify_one();
        }
    }

    pub(super) async fn announce_forever(&self) {
        loop {
            self.0.restless.wake.notified().await;
            tokio::time::sleep(GATHER).await;
            let rooms = std::mem::take(&mut *lock(&self.0.restless.rooms));
            for room in rooms {
                self.announce(&room).await;
            }
        }
    }

    async fn announce(&self, room: &Arc<Room>) {
        room.restless.store(false, Ordering::Release);
        self.tell_nodes(room);
        let (change, is_restless) = {
            let mut presence = lock(&room.presence);
            (presence.announce(self.now()), presence.is_restless())
        };
        if is_restless {
            self.is_restless(room);
        }
        let Some(change) = change else { return };
        let push = Push::Presence {
            count: change.count,
            joined: change.joined,
            left: change.left,
        };
        let frame = wire::encode(Opcode::Text, push.encode().as_bytes());
        for (number, reader) in room.readers().iter().enumerate() {
            if number % WRITES_PER_TURN == WRITES_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
            reader.tell(&frame);
        }
    }
}
