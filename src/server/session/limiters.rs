//! How fast each address may speak: a token bucket for each, in a table that stays small.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::server::room::Moment;
use crate::server::session::{Limiter, Rate};

/// Most addresses that are remembered, at about 50 bytes each.
const MAX_ADDRESSES: usize = 10_000;
/// An IPv6 host commonly has 2^64 addresses of its own: they count as one.
const IPV6_HOST_BITS: u32 = 64;

/// See the [module docs](self).
#[derive(Debug)]
pub struct Limiters {
    rate: Rate,
    buckets: HashMap<IpAddr, Limiter>,
}

impl Limiters {
    /// Full buckets for everyone.
    pub fn new(rate: Rate) -> Self {
        Self { rate, buckets: HashMap::new() }
    }

    /// What each address is held to.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes tokens for `events` of `address`: all of them, or none.
    ///
    /// # Errors
    /// How long to wait until there are enough. More than the burst there never are.
    pub fn take(&mut self, address: IpAddr, events: u32, now: Moment) -> Result<(), Duration> {
        if self.rate.per_second == 0 {
            return Ok(());
        }
        if self.buckets.len() >= MAX_ADDRESSES {
            self.forget(now);
        }
        let rate = self.rate;
        self.buckets.entry(host(address)).or_insert_with(|| Limiter::new(rate, now)).take(events, rate, now)
    }

    /// Forgets whose buckets are full again. Where that is not enough everyone is forgotten, which gives each
    /// one burst more, and not the table to whoever has many addresses.
    fn forget(&mut self, now: Moment) {
        self.buckets.retain(|_, bucket| !bucket.is_full(self.rate, now));
        if self.buckets.len() > MAX_ADDRESSES / 2 {
            self.buckets.clear();
        }
    }
}

/// The address that stands for all of the same host.
pub fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> IPV6_HOST_BITS << IPV6_HOST_BITS;
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const RATE: Rate = Rate { per_second: 2, burst: 4 };

    fn at(millis: u64) -> Moment {
        Moment::after_start(Duration::from_millis(millis))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn each_address_has_a_bucket_of_its_own_and_all_of_an_ipv6_host_share_one() {
        let mut limiters = Limiters::new(RATE);
        assert_eq!(limiters.take(address("10.0.0.1"), 4, at(0)), Ok(()));
        assert_eq!(limiters.take(address("::ffff:10.0.0.1"), 1, at(0)), Err(Duration::from_millis(500)));
        assert_eq!(limiters.take(address("10.0.0.2"), 4, at(0)), Ok(()));
        assert_eq!(limiters.take(address("2001:db8::1"), 4, at(0)), Ok(()));
        assert_eq!(limiters.take(address("2001:db8::2"), 1, at(0)), Err(Duration::from_millis(500)));
        assert_eq!(limiters.take(address("2001:db8:0:1::1"), 4, at(0)), Ok(()));
    }

    #[test]
    fn the_table_stays_small_whoever_comes() {
        let mut limiters = Limiters::new(RATE);
        let patient = address("192.0.2.1");
        for number in 0..50_000u32 {
            let from = IpAddr::V4(Ipv4Addr::from(0x0A00_0000 + number));
            assert_eq!(limiters.take(from, 4, at(0)), Ok(()));
            assert!(limiters.buckets.len() <= MAX_ADDRESSES);
        }
        limiters.buckets.insert(patient, Limiter::new(RATE, at(0)));
        limiters.forget(at(2000));
        assert_eq!(limiters.buckets.len(), 0, "all are full again");
    }

    #[test]
    fn zero_means_no_limit_and_no_table() {
        let mut limiters = Limiters::new(Rate::UNLIMITED);
        assert_eq!(limiters.take(address("10.0.0.1"), 1000, at(0)), Ok(()));
        assert!(limiters.buckets.is_empty());
    }
}
