//! The JSON API under `/api/v1`. Each route brings its own documentation, and `openapi.json` is made of both.
//!
//! Absent: answers to preflight requests (CORS). A page of another origin is refused like one that opens a
//! WebSocket.

mod body;
mod message;
mod publish;
mod history;
mod presence;
mod stream;
mod admin;
mod openapi;

use axum::Router;
use axum::extract::{Request, State as Shared};
use axum::middleware::{self, Next};
use axum::response::Response;

use crate::server::http::State;
use crate::server::http::error::ApiError;
use crate::server::http::origin;

pub(super) use admin::ops_router;
pub(super) use body::Bodies;
pub(super) use publish::store;

/// Every route of the API.
pub(super) fn router(state: &State) -> Router<State> {
    let (router, _document) = openapi::routes().split_for_parts();
    router.layer(middleware::from_fn_with_state(state.clone(), refuse_foreign_pages))
}

async fn refuse_foreign_pages(
    Shared(state): Shared<State>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    origin::check(&state, request.headers())?;
    Ok(next.run(request).await)
}
