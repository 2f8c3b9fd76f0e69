//! `DELETE …/rooms/{room}/messages/{offset}`: taking back what was said.

use axum::Json;
use axum::extract::{Path, State as Shared};
use serde::Serialize;
use tracing::info;
use utoipa::ToSchema;

use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::http::AppState;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::error::{AdminError, ApiError, ErrorBody};
use crate::server::http::extract;
use crate::server::metrics::{self, AdminAction};
use crate::server::store;

/// What was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Deleted {
    /// The room.
    #[schema(value_type = String)]
    room: RoomName,
    /// The message's number.
    #[schema(value_type = u64)]
    offset: Offset,
    /// Whether it already was.
    before: bool,
}

/// Delete a message.
///
/// Its place, sender and key stay: no reader sees a gap, and a repeated send is still known. In history, in streams
/// and to whoever catches up it is a message with `deleted: true` and no text; those who listen get a `deleted`.
#[utoipa::path(
    delete,
    path = "/api/v1/admin/rooms/{room}/messages/{offset}",
    params(
        ("room" = String, Path, description = "1 to 64 of `a-z 0-9 - _ .`, but not `.` or `..`"),
        ("offset" = u64, Path, description = "The message's number"),
    ),
    responses(
        (status = 200, description = "What was said is gone", body = Deleted),
        (status = 400, description = "`bad_name`, `bad_parameter`: says which", body = ErrorBody),
        (status = 401, description = "`bad_token`: says why", body = ErrorBody),
        (status = 403, description = "`not_allowed`, `banned`, `origin_not_allowed`", body = ErrorBody),
        (status = 404, description = "`no_such_message`: or it is no longer kept", body = ErrorBody),
        (status = 503, description = "`store_unavailable`, `too_many_rooms`", body = ErrorBody),
    ),
)]
pub(super) async fn delete(
    Shared(state): Shared<AppState>,
    operator: Operator,
    Path((room, offset)): Path<(String, String)>,
) -> Result<Json<Deleted>, ApiError> {
    let (room, offset) = (RoomName::parse(&room)?, extract::offset("offset", &offset)?);
    let before = erase(&state, &operator, &room, offset).await?;
    Ok(Json(Deleted {
        room,
        offset,
        before,
    }))
}

/// Deletes the message at `offset` in `room`, in the name of `operator`; whether it already was.
pub(in crate::server::http) async fn erase(
    state: &AppState,
    operator: &Operator,
    room: &RoomName,
    offset: Offset,
) -> Result<bool, ApiError> {
    operator.check(room)?;
    let before = match state
        .hub
        .delete(&state.hub.room(room).await?, offset)
        .await?
    {
        store::Deleted::Now => false,
        store::Deleted::Before => true,
        store::Deleted::NotKept => {
            return Err(AdminError::NoMessage {
                room: room.clone(),
                offset,
            }
            .into());
        }
    };
    if !before {
        metrics::count_admin_action(AdminAction::Delete, 1);
        info!(%operator, %room, %offset, "deleted a message");
    }
    Ok(before)
}
