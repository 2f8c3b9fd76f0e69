//! `GET`, `POST` and `DELETE …/bans`: who is kept out, of one room or of all.

use std::net::IpAddr;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tracing::info;
use utoipa::{IntoParams, ToSchema};

use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::http::AppState;
use crate::server::http::api::RequestBody;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::api::admin::{decree, now_millis, read, reason};
use crate::server::http::error::{AdminError, ApiError, ErrorBody};
use crate::server::http::extract::{self, Query};
use crate::server::hub::Effect;
use crate::server::metrics::{self, AdminAction};
use crate::server::moderation::{Ban, Closure, Decree, Whom};

/// Longest ban that has an end: ten years. Longer is meant to have none.
const MAX_SECONDS: u64 = 10 * 365 * 86_400;

/// A ban to be made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::server::http) struct NewBan {
    /// Whoever has this id. Where there are no tokens, an id is what someone says it is.
    #[schema(value_type = Option<String>)]
    pub(in crate::server::http) id: Option<UserId>,
    /// Or whoever comes from this address; from the same /64 where it is IPv6.
    #[schema(value_type = Option<String>)]
    pub(in crate::server::http) address: Option<IpAddr>,
    /// Only in this room.
    #[schema(value_type = Option<String>)]
    pub(in crate::server::http) room: Option<RoomName>,
    /// For so long; without it, until it is lifted.
    pub(in crate::server::http) seconds: Option<u64>,
    /// Why: whoever is kept out reads it. At most 200 characters.
    pub(in crate::server::http) reason: Option<String>,
}

/// Which ban.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// That of this id.
    #[param(value_type = Option<String>)]
    id: Option<String>,
    /// Or that of this address.
    #[param(value_type = Option<String>)]
    address: Option<String>,
    /// The one in this room; without it, the one in all rooms.
    #[param(value_type = Option<String>)]
    room: Option<String>,
}

/// What is in force.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server::http) struct InForce {
    /// Who is kept out, in the order in which it was decided: `id` or `address`, `room` and `until` (milliseconds
    /// since 1970 UTC) where it is limited to them, `reason`, `by` and `since`.
    #[schema(value_type = Vec<Object>)]
    pub(in crate::server::http) bans: Vec<Ban>,
    /// Which rooms are closed: `room`, `reason`, `by` and `since`.
    #[schema(value_type = Vec<Object>)]
    pub(in crate::server::http) closed: Vec<Closure>,
}

/// A ban that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server::http) struct Banned {
    /// It.
    #[schema(value_type = Object)]
    ban: Ban,
    /// How many connections it ends on this node; those on others it ends too.
    pub(in crate::server::http) kicked: usize,
}

/// A ban that was lifted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Lifted {
    /// Always true.
    lifted: bool,
}

/// See who is kept out.
#[utoipa::path(
    get,
    path = "/api/v1/admin/bans",
    responses(
        (status = 200, description = "What is in force where you administer", body = InForce),
        (status = 401, description = "`bad_token`: says why", body = ErrorBody),
        (status = 403, description = "`not_allowed`, `banned`, `origin_not_allowed`", body = ErrorBody),
    ),
)]
pub(super) async fn bans(Shared(state): Shared<AppState>, operator: Operator) -> Json<InForce> {
    Json(in_force(&state, &operator))
}

/// What is in force where `operator` administers.
pub(in crate::server::http) fn in_force(state: &AppState, operator: &Operator) -> InForce {
    let (mut bans, mut closed) = state.moderation.list();
    bans.retain(|ban| operator.check_all(ban.room.as_ref()).is_ok());
    closed.retain(|closure| operator.administers(&closure.room));
    InForce { bans, closed }
}

/// Keep somebody out.
///
/// Connections are closed with 4501, which says not to come back; calls are answered with 403 and the reason. It is
/// kept over restarts. A ban of the same in the same room is replaced.
#[utoipa::path(
    post,
    path = "/api/v1/admin/bans",
    request_body(content = NewBan, description = "`id` or `address`"),
    responses(
        (status = 201, description = "It is in force", body = Banned),
        (status = 401, description = "`bad_token`: says why", body = ErrorBody),
        (status = 403, description = "`not_allowed`, `banned`, `origin_not_allowed`", body = ErrorBody),
        (status = 408, description = "`too_slow`: the body did not come in time", body = ErrorBody),
        (status = 409, description = "`too_many_bans`", body = ErrorBody),
        (status = 413, description = "`too_big`", body = ErrorBody),
        (status = 415, description = "`unsupported_media_type`: JSON is asked for", body = ErrorBody),
        (status = 422, description = "`bad_body`: says what is wrong", body = ErrorBody),
        (status = 503, description = "`not_kept`: it cannot be written; `memory_full`", body = ErrorBody),
    ),
)]
pub(super) async fn ban(
    Shared(state): Shared<AppState>,
    operator: Operator,
    body: RequestBody,
) -> Result<(StatusCode, Json<Banned>), ApiError> {
    let new = read(body).await?;
    Ok((
        StatusCode::CREATED,
        Json(impose(&state, &operator, new).await?),
    ))
}

