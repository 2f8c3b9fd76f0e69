//! `GET …/stream`: the log of one room, or of several, as it grows, as server-sent events or as NDJSON.

use axum::extract::State as Shared;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tracing::info;
use utoipa::{IntoParams, IntoResponses};

use crate::protocol::{Epoch, RoomSelector, UserId};
use crate::server::auth::Right;
use crate::server::http::AppState;
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::{self, InRoom, InRooms, Query};
use crate::server::http::headers;
use crate::server::http::middleware::authenticated::AuthenticatedClient;
use crate::server::http::negotiation::{self, Offer};
use crate::server::hub::{PendingSubscription, Refusal};
use crate::server::moderation::AccessRequest;
use crate::server::room::Dialect;
use crate::server::transport::{PendingConnection, Permissions};

/// The header with a reader's position, as `EPOCH:OFFSET`. In the response, the position at which the stream begins.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The forms of a stream, by the media types that `Accept` may name.
const DIALECTS: [Offer<Dialect>; 2] = [
    (&["text/event-stream"], Dialect::Sse),
    (
        &["application/x-ndjson", "application/ndjson"],
        Dialect::Ndjson,
    ),
];

/// The query parameters of a stream.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamParams {
    /// The offset after which to begin; 0 for all messages that are kept. By default, only new messages are sent.
    /// `Last-Event-ID` takes precedence.
    #[serde(default, deserialize_with = "extract::non_empty")]
    #[param(value_type = Option<u64>)]
    after: Option<String>,
    /// The epoch of `after`.
    #[serde(default, deserialize_with = "extract::non_empty")]
    #[param(value_type = Option<String>)]
    epoch: Option<Epoch>,
    /// The id under which the reader takes part in presence; with a token, its `sub`. By default, it does not.
    id: Option<String>,
}

/// The errors of both calls, for their description.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its description is used")]
enum FollowErrors {
    /// `bad_name`, `bad_parameter`, with its name
    #[response(status = 400)]
    BadRequest(ErrorBody),
    /// `no_token`, `bad_token`, with the reason
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// `origin_not_allowed`, `not_allowed`, `banned`, `room_closed`; of several rooms, with the room
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// `not_acceptable`: `Accept` refuses both forms
    #[response(status = 406)]
    NotAcceptable(ErrorBody),
    /// `too_many_connections_from_address`
    #[response(status = 429)]
    TooManyConnections(ErrorBody),
    /// `no_keys` (the keys of `--jwks` are not fetched yet), `too_many_connections`, `too_many_rooms`, `room_full`,
    /// `memory_full`, `draining`, `store_unavailable`
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// Follow a room.
///
/// Each message is an event of the default type whose data is the JSON of a `message` frame. A `gap` event announces
/// messages that will not be delivered, a `closed` event that there will be no more, and a `drain` event that the server
/// stops and when to reconnect. After each `--heartbeat` without a message, a comment is sent, or an empty line in NDJSON. A
/// reader that reconnects with the `id` of its last event receives everything after it, or a `gap`.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/stream",
    params(
        InRoom,
        StreamParams,
        ("Last-Event-ID" = Option<String>, Header, description = "EPOCH:OFFSET, the `id` of the last event received"),
        ("Accept" = Option<String>, Header,
            description = "`application/x-ndjson` for a JSON object on each line, else events; weights (`q=`) are respected"),
    ),
    responses(
        (
            status = 200,
            description = "The log, without end",
            content((String = "text/event-stream"), (String = "application/x-ndjson")),
            headers(("Last-Event-ID" = String, description = "EPOCH:OFFSET after which it begins")),
        ),
        (status = 204, description = "The room is closed for ever, and the reader has read all of it"),
        FollowErrors,
    ),
)]
pub(super) async fn stream(
    Shared(state): Shared<AppState>,
    client: AuthenticatedClient,
    InRoom(room): InRoom,
    Query(params): Query<StreamParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    client.principal.check(Right::Read, &room)?;
    let id = params.presence_id(&client)?;
    let account = client.principal.ban_id(id.as_ref());
    let request = AccessRequest::new(account, client.address, &room);
    state.moderation.admit(&request)?;

    let rooms = [room.into()];
    open(&state, client, id, &rooms, params, &headers).await
}

