//! The errors of the admin API.

use axum::http::StatusCode;

use crate::protocol::{Offset, RoomName};
use crate::server::hooks::HookCommandError;
use crate::server::hub::RuleError;
use crate::server::moderation::TooManyBans;

/// An error of the admin API.
#[derive(Debug, thiserror::Error)]
pub(in crate::server::http) enum AdminError {
    /// The client is not an operator.
    #[error(
        "the admin API needs a token with the `admin` right in the Authorization header, where --auth-key-file is \
         set; or use the ops listener (--ops-listen), from the machine itself"
    )]
    NoOperator,
    /// The request is not JSON.
    #[error("send content-type: application/json")]
    NotJson,
    /// A form without an `Origin` header.
    #[error("a form of the admin page has an Origin header; programs use /api/v1/admin")]
    NoOrigin,
    /// The connection does not exist.
    #[error("there is no connection {number}, or none that you administer")]
    NoConnection {
        /// The number of the connection.
        number: u64,
    },
    /// The room does not exist.
    #[error("there is no room {room}: nobody has created it or published in it, or it has expired")]
    NoRoom {
        /// The name of the room.
        room: RoomName,
    },
    /// The message does not exist.
    #[error("there is no message {offset} in {room}, or it is no longer kept")]
    NoMessage {
        /// The room of the message.
        room: RoomName,
        /// The offset of the message.
        offset: Offset,
    },
    /// The limit of bans is reached.
    #[error("{0}")]
    Bans(TooManyBans),
    /// The ban does not exist.
    #[error("there is no such ban; lift a ban in a room with that room (?room=, --room)")]
    NoBan,
    /// The hook does not exist.
    #[error("there is no hook {0:?} in the settings")]
    NoHook(String),
    /// The offset is that of a later message.
    #[error("there is no message {from} yet: the newest offset is {newest}")]
    NoOffset {
        /// The requested offset.
        from: Offset,
        /// The newest offset.
        newest: Offset,
    },
    /// The change cannot be stored.
    #[error("not done: the change cannot be stored: {0}")]
    NotKept(String),
}

impl From<RuleError> for AdminError {
    fn from(error: RuleError) -> Self {
        match error {
            RuleError::TooManyBans(error) => Self::Bans(error),
            RuleError::NotStored(reason) => Self::NotKept(reason),
        }
    }
}

impl From<HookCommandError> for AdminError {
    fn from(error: HookCommandError) -> Self {
        match error {
            HookCommandError::NoHook(name) => Self::NoHook(name),
            HookCommandError::NoOffset { from, newest } => Self::NoOffset { from, newest },
            HookCommandError::Store(error) => Self::NotKept(error.to_string()),
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
            Self::NoRoom { .. } => (StatusCode::NOT_FOUND, "no_such_room"),
            Self::NoMessage { .. } => (StatusCode::NOT_FOUND, "no_such_message"),
            Self::Bans(_) => (StatusCode::CONFLICT, "too_many_bans"),
            Self::NoBan => (StatusCode::NOT_FOUND, "no_such_ban"),
            Self::NoHook(_) => (StatusCode::NOT_FOUND, "no_such_hook"),
            Self::NoOffset { .. } => (StatusCode::NOT_FOUND, "no_such_message"),
            Self::NotKept(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_kept"),
        }
    }
}
