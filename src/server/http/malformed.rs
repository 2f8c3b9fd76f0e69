//! Answers to bytes that are not an HTTP/1.1 request.
//!
//! hyper answers them with a bare status, and HTTP/2 with nothing. So everything that it writes before it has read the
//! first request is dropped (see [`StallTimeoutHandle::mute`]), and our own answer is sent instead. After a first request,
//! hyper's answer stays.

use std::time::Duration;

use axum::body::to_bytes;
use axum::response::{IntoResponse, Response};

use crate::server::http::error::ApiError;
use crate::server::http::headers;
use crate::server::metrics;
use crate::server::run_clock::RunClock;
use crate::server::transport::StallTimeoutHandle;

/// Longest time for a client to close its side after the answer.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// Most bytes that are read and discarded after the answer, so that the client receives it.
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

    let answer = headers::complete(refusal.into_response(), headers::OWN_ONLY);
    let close = async {
        socket
            .close_with(&bytes(answer).await, MAX_DISCARDED_BYTES)
            .await
    };
    // The connection ends now, whether or not the client closed its side in time.
    let _ = clock.timeout(CLOSE_GRACE, close).await;
}

/// Returns `response` as it is sent.
async fn bytes(response: Response) -> Vec<u8> {
    let (head, body) = response.into_parts();
    // It cannot fail: the body is in memory.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();

    let (status, length) = (head.status, body.len());
    let mut bytes =
        format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n")
            .into_bytes();
    for (name, value) in &head.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body);
    bytes
}
