//! One row of the log: a message, or a gap.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::protocol::{Body, Key, Kind, Offset, UserId};

/// The order of messages that are not stored: after all others.
pub(super) const LAST: u64 = u64::MAX;

/// The silence after which a message of the same sender starts a new group, in milliseconds.
const GROUP_SILENCE: u64 = 5 * 60 * 1000;

/// One row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The identity of the row in this page. It is never reused, and stays when a message is stored.
    pub id: u64,
    /// The content.
    pub entry: Entry,
    /// The sort key: an offset of this epoch, 0 for another epoch, or [`LAST`].
    pub(super) order: u64,
}

/// The content of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A message.
    Message(Message),
    /// Missing messages.
    Gap(Gap),
}

/// A message, stored or outgoing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The sender.
    pub from: UserId,
    /// The time in milliseconds since 1970 UTC: by the server's clock, or by the browser's until it is stored.
    pub at: u64,
    /// The content.
    pub content: MessageContent,
    /// The application's own type of the message.
    pub kind: Option<Kind>,
    /// The offset of the message that this one answers.
    pub reply_to: Option<Offset>,
    /// The offset of the message that this outgoing one will replace.
    pub edits: Option<Offset>,
    /// The offset of the newest edit, which has replaced the content.
    pub edited: Option<Offset>,
    /// The progress of an outgoing message.
    pub state: MessageState,
    /// The key, if this page sent the message.
    pub(super) key: Option<Key>,
    /// The browser that sent the message, if its key names one.
    pub(super) browser: Option<u32>,
    /// The offset of the room's message before it, once the server has sent it.
    pub(super) prev: Offset,
    /// The number of disconnects after which the server last sent it.
    pub(super) seen_after: u32,
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageContent {
    /// Text.
    Text(Arc<str>),
    /// A JSON value, as compact text.
    Json(Arc<str>),
    /// Bytes that are no text.
    Binary {
        /// The size.
        bytes: usize,
    },
    /// The sender has joined the room.
    Joined,
    /// The sender has left the room.
    Left,
    /// A deleted message.
    Deleted,
}

/// The progress of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// The message is stored.
    Stored,
    /// The message waits for a connection, or for earlier messages.
    Queued,
    /// The message was sent, and the server has not responded.
    Sent,
    /// The message was refused.
    Failed {
        /// The reason.
        reason: Reason,
        /// True if a later attempt may succeed.
        retry: bool,
    },
}

/// The reason for a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Too many messages at once.
    TooFast,
    /// The message is longer than the server accepts.
    TooLong {
        /// The size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The server failed to store the message.
    Unavailable,
    /// The user may only read.
    NotAllowed,
    /// The room is closed for good.
    Ended,
    /// Any other reason.
    Refused,
}

/// A place where messages are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The number of missing messages.
    pub missing: Missing,
    /// The state of loading them.
    pub state: GapState,
    /// The first offset after the gap.
    pub(super) before: Option<Offset>,
    /// True if the user has skipped this part of the log, so that it is loaded from its start.
    pub is_skipped: bool,
}

/// The number of missing messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// This exact number.
    Count(u64),
    /// An unknown number, at least one.
    Some,
    /// Any number, perhaps none.
    Perhaps,
}

/// The state of loading missing messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapState {
    /// The messages can be requested.
    Open,
    /// The messages were requested.
    Requested,
    /// The server no longer has the messages.
    Gone,
}

/// A row, and everything else that its rendering depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowView {
    /// The row.
    pub row: Row,
    /// True for the first message of a group, which shows sender and time.
    pub first: bool,
    /// True for the first message of a day.
    pub new_day: bool,
    /// True for the first unread message.
    pub unread: bool,
    /// True for the result of a search.
    pub found: bool,
    /// True if the message mentions the user.
    pub mentions_me: bool,
    /// The message that this one answers.
    pub quote: Option<Quote>,
    /// True if this page, or its user, sent the message.
    pub own: bool,
    /// The colour of the sender's name, below [`HUES`](super::HUES).
    pub hue: usize,
}

/// The message that another one answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The offset of the message.
    pub offset: Offset,
    /// The sender and the beginning of the text; `None` if the message is not loaded or was deleted.
    pub message: Option<(UserId, String)>,
}

