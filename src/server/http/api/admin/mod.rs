//! `/api/v1/admin`: the queries and actions of operators. [`crate::protocol::admin`] defines requests and responses.
//! On the ops listener every client is an operator; on the public listener, clients with an operator's token are.
//!
//! # Invariants
//!
//! - Each action is logged with its operator, and counted.
//! - No lock is held across an await. Each response is bounded.
//! - No web page can act on the ops listener: requests from other origins are rejected, and every change needs a
//!   request that a form cannot send.

pub(in crate::server::http) mod operator;
pub(in crate::server::http) mod stats;
pub(in crate::server::http) mod rooms;
pub(in crate::server::http) mod connections;
pub(in crate::server::http) mod bans;
pub(in crate::server::http) mod room_state;
mod room_life;
mod trace;
mod backup;
pub(in crate::server::http) mod messages;
pub(in crate::server::http) mod hooks;

use axum::{Extension, Router};
use serde::de::DeserializeOwned;
use utoipa::IntoResponses;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::protocol::admin::MAX_PAGE;
use crate::server::http::AppState;
use crate::server::http::api::RequestBody;
use crate::server::http::error::{AdminError, ApiError, ErrorBody};
use crate::server::hub::Effect;
use crate::server::moderation::RuleChange;

/// The page size if the query has no `limit`.
const DEFAULT_PAGE: u16 = 100;
/// The maximum length of a reason, in characters.
const MAX_REASON_CHARS: usize = 200;
/// The maximum size of a request body, in bytes: some names, a duration, a reason.
pub(in crate::server::http) const MAX_BODY_BYTES: usize = 4096;

/// The errors of every call, for its description.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its description is used")]
enum OperatorErrors {
    /// `bad_token`: the message gives the reason
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// `not_allowed`, `banned`, `origin_not_allowed`
    #[response(status = 403)]
    Forbidden(ErrorBody),
}

/// The errors of a call with a body, for its description.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its description is used")]
enum BodyErrors {
    /// `too_slow`: the body did not arrive in time
    #[response(status = 408)]
    Timeout(ErrorBody),
    /// `too_big`
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// `unsupported_media_type`: send `application/json`
    #[response(status = 415)]
    MediaType(ErrorBody),
    /// `bad_body`: the message gives the reason
    #[response(status = 422)]
    Unprocessable(ErrorBody),
}

/// Returns all routes of the admin API with their descriptions.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(stats::stats))
        .routes(routes!(backup::backup))
        .routes(routes!(rooms::rooms))
        .routes(routes!(connections::connections))
        .routes(routes!(connections::kick))
        .routes(routes!(connections::kick_all))
        .routes(routes!(trace::trace))
        .routes(routes!(messages::delete))
        .routes(routes!(bans::list, bans::create, bans::delete))
        .routes(routes!(room_state::close))
        .routes(routes!(room_state::open))
        .routes(routes!(hooks::hooks))
        .routes(routes!(hooks::pause))
        .routes(routes!(hooks::resume))
        .routes(routes!(hooks::replay))
        .routes(routes!(room_life::change, room_life::delete))
}

/// Returns the same routes for the ops listener.
pub(in crate::server::http) fn ops_router() -> Router<AppState> {
    let (router, _document) = routes().split_for_parts();
    on_ops(router)
}

/// Configures `router` for the ops listener, where all clients are operators.
pub(in crate::server::http) fn on_ops(router: Router<AppState>) -> Router<AppState> {
    router.layer(Extension(operator::OnOps))
}

/// Parses the JSON of a request body. An empty body counts as `{}`.
async fn read<T: DeserializeOwned>(body: RequestBody) -> Result<T, ApiError> {
    let parse = |json: &[u8]| {
        let is_empty = json.trim_ascii().is_empty();
        let json = if is_empty { b"{}" } else { json };
        serde_json::from_slice(json)
            .map_err(|error| ApiError::Body(format!("the JSON cannot be parsed: {error}")))
    };
    body.read(MAX_BODY_BYTES, parse).await
}

/// Applies `change` durably, on every node.
async fn apply(state: &AppState, change: RuleChange) -> Result<Effect, ApiError> {
    let changed = state.hub.moderation().change(change).await;
    Ok(changed.map_err(AdminError::from)?)
}

/// Checks a reason that clients will see. An empty one counts as none.
fn check_reason(reason: Option<String>) -> Result<Option<String>, ApiError> {
    let Some(reason) = reason.filter(|reason| !reason.trim().is_empty()) else {
        return Ok(None);
    };

    if reason.chars().count() > MAX_REASON_CHARS || reason.chars().any(char::is_control) {
        return Err(ApiError::Body(format!(
            "reason must be at most {MAX_REASON_CHARS} characters on one line"
        )));
    }
    Ok(Some(reason))
}

/// Returns the page size from the query's `limit`.
pub(super) fn page_size(limit: Option<u16>) -> Result<usize, ApiError> {
    match limit.unwrap_or(DEFAULT_PAGE) {
        limit @ 1..=MAX_PAGE => Ok(limit.into()),
        _ => Err(ApiError::Parameter {
            name: "limit",
            allowed: "a number from 1 to 1000",
        }),
    }
}
