//! The codes of `error` frames.

use serde::{Deserialize, Serialize};

/// The reason why a client's frame was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The `type` is unknown.
    UnknownType,
    /// A field is missing, has the wrong type or is out of bounds.
    BadField,
    /// The frame is binary, which this dialect does not allow.
    NotText,
    /// The client sent more messages than `--message-rate` allows.
    RateLimited,
    /// The token of a `token` command is invalid, or is for another user.
    BadToken,
    /// The client's token does not grant the required right.
    NotAllowed,
    /// The message to delete does not exist, or is no longer kept.
    NoSuchMessage,
    /// The client is not subscribed to the room, or the frame names no room and there is not exactly one subscription.
    NotSubscribed,
    /// The connection has as many subscriptions as `--max-subscriptions` allows.
    TooManySubscriptions,
    /// The server cannot accept another room, or another member in this room, or has no memory left for clients.
    LimitReached,
    /// The room is closed: it accepts no more messages.
    StreamClosed,
    /// The store cannot accept messages now.
    StoreUnavailable,
    /// The frame is not a JSON object. Clients also decode unknown codes of newer servers as this one.
    #[serde(other)]
    BadJson,
}

impl ErrorCode {
    /// All codes.
    pub const ALL: [Self; 13] = [
        Self::BadJson,
        Self::UnknownType,
        Self::BadField,
        Self::NotText,
        Self::RateLimited,
        Self::BadToken,
        Self::NotAllowed,
        Self::NoSuchMessage,
        Self::NotSubscribed,
        Self::TooManySubscriptions,
        Self::LimitReached,
        Self::StreamClosed,
        Self::StoreUnavailable,
    ];

    /// Returns the code as frames and metrics write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadJson => "bad_json",
            Self::UnknownType => "unknown_type",
            Self::BadField => "bad_field",
            Self::NotText => "not_text",
            Self::RateLimited => "rate_limited",
            Self::BadToken => "bad_token",
            Self::NotAllowed => "not_allowed",
            Self::NoSuchMessage => "no_such_message",
            Self::NotSubscribed => "not_subscribed",
            Self::TooManySubscriptions => "too_many_subscriptions",
            Self::LimitReached => "limit_reached",
            Self::StreamClosed => "stream_closed",
            Self::StoreUnavailable => "store_unavailable",
        }
    }

    /// Returns true if the same frame may succeed later.
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited | Self::LimitReached | Self::StoreUnavailable
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_the_same_name_in_a_frame_and_in_a_metric() {
        for code in ErrorCode::ALL {
            let name = serde_json::to_value(code).expect("JSON");
            assert_eq!(name, code.as_str());
            assert_eq!(serde_json::from_value::<ErrorCode>(name).ok(), Some(code));
        }
    }

    #[test]
    fn a_client_reads_the_code_of_a_newer_server() {
        let code = serde_json::from_str(r#""room_on_fire""#);
        assert_eq!(code.ok(), Some(ErrorCode::BadJson));
    }
}
