//! The position of a reader in a room's log.
//!
//! # Invariants
//!
//! - Each message is reported once, in the order of the log.
//! - Each missing range is reported as a gap: by the server's `gap` frame, or by the message whose `prev` was not read.

use std::fmt;
use std::str::FromStr;

use crate::protocol::{
    Command, Epoch, GapReason, Offset, Position, Publication, Push, Recovery, RoomName,
    RoomSelector, Subscribed, UserId,
};

/// The position after which a reader continues: `OFFSET` or `EPOCH:OFFSET` as text.
///
/// ```
/// use fanfare::client::ReadPosition;
///
/// let position: ReadPosition = "5f3e9a01:17".parse().unwrap();
/// assert_eq!(position.offset.0, 17);
/// assert_eq!(position.to_string(), "5f3e9a01:17");
/// assert_eq!("17".parse::<ReadPosition>().unwrap().epoch, None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadPosition {
    /// The epoch of the offset; `None` before the first `subscribed`.
    pub epoch: Option<Epoch>,
    /// The last offset that was read. Without an epoch, 0 stands for all messages that are kept.
    pub offset: Offset,
}

impl ReadPosition {
    /// Returns true if the position stands for all messages that are kept.
    fn is_beginning(&self) -> bool {
        self.epoch.is_none() && self.offset == Offset(0)
    }
}

/// A text that is no [`ReadPosition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a position is OFFSET or EPOCH:OFFSET, such as 17 or 5f3e9a01:17; 0 stands for all messages that are kept"
)]
pub struct ReadPositionError;

/// A change that a reader sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// The log restarted. Offsets that were read before are not valid in the new log. A gap follows.
    Restarted,
    /// A new message.
    Message(Publication),
    /// The message at `offset` was deleted at the time `at`, in milliseconds since 1970 UTC.
    Deleted {
        /// The room of the message.
        room: RoomName,
        /// The position of the message.
        offset: Offset,
        /// The time of the deletion.
        at: u64,
    },
    /// Messages between two offsets are missing.
    Gap {
        /// The last offset before the gap.
        after: Offset,
        /// The first offset after the gap.
        before: Offset,
        /// The number of missing messages, if known.
        count: Option<u64>,
        /// The reason.
        reason: GapReason,
    },
}

/// A reader's position. It moves with each frame of the server.
///
/// ```
/// use fanfare::client::{Cursor, Update};
/// use fanfare::protocol::Push;
///
/// let mut cursor = Cursor::new("5f3e9a01:7".parse().ok());
/// let subscribed = r#"{"type":"subscribed","room":"lobby","epoch":"5f3e9a01","head":9,"first":1,
///     "recovery":"resumed","count":1}"#;
/// assert_eq!(cursor.on_push(&Push::decode(subscribed).unwrap()), []);
/// assert!(!cursor.has_caught_up());
///
/// // The message before this one was not read.
/// let message = r#"{"type":"message","room":"lobby","offset":9,"prev":8,"at":0,"from":"bob","text":"hello"}"#;
/// let updates = cursor.on_push(&Push::decode(message).unwrap());
/// assert!(matches!(updates[..], [Update::Gap { .. }, Update::Message(_)]));
/// assert!(cursor.has_caught_up());
/// ```
#[derive(Clone, Debug)]
pub struct Cursor {
    /// `None` before the first `subscribed` of a reader that started without a position.
    position: Option<ReadPosition>,
    /// The newest offset at the last `subscribed`; `None` while disconnected.
    head: Option<Offset>,
    /// True for a pattern, whose messages are of several rooms: `prev` does not name the message before, and messages that
    /// are kept may lie within a gap.
    is_pattern: bool,
    /// True if `subscribed` announced missing messages and no gap has been reported since.
    has_lost: bool,
}

impl Cursor {
    /// Creates a cursor that continues after `position`; without one it starts at the newest message.
    pub const fn new(position: Option<ReadPosition>) -> Self {
        Self {
            position,
            head: None,
            is_pattern: false,
            has_lost: false,
        }
    }

    /// Creates a cursor in all rooms that match a pattern, which continues after `position`.
    pub const fn in_pattern(position: Option<ReadPosition>) -> Self {
        let mut cursor = Self::new(position);
        cursor.is_pattern = true;
        cursor
    }

    /// Returns the position after which the next connection continues.
    pub const fn position(&self) -> Option<&ReadPosition> {
        self.position.as_ref()
    }

    /// Returns the query of the WebSocket URL that continues `room` at this position, with `id` if it is given.
    pub fn query(&self, room: &RoomName, id: Option<&UserId>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("room", room.as_str());

        if let Some(id) = id {
            query.append_pair("id", id.as_str());
        }

        if let Some(ReadPosition { epoch, offset }) = &self.position {
            query.append_pair("after", &offset.to_string());
            if let Some(epoch) = epoch {
                query.append_pair("epoch", epoch.as_str());
            }
        }

        query.finish()
    }

