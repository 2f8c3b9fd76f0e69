//! Every code of an `error` frame, and whether the same frame may succeed later.

use serde::{Deserialize, Serialize};

/// Why a client's frame could not be acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// Not a JSON object.
    BadJson,
    /// A `type` that there is not.
    UnknownType,
    /// A field that is missing, of another kind, or out of its bounds.
    BadField,
    /// A binary frame, which this dialect has not.
    NotText,
    /// More messages than `--message-rate` allows.
    RateLimited,
    /// The token of a `token` is none, or not of the client that sent it.
    BadToken,
    /// The client may not do this: its token has no such grant.
    NotAllowed,
    /// The store could not take it now.
    StoreUnavailable,
}

impl ErrorCode {
    /// All codes.
    pub const ALL: [Self; 8] = [
        Self::BadJson,
        Self::UnknownType,
        Self::BadField,
        Self::NotText,
        Self::RateLimited,
        Self::BadToken,
        Self::NotAllowed,
        Self::StoreUnavailable,
    ];

    /// The code as it travels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadJson => "bad_json",
            Self::UnknownType => "unknown_type",
            Self::BadField => "bad_field",
            Self::NotText => "not_text",
            Self::RateLimited => "rate_limited",
            Self::BadToken => "bad_token",
            Self::NotAllowed => "not_allowed",
            Self::StoreUnavailable => "store_unavailable",
        }
    }

    /// Whether the same frame may succeed later.
    pub const fn invites_retry(self) -> bool {
        matches!(self, Self::RateLimited | Self::StoreUnavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_called_the_same_in_a_frame_and_in_a_counter() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_value(code).expect("JSON"), code.as_str());
        }
    }
}
