//! `GET` and `HEAD /streams/{room}`: a page of a stream, a long poll, server-sent events, or a description.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::protocol::{Epoch, Offset, RoomName};
use crate::server::http::connection_table::ConnectionPermit;
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::{InRoom, Query};
use crate::server::http::middleware::authenticated::AuthenticatedClient;
use crate::server::http::streams::content::ContentForm;
use crate::server::http::streams::headers::{
    self, STREAM_CLOSED, STREAM_CURSOR, STREAM_SSE_DATA_ENCODING, STREAM_UP_TO_DATE, TRUE,
};
use crate::server::http::streams::live::{LivePage, LiveReader};
use crate::server::http::streams::offset::StartOffset;
use crate::server::http::streams::{self, StreamError, StreamName, cursor, events};
use crate::server::http::{self, AppState};
use crate::server::hub::{Room, StartPosition};
use crate::server::moderation::AccessRequest;
use crate::server::store::{Bounds, Lifecycle, Span};
use crate::server::transport::unix_time;

/// The most messages of a page.
const PAGE_MESSAGES: usize = 1000;
/// The time for which a long poll waits.
const LONG_POLL: Duration = Duration::from_secs(20);

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The query parameters of a read.
#[derive(Debug, Deserialize)]
pub(super) struct ReadParams {
    offset: Option<String>,
    live: Option<LiveMode>,
    cursor: Option<String>,
}

/// A way to wait for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LiveMode {
    LongPoll,
    Sse,
}

/// Consecutive messages of a stream, and the stream's state when they were read.
struct StreamPage {
    form: ContentForm,
    lifecycle: Lifecycle,
    epoch: Epoch,
    /// The position before the messages.
    start: Offset,
    messages: LivePage,
}

/// Read a stream: a page, a long poll, or server-sent events.
///
/// The Durable Streams protocol. A room that was never created with `PUT` is a stream of the JSON objects of its messages.
#[utoipa::path(
    get,
    path = "/streams/{room}",
    params(
        InRoom,
        ("offset" = Option<String>, Query, description = "`-1` (the beginning), `now`, or a `Stream-Next-Offset`"),
        ("live" = Option<String>, Query, description = "`long-poll` or `sse`; needs `offset`"),
        ("cursor" = Option<String>, Query, description = "`Stream-Cursor` of the response before"),
    ),
    responses(
        (status = 200, description = "The content after the offset, with `Stream-Next-Offset`, and `Stream-Up-To-Date` and `Stream-Closed` if they hold"),
        (status = 204, description = "A long poll ended without content"),
        (status = 304, description = "The page has not changed since the `ETag` in `If-None-Match`"),
        (status = 400, description = "`bad_name`, `bad_parameter`", body = ErrorBody),
        (status = 401, description = "`no_token`, `bad_token`, with the reason", body = ErrorBody),
        (status = 403, description = "`origin_not_allowed`, `not_allowed`, `banned`", body = ErrorBody),
        (status = 404, description = "`no_such_stream`", body = ErrorBody),
        (status = 410, description = "`offset_gone`", body = ErrorBody),
        (status = 501, description = "`not_implemented`: subscriptions", body = ErrorBody),
        (status = 503, description = "`store_unavailable`, `too_many_rooms`, `draining`", body = ErrorBody),
    ),
)]
pub(super) async fn read(
    Shared(state): Shared<AppState>,
    client: AuthenticatedClient,
    permit: Option<Extension<Arc<ConnectionPermit>>>,
    StreamName(name): StreamName,
    Query(params): Query<ReadParams>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    client.check_read(&state, &name)?;
    let start = params
        .offset
        .as_deref()
        .map(StartOffset::parse)
        .transpose()?;
    let cursor = params.cursor.and_then(|cursor| cursor.parse().ok());

    match (params.live, start) {
        (None, start) => {
            let start = start.unwrap_or(StartOffset::Beginning);
            catch_up(&state, &name, &start, &request).await
        }
        (Some(_), None) => Err(ApiError::Parameter {
            name: "offset",
            allowed: "-1, now, or a Stream-Next-Offset, and is required with live",
        }),
        (Some(mode), Some(start)) => {
            let (room, lifecycle) = streams::open(&state, &name).await?;
            let reader = open_reader(&state, &client, room, &start).await?;
            match mode {
                LiveMode::LongPoll => long_poll(reader, lifecycle, cursor).await,
                LiveMode::Sse => Ok(stream_events(
                    &state, &client, permit, reader, &lifecycle, cursor,
                )),
            }
        }
    }
}

