//! A request's body, read whole within bounds of size, time and memory.

use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::request::Parts;
use bytes::BytesMut;
use futures::StreamExt;

use crate::server::http::AppState;
use crate::server::http::error::ApiError;
use crate::server::http::shares::AddressShare;
use crate::server::memory::{Memory, MemoryReservation};
use crate::server::run_clock::RunClock;
use crate::server::transport::{Activity, message_timeout};

/// The body of a request, and whose share of memory it takes. As the last argument of a handler it is read after
/// everything that the head says was checked.
#[derive(Debug)]
pub(in crate::server::http) struct RequestBody {
    body: Body,
    /// Every request has both: the entrance put them there.
    share: Option<Arc<AddressShare>>,
    activity: Option<Arc<Activity>>,
    clock: RunClock,
}

impl RequestBody {
    /// Returns the body of a request with the head `parts`.
    pub(in crate::server::http) fn new(parts: &Parts, body: Body, state: &AppState) -> Self {
        Self {
            body,
            share: parts.extensions.get().cloned(),
            activity: parts.extensions.get().cloned(),
            clock: state.hub.clock().clone(),
        }
    }

    /// Reads it and passes it to `parse`. It waits until there is room for it beside other bodies from the same address,
    /// before it reads a byte: so no two bodies wait for each other.
    ///
    /// # Errors
    /// If it is longer than `limit`, slower than any link, broken off, or found no room in time.
    pub(in crate::server::http) async fn read<T>(
        self,
        limit: usize,
        parse: impl FnOnce(&[u8]) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let Self {
            body,
            share,
            activity,
            clock,
        } = self;
        let size = body.size_hint();
        if size.lower() > limit as u64 {
            return Err(too_big(limit));
        }

        let expected = size.upper().map_or(limit, |upper| upper as usize);
        let room = async {
            match &share {
                Some(share) => share.body(expected.min(limit)).await,
                None => None,
            }
        };
        let _room = clock
            .timeout(message_timeout(limit), room)
            .await
            .ok_or_else(|| ApiError::Busy {
                limit: share.as_ref().map_or(0, |share| share.bytes()),
            })?;

        activity.iter().for_each(|activity| activity.receiving());
        let (whole, _reservation) = clock
            .timeout(message_timeout(limit), whole(body, limit))
            .await
            .ok_or(ApiError::Slow)??;
        activity.iter().for_each(|activity| activity.answering());
        parse(&whole)
    }
}

/// Reads `body` to its end, and counts its memory.
async fn whole(body: Body, limit: usize) -> Result<(BytesMut, MemoryReservation), ApiError> {
    let reservation = Memory::of_process().reserve(0);
    let mut chunks = body.into_data_stream();
    let mut whole = BytesMut::new();

    while let Some(chunk) = chunks.next().await {
        let chunk: Bytes = chunk.map_err(|_| ApiError::BrokenOff)?;
        if whole.len() + chunk.len() > limit {
            return Err(too_big(limit));
        }
        whole.extend_from_slice(&chunk);
        reservation.set(whole.capacity());
    }
    Ok((whole, reservation))
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
        Ok(Self::new(&parts, body, state))
    }
}
