//! `GET …/connections` and `POST …/kick`: who is connected, and out with them.

use std::net::IpAddr;

use axum::Json;
use axum::extract::{Path, State as Shared};
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::{IntoParams, ToSchema};

use crate::protocol::CloseCode;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::http::AppState;
use crate::server::http::api::RequestBody;
use crate::server::http::api::admin;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::error::{AdminError, ApiError, ErrorBody};
use crate::server::http::extract::{self, Query};
use crate::server::hub::{Part, Seat, Standing};
use crate::server::metrics::{self, AdminAction};
use crate::server::moderation::Eviction;
use crate::server::session::IpBucket;

/// Which connections: those that fit everything that is given.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server::http) struct Which {
    /// In this room.
    #[schema(value_type = Option<String>)]
    pub(in crate::server::http) room: Option<RoomName>,
    /// Of this id: the `sub` of its token, else the id that it claims.
    #[schema(value_type = Option<String>)]
    pub(in crate::server::http) id: Option<UserId>,
    /// From this address; from the same /64 where it is IPv6.
    #[schema(value_type = Option<String>)]
    pub(in crate::server::http) address: Option<IpAddr>,
}

/// Which part of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// Only those in this room.
    #[param(value_type = Option<String>)]
    room: Option<String>,
    /// Only those of this id: the `sub` of the token, else the id that is claimed.
    #[param(value_type = Option<String>)]
    id: Option<String>,
    /// Only those from this address; from the same /64 where it is IPv6.
    #[param(value_type = Option<String>)]
    address: Option<String>,
    /// Only those behind this number.
    #[serde(default, deserialize_with = "extract::non_empty")]
    #[param(value_type = Option<u64>)]
    after: Option<String>,
    /// At most so many, 1 to 1000; 100 without it.
    #[serde(default, deserialize_with = "extract::non_empty")]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000)]
    limit: Option<String>,
}

/// Some connections.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server::http) struct Connections {
    /// In the order of their numbers, which is the one in which they came.
    pub(in crate::server::http) connections: Vec<Connection>,
    /// Whether there are more behind the last.
    pub(in crate::server::http) more: bool,
}

/// One connection.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server::http) struct Connection {
    /// Its number, as in the log and in `welcome`.
    pub(in crate::server::http) number: u64,
    /// Who it says it is; absent for a stream that nobody sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(in crate::server::http) id: Option<UserId>,
    /// The `sub` of its token; absent without a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(in crate::server::http) sub: Option<UserId>,
    /// Where it comes from.
    #[schema(value_type = String)]
    pub(in crate::server::http) address: IpAddr,
    /// The room that it is in.
    #[schema(value_type = String)]
    pub(in crate::server::http) room: RoomName,
    /// Since when, in milliseconds since 1970 UTC.
    pub(in crate::server::http) since: u64,
    /// `plain`, `fanfare.v1`, `sse` or `ndjson`.
    pub(in crate::server::http) dialect: &'static str,
    /// The last offset that was written to it.
    #[schema(value_type = u64)]
    pub(in crate::server::http) offset: Offset,
    /// How many offsets the room's newest is ahead of that.
    pub(in crate::server::http) behind: u64,
    /// Bytes that wait for it alone.
    pub(in crate::server::http) waiting: usize,
}

/// How many connections were ended on this node.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Kicked {
    /// So many.
    kicked: usize,
}

impl Which {
    const fn is_everyone(&self) -> bool {
        self.room.is_none() && self.id.is_none() && self.address.is_none()
    }

    /// Those of them in the rooms of `operator` that are there now are to go.
    fn eviction(self, operator: &Operator) -> Eviction {
        let Self { room, id, address } = self;
        Eviction {
            room,
            id,
            address,
            within: operator.within(),
            at: admin::now_millis(),
        }
    }

    fn fits(&self, seat: &Seat) -> bool {
        self.room.as_ref().is_none_or(|room| room == seat.room())
            && self.id.as_ref().is_none_or(|id| Some(id) == seat.account())
            && self
                .address
                .is_none_or(|address| IpBucket::of(address) == IpBucket::of(seat.address()))
    }
}

impl From<Seat> for Connection {
    fn from(seat: Seat) -> Self {
        let (
            Standing {
                dialect,
                offset,
                waiting,
            },
            behind,
        ) = seat.standing();
        Self {
            number: seat.number(),
            id: seat.id().cloned(),
            sub: seat.proven().cloned(),
            address: seat.address(),
            room: seat.room().clone(),
            since: seat.since(),
            dialect: dialect.as_str(),
            offset,
            behind,
            waiting,
        }
    }
}

