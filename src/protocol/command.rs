//! What a client of `fanfare.v1` asks: one JSON object in a text frame, tagged by `type`.

use serde::{Deserialize, Serialize};

use super::{Key, Offset, Token};

/// A client's frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Command {
    /// Says `text` to the room.
    Say {
        /// What is said.
        text: String,
        /// Makes it repeatable, and asks for an `ack`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
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
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<Offset>,
        /// At most so many, 1 to 1000; 100 without it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u16>,
    },
}
