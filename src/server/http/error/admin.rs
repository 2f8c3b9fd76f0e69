//! What an operator's call can meet, besides what any call can.

use axum::http::StatusCode;

use crate::protocol::Offset;
use crate::protocol::RoomName;
use crate::server::hub::DecreeError;
use crate::server::moderation::TooManyBans;

/// See the [module docs](self).
#[derive(Debug, thiserror::Error)]
pub(in crate::server::http) enum AdminError {
    /// Not an operator.
    #[error(
        "the admin API needs a token with the `admin` right in the Authorization header, where --auth-key-file is \
         set; or use the ops listener (--ops-listen), from the machine itself"
    )]
    NoOperator,
    /// A call that takes JSON only.
    #[error("send content-type: application/json")]
    NotJson,
    /// A form that does not say where it stands.
    #[error("a form of the operator's page comes with Origin; programs call /api/v1/admin")]
    NoOrigin,
    /// A connection that there is not.
    #[error("there is no connection {number}, or none that you administer")]
    NoConnection {
        /// The number asked for.
        number: u64,
    },
    /// A message that there is not.
    #[error("there is no message {offset} in {room}, or it is no longer kept")]
    NoMessage {
        /// The room asked for.
        room: RoomName,
        /// The offset asked for.
        offset: Offset,
    },
    /// A ban too many.
    #[error("{0}")]
    Bans(TooManyBans),
    /// A ban that there is not.
    #[error("there is no such ban; one that is for a room is lifted with that room")]
    NoBan,
    /// What was decided cannot be kept.
    #[error("it was not done, because it cannot be kept: {0}")]
    NotKept(String),
}

impl From<DecreeError> for AdminError {
    fn from(error: DecreeError) -> Self {
        match error {
            DecreeError::TooManyBans(error) => Self::Bans(error),
            DecreeError::NotKept(reason) => Self::NotKept(reason),
        }
    }
}

impl AdminError {
    pub(super) const fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoOperator => (StatusCode::FORBIDDEN, "not_allowed"),
            Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::NoOrigin => (StatusCode::FORBIDDEN, "origin_not_allowed"),
            Self::NoConnection { .. } => (StatusCode::NOT_FOUND, "no_such_connection"),
            Self::NoMessage { .. } => (StatusCode::NOT_FOUND, "no_such_message"),
            Self::Bans(_) => (StatusCode::CONFLICT, "too_many_bans"),
            Self::NoBan => (StatusCode::NOT_FOUND, "no_such_ban"),
            Self::NotKept(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_kept"),
        }
    }
}
