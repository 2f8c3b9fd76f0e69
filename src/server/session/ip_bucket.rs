//! The unit by which clients are limited per address: an IPv4 address, or an IPv6 network.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Length in bits of the network that counts as one address. An IPv6 host commonly has all 2^64 addresses of such
/// a network (RFC 4291 section 2.5.1).
const IPV6_PREFIX_BITS: u32 = 64;

/// One IPv4 address, also if written as IPv6 (`::ffff:10.0.0.1`), or one IPv6 network of size /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpBucket(IpAddr);

impl IpBucket {
    /// Returns the bucket of `address`.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let host_bits = Ipv6Addr::BITS - IPV6_PREFIX_BITS;
                let network = u128::from(address) >> host_bits << host_bits;
                IpAddr::V6(Ipv6Addr::from(network))
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// Writes the address, or the network with its prefix length.
impl fmt::Display for IpBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(network) => write!(f, "{network}/{IPV6_PREFIX_BITS}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(text: &str) -> IpBucket {
        IpBucket::of(text.parse().expect("an address"))
    }

    #[test]
    fn each_ipv4_address_is_a_bucket() {
        assert_eq!(bucket("10.0.0.1"), bucket("::ffff:10.0.0.1"));
        assert_ne!(bucket("10.0.0.1"), bucket("10.0.0.2"));
    }

    #[test]
    fn the_addresses_of_an_ipv6_network_share_a_bucket() {
        assert_eq!(bucket("2001:db8::1"), bucket("2001:db8::ffff:1:2:3"));
        assert_ne!(bucket("2001:db8::1"), bucket("2001:db8:0:1::1"));
    }

    #[test]
    fn a_bucket_is_written_as_an_address_or_a_network() {
        assert_eq!(bucket("10.0.0.1").to_string(), "10.0.0.1");
        assert_eq!(bucket("2001:db8::1").to_string(), "2001:db8::/64");
    }
}
