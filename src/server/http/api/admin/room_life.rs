//! `PATCH` and `DELETE …/rooms/{room}`: the life of a room. Ending a room is for ever, and every reader gets `closed`; closing
//! one, in [`super::room_state`], lasts until it is opened.

use axum::Json;
use axum::extract::State as Shared;
use tracing::info;

use crate::protocol::admin::{DeletedRoom, RoomExpiry, RoomLife, RoomLifeRequest};
use crate::server::http::AppState;
use crate::server::http::api::RequestBody;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::api::admin::{BodyErrors, OperatorErrors, read};
use crate::server::http::error::{AdminError, ApiError, ErrorBody};
use crate::server::http::extract::InRoom;
use crate::server::http::streams::is_content_type;
use crate::server::metrics::{self, AdminAction};
use crate::server::store::{RoomChange, RoomSettings};

/// Change the life of a room: its content type, its expiry, or its end.
///
/// The readers of a room that ends get `closed` after its last message; the end cannot be undone. To keep everyone out of
/// a room for some time, close it instead (`POST …/close`).
#[utoipa::path(
    patch,
    path = "/api/v1/admin/rooms/{room}",
    params(InRoom),
    request_body(content = RoomLifeRequest),
    responses(
        (status = 200, description = "The life of the room now", body = RoomLife),
        (status = 400, description = "`bad_name`", body = ErrorBody),
        OperatorErrors,
        (status = 404, description = "`no_such_room`: or it has expired", body = ErrorBody),
        BodyErrors,
        (status = 503, description = "`store_unavailable`, `too_many_rooms`", body = ErrorBody),
    ),
)]
pub(super) async fn change(
    Shared(state): Shared<AppState>,
    operator: Operator,
    InRoom(room): InRoom,
    body: RequestBody,
) -> Result<Json<RoomLife>, ApiError> {
    operator.check(&room)?;
    let RoomLifeRequest {
        content_type,
        expiry,
        end,
    } = read(body).await?;
    if let Some(content_type) = content_type.as_ref().filter(|text| !is_content_type(text)) {
        return Err(ApiError::Body(format!(
            "content_type is {content_type:?}; allowed is a media type like application/json, at most 255 bytes"
        )));
    }

    let change = RoomChange {
        content_type,
        expiry,
        closes: end,
    };
    // While a room is open, its readers get the changes.
    let _open = state.hub.room(&room).await?;
    let store = state.hub.store();
    let Some(lifecycle) = store.change_room(&room, change).await? else {
        return Err(AdminError::NoRoom { room }.into());
    };

    metrics::count_admin_action(AdminAction::Life, 1);
    info!(%operator, %room, ended = lifecycle.is_closed, "changed the life of a room");
    let expires_at = store.expires_at(&room)?;
    let settings = lifecycle.settings;
    Ok(Json(RoomLife {
        room,
        expiry: settings
            .as_ref()
            .map_or(RoomExpiry::Never, RoomSettings::expiry),
        content_type: settings.and_then(|settings| settings.content_type),
        expires_at,
        ended: lifecycle.is_closed,
    }))
}

/// Delete a room with all its messages.
///
/// All subscriptions to the room end with `room_deleted`. A later room of the same name begins with larger offsets.
#[utoipa::path(
    delete,
    path = "/api/v1/admin/rooms/{room}",
    params(InRoom),
    responses(
        (status = 200, description = "The room is deleted", body = DeletedRoom),
        (status = 400, description = "`bad_name`", body = ErrorBody),
        OperatorErrors,
        (status = 404, description = "`no_such_room`: or it has expired", body = ErrorBody),
        (status = 415, description = "`unsupported_media_type`: send `application/json`", body = ErrorBody),
        (status = 503, description = "`store_unavailable`, `too_many_rooms`", body = ErrorBody),
    ),
)]
pub(super) async fn delete(
    Shared(state): Shared<AppState>,
    operator: Operator,
    InRoom(room): InRoom,
) -> Result<Json<DeletedRoom>, ApiError> {
    operator.check(&room)?;

    // While a room is open, its readers get the changes.
    let _open = state.hub.room(&room).await?;
    if !state.hub.store().delete_room(&room).await? {
        return Err(AdminError::NoRoom { room }.into());
    }

    metrics::count_admin_action(AdminAction::DeleteRoom, 1);
    info!(%operator, %room, "deleted a room");
    Ok(Json(DeletedRoom { room }))
}
