//! What goes wrong over HTTP: one table from cause to status, code and words, as
//! `{"error":{"code","message"}}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::protocol::KeyError;
use crate::protocol::NameError;
use crate::server::hub::Refusal;
use crate::server::store::StoreError;
use crate::server::transport::UpgradeError;

/// Seconds after which a client that connects too fast may try again: by then a place is free at any rate.
const RETRY_AFTER_A_SECOND: HeaderValue = HeaderValue::from_static("1");
/// Seconds after which a refused client may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// An answer other than the one asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// A room or id that is none.
    #[error("{0}")]
    Name(#[from] NameError),
    /// An offset that is none.
    #[error("after must be an offset: a number from 0")]
    Position,
    /// A limit is reached.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// `--connect-rate` is passed.
    #[error("this address opens connections faster than one may (--connect-rate, --connect-burst)")]
    ConnectsTooFast,
    /// The store could not take or give something now.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A key that is none.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// Not a WebSocket handshake.
    #[error("{0}")]
    Upgrade(#[from] UpgradeError),
    /// A page of another origin.
    #[error("pages of this origin may not connect; the server's --allow-origin names those that may")]
    Origin,
    /// No such address.
    #[error("there is nothing at this address")]
    NotFound,
    /// The address exists, but not for this method.
    #[error("this address does not take this method")]
    Method,
    /// A body of another kind.
    #[error("the body must be text/plain in UTF-8 or application/json like {{\"text\":\"...\"}}")]
    MediaType,
    /// A body of the right kind that does not say what it must.
    #[error("{0}")]
    Body(String),
    /// A body past `--max-message`.
    #[error("the message is larger than the {limit} bytes allowed")]
    TooBig {
        /// `--max-message`, in bytes.
        limit: usize,
    },
}

impl ApiError {
    const fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Name(
                NameError::Length { .. } | NameError::RoomCharacter { .. } | NameError::IdControl { .. },
            ) => (StatusCode::BAD_REQUEST, "bad_name"),
            Self::Key(_) => (StatusCode::BAD_REQUEST, "bad_key"),
            Self::Position => (StatusCode::BAD_REQUEST, "bad_position"),
            Self::Refused(Refusal::StoreUnavailable) | Self::Store(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable")
            }
            Self::Refused(Refusal::TooManyConnections) => {
                (StatusCode::SERVICE_UNAVAILABLE, "too_many_connections")
            }
            Self::Refused(Refusal::TooManyFromAddress) => {
                (StatusCode::TOO_MANY_REQUESTS, "too_many_connections_from_address")
            }
            Self::Refused(Refusal::TooManyRooms) => (StatusCode::SERVICE_UNAVAILABLE, "too_many_rooms"),
            Self::Refused(Refusal::Draining) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            Self::ConnectsTooFast => (StatusCode::TOO_MANY_REQUESTS, "connects_too_fast"),
            Self::Upgrade(UpgradeError::NotAnUpgrade | UpgradeError::WrongVersion) => {
                (StatusCode::UPGRADE_REQUIRED, "upgrade_required")
            }
            Self::Upgrade(_) => (StatusCode::BAD_REQUEST, "bad_handshake"),
            Self::Origin => (StatusCode::FORBIDDEN, "origin_not_allowed"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::Body(_) => (StatusCode::UNPROCESSABLE_ENTITY, "bad_body"),
            Self::TooBig { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_big"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        let body = Json(json!({ "error": { "code": code, "message": self.to_string() } }));
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        match self {
            Self::ConnectsTooFast => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER_A_SECOND);
            }
            Self::Refused(_) | Self::Store(_) => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            Self::Upgrade(UpgradeError::NotAnUpgrade | UpgradeError::WrongVersion) => {
                // RFC 9110 section 15.5.22 and RFC 6455 section 4.4.
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            _ => {}
        }
        response
    }
}

pub(super) async fn not_found() -> ApiError {
    ApiError::NotFound
}

pub(super) async fn method_not_allowed() -> ApiError {
    ApiError::Method
}
