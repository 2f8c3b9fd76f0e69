//! `PUT /streams/{room}`: creates a stream, or confirms that it exists with the same settings.

use axum::Extension;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::server::auth::{Right, ServedHost};
use crate::server::http::AppState;
use crate::server::http::api::{RequestBody, admit_drafts};
use crate::server::http::error::ApiError;
use crate::server::http::middleware::authenticated::AuthenticatedClient;
use crate::server::http::streams::content::ContentForm;
use crate::server::http::streams::headers::{self, STREAM_FORKED_FROM};
use crate::server::http::streams::{self, StreamError, StreamName, append};
use crate::server::store::{
    CreateOutcome, CreateResult, Lifecycle, NewRoom, RoomSettings, now_millis,
};

/// The content type of a stream that is created without one.
const DEFAULT_CONTENT_TYPE: &str = "application/octet-stream";

pub(super) async fn create(
    Shared(state): Shared<AppState>,
    client: AuthenticatedClient,
    host: Option<Extension<ServedHost>>,
    StreamName(name): StreamName,
    uri: Uri,
    request: HeaderMap,
    body: RequestBody,
) -> Result<Response, ApiError> {
    client.check_write(&state, &name)?;
    let rules = state.rules(&name);
    state
        .quotas
        .check_http(client.host(), rules.message_rate, state.hub.now())?;
    if request.contains_key(STREAM_FORKED_FROM) {
        return Err(StreamError::Forks.into());
    }
    let content_type = headers::content_type(&request)?;
    let content_type = content_type.unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned());
    let (ttl, expires_at) = headers::expiry(&request)?;

    let form = ContentForm::of(&content_type);
    let max_message = rules.max_message;
    let read = body.read(ContentForm::max_bytes(max_message), |body| {
        form.parse(body, max_message)
    });
    let drafts = append::drafts(&client, read.await?)?;

    admit_drafts(&state, &client, &name, &drafts)?;
    let store = state.hub.store();
    let (room, existing) = streams::find(&state, &name).await?;
    if existing.is_none() && !client.principal.may(Right::Admin, &name) {
        state.quotas.create_room(client.host(), state.hub.now())?;
    }
    let settings = RoomSettings {
        content_type,
        ttl,
        expires_at,
    };
    let new = NewRoom {
        settings,
        drafts,
        is_closed: headers::is_closed(&request),
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
