//! `POST …/rooms/{room}/close` and `…/open`: a closed room accepts no joins and no messages until it is opened.

use axum::Json;
use axum::extract::State as Shared;
use tracing::info;

use crate::protocol::RoomName;
use crate::protocol::admin::{CloseRequest, ClosedRoom, RoomClosure};
use crate::server::http::AppState;
use crate::server::http::api::RequestBody;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::api::admin::{BodyErrors, OperatorErrors, apply, check_reason, read};
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::InRoom;
use crate::server::metrics::{self, AdminAction};
use crate::server::moderation::RuleChange;
use crate::server::store::now_millis;

/// Close a room.
///
/// All connections in it are closed with 4003. Until the room is opened, joins are rejected with 4501 and publishes
/// with HTTP 403 `room_closed`. Its messages stay, and can be read as history. It stays closed over restarts.
#[utoipa::path(
    post,
    path = "/api/v1/admin/rooms/{room}/close",
    params(InRoom),
    request_body(content = CloseRequest),
    responses(
        (status = 200, description = "The room is closed", body = RoomClosure),
        (status = 400, description = "`bad_name`", body = ErrorBody),
        OperatorErrors,
        BodyErrors,
        (status = 503, description = "`not_kept`: the change cannot be stored; `memory_full`", body = ErrorBody),
    ),
)]
pub(super) async fn close(
    Shared(state): Shared<AppState>,
    operator: Operator,
    InRoom(room): InRoom,
    body: RequestBody,
) -> Result<Json<RoomClosure>, ApiError> {
    operator.check(&room)?;
    let CloseRequest { reason } = read(body).await?;
    Ok(Json(close_room(&state, &operator, room, reason).await?))
}

/// Closes `room` on behalf of `operator`.
pub(in crate::server::http) async fn close_room(
    state: &AppState,
    operator: &Operator,
    room: RoomName,
    reason: Option<String>,
) -> Result<RoomClosure, ApiError> {
    operator.check(&room)?;

    let closed = ClosedRoom {
        room: room.clone(),
        reason: check_reason(reason)?,
        by: operator.to_string(),
        since: now_millis(),
    };
    let change = RuleChange::Close(closed);
    let kicked = apply(state, change).await?.disconnected;

    metrics::count_admin_action(AdminAction::Close, 1);
    info!(%operator, %room, kicked, "closed a room");
    Ok(RoomClosure {
        room,
        closed: true,
        kicked,
    })
}

/// Open a room that was closed.
#[utoipa::path(
    post,
    path = "/api/v1/admin/rooms/{room}/open",
    params(InRoom),
    responses(
        (status = 200, description = "The room is open; it may have been open before", body = RoomClosure),
        (status = 400, description = "`bad_name`", body = ErrorBody),
        OperatorErrors,
        (status = 415, description = "`unsupported_media_type`: send `application/json`", body = ErrorBody),
        (status = 503, description = "`not_kept`: the change cannot be stored", body = ErrorBody),
    ),
)]
pub(super) async fn open(
    Shared(state): Shared<AppState>,
    operator: Operator,
    InRoom(room): InRoom,
) -> Result<Json<RoomClosure>, ApiError> {
    Ok(Json(open_room(&state, &operator, room).await?))
}

/// Opens `room` on behalf of `operator`.
pub(in crate::server::http) async fn open_room(
    state: &AppState,
    operator: &Operator,
    room: RoomName,
) -> Result<RoomClosure, ApiError> {
    operator.check(&room)?;

    let change = RuleChange::Open { room: room.clone() };
    if apply(state, change).await?.changed {
        metrics::count_admin_action(AdminAction::Open, 1);
        info!(%operator, %room, "opened a room");
    }
    Ok(RoomClosure {
        room,
        closed: false,
        kicked: 0,
    })
}
