//! The client address behind proxies, from `X-Forwarded-For` or `Forwarded` (RFC 7239).
//!
//! Each proxy appends the address of its own peer at the right. The client is the first address from the right that
//! is not a trusted proxy. Entries further left may be forged and are not read.
//!
//! # Invariants
//!
//! - Only headers of trusted proxies count. Any other peer is itself the client.
//! - An entry that is not an address (`unknown`, a name, invalid text) ends the search. The client is then the proxy
//!   that appended it.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::server::auth::UserHeaders;

/// The header in which proxies send the address of the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// `X-Forwarded-For` if present, or else `Forwarded`. Correct for every proxy that appends to `X-Forwarded-For`, as
    /// nearly all do. A proxy that appends only to `Forwarded` must remove `X-Forwarded-For`, which a client may send.
    #[default]
    Either,
    /// Only `X-Forwarded-For`.
    XForwardedFor,
    /// Only `Forwarded`.
    Forwarded,
}

/// The trusted proxies, none by default.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// Networks of trusted proxies.
    pub trusted: Vec<IpNet>,
    /// Header that they use.
    pub header: ProxyHeader,
    /// Headers in which they name the user; `None` if they name none.
    pub user_headers: Option<UserHeaders>,
}

impl Proxies {
    /// Returns true if the peer at `address` is a trusted proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted
            .iter()
            .any(|network| network.contains(&address))
    }

    /// Returns the client address of a request from `peer` with the given lines of each header.
    pub fn client(&self, peer: IpAddr, x_forwarded_for: &[&str], forwarded: &[&str]) -> IpAddr {
        match self.header {
            ProxyHeader::Either if x_forwarded_for.is_empty() => {
                self.search(peer, forwarded_addresses(forwarded))
            }
            ProxyHeader::Forwarded => self.search(peer, forwarded_addresses(forwarded)),
            ProxyHeader::Either | ProxyHeader::XForwardedFor => {
                self.search(peer, x_forwarded_for_addresses(x_forwarded_for))
            }
        }
    }

    /// Returns the first address that is not a trusted proxy, starting with `peer` and continuing with `addresses`. The
    /// search ends at an entry without an address.
    fn search(&self, peer: IpAddr, mut addresses: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut client = peer.to_canonical();

        while self.trusts(client)
            && let Some(Some(address)) = addresses.next()
        {
            client = address;
        }

        client
    }
}

/// Returns the addresses in `X-Forwarded-For` from right to left; `None` for an entry that is not an address.
fn x_forwarded_for_addresses(lines: &[&str]) -> impl Iterator<Item = Option<IpAddr>> {
    lines
        .iter()
        .rev()
        .flat_map(|line| line.rsplit(','))
        .map(str::trim)
        // Empty elements of a list are ignored (RFC 9110 section 5.6.1).
        .filter(|entry| !entry.is_empty())
        .map(parse_address)
}

/// Returns the addresses in `Forwarded` from right to left; `None` for an element without an address.
fn forwarded_addresses(lines: &[&str]) -> impl Iterator<Item = Option<IpAddr>> {
    lines
        .iter()
        .rev()
        .flat_map(|line| RightToLeft::new(line, b','))
        .map(str::trim)
        .filter(|element| !element.is_empty())
        .map(|element| {
            let (_, value) = RightToLeft::new(element, b';')
                .filter_map(|pair| pair.split_once('='))
                .find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;

            let value = value.trim();
            let unquoted = value
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'))
                .unwrap_or(value);
            parse_address(unquoted)
        })
}

/// Parses the address of a node (RFC 7239 section 6), with or without a port. In `X-Forwarded-For`, proxies also write
/// IPv6 addresses without brackets.
fn parse_address(node: &str) -> Option<IpAddr> {
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

    let is_port_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(is_port_byte);

    let is_valid = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    is_valid.then(|| host.to_canonical())
}

/// An iterator over the parts of a text between separators outside of quotes, from right to left.
///
/// A client may have sent the left part. Reading from the right keeps an unclosed quote there from hiding what the
/// proxy has appended.
struct RightToLeft<'a> {
    rest: Option<&'a str>,
    separator: u8,
}

impl<'a> RightToLeft<'a> {
    const fn new(text: &'a str, separator: u8) -> Self {
        Self {
            rest: Some(text),
            separator,
        }
    }
}

impl<'a> Iterator for RightToLeft<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest?;
        let bytes = text.as_bytes();

        let mut is_quoted = false;
        for (index, byte) in bytes.iter().enumerate().rev() {
            if *byte == b'"' && !is_escaped(&bytes[..index]) {
                is_quoted = !is_quoted;
            } else if *byte == self.separator && !is_quoted {
                self.rest = Some(&text[..index]);
                return Some(&text[index + 1..]);
            }
        }

        self.rest = None;
        Some(text)
    }
}

/// Returns true if the byte after `before` is escaped by a backslash.
fn is_escaped(before: &[u8]) -> bool {
    let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\');
    backslashes.count() % 2 == 1
}

#[cfg(test)]
mod tests;