/// Makes the ban `new`, in the name of `operator`.
pub(in crate::server::http) async fn impose(
    state: &AppState,
    operator: &Operator,
    new: NewBan,
) -> Result<Banned, ApiError> {
    let NewBan {
        id,
        address,
        room,
        seconds,
        reason: why,
    } = new;
    let whom = whom(id, address).ok_or_else(|| {
        ApiError::Body(
            "say whom: {\"id\":\"eve\"} or {\"address\":\"192.0.2.1\"}, one of them".to_owned(),
        )
    })?;
    if seconds.is_some_and(|seconds| !(1..=MAX_SECONDS).contains(&seconds)) {
        let sentence =
            format!("seconds must be 1 to {MAX_SECONDS}; leave it out for a ban without an end");
        return Err(ApiError::Body(sentence));
    }
    operator.check_all(room.as_ref())?;
    let (since, reason) = (now_millis(), reason(why)?);
    let until = seconds.map(|seconds| since + seconds * 1000);
    let ban = Ban {
        whom,
        room,
        until,
        reason,
        by: operator.to_string(),
        since,
    };
    let Effect { kicked, .. } = decree(state, Decree::Ban(ban.clone())).await?;
    metrics::count_admin_action(AdminAction::Ban, 1);
    info!(%operator, whom = ?ban.whom, room = ?ban.room, ?until, kicked, "banned");
    Ok(Banned { ban, kicked })
}

/// Lift a ban.
#[utoipa::path(
    delete,
    path = "/api/v1/admin/bans",
    params(Asked),
    responses(
        (status = 200, description = "It holds no longer", body = Lifted),
        (status = 400, description = "`bad_name`, `bad_parameter`: says which", body = ErrorBody),
        (status = 401, description = "`bad_token`: says why", body = ErrorBody),
        (status = 403, description = "`not_allowed`, `banned`, `origin_not_allowed`", body = ErrorBody),
        (status = 404, description = "`no_such_ban`", body = ErrorBody),
        (status = 503, description = "`not_kept`: it cannot be written", body = ErrorBody),
    ),
)]
pub(super) async fn unban(
    Shared(state): Shared<AppState>,
    operator: Operator,
    Query(asked): Query<Asked>,
) -> Result<Json<Lifted>, ApiError> {
    let id = asked.id.as_deref().map(UserId::parse).transpose()?;
    let address = asked
        .address
        .map(|address| extract::address("address", &address))
        .transpose()?;
    let room = asked.room.as_deref().map(RoomName::parse).transpose()?;
    let whom = whom(id, address).ok_or_else(|| {
        ApiError::Query("say whose ban: ?id=eve or ?address=192.0.2.1, one of them".to_owned())
    })?;
    lift(&state, &operator, whom, room).await?;
    Ok(Json(Lifted { lifted: true }))
}

/// Lifts the ban of `whom` in `room`, or in all, in the name of `operator`.
pub(in crate::server::http) async fn lift(
    state: &AppState,
    operator: &Operator,
    whom: Whom,
    room: Option<RoomName>,
) -> Result<(), ApiError> {
    operator.check_all(room.as_ref())?;
    let lifted = Decree::Lift {
        whom: whom.clone(),
        room: room.clone(),
    };
    if !decree(state, lifted).await?.was {
        return Err(AdminError::NoBan.into());
    }
    metrics::count_admin_action(AdminAction::Unban, 1);
    info!(%operator, ?whom, ?room, "lifted a ban");
    Ok(())
}

/// Whom the two name, if they name one.
pub(in crate::server::http) fn whom(id: Option<UserId>, address: Option<IpAddr>) -> Option<Whom> {
    match (id, address) {
        (Some(id), None) => Some(Whom::Id(id)),
        (None, Some(address)) => Some(Whom::Address(address)),
        _ => None,
    }
}
