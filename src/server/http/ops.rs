//! What an operator asks, on a listener of its own.

use axum::Router;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::sync::watch;

use crate::server::http::error;
use crate::server::store::Health;

/// `GET /healthz`: the process is up and answers. `GET /readyz`: the store took the last write; else 503 and why
/// not.
pub fn router(store: watch::Receiver<Health>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readiness).with_state(store))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
}

async fn readiness(Shared(store): Shared<watch::Receiver<Health>>) -> (StatusCode, String) {
    match &*store.borrow() {
        Health::Ready => (StatusCode::OK, "ready\n".to_owned()),
        Health::Refusing(reason) | Health::Lost(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}\n"))
        }
    }
}
