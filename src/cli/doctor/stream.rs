//! The check that events of a stream arrive at once, and are not buffered by a proxy.

use std::io;
use std::time::{Duration, Instant};

use axum::body::Body;
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING};
use hyper::{Request, Response};
use tokio::time::timeout;

use super::report::{DoctorReport, Finding, bad, describe, good, note};
use super::visit::{Visit, in_time};
use crate::cli::client::HttpResponse;

/// The maximum delay of an event that was not buffered.
const MAX_DELAY: Duration = Duration::from_secs(1);
/// The maximum wait for an event.
const EVENT_TIMEOUT: Duration = Duration::from_secs(5);
/// The encodings that browsers accept.
const ENCODINGS: &str = "gzip, deflate, br, zstd";

/// Opens a stream of the room, and publishes a message.
pub(super) async fn check(visit: &Visit, report: &mut DoctorReport) {
    let encoded = open(visit, ENCODINGS).await;
    let encoding = encoded.as_ref().ok();
    if let Some(encoding) = encoding.and_then(|encoded| encoded.headers().get(CONTENT_ENCODING)) {
        let encoding = String::from_utf8_lossy(encoding.as_bytes());
        let finding = note(format!(
            "browsers get the stream compressed by the proxy ({encoding}), which may delay events"
        ));
        report.add(
            "stream",
            Ok(finding
                .fix("nginx: gzip off; or remove text/event-stream from gzip_types")
                .fix("Caddy: encode with a matcher that excludes /api/*/stream")),
        );
    }
    drop(encoded);

    report.add("stream", follow(visit).await);
}

async fn follow(visit: &Visit) -> Result<Finding, Finding> {
    let response = open(visit, "identity").await.map_err(not_started)?;
    if !response.status().is_success() {
        let answer = in_time(HttpResponse::read(response))
            .await
            .map_err(not_started)?;
        let described = describe(&answer);
        return Err(bad(format!("the stream is refused: {described}")));
    }

    let mark = format!("doctor-{:016x}", fastrand::u64(..));
    let published = Instant::now();
    // The event may arrive before the response to the publish.
    let (arrived, answer) = tokio::join!(
        timeout(EVENT_TIMEOUT, arrival(response, &mark)),
        visit.publish("text/plain", mark.clone().into_bytes())
    );

    let answer = answer.map_err(not_started)?;
    if !answer.status.is_success() {
        let described = describe(&answer);
        return Err(bad(format!("a message cannot be published: {described}")));
    }

    let limit = EVENT_TIMEOUT.as_secs();
    let Ok(Some(arrived)) = arrived else {
        return Err(buffered(format!(
            "no event arrives within {limit} s: events are buffered"
        )));
    };
    let after = arrived.duration_since(published);
    let seen = format!("an event arrives {after:.1?} after its message was published");
    if after <= MAX_DELAY {
        Ok(good(seen))
    } else {
        Err(buffered(format!("{seen}: it is buffered")))
    }
}

async fn open(visit: &Visit, encodings: &str) -> anyhow::Result<Response<Body>> {
    let request = Request::get(format!(
        "/api/v1/rooms/{}/stream",
        visit.room.to_path_segment()
    ))
    .header(ACCEPT, "text/event-stream")
    .header(ACCEPT_ENCODING, encodings)
    .body(Body::empty())?;
    visit.send(request).await
}

/// Returns the time at which a line with `mark` arrives; `None` if the stream ends before.
async fn arrival(response: Response<Body>, mark: &str) -> Option<Instant> {
    let chunks = response.into_body().into_data_stream();
    let mut lines = chunks.map_err(io::Error::other).into_async_read().lines();
    while let Some(Ok(line)) = lines.next().await {
        if line.contains(mark) {
            return Some(Instant::now());
        }
    }
    None
}

fn not_started(error: anyhow::Error) -> Finding {
    buffered(format!(
        "the stream does not start, or is buffered: {error:#}"
    ))
}

fn buffered(seen: String) -> Finding {
    bad(seen)
        .fix("nginx: proxy_buffering off; proxy_http_version 1.1; (and no proxy_ignore_headers X-Accel-Buffering)")
        .fix("Caddy: flush_interval -1")
}
