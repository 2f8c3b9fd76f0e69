//! The frames that the server sends in `fanfare.v1`: one JSON object in a text frame, tagged by `type`.

use serde::{Deserialize, Serialize};

use super::{
    Body, CloseCode, Epoch, ErrorCode, Json, Key, Kind, MessageFields, Offset, RoomName,
    RoomSelector, UserId,
};

/// A frame from the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Push {
    /// The first frame: the client's id and the limits of the connection.
    Welcome(Welcome),
    /// The client is subscribed to a room or a pattern. The messages follow.
    Subscribed(Subscribed),
    /// A subscription has ended.
    Unsubscribed {
        /// The room or the pattern.
        room: RoomSelector,
        /// The reason.
        code: UnsubscribeCode,
        /// A sentence that explains it.
        message: String,
    },
    /// A message.
    Message(Publication),
    /// A publish with a key was stored, as durably as the server is configured to.
    Ack {
        /// The room.
        room: RoomName,
        /// The key of the publish.
        key: Key,
        /// The offset of the message.
        offset: Offset,
        /// True if an earlier publish with this key had stored it.
        duplicate: bool,
    },
    /// The answer to a `history` command.
    History {
        /// The room.
        room: RoomName,
        /// The messages, oldest first.
        messages: Vec<Publication>,
        /// True if the room keeps older messages.
        more: bool,
    },
    /// Messages that will not be delivered.
    Gap {
        /// The room or the pattern.
        room: RoomSelector,
        /// The last offset before the gap.
        after: Offset,
        /// The first offset after the gap.
        before: Offset,
        /// The number of missing messages, if known.
        count: Option<u64>,
        /// The reason.
        reason: GapReason,
    },
    /// The users who joined and left, and whose state changed, since the last `presence` frame.
    Presence {
        /// The room.
        room: RoomName,
        /// The number of users in the room.
        count: usize,
        /// Users who joined; empty in a large room.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        joined: Vec<Member>,
        /// Users who left; empty in a large room.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<UserId>,
        /// Users whose state changed, each with the new state; empty in a large room.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changed: Vec<Member>,
    },
    /// A signal.
    Signal(Signal),
    /// A frame from the client was rejected.
    Error {
        /// The kind of error.
        code: ErrorCode,
        /// A sentence that names the mistake and the allowed values.
        message: String,
        /// True if the same frame may succeed later.
        retry: bool,
        /// The room of the rejected frame, if it named one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        room: Option<RoomSelector>,
        /// The key of the rejected publish.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Key>,
    },
    /// The answer to a `token` command: the token was accepted.
    Token {
        /// The expiry time, in milliseconds since 1970 UTC; absent if the server requires no token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<u64>,
    },
    /// The message at `offset` was deleted: clients that show it should remove it.
    Deleted {
        /// The room.
        room: RoomName,
        /// The offset of the deleted message.
        offset: Offset,
        /// The time of the deletion, in milliseconds since 1970 UTC.
        at: u64,
    },
    /// The room accepts no more messages: its log ends.
    Closed {
        /// The room.
        room: RoomName,
        /// The offset of the last message.
        offset: Offset,
    },
    /// The server is stopping.
    Drain {
        /// The delay before the client should reconnect, different for each client.
        reconnect_after_ms: u64,
    },
    /// The answer to a `ping` command.
    Pong,
}

impl Push {
    /// Creates the error `code`, about no room and no publish.
    pub const fn error(code: ErrorCode, message: String) -> Self {
        Self::Error {
            code,
            message,
            retry: code.is_retryable(),
            room: None,
            key: None,
        }
    }

    /// Creates the error `code` about `room`, and about the publish with `key` if it has one.
    pub const fn room_error(
        code: ErrorCode,
        message: String,
        room: RoomSelector,
        key: Option<Key>,
    ) -> Self {
        Self::Error {
            code,
            message,
            retry: code.is_retryable(),
            room: Some(room),
            key,
        }
    }

    /// Returns the room or the pattern that the frame is about.
    pub fn room(&self) -> Option<&str> {
        match self {
            Self::Subscribed(subscribed) => Some(subscribed.room.as_str()),
            Self::Message(publication) => Some(publication.room.as_str()),
            Self::Signal(signal) => Some(signal.room.as_str()),
            Self::Ack { room, .. }
            | Self::History { room, .. }
            | Self::Presence { room, .. }
            | Self::Deleted { room, .. }
            | Self::Closed { room, .. } => Some(room.as_str()),
            Self::Unsubscribed { room, .. } | Self::Gap { room, .. } => Some(room.as_str()),
            Self::Error { room, .. } => room.as_ref().map(RoomSelector::as_str),
            Self::Welcome(_) | Self::Token { .. } | Self::Drain { .. } | Self::Pong => None,
        }
    }

    /// Returns true if the frame carries or acknowledges messages, which proves that the connection works.
    pub const fn is_progress(&self) -> bool {
        matches!(
            self,
            Self::Message(_) | Self::Ack { .. } | Self::History { .. }
        )
    }

