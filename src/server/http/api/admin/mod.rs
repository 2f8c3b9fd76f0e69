//! `/api/v1/admin`: what operators see and do. On the ops listener whoever reaches it is an operator; on the public
//! one, who has the right to.
//!
//! # Invariants
//!
//! - Every act is a line in the log that says who did what, and is counted.
//! - Nothing here holds a lock while it waits, or more than a bounded part of an answer.
//! - On the ops listener no page can act: a page of another origin is refused, and what changes something is no
//!   request that a form could send.

pub(in crate::server::http) mod operator;
pub(in crate::server::http) mod stats;
pub(in crate::server::http) mod rooms;
pub(in crate::server::http) mod connections;
pub(in crate::server::http) mod bans;
pub(in crate::server::http) mod closing;
mod trace;
mod backup;
pub(in crate::server::http) mod messages;

use std::time::{SystemTime, UNIX_EPOCH};

use axum::{Extension, Router};
use serde::de::DeserializeOwned;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::server::http::AppState;
use crate::server::http::api::RequestBody;
use crate::server::http::error::{AdminError, ApiError};
use crate::server::hub::Effect;
use crate::server::moderation::Decree;

/// Entries in an answer unless the query says how many, and at most.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;
/// Longest reason, in characters.
const MAX_REASON_CHARS: usize = 200;
/// Longest body of a call here, in bytes: some names, a time, a reason.
pub(in crate::server::http) const MAX_BODY_BYTES: usize = 4096;

/// Every route here, with its description.
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
        .routes(routes!(bans::bans, bans::ban, bans::unban))
        .routes(routes!(closing::close))
        .routes(routes!(closing::open))
}

/// The same for the ops listener.
pub(in crate::server::http) fn ops_router() -> Router<AppState> {
    let (router, _document) = routes().split_for_parts();
    on_ops(router)
}

/// Whoever asks `router` is an operator.
pub(in crate::server::http) fn on_ops(router: Router<AppState>) -> Router<AppState> {
    router.layer(Extension(operator::OnOps))
}

/// What a call's JSON says; an empty body says nothing.
async fn read<T: DeserializeOwned>(body: RequestBody) -> Result<T, ApiError> {
    let parse = |json: &[u8]| {
        let json = if json.trim_ascii().is_empty() {
            b"{}"
        } else {
            json
        };
        serde_json::from_slice(json)
            .map_err(|error| ApiError::Body(format!("the JSON cannot be: {error}")))
    };
    body.read(MAX_BODY_BYTES, parse).await
}

/// Puts `decree` in force for good, on every node.
async fn decree(state: &AppState, decree: Decree) -> Result<Effect, ApiError> {
    Ok(state.hub.decree(decree).await.map_err(AdminError::from)?)
}

/// A reason, as far as it is one that may be shown to people.
fn reason(reason: Option<String>) -> Result<Option<String>, ApiError> {
    match reason {
        Some(reason)
            if reason.chars().count() > MAX_REASON_CHARS
                || reason.chars().any(char::is_control) =>
        {
            let sentence =
                format!("reason must be at most {MAX_REASON_CHARS} characters on one line");
            Err(ApiError::Body(sentence))
        }
        reason => Ok(reason.filter(|reason| !reason.trim().is_empty())),
    }
}

/// Milliseconds since 1970 UTC.
pub(in crate::server::http) fn now_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// How many entries the query's `limit` asks for.
fn limit(limit: Option<&str>) -> Result<usize, ApiError> {
    limit.map_or(Ok(DEFAULT_LIMIT), |limit| {
        limit
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or(ApiError::Parameter {
                name: "limit",
                allowed: "a number from 1 to 1000",
            })
    })
}
