//! `GET …/connections/{number}/trace`: what passes over one connection, a JSON object a line, for as long as both
//! are open.

use axum::body::{Body, Bytes};
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use tracing::info;

use crate::server::http::AppState;
use crate::server::http::accept::Endless;
use crate::server::http::api::admin::connections::number;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::error::{AdminError, ApiError, ErrorBody};
use crate::server::hub::Seat;
use crate::server::metrics::{self, AdminAction};

/// Watch a connection.
///
/// Each line is an event with its time `at`: `frame` (what the client sent, by `kind`, `bytes`, and what it `led_to`),
/// `write` (`bytes` that were taken for it, and the `offset` that it has got to), `blocked` (nothing is taken now),
/// `missed` (so many events, because you read too slowly). Never what was said. It ends with the connection; another
/// trace of the same connection takes its place.
#[utoipa::path(
    get,
    path = "/api/v1/admin/connections/{number}/trace",
    params(("number" = u64, Path, description = "The connection's number")),
    responses(
        (status = 200, description = "Its events, as they pass", content_type = "application/x-ndjson"),
        (status = 400, description = "`bad_parameter`", body = ErrorBody),
        (status = 401, description = "`bad_token`: says why", body = ErrorBody),
        (status = 403, description = "`not_allowed`, `banned`, `origin_not_allowed`", body = ErrorBody),
        (status = 404, description = "`no_such_connection`: or none that you administer", body = ErrorBody),
    ),
)]
pub(super) async fn trace(
    Shared(state): Shared<AppState>,
    operator: Operator,
    Path(which): Path<String>,
) -> Result<Response, ApiError> {
    let number = number("number", &which)?;
    let fits = |seat: &Seat| seat.number() == number && operator.administers(seat.room());
    let traced = state
        .hub
        .trace(fits)
        .await
        .ok_or(AdminError::NoConnection { number })?;
    metrics::count_admin_action(AdminAction::Trace, 1);
    info!(%operator, number, "traces a connection");
    let lines = stream::unfold(traced, |mut traced| async move {
        // It cannot fail: nothing in it has keys that are no text.
        let line = serde_json::to_string(&traced.recv().await?).unwrap_or_default() + "\n";
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(line)), traced))
    });
    let mut response = Body::from_stream(lines).into_response();
    response.extensions_mut().insert(Endless);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
