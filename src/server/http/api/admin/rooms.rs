//! `GET …/rooms`: the rooms in memory.

use axum::Json;
use axum::extract::State as Shared;

use crate::protocol::RoomName;
use crate::protocol::admin::{RoomList, RoomQuery, RoomSummary};
use crate::server::http::AppState;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::api::admin::{OperatorErrors, page_size};
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::Query;
use crate::server::hub::{Listing, RoomStats};

/// List the rooms in memory.
///
/// These are the rooms that were joined, read or written since the server started.
#[utoipa::path(
    get,
    path = "/api/v1/admin/rooms",
    params(RoomQuery),
    responses(
        (status = 200, description = "Rooms that you administer", body = RoomList),
        (status = 400, description = "`bad_parameter`: the message names it", body = ErrorBody),
        OperatorErrors,
        (status = 503, description = "`store_unavailable`", body = ErrorBody),
    ),
)]
pub(super) async fn rooms(
    Shared(state): Shared<AppState>,
    operator: Operator,
    Query(query): Query<RoomQuery>,
) -> Result<Json<RoomList>, ApiError> {
    let limit = page_size(query.limit)?;
    let list = list(&state, &operator, &query.prefix, &query.after, limit)?;
    Ok(Json(list))
}

/// Returns at most `limit` of the rooms that `operator` administers and whose names begin with `prefix`, after the name
/// `after`.
pub(in crate::server::http) fn list(
    state: &AppState,
    operator: &Operator,
    prefix: &str,
    after: &str,
    limit: usize,
) -> Result<RoomList, ApiError> {
    let matches = |name: &RoomName| name.as_str().starts_with(prefix) && operator.administers(name);
    let Listing { items, more } = state.hub.rooms().list(after, limit, matches);

    let closed_rooms = state.moderation.closed_rooms();
    let mut rooms = Vec::with_capacity(items.len());
    for room in items {
        let RoomStats {
            members,
            connections,
            head,
            ring: (ring_messages, ring_bytes),
        } = room.stats();
        rooms.push(RoomSummary {
            name: room.name().clone(),
            members,
            connections,
            head,
            first: state.hub.store().bounds(room.name())?.first,
            ring_messages,
            ring_bytes,
            closed: closed_rooms.contains(room.name()),
        });
    }
    Ok(RoomList { rooms, more })
}