/// List the connections.
///
/// Each with how far it has got: one that stays behind, or for which bytes wait, does not read.
#[utoipa::path(
    get,
    path = "/api/v1/admin/connections",
    params(Asked),
    responses(
        (status = 200, description = "Some of those in the rooms that you administer", body = Connections),
        (status = 400, description = "`bad_parameter`, `bad_name`: says which", body = ErrorBody),
        (status = 401, description = "`bad_token`: says why", body = ErrorBody),
        (status = 403, description = "`not_allowed`, `banned`, `origin_not_allowed`", body = ErrorBody),
    ),
)]
pub(super) async fn connections(
    Shared(state): Shared<AppState>,
    operator: Operator,
    Query(asked): Query<Asked>,
) -> Result<Json<Connections>, ApiError> {
    let limit = admin::limit(asked.limit.as_deref())?;
    let after = asked.after.map_or(Ok(0), |after| number("after", &after))?;
    let address = asked
        .address
        .map(|address| extract::address("address", &address))
        .transpose()?;
    let room = asked.room.as_deref().map(RoomName::parse).transpose()?;
    let which = Which {
        room,
        id: asked.id.as_deref().map(UserId::parse).transpose()?,
        address,
    };
    Ok(Json(list(&state, &operator, &which, after, limit).await))
}

/// At most `limit` of the connections that `which` says and `operator` may see, from behind the number `after`.
pub(in crate::server::http) async fn list(
    state: &AppState,
    operator: &Operator,
    which: &Which,
    after: u64,
    limit: usize,
) -> Connections {
    let fits = |seat: &Seat| which.fits(seat) && operator.administers(seat.room());
    let Part { some, more } = state.hub.seats(after, limit, fits).await;
    Connections {
        connections: some.into_iter().map(Connection::from).collect(),
        more,
    }
}

/// End a connection.
///
/// It is closed with 4003 and may come back; a ban keeps it away.
#[utoipa::path(
    post,
    path = "/api/v1/admin/connections/{number}/kick",
    params(("number" = u64, Path, description = "The connection's number")),
    responses(
        (status = 200, description = "It is being closed", body = Kicked),
        (status = 400, description = "`bad_parameter`", body = ErrorBody),
        (status = 401, description = "`bad_token`: says why", body = ErrorBody),
        (status = 403, description = "`not_allowed`, `banned`, `origin_not_allowed`", body = ErrorBody),
        (status = 404, description = "`no_such_connection`: or none that you administer", body = ErrorBody),
        (status = 415, description = "`unsupported_media_type`: JSON is asked for", body = ErrorBody),
    ),
)]
pub(super) async fn kick(
    Shared(state): Shared<AppState>,
    operator: Operator,
    Path(which): Path<String>,
) -> Result<Json<Kicked>, ApiError> {
    Ok(Json(Kicked {
        kicked: end(&state, &operator, number("number", &which)?).await?,
    }))
}

/// Ends the connection `number`, in the name of `operator`.
pub(in crate::server::http) async fn end(
    state: &AppState,
    operator: &Operator,
    number: u64,
) -> Result<usize, AdminError> {
    let fits = |seat: &Seat| seat.number() == number && operator.administers(seat.room());
    let kicked = state.hub.kick(CloseCode::Kicked, fits).await;
    if kicked == 0 {
        return Err(AdminError::NoConnection { number });
    }
    metrics::count_admin_action(AdminAction::Kick, kicked);
    info!(%operator, number, "kicked a connection");
    Ok(kicked)
}

/// End all connections of an id, of an address, in a room.
///
/// They are closed with 4003, on every node, and may come back; a ban keeps them away.
#[utoipa::path(
    post,
    path = "/api/v1/admin/connections/kick",
    request_body(content = Which, description = "At least one of the three; what fits all that are given is ended"),
    responses(
        (status = 200, description = "They are being closed", body = Kicked),
        (status = 401, description = "`bad_token`: says why", body = ErrorBody),
        (status = 403, description = "`not_allowed`, `banned`, `origin_not_allowed`", body = ErrorBody),
        (status = 408, description = "`too_slow`: the body did not come in time", body = ErrorBody),
        (status = 413, description = "`too_big`", body = ErrorBody),
        (status = 415, description = "`unsupported_media_type`: JSON is asked for", body = ErrorBody),
        (status = 422, description = "`bad_body`: says what is wrong", body = ErrorBody),
        (
            status = 503,
            description = "`busy`; `store_unavailable`: the other nodes cannot be told now",
            body = ErrorBody,
        ),
    ),
)]
pub(super) async fn kick_all(
    Shared(state): Shared<AppState>,
    operator: Operator,
    body: RequestBody,
) -> Result<Json<Kicked>, ApiError> {
    let which: Which = admin::read(body).await?;
    if which.is_everyone() {
        let sentence = "say whom: {\"id\":\"ann\"}, {\"address\":\"192.0.2.1\"} or {\"room\":\"lobby\"}, or several";
        return Err(ApiError::Body(sentence.to_owned()));
    }
    if let Some(room) = &which.room {
        operator.check_bans(room)?;
    }

    let eviction = which.eviction(&operator);
    let kicked = state.hub.evict(eviction.clone()).await?;
    metrics::count_admin_action(AdminAction::Kick, kicked);
    info!(%operator, ?eviction, kicked, "kicked connections");
    Ok(Json(Kicked { kicked }))
}

/// The connection's number that `text`, which the request calls `name`, holds.
pub(in crate::server::http) fn number(name: &'static str, text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| ApiError::Parameter {
        name,
        allowed: "a connection's number",
    })
}
