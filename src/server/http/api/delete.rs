//! `DELETE …/messages/{offset}`: deletes a message of one's own.

use axum::Json;
use axum::extract::{Path, State as Shared};

use crate::protocol::RoomName;
use crate::protocol::admin::DeletedMessage;
use crate::server::http::AppState;
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::{self, InRoom};
use crate::server::http::middleware::authenticated::AuthenticatedClient;
use crate::server::store::Deleted;

/// Delete a message of your own.
///
/// The `sub` of the token must be the sender. The offset, the sender and the key stay: no reader sees a gap. In history
/// and in streams the message has `deleted: true` and no text; connected clients get a `deleted`.
#[utoipa::path(
    delete,
    path = "/api/v1/rooms/{room}/messages/{offset}",
    params(
        InRoom,
        ("offset" = u64, Path, description = "The message's offset"),
    ),
    responses(
        (status = 200, description = "The message is deleted", body = DeletedMessage),
        (status = 400, description = "`bad_name`, `bad_parameter`: the message names it", body = ErrorBody),
        (status = 401, description = "`no_token`, `bad_token`, with the reason", body = ErrorBody),
        (status = 403, description = "`not_allowed` (not yours, or names are not verified), `banned`, `room_closed`, `origin_not_allowed`", body = ErrorBody),
        (status = 404, description = "`no_such_message`: or it is no longer kept", body = ErrorBody),
        (status = 429, description = "`rate_limited`, with `Retry-After`", body = ErrorBody),
        (status = 503, description = "`no_keys` (the keys of `--jwks` are not fetched yet), `store_unavailable`, `too_many_rooms`", body = ErrorBody),
    ),
)]
pub(super) async fn delete(
    Shared(state): Shared<AppState>,
    client: AuthenticatedClient,
    Path((room, offset)): Path<(String, String)>,
) -> Result<Json<DeletedMessage>, ApiError> {
    let name = RoomName::parse(&room)?;
    let offset = extract::offset("offset", &offset)?;
    client.check_write(&state, &name)?;
    if let Some(sender) = client.principal.proven() {
        let limits = client.message_limits(&name, None);
        client.count_messages(&state, limits, &[(sender, 1)])?;
    }

    let room = state.hub.room(&name).await?;
    let deleted = room.delete_own(offset, client.principal.proven()).await?;

    Ok(Json(DeletedMessage {
        room: name,
        offset,
        before: deleted == Deleted::Before,
    }))
}
