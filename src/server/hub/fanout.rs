//! The fan-out of messages from a room's log to its readers, in passes that never wait for a client.
//!
//! A pass visits all readers of a room once and writes all pending messages to each in one system call. Messages that
//! are published meanwhile are sent by the next pass, so the batch grows with the load.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::server::hub::Room;
use crate::server::metrics;
use crate::server::room::FanoutBatch;

/// The number of writes before yielding to other tasks on the same thread, which take a few milliseconds. A smaller
/// number would be slower: each yield wakes another thread to look for work, which costs as much as many writes.
pub(super) const WRITES_PER_TURN: usize = 1024;

/// The rooms with readers that have pending messages. Each room belongs to one shard, so two passes never write to
/// the same reader.
pub(super) struct Fanout {
    shards: Box<[FanoutShard]>,
    started: Instant,
}

/// A queue of rooms for one task.
#[derive(Default)]
struct FanoutShard {
    due: Mutex<Vec<Arc<Room>>>,
    wake: Notify,
}

impl Fanout {
    /// Creates `shards` shards.
    pub(super) fn new(shards: u16) -> Self {
        Self {
            shards: (0..shards).map(|_| FanoutShard::default()).collect(),
            started: Instant::now(),
        }
    }

    /// Returns the number of shards.
    pub(super) const fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Queues a pass over the readers of `room`, unless one is already queued.
    pub(super) fn queue(&self, room: &Arc<Room>) {
        if room.is_dirty.swap(true, Ordering::AcqRel) {
            return;
        }

        room.dirty_since.store(self.micros(), Ordering::Relaxed);
        let shard = &self.shards[usize::from(room.shard)];
        shard.due.lock().push(room.clone());
        shard.wake.notify_one();
    }

    /// Runs the passes of one shard, until dropped.
    pub(super) async fn run(&self, shard: usize) {
        let shard = &self.shards[shard];
        let mut due = Vec::new();
        let mut writes = 0;
        loop {
            std::mem::swap(&mut due, &mut *shard.due.lock());
            if due.is_empty() {
                shard.wake.notified().await;
                // The wait has let other tasks run.
                writes = 0;
            }

            for room in due.drain(..) {
                let since = room.dirty_since.load(Ordering::Relaxed);
                pass(&room, &mut writes).await;
                let took = self.micros().saturating_sub(since);
                metrics::record_fanout_latency(Duration::from_micros(took));
            }
        }
    }

    /// Returns the time since the start of the fan-out, in microseconds.
    fn micros(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }
}

/// Runs one pass over `room`. `writes` counts the writes since the last yield, including those of earlier passes.
async fn pass(room: &Room, writes: &mut usize) {
    // Cleared before the head is read: messages that are appended later queue the room again.
    room.is_dirty.store(false, Ordering::Release);

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
