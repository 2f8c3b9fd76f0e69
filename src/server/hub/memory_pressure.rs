//! The reclamation of memory when the memory budget is exceeded. Rings are truncated first, and their readers are
//! then served from the store. Then the slowest clients are closed. Meanwhile no new client is admitted.
//!
//! A log line is written when a shortage begins, every minute while it lasts, and when it ends.

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use slab::Slab;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::server::hub::pattern_feed::PatternFeeds;
use crate::server::hub::{Closing, Connections, Rooms, Source, Subscriber};
use crate::server::memory::Memory;
use crate::server::room::Tick;
use crate::server::store::Store;

/// The time without new clients after the budget is no longer exceeded. Closed clients would otherwise reconnect at
/// once, and would be the next to be closed.
const ADMISSION_PAUSE: Duration = Duration::from_secs(1);
/// The time for tasks and threads to release the reclaimed memory.
const RELEASE_TIME: Duration = Duration::from_millis(50);
/// The pause after a round that found nothing to reclaim.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// The time within the budget after which a shortage is logged as over. A new shortage before that counts as the same
/// one.
const END_AFTER: Duration = Duration::from_secs(5);
/// The time between two log lines about one shortage.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// The memory that can be reclaimed from one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reclaimable {
    /// The time at which the client stopped reading, or began a message that it has not finished sending.
    pub since: Tick,
    /// The number of bytes. Other clients may keep some of them too.
    pub bytes: usize,
}

/// A holder of memory that is not a subscriber of a room, such as an HTTP connection.
pub trait MemoryHolder: std::fmt::Debug + Send + Sync {
    /// Returns the memory that can be reclaimed; `None` if it is negligible.
    fn reclaimable(&self) -> Option<Reclaimable>;

    /// Ends the holder.
    fn evict(&self);
}

/// The memory held for clients: rings, caches, connections and registered holders.
#[derive(Debug)]
pub struct MemoryBudget {
    rooms: Arc<Rooms>,
    patterns: Arc<PatternFeeds>,
    connections: Arc<Connections>,
    store: Arc<dyn Store>,
    holders: Mutex<Slab<Arc<dyn MemoryHolder>>>,
}

/// The registration of a [`MemoryHolder`], until it is dropped.
#[derive(Debug)]
pub struct MemoryRegistration {
    budget: Weak<MemoryBudget>,
    key: usize,
}

impl Drop for MemoryRegistration {
    fn drop(&mut self) {
        if let Some(budget) = self.budget.upgrade() {
            let removed = budget.holders.lock().try_remove(self.key);
            // The holder is dropped after the lock is released.
            drop(removed);
        }
    }
}

/// A period in which the memory budget is exceeded repeatedly, for the log.
struct Shortage {
    began: Instant,
    last_line: Instant,
    /// The number of clients that were closed.
    closed: usize,
}

impl Shortage {
    fn begin(memory: &Memory) -> Self {
        let (held, budget) = (memory.held(), memory.budget());
        warn!(
            held,
            budget,
            "memory budget exceeded (--memory-budget): no new clients, and the slowest are closed if need be"
        );
        let now = Instant::now();
        Self {
            began: now,
            last_line: now,
            closed: 0,
        }
    }

    /// Adds `closed` clients, and logs the shortage again if the last log line is old enough.
    fn record(&mut self, memory: &Memory, closed: usize) {
        self.closed += closed;
        if self.last_line.elapsed() < REPEAT_AFTER {
            return;
        }

        self.last_line = Instant::now();
        let (held, budget) = (memory.held(), memory.budget());
        let (seconds, closed) = (self.began.elapsed().as_secs(), self.closed);
        warn!(
            held,
            budget, seconds, closed, "memory budget is still exceeded (--memory-budget)"
        );
    }

    fn end(self, memory: &Memory) {
        let (held, budget) = (memory.held(), memory.budget());
        let (seconds, closed) = (self.began.elapsed().as_secs(), self.closed);
        info!(
            held,
            budget, seconds, closed, "memory is within the budget again (--memory-budget)"
        );
    }
}

impl MemoryBudget {
    pub(super) fn new(
        rooms: Arc<Rooms>,
        patterns: Arc<PatternFeeds>,
        connections: Arc<Connections>,
        store: Arc<dyn Store>,
    ) -> Self {
        Self {
            rooms,
            patterns,
            connections,
            store,
            holders: Mutex::default(),
        }
    }

