//! From a room's log to its readers' sockets: passes that never wait for a client.
//!
//! A pass goes once over all readers of a room and hands each, in one write, everything it has not seen.
//! What is published meanwhile rides in the next pass, so the batch grows with the load by itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::server::hub::{Hub, Room};
use crate::server::metrics;
use crate::server::room::FanoutBatch;

/// Writes between two chances for other tasks on the same thread: one to a few milliseconds of them. Not fewer:
/// after each chance another thread is woken to look for work, which costs as much as many writes.
pub(super) const WRITES_PER_TURN: usize = 1024;

/// A queue of rooms that one task fans out.
#[derive(Default)]
pub(super) struct Lane {
    due: Mutex<Vec<Arc<Room>>>,
    wake: Notify,
}

impl Hub {
    /// Something was appended to `room`: a pass is due.
    pub(super) fn broadcast(&self, room: &Arc<Room>) {
        if room.dirty.swap(true, Ordering::AcqRel) {
            return;
        }
        room.due_since.store(self.micros(), Ordering::Relaxed);
        let lane = &self.0.lanes[usize::from(room.lane)];
        lane.due.lock().push(room.clone());
        lane.wake.notify_one();
    }

    pub(super) async fn fan_out(&self, lane: usize) {
        let lane = &self.0.lanes[lane];
        let mut due = Vec::new();
        let mut writes = 0;
        loop {
            std::mem::swap(&mut due, &mut *lane.due.lock());
            if due.is_empty() {
                lane.wake.notified().await;
                // Whoever waited has had the thread.
                writes = 0;
            }
            for room in due.drain(..) {
                let due_since = room.due_since.load(Ordering::Relaxed);
                pass(&room, &mut writes).await;
                metrics::record_fanout_latency(Duration::from_micros(
                    self.micros().saturating_sub(due_since),
                ));
            }
        }
    }

    /// Microseconds since the Hub began.
    fn micros(&self) -> u64 {
        self.0.started.elapsed().as_micros() as u64
    }
}

/// One pass over `room`; `writes` counts those of earlier passes too, since the last chance for others.
async fn pass(room: &Room, writes: &mut usize) {
    // Before the head is read: whatever is appended after that makes the room due again.
    room.dirty.store(false, Ordering::Release);
    let mut reel: FanoutBatch<'_> = room.reel();
    for reader in room.readers().iter() {
        if *writes == WRITES_PER_TURN {
            *writes = 0;
            tokio::task::yield_now().await;
        }
        *writes += 1;
        reader.flush(&mut reel);
    }
}
