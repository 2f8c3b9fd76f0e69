//! The actions that a session returns to the transport.

use crate::protocol::{Epoch, Json, Offset, Push, RoomName, RoomSelector, Signal, Token};
use crate::server::room::Draft;
use crate::server::session::CloseReason;

/// The action that a message of the client requires.
#[derive(Debug)]
pub enum SessionAction {
    /// Do nothing.
    Nothing,
    /// Store this message in the room and broadcast it.
    Publish(RoomName, Draft),
    /// Subscribe the client, with its position if it has one, and respond to it.
    Subscribe {
        /// The room or the pattern.
        room: RoomSelector,
        /// The last offset that the client has seen.
        after: Option<Offset>,
        /// The epoch of that offset.
        epoch: Option<Epoch>,
    },
    /// End the subscription, and respond to the client.
    Unsubscribe(RoomSelector),
    /// Send this to the client.
    Push(Push),
    /// Send a pong with this payload to the client.
    Pong(Vec<u8>),
    /// Read a page of the room's log and send it to the client.
    History {
        /// The room.
        room: RoomName,
        /// Newest offset of the page, exclusive; `None` for the newest page.
        before: Option<Offset>,
        /// Maximum number of messages.
        limit: usize,
    },
    /// Delete the message at this offset of the room if the client sent it, and respond to the client if not.
    Delete(RoomName, Offset),
    /// Send this signal to the clients that are subscribed to its room.
    Signal(Signal),
    /// Set the client's state in the room, or remove it if there is none. Respond to the client if it is not subscribed.
    SetState(RoomName, Option<Json>),
    /// Verify this token, replace the permissions if it is valid, and respond to the client.
    Renew(Token),
    /// Close the connection.
    Close(CloseReason),
}

impl SessionAction {
    /// Returns the name of the action in traces.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Publish(..) => "publish",
            Self::Subscribe { .. } => "subscribe",
            Self::Unsubscribe(_) => "unsubscribe",
            Self::Push(_) => "answer",
            Self::Pong(_) => "pong",
            Self::History { .. } => "history",
            Self::Delete(..) => "delete",
            Self::Signal(_) => "signal",
            Self::SetState(..) => "state",
            Self::Renew(_) => "renew",
            Self::Close(_) => "close",
        }
    }
}
