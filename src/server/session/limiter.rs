//! A token bucket, which limits the rate of one client, and a table of token buckets of bounded size, one per key.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::server::room::Tick;
use crate::server::room_rules::RuleRate;

/// Maximum number of buckets, each of about 50 bytes besides its key.
const MAX_BUCKETS: usize = 10_000;

/// The allowed rate of events.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Average number of events per second; `0` means no limit.
    pub per_second: u32,
    /// Maximum number of events at once, at least 1.
    pub burst: u32,
}

impl From<RuleRate> for Rate {
    /// Returns the rate that a rule sets, with twice as many events at once as per second.
    fn from(rate: RuleRate) -> Self {
        Self {
            per_second: rate.per_second,
            burst: rate.per_second.saturating_mul(2).max(1),
        }
    }
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self {
        per_second: 0,
        burst: 1,
    };
}

/// A token bucket with a capacity of `burst` tokens, refilled with `per_second` tokens a second. Each event takes
/// one token.
#[derive(Clone, Copy, Debug)]
pub struct Limiter {
    /// Tokens in thousandths, so that slow rates are not rounded down.
    millitokens: u64,
    refilled_at: Tick,
}

impl Limiter {
    const TOKEN: u64 = 1000;

    /// Creates a full bucket.
    pub const fn new(rate: Rate, now: Tick) -> Self {
        Self {
            millitokens: rate.burst as u64 * Self::TOKEN,
            refilled_at: now,
        }
    }

    /// Takes a token for one event. Returns false if there is none.
    pub fn allows(&mut self, rate: Rate, now: Tick) -> bool {
        self.take(1, rate, now).is_ok()
    }

    /// Takes `events` tokens, or none if there are fewer.
    ///
    /// # Errors
    /// The time until there are enough tokens. There are never more than the burst.
    pub fn take(&mut self, events: u32, rate: Rate, now: Tick) -> Result<(), Duration> {
        if rate.per_second == 0 {
            return Ok(());
        }

        self.millitokens = self.refilled(rate, now);
        self.refilled_at = now;

        let needed = u64::from(events) * Self::TOKEN;
        if needed > self.millitokens {
            let missing = needed - self.millitokens;
            let wait = missing.div_ceil(u64::from(rate.per_second));
            return Err(Duration::from_millis(wait));
        }

        self.millitokens -= needed;
        Ok(())
    }

    /// Adds the tokens of the time since `since` and of the pause `paused`, even beyond the burst. Nothing was read
    /// in that time, so events that arrive together now may have been sent at the allowed rate.
    pub fn credit_pause(&mut self, since: Tick, paused: Duration, rate: Rate, now: Tick) {
        let since = since.max(self.refilled_at);
        let unread = now.since(since) + paused;

        self.millitokens = self
            .refilled(rate, since)
            .saturating_add(gained(rate, unread));
        self.refilled_at = now;
    }

    /// Returns the tokens of `events` to the bucket, up to its capacity.
    pub fn refund(&mut self, events: u32, rate: Rate) {
        self.millitokens = self
            .millitokens
            .saturating_add(u64::from(events) * Self::TOKEN)
            .min(self.capacity(rate));
    }

    /// Returns true if the bucket is full at `now`.
    pub fn is_full(&self, rate: Rate, now: Tick) -> bool {
        self.refilled(rate, now) >= u64::from(rate.burst) * Self::TOKEN
    }

    /// Returns the number of tokens at `now`, in thousandths.
    fn refilled(&self, rate: Rate, now: Tick) -> u64 {
        self.millitokens
            .saturating_add(gained(rate, now.since(self.refilled_at)))
            .min(self.capacity(rate))
    }

    /// Returns the capacity in thousandths of a token: the burst, or more after a credited pause.
    fn capacity(&self, rate: Rate) -> u64 {
        self.millitokens.max(u64::from(rate.burst) * Self::TOKEN)
    }
}

