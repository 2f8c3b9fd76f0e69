//! The check that events of a stream arrive at once, and are not buffered by a proxy.

use std::time::{Duration, Instant};

use axum::body::Body;
use futures::{Stream, StreamExt};
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING};
use tokio::time::timeout_at;

use super::finding::Finding;
use super::visit::{Visit, ask, read};

/// The maximum delay of an event that was not buffered.
const MAX_DELAY: Duration = Duration::from_secs(1);
/// The maximum wait for an event.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);
/// The encodings that browsers accept.
const ENCODINGS: &str = "gzip, deflate, br, zstd";

/// Opens a stream of the room, and publishes a message.
pub(super) async fn check(visit: &Visit) -> Vec<Finding> {
    match follow(visit).await {
        Ok(findings) => findings,
        Err(error) => vec![hold(format!(
            "the stream does not start, or is buffered: {error:#}"
        ))],
    }
}

async fn follow(visit: &Visit) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let encoded = open(visit, Some(ENCODINGS)).await?;
    if let Some(encoding) = encoded.headers().get(CONTENT_ENCODING) {
        let seen = format!(
            "browsers get the stream compressed by the proxy ({}), which may delay events",
            String::from_utf8_lossy(encoding.as_bytes())
        );
        let finding = Finding::note("stream", seen);
        findings.push(
            finding
                .fix("nginx: gzip off; or remove text/event-stream from gzip_types")
                .fix("Caddy: encode with a matcher that excludes /api/*/stream"),
        );
    }
    drop(encoded);

    let response = open(visit, None).await?;
    if !response.status().is_success() {
        let answer = read(response).await?;
        findings.push(Finding::bad(
            "stream",
            format!("the stream is refused: {}", answer.describe()),
        ));
        return Ok(findings);
    }

    let mark = format!("doctor-{:016x}", fastrand::u64(..));
    let mut stream = Body::new(response.into_body()).into_data_stream();
    let said = Instant::now();
    let coming = async {
        // The event may arrive before the response to the publish.
        let came = comes(&mut stream, &mark, said + EVENT_TIMEOUT).await;
        came.map(|()| said.elapsed())
    };
    let (came, answer) = tokio::join!(
        coming,
        visit.publish("text/plain", mark.clone().into_bytes())
    );

    let answer = answer?;
    if !answer.status.is_success() {
        findings.push(Finding::bad(
            "stream",
            format!("a message cannot be published: {}", answer.describe()),
        ));
        return Ok(findings);
    }
    findings.push(match came {
        Some(after) if after <= MAX_DELAY => Finding::good(
            "stream",
            format!("an event arrives {after:.1?} after its message was published"),
        ),
        Some(after) => hold(format!(
            "an event arrives {after:.1?} after its message was published: it is buffered"
        )),
        None => hold(format!(
            "no event arrives within {} s: events are buffered",
            EVENT_TIMEOUT.as_secs()
        )),
    });
    Ok(findings)
}

async fn open(
    visit: &Visit,
    encodings: Option<&str>,
) -> anyhow::Result<hyper::Response<hyper::body::Incoming>> {
    let path = format!("/api/v1/rooms/{}/stream", visit.room.to_path_segment());
    let mut request = visit
        .request(Method::GET, path)?
        .header(ACCEPT, "text/event-stream");
    if let Some(encodings) = encodings {
        request = request.header(ACCEPT_ENCODING, encodings);
    }
    ask(&visit.server, request.body(Body::empty())?).await
}

/// Reads until `mark` arrives; `None` if the stream ends or `end` passes before.
async fn comes<E>(
    stream: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    mark: &str,
    end: Instant,
) -> Option<()> {
    let mut received = Vec::new();
    while let Ok(Some(Ok(part))) = timeout_at(end.into(), stream.next()).await {
        received.extend_from_slice(&part);
        if received
            .windows(mark.len())
            .any(|part| part == mark.as_bytes())
        {
            return Some(());
        }
    }

    None
}

fn hold(seen: String) -> Finding {
    Finding::bad("stream", seen)
        .fix("nginx: proxy_buffering off; proxy_http_version 1.1; (and no proxy_ignore_headers X-Accel-Buffering)")
        .fix("Caddy: flush_interval -1")
}
