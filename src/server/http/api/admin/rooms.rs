//! `GET …/rooms`: the rooms in memory, in figures.

use axum::Json;
use axum::extract::State as Shared;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::http::AppState;
use crate::server::http::api::admin;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::{self, Query};
use crate::server::hub::{Figures, Part};

/// Which rooms.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Only those whose names begin so.
    #[serde(default)]
    prefix: String,
    /// Only those behind this name, in the order of the alphabet.
    #[serde(default)]
    after: String,
    /// At most so many, 1 to 1000; 100 without it.
    #[serde(default, deserialize_with = "extract::non_empty")]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// Some rooms.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server::http) struct Rooms {
    /// In the order of their names.
    pub(in crate::server::http) rooms: Vec<InFigures>,
    /// Whether there are more behind the last.
    pub(in crate::server::http) more: bool,
}

/// One room.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server::http) struct InFigures {
    /// Its name.
    #[schema(value_type = String)]
    pub(in crate::server::http) name: RoomName,
    /// Ids that are present.
    pub(in crate::server::http) members: usize,
    /// Open connections, streams that nobody sees included.
    pub(in crate::server::http) connections: usize,
    /// The newest offset; 0 when nothing was said.
    #[schema(value_type = u64)]
    pub(in crate::server::http) head: Offset,
    /// The oldest offset kept; 0 when nothing is.
    #[schema(value_type = u64)]
    pub(in crate::server::http) first: Offset,
    /// Messages in memory, for readers that fall behind.
    pub(in crate::server::http) ring_messages: usize,
    /// Bytes of them.
    pub(in crate::server::http) ring_bytes: usize,
    /// Whether it is closed: nobody comes in, nothing is said.
    pub(in crate::server::http) closed: bool,
}

/// List the rooms.
///
/// Those in memory: in which somebody is, was, or read or said something since the server started.
#[utoipa::path(
    get,
    path = "/api/v1/admin/rooms",
    params(Asked),
    responses(
        (status = 200, description = "Some of the rooms that you administer", body = Rooms),
        (status = 400, description = "`bad_parameter`: says which", body = ErrorBody),
        (status = 401, description = "`bad_token`: says why", body = ErrorBody),
        (status = 403, description = "`not_allowed`, `banned`, `origin_not_allowed`", body = ErrorBody),
        (status = 503, description = "`store_unavailable`", body = ErrorBody),
    ),
)]
pub(super) async fn rooms(
    Shared(state): Shared<AppState>,
    operator: Operator,
    Query(asked): Query<Asked>,
) -> Result<Json<Rooms>, ApiError> {
    let limit = admin::limit(asked.limit.as_deref())?;
    Ok(Json(list(
        &state,
        &operator,
        &asked.prefix,
        &asked.after,
        limit,
    )?))
}

/// At most `limit` of the rooms of `operator` whose names begin with `prefix`, from behind the name `after`.
pub(in crate::server::http) fn list(
    state: &AppState,
    operator: &Operator,
    prefix: &str,
    after: &str,
    limit: usize,
) -> Result<Rooms, ApiError> {
    let fits = |name: &RoomName| name.as_str().starts_with(prefix) && operator.administers(name);
    let Part { some, more } = state.hub.rooms_after(after, limit, fits);
    let closed_rooms = state.moderation.closed_rooms();
    let mut rooms = Vec::with_capacity(some.len());
    for room in some {
        let Figures {
            members,
            connections,
            head,
            ring: (ring_messages, ring_bytes),
        } = room.figures();
        let first = state.hub.bounds(&room)?.first;
        let (name, closed) = (room.name().clone(), closed_rooms.contains(room.name()));
        rooms.push(InFigures {
            name,
            members,
            connections,
            head,
            first,
            ring_messages,
            ring_bytes,
            closed,
        });
    }
    Ok(Rooms { rooms, more })
}
