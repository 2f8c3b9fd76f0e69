//! The Durable Streams protocol under `/streams/{room}`: rooms as append-only streams, over plain HTTP.
//!
//! A stream is a room. `PUT` creates it with a content type, `POST` appends to it or closes it, `GET` reads it (a page, a long
//! poll, or server-sent events), `HEAD` describes it, and `DELETE` deletes it. All of them use the same store, rights and
//! limits as the other ways to publish and read. The names of headers, and the meaning of offsets and cursors, are those of
//! version 1.0 of the protocol.
//!
//! Deliberately absent: forks and subscriptions, which answer 501.

mod append;
mod content;
mod create;
mod cursor;
mod delete;
mod error;
mod events;
mod headers;
mod live;
mod offset;
mod read;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::routing::get;
use utoipa::{IntoResponses, OpenApi};

use crate::protocol::RoomName;
use crate::server::auth::Right;
use crate::server::http::AppState;
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::middleware::authenticated::AuthenticatedClient;
use crate::server::hub::Room;
use crate::server::store::Lifecycle;

pub(super) use error::StreamError;
pub(super) use headers::{EXPOSED as EXPOSED_HEADERS, is_content_type};

/// The calls, for the description of the API. Their path has a wildcard, so it is not taken from the routes.
#[derive(OpenApi)]
#[openapi(paths(
    read::read,
    read::describe,
    create::create,
    append::append,
    delete::delete
))]
pub(super) struct StreamsDocument;

/// The errors of every call with content, for its description.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only its description is used")]
enum WriteErrors {
    /// `bad_name`, `bad_parameter`, `bad_body`
    #[response(status = 400)]
    BadRequest(ErrorBody),
    /// `no_token`, `bad_token`, with the reason
    #[response(status = 401)]
    Unauthorized(ErrorBody),
    /// `too_big`, `too_many`
    #[response(status = 413)]
    TooLarge(ErrorBody),
    /// `rate_limited`, with `Retry-After`
    #[response(status = 429)]
    TooFast(ErrorBody),
    /// `store_unavailable`, `too_many_rooms`, `draining`
    #[response(status = 503)]
    Unavailable(ErrorBody),
}

/// The first segment of names that the protocol reserves for subscriptions.
const RESERVED: &str = "__ds";

/// The room whose name is the rest of the path. Its slashes may be written as they are.
#[derive(Debug)]
struct StreamName(RoomName);

/// Returns the routes of all streams.
pub(super) fn router() -> Router<AppState> {
    let methods = get(read::read)
        .head(read::describe)
        .put(create::create)
        .post(append::append)
        .delete(delete::delete);
    Router::new().route("/streams/{*room}", methods)
}

impl<S: Send + Sync> FromRequestParts<S> for StreamName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // Fails only for a path that is not UTF-8, which names no room.
        let Path(name): Path<String> = Path::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::NotFound)?;

        if name.split('/').next() == Some(RESERVED) {
            return Err(StreamError::Subscriptions.into());
        }
        Ok(Self(RoomName::parse(&name)?))
    }
}

/// Opens the room `name`, and returns it with its lifecycle; `None` if nobody has created it or published in it, or it has
/// expired.
async fn find(
    state: &AppState,
    name: &RoomName,
) -> Result<(Arc<Room>, Option<Lifecycle>), ApiError> {
    let room = state.hub.room(name).await?;
    let lifecycle = state.hub.store().lifecycle(name)?;
    Ok((room, lifecycle))
}

/// Opens the stream `name`, and returns it with its lifecycle.
///
/// # Errors
/// [`StreamError::NoStream`].
async fn open(state: &AppState, name: &RoomName) -> Result<(Arc<Room>, Lifecycle), ApiError> {
    let (room, lifecycle) = find(state, name).await?;
    let name = name.clone();
    Ok((room, lifecycle.ok_or(StreamError::NoStream { room: name })?))
}

/// Checks that `client` may end the room with this `lifecycle` for all others: it was created as a stream, in which the
/// client may write, or the client administers it.
///
/// # Errors
/// [`StreamError::Protected`].
fn check_end(
    client: &AuthenticatedClient,
    room: &RoomName,
    lifecycle: &Lifecycle,
    action: &'static str,
) -> Result<(), ApiError> {
    if !lifecycle.is_created() && !client.principal.may(Right::Admin, room) {
        return Err(StreamError::Protected { action }.into());
    }
    Ok(())
}
