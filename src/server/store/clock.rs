//! The clock that stores use for expiry. It counts elapsed time, so a wrong date does not move it.
//!
//! # Rules
//!
//! - While a store is open, its clock counts elapsed time (`CLOCK_MONOTONIC`). Setting the date changes nothing.
//! - When a store is reopened, its clock continues from the saved time plus the wall-clock time that has passed
//!   since, if that is at most [`ClockLimits::max_jump`]: an eighth of the age up to which messages are kept, and at
//!   most a day.
//! - A longer time is a *jump*: the machine was off, or its date is wrong. The jump is logged, and the clock
//!   continues from the saved time, so that nothing expires because of it. If the wall clock then runs for
//!   [`ClockLimits::confirm_after`] without being set, the machine was off, and the time is counted. If the date is
//!   set before that, it was wrong, and the time is never counted.
//! - If the wall clock is behind, it is ignored: the store's clock never goes back.
//!
//! The store saves its clock together with the accepted wall clock. The accepted wall clock does not advance until a
//! jump is confirmed, so a restart meanwhile sees the same jump again. Messages may be kept longer than configured,
//! by the time that the machine was off, but they never expire too early.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tracing::{info, warn};

/// The longest jump that is accepted immediately, and the longest time until any other jump is confirmed.
const MAX_TRUST: Duration = Duration::from_secs(24 * 60 * 60);
/// Largest difference between the wall clock and elapsed time that counts as an adjustment. A larger one means that
/// the date was set.
const TOLERANCE_MS: i64 = 60_000;

/// The clock of a store. See the [module docs](self).
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    /// The store's time at `started`, in milliseconds, plus all confirmed jumps.
    anchor: AtomicU64,
    wall: Mutex<WallClock>,
    #[cfg(test)]
    skipped: AtomicU64,
}

/// A time of the store's clock and the wall-clock time at the same moment, both in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SavedClock {
    pub(super) clock: u64,
    pub(super) wall: u64,
}

/// Limits of the trust in the wall clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockLimits {
    max_jump: Duration,
    confirm_after: Duration,
}

impl ClockLimits {
    /// Returns the limits for messages that are kept up to `age`.
    pub(super) fn of(age: Duration) -> Self {
        Self {
            max_jump: (age / 8).min(MAX_TRUST),
            confirm_after: age.min(MAX_TRUST),
        }
    }

    /// Returns the interval at which the clock is saved, short enough that a killed process causes no jump.
    pub(super) fn save_every(self) -> Duration {
        (self.max_jump / 4).clamp(Duration::from_secs(1), Duration::from_secs(600))
    }
}

/// The accepted state of the wall clock. Pure: the caller passes times, in milliseconds.
#[derive(Debug)]
struct WallClock {
    /// The accepted wall clock minus the store's clock.
    offset: i64,
    /// A jump that is not confirmed yet.
    jump: Option<Jump>,
    confirm_after: u64,
}

#[derive(Clone, Copy, Debug)]
struct Jump {
    length: u64,
    /// The time by the store's clock at which the jump was detected.
    seen: u64,
}

/// The outcome of an unconfirmed jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JumpOutcome {
    /// The time of the jump has really passed.
    Confirmed(u64),
    /// The date was wrong.
    Withdrawn(u64),
}

impl WallClock {
    /// Continues from `saved` at the wall clock `now`. Also returns the time of the store's clock.
    fn resume(saved: SavedClock, now: u64, limits: ClockLimits) -> (u64, Self) {
        let confirm_after = millis(limits.confirm_after);
        let accepted = |clock: u64, wall: u64, jump| Self {
            offset: signed(wall) - signed(clock),
            jump,
            confirm_after,
        };

        match now.checked_sub(saved.wall) {
            None => (saved.clock, accepted(saved.clock, now, None)),
            Some(passed) if passed <= millis(limits.max_jump) => {
                let clock = saved.clock + passed;
                (clock, accepted(clock, now, None))
            }
            Some(length) => {
                let seen = saved.clock;
                let jump = Jump { length, seen };
                (seen, accepted(seen, saved.wall, Some(jump)))
            }
        }
    }

    /// Compares the wall clock `now` with `clock`, the current time of the store's clock.
    fn check(&mut self, clock: u64, now: u64) -> Option<JumpOutcome> {
        let Some(Jump { length, seen }) = self.jump else {
            self.offset = signed(now) - signed(clock);
            return None;
        };

        let expected = signed(clock) + self.offset + signed(length);
        if (signed(now) - expected).abs() > TOLERANCE_MS {
            self.jump = None;
            self.offset = signed(now) - signed(clock);
            return Some(JumpOutcome::Withdrawn(length));
        }
        if clock.saturating_sub(seen) >= self.confirm_after {
            self.jump = None;
            return Some(JumpOutcome::Confirmed(length));
        }
        None
    }
}

impl Clock {
    /// Creates a clock that starts at the wall-clock time.
    pub(super) fn new() -> Self {
        let now = now_millis();
        let saved = SavedClock {
            clock: now,
            wall: now,
        };
        Self::resume(saved, ClockLimits::of(Duration::MAX))
    }

