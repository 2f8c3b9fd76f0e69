//! A stream as server-sent events: `data` events with content, each followed by a `control` event with the position.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use futures::{Stream, stream};
use serde::Serialize;
use tracing::debug;

use crate::protocol::{Epoch, Offset};
use crate::server::http::streams::content::ContentForm;
use crate::server::http::streams::live::{LivePage, LiveReader};
use crate::server::http::streams::{cursor, offset};

/// The time after which a response ends, so that caches can share the next one. Clients continue at their position.
const MAX_TIME: Duration = Duration::from_secs(60);
/// A comment, which readers ignore.
const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// The data of a `control` event.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Control {
    stream_next_offset: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_cursor: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    up_to_date: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream_closed: bool,
}

/// The state of a response.
struct EventReader {
    reader: LiveReader,
    form: ContentForm,
    /// The cursor of the last event, or that of the request.
    cursor: Option<u64>,
    deadline: Instant,
    heartbeat: Duration,
    /// True until the first event.
    is_first: bool,
}

/// Returns the events of `reader`. They end after a minute, at `expires` if that is earlier, or with the stream.
pub(super) fn events(
    reader: LiveReader,
    form: ContentForm,
    cursor: Option<u64>,
    expires: Option<Duration>,
    heartbeat: Duration,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let lifetime = expires.map_or(MAX_TIME, |expires| expires.min(MAX_TIME));
    let events = EventReader {
        reader,
        form,
        cursor,
        deadline: Instant::now() + lifetime,
        heartbeat,
        is_first: true,
    };

    stream::unfold(Some(events), |events| async {
        let mut events = events?;
        let (bytes, is_last) = events.next().await?;
        Some((Ok(bytes), (!is_last).then_some(events)))
    })
}

impl EventReader {
    /// Returns the next bytes, and true if they are the last ones; `None` if there are none.
    async fn next(&mut self) -> Option<(Bytes, bool)> {
        loop {
            let page = self.reader.read().await;
            // The client continues at its position when it reconnects.
            let error = |error: &_| debug!(%error, "could not read a stream");
            let page = page.inspect_err(error).ok()?;
            if self.reader.has_ended() {
                return None;
            }
            if self.is_first || page.is_closed || !page.frames.is_empty() {
                self.is_first = false;
                return Some((self.event(&page), page.is_closed));
            }

            let rest = self.deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return None;
            }
            let began = Instant::now();
            self.reader.wait(rest.min(self.heartbeat)).await;
            if began.elapsed() >= self.heartbeat {
                return Some((HEARTBEAT, false));
            }
        }
    }

    fn event(&mut self, page: &LivePage) -> Bytes {
        let cursor = cursor::next(self.cursor);
        self.cursor = Some(cursor);
        let control = control(self.reader.epoch(), page.next, cursor, page);

        let mut event = self.form.event(&page.frames);
        event.push_str(&format!("event: control\ndata:{control}\n\n"));
        event.into()
    }
}

/// Returns the data of a `control` event.
fn control(epoch: &Epoch, next: Offset, cursor: u64, page: &LivePage) -> String {
    let control = Control {
        stream_next_offset: offset::token(epoch, next),
        stream_cursor: (!page.is_closed).then(|| cursor.to_string()),
        up_to_date: page.is_up_to_date,
        stream_closed: page.is_closed,
    };
    // Cannot fail: all its fields are texts and booleans.
    serde_json::to_string(&control).unwrap_or_default()
}
