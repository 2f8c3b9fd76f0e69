//! What handlers ask of a request. Each part is checked here, and what is wrong with it is said as JSON.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::de::value::StringDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Deserializer};

use crate::protocol::Epoch;
use crate::protocol::Offset;
use crate::protocol::Position;
use crate::protocol::RoomName;
use crate::protocol::UserId;
use crate::server::http::error::ApiError;
use crate::server::hub::Resume;

/// The room that the address names.
#[derive(Debug)]
pub(super) struct InRoom(pub(super) RoomName);

/// The query's fields, none of them twice. Those that nobody asks for are ignored.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync> FromRequestParts<S> for InRoom {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // Only an address that is not even text in UTF-8 cannot be read, and that names nothing.
        let Path(room): Path<String> = Path::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::NotFound)?;
        Ok(Self(RoomName::parse(&room)?))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(fields)) => Ok(Self(fields)),
            Err(error) => {
                let query = parts.uri.query().unwrap_or_default();
                Err(query_error(query, error.body_text()))
            }
        }
    }
}

/// Returns the error of a query that cannot be read: that of its room, id or address, or else `other`.
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

/// Reads a field of the query that says where to begin or how much to give. An empty value is the same as none, because
/// scripts write `after=$AFTER`. (An empty room or id is an error all the same: none would be another room or id.)
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

/// The IP address that the query's field `name` holds.
pub(super) fn address(name: &'static str, text: &str) -> Result<IpAddr, ApiError> {
    let allowed = "an IP address, like 192.0.2.1 or 2001:db8::1";
    text.parse()
        .map_err(|_| ApiError::Parameter { name, allowed })
}

/// The offset that the query's field `name` holds.
pub(super) fn offset(name: &'static str, text: &str) -> Result<Offset, ApiError> {
    let allowed = "an offset: a number from 0";
    text.parse()
        .map(Offset)
        .map_err(|_| ApiError::Parameter { name, allowed })
}

/// The position in the query's fields `after` and `epoch`.
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

/// The position in a `Last-Event-ID`.
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
