//! Who asks, as far as addresses tell. Everything that is by address, and every line of the log, goes by this.

use std::net::IpAddr;

use axum::http::HeaderMap;

use crate::server::auth::Proxies;

/// Where proxies say whom they ask for (no standard, but everywhere).
const X_FORWARDED_FOR: &str = "x-forwarded-for";
/// The same, as RFC 7239 has it.
const FORWARDED: &str = "forwarded";

/// The address of the client: the other end of the connection, or whom a trusted proxy there asks for. Each
/// request carries it as an extension.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientAddress(pub(super) IpAddr);

impl ClientAddress {
    /// The client of a request with `headers` that came from `peer`.
    pub(super) fn of(proxies: &Proxies, peer: IpAddr, headers: &HeaderMap) -> Self {
        // A line that is not even text is one that cannot be read.
        let lines = |name| {
            let lines = headers.get_all(name).iter();
            lines
                .map(|line| line.to_str().unwrap_or("unreadable"))
                .collect::<Vec<&str>>()
        };
        Self(proxies.client(peer, &lines(X_FORWARDED_FOR), &lines(FORWARDED)))
    }
}
