//! How fast one address may open connections: a token bucket for each, in a table with a bound.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::server::room::Moment;
use crate::server::session::{Limiter, Rate};

/// Most buckets kept; a full table takes some 3 MiB.
const MAX_BUCKETS: usize = 65_536;
/// No use looking for buckets to forget before there are so many.
const MIN_BUCKETS: usize = 1024;

/// See the [module docs](self).
///
/// A bucket that has filled up again is like none, so such buckets are forgotten when the table has doubled. An
/// attacker with more addresses than the table has places is not slowed down by this; `--max-connections` is
/// what stops it.
#[derive(Debug)]
pub struct ConnectLimiter {
    rate: Rate,
    buckets: HashMap<Network, Limiter>,
    /// How many buckets there may be before those that are full are forgotten.
    forget_at: usize,
}

/// What counts as one address: an IPv4 address, or the 64 bits of an IPv6 address that name the network; the
/// other 64 its owner chooses at will (RFC 4291 section 2.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4([u8; 4]),
    V6([u8; 8]),
}

impl Network {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl ConnectLimiter {
    /// Holds every address to `rate`.
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: HashMap::new(), forget_at: MIN_BUCKETS }
    }

    /// Counts a new connection from `address`; `false` means that it comes too fast.
    pub fn allows(&mut self, address: IpAddr, now: Moment) -> bool {
        if self.rate.per_second == 0 {
            return true;
        }
        if self.buckets.len() >= self.forget_at {
            self.forget(now);
        }
        let new = || Limiter::new(self.rate, now);
        self.buckets.entry(Network::of(address)).or_insert_with(new).allows(self.rate, now)
    }

    fn forget(&mut self, now: Moment) {
        self.buckets.retain(|_, bucket| !bucket.is_full(self.rate, now));
        if self.buckets.len() > MAX_BUCKETS / 2 {
            // All busy: everyone begins anew, rather than that this goes through the whole table each time.
            self.buckets.clear();
        }
        self.forget_at = (self.buckets.len() * 2).max(MIN_BUCKETS);
        self.buckets.shrink_to(self.forget_at);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn at(millis: u64) -> Moment {
        Moment::after_start(Duration::from_millis(millis))
    }

    #[test]
    fn each_address_has_a_burst_and_a_rate_of_its_own() {
        let mut limiter = ConnectLimiter::new(RATE);
        let mut allowed =
            |from: &str, millis| (0..10).filter(|_| limiter.allows(address(from), at(millis))).count();
        assert_eq!((allowed("10.0.0.1", 0), allowed("10.0.0.2", 0)), (3, 3));
        assert_eq!((allowed("10.0.0.1", 100), allowed("::ffff:10.0.0.1", 200)), (1, 1));
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let mut limiter = ConnectLimiter::new(RATE);
        let allowed = |limiter: &mut ConnectLimiter, from: &str| limiter.allows(address(from), at(0));
        for host in 1..=3 {
            assert!(allowed(&mut limiter, &format!("2001:db8:0:1::{host}")));
        }
        assert!(!allowed(&mut limiter, "2001:db8:0:1:ffff::4"));
        assert!(allowed(&mut limiter, "2001:db8:0:2::4"));
    }

    #[test]
    fn zero_means_no_limit_and_no_table() {
        let mut limiter = ConnectLimiter::new(Rate::UNLIMITED);
        assert!((0..1000).all(|_| limiter.allows(address("10.0.0.1"), at(0))));
        assert!(limiter.buckets.is_empty());
    }

    #[test]
    fn the_table_forgets_those_that_have_paused_and_is_bounded_when_nobody_pauses() {
        let mut limiter = ConnectLimiter::new(RATE);
        for number in 0..10 * MAX_BUCKETS as u32 {
            limiter.allows(IpAddr::V4(number.into()), at(0));
            assert!(limiter.buckets.len() <= MAX_BUCKETS);
        }
        for number in 0..2 * MAX_BUCKETS as u32 {
            limiter.allows(IpAddr::V4(number.into()), at(u64::from(number)));
        }
        assert!(limiter.buckets.len() <= 2 * MIN_BUCKETS, "{}", limiter.buckets.len());
    }
}
