//! The check that the largest message and the largest batch are accepted.

use hyper::StatusCode;

use super::finding::Finding;
use super::visit::{Answer, Visit};

/// The largest batch of the API.
const BATCH_BYTES: usize = 1024 * 1024;
/// The maximum number of bytes that the check sends.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Sends one message of `max_message` bytes, and a batch that the server refuses because of its first line.
pub(super) async fn check(visit: &Visit, max_message: usize) -> [Finding; 2] {
    let bytes = max_message.min(MAX_BYTES);
    let message = visit.publish("text/plain", vec![b'x'; bytes]).await;
    let batch = visit
        .publish("application/x-ndjson", vec![b'x'; BATCH_BYTES])
        .await;

    [
        judge("message size", bytes, message, |answer| {
            answer.status == StatusCode::CREATED
        }),
        // The server has read the whole batch, and stored none of it.
        judge("batch size", BATCH_BYTES, batch, |answer| {
            answer.status == StatusCode::UNPROCESSABLE_ENTITY
        }),
    ]
}

fn judge(
    check: &'static str,
    bytes: usize,
    answer: anyhow::Result<Answer>,
    is_through: impl Fn(&Answer) -> bool,
) -> Finding {
    match answer {
        Ok(answer) if is_through(&answer) => {
            Finding::good(check, format!("{bytes} bytes are accepted"))
        }
        Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => {
            Finding::note(check, format!("unknown: {}", answer.describe()))
        }
        Ok(answer) if answer.error().is_some() => Finding::bad(
            check,
            format!("{bytes} bytes are refused: {}", answer.describe()),
        ),
        Ok(answer) => pass(
            check,
            format!(
                "{bytes} bytes do not reach the server: {}",
                answer.describe()
            ),
        ),
        // A proxy that rejects a large body may close the connection before it sends a response.
        Err(error) => pass(
            check,
            format!("{bytes} bytes do not reach the server: {error:#}"),
        ),
    }
}

fn pass(check: &'static str, seen: String) -> Finding {
    Finding::bad(check, seen)
        .fix("nginx: client_max_body_size 2m;")
        .fix("Caddy: request_body { max_size 2MB }")
}
