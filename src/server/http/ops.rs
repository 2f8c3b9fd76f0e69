//! What an operator asks, on a listener of its own.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::watch;

use crate::server::auth::WebPolicy;
use crate::server::http::router::{completed, guarded, revalidated};
use crate::server::http::{AppState, admin_page, api, content, error};
use crate::server::log_writer;
use crate::server::memory::Memory;
use crate::server::metrics::{Gauges, Metrics};
use crate::server::release;
use crate::server::store::Health;

/// The text format of Prometheus.
const METRICS_TYPE: &str = "text/plain; version=0.0.4";

/// `GET /healthz`: the process is up and answers. `GET /readyz`: the store took the last write; else 503 and why
/// not. `GET /metrics`: what is counted. `GET /version`: which program this is. `/admin`: the operator's page, with
/// the files that it loads. `/api/v1/admin`: the same as calls.
pub fn router(
    state: AppState,
    metrics: Metrics,
    store: watch::Receiver<Health>,
    web: WebPolicy,
) -> Router {
    let (shared, health, site) = (state.clone(), store.clone(), state.site.clone());
    let asked = api::ops_router().merge(api::admin::on_ops(admin_page::router()));
    let figures = async move || {
        let text = metrics.render(readings(&shared, &health).await);
        ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response()
    };
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readiness).with_state(state.clone()))
        .route("/metrics", get(figures))
        .route("/version", get(async || Json(release::json())))
        .merge(asked.merge(site.versioned_files()).with_state(state))
        .fallback_service(site.files())
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(middleware::from_fn(content::check))
        .layer(revalidated());
    let web = Arc::new(web);
    completed(guarded(router, web.clone()), &web)
}

async fn readings(
    AppState { hub, quotas, .. }: &AppState,
    store: &watch::Receiver<Health>,
) -> Gauges {
    let lag = hub.connections().lag().await;
    let (delivered, delivered_bytes) = hub.rooms().delivered();
    Gauges {
        connections: hub.connections().count(),
        max_connections: hub.connections().limits(),
        rooms: hub.rooms().count(),
        held: Memory::of_process().held(),
        rate_limited: quotas.refusals(),
        delivered,
        delivered_bytes,
        log_lines_dropped: log_writer::dropped_lines(),
        store: store.borrow().label(),
        lag,
    }
}

/// Answers 503 while the store rejects writes, and names damaged messages, which are no reason to stop serving.
async fn readiness(Shared(state): Shared<AppState>) -> (StatusCode, String) {
    let damage = state
        .hub
        .store()
        .damage()
        .map_or_else(String::new, |damage| format!("damaged: {damage}\n"));
    match state.hub.store().health().borrow().clone() {
        Health::Ready => (StatusCode::OK, format!("ready\n{damage}")),
        Health::ReadOnly(reason) | Health::Unreachable(reason) | Health::Corrupt(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {reason}\n{damage}"),
        ),
    }
}
