//! `GET …/stats`: the server in figures, and its last minutes second by second.

use axum::Json;
use axum::extract::State as Shared;
use serde::Serialize;
use tokio::time::MissedTickBehavior;
use utoipa::ToSchema;

use crate::server::http::AppState;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::memory::Memory;
use crate::server::metrics::{self, CounterSample};
use crate::server::release;
use crate::server::store::Health;

/// A server in figures.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::server::http) struct Stats {
    /// Its version.
    version: &'static str,
    /// The commit that it was built from; null but in a release.
    commit: Option<&'static str>,
    /// Since when it runs, in seconds.
    pub(in crate::server::http) uptime: u64,
    /// Whether the store takes messages now.
    ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::server::http) reason: Option<String>,
    /// Connections that are open.
    connections: usize,
    /// Rooms in memory.
    pub(in crate::server::http) rooms: usize,
    /// Bytes that clients make the process hold.
    pub(in crate::server::http) held_bytes: usize,
    /// How many they may be: `--memory-budget`.
    pub(in crate::server::http) budget_bytes: usize,
    /// Messages stored since the start.
    published: u64,
    /// Messages delivered since then, once for each reader.
    delivered: u64,
    /// Their bytes.
    delivered_bytes: u64,
    /// The last three minutes, oldest first.
    pub(in crate::server::http) seconds: Vec<Second>,
}

/// What passed in one second.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(in crate::server::http) struct Second {
    /// Connections that were open at its end.
    pub(in crate::server::http) connections: usize,
    /// Messages stored.
    pub(in crate::server::http) published: f64,
    /// Messages delivered, once for each reader.
    pub(in crate::server::http) delivered: f64,
    /// Their bytes.
    pub(in crate::server::http) delivered_bytes: f64,
}

impl Stats {
    /// Those of now.
    pub(in crate::server::http) fn of(AppState { hub, course, .. }: &AppState) -> Self {
        let reason = match hub.store_health() {
            Health::Ready => None,
            Health::Refusing(reason) | Health::Away(reason) | Health::Lost(reason) => Some(reason),
        };
        let (delivered, delivered_bytes) = hub.delivered();
        let seconds = course.points().into_iter().map(|point| Second {
            connections: point.connections,
            published: point.published,
            delivered: point.delivered,
            delivered_bytes: point.delivered_bytes,
        });
        Self {
            version: release::VERSION,
            commit: release::COMMIT,
            uptime: hub.uptime().as_secs(),
            ready: reason.is_none(),
            reason,
            connections: hub.connections(),
            rooms: hub.rooms(),
            held_bytes: Memory::of_process().held(),
            budget_bytes: Memory::of_process().budget(),
            published: metrics::stored_messages(),
            delivered,
            delivered_bytes,
            seconds: seconds.collect(),
        }
    }
}

/// Takes note of the figures each second until dropped.
pub async fn note_forever(AppState { hub, course, .. }: AppState) {
    let mut interval = tokio::time::interval(metrics::EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let (delivered, delivered_bytes) = hub.delivered();
        let (connections, published) = (hub.connections(), metrics::stored_messages());
        course.record(
            hub.uptime(),
            CounterSample {
                connections,
                published,
                delivered,
                delivered_bytes,
            },
        );
    }
}

/// See how the server does.
///
/// For whoever administers every room.
#[utoipa::path(
    get,
    path = "/api/v1/admin/stats",
    responses(
        (status = 200, description = "The server in figures", body = Stats),
        (status = 401, description = "`bad_token`: says why", body = ErrorBody),
        (status = 403, description = "`not_allowed`, `banned`, `origin_not_allowed`", body = ErrorBody),
    ),
)]
pub(super) async fn stats(
    Shared(state): Shared<AppState>,
    operator: Operator,
) -> Result<Json<Stats>, ApiError> {
    operator.check_all(None)?;
    Ok(Json(Stats::of(&state)))
}
