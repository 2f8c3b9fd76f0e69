//! One row of the log: a message and how far it got, or a place where messages are missing.

use std::sync::Arc;

use serde::Serialize;

use crate::protocol::Body;
use crate::protocol::Key;
use crate::protocol::Offset;
use crate::protocol::UserId;

/// The order of what is not stored yet: behind all that is.
pub(super) const LAST: u64 = u64::MAX;

/// Messages of one sender stand under one name unless there is so much silence between them, in milliseconds.
const SILENCE: u64 = 5 * 60 * 1000;

/// One row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its identity in this page: never reused, and kept when a message of this page is stored.
    pub id: u64,
    /// What it shows.
    pub entry: Entry,
    /// Rows stand in order of this: an offset of this epoch, 0 for another epoch's, or [`LAST`].
    pub(super) order: u64,
}

/// What a row shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A message.
    Message(Message),
    /// Messages are missing here.
    Gap(Gap),
}

/// Something that was said, or that this page wants to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who says so.
    pub from: UserId,
    /// When, in milliseconds since 1970 UTC: by the server's clock, or by this page's until it is stored.
    pub at: u64,
    /// What.
    pub words: Words,
    /// How far it got.
    pub state: State,
    /// What it was known by until it was stored, if this page says it.
    pub(super) key: Option<Key>,
    /// How often the page had been away when the room last told it so.
    pub(super) told: u32,
}

/// What was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Words {
    /// Text, as it was sent.
    Text(Arc<str>),
    /// Something that is not text.
    Binary {
        /// Its size.
        bytes: usize,
    },
    /// Nothing any more.
    Deleted,
}

/// How far a message got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The room has it.
    Stored,
    /// It waits: for a connection, or for those before it.
    Queued,
    /// It was given to the connection, and nothing is known yet.
    Sent,
    /// It was refused.
    Failed {
        /// Why.
        reason: Reason,
        /// Whether it may succeed later.
        retry: bool,
    },
}

/// Why a message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Too many messages at once.
    TooFast,
    /// Longer than the server takes.
    TooLong,
    /// The server could not store it.
    Unavailable,
    /// This page may read and not write.
    NotAllowed,
    /// The server wants nothing of this page, or not this.
    Refused,
}

impl Reason {
    /// The reason that the server calls so; a refusal of no known reason is one all the same.
    pub fn parse(reason: &str) -> Self {
        match reason {
            "too_fast" => Self::TooFast,
            "too_long" => Self::TooLong,
            "unavailable" => Self::Unavailable,
            "not_allowed" => Self::NotAllowed,
            _ => Self::Refused,
        }
    }
}

/// A place where messages are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// What is known of them.
    pub missing: Missing,
    /// Whether there is any hope for them.
    pub outlook: Outlook,
    /// The first offset behind them; unknown until something has come from there.
    pub(super) before: Option<Offset>,
}

/// What is known of missing messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// So many.
    Count(u64),
    /// At least one.
    Some,
    /// Nobody knows whether there were any.
    Perhaps,
}

/// What may become of missing messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// The server can be asked for them.
    Open,
    /// It was asked.
    Asked,
    /// It no longer has them, or they are of a log that there is no more.
    Gone,
}

/// A row among its neighbours, and all that its drawing depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The row.
    pub row: Row,
    /// Whether it opens a group, so that its sender and time are shown.
    pub first: bool,
    /// Whether a day begins with it.
    pub new_day: bool,
    /// Whether what the reader has not seen begins with it.
    pub unread: bool,
    /// Whether a search has led to it.
    pub found: bool,
    /// Whether this page says it, or its name does.
    pub own: bool,
}

impl Row {
    /// Whether `before`, right before it, leaves it the first of its group.
    pub(super) fn opens_after(&self, before: Option<&Self>) -> bool {
        match (self.message(), before.and_then(Self::message)) {
            (Some(this), Some(before)) => {
                this.from != before.from || this.at.saturating_sub(before.at) >= SILENCE
            }
            _ => true,
        }
    }

    /// Its message, if it is one.
    pub const fn message(&self) -> Option<&Message> {
        match &self.entry {
            Entry::Message(message) => Some(message),
            Entry::Gap(_) => None,
        }
    }

    /// Whether the room has it.
    pub(super) fn is_stored(&self) -> bool {
        self.message()
            .is_some_and(|message| message.state == State::Stored)
    }
}

impl From<Body> for Words {
    fn from(body: Body) -> Self {
        match body {
            Body::Text(text) => Self::Text(text.into()),
            Body::Deleted(_) => Self::Deleted,
            Body::Data(base64) => {
                // Four characters for three bytes, the last of them padded.
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

    fn said(from: &str, at: u64) -> Row {
        let message = Message {
            from: UserId::parse(from).expect("a name"),
            at,
            words: Words::Binary { bytes: 1 },
            state: State::Stored,
            key: None,
            told: 0,
        };
        Row {
            id: 1,
            entry: Entry::Message(message),
            order: 1,
        }
    }

    #[test]
    fn a_name_stands_above_the_first_of_its_messages_and_again_after_a_silence() {
        let missing = Gap {
            missing: Missing::Some,
            outlook: Outlook::Open,
            before: None,
        };
        let gap = Row {
            entry: Entry::Gap(missing),
            ..said("ann", 0)
        };
        assert!(said("ann", 0).opens_after(None));
        assert!(said("ann", 0).opens_after(Some(&gap)));
        assert!(said("bob", 1).opens_after(Some(&said("ann", 0))));
        assert!(said("ann", SILENCE).opens_after(Some(&said("ann", 0))));
        assert!(!said("ann", SILENCE - 1).opens_after(Some(&said("ann", 0))));
        assert!(
            !said("ann", 0).opens_after(Some(&said("ann", 9))),
            "clocks may differ"
        );
    }

    #[test]
    fn what_is_not_text_is_known_by_its_size() {
        for (data, bytes) in [
            ("", 0),
            ("AA==", 1),
            ("AAA=", 2),
            ("AAAA", 3),
            ("AAAAAA==", 4),
        ] {
            assert_eq!(
                Words::from(Body::Data(data.into())),
                Words::Binary { bytes }
            );
        }
    }
}
