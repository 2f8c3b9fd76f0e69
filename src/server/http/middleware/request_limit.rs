//! Limits for each request before it is routed: the size of its head, and its client's share of connections and memory.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use tower::ServiceExt;

use crate::server::auth::{Proxies, ProxyUser};
use crate::server::http::client_address::ClientAddress;
use crate::server::http::connection_table::ConnectionPermit;
use crate::server::http::error::ApiError;
use crate::server::http::middleware::connection_limit::{ConnectionRateLimit, ConnectionRefusal};
use crate::server::http::shares::AddressShare;
use crate::server::http::{answer, headers};
use crate::server::hub;
use crate::server::memory::Memory;
use crate::server::session::IpBucket;
use crate::server::transport::Activity;

/// The longest request target in bytes: several times a room, an id, a position and a token.
pub(in crate::server::http) const MAX_TARGET_BYTES: usize = 8 * 1024;
/// The largest head in bytes: names and values of all headers together.
pub(in crate::server::http) const MAX_HEAD_BYTES: usize = 16 * 1024;
/// The most headers of a request.
pub(in crate::server::http) const MAX_HEADERS: usize = 100;

/// The limits for the requests of one listener.
#[derive(Clone, Debug)]
pub(super) struct RequestLimit {
    pub(super) connections: Arc<ConnectionRateLimit>,
    /// True if requests are answered although the memory budget is exceeded.
    pub(super) is_for_operators: bool,
}

/// The connection of a request.
#[derive(Clone, Debug)]
pub(super) struct RequestConnection {
    pub(super) peer: SocketAddr,
    pub(super) permit: Arc<ConnectionPermit>,
    pub(super) activity: Arc<Activity>,
}

impl RequestLimit {
    /// Passes `request` on to `app` with the address and the share of its client, or refuses it. Counts the memory of the
    /// response.
    pub(super) async fn pass(
        self,
        mut request: Request,
        connection: RequestConnection,
        app: Router,
    ) -> Response {
        let RequestConnection {
            peer,
            permit,
            activity,
        } = connection;

        let proxies = self.connections.proxies();
        let client = ClientAddress::of(proxies, peer.ip(), request.headers());
        let share = match self.admit(&request, peer, client, &permit) {
            Ok(share) => share,
            Err(error) => return refused(error),
        };

        activity.answering();
        let is_read_only = request.method() == Method::GET;

        let user = proxy_user(proxies, peer, request.headers());
        let extensions = request.extensions_mut();
        if let Some(user) = user {
            extensions.insert(user);
        }
        extensions.insert(client);
        extensions.insert(share.clone());
        extensions.insert(permit);
        extensions.insert(activity.clone());

        let Ok(response) = app.oneshot(request).await;

        answer::counted(response, &share, &activity, is_read_only).unwrap_or_else(refused)
    }

    /// Checks the head of `request`, the rate of its client and the memory budget. Returns the client's share.
    fn admit(
        &self,
        request: &Request,
        peer: SocketAddr,
        client: ClientAddress,
        permit: &ConnectionPermit,
    ) -> Result<Arc<AddressShare>, ApiError> {
        check_head(request)?;
        self.connections.check_forwarded(peer.ip(), client.0)?;

        let share = permit
            .assign(IpBucket::of(client.0))
            .map_err(|full| self.connections.error(ConnectionRefusal::Full(full)))?;
        if Memory::of_process().is_exceeded() && !self.is_for_operators {
            return Err(ApiError::Refused(hub::Refusal::MemoryFull));
        }

        Ok(share)
    }
}

/// Returns the user whom a trusted proxy names in `headers`. The headers of other peers are ignored.
fn proxy_user(proxies: &Proxies, peer: SocketAddr, headers: &HeaderMap) -> Option<ProxyUser> {
    let names = proxies.user_headers.as_ref()?;
    if !proxies.trusts(peer.ip()) {
        return None;
    }

    let values = |name: &str| {
        let values = headers.get_all(name).iter();
        values.map(|value| value.as_bytes().to_vec()).collect()
    };
    let user = ProxyUser {
        ids: values(&names.user),
        groups: names.groups.as_deref().map(values).unwrap_or_default(),
    };
    Some(user).filter(|user| !user.ids.is_empty())
}

fn refused(error: ApiError) -> Response {
    headers::complete(error.into_response(), headers::OWN_ONLY)
}

/// Checks the size of the head of `request`. hyper refuses much larger heads itself.
fn check_head(request: &Request) -> Result<(), ApiError> {
    let target_bytes = request
        .uri()
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if target_bytes > MAX_TARGET_BYTES {
        return Err(ApiError::LongTarget {
            limit: MAX_TARGET_BYTES,
        });
    }

    let headers = request.headers();
    if headers.len() > MAX_HEADERS {
        return Err(ApiError::LargeHead {
            what: "headers",
            limit: MAX_HEADERS,
        });
    }

    let header_bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if header_bytes > MAX_HEAD_BYTES {
        return Err(ApiError::LargeHead {
            what: "bytes of headers",
            limit: MAX_HEAD_BYTES,
        });
    }

    Ok(())
}