    /// Returns the value of its `type` field.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Welcome(_) => "welcome",
            Self::Subscribed(_) => "subscribed",
            Self::Unsubscribed { .. } => "unsubscribed",
            Self::Message(_) => "message",
            Self::Ack { .. } => "ack",
            Self::History { .. } => "history",
            Self::Gap { .. } => "gap",
            Self::Presence { .. } => "presence",
            Self::Signal(_) => "signal",
            Self::Error { .. } => "error",
            Self::Token { .. } => "token",
            Self::Deleted { .. } => "deleted",
            Self::Closed { .. } => "closed",
            Self::Drain { .. } => "drain",
            Self::Pong => "pong",
        }
    }
}

/// The first frame of a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The number of the connection, unique until the server restarts.
    pub connection: u64,
    /// The client's user id.
    pub id: UserId,
    /// The time without data from the client after which the server sends a ping, in milliseconds.
    pub heartbeat_ms: u64,
    /// The time without data from the client after which the server closes the connection, in milliseconds.
    pub expire_ms: u64,
    /// The largest message, in bytes.
    pub max_message: usize,
    /// Messages per second that a client may send; 0 means no limit. Absent if the server does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_rate: Option<u32>,
    /// Messages that a client may send at once after a pause. Absent if the server does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_burst: Option<u32>,
    /// The largest number of subscriptions at once.
    pub max_subscriptions: usize,
}

/// The start of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed {
    /// The room or the pattern.
    pub room: RoomSelector,
    /// The epoch that the offsets belong to.
    pub epoch: Epoch,
    /// The newest offset of the room, or of the matching rooms; 0 if there was never a message.
    pub head: Offset,
    /// The oldest offset that is kept; 0 if none is.
    pub first: Offset,
    /// The result of resuming from the client's position.
    pub recovery: Recovery,
    /// True if no more messages will ever come.
    #[serde(default)]
    pub closed: bool,
    /// The number of users in the room; 0 for a pattern.
    #[serde(default)]
    pub count: usize,
    /// Those users; absent in a large room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<Member>>,
}

/// The reason why a subscription ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnsubscribeCode {
    /// The client has sent `unsubscribe`.
    Unsubscribed,
    /// An operator has removed the client from the room.
    Kicked,
    /// The client was banned from the room.
    Banned,
    /// An operator has closed the room.
    RoomClosed,
    /// The room was deleted, or has expired.
    RoomDeleted,
    /// The client's new token does not grant the right to read the room. Clients also decode unknown codes of newer
    /// servers as this one.
    #[serde(other)]
    NotAllowed,
}

impl UnsubscribeCode {
    /// Returns the code with which a connection is closed whose only subscription ends for this reason.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Unsubscribed | Self::RoomDeleted => CloseCode::Done,
            Self::Kicked | Self::RoomClosed => CloseCode::Kicked,
            Self::Banned | Self::NotAllowed => CloseCode::NotAllowed,
        }
    }

    /// Returns a sentence that explains the code.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::Unsubscribed => "the client unsubscribed",
            Self::Kicked => "an operator removed the client from the room; it may subscribe again",
            Self::Banned => "the client is banned from the room",
            Self::RoomClosed => "an operator closed the room",
            Self::RoomDeleted => "the room was deleted with its messages, or has expired",
            Self::NotAllowed => "the token does not grant read access to the room",
        }
    }
}

/// A user who is present in a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The user id.
    pub id: UserId,
    /// The newest state that the user has set in the room, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Json>,
}

/// A value that a user sends to the clients that are subscribed to a room at that time. It is not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The room.
    pub room: RoomName,
    /// The user id of the sender.
    pub from: UserId,
    /// The application's own type of the signal.
    pub kind: Kind,
    /// The content.
    pub json: Json,
}

/// The result of resuming from a client's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// The client sent no position.
    Fresh,
    /// All missed messages follow, in order.
    Resumed,
    /// Some missed messages are no longer kept; a `gap` frame names them.
    Lost,
}

/// The reason for a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The messages are no longer kept.
    Expired,
    /// The client read too slowly, and the messages are no longer kept.
    Lagged,
    /// The messages cannot be read: the database is damaged, or they were removed from it.
    Damaged,
}

impl GapReason {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::Expired, Self::Lagged, Self::Damaged];

    /// Returns the reason as frames and metrics write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Lagged => "lagged",
            Self::Damaged => "damaged",
        }
    }
}

/// A message of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// The room.
    pub room: RoomName,
    /// The offset of the message.
    pub offset: Offset,
    /// The offset of the message before it in the room. A client that has not seen that message has a gap.
    pub prev: Offset,
    /// The time of storage, in milliseconds since 1970 UTC.
    pub at: u64,
    /// The user id of the sender.
    pub from: UserId,
    /// The content.
    #[serde(flatten)]
    pub body: Body,
    /// The optional fields.
    #[serde(flatten)]
    pub fields: MessageFields,
}