/// Describe a stream. This does not delay its expiry.
#[utoipa::path(
    head,
    path = "/streams/{room}",
    params(InRoom),
    responses(
        (status = 200, description = "`Content-Type`, `Stream-Next-Offset`, `Stream-TTL` or `Stream-Expires-At`, `Stream-Closed`"),
        (status = 401, description = "No token, or one that is not valid"),
        (status = 403, description = "Not allowed, or banned"),
        (status = 404, description = "There is no such stream"),
    ),
)]
pub(super) async fn describe(
    Shared(state): Shared<AppState>,
    client: AuthenticatedClient,
    StreamName(name): StreamName,
) -> Result<Response, ApiError> {
    client.check_read(&state, &name)?;
    let (_, lifecycle) = streams::open(&state, &name).await?;
    let Bounds { epoch, head, .. } = state.hub.store().bounds(&name)?;

    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    headers::describe(headers, &lifecycle, &epoch, head);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    Ok(response)
}

/// Responds with the messages from `start` on, as many as fit in a page.
async fn catch_up(
    state: &AppState,
    name: &RoomName,
    start: &StartOffset,
    request: &HeaderMap,
) -> Result<Response, ApiError> {
    // The lifecycle is read before the messages, so that all of them are read if the stream is closed.
    let (room, lifecycle) = streams::open(state, name).await?;
    let store = state.hub.store();
    store.touch(name);
    let bounds = store.bounds(name)?;
    let position = StartPosition::new(&bounds, start.resume().as_ref());
    if position.gap.is_some() {
        return Err(StreamError::Gone.into());
    }

    let cursor = position.cursor;
    let is_tail = *start == StartOffset::Now;
    let (frames, is_up_to_date) = if is_tail {
        (Vec::new(), true)
    } else {
        let page = room.history(Span::After(cursor), PAGE_MESSAGES).await?;
        (page.frames, !page.more)
    };
    let last = frames.last().map(|frame| frame.offset());
    let page = StreamPage {
        form: ContentForm::of_room(&lifecycle),
        epoch: bounds.epoch,
        start: cursor,
        messages: LivePage {
            next: last.unwrap_or(cursor.max(bounds.head)),
            is_up_to_date,
            is_closed: is_up_to_date && lifecycle.is_closed,
            frames,
        },
        lifecycle,
    };
    if is_tail {
        let mut response = page.response(StatusCode::OK);
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, NO_STORE);
        return Ok(response);
    }

    let etag = page.etag();
    let is_known = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim().trim_start_matches("W/") == etag);
    let mut response = if is_known {
        page.response(StatusCode::NOT_MODIFIED)
    } else {
        page.response(StatusCode::OK)
    };
    let is_public = state.authenticator.verifier().is_open();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, page.cache_control(is_public));
    // An ETag is ASCII.
    headers.extend(
        HeaderValue::try_from(etag)
            .ok()
            .map(|etag| (header::ETAG, etag)),
    );
    Ok(response)
}

/// Opens a reader of `room` from `start` on, as a connection of `client`.
async fn open_reader(
    state: &AppState,
    client: &AuthenticatedClient,
    room: Arc<Room>,
    start: &StartOffset,
) -> Result<LiveReader, ApiError> {
    let proven = client.principal.proven();
    let access = AccessRequest::new(proven, client.address, room.name());
    state.moderation.admit(&access)?;

    let admission = state.hub.admit(client.address)?;
    let resume = start.resume();
    let pending = state.hub.enter(room.name(), resume.as_ref()).await?;
    if pending.start().gap.is_some() {
        return Err(StreamError::Gone.into());
    }
    Ok(LiveReader::open(admission, pending, room, proven.cloned()))
}

