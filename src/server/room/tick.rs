//! The time stamps of the pure floors, which read no clock themselves.

use std::time::Duration;

/// Milliseconds since the server started, on a monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

impl Tick {
    /// Returns the tick `elapsed` after the start of the server.
    pub const fn after_start(elapsed: Duration) -> Self {
        Self(elapsed.as_millis() as u64)
    }

    /// Returns the tick `time` later than this one, saturating at the largest tick.
    pub const fn after(self, time: Duration) -> Self {
        let millis = time.as_millis();
        Self(self.0.saturating_add(if millis > u64::MAX as u128 {
            u64::MAX
        } else {
            millis as u64
        }))
    }

    /// Returns the time from `earlier` to this tick; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