/// Follow several rooms.
///
/// The messages of all rooms, and of all rooms that the patterns match, in the order of their offsets, as in a stream of
/// one room. The `id` of an event is a position in all of them, so `after`, `epoch` and `Last-Event-ID` are those of the
/// last event of any room. If one of the rooms cannot be read, the whole request is refused.
#[utoipa::path(
    get,
    path = "/api/v1/stream",
    params(
        ("room" = Vec<String>, Query,
            description = "A room, or a pattern like `builds-*`; repeated for each, at most `--max-subscriptions` times"),
        StreamParams,
        ("Last-Event-ID" = Option<String>, Header, description = "EPOCH:OFFSET, the `id` of the last event received"),
        ("Accept" = Option<String>, Header,
            description = "`application/x-ndjson` for a JSON object on each line, else events; weights (`q=`) are respected"),
    ),
    responses(
        (
            status = 200,
            description = "The logs, without end",
            content((String = "text/event-stream"), (String = "application/x-ndjson")),
            headers(("Last-Event-ID" = String, description = "EPOCH:OFFSET after which it begins")),
        ),
        (status = 204, description = "All rooms are closed for ever, and the reader has read all of them"),
        FollowErrors,
    ),
)]
pub(super) async fn stream_of_rooms(
    Shared(state): Shared<AppState>,
    client: AuthenticatedClient,
    InRooms(rooms): InRooms,
    Query(params): Query<StreamParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (count, max) = (rooms.len(), state.connection.max_subscriptions);
    if count == 0 {
        let message = "room is missing; give it once for each room or pattern, like ?room=lobby&room=builds-*";
        return Err(ApiError::Query(message.to_owned()));
    }
    if count > max {
        let message =
            format!("room is given {count} times; the limit is {max} (--max-subscriptions)");
        return Err(ApiError::Query(message));
    }

    let id = params.presence_id(&client)?;
    for room in &rooms {
        client.principal.check_read(room)?;
        let account = client.principal.ban_id(id.as_ref());
        let request = match room {
            RoomSelector::Room(name) => AccessRequest::new(account, client.address, name),
            RoomSelector::Pattern(_) => AccessRequest::anywhere(account, client.address),
        };
        let admitted = state.moderation.admit(&request);
        admitted.map_err(|denied| ApiError::InRoom {
            room: room.clone(),
            error: Box::new(denied.into()),
        })?;
    }

    open(&state, client, id, &rooms, params, &headers).await
}

impl StreamParams {
    /// Returns the id under which `client` takes part in presence, if it does.
    fn presence_id(&self, client: &AuthenticatedClient) -> Result<Option<UserId>, ApiError> {
        let id = self.id.as_deref().map(UserId::parse).transpose()?;
        Ok(client.principal.presence_id(id)?)
    }
}

/// Opens the stream of `rooms`, which `client` may read.
async fn open(
    state: &AppState,
    client: AuthenticatedClient,
    id: Option<UserId>,
    rooms: &[RoomSelector],
    params: StreamParams,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let AuthenticatedClient { principal, address } = client;
    // When a browser reconnects, the query has its first position and the header its last one.
    let resume = match headers.get(&LAST_EVENT_ID) {
        Some(id) if !id.is_empty() => Some(extract::resume_from_event(id.as_bytes())?),
        _ => extract::resume(params.after.as_deref(), params.epoch)?,
    };
    let dialect = dialect(headers)?;
    let refused = |refusal: &Refusal| info!(%address, ?refusal, "refused");
    let admission = state.hub.admit(address).inspect_err(refused)?;
    let subscriptions = state.hub.enter_all(rooms, resume.as_ref()).await;
    let subscriptions = subscriptions.inspect_err(refused)?;
    if resume.is_some() && subscriptions.iter().all(PendingSubscription::is_at_end) {
        // The browser's EventSource reconnects unless the status is 204 (HTML section 9.2.3).
        return Ok(StatusCode::NO_CONTENT.into_response());
    }

    let pending = PendingConnection {
        admission,
        subscriptions,
        id,
        permissions: Permissions::new(principal),
        settings: state.connection.clone(),
    };
    let position = pending.position();

    let media_type = match dialect {
        Dialect::Ndjson => "application/x-ndjson",
        Dialect::Sse | Dialect::Plain | Dialect::Typed => "text/event-stream",
    };
    let mut response = pending.open_stream(dialect);
    headers::describe_stream(&mut response, media_type);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let position = position.and_then(|position| HeaderValue::try_from(position.to_string()).ok());
    if let Some(position) = position {
        headers.insert(LAST_EVENT_ID, position);
    }

    Ok(response)
}

/// Returns the form that `Accept` prefers: server-sent events by default.
fn dialect(headers: &HeaderMap) -> Result<Dialect, ApiError> {
    negotiation::media_type(headers, &DIALECTS)
        .copied()
        .ok_or(ApiError::NotAcceptable {
            offered: "text/event-stream or application/x-ndjson",
        })
}
