//! What every request passes before it is routed: the bounds of its head, and whose it is.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use tower::ServiceExt;

use crate::server::http::answer;
use crate::server::http::client::ClientAddress;
use crate::server::http::connection_table::ConnectionPermit;
use crate::server::http::door::{ConnectionRateLimit, Refusal};
use crate::server::http::error::ApiError;
use crate::server::http::headers;
use crate::server::http::shares::AddressShare;
use crate::server::hub;
use crate::server::memory::Memory;
use crate::server::session::IpBucket;
use crate::server::transport::Activity;

/// Longest target of a request, in bytes: a room, an id, a position and a token fit several times.
pub(super) const MAX_TARGET_BYTES: usize = 8 * 1024;
/// Largest head, in bytes: names and values of all headers together.
pub(super) const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Most headers.
pub(super) const MAX_HEADERS: usize = 100;

/// The entrance for the requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct RequestLimit {
    pub(super) door: Arc<ConnectionRateLimit>,
    pub(super) router: Router,
    /// The other end of the connection.
    pub(super) peer: SocketAddr,
    pub(super) permit: Arc<ConnectionPermit>,
    pub(super) activity: Arc<Activity>,
    /// Requests are answered although the memory budget is exceeded.
    pub(super) is_for_operators: bool,
}

impl RequestLimit {
    /// Answers `request`, or says what is wrong with its head.
    pub(super) async fn answer(self, request: Request<Incoming>) -> Response {
        let client = ClientAddress::of(self.door.proxies(), self.peer.ip(), request.headers());
        let share = match self.admit(&request, client) {
            Ok(share) => share,
            Err(error) => return refused(error),
        };

        self.activity.answering();
        let changes_nothing = request.method() == Method::GET;
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(client);
        request.extensions_mut().insert(share.clone());
        request.extensions_mut().insert(self.activity.clone());
        request.extensions_mut().insert(self.permit);
        let response = match self.router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };

        answer::counted(response, &share, &self.activity, changes_nothing).unwrap_or_else(refused)
    }

    /// Checks the head of `request` and what its client may take up. Returns the client's share.
    fn admit(
        &self,
        request: &Request<Incoming>,
        client: ClientAddress,
    ) -> Result<Arc<AddressShare>, ApiError> {
        check_head(request)?;
        // Not before: the head names whom a proxy asks for.
        self.door.let_through(self.peer.ip(), client.0)?;
        let share = self
            .permit
            .assign(IpBucket::of(client.0))
            .map_err(|full| self.door.error(Refusal::Full(full)))?;
        if Memory::of_process().is_exceeded() && !self.is_for_operators {
            return Err(ApiError::Refused(hub::Refusal::MemoryFull));
        }
        Ok(share)
    }
}

fn refused(error: ApiError) -> Response {
    headers::complete(error.into_response(), headers::OWN_ONLY)
}

/// Whether the head of `request` keeps within the bounds. One that is larger by far was refused without a word
/// when it was read.
fn check_head(request: &Request<Incoming>) -> Result<(), ApiError> {
    let headers = request.headers();
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let bytes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum::<usize>();
    if target > MAX_TARGET_BYTES {
        return Err(ApiError::LongTarget {
            limit: MAX_TARGET_BYTES,
        });
    }
    if headers.len() > MAX_HEADERS {
        return Err(ApiError::LargeHead {
            what: "headers",
            limit: MAX_HEADERS,
        });
    }
    if bytes > MAX_HEAD_BYTES {
        return Err(ApiError::LargeHead {
            what: "bytes of headers",
            limit: MAX_HEAD_BYTES,
        });
    }
    Ok(())
}
