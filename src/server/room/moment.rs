//! Time as the pure floors see it.

use std::time::Duration;

/// Milliseconds since the server started, by a clock that never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

impl Tick {
    /// The moment `elapsed` after the start.
    pub const fn after_start(elapsed: Duration) -> Self {
        Self(elapsed.as_millis() as u64)
    }

    /// The moment `time` later.
    pub const fn after(self, time: Duration) -> Self {
        let millis = time.as_millis();
        Self(self.0.saturating_add(if millis > u64::MAX as u128 {
            u64::MAX
        } else {
            millis as u64
        }))
    }

    /// Time from `earlier` to this; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