    /// Returns the command that subscribes to `room` at this position.
    pub fn subscribe(&self, room: RoomSelector) -> Command {
        let position = self.position.as_ref();
        Command::Subscribe {
            room,
            after: position.map(|position| position.offset),
            epoch: position.and_then(|position| position.epoch.clone()),
        }
    }

    /// Returns true if every message that the log had at the start of the subscription has been read; `false` while
    /// disconnected.
    pub fn has_caught_up(&self) -> bool {
        self.head.is_some_and(|head| self.offset() >= head)
    }

    /// Returns true if the server has sent `subscribed` on this connection.
    pub const fn is_subscribed(&self) -> bool {
        self.head.is_some()
    }

    /// Records the end of the connection.
    pub const fn on_disconnect(&mut self) {
        self.head = None;
    }

    /// Moves back to `offset`, if it is older than the position.
    pub fn rewind(&mut self, offset: Offset) {
        if let Some(position) = &mut self.position {
            position.offset = position.offset.min(offset);
        }
    }

    /// Records a frame of the server, and returns what it changes, in order.
    pub fn on_push(&mut self, push: &Push) -> Vec<Update> {
        match push {
            Push::Subscribed(subscribed) => self.on_subscribed(subscribed).into_iter().collect(),
            Push::Message(publication) => self.on_message(publication),
            Push::Gap {
                after,
                before,
                count,
                reason,
                ..
            } => {
                if !self.is_pattern {
                    let last = Offset(before.0.saturating_sub(1));
                    // This gap is already known. After a restart of the log, even an empty gap is reported.
                    if last <= self.offset() && !self.has_lost {
                        return Vec::new();
                    }
                    self.advance(last);
                }

                self.has_lost = false;
                vec![Update::Gap {
                    after: *after,
                    before: *before,
                    count: *count,
                    reason: *reason,
                }]
            }
            Push::Deleted { room, offset, at } => vec![Update::Deleted {
                room: room.clone(),
                offset: *offset,
                at: *at,
            }],
            _ => Vec::new(),
        }
    }

    fn on_subscribed(&mut self, subscribed: &Subscribed) -> Option<Update> {
        let Subscribed {
            epoch,
            head,
            first,
            recovery,
            ..
        } = subscribed;
        let known = self.position.as_ref();
        let has_lost = *recovery == Recovery::Lost;
        // A position that was read in other rooms may be after the newest message of this one.
        let is_same_log = !has_lost
            || known.is_none_or(|known| {
                known.offset <= *head && known.epoch.as_ref().is_none_or(|known| known == epoch)
            });

        let offset = match known {
            None => *head,
            // The reader requested all messages that are kept, so older ones are not a gap.
            Some(known) if known.is_beginning() && !has_lost => last_dropped(*first, *head),
            Some(known) if is_same_log => known.offset,
            Some(_) => Offset(0),
        };

        self.position = Some(ReadPosition {
            epoch: Some(epoch.clone()),
            offset,
        });
        self.head = Some(*head);
        self.has_lost = has_lost;
        (has_lost && !is_same_log).then_some(Update::Restarted)
    }

    fn on_message(&mut self, publication: &Publication) -> Vec<Update> {
        let last = self.offset();
        if publication.offset <= last {
            return Vec::new();
        }

        self.advance(publication.offset);
        let is_linked = !self.is_pattern;
        let has_gap = is_linked && (publication.prev > last || std::mem::take(&mut self.has_lost));
        let gap = has_gap.then_some(Update::Gap {
            after: last,
            before: publication.offset,
            count: None,
            reason: GapReason::Lagged,
        });
        gap.into_iter()
            .chain([Update::Message(publication.clone())])
            .collect()
    }

    fn offset(&self) -> Offset {
        self.position
            .as_ref()
            .map_or(Offset(0), |position| position.offset)
    }

    fn advance(&mut self, to: Offset) {
        if let Some(position) = &mut self.position {
            position.offset = position.offset.max(to);
        }
    }
}

/// Returns the newest offset that a log from `first` to `head` no longer keeps. An empty log keeps none.
const fn last_dropped(first: Offset, head: Offset) -> Offset {
    match first.0.checked_sub(1) {
        Some(dropped) => Offset(dropped),
        None => head,
    }
}

impl fmt::Display for ReadPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(epoch) = &self.epoch {
            write!(f, "{epoch}:")?;
        }
        self.offset.fmt(f)
    }
}

impl FromStr for ReadPosition {
    type Err = ReadPositionError;

    fn from_str(text: &str) -> Result<Self, ReadPositionError> {
        if let Ok(Position { epoch, offset }) = text.parse() {
            return Ok(Self {
                epoch: Some(epoch),
                offset,
            });
        }

        let offset = text.parse().map_err(|_| ReadPositionError)?;
        Ok(Self {
            epoch: None,
            offset: Offset(offset),
        })
    }
}

#[cfg(test)]
mod tests;
