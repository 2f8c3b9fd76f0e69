//! Allowed host names: the defence against DNS rebinding (CWE-350).
//!
//! The owner of `evil.example` can point that name to 127.0.0.1 after its page has loaded. The browser then treats
//! the server there as part of the page's origin, and only the `Host` header shows the name in use. A server that
//! listens on loopback therefore accepts only names that are not resolved by DNS, and those of `--public-host`. A
//! server on another address accepts every name, or, with `--public-host`, only those.

use std::net::IpAddr;

use crate::server::auth::authority::{Authority, Scheme};
use crate::server::auth::origin::Origin;

/// A public name of the server, from `--public-host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicHost {
    /// Scheme of its pages, if it is given.
    scheme: Option<Scheme>,
    authority: Authority,
}

impl PublicHost {
    /// Parses `[http://|https://]HOST[:PORT]`. Without a port, the name is accepted with every port.
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

    /// Returns the origin of its pages, if the scheme is given. It is allowed even if a proxy in front of the server
    /// replaces the browser's `Host` header.
    pub fn origin(&self) -> Option<Origin> {
        self.scheme
            .map(|scheme| Origin::new(scheme, self.authority.clone()))
    }
}

/// The accepted host of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedHost {
    pub(super) authority: Authority,
    /// Scheme of the page, if known. A proxy may terminate TLS, so the connection does not show it.
    pub(super) scheme: Option<Scheme>,
}

impl ServedHost {
    /// Returns the URL of `path` on this host. The scheme is `http` unless `--public-host` names another.
    pub fn url(&self, path: &str) -> String {
        let scheme = match self.scheme {
            Some(Scheme::Https) => "https",
            Some(Scheme::Http) | None => "http",
        };
        format!("{scheme}://{}{path}", self.authority)
    }
}

/// The hosts that a listener accepts.
#[derive(Clone, Debug)]
pub struct HostPolicy {
    allowed: AllowedHosts,
    public: Vec<PublicHost>,
}

/// The hosts that a listener accepts besides its public names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AllowedHosts {
    /// Loopback addresses and `localhost`.
    Loopback,
    /// Any IPv4 or IPv6 address, and `localhost`.
    Addresses,
    /// No other host.
    None,
    /// Every host.
    All,
}

impl HostPolicy {
    /// Returns the policy of the listener at `listen` that serves the page and the API.
    pub fn for_public_listener(listen: IpAddr, public: Vec<PublicHost>) -> Self {
        Self {
            allowed: AllowedHosts::of_listener(listen, &public, AllowedHosts::None),
            public,
        }
    }

    /// Returns the policy of the ops listener at `listen`. Monitoring systems often use its IP address.
    pub fn for_ops_listener(listen: IpAddr, public: Vec<PublicHost>) -> Self {
        Self {
            allowed: AllowedHosts::of_listener(listen, &public, AllowedHosts::Addresses),
            public,
        }
    }

    /// Returns `authority` with its scheme, if it is an accepted host.
    pub fn served_host(&self, authority: Authority) -> Option<ServedHost> {
        let is_allowed = match self.allowed {
            AllowedHosts::All => true,
            AllowedHosts::None => false,
            AllowedHosts::Addresses => authority.is_address() || authority.is_loopback(),
            AllowedHosts::Loopback => authority.is_loopback(),
        };

        let matches = |public: &&PublicHost| public.authority.covers(&authority, public.scheme);
        let mut public = self.public.iter().filter(matches).peekable();
        if !is_allowed && public.peek().is_none() {
            return None;
        }

        // The scheme is unknown if the settings contain both.
        let mut schemes = public.filter_map(|public| public.scheme);
        let scheme = schemes
            .next()
            .filter(|first| schemes.all(|other| other == *first));
        Some(ServedHost { authority, scheme })
    }
}

impl AllowedHosts {
    /// Returns the hosts that a listener at `listen` accepts besides its public names: `otherwise` if it is not on
    /// loopback and has public names.
    fn of_listener(listen: IpAddr, public: &[PublicHost], otherwise: Self) -> Self {
        if listen.to_canonical().is_loopback() {
            Self::Loopback
        } else if public.is_empty() {
            Self::All
        } else {
            otherwise
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type PolicyOf = fn(IpAddr, Vec<PublicHost>) -> HostPolicy;

    fn policy(policy_of: PolicyOf, listen: &str, public: &[&str]) -> HostPolicy {
        let public = public
            .iter()
            .map(|text| PublicHost::parse(text).expect("a host"))
            .collect();
        policy_of(listen.parse().expect("an address"), public)
    }

    fn accepts(policy: &HostPolicy, host: &str) -> bool {
        policy
            .served_host(Authority::parse(host).expect("a host"))
            .is_some()
    }

    #[test]
    fn a_listener_beyond_loopback_accepts_every_host_without_public_hosts() {
        let policy = policy(HostPolicy::for_public_listener, "0.0.0.0", &[]);

        assert!(accepts(&policy, "any.example"));
        assert!(accepts(&policy, "192.168.1.7:12345"));
    }

    #[test]
    fn a_listener_beyond_loopback_accepts_only_its_public_hosts() {
        let policy = policy(HostPolicy::for_public_listener, "::", &["chat.example.org"]);

        for (host, is_accepted) in [
            ("chat.example.org:12345", true),
            ("evil.example", false),
            ("192.168.1.7:12345", false),
            ("localhost:12345", false),
        ] {
            assert_eq!(accepts(&policy, host), is_accepted, "{host}");
        }
    }

    #[test]
    fn the_ops_listener_also_accepts_addresses() {
        let policy = policy(
            HostPolicy::for_ops_listener,
            "0.0.0.0",
            &["chat.example.org"],
        );

        for (host, is_accepted) in [
            ("10.1.2.3:12346", true),
            ("[fd00::7]:12346", true),
            ("localhost:12346", true),
            ("chat.example.org:12346", true),
            ("evil.example:12346", false),
        ] {
            assert_eq!(accepts(&policy, host), is_accepted, "{host}");
        }
    }

    #[test]
    fn the_ops_listener_accepts_every_host_without_public_hosts() {
        let policy = policy(HostPolicy::for_ops_listener, "0.0.0.0", &[]);

        assert!(accepts(&policy, "fanfare:12346"));
    }

    #[test]
    fn a_public_host_may_have_a_scheme() {
        let scheme = |public: &[&str]| {
            policy(HostPolicy::for_public_listener, "127.0.0.1", public)
                .served_host(Authority::parse("a.example").expect("a host"))
                .expect("a public host")
                .scheme
        };

        let one = scheme(&["https://a.example"]);
        let one_of_two = scheme(&["a.example", "HTTP://a.example:80"]);
        let both = scheme(&["https://a.example", "http://a.example"]);

        assert_eq!(one, Some(Scheme::Https));
        assert_eq!(one_of_two, Some(Scheme::Http));
        assert_eq!(both, None);
    }

    #[test]
    fn a_public_host_is_a_host_with_an_optional_scheme_and_port() {
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
