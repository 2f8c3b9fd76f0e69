//! `PUT /streams/{room}`: creates a stream, or confirms that it exists with the same settings.

use axum::Extension;
use axum::extract::State as Shared;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::server::auth::ServedHost;
use crate::server::http::AppState;
use crate::server::http::api::{RequestBody, admit_drafts};
use crate::server::http::error::{ApiError, ErrorBody};
use crate::server::http::extract::InRoom;
use crate::server::http::middleware::authenticated::AuthenticatedClient;
use crate::server::http::streams::content::ContentForm;
use crate::server::http::streams::headers::{self, STREAM_FORKED_FROM};
use crate::server::http::streams::{self, StreamError, StreamName, WriteErrors, append};
use crate::server::store::{
    CreateOutcome, CreateResult, Lifecycle, NewRoom, RoomSettings, now_millis,
};

/// The content type of a stream that is created without one.
const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

/// Create a stream, or confirm that it exists with the same settings.
#[utoipa::path(
    put,
    path = "/streams/{room}",
    params(
        InRoom,
        ("Content-Type" = Option<String>, Header, description = "The media type of the stream (default application/octet-stream)"),
        ("Stream-TTL" = Option<u64>, Header, description = "The time without reads and writes after which it is deleted, in seconds"),
        ("Stream-Expires-At" = Option<String>, Header, description = "The time at which it is deleted (RFC 3339); not with `Stream-TTL`"),
        ("Stream-Closed" = Option<String>, Header, description = "`true`: it accepts no more after the body"),
    ),
    request_body(content = Vec<u8>, description = "The first content; may be empty", content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "It exists with the same settings"),
        (status = 201, description = "Created"),
        WriteErrors,
        (status = 403, description = "`origin_not_allowed`, `not_allowed`, `banned`, `room_closed`", body = ErrorBody),
        (status = 409, description = "`stream_exists` with other settings", body = ErrorBody),
        (status = 501, description = "`not_implemented`: forks and subscriptions", body = ErrorBody),
    ),
)]
pub(super) async fn create(
    Shared(state): Shared<AppState>,
    client: AuthenticatedClient,
    host: Option<Extension<ServedHost>>,
    StreamName(name): StreamName,
    uri: Uri,
    body: RequestBody,
) -> Result<Response, ApiError> {
    let rules = state.rules(&name);
    client.check_publish(&state, &name, rules.message_rate)?;

    let request = body.headers();
    if request.contains_key(STREAM_FORKED_FROM) {
        return Err(StreamError::Forks.into());
    }
    let content_type = headers::content_type(request)?;
    let content_type = content_type.unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned());
    let (ttl, expires_at) = headers::expiry(request)?;
    let is_closed = headers::is_closed(request);

    let form = ContentForm::of(&content_type);
    let max_message = rules.max_message;
    let read = body.read(ContentForm::max_bytes(max_message), |body| {
        form.parse(body, max_message)
    });
    let drafts = append::drafts(&client, read.await?)?;
    admit_drafts(&state, &client, &name, &drafts)?;

    let store = state.hub.store();
    let (room, existing) = streams::find(&state, &name).await?;
    if existing.is_none() {
        client.count_new_room(&state, &name)?;
    }

    let settings = RoomSettings {
        content_type: Some(content_type),
        ttl,
        expires_at,
    };
    let new = NewRoom {
        settings,
        drafts,
        is_closed,
    };
    let lifecycle = Lifecycle::of(&new, 0);
    let CreateResult { outcome, head } = store.create_room(&name, new, now_millis()).await?;

    let status = match outcome {
        CreateOutcome::Created => StatusCode::CREATED,
        CreateOutcome::Same => StatusCode::OK,
        CreateOutcome::Different => return Err(StreamError::Exists.into()),
    };
    let mut response = status.into_response();
    headers::describe(response.headers_mut(), &lifecycle, room.epoch(), head);

    if status == StatusCode::CREATED {
        let path = state.site.base.join(uri.path());
        let location = host.map_or(path.clone(), |Extension(host)| host.url(&path));
        // The path of a request is ASCII.
        let location = HeaderValue::try_from(location);
        response
            .headers_mut()
            .extend(location.ok().map(|location| (header::LOCATION, location)));
    }
    Ok(response)
}
