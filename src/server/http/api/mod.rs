//! The JSON API under `/api/v1`. Handlers are annotated with their documentation, from which `openapi.json` is generated.

mod body;
mod message;
mod publish;
mod history;
mod search;
mod delete;
mod room;
mod presence;
mod signal;
mod stream;
pub(super) mod admin;
mod openapi;

use axum::Router;

use crate::server::http::AppState;

pub(super) use admin::ops_router;
pub use admin::stats::record_samples;
pub(super) use body::RequestBody;
pub(super) use publish::{admit_drafts, store};
pub(super) use search::MAX_SEARCHES;

/// Returns all routes of the API.
pub(super) fn router() -> Router<AppState> {
    let (router, _document) = openapi::routes().split_for_parts();
    router
}
