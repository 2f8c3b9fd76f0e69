//! Allowed origins: the defence against cross-site WebSocket hijacking (CWE-1385) and request forgery.
//!
//! Browsers send `Origin` with every WebSocket handshake (RFC 6455 section 10.2), with every request that changes
//! state, and with every request whose response a script can read (Fetch section 3.2). No script can change it.
//! Origins are compared by scheme, host and port (RFC 6454 section 5), never by prefix or suffix.
//!
//! Requests of embedded content (`<img>`, `<script>`, `no-cors` fetches) have no `Origin`. For them, `Sec-Fetch-Site`
//! shows that they cross origins, and only links may. Clients that send neither header are not current browsers and
//! are not restricted.

use std::fmt;

use crate::server::auth::authority::{Authority, Scheme};
use crate::server::auth::host::ServedHost;

/// An origin: scheme, host and port.
#[derive(Clone, Debug)]
pub struct Origin {
    scheme: OriginScheme,
    authority: Authority,
}

/// The scheme of an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OriginScheme {
    /// A scheme that the server's own pages may have.
    Web(Scheme),
    /// The scheme of an app or an extension, like `capacitor`, in lower case. It has no default port.
    Other(String),
}

impl OriginScheme {
    /// Parses a scheme (RFC 3986 section 3.1).
    fn parse(text: &str) -> Option<Self> {
        let is_scheme = text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        is_scheme.then(|| {
            Scheme::parse(text).map_or_else(|| Self::Other(text.to_ascii_lowercase()), Self::Web)
        })
    }

    /// Returns the scheme, if the server's own pages may have it.
    const fn web(&self) -> Option<Scheme> {
        match self {
            Self::Web(scheme) => Some(*scheme),
            Self::Other(_) => None,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Web(scheme) => scheme.name(),
            Self::Other(name) => name,
        }
    }
}

impl PartialEq for Origin {
    /// Compares scheme, host and port (RFC 6454 section 5). A missing port is the default of the scheme.
    fn eq(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.authority.is_same(&other.authority, self.scheme.web())
    }
}

impl Eq for Origin {}

/// The error of a text that is not an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an origin is SCHEME://HOST[:PORT], like https://example.org, without a path")]
pub struct OriginError;

impl Origin {
    /// Returns the origin of the server's pages at `authority`.
    pub(super) const fn new(scheme: Scheme, authority: Authority) -> Self {
        Self {
            scheme: OriginScheme::Web(scheme),
            authority,
        }
    }

    /// Parses `scheme://host[:port]` with any scheme (RFC 6454 section 6.1), as apps and extensions have their own.
    ///
    /// # Errors
    /// [`OriginError`] for anything else, such as a URL with a path or a user.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let (scheme, authority) = text.split_once("://").ok_or(OriginError)?;
        Ok(Self {
            scheme: OriginScheme::parse(scheme).ok_or(OriginError)?,
            authority: Authority::parse(authority).ok_or(OriginError)?,
        })
    }

    /// Returns the host and port.
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns true if this is the origin of the server's own pages at the host `own`.
    fn is_served_at(&self, own: &ServedHost) -> bool {
        self.scheme.web().is_some_and(|scheme| {
            own.scheme.is_none_or(|own| own == scheme)
                && self.authority.is_same(&own.authority, Some(scheme))
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.authority)
    }
}

/// The headers of a request that describe its origin, unparsed.
#[derive(Clone, Copy, Debug, Default)]
pub struct OriginHeaders<'a> {
    /// All `Origin` headers. Browsers send at most one.
    pub origins: &'a [&'a str],
    /// `Sec-Fetch-Site`.
    pub site: Option<&'a str>,
    /// `Sec-Fetch-Mode`.
    pub mode: Option<&'a str>,
}

impl OriginHeaders<'_> {
    /// Returns true for a request of content that is embedded in a page of another origin. `same-site` is another
    /// origin of the same domain, such as another port. Following a link is a `navigate`.
    fn is_embedded_elsewhere(&self) -> bool {
        matches!(self.site, Some("cross-site" | "same-site")) && self.mode != Some("navigate")
    }
}