    /// Registers `holder`, so that it may be evicted when the memory budget is exceeded.
    pub fn register(self: &Arc<Self>, holder: Arc<dyn MemoryHolder>) -> MemoryRegistration {
        MemoryRegistration {
            budget: Arc::downgrade(self),
            key: self.holders.lock().insert(holder),
        }
    }

    /// Reclaims memory whenever the budget is exceeded, until dropped.
    pub(super) async fn enforce(&self) {
        let memory = Memory::of_process();
        loop {
            memory.wait_for_shortage().await;
            let mut shortage = Shortage::begin(memory);

            while tokio::time::timeout(END_AFTER, memory.wait_for_shortage())
                .await
                .is_ok()
            {
                while memory.is_exceeded() {
                    let closed = self.reclaim().await;
                    shortage.record(memory, closed);
                    if closed == 0 && memory.is_exceeded() {
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                }
                tokio::time::sleep(ADMISSION_PAUSE).await;
                memory.end_shortage();
            }
            shortage.end(memory);
        }
    }

    /// Frees an eighth of the budget more than needed, so that the next message does not exceed the budget again.
    /// Returns the number of clients closed.
    async fn reclaim(&self) -> usize {
        let memory = Memory::of_process();
        let budget = memory.budget();
        self.truncate_rings(budget / 2).await;
        self.store.reclaim(budget / 2);
        tokio::time::sleep(RELEASE_TIME).await;
        if !memory.is_exceeded() {
            return 0;
        }

        let mut excess = memory.held().saturating_sub(budget / 8 * 7);
        let mut candidates = self.candidates().await;
        candidates.sort_unstable_by_key(|(reclaimable, _)| reclaimable.since);

        let mut closed = 0;
        for (reclaimable, evict) in candidates {
            if excess == 0 {
                break;
            }
            evict();
            closed += 1;
            excess = excess.saturating_sub(reclaimable.bytes);
        }
        closed
    }

    /// Truncates the rings of all rooms and patterns to at most `bytes` in total. Each ring gets an equal share.
    async fn truncate_rings(&self, bytes: usize) {
        let (rooms, patterns) = (self.rooms.all(), self.patterns.all());
        let share = bytes / (rooms.len() + patterns.len()).max(1);
        let rooms = rooms.into_iter().map(Source::Room);
        for source in rooms.chain(patterns.into_iter().map(Source::Pattern)) {
            source.feed().truncate(share);
            tokio::task::yield_now().await;
        }
    }

    /// Returns the memory that can be reclaimed from each client, and a function that reclaims it.
    async fn candidates(&self) -> Vec<(Reclaimable, Box<dyn FnOnce() + Send>)> {
        let mut candidates: Vec<(Reclaimable, Box<dyn FnOnce() + Send>)> = Vec::new();

        let holders: Vec<Arc<dyn MemoryHolder>> = self
            .holders
            .lock()
            .iter()
            .map(|(_, holder)| holder.clone())
            .collect();
        for holder in holders {
            if let Some(reclaimable) = holder.reclaimable() {
                candidates.push((reclaimable, Box::new(move || holder.evict())));
            }
        }

        let visit = |subscriber: Arc<dyn Subscriber>| {
            if let Some(reclaimable) = subscriber.status().reclaimable {
                candidates.push((
                    reclaimable,
                    Box::new(move || subscriber.close(Closing::Evict)),
                ));
            }
        };
        self.connections.for_each(visit).await;
        candidates
    }
}

#[cfg(test)]
mod tests {
    use crate::protocol::{RoomName, RoomPattern, UserId};
    use crate::server::hub::{Hub, Source};
    use crate::server::room::Draft;
    use crate::server::run_clock::RunClock;

    #[tokio::test]
    async fn the_rings_of_rooms_and_patterns_are_truncated() {
        let hub = Hub::in_memory(10, RunClock::new());
        let running = hub.clone();
        tokio::spawn(async move { running.run().await });
        let room = hub.room(&RoomName::lobby()).await.expect("a room");
        let pattern = hub.enter_pattern(&RoomPattern::every_room(), None).await;
        let pattern = pattern.expect("entered").source().clone();
        let draft = Draft::text(UserId::guest(1), None, "hello");
        room.publish(vec![draft]).await.expect("published");

        let sources = [Source::Room(room), pattern];
        let lengths = || sources.each_ref().map(|source| source.feed().usage().0);
        assert_eq!(lengths(), [1, 1]);
        hub.memory().truncate_rings(0).await;

        assert_eq!(lengths(), [0, 0]);
    }
}
