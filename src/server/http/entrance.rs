//! What every request passes before it is routed: the bounds of its head, and whose it is.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use tower::ServiceExt;

use crate::server::http::accept::Place;
use crate::server::http::client::Client;
use crate::server::http::door::Door;
use crate::server::http::error::ApiError;
use crate::server::http::headers;

/// Longest target of a request, in bytes: a room, an id, a position and a token fit several times.
pub(super) const MAX_TARGET_BYTES: usize = 8 * 1024;
/// Largest head, in bytes: names and values of all headers together.
pub(super) const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Most headers.
pub(super) const MAX_HEADERS: usize = 100;

/// The entrance for the requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Entrance {
    pub(super) door: Arc<Door>,
    pub(super) router: Router,
    /// The other end of the connection.
    pub(super) peer: SocketAddr,
    pub(super) place: Place,
}

impl Entrance {
    /// Answers `request`, or says what is wrong with its head.
    pub(super) async fn answer(self, request: Request<Incoming>) -> Response {
        let Self {
            door,
            router,
            peer,
            place,
        } = self;
        let client = Client::of(door.proxies(), peer.ip(), request.headers());
        // Not before: whom a proxy asks for is in the head.
        let may_pass = check_head(&request).and_then(|()| door.let_through(peer.ip(), client.0));
        if let Err(error) = may_pass {
            return headers::complete(error.into_response(), headers::OWN_ONLY);
        }
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(client);
        request.extensions_mut().insert(place);
        match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
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
