//! `GET …/rooms`: the rooms of the store, and those in memory.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State as Shared;

use crate::protocol::admin::{RoomList, RoomQuery, RoomSummary};
use crate::protocol::{RoomName, RoomPattern};
use crate::server::http::AppState;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::api::admin::{OperatorErrors, page_size};
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::Query;
use crate::server::hub::RoomStats;
use crate::server::store::StoredRoom;

/// List the rooms.
///
/// These are the rooms that have messages, and those that were joined or read since the server started.
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
    let list = list(&state, &operator, &query.prefix, &query.after, limit);
    Ok(Json(list.await?))
}

/// Returns at most `limit` of the rooms that `operator` administers and whose names begin with `prefix`, after the name
/// `after`.
pub(in crate::server::http) async fn list(
    state: &AppState,
    operator: &Operator,
    prefix: &str,
    after: &str,
    limit: usize,
) -> Result<RoomList, ApiError> {
    let matches = |name: &RoomName| name.as_str().starts_with(prefix) && operator.administers(name);
    let in_memory = state.hub.rooms().list(after, limit, matches);
    let stored = stored_rooms(state, operator, prefix, after, limit).await?;

    let closed_rooms = state.moderation.closed_rooms();
    let mut rooms = BTreeMap::new();
    for stored in stored {
        let summary = RoomSummary {
            name: stored.room.clone(),
            members: 0,
            connections: 0,
            head: stored.head,
            first: stored.first,
            ring_messages: 0,
            ring_bytes: 0,
            closed: closed_rooms.contains(&stored.room),
        };
        rooms.insert(stored.room, summary);
    }
    for room in in_memory.items {
        let RoomStats {
            members,
            connections,
            head,
            ring: (ring_messages, ring_bytes),
        } = room.stats();
        let summary = RoomSummary {
            name: room.name().clone(),
            members,
            connections,
            head,
            first: state.hub.store().bounds(room.name())?.first,
            ring_messages,
            ring_bytes,
            closed: closed_rooms.contains(room.name()),
        };
        rooms.insert(summary.name.clone(), summary);
    }

    let more = in_memory.more || rooms.len() > limit;
    let rooms = rooms.into_values().take(limit).collect();
    Ok(RoomList { rooms, more })
}

/// Returns the rooms that have messages, of those that [`list`] selects: at most one more than `limit`.
async fn stored_rooms(
    state: &AppState,
    operator: &Operator,
    prefix: &str,
    after: &str,
    limit: usize,
) -> Result<Vec<StoredRoom>, ApiError> {
    // No room has such a name.
    let Ok(pattern) = RoomPattern::parse(&format!("{prefix}*")) else {
        return Ok(Vec::new());
    };
    let operator = operator.clone();
    let after = after.to_owned();
    // The name after which the list begins need not be that of a room.
    let position = RoomName::parse(&after).ok();
    let filter = Box::new(move |room: &RoomName| {
        room.as_str() > after.as_str() && operator.administers(room)
    });

    let store = state.hub.store();
    let rooms = store.list_rooms(&pattern, position.as_ref(), limit + 1, filter);
    Ok(rooms.await?)
}
