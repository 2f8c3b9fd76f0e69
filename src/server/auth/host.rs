//! Under which names the server may be asked: the defence against DNS rebinding (CWE-350).
//!
//! A page of `evil.example` may have that name point to 127.0.0.1 a moment after it was loaded. The browser then
//! takes the server there for the page's own, and only the `Host` header still tells who was meant. So a server
//! that listens where only its own machine can reach it answers to names that no name server decides, and to
//! those that `--public-host` names. A server that anybody can reach has nothing to add to that unless it is told
//! its names; then they are the only ones.

use std::net::IpAddr;

use crate::server::auth::authority::{Authority, Scheme};
use crate::server::auth::origin::Origin;

/// A name that the server is reached by: what `--public-host` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicHost {
    /// How its pages are loaded, if it says so.
    scheme: Option<Scheme>,
    authority: Authority,
}

impl PublicHost {
    /// Reads `[http://|https://]HOST[:PORT]`; nothing if it is none. Without a port it is every port's.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = match Scheme::split(text) {
            Some((scheme, authority)) => (Some(scheme), authority),
            None => (None, text),
        };
        Some(Self {
            scheme,
            authority: Authority::parse(authority)?,
        })
    }

    /// The origin of its pages, if it says how they are loaded. It is the server's own even behind a proxy that
    /// puts another `Host` in the place of what the browser sent.
    pub fn origin(&self) -> Option<Origin> {
        self.scheme
            .map(|scheme| Origin::new(scheme, self.authority.clone()))
    }
}

/// The name under which a request asks, which is one of the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedHost {
    pub(super) authority: Authority,
    /// How its pages are loaded, if that is known. A proxy may have ended the TLS before us.
    pub(super) scheme: Option<Scheme>,
}

/// The names that a listener answers to.
#[derive(Clone, Debug)]
pub struct HostPolicy {
    answers_to: AllowedHosts,
    public: Vec<PublicHost>,
}

/// What a listener answers to besides its public names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AllowedHosts {
    Loopback,
    /// Any address of IPv4 or IPv6.
    Addresses,
    Nothing,
    Everything,
}

impl HostPolicy {
    /// For the page and the API at `listen`.
    pub fn of_page(listen: IpAddr, public: Vec<PublicHost>) -> Self {
        Self {
            answers_to: AllowedHosts::beyond_loopback(listen, &public, AllowedHosts::Nothing),
            public,
        }
    }

    /// For the operator's answers at `listen`. What watches a server finds it by address.
    pub fn of_ops(listen: IpAddr, public: Vec<PublicHost>) -> Self {
        Self {
            answers_to: AllowedHosts::beyond_loopback(listen, &public, AllowedHosts::Addresses),
            public,
        }
    }

    /// The server's own name in `authority`, if it is one.
    pub fn served_host(&self, authority: Authority) -> Option<ServedHost> {
        let names = |public: &&PublicHost| public.authority.covers(&authority, public.scheme);
        let is_named = self.public.iter().any(|public| names(&public));
        let is_own = match self.answers_to {
            AllowedHosts::Everything => true,
            AllowedHosts::Nothing => false,
            AllowedHosts::Addresses => authority.is_address() || authority.is_loopback(),
            AllowedHosts::Loopback => authority.is_loopback(),
        };
        let mut schemes = self
            .public
            .iter()
            .filter(names)
            .filter_map(|public| public.scheme);
        // Of two that contradict each other, either may be.
        let scheme = schemes
            .next()
            .filter(|first| schemes.all(|other| other == *first));
        (is_named || is_own).then_some(ServedHost { authority, scheme })
    }
}

impl AllowedHosts {
    fn beyond_loopback(listen: IpAddr, public: &[PublicHost], when_named: Self) -> Self {
        match listen.to_canonical().is_loopback() {
            true => Self::Loopback,
            false if public.is_empty() => Self::Everything,
            false => when_named,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type OfListener = fn(IpAddr, Vec<PublicHost>) -> HostPolicy;

    fn policy(of: OfListener, listen: &str, public: &[&str]) -> HostPolicy {
        let public = public
            .iter()
            .map(|text| PublicHost::parse(text).expect("a host"))
            .collect();
        of(listen.parse().expect("an address"), public)
    }

    fn answers(policy: &HostPolicy, host: &str) -> bool {
        policy
            .served_host(Authority::parse(host).expect("a host"))
            .is_some()
    }

    #[test]
    fn on_loopback_it_answers_to_loopback_and_to_what_is_named() {
        for listen in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            for of in [HostPolicy::of_page as OfListener, HostPolicy::of_ops] {
                let policy = policy(
                    of,
                    listen,
                    &["https://chat.example.org", "lan.example:8080"],
                );
                for (host, is_own) in [
                    ("localhost:12345", true),
                    ("127.0.0.1", true),
                    ("chat.example.org", true),
                    ("chat.example.org:443", true),
                    ("chat.example.org:12345", true),
                    ("lan.example:8080", true),
                    ("lan.example", false),
                    ("evil.example", false),
                    ("chat.example.org.evil.example", false),
                    ("192.168.1.7", false),
                ] {
                    assert_eq!(answers(&policy, host), is_own, "{listen} {host}");
                }
            }
        }
    }

    #[test]
    fn beyond_loopback_it_answers_to_anything_until_it_is_told_its_names() {
        let open = policy(HostPolicy::of_page, "0.0.0.0", &[]);
        assert!(answers(&open, "any.example") && answers(&open, "192.168.1.7:12345"));
        let named = policy(HostPolicy::of_page, "::", &["chat.example.org"]);
        for (host, is_own) in [
            ("chat.example.org:12345", true),
            ("evil.example", false),
            ("192.168.1.7:12345", false),
            ("localhost:12345", false),
        ] {
            assert_eq!(answers(&named, host), is_own, "{host}");
        }
    }

    #[test]
    fn what_watches_a_server_may_ask_by_address() {
        let ops = policy(HostPolicy::of_ops, "0.0.0.0", &["chat.example.org"]);
        assert!(answers(&ops, "10.1.2.3:12346") && answers(&ops, "[fd00::7]:12346"));
        assert!(answers(&ops, "localhost:12346") && answers(&ops, "chat.example.org:12346"));
        assert!(!answers(&ops, "evil.example:12346"));
        assert!(answers(
            &policy(HostPolicy::of_ops, "0.0.0.0", &[]),
            "fanfare:12346"
        ));
    }

    #[test]
    fn a_public_host_may_say_how_its_pages_are_loaded() {
        let scheme = |public: &[&str]| {
            let policy = policy(HostPolicy::of_page, "127.0.0.1", public);
            policy
                .served_host(Authority::parse("a.example").expect("a host"))
                .expect("its own")
                .scheme
        };
        assert_eq!(scheme(&["https://a.example"]), Some(Scheme::Https));
        assert_eq!(
            scheme(&["a.example", "HTTP://a.example:80"]),
            Some(Scheme::Http)
        );
        assert_eq!(scheme(&["https://a.example", "http://a.example"]), None);
        for text in [
            "",
            "ws://a.example",
            "https://",
            "https://a.example/",
            "https://ann@a.example",
            "a b",
            "a:x",
        ] {
            assert_eq!(PublicHost::parse(text), None, "{text}");
        }
    }
}
