//! Extractors and parsers for the parts of a request. Their errors are [`ApiError`]s.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::de::value::StringDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;

use crate::protocol::{Epoch, Offset, Position, RoomName, RoomSelector, UserId};
use crate::server::http::error::ApiError;
use crate::server::hub::Resume;

/// The room in the path.
#[derive(Debug, IntoParams)]
#[into_params(names("room"), parameter_in = Path)]
pub(super) struct InRoom(
    /// 1 to 128 of `A-Z a-z 0-9 - _ . : @ ~ /`, with `/` as `%2F`
    #[param(value_type = String)]
    pub(super) RoomName,
);

/// The rooms and patterns in the parameters `room` of the query, each once.
#[derive(Debug)]
pub(super) struct InRooms(pub(super) Vec<RoomSelector>);

/// The query parameters. Unknown ones are ignored; repeated ones are an error.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync> FromRequestParts<S> for InRoom {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // Fails only for a path that is not UTF-8, which names no room.
        let Path(room): Path<String> = Path::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::NotFound)?;

        Ok(Self(RoomName::parse(&room)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for InRooms {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let mut rooms = Vec::new();

        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name == "room" {
                let room = RoomSelector::parse(&value)?;
                if !rooms.contains(&room) {
                    rooms.push(room);
                }
            }
        }
        Ok(Self(rooms))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(params)) => Ok(Self(params)),
            Err(error) => {
                let query = parts.uri.query().unwrap_or_default();
                Err(query_error(query, error.body_text()))
            }
        }
    }
}

/// Returns the error of a query that cannot be parsed: that of its room, id or address, or else `other`.
fn query_error(query: &str, other: String) -> ApiError {
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let checked = match name.as_ref() {
            "room" => RoomName::parse(&value).map(drop).map_err(ApiError::from),
            "id" => UserId::parse(&value).map(drop).map_err(ApiError::from),
            "address" => address("address", &value).map(drop),
            _ => Ok(()),
        };
        if let Err(error) = checked {
            return error;
        }
    }

    ApiError::Query(other)
}

/// Deserializes an optional query parameter. An empty value counts as none, because scripts write `after=$AFTER`. Not for
/// rooms and ids: without them, a request means another room or id.
pub(super) fn non_empty<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let value = String::deserialize(deserializer)?;
    if value.is_empty() {
        return Ok(None);
    }

    let value: StringDeserializer<D::Error> = value.into_deserializer();
    T::deserialize(value).map(Some)
}

/// Parses the IP address in the query parameter `name`.
pub(super) fn address(name: &'static str, text: &str) -> Result<IpAddr, ApiError> {
    let allowed = "an IP address, like 192.0.2.1 or 2001:db8::1";
    text.parse()
        .map_err(|_| ApiError::Parameter { name, allowed })
}

/// Parses the offset in the query parameter `name`.
pub(super) fn offset(name: &'static str, text: &str) -> Result<Offset, ApiError> {
    let allowed = "an offset: a number from 0";
    text.parse()
        .map(Offset)
        .map_err(|_| ApiError::Parameter { name, allowed })
}

/// Parses the position in the query parameters `after` and `epoch`.
pub(super) fn resume(
    after: Option<&str>,
    epoch: Option<Epoch>,
) -> Result<Option<Resume>, ApiError> {
    after
        .map(|after| {
            Ok(Resume {
                after: offset("after", after)?,
                epoch,
            })
        })
        .transpose()
}

/// Parses the position in a `Last-Event-ID` header.
pub(super) fn resume_from_event(id: &[u8]) -> Result<Resume, ApiError> {
    let position = std::str::from_utf8(id)
        .ok()
        .and_then(|id| id.parse::<Position>().ok());
    let Position { epoch, offset } = position.ok_or(ApiError::Parameter {
        name: "Last-Event-ID",
        allowed: "EPOCH:OFFSET, as in the `id` of an event",
    })?;

    Ok(Resume {
        after: offset,
        epoch: Some(epoch),
    })
}
