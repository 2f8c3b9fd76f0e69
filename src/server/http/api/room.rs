//! `GET …/rooms/{room}` and `GET …/rooms`: the bounds and the members of one room or of several.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::protocol::{Epoch, Offset, RoomName, RoomPattern};
use crate::server::http::AppState;
use crate::server::http::api::admin::page_size;
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::{self, InRoom, Query};
use crate::server::http::middleware::authenticated::AuthenticatedClient;
use crate::server::store::{Bounds, Store, StoredRoom};

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
    /// True if the room accepts no messages: it was closed for ever, or an operator has closed it.
    closed: bool,
    /// The media type of a room that was created as a stream; otherwise null.
    content_type: Option<String>,
    /// The time at which the room expires if it is not used until then, in milliseconds since 1970 UTC; null if it does
    /// not.
    expires_at: Option<u64>,
}

/// The query parameters of a list of rooms.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RoomListParams {
    /// The beginning of the names; by default, all rooms are listed.
    #[serde(default)]
    #[param(value_type = Option<String>, max_length = 128)]
    prefix: String,
    /// Only rooms whose names follow this one.
    #[serde(default, deserialize_with = "extract::non_empty")]
    #[param(value_type = Option<String>)]
    after: Option<RoomName>,
    /// The most rooms in the list, 1 to 1000 (default 100).
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// A page of the list of rooms.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RoomPage {
    /// The rooms, by name.
    rooms: Vec<RoomDescription>,
    /// True if there are more: request them with the last name as `after`.
    more: bool,
}

/// List the rooms.
///
/// These are the rooms that have messages or members and that the caller may read. A room whose messages have all expired
/// is listed until it is dropped. On a server with several nodes, `count` has only members that this node knows.
#[utoipa::path(
    get,
    path = "/api/v1/rooms",
    params(RoomListParams),
    responses(
        (status = 200, description = "The rooms", body = RoomPage),
        (status = 400, description = "`bad_name`, `bad_parameter`, with its name", body = ErrorBody),
        (status = 401, description = "`no_token`, `bad_token`, with the reason", body = ErrorBody),
        (status = 403, description = "`origin_not_allowed`", body = ErrorBody),
        (status = 503, description = "`no_keys` (the keys of `--jwks` are not fetched yet), `store_unavailable`", body = ErrorBody),
    ),
)]
pub(super) async fn list(
    Shared(state): Shared<AppState>,
    client: AuthenticatedClient,
    Query(params): Query<RoomListParams>,
) -> Result<Json<RoomPage>, ApiError> {
    client.principal.check_any()?;
    let limit = page_size(params.limit)?;
    let pattern = RoomPattern::parse(&format!("{}*", params.prefix))?;

    let after = params.after;
    let may_read = {
        let state = state.clone();
        Arc::new(move |room: &RoomName| client.check_read(&state, room).is_ok())
    };

    let store = state.hub.store();
    let filter = {
        let may_read = may_read.clone();
        Box::new(move |room: &RoomName| may_read(room))
    };
    let stored = store.list_rooms(&pattern, after.as_ref(), limit + 1, filter);
    let stored = stored.await?.into_iter();
    let mut rooms: BTreeMap<RoomName, StoredRoom> =
        stored.map(|room| (room.room.clone(), room)).collect();
    let is_listed =
        |room: &RoomName| pattern.matches(room) && Some(room) > after.as_ref() && may_read(room);
    let members = state.hub.rooms().member_counts(is_listed);
    for room in members.keys() {
        // All its messages may have expired.
        let entry = rooms.entry(room.clone());
        entry.or_insert_with(|| of_open_room(store, room));
    }

    let more = rooms.len() > limit;
    let closed = state.moderation.closed_rooms();
    let describe = |stored: StoredRoom| {
        let settings = stored.lifecycle.settings;

        RoomDescription {
            count: members.get(&stored.room).copied().unwrap_or_default(),
            closed: stored.lifecycle.is_closed || closed.contains(&stored.room),
            epoch: store.epoch(),
            first: stored.first,
            head: stored.head,
            room: stored.room,
            expires_at: stored.expires_at,
            content_type: settings.and_then(|settings| settings.content_type),
        }
    };
    let rooms = rooms.into_values().take(limit).map(describe).collect();
    Ok(Json(RoomPage { rooms, more }))
}

/// Returns the summary of `room`, which has members and may have no messages.
fn of_open_room(store: &dyn Store, room: &RoomName) -> StoredRoom {
    let bounds = store.bounds(room).ok();
    let offset = |of: fn(&Bounds) -> Offset| bounds.as_ref().map(of).unwrap_or_default();
    StoredRoom {
        room: room.clone(),
        first: offset(|bounds| bounds.first),
        head: offset(|bounds| bounds.head),
        count: None,
        lifecycle: store.lifecycle(room).ok().flatten().unwrap_or_default(),
        expires_at: store.expires_at(room).ok().flatten(),
    }
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
        (status = 503, description = "`no_keys` (the keys of `--jwks` are not fetched yet), `store_unavailable`, `too_many_rooms`", body = ErrorBody),
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
    let lifecycle = state.hub.store().lifecycle(&name)?.unwrap_or_default();
    let closed = lifecycle.is_closed || state.moderation.closed_rooms().contains(&name);
    let settings = lifecycle.settings;

    Ok(Json(RoomDescription {
        epoch,
        first,
        head,
        count,
        closed,
        expires_at: state.hub.store().expires_at(&name)?,
        room: name,
        content_type: settings.and_then(|settings| settings.content_type),
    }))
}
