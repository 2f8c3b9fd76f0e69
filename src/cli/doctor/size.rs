//! Whether the largest message and the largest batch get through.

use hyper::StatusCode;

use super::finding::Finding;
use super::visit::{Answer, Visit};

/// Largest batch over HTTP, as the API says.
const BATCH_BYTES: usize = 1024 * 1024;
/// More than this is not sent to try it.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Sends one message of `max_message` bytes, and a batch that is refused for what its first line says.
pub(super) async fn check(visit: &Visit, max_message: usize) -> [Finding; 2] {
    let bytes = max_message.min(MOST_BYTES);
    let message = visit.publish("text/plain", vec![b'x'; bytes]).await;
    let batch = visit
        .publish("application/x-ndjson", vec![b'x'; BATCH_BYTES])
        .await;
    [
        judge("message size", bytes, message, |answer| {
            answer.status == StatusCode::CREATED
        }),
        // Nothing of it is stored: the server has read it all and found that it is none.
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
            Finding::good(check, format!("{bytes} bytes get through"))
        }
        Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => {
            Finding::note(check, format!("not known: {}", answer.told()))
        }
        Ok(answer) if answer.words().is_some() => Finding::bad(
            check,
            format!("{bytes} bytes are refused: {}", answer.told()),
        ),
        Ok(answer) => pass(
            check,
            format!("{bytes} bytes do not get through: {}", answer.told()),
        ),
        // Whoever finds a body too large may close while it comes, and the answer is lost.
        Err(error) => pass(
            check,
            format!("{bytes} bytes do not get through: {error:#}"),
        ),
    }
}

fn pass(check: &'static str, seen: String) -> Finding {
    Finding::bad(check, seen)
        .fix("nginx: client_max_body_size 2m;")
        .fix("Caddy: request_body { max_size 2MB }")
}
