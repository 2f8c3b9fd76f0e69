//! The JSON API under `/api/v1`. Each route brings its own documentation, and `openapi.json` is made of both.

mod body;
mod message;
mod publish;
mod history;
mod presence;
mod stream;
pub(super) mod admin;
mod openapi;

use axum::Router;

use crate::server::http::AppState;

pub(super) use admin::ops_router;
pub use admin::stats::note_forever;
pub(super) use body::RequestBody;
pub(super) use publish::store;

/// Every route of the API.
pub(super) fn router() -> Router<AppState> {
    let (router, _document) = openapi::routes().split_for_parts();
    router
}