/// The origins that are allowed besides the server's own.
#[derive(Clone, Debug, Default)]
pub struct OriginPolicy {
    /// True if every origin is allowed.
    pub any: bool,
    /// True if `Origin: null` is allowed, which files and sandboxed frames have.
    pub null: bool,
    /// Allowed origins.
    pub listed: Vec<Origin>,
}

impl OriginPolicy {
    /// Returns true if a request with these headers is allowed. `own` is the accepted host of the request, if any.
    pub fn allows(&self, request: &OriginHeaders<'_>, own: Option<&ServedHost>) -> bool {
        match request.origins {
            _ if self.any => true,
            [] => !request.is_embedded_elsewhere(),
            ["null"] => self.null,
            [origin] => Origin::parse(origin).is_ok_and(|origin| {
                own.is_some_and(|own| origin.is_served_at(own)) || self.listed.contains(&origin)
            }),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(host: &str, scheme: Option<Scheme>) -> ServedHost {
        ServedHost {
            authority: Authority::parse(host).expect("a host"),
            scheme,
        }
    }

    /// Returns true if `policy` allows a request to `own` with the header `Origin: origin`.
    fn allows(policy: &OriginPolicy, origin: &str, own: &ServedHost) -> bool {
        let request = OriginHeaders {
            origins: &[origin],
            ..OriginHeaders::default()
        };
        policy.allows(&request, Some(own))
    }

    #[test]
    fn a_missing_port_is_the_default_of_the_scheme() {
        let policy = OriginPolicy::default();

        for (origin, host, is_allowed) in [
            ("http://a.example", "a.example", true),
            ("http://a.example:80", "a.example", true),
            ("https://a.example", "a.example:443", true),
            ("https://a.example", "a.example:80", false),
            ("http://[::1]:7", "[::1]:7", true),
            ("http://[::1]", "[::1]", true),
            ("http://[::1]:7", "[::2]:7", false),
        ] {
            let host = own(host, None);
            assert_eq!(
                allows(&policy, origin, &host),
                is_allowed,
                "{origin} {host:?}"
            );
        }
    }

    #[test]
    fn a_known_scheme_excludes_the_other_one() {
        let policy = OriginPolicy::default();
        let host = own("a.example", Some(Scheme::Https));

        assert!(allows(&policy, "https://a.example", &host));

        // Anybody on the network could serve a page of the http origin.
        assert!(!allows(&policy, "http://a.example", &host));
    }

    #[test]
    fn a_listed_origin_is_allowed_with_its_scheme_and_port_only() {
        let policy = OriginPolicy {
            listed: vec![Origin::parse("https://shop.example").expect("an origin")],
            ..OriginPolicy::default()
        };
        let host = own("127.0.0.1:12345", None);

        assert!(allows(&policy, "https://shop.example:443", &host));
        assert!(!allows(&policy, "http://shop.example", &host));
    }

    #[test]
    fn a_listed_origin_may_have_any_scheme() {
        for origin in [
            "capacitor://localhost",
            "ionic://localhost",
            "app://x",
            "moz-extension://2c127fa4-62c7-7e4f-90e5-472b45eecfdc",
            "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
            "tauri://localhost:1420",
            "com.example.app+1://host",
        ] {
            let policy = OriginPolicy {
                listed: vec![Origin::parse(origin).expect("an origin")],
                ..OriginPolicy::default()
            };
            let host = own("localhost", None);

            assert!(allows(&policy, origin, &host), "{origin}");
            assert!(
                allows(&policy, &origin.to_ascii_uppercase(), &host),
                "{origin}"
            );

            for other in [
                format!("{origin}.evil.example"),
                format!("x{origin}"),
                origin.replace("://", "2://"),
                origin.replace("://", "://x"),
                format!("{origin}/"),
                format!("{origin}:1"),
                format!("{origin}?"),
                "null".to_owned(),
            ] {
                assert!(!allows(&policy, &other, &host), "{other}");
            }
        }
    }

    #[test]
    fn an_origin_has_only_a_scheme_a_host_and_a_port() {
        for text in [
            "",
            "localhost",
            "://localhost",
            "1a://localhost",
            "a b://localhost",
            "file://",
            "capacitor://",
            "capacitor://localhost/",
            "capacitor://ann@localhost",
            "capacitor:localhost",
            "app://a b",
        ] {
            assert_eq!(Origin::parse(text), Err(OriginError), "{text}");
        }
    }
}
