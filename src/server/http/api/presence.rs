//! `GET …/presence`: the members of a room.

use axum::Json;
use axum::extract::State as Shared;
use serde::Serialize;
use utoipa::ToSchema;

use crate::protocol::{self, UserId};
use crate::server::http::AppState;
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::InRoom;
use crate::server::http::middleware::authenticated::AuthenticatedClient;
use crate::server::room::PresentMember;

/// The members of a room.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PresenceResponse {
    /// The number of members.
    count: usize,
    /// The members, in the order of their ids; absent in rooms with more than 500.
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Vec<PresenceMember>>,
}

/// A member of a room.
#[derive(Debug, Serialize, ToSchema)]
struct PresenceMember {
    /// The id of the member.
    #[schema(value_type = String)]
    id: UserId,
    /// The newest state that the member has set in the room; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    state: Option<protocol::Json>,
    /// Open connections with this id; 0 for up to 5 s after the last one was closed.
    connections: u32,
    /// The time of the first of these connections, in milliseconds since 1970 UTC.
    since: u64,
}

/// List the members of a room.
///
/// Members are the clients with a WebSocket, and streams with an `id`. Clients that reconnect within 5 s are not shown as
/// leaving.
#[utoipa::path(
    get,
    path = "/api/v1/rooms/{room}/presence",
    params(InRoom),
    responses(
        (status = 200, description = "The members", body = PresenceResponse),
        (status = 400, description = "`bad_name`", body = ErrorBody),
        (status = 401, description = "`no_token`, `bad_token`, with the reason", body = ErrorBody),
        (status = 403, description = "`origin_not_allowed`, `not_allowed`, `banned`", body = ErrorBody),
        (status = 503, description = "`no_keys` (the keys of `--jwks` are not fetched yet), `store_unavailable`, `too_many_rooms`", body = ErrorBody),
    ),
)]
pub(super) async fn presence(
    Shared(state): Shared<AppState>,
    client: AuthenticatedClient,
    InRoom(room): InRoom,
) -> Result<Json<PresenceResponse>, ApiError> {
    client.check_read(&state, &room)?;

    let room = state.hub.room(&room).await?;
    let (count, present) = state.hub.present(&room).await;
    let member = |PresentMember {
                      id,
                      connections,
                      since,
                      state,
                      state_set_at: _,
                  }| PresenceMember {
        id,
        state,
        connections,
        since,
    };

    Ok(Json(PresenceResponse {
        count,
        members: present.map(|members| members.into_iter().map(member).collect()),
    }))
}
