//! Whether a stream of events comes as it is said, or is held back on the way.

use std::time::{Duration, Instant};

use axum::body::Body;
use futures::{Stream, StreamExt};
use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING};
use tokio::time::timeout_at;

use super::finding::Finding;
use super::visit::{Visit, ask, read};

/// An event that comes later was held back: it is some milliseconds on its way.
const AT_ONCE: Duration = Duration::from_secs(1);
/// After that it is not waited for.
const AT_LAST: Duration = Duration::from_secs(5);
/// What browsers say of themselves.
const ENCODINGS: &str = "gzip, deflate, br, zstd";

/// Follows the room, and says something in it.
pub(super) async fn check(visit: &Visit) -> Vec<Finding> {
    match follow(visit).await {
        Ok(findings) => findings,
        Err(error) => vec![hold(format!(
            "the stream does not begin, or is held back: {error:#}"
        ))],
    }
}

async fn follow(visit: &Visit) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let encoded = open(visit, Some(ENCODINGS)).await?;
    if let Some(encoding) = encoded.headers().get(CONTENT_ENCODING) {
        let seen = format!(
            "browsers get the stream compressed by the proxy ({}): events may wait until there are more",
            String::from_utf8_lossy(encoding.as_bytes())
        );
        let finding = Finding::note("stream", seen);
        findings.push(
            finding
                .fix("nginx: gzip off; or take text/event-stream out of gzip_types")
                .fix("Caddy: encode with a matcher that leaves out /api/*/stream"),
        );
    }
    drop(encoded);

    let response = open(visit, None).await?;
    if !response.status().is_success() {
        let answer = read(response).await?;
        findings.push(Finding::bad(
            "stream",
            format!("it is refused: {}", answer.told()),
        ));
        return Ok(findings);
    }
    let mark = format!("doctor-{:016x}", fastrand::u64(..));
    let mut stream = Body::new(response.into_body()).into_data_stream();
    let said = Instant::now();
    let coming = async {
        // Read before the answer is there: the event may be faster.
        let came = comes(&mut stream, &mark, said + AT_LAST).await;
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
            format!("nothing can be said into it: {}", answer.told()),
        ));
        return Ok(findings);
    }
    findings.push(match came {
        Some(after) if after <= AT_ONCE => Finding::good(
            "stream",
            format!("an event comes {after:.1?} after it was said"),
        ),
        Some(after) => hold(format!(
            "an event comes only {after:.1?} after it was said: it is held back"
        )),
        None => hold(format!(
            "an event does not come within {} s: it is held back",
            AT_LAST.as_secs()
        )),
    });
    Ok(findings)
}

async fn open(
    visit: &Visit,
    encodings: Option<&str>,
) -> anyhow::Result<hyper::Response<hyper::body::Incoming>> {
    let path = format!("/api/v1/rooms/{}/stream", visit.room);
    let mut request = visit
        .request(Method::GET, path)?
        .header(ACCEPT, "text/event-stream");
    if let Some(encodings) = encodings {
        request = request.header(ACCEPT_ENCODING, encodings);
    }
    ask(&visit.server, request.body(Body::empty())?).await
}

/// Reads until `mark` has come; nothing if it does not by `end`.
async fn comes<E>(
    stream: &mut (impl Stream<Item = Result<Bytes, E>> + Unpin),
    mark: &str,
    end: Instant,
) -> Option<()> {
    let mut heard = Vec::new();
    while let Ok(Some(Ok(part))) = timeout_at(end.into(), stream.next()).await {
        heard.extend_from_slice(&part);
        if heard
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
