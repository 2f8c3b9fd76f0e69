//! `GET …/rooms/{room}`: the bounds and the members of a room.

use axum::Json;
use axum::extract::State as Shared;
use serde::Serialize;
use utoipa::ToSchema;

use crate::protocol::{Epoch, Offset, RoomName};
use crate::server::http::AppState;
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::InRoom;
use crate::server::http::middleware::authenticated::AuthenticatedClient;
use crate::server::store::Bounds;

/// A room.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RoomDescription {
    /// The name of the room.
    #[schema(value_type = String)]
    room: RoomName,
    /// The epoch of the log, to which the offsets belong.
    #[schema(value_type = String)]
    epoch: Epoch,
    /// The oldest offset that is kept; 0 if there is none.
    #[schema(value_type = u64)]
    first: Offset,
    /// The newest offset; 0 if there is none.
    #[schema(value_type = u64)]
    head: Offset,
    /// The number of members on all nodes.
    count: usize,
    /// True if an operator has closed the room: it accepts no joins and no messages.
    closed: bool,
}

/// Describe a room.
///
/// A room that nobody has used yet is an empty room.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}",
    params(InRoom),
    responses(
        (status = 200, description = "The room", body = RoomDescription),
        (status = 400, description = "`bad_name`", body = ErrorBody),
        (status = 401, description = "`no_token`, `bad_token`, with the reason", body = ErrorBody),
        (status = 403, description = "`origin_not_allowed`, `not_allowed`, `banned`", body = ErrorBody),
        (status = 503, description = "`store_unavailable`, `too_many_rooms`", body = ErrorBody),
    ),
)]
pub(super) async fn describe(
    Shared(state): Shared<AppState>,
    client: AuthenticatedClient,
    InRoom(name): InRoom,
) -> Result<Json<RoomDescription>, ApiError> {
    client.check_read(&state, &name)?;

    let room = state.hub.room(&name).await?;
    let (count, _members) = state.hub.present(&room).await;
    let Bounds {
        epoch, first, head, ..
    } = state.hub.store().bounds(&name)?;
    let closed = state.moderation.closed_rooms().contains(&name);

    Ok(Json(RoomDescription {
        room: name,
        epoch,
        first,
        head,
        count,
        closed,
    }))
}
