//! Which pages may ask: the defence against cross-site WebSocket hijacking (CWE-1385) and request forgery.
//!
//! Browsers always send `Origin` with a WebSocket handshake (RFC 6455 section 10.2) and with every request that
//! changes something or lets a script read the answer (Fetch section 3.2), and no script can change it. Origins
//! are compared whole (scheme, host, port: RFC 6454 section 5), never by prefix or suffix.
//!
//! What a page embeds (`<img>`, `<script>`, a fetch that may not read) comes without it, but says by
//! `Sec-Fetch-Site` that it crosses from one origin to another. That is the second lock; only links may cross.
//! Whoever sends neither is no browser of today and not what this defends against.

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
    /// Reads a scheme (RFC 3986 section 3.1).
    fn parse(text: &str) -> Option<Self> {
        let is_scheme = text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
        is_scheme.then(|| {
            Scheme::parse(text).map_or_else(|| Self::Other(text.to_ascii_lowercase()), Self::Web)
        })
    }

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
    /// Compares scheme, host and port (RFC 6454 section 5). A missing port is the scheme's own.
    fn eq(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.authority.is_same(&other.authority, self.scheme.web())
    }
}

impl Eq for Origin {}

/// A text that is not a web origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginError;

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an origin is SCHEME://HOST[:PORT], like https://example.org, without a path")
    }
}

impl std::error::Error for OriginError {}

impl Origin {
    pub(super) const fn new(scheme: Scheme, authority: Authority) -> Self {
        Self {
            scheme: OriginScheme::Web(scheme),
            authority,
        }
    }

    /// Reads `scheme://host[:port]`, of any scheme (RFC 6454 section 6.1): pages of apps and extensions have their own.
    ///
    /// # Errors
    /// Returns an error for anything else, like a URL with a path or a user.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let (scheme, authority) = text.split_once("://").ok_or(OriginError)?;
        Ok(Self {
            scheme: OriginScheme::parse(scheme).ok_or(OriginError)?,
            authority: Authority::parse(authority).ok_or(OriginError)?,
        })
    }

    /// Its host and port.
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Reports whether it is the origin of the server's own pages where these were requested from `own`.
    fn is_own(&self, own: &ServedHost) -> bool {
        self.scheme.web().is_some_and(|scheme| {
            own.scheme.is_none_or(|known| known == scheme)
                && self.authority.is_same(&own.authority, Some(scheme))
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.name(), self.authority)
    }
}

/// What a request says of the page that it comes from: its headers as they came.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestOrigin<'a> {
    /// Each `Origin`: none, one, or suspiciously many.
    pub origins: &'a [&'a str],
    /// `Sec-Fetch-Site`.
    pub site: Option<&'a str>,
    /// `Sec-Fetch-Mode`.
    pub mode: Option<&'a str>,
}

impl RequestOrigin<'_> {
    /// Whether it is part of a page of another origin. (`same-site` is another origin of the same domain, as the
    /// next port of one machine; a link that someone follows is a `navigate`.)
    fn is_embedded_elsewhere(&self) -> bool {
        matches!(self.site, Some("cross-site" | "same-site")) && self.mode != Some("navigate")
    }
}

/// Which origins may ask, besides the server's own.
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
    /// Whether a request may pass that says `whence` it comes, and asks for `own` if it says for whom.
    pub fn allows(&self, whence: &RequestOrigin<'_>, own: Option<&ServedHost>) -> bool {
        match whence.origins {
            _ if self.any => true,
            [] => !whence.is_embedded_elsewhere(),
            ["null"] => self.null,
            [origin] => Origin::parse(origin).is_ok_and(|origin| {
                own.is_some_and(|own| origin.is_own(own)) || self.listed.contains(&origin)
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

    fn allows(policy: &OriginPolicy, origin: &str, own: &ServedHost) -> bool {
        policy.allows(
            &RequestOrigin {
                origins: &[origin],
                ..RequestOrigin::default()
            },
            Some(own),
        )
    }

    #[test]
    fn only_the_servers_own_pages_pass_by_default() {
        let policy = OriginPolicy::default();
        let host = own("chat.example.org:12345", None);
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
            ("http://chat.example.org.:12345", true),
            ("http://chat.example.org..:12345", false),
            ("http://user@chat.example.org:12345", false),
            ("http://chat.example.org:12345/", false),
            ("http://chat.example.org:+12345", false),
            ("ws://chat.example.org:12345", false),
            ("capacitor://chat.example.org:12345", false),
            ("chat.example.org:12345", false),
            ("http://xn--chat-example.org:12345", false),
            ("http://chat.example.org:12345 http://evil.example", false),
            ("http://chat.example.org:12345\u{0}", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(allows(&policy, origin, &host), passes, "{origin}");
        }
        let whence = |origins| RequestOrigin {
            origins,
            ..RequestOrigin::default()
        };
        assert!(
            policy.allows(&whence(&[]), Some(&host)),
            "no browser sends no Origin"
        );
        assert!(!policy.allows(&whence(&["http://chat.example.org:12345"]), None));
        assert!(
            !policy.allows(&whence(&["http://chat.example.org:12345"; 2]), Some(&host)),
            "two Origin headers"
        );
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
            assert_eq!(
                allows(&policy, origin, &own(host, None)),
                passes,
                "{origin} {host}"
            );
        }
    }

    #[test]
    fn where_the_scheme_is_known_the_other_one_does_not_pass() {
        let host = own("a.example", Some(Scheme::Https));
        assert!(allows(&OriginPolicy::default(), "https://a.example", &host));
        assert!(
            !allows(&OriginPolicy::default(), "http://a.example", &host),
            "what reads the network could be it"
        );
    }

    #[test]
    fn named_origins_pass_whole_and_any_passes_all() {
        let listed = vec![Origin::parse("https://shop.example").expect("an origin")];
        let policy = OriginPolicy {
            listed,
            ..OriginPolicy::default()
        };
        let host = own("127.0.0.1:12345", None);
        assert!(allows(&policy, "https://shop.example:443", &host));
        assert!(!allows(&policy, "http://shop.example", &host));
        assert!(allows(
            &OriginPolicy {
                any: true,
                ..OriginPolicy::default()
            },
            "https://x.example",
            &host
        ));
        assert!(allows(
            &OriginPolicy {
                null: true,
                ..OriginPolicy::default()
            },
            "null",
            &host
        ));
    }

    #[test]
    fn a_named_origin_may_have_any_scheme_and_passes_whole() {
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
    fn an_origin_has_a_scheme_and_a_host_and_nothing_behind() {
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

    #[test]
    fn without_an_origin_nothing_may_cross_but_a_link() {
        let policy = OriginPolicy::default();
        for (site, mode, passes) in [
            (None, None, true),
            (Some("same-origin"), Some("no-cors"), true),
            (Some("none"), Some("navigate"), true),
            (Some("cross-site"), Some("navigate"), true),
            (Some("cross-site"), Some("no-cors"), false),
            (Some("same-site"), Some("no-cors"), false),
            (Some("cross-site"), None, false),
        ] {
            let whence = RequestOrigin {
                origins: &[],
                site,
                mode,
            };
            assert_eq!(policy.allows(&whence, None), passes, "{site:?} {mode:?}");
        }
        let any = OriginPolicy {
            any: true,
            ..OriginPolicy::default()
        };
        assert!(any.allows(
            &RequestOrigin {
                site: Some("cross-site"),
                ..RequestOrigin::default()
            },
            None
        ));
    }
}
