//! `GET …/connections/{number}/trace`: the events of one connection, one JSON object per line, until it ends.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::stream;
use tracing::info;

use crate::server::http::AppState;
use crate::server::http::api::admin::OperatorErrors;
use crate::server::http::api::admin::connections::parse_number;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::error::{AdminError, ApiError, ErrorBody};
use crate::server::http::middleware::listener::Endless;
use crate::server::hub::ConnectionEntry;
use crate::server::metrics::{self, AdminAction};

/// Trace a connection.
///
/// Each line is an event with its time `at`: `frame` (a frame of the client: its `kind`, its `bytes`, and what it
/// `led_to`), `write` (`bytes` that were written to the client, and the `offset` that it has reached), `blocked` (the
/// client does not read), `missed` (`count` events were skipped because you read too slowly). Events have no content.
/// The trace ends with the connection, or when another trace of it begins.
#[utoipa::path(
    get,
    path = "/api/v1/admin/connections/{number}/trace",
    params(("number" = u64, Path, description = "The connection's number")),
    responses(
        (status = 200, description = "The events, live", content_type = "application/x-ndjson"),
        (status = 400, description = "`bad_parameter`", body = ErrorBody),
        OperatorErrors,
        (status = 404, description = "`no_such_connection`: or none that you administer", body = ErrorBody),
    ),
)]
pub(super) async fn trace(
    Shared(state): Shared<AppState>,
    operator: Operator,
    Path(number): Path<String>,
) -> Result<Response, ApiError> {
    let number = parse_number(&number)?;
    let matches = |entry: &ConnectionEntry| {
        entry.info.number() == number
            && (operator.administers_all()
                || entry.reads(|rooms| operator.administers_all_of(rooms)))
    };
    let traced = state.hub.connections().trace(matches).await;
    let traced = traced.ok_or(AdminError::NoConnection { number })?;
    metrics::count_admin_action(AdminAction::Trace, 1);
    info!(%operator, number, "traces a connection");

    let lines = stream::unfold(traced, |mut traced| async move {
        // Serialization cannot fail, because no map has keys that are not strings.
        let line = serde_json::to_string(&traced.recv().await?).unwrap_or_default() + "\n";
        Some((Ok::<_, Infallible>(Bytes::from(line)), traced))
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
