//! The JSON API. So far: publishing.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::protocol::Epoch;
use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::http::State;
use crate::server::http::error::ApiError;
use crate::server::room::Frame;

/// A message as JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    text: String,
}

/// The answer to a publish: where the message stands.
#[derive(Debug, Serialize)]
pub(super) struct Published {
    room: RoomName,
    epoch: Epoch,
    offset: Offset,
    /// Milliseconds since 1970 UTC.
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
    let text = text_of(&headers, &body)?;
    let room = state.hub.room(&room)?;
    let offset = state.hub.publish(&room, [Frame::text(&text)]);
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let published =
        Published { room: room.name().clone(), epoch: room.epoch().clone(), offset, at, duplicate: false };
    Ok((StatusCode::CREATED, Json(published)))
}

/// The message in a body: JSON if the request says so, else text (curl's own default type among it).
fn text_of(headers: &HeaderMap, body: &[u8]) -> Result<String, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).map_or(Ok("text/plain"), |kind| kind.to_str());
    let kind = kind.map_err(|_| ApiError::MediaType)?;
    match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "text/plain" | "application/x-www-form-urlencoded" => {
            String::from_utf8(body.to_vec()).map_err(|_| ApiError::Body("the text is not UTF-8".to_owned()))
        }
        "application/json" => serde_json::from_slice(body)
            .map(|message: Message| message.text)
            .map_err(|error| ApiError::Body(format!("the JSON is not a message: {error}"))),
        _ => Err(ApiError::MediaType),
    }
}
