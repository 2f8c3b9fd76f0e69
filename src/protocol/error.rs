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
    /// The store could not take it now.
    StoreUnavailable,
}

impl ErrorCode {
    /// Whether the same frame may succeed later.
    pub const fn invites_retry(self) -> bool {
        matches!(self, Self::RateLimited | Self::StoreUnavailable)
    }
}
