//! The status of the page's connection.

use std::time::Duration;

use crate::protocol::CloseCode;

/// The status of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionStatus {
    /// A connection is being opened.
    Connecting,
    /// The server has sent its welcome. Messages can be sent.
    Live,
    /// The server is connected, but its store is not. Messages are delayed, and new ones are refused.
    Stalled,
    /// There is no connection.
    Waiting {
        /// The time until the next attempt, rounded up.
        seconds: u32,
    },
    /// There is no connection, and the browser has no network.
    Offline,
    /// The server forbade a reconnect.
    Refused(Refusal),
}

/// The reason why the server does not accept the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user has no token, or is not signed in at the proxy, and the server needs that.
    NoToken,
    /// The user's token has expired.
    TokenExpired,
    /// The server does not accept the user's token.
    TokenRefused,
    /// The user may not join this room: the token does not grant it, or an operator has banned the user.
    NotAllowed,
    /// An operator has closed the room.
    Closed,
    /// Any other reason.
    Other,
}

impl From<u16> for Refusal {
    /// Returns the reason that the close code `code` stands for. The reason of a bad token depends on the token.
    fn from(code: u16) -> Self {
        if code == CloseCode::NotAllowed.number() {
            Self::NotAllowed
        } else {
            Self::Other
        }
    }
}

impl ConnectionStatus {
    /// Returns true if the server needs a token, or another one.
    pub const fn needs_token(self) -> bool {
        matches!(
            self,
            Self::Refused(Refusal::NoToken | Refusal::TokenExpired | Refusal::TokenRefused)
        )
    }
}

/// Figures of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStats {
    /// The time between the last ping and its answer.
    pub round_trip: Option<Duration>,
    /// The number of reconnects.
    pub resumes: u32,
}
