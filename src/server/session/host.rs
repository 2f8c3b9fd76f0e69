//! Whom an address stands for: what is limited by address is limited by this.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// An IPv6 host commonly has 2^64 addresses of its own (RFC 4291 section 2.5.1): they count as one.
const IPV6_HOST_BITS: u32 = 64;

/// One IPv4 address, also where it is written as IPv6 (`::ffff:10.0.0.1`), or one IPv6 network of the size /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpBucket(IpAddr);

impl IpBucket {
    /// The host that `address` belongs to.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) >> IPV6_HOST_BITS << IPV6_HOST_BITS;
                IpAddr::V6(Ipv6Addr::from(network))
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// The address, or the network with its size.
impl fmt::Display for IpBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(network) => write!(f, "{network}/{IPV6_HOST_BITS}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_is_a_host_and_all_of_an_ipv6_network_are_one() {
        let host = |text: &str| IpBucket::of(text.parse().expect("an address"));
        assert_eq!(host("10.0.0.1"), host("::ffff:10.0.0.1"));
        assert_ne!(host("10.0.0.1"), host("10.0.0.2"));
        assert_eq!(host("2001:db8::1"), host("2001:db8::ffff:1:2:3"));
        assert_ne!(host("2001:db8::1"), host("2001:db8:0:1::1"));
        assert_eq!(
            (
                host("10.0.0.1").to_string(),
                host("2001:db8::1").to_string()
            ),
            ("10.0.0.1".into(), "2001:db8::/64".into())
        );
    }
}
