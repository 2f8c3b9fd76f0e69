//! The errors of streams, and their statuses and codes.

use axum::http::StatusCode;

use crate::protocol::RoomName;
use crate::server::store::AppendRefusal;

/// An error of a request to a stream.
#[derive(Debug, thiserror::Error)]
pub(in crate::server::http) enum StreamError {
    /// The room does not exist.
    #[error("there is no stream {room}; create it with PUT")]
    NoStream {
        /// The name.
        room: RoomName,
    },
    /// The stream exists with other settings.
    #[error(
        "the stream exists with another Content-Type, Stream-TTL, Stream-Expires-At or Stream-Closed"
    )]
    Exists,
    /// The offset cannot be read from.
    #[error(
        "the messages after this offset are no longer kept, or the offset is of another stream; read from offset -1"
    )]
    Gone,
    /// The append was refused.
    #[error(transparent)]
    Refused(#[from] AppendRefusal),
    /// An append has no body.
    #[error(
        "the body is empty; send the content to append, or Stream-Closed: true to close the stream"
    )]
    EmptyBody,
    /// A body has no content type.
    #[error("the body needs a Content-Type, that of the stream")]
    NoContentType,
    /// The body is not of its content type.
    #[error("{0}")]
    Content(String),
    /// The client may not end the room for all others.
    #[error(
        "{action} a room that was not created with PUT needs a token with the right to administer it"
    )]
    Protected {
        /// `closing` or `deleting`.
        action: &'static str,
    },
    /// The request is to create a fork.
    #[error("forks of streams are not supported; leave out Stream-Forked-From")]
    Forks,
    /// The request is for a subscription.
    #[error("subscriptions to streams are not supported; use a hook, or read the stream")]
    Subscriptions,
}

impl StreamError {
    /// Returns the status and the code.
    pub(in crate::server::http) const fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NoStream { .. } | Self::Refused(AppendRefusal::NoRoom) => {
                (StatusCode::NOT_FOUND, "no_such_stream")
            }
            Self::Exists => (StatusCode::CONFLICT, "stream_exists"),
            Self::Gone => (StatusCode::GONE, "offset_gone"),
            Self::Refused(AppendRefusal::Closed) => (StatusCode::CONFLICT, "stream_closed"),
            Self::Refused(AppendRefusal::ContentType { .. }) => {
                (StatusCode::CONFLICT, "content_type_mismatch")
            }
            Self::Refused(AppendRefusal::StaleEpoch { .. }) => {
                (StatusCode::FORBIDDEN, "stale_epoch")
            }
            Self::Refused(AppendRefusal::EpochStart { .. }) => {
                (StatusCode::BAD_REQUEST, "bad_parameter")
            }
            Self::Refused(AppendRefusal::SeqGap { .. }) => (StatusCode::CONFLICT, "sequence_gap"),
            Self::Refused(AppendRefusal::WriterSeq { .. }) => {
                (StatusCode::CONFLICT, "sequence_conflict")
            }
            Self::EmptyBody | Self::NoContentType | Self::Content(_) => {
                (StatusCode::BAD_REQUEST, "bad_body")
            }
            Self::Protected { .. } => (StatusCode::FORBIDDEN, "not_allowed"),
            Self::Forks | Self::Subscriptions => (StatusCode::NOT_IMPLEMENTED, "not_implemented"),
        }
    }
}
