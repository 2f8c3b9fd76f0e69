//! What the server says in `fanfare.v1`: one JSON object in a text frame, tagged by `type`.

use serde::{Deserialize, Serialize};

use super::{Epoch, ErrorCode, Key, Offset, RoomName, UserId};

/// A server's frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Push {
    /// The first frame: where the client is, and from where it will read.
    Welcome(Welcome),
    /// Something was said.
    Message(Publication),
    /// A `say` with a key is stored, as durably as the server promises.
    Ack {
        /// The key of the `say`.
        key: Key,
        /// Where it is stored.
        offset: Offset,
        /// Whether it already was, by an earlier `say` with this key.
        duplicate: bool,
    },
    /// The answer to a `history`.
    History {
        /// Oldest first.
        messages: Vec<Publication>,
        /// Whether there are older ones.
        more: bool,
    },
    /// Messages that will not come by themselves.
    Gap {
        /// The last offset before the gap.
        after: Offset,
        /// The first offset behind the gap.
        before: Offset,
        /// How many are missing, if that is known.
        count: Option<u64>,
        /// Why.
        reason: GapReason,
    },
    /// Who came and went since the last of these.
    Presence {
        /// How many are here.
        count: usize,
        /// Who came; empty in a large room.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        joined: Vec<UserId>,
        /// Who left; empty in a large room.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<UserId>,
    },
    /// A frame of the client's could not be acted upon.
    Error {
        /// What kind of error.
        code: ErrorCode,
        /// What was wrong and what is allowed, in a sentence.
        message: String,
        /// Whether the same frame may succeed later.
        retry: bool,
        /// The key of the `say` that it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<Key>,
    },
    /// The answer to a `token`: it is good, and the connection goes on with it.
    Token {
        /// When it ends, in milliseconds since 1970 UTC; absent from a server that asks for no token.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<u64>,
    },
    /// What was said at `offset` was deleted: readers that show it should not any more.
    Deleted {
        /// Where.
        offset: Offset,
        /// When, in milliseconds since 1970 UTC.
        at: u64,
    },
    /// The server is about to stop.
    Drain {
        /// How long to wait before coming back, different for each client.
        reconnect_after_ms: u64,
    },
    /// The answer to a `ping`.
    Pong,
}

impl Push {
    /// Returns whether it brings messages, or the word that one is stored: the connection is of use.
    pub const fn is_progress(&self) -> bool {
        matches!(
            self,
            Self::Message(_) | Self::Ack { .. } | Self::History { .. }
        )
    }

    /// Its `type`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Welcome(_) => "welcome",
            Self::Message(_) => "message",
            Self::Ack { .. } => "ack",
            Self::History { .. } => "history",
            Self::Gap { .. } => "gap",
            Self::Presence { .. } => "presence",
            Self::Error { .. } => "error",
            Self::Token { .. } => "token",
            Self::Deleted { .. } => "deleted",
            Self::Drain { .. } => "drain",
            Self::Pong => "pong",
        }
    }
}

/// The first frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The room.
    pub room: RoomName,
    /// Who the client is.
    pub id: UserId,
    /// This connection's number in this server's life.
    pub connection: u64,
    /// Which life of the log the offsets belong to.
    pub epoch: Epoch,
    /// The newest offset; 0 when nothing was said.
    pub head: Offset,
    /// The oldest offset kept; 0 when nothing is.
    pub first: Offset,
    /// What became of the position that the client gave.
    pub recovery: Recovery,
    /// Silence after which the server pings, in milliseconds.
    pub heartbeat_ms: u64,
    /// Silence after which the server closes, in milliseconds.
    pub expire_ms: u64,
    /// Largest message, in bytes.
    pub max_message: usize,
    /// Messages a second that a client may send, 0 for any number; absent from a server that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_rate: Option<u32>,
    /// How many of them at once, after a pause; absent from a server that does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_burst: Option<u32>,
    /// How many are here.
    pub count: usize,
    /// Who they are; absent in a large room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<UserId>>,
}

/// What became of the position that a client came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recovery {
    /// It came with none.
    Fresh,
    /// All that it missed follows, in order.
    Resumed,
    /// Some of what it missed is gone; a `gap` says what.
    Lost,
}

/// Why messages will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// They are no longer kept.
    Expired,
    /// The client read too slowly, and they are no longer kept.
    Lagged,
    /// They are stored and cannot be read: the database is damaged, or somebody took them out of it.
    Damaged,
}

impl GapReason {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::Expired, Self::Lagged, Self::Damaged];

    /// The reason as it travels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Lagged => "lagged",
            Self::Damaged => "damaged",
        }
    }
}

/// One entry of a room's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Its number.
    pub offset: Offset,
    /// The number of the one before it; a reader that did not see that one has a gap.
    pub prev: Offset,
    /// When it was stored, in milliseconds since 1970 UTC.
    pub at: u64,
    /// Who said it.
    pub from: UserId,
    /// What was said.
    #[serde(flatten)]
    pub body: Body,
    /// The sender's key, where it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
}

/// What was said: `text`, or `data` in base64; or `deleted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// Text.
    Text(String),
    /// Bytes, as base64 (RFC 4648 section 4).
    Data(String),
    /// An operator deleted it; always `true`.
    Deleted(bool),
}
