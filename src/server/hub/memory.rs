//! The bytes that clients make the process hold, counted against one budget (`--memory-budget`).
//!
//! # Invariants
//!
//! - Counted is what grows by what clients do or leave undone: what waits to be written to a connection, what has
//!   come of a message that is not whole, and the rings of rooms.
//! - Whoever holds nothing touches no counter: a connection whose bytes the kernel takes at once costs a comparison.
//! - A [`Holding`] that is dropped has given back what it counted.
//!
//! Absent: what is bounded by numbers of its own. The kernel's buffers of each socket, heads and bodies of
//! requests, answers over HTTP on their way, the presence of rooms, and what a store keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Changes of one holding that are smaller are not counted: a few small frames come and go all the time. So what
/// is counted is short by less than this for each connection.
const GRAIN: usize = 1024;

/// See the [module docs](self). A cheap handle.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Counter>);

#[derive(Debug)]
struct Counter {
    budget: usize,
    held: AtomicUsize,
    /// Set from when the budget is exceeded until that is well over.
    is_tight: AtomicBool,
    became_tight: Notify,
}

/// What one holder holds, as it was counted last.
#[derive(Debug)]
pub struct Holding {
    memory: Memory,
    counted: AtomicUsize,
}

impl Memory {
    /// Nothing is held of `budget` bytes.
    pub fn new(budget: usize) -> Self {
        Self(Arc::new(Counter {
            budget,
            held: AtomicUsize::new(0),
            is_tight: AtomicBool::new(false),
            became_tight: Notify::new(),
        }))
    }

    /// A place to count what one more holder holds: nothing so far.
    pub fn holding(&self) -> Holding {
        Holding {
            memory: self.clone(),
            counted: AtomicUsize::new(0),
        }
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Bytes that may be held.
    pub fn budget(&self) -> usize {
        self.0.budget
    }

    /// Whether nobody new should come.
    pub fn is_tight(&self) -> bool {
        self.0.is_tight.load(Ordering::Acquire)
    }

    /// Waits until the budget is exceeded.
    pub(super) async fn tight(&self) {
        while !self.is_tight() {
            self.0.became_tight.notified().await;
        }
    }

    /// It is well over, unless the budget is exceeded still.
    pub(super) fn relax(&self) {
        self.0.is_tight.store(false, Ordering::Release);
        self.look(self.held());
    }

    fn look(&self, held: usize) {
        if held > self.0.budget && !self.0.is_tight.swap(true, Ordering::AcqRel) {
            self.0.became_tight.notify_one();
        }
    }
}

impl Holding {
    /// From now on it is `bytes`. Its holder calls this under a lock of its own, one call at a time.
    pub fn set(&self, bytes: usize) {
        let counted = self.counted.load(Ordering::Relaxed);
        if bytes == counted || (bytes > 0 && bytes.abs_diff(counted) < GRAIN) {
            return;
        }
        self.counted.store(bytes, Ordering::Relaxed);
        let held = &self.memory.0.held;
        if bytes < counted {
            held.fetch_sub(counted - bytes, Ordering::Relaxed);
        } else {
            let more = bytes - counted;
            self.memory
                .look(held.fetch_add(more, Ordering::Relaxed).saturating_add(more));
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn beyond_the_budget_it_is_tight_until_that_is_over_and_said_to_be() {
        let memory = Memory::new(10_000);
        let (one, other) = (memory.holding(), memory.holding());
        one.set(10_000);
        assert!(!memory.is_tight());
        other.set(2000);
        assert!(memory.is_tight());
        memory.relax();
        assert!(memory.is_tight(), "it is exceeded still");
        drop(one);
        assert!(memory.is_tight(), "not said to be over");
        memory.relax();
        assert!(!memory.is_tight() && memory.held() == 2000);
    }

    proptest! {
        #[test]
        fn what_is_counted_is_what_is_held_but_for_less_than_a_grain_each(
            steps in prop::collection::vec((0usize..4, 0usize..10_000), 0..60),
        ) {
            let memory = Memory::new(usize::MAX);
            let holdings = [(); 4].map(|()| memory.holding());
            let mut truth = [0; 4];
            for (which, bytes) in steps {
                holdings[which].set(bytes);
                truth[which] = bytes;
                prop_assert!(memory.held().abs_diff(truth.iter().sum()) < 4 * GRAIN);
            }
            drop(holdings);
            prop_assert_eq!(memory.held(), 0);
        }
    }
}
