//! `GET …/presence`: who is in a room.

use axum::extract::State as Shared;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::protocol::UserId;
use crate::server::auth::Right;
use crate::server::http::AppState;
use crate::server::http::caller::Caller;
use crate::server::http::client::ClientAddress;
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::InRoom;
use crate::server::moderation::AccessRequest;
use crate::server::room::PresentMember;

/// Who is in a room.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PresenceResponse {
    /// How many members there are.
    count: usize,
    /// Who they are, in the order of their ids; absent in a room of more than 500.
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<PresenceMember>>,
}

/// One id.
#[derive(Debug, Serialize, ToSchema)]
struct PresenceMember {
    /// Who.
    #[schema(value_type = String)]
    id: UserId,
    /// Open connections with this id; 0 for up to 5 s after the last one went.
    connections: u32,
    /// When the first of them came, in milliseconds since 1970 UTC.
    since: u64,
}

/// See who is there.
///
/// WebSockets are, and streams that give an `id`. Whoever goes and comes back within 5 s was never gone.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/presence",
    params(("room" = String, Path, description = "1 to 64 of `a-z 0-9 - _ .`, but not `.` or `..`")),
    responses(
        (status = 200, description = "Who is there", body = PresenceResponse),
        (status = 400, description = "`bad_name`", body = ErrorBody),
        (status = 401, description = "`no_token`, `bad_token`: says why", body = ErrorBody),
        (status = 403, description = "`origin_not_allowed`, `not_allowed`, `banned`", body = ErrorBody),
        (status = 503, description = "`store_unavailable`, `too_many_rooms`", body = ErrorBody),
    ),
)]
pub(super) async fn presence(
    Shared(state): Shared<AppState>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    Caller(principal): Caller,
    InRoom(room): InRoom,
) -> Result<Json<PresenceResponse>, ApiError> {
    principal.check(Right::Read, &room)?;
    state
        .moderation
        .admit_reader(&AccessRequest::new(principal.proven(), address, &room))?;
    let room = state.hub.room(&room).await?;
    let (count, present) = state.hub.present(&room).await;
    let member = |PresentMember {
                      id,
                      connections,
                      since,
                  }| PresenceMember {
        id,
        connections,
        since,
    };
    Ok(Json(PresenceResponse {
        count,
        members: present.map(|all| all.into_iter().map(member).collect()),
    }))
}
