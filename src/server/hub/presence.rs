//! Announcements of presence. Joins, leaves and changed states are gathered, so that many of them are sent in a few frames.
//!
//! # Invariants
//!
//! - A change after a pause is announced within [`GATHER`].
//! - Announcements take at most about a hundredth of a processor per room, even if clients join and leave often: the
//!   larger the room, the longer its changes are gathered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::protocol::{Push, RoomName};
use crate::server::hub::cluster::Cluster;
use crate::server::hub::presence_log::PresenceLog;
use crate::server::hub::room_events::{RoomEvent, RoomEvents};
use crate::server::hub::{Notice, Room};
use crate::server::run_clock::RunClock;

/// The shortest time for which joins and leaves are gathered.
const GATHER: Duration = Duration::from_millis(250);
/// The time between two announcements per reader of the room: a hundred times the duration of writing a frame.
const GATHER_PER_READER: Duration = Duration::from_micros(300);
/// The longest time between two announcements.
const MAX_GATHER: Duration = Duration::from_secs(10);

/// The rooms whose members have changed since the last announcement.
pub(super) struct DirtyPresence {
    rooms: Mutex<Vec<Arc<Room>>>,
    wake: Notify,
    log: Arc<PresenceLog>,
}

impl DirtyPresence {
    /// Creates the list of rooms, whose announced changes are those of `log` too.
    pub(super) fn new(log: Arc<PresenceLog>) -> Self {
        Self {
            rooms: Mutex::default(),
            wake: Notify::new(),
            log,
        }
    }

    /// Records that the members of `room` have changed.
    pub(super) fn mark(&self, room: &Arc<Room>) {
        if !room.is_presence_dirty.swap(true, Ordering::AcqRel) {
            self.rooms.lock().push(room.clone());
            self.wake.notify_one();
        }
    }

    /// Records that `room`, which is not open on this node, has members on another one.
    pub(super) fn mark_unopened(&self, room: &RoomName) {
        self.log.mark(room);
    }

    /// Announces the changes to the readers of each room and to the other nodes, until dropped.
    pub(super) async fn announce_all(
        &self,
        cluster: Option<&Cluster>,
        clock: &RunClock,
        events: &RoomEvents,
    ) {
        let mut waiting = Vec::new();
        loop {
            if waiting.is_empty() {
                self.wake.notified().await;
            }
            tokio::time::sleep(GATHER).await;

            waiting.append(&mut self.rooms.lock());
            if let Some(cluster) = cluster {
                // One message to all nodes, independent of the size of the room.
                waiting.iter().for_each(|room| cluster.send_presence(room));
            }

            let now = Instant::now();
            let is_due = |room: &Arc<Room>| room.announce_after.lock().is_none_or(|at| at <= now);
            let (due, later) = waiting.into_iter().partition::<Vec<_>, _>(is_due);
            waiting = later;
            for room in due {
                self.announce(&room, clock, events).await;
            }
        }
    }

    async fn announce(&self, room: &Arc<Room>, clock: &RunClock, events: &RoomEvents) {
        room.is_presence_dirty.store(false, Ordering::Release);
        let (change, is_dirty) = {
            let mut presence = room.presence.lock();
            (
                presence.announce(clock.now()),
                presence.has_pending_change(),
            )
        };
        if is_dirty {
            self.mark(room);
        }
        self.log.mark(room.name());
        let Some(change) = change else { return };

        events.send(|| RoomEvent::Presence {
            room: room.name().clone(),
            count: change.count,
            joined: change.joined.iter().map(|one| one.id.clone()).collect(),
            left: change.left.clone(),
            is_logged: room.rules().is_presence_logged(),
        });
        let push = Push::Presence {
            room: room.name().clone(),
            count: change.count,
            joined: change.joined,
            left: change.left,
            changed: change.changed,
        };
        let pause = (GATHER_PER_READER * room.feed().readers().len() as u32).min(MAX_GATHER);
        *room.announce_after.lock() = Some(Instant::now() + pause);

        room.feed().notify(&Notice::new(push)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{RoomName, UserId};
    use crate::server::hub::Hub;
    use crate::server::hub::subscriber::TestSubscriber;

    const READERS: usize = 7000;

    #[tokio::test(start_paused = true)]
    async fn one_client_that_joins_five_times_a_second_costs_a_large_room_few_frames() {
        let hub = Hub::in_memory(1000, RunClock::new());
        let room = hub.room(&RoomName::lobby()).await.expect("a room");
        // A single reader is shared by all, so that it counts the frames of all readers.
        let reader = Arc::new(TestSubscriber::new());
        for number in 0..READERS {
            room.presence.lock().join(&UserId::guest(number as u64), 0);
            room.feed().add_reader(reader.clone());
        }

        let announcing = tokio::spawn({
            let hub = hub.clone();
            async move { hub.run().await }
        });
        for number in 0..100 {
            room.presence
                .lock()
                .join(&UserId::guest((READERS + number) as u64), 0);
            hub.0.dirty_presence.mark(&room);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        announcing.abort();

        let announcements = reader.notices.load(Ordering::Relaxed) / READERS;
        assert!(
            (2..=11).contains(&announcements),
            "{announcements} in 20 seconds"
        );
    }
}
