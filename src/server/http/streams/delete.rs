//! `DELETE /streams/{room}`: deletes a stream with all its messages.

use axum::extract::State as Shared;
use axum::http::StatusCode;

use crate::server::http::AppState;
use crate::server::http::api::admit_drafts;
use crate::server::http::error::ApiError;
use crate::server::http::middleware::authenticated::AuthenticatedClient;
use crate::server::http::streams::{self, StreamError, StreamName, check_end};

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
