//! `GET …/stream`: a room's log as it grows, as server-sent events or a JSON object a line.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tracing::info;
use utoipa::IntoParams;

use crate::protocol::Epoch;
use crate::protocol::UserId;
use crate::server::auth::Right;
use crate::server::http::AppState;
use crate::server::http::accept::Endless;
use crate::server::http::answer::IsLogStream;
use crate::server::http::caller::Caller;
use crate::server::http::client::ClientAddress;
use crate::server::http::connection_table::ConnectionPermit;
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::{self, InRoom, Query};
use crate::server::http::negotiation::{self, Offer};
use crate::server::moderation::AccessRequest;
use crate::server::room::Dialect;
use crate::server::transport::{StreamSubscriber, permissions};

/// What a reader has seen, as `EPOCH:OFFSET`. In the answer: where the stream begins.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells a proxy in front of us (nginx first had it) to pass each event on at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The forms of a stream, by the media types that `Accept` may name.
const DIALECTS: [Offer<Dialect>; 2] = [
    (&["text/event-stream"], Dialect::Sse),
    (
        &["application/x-ndjson", "application/ndjson"],
        Dialect::Ndjson,
    ),
];

/// Where to begin, and as whom.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamParams {
    /// Begin after this offset; 0 is all that is kept. Without it, with what comes from now on. `Last-Event-ID`
    /// beats it.
    #[serde(default, deserialize_with = "extract::non_empty")]
    #[param(value_type = Option<u64>)]
    after: Option<String>,
    /// The epoch of `after`.
    #[serde(default, deserialize_with = "extract::non_empty")]
    #[param(value_type = Option<String>)]
    epoch: Option<Epoch>,
    /// Be present in the room under this id, which with a token is its `sub`. Without it the reader is not seen.
    id: Option<String>,
}

/// Follow the room.
///
/// Each message is an event of the default type whose data is the JSON of a `message` frame. `gap` tells of
/// messages that will not come, `drain` that the server stops and when to come back. Every `--heartbeat` of
/// silence brings a comment, or an empty line as NDJSON. A reader that comes back with the `id` of the last
/// event gets everything after it, or a `gap`.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/stream",
    params(
        ("room" = String, Path, description = "1 to 64 of `a-z 0-9 - _ .`, but not `.` or `..`"),
        StreamParams,
        ("Last-Event-ID" = Option<String>, Header, description = "EPOCH:OFFSET, the `id` of the last event seen"),
        ("Accept" = Option<String>, Header,
            description = "`application/x-ndjson` for a JSON object a line, else events; weights (`q=`) count"),
    ),
    responses(
        (
            status = 200,
            description = "The log, without end",
            content((String = "text/event-stream"), (String = "application/x-ndjson")),
            headers(("Last-Event-ID" = String, description = "EPOCH:OFFSET after which it begins")),
        ),
        (status = 400, description = "`bad_name`, `bad_parameter`: says which", body = ErrorBody),
        (status = 401, description = "`no_token`, `bad_token`: says why", body = ErrorBody),
        (status = 403, description = "`origin_not_allowed`, `not_allowed`, `banned`, `room_closed`", body = ErrorBody),
        (status = 406, description = "`not_acceptable`: `Accept` refuses both forms", body = ErrorBody),
        (status = 429, description = "`too_many_connections_from_address`", body = ErrorBody),
        (status = 503, description = "`too_many_connections`, `too_many_rooms`, `room_full`, `memory_full`, `draining`, `store_unavailable`",
            body = ErrorBody),
    ),
)]
pub(super) async fn stream(
    Shared(state): Shared<AppState>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    Caller(principal): Caller,
    Extension(permit): Extension<Arc<ConnectionPermit>>,
    InRoom(room): InRoom,
    Query(asked): Query<StreamParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    principal.check(Right::Read, &room)?;
    let id = principal.present_as(asked.id.as_deref().map(UserId::parse).transpose()?)?;
    state.moderation.admit(&AccessRequest::new(
        principal.proven_or(id.as_ref()),
        address,
        &room,
    ))?;
    // The query is where the reader first began; the header is what it has seen since.
    let resume = match headers.get(&LAST_EVENT_ID) {
        Some(seen) if !seen.is_empty() => Some(extract::resume_from_event(seen.as_bytes())?),
        _ => extract::resume(asked.after.as_deref(), asked.epoch)?,
    };
    let dialect = dialect(&headers)?;
    let admission = state
        .hub
        .admit(address, &room, resume.as_ref())
        .await
        .inspect_err(|refusal| info!(%address, ?refusal, "refused"))?;
    permit.release();
    let heartbeat = state.connection.heartbeat.ping_after;
    let lease = permissions(&principal, admission.room());
    let listener = StreamSubscriber {
        admission,
        hub: state.hub.clone(),
        id,
        proven: principal.proven().cloned(),
        address,
        dialect,
        lease,
        heartbeat,
    };
    let (position, stream) = listener.open();
    let kind = match dialect {
        Dialect::Ndjson => "application/x-ndjson",
        Dialect::Sse | Dialect::Plain | Dialect::Typed => "text/event-stream",
    };
    let mut response = Body::new(stream).into_response();
    response.extensions_mut().insert(Endless);
    response.extensions_mut().insert(IsLogStream);
    let answered = response.headers_mut();
    answered.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answered.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answered.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    // Its place among those that ask is another's now, so it cannot ask again.
    answered.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if let Ok(position) = HeaderValue::try_from(position.to_string()) {
        answered.insert(LAST_EVENT_ID, position);
    }
    Ok(response)
}

/// Returns the form of the stream that `Accept` prefers: events, unless it names lines.
fn dialect(headers: &HeaderMap) -> Result<Dialect, ApiError> {
    negotiation::media_type(headers, &DIALECTS)
        .copied()
        .ok_or(ApiError::NotAcceptable {
            offered: "text/event-stream or application/x-ndjson",
        })
}
