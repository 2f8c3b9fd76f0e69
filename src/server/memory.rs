//! The bytes that clients make this process hold, counted against one budget (`--memory-budget`).
//!
//! The process has one counter, which operators compare with its resident set. Code on any floor that keeps something
//! for a client reserves its bytes here.
//!
//! # Invariants
//!
//! - Counted: messages and their encodings until the last reference is dropped, bytes that wait to be written to a
//!   connection, partial messages, request heads and bodies, answers until the kernel has accepted them, remembered
//!   keys, rooms, members, connections and the events of a trace.
//! - Bytes that several holders share are counted once: see [`Memory::track`].
//! - Dropping a reservation releases all bytes that it counted.
//!
//! Not counted: the kernel's socket buffers, bans and closed rooms (their number is bounded), and caches of a fixed
//! size (SQLite pages, rate limiters).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

/// The smallest change of a reservation that is counted, because small frames are frequent. The count is off by less
/// than this for each connection.
const GRAIN: usize = 1024;
/// The overhead of a value for the allocator and the reference count, in bytes.
const ALLOCATION_BYTES: usize = 128;

static PROCESS: Memory = Memory::new(usize::MAX);

/// A counter of held bytes, with a budget.
#[derive(Debug)]
pub struct Memory {
    budget: AtomicUsize,
    held: AtomicUsize,
    /// True from the time when the budget is exceeded until [`Memory::end_shortage`] finds that it is no longer exceeded.
    is_short: AtomicBool,
    became_tight: Notify,
}

/// A number of bytes that is counted until this is dropped.
#[derive(Debug)]
pub struct MemoryReservation {
    memory: &'static Memory,
    counted: AtomicUsize,
}

/// Bytes and their reservation.
struct Held {
    bytes: Bytes,
    _reservation: MemoryReservation,
}

impl Memory {
    /// Creates a counter with a budget of `budget` bytes, none of them held.
    pub const fn new(budget: usize) -> Self {
        Self {
            budget: AtomicUsize::new(budget),
            held: AtomicUsize::new(0),
            is_short: AtomicBool::new(false),
            became_tight: Notify::const_new(),
        }
    }

    /// Returns the counter of this process.
    pub fn of_process() -> &'static Self {
        &PROCESS
    }

    /// Sets the budget in bytes.
    pub fn set_budget(&self, bytes: usize) {
        self.budget.store(bytes, Ordering::Relaxed);
    }

    /// Returns the budget in bytes.
    pub fn budget(&self) -> usize {
        self.budget.load(Ordering::Relaxed)
    }

    /// Returns the number of bytes held.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Returns `true` while more is held than the budget allows.
    pub fn is_exceeded(&self) -> bool {
        self.held() > self.budget()
    }

    /// Returns `true` from the time when the budget is exceeded until [`Memory::end_shortage`] ends the shortage. During that
    /// time no new client should be admitted.
    pub fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Acquire)
    }

    /// Waits until the budget is exceeded.
    pub async fn wait_for_shortage(&self) {
        while !self.is_short() {
            self.became_tight.notified().await;
        }
    }

    /// Ends the shortage, unless the budget is still exceeded.
    pub fn end_shortage(&self) {
        self.is_short.store(false, Ordering::Release);
        self.check(self.held());
    }

    /// Counts `bytes` until the reservation is dropped.
    pub fn reserve(&'static self, bytes: usize) -> MemoryReservation {
        self.add(bytes);

        MemoryReservation {
            memory: self,
            counted: AtomicUsize::new(bytes),
        }
    }

    /// Counts `bytes`, and `beside` bytes of data that belongs to them, until the last reference to them is dropped.
    pub fn track(&'static self, bytes: Bytes, beside: usize) -> Bytes {
        if bytes.is_empty() && beside == 0 {
            return bytes;
        }

        let reservation = self.reserve(bytes.len() + beside + ALLOCATION_BYTES);
        Bytes::from_owner(Held {
            bytes,
            _reservation: reservation,
        })
    }

    fn add(&self, bytes: usize) {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed);
        self.check(held.saturating_add(bytes));
    }

    fn check(&self, held: usize) {
        if held > self.budget() && !self.is_short.swap(true, Ordering::AcqRel) {
            self.became_tight.notify_one();
        }
    }
}

impl MemoryReservation {
    /// Changes the reservation to `bytes`. The caller must not call this concurrently for one reservation.
    pub fn set(&self, bytes: usize) {
        let counted = self.counted.load(Ordering::Relaxed);
        if bytes == counted || (bytes > 0 && bytes.abs_diff(counted) < GRAIN) {
            return;
        }

        self.counted.store(bytes, Ordering::Relaxed);
        if bytes < counted {
            self.memory
                .held
                .fetch_sub(counted - bytes, Ordering::Relaxed);
        } else {
            self.memory.add(bytes - counted);
        }
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn memory(budget: usize) -> &'static Memory {
        Box::leak(Box::new(Memory::new(budget)))
    }

    #[test]
    fn memory_is_short_from_the_budget_until_bytes_are_released_and_the_shortage_ends() {
        let memory = memory(10_000);
        let reservation = memory.reserve(10_000);
        assert!(!memory.is_short());

        let _excess = memory.reserve(2000);
        assert!(memory.is_short());
        memory.end_shortage();
        assert!(memory.is_short(), "the budget is still exceeded");

        drop(reservation);
        assert!(memory.is_short(), "not relaxed yet");
        memory.end_shortage();
        assert!(!memory.is_short());
        assert_eq!(memory.held(), 2000);
    }

    #[test]
    fn shared_bytes_are_counted_once_until_the_last_reference_is_dropped() {
        let memory = memory(usize::MAX);
        let held = memory.track(Bytes::from(vec![7; 5000]), 100);

        let shared = held.clone();
        let part = held.slice(10..20);
        assert_eq!(memory.held(), 5100 + ALLOCATION_BYTES);

        drop((held, shared));
        assert_eq!(memory.held(), 5100 + ALLOCATION_BYTES);
        assert_eq!(part[..], [7; 10]);

        drop(part);
        assert_eq!(memory.held(), 0);
    }

    proptest! {
        #[test]
        fn the_count_is_off_by_less_than_a_grain_for_each_reservation(
            steps in prop::collection::vec((0usize..4, 0usize..10_000), 0..60),
        ) {
            let memory = memory(usize::MAX);
            let reservations = [(); 4].map(|()| memory.reserve(0));
            let mut held = [0; 4];

            for (index, bytes) in steps {
                reservations[index].set(bytes);
                held[index] = bytes;
                prop_assert!(memory.held().abs_diff(held.iter().sum()) < 4 * GRAIN);
            }

            drop(reservations);
            prop_assert_eq!(memory.held(), 0);
        }
    }
}
