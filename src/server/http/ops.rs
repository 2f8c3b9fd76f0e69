//! The routes of the ops listener: health, metrics, version and the admin API.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::watch;
use tower::ServiceBuilder;

use crate::server::auth::WebPolicy;
use crate::server::http::middleware::origin_check;
use crate::server::http::router::no_cache;
use crate::server::http::{AppState, admin_page, api, error, headers, request_content};
use crate::server::log_writer;
use crate::server::memory::Memory;
use crate::server::metrics::{MetricSnapshot, Metrics};
use crate::server::store::Health;
use crate::server::version;

/// The media type of Prometheus's text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4";

/// Returns the routes of the ops listener:
///
/// - `GET /healthz`: 200 while the process runs.
/// - `GET /readyz`: 200 while the store accepts writes, else 503 with the reason.
/// - `GET /metrics`: metrics for Prometheus.
/// - `GET /version`: the version of the program.
/// - `/admin`: the admin page and its files.
/// - `/api/v1/admin`: the admin API.
pub fn router(
    state: AppState,
    metrics: Metrics,
    store: watch::Receiver<Health>,
    web: WebPolicy,
) -> Router {
    let metrics_state = state.clone();
    let render_metrics = async move || {
        metrics_state.hooks.record_metrics().await;
        let text = metrics.render(gauges(&metrics_state, &store).await);
        ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response()
    };

    // From the client inwards.
    let layers = ServiceBuilder::new()
        .layer(headers::security_layer(&web))
        .layer(origin_check::layer(Arc::new(web)))
        .layer(no_cache())
        .layer(request_content::layer());

    let admin = api::ops_router()
        .merge(api::admin::on_ops(admin_page::router()))
        .merge(state.site.versioned_files())
        .with_state(state.clone());
    let files = state.site.files();

    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readiness).with_state(state))
        .route("/metrics", get(render_metrics))
        .route("/version", get(async || Json(version::json())))
        .merge(admin)
        .fallback_service(files)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(layers)
}

/// Returns the current values of the gauges.
async fn gauges(state: &AppState, store: &watch::Receiver<Health>) -> MetricSnapshot {
    let hub = &state.hub;
    let lag = hub.connections().lag().await;
    let (delivered, delivered_bytes) = hub.rooms().delivered();

    MetricSnapshot {
        connections: hub.connections().count(),
        max_connections: hub.connections().limits(),
        rooms: hub.rooms().count(),
        held: Memory::of_process().held(),
        rate_limited: state.quotas.refusals(),
        delivered,
        delivered_bytes,
        signals: hub.rooms().delivered_signals(),
        log_lines_dropped: log_writer::dropped_lines(),
        store: store.borrow().label(),
        lag,
    }
}

/// Returns 503 while the store rejects writes. Lists damaged messages too, which do not affect the status.
async fn readiness(Shared(state): Shared<AppState>) -> (StatusCode, String) {
    let damage = state
        .hub
        .store()
        .damage()
        .map_or_else(String::new, |damage| format!("damaged: {damage}\n"));

    match state.hub.store().health().borrow().reason() {
        None => (StatusCode::OK, format!("ready\n{damage}")),
        Some(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {reason}\n{damage}"),
        ),
    }
}
