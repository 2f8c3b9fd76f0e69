//! Which pages may open a socket: the defence against cross-site WebSocket hijacking (CWE-1385).
//!
//! Browsers always send `Origin` with a WebSocket handshake (RFC 6455 section 10.2) and let no script change
//! it. Whoever sends none is not a browser and is not what this defends against. Origins are compared whole
//! (scheme, host, port: RFC 6454 section 5), never by prefix or suffix.

use std::fmt;

/// A web origin: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A text that is not a web origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginError;

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an origin is http://HOST[:PORT] or https://HOST[:PORT], without a path")
    }
}

impl std::error::Error for OriginError {}

impl Origin {
    /// Reads `scheme://host[:port]`.
    ///
    /// # Errors
    /// Anything else, a path or a user among it.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let (scheme, authority) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            _ => return Err(OriginError),
        };
        let (host, port) = split_authority(authority).ok_or(OriginError)?;
        Ok(Self { scheme, host, port: port.unwrap_or(scheme.default_port()) })
    }

    /// Whether a page of this origin was served under the `Host` header `host`. The scheme is not compared:
    /// a proxy may have ended the TLS before us.
    fn is_served_as(&self, host: &str) -> bool {
        split_authority(host).is_some_and(|(name, port)| {
            name == self.host && port.unwrap_or(self.scheme.default_port()) == self.port
        })
    }
}

/// Host in lower case and port, if one is given.
fn split_authority(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of a bare IPv6 address are not a port's.
        Some((host, port)) if !port.ends_with(']') => {
            let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            (host, Some(port.parse().ok().filter(|_| is_number)?))
        }
        _ => (authority, None),
    };
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let is_name = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_'))
        }
    };
    is_name.then(|| (host.to_ascii_lowercase(), port))
}

/// Which origins may open a socket, besides the page's own host.
#[derive(Clone, Debug, Default)]
pub struct OriginPolicy {
    /// Every origin may.
    pub any: bool,
    /// `Origin: null` may (a file, a sandboxed frame).
    pub null: bool,
    /// These may.
    pub listed: Vec<Origin>,
}

impl OriginPolicy {
    /// Whether a request may pass that has these `Origin` headers (none, one, or suspiciously many) and this
    /// `Host`.
    pub fn allows(&self, origins: &[&str], host: Option<&str>) -> bool {
        match origins {
            [] => true,
            _ if self.any => true,
            ["null"] => self.null,
            [origin] => Origin::parse(origin).is_ok_and(|origin| {
                host.is_some_and(|host| origin.is_served_as(host)) || self.listed.contains(&origin)
            }),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pages_own_host_passes_by_default() {
        let policy = OriginPolicy::default();
        let host = Some("chat.example.org:12345");
        for (origin, passes) in [
            ("http://chat.example.org:12345", true),
            ("https://chat.example.org:12345", true),
            ("HTTP://Chat.Example.ORG:12345", true),
            ("http://chat.example.org", false),
            ("http://chat.example.org:1234", false),
            ("http://chat.example.org:123456", false),
            ("http://chat.example.org:12345.evil.example", false),
            ("http://chat.example.org.evil.example:12345", false),
            ("http://evilchat.example.org:12345", false),
            ("http://example.org:12345", false),
            ("http://chat.example.org.:12345", false),
            ("http://user@chat.example.org:12345", false),
            ("http://chat.example.org:12345/", false),
            ("http://chat.example.org:+12345", false),
            ("ws://chat.example.org:12345", false),
            ("chat.example.org:12345", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(policy.allows(&[origin], host), passes, "{origin}");
        }
        assert!(policy.allows(&[], host), "no browser sends no Origin");
        assert!(!policy.allows(&["http://chat.example.org:12345"], None));
        assert!(!policy.allows(&["http://chat.example.org:12345"; 2], host), "two Origin headers");
    }

    #[test]
    fn a_missing_port_is_the_schemes_own() {
        let policy = OriginPolicy::default();
        for (origin, host, passes) in [
            ("http://a.example", "a.example", true),
            ("http://a.example:80", "a.example", true),
            ("https://a.example", "a.example:443", true),
            ("https://a.example", "a.example:80", false),
            ("http://[::1]:7", "[::1]:7", true),
            ("http://[::1]", "[::1]", true),
            ("http://[::1]:7", "[::2]:7", false),
        ] {
            assert_eq!(policy.allows(&[origin], Some(host)), passes, "{origin} {host}");
        }
    }

    #[test]
    fn named_origins_pass_whole_and_any_passes_all() {
        let listed = vec![Origin::parse("https://shop.example").expect("an origin")];
        let policy = OriginPolicy { listed, ..OriginPolicy::default() };
        let host = Some("127.0.0.1:12345");
        assert!(policy.allows(&["https://shop.example:443"], host));
        assert!(!policy.allows(&["http://shop.example"], host));
        assert!(OriginPolicy { any: true, ..OriginPolicy::default() }.allows(&["https://x.example"], host));
        assert!(OriginPolicy { null: true, ..OriginPolicy::default() }.allows(&["null"], host));
    }
}