/// Returns the number of tokens that are added in `time`, in thousandths.
fn gained(rate: Rate, time: Duration) -> u64 {
    (time.as_millis() as u64).saturating_mul(u64::from(rate.per_second))
}

/// Token buckets, one for each key `K`.
#[derive(Debug)]
pub struct Limiters<K> {
    /// Rate of buckets without a rate of their own.
    rate: Rate,
    /// The buckets, each with the rate at which it was last used.
    buckets: HashMap<K, (Limiter, Rate)>,
}

impl<K: Eq + Hash> Limiters<K> {
    /// Creates a table in which all buckets are full.
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: HashMap::new(),
        }
    }

    /// Returns the rate of buckets without a rate of their own.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes `events` tokens from the bucket of `key`, or none if there are fewer.
    ///
    /// # Errors
    /// The time until there are enough tokens. There are never more than the burst.
    pub fn take(&mut self, key: K, events: u32, now: Tick) -> Result<(), Duration> {
        self.take_at(key, self.rate, events, now)
    }

    /// Takes `events` tokens like [`Limiters::take`], from a bucket that has its own `rate`.
    ///
    /// # Errors
    /// The time until there are enough tokens. There are never more than the burst.
    pub fn take_at(&mut self, key: K, rate: Rate, events: u32, now: Tick) -> Result<(), Duration> {
        if rate.per_second == 0 {
            return Ok(());
        }

        if self.buckets.len() >= MAX_BUCKETS {
            self.shrink(now);
        }

        let (limiter, last_rate) = self
            .buckets
            .entry(key)
            .or_insert_with(|| (Limiter::new(rate, now), rate));
        *last_rate = rate;
        limiter.take(events, rate, now)
    }

    /// Returns the tokens of events that did not happen after all.
    pub fn refund(&mut self, key: &K, events: u32) {
        if let Some((limiter, rate)) = self.buckets.get_mut(key) {
            limiter.refund(events, *rate);
        }
    }

    /// Removes full buckets, which are the same as new ones. If more than half of the table remains, removes all
    /// buckets: that gives each key one burst more, but a client with many keys cannot fill the table.
    fn shrink(&mut self, now: Tick) {
        self.buckets
            .retain(|_, (limiter, rate)| !limiter.is_full(*rate, now));
        if self.buckets.len() > MAX_BUCKETS / 2 {
            self.buckets.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 20,
        burst: 40,
    };
    const SLOW: Rate = Rate {
        per_second: 2,
        burst: 4,
    };

    fn at(millis: u64) -> Tick {
        Tick::after_start(Duration::from_millis(millis))
    }

    /// Returns the number of events that pass at `now`, out of 9999.
    fn allowed_at_once(limiter: &mut Limiter, now: Tick) -> usize {
        (0..9999).filter(|_| limiter.allows(RATE, now)).count()
    }

    /// Returns the number of events that pass if one is tried in each of `millis`.
    fn allowed(limiter: &mut Limiter, rate: Rate, millis: std::ops::Range<u64>) -> usize {
        millis.filter(|&now| limiter.allows(rate, at(now))).count()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_applies() {
        let mut limiter = Limiter::new(RATE, at(0));

        let burst = allowed_at_once(&mut limiter, at(0));
        let in_ten_seconds = allowed(&mut limiter, RATE, 0..10_001);

        assert_eq!(burst, 40);
        assert_eq!(in_ten_seconds, 200);
    }

    #[test]
    fn a_silent_client_gets_no_more_than_the_burst() {
        let mut limiter = Limiter::new(RATE, at(0));
        assert_eq!(allowed_at_once(&mut limiter, at(3_600_000)), 40);
    }

    #[test]
    fn events_that_were_sent_while_nothing_was_read_pass_and_then_the_rate_applies() {
        let mut limiter = Limiter::new(RATE, at(0));

        limiter.credit_pause(at(0), Duration::ZERO, RATE, at(60_000));
        let stalled = allowed_at_once(&mut limiter, at(60_000));
        assert_eq!(stalled, 40 + 60 * 20);

        limiter.credit_pause(at(60_000), Duration::from_secs(8), RATE, at(60_000));
        let paused = allowed_at_once(&mut limiter, at(60_000));
        assert_eq!(paused, 8 * 20);

        assert_eq!(allowed(&mut limiter, RATE, 60_000..70_001), 200);
    }

    #[test]
    fn a_pause_is_credited_once() {
        let mut limiter = Limiter::new(RATE, at(0));

        for _ in 0..10 {
            limiter.credit_pause(at(0), Duration::ZERO, RATE, at(1000));
        }

        assert_eq!(allowed_at_once(&mut limiter, at(1000)), 40 + 20);
    }

    #[test]
    fn several_events_take_all_their_tokens_or_none() {
        let mut limiter = Limiter::new(RATE, at(0));
        limiter.take(30, RATE, at(0)).expect("a full bucket");

        let refused = limiter.take(30, RATE, at(0));
        let rest = limiter.take(10, RATE, at(0));

        assert_eq!(refused, Err(Duration::from_secs(1)));
        assert_eq!(rest, Ok(()), "a refusal takes no tokens");
    }

    #[test]
    fn the_error_is_the_time_until_there_are_enough_tokens() {
        let mut limiter = Limiter::new(RATE, at(0));
        limiter.take(40, RATE, at(0)).expect("a full bucket");

        let wait = limiter.take(20, RATE, at(999));

        assert_eq!(wait, Err(Duration::from_millis(1)));
        assert_eq!(limiter.take(20, RATE, at(1000)), Ok(()));
    }

    #[test]
    fn an_empty_bucket_is_full_after_the_time_of_a_burst() {
        let mut limiter = Limiter::new(RATE, at(0));

        limiter.take(40, RATE, at(0)).expect("a full bucket");

        assert!(!limiter.is_full(RATE, at(1999)));
        assert!(limiter.is_full(RATE, at(2000)));
    }

    #[test]
    fn a_bucket_may_have_a_rate_of_its_own() {
        let mut limiters = Limiters::new(SLOW);

        let at_own_rate = limiters.take_at("ann", RATE, 40, at(0));
        let at_common_rate = limiters.take("bob", 40, at(0));
        limiters.shrink(at(1000));

        assert_eq!(at_own_rate, Ok(()));
        assert_eq!(at_common_rate, Err(Duration::from_secs(18)));
        let keys: Vec<_> = limiters.buckets.keys().collect();
        assert_eq!(
            keys,
            [&"ann"],
            "after a second, half of its burst is missing"
        );
    }

    #[test]
    fn the_table_has_a_bounded_size() {
        let mut limiters = Limiters::new(SLOW);

        for key in 0..50_000 {
            assert_eq!(limiters.take(key, 4, at(0)), Ok(()));
            assert!(limiters.buckets.len() <= MAX_BUCKETS);
        }
    }

    #[test]
    fn full_buckets_are_removed() {
        let mut limiters = Limiters::new(SLOW);
        limiters.take("ann", 4, at(0)).expect("a full bucket");
        limiters.take("bob", 1, at(0)).expect("a full bucket");

        limiters.shrink(at(1000));

        let keys: Vec<_> = limiters.buckets.keys().collect();
        assert_eq!(keys, [&"ann"]);
    }

    #[test]
    fn zero_means_no_limit_and_no_table() {
        let mut limiter = Limiter::new(Rate::UNLIMITED, at(0));
        let mut limiters = Limiters::new(Rate::UNLIMITED);

        assert_eq!(allowed(&mut limiter, Rate::UNLIMITED, 0..1000), 1000);
        assert_eq!(limiters.take("ann", 1000, at(0)), Ok(()));
        assert!(limiters.buckets.is_empty());
    }
}
