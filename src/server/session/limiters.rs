//! A table of token buckets, one per key, of bounded size.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::server::room::Tick;
use crate::server::session::{Limiter, Rate};

/// Maximum number of buckets, each of about 50 bytes besides its key.
const MAX_BUCKETS: usize = 10_000;

/// Token buckets of the same rate, one for each key `K`.
#[derive(Debug)]
pub struct Limiters<K> {
    rate: Rate,
    buckets: HashMap<K, Limiter>,
}

impl<K: Eq + Hash> Limiters<K> {
    /// Creates a table in which all buckets are full.
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: HashMap::new(),
        }
    }

    /// Returns the rate of each bucket.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes `events` tokens from the bucket of `key`, or none if there are fewer.
    ///
    /// # Errors
    /// The time until there are enough tokens. There are never more than the burst.
    pub fn take(&mut self, key: K, events: u32, now: Tick) -> Result<(), Duration> {
        if self.rate.per_second == 0 {
            return Ok(());
        }

        if self.buckets.len() >= MAX_BUCKETS {
            self.shrink(now);
        }

        let rate = self.rate;
        self.buckets
            .entry(key)
            .or_insert_with(|| Limiter::new(rate, now))
            .take(events, rate, now)
    }

    /// Returns the tokens of events that did not happen after all.
    pub fn refund(&mut self, key: &K, events: u32) {
        if let Some(bucket) = self.buckets.get_mut(key) {
            bucket.refund(events, self.rate);
        }
    }

    /// Removes full buckets, which are the same as new ones. If more than half of the table remains, removes all
    /// buckets: that gives each key one burst more, but a client with many keys cannot fill the table.
    fn shrink(&mut self, now: Tick) {
        self.buckets
            .retain(|_, bucket| !bucket.is_full(self.rate, now));
        if self.buckets.len() > MAX_BUCKETS / 2 {
            self.buckets.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        per_second: 2,
        burst: 4,
    };

    fn at(millis: u64) -> Tick {
        Tick::after_start(Duration::from_millis(millis))
    }

    #[test]
    fn each_key_has_its_own_bucket() {
        let mut limiters = Limiters::new(RATE);
        limiters.take("ann", 4, at(0)).expect("a full bucket");

        let ann = limiters.take("ann", 1, at(0));
        let bob = limiters.take("bob", 4, at(0));

        assert_eq!(ann, Err(Duration::from_millis(500)));
        assert_eq!(bob, Ok(()));
    }

    #[test]
    fn refunded_tokens_can_be_taken_again() {
        let mut limiters = Limiters::new(RATE);
        limiters.take("ann", 4, at(0)).expect("a full bucket");

        limiters.refund(&"ann", 1);

        assert_eq!(limiters.take("ann", 1, at(0)), Ok(()));
    }

    #[test]
    fn the_table_has_a_bounded_size() {
        let mut limiters = Limiters::new(RATE);

        for key in 0..50_000 {
            assert_eq!(limiters.take(key, 4, at(0)), Ok(()));
            assert!(limiters.buckets.len() <= MAX_BUCKETS);
        }
    }

    #[test]
    fn full_buckets_are_removed() {
        let mut limiters = Limiters::new(RATE);
        limiters.take("ann", 4, at(0)).expect("a full bucket");
        limiters.take("bob", 1, at(0)).expect("a full bucket");

        limiters.shrink(at(1000));

        let keys: Vec<_> = limiters.buckets.keys().collect();
        assert_eq!(keys, [&"ann"]);
    }

    #[test]
    fn zero_means_no_limit_and_no_table() {
        let mut limiters = Limiters::new(Rate::UNLIMITED);

        assert_eq!(limiters.take("ann", 1000, at(0)), Ok(()));
        assert!(limiters.buckets.is_empty());
    }
}
