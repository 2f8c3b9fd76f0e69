//! What an operator asks, on a listener of its own.

use axum::Router;
use axum::routing::get;

use crate::server::http::error;

/// `GET /healthz`: the process is up and answers.
pub fn router() -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
}
