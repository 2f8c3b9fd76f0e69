//! `GET /api/v1/admin/backup`: a copy of the database, on the ops listener only.

use std::fs::File;
use std::io::Read;

use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use tracing::info;

use crate::server::http::AppState;
use crate::server::http::api::admin::OperatorErrors;
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::error::{ApiError, ErrorBody};

/// The number of bytes read from the copy at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// Copy the database.
///
/// The copy contains every message that was acknowledged before. Publishing continues meanwhile. `fanfare restore` puts
/// it in place. Only on the ops listener, and only if the store is a file.
#[utoipa::path(
    get,
    path = "/api/v1/admin/backup",
    responses(
        (status = 200, description = "The copy, an SQLite database", body = Vec<u8>, content_type = "application/vnd.sqlite3"),
        OperatorErrors,
        (status = 404, description = "`not_found`: on the public listener, or if the store is not a file", body = ErrorBody),
        (status = 503, description = "`store_unavailable`: the message gives the reason; also while another copy is made", body = ErrorBody),
    ),
)]
pub(super) async fn backup(
    Shared(state): Shared<AppState>,
    operator: Operator,
) -> Result<Response, ApiError> {
    // An operator's token does not include the right to read all messages.
    if operator.has_token() {
        return Err(ApiError::NotFound);
    }
    let copying = state.hub.store().backup().ok_or(ApiError::NotFound)?;

    let copy = copying.await?;
    info!(%operator, bytes = copy.bytes, "copied the database");

    let headers = [
        (header::CONTENT_TYPE, "application/vnd.sqlite3".to_owned()),
        (header::CONTENT_LENGTH, copy.bytes.to_string()),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"fanfare.backup\"".to_owned(),
        ),
    ];
    Ok((headers, body(copy.file)).into_response())
}

/// Returns `file` as a response body. It is read on threads that may block.
fn body(file: File) -> Body {
    let chunks = stream::try_unfold(file, |mut file: File| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = vec![0; CHUNK_BYTES];
            let length = file.read(&mut chunk)?;
            chunk.truncate(length);
            Ok::<_, std::io::Error>((length > 0).then(|| (Bytes::from(chunk), file)))
        });
        read.await.map_err(std::io::Error::other)?
    });
    Body::from_stream(chunks)
}
