//! `DELETE …/rooms/{room}/messages/{offset}`: deletes a message.

use axum::Json;
use axum::extract::{Path, State as Shared};
use tracing::info;

use crate::protocol::admin::DeletedMessage;
use crate::protocol::{Offset, RoomName};
use crate::server::http::AppState;
use crate::server::http::api::admin::OperatorErrors;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::error::{AdminError, ApiError, ErrorBody};
use crate::server::http::extract::{self, InRoom};
use crate::server::metrics::{self, AdminAction};
use crate::server::store::Deleted;

/// Delete a message.
///
/// The offset, the sender and the key stay: no reader sees a gap, and a repeated publish is still recognised. In history, in
/// streams and during catch-up it is a message with `deleted: true` and no text; connected clients get a `deleted`.
#[utoipa::path(
    delete,
    path = "/api/v1/admin/rooms/{room}/messages/{offset}",
    params(
        InRoom,
        ("offset" = u64, Path, description = "The message's offset"),
    ),
    responses(
        (status = 200, description = "The message is deleted", body = DeletedMessage),
        (status = 400, description = "`bad_name`, `bad_parameter`: the message names it", body = ErrorBody),
        OperatorErrors,
        (status = 404, description = "`no_such_message`: or it is no longer kept", body = ErrorBody),
        (status = 503, description = "`store_unavailable`, `too_many_rooms`", body = ErrorBody),
    ),
)]
pub(super) async fn delete(
    Shared(state): Shared<AppState>,
    operator: Operator,
    Path((room, offset)): Path<(String, String)>,
) -> Result<Json<DeletedMessage>, ApiError> {
    let room = RoomName::parse(&room)?;
    let offset = extract::offset("offset", &offset)?;
    Ok(Json(delete_message(&state, &operator, room, offset).await?))
}

/// Deletes the message at `offset` in `room` on behalf of `operator`.
pub(in crate::server::http) async fn delete_message(
    state: &AppState,
    operator: &Operator,
    room: RoomName,
    offset: Offset,
) -> Result<DeletedMessage, ApiError> {
    operator.check(&room)?;

    let stored = state.hub.room(&room).await?;
    let before = match stored.delete(offset).await? {
        Deleted::Now => false,
        Deleted::Before => true,
        Deleted::NotKept => return Err(AdminError::NoMessage { room, offset }.into()),
    };

    if !before {
        metrics::count_admin_action(AdminAction::Delete, 1);
        info!(%operator, %room, %offset, "deleted a message");
    }
    Ok(DeletedMessage {
        room,
        offset,
        before,
    })
}
