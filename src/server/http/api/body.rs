//! A request's body, read whole within bounds of size, time and memory.

use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody};
use bytes::BytesMut;
use futures::StreamExt;
use tokio::sync::Semaphore;

use crate::server::http::error::ApiError;
use crate::server::run_clock::RunClock;
use crate::server::transport::patience;

/// Bytes of bodies that may be in memory at once, of all requests together.
const MAX_BYTES_AT_ONCE: usize = 64 * 1024 * 1024;

/// The memory that bodies share. A cheap handle.
#[derive(Clone, Debug)]
pub(in crate::server::http) struct Bodies {
    memory: Arc<Semaphore>,
    clock: RunClock,
}

impl Bodies {
    /// Returns bodies that share the memory and are given the time of `clock`.
    pub(in crate::server::http) fn new(clock: RunClock) -> Self {
        Self {
            memory: Arc::new(Semaphore::new(MAX_BYTES_AT_ONCE)),
            clock,
        }
    }

    /// Reads `body` and gives it to `parse`; its memory is free again after that.
    ///
    /// # Errors
    /// If it is longer than `limit`, slower than anybody's link, broken off, or one too many.
    pub(in crate::server::http) async fn read<T>(
        &self,
        body: Body,
        limit: usize,
        parse: impl FnOnce(&[u8]) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let too_big = || ApiError::TooBig {
            what: "body",
            limit,
        };
        if body.size_hint().lower() > limit as u64 {
            return Err(too_big());
        }
        let whole = async {
            let mut chunks = body.into_data_stream();
            let (mut whole, mut held) = (BytesMut::new(), Vec::new());
            while let Some(chunk) = chunks.next().await {
                let chunk: Bytes = chunk.map_err(|_| ApiError::BrokenOff)?;
                if whole.len() + chunk.len() > limit {
                    return Err(too_big());
                }
                let bytes = u32::try_from(chunk.len()).map_err(|_| too_big())?;
                held.push(
                    self.memory
                        .try_acquire_many(bytes)
                        .map_err(|_| ApiError::Busy)?,
                );
                whole.extend_from_slice(&chunk);
            }
            Ok((whole, held))
        };
        let (whole, held) = self
            .clock
            .timeout(patience(limit), whole)
            .await
            .ok_or(ApiError::Slow)??;
        let parsed = parse(&whole);
        drop(held);
        parsed
    }
}
