//! Under which name and port a server is reached: what stands in a `Host` header, in an origin, in a setting.
//!
//! The host and port of RFC 3986 section 3.2, as browsers send them: a name in ASCII (of another script, in
//! punycode), an IPv4 address or an IPv6 address in brackets. Compared by what they mean: names without regard
//! to case, addresses as numbers. One final dot is dropped: it says that a name is complete (RFC 1034 section 3.1), as
//! every name here is.
//!
//! Absent: user information, which no `Host` and no origin has.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// How the web is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// In TLS.
    Https,
}

impl Scheme {
    /// Reads `http` or `https`, in any case.
    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|known| text.eq_ignore_ascii_case(known.name()))
    }

    /// Splits `url` at its `://`, if an http scheme stands before it.
    pub(super) fn split(url: &str) -> Option<(Self, &str)> {
        let (scheme, rest) = url.split_once("://")?;
        Some((Self::parse(scheme)?, rest))
    }

    /// As an address begins.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A host and perhaps a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    host: HostName,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostName {
    /// In lower case.
    Name(String),
    Address(IpAddr),
}

impl Authority {
    /// Reads `HOST` or `HOST:PORT`; nothing if it is neither. An empty port is the same as none (RFC 3986 section 3.2.3).
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            // The colons of an IPv6 address are not a port's.
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

    /// Whether only this machine can mean itself by it: a loopback address, or `localhost` and what ends so, which
    /// no name server decides (RFC 6761 section 6.3).
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            HostName::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            HostName::Address(address) => address.to_canonical().is_loopback(),
        }
    }

    /// Whether it is an address and not a name, so that no name server has a say in it.
    pub const fn is_address(&self) -> bool {
        matches!(self.host, HostName::Address(_))
    }

    /// Whether it has an address of IPv6, which a `Content-Security-Policy` has no way to write.
    pub const fn is_ipv6(&self) -> bool {
        matches!(self.host, HostName::Address(IpAddr::V6(_)))
    }

    /// Whether `other` has the same host, and the same port if this one says which.
    pub(super) fn covers(&self, other: &Self, scheme: Option<Scheme>) -> bool {
        let default = scheme.map(Scheme::default_port);
        self.host == other.host
            && self
                .port
                .is_none_or(|port| Some(port) == other.port.or(default))
    }

    /// Reports whether both have the same host and the same port, where a missing port is that of `scheme`, if it has
    /// one.
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
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for (text, shown) in [
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
            assert_eq!(
                Authority::parse(text).map(|authority| authority.to_string()),
                Some(shown.to_owned())
            );
        }
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
    fn loopback_is_what_no_name_server_decides() {
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
            assert_eq!(
                Authority::parse(text).map(|host| host.is_loopback()),
                Some(is_loopback),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_means_the_same(text in "(\\[[0-9a-f:.]{2,12}\\]|[a-zA-Z0-9.-]{1,12})(:[0-9]{0,6})?") {
            if let Some(authority) = Authority::parse(&text) {
                prop_assert_eq!(Authority::parse(&authority.to_string()), Some(authority));
            }
        }

        #[test]
        fn no_text_upsets_the_reader(text in "(?s).{0,20}") {
            let _read = Authority::parse(&text);
        }
    }
}
