//! `GET …/connections` and `POST …/kick`: lists connections and ends them.

use axum::Json;
use axum::extract::{Path, State as Shared};
use tracing::info;

use crate::protocol::admin::{
    ConnectionFilter, ConnectionList, ConnectionQuery, ConnectionSummary, Kicked,
};
use crate::protocol::{CloseCode, RoomSelector, UnsubscribeCode};
use crate::server::http::AppState;
use crate::server::http::api::RequestBody;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::api::admin::{BodyErrors, OperatorErrors, page_size, read};
use crate::server::http::error::{AdminError, ApiError, ErrorBody};
use crate::server::http::extract::Query;
use crate::server::hub::{ConnectionEntry, Listing, SubscriberStatus};
use crate::server::metrics::{self, AdminAction};
use crate::server::moderation::Kick;
use crate::server::session::IpBucket;
use crate::server::store::now_millis;

/// List the connections.
///
/// A connection that is far behind, or has bytes waiting, does not read.
#[utoipa::path(
    get,
    path = "/api/v1/admin/connections",
    params(ConnectionQuery),
    responses(
        (status = 200, description = "Connections in the rooms that you administer", body = ConnectionList),
        (status = 400, description = "`bad_parameter`, `bad_name`: the message names it", body = ErrorBody),
        OperatorErrors,
    ),
)]
pub(super) async fn connections(
    Shared(state): Shared<AppState>,
    operator: Operator,
    Query(query): Query<ConnectionQuery>,
) -> Result<Json<ConnectionList>, ApiError> {
    let limit = page_size(query.limit)?;
    let after = query.after.unwrap_or_default();
    let list = list(&state, &operator, &query.into(), after, limit).await;
    Ok(Json(list))
}

/// Returns at most `limit` of the connections that match `filter` and that `operator` administers, after the number
/// `after`.
pub(in crate::server::http) async fn list(
    state: &AppState,
    operator: &Operator,
    filter: &ConnectionFilter,
    after: u64,
    limit: usize,
) -> ConnectionList {
    let matches = |entry: &ConnectionEntry| matches(filter, operator, entry);
    let Listing { items, more } = state.hub.connections().list(after, limit, matches).await;
    ConnectionList {
        connections: items
            .into_iter()
            .map(|entry| summary(operator, entry))
            .collect(),
        more,
    }
}

fn matches(filter: &ConnectionFilter, operator: &Operator, entry: &ConnectionEntry) -> bool {
    let ConnectionFilter { room, id, address } = filter;
    let is_selected = |read: &RoomSelector| match room {
        Some(room) => read.matches(room) && operator.administers(room),
        None => operator.administers_all_of(read),
    };
    // A connection without a room belongs to those who administer every room.
    let is_visible = entry.reads(is_selected) || (room.is_none() && operator.administers_all());

    is_visible
        && id
            .as_ref()
            .is_none_or(|id| Some(id) == entry.info.account())
        && address.is_none_or(|address| IpBucket::of(address) == IpBucket::of(entry.address))
}

fn summary(operator: &Operator, entry: ConnectionEntry) -> ConnectionSummary {
    let SubscriberStatus {
        dialect,
        mut rooms,
        offset,
        behind,
        waiting,
        ..
    } = entry.status();
    rooms.retain(|rooms| operator.administers_all_of(rooms));

    ConnectionSummary {
        number: entry.info.number(),
        rooms,
        id: entry.info.id().cloned(),
        sub: entry.info.proven().cloned(),
        address: entry.address,
        since: entry.info.since(),
        dialect: dialect.as_str().to_owned(),
        offset,
        behind,
        waiting,
    }
}

/// End a connection.
///
/// The close code is 4003. The client may reconnect; a ban prevents that. If it also reads rooms that you do not
/// administer, only its subscriptions to your rooms end.
#[utoipa::path(
    post,
    path = "/api/v1/admin/connections/{number}/kick",
    params(("number" = u64, Path, description = "The connection's number")),
    responses(
        (status = 200, description = "The connection is being closed", body = Kicked),
        (status = 400, description = "`bad_parameter`", body = ErrorBody),
        OperatorErrors,
        (status = 404, description = "`no_such_connection`: or none that you administer", body = ErrorBody),
        (status = 415, description = "`unsupported_media_type`: send `application/json`", body = ErrorBody),
    ),
)]
pub(super) async fn kick(
    Shared(state): Shared<AppState>,
    operator: Operator,
    Path(number): Path<String>,
) -> Result<Json<Kicked>, ApiError> {
    let number = parse_number(&number)?;
    Ok(Json(kick_connection(&state, &operator, number).await?))
}

/// Ends the connection `number` on behalf of `operator`.
pub(in crate::server::http) async fn kick_connection(
    state: &AppState,
    operator: &Operator,
    number: u64,
) -> Result<Kicked, AdminError> {
    let connections = state.hub.connections();
    let kicked = if operator.administers_all() {
        let matches = |entry: &ConnectionEntry| entry.info.number() == number;
        connections.disconnect(CloseCode::Kicked, matches).await
    } else {
        let matches = |entry: &ConnectionEntry, rooms: &RoomSelector| {
            entry.info.number() == number && operator.administers_all_of(rooms)
        };
        connections
            .unsubscribe(UnsubscribeCode::Kicked, matches)
            .await
    };
    if kicked == 0 {
        return Err(AdminError::NoConnection { number });
    }

    metrics::count_admin_action(AdminAction::Kick, kicked);
    info!(%operator, number, "kicked a connection");
    Ok(Kicked { kicked })
}

/// End all connections of an id, of an address, in a room.
///
/// They are closed with 4003, on every node, and their clients may reconnect; a ban keeps them away. With `room`, only
/// the subscriptions to it and to patterns that match it end: clients of `fanfare.v1` stay connected.
#[utoipa::path(
    post,
    path = "/api/v1/admin/connections/kick",
    request_body(content = ConnectionFilter, description = "At least one field; connections that match all are ended"),
    responses(
        (status = 200, description = "The connections are being closed", body = Kicked),
        OperatorErrors,
        BodyErrors,
        (
            status = 503,
            description = "`busy`; `store_unavailable`: the other nodes cannot be reached now",
            body = ErrorBody,
        ),
    ),
)]
pub(super) async fn kick_all(
    Shared(state): Shared<AppState>,
    operator: Operator,
    body: RequestBody,
) -> Result<Json<Kicked>, ApiError> {
    let filter: ConnectionFilter = read(body).await?;
    if filter == ConnectionFilter::default() {
        return Err(ApiError::Body(
            "give at least one of \"id\", \"address\" and \"room\", like {\"id\":\"ann\"}"
                .to_owned(),
        ));
    }

    if let Some(room) = &filter.room {
        operator.check_bans(room)?;
    }

    let kick = Kick {
        room: filter.room,
        id: filter.id,
        address: filter.address,
        within: operator.within(),
        at: now_millis(),
    };
    let kicked = state.hub.moderation().disconnect(kick.clone()).await?;

    metrics::count_admin_action(AdminAction::Kick, kicked);
    info!(%operator, ?kick, kicked, "kicked connections");
    Ok(Json(Kicked { kicked }))
}

/// Parses the number of a connection.
pub(in crate::server::http) fn parse_number(text: &str) -> Result<u64, ApiError> {
    text.parse().map_err(|_| ApiError::Parameter {
        name: "number",
        allowed: "a connection's number",
    })
}
