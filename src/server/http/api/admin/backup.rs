//! `GET /api/v1/admin/backup`: a copy of the database, on the ops listener alone.

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
use crate::server::http::api::admin::operator::Operator;
use crate::server::http::error::{ApiError, ErrorBody};

/// Bytes that are read from the copy at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// Copy the database.
///
/// The copy has every message that was acknowledged before. Publishing continues meanwhile. Put it in place with
/// `fanfare restore`. Only on the ops listener, and only for a database in a file.
#[utoipa::path(
    get,
    path = "/api/v1/admin/backup",
    responses(
        (status = 200, description = "The copy, an SQLite database", body = Vec<u8>, content_type = "application/vnd.sqlite3"),
        (status = 401, description = "`bad_token`: says why", body = ErrorBody),
        (status = 403, description = "`not_allowed`, `banned`, `origin_not_allowed`", body = ErrorBody),
        (status = 404, description = "`not_found`: on the public listener, or where messages are kept in no file", body = ErrorBody),
        (status = 503, description = "`store_unavailable`: says why; also while another copy is made", body = ErrorBody),
    ),
)]
pub(super) async fn backup(
    Shared(state): Shared<AppState>,
    operator: Operator,
) -> Result<Response, ApiError> {
    // A token that administers need not have the right to read everything.
    if operator.has_token() {
        return Err(ApiError::NotFound);
    }
    let copying = state.hub.backup().ok_or(ApiError::NotFound)?;

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

/// Streams `file`, which is read on threads that may wait for the disk.
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