/// Responds with the next messages as soon as there are some, or without any after [`LONG_POLL`].
async fn long_poll(
    mut reader: LiveReader,
    lifecycle: Lifecycle,
    cursor: Option<u64>,
) -> Result<Response, ApiError> {
    let deadline = reader.hub().now().after(LONG_POLL);
    let messages = loop {
        let messages = reader.read().await?;
        let rest = deadline.since(reader.hub().now());
        let is_over = rest.is_zero() || reader.has_ended();
        if !messages.frames.is_empty() || messages.is_closed || is_over {
            break messages;
        }
        reader.wait(rest).await;
    };

    let status = if messages.frames.is_empty() {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::OK
    };
    let page = StreamPage {
        form: ContentForm::of_room(&lifecycle),
        lifecycle,
        epoch: reader.epoch().clone(),
        start: messages.next,
        messages,
    };
    let mut response = page.response(status);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    if !page.messages.is_closed {
        headers.insert(STREAM_CURSOR, HeaderValue::from(cursor::next(cursor)));
    }
    Ok(response)
}

/// Responds with server-sent events.
fn stream_events(
    state: &AppState,
    client: &AuthenticatedClient,
    permit: Option<Extension<Arc<ConnectionPermit>>>,
    reader: LiveReader,
    lifecycle: &Lifecycle,
    cursor: Option<u64>,
) -> Response {
    if let Some(Extension(permit)) = permit {
        permit.release();
    }
    let form = ContentForm::of_room(lifecycle);
    let expires = client.principal.expires_at();
    let expires = expires.map(|at| Duration::from_secs(at).saturating_sub(unix_time()));
    let heartbeat = state.connection.heartbeat.ping_after;
    let events = events::events(reader, form, cursor, expires, heartbeat);

    let mut response = Body::from_stream(events).into_response();
    http::headers::describe_stream(&mut response, "text/event-stream");
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if form.is_binary() {
        let base64 = HeaderValue::from_static("base64");
        headers.insert(STREAM_SSE_DATA_ENCODING, base64);
    }
    response
}

impl StreamPage {
    /// Returns a response with the messages, if `status` is 200.
    fn response(&self, status: StatusCode) -> Response {
        let LivePage {
            frames,
            next,
            is_up_to_date,
            is_closed,
        } = &self.messages;
        let mut response = match status {
            StatusCode::OK => self.form.body(frames).into_response(),
            status => status.into_response(),
        };

        let headers = response.headers_mut();
        headers::describe(headers, &self.lifecycle, &self.epoch, *next);
        headers.remove(STREAM_CLOSED);
        if *is_up_to_date {
            headers.insert(STREAM_UP_TO_DATE, TRUE);
        }
        if *is_closed {
            headers.insert(STREAM_CLOSED, TRUE);
        }
        response
    }

    /// Returns the entity tag: the range of offsets, the number of deleted messages among them, and whether the stream ends
    /// with them.
    fn etag(&self) -> String {
        let messages = &self.messages;
        let deleted = messages.frames.iter().filter(|frame| frame.is_deleted());
        let end = if messages.is_closed { ":c" } else { "" };
        format!(
            "\"{}:{}:{}:{}{end}\"",
            self.epoch,
            self.start,
            messages.next,
            deleted.count(),
        )
    }

    /// Returns the `Cache-Control` of the page. Caches may keep pages before the newest messages.
    const fn cache_control(&self, is_public: bool) -> HeaderValue {
        HeaderValue::from_static(match (self.messages.is_up_to_date, is_public) {
            (true, _) => "no-cache",
            (false, true) => "public, max-age=60, stale-while-revalidate=300",
            (false, false) => "private, max-age=60, stale-while-revalidate=300",
        })
    }
}
