//! Presence announcements: joins and leaves are gathered, so that a storm of them becomes a few frames.
//!
//! # Invariants
//!
//! - A change after a pause is announced within [`GATHER`].
//! - However often clients come and go, announcements take at most about a hundredth of a processor in each room:
//!   the larger the room, the longer its changes are gathered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::protocol::Push;
use crate::server::hub::fanout::WRITES_PER_TURN;
use crate::server::hub::{Hub, Room};
use crate::server::wire::{self, Opcode};

/// The shortest time for which joins and leaves are gathered.
const GATHER: Duration = Duration::from_millis(250);
/// Time between two announcements for each reader of the room: a hundred times the duration of writing a frame.
const GATHER_PER_READER: Duration = Duration::from_micros(300);
/// The longest time between two announcements.
const MAX_GATHER: Duration = Duration::from_secs(10);

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
            self.0.restless.rooms.lock().push(room.clone());
            self.0.restless.wake.notify_one();
        }
    }

    pub(super) async fn announce_forever(&self) {
        let mut waiting = Vec::new();
        loop {
            if waiting.is_empty() {
                self.0.restless.wake.notified().await;
            }
            tokio::time::sleep(GATHER).await;

            waiting.append(&mut self.0.restless.rooms.lock());
            // One message for each node, however large the room is.
            waiting.iter().for_each(|room| self.tell_nodes(room));

            let now = Instant::now();
            let is_due = |room: &Arc<Room>| room.announce_after.lock().is_none_or(|at| at <= now);
            let (due, later) = waiting.into_iter().partition::<Vec<_>, _>(is_due);
            waiting = later;
            for room in due {
                self.announce(&room).await;
            }
        }
    }

    async fn announce(&self, room: &Arc<Room>) {
        room.restless.store(false, Ordering::Release);
        let (change, is_restless) = {
            let mut presence = room.presence.lock();
            (presence.announce(self.now()), presence.has_pending_change())
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
        let readers = room.readers();
        let pause = (GATHER_PER_READER * readers.len() as u32).min(MAX_GATHER);
        *room.announce_after.lock() = Some(Instant::now() + pause);

        for (number, reader) in readers.iter().enumerate() {
            if number % WRITES_PER_TURN == WRITES_PER_TURN - 1 {
                tokio::task::yield_now().await;
            }
            reader.tell(&frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::protocol::{CloseCode, Offset, RoomName, UserId};
    use crate::server::hub::{Outlet, Standing, Tracer};
    use crate::server::room::{Dialect, FanoutBatch, Tick};

    const READERS: usize = 7000;

    /// A reader that counts its frames together with all others.
    struct Reader(Arc<AtomicUsize>);

    impl Outlet for Reader {
        fn tell(&self, _: &[u8]) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn flush(&self, _: &mut FanoutBatch<'_>) {}
        fn tick(&self, _: Tick) {}
        fn say(&self, _: &Push) {}
        fn drain(&self, _: Duration) {}
        fn close(&self, _: CloseCode) {}
        fn trace(&self, _: Tracer) {}
        fn standing(&self) -> Standing {
            Standing {
                dialect: Dialect::Typed,
                offset: Offset(0),
                waiting: 0,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_that_joins_five_times_a_second_costs_a_large_room_few_frames() {
        let hub = Hub::in_memory();
        let room = hub.room(&RoomName::lobby()).await.expect("a room");
        let frames = Arc::new(AtomicUsize::new(0));
        for number in 0..READERS {
            room.presence.lock().join(&UserId::guest(number as u64), 0);
            room.add_reader(Arc::new(Reader(frames.clone())));
        }

        let announcing = tokio::spawn({
            let hub = hub.clone();
            async move { hub.announce_forever().await }
        });
        for number in 0..100 {
            room.presence
                .lock()
                .join(&UserId::guest((READERS + number) as u64), 0);
            hub.is_restless(&room);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        announcing.abort();

        let announcements = frames.load(Ordering::Relaxed) / READERS;
        assert!(
            (2..=11).contains(&announcements),
            "{announcements} in 20 seconds"
        );
    }
}
