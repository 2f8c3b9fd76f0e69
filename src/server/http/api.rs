//! The JSON API. So far: publishing.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::protocol::Epoch;
use crate::protocol::Key;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::http::State;
use crate::server::http::error::ApiError;
use crate::server::room::Draft;
use crate::server::store::{StoreError, Stored};

/// The header that makes a publish repeatable, like `key` in JSON.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A message as JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    text: String,
    from: Option<UserId>,
    key: Option<Key>,
}

/// The answer to a publish: where the message stands.
#[derive(Debug, Serialize)]
pub(super) struct Published {
    room: RoomName,
    epoch: Epoch,
    offset: Offset,
    /// When it was stored, in milliseconds since 1970 UTC.
    at: u64,
    duplicate: bool,
}

pub(super) async fn publish(
    Shared(state): Shared<State>,
    Path(room): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Published>), ApiError> {
    let room = RoomName::parse(&room)?;
    let body = body.map_err(|_| ApiError::TooBig { limit: state.connection.max_message })?;
    let mut message = message_of(&headers, &body)?;
    if message.text.len() > state.connection.max_message {
        return Err(ApiError::TooBig { limit: state.connection.max_message });
    }
    if let Some(key) = headers.get(IDEMPOTENCY_KEY) {
        message.key = Some(Key::parse(key.to_str().unwrap_or_default())?);
    }
    let room = state.hub.room(&room)?;
    let from = message.from.unwrap_or_else(UserId::anonymous);
    let draft = Draft::text(from, message.key, &message.text);
    let (report, reported) = oneshot::channel();
    // The receiver is gone only if the client is.
    state.hub.publish(&room, vec![draft], move |result| drop(report.send(result)));
    let gone = || StoreError::Unavailable("it did not answer".to_owned());
    let stored = reported.await.map_err(|_| gone())??.pop().ok_or_else(gone)?;
    let (offset, at, duplicate) = match stored {
        Stored::New(frame) => (frame.offset(), frame.at(), false),
        Stored::Duplicate { offset, at } => (offset, at, true),
    };
    let published =
        Published { room: room.name().clone(), epoch: room.epoch().clone(), offset, at, duplicate };
    Ok((StatusCode::CREATED, Json(published)))
}

/// The message in a body: JSON if the request says so, else text (curl's own default type among it).
fn message_of(headers: &HeaderMap, body: &[u8]) -> Result<Message, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).map_or(Ok("text/plain"), |kind| kind.to_str());
    let kind = kind.map_err(|_| ApiError::MediaType)?;
    match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "text/plain" | "application/x-www-form-urlencoded" => {
            let text = String::from_utf8(body.to_vec());
            text.map(|text| Message { text, from: None, key: None })
                .map_err(|_| ApiError::Body("the text is not UTF-8".to_owned()))
        }
        "application/json" => serde_json::from_slice(body)
            .map_err(|error| ApiError::Body(format!("the JSON is not a message: {error}"))),
        _ => Err(ApiError::MediaType),
    }
}
