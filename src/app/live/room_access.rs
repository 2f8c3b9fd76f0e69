//! The access of the page to a room.

use serde::{Deserialize, Serialize};

use crate::protocol::UnsubscribeCode;

/// The access of the page to a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomAccess {
    /// Not known: the server has rendered the page without the right to write, and the user may have a token.
    Unknown,
    /// The page is subscribed, or will be with the next connection.
    Granted,
    /// The same, and the user's token grants no right to write.
    ReadOnly,
    /// The room was closed for good. Its messages can be read, and there will be no others.
    Ended,
    /// The room was deleted with its messages, or has expired. The page is not subscribed.
    Deleted,
    /// The server refused the subscription, or ended it.
    Refused {
        /// The reason, if the subscription was ended.
        code: Option<UnsubscribeCode>,
        /// The server's explanation.
        message: String,
    },
}

impl RoomAccess {
    /// Returns true if the server refuses the room.
    pub const fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// Returns true if a new token may change the access.
    pub const fn depends_on_token(&self) -> bool {
        matches!(self, Self::Unknown | Self::Granted | Self::ReadOnly)
    }
}
