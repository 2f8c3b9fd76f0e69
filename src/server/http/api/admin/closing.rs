//! `POST …/rooms/{room}/close` and `…/open`: a room that nobody comes into, until it is opened again.

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::ToSchema;

use crate::protocol::RoomName;
use crate::server::http::AppState;
use crate::server::http::api::RequestBody;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::api::admin::{decree, now_millis, read, reason};
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::InRoom;
use crate::server::hub::Effect;
use crate::server::metrics::{self, AdminAction};
use crate::server::moderation::{Closure, Decree};

/// Why a room is closed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Closing {
    /// Whoever wants to come in reads it. At most 200 characters.
    reason: Option<String>,
}

/// What became of a room.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Door {
    /// The room.
    #[schema(value_type = String)]
    room: RoomName,
    /// Whether it is closed now.
    closed: bool,
    /// How many connections it ends on this node; those on others it ends too.
    kicked: usize,
}

/// Close a room.
///
/// Everyone in it is closed with 4003. Nobody comes in (4501, HTTP 403 `room_closed`) and nothing is said there until
/// it is opened; what was said stays, and may be read as history. It is kept over restarts.
#[utoipa::path(
    post,
    path = "/api/v1/admin/rooms/{room}/close",
    params(("room" = String, Path, description = "1 to 64 of `a-z 0-9 - _ .`, but not `.` or `..`")),
    request_body(content = Closing),
    responses(
        (status = 200, description = "It is closed", body = Door),
        (status = 400, description = "`bad_name`", body = ErrorBody),
        (status = 401, description = "`bad_token`: says why", body = ErrorBody),
        (status = 403, description = "`not_allowed`, `banned`, `origin_not_allowed`", body = ErrorBody),
        (status = 408, description = "`too_slow`: the body did not come in time", body = ErrorBody),
        (status = 413, description = "`too_big`", body = ErrorBody),
        (status = 415, description = "`unsupported_media_type`: JSON is asked for", body = ErrorBody),
        (status = 422, description = "`bad_body`: says what is wrong", body = ErrorBody),
        (status = 503, description = "`not_kept`: it cannot be written; `memory_full`", body = ErrorBody),
    ),
)]
pub(super) async fn close(
    Shared(state): Shared<AppState>,
    operator: Operator,
    InRoom(room): InRoom,
    body: RequestBody,
) -> Result<Json<Door>, ApiError> {
    operator.check(&room)?;
    let Closing { reason } = read(body).await?;
    let kicked = shut(&state, &operator, &room, reason).await?;
    Ok(Json(Door {
        room,
        closed: true,
        kicked,
    }))
}

/// Closes `room`, in the name of `operator`; gives how many connections were ended.
pub(in crate::server::http) async fn shut(
    state: &AppState,
    operator: &Operator,
    room: &RoomName,
    why: Option<String>,
) -> Result<usize, ApiError> {
    operator.check(room)?;
    let reason = reason(why)?;
    let closure = Closure {
        room: room.clone(),
        reason,
        by: operator.to_string(),
        since: now_millis(),
    };
    let Effect { kicked, .. } = decree(state, Decree::Close(closure)).await?;
    metrics::count_admin_action(AdminAction::Close, 1);
    info!(%operator, %room, kicked, "closed a room");
    Ok(kicked)
}

/// Open a room that was closed.
#[utoipa::path(
    post,
    path = "/api/v1/admin/rooms/{room}/open",
    params(("room" = String, Path, description = "1 to 64 of `a-z 0-9 - _ .`, but not `.` or `..`")),
    responses(
        (status = 200, description = "It is open, as it perhaps was", body = Door),
        (status = 400, description = "`bad_name`", body = ErrorBody),
        (status = 401, description = "`bad_token`: says why", body = ErrorBody),
        (status = 403, description = "`not_allowed`, `banned`, `origin_not_allowed`", body = ErrorBody),
        (status = 415, description = "`unsupported_media_type`: JSON is asked for", body = ErrorBody),
        (status = 503, description = "`not_kept`: it cannot be written", body = ErrorBody),
    ),
)]
pub(super) async fn open(
    Shared(state): Shared<AppState>,
    operator: Operator,
    InRoom(room): InRoom,
) -> Result<Json<Door>, ApiError> {
    reopen(&state, &operator, &room).await?;
    Ok(Json(Door {
        room,
        closed: false,
        kicked: 0,
    }))
}

/// Opens `room`, in the name of `operator`.
pub(in crate::server::http) async fn reopen(
    state: &AppState,
    operator: &Operator,
    room: &RoomName,
) -> Result<(), ApiError> {
    operator.check(room)?;
    if decree(state, Decree::Open { room: room.clone() })
        .await?
        .was
    {
        metrics::count_admin_action(AdminAction::Open, 1);
        info!(%operator, %room, "opened a room");
    }
    Ok(())
}
