//! The host and port of a server, as in a `Host` header, an origin or a setting (RFC 3986 section 3.2).
//!
//! A host is an ASCII name (names in other scripts in punycode), an IPv4 address, or an IPv6 address in brackets.
//! Names are compared without regard to case, and addresses as numbers. One final dot, which marks a complete name
//! (RFC 1034 section 3.1), is removed.
//!
//! User information is not supported, as no `Host` header and no origin contains it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The scheme of a web page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    /// Parses `http` or `https` in any case.
    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|known| text.eq_ignore_ascii_case(known.name()))
    }

    /// Splits `url` at `://`. `None` if the scheme is neither http nor https.
    pub(super) fn split(url: &str) -> Option<(Self, &str)> {
        let (scheme, rest) = url.split_once("://")?;
        Some((Self::parse(scheme)?, rest))
    }

    /// Returns the scheme in lower case.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Returns the port of URLs without one.
    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A host with an optional port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    host: HostName,
    port: Option<u16>,
}

/// The host of an [`Authority`].
#[derive(Clone, Debug, PartialEq, Eq)]
enum HostName {
    /// A name in lower case.
    Name(String),
    /// An IPv4 or IPv6 address.
    Address(IpAddr),
}

impl Authority {
    /// Parses `HOST` or `HOST:PORT`. An empty port is the same as none (RFC 3986 section 3.2.3).
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            // A colon inside of an IPv6 address does not begin a port.
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (text, ""),
        };
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());

        Some(Self {
            host: HostName::parse(host)?,
            port: match port {
                "" => None,
                port => Some(port.parse().ok().filter(|_| is_number)?),
            },
        })
    }

    /// Returns true for a loopback address, and for `localhost` and its subdomains, which are not resolved by DNS
    /// (RFC 6761 section 6.3).
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            HostName::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            HostName::Address(address) => address.to_canonical().is_loopback(),
        }
    }

    /// Returns true for an IP address, which needs no DNS.
    pub const fn is_address(&self) -> bool {
        matches!(self.host, HostName::Address(_))
    }

    /// Returns true for an IPv6 address, which a `Content-Security-Policy` cannot contain.
    pub const fn is_ipv6(&self) -> bool {
        matches!(self.host, HostName::Address(IpAddr::V6(_)))
    }

    /// Returns true if `other` has the same host, and the same port if this authority has one. The default port of
    /// `scheme` applies to `other`.
    pub(super) fn covers(&self, other: &Self, scheme: Option<Scheme>) -> bool {
        let default = scheme.map(Scheme::default_port);
        self.host == other.host
            && self
                .port
                .is_none_or(|port| Some(port) == other.port.or(default))
    }

    /// Returns true if both have the same host and port. The default port of `scheme` applies to both.
    pub(super) fn is_same(&self, other: &Self, scheme: Option<Scheme>) -> bool {
        let port = |authority: &Self| authority.port.or(scheme.map(Scheme::default_port));

        self.host == other.host && port(self) == port(other)
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostName::Name(name) => f.write_str(name)?,
            HostName::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            HostName::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl HostName {
    /// Parses a name or an address. IPv6 addresses must be in brackets.
    fn parse(text: &str) -> Option<Self> {
        if let Some(address) = text.strip_prefix('[') {
            let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Address(address.into()));
        }

        let text = text.strip_suffix('.').unwrap_or(text);
        if let Ok(address) = text.parse() {
            return Some(Self::Address(IpAddr::V4(address)));
        }

        let is_name = !text.is_empty()
            && !text.ends_with('.')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
        is_name.then(|| Self::Name(text.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_authority_is_a_host_with_an_optional_port() {
        for (text, expected) in [
            ("Chat.Example.ORG", "chat.example.org"),
            ("xn--bcher-kva.example:8080", "xn--bcher-kva.example:8080"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[0:0::1]:7", "[::1]:7"),
            ("a_b.example.", "a_b.example"),
            ("A.Example.:80", "a.example:80"),
            ("127.0.0.1.", "127.0.0.1"),
            ("localhost:", "localhost"),
            ("a.example.:", "a.example"),
            ("127.0.0.1:", "127.0.0.1"),
            ("[::1]:", "[::1]"),
        ] {
            let authority = Authority::parse(text).expect("an authority");
            assert_eq!(authority.to_string(), expected);
        }
    }

    #[test]
    fn any_other_text_is_refused() {
        for text in [
            "",
            ":80",
            ".",
            ".:80",
            "..",
            "localhost..",
            "[::1].",
            ":",
            "a::",
            "[::1]::",
            "a:+1",
            "a:65536",
            "a:b",
            "a b",
            "a/b",
            "ann@a",
            "a,b",
            "::1",
            "[::1",
            "[::1%lo]",
            "[a]",
            "bücher.example",
            "a\u{200b}b",
            "a:1:2",
        ] {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
    }

    #[test]
    fn loopback_is_localhost_or_a_loopback_address() {
        for (text, is_loopback) in [
            ("localhost", true),
            ("LOCALHOST:1", true),
            ("app.localhost", true),
            ("127.0.0.1", true),
            ("127.9.9.9:80", true),
            ("[::1]:80", true),
            ("[::ffff:127.0.0.1]", true),
            ("localhost.", true),
            ("LocalHost.:12345", true),
            ("app.localhost.", true),
            ("127.0.0.1.:80", true),
            ("localhost.evil.example", false),
            ("evillocalhost", false),
            ("127.0.0.1.evil.example", false),
            ("0.0.0.0", false),
            ("[::]", false),
            ("10.0.0.1", false),
        ] {
            let authority = Authority::parse(text).expect("an authority");

            assert_eq!(authority.is_loopback(), is_loopback, "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_authority_is_written_so_that_it_is_parsed_to_the_same(text in "(\\[[0-9a-f:.]{2,12}\\]|[a-zA-Z0-9.-]{1,12})(:[0-9]{0,6})?") {
            if let Some(authority) = Authority::parse(&text) {
                prop_assert_eq!(Authority::parse(&authority.to_string()), Some(authority));
            }
        }

        #[test]
        fn any_text_is_parsed_or_refused_without_a_panic(text in "(?s).{0,20}") {
            // Only a panic would be a failure.
            let _ = Authority::parse(&text);
        }
    }
}
