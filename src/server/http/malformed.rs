//! Answers to bytes that are not an HTTP/1.1 request.
//!
//! hyper answers them with a bare status, and HTTP/2 with nothing. So everything that it writes before the first request
//! is dropped (see [`StallTimeoutHandle::mute`]), and an answer of our own is sent instead. After a first request, hyper's
//! answer is sent.

use std::time::Duration;

use axum::body::to_bytes;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::server::http::error::ApiError;
use crate::server::http::headers;
use crate::server::metrics;
use crate::server::run_clock::RunClock;
use crate::server::transport::{StallTimeoutHandle, encode_head};

/// The time in which the client must close its side after the answer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The most bytes that are read and discarded after the answer, so that the client receives it.
const MAX_DISCARDED_BYTES: usize = 256 * 1024;

/// Counts a connection that ended with `error`, and answers the client at `socket` if it was sent nothing yet.
pub(super) async fn answer(error: &hyper::Error, socket: &StallTimeoutHandle, clock: &RunClock) {
    let is_first = socket.is_muted();
    let refusal = if error.is_parse_version_h2() {
        ApiError::HttpVersion
    } else if error.is_parse_too_large() {
        ApiError::HugeHead
    } else if error.is_parse() {
        ApiError::Malformed(error.to_string())
    } else if error.is_timeout() {
        return metrics::count_refusal("header_timeout");
    } else if error.is_incomplete_message() && is_first {
        return metrics::count_refusal("head_incomplete");
    } else {
        return;
    };

    if !is_first {
        return metrics::count_refusal(refusal.code());
    }

    let response = headers::complete(refusal.into_response(), headers::OWN_ONLY);
    let close = async {
        let bytes = serialize(response).await;
        socket.close_with(&bytes, MAX_DISCARDED_BYTES).await;
    };
    // The connection ends after a timeout too.
    let _ = clock.timeout(CLOSE_TIMEOUT, close).await;
}

/// Returns `response` as bytes of HTTP/1.1.
async fn serialize(response: Response) -> Vec<u8> {
    let (mut head, body) = response.into_parts();
    // Cannot fail: the body is in memory.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();

    let close = HeaderValue::from_static("close");
    head.headers.insert(header::CONNECTION, close);
    let length = HeaderValue::from(body.len());
    head.headers.insert(header::CONTENT_LENGTH, length);

    [encode_head(&head), body.to_vec()].concat()
}