impl Message {
    /// Returns the text, or the JSON text.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            MessageContent::Text(text) | MessageContent::Json(text) => Some(text),
            MessageContent::Binary { .. }
            | MessageContent::Joined
            | MessageContent::Left
            | MessageContent::Deleted => None,
        }
    }
}

impl Row {
    /// Returns the offset of the message, if it is stored in this epoch.
    pub fn offset(&self) -> Option<Offset> {
        (self.is_stored() && self.order > 0).then_some(Offset(self.order))
    }

    /// Returns whether the row starts a group if it follows `before`.
    pub(super) fn opens_after(&self, before: Option<&Self>) -> bool {
        match (self.message(), before.and_then(Self::message)) {
            (Some(this), Some(before)) => {
                this.from != before.from || this.at.saturating_sub(before.at) >= GROUP_SILENCE
            }
            _ => true,
        }
    }

    /// Returns the message, if the row is one.
    pub const fn message(&self) -> Option<&Message> {
        match &self.entry {
            Entry::Message(message) => Some(message),
            Entry::Gap(_) => None,
        }
    }

    /// Returns whether the row is a stored message.
    pub(super) fn is_stored(&self) -> bool {
        self.message()
            .is_some_and(|message| message.state == MessageState::Stored)
    }
}

impl MessageContent {
    /// Returns the content of a message of this `kind`.
    pub(super) fn new(body: Body, kind: Option<&Kind>) -> Self {
        match kind {
            Some(kind) if kind.is_join() => Self::Joined,
            Some(kind) if kind.is_leave() => Self::Left,
            _ => body.into(),
        }
    }

    /// Returns true if the sender has joined or left the room.
    pub const fn is_presence(&self) -> bool {
        matches!(self, Self::Joined | Self::Left)
    }
}

impl From<Body> for MessageContent {
    fn from(body: Body) -> Self {
        match body {
            Body::Text(text) => Self::Text(text.into()),
            Body::Json(json) => Self::Json(json.into_boxed_str().into()),
            Body::Deleted(_) => Self::Deleted,
            Body::Data(base64) => {
                // Four characters of base64 encode three bytes. The last group is padded.
                let padding = base64
                    .bytes()
                    .rev()
                    .take_while(|&byte| byte == b'=')
                    .count();
                Self::Binary {
                    bytes: (base64.len() / 4 * 3).saturating_sub(padding),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(from: &str, at: u64) -> Row {
        let message = Message {
            from: UserId::parse(from).expect("a name"),
            at,
            content: MessageContent::Binary { bytes: 1 },
            state: MessageState::Stored,
            key: None,
            browser: None,
            prev: Offset(0),
            kind: None,
            reply_to: None,
            edits: None,
            edited: None,
            seen_after: 0,
        };

        Row {
            id: 1,
            entry: Entry::Message(message),
            order: 1,
        }
    }

    #[test]
    fn a_message_of_another_sender_starts_a_group() {
        assert!(row("ann", 0).opens_after(None));
        assert!(row("bob", 1).opens_after(Some(&row("ann", 0))));
        assert!(!row("ann", 1).opens_after(Some(&row("ann", 0))));
    }

    #[test]
    fn a_message_after_a_gap_starts_a_group() {
        let missing = Gap {
            missing: Missing::Some,
            state: GapState::Open,
            before: None,
            is_skipped: false,
        };
        let gap = Row {
            entry: Entry::Gap(missing),
            ..row("ann", 0)
        };

        assert!(row("ann", 0).opens_after(Some(&gap)));
    }

    #[test]
    fn a_message_after_a_silence_starts_a_group() {
        let first = row("ann", 0);

        assert!(row("ann", GROUP_SILENCE).opens_after(Some(&first)));
        assert!(!row("ann", GROUP_SILENCE - 1).opens_after(Some(&first)));
        assert!(
            !first.opens_after(Some(&row("ann", 9))),
            "clocks may differ"
        );
    }

    #[test]
    fn the_size_of_binary_content_is_that_of_the_decoded_bytes() {
        for (data, bytes) in [
            ("", 0),
            ("AA==", 1),
            ("AAA=", 2),
            ("AAAA", 3),
            ("AAAAAA==", 4),
        ] {
            assert_eq!(
                MessageContent::from(Body::Data(data.into())),
                MessageContent::Binary { bytes }
            );
        }
    }
}
