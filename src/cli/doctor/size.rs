//! The check that the largest message and the largest batch are accepted.

use hyper::StatusCode;

use super::report::{DoctorReport, Finding, bad, describe, good, note};
use super::visit::Visit;
use crate::cli::client::HttpResponse;

/// The largest batch of the API.
const BATCH_BYTES: usize = 1024 * 1024;
/// The maximum number of bytes that the check sends.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Sends one message of `max_message` bytes, and a batch that the server refuses because of its first line.
pub(super) async fn check(visit: &Visit, max_message: usize, report: &mut DoctorReport) {
    let bytes = max_message.min(MAX_BYTES);
    let message = visit.publish("text/plain", vec![b'x'; bytes]).await;
    report.add("message size", judge(bytes, message, StatusCode::CREATED));

    let lines = vec![b'x'; BATCH_BYTES];
    let batch = visit.publish("application/x-ndjson", lines).await;
    // The server has read the whole batch, and stored none of it.
    let expected = StatusCode::UNPROCESSABLE_ENTITY;
    report.add("batch size", judge(BATCH_BYTES, batch, expected));
}

fn judge(
    bytes: usize,
    answer: anyhow::Result<HttpResponse>,
    expected: StatusCode,
) -> Result<Finding, Finding> {
    let lost = |why: String| {
        bad(format!("{bytes} bytes do not reach the server: {why}"))
            .fix("nginx: client_max_body_size 2m;")
            .fix("Caddy: request_body { max_size 2MB }")
    };
    // A proxy that rejects a large body may close the connection before it sends a response.
    let answer = answer.map_err(|error| lost(format!("{error:#}")))?;

    let described = describe(&answer);
    match answer.status {
        status if status == expected => Ok(good(format!("{bytes} bytes are accepted"))),
        StatusCode::TOO_MANY_REQUESTS => Err(note(format!("unknown: {described}"))),
        _ if answer.error().is_some() => {
            Err(bad(format!("{bytes} bytes are refused: {described}")))
        }
        _ => Err(lost(described)),
    }
}