    /// Creates a clock that continues from `saved`.
    pub(super) fn resume(saved: SavedClock, limits: ClockLimits) -> Self {
        let now = now_millis();
        let (anchor, wall) = WallClock::resume(saved, now, limits);

        if let Some(Jump { length, .. }) = wall.jump {
            warn!(
                jump = ?Duration::from_millis(length),
                limit = ?limits.max_jump,
                confirmed_after = ?limits.confirm_after,
                "the clock is far ahead of the last time in the database: the machine was off, or its date is wrong; \
                 no message expires by this until the clock has run on for confirmed_after without being set"
            );
        } else if saved.wall > now.saturating_add(millis(limits.max_jump)) {
            warn!(
                behind = ?Duration::from_millis(saved.wall - now),
                "the clock is far behind the last time in the database; ages are counted from that time on"
            );
        }

        Self {
            started: Instant::now(),
            anchor: AtomicU64::new(anchor),
            wall: Mutex::new(wall),
            #[cfg(test)]
            skipped: AtomicU64::new(0),
        }
    }

    /// Returns the time of the store's clock in milliseconds, approximately since 1970.
    pub(super) fn now(&self) -> u64 {
        let now = self.anchor.load(Ordering::Relaxed) + self.started.elapsed().as_millis() as u64;
        #[cfg(test)]
        let now = now + self.skipped.load(Ordering::Relaxed);
        now
    }

    /// Compares the wall clock with the store's clock, which may confirm or withdraw a jump. Call this regularly.
    pub(super) fn check(&self) {
        let verdict = self.wall.lock().check(self.now(), now_millis());
        match verdict {
            None => {}
            Some(JumpOutcome::Confirmed(length)) => {
                self.anchor.fetch_add(length, Ordering::Relaxed);
                let jump = Duration::from_millis(length);
                info!(
                    ?jump,
                    "the system clock ran on since its jump; the jump is counted now"
                );
            }
            Some(JumpOutcome::Withdrawn(length)) => {
                let jump = Duration::from_millis(length);
                info!(?jump, "the system clock was set; its jump is not counted");
            }
        }
    }

    /// Returns the times from which a later clock continues.
    pub(super) fn save(&self) -> SavedClock {
        let clock = self.now();
        let wall = signed(clock) + self.wall.lock().offset;
        SavedClock {
            clock,
            wall: u64::try_from(wall).unwrap_or_default(),
        }
    }

    /// Advances the clock by `time`.
    #[cfg(test)]
    pub(super) fn skip(&self, time: Duration) {
        self.skipped
            .fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }
}

/// Returns the wall-clock time in milliseconds since 1970 UTC.
pub fn now_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 60 * 60 * 1000;
    const DAY: u64 = 24 * HOUR;
    /// A time in 2026; the store's clock is an hour behind it.
    const SAVED: SavedClock = SavedClock {
        clock: 1_780_000_000_000 - HOUR,
        wall: 1_780_000_000_000,
    };

    /// Returns the clock of a store that keeps messages for a week, reopened after `passed` of wall-clock time.
    fn opened_after(passed: i64) -> (u64, WallClock) {
        let week = Duration::from_millis(7 * DAY);
        let now = SAVED.wall.strict_add_signed(passed);
        WallClock::resume(SAVED, now, ClockLimits::of(week))
    }

    #[test]
    fn time_up_to_the_bound_counts_when_a_store_is_opened_again() {
        for passed in [0, HOUR, 21 * HOUR] {
            let (clock, wall) = opened_after(passed as i64);

            assert_eq!(clock, SAVED.clock + passed);
            assert!(wall.jump.is_none());
        }
    }

    #[test]
    fn a_date_that_is_wrong_for_a_while_makes_nothing_older() {
        let (clock, mut wall) = opened_after((30 * DAY) as i64);
        assert_eq!(clock, SAVED.clock);

        let later = clock + HOUR;
        let still_wrong = SAVED.wall + 30 * DAY + HOUR;
        assert_eq!(wall.check(later, still_wrong), None);
        let set_right = SAVED.wall + HOUR;
        let verdict = wall.check(later, set_right);

        assert_eq!(verdict, Some(JumpOutcome::Withdrawn(30 * DAY)));
        assert_eq!(wall.check(later + 9 * DAY, set_right + 9 * DAY), None);
    }

    #[test]
    fn a_machine_that_was_off_for_a_month_counts_it_once_its_clock_has_run_on_for_a_day() {
        let (clock, mut wall) = opened_after((30 * DAY) as i64);
        let right = |passed: u64| SAVED.wall + 30 * DAY + passed;

        assert_eq!(wall.check(clock + DAY - 1, right(DAY - 1)), None);
        let verdict = wall.check(clock + DAY, right(DAY));

        assert_eq!(verdict, Some(JumpOutcome::Confirmed(30 * DAY)));
        let now = clock + DAY + 30 * DAY;
        assert_eq!(signed(now) + wall.offset, signed(right(DAY)));
    }

    #[test]
    fn a_restart_before_a_jump_is_confirmed_sees_the_jump_again() {
        let (clock, wall) = opened_after((30 * DAY) as i64);

        let later = clock + HOUR;
        let saved = SavedClock {
            clock: later,
            wall: u64::try_from(signed(later) + wall.offset).expect("after 1970"),
        };
        let now = SAVED.wall + 30 * DAY + HOUR;
        let limits = ClockLimits::of(Duration::from_millis(7 * DAY));
        let (again, wall) = WallClock::resume(saved, now, limits);

        assert_eq!(again, later);
        assert_eq!(wall.jump.expect("a jump").length, 30 * DAY);
    }

    #[test]
    fn a_date_that_is_behind_and_then_set_right_moves_nothing() {
        let (clock, mut wall) = opened_after(-((400 * DAY) as i64));
        assert_eq!(clock, SAVED.clock);

        assert_eq!(wall.check(clock + 5000, SAVED.wall + 5000), None);

        let saved_wall = signed(clock + 5000) + wall.offset;
        assert_eq!(saved_wall, signed(SAVED.wall + 5000));
    }
}
