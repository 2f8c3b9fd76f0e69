//! `GET`, `POST` and `DELETE …/bans`: bans in one room or in all rooms.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use tracing::info;

use crate::protocol::RoomName;
use crate::protocol::admin::{Ban, BanList, BanRequest, BanTarget, Banned, UnbanQuery, Unbanned};
use crate::server::http::AppState;
use crate::server::http::api::RequestBody;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::api::admin::{BodyErrors, OperatorErrors, apply, check_reason, read};
use crate::server::http::error::{AdminError, ApiError, ErrorBody};
use crate::server::http::extract::Query;
use crate::server::metrics::{self, AdminAction};
use crate::server::moderation::RuleChange;
use crate::server::store::now_millis;

/// The maximum duration of a ban that ends: ten years.
const MAX_SECONDS: u64 = 10 * 365 * 86_400;

/// List bans and closed rooms.
#[utoipa::path(
    get,
    path = "/api/v1/admin/bans",
    operation_id = "bans",
    responses(
        (status = 200, description = "What is in force in the rooms that you administer", body = BanList),
        OperatorErrors,
    ),
)]
pub(super) async fn list(Shared(state): Shared<AppState>, operator: Operator) -> Json<BanList> {
    Json(in_force(&state, &operator))
}

/// Returns the bans and closed rooms that `operator` administers.
pub(in crate::server::http) fn in_force(state: &AppState, operator: &Operator) -> BanList {
    let mut list = state.moderation.list();
    list.bans
        .retain(|ban| operator.check_all(ban.room.as_ref()).is_ok());
    list.closed
        .retain(|closed| operator.administers(&closed.room));
    list
}

/// Ban an id or an address.
///
/// Connections are closed with 4501, after which clients do not reconnect; requests get 403 and the reason. A ban
/// survives restarts. It replaces an earlier ban of the same client in the same room.
#[utoipa::path(
    post,
    path = "/api/v1/admin/bans",
    operation_id = "ban",
    request_body(content = BanRequest, description = "`id` or `address`"),
    responses(
        (status = 201, description = "The ban is in force", body = Banned),
        OperatorErrors,
        BodyErrors,
        (status = 409, description = "`too_many_bans`", body = ErrorBody),
        (status = 503, description = "`not_kept`: the ban cannot be stored; `memory_full`", body = ErrorBody),
    ),
)]
pub(super) async fn create(
    Shared(state): Shared<AppState>,
    operator: Operator,
    body: RequestBody,
) -> Result<(StatusCode, Json<Banned>), ApiError> {
    let request = read(body).await?;
    let banned = ban(&state, &operator, request).await?;
    Ok((StatusCode::CREATED, Json(banned)))
}

/// Bans a client on behalf of `operator`.
pub(in crate::server::http) async fn ban(
    state: &AppState,
    operator: &Operator,
    request: BanRequest,
) -> Result<Banned, ApiError> {
    let target = BanTarget::new(request.id, request.address).ok_or_else(|| {
        ApiError::Body(
            "give one of \"id\" and \"address\": {\"id\":\"eve\"} or {\"address\":\"192.0.2.1\"}"
                .to_owned(),
        )
    })?;
    if let Some(seconds) = request.seconds
        && !(1..=MAX_SECONDS).contains(&seconds)
    {
        return Err(ApiError::Body(format!(
            "seconds is {seconds}; allowed are 1 to {MAX_SECONDS}, or leave it out for a ban without an end"
        )));
    }
    operator.check_all(request.room.as_ref())?;

    let since = now_millis();
    let ban = Ban {
        target,
        room: request.room,
        until: request.seconds.map(|seconds| since + seconds * 1000),
        reason: check_reason(request.reason)?,
        by: operator.to_string(),
        since,
    };
    let change = RuleChange::Ban(ban.clone());
    let kicked = apply(state, change).await?.disconnected;

    metrics::count_admin_action(AdminAction::Ban, 1);
    info!(%operator, target = ?ban.target, room = ?ban.room, until = ?ban.until, kicked, "banned");
    Ok(Banned { ban, kicked })
}

/// Lift a ban.
#[utoipa::path(
    delete,
    path = "/api/v1/admin/bans",
    operation_id = "unban",
    params(UnbanQuery),
    responses(
        (status = 200, description = "The ban is lifted", body = Unbanned),
        (status = 400, description = "`bad_name`, `bad_parameter`: the message names it", body = ErrorBody),
        OperatorErrors,
        (status = 404, description = "`no_such_ban`", body = ErrorBody),
        (status = 503, description = "`not_kept`: the change cannot be stored", body = ErrorBody),
    ),
)]
pub(super) async fn delete(
    Shared(state): Shared<AppState>,
    operator: Operator,
    Query(UnbanQuery { id, address, room }): Query<UnbanQuery>,
) -> Result<Json<Unbanned>, ApiError> {
    let target = BanTarget::new(id, address).ok_or_else(|| {
        ApiError::Query("give one of id and address: ?id=eve or ?address=192.0.2.1".to_owned())
    })?;
    unban(&state, &operator, target, room).await?;
    Ok(Json(Unbanned { lifted: true }))
}

/// Lifts the ban of `target` in `room`, or in all rooms, on behalf of `operator`.
pub(in crate::server::http) async fn unban(
    state: &AppState,
    operator: &Operator,
    target: BanTarget,
    room: Option<RoomName>,
) -> Result<(), ApiError> {
    operator.check_all(room.as_ref())?;
    let change = RuleChange::Unban {
        target: target.clone(),
        room: room.clone(),
    };
    if !apply(state, change).await?.changed {
        return Err(AdminError::NoBan.into());
    }

    metrics::count_admin_action(AdminAction::Unban, 1);
    info!(%operator, ?target, ?room, "lifted a ban");
    Ok(())
}
