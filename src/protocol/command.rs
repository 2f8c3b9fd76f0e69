//! The frames that a client of `fanfare.v1` sends: one JSON object in a text frame, tagged by `type`.

use serde::Serialize;

use super::{Body, Epoch, Json, Kind, MessageFields, Offset, RoomName, RoomSelector, Token};

/// The largest number of messages in one `history` frame.
pub const MAX_HISTORY: u16 = 1000;
/// The largest content of a signal, in bytes of JSON without whitespace.
pub const MAX_SIGNAL_BYTES: usize = 4096;
/// The largest state of a user, in bytes of JSON without whitespace.
pub const MAX_STATE_BYTES: usize = 1024;

/// A frame from a client. [`Command::decode`] parses it in one pass, without a buffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Command {
    /// Subscribes the connection to a room, or to all rooms that match a pattern. A second subscription to the same room
    /// replaces the first.
    Subscribe {
        /// The room or the pattern.
        room: RoomSelector,
        /// The last offset that the client has seen; 0 for all messages that are kept. If absent, only new messages.
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<Offset>,
        /// The epoch of `after`.
        #[serde(skip_serializing_if = "Option::is_none")]
        epoch: Option<Epoch>,
    },
    /// Ends a subscription.
    Unsubscribe {
        /// The room or the pattern.
        room: RoomSelector,
    },
    /// Publishes a message.
    Publish {
        /// The room; may be absent while the only subscription of the connection is to one room.
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<RoomName>,
        /// The content.
        #[serde(flatten)]
        body: Body,
        /// The optional fields. A key makes a repeated send safe and requests an `ack`.
        #[serde(flatten)]
        fields: MessageFields,
    },
    /// Deletes a message that the sender published. A tombstone replaces it. Needs a token: only then is the id verified.
    Delete {
        /// The room; may be absent while the only subscription of the connection is to one room.
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<RoomName>,
        /// The offset of the message.
        offset: Offset,
    },
    /// Sends a signal to the clients that are subscribed to the room now. It is not stored.
    Signal {
        /// The room; may be absent while the only subscription of the connection is to one room.
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<RoomName>,
        /// The application's own type of the signal.
        kind: Kind,
        /// The content.
        json: Json,
    },
    /// Sets the state that presence shows beside the client's id.
    State {
        /// The room; may be absent while the only subscription of the connection is to one room.
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<RoomName>,
        /// The state; `null` removes it.
        json: Json,
    },
    /// Replaces the connection's token with a newer one of the same `sub`, before the old one expires.
    Token {
        /// The new token.
        token: Token,
    },
    /// Requests a `pong`.
    Ping,
    /// Requests a page of older messages.
    History {
        /// The room; may be absent while the only subscription of the connection is to one room.
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<RoomName>,
        /// Only messages with a smaller offset; if absent, the newest messages.
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<Offset>,
        /// The largest number of messages to return, 1 to [`MAX_HISTORY`]; 100 if absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u16>,
    },
}

impl Command {
    /// Returns the command with the room `name`, if it is about a room and names none.
    pub fn in_room(mut self, name: &RoomName) -> Self {
        match &mut self {
            Self::Publish { room, .. }
            | Self::Delete { room, .. }
            | Self::Signal { room, .. }
            | Self::State { room, .. }
            | Self::History { room, .. } => {
                room.get_or_insert_with(|| name.clone());
            }
            Self::Subscribe { .. } | Self::Unsubscribe { .. } | Self::Token { .. } | Self::Ping => {
            }
        }
        self
    }
}
