//! Whom a proxy asks for: `X-Forwarded-For`, and `Forwarded` of RFC 7239.
//!
//! # Invariants
//!
//! - Only a trusted proxy is believed, and only what it wrote itself, which is at the right: each writes the
//!   address of whoever asked it behind what it was given. The client is the first from the right that is not a
//!   trusted proxy; whatever is further left may be made up, and is not even looked at.
//! - Whoever is not trusted is the client, whatever its headers say.
//! - What cannot be read (`unknown`, a name for an address, nonsense) ends the search: the client is then the
//!   proxy that wrote it.

use std::net::IpAddr;

use ipnet::IpNet;

/// The header in which proxies say whom they ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For` where there is one, else `Forwarded`. Right for every proxy that writes the first,
    /// which nearly all do. One that writes only the second must drop the first, or a client could bring it.
    #[default]
    Either,
    /// Only `X-Forwarded-For`.
    XForwardedFor,
    /// Only `Forwarded`.
    Forwarded,
}

/// Which proxies are believed. None by default.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// Where they are.
    pub trusted: Vec<IpNet>,
    /// Where they say whom they ask for.
    pub header: ProxyHeader,
}

impl Proxies {
    /// Whether whoever is at `address` is believed.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted
            .iter()
            .any(|network| network.contains(&address))
    }

    /// The address of the client for whom `peer` asks with these headers, each in the order of its lines.
    pub fn client(&self, peer: IpAddr, x_forwarded_for: &[&str], forwarded: &[&str]) -> IpAddr {
        match self.header {
            ProxyHeader::Either if x_forwarded_for.is_empty() => {
                self.search(peer, hops_of_rfc_7239(forwarded))
            }
            ProxyHeader::Forwarded => self.search(peer, hops_of_rfc_7239(forwarded)),
            ProxyHeader::Either | ProxyHeader::XForwardedFor => {
                self.search(peer, hops(x_forwarded_for))
            }
        }
    }

    /// Goes from `peer` to whoever asked it, and so on, as long as it can be believed.
    fn search(&self, peer: IpAddr, mut hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut client = peer.to_canonical();
        while self.trusts(client)
            && let Some(Some(before)) = hops.next()
        {
            client = before;
        }
        client
    }
}

/// The addresses in `X-Forwarded-For`, the last first.
fn hops(lines: &[&str]) -> impl Iterator<Item = Option<IpAddr>> {
    let nodes = lines
        .iter()
        .rev()
        .flat_map(|line| line.rsplit(','))
        .map(str::trim);
    // An empty element of a list counts for nothing (RFC 9110 section 5.6.1).
    nodes.filter(|node| !node.is_empty()).map(address)
}

/// The addresses in `Forwarded`, the last first.
fn hops_of_rfc_7239(lines: &[&str]) -> impl Iterator<Item = Option<IpAddr>> {
    let elements = lines
        .iter()
        .rev()
        .flat_map(|line| FromTheRight::new(line, b','))
        .map(str::trim);
    elements
        .filter(|element| !element.is_empty())
        .map(|element| {
            let (_, node) = FromTheRight::new(element, b';')
                .filter_map(|pair| pair.split_once('='))
                .find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
            let node = node.trim();
            address(
                node.strip_prefix('"')
                    .and_then(|rest| rest.strip_suffix('"'))
                    .unwrap_or(node),
            )
        })
}

/// The address of a node (RFC 7239 section 6), with or without its port. Proxies write IPv6 in
/// `X-Forwarded-For` without brackets too.
fn address(node: &str) -> Option<IpAddr> {
    let (host, port) = match node.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (IpAddr::V6(host.parse().ok()?), port)
        }
        None => match node.parse() {
            Ok(host) => (host, ""),
            Err(_) => {
                let (host, port) = node.split_at(node.find(':')?);
                (IpAddr::V4(host.parse().ok()?), port)
            }
        },
    };
    let is_in_port = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(is_in_port);
    let is_node = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    is_node.then(|| host.to_canonical())
}

/// The parts of a text between separators outside of quotes, the last first.
///
/// From the right, because the left may be a client's: a quote that it never closes must not swallow what the
/// proxy wrote behind it.
struct FromTheRight<'a> {
    rest: Option<&'a str>,
    separator: u8,
}

impl<'a> FromTheRight<'a> {
    const fn new(text: &'a str, separator: u8) -> Self {
        Self {
            rest: Some(text),
            separator,
        }
    }
}

impl<'a> Iterator for FromTheRight<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest?;
        let bytes = text.as_bytes();
        let mut is_quoted = false;
        for (at, byte) in bytes.iter().enumerate().rev() {
            if *byte == b'"' && !is_escaped(&bytes[..at]) {
                is_quoted = !is_quoted;
            } else if *byte == self.separator && !is_quoted {
                self.rest = Some(&text[..at]);
                return Some(&text[at + 1..]);
            }
        }
        self.rest = None;
        Some(text)
    }
}

/// Whether what follows `before` has a backslash in front that means it.
fn is_escaped(before: &[u8]) -> bool {
    before
        .iter()
        .rev()
        .take_while(|byte| **byte == b'\\')
        .count()
        % 2
        == 1
}

#[cfg(test)]
mod tests;
