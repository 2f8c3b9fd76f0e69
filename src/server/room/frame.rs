//! Messages: a draft before the store has assigned its offset, and a frame of a room's log after that. Both hold the
//! payload and no encoding: see [`Format::encode`](crate::server::room::Format::encode).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::protocol::{Body, Epoch, Key, Offset, Position, Publication, RoomName, UserId};
use crate::server::memory::Memory;

/// The payload of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

/// A message that the store has not yet assigned an offset.
#[derive(Clone, Debug)]
pub struct Draft {
    from: UserId,
    key: Option<Key>,
    is_text: bool,
    /// Payload, counted against the memory budget.
    payload: Bytes,
}

impl Draft {
    /// Creates a text message.
    pub fn text(from: UserId, key: Option<Key>, text: impl Into<String>) -> Self {
        Self {
            from,
            key,
            is_text: true,
            // Without spare capacity, because only the length is counted.
            payload: hold(text.into().into_boxed_str().into_boxed_bytes().into()),
        }
    }

    /// Creates a binary message.
    pub fn binary(from: UserId, bytes: &[u8]) -> Self {
        Self {
            from,
            key: None,
            is_text: false,
            payload: hold(Bytes::copy_from_slice(bytes)),
        }
    }

    /// Returns the sender.
    pub const fn from(&self) -> &UserId {
        &self.from
    }

    /// Returns the deduplication key, if the sender set one.
    pub const fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// Returns the payload.
    pub fn payload(&self) -> Payload<'_> {
        // A text draft is created from a `String`, so it is valid UTF-8.
        if self.is_text {
            Payload::Text(str::from_utf8(&self.payload).unwrap_or_default())
        } else {
            Payload::Binary(&self.payload)
        }
    }

    /// Returns its size in memory, in bytes, as limits count it.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.payload.len()
    }
}

/// Reserves memory for `payload` and for the later [`Frame`].
fn hold(payload: Bytes) -> Bytes {
    Memory::of_process().track(payload, size_of::<Frame>())
}

/// One message of a room's log.
#[derive(Debug)]
pub struct Frame {
    room: RoomName,
    draft: Draft,
    epoch: Epoch,
    offset: Offset,
    prev: Offset,
    number: u64,
    at: u64,
    /// True for a tombstone, whose draft is empty.
    is_deleted: bool,
}

impl Frame {
    /// Creates the frame of `draft`: in `room`, in the log with `epoch`, at `offset`, after the room's frame at `prev`,
    /// stored at `at`, in milliseconds since 1970 UTC.
    pub const fn new(
        room: RoomName,
        draft: Draft,
        epoch: Epoch,
        offset: Offset,
        prev: Offset,
        at: u64,
    ) -> Self {
        Self {
            room,
            draft,
            epoch,
            offset,
            prev,
            number: 0,
            at,
            is_deleted: false,
        }
    }

    /// Sets the number of the message in its room, from 1.
    #[must_use]
    pub const fn numbered(mut self, number: u64) -> Self {
        self.number = number;
        self
    }

    /// Returns the frame that replaces this one when it is deleted: the same without its payload.
    pub fn tombstone(&self) -> Self {
        let Self {
            room,
            draft: Draft { from, key, .. },
            epoch,
            offset,
            prev,
            number,
            at,
            ..
        } = self;

        let draft = Draft::text(from.clone(), key.clone(), "");
        Self {
            is_deleted: true,
            ..Self::new(room.clone(), draft, epoch.clone(), *offset, *prev, *at).numbered(*number)
        }
    }

    /// Returns true if the message was deleted.
    pub const fn is_deleted(&self) -> bool {
        self.is_deleted
    }

    /// Returns the room.
    pub const fn room(&self) -> &RoomName {
        &self.room
    }

    /// Returns the offset.
    pub const fn offset(&self) -> Offset {
        self.offset
    }

    /// Returns the sender.
    pub const fn from(&self) -> &UserId {
        &self.draft.from
    }

    /// Returns the offset of the previous frame of the room.
    pub const fn prev(&self) -> Offset {
        self.prev
    }

    /// Returns the number of the message in its room, from 1; 0 if the store does not number messages.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Returns the time at which it was stored, in milliseconds since 1970 UTC.
    pub const fn at(&self) -> u64 {
        self.at
    }

    /// Returns the position of a reader that has read the log up to this frame.
    pub fn position(&self) -> Position {
        Position {
            epoch: self.epoch.clone(),
            offset: self.offset,
        }
    }

    /// Returns the payload; empty for a tombstone.
    pub fn payload(&self) -> Payload<'_> {
        self.draft.payload()
    }

    /// Returns the message as the JSON dialects carry it.
    pub fn publication(&self) -> Publication {
        let body = match self.payload() {
            _ if self.is_deleted => Body::Deleted(true),
            Payload::Text(text) => Body::Text(text.to_owned()),
            Payload::Binary(bytes) => Body::Data(STANDARD.encode(bytes)),
        };

        Publication {
            room: self.room.clone(),
            offset: self.offset,
            prev: self.prev,
            at: self.at,
            from: self.draft.from.clone(),
            body,
            key: self.draft.key.clone(),
        }
    }

    /// Returns its size in memory, in bytes, as limits count it: the frame and its plain encoding.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.draft.payload.len()
    }
}
