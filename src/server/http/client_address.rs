//! The address of the client of a request, which limits, bans and the log use.

use std::net::IpAddr;

use axum::http::HeaderMap;

use crate::server::auth::Proxies;

/// The header with the addresses of a proxy's clients: no standard, but in common use.
const X_FORWARDED_FOR: &str = "x-forwarded-for";
/// The standard header for the same (RFC 7239).
const FORWARDED: &str = "forwarded";

/// The client's address: that of the peer, or the one that a trusted proxy names. An extension of each request.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientAddress(pub(super) IpAddr);

impl ClientAddress {
    /// Returns the client of a request with `headers` from `peer`.
    pub(super) fn of(proxies: &Proxies, peer: IpAddr, headers: &HeaderMap) -> Self {
        // A value that is not text counts as an address that cannot be parsed.
        let values = |name| {
            let values = headers.get_all(name).iter();
            values
                .map(|value| value.to_str().unwrap_or("unreadable"))
                .collect::<Vec<&str>>()
        };

        Self(proxies.client(peer, &values(X_FORWARDED_FOR), &values(FORWARDED)))
    }
}
