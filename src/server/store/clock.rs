//! The time by which stores let things expire: it never goes back and never jumps with the wall clock.
//!
//! A machine that starts with a wrong date and is set right, or the other way round, must not lose a week of
//! messages. So age is counted by time that has passed, from an anchor that the store carries on.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(test)]
use std::time::Duration;

/// See the [module docs](self).
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    /// What it said at `started`, in milliseconds.
    anchor: u64,
    #[cfg(test)]
    skipped: AtomicU64,
}

impl Clock {
    /// A clock that goes on from the wall clock, or from `last`, what an earlier one said, if that is later.
    pub(super) fn new(last: u64) -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64);
        Self {
            started: Instant::now(),
            anchor: wall.max(last),
            #[cfg(test)]
            skipped: AtomicU64::new(0),
        }
    }

    /// Milliseconds, about since 1970.
    pub(super) fn now(&self) -> u64 {
        let now = self.anchor + self.started.elapsed().as_millis() as u64;
        #[cfg(test)]
        let now = now + self.skipped.load(Ordering::Relaxed);
        now
    }

    /// Makes so much time pass at once.
    #[cfg(test)]
    pub(super) fn skip(&self, time: Duration) {
        self.skipped
            .fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }
}
