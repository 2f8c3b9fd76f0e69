//! How fast each of many may go: a token bucket for each, in a table that stays small.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::server::room::Tick;
use crate::server::session::{Limiter, Rate};

/// Most buckets that are remembered, at about 50 bytes each and what names them.
const MAX_BUCKETS: usize = 10_000;

/// See the [module docs](self). `K` names whose bucket it is.
#[derive(Debug)]
pub struct Limiters<K> {
    rate: Rate,
    buckets: HashMap<K, Limiter>,
}

impl<K: Eq + Hash> Limiters<K> {
    /// Full buckets for everyone.
    pub fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: HashMap::new(),
        }
    }

    /// What each is held to.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes tokens for `events` of `who`: all of them, or none.
    ///
    /// # Errors
    /// How long to wait until there are enough. More than the burst there never are.
    pub fn take(&mut self, who: K, events: u32, now: Tick) -> Result<(), Duration> {
        if self.rate.per_second == 0 {
            return Ok(());
        }
        if self.buckets.len() >= MAX_BUCKETS {
            self.forget(now);
        }
        let rate = self.rate;
        self.buckets
            .entry(who)
            .or_insert_with(|| Limiter::new(rate, now))
            .take(events, rate, now)
    }

    /// Gives tokens back that were taken for what was then not done.
    pub fn give_back(&mut self, who: &K, events: u32) {
        if let Some(bucket) = self.buckets.get_mut(who) {
            bucket.give_back(events, self.rate);
        }
    }

    /// Forgets whose buckets are full again. Where that is not enough everyone is forgotten, which gives each
    /// one burst more, and not the table to whoever has many names.
    fn forget(&mut self, now: Tick) {
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
    fn each_has_a_bucket_of_its_own() {
        let mut limiters = Limiters::new(RATE);
        assert_eq!(limiters.take("ann", 4, at(0)), Ok(()));
        assert_eq!(
            limiters.take("ann", 1, at(0)),
            Err(Duration::from_millis(500))
        );
        assert_eq!(limiters.take("bob", 4, at(0)), Ok(()));
        limiters.give_back(&"bob", 1);
        assert_eq!(limiters.take("bob", 1, at(0)), Ok(()));
    }

    #[test]
    fn the_table_stays_small_whoever_comes() {
        let mut limiters = Limiters::new(RATE);
        for number in 0..50_000 {
            assert_eq!(limiters.take(number, 4, at(0)), Ok(()));
            assert!(limiters.buckets.len() <= MAX_BUCKETS);
        }
        limiters.buckets.insert(50_000, Limiter::new(RATE, at(0)));
        limiters.forget(at(2000));
        assert_eq!(limiters.buckets.len(), 0, "all are full again");
    }

    #[test]
    fn zero_means_no_limit_and_no_table() {
        let mut limiters = Limiters::new(Rate::UNLIMITED);
        assert_eq!(limiters.take("ann", 1000, at(0)), Ok(()));
        assert!(limiters.buckets.is_empty());
    }
}
