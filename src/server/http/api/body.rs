//! The extractor of request bodies, which are read whole within limits of size, time and memory.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::BytesMut;
use futures::StreamExt;

use crate::server::http::AppState;
use crate::server::http::error::ApiError;
use crate::server::http::shares::AddressShare;
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::run_clock::RunClock;
use crate::server::transport::{Activity, message_timeout};

/// The most bytes of a body that is too long that are read, so that a client that reads the response only after it has sent
/// everything gets the error. The connection breaks for longer bodies.
const MAX_DISCARDED_BYTES: usize = 16 * 1024 * 1024;

/// The unread body of a request. Handlers read it after they have checked the head.
#[derive(Debug)]
pub(in crate::server::http) struct RequestBody {
    body: Body,
    headers: HeaderMap,
    /// The share of the client's address, an extension set by the request limit.
    share: Option<Arc<AddressShare>>,
    /// The activity of the connection, an extension set by the listener.
    activity: Option<Arc<Activity>>,
    clock: RunClock,
}

impl RequestBody {
    /// Returns the body of a request with the head `parts`.
    pub(in crate::server::http) fn new(parts: Parts, body: Body, state: &AppState) -> Self {
        Self {
            body,
            share: parts.extensions.get().cloned(),
            activity: parts.extensions.get().cloned(),
            headers: parts.headers,
            clock: state.hub.clock().clone(),
        }
    }

    /// Returns the headers of the request.
    pub(in crate::server::http) const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Reads the body and parses it with `parse`. Before the first byte it waits until the whole body fits beside the others
    /// of the same address, so that no two bodies wait for each other.
    ///
    /// # Errors
    /// Returns an error if the body is longer than `limit`, arrives too slowly or ends early, or if it did not fit in time.
    pub(in crate::server::http) async fn read<T>(
        self,
        limit: usize,
        parse: impl FnOnce(&[u8]) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let Self {
            body,
            headers,
            share,
            activity,
            clock,
        } = self;

        let size = body.size_hint();
        if size.lower() > limit as u64 {
            // Such a client waits for permission to send the body (RFC 9110 section 10.1.1).
            if !headers.contains_key(header::EXPECT) {
                let discarding = discard(body.into_data_stream());
                // The error is the same if the client does not send everything in time.
                let _ = clock.timeout(message_timeout(limit), discarding).await;
            }
            return Err(too_big(limit));
        }

        let expected = size.upper().map_or(limit, |upper| upper as usize);
        let permit = async {
            match &share {
                Some(share) => share.body(expected.min(limit)).await,
                None => None,
            }
        };
        let _permit = clock
            .timeout(message_timeout(limit), permit)
            .await
            .ok_or_else(|| ApiError::Busy {
                limit: share.as_ref().map_or(0, |share| share.bytes()),
            })?;

        if let Some(activity) = &activity {
            activity.receiving();
        }
        let (bytes, _reservation) = clock
            .timeout(message_timeout(limit), read_to_end(body, limit))
            .await
            .ok_or(ApiError::Slow)??;
        if let Some(activity) = &activity {
            activity.answering();
        }

        parse(&bytes)
    }
}

/// Reads `body` to its end, and counts its memory.
async fn read_to_end(body: Body, limit: usize) -> Result<(BytesMut, MemoryReservation), ApiError> {
    let reservation = Memory::of_process().reserve(0);
    let mut chunks = body.into_data_stream();
    let mut bytes = BytesMut::new();

    while let Some(chunk) = chunks.next().await {
        let chunk: Bytes = chunk.map_err(|_| ApiError::BrokenOff)?;
        if bytes.len() + chunk.len() > limit {
            drop(bytes);
            discard(chunks).await;
            return Err(too_big(limit));
        }
        bytes.extend_from_slice(&chunk);
        reservation.set(bytes.capacity());
    }

    Ok((bytes, reservation))
}

/// Reads the rest of a body that is too long, at most [`MAX_DISCARDED_BYTES`].
async fn discard(mut chunks: BodyDataStream) {
    let mut discarded = 0;
    while let Some(Ok(chunk)) = chunks.next().await
        && discarded < MAX_DISCARDED_BYTES
    {
        discarded += chunk.len();
    }
}

const fn too_big(limit: usize) -> ApiError {
    ApiError::TooBig {
        what: "body",
        limit,
    }
}

impl FromRequest<AppState> for RequestBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        Ok(Self::new(parts, body, state))
    }
}
