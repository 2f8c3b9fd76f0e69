//! How fast one client may speak: a token bucket.

use std::time::Duration;

use crate::server::room::Tick;

/// How many events a second are allowed, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Events a second in the long run; `0` means no limit.
    pub per_second: u32,
    /// Events at once after a pause, at least 1.
    pub burst: u32,
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self {
        per_second: 0,
        burst: 1,
    };
}

/// A token bucket: `burst` tokens when full, `per_second` new ones each second, one for each event.
#[derive(Clone, Copy, Debug)]
pub struct Limiter {
    /// Thousandths of a token, so that slow rates lose nothing to rounding.
    millitokens: u64,
    filled: Tick,
}

impl Limiter {
    const TOKEN: u64 = 1000;

    /// A full bucket.
    pub const fn new(rate: Rate, now: Tick) -> Self {
        Self {
            millitokens: rate.burst as u64 * Self::TOKEN,
            filled: now,
        }
    }

    /// Takes a token for one event; `false` means that it came too fast.
    pub fn allows(&mut self, rate: Rate, now: Tick) -> bool {
        self.take(1, rate, now).is_ok()
    }

    /// Takes a token for each of `events`: all of them, or none.
    ///
    /// # Errors
    /// How long to wait until there are enough. More than the burst there never are.
    pub fn take(&mut self, events: u32, rate: Rate, now: Tick) -> Result<(), Duration> {
        if rate.per_second == 0 {
            return Ok(());
        }
        self.millitokens = self.refilled(rate, now);
        self.filled = now;
        let needed = u64::from(events) * Self::TOKEN;
        match self.millitokens.checked_sub(needed) {
            Some(rest) => {
                self.millitokens = rest;
                Ok(())
            }
            None => {
                let missing = needed - self.millitokens;
                Err(Duration::from_millis(
                    missing.div_ceil(u64::from(rate.per_second)),
                ))
            }
        }
    }

    /// Fills the bucket, beyond the burst if need be, with the tokens of the time since `since` and of the pause
    /// `paused`. Nothing was read in that time, so events that arrive together now may have been sent at the allowed
    /// rate.
    pub fn credit_pause(&mut self, since: Tick, paused: Duration, rate: Rate, now: Tick) {
        let since = since.max(self.filled);
        let unread = now.since(since) + paused;

        self.millitokens = self
            .refilled(rate, since)
            .saturating_add(gained(rate, unread));
        self.filled = now;
    }

    /// Puts tokens back, as many as it holds.
    pub fn give_back(&mut self, events: u32, rate: Rate) {
        let given = u64::from(events) * Self::TOKEN;
        self.millitokens = self
            .millitokens
            .saturating_add(given)
            .min(self.capacity(rate));
    }

    /// Whether it is as full as it gets.
    pub fn is_full(&self, rate: Rate, now: Tick) -> bool {
        self.refilled(rate, now) >= u64::from(rate.burst) * Self::TOKEN
    }

    /// What it holds at `now`, in thousandths of a token.
    fn refilled(&self, rate: Rate, now: Tick) -> u64 {
        self.millitokens
            .saturating_add(gained(rate, now.since(self.filled)))
            .min(self.capacity(rate))
    }

    /// Capacity in thousandths of a token: the burst, or more after a pause was made up for.
    fn capacity(&self, rate: Rate) -> u64 {
        self.millitokens.max(u64::from(rate.burst) * Self::TOKEN)
    }
}

/// Returns the thousandths of a token that come in during `time`.
fn gained(rate: Rate, time: Duration) -> u64 {
    (time.as_millis() as u64).saturating_mul(u64::from(rate.per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 20,
        burst: 40,
    };

    fn at(millis: u64) -> Tick {
        Tick::after_start(Duration::from_millis(millis))
    }

    fn allowed(limiter: &mut Limiter, rate: Rate, millis: std::ops::Range<u64>) -> usize {
        millis.filter(|&now| limiter.allows(rate, at(now))).count()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut limiter = Limiter::new(RATE, at(0));
        assert_eq!((0..100).filter(|_| limiter.allows(RATE, at(0))).count(), 40);
        assert_eq!(allowed(&mut limiter, RATE, 0..10_001), 200);
    }

    #[test]
    fn a_pause_fills_the_bucket_no_further_than_the_burst() {
        let mut limiter = Limiter::new(RATE, at(0));
        assert_eq!(
            (0..100)
                .filter(|_| limiter.allows(RATE, at(3_600_000)))
                .count(),
            40
        );
    }

    #[test]
    fn what_came_while_nothing_was_read_is_not_too_fast_and_the_rate_holds_after_it() {
        let mut limiter = Limiter::new(RATE, at(0));

        limiter.credit_pause(at(0), Duration::ZERO, RATE, at(60_000));
        let stalled = (0..9999).filter(|_| limiter.allows(RATE, at(60_000)));
        assert_eq!(stalled.count(), 40 + 60 * 20);

        limiter.credit_pause(at(60_000), Duration::from_secs(8), RATE, at(60_000));
        let paused = (0..9999).filter(|_| limiter.allows(RATE, at(60_000)));
        assert_eq!(paused.count(), 8 * 20);
        assert_eq!(allowed(&mut limiter, RATE, 60_000..70_001), 200);
    }

    #[test]
    fn time_is_made_up_for_only_once() {
        let mut limiter = Limiter::new(RATE, at(0));

        for _time in 0..10 {
            limiter.credit_pause(at(0), Duration::ZERO, RATE, at(1000));
        }

        let at_once = (0..9999).filter(|_| limiter.allows(RATE, at(1000)));
        assert_eq!(at_once.count(), 40 + 20);
    }

    #[test]
    fn many_events_at_once_take_all_their_tokens_or_none_and_the_wait_is_told() {
        let mut limiter = Limiter::new(RATE, at(0));
        assert_eq!(limiter.take(30, RATE, at(0)), Ok(()));
        assert_eq!(limiter.take(30, RATE, at(0)), Err(Duration::from_secs(1)));
        assert_eq!(
            limiter.take(10, RATE, at(0)),
            Ok(()),
            "a refusal costs nothing"
        );
        assert_eq!(
            limiter.take(20, RATE, at(999)),
            Err(Duration::from_millis(1))
        );
        assert_eq!(limiter.take(20, RATE, at(1000)), Ok(()));
        assert!(!limiter.is_full(RATE, at(2999)) && limiter.is_full(RATE, at(3000)));
    }

    #[test]
    fn zero_means_no_limit() {
        let mut limiter = Limiter::new(Rate::UNLIMITED, at(0));
        assert_eq!(allowed(&mut limiter, Rate::UNLIMITED, 0..1000), 1000);
    }
}
