//! `POST …/signals`: sends a signal to the clients that are subscribed to a room.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::protocol::{Json, Kind, MAX_SIGNAL_BYTES, Signal, UserId, without_bom};
use crate::server::http::AppState;
use crate::server::http::api::RequestBody;
use crate::server::http::api::message::{BodyFormat, shorten};
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::InRoom;
use crate::server::http::middleware::authenticated::AuthenticatedClient;
use crate::server::moderation::AccessRequest;
use crate::server::session::max_publish_bytes;

/// A signal.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSignal {
    /// The application's own type of the signal: 1 to 64 characters of `A-Z a-z 0-9 . _ : -`. Kinds that begin with
    /// `fanfare.` are reserved for the server.
    #[schema(value_type = String, max_length = 64, pattern = "^[A-Za-z0-9._:-]+$")]
    kind: Kind,
    /// Any JSON value, at most 4096 bytes without whitespace and 120 levels deep.
    #[serde(deserialize_with = "Json::deserialize_exact")]
    #[schema(value_type = serde_json::Value)]
    json: Json,
    /// The sender: 1 to 64 characters, no control characters. Defaults to the `sub` of the token, which it must match, or
    /// to `anonymous`.
    #[schema(value_type = Option<String>, max_length = 64)]
    from: Option<UserId>,
}

/// The answer to a signal, which has no fields yet.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SignalAccepted {}

/// Send a signal to the clients that are subscribed to the room now.
///
/// A signal is not stored, and the answer does not depend on who gets it. It counts as a message in the rate limits.
#[utoipa::path(
    post,
    path = "/api/v1/rooms/{room}/signals",
    params(InRoom),
    request_body = NewSignal,
    responses(
        (status = 202, description = "Sent", body = SignalAccepted),
        (status = 400, description = "`bad_name`", body = ErrorBody),
        (status = 401, description = "`no_token`, `bad_token`, with the reason", body = ErrorBody),
        (status = 403, description = "`origin_not_allowed`, `not_allowed`, `banned`, `room_closed`", body = ErrorBody),
        (status = 408, description = "`too_slow`: the body timed out", body = ErrorBody),
        (status = 413, description = "`too_big`", body = ErrorBody),
        (status = 415, description = "`unsupported_media_type`", body = ErrorBody),
        (status = 422, description = "`bad_body`", body = ErrorBody),
        (status = 429, description = "`rate_limited`, `busy` (too many bodies from this address at once), with `Retry-After`", body = ErrorBody),
        (status = 503, description = "`no_keys` (the keys of `--jwks` are not fetched yet)", body = ErrorBody),
    ),
)]
pub(super) async fn signal(
    Shared(state): Shared<AppState>,
    client: AuthenticatedClient,
    InRoom(room): InRoom,
    body: RequestBody,
) -> Result<(StatusCode, axum::Json<SignalAccepted>), ApiError> {
    // Checked before the body is read.
    let limits = client.check_publish(&state, &room, None)?;
    if !matches!(BodyFormat::of(body.headers()), Ok(BodyFormat::Json)) {
        return Err(ApiError::NotJson);
    }

    let signal = body
        .read(max_publish_bytes(MAX_SIGNAL_BYTES), parse)
        .await?;
    let from = client.principal.user_id(signal.from)?;
    let from = from.unwrap_or_else(UserId::anonymous);
    let id = client.principal.ban_id(Some(&from));
    let request = AccessRequest::new(id, client.address, &room);
    state.moderation.admit(&request)?;
    client.count_messages(&state, limits, &[(&from, 1)])?;

    state.hub.send_signal(Signal {
        room,
        from,
        kind: signal.kind,
        json: signal.json,
    });
    Ok((StatusCode::ACCEPTED, axum::Json(SignalAccepted {})))
}

fn parse(body: &[u8]) -> Result<NewSignal, ApiError> {
    let mut signal: NewSignal = serde_json::from_slice(without_bom(body)).map_err(|error| {
        ApiError::Body(format!("the JSON is not a signal: {}", shorten(&error)))
    })?;
    let kind = signal.kind.unreserved();
    signal.kind = kind.map_err(|error| ApiError::Body(error.to_string()))?;

    if signal.json.as_str().len() > MAX_SIGNAL_BYTES {
        return Err(ApiError::TooBig {
            what: "signal",
            limit: MAX_SIGNAL_BYTES,
        });
    }
    Ok(signal)
}
