//! `DELETE /streams/{room}`: deletes a stream with all its messages.

use axum::extract::State as Shared;
use axum::http::StatusCode;

use crate::server::http::AppState;
use crate::server::http::api::admit_drafts;
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::InRoom;
use crate::server::http::middleware::authenticated::AuthenticatedClient;
use crate::server::http::streams::{self, StreamError, StreamName, check_end};

/// Delete a stream with all its messages.
#[utoipa::path(
    delete,
    path = "/streams/{room}",
    params(InRoom),
    responses(
        (status = 204, description = "Deleted"),
        (status = 400, description = "`bad_name`", body = ErrorBody),
        (status = 401, description = "`no_token`, `bad_token`, with the reason", body = ErrorBody),
        (status = 403, description = "`origin_not_allowed`, `not_allowed` (also: a room that was not created with `PUT` needs the right `admin`), `banned`, `room_closed`", body = ErrorBody),
        (status = 404, description = "`no_such_stream`", body = ErrorBody),
        (status = 429, description = "`rate_limited`, with `Retry-After`", body = ErrorBody),
        (status = 503, description = "`store_unavailable`, `too_many_rooms`, `draining`", body = ErrorBody),
    ),
)]
pub(super) async fn delete(
    Shared(state): Shared<AppState>,
    client: AuthenticatedClient,
    StreamName(name): StreamName,
) -> Result<StatusCode, ApiError> {
    client.check_write(&state, &name)?;
    let (_, lifecycle) = streams::open(&state, &name).await?;
    check_end(&client, &name, &lifecycle, "deleting")?;
    admit_drafts(&state, &client, &name, &[])?;

    if state.hub.store().delete_room(&name).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(StreamError::NoStream { room: name }.into())
    }
}
