//! The commands of a client of `fanfare.v1`: one JSON object in a text frame, tagged by `type`.

use serde::Serialize;

use super::{Key, Offset, Token};

/// Most messages in one page of history.
pub const MAX_HISTORY: u16 = 1000;

/// A client's frame. [`Command::decode`] reads it, in one pass and without a buffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Command {
    /// Says `text` to the room.
    Say {
        /// What is said.
        text: String,
        /// Makes it repeatable, and asks for an `ack`.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<Key>,
    },
    /// Goes on with another token of the same `sub`, when the one that it came with is about to end.
    Token {
        /// The token.
        token: Token,
    },
    /// Asks for a `pong`.
    Ping,
    /// Asks for a page of what was said before.
    History {
        /// Only what came before this offset; without it, the newest.
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<Offset>,
        /// At most so many, 1 to [`MAX_HISTORY`]; 100 without it.
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u16>,
    },
}
