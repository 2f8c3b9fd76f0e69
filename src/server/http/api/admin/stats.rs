//! `GET …/stats`: the state of the server, and its rates over the last minutes.

use axum::Json;
use axum::extract::State as Shared;
use tokio::time::MissedTickBehavior;

use crate::protocol::admin::Stats;
use crate::server::http::AppState;
use crate::server::http::api::admin::OperatorErrors;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::error::ApiError;
use crate::server::memory::Memory;
use crate::server::metrics::{self, CounterSample};
use crate::server::version;

/// Get the state of the server.
///
/// For operators of every room.
#[utoipa::path(
    get,
    path = "/api/v1/admin/stats",
    responses((status = 200, description = "The state of the server", body = Stats), OperatorErrors),
)]
pub(super) async fn stats(
    Shared(state): Shared<AppState>,
    operator: Operator,
) -> Result<Json<Stats>, ApiError> {
    operator.check_all(None)?;
    Ok(Json(current(&state)))
}

/// Returns the current state of the server.
pub(in crate::server::http) fn current(state: &AppState) -> Stats {
    let hub = &state.hub;
    let health = hub.store().health();
    let reason = health.borrow().reason().map(str::to_owned);
    let (delivered, delivered_bytes) = hub.rooms().delivered();

    Stats {
        version: version::VERSION.to_owned(),
        commit: version::COMMIT.map(str::to_owned),
        uptime: hub.uptime().as_secs(),
        ready: reason.is_none(),
        reason,
        connections: hub.connections().count(),
        rooms: hub.rooms().count(),
        held_bytes: Memory::of_process().held(),
        budget_bytes: Memory::of_process().budget(),
        published: metrics::stored_messages(),
        delivered,
        delivered_bytes,
        seconds: state.rates.points(),
    }
}

/// Records a sample of the counters each second, until the future is dropped.
pub async fn record_samples(state: AppState) {
    let hub = &state.hub;
    let mut interval = tokio::time::interval(metrics::SAMPLE_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;

        let (delivered, delivered_bytes) = hub.rooms().delivered();
        let sample = CounterSample {
            connections: hub.connections().count(),
            published: metrics::stored_messages(),
            delivered,
            delivered_bytes,
        };
        state.rates.record(hub.uptime(), sample);
    }
}
